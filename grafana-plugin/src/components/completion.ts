/** What can be completed at a place in an expression. */
export type Completing =
  | { kind: 'metric'; from: number; text: string }
  | { kind: 'label'; from: number; text: string; metric: string }
  | { kind: 'value'; from: number; text: string; metric: string; label: string }
  | { kind: 'none' };

/** Looks at what stands before the caret. */
export function completing(expr: string, caret: number): Completing {
  const before = expr.slice(0, caret);
  const open = before.lastIndexOf('{');
  if (open > before.lastIndexOf('}')) {
    const inside = before.slice(open + 1);
    const metric = /([a-zA-Z_:][a-zA-Z0-9_:]*)$/.exec(before.slice(0, open))?.[1] ?? '';
    const quotes = inside.replace(/\\./g, '').split('"').length - 1;
    if (quotes % 2 === 1) {
      const m = /([a-zA-Z_][a-zA-Z0-9_]*)\s*(?:=~|!~|!=|=)\s*"([^"]*)$/.exec(inside);
      return m ? { kind: 'value', from: caret - m[2].length, text: m[2], metric, label: m[1] } : { kind: 'none' };
    }
    const m = /(?:^|,)\s*([a-zA-Z_][a-zA-Z0-9_]*)?$/.exec(inside);
    return m ? { kind: 'label', from: caret - (m[1] ?? '').length, text: m[1] ?? '', metric } : { kind: 'none' };
  }
  if ((before.replace(/\\./g, '').split('"').length - 1) % 2 === 1) {
    return { kind: 'none' };
  }
  const m = /(?:^|[^a-zA-Z0-9_:$])([a-zA-Z_:][a-zA-Z0-9_:]*)$/.exec(before);
  const text = m?.[1] ?? '';
  if (!text && before.trim() !== '') {
    return { kind: 'none' };
  }
  return { kind: 'metric', from: caret - text.length, text };
}

/** The best matches: those that begin with the text, then those that hold it; plancast's own first. */
export function matches(all: string[], text: string, limit = 30): string[] {
  const t = text.toLowerCase();
  const rank = (s: string) => {
    const i = s.toLowerCase().indexOf(t);
    return i < 0 ? -1 : (i === 0 ? 0 : 2) + (s.startsWith('plancast_') ? 0 : 1);
  };
  return all
    .map((s) => ({ s, r: rank(s) }))
    .filter((x) => x.r >= 0 && x.s !== text)
    .sort((a, b) => a.r - b.r || a.s.localeCompare(b.s))
    .slice(0, limit)
    .map((x) => x.s);
}
