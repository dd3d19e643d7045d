import AxeBuilder from '@axe-core/playwright';
import { expect, test } from '@grafana/plugin-e2e';

import { dashboard, needsGrafana, panel, picture, query } from './stack';

needsGrafana();

test('the editor asks in words, completes PromQL by keyboard and reads the question back', async ({
  page,
  request,
  gotoPanelEditPage,
}) => {
  const uid = await dashboard(request, 'Editor', [panel(1, 'P', 'stat', query('probability'))]);
  const edit = await gotoPanelEditPage({ dashboard: { uid }, id: '1' });
  const row = edit.getQueryEditorRow('A');
  await expect(row.getByRole('status')).toContainText('The probability that P99 latency is below 40ms');
  await expect(row.getByRole('status')).toContainText('within 5 further iterations');

  const promql = row.getByRole('combobox', { name: 'PromQL' });
  await promql.fill('plancast_engine_acc');
  await expect(page.getByRole('option', { name: 'plancast_engine_accuracy_deviation_ratio' })).toBeVisible();
  await promql.press('ArrowDown');
  await promql.press('Enter');
  await expect(promql).toHaveValue('plancast_engine_accuracy_deviation_ratio');
  await promql.pressSequentially('{prec');
  await expect(page.getByRole('option', { name: 'precision' })).toBeVisible();
  await promql.press('ArrowDown');
  await promql.press('Tab');
  await expect(promql).toHaveValue('plancast_engine_accuracy_deviation_ratio{precision="');
  await expect(page.getByRole('option', { name: 'int8' })).toBeVisible();
  await picture(page, 'completion');
  await promql.press('Escape');
  await promql.pressSequentially('int8"}');
  await row.getByRole('textbox', { name: 'Target' }).fill('0.003');
  const sent = page.waitForRequest((r) => r.url().includes('/api/ds/query'));
  await row.getByRole('textbox', { name: 'Target' }).press('Enter');
  expect(JSON.stringify((await sent).postDataJSON())).toContain('0.003');
  await expect(row.getByRole('status')).toContainText('is below 0.003');
  await picture(page, 'editor-dark');
});

test('the editor has nothing for axe to complain about', async ({ page, request, gotoPanelEditPage }) => {
  const uid = await dashboard(request, 'Axe', [
    panel(
      1,
      'P',
      'stat',
      query('probability', {
        joint: true,
        criteria: [...query('probability').criteria, { expr: 'up', comparison: '>', target: '1', unit: '' }],
      })
    ),
  ]);
  for (const theme of ['dark', 'light']) {
    await page.goto(`/d/${uid}?theme=${theme}`);
    const edit = await gotoPanelEditPage({ dashboard: { uid }, id: '1' });
    await page.goto(`${page.url()}${page.url().includes('?') ? '&' : '?'}theme=${theme}`);
    await expect(edit.getQueryEditorRow('A').getByRole('status')).toBeVisible();
    await edit.getQueryEditorRow('A').getByText('How the history is read').click();
    await picture(page, `editor-open-${theme}`);
    const result = await new AxeBuilder({ page }).include('[data-testid="plancast-query-editor"]').analyze();
    const complaints = result.violations.flatMap((v) =>
      v.nodes.map((n) => `${v.id}: ${n.target.join(' ')} ${n.html.slice(0, 160)}`)
    );
    expect(complaints, theme).toEqual([]);
  }
});

test('Explore answers the default question', async ({ page }) => {
  const panes = {
    a: {
      datasource: 'plancast',
      queries: [{ refId: 'A', datasource: { type: 'plancast-milestone-datasource', uid: 'plancast' } }],
      range: { from: 'now-60d', to: 'now' },
    },
  };
  await page.goto(`/explore?schemaVersion=1&orgId=1&panes=${encodeURIComponent(JSON.stringify(panes))}`);
  await expect(page.getByRole('combobox', { name: 'Question' })).toBeVisible();
  await page.getByRole('combobox', { name: 'PromQL' }).press('Enter');
  await expect(page.getByText('resnet50').first()).toBeVisible();
  await picture(page, 'explore');
});
