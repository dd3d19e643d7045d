package plugin

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
)

// forwardedCookies are the cookies that the data source passes on.
func forwardedCookies(jsonData []byte) []string {
	var d struct {
		KeepCookies []string `json:"keepCookies"`
	}
	_ = json.Unmarshal(jsonData, &d) // what is wrong with it is said by LoadSettings
	return d.KeepCookies
}

// identity distinguishes users whose requests carry different credentials to the
// API, so that none is answered from another's cache. It is a hash: the
// credentials themselves are kept nowhere.
func identity(h http.Header) string {
	sum := sha256.New()
	found := false
	for _, name := range slices.Sorted(slices.Values([]string{
		backend.OAuthIdentityTokenHeaderName, backend.OAuthIdentityIDTokenHeaderName, backend.CookiesHeaderName, backend.GrafanaUserSignInTokenHeaderName,
	})) {
		for _, v := range h.Values(name) {
			found = true
			sum.Write([]byte(name + "\x00" + v + "\x00"))
		}
	}
	if !found {
		return ""
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}
