// Adds up what the first view takes over the wire: the page, what it names, the agents page, and all they import.
import { readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';

const LIMIT = 120_000;
const dist = resolve(process.env.CARGO_TARGET_DIR ?? resolve(import.meta.dirname, '../../../target'), 'web/dist');
const manifest = JSON.parse(readFileSync(join(dist, 'manifest.json'), 'utf8'));
const byPath = new Map(manifest.files.map((entry) => [entry.path, entry]));

const modules = JSON.parse(readFileSync(join(dist, '.vite/manifest.json'), 'utf8'));

const seen = new Set(['/']);
function visit(source) {
  const { file, css = [], assets = [], imports = [] } = modules[source];
  if (seen.has(`/${file}`)) return;
  for (const name of [file, ...css, ...assets]) seen.add(`/${name}`);
  for (const name of imports) visit(name);
}
visit('index.html');
// Loaded lazily, but part of the first view: most sessions open here.
visit('src/pages/agents/page.tsx');
const html = readFileSync(join(dist, 'index.html'), 'utf8');
for (const [, name] of html.matchAll(/(?:src|href)="(\/[^"]+)"/g)) seen.add(name);

let total = 0;
for (const path of seen) {
  const size = statSync(join(dist, byPath.get(path).br)).size;
  total += size;
  console.log(`${String(size).padStart(8)}  ${path}`);
}
console.log(`${String(total).padStart(8)}  first view, brotli; at most ${LIMIT}`);
if (total > LIMIT) {
  console.error(`The first view is ${total - LIMIT} bytes too large.`);
  process.exit(1);
}
