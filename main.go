// The manager of the terminal session controller.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	_ "k8s.io/client-go/plugin/pkg/client/auth"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/controllers"
	"terminals.dev/session-controller/internal/egress"
	"terminals.dev/session-controller/internal/kubeauth"
	"terminals.dev/session-controller/internal/lease"
	"terminals.dev/session-controller/internal/memory"
	"terminals.dev/session-controller/internal/provider/embedded"
	"terminals.dev/session-controller/internal/servingcert"
	"terminals.dev/session-controller/internal/telemetry"
)

// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create
// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create

// options are the manager's flags.
type options struct {
	namespaces, namespace                string
	leaderElect                          bool
	metricsAddress, probeAddress         string
	issuerAddress, issuerCert, issuerURL string
	endpointAuth                         string
	concurrent                           int
	pprofAddress                         string
	mutexFraction                        int
	allowHTTP                            bool
	egress                               egress.Allow
	log                                  zap.Options
}

// Ways in which those who ask for metrics or for an introspection are told apart.
const (
	authKubernetes = "Kubernetes"
	authNone       = "None"
)

// leaseName is what the lease is called, which config/rbac lets the manager write.
const leaseName = "terminals.dev"

func parseFlags() (options, error) {
	o := options{}
	flag.StringVar(&o.namespaces, "namespaces", "", "Serve these namespaces alone, separated by commas, with nothing more than Roles in them. "+
		"Then there are no ClusterSessionProviders. Default: the whole cluster.")
	flag.StringVar(&o.namespace, "namespace", orDefault(os.Getenv("POD_NAMESPACE"), "session-controller-system"),
		"The controller's own namespace: of its lease, of the Secrets of ClusterSessionProviders, and of the tokens that are yet to be revoked.")
	flag.BoolVar(&o.leaderElect, "leader-elect", true, "Let one replica at a time act.")
	flag.StringVar(&o.metricsAddress, "metrics-bind-address", ":8443", "Where metrics are served, by HTTPS; 0: nowhere.")
	flag.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "Where /healthz and /readyz are served; 0: nowhere.")
	flag.StringVar(&o.issuerAddress, "issuer-bind-address", ":9443", "Where discovery, keys and introspection of embedded providers are served, by HTTPS; 0: nowhere.")
	flag.StringVar(&o.issuerCert, "issuer-cert-dir", "", "The folder with tls.crt and tls.key for the issuer address. Default: a certificate of its own making, which nobody can check.")
	flag.StringVar(&o.issuerURL, "issuer-url", "", "The URL under which the issuer address is reached: the beginning of the claim iss. Default: https://session-issuer.NAMESPACE.svc.")
	flag.StringVar(&o.endpointAuth, "endpoint-auth", authKubernetes, "Who may ask for metrics and introspection. Kubernetes: the API server is asked, by TokenReview and SubjectAccessReview. "+
		"None: whoever reaches the port.")
	flag.IntVar(&o.concurrent, "concurrent-sessions", 16, "How many sessions are worked on at a time, beside those that wait for a provider.")
	flag.StringVar(&o.pprofAddress, "pprof-bind-address", "0", "Where profiles are served under /debug/pprof, by plain HTTP and to whoever reaches the port: a profile of the heap "+
		"tells a lot, so bind it to 127.0.0.1. 0 (default): nowhere.")
	flag.IntVar(&o.mutexFraction, "pprof-mutex-fraction", 0, "Record one in so many waits for a mutex, for the profile of that name. 0 (default): none.")
	flag.BoolVar(&o.allowHTTP, "allow-http-providers", false, "Let OAuth 2.0 providers be asked in plain http: "+
		"whoever is on the way then reads, and can alter, credentials and tokens.")
	flag.BoolVar(&o.egress.Private, "allow-private-providers", false, "Let providers have private addresses (RFC 1918, RFC 4193): "+
		"whoever may write a provider then reaches, from here, the cluster's Services and Pods and the network around it.")
	flag.BoolVar(&o.egress.Loopback, "allow-loopback-providers", false, "Let providers have loopback addresses: "+
		"whoever may write a provider then reaches what listens on this machine, or in this Pod, for itself alone.")
	o.log.BindFlags(flag.CommandLine)
	flag.Parse()

	if flag.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: everything is said by flags", flag.Arg(0))
	}
	if o.endpointAuth != authKubernetes && o.endpointAuth != authNone {
		return o, fmt.Errorf("--endpoint-auth is %q: it must be %s or %s", o.endpointAuth, authKubernetes, authNone)
	}
	if o.namespaces != "" && len(o.served()) == 0 {
		return o, fmt.Errorf("--namespaces is %q, which names none: leave it out to serve the whole cluster", o.namespaces)
	}
	if o.mutexFraction < 0 {
		return o, fmt.Errorf("--pprof-mutex-fraction is %d: it must be 0 or more", o.mutexFraction)
	}
	if o.concurrent < 1 {
		return o, fmt.Errorf("--concurrent-sessions is %d: it must be 1 or more", o.concurrent)
	}
	o.issuerURL = strings.TrimRight(orDefault(o.issuerURL, "https://session-issuer."+o.namespace+".svc"), "/")
	if !strings.HasPrefix(o.issuerURL, "https://") {
		return o, fmt.Errorf("--issuer-url is %q: it must be an https URL", o.issuerURL)
	}
	return o, nil
}

func main() {
	o, err := parseFlags()
	if err == nil {
		ctrl.SetLogger(zap.New(zap.UseFlagOptions(&o.log)))
		err = run(o)
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "manager:", err)
		os.Exit(1)
	}
}

// run wires everything together and returns when it is told to stop.
func run(o options) error {
	ctx := ctrl.SetupSignalHandler()
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the cluster: %w", err)
	}
	if err := noticeSilence(); err != nil {
		return err
	}
	goruntime.SetMutexProfileFraction(o.mutexFraction)
	// The API server's own priority and fairness bounds what it is asked; a limit here would only make a fleet wait.
	config.QPS = -1
	// It is near: to pack a list of the fleet and unpack it takes longer than to send it.
	config.DisableCompression = true

	mgr, leading, err := o.newManager(config)
	if err != nil {
		return fmt.Errorf("setting up the manager: %w", err)
	}
	providers, err := controllers.Setup(ctx, mgr, controllers.Options{
		Namespace: o.namespace, Namespaces: o.served(), IssuerURL: o.issuerURL, Concurrent: o.concurrent,
		Metrics: telemetry.NewMetrics(metrics.Registry), Recorder: mgr.GetEventRecorder(controllers.FieldManager), Clock: clock.RealClock{},
		Egress: o.egress, AllowHTTP: o.allowHTTP, Leading: leading,
	})
	if err != nil {
		return err
	}
	metrics.Registry.MustRegister(telemetry.NewSessionCollector(mgr.GetClient()), telemetry.NewRevocationCollector(providers.CountRevocations),
		telemetry.NewProviderCollector(providers.Health))
	if o.issuerAddress != "0" {
		if err := o.serveIssuers(mgr, providers); err != nil {
			return fmt.Errorf("setting up the issuer address: %w", err)
		}
	}
	if err := mgr.Add(memory.Release{Clock: clock.RealClock{}}); err != nil {
		return fmt.Errorf("setting up the release of memory: %w", err)
	}
	if err := errors.Join(mgr.AddHealthzCheck("ping", healthz.Ping), mgr.AddReadyzCheck("caches", cachesSynced(mgr.GetCache()))); err != nil {
		return fmt.Errorf("setting up probes: %w", err)
	}
	return mgr.Start(ctx)
}

// noticeSilence has connections to the API server that fall silent be given up after 5 seconds: soon enough that a leader keeps its lease by another
// one. The default is 45, for which everything would hang. Whoever sets these variables of k8s.io/apimachinery/pkg/util/net in the environment knows better.
func noticeSilence() error {
	for name, seconds := range map[string]string{"HTTP2_READ_IDLE_TIMEOUT_SECONDS": "2", "HTTP2_PING_TIMEOUT_SECONDS": "3"} {
		if _, set := os.LookupEnv(name); set {
			continue
		}
		if err := os.Setenv(name, seconds); err != nil {
			return fmt.Errorf("setting how soon a silent connection is noticed: %w", err)
		}
	}
	return nil
}

// newManager makes the manager. With leader election it ends when another replica leads, and leading tells whether this one may act.
func (o options) newManager(config *rest.Config) (mgr ctrl.Manager, leading func() bool, err error) {
	of, err := o.manager()
	if err != nil {
		return nil, nil, err
	}
	if !o.leaderElect {
		mgr, err = ctrl.NewManager(config, of)
		return mgr, nil, err
	}
	lock, err := lease.NewLock(config, o.namespace, leaseName)
	if err != nil {
		return nil, nil, err
	}
	held := lease.Watch(lock, clock.RealClock{})
	of.LeaderElectionResourceLockInterface = held
	if mgr, err = ctrl.NewManager(config, of); err != nil {
		return nil, nil, err
	}
	lock.LockConfig.EventRecorder = mgr.GetEventRecorderFor(lock.Identity()) //nolint:staticcheck // leader election still uses the core group's events
	return mgr, held.Held, mgr.Add(held)
}

// cachesSynced is whether everything that the manager answers and acts from has been read.
func cachesSynced(caches cache.Cache) healthz.Checker {
	return func(r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if !caches.WaitForCacheSync(ctx) {
			return errors.New("the caches have not been read yet: are RBAC and CRDs in place?")
		}
		return nil
	}
}

// served are the namespaces that the manager is confined to; none means that it is not.
func (o options) served() []string {
	return strings.FieldsFunc(o.namespaces, func(c rune) bool { return c == ',' || c == ' ' })
}

func (o options) manager() (ctrl.Options, error) {
	scheme := runtime.NewScheme()
	_ = clientgoscheme.AddToScheme(scheme)
	_ = v1.AddToScheme(scheme)
	caches := controllers.CacheOptions()
	if served := o.served(); len(served) > 0 {
		controllers.Confine(&caches, o.namespace, served)
	}
	own, err := servingcert.New("localhost")
	if err != nil {
		return ctrl.Options{}, err
	}
	serving := metricsserver.Options{BindAddress: o.metricsAddress, SecureServing: true, TLSOpts: []func(*tls.Config){func(c *tls.Config) {
		c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &own, nil }
	}}}
	if o.endpointAuth == authKubernetes {
		serving.FilterProvider = func(config *rest.Config, httpClient *http.Client) (metricsserver.Filter, error) {
			asked, err := client.New(config, client.Options{HTTPClient: httpClient, Scheme: scheme})
			if err != nil {
				return nil, fmt.Errorf("setting up authentication: %w", err)
			}
			return func(log logr.Logger, next http.Handler) (http.Handler, error) {
				return kubeauth.New(asked, clock.RealClock{}, log).Wrap(next), nil
			}, nil
		}
	}
	return ctrl.Options{
		Scheme: scheme, Cache: caches, Metrics: serving, HealthProbeBindAddress: o.probeAddress, PprofBindAddress: o.pprofAddress,
		LeaderElection: o.leaderElect, LeaderElectionID: leaseName, LeaderElectionReleaseOnCancel: true,
		LeaseDuration: new(lease.Duration), RenewDeadline: new(lease.RenewDeadline), RetryPeriod: new(lease.RetryPeriod),
	}, nil
}

// serveIssuers serves what verifiers of embedded tokens ask for, from every replica.
func (o options) serveIssuers(mgr ctrl.Manager, providers *controllers.Providers) error {
	handler := embedded.HandlerConfig{Lookup: providers.Issuer, Active: providers.Active}
	if o.endpointAuth == authKubernetes {
		handler.Authorize = kubeauth.New(mgr.GetClient(), clock.RealClock{}, mgr.GetLogger().WithName("issuer")).Wrap
	}
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.issuerCert == "" {
		own, err := servingcert.New("session-issuer." + o.namespace + ".svc")
		if err != nil {
			return err
		}
		tlsConfig.Certificates = []tls.Certificate{own}
		mgr.GetLogger().Info("the issuer address has a certificate of its own making: set --issuer-cert-dir for one that verifiers can check")
	} else {
		watcher, err := certwatcher.New(filepath.Join(o.issuerCert, "tls.crt"), filepath.Join(o.issuerCert, "tls.key"))
		if err != nil {
			return fmt.Errorf("reading the certificate in %s: %w", o.issuerCert, err)
		}
		if err := mgr.Add(watcher); err != nil {
			return err
		}
		tlsConfig.GetCertificate = watcher.GetCertificate
	}
	listener, err := net.Listen("tcp", o.issuerAddress)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	return mgr.Add(&manager.Server{
		Name:     "issuer",
		Listener: tls.NewListener(listener, tlsConfig),
		Server: &http.Server{
			Handler:           embedded.NewHandler(handler),
			ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute,
			MaxHeaderBytes: 32 << 10,
		},
	})
}

func orDefault(value, otherwise string) string {
	if value != "" {
		return value
	}
	return otherwise
}
