import { expect as expectSoon, test } from '@grafana/plugin-e2e';

import { dashboard, missing, panel } from './stack';

// The screenshots of plugin.json, which the repository keeps. Look at them before you commit them.
test.skip(missing || !process.env.PICTURES, 'make pictures takes the screenshots of plugin.json');

test.setTimeout(600_000);
const expect = expectSoon.configure({ timeout: 180_000 });

const to = (name: string) => ({ path: `src/img/${name}.png`, animations: 'disabled' as const });

test('the dashboard', async ({ page, gotoDashboardPage }) => {
  await page.setViewportSize({ width: 1200, height: 1360 });
  const board = await gotoDashboardPage({ uid: 'plancast-target' });
  await page.goto('/d/plancast-target?theme=light&kiosk');
  await expect(board.getPanelByTitle('Latest results').locator.getByText('yolo-v8').first()).toBeVisible();
  await expect(board.getPanelByTitle('Ready in 5 iterations').locator).toContainText(/\d+%/);
  await page.screenshot(to('dashboard'));
});

test('the query editor', async ({ page, request, gotoPanelEditPage }) => {
  const milestone = { refId: 'A', type: 'probability', source: 'milestone', milestone: 'spring-launch' };
  const steps = [
    { color: 'red', value: null },
    { color: 'orange', value: 0.5 },
    { color: 'green', value: 0.8 },
  ];
  const uid = await dashboard(request, 'Milestone', [
    panel(1, 'Probability', 'gauge', milestone, {
      fieldConfig: { defaults: { thresholds: { mode: 'absolute', steps } }, overrides: [] },
    }),
  ]);
  await page.setViewportSize({ width: 1440, height: 1090 });
  const edit = await gotoPanelEditPage({ dashboard: { uid }, id: '1' });
  await expect(edit.getQueryEditorRow('A').getByRole('status')).toContainText('is met in time');
  await expect(edit.panel.locator).toContainText(/\d+%/);
  const options = await page.getByText('Visualization', { exact: true }).boundingBox();
  const left = 301; // of the panel, beside the menu
  await page.screenshot({ ...to('editor'), clip: { x: left, y: 82, width: options!.x - 20 - left, height: 1000 } });
});
