import { DataSourceJsonData } from '@grafana/data';
import { DataQuery } from '@grafana/schema';

import terms from './terms.json';

/** The questions; pkg/models/query.go is the twin of this file. */
export type QuestionType =
  'probability' | 'trend' | 'forecast' | 'when' | 'report' | 'drivers' | 'record' | 'annotations';

export type Comparison = '<' | '<=' | '>' | '>=';
export type Unit = '' | 'seconds' | 'ratio' | 'bytes' | 'per_second';
export type By = 'series' | 'change' | 'sample';
export type Horizon = 'iterations' | 'date' | 'both';
export type Effort = 'active' | 'maintenance';
export type Show = 'date' | 'iterations' | 'distribution' | 'score' | 'calibration';

export interface Criterion {
  name?: string;
  expr: string;
  comparison: Comparison;
  /** A quantity such as "50ms", or a number in the base unit. */
  target: string;
  unit: Unit;
}

export interface AdHocFilter {
  key: string;
  operator: string;
  value: string;
}

export interface MilestoneQuery extends DataQuery {
  type: QuestionType;
  source?: 'criteria' | 'milestone';
  milestone?: string;
  criteria?: Criterion[];
  /** One answer for all series together. */
  joint?: boolean;
  /** Share of the models that must be ready, in percent. */
  share?: number;
  modelLabel?: string;
  /** Regular expression on the model label. */
  models?: string;
  horizon?: Horizon;
  iterations?: number;
  deadline?: string;
  /** Probability from which it counts as on track, in percent. */
  ready?: number;
  /** Whether people work on the models; inferred from their histories when absent. */
  effort?: Effort;
  by?: By;
  iterationSeries?: string;
  timeSeries?: string;
  environmentLabel?: string;
  environment?: string;
  history?: string;
  resolution?: string;
  interval?: boolean;
  /** Of a forecast: a regular expression on the criteria, written as "p99 < 50 ms". */
  criterion?: string;
  show?: Show;
  legend?: string;
  adhocFilters?: AdHocFilter[];
}

/** One of the quantities that plancast publishes. */
export interface Figure {
  name: string;
  title: string;
  expr: string;
  unit: Unit;
  lower: boolean;
}

/** What the backend and the exporter define once; terms.json is written from it. */
export const TERMS = terms;

export const FIGURES = terms.figures as Figure[];

/** The figures of a workload; in their expressions $workload stands for its name. */
export const WORKLOAD_FIGURES = terms.workloadFigures as Figure[];

export const P99: Figure = FIGURES.find((f) => f.name === 'p99')!;

export const DEFAULT_QUERY: Partial<MilestoneQuery> = {
  type: 'probability',
  source: 'criteria',
  criteria: [{ expr: P99.expr, comparison: '<', target: '50ms', unit: 'seconds' }],
  joint: false,
  horizon: 'iterations',
  iterations: terms.horizon,
};

export interface MilestoneOptions extends DataSourceJsonData {
  httpMethod?: 'GET' | 'POST';
  history?: string;
  defaultHorizon?: number;
  resolution?: string;
  cacheSeconds?: number;
  cacheMegabytes?: number;
  maxSeries?: number;
  maxMegabytes?: number;
  maxRequests?: number;
}

export type VariableKind = 'milestones' | 'models' | 'precisions' | 'devices' | 'backends' | 'label';

export interface VariableQuery extends DataQuery {
  kind: VariableKind;
  /** For kind "label". */
  label?: string;
  match?: string;
}
