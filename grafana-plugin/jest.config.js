// The time zone of tests does not depend on the machine's.
process.env.TZ = 'UTC';

const base = require('./.config/jest.config');
const [swc] = Object.values(base.transform);

module.exports = {
  ...base,
  // Some packages of Grafana's come as .mjs, which the scaffold's pattern leaves out.
  transform: { '^.+\\.(?:t|mj|j)sx?$': swc },
};
