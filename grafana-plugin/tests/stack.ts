import { APIRequestContext, expect, Page, test } from '@playwright/test';

export const missing = !process.env.GRAFANA_URL;
export const why = 'GRAFANA_URL names no Grafana; run make e2e with GRAFANA_URL or GRAFANA_START';

/** Skips a file's tests, with the reason, where there is no Grafana. */
export function needsGrafana() {
  test.skip(missing, why);
}

const p99 = 'plancast_engine_latency_seconds{quantile="0.99", precision="int8"}';

export function query(type: string, more: Record<string, unknown> = {}) {
  return {
    refId: 'A',
    type,
    source: 'criteria',
    criteria: [{ expr: p99, comparison: '<', target: '40ms', unit: 'seconds' }],
    horizon: 'iterations',
    iterations: 5,
    ...more,
  };
}

/** Asks the way a panel does, through Grafana's API. */
export async function ask(request: APIRequestContext, q: Record<string, unknown>, uid = 'plancast') {
  const now = Date.now();
  const response = await request.post('/api/ds/query', {
    data: {
      from: String(now - 60 * 86_400_000),
      to: String(now),
      queries: [
        { ...q, datasource: { type: 'plancast-milestone-datasource', uid }, maxDataPoints: 100, intervalMs: 60_000 },
      ],
    },
  });
  return { status: response.status(), body: await response.json() };
}

/** Saves a dashboard of one panel and returns its uid. */
export async function dashboard(
  request: APIRequestContext,
  title: string,
  panels: Array<Record<string, unknown>>,
  more: Record<string, unknown> = {}
) {
  const uid = `e2e-${title.toLowerCase().replace(/\W+/g, '-')}`;
  const response = await request.post('/api/dashboards/db', {
    data: {
      overwrite: true,
      dashboard: {
        uid,
        title: `e2e ${title}`,
        schemaVersion: 41,
        time: { from: 'now-60d', to: 'now+20d' },
        panels,
        ...more,
      },
    },
  });
  expect(response.ok(), await response.text()).toBe(true);
  return uid;
}

export function panel(
  id: number,
  title: string,
  type: string,
  target: Record<string, unknown>,
  more: Record<string, unknown> = {}
) {
  return {
    id,
    title,
    type,
    gridPos: { x: ((id - 1) % 2) * 12, y: Math.floor((id - 1) / 2) * 9, w: 12, h: 9 },
    datasource: { type: 'plancast-milestone-datasource', uid: 'plancast' },
    targets: [{ ...target, datasource: { type: 'plancast-milestone-datasource', uid: 'plancast' } }],
    ...more,
  };
}

/** A picture for people to look at, kept out of the repository. */
export async function picture(page: Page, name: string) {
  await page.screenshot({ path: `test-results/pictures/${name}.png`, animations: 'disabled' });
}
