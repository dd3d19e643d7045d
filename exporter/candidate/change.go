package candidate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/plancast/plancast/exporter/change"
)

// change is what the version's change.yml says; nil without a usable one: what is
// wrong with it is noted and keeps no candidate from being measured. An edited
// one that may still be copied does not either: until then it says what it said.
func (i *identification) change(ctx context.Context) (*change.Change, error) {
	o, ok := i.files[ChangeFile]
	if !ok || i.opts.ParseChange == nil {
		return nil, nil
	}
	f, err := i.fact(ctx, ChangeFile)
	var wait *settling
	var bad *unusable
	switch {
	case errors.As(err, &wait):
		var known bool
		if f, known = i.facts[o.key]; !known {
			return nil, err
		}
	case errors.As(err, &bad):
		f = fact{Unusable: bad.why}
	case err != nil:
		return nil, err
	}
	if f.Unusable != "" {
		i.note(Note{Path: o.key, Text: "it is ignored: " + f.Unusable})
	}
	return f.Change, nil
}

func (i *identification) readChange(ctx context.Context, o object) (fact, error) {
	if o.Size > change.MaxFile {
		return fact{Unusable: fmt.Sprintf("it has %d bytes; the limit is %d", o.Size, change.MaxFile)}, nil
	}
	var text bytes.Buffer
	if _, err := i.copyObject(ctx, o.key, o.Size, &text); err != nil {
		return fact{}, err
	}
	c, err := i.opts.ParseChange(ChangeFile, text.Bytes())
	if err != nil {
		return fact{Unusable: firstLines(err.Error())}, nil
	}
	return fact{Change: &c}, nil
}

// firstLines are the first of several errors in one line.
func firstLines(s string) string {
	const most = 3
	lines := strings.Split(s, "\n")
	s = strings.Join(lines[:min(most, len(lines))], "; ")
	if n := len(lines) - most; n > 0 {
		s += fmt.Sprintf(" (and %d more)", n)
	}
	return s
}

// olderChange is the change of a version that is not identified.
func (r *Repository) olderChange(ctx context.Context, l *lister, files map[string]object, learnt map[string]fact) (*change.Change, error) {
	i := identification{Repository: r, files: files, learnt: learnt, now: r.opts.Now(), note: l.note}
	c, err := i.change(ctx)
	var wait *settling
	if errors.As(err, &wait) {
		return nil, nil
	}
	return c, err
}
