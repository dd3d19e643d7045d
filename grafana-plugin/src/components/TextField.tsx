import { Input } from '@grafana/ui';
import React, { useState } from 'react';

interface Props {
  id: string;
  label: string;
  value: string;
  width: number;
  placeholder?: string;
  type?: 'text' | 'number';
  onChange: (value: string) => void;
}

/** A text that becomes part of the query when it is left or confirmed with Enter. */
export function TextField({ id, label, value, width, placeholder, type, onChange }: Props) {
  const [text, setText] = useState(value);
  const [given, setGiven] = useState(value);
  if (value !== given) {
    setGiven(value);
    setText(value);
  }
  const commit = () => {
    if (text !== value) {
      onChange(text);
    }
  };
  return (
    <Input
      id={id}
      aria-label={label}
      type={type}
      width={width}
      value={text}
      placeholder={placeholder}
      onChange={(e) => setText(e.currentTarget.value)}
      onBlur={commit}
      onKeyDown={(e) => e.key === 'Enter' && commit()}
    />
  );
}
