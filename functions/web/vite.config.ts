import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import react from '@vitejs/plugin-react';
import { defineConfig, type HtmlTagDescriptor, type Plugin } from 'vite';

const here = import.meta.dirname;
const target = process.env.CARGO_TARGET_DIR ?? resolve(here, '../../target');
const api = process.env.API ?? 'http://127.0.0.1:8787';
/** State-changing requests with a cookie need an origin that the API allows. */
const proxy = { '/api': { target: api, headers: { origin: process.env.ORIGIN ?? api } } };

/** The theme must be known before the first paint, and the CSP allows no inline script. */
function themeScript(): Plugin {
  const source = readFileSync(resolve(here, 'src/theme-first.js'), 'utf8')
    .replace(/^\s*\/\/.*\n/gm, '')
    .replace(/\n\s*/g, '');
  const name = `assets/theme-${createHash('sha256').update(source).digest('base64url').slice(0, 8)}.js`;
  return {
    name: 'theme-script',
    apply: 'build',
    generateBundle() {
      this.emitFile({ type: 'asset', fileName: name, source });
    },
    transformIndexHtml: () => [{ tag: 'script', attrs: { src: `/${name}` }, injectTo: 'head-prepend' }],
  };
}

const link = (rel: string, name: string): HtmlTagDescriptor => ({
  tag: 'link',
  attrs: { rel, crossorigin: true, href: `/${name}` },
  injectTo: 'head',
});

/** The page that most people open first is fetched together with the application, not after it. */
function preloadFirstPage(): Plugin {
  return {
    name: 'preload-first-page',
    apply: 'build',
    transformIndexHtml: {
      order: 'post',
      handler(html, { bundle }) {
        const files = bundle ?? {};
        const page = Object.values(files).find(
          (file) => file.type === 'chunk' && file.facadeModuleId?.endsWith('/pages/agents/page.tsx'),
        );
        const scripts = new Set<string>();
        const styles = new Set<string>();
        const visit = (name: string) => {
          const file = files[name];
          if (file?.type !== 'chunk' || scripts.has(name) || html.includes(name)) return;
          scripts.add(name);
          for (const style of file.viteMetadata?.importedCss ?? []) if (!html.includes(style)) styles.add(style);
          file.imports.forEach(visit);
        };
        if (page) visit(page.fileName);
        return [
          ...[...scripts].map((name) => link('modulepreload', name)),
          ...[...styles].map((name) => link('stylesheet', name)),
        ];
      },
    },
  };
}

/** `page-agents-...` instead of one more `page-...`. */
const named = (source: string | null | undefined) =>
  /\/pages\/([^/]+)\/page\.(?:tsx|module\.css)$/.exec(source ?? '')?.[1];

/** What the first view takes of `node_modules`; icons belong to the parts that show them. */
const LIBRARIES =
  /\/node_modules\/(?:react|react-dom|scheduler|use-sync-external-store|@tanstack|wouter|openapi-fetch|lucide-react\/dist\/esm\/(?!icons\/))/;

/** What else the first view takes, with all that it imports: in one chunk, which compresses better than fifteen. */
const FIRST =
  /\/src\/(?:ui\/(?:base|tokens)\.css|app\.tsx|pages\/agents\/columns\.tsx|ui\/(?:field|table)\.tsx|data\/(?:sentence|url)\.ts)$/;

/** The components of all other pages. Dialogs and menus come with their library when one opens. */
const SHARED = /\/src\/ui\/(?!overlays\/)/;

export default defineConfig({
  plugins: [react(), themeScript(), preloadFirstPage()],
  build: {
    outDir: resolve(target, 'web/dist'),
    emptyOutDir: true,
    target: 'es2023',
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    sourcemap: 'hidden',
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    manifest: true,
    rolldownOptions: {
      output: {
        chunkFileNames: (chunk) =>
          `assets/${named(chunk.facadeModuleId) ? `page-${named(chunk.facadeModuleId)}` : '[name]'}-[hash].js`,
        // The libraries stay cached when the sources change.
        codeSplitting: {
          groups: [
            { name: 'libraries', test: LIBRARIES },
            { name: 'first', test: FIRST },
            { name: 'shared', test: SHARED, minShareCount: 2 },
          ],
        },
      },
    },
  },
  server: { port: 5173, proxy },
});
