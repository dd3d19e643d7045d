package config

import (
	"go.yaml.in/yaml/v3"

	"github.com/plancast/plancast/exporter/change"
)

// ParseChange reads a change.yml as strictly as a configuration; name stands for
// it in errors.
func ParseChange(name string, text []byte) (change.Change, error) {
	root, err := document(name, text)
	if err != nil || root == nil {
		return change.Change{}, err
	}
	var c change.Change
	d := &decoder{file: name}
	fields := map[string]field{
		"tags": func(key string, n *yaml.Node) {
			d.each(key, n, func(tag, key string, n *yaml.Node) {
				d.scalar(func(s string) error { return c.SetTag(tag, s) })(key, n)
			})
		},
	}
	for _, known := range change.Keys {
		fields[known] = d.scalar(func(s string) error { return c.Set(known, s) })
	}
	one := fields["kinds"]
	fields["kinds"] = func(key string, n *yaml.Node) {
		if n.Kind == yaml.SequenceNode {
			d.list(one)(key, n)
			return
		}
		one(key, n)
	}
	d.mapping("", root, fields)
	return c, d.err()
}
