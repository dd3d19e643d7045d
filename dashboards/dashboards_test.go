// Package dashboards_test holds the dashboards against everything they depend
// on: the metrics that the code exports and the rules record, their own
// variables and links, the questions of the plugin.
package dashboards_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

type object = map[string]any

type panel struct {
	ID          int
	Type, Title string
	Description string
	GridPos     struct{ X, Y, W, H int }
	Datasource  struct{ Type, UID string }
	Targets     []object
	TimeFrom    string
	FieldConfig struct {
		Defaults  object
		Overrides []object
	}
	Transformations []struct {
		ID      string
		Options struct{ RenameByName map[string]string }
	}
}

type dashboard struct {
	file, text string

	UID, Title, Description string
	SchemaVersion           int
	Tags                    []string
	Links                   []struct{ Title, URL, Tooltip string }
	Time                    struct{ From, To string }
	Templating              struct {
		List []struct {
			Name, Type, Label, Description string
			Query                          any
			Datasource                     struct{ UID string }
		}
	}
	Annotations struct {
		List []struct {
			Name   string
			Target object
			Filter struct{ IDs []int }
		}
	}
	Panels []panel
}

func dashboards(t *testing.T) []dashboard {
	t.Helper()
	files, err := filepath.Glob("*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	var out []dashboard
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d := dashboard{file: file, text: string(text)}
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		out = append(out, d)
	}
	return out
}

// variable finds $name, ${name} and ${name:format}.
var variable = regexp.MustCompile(`\$\{?([a-zA-Z_]\w*)(?::\w+)?\}?`)

func TestDashboardsAreComplete(t *testing.T) {
	uids := map[string]bool{}
	for _, d := range dashboards(t) {
		uids[d.UID] = true
	}
	for _, d := range dashboards(t) {
		t.Run(d.UID, func(t *testing.T) {
			if want := "plancast-" + strings.TrimSuffix(d.file, ".json"); d.UID != want {
				t.Errorf("the uid is %q; want %q, after the file", d.UID, want)
			}
			if d.SchemaVersion != 42 || d.Description == "" || !slices.Contains(d.Tags, "plancast") {
				t.Errorf("schemaVersion %d, description %q, tags %v", d.SchemaVersion, d.Description, d.Tags)
			}
			variables := map[string]bool{"__interval": true, "__value": true, "__all": true}
			for _, v := range d.Templating.List {
				variables[v.Name] = true
				if v.Label == "" || v.Description == "" {
					t.Errorf("variable %s has no label or no description", v.Name)
				}
			}
			for _, m := range variable.FindAllStringSubmatch(d.text, -1) {
				if !variables[m[1]] && !regexp.MustCompile(`^\d`).MatchString(m[1]) {
					t.Errorf("there is no variable %s", m[1])
				}
			}
			for _, l := range d.Links {
				if uid, ok := strings.CutPrefix(l.URL, "/d/"); ok && !uids[uid] || l.Tooltip == "" {
					t.Errorf("link %q leads to %s, with the tooltip %q", l.Title, l.URL, l.Tooltip)
				}
			}
			for _, m := range regexp.MustCompile(`"/d/([\w-]+)\?var-(\w+)=`).FindAllStringSubmatch(d.text, -1) {
				if !uids[m[1]] || !variables[m[2]] {
					t.Errorf("a data link leads to dashboard %s, variable %s", m[1], m[2])
				}
			}
			ids := map[int]bool{}
			for i, p := range d.Panels {
				if ids[p.ID] {
					t.Errorf("two panels have the id %d", p.ID)
				}
				ids[p.ID] = true
				for _, q := range d.Panels[:i] {
					a, b := p.GridPos, q.GridPos
					if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
						t.Errorf("panels %q and %q overlap", p.Title, q.Title)
					}
				}
				if p.GridPos.X+p.GridPos.W > 24 {
					t.Errorf("panel %q is too wide for its place", p.Title)
				}
				if p.Type == "row" {
					continue
				}
				if len(p.Description) < 20 || !strings.HasSuffix(p.Description, ".") {
					t.Errorf("panel %q has the description %q; want sentences", p.Title, p.Description)
				}
				if p.FieldConfig.Defaults["unit"] == nil {
					t.Errorf("panel %q has no unit", p.Title)
				}
				if !slices.Contains([]string{"table", "stat", "timeseries", "bargauge", "barchart", "state-timeline"}, p.Type) {
					t.Errorf("panel %q is a %s, which is not among the kinds in use", p.Title, p.Type)
				}
				if len(p.Targets) == 0 {
					t.Errorf("panel %q asks nothing", p.Title)
				}
				refs := map[any]bool{}
				for _, target := range p.Targets {
					if refs[target["refId"]] {
						t.Errorf("panel %q has two queries %v", p.Title, target["refId"])
					}
					refs[target["refId"]] = true
					// The dashboards reach past now, where an instant query would find nothing.
					if target["instant"] == true && p.TimeFrom == "" {
						t.Errorf("panel %q asks for an instant without a time range that ends now", p.Title)
					}
				}
			}
			events := 0
			for _, a := range d.Annotations.List {
				if a.Target["type"] == "annotations" {
					events++
				}
				for _, id := range a.Filter.IDs {
					if !ids[id] {
						t.Errorf("annotation %q is for panel %d, which does not exist", a.Name, id)
					}
				}
			}
			if events != 1 {
				t.Errorf("%d annotations ask the plugin for iterations and failures; want 1", events)
			}
		})
	}
}

func TestModesAndVerdictsHaveOneColor(t *testing.T) {
	colors := map[string]map[string]bool{}
	for _, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, o := range p.FieldConfig.Overrides {
				name := fmt.Sprint(o["matcher"].(object)["options"])
				for _, mode := range []string{"fp32", "fp16", "int8"} {
					if name != mode && name != "/.*"+mode+".*/" {
						continue
					}
					for _, x := range o["properties"].([]any) {
						if x := x.(object); x["id"] == "color" {
							if colors[mode] == nil {
								colors[mode] = map[string]bool{}
							}
							colors[mode][fmt.Sprint(x["value"].(object)["fixedColor"])] = true
						}
					}
				}
			}
		}
	}
	for _, mode := range []string{"fp32", "fp16", "int8"} {
		if len(colors[mode]) != 1 {
			t.Errorf("%s has the colors %v; want one", mode, colors[mode])
		}
	}
}

// The plugin's archive brings the dashboards along.
func TestThePluginBringsTheDashboards(t *testing.T) {
	var plugin struct {
		Includes []struct{ Type, Name, Path string }
	}
	text, err := os.ReadFile("../grafana-plugin/src/plugin.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &plugin); err != nil {
		t.Fatal(err)
	}
	titles := map[string]string{}
	for _, d := range dashboards(t) {
		titles["dashboards/"+d.file] = d.Title
	}
	for _, i := range plugin.Includes {
		if i.Type != "dashboard" {
			continue
		}
		title, ok := titles[i.Path]
		if !ok {
			if _, err := os.Stat(filepath.Join("../grafana-plugin/src", i.Path)); err != nil {
				t.Errorf("plugin.json includes %s, which is not there", i.Path)
			}
			continue
		}
		if i.Name != title {
			t.Errorf("plugin.json calls %s %q; its title is %q", i.Path, i.Name, title)
		}
	}
}

// A column that was renamed has lost its unit and width where the override still has
// the old name.
func TestOverridesOfTablesMatchAColumn(t *testing.T) {
	for _, d := range dashboards(t) {
		for _, p := range d.Panels {
			var columns []string
			matrix := false
			for _, x := range p.Transformations {
				matrix = matrix || x.ID == "groupingToMatrix"
				for _, name := range x.Options.RenameByName {
					columns = append(columns, name)
				}
			}
			if p.Type != "table" || len(columns) == 0 || matrix {
				continue
			}
			for _, o := range p.FieldConfig.Overrides {
				m := o["matcher"].(object)
				name, _ := m["options"].(string)
				pattern := regexp.QuoteMeta(name)
				if m["id"] == "byRegexp" {
					pattern = strings.Trim(name, "/")
				}
				if !slices.ContainsFunc(columns, regexp.MustCompile("^(?:"+pattern+")$").MatchString) {
					t.Errorf("%s: panel %q overrides %q, and has the columns %q", d.file, p.Title, name, columns)
				}
			}
		}
	}
}
