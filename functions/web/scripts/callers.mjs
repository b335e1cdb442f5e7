// Derives src/api/callers.gen.ts from the API's description: whom each operation serves, as the routes say it.
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';

const document = resolve(import.meta.dirname, '../../../shared/src/api/openapi.json');
const output = resolve(import.meta.dirname, '../src/api/callers.gen.ts');

const { paths } = JSON.parse(readFileSync(document, 'utf8'));
const operations = Object.values(paths)
  .flatMap((path) => Object.values(path))
  .filter((operation) => !operation.deprecated)
  .map(({ operationId, 'x-caller': caller }) => {
    if (!caller) throw new Error(`${operationId} does not name its callers in ${document}: run \`cargo prepare\``);
    return { name: operationId.replace(/-(\w)/g, (_, letter) => letter.toUpperCase()), caller };
  })
  .sort((a, b) => (a.name < b.name ? -1 : 1));
const kinds = [...new Set(operations.map(({ caller }) => caller))].sort();

// Each operation is an export of its own, so that a page loads those that it uses.
writeFileSync(
  output,
  [
    '// Derived from openapi.json by `npm run api`.',
    `export type CallerKind = ${kinds.map((kind) => `'${kind}'`).join(' | ')};`,
    ...operations.map(({ name, caller }) => `export const ${name} = '${caller}';`),
    '',
  ].join('\n'),
);
