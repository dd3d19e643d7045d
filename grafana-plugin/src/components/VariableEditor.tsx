import { DataSourceApi, QueryEditorProps } from '@grafana/data';
import { Combobox, InlineField, Input, Stack } from '@grafana/ui';
import React, { useState } from 'react';

import { MilestoneOptions, MilestoneQuery, VariableKind, VariableQuery } from '../types';

type Props = QueryEditorProps<
  DataSourceApi<MilestoneQuery, MilestoneOptions>,
  MilestoneQuery,
  MilestoneOptions,
  VariableQuery
>;

const KINDS: Array<{ value: VariableKind; label: string; description: string }> = [
  { value: 'models', label: 'Models', description: 'every model that has an iteration' },
  { value: 'milestones', label: 'Milestones', description: 'milestones that the exporter publishes' },
  { value: 'precisions', label: 'Precisions', description: 'fp32, fp16, int8' },
  { value: 'devices', label: 'Devices', description: 'GPUs and CPUs that were measured on' },
  { value: 'backends', label: 'Backends', description: 'tensorrt, onnxruntime' },
  { value: 'label', label: 'Values of a label', description: 'of the series that match a selector' },
];

export function VariableEditor({ query, onChange }: Props) {
  const kind = query.kind ?? 'models';
  const [label, setLabel] = useState(query.label ?? '');
  const [match, setMatch] = useState(query.match ?? '');
  const save = (change: Partial<VariableQuery>) =>
    onChange({ ...query, kind, refId: query.refId || 'variable', ...change });

  return (
    <Stack direction="column" gap={1}>
      <InlineField label="List of" labelWidth={14} htmlFor="variable-kind">
        <Combobox
          id="variable-kind"
          width={32}
          options={KINDS}
          value={kind}
          onChange={(o) => save({ kind: o.value })}
        />
      </InlineField>
      {kind === 'label' && (
        <>
          <InlineField label="Label" labelWidth={14} htmlFor="variable-label">
            <Input
              id="variable-label"
              width={32}
              value={label}
              placeholder="precision"
              onChange={(e) => setLabel(e.currentTarget.value)}
              onBlur={() => save({ label })}
            />
          </InlineField>
          <InlineField
            label="Selector"
            labelWidth={14}
            htmlFor="variable-match"
            tooltip="Optional; put variables in quotes"
          >
            <Input
              id="variable-match"
              width={64}
              value={match}
              placeholder='plancast_iteration{model="$model"}'
              onChange={(e) => setMatch(e.currentTarget.value)}
              onBlur={() => save({ match })}
            />
          </InlineField>
        </>
      )}
    </Stack>
  );
}
