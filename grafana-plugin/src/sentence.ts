import { Comparison, Criterion, Figure, MilestoneQuery, QuestionType, WORKLOAD_FIGURES } from './types';

export const QUESTIONS: Array<{ value: QuestionType; label: string; description: string }> = [
  {
    value: 'probability',
    label: 'Probability',
    description: 'that the target is met in time; for stats, gauges and alert rules',
  },
  {
    value: 'trend',
    label: 'Probability over time',
    description: 'as forecast at each past moment; for time series',
  },
  {
    value: 'forecast',
    label: 'Forecast',
    description: 'results so far and the range of future ones; for time series',
  },
  { value: 'when', label: 'When', description: 'the expected date or iterations; for stats and histograms' },
  { value: 'report', label: 'Report', description: 'latest figures of every engine; for tables' },
  { value: 'drivers', label: 'Drivers', description: 'what holds the milestone back; for bar gauges and tables' },
  { value: 'record', label: 'Track record', description: 'how accurate past forecasts were; for tables and bars' },
  { value: 'annotations', label: 'Events', description: 'iterations, atypical ones, failed builds, targets met' },
];

export const COMPARISONS: Array<{ value: Comparison; label: string }> = [
  { value: '<', label: 'below' },
  { value: '<=', label: 'at most' },
  { value: '>', label: 'above' },
  { value: '>=', label: 'at least' },
];

const word = (c: Comparison) => COMPARISONS.find((x) => x.value === c)?.label ?? c;

const SELECTOR = /^\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{([^{}]*)\})?\s*$/;

/** The matchers between the braces of a selector. */
const matchersOf = (inside?: string): string[] =>
  (inside ?? '')
    .split(/,(?=(?:[^"]*"[^"]*")*[^"]*$)/)
    .map((m) => m.trim())
    .filter(Boolean);

const tight = (matcher: string) => matcher.replace(/ /g, '');

/** The figure that an expression selects, whatever further labels it names; pkg/models/title.go does the same. */
export function figureOf(expr: string, figures: Figure[]): Figure | undefined {
  const have = SELECTOR.exec(expr);
  const names = matchersOf(have?.[2]).map(tight);
  return figures.find((f) => {
    const want = SELECTOR.exec(f.expr);
    return (
      f.expr === expr ||
      (have && want && have[1] === want[1] && matchersOf(want[2]).every((m) => names.includes(tight(m))))
    );
  });
}

/** The figures of the workload that an expression names; none where it names none. */
export function workloadFigures(expr: string): Figure[] {
  const name = /[{,]\s*workload\s*=\s*"([^"]+)"/.exec(expr)?.[1];
  return name
    ? WORKLOAD_FIGURES.map((f) => ({
        ...f,
        name: `${f.name}@${name}`,
        title: `${f.title} of ${name}`,
        expr: f.expr.replaceAll('$workload', name),
      }))
    : [];
}

/** The expression of another figure, with the further labels of this one. */
export function exprOf(figure: Figure, from: string, figures: Figure[]): string {
  const old = figureOf(from, figures);
  const have = SELECTOR.exec(from);
  const own = old && SELECTOR.exec(old.expr);
  const want = SELECTOR.exec(figure.expr);
  if (!old || !have?.[2] || !want || !own) {
    return figure.expr;
  }
  const left = matchersOf(own[2]).map(tight);
  const rest = matchersOf(have[2]).filter((m) => !left.includes(tight(m)));
  const matchers = [...(want[2] ? [want[2]] : []), ...rest];
  return matchers.length ? `${want[1]}{${matchers.join(', ')}}` : want[1];
}

/** What a criterion is about, in the words of people where there are any. */
export function subject(c: Criterion, figures: Figure[]): string {
  return (
    c.name?.trim() ||
    figureOf(c.expr, [...figures, ...workloadFigures(c.expr)])?.title ||
    c.expr.trim() ||
    'an expression'
  );
}

function conditions(q: MilestoneQuery, figures: Figure[]): string {
  if (q.source === 'milestone') {
    return `the milestone ${q.milestone ? `“${q.milestone}”` : '(choose one)'} is met`;
  }
  const list = (q.criteria ?? []).map(
    (c) => `${subject(c, figures)} is ${word(c.comparison)} ${c.target || '(no target)'}`
  );
  return list.length ? list.join(' and ') : 'a criterion (add one) is met';
}

function who(q: MilestoneQuery): string {
  if (q.source === 'milestone') {
    return q.share === undefined ? '' : ` for at least ${q.share} % of its models`;
  }
  const models = q.models ? ` of models matching ${q.models}` : '';
  if (!q.joint && q.type !== 'drivers') {
    return `, for each series${models}`;
  }
  const share = q.share ?? 100;
  return share >= 100 ? `, for all models together${models}` : `, for at least ${share} % of the models${models}`;
}

function until(q: MilestoneQuery): string {
  const n = q.iterations ?? 5;
  const within = `within ${n} further iteration${n === 1 ? '' : 's'}`;
  const by = `by ${q.deadline || '(no date)'}`;
  switch (q.horizon) {
    case 'date':
      return `, ${by}`;
    case 'both':
      return `, ${by} and ${within}`;
    default:
      return q.source === 'milestone' && !q.horizon ? ' in time' : `, ${within}`;
  }
}

function counted(q: MilestoneQuery): string {
  switch (q.by) {
    case 'change':
      return 'Every new value is an iteration';
    case 'sample':
      return 'Every sample is an iteration';
    default:
      return `Iterations are counted by ${q.iterationSeries || 'plancast_iteration'}`;
  }
}

function worked(q: MilestoneQuery): string {
  switch (q.effort) {
    case 'active':
      return ' People are taken to work on the models.';
    case 'maintenance':
      return ' Nobody is taken to work on the models.';
    default:
      return '';
  }
}

/** Reads a query back as a sentence. */
export function sentence(q: MilestoneQuery, figures: Figure[], history: string): string {
  const what = conditions(q, figures);
  const evidence = `${counted(q)}; ${q.history || history} of history.`;
  const rest = evidence + worked(q);
  switch (q.type) {
    case 'trend':
      return `How the probability that ${what}${who(q)}${until(q)}, changed over the time range. ${rest}`;
    case 'forecast':
      return `The results so far and the 10, 50 and 90 % bands of future ones, against the target: ${what}. ${rest}`;
    case 'when':
      return q.show === 'distribution'
        ? `The chance that ${what}${who(q)}, with exactly the next, the second next, … iteration. ${rest}`
        : `The ${q.show === 'iterations' ? 'further iterations' : 'date'} by which ${what}${who(q)}, with 10, 50 and 90 % probability. ${rest}`;
    case 'report':
      return `The latest figures of every engine${q.models ? ` of models matching ${q.models}` : ''}, the change of P99, and whether targets are met.`;
    case 'drivers':
      return `The probability of each criterion and model of: ${what}${who(q)}${until(q)}; what holds it back first. ${rest}`;
    case 'record':
      return `How accurate past forecasts on these histories were${q.show === 'calibration' ? ', by forecast probability' : ''}. ${evidence}`;
    case 'annotations':
      return `Iterations${(q.criteria ?? []).length || q.source === 'milestone' ? `, atypical ones, and when ${what}` : ''}, and failed builds, in the time range. ${rest}`;
    default:
      return `The probability that ${what}${who(q)}${until(q)}. ${rest}`;
  }
}
