import { expect, test } from '@grafana/plugin-e2e';

import { needsGrafana, picture } from './stack';

needsGrafana();

test('Save & test of the provisioned data source tells what was found', async ({ gotoDataSourceConfigPage, page }) => {
  const config = await gotoDataSourceConfigPage('plancast');
  await expect(page.getByText('Prometheus API URL')).toBeVisible();
  await expect(config.saveAndTest()).toBeOK();
  await expect(config).toHaveAlert('success', { hasText: /Prometheus 2\..*plancast series, newest result/ });
  await picture(page, 'config');
});

test('a new data source is configured by hand', async ({ createDataSourceConfigPage, page }) => {
  const config = await createDataSourceConfigPage({ type: 'plancast-milestone-datasource' });
  await page.getByPlaceholder('http://localhost:9090').fill(process.env.PROMETHEUS_URL!);
  await expect(config.saveAndTest()).toBeOK();
});

test('a Prometheus that is down is named', async ({ gotoDataSourceConfigPage }) => {
  const config = await gotoDataSourceConfigPage('down');
  await expect(config.saveAndTest()).not.toBeOK();
  await expect(config).toHaveAlert('error', { hasText: /cannot be reached/ });
});

test('a wrong password is reported as such and not shown', async ({ gotoDataSourceConfigPage, page }) => {
  const config = await gotoDataSourceConfigPage('wrong');
  await expect(config.saveAndTest()).not.toBeOK();
  await expect(config).toHaveAlert('error', { hasText: /refuses the credentials \(401\)/ });
  await expect(page.getByText('not-the-password')).toHaveCount(0);
});

test('the right password is accepted', async ({ gotoDataSourceConfigPage }) => {
  const config = await gotoDataSourceConfigPage('secret');
  await expect(config.saveAndTest()).toBeOK();
});
