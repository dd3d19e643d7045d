// Command gpx_plancast_milestone is the backend of plancast's Grafana data
// source.
package main

import (
	"os"
	"runtime/debug"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/datasource"

	"github.com/plancast/plancast/grafana-plugin/pkg/plugin"
)

func main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(plugin.MemoryLimit)
	}
	if err := datasource.Manage(plugin.ID, plugin.New, datasource.ManageOpts{}); err != nil {
		backend.Logger.Error("the plugin stopped", "error", err.Error())
		os.Exit(1)
	}
}
