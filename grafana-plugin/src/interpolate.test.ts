import { escapeRegex, interpolateExpr, interpolateRegex, Replace } from './interpolate';

const values: Record<string, string | string[]> = {
  model: 'resnet50',
  models: ['resnet50', 'bert.base'],
  one: ['a+b'],
  evil: 'x"} or up{a="',
  slash: 'a\\b',
  tick: 'a`b',
  window: '5m',
  metric: 'plancast_iteration',
  sum: 'sum(up)',
};
const replace: Replace = (text, format) => format(values[/\$\{(\w+)/.exec(text)![1]]);

describe('variables in PromQL', () => {
  it.each([
    ['a{m="$model"}', 'a{m="resnet50"}'],
    ['a{m="${model:raw}"}', 'a{m="resnet50"}'],
    ['a{m="[[model]]"}', 'a{m="resnet50"}'],
    ['a{m=~"$models"}', 'a{m=~"(resnet50|bert\\\\.base)"}'],
    ['a{m=~"$one"}', 'a{m=~"a\\\\+b"}'],
    ['a{m="$one"}', 'a{m="a+b"}'],
    ["a{m='$model'}", "a{m='resnet50'}"],
    ['a{m="$evil"}', 'a{m="x\\"} or up{a=\\""}'],
    ['a{m=~"$evil"}', 'a{m=~"x\\"\\\\} or up\\\\{a=\\""}'],
    ['a{m="$slash"}', 'a{m="a\\\\b"}'],
    ['rate($metric[$window])', 'rate(plancast_iteration[5m])'],
    ['a[$__interval] b[${__range}]', 'a[$__interval] b[${__range}]'],
  ])('%s', (text, want) => {
    expect(interpolateExpr(text, replace)).toBe(want);
  });

  it.each([
    ['a{m="$models"}', 'compare it with =~'],
    ['$evil', 'cannot stand outside quotes'],
    ['a + $sum', 'cannot stand outside quotes'],
    ['a{$evil}', 'cannot stand outside quotes'],
    ['a{m=`$tick`}', 'backtick'],
  ])('%s is refused', (text, why) => {
    expect(() => interpolateExpr(text, replace)).toThrow(why);
  });

  it('keeps a regular expression for models one', () => {
    expect(interpolateRegex('$models', replace)).toBe('(resnet50|bert\\.base)');
    expect(escapeRegex('a.b|c')).toBe('a\\.b\\|c');
  });
});
