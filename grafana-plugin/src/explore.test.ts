import { createDataFrame, DataFrameType, FieldType } from '@grafana/data';

import { numbersAsTable } from './explore';

const number = (model: string, value: number) =>
  createDataFrame({
    refId: 'A',
    meta: { type: DataFrameType.NumericMulti },
    fields: [
      {
        name: 'probability',
        type: FieldType.number,
        values: [value],
        labels: { precision: 'int8', model },
        config: { unit: 'percentunit' },
      },
    ],
  });

describe('numbers in Explore', () => {
  it('are one table, the number first, then a column for each label', () => {
    const other = createDataFrame({ fields: [] });
    const [table, rest] = numbersAsTable([number('a', 0.5), number('b', 0.7), other]);
    expect(table.fields.map((f) => [f.name, f.values])).toEqual([
      ['probability', [0.5, 0.7]],
      ['model', ['a', 'b']],
      ['precision', ['int8', 'int8']],
    ]);
    expect(table.fields[0].config.unit).toBe('percentunit');
    expect(rest).toBe(other);
  });

  it('leaves everything else alone', () => {
    const frames = [createDataFrame({ fields: [] })];
    expect(numbersAsTable(frames)).toBe(frames);
  });
});
