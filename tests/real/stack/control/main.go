// Control runs a fake Tailscale control plane for end-to-end tests of
// certificate issuance, wholly on loopback:
//
//   - a control server (testcontrol) that lets every node in without login,
//   - one DERP region on loopback, so that tailscaled never looks outside,
//   - a DNS server for the TXT records that nodes set through "set-dns",
//   - an HTTPS front for an ACME server (pebble) that can inject faults and
//     logs every request,
//   - an HTTP admin API that changes all of it while it runs.
//
// It prints one line of JSON with its addresses once everything listens.
package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"tailscale.com/derp/derpserver"
	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
	"tailscale.com/types/key"
	"tailscale.com/types/logger"
	"tailscale.com/types/opt"
)

var (
	controlAddr = flag.String("addr", "127.0.0.1:0", "control server address")
	adminAddr   = flag.String("admin", "127.0.0.1:0", "admin API address")
	dnsAddr     = flag.String("dns", "127.0.0.1:0", "DNS server address (UDP and TCP)")
	acmeAddr    = flag.String("acme", "127.0.0.1:0", "address of the ACME front")
	certDir     = flag.String("write-cert", ".", "write a self-signed cert.pem and key.pem for 127.0.0.1 into this directory; the ACME front and pebble's listeners use them")
	certDomains = flag.String("cert-domains", "", "comma-separated initial CertDomains")
	magicDomain = flag.String("magicdns", "", "MagicDNS domain; each node then also gets <hostname>.<domain>")
	peers       = flag.Int("peers", 0, "number of fake peers in the netmap")
	settle      = flag.Duration("acme-settle", 50*time.Millisecond, "delay of order polls, so that they find the order ready")
	verbose     = flag.Bool("verbose", false, "log what the control server does")
)

// A fault is an answer given instead of (or a delay before) the real one.
type fault struct {
	Path    string            `json:"path"`    // prefix of the ACME path; "" matches every request
	Status  int               `json:"status"`  // 0 lets the request through after Delay
	Headers map[string]string `json:"headers"` // e.g. Retry-After
	Body    string            `json:"body"`
	Delay   float64           `json:"delay"` // seconds
	Count   int               `json:"count"` // uses left; < 0 is "for ever"
}

type state struct {
	control *testcontrol.Server

	mu       sync.Mutex
	txt      map[string][]string // lower-case FQDN with trailing dot
	setDNS   []map[string]any    // log of set-dns calls
	dnsFail  string              // error text for set-dns; "" is success
	dnsDelay time.Duration
	dnsSkip  bool // accept set-dns, publish nothing
	faults   []*fault
	upstream *url.URL // pebble's ACME listener
	manage   *url.URL // pebble's management listener
	acmeLog  []map[string]any
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

func now() float64 { return float64(time.Now().UnixMicro()) / 1e6 }

func main() {
	flag.Parse()
	log.SetPrefix("control: ")
	st := &state{txt: map[string][]string{}, upstream: &url.URL{}, manage: &url.URL{}}
	writeCert(*certDir)
	logf := logger.Discard
	if *verbose {
		logf = log.Printf
	}

	ctlLn := must(net.Listen("tcp", *controlAddr))
	st.control = &testcontrol.Server{
		Logf:            logf,
		DERPMap:         runDERP(),
		ExplicitBaseURL: "http://" + ctlLn.Addr().String(),
		MagicDNSDomain:  *magicDomain,
		DNSConfig:       &tailcfg.DNSConfig{CertDomains: split(*certDomains)},
		OnSetDNS:        st.onSetDNS,
	}
	st.addPeers(*peers)
	go func() { log.Fatal(http.Serve(ctlLn, st.control)) }()

	pc := must(net.ListenPacket("udp", *dnsAddr))
	dnsLn := must(net.Listen("tcp", pc.LocalAddr().String()))
	h := dns.HandlerFunc(st.serveDNS)
	go func() { log.Fatal((&dns.Server{PacketConn: pc, Handler: h}).ActivateAndServe()) }()
	go func() { log.Fatal((&dns.Server{Listener: dnsLn, Handler: h}).ActivateAndServe()) }()

	acmeLn := must(net.Listen("tcp", *acmeAddr))
	go func() {
		log.Fatal(http.ServeTLS(acmeLn, st.acmeFront(), filepath.Join(*certDir, "cert.pem"), filepath.Join(*certDir, "key.pem")))
	}()

	admLn := must(net.Listen("tcp", *adminAddr))
	go func() { log.Fatal(http.Serve(admLn, st.admin())) }()

	json.NewEncoder(os.Stdout).Encode(map[string]string{
		"control":        "http://" + ctlLn.Addr().String(),
		"admin":          "http://" + admLn.Addr().String(),
		"dns":            dnsLn.Addr().String(),
		"acme_directory": "https://" + acmeLn.Addr().String() + "/dir",
	})
	select {}
}

// addPeers puts n peers into the netmap. testcontrol's own fake nodes have no
// Hostinfo, which real ones always have: a tailscaled that makes a full status
// of them (GET status, mask NotifyInitialStatus) panics and then hangs.
func (st *state) addPeers(n int) {
	for range n {
		st.control.AddFakeNode()
	}
	for i, node := range st.control.AllNodes() {
		if node.Hostinfo.Valid() {
			continue
		}
		host := "peer" + strconv.Itoa(i)
		node.Name = host + ".tail0a1b.ts.net."
		node.Hostinfo = (&tailcfg.Hostinfo{
			IPNVersion: "1.104.5-t0123456789abcdef", OS: "linux", OSVersion: "6.1.0-28-amd64", Distro: "debian",
			DistroVersion: "12.8", DistroCodeName: "bookworm", Hostname: host, GoArch: "amd64", GoVersion: "go1.27.3",
			Machine: "x86_64", Userspace: opt.NewBool(false), NetInfo: &tailcfg.NetInfo{PreferredDERP: 1},
			Services: []tailcfg.Service{{Proto: tailcfg.PeerAPI4, Port: 41641}, {Proto: tailcfg.PeerAPI6, Port: 41641}},
		}).View()
		node.HomeDERP = 1
		node.Endpoints = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.7:41641"), netip.MustParseAddrPort("198.51.100.9:41641")}
		node.Created = time.Now()
		node.Cap = 148
		st.control.UpdateNode(node)
	}
}

func split(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == '\n' || r == ' ' })
}

// runDERP starts one DERP server on loopback and returns a map of only that.
// STUN is off: the nodes have nobody to talk to.
func runDERP() *tailcfg.DERPMap {
	d := derpserver.New(key.NewNode(), logger.Discard)
	srv := httptest.NewUnstartedServer(derpserver.Handler(d))
	srv.Config.ErrorLog = logger.StdLogger(logger.Discard)
	srv.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){} // no HTTP/2: DERP hijacks
	srv.StartTLS()
	return &tailcfg.DERPMap{Regions: map[tailcfg.DERPRegionID]*tailcfg.DERPRegion{
		1: {RegionID: 1, RegionCode: "loop", Nodes: []*tailcfg.DERPNode{{
			Name: "1a", RegionID: 1, HostName: "127.0.0.1", IPv4: "127.0.0.1", IPv6: "none",
			STUNPort: -1, DERPPort: srv.Listener.Addr().(*net.TCPAddr).Port, InsecureForTests: true,
		}}},
	}}
}

func (st *state) onSetDNS(r *tailcfg.SetDNSRequest) error {
	st.mu.Lock()
	fail, delay, skip := st.dnsFail, st.dnsDelay, st.dnsSkip
	st.setDNS = append(st.setDNS, map[string]any{"t": now(), "name": r.Name, "value": r.Value, "fail": fail})
	st.mu.Unlock()
	time.Sleep(delay)
	if fail != "" {
		return errors.New(fail)
	}
	if !skip {
		st.mu.Lock()
		name := strings.ToLower(dns.Fqdn(r.Name))
		st.txt[name] = append(st.txt[name], r.Value)
		st.mu.Unlock()
	}
	return nil
}

// serveDNS answers TXT from set-dns calls, A with loopback, all else empty.
func (st *state) serveDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	m.Authoritative = true
	for _, qn := range q.Question {
		name := strings.ToLower(qn.Name)
		hdr := dns.RR_Header{Name: qn.Name, Rrtype: qn.Qtype, Class: dns.ClassINET}
		switch qn.Qtype {
		case dns.TypeTXT:
			st.mu.Lock()
			for _, v := range st.txt[name] {
				m.Answer = append(m.Answer, &dns.TXT{Hdr: hdr, Txt: []string{v}})
			}
			st.mu.Unlock()
		case dns.TypeA:
			m.Answer = append(m.Answer, &dns.A{Hdr: hdr, A: net.IPv4(127, 0, 0, 1)})
		}
	}
	w.WriteMsg(m)
}

// acmeFront proxies to pebble. It keeps the Host header, from which pebble
// builds its URLs. It must speak TLS: pebble wants "https" in the JWS "url".
func (st *state) acmeFront() http.Handler {
	proxy := st.proxyTo(&st.upstream)
	proxy.ModifyResponse = func(res *http.Response) error {
		// Boulder says where the order is when it answers a finalize request;
		// pebble 2.10 does not, and then Go's ACME client polls the URL "".
		if id, ok := strings.CutPrefix(res.Request.URL.Path, "/finalize-order/"); ok && res.Header.Get("Location") == "" {
			res.Header.Set("Location", "https://"+res.Request.Host+"/my-order/"+id)
		}
		return nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entry := map[string]any{"t": now(), "method": r.Method, "path": r.URL.Path}
		if r.URL.Path == "/order-plz" {
			entry["order"] = orderOf(r)
		}
		f := st.takeFault(r.URL.Path)
		if f != nil {
			entry["fault"] = f.Status
		}
		st.mu.Lock()
		st.acmeLog = append(st.acmeLog, entry)
		st.mu.Unlock()
		if f != nil {
			if f.Delay > 0 {
				select {
				case <-time.After(time.Duration(f.Delay * float64(time.Second))):
				case <-r.Context().Done():
					return
				}
			}
			if f.Status != 0 {
				io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", "application/problem+json")
				for k, v := range f.Headers {
					w.Header().Set(k, v)
				}
				w.WriteHeader(f.Status)
				io.WriteString(w, f.Body)
				return
			}
		}
		// Go's ACME client waits a second or more between polls of an order.
		// Pebble needs only milliseconds: answer polls a little later instead.
		if strings.HasPrefix(r.URL.Path, "/my-order/") {
			time.Sleep(*settle)
		}
		proxy.ServeHTTP(w, r)
	})
}

// orderOf reads what a newOrder request orders, and leaves the body as it was.
func orderOf(r *http.Request) json.RawMessage {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	var jws struct{ Payload string }
	if json.Unmarshal(body, &jws) != nil {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(jws.Payload)
	if err != nil || !json.Valid(payload) {
		return nil
	}
	return payload
}

func (st *state) proxyTo(target **url.URL) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			st.mu.Lock()
			pr.SetURL(*target)
			st.mu.Unlock()
			pr.Out.Host = pr.In.Host
		},
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 64},
	}
}

// writeCert makes the TLS identity of the ACME front and of pebble. Clients of
// the front trust it with SSL_CERT_FILE.
func writeCert(dir string) {
	k := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	t := &x509.Certificate{
		IsCA: true, BasicConstraintsValid: true, DNSNames: []string{"localhost"},
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der := must(x509.CreateCertificate(rand.Reader, t, t, k.Public(), k))
	write := func(name, typ string, b []byte) {
		f := pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: b})
		if err := os.WriteFile(filepath.Join(dir, name), f, 0o600); err != nil {
			log.Fatal(err)
		}
	}
	write("cert.pem", "CERTIFICATE", der)
	write("key.pem", "EC PRIVATE KEY", must(x509.MarshalECPrivateKey(k)))
}

func (st *state) takeFault(path string) *fault {
	st.mu.Lock()
	defer st.mu.Unlock()
	for i, f := range st.faults {
		if !strings.HasPrefix(path, f.Path) {
			continue
		}
		if f.Count > 0 {
			f.Count--
			if f.Count == 0 {
				st.faults = append(st.faults[:i:i], st.faults[i+1:]...)
			}
		}
		return f
	}
	return nil
}

// admin is the API that tests use. Every answer is JSON.
//
//	GET  /cert-domains            current list
//	PUT  /cert-domains            JSON array: new list, pushed to all nodes
//	POST /set-dns                 {"fail": text, "delay": s, "skip": bool}
//	GET  /set-dns                 log of set-dns calls
//	POST /acme-faults             {path,status,headers,body,delay,count} (appended)
//	DELETE /acme-faults           clear
//	GET  /acme-log, DELETE        requests that reached the ACME front; newOrder with its payload
//	POST /upstream                {"acme": URL, "management": URL} of pebble
//	any  /pebble/...              pebble's management API (roots/0, set-renewal-info/, ...)
//	POST /add-peers?n=            add fake peers to the netmap
//	POST /nudge                   push an unchanged map to all nodes
//	POST /caps                    {cap: [values]} node capabilities for all nodes
func (st *state) admin() http.Handler {
	mux := http.NewServeMux()
	reply := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v)
	}
	decode := func(w http.ResponseWriter, r *http.Request, v any) bool {
		b, _ := io.ReadAll(r.Body)
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(v); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return false
		}
		return true
	}
	mux.HandleFunc("GET /cert-domains", func(w http.ResponseWriter, r *http.Request) {
		reply(w, st.control.DNSConfig.CertDomains)
	})
	mux.HandleFunc("PUT /cert-domains", func(w http.ResponseWriter, r *http.Request) {
		var ds []string
		if !decode(w, r, &ds) {
			return
		}
		// testcontrol has no setter. The pointer swap is not under its lock,
		// AddDNSRecords then takes the lock and wakes every node's map poll.
		st.control.DNSConfig = &tailcfg.DNSConfig{CertDomains: ds}
		st.control.AddDNSRecords()
		reply(w, ds)
	})
	mux.HandleFunc("POST /nudge", func(w http.ResponseWriter, r *http.Request) {
		st.control.AddDNSRecords()
		reply(w, true)
	})
	mux.HandleFunc("POST /add-peers", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.FormValue("n"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		st.addPeers(n)
		st.control.AddDNSRecords()
		reply(w, len(st.control.AllNodes()))
	})
	mux.HandleFunc("POST /caps", func(w http.ResponseWriter, r *http.Request) {
		m := tailcfg.NodeCapMap{}
		if !decode(w, r, &m) {
			return
		}
		for _, n := range st.control.AllNodes() {
			st.control.SetNodeCapMap(n.Key, m)
		}
		reply(w, m)
	})
	mux.HandleFunc("POST /set-dns", func(w http.ResponseWriter, r *http.Request) {
		var v struct {
			Fail  string
			Delay float64
			Skip  bool
		}
		if !decode(w, r, &v) {
			return
		}
		st.mu.Lock()
		st.dnsFail, st.dnsDelay, st.dnsSkip = v.Fail, time.Duration(v.Delay*float64(time.Second)), v.Skip
		st.mu.Unlock()
		reply(w, v)
	})
	mux.HandleFunc("GET /set-dns", func(w http.ResponseWriter, r *http.Request) {
		st.mu.Lock()
		defer st.mu.Unlock()
		reply(w, st.setDNS)
	})
	mux.HandleFunc("POST /acme-faults", func(w http.ResponseWriter, r *http.Request) {
		f := &fault{Count: -1}
		if !decode(w, r, f) {
			return
		}
		st.mu.Lock()
		st.faults = append(st.faults, f)
		st.mu.Unlock()
		reply(w, f)
	})
	mux.HandleFunc("DELETE /acme-faults", func(w http.ResponseWriter, r *http.Request) {
		st.mu.Lock()
		st.faults = nil
		st.mu.Unlock()
		reply(w, true)
	})
	mux.HandleFunc("GET /acme-log", func(w http.ResponseWriter, r *http.Request) {
		st.mu.Lock()
		defer st.mu.Unlock()
		reply(w, st.acmeLog)
	})
	mux.HandleFunc("DELETE /acme-log", func(w http.ResponseWriter, r *http.Request) {
		st.mu.Lock()
		st.acmeLog, st.setDNS = nil, nil
		st.mu.Unlock()
		reply(w, true)
	})
	mux.HandleFunc("POST /upstream", func(w http.ResponseWriter, r *http.Request) {
		var v struct{ ACME, Management string }
		if !decode(w, r, &v) {
			return
		}
		a, err1 := url.Parse(v.ACME)
		m, err2 := url.Parse(v.Management)
		if err := errors.Join(err1, err2); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		st.mu.Lock()
		st.upstream, st.manage = a, m
		st.mu.Unlock()
		reply(w, v)
	})
	mux.Handle("/pebble/", http.StripPrefix("/pebble", st.proxyTo(&st.manage)))
	return mux
}
