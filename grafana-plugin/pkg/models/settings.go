package models

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/tsdb"
)

// Settings is the configuration of one data source, validated and with its
// defaults filled in. Secrets are not here: the SDK's HTTP client options read
// them from secureJsonData and nothing else does.
type Settings struct {
	URL     string // of the Prometheus-compatible API, without credentials
	Method  string // POST or GET
	History time.Duration
	Horizon int // further iterations that a new query asks about
	// Resolution is the finest step of a history, usually the scrape interval.
	Resolution time.Duration
	Fresh      time.Duration // how long an answer that reaches into the present is kept
	CacheBytes int64
	MaxSeries  int   // series in one answer of the API
	MaxBytes   int64 // of one answer of the API
	Requests   int   // at the same time to the API
	OAuth      bool  // the identity of the user is forwarded
}

// jsonData is Settings as the editor and provisioning files write them. To add
// a field: add it here with its default in LoadSettings, to
// src/types.ts, to the config editor, and to the table in README.md.
type jsonData struct {
	HTTPMethod     string  `json:"httpMethod"`
	History        string  `json:"history"`
	DefaultHorizon int     `json:"defaultHorizon"`
	Resolution     string  `json:"resolution"`
	CacheSeconds   *int    `json:"cacheSeconds"`
	CacheMegabytes *int    `json:"cacheMegabytes"`
	MaxSeries      int     `json:"maxSeries"`
	MaxMegabytes   int     `json:"maxMegabytes"`
	MaxRequests    int     `json:"maxRequests"`
	OAuthPassThru  bool    `json:"oauthPassThru"`
	Timeout        float64 `json:"timeout"` // read by the SDK; here only to be refused when negative
}

// The defaults of the settings; README.md states them.
const (
	defaultResolution = 15 * time.Second
	defaultFresh      = 30 * time.Second
	defaultCacheBytes = 96 << 20
	defaultMaxSeries  = 2000
	defaultMaxBytes   = 64 << 20
	defaultRequests   = 6
)

// LoadSettings reads and validates the settings of an instance.
func LoadSettings(s backend.DataSourceInstanceSettings) (Settings, error) {
	var d jsonData
	if len(s.JSONData) > 0 {
		if err := json.Unmarshal(s.JSONData, &d); err != nil {
			return Settings{}, invalid("settings", "jsonData cannot be read: %v", err)
		}
	}
	out := Settings{
		Method: strings.ToUpper(cmp.Or(d.HTTPMethod, http.MethodPost)), History: terms.LookBack, Horizon: cmp.Or(d.DefaultHorizon, terms.Horizon),
		Resolution: defaultResolution, Fresh: defaultFresh, CacheBytes: defaultCacheBytes,
		MaxSeries: cmp.Or(d.MaxSeries, defaultMaxSeries), MaxBytes: cmp.Or(int64(d.MaxMegabytes)<<20, defaultMaxBytes),
		Requests: cmp.Or(d.MaxRequests, defaultRequests), OAuth: d.OAuthPassThru,
	}
	if d.CacheSeconds != nil {
		out.Fresh = time.Duration(*d.CacheSeconds) * time.Second
	}
	if d.CacheMegabytes != nil {
		out.CacheBytes = int64(*d.CacheMegabytes) << 20
	}
	var err error
	if out.URL, err = address(s.URL); err != nil {
		return Settings{}, err
	}
	if out.Method != http.MethodGet && out.Method != http.MethodPost {
		return Settings{}, invalid("HTTP method", "%q is neither GET nor POST", d.HTTPMethod)
	}
	for _, x := range []struct {
		field string
		text  string
		to    *time.Duration
		least time.Duration
	}{{"history", d.History, &out.History, time.Hour}, {"resolution", d.Resolution, &out.Resolution, time.Second}} {
		if x.text == "" {
			continue
		}
		v, err := terms.ParseDuration(x.text)
		if err != nil || v < x.least || v > terms.MaxLookBack {
			return Settings{}, invalid(x.field, "%q is not a duration of at least %s, such as 30d or 1h", x.text, terms.FormatDuration(x.least))
		}
		*x.to = v
	}
	if err := out.check(d.Timeout); err != nil {
		return Settings{}, err
	}
	return out, nil
}

// address checks the URL of the API.
func address(text string) (string, error) {
	text = strings.TrimSpace(text)
	u, err := url.Parse(text)
	switch {
	case text == "":
		return "", invalid("URL", "enter the address of a Prometheus-compatible API, such as http://localhost:9090")
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return "", invalid("URL", "it must be an address such as http://localhost:9090")
	case u.User != nil:
		return "", invalid("URL", "leave user and password out of the address and enter them under Authentication, where they are stored encrypted")
	}
	return u.String(), nil
}

// check refuses numbers out of bounds; timeout is in seconds.
func (s Settings) check(timeout float64) error {
	for _, x := range []struct {
		field          string
		v, least, most int64
	}{
		{"default horizon", int64(s.Horizon), 1, terms.MaxHorizon},
		{"cache seconds", int64(s.Fresh / time.Second), 0, 3600},
		{"cache megabytes", s.CacheBytes >> 20, 0, 4096},
		{"maximal series", int64(s.MaxSeries), 1, 100_000},
		{"maximal megabytes", s.MaxBytes >> 20, 1, 1024},
		{"maximal requests", int64(s.Requests), 1, 100},
		{"timeout", int64(timeout), 0, 3600},
	} {
		if x.v < x.least || x.v > x.most {
			return invalid(x.field, "%d is not between %d and %d", x.v, x.least, x.most)
		}
	}
	return nil
}

// Loader is what the reader of histories needs of them.
func (s Settings) Loader() tsdb.Settings {
	return tsdb.Settings{Resolution: s.Resolution, Fresh: s.Fresh, CacheBytes: s.CacheBytes, Horizon: s.Horizon}
}

// String never holds a secret, since the settings do not.
func (s Settings) String() string {
	return fmt.Sprintf("%s over %s, %s of history", s.URL, s.Method, terms.FormatDuration(s.History))
}
