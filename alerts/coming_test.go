package alerts_test

// coming are the metrics that rules and pages already name although the code
// does not export them yet, with the labels they are expected to have. It is
// the only such list, and it must shrink: TestComingMetricsHaveNotCome fails
// as soon as one of them is exported. Delete it here then.
var coming = map[string][]string{
	"plancast_milestone_probability":                   {"milestone"},
	"plancast_milestone_probability_lower":             {"milestone"},
	"plancast_milestone_probability_upper":             {"milestone"},
	"plancast_milestone_probability_within_iterations": {"milestone", "iterations"},
	"plancast_milestone_state":                         {"milestone", "state"},
	"plancast_milestone_attained_ratio":                {"milestone"},
	"plancast_milestone_expected_iterations":           {"milestone"},
	"plancast_milestone_eta_timestamp_seconds":         {"milestone", "quantile"},
	"plancast_milestone_criterion_probability":         {"milestone", "criterion", "model"},
	"plancast_forecast_brier_score":                    {},
	"plancast_forecast_calibration_error":              {},
	"plancast_forecast_observations":                   {},
	"plancast_engine_window_throttled":                 {"model", "precision", "backend", "device"},
}
