import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const modules = (readdirSync(__dirname, { recursive: true }) as string[])
  .filter((f) => /\.tsx?$/.test(f) && !f.includes('.test.'))
  .map((f) => f.replace(/\.tsx?$/, ''));

/** The modules of ours that one imports, types included. */
const imports = new Map(
  modules.map((m) => {
    const file = ['.ts', '.tsx'].map((x) => join(__dirname, m + x)).find((f) => readableText(f) !== undefined)!;
    const found = [...readableText(file)!.matchAll(/from '(\.[^']+)'/g)].map((x) => join(dirname(m), x[1]));
    return [m, found.filter((x) => modules.includes(x))];
  })
);

function readableText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

test('no module imports itself by way of others', () => {
  expect(imports.get('datasource')).toContain('variables'); // the imports were found
  const walk = (m: string, path: string[]): void => {
    if (path.includes(m)) {
      throw new Error([...path.slice(path.indexOf(m)), m].join(' -> '));
    }
    imports.get(m)!.forEach((next) => walk(next, [...path, m]));
  };
  modules.forEach((m) => walk(m, []));
});
