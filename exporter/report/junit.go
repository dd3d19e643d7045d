package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/plancast/plancast/exporter/compare"
	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/exporter/standing"
)

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Failure *junitProblem `xml:"failure"`
	Error   *junitProblem `xml:"error"`
	Output  string        `xml:"system-out,omitempty"`
}

type junitProblem struct {
	Message string `xml:"message,attr"`
}

// JUnit writes what the exit status of a run rests on as a JUnit report, which
// most CI systems read: a suite for each model, a case for each target, relative
// criterion and gap, and a suite of gates. What is missed is a failure, what could
// not be decided is an error.
func JUnit(w io.Writer, v View) error {
	out := junitSuites{Name: "plancast"}
	suites := map[string]int{}
	add := func(suite, name string, o standing.Outcome, message, output string) {
		i, ok := suites[suite]
		if !ok {
			i = len(out.Suites)
			suites[suite] = i
			out.Suites = append(out.Suites, junitSuite{Name: xmlText(suite)})
		}
		s := &out.Suites[i]
		c := junitCase{Class: "plancast." + xmlText(suite), Name: xmlText(name), Output: xmlText(output)}
		s.Tests++
		out.Tests++
		switch o {
		case standing.Met:
		case standing.Missed:
			s.Failures++
			out.Failures++
			c.Failure = &junitProblem{xmlText(message)}
		default:
			s.Errors++
			out.Errors++
			c.Error = &junitProblem{xmlText(message)}
		}
		s.Cases = append(s.Cases, c)
	}
	for _, m := range v.Models {
		for _, x := range m.Verdicts {
			if x.Kind == standing.KindTarget {
				add(m.Name, "target "+x.Name, x.Outcome, x.Why, m.Headline)
			}
		}
	}
	for _, g := range v.Gaps {
		add(g.Model, "result of the newest version", standing.Unknown, g.Text, "")
	}
	if b := v.Baseline; b != nil {
		for _, c := range b.Criteria {
			add(c.Model, fmt.Sprintf("target %s: %s", c.Target, c.Text), c.Outcome, strings.TrimSuffix(fmt.Sprintf("%s %s is %s: %s", c.Text, c.Precision, c.Outcome, c.Why), ": "), "")
		}
		if len(b.Criteria) == 0 {
			for _, r := range b.Results {
				o := standing.Met
				if r.Verdict == compare.Regressed {
					o = standing.Missed
				}
				add(r.B.Model, string(r.B.Precision)+" against the baseline", o, comparedTitle(r)+": "+r.Verdict.Words(), "")
			}
		}
	}
	for _, g := range v.Gates {
		add("gates", "milestone "+g.Milestone, g.Outcome, g.Verdict(), "")
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(out); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func xmlText(s string) string { return outside.Line(s, 500) }
