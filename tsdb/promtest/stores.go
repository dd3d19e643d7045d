package promtest

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/alerts/alertstest"
	"github.com/plancast/plancast/stack/local"
)

// Store is a database that runs until the end of its test.
type Store struct {
	URL    string // of its Prometheus API, without /api/v1
	Write  string // of its remote write
	Tenant string // whose samples it takes and answers with; "" where it has no tenants
	flush  func()
}

// Flush makes what was written found at once.
func (s Store) Flush() {
	if s.flush != nil {
		s.flush()
	}
}

// TenantHeader names the tenant in each request to a store that has tenants.
const TenantHeader = "X-Scope-OrgID"

// Client sends requests as the store's tenant.
func (s Store) Client() *http.Client {
	return &http.Client{Transport: asTenant(s.Tenant)}
}

type asTenant string

func (t asTenant) RoundTrip(r *http.Request) (*http.Response, error) {
	if t != "" {
		r = r.Clone(r.Context())
		r.Header.Set(TenantHeader, string(t))
	}
	return http.DefaultTransport.RoundTrip(r)
}

// Stores are the databases that plancast supports, each started empty and taking samples as old as
// outOfOrder says. A test of one is skipped where its program is missing.
var Stores = map[string]func(t testing.TB, outOfOrder string) Store{
	"Prometheus": func(t testing.TB, outOfOrder string) Store {
		url := StartReceiver(t, outOfOrder)
		return Store{URL: url, Write: url + "/api/v1/write"}
	},
	"VictoriaMetrics": func(t testing.TB, _ string) Store {
		url := startVictoriaMetrics(t)
		return Store{URL: url, Write: url + "/api/v1/write", flush: func() { flushVictoriaMetrics(t, url) }}
	},
	"Mimir":  func(t testing.TB, outOfOrder string) Store { return StartMimir(t, outOfOrder) },
	"Thanos": func(t testing.TB, outOfOrder string) Store { return StartThanos(t, outOfOrder) },
}

// startVictoriaMetrics runs a VictoriaMetrics without samples and returns its address.
func startVictoriaMetrics(t testing.TB) string {
	t.Helper()
	program, err := local.Find("on Debian, apt-get install victoria-metrics", "victoria-metrics", "victoria-metrics-prod")
	if err != nil {
		t.Skip(err)
	}
	data := filepath.Join(t.TempDir(), "data")
	return alertstest.Start(t, local.Program{Ready: "/health", Command: func(address string) []string {
		return []string{program, "-storageDataPath=" + data, "-retentionPeriod=100y", "-httpListenAddr=" + address, "-loggerLevel=WARN"}
	}}).URL
}

// flushVictoriaMetrics makes what was written found at once.
func flushVictoriaMetrics(t testing.TB, address string) {
	t.Helper()
	resp, err := http.Post(address+"/internal/force_flush", "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		t.Fatalf("%s cannot be flushed: %s", address, resp.Status)
	}
}

// requiredStores is the environment variable that, set to 1 as by make stores-test, makes a missing
// Mimir or Thanos a failure instead of a skipped test.
const requiredStores = "PLANCAST_REQUIRE_STORES"

// findStore is the program that the variable names, or that is installed.
func findStore(t testing.TB, name, variable string) string {
	t.Helper()
	program := os.Getenv(variable)
	if program == "" {
		program = name
	}
	path, err := local.Find("make stores-test builds it; or name its program in "+variable, program)
	if err != nil && os.Getenv(requiredStores) == "1" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skip(err)
	}
	return path
}

// freePort is one on which a program may listen beside its address.
func freePort(t testing.TB) string {
	t.Helper()
	address, err := local.Address()
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(address, ":")
	return port
}

// StartMimir runs an empty Mimir with tenants, all of it in one process, with these limits. It finds
// samples in its ingesters however old they are, and does not divide a question into days, since one
// process takes minutes over those of a year.
func StartMimir(t testing.TB, outOfOrder string, limits ...string) Store {
	t.Helper()
	program := findStore(t, "mimir", "PLANCAST_MIMIR")
	dir := t.TempDir()
	const here = "127.0.0.1"
	process := alertstest.Start(t, local.Program{Name: "Mimir", Ready: "/ready", Dir: dir, Command: func(address string) []string {
		_, port, _ := strings.Cut(address, ":")
		command := []string{program, "-target=all", "-log.level=error", "-usage-stats.enabled=false",
			"-server.http-listen-address=" + here, "-server.http-listen-port=" + port,
			"-server.grpc-listen-address=" + here, "-server.grpc-listen-port=" + freePort(t),
			"-blocks-storage.backend=filesystem", "-blocks-storage.filesystem.dir=" + filepath.Join(dir, "blocks"),
			"-blocks-storage.tsdb.dir=" + filepath.Join(dir, "tsdb"), "-blocks-storage.bucket-store.sync-dir=" + filepath.Join(dir, "sync"),
			"-compactor.data-dir=" + filepath.Join(dir, "compactor"),
			"-ruler-storage.backend=filesystem", "-ruler-storage.filesystem.dir=" + filepath.Join(dir, "rules"),
			"-ingester.ring.replication-factor=1", "-ingester.ring.min-ready-duration=0s",
			"-store-gateway.sharding-ring.replication-factor=1",
			"-ingester.out-of-order-time-window=" + outOfOrder, "-querier.query-ingesters-within=0", "-query-frontend.split-queries-by-interval=0",
		}
		for _, ring := range []string{"distributor.ring", "ingester.ring", "compactor.ring", "store-gateway.sharding-ring", "ruler.ring", "query-scheduler.ring", "querier.ring", "overrides-exporter.ring"} {
			command = append(command, "-"+ring+".store=inmemory", "-"+ring+".instance-addr="+here)
		}
		return append(append(command, "-query-frontend.instance-addr="+here), limits...)
	}})
	return Store{URL: process.URL + "/prometheus", Write: process.URL + "/api/v1/push", Tenant: "vision"}
}

// StartThanos runs an empty Thanos Receive under a Thanos Query.
func StartThanos(t testing.TB, outOfOrder string) Store {
	t.Helper()
	receive := StartThanosReceive(t, "a", outOfOrder)
	url := StartThanosQuery(t, receive.GRPC)
	return Store{URL: url, Write: receive.Write, flush: func() { awaitThanosStores(t, url, 1) }}
}

// ThanosReceive is one that runs.
type ThanosReceive struct {
	*local.Process
	GRPC  string // host:port that a Thanos Query asks
	Write string // address of its remote write
}

// StartThanosReceive runs an empty Thanos Receive whose series have the label receive.
func StartThanosReceive(t testing.TB, name, outOfOrder string) ThanosReceive {
	t.Helper()
	program := findStore(t, "thanos", "PLANCAST_THANOS")
	grpc, write := "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
	data := filepath.Join(t.TempDir(), "data")
	return ThanosReceive{GRPC: grpc, Write: "http://" + write + "/api/v1/receive", Process: alertstest.Start(t, local.Program{
		Name: "Thanos Receive", Ready: "/-/ready", Command: func(address string) []string {
			return []string{program, "receive", "--log.level=warn", "--http-address=" + address, "--grpc-address=" + grpc, "--remote-write.address=" + write, "--receive.capnproto-address=127.0.0.1:" + freePort(t),
				"--tsdb.path=" + data, "--tsdb.retention=0d", "--tsdb.out-of-order.time-window=" + outOfOrder, `--label=receive="` + name + `"`}
		}})}
}

// StartThanosQuery runs a Thanos Query over the stores at these addresses, which it asks even when
// they are not healthy, and returns the address of its API.
func StartThanosQuery(t testing.TB, stores ...string) string {
	t.Helper()
	program := findStore(t, "thanos", "PLANCAST_THANOS")
	url := alertstest.Start(t, local.Program{Name: "Thanos Query", Ready: "/-/ready", Command: func(address string) []string {
		command := []string{program, "query", "--log.level=warn", "--http-address=" + address, "--grpc-address=127.0.0.1:" + freePort(t)}
		for _, s := range stores {
			command = append(command, "--endpoint-strict="+s)
		}
		return command
	}}).URL
	awaitThanosStores(t, url, len(stores))
	return url
}

// awaitThanosStores waits until a Thanos Query knows of so many stores what times they hold now.
func awaitThanosStores(t testing.TB, url string, n int) {
	t.Helper()
	since := time.Now()
	alertstest.Await(t, "Thanos Query to ask its stores", func() bool {
		resp, err := http.Get(url + "/api/v1/stores")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		var answer struct {
			Data map[string][]struct{ LastCheck time.Time }
		}
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		known := 0
		for _, stores := range answer.Data {
			for _, s := range stores {
				if s.LastCheck.After(since) {
					known++
				}
			}
		}
		return known == n
	})
}
