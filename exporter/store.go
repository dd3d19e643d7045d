package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/alecthomas/kingpin/v2"
	promconfig "github.com/prometheus/common/config"
)

// storeFlag names the file that storeClient reads.
func storeFlag(cmd *kingpin.CmdClause) *string {
	return cmd.Flag("http.config.file", "Credentials, tenant, TLS and headers for the store, in the format of Prometheus' http_config.").String()
}

// storeClient connects to a store of metrics as a file says; "" is without credentials,
// through the proxy that the environment names.
// timeout is that of one request.
func storeClient(file string, timeout time.Duration) (*http.Client, error) {
	settings := &promconfig.HTTPClientConfig{ProxyConfig: promconfig.ProxyConfig{ProxyFromEnvironment: true}}
	if file != "" {
		var err error
		if settings, _, err = promconfig.LoadHTTPConfigFile(file); err != nil {
			return nil, fmt.Errorf("read %s: it is not a Prometheus http_config", file) // the error may quote a secret
		}
		settings.SetDirectory(filepath.Dir(file))
	}
	client, err := promconfig.NewClientFromConfig(*settings, "plancast")
	if err != nil {
		return nil, fmt.Errorf("connect to the store: %w", err)
	}
	client.Timeout = timeout
	return client, nil
}
