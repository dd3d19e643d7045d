package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/chart"
	"github.com/plancast/plancast/units"
)

// frameText is what stands above the content of every page.
//
//go:embed frame.html
var frameText string

//go:embed page.css
var pageCSS string

// frame is what the frame of every page needs.
type frame struct {
	CSS     template.CSS
	Title   string
	DocsURL string
	Root    string // where plancast's pages begin, from here: "" or "../"
	Results bool   // single results can be shown and compared
	Refresh int    // seconds after which the page reloads itself; 0 never
}

func newFrame(title, docsURL, root string) frame {
	return frame{CSS: template.CSS(pageCSS), Title: title, DocsURL: docsURL, Root: root, Results: true}
}

// ContentSecurityPolicy is the header that pages are meant to be served with: no
// script, nothing from elsewhere, only their own style sheet, and forms that ask
// plancast itself.
func ContentSecurityPolicy() string {
	sum := sha256.Sum256([]byte(pageCSS))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
}

// parse makes a page's template, in the common frame.
func parse(name, text string) *template.Template {
	return template.Must(template.Must(template.New(name).Funcs(functions).Parse(frameText)).Parse(text))
}

var functions = template.FuncMap{
	"seconds":  func(v float64) string { return units.Format(v, units.Seconds) },
	"rate":     func(v float64) string { return units.Format(v, units.PerSec) },
	"bytes":    func(v float64) string { return units.Format(v, units.Bytes) },
	"ratio":    func(v float64) string { return units.Format(v, units.Ratio) },
	"quantity": func(v *float64, u string) string { return quantity(v, units.Unit(u)) },
	"percent":  units.Percent,
	"ago":      func(s float64) string { return units.Ago(seconds(s)) },
	"span":     func(s float64) string { return units.Span(seconds(s)) },
	"count":    units.Count,
	"backend":  backendText,
	"legend":   func(s chart.Shape) string { return s.Path(7, 7) },
	"legendx":  func() string { return chart.Cross.Path(7, 7) },
	"short":    shortLink,
	"stamp":    func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") },
	"day":      func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
	"machine":  func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"glue":     glue,
	"number":   func(n int) string { return units.Number(float64(n)) },
}

// quantities are a number with its unit, and what it is compared by.
var quantities = regexp.MustCompile(`(\d) ([µnm]?s|min|h|d|[KMGT]iB)\b|(\d) (%)|([<>]=?) (\d)`)

// glue keeps a number and its unit on one line.
func glue(text string) string {
	return quantities.ReplaceAllString(text, "$1$3$5\u00a0$2$4$6")
}

// shortLink is a link as it is shown: without its scheme and parameters.
func shortLink(link string) string {
	u, err := url.Parse(link)
	if err != nil {
		return shorten(link, 60)
	}
	return shorten(u.Host+strings.TrimSuffix(u.Path, "/"), 60)
}
