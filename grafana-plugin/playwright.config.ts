import type { PluginOptions } from '@grafana/plugin-e2e';
import { defineConfig, devices } from '@playwright/test';
import { dirname } from 'node:path';

const auth = `${dirname(require.resolve('@grafana/plugin-e2e'))}/auth`;

/** make e2e starts Grafana and Prometheus and names them; without GRAFANA_URL every test is skipped. */
export default defineConfig<PluginOptions>({
  testDir: './tests',
  fullyParallel: false,
  workers: 1,
  forbidOnly: Boolean(process.env.CI),
  // A shared machine may stall for longer than any time-out; what passes in its second run is reported as flaky.
  retries: process.env.CI ? 1 : 0,
  reporter: [['list']],
  timeout: 120_000,
  expect: { timeout: 30_000 },
  outputDir: 'test-results',
  use: {
    baseURL: process.env.GRAFANA_URL || 'http://localhost:3000',
    trace: 'retain-on-failure',
    viewport: { width: 1440, height: 1000 },
    launchOptions: {
      // Debian's browser: Playwright's own cannot be downloaded where only package registries are reached.
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-dev-shm-usage', // containers have little of it
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    },
  },
  projects: process.env.GRAFANA_URL
    ? [
        { name: 'auth', testDir: auth, testMatch: [/.*\.js/] },
        {
          name: 'chromium',
          use: {
            ...devices['Desktop Chrome'],
            viewport: { width: 1440, height: 1000 },
            storageState: 'playwright/.auth/admin.json',
          },
          dependencies: ['auth'],
        },
      ]
    : [{ name: 'chromium', use: { ...devices['Desktop Chrome'] } }],
});
