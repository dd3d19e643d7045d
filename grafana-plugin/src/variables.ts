import { CustomVariableSupport, DataQueryRequest, DataQueryResponse } from '@grafana/data';
import { from, map, Observable } from 'rxjs';

import { VariableEditor } from './components/VariableEditor';
import type { DataSource } from './datasource';
import { MilestoneOptions, MilestoneQuery, VariableQuery } from './types';

export class VariableSupport extends CustomVariableSupport<
  DataSource,
  VariableQuery,
  MilestoneQuery,
  MilestoneOptions
> {
  editor = VariableEditor;

  constructor(private readonly datasource: DataSource) {
    super();
  }

  query(request: DataQueryRequest<VariableQuery>): Observable<DataQueryResponse> {
    const [target] = request.targets;
    return from(this.datasource.metricFindQuery(target, { scopedVars: request.scopedVars })).pipe(
      map((data) => ({ data }))
    );
  }

  getDefaultQuery(): Partial<VariableQuery> {
    return { kind: 'models' };
  }
}
