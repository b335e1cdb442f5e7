// Compresses what Vite built and lists it in manifest.json, from which build.rs makes the table of embedded files.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { extname, join, relative, resolve } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';

export const dist = resolve(
  process.env.CARGO_TARGET_DIR ?? resolve(import.meta.dirname, '../../../target'),
  'web/dist',
);

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.json': 'application/json',
  '.txt': 'text/plain; charset=utf-8',
};

const brotli = promisify(brotliCompress);
const zip = promisify(gzip);

async function entry(file) {
  const content = readFileSync(join(dist, file));
  const type = TYPES[extname(file)];
  if (!type) throw new Error(`${file}: no content type is known for this ending; add it to scripts/compress.mjs`);
  const br = await brotli(content, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: content.length },
  });
  const gz = await zip(content, { level: 9 });
  writeFileSync(join(dist, `${file}.br`), br);
  writeFileSync(join(dist, `${file}.gz`), gz);
  return {
    path: file === 'index.html' ? '/' : `/${file}`,
    file,
    br: `${file}.br`,
    gz: `${file}.gz`,
    type,
    sha256: createHash('sha256').update(content).digest('hex'),
  };
}

const files = readdirSync(dist, { recursive: true, withFileTypes: true })
  .filter(
    (f) =>
      f.isFile() && !/\.(map|br|gz)$/.test(f.name) && f.name !== 'manifest.json' && !f.parentPath.endsWith('.vite'),
  )
  .map((f) => relative(dist, join(f.parentPath, f.name)).replaceAll('\\', '/'))
  .sort((a, b) => Number(b === 'index.html') - Number(a === 'index.html') || (a < b ? -1 : 1));

/** The addresses of pages, from the one list of them: the function answers 404 to all others. */
function pages() {
  const list = readFileSync(resolve(import.meta.dirname, '../src/pages/index.ts'), 'utf8');
  const addresses = [...list.matchAll(/^\s*(?:\{ )?(?:path|also): (\[[^\]]*\]|'[^']*')/gm)].map(([, value]) => value);
  const found = addresses.flatMap((value) => [...value.matchAll(/'(\/[^']*)'/g)].map(([, path]) => path));
  if (!found.includes('/agents')) throw new Error('src/pages/index.ts: no addresses of pages were found');
  return [...found, '/sign-in'];
}

const manifest = { files: await Promise.all(files.map(entry)), pages: pages() };
writeFileSync(join(dist, 'manifest.json'), `${JSON.stringify(manifest, null, 1)}\n`);
console.log(`${manifest.files.length} files listed in ${join(dist, 'manifest.json')}`);
