// Command certs runs Tailscale's own CertManager against one tailscaled, so that
// the benchmark measures it under the same load as tscert_trio.
//
//	certs --socket PATH --serve-config FILE
//
// It stays until SIGTERM or SIGINT. The same source builds with each release
// that a folder here names; only go.mod differs.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"

	"tailscale.com/client/local"
	"tailscale.com/ipn"
	"tailscale.com/kube/certs"
	"tailscale.com/kube/localclient"
)

func main() {
	socket := flag.String("socket", "", "path of tailscaled's socket")
	path := flag.String("serve-config", "", "path of a serve config, JSON")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	text, err := os.ReadFile(*path)
	if err != nil {
		log.Fatal(err)
	}
	var config ipn.ServeConfig
	if err := json.Unmarshal(text, &config); err != nil {
		log.Fatalf("%s: %v", *path, err)
	}
	// UseSocketOnly: never a macOS app's TCP port, always the socket given.
	client := &local.Client{Socket: *socket, UseSocketOnly: true}
	manager := certs.NewCertManager(localclient.New(client), log.Printf)
	if err := manager.EnsureCertLoops(ctx, &config); err != nil {
		log.Fatal(err)
	}
	<-ctx.Done()
}
