// Command tocsin reads sensors, finds anomalies and tells Kafka.
package main

import (
	"os"

	"tocsin/agent/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], cli.Std()))
}
