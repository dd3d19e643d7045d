import { css } from '@emotion/css';
import { GrafanaTheme2, QueryEditorProps } from '@grafana/data';
import {
  Button,
  Collapse,
  Combobox,
  IconButton,
  InlineField,
  InlineSwitch,
  RadioButtonGroup,
  Stack,
  useStyles2,
} from '@grafana/ui';
import React, { useEffect, useState } from 'react';

import type { DataSource } from '../datasource';
import { COMPARISONS, exprOf, figureOf, QUESTIONS, sentence, workloadFigures } from '../sentence';
import {
  By,
  Criterion,
  Effort,
  FIGURES,
  Horizon,
  MilestoneOptions,
  MilestoneQuery,
  P99,
  Show,
  TERMS,
  Unit,
} from '../types';
import { Pick } from './Pick';
import { PromQLField } from './PromQLField';
import { TextField } from './TextField';

type Props = QueryEditorProps<DataSource, MilestoneQuery, MilestoneOptions>;

const OWN = 'expression';

const UNITS: Array<{ value: Unit | 'none'; label: string }> = [
  { value: 'none', label: 'a number' },
  { value: 'seconds', label: 'seconds' },
  { value: 'ratio', label: 'a share' },
  { value: 'bytes', label: 'bytes' },
  { value: 'per_second', label: 'per second' },
];

const HORIZONS: Array<{ value: Horizon; label: string }> = [
  { value: 'iterations', label: 'within' },
  { value: 'date', label: 'by' },
  { value: 'both', label: 'by a date and within' },
];

const SHOWS: Partial<Record<MilestoneQuery['type'], Array<{ value: Show; label: string }>>> = {
  when: [
    { value: 'date', label: 'date' },
    { value: 'iterations', label: 'iterations' },
    { value: 'distribution', label: 'distribution' },
  ],
  record: [
    { value: 'score', label: 'scores' },
    { value: 'calibration', label: 'calibration' },
  ],
};

const BY: Array<{ value: By; label: string; description: string }> = [
  { value: 'series', label: 'an iteration series', description: 'A series with the number of the iteration' },
  { value: 'change', label: 'value change', description: 'Every new value is an iteration' },
  { value: 'sample', label: 'every sample', description: 'For metrics pushed once per iteration' },
];

const EFFORTS: Array<{ value: Effort | 'inferred'; label: string; description?: string }> = [
  { value: 'inferred', label: 'inferred', description: 'From the history, or as the milestone states' },
  { value: 'active', label: 'active', description: 'People work on the models' },
  { value: 'maintenance', label: 'maintenance', description: 'Nobody works on the models' },
];

export function QueryEditor({ query: given, onChange, onRunQuery, datasource }: Props) {
  const styles = useStyles2(getStyles);
  const query = datasource.complete(given);
  const [milestones, setMilestones] = useState<string[]>([]);
  const [open, setOpen] = useState(false);
  const byMilestone = query.source === 'milestone';
  const id = (part: string) => `plancast-${query.refId}-${part}`;

  useEffect(() => {
    // Explore does not run a query that holds nothing, so the default question is written down.
    if (query !== given) {
      onChange(query);
    }
    // eslint-disable-next-line react-hooks/exhaustive-deps -- once, when the editor opens
  }, []);
  useEffect(() => {
    let here = true;
    if (byMilestone) {
      void datasource.milestones().then((m) => here && setMilestones(m));
    }
    return () => {
      here = false;
    };
  }, [datasource, byMilestone]);

  const change = (c: Partial<MilestoneQuery>, run = true) => {
    onChange({ ...query, ...c });
    if (run) {
      onRunQuery();
    }
  };
  const criteria = query.criteria ?? [];
  const setCriterion = (i: number, c: Partial<Criterion>) =>
    change({ criteria: criteria.map((old, k) => (k === i ? { ...old, ...c } : old)) });

  const timed = !['report', 'record', 'annotations', 'forecast'].includes(query.type);
  const asksCriteria = query.type !== 'report';
  const foresees = !['report', 'record'].includes(query.type);
  const together = ['probability', 'trend', 'when', 'drivers'].includes(query.type);
  const horizon = query.horizon ?? (byMilestone ? undefined : 'iterations');

  const criterion = (c: Criterion, i: number) => {
    const figures = [...FIGURES, ...workloadFigures(c.expr)];
    const figure = figureOf(c.expr, figures);
    const n = criteria.length > 1 ? ` ${i + 1}` : '';
    return (
      <div key={i} role="group" aria-label={`Criterion${n}`} className={styles.criterion}>
        <Stack direction="row" gap={1} wrap="wrap" alignItems="center">
          <span className={styles.word}>{i === 0 ? 'that' : 'and'}</span>
          <Pick
            id={id(`figure-${i}`)}
            label={`Figure${n}`}
            width={26}
            options={[
              ...figures.map((f) => ({ value: f.name, label: f.title })),
              { value: OWN, label: 'a PromQL expression' },
            ]}
            value={figure?.name ?? OWN}
            onChange={(v) => {
              const f = figures.find((x) => x.name === v);
              if (f) {
                setCriterion(i, {
                  expr: exprOf(f, c.expr, figures),
                  unit: f.unit,
                  comparison: f.lower ? '<' : '>',
                  name: undefined,
                });
              } else {
                setCriterion(i, { expr: '', name: undefined });
              }
            }}
          />
          <span className={styles.word}>is</span>
          <Pick
            id={id(`comparison-${i}`)}
            label={`Comparison${n}`}
            width={14}
            options={COMPARISONS}
            value={c.comparison}
            onChange={(comparison) => setCriterion(i, { comparison })}
          />
          <TextField
            id={id(`target-${i}`)}
            label={`Target${n}`}
            width={14}
            value={c.target}
            placeholder={
              c.unit === 'seconds' ? '50ms' : c.unit === 'ratio' ? '0.5%' : c.unit === 'bytes' ? '512MiB' : '100'
            }
            onChange={(target) => setCriterion(i, { target })}
          />
          {!figure && (
            <Pick
              id={id(`unit-${i}`)}
              label={`Unit${n}`}
              width={14}
              options={UNITS}
              value={c.unit || 'none'}
              onChange={(unit) => setCriterion(i, { unit: unit === 'none' ? '' : unit })}
            />
          )}
          {criteria.length > 1 && (
            <IconButton
              name="trash-alt"
              aria-label={`Remove criterion ${i + 1}`}
              tooltip="Remove criterion"
              onClick={() => change({ criteria: criteria.filter((_, k) => k !== i) })}
            />
          )}
        </Stack>
        <PromQLField
          id={id(`expr-${i}`)}
          label={`PromQL${n}`}
          value={c.expr}
          datasource={datasource}
          onChange={(expr) => setCriterion(i, { expr })}
          onRun={onRunQuery}
        />
      </div>
    );
  };

  return (
    <div data-testid="plancast-query-editor" className={styles.editor}>
      <Stack direction="row" gap={1} wrap="wrap" alignItems="center">
        <Pick
          id={id('question')}
          label="Question"
          width={30}
          options={QUESTIONS}
          value={query.type}
          onChange={(type) => change({ type, show: SHOWS[type]?.[0].value })}
        />
        {SHOWS[query.type] && (
          <RadioButtonGroup<Show>
            aria-label="Show"
            options={SHOWS[query.type]!}
            value={query.show ?? SHOWS[query.type]![0].value}
            onChange={(show) => change({ show })}
          />
        )}
        {asksCriteria && (
          <RadioButtonGroup<'criteria' | 'milestone'>
            aria-label="Source"
            options={[
              { value: 'criteria', label: 'criteria', description: 'Defined here' },
              { value: 'milestone', label: 'milestone', description: 'Published by the exporter' },
            ]}
            value={query.source ?? 'criteria'}
            onChange={(source) =>
              change(
                source === 'milestone'
                  ? { source, horizon: undefined, iterations: undefined, share: undefined }
                  : {
                      source,
                      horizon: query.horizon ?? 'iterations',
                      iterations: query.iterations ?? datasource.horizon,
                    }
              )
            }
          />
        )}
      </Stack>

      {asksCriteria && byMilestone && (
        <Stack direction="row" gap={1} wrap="wrap" alignItems="center">
          <span className={styles.word}>that the milestone</span>
          <Pick
            id={id('milestone')}
            label="Milestone"
            width={30}
            createCustomValue
            options={milestones.map((m) => ({ value: m, label: m }))}
            value={query.milestone || null}
            placeholder="choose one"
            onChange={(milestone) => change({ milestone })}
          />
          <span className={styles.word}>is met</span>
        </Stack>
      )}
      {asksCriteria && !byMilestone && (
        <>
          {criteria.map(criterion)}
          <div>
            <Button
              variant="secondary"
              size="sm"
              icon="plus"
              fill="outline"
              onClick={() =>
                change(
                  { criteria: [...criteria, { expr: P99.expr, comparison: '<', target: '50ms', unit: 'seconds' }] },
                  false
                )
              }
            >
              Add criterion
            </Button>
          </div>
        </>
      )}

      {(together || query.type === 'forecast' || query.type === 'report') && (
        <Stack direction="row" gap={1} wrap="wrap" alignItems="center">
          {together && !byMilestone && query.type !== 'drivers' && (
            <>
              <span className={styles.word}>for</span>
              <RadioButtonGroup<string>
                aria-label="For"
                options={[
                  { value: 'each', label: 'each series' },
                  { value: 'joint', label: 'all together' },
                ]}
                value={query.joint ? 'joint' : 'each'}
                onChange={(v) => change({ joint: v === 'joint' })}
              />
            </>
          )}
          {together && (query.joint || byMilestone || query.type === 'drivers') && (
            <>
              <span className={styles.word}>at least</span>
              <TextField
                id={id('share')}
                label="Share of models in percent"
                width={8}
                type="number"
                value={query.share === undefined && byMilestone ? '' : String(query.share ?? TERMS.share)}
                placeholder="own"
                onChange={(v) => change({ share: Number(v) || (byMilestone ? undefined : TERMS.share) })}
              />
              <span className={styles.word}>% of the models</span>
            </>
          )}
          {!byMilestone && (
            <>
              <span className={styles.word}>models</span>
              <TextField
                id={id('models')}
                label="Models"
                width={20}
                value={query.models ?? ''}
                placeholder="all, or resnet.*"
                onChange={(models) => change({ models: models || undefined })}
              />
            </>
          )}
          {query.type === 'forecast' && (
            <>
              <span className={styles.word}>drawn for</span>
              <TextField
                id={id('criterion')}
                label="Criterion"
                width={24}
                value={query.criterion ?? ''}
                placeholder="every criterion, or p99.*"
                onChange={(criterion) => change({ criterion: criterion || undefined })}
              />
            </>
          )}
          {timed && (
            <Stack direction="row" gap={1} alignItems="center">
              <Pick
                id={id('horizon')}
                label="Horizon"
                width={byMilestone ? 24 : 20}
                options={
                  byMilestone ? [{ value: 'own' as const, label: 'in time, as configured' }, ...HORIZONS] : HORIZONS
                }
                value={horizon ?? 'own'}
                onChange={(v) =>
                  change({
                    horizon: v === 'own' ? undefined : v,
                    iterations: query.iterations ?? datasource.horizon,
                  })
                }
              />
              {(horizon === 'date' || horizon === 'both') && (
                <TextField
                  id={id('deadline')}
                  label="Date"
                  width={24}
                  value={query.deadline ?? ''}
                  placeholder="2027-01-31 or now+30d"
                  onChange={(deadline) => change({ deadline })}
                />
              )}
              {(horizon === 'iterations' || horizon === 'both') && (
                <>
                  <TextField
                    id={id('iterations')}
                    label="Iterations"
                    width={8}
                    type="number"
                    value={String(query.iterations ?? datasource.horizon)}
                    onChange={(v) => change({ iterations: Math.max(1, Math.round(Number(v)) || datasource.horizon) })}
                  />
                  <span className={styles.word}>iterations</span>
                </>
              )}
            </Stack>
          )}
        </Stack>
      )}

      <p role="status" aria-live="polite" className={styles.sentence}>
        {sentence(query, FIGURES, datasource.history)}
      </p>

      <Collapse label="How the history is read" isOpen={open} onToggle={() => setOpen(!open)}>
        <Stack direction="row" gap={1} wrap="wrap">
          <InlineField label="Iterations by" htmlFor={id('by')} tooltip="How to recognize a new iteration">
            <Combobox<By>
              id={id('by')}
              width={24}
              options={BY}
              value={query.by ?? 'series'}
              onChange={(o) => change({ by: o.value })}
            />
          </InlineField>
          {(query.by ?? 'series') === 'series' && (
            <>
              <InlineField
                label="Iteration series"
                htmlFor={id('iteration-series')}
                tooltip="Series with the number of the iteration; joined by common labels"
              >
                <TextField
                  id={id('iteration-series')}
                  label="Iteration series"
                  width={30}
                  value={query.iterationSeries ?? ''}
                  placeholder="plancast_iteration"
                  onChange={(v) => change({ iterationSeries: v || undefined })}
                />
              </InlineField>
              <InlineField
                label="Time series"
                htmlFor={id('time-series')}
                tooltip="Optional series with the time when the result was finished, in seconds since the epoch"
              >
                <TextField
                  id={id('time-series')}
                  label="Time series"
                  width={36}
                  value={query.timeSeries ?? ''}
                  placeholder="plancast_iteration_timestamp_seconds"
                  onChange={(v) => change({ timeSeries: v || undefined })}
                />
              </InlineField>
            </>
          )}
          {foresees && (
            <InlineField
              label="Effort"
              htmlFor={id('effort')}
              tooltip="Whether people work on the models, where you know it better than their histories show"
            >
              <Combobox<Effort | 'inferred'>
                id={id('effort')}
                width={18}
                options={EFFORTS}
                value={query.effort ?? 'inferred'}
                onChange={(o) => change({ effort: o.value === 'inferred' ? undefined : o.value })}
              />
            </InlineField>
          )}
          <InlineField label="History" htmlFor={id('history')}>
            <TextField
              id={id('history')}
              label="History"
              width={12}
              value={query.history ?? ''}
              placeholder={datasource.history}
              onChange={(v) => change({ history: v || undefined })}
            />
          </InlineField>
          <InlineField
            label="Resolution"
            htmlFor={id('resolution')}
            tooltip="Step at which the history is read; by default, as fine as one request allows"
          >
            <TextField
              id={id('resolution')}
              label="Resolution"
              width={12}
              value={query.resolution ?? ''}
              placeholder="automatic"
              onChange={(v) => change({ resolution: v || undefined })}
            />
          </InlineField>
          <InlineField label="Model label" htmlFor={id('model-label')}>
            <TextField
              id={id('model-label')}
              label="Model label"
              width={14}
              value={query.modelLabel ?? ''}
              placeholder="model"
              onChange={(v) => change({ modelLabel: v || undefined })}
            />
          </InlineField>
          <InlineField
            label="Environment label"
            htmlFor={id('environment-label')}
            tooltip="Results of different environments are never compared"
          >
            <TextField
              id={id('environment-label')}
              label="Environment label"
              width={20}
              value={query.environmentLabel ?? ''}
              placeholder="plancast's fingerprint"
              onChange={(v) => change({ environmentLabel: v || undefined })}
            />
          </InlineField>
          <InlineField label="Environment" htmlFor={id('environment')}>
            <TextField
              id={id('environment')}
              label="Environment"
              width={20}
              value={query.environment ?? ''}
              placeholder="the newest"
              onChange={(v) => change({ environment: v || undefined })}
            />
          </InlineField>
          <InlineField label="Legend" htmlFor={id('legend')}>
            <TextField
              id={id('legend')}
              label="Legend"
              width={24}
              value={query.legend ?? ''}
              placeholder="{{model}} {{precision}}"
              onChange={(v) => change({ legend: v || undefined })}
            />
          </InlineField>
          {(query.type === 'probability' || query.type === 'trend') && (
            <InlineField label="80 % interval" htmlFor={id('interval')} tooltip="Adds the bounds of the probability">
              <InlineSwitch
                id={id('interval')}
                value={query.interval ?? false}
                onChange={(e) => change({ interval: e.currentTarget.checked })}
              />
            </InlineField>
          )}
        </Stack>
      </Collapse>
    </div>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  word: css({ color: theme.colors.text.primary, whiteSpace: 'nowrap' }),
  editor: css({ display: 'flex', flexDirection: 'column', gap: theme.spacing(1) }),
  criterion: css({ display: 'flex', flexDirection: 'column', gap: theme.spacing(0.5) }),
  sentence: css({
    margin: 0,
    padding: theme.spacing(0.75, 1),
    borderLeft: `3px solid ${theme.colors.primary.border}`,
    background: theme.colors.background.secondary,
    color: theme.colors.text.primary,
  }),
});
