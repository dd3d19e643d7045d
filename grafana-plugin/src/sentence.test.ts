import { exprOf, figureOf, sentence, workloadFigures } from './sentence';
import { Figure, MilestoneQuery, P99 } from './types';

const throughput: Figure = {
  name: 'throughput',
  title: 'throughput',
  expr: 'plancast_throughput',
  unit: 'per_second',
  lower: false,
};
const top1: Figure = {
  name: 'top1',
  title: 'top-1 accuracy',
  expr: 'plancast_accuracy{measure="top1"}',
  unit: 'ratio',
  lower: false,
};
const figures = [P99, throughput, top1];
const query = (q: Partial<MilestoneQuery>): MilestoneQuery => ({
  refId: 'A',
  type: 'probability',
  criteria: [{ expr: P99.expr, comparison: '<', target: '50ms', unit: 'seconds' }],
  ...q,
});

describe('the sentence', () => {
  it.each<[Partial<MilestoneQuery>, string]>([
    [{}, 'The probability that P99 latency is below 50ms, for each series, within 5 further iterations.'],
    [{ joint: true, share: 80, iterations: 1 }, 'for at least 80 % of the models, within 1 further iteration.'],
    [{ horizon: 'date', deadline: '2027-01-31' }, 'by 2027-01-31.'],
    [{ horizon: 'both', deadline: 'now+30d', iterations: 3 }, 'by now+30d and within 3 further iterations.'],
    [{ source: 'milestone', milestone: 'launch' }, 'the milestone “launch” is met in time.'],
    [{ source: 'milestone', milestone: 'launch', share: 80 }, 'is met for at least 80 % of its models in time.'],
    [{ type: 'when', show: 'iterations' }, 'The further iterations by which'],
    [{ type: 'drivers' }, 'for all models together'],
    [{ by: 'change', history: '90d' }, 'Every new value is an iteration; 90d of history.'],
    [{ models: 'res.*' }, 'of models matching res.*'],
    [{ effort: 'active' }, '365d of history. People are taken to work on the models.'],
    [{ effort: 'maintenance', type: 'forecast' }, '365d of history. Nobody is taken to work on the models.'],
  ])('%j', (q, want) => {
    expect(sentence(query(q), figures, '365d')).toContain(want);
  });
});

describe('figures', () => {
  it('are found with further labels, and keep them when another is chosen', () => {
    const expr = 'plancast_engine_latency_seconds{precision="int8", quantile="0.99"}';
    expect(figureOf(expr, figures)).toBe(P99);
    expect(figureOf('plancast_engine_latency_seconds{quantile="0.5"}', figures)).toBeUndefined();
    expect(figureOf('sum(plancast_throughput)', figures)).toBeUndefined();
    expect(exprOf(throughput, expr, figures)).toBe('plancast_throughput{precision="int8"}');
    expect(exprOf(top1, expr, figures)).toBe('plancast_accuracy{measure="top1", precision="int8"}');
    expect(exprOf(P99, 'up', figures)).toBe(P99.expr);
  });

  it('of a workload are found once an expression names it', () => {
    const expr = 'plancast_workload_latency_seconds{quantile="0.99", workload="chat", precision="int8"}';
    const all = [...figures, ...workloadFigures(expr)];
    expect(figureOf(expr, all)?.title).toBe('P99 latency of chat');
    expect(
      exprOf(
        all.find((f) => f.name === 'goodput@chat')!,
        expr,
        all
      )
    ).toBe('plancast_workload_goodput_requests_per_second{workload="chat", precision="int8"}');
    expect(workloadFigures(P99.expr)).toEqual([]);
    expect(
      sentence(query({ criteria: [{ expr, comparison: '<', target: '50ms', unit: 'seconds' }] }), figures, '365d')
    ).toContain('P99 latency of chat is below 50ms');
  });
});
