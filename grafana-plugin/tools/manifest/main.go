// Command manifest prints the Go build manifest that Grafana's plugin validator
// compares with the source: a hash of every Go file below the working directory.
package main

import (
	"fmt"
	"os"

	"github.com/grafana/grafana-plugin-sdk-go/build/utils"
)

func main() {
	text, err := utils.GenerateManifest()
	if err != nil {
		fmt.Fprintln(os.Stderr, "the build manifest cannot be written:", err)
		os.Exit(1)
	}
	fmt.Print(text)
}
