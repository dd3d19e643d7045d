import { completing, matches } from './completion';

describe('completion', () => {
  it.each<[string, object]>([
    ['plan|', { kind: 'metric', from: 0, text: 'plan' }],
    ['sum(plan|', { kind: 'metric', from: 4, text: 'plan' }],
    ['a{|', { kind: 'label', from: 2, text: '', metric: 'a' }],
    ['a{x="1", pre|', { kind: 'label', from: 9, text: 'pre', metric: 'a' }],
    ['a{pre="in|', { kind: 'value', from: 7, text: 'in', metric: 'a', label: 'pre' }],
    ['a{pre=~"|"}', { kind: 'value', from: 8, text: '', metric: 'a', label: 'pre' }],
    ['a{x="1"}|', { kind: 'none' }],
    ['a > |', { kind: 'none' }],
  ])('%s', (text, want) => {
    expect(completing(text.replace('|', ''), text.indexOf('|'))).toEqual(want);
  });

  it('offers what begins with the text first, and plancast’s own before others', () => {
    expect(matches(['my_latency', 'latency_x', 'plancast_latency', 'up'], 'latency')).toEqual([
      'latency_x',
      'plancast_latency',
      'my_latency',
    ]);
    expect(matches(['up'], 'up')).toEqual([]);
  });
});
