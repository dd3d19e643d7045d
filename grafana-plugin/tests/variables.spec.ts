import { expect, test } from '@grafana/plugin-e2e';

import { dashboard, needsGrafana, panel, picture, query } from './stack';

needsGrafana();

const plancast = { type: 'plancast-milestone-datasource', uid: 'plancast' };

test('variables list what there is, and choose it', async ({ page, request, gotoDashboardPage }) => {
  const list = (name: string, q: Record<string, unknown>) => ({
    name,
    label: name,
    type: 'query',
    datasource: plancast,
    query: { refId: 'variable', ...q },
    refresh: 1,
  });
  const chosen = query('probability', { models: '$model' });
  const uid = await dashboard(request, 'Variables', [panel(1, 'Probability', 'stat', chosen)], {
    templating: {
      list: [
        list('model', { kind: 'models' }),
        list('milestone', { kind: 'milestones' }),
        list('quantile', {
          kind: 'label',
          label: 'quantile',
          match: 'plancast_engine_latency_seconds{model="$model"}',
        }),
      ],
    },
  });
  const board = await gotoDashboardPage({ uid });
  await expect(board.getPanelByTitle('Probability').locator).toContainText(/\d+%/);
  for (const value of ['bert-base', 'spring-launch', '0.5']) {
    await expect(page.getByText(value, { exact: true }).first(), value).toBeVisible();
  }
  await page.goto(`/d/${uid}?editview=variables&editIndex=0`);
  await expect(page.getByRole('combobox', { name: 'List of' })).toHaveValue('Models');
  for (const model of ['bert-base', 'resnet50', 'yolo-v8']) {
    await expect(page.getByText(model, { exact: true }).first(), model).toBeVisible();
  }
  await picture(page, 'variable');
});

test('ad hoc filters narrow every expression', async ({ page, request, gotoDashboardPage }) => {
  const uid = await dashboard(
    request,
    'Filters',
    [
      panel(
        1,
        'Probability',
        'stat',
        query('probability', {
          criteria: [
            {
              expr: 'plancast_engine_latency_seconds{quantile="0.99"}',
              comparison: '<',
              target: '40ms',
              unit: 'seconds',
            },
          ],
        })
      ),
    ],
    { templating: { list: [{ name: 'filters', type: 'adhoc', datasource: plancast }] } }
  );
  const board = await gotoDashboardPage({ uid });
  await expect(board.getPanelByTitle('Probability').locator).toContainText('yolo-v8');
  await page.goto(`/d/${uid}?var-filters=${encodeURIComponent('model|=|resnet50')}`);
  await expect(board.getPanelByTitle('Probability').locator).toContainText('int8');
  await expect(board.getPanelByTitle('Probability').locator).not.toContainText('yolo-v8');
  await picture(page, 'filters');
});

test('events are annotations', async ({ page, request, gotoDashboardPage }) => {
  const uid = await dashboard(
    request,
    'Events',
    [panel(1, 'Trend', 'timeseries', query('trend', { models: 'yolo-v8' }), { gridPos: { x: 0, y: 0, w: 24, h: 16 } })],
    {
      annotations: {
        list: [
          {
            name: 'Events',
            enable: true,
            iconColor: 'orange',
            datasource: plancast,
            target: { ...query('annotations', { models: 'yolo-v8' }), datasource: plancast },
          },
        ],
      },
    }
  );
  const board = await gotoDashboardPage({ uid });
  const markers = board.getPanelByTitle('Trend').locator.getByTestId('data-testid annotation-marker');
  await expect(markers.first()).toBeVisible();
  expect(await markers.count()).toBeGreaterThan(10);
  await markers.last().hover({ force: true });
  await expect(page.getByText(/yolo-v8/).last()).toBeVisible();
  await picture(page, 'events');
});

test('a published milestone is asked by its name', async ({ page, request, gotoPanelEditPage }) => {
  const own = { refId: 'A', type: 'probability', source: 'milestone', milestone: 'spring-launch' };
  const uid = await dashboard(request, 'Milestone', [panel(1, 'P', 'gauge', own)]);
  const edit = await gotoPanelEditPage({ dashboard: { uid }, id: '1' });
  const row = edit.getQueryEditorRow('A');
  await expect(row.getByRole('status')).toContainText(
    'The probability that the milestone “spring-launch” is met in time.'
  );
  await expect(row.getByRole('combobox', { name: 'Milestone' })).toHaveValue('spring-launch');
  await expect(edit.panel.locator).toContainText(/\d+%/);
  await picture(page, 'milestone');
});
