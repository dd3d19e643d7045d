/**
 * Puts the values of dashboard variables into PromQL so that a value stays a value: inside quotes it is
 * escaped for the string and, after =~ or !~, for the regular expression; outside quotes only what is
 * a name, a number or a duration is let through. No value can end a string, add a selector or an operator.
 */
const VARIABLE = /\$(\w+)|\[\[(\w+?)(?::\w+)?\]\]|\$\{(\w+)(?:\.([^:^}]+))?(?::[^}]+)?\}/g;

/** A function such as templateSrv.replace, with its formatter. */
export type Replace = (text: string, format: (value: unknown) => string) => string;

const PLAIN = /^(?:[a-zA-Z_:][a-zA-Z0-9_:]*|\d+(?:\.\d+)?(?:e[+-]?\d+)?|(?:\d+(?:ms|[smhdwy]))+)$/;

type Quote = '"' | "'" | '`';

export function escapeRegex(value: string): string {
  return value.replace(/[\\^$*+?.()|[\]{}]/g, '\\$&');
}

function escapeString(value: string, quote: Quote, name: string): string {
  if (quote === '`') {
    if (value.includes('`')) {
      throw new Error(
        `The value of $${name} holds a backtick and cannot stand in a backtick string: use double quotes.`
      );
    }
    return value;
  }
  return value
    .replace(/\\/g, '\\\\')
    .replace(/\n/g, '\\n')
    .replace(quote === '"' ? /"/g : /'/g, '\\' + quote);
}

interface Place {
  quote?: Quote;
  regex: boolean;
}

/** Where in the expression each position is: in which kind of string, and whether it is a regular expression. */
function place(expr: string, position: number): Place {
  let quote: Quote | undefined;
  let regex = false;
  for (let i = 0; i < position; i++) {
    const c = expr[i];
    if (quote) {
      if (c === '\\' && quote !== '`') {
        i++;
      } else if (c === quote) {
        quote = undefined;
      }
    } else if (c === '"' || c === "'" || c === '`') {
      quote = c;
      regex = /[=!]~\s*$/.test(expr.slice(0, i));
    } else if (c === '#') {
      const end = expr.indexOf('\n', i);
      i = end < 0 || end >= position ? position : end;
    }
  }
  return { quote, regex: Boolean(quote) && regex };
}

export function interpolateExpr(expr: string, replace: Replace): string {
  return expr.replace(VARIABLE, (match, plain, brackets, braces, path, offset: number) => {
    const name: string = plain ?? brackets ?? braces;
    if (name.startsWith('__')) {
      return match; // the backend knows the history's step and length
    }
    const { quote, regex } = place(expr, offset);
    const reference = path ? `\${${name}.${path}}` : `\${${name}}`;
    return replace(reference, (value) => {
      const values = (Array.isArray(value) ? value : [value]).map(String);
      if (!quote) {
        if (values.length !== 1 || !PLAIN.test(values[0])) {
          throw new Error(
            `The value of $${name} is not a name, number or duration, so it cannot stand outside quotes: write label=~"$${name}".`
          );
        }
        return values[0];
      }
      if (regex) {
        const escaped = values.map(escapeRegex);
        return escapeString(escaped.length === 1 ? escaped[0] : `(${escaped.join('|')})`, quote, name);
      }
      if (values.length !== 1) {
        throw new Error(`$${name} has ${values.length} values: compare it with =~ instead of =.`);
      }
      return escapeString(values[0], quote, name);
    });
  });
}

/** Puts values into a regular expression, as the field for models takes it. */
export function interpolateRegex(text: string, replace: Replace): string {
  return text.replace(VARIABLE, (match, plain, brackets, braces) => {
    const name: string = plain ?? brackets ?? braces;
    return replace(`\${${name}}`, (value) => {
      const escaped = (Array.isArray(value) ? value : [value]).map(String).map(escapeRegex);
      return escaped.length === 1 ? escaped[0] : `(${escaped.join('|')})`;
    });
  });
}
