// Completes dist with the dashboards that plugin.json includes from the repository's dashboards/, where they are
// kept for people without the plugin, too. Fails when one is missing.
import { copyFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const plugin = JSON.parse(readFileSync('dist/plugin.json', 'utf8'));
const missing = [];
for (const { path } of plugin.includes) {
  const from = join('..', path);
  const to = join('dist', path);
  if (existsSync(join('src', path))) {
    continue; // webpack has copied it
  }
  if (!existsSync(from)) {
    missing.push(path);
    continue;
  }
  JSON.parse(readFileSync(from, 'utf8'));
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, to);
}
if (missing.length > 0) {
  console.error(`src/plugin.json includes ${missing.join(', ')}, which neither src nor the repository has`);
  process.exit(1);
}
