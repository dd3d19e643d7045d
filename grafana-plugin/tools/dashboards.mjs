// Completes dist with the dashboards that plugin.json includes from the repository's dashboards/, where they are
// kept for people without the plugin, too. Fails when one is missing.
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
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
  if (existsSync('../dashboards')) {
    console.error(`src/plugin.json includes ${missing.join(', ')}, which neither src nor the repository has`);
    process.exit(1);
  }
  // Grafana would report each missing file as a fault of the plugin.
  console.log(`left out, since the repository has no dashboards: ${missing.join(', ')}`);
  plugin.includes = plugin.includes.filter((i) => !missing.includes(i.path));
  writeFileSync('dist/plugin.json', JSON.stringify(plugin, null, 2) + '\n');
}
