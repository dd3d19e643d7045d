import { DataSourceInstanceSettings } from '@grafana/data';
import { TemplateSrv } from '@grafana/runtime';

import { DataSource } from './datasource';
import { MilestoneOptions, MilestoneQuery, P99 } from './types';

const replace: TemplateSrv['replace'] = (text, _scoped, format) =>
  (text ?? '').replace(/\$\{?model\}?/g, () =>
    typeof format === 'function' ? format('resnet50', {}, undefined as never) : 'resnet50'
  );
const source = new DataSource(
  {
    id: 1,
    uid: 'u',
    type: 't',
    name: 'n',
    jsonData: { defaultHorizon: 7 },
  } as DataSourceInstanceSettings<MilestoneOptions>,
  {
    replace,
    getVariables: () => [],
    containsTemplate: () => false,
    updateTimeRange: () => {},
  } as unknown as TemplateSrv
);
const query = (q: Partial<MilestoneQuery>) => ({ refId: 'A', ...q }) as MilestoneQuery;

describe('the data source', () => {
  it('asks the default question when nothing was asked yet', () => {
    const q = source.applyTemplateVariables(query({}), {});
    expect(q).toMatchObject({ type: 'probability', iterations: 7, criteria: [{ expr: P99.expr, target: '50ms' }] });
    expect(source.filterQuery(query({}))).toBe(true);
  });

  it('sends no question that asks nothing', () => {
    expect(source.filterQuery(query({ type: 'probability', criteria: [] }))).toBe(false);
    expect(source.filterQuery(query({ type: 'probability', source: 'milestone' }))).toBe(false);
    expect(source.filterQuery(query({ type: 'report' }))).toBe(true);
    expect(source.filterQuery(query({ type: 'report', hide: true }))).toBe(false);
  });

  it('puts variables and ad hoc filters in', () => {
    const q = source.applyTemplateVariables(
      query({
        type: 'probability',
        models: '$model',
        criteria: [{ expr: 'a{m="$model"}', comparison: '<', target: '1', unit: '' }],
      }),
      {},
      [
        { key: 'gpu', operator: '=', value: 'L4' },
        { key: 'gpu', operator: '<', value: '1' },
      ]
    );
    expect(q.criteria![0].expr).toBe('a{m="resnet50"}');
    expect(q.models).toBe('resnet50');
    expect(q.adhocFilters).toEqual([{ key: 'gpu', operator: '=', value: 'L4' }]);
  });
});
