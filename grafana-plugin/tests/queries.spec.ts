import { expect, test } from '@grafana/plugin-e2e';

import { ask, dashboard, needsGrafana, panel, picture, query } from './stack';

needsGrafana();

test('every question is answered, and its answer is a panel', async ({ request, page, gotoDashboardPage }) => {
  const uid = await dashboard(request, 'Questions', [
    panel(1, 'Probability', 'stat', query('probability')),
    panel(2, 'Trend', 'timeseries', query('trend', { interval: true, joint: true })),
    panel(3, 'Forecast', 'timeseries', query('forecast', { models: 'resnet50' })),
    panel(4, 'When', 'stat', query('when', { show: 'date', models: 'resnet50' })),
    panel(5, 'Report', 'table', { refId: 'A', type: 'report' }),
    panel(6, 'Drivers', 'bargauge', query('drivers')),
    panel(7, 'Record', 'stat', query('record')),
    panel(8, 'Distribution', 'histogram', query('when', { show: 'distribution', models: 'resnet50' })),
  ]);
  await page.setViewportSize({ width: 1440, height: 2100 });
  const board = await gotoDashboardPage({ uid });
  for (const title of ['Probability', 'Trend', 'Forecast', 'When', 'Report', 'Drivers', 'Record', 'Distribution']) {
    await expect(board.getPanelByTitle(title).locator, title).toBeVisible();
    await expect(board.getPanelByTitle(title).getErrorIcon(), title).toHaveCount(0);
    await expect(board.getPanelByTitle(title).locator.getByText('No data'), title).toHaveCount(0);
  }
  await expect(board.getPanelByTitle('Report').locator.getByText('resnet50').first()).toBeVisible();
  await expect(board.getPanelByTitle('When').locator).toContainText(/20\d\d-\d\d-\d\d/);

  // The panel shows the very number that the API gives.
  const { body } = await ask(request, query('probability'));
  const first = body.results.A.frames[0].data.values[0][0];
  await expect(board.getPanelByTitle('Probability').locator).toContainText(`${Math.round(100 * first)}%`);
  await picture(page, 'questions-dark');

  await page.goto(`/d/${uid}?theme=light`);
  await expect(page.getByText('e2e Questions').first()).toBeVisible();
  await expect(board.getPanelByTitle('Report').locator.getByText('resnet50').first()).toBeVisible();
  await picture(page, 'questions-light');
});

test('the bundled dashboard works, and its variables choose', async ({ page, gotoDashboardPage }) => {
  await page.setViewportSize({ width: 1440, height: 1500 });
  const board = await gotoDashboardPage({ uid: 'plancast-target' });
  await expect(board.getPanelByTitle('Latest results').locator.getByText('yolo-v8').first()).toBeVisible();
  await expect(board.getPanelByTitle('Ready in 5 iterations').locator).toContainText(/\d+%/);
  await picture(page, 'dashboard-dark');
  await page.goto('/d/plancast-target?var-model=resnet50&var-precision=int8');
  await expect(board.getPanelByTitle('Latest results').locator.getByText('resnet50').first()).toBeVisible();
  await expect(board.getPanelByTitle('Latest results').locator.getByText('yolo-v8')).toHaveCount(0);
  await picture(page, 'dashboard-variable');
  await page.goto('/d/plancast-target?theme=light');
  await expect(board.getPanelByTitle('Latest results').locator.getByText('yolo-v8').first()).toBeVisible();
  await picture(page, 'dashboard-light');
});

test('a hostile variable stays a value', async ({ page, request, gotoDashboardPage }) => {
  const uid = await dashboard(
    request,
    'Hostile',
    [
      panel(
        1,
        'Probability',
        'stat',
        query('probability', {
          criteria: [
            {
              expr: 'plancast_engine_latency_seconds{quantile="0.99", model="$model"}',
              comparison: '<',
              target: '40ms',
              unit: 'seconds',
            },
          ],
        })
      ),
    ],
    { templating: { list: [{ name: 'model', type: 'textbox', query: 'resnet50' }] } }
  );
  const board = await gotoDashboardPage({ uid });
  await expect(board.getPanelByTitle('Probability').locator).toContainText(/\d+%/);
  await page.goto(`/d/${uid}?var-model=${encodeURIComponent('x"} or plancast_engine_latency_seconds{quantile="0.99')}`);
  await expect(board.getPanelByTitle('Probability').locator.getByText('No data')).toBeVisible();
});

test('a mistake is shown in its own panel and hides no other', async ({ request }) => {
  for (const [name, q, uid, text] of [
    [
      'bad PromQL',
      query('probability', {
        criteria: [{ expr: 'plancast_engine_latency_seconds{', comparison: '<', target: '1', unit: '' }],
      }),
      'plancast',
      /expression: .*parse error/,
    ],
    [
      'bad target',
      query('probability', { criteria: [{ expr: 'up', comparison: '<', target: 'soon', unit: 'seconds' }] }),
      'plancast',
      /target: "soon" is not a time/,
    ],
    ['down', query('probability'), 'down', /cannot be reached/],
    ['wrong password', query('probability'), 'wrong', /refuses the credentials/],
  ] as const) {
    const { body } = await ask(request, q, uid);
    expect(body.results.A.error, name).toMatch(text);
    expect(body.results.A.errorSource, name).toBe('downstream');
    expect(JSON.stringify(body), name).not.toContain('not-the-password');
  }
  const now = Date.now();
  const response = await request.post('/api/ds/query', {
    data: {
      from: String(now - 86_400_000),
      to: String(now),
      queries: [
        query('probability'),
        { ...query('probability', { criteria: [{ expr: '((', comparison: '<', target: '1', unit: '' }] }), refId: 'B' },
      ].map((q) => ({
        ...q,
        datasource: { type: 'plancast-milestone-datasource', uid: 'plancast' },
      })),
    },
  });
  const body = await response.json();
  expect(body.results.B.error).toContain('parse error');
  expect(body.results.A.frames.length).toBeGreaterThan(0);
});
