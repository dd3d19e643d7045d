import { expect, test } from '@grafana/plugin-e2e';

import { needsGrafana, picture, query } from './stack';

needsGrafana();

test('an alert rule on a probability is saved, evaluated and fires', async ({ request, page }) => {
  const folder = await request.post('/api/folders', { data: { uid: 'e2e-alerts', title: 'e2e alerts' } });
  expect([200, 409, 412]).toContain(folder.status());
  const group = {
    name: 'milestones',
    interval: '10s',
    rules: [
      {
        grafana_alert: {
          title: 'resnet50 is not ready',
          condition: 'C',
          no_data_state: 'NoData',
          exec_err_state: 'Error',
          data: [
            {
              refId: 'A',
              datasourceUid: 'plancast',
              relativeTimeRange: { from: 3600, to: 0 },
              model: query('probability', { models: 'resnet50' }),
            },
            {
              refId: 'C',
              datasourceUid: '__expr__',
              relativeTimeRange: { from: 0, to: 0 },
              model: {
                refId: 'C',
                type: 'threshold',
                expression: 'A',
                conditions: [{ evaluator: { type: 'lt', params: [0.99] } }],
              },
            },
          ],
        },
        for: '0s',
        annotations: { summary: 'P99 will not be met in time' },
        labels: {},
      },
    ],
  };
  const saved = await request.post('/api/ruler/grafana/api/v1/rules/e2e-alerts', { data: group });
  expect(saved.status(), await saved.text()).toBe(202);
  await expect
    .poll(
      async () => {
        const rules = await (await request.get('/api/prometheus/grafana/api/v1/rules')).json();
        const rule = rules.data.groups
          .flatMap((g: { rules: Array<Record<string, unknown>> }) => g.rules)
          .find((r: Record<string, unknown>) => r.name === 'resnet50 is not ready');
        return `${rule?.state} ${rule?.health} ${rule?.lastError ?? ''}`.trim();
      },
      { timeout: 90_000, intervals: [1000] }
    )
    .toBe('firing ok');
  await page.goto('/alerting/list');
  await expect(page.getByText('e2e alerts').first()).toBeVisible();
  await picture(page, 'alert');
});
