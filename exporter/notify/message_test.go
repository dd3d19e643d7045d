package notify

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/report/reporttest"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/forecast"
)

var here = place{now: reporttest.Now, reportURL: "http://gpu-host:9833/"}

func forecasted(s forecast.State, p float64) *standing.Forecast {
	return &standing.Forecast{Forecast: forecast.Forecast{State: s, Probability: &forecast.Probability{Value: p},
		Summary: "76 % of the way to the target", Advice: []string{"The gains of the last iterations shrink."}}}
}

func write(b *strings.Builder, m Message) {
	b.WriteString("# " + m.Title + " [" + m.event() + "]\n" + m.withLinks("smtp") + "\n\n")
}

// What people read, of the repository in which everything happens.
func TestMessagesReadLikeThis(t *testing.T) {
	in := reporttest.Input()
	in.Milestones[1].Criteria = reporttest.Criteria("p99 < 1ms") // not met yet
	s := reporttest.State(in)
	s.Milestones[0].Forecast = forecasted(forecast.OnTrack, 0.83)
	s.Milestones[1].Forecast = forecasted(forecast.AtRisk, 0.24)
	s.Milestones[2].Forecast = nil
	was := 0.71
	var b strings.Builder
	for _, m := range s.Models {
		if m.Current == nil || !m.Current.Measured() {
			continue
		}
		var news []milestoneNews
		for _, x := range s.Milestones {
			news = append(news, milestoneNews{x, &was})
		}
		write(&b, result(m, describe(m, s), news[:1], true, here))
		if m.Name == "squeezenet" {
			write(&b, result(m, describe(m, s), news, false, place{now: here.now}))
		}
	}
	golden(t, "results.txt", b.String())

	b.Reset()
	for _, r := range in.Records {
		if r.Failure == nil || r.Unsupported() {
			continue
		}
		write(&b, failure(r, "speech team", "version 2, P99 2.13 ms", here))
		write(&b, repeated(r, "", reporttest.Now, here).counted(2))
	}
	write(&b, test("chat", here))
	golden(t, "failures.txt", b.String())
}

func TestADeadlineHasTheDateOfItsOwnZone(t *testing.T) {
	zone := time.FixedZone("west", -8*3600)
	due := time.Date(2027, 1, 31, 23, 59, 59, 0, zone) // in February in UTC
	for days, want := range map[int]string{1: "by 31 Jan 50 %", 400: "by 31 Jan 2027 50 %"} {
		m := milestoneNews{MilestoneState: standing.MilestoneState{Milestone: config.Milestone{Name: "launch", Deadline: due}, Forecast: forecasted(forecast.OnTrack, 0.5)}}
		if got := probability(m, place{now: due.AddDate(0, 0, -days)}); got != "probability of launch "+want {
			t.Errorf("%s; want %s", got, want)
		}
	}
	if got := probability(milestoneNews{MilestoneState: standing.MilestoneState{Milestone: config.Milestone{Name: "launch", Horizon: 5}, Forecast: forecasted(forecast.OnTrack, 0.5)}}, here); got != "probability of launch within 5 iterations 50 %" {
		t.Error(got)
	}
	for _, f := range []*standing.Forecast{nil, {}} {
		if got := probability(milestoneNews{MilestoneState: standing.MilestoneState{Milestone: config.Milestone{Name: "launch", Deadline: due}, Forecast: f}}, here); got != "" {
			t.Errorf("without a probability: %s", got)
		}
	}
}

func TestOutsideTextIsHarmless(t *testing.T) {
	r := history.Record{Model: "m", Version: "1\x1b[31m\n2 <@U024BE7LH>", Precision: "fp32", Failure: &history.Failure{Log: []string{
		"<!channel> @here", strings.Repeat("x", 1000), "a\x00b\u202ec", "![](https://evil.example/i.png)", "# heading", "**bold** _it_ ~~s~~ <b>x</b>",
	}}}
	r.Failure.Message = reporttest.Hostile
	r.Failure.Kind, r.Failure.Op, r.Failure.Operator, r.Failure.Node, r.Failure.Hint = "<!here>", "<!here>", "<!here>", "<!here>", "<!here>"
	m := failure(r, "<!here>", "", here)
	for _, bad := range []string{"\x1b", "\x00", "\u202e", "@everyone", "<!", "<@", "@here", "](", "![", "://evil", "evil.example", "<script", "<b>", "**", "`", " _it_", "    #"} {
		if strings.Contains(m.Title+m.Text, bad) {
			t.Errorf("%q is in\n%s\n%s", bad, m.Title, m.Text)
		}
	}
	if strings.Contains(m.Title, "\n") {
		t.Errorf("a title of two lines: %q", m.Title)
	}
	for line := range strings.SplitSeq(m.Text, "\n") {
		if len([]rune(line)) > 1100 {
			t.Errorf("a line of %d characters", len([]rune(line)))
		}
	}
}

func TestWorkersDoNotInheritTheURLs(t *testing.T) {
	n := config.Notifications{Receivers: []config.Receiver{{Name: "a", URLEnv: "CHAT_URL"}, {Name: "b", URLFile: "f"}}}
	got := strings.Join(Environ([]string{"PATH=/bin", "CHAT_URL=slack://x", "CHAT_URL_2=y", "=odd"}, n), " ")
	if got != "PATH=/bin CHAT_URL_2=y =odd" {
		t.Errorf("environment %q", got)
	}
}

// The examples of the manual are taken as they stand.
func TestTheManualIsRight(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "notifications.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	example, _, ok := strings.Cut(rest, "```")
	c, err := config.Parse(strings.NewReader(example), "docs/notifications.md")
	if !ok || err != nil || len(c.Notifications.Receivers) != 3 || len(c.Notifications.Routes) != 3 {
		t.Errorf("%v: %+v", err, c.Notifications)
	}
	if d := config.Default().Notifications; d.Repeat != 24*time.Hour || d.GiveUp != 72*time.Hour {
		t.Errorf("defaults %+v", d)
	}
	for url, service := range map[string]string{
		"slack://hook:T00000000-B00000000-XXXXXXXXXXXXXXXXXXXXXXXX@webhook":                                                             "slack",
		"slack://xoxb:123456789012-1234567890123-4mt0t4l1YL3g1T5L4cK70k3N@C001CH4NN3L":                                                  "slack",
		"smtp://user:p%40ss@mail.example.com:587/?from=plancast@example.com&to=vision@example.com,lead@example.com&requirestarttls=yes": "smtp",
		"generic+https://host/path?template=json&@Authorization=Bearer+TOKEN":                                                           "generic",
	} {
		if got, err := Check(fromFile(t, url)); err != nil || got != service {
			t.Errorf("%s: %s, %v", url, got, err)
		}
	}
}
