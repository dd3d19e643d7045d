import { css } from '@emotion/css';
import { Combobox, ComboboxOption, useStyles2 } from '@grafana/ui';
import React from 'react';

interface Props<T extends string> {
  id: string;
  label: string;
  options: Array<ComboboxOption<T>>;
  value: T | null;
  width: number;
  placeholder?: string;
  createCustomValue?: boolean;
  onChange: (value: T) => void;
}

/** A choice within a sentence: its name is there for screen readers only. */
export function Pick<T extends string>({ id, label, onChange, ...rest }: Props<T>) {
  const styles = useStyles2(getStyles);
  return (
    <span>
      <label htmlFor={id} className={styles.unseen}>
        {label}
      </label>
      <Combobox<T> id={id} onChange={(o: ComboboxOption<T>) => onChange(o.value)} {...rest} />
    </span>
  );
}

const getStyles = () => ({
  unseen: css({
    position: 'absolute',
    width: 1,
    height: 1,
    overflow: 'hidden',
    clipPath: 'inset(50%)',
    whiteSpace: 'nowrap',
  }),
});
