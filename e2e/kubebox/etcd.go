package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"go.etcd.io/etcd/server/v3/embed"
)

// runEtcd serves one member until it fails or is told to stop.
func runEtcd(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: kubebox etcd DIR URL")
	}
	client, err := url.Parse(args[1])
	if err != nil {
		return fmt.Errorf("client URL: %w", err)
	}
	peer, err := freeLoopbackURL()
	if err != nil {
		return err
	}
	config := embed.NewConfig()
	config.Dir = args[0]
	config.LogLevel = "error"
	// The lab's etcd is thrown away with the lab; a crash of this machine loses it, and that is fine.
	config.UnsafeNoFsync = true
	config.ListenClientUrls = []url.URL{*client}
	config.AdvertiseClientUrls = []url.URL{*client}
	config.ListenPeerUrls = []url.URL{*peer}
	config.AdvertisePeerUrls = []url.URL{*peer}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	server, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	defer server.Close()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	select {
	case <-server.Server.ReadyNotify():
		fmt.Println("ready")
	case err := <-server.Err():
		return err
	case <-stop:
		return nil
	}
	select {
	case err := <-server.Err():
		return err
	case <-stop:
		return nil
	}
}

// freeLoopbackURL names a port that was free a moment ago: embed cannot take port 0 for peers.
func freeLoopbackURL() (*url.URL, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("a free port for peers: %w", err)
	}
	defer listener.Close()
	return url.Parse("http://" + listener.Addr().String())
}
