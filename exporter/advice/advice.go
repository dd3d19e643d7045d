// Package advice knows what runtimes reject and what to do about it. The table,
// rejections.yml, is for everybody to extend; docs/troubleshooting.md is written from it.
package advice

import (
	"cmp"
	_ "embed"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/plancast/plancast/exporter/engine"
)

//go:embed rejections.yml
var table []byte

// Rejection is one entry of the table.
type Rejection struct {
	Title    string      `yaml:"title"`
	Backend  string      `yaml:"backend"`  // "" is any
	Operator string      `yaml:"operator"` // regular expressions, "" fits anything
	Message  string      `yaml:"message"`
	Kind     engine.Kind `yaml:"kind"`    // of the failure, where the runtime's own word for it misleads
	Example  string      `yaml:"example"` // a message that it fits
	Cause    string      `yaml:"cause"`
	Advice   string      `yaml:"advice"`

	operator, message *regexp.Regexp
}

// Rejections is the table, in its order.
var Rejections = sync.OnceValues(func() ([]Rejection, error) {
	var list []Rejection
	d := yaml.NewDecoder(strings.NewReader(string(table)))
	d.KnownFields(true)
	if err := d.Decode(&list); err != nil {
		return nil, fmt.Errorf("read the table of known rejections: %w", err)
	}
	for i := range list {
		r := &list[i]
		var err error
		if r.operator, err = regexp.Compile(r.Operator); err == nil {
			r.message, err = regexp.Compile(r.Message)
		}
		if err != nil {
			return nil, fmt.Errorf("read the table of known rejections: %q: %w", r.Title, err)
		}
	}
	return list, nil
})

// rejecting are the kinds of failure that a runtime's rejection of a model has.
var rejecting = map[engine.Kind]bool{
	engine.KindInvalidModel: true, engine.KindInvalidInput: true, engine.KindUnsupportedOperator: true, engine.KindBuildFailed: true,
	engine.KindRunFailed: true, engine.KindCrashed: true,
}

// Apply gives a failure of the backend the cause, the advice and, where the entry has
// one, the kind of the first entry that it fits. A failure that none fits keeps its own advice.
func Apply(backend string, e *engine.Error) {
	list, err := Rejections()
	if err != nil || !rejecting[e.Kind] {
		return // the table is tested
	}
	for _, r := range list {
		if r.fits(backend, e) {
			e.Hint = r.Cause + ": " + r.Advice
			e.Kind = cmp.Or(r.Kind, e.Kind)
			return
		}
	}
}

func (r Rejection) fits(backend string, e *engine.Error) bool {
	return (r.Backend == "" || r.Backend == backend) && r.operator.MatchString(e.Operator) && r.message.MatchString(e.Message)
}
