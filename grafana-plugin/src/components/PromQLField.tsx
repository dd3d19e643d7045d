import { css } from '@emotion/css';
import { GrafanaTheme2 } from '@grafana/data';
import { Input, useStyles2 } from '@grafana/ui';
import React, { KeyboardEvent, useEffect, useId, useRef, useState } from 'react';

import type { DataSource } from '../datasource';
import { completing, matches } from './completion';

interface Props {
  id: string;
  label: string;
  value: string;
  datasource: DataSource;
  onChange: (value: string) => void;
  onRun: () => void;
}

/**
 * A PromQL expression with completion of metrics, labels and values, as the combobox pattern of WAI-ARIA
 * has it: arrows choose, Enter or Tab takes, Escape closes; Enter alone or Shift+Enter runs the query.
 */
export function PromQLField({ id, label, value, datasource, onChange, onRun }: Props) {
  const styles = useStyles2(getStyles);
  const list = useId();
  const input = useRef<HTMLInputElement>(null);
  const [text, setText] = useState(value);
  const [options, setOptions] = useState<string[]>([]);
  const [active, setActive] = useState(-1);
  const [given, setGiven] = useState(value);
  const latest = useRef(0);

  if (value !== given) {
    // The query was changed from outside.
    setGiven(value);
    setText(value);
  }
  useEffect(() => {
    document.getElementById(`${list}-${active}`)?.scrollIntoView({ block: 'nearest' });
  }, [active, list]);

  const close = () => {
    latest.current++;
    setOptions([]);
    setActive(-1);
  };
  const suggest = async (expr: string, caret: number) => {
    const turn = ++latest.current;
    const at = completing(expr, caret);
    let all: string[] = [];
    switch (at.kind) {
      case 'metric':
        all = at.text.length > 0 ? await datasource.metricNames() : [];
        break;
      case 'label':
        all = await datasource.labelNames(at.metric);
        break;
      case 'value':
        all = await datasource.labelValues(at.label, at.metric);
        break;
    }
    if (turn !== latest.current) {
      return; // something newer was typed
    }
    setOptions(at.kind === 'none' ? [] : matches(all, at.text));
    setActive(-1);
  };
  const take = (option: string) => {
    const caret = input.current?.selectionStart ?? text.length;
    const at = completing(text, caret);
    if (at.kind === 'none') {
      return;
    }
    const escaped = at.kind === 'value' ? option.replace(/\\/g, '\\\\').replace(/"/g, '\\"') : option;
    const tail = at.kind === 'label' ? '="' : at.kind === 'value' && text[caret] !== '"' ? '"' : '';
    const next = text.slice(0, at.from) + escaped + tail + text.slice(caret);
    const position = at.from + escaped.length + tail.length;
    setText(next);
    close();
    requestAnimationFrame(() => {
      input.current?.setSelectionRange(position, position);
      if (at.kind === 'label') {
        void suggest(next, position);
      }
    });
  };
  const commit = () => {
    if (text !== value) {
      onChange(text);
    }
  };
  const onKeyDown = (e: KeyboardEvent<HTMLInputElement>) => {
    const open = options.length > 0;
    if (open && (e.key === 'ArrowDown' || e.key === 'ArrowUp')) {
      e.preventDefault();
      const step = e.key === 'ArrowDown' ? 1 : -1;
      setActive((a) => (a + step + options.length + (a < 0 && step < 0 ? 1 : 0)) % options.length);
    } else if (open && active >= 0 && (e.key === 'Enter' || e.key === 'Tab')) {
      e.preventDefault();
      take(options[active]);
    } else if (open && e.key === 'Escape') {
      e.preventDefault();
      e.stopPropagation();
      close();
    } else if (e.key === 'Enter') {
      close();
      commit();
      onRun();
    }
  };

  return (
    <div className={styles.box}>
      <Input
        id={id}
        ref={input}
        value={text}
        aria-label={label}
        role="combobox"
        aria-autocomplete="list"
        aria-expanded={options.length > 0}
        aria-controls={list}
        aria-activedescendant={active >= 0 ? `${list}-${active}` : undefined}
        autoComplete="off"
        spellCheck={false}
        className={styles.input}
        placeholder='plancast_engine_latency_seconds{quantile="0.99"}'
        onChange={(e) => {
          setText(e.currentTarget.value);
          void suggest(e.currentTarget.value, e.currentTarget.selectionStart ?? e.currentTarget.value.length);
        }}
        onKeyDown={onKeyDown}
        onBlur={() => {
          close();
          commit();
        }}
      />
      <ul
        id={list}
        role="listbox"
        aria-label={`Completions of ${label}`}
        className={styles.list}
        hidden={options.length === 0}
      >
        {options.map((o, i) => (
          <li
            key={o}
            id={`${list}-${i}`}
            role="option"
            aria-selected={i === active}
            className={i === active ? styles.active : styles.option}
            onMouseDown={(e) => {
              e.preventDefault(); // the field keeps the focus
              take(o);
            }}
          >
            {o}
          </li>
        ))}
      </ul>
    </div>
  );
}

const getStyles = (theme: GrafanaTheme2) => {
  const option = {
    padding: theme.spacing(0.5, 1),
    fontFamily: theme.typography.fontFamilyMonospace,
    fontSize: theme.typography.bodySmall.fontSize,
    cursor: 'pointer',
    whiteSpace: 'nowrap' as const,
  };
  return {
    box: css({ position: 'relative', flexGrow: 1, minWidth: theme.spacing(40) }),
    input: css({ input: { fontFamily: theme.typography.fontFamilyMonospace } }),
    list: css({
      position: 'absolute',
      zIndex: theme.zIndex.dropdown,
      top: '100%',
      left: 0,
      minWidth: '50%',
      maxHeight: theme.spacing(32),
      overflow: 'auto',
      margin: 0,
      listStyle: 'none',
      background: theme.colors.background.elevated ?? theme.colors.background.primary,
      border: `1px solid ${theme.colors.border.medium}`,
      borderRadius: theme.shape.radius.default,
      boxShadow: theme.shadows.z2,
    }),
    option: css({ ...option, '&:hover': { background: theme.colors.action.hover } }),
    active: css({ ...option, background: theme.colors.action.selected }),
  };
};
