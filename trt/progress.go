package trt

// Progress is one report of a running build. TensorRT works in phases, which nest.
type Progress struct {
	Phase  string
	Parent string // the phase this one is a step of; empty for the outermost
	Step   int    // steps of the phase that are done
	Steps  int
	Done   bool // the phase is over
	// Fraction of the whole build that is done, in [0, 1], never falling. TensorRT
	// does not weigh its steps by time, so it moves unevenly.
	Fraction float64
}

// progressTree turns the events of IProgressMonitor into Progress. A phase's share
// of the whole is one step of its parent.
type progressTree struct {
	phases map[string]*phase
	best   float64
}

type phase struct {
	name        string
	parent      *phase
	steps, done int
	active      int     // children running
	inner       float64 // the furthest child's own fraction
}

func newProgressTree() *progressTree { return &progressTree{phases: map[string]*phase{}} }

func (t *progressTree) start(name, parent string, steps int) Progress {
	p := &phase{name: name, parent: t.phases[parent], steps: max(steps, 0)}
	if p.parent != nil {
		p.parent.active++
		p.parent.inner = 0
	}
	t.phases[name] = p
	return t.report(p, false)
}

func (t *progressTree) step(name string, step int) Progress {
	p := t.phases[name]
	if p == nil {
		return Progress{Phase: name, Fraction: t.best}
	}
	p.done = min(max(p.done, step+1), p.steps)
	p.inner = 0
	return t.report(p, false)
}

func (t *progressTree) finish(name string) Progress {
	p := t.phases[name]
	if p == nil {
		return Progress{Phase: name, Done: true, Fraction: t.best}
	}
	p.done = p.steps
	r := t.report(p, true)
	if p.parent != nil {
		p.parent.active--
	}
	delete(t.phases, name)
	return r
}

func (p *phase) fraction() float64 {
	if p.steps == 0 {
		return 0
	}
	f := (float64(p.done) + p.inner) / float64(p.steps)
	return min(f, 1)
}

func (t *progressTree) report(p *phase, done bool) Progress {
	whole := p.fraction()
	if done {
		whole = 1
	}
	parent := ""
	if p.parent != nil {
		parent = p.parent.name
	}
	for c, q := whole, p.parent; q != nil; q = q.parent {
		// Siblings that run side by side share the step.
		q.inner = max(q.inner, c/float64(max(q.active, 1)))
		c = q.fraction()
		whole = c
	}
	t.best = max(t.best, whole)
	return Progress{Phase: p.name, Parent: parent, Step: p.done, Steps: p.steps, Done: done, Fraction: t.best}
}
