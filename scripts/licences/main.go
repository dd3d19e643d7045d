// Command licences writes docs/licences.md: the licence of every Go module that is
// linked into plancast and into the plugin's backend, by the text that the module
// ships. It fails on a licence that nobody has looked at.
//
//	go run ./scripts/licences > docs/licences.md
package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// programs are what plancast distributes, and tags what it is built with (Makefile).
var programs = []string{"./exporter", "./grafana-plugin/pkg"}

const tags = "disable_grpc_modules,grpcnotrace"

// allowed are licences that let a program under the Apache License 2.0 link the module.
var allowed = []string{"Apache-2.0", "MIT", "MIT-0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MPL-2.0", "Unlicense", "CC0-1.0", "0BSD"}

// reviewed are modules whose text is no licence's own, read by a person.
var reviewed = map[string]string{
	"kernel.org/pub/linux/libs/security/libcap/psx": "BSD-3-Clause", // or GPL-2.0, as the user likes
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "licences:", err)
		os.Exit(1)
	}
}

func run() error {
	modules, err := linked()
	if err != nil {
		return err
	}
	page, err := describe(modules)
	if err != nil {
		return err
	}
	_, err = os.Stdout.WriteString(page)
	return err
}

// linked returns the folders of the modules that the programs link, by their path.
func linked() (map[string]string, error) {
	list := exec.Command("go", append([]string{"list", "-deps", "-tags", tags, "-f", "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Dir}}{{end}}{{end}}"}, programs...)...)
	var failure bytes.Buffer
	list.Stderr = &failure
	text, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("list modules: %w: %s", err, failure.String())
	}
	modules := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if path, dir, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			modules[path] = dir
		}
	}
	return modules, nil
}

const head = `# Licences

Written by ` + "`go run ./scripts/licences`" + `; a test holds it to the modules. plancast itself is under the [Apache License 2.0](../LICENSE).
These Go modules are linked into the program and into the plugin's backend; ` + "`make sbom`" + ` lists them with versions and hashes, and the
npm packages of the plugin's front end. ONNX Runtime (MIT) comes with the CPU image, TensorRT (NVIDIA's licence) with NVIDIA's image.

| module | licence |
| --- | --- |
`

// describe writes the page.
func describe(modules map[string]string) (string, error) {
	var page strings.Builder
	var unknown []error
	page.WriteString(head)
	for _, path := range slices.Sorted(maps.Keys(modules)) {
		licence := reviewed[path]
		if licence == "" {
			var err error
			if licence, err = of(modules[path]); err != nil {
				unknown = append(unknown, fmt.Errorf("%s: %w", path, err))
			}
		}
		fmt.Fprintf(&page, "| %s | %s |\n", path, licence)
	}
	return page.String(), errors.Join(unknown...)
}

// licenceFile matches a module's own licence; LICENSE-3RD-PARTY and the like are of
// what it was written after.
var licenceFile = regexp.MustCompile(`(?i)^((un)?licen[sc]e|copying)(\.(txt|md|rst))?$`)

// enough is the share of a file, in percent, that has to be a licence's text.
const enough = 75

// of names the licences in a module's folder.
func of(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	found := map[string]bool{}
	for _, e := range entries {
		if e.IsDir() || !licenceFile.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return "", err
		}
		cover := licensecheck.Scan(text)
		if cover.Percent < enough {
			return "", fmt.Errorf("only %.0f %% of %s is the text of a licence: read it, and add the module to reviewed in scripts/licences", cover.Percent, e.Name())
		}
		for _, m := range cover.Match {
			found[m.ID] = true
		}
	}
	names := slices.Sorted(maps.Keys(found))
	if len(names) == 0 {
		return "", fmt.Errorf("no licence in %s: look it up, and add the module to reviewed in scripts/licences", dir)
	}
	for _, name := range names {
		if !slices.Contains(allowed, name) {
			return "", fmt.Errorf("%s is not among the licences that plancast links: replace the module, or add the licence to allowed in scripts/licences", name)
		}
	}
	return strings.Join(names, ", "), nil
}
