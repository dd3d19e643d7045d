package daemon_test

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/daemon/daemontest"
	"github.com/plancast/plancast/exporter/engine/fake"
)

var (
	hrefs   = regexp.MustCompile(`href="([^"]*)"`)
	forms   = regexp.MustCompile(`(?s)<form([^>]*)>(.*?)</form>`)
	actions = regexp.MustCompile(`action="([^"]*)"`)
	hiddens = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
	selects = regexp.MustCompile(`(?s)<select name="([^"]*)">(.*?)</select>`)
	options = regexp.MustCompile(`<option(?: value="([^"]*)")?[^>]*>([^<]*)`)
)

// leads are where the links of a page lead, and the forms with each of their choices.
func leads(page string) (out []string) {
	for _, m := range hrefs.FindAllStringSubmatch(page, -1) {
		out = append(out, html.UnescapeString(m[1]))
	}
	for _, f := range forms.FindAllStringSubmatch(page, -1) {
		v, action := url.Values{}, ""
		if m := actions.FindStringSubmatch(f[1]); m != nil {
			action = m[1]
		}
		for _, m := range hiddens.FindAllStringSubmatch(f[2], -1) {
			v.Set(m[1], html.UnescapeString(m[2]))
		}
		for _, s := range selects.FindAllStringSubmatch(f[2], -1) {
			for _, o := range options.FindAllStringSubmatch(s[2], -1) {
				value := o[1]
				if !strings.Contains(o[0], "value=") {
					value = o[2]
				}
				v.Set(s[1], html.UnescapeString(value))
				out = append(out, action+"?"+v.Encode())
			}
			v.Del(s[1])
		}
	}
	return out
}

// Without script, links and forms are all that the pages have: whatever a reader
// clicks, sorts by or filters by, there is a page.
func TestEveryLinkAndFilterLeadsToAPage(t *testing.T) {
	s := daemontest.New(t, launchTarget)
	for version, author := range map[string]string{"1": "Ann & <Bob>", "2": "Ann & <Bob>", "3": "Eve"} {
		s.Push("net", version, fake.Script{Latency: daemontest.Milliseconds(4)})
		s.Change("net", version, "author: "+author+"\nbranch: v"+version+"\nkinds: [fusion]\nlink: https://git.example.org/pull/"+version, 0)
	}
	s.Push("broken", "1", fake.Script{Fault: fake.BuildFailed})
	d := s.Open()
	if err := d.Pass(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	h := d.Handler()
	start, err := url.Parse("http://localhost/")
	if err != nil {
		t.Fatal(err)
	}
	seen, queue := map[string]bool{}, []*url.URL{start}
	for len(queue) > 0 && len(seen) < 2000 {
		at := queue[0]
		queue = queue[1:]
		if seen[at.RequestURI()] {
			continue
		}
		seen[at.RequestURI()] = true
		code, page := get(t, h, "GET", at.RequestURI())
		if code != http.StatusOK {
			t.Errorf("%s: %d %.300s", at.RequestURI(), code, page)
			continue
		}
		for _, ref := range leads(page) {
			to, err := at.Parse(ref)
			if err != nil {
				t.Errorf("%s links to %q: %v", at.RequestURI(), ref, err)
				continue
			}
			if to.Fragment = ""; to.Host == start.Host {
				queue = append(queue, to)
			}
		}
	}
	for _, want := range []string{"/models/net", "/models/broken", "/results/1", "/results/4", "/compare?model=net", "/models/net?sort=p99", "/models/net?author=Ann+%26+%3CBob%3E", "/api/v1/results/1"} {
		found := false
		for at := range seen {
			found = found || strings.HasPrefix(at, want)
		}
		if !found {
			t.Errorf("no link leads to %s", want)
		}
	}
}
