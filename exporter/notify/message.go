package notify

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/units"
)

// Message is one piece of news, as the outbox keeps it. Its text is plain, in
// lines, and holds neither links nor control characters besides the ends of lines.
type Message struct {
	// ID is the same whenever the message is sent, so that a receiver can tell a
	// repeat.
	ID      string         `json:"id"`
	Events  []config.Event `json:"events"`
	Title   string         `json:"title"` // one line
	Text    string         `json:"text"`
	Model   string         `json:"model,omitempty"`
	Version string         `json:"version,omitempty"`
	Owner   string         `json:"owner,omitempty"`
	// Links, which Text lacks: each service has its own form of them.
	Link   string `json:"link,omitempty"`   // the model's part of the report
	Change string `json:"change,omitempty"` // where the change can be read, as change.Change has it

	// Of failures, to recognize repeats.
	Digest string    `json:"digest,omitempty"`
	Since  time.Time `json:"since,omitzero"`
}

func (m Message) event() string {
	words := make([]string, len(m.Events))
	for i, e := range m.Events {
		words[i] = string(e)
	}
	return strings.Join(words, ",")
}

// milestoneNews is what a result does to the probability of a milestone.
type milestoneNews struct {
	standing.MilestoneState
	was *float64 // of the news before
}

// result is the news that a candidate is measured at every precision. changed
// says that the environment is another than that of the result before.
func result(m *standing.Model, words Words, milestones []milestoneNews, changed bool, in place) Message {
	events := []config.Event{config.EventResult}
	name := fmt.Sprintf("%s version %s", m.Name, outside.Line(m.Current.Version, 100))
	title := name + " is measured"
	switch m.Status {
	case standing.StatusMissed:
		events = append(events, config.EventMissed)
		title = name + " misses its threshold"
	case standing.StatusMet:
		title = name + " meets its threshold"
	}
	headline := words.HeadlineText()
	for _, x := range milestones {
		if s := probability(x, in); s != "" {
			headline += "; " + s
		}
	}
	lines := []string{headline}
	for _, x := range milestones {
		if f := x.Forecast; f != nil && !x.Met && slices.Contains(worrying, f.State) {
			lines = append(lines, outside.Line(fmt.Sprintf("%s: %d of %s ready; %s. %s", x.Name, x.ModelsReady, units.Count(x.ModelsTotal, "model"), f.Summary, strings.Join(f.Advice, " ")), 600))
		}
	}
	if text := words.EnvironmentText(); changed && text != "" {
		events = append(events, config.EventEnvironment)
		lines = append(lines, text)
	}
	lines = append(lines, words.FailureTexts()...)
	warnings := words.WarningTexts()
	for _, w := range warnings[:min(len(warnings), 3)] {
		lines = append(lines, "Note: "+w)
	}
	return in.message(m.Name, m.Current.Version, m.Owner, title, m.Change(), lines, events)
}

// worrying are the forecast's states whose words belong into a notification.
var worrying = []forecast.State{forecast.AtRisk, forecast.IsAtypical, forecast.IsStalled}

// probability reads "probability of launch by 31 Jan 83 % (was 71 %)"; it is
// empty without one, and says so when the milestone is met already.
func probability(m milestoneNews, in place) string {
	if m.Met {
		return "milestone " + m.Name + " is met"
	}
	p := probabilityOf(m.MilestoneState)
	if p == nil {
		return ""
	}
	s := "probability of " + m.Name
	switch {
	case !m.Deadline.IsZero():
		layout := "2 Jan"
		if m.Deadline.Sub(in.now) > 300*24*time.Hour {
			layout = "2 Jan 2006" // the month alone could be this year's
		}
		s += " by " + m.Deadline.Format(layout)
	case m.Horizon > 0:
		s += " within " + units.Count(m.Horizon, "iteration")
	}
	now := units.Percent(p.Value)
	s += " " + now
	if m.was != nil && units.Percent(*m.was) != now {
		s += " (was " + units.Percent(*m.was) + ")"
	}
	return s
}

const (
	logLines = 10
	logWidth = 300
)

// failure is the news that a job failed.
func failure(r history.Record, owner string, lastGood string, in place) Message {
	f := r.Failure
	kind := titleOf(f.Kind)
	title := fmt.Sprintf("%s version %s %s failed: %s", r.Model, r.Version, r.Precision, kind)
	what := outside.Line(strings.TrimSpace(f.Op+" "+f.Subject), 200)
	lines := []string{fmt.Sprintf("%s on %s: version %s %s failed, %s (%s)", r.Model, outside.Line(r.Environment.DeviceName(), 80), outside.Line(r.Version, 100), r.Precision, kind, f.Kind)}
	for _, x := range []struct{ name, text string }{
		{"Operator", outside.Line(f.Operator, 100)}, {"Node", outside.Line(f.Node, 200)}, {"While", what},
		{"Why", outside.Line(f.Message, 1000)}, {"What to do", outside.Line(f.Hint, 500)}, {"Last good result", lastGood},
	} {
		if x.text != "" {
			lines = append(lines, x.name+": "+x.text)
		}
	}
	if tail := f.Log[max(len(f.Log)-logLines, 0):]; len(tail) > 0 {
		lines = append(lines, "Last lines of the worker's log:")
		for _, l := range tail {
			lines = append(lines, "    "+outside.Line(l, logWidth))
		}
	}
	m := in.message(r.Model, r.Version, owner, title, r.Change, lines, []config.Event{config.EventFailure})
	m.Digest, m.Since = r.Digest, in.now.UTC()
	return m
}

// titleOf is a failure kind in words.
func titleOf(k engine.Kind) string { return cmp.Or(k.Title(), outside.Line(string(k), 60)) }

// repeated is the news that a failure came again after it was sent, and was
// only counted since. Its count is known when it is sent.
func repeated(r history.Record, owner string, since time.Time, in place) Message {
	kind := titleOf(r.Failure.Kind)
	title := fmt.Sprintf("%s failed again: %s", r.Model, kind)
	m := in.message(r.Model, r.Version, owner, title, nil, []string{fmt.Sprintf("most recently with version %s %s", outside.Line(r.Version, 100), r.Precision)}, []config.Event{config.EventFailure})
	m.Since = since.UTC()
	return m
}

// counted completes the text of repeated news.
func (m Message) counted(n int) Message {
	m.Text = fmt.Sprintf("%s: the same failure occurred %s more since %s, %s", outside.Message(outside.Line(m.Model, 100)), units.Count(n, "time"), m.Since.UTC().Format("2 Jan 15:04 MST"), m.Text)
	return m
}

// test is what plancast notify test sends.
func test(receiver string, in place) Message {
	m := in.message("", "", "", "plancast can reach you", nil, []string{fmt.Sprintf("This is a test message for receiver %s, sent by plancast notify test. It is about no model.", receiver)}, nil)
	m.ID = fmt.Sprintf("test-%d", in.now.Unix())
	return m
}

// place is what messages need to know beyond their news.
type place struct {
	now       time.Time
	reportURL string
}

func (p place) message(model, version, owner, title string, changed *change.Change, lines []string, events []config.Event) Message {
	m := Message{Events: events, Model: outside.Line(model, 100), Version: outside.Line(version, 100), Owner: outside.Line(owner, 100)}
	if p.reportURL != "" && model != "" {
		m.Link = strings.TrimSuffix(p.reportURL, "/") + "/?" + url.Values{"model": {model}}.Encode()
	}
	if m.Owner != "" {
		lines = append(lines, "Owner: "+m.Owner)
	}
	if changed != nil {
		m.Change = changed.Link
		if text := changed.Text(); text != "" {
			lines = append(lines, "What changed: "+text)
		}
	}
	for i, l := range lines {
		lines[i] = outside.Message(l)
	}
	m.Title, m.Text = outside.Message(outside.Line(title, 200)), strings.Join(lines, "\n")
	return m
}

// resultKey names the news that a candidate is measured.
func resultKey(m *standing.Model) string {
	return fmt.Sprintf("result/%s/%s/%s", m.Name, m.Series.Fingerprint, cmp.Or(m.Current.Digest, m.Current.Version))
}

func failureTopic(r history.Record) string {
	return fmt.Sprintf("failure/%s/%s", r.Model, r.Failure.Kind)
}
