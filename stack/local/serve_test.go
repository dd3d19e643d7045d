package local

import (
	"net/http"
	"os"
	"time"
)

// serve answers until it is asked to end.
func serve(address string) {
	s := http.Server{Addr: address, ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/end" {
			w.WriteHeader(http.StatusOK)
			time.AfterFunc(50*time.Millisecond, func() { os.Exit(4) })
		}
	})}
	_ = s.ListenAndServe()
	os.Exit(1)
}
