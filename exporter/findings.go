package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/decoder"
	"github.com/plancast/plancast/exporter/pass"
)

// findings are what the configuration and the files of the repository say about
// models, dimensions and people that are not there: a misspelt name, most likely.
func findings(cfg config.Config, plan pass.Plan) []string {
	var out []string
	scan := plan.Scan
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, n := range scan.Notes {
		say("%s: %s", n.Path, n.Text)
	}
	names := slices.Sorted(maps.Keys(scan.Models))
	for i, m := range cfg.Models {
		matches := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !(config.Select{Models: []string{m.Match}}).Matches(name) })
		if len(matches) == 0 && len(names) > 0 {
			say("models[%d].match: no model of the repository matches %q", i, m.Match)
			continue
		}
		// Only what counts for a model is held against it.
		matches = slices.DeleteFunc(matches, func(name string) bool { return cfg.ModelFor(name).Match != m.Match })
		for _, name := range matches {
			if s := referenceFinding(cfg, plan, name); s != "" {
				say("models[%d].reference: %s", i, s)
			}
		}
		declared := declarations(scan, matches)
		for _, name := range slices.Sorted(maps.Keys(m.Dims)) {
			if len(declared) > 0 && !slices.ContainsFunc(declared, func(d declaration) bool { return d.hasDimension(name) }) {
				say("models[%d].dims: no model that matches %q has a dimension %q%s", i, m.Match, name, declared[0].dimensions())
			}
		}
		inputs := slices.Collect(maps.Keys(m.Inputs))
		inputs = slices.AppendSeq(inputs, maps.Keys(m.Profiles))
		slices.Sort(inputs)
		for _, name := range slices.Compact(inputs) {
			if len(declared) > 0 && !slices.ContainsFunc(declared, func(d declaration) bool { return d.inputs[name] != nil }) {
				say("models[%d]: no model that matches %q has an input %q%s", i, m.Match, name, declared[0].inputNames())
			}
		}
	}
	out = append(out, workloadFindings(cfg, scan, names)...)
	for _, name := range names {
		for _, d := range declarations(scan, []string{name}) {
			for _, input := range slices.Sorted(maps.Keys(d.candidate.Shapes.Inputs)) {
				if d.inputs[input] == nil {
					say("%s of %s version %s: the model has no input %q%s", candidate.ConfigFile, name, d.candidate.Version, input, d.inputNames())
				}
			}
		}
	}
	return append(out, deafRoutes(cfg, names)...)
}

// workloadFindings are models and dimensions that workloads name and no model has.
func workloadFindings(cfg config.Config, scan candidate.Scan, names []string) (out []string) {
	for i, w := range cfg.Workloads {
		matches := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !(config.Select{Models: w.Models}).Matches(name) })
		if len(matches) == 0 {
			if len(names) > 0 {
				out = append(out, fmt.Sprintf("workloads[%d].models: no model of the repository gets the workload %s", i, w.Name))
			}
			continue
		}
		for _, name := range matches {
			versions := scan.Models[name]
			if _, ok := versions[len(versions)-1].Files[candidate.InputsFile]; w.Recorded && !ok {
				out = append(out, fmt.Sprintf("workloads[%d].shapes: %s version %s has no %s, from which the workload %s takes its shapes", i, name, versions[len(versions)-1].Version, candidate.InputsFile, w.Name))
			}
		}
		if w.Phase != "" {
			continue // its sizes may be those of a cache, which has no dimension for each
		}
		declared := declarations(scan, matches)
		for k, s := range w.Shapes {
			for _, name := range slices.Sorted(maps.Keys(s.Sizes())) {
				if len(declared) > 0 && !slices.ContainsFunc(declared, func(d declaration) bool { return d.hasDimension(name) }) {
					out = append(out, fmt.Sprintf("workloads[%d].shapes[%d].dims: no model that gets the workload %s has a dimension %q%s", i, k, w.Name, name, declared[0].dimensions()))
				}
			}
		}
	}
	return out
}

// referenceFinding says that a model lacks the version that the configuration declares
// as its reference; "" when it has it.
func referenceFinding(cfg config.Config, plan pass.Plan, model string) string {
	o := cfg.BenchmarkFor(model)
	version, named := o.ReferenceVersion()
	switch {
	case named && !slices.ContainsFunc(plan.Scan.Models[model], func(c candidate.Candidate) bool { return c.Version == version }):
		return fmt.Sprintf("%s has no version %s: its accuracy is measured only while that version's outputs are kept", model, version)
	case o.Reference == bench.ReferenceTrained && plan.References[model] == "":
		return fmt.Sprintf("no change.yml of %s has kinds: [%s]: its accuracy is measured as without models[].reference", model, change.Training)
	}
	return ""
}

// declaration is what the newest readable version of a model declares.
type declaration struct {
	candidate candidate.Candidate
	inputs    map[string][]string
}

func declarations(scan candidate.Scan, models []string) []declaration {
	var out []declaration
	for _, name := range models {
		for _, c := range slices.Backward(scan.Models[name]) {
			if c.Inputs != nil {
				// A scalar has no dimensions, and is declared all the same.
				inputs := map[string][]string{}
				for input, dims := range c.Inputs {
					inputs[input] = append([]string{}, dims...)
				}
				out = append(out, declaration{c, inputs})
				break
			}
		}
	}
	return out
}

// hasDimension reports whether a key of dims means a dimension: a symbol,
// input/position, or a length of a decoder, whatever the decoder calls it.
func (d declaration) hasDimension(key string) bool {
	length := key == decoder.Sequence || key == decoder.PastSequence
	for input, dims := range d.inputs {
		if length && decoder.Cached(input) {
			return true
		}
		for i, dim := range dims {
			if dim == key && dim != "" || key == fmt.Sprintf("%s/%d", input, i) {
				return true
			}
		}
	}
	return false
}

func (d declaration) dimensions() string {
	var parts []string
	for _, input := range slices.Sorted(maps.Keys(d.inputs)) {
		dims := slices.Clone(d.inputs[input])
		for i := range dims {
			if dims[i] == "" {
				dims[i] = "?"
			}
		}
		parts = append(parts, fmt.Sprintf("%s [%s]", input, strings.Join(dims, ", ")))
	}
	return few(fmt.Sprintf("; %s has ", d.candidate.Model), parts)
}

func (d declaration) inputNames() string {
	return few(fmt.Sprintf("; %s has ", d.candidate.Model), slices.Sorted(maps.Keys(d.inputs)))
}

// few lists the first of a list.
func few(before string, list []string) string {
	const most = 5
	switch {
	case len(list) == 0:
		return before + "none"
	case len(list) > most:
		return before + strings.Join(list[:most], ", ") + fmt.Sprintf(" and %d more", len(list)-most)
	}
	return before + strings.Join(list, ", ")
}

// deafRoutes are the owners, models and receivers of notifications that news of
// no model reaches.
func deafRoutes(cfg config.Config, models []string) []string {
	n := cfg.Notifications
	if len(n.Routes) == 0 || len(models) == 0 {
		return nil
	}
	var out []string
	matches := func(patterns []string, of func(model string) string) bool {
		return slices.ContainsFunc(models, func(m string) bool { return (config.Select{Models: patterns}).Matches(of(m)) })
	}
	for i, r := range n.Routes {
		for _, p := range r.Owners {
			if !matches([]string{p}, func(m string) string { return cfg.ModelFor(m).Owner }) {
				out = append(out, fmt.Sprintf("notifications.routes[%d].owners: no model of the repository has an owner that matches %q", i, p))
			}
		}
		for _, p := range r.Models {
			if !matches([]string{p}, func(m string) string { return m }) {
				out = append(out, fmt.Sprintf("notifications.routes[%d].models: no model of the repository matches %q", i, p))
			}
		}
	}
	for _, r := range n.Receivers {
		if !slices.ContainsFunc(models, func(m string) bool {
			return slices.ContainsFunc(n.For(m, cfg.ModelFor(m).Owner, config.Events...), func(x config.Receiver) bool { return x.Name == r.Name })
		}) {
			out = append(out, fmt.Sprintf("notifications.receivers: %s never receives a message: no route that matches a model leads to it", r.Name))
		}
	}
	return out
}
