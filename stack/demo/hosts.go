package demo

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Host is a machine of the demo, with an exporter: the label instance of what that
// publishes.
type Host string

// The hosts. Second measures some of the models of First on another GPU.
const (
	First  Host = "demo"
	Second Host = "demo-h100"
)

// Hosts are all of them.
var Hosts = []Host{First, Second}

// Fleet is the label instance of the fleet daemon, which reads what both publish, and
// FleetMilestone its milestone.
const (
	Fleet          = "fleet"
	FleetMilestone = "fleet-launch"
)

// Both are the models that every host measures.
var Both = []string{"resnet50", "yolo-v8", "bert-base"}

// speedup is how much faster Second is.
const speedup = 2.1

// models are the stories of a host.
func (h Host) models() []model {
	if h == First {
		return models
	}
	var out []model
	for _, m := range models {
		if !slices.Contains(Both, m.name) {
			continue
		}
		m.environments = []environment{{Days, fast}}
		m.first, m.limit, m.parallel = m.first/speedup, m.limit/speedup, m.parallel*speedup
		m.failures = nil
		out = append(out, m)
	}
	return out
}

// seed lets the same model scatter differently on each host.
func (h Host) seed() string {
	if h == First {
		return ""
	}
	return string(h)
}

// configuration is a host's plancast.yml.
func (h Host) configuration(now time.Time) string {
	if h == First {
		return dated(common+milestones, now)
	}
	return common
}

// WriteFleet writes the configuration of the fleet daemon that reads the store at the
// URL: a milestone over every host.
func WriteFleet(dir, store string, now time.Time) error {
	text := strings.NewReplacer("STORE", strconv.Quote(store), "MODELS", `["`+strings.Join(Both, `", "`)+`"]`).Replace(dated(fleet, now))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the fleet daemon's folder: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, ConfigFile), []byte(text), 0o644); err != nil {
		return fmt.Errorf("write the fleet daemon's configuration: %w", err)
	}
	return nil
}

// dated replaces DATE45 and the like by dates: that many days from now.
func dated(text string, now time.Time) string {
	date := func(days int) string { return now.UTC().AddDate(0, 0, days).Format(time.DateOnly) }
	return strings.NewReplacer("DATE45", date(45), "DATE20", date(20), "DATE90", date(90)).Replace(text)
}

// The configurations, with owners and dates left open.
const (
	common = `# The demo of the local stack. Its history is invented (docs/stack.md) and nothing is measured.
repository: {url: models, quiet: 0s, backlog: 3}
state: state
schedule: "@every 5m"
timezone: UTC
precisions: [fp32, fp16, int8]

` + owners + `
workloads:
  - name: chat
    models: ["bert-*", "t5-*"]
    shapes: [{weight: 70, dims: {sequence: 32}}, {weight: 25, dims: {sequence: 128}}, {weight: 5, dims: {sequence: 512}}]
    rate: 20/s
    concurrency: 2
    within: 400ms
    max_rate: p99
  - {name: prefill, models: "t5-*", phase: prefill, shapes: [{dims: {sequence: 512}}]}
  - {name: decode, models: "t5-*", phase: decode, shapes: [{dims: {past_sequence: 2000}}]}

targets:
  - {name: interactive, criteria: ["p99 < 50ms", "accuracy_deviation < 0.5%"]}
`

	owners = `models:
  - {match: "resnet50", owner: vision-team}
  - {match: "yolo-*", owner: vision-team}
  - {match: "segformer-*", owner: vision-team}
  - {match: "bert-*", owner: language-team}
  - {match: "t5-*", owner: language-team}
  - {match: "*", owner: speech-team}
`

	milestones = `
milestones:
  - name: assistant-launch
    description: Vision and language models of the assistant fast enough to talk to, and true to their references
    models: ["resnet50", "yolo-*", "segformer-*", "bert-*"]
    criteria: ["p99 < 52ms", "accuracy_deviation < 0.5%"]
    share: 75%
    deadline: DATE45
    ready: 80%
  - name: speech-beta
    description: A sentence transcribed before the speaker notices
    models: whisper-small
    precision: int8
    criteria: ["p99 < 80ms"]
    deadline: DATE20
    ready: 90%
  - name: translation-preview
    description: Translation as one types
    models: t5-small
    criteria: ["p99 < 54ms", "accuracy_deviation < 0.5%"]
    horizon: 5
    deadline: DATE90
    ready: 80%
  - name: batch-scoring
    description: Twice the throughput of the first classifier, for the nightly run
    models: resnet50
    criteria: ["throughput > 190/s"]
    horizon: 8
    ready: 70%
  - name: voice-activity
    description: Voice activity detection on the CPU of the edge device
    models: silero-vad
    criteria: ["p99 < 2.5ms"]
    horizon: 5
    ready: 90%
`

	fleet = `# The fleet daemon of the local stack: a milestone over every host (docs/fleet.md).
source:
  prometheus: {url: STORE, interval: 15s}
timezone: UTC
` + owners + `
milestones:
  - name: ` + FleetMilestone + `
    description: The models that every host measures, fast and faithful on each kind of GPU
    models: MODELS
    where: {device: "NVIDIA *"}
    criteria: ["p99 < 40ms", "accuracy_deviation < 0.5%"]
    share: 80%
    deadline: DATE45
    ready: 80%
`
)
