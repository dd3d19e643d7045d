import { createDataFrame, DataFrame, DataFrameType, FieldType } from '@grafana/data';

/**
 * Numbers with labels as one table: Explore has no stat panel, and would show a column for each of them. The number
 * comes first, because many labels are wider than the page. Other frames stay as they are.
 */
export function numbersAsTable(frames: DataFrame[]): DataFrame[] {
  const numbers = frames.filter((f) => f.meta?.type === DataFrameType.NumericMulti && f.fields.length > 0);
  if (numbers.length === 0) {
    return frames;
  }
  const values = numbers.map((f) => f.fields[0]);
  const labels = [...new Set(values.flatMap((v) => Object.keys(v.labels ?? {})))].sort((a, b) =>
    a === 'model' ? -1 : b === 'model' ? 1 : a.localeCompare(b)
  );
  const [first] = values;
  const table = createDataFrame({
    refId: numbers[0].refId,
    name: first.name,
    meta: { ...numbers[0].meta, type: undefined, preferredVisualisationType: 'table' },
    fields: [
      {
        name: first.name,
        type: FieldType.number,
        config: { ...first.config, displayNameFromDS: undefined },
        values: values.map((v) => v.values[0]),
      },
      ...labels.map((name) => ({ name, type: FieldType.string, values: values.map((v) => v.labels?.[name] ?? '') })),
    ],
  });
  return [table, ...frames.filter((f) => !numbers.includes(f))];
}
