import {
  AdHocVariableFilter,
  CoreApp,
  DataFrame,
  DataQueryRequest,
  DataQueryResponse,
  DataSourceGetTagValuesOptions,
  DataSourceInstanceSettings,
  LegacyMetricFindQueryOptions,
  MetricFindValue,
  ScopedVars,
} from '@grafana/data';
import { DataSourceWithBackend, getTemplateSrv, TemplateSrv } from '@grafana/runtime';
import { map, Observable } from 'rxjs';

import { numbersAsTable } from './explore';
import { interpolateExpr, interpolateRegex, Replace } from './interpolate';
import { AdHocFilter, DEFAULT_QUERY, MilestoneOptions, MilestoneQuery, TERMS, VariableQuery } from './types';
import { VariableSupport } from './variables';

const OPERATORS = new Set(['=', '!=', '=~', '!~']);

export class DataSource extends DataSourceWithBackend<MilestoneQuery, MilestoneOptions> {
  readonly history: string;
  readonly horizon: number;
  private knownMetrics?: Promise<string[]>;

  constructor(
    settings: DataSourceInstanceSettings<MilestoneOptions>,
    private readonly templateSrv: TemplateSrv = getTemplateSrv()
  ) {
    super(settings);
    this.history = settings.jsonData?.history || TERMS.history;
    this.horizon = settings.jsonData?.defaultHorizon || TERMS.horizon;
    this.variables = new VariableSupport((query, options) => this.metricFindQuery(query, options));
    this.annotations = {
      getDefaultQuery: () => ({ type: 'annotations', criteria: DEFAULT_QUERY.criteria }),
    };
  }

  getDefaultQuery(_: CoreApp): Partial<MilestoneQuery> {
    return { ...DEFAULT_QUERY, iterations: this.horizon };
  }

  /** A query that nobody has touched, as Explore opens with, asks the default question. */
  complete(q: MilestoneQuery): MilestoneQuery {
    return q.type || q.criteria ? q : { ...q, ...DEFAULT_QUERY, type: 'probability', iterations: this.horizon };
  }

  /** A query that asks nothing yet is not sent. */
  filterQuery(given: MilestoneQuery): boolean {
    const q = this.complete(given);
    if (q.hide) {
      return false;
    }
    switch (q.type) {
      case 'report':
      case 'annotations':
        return true;
      default:
        return q.source === 'milestone' ? Boolean(q.milestone) : Boolean(q.criteria?.some((c) => c.expr.trim()));
    }
  }

  query(request: DataQueryRequest<MilestoneQuery>): Observable<DataQueryResponse> {
    const answer = super.query(request);
    if (request.app !== CoreApp.Explore) {
      return answer;
    }
    // Each query by itself: one table for each.
    return answer.pipe(
      map((r) => {
        const ids = [...new Set(r.data.map((f: DataFrame) => f.refId))];
        return { ...r, data: ids.flatMap((id) => numbersAsTable(r.data.filter((f: DataFrame) => f.refId === id))) };
      })
    );
  }

  applyTemplateVariables(given: MilestoneQuery, scoped: ScopedVars, filters?: AdHocVariableFilter[]): MilestoneQuery {
    const q = this.complete(given);
    const replace = this.replacer(scoped);
    const text = (t?: string) => (t ? this.templateSrv.replace(t, scoped) : t);
    return {
      ...q,
      criteria: q.criteria?.map((c) => ({
        ...c,
        name: text(c.name),
        expr: interpolateExpr(c.expr, replace),
        target: text(c.target) ?? '',
      })),
      iterationSeries: q.iterationSeries ? interpolateExpr(q.iterationSeries, replace) : q.iterationSeries,
      timeSeries: q.timeSeries ? interpolateExpr(q.timeSeries, replace) : q.timeSeries,
      models: q.models ? interpolateRegex(q.models, replace) : q.models,
      criterion: q.criterion ? interpolateRegex(q.criterion, replace) : q.criterion,
      milestone: text(q.milestone),
      deadline: text(q.deadline),
      environment: text(q.environment),
      history: text(q.history),
      resolution: text(q.resolution),
      legend: text(q.legend),
      adhocFilters: toFilters(filters) ?? q.adhocFilters,
    };
  }

  interpolateVariablesInQueries(queries: MilestoneQuery[], scoped: ScopedVars, filters?: AdHocVariableFilter[]) {
    return queries.map((q) => ({ ...this.applyTemplateVariables(q, scoped, filters), datasource: this.getRef() }));
  }

  private replacer(scoped: ScopedVars): Replace {
    return (text, format) => this.templateSrv.replace(text, scoped, format);
  }

  async metricFindQuery(q: VariableQuery, options?: LegacyMetricFindQueryOptions): Promise<MetricFindValue[]> {
    const replace = this.replacer(options?.scopedVars ?? {});
    const params =
      q.kind === 'label'
        ? {
            label: this.templateSrv.replace(q.label ?? '', options?.scopedVars),
            match: interpolateExpr(q.match ?? '', replace),
          }
        : { of: q.kind };
    if (q.kind === 'label' && !q.label) {
      return [];
    }
    const values: string[] = await this.getResource('values', params);
    return values.map((text) => ({ text, value: text }));
  }

  async getTagKeys(): Promise<MetricFindValue[]> {
    const names: string[] = await this.getResource('labels', { match: '{__name__=~"plancast_.+"}' });
    return names.map((text) => ({ text }));
  }

  async getTagValues(options: DataSourceGetTagValuesOptions<MilestoneQuery>): Promise<MetricFindValue[]> {
    const values: string[] = await this.getResource('values', { label: options.key });
    return values.map((text) => ({ text }));
  }

  metricNames(): Promise<string[]> {
    this.knownMetrics ??= this.getResource<string[]>('metrics').catch(() => {
      this.knownMetrics = undefined;
      return [];
    });
    return this.knownMetrics;
  }

  labelNames(metric: string): Promise<string[]> {
    return this.getResource<string[]>('labels', metric ? { match: metric } : {}).catch(() => []);
  }

  labelValues(label: string, metric: string): Promise<string[]> {
    return this.getResource<string[]>('values', metric ? { label, match: metric } : { label }).catch(() => []);
  }

  milestones(): Promise<string[]> {
    return this.getResource<string[]>('values', { of: 'milestones' }).catch(() => []);
  }
}

function toFilters(filters?: AdHocVariableFilter[]): AdHocFilter[] | undefined {
  return filters
    ?.filter((f) => OPERATORS.has(f.operator))
    .map(({ key, operator, value }) => ({ key, operator, value }));
}
