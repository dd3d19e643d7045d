package forecast

import "time"

// LookBack is how far back the history is read that a forecast rests on, unless
// somebody says otherwise: a year, in the exporter, on the command line and in
// Grafana alike. Of what is older, the newest result counts: it is where the
// year began.
const LookBack = 365 * 24 * time.Hour
