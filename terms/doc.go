// Package terms holds what every reader of plancast's results has to agree on,
// defined once: the quantities that a criterion may name and the PromQL that
// they are published as, when a deadline is due, and the defaults of a goal. The
// exporter, the reader of time series databases and the Grafana plugin import it.
package terms
