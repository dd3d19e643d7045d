import {
  CustomVariableSupport,
  DataQueryRequest,
  DataQueryResponse,
  DataSourceApi,
  LegacyMetricFindQueryOptions,
  MetricFindValue,
} from '@grafana/data';
import { from, map, Observable } from 'rxjs';

import { VariableEditor } from './components/VariableEditor';
import { MilestoneOptions, MilestoneQuery, VariableQuery } from './types';

type Find = (query: VariableQuery, options?: LegacyMetricFindQueryOptions) => Promise<MetricFindValue[]>;

export class VariableSupport extends CustomVariableSupport<
  DataSourceApi<MilestoneQuery, MilestoneOptions>,
  VariableQuery,
  MilestoneQuery,
  MilestoneOptions
> {
  editor = VariableEditor;

  /** find lists the values that a query names. */
  constructor(private readonly find: Find) {
    super();
  }

  query(request: DataQueryRequest<VariableQuery>): Observable<DataQueryResponse> {
    const [target] = request.targets;
    return from(this.find(target, { scopedVars: request.scopedVars })).pipe(map((data) => ({ data })));
  }

  getDefaultQuery(): Partial<VariableQuery> {
    return { kind: 'models' };
  }
}
