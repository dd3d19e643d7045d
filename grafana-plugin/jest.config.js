// The time zone of tests does not depend on the machine's.
process.env.TZ = 'UTC';

const base = require('./.config/jest.config');
const [swc] = Object.values(base.transform);

module.exports = {
  ...base,
  // A busy machine takes its time; only a test that hangs takes as long.
  testTimeout: 300_000,
  // Some packages of Grafana's come as .mjs, which the scaffold's pattern leaves out.
  transform: { '^.+\\.(?:t|mj|j)sx?$': swc },
};
