//! A real Kubernetes API: etcd and the upstream servers, built once from their Go modules, or the
//! cluster of a given `KUBECONFIG`.

use crate::certificates::{Authority, Subject};
use crate::clock::wait_until;
use crate::command::{attempt, said};
use crate::gobuild;
use crate::lab::Lab;
use crate::network::{API_SERVER_HOST, Network, namespace_file};
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the module lies.
const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kubebox");
/// Of which Kubernetes; go.mod says the same.
const VERSION: &str = "v1.36.3";
/// The API server's port on the api network.
const PORT: u16 = 6443;
/// Group of the agents' users; each is `palisade:agent:MACHINE`.
pub const AGENTS: &str = "palisade:agents";
/// The controller's user.
pub const CONTROLLER: &str = "palisade:controller";

/// Keys of the API server where it is a kubelet's client.
const TO_KUBELETS: &str = "to-kubelets";

/// Name of the keys and the kubeconfig of a machine's kubelet.
#[must_use]
pub fn node_keys(machine: &str) -> String {
    format!("node-{machine}")
}

const CONTROLLERS: [&str; 16] = [
    "namespace",
    "garbage-collector",
    "serviceaccount",
    "serviceaccount-token",
    "root-ca-certificate-publisher",
    "daemonset",
    "deployment",
    "replicaset",
    "statefulset",
    "job",
    "disruption",
    "endpointslice",
    "node-lifecycle",
    "taint-eviction",
    "pod-garbage-collector",
    // types of the expressions of admission policies
    "validatingadmissionpolicy-status",
];

/// What is built once and used by all labs of this user.
pub fn cache_dir() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        _ => PathBuf::from(std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME")?)
            .join(".cache"),
    };
    Ok(base.join("palisade"))
}

/// The program for this state of the module, built or not.
pub fn cached_program() -> Result<PathBuf> {
    let hash = gobuild::state(Path::new(MODULE), &["go.sum", "go.mod", "main.go", "etcd.go"])?;
    Ok(cache_dir()?.join(format!("kubebox-{hash:016x}")))
}

/// Builds the program if this state of the module was never built here: minutes, once.
pub fn build() -> Result<PathBuf> {
    let program = cached_program()?;
    if program.is_file() {
        return Ok(program);
    }
    let cache = cache_dir()?;
    fs::create_dir_all(&cache).with_context(|| format!("making {}", cache.display()))?;
    let lock = File::create(cache.join("kubebox.lock"))?;
    lock.lock()?; // whoever comes second finds it built
    if program.is_file() {
        return Ok(program);
    }
    eprintln!("lab: building the Kubernetes control plane {VERSION} (about five minutes, once)");
    let next = program.with_extension("next");
    let minor = VERSION.split('.').nth(1).unwrap_or_default();
    let base = "k8s.io/component-base/version";
    let flags = format!(
        "-s -w -X {base}.gitVersion={VERSION} -X {base}.gitMajor=1 -X {base}.gitMinor={minor} \
         -X k8s.io/client-go/pkg/version.gitVersion={VERSION}"
    );
    let mut command = gobuild::go();
    command
        .args(["build", "-v", "-trimpath", "-mod=readonly", "-ldflags", &flags, "-o"])
        .arg(&next)
        .arg(".")
        .current_dir(MODULE);
    gobuild::watched(command, "kubebox")?;
    fs::rename(&next, &program)?;
    eprintln!("lab: built {}", program.display());
    Ok(program)
}

/// Which parts run beside etcd and the API server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parts {
    /// kube-controller-manager: garbage collection, DaemonSets, service accounts.
    pub controllers: bool,
    /// kube-scheduler.
    pub scheduler: bool,
}

/// The API that a lab uses.
#[derive(Debug, Clone)]
pub struct KubeBox {
    lab: Lab,
    parts: Parts,
    /// Not ours: a cluster of the caller's. It cannot be stopped.
    given: bool,
}

impl KubeBox {
    /// Starts it, or connects the lab to the cluster of `KUBECONFIG`; ready when this returns.
    pub fn start(lab: &Lab, parts: Parts) -> Result<Self> {
        let given = std::env::var_os("KUBECONFIG").filter(|k| !k.is_empty());
        let this = Self { lab: lab.clone(), parts, given: given.is_some() };
        fs::create_dir_all(this.dir())?;
        // Keys and kubeconfigs lie here.
        fs::set_permissions(this.dir(), fs::Permissions::from_mode(0o700))?;
        if given.is_some() {
            this.connect_given()?;
            return Ok(this);
        }
        let program = build()?;
        this.lab.adopt_link(&program, "kubebox")?;
        this.make_keys()?;
        this.start_servers()?;
        Ok(this)
    }

    /// The API of a lab in which it was started before.
    #[must_use]
    pub fn of(lab: &Lab) -> Self {
        let given = !lab.dir().join("kube/ca.crt").exists();
        Self { lab: lab.clone(), parts: Parts::default(), given }
    }

    fn dir(&self) -> PathBuf {
        self.lab.dir().join("kube")
    }

    fn file(&self, name: &str) -> String {
        self.dir().join(name).display().to_string()
    }

    /// A kubeconfig in the lab: `admin`, `controller`, `agent-MACHINE` reach the server on the api
    /// network; `host` is the admin's from the host, through loopback.
    #[must_use]
    pub fn kubeconfig(&self, who: &str) -> PathBuf {
        self.dir().join(format!("{who}.kubeconfig"))
    }

    /// The log of all requests (P8). None for a given cluster.
    #[must_use]
    pub fn audit_log(&self) -> Option<PathBuf> {
        (!self.given).then(|| self.dir().join("audit.log"))
    }

    fn make_keys(&self) -> Result<()> {
        let dir = self.dir();
        let _ = fs::remove_dir_all(dir.join("etcd"));
        let _ = fs::remove_file(dir.join("audit.log"));
        let authority = Authority::create(&dir)?;
        let address = Network::Api.address(API_SERVER_HOST).to_string();
        let names =
            [address.as_str(), "127.0.0.1", "localhost", "kubernetes.default.svc", "10.96.0.1"];
        authority
            .issue("apiserver", Subject { user: "kube-apiserver", group: "", names: &names })?;
        authority.service_account_keys()?;
        let server = format!("https://{address}:{PORT}");
        let mut users: Vec<(String, String, &str)> = vec![
            ("admin".into(), "admin".into(), "system:masters"),
            ("controllers".into(), "system:kube-controller-manager".into(), ""),
            ("scheduler".into(), "system:kube-scheduler".into(), ""),
            ("controller".into(), CONTROLLER.into(), ""),
            // As the API server speaks to kubelets: logs, exec.
            (TO_KUBELETS.into(), "kube-apiserver-kubelet-client".into(), "system:masters"),
        ];
        for machine in self.lab.machines() {
            let name = machine.name();
            users.push((format!("agent-{name}"), format!("palisade:agent:{name}"), AGENTS));
            // The node's kubelet: as client and as server.
            let (keys, address) = (node_keys(name), machine.address(Network::Api).to_string());
            let subject = Subject {
                user: &format!("system:node:{name}"),
                group: "system:nodes",
                names: &[name, &address, "127.0.0.1"],
            };
            authority.issue(&keys, subject)?;
            self.write_kubeconfig(&keys, &keys, &server)?;
        }
        for (name, user, group) in &users {
            authority.issue(name, Subject { user, group, names: &[] })?;
            self.write_kubeconfig(name, name, &server)?;
        }
        fs::write(dir.join("audit.yaml"), AUDIT_POLICY)?;
        Ok(())
    }

    fn write_kubeconfig(&self, name: &str, keys: &str, server: &str) -> Result<()> {
        let config = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": {
                "server": server, "certificate-authority": self.file("ca.crt")}}],
            "users": [{"name": "lab", "user": {
                "client-certificate": self.file(&format!("{keys}.crt")),
                "client-key": self.file(&format!("{keys}.key"))}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        });
        crate::records::write_json(&self.kubeconfig(name), &config)
    }

    fn start_servers(&self) -> Result<()> {
        let namespace = self.lab.namespaces().api();
        let program = self.lab.program("kubebox").display().to_string();
        self.lab.start_service(
            "kube-1-etcd",
            Some(&namespace),
            &[&program, "etcd", &self.file("etcd"), "http://127.0.0.1:2379"],
        )?;
        let log = self.lab.service_log("kube-1-etcd");
        let ready = || fs::read_to_string(&log).is_ok_and(|t| t.lines().any(|l| l == "ready"));
        if !wait_until(Duration::from_secs(30), ready) {
            bail!("etcd did not become ready: see {}", log.display());
        }
        self.start_api()?;
        if self.parts.controllers {
            self.start_component("kube-3-controllers", "controllers", &self.controllers_flags())?;
        }
        if self.parts.scheduler {
            self.start_component("kube-4-scheduler", "scheduler", &self.scheduler_flags())?;
        }
        let port = crate::network::free_loopback_port()?;
        self.write_kubeconfig("host", "admin", &format!("https://127.0.0.1:{port}"))?;
        let relay = self.lab.program("e2e").display().to_string();
        let to = format!("{}:{PORT}", Network::Api.address(API_SERVER_HOST));
        let listen = format!("127.0.0.1:{port}");
        let argv = [&relay, "relay", &listen, &to, "--namespace", &namespace];
        self.lab.start_service("kube-5-relay", None, &argv).map(drop)
    }

    fn start_component(&self, service: &str, component: &str, flags: &[String]) -> Result<()> {
        let program = self.lab.program("kubebox").display().to_string();
        let mut argv = vec![program.as_str(), component];
        argv.extend(flags.iter().map(String::as_str));
        self.lab.start_service(service, Some(&self.lab.namespaces().api()), &argv).map(drop)
    }

    /// Starts the API server (again) and waits until it is ready.
    pub fn start_api(&self) -> Result<()> {
        self.own()?;
        self.start_component("kube-2-apiserver", "apiserver", &self.api_flags())?;
        if !wait_until(Duration::from_secs(60), || self.is_ready()) {
            let log = self.lab.service_log("kube-2-apiserver");
            bail!("the API server did not become ready in 60 s: see {}", log.display());
        }
        Ok(())
    }

    /// Ends the API server; etcd keeps what it knows.
    pub fn stop_api(&self) -> Result<()> {
        self.own()?;
        self.lab.end_service("kube-2-apiserver")
    }

    fn own(&self) -> Result<()> {
        if self.given {
            bail!("the API server of KUBECONFIG is not the lab's to stop: unset KUBECONFIG");
        }
        Ok(())
    }

    /// Whether the server says that it is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let args = ["get", "--raw", "/readyz", "--request-timeout=2s"];
        self.kubectl_attempt(&args).is_ok_and(|o| o.status.success())
    }

    /// kubectl as the admin, from the api network, to its end.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        let output = self.kubectl_attempt(args)?;
        if !output.status.success() {
            bail!("kubectl {}: {}", args.join(" "), said(&output));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn kubectl_attempt(&self, args: &[&str]) -> Result<std::process::Output> {
        let net = format!("--net={}", namespace_file(&self.lab.namespaces().api()).display());
        let config = format!("--kubeconfig={}", self.kubeconfig("admin").display());
        let kubebox = self.lab.program("kubebox").display().to_string();
        let mut argv = vec![net.as_str()];
        if self.given {
            argv.push("kubectl")
        } else {
            argv.extend([kubebox.as_str(), "kubectl"])
        }
        argv.push(&config);
        argv.extend(args);
        attempt("nsenter", &argv)
    }

    fn api_flags(&self) -> Vec<String> {
        let address = Network::Api.address(API_SERVER_HOST);
        let mut flags: Vec<String> = [
            "--etcd-servers=http://127.0.0.1:2379",
            "--etcd-prefix=/registry",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            "--service-cluster-ip-range=10.96.0.0/24",
            "--endpoint-reconciler-type=none",
            "--kubelet-preferred-address-types=InternalIP",
            "--profiling=false",
            "--requestheader-allowed-names=front-proxy",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        ]
        .map(str::to_owned)
        .to_vec();
        flags.push(format!("--bind-address={address}"));
        flags.push(format!("--advertise-address={address}"));
        flags.push(format!("--secure-port={PORT}"));
        flags.push(format!("--cert-dir={}", self.dir().display()));
        for (flag, file) in [
            ("tls-cert-file", "apiserver.crt"),
            ("tls-private-key-file", "apiserver.key"),
            ("client-ca-file", "ca.crt"),
            ("requestheader-client-ca-file", "ca.crt"),
            ("kubelet-certificate-authority", "ca.crt"),
            ("kubelet-client-certificate", &format!("{TO_KUBELETS}.crt")),
            ("kubelet-client-key", &format!("{TO_KUBELETS}.key")),
            ("service-account-key-file", "sa.pub"),
            ("service-account-signing-key-file", "sa.key"),
            ("audit-policy-file", "audit.yaml"),
            ("audit-log-path", "audit.log"),
        ] {
            flags.push(format!("--{flag}={}", self.file(file)));
        }
        if !self.parts.controllers {
            // Nobody would make the service accounts that it asks for.
            flags.push("--disable-admission-plugins=ServiceAccount".into());
        }
        flags
    }

    fn controllers_flags(&self) -> Vec<String> {
        let all: Vec<String> = CONTROLLERS.iter().map(|c| format!("{c}-controller")).collect();
        let mut flags = self.client_flags("controllers", 10257);
        flags.extend([
            "--use-service-account-credentials=true".into(),
            format!("--root-ca-file={}", self.file("ca.crt")),
            format!("--service-account-private-key-file={}", self.file("sa.key")),
            "--node-monitor-period=1s".into(),
            "--node-monitor-grace-period=8s".into(),
            format!("--controllers={}", all.join(",")),
        ]);
        flags
    }

    fn scheduler_flags(&self) -> Vec<String> {
        self.client_flags("scheduler", 10259)
    }

    fn client_flags(&self, who: &str, port: u16) -> Vec<String> {
        let config = self.kubeconfig(who);
        let mut flags: Vec<String> =
            ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"]
                .iter()
                .map(|f| format!("--{f}={}", config.display()))
                .collect();
        flags.extend([
            "--bind-address=127.0.0.1".into(),
            format!("--secure-port={port}"),
            "--leader-elect=false".into(),
        ]);
        flags
    }

    /// The machines reach a given server by a relay on the api network; its certificate is checked
    /// against the name that it was made for.
    fn connect_given(&self) -> Result<()> {
        let view = attempt("kubectl", &["config", "view", "--minify", "--flatten", "-o", "json"])?;
        if !view.status.success() {
            bail!("KUBECONFIG: {}", said(&view));
        }
        let mut config: serde_json::Value = serde_json::from_slice(&view.stdout)?;
        crate::records::write_json(&self.kubeconfig("host"), &config)?;
        let cluster = &mut config["clusters"][0]["cluster"];
        let server = cluster["server"].as_str().context("KUBECONFIG names no server")?.to_owned();
        let (host, port) = split_server(&server)?;
        let address = Network::Api.address(API_SERVER_HOST);
        cluster["server"] = format!("https://{address}:{PORT}").into();
        if cluster["tls-server-name"].is_null() {
            cluster["tls-server-name"] = host.clone().into();
        }
        for who in ["admin".to_owned(), "controller".to_owned()]
            .into_iter()
            .chain(self.lab.spec().machines.iter().map(|m| format!("agent-{m}")))
        {
            crate::records::write_json(&self.kubeconfig(&who), &config)?;
        }
        // It listens inside and connects outside: started outside, as listening needs one socket.
        let relay = self.lab.program("e2e").display().to_string();
        let (listen, to) = (format!("{address}:{PORT}"), format!("{host}:{port}"));
        let inside = self.lab.namespaces().api();
        let argv = [&relay, "relay", &listen, &to, "--listen-in", &inside];
        self.lab.start_service("kube-5-relay", None, &argv)?;
        if !wait_until(Duration::from_secs(15), || self.is_ready()) {
            bail!("the server of KUBECONFIG ({server}) is not ready");
        }
        Ok(())
    }
}

/// `https://host:port` into its parts.
fn split_server(server: &str) -> Result<(String, u16)> {
    let rest = server
        .strip_prefix("https://")
        .with_context(|| format!("server {server}: only https is supported"))?;
    let rest = rest.split('/').next().unwrap_or(rest);
    match rest.rsplit_once(':') {
        Some((host, port)) => Ok((host.to_owned(), port.parse().context("the server's port")?)),
        None => Ok((rest.to_owned(), 443)),
    }
}

/// Who did what to what; contents only of our own kinds, and never of Secrets.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Request
  verbs: [create, update, patch, delete]
  resources: [{group: palisade.dev}]
- level: Metadata
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_a_port_is_at_443_and_plain_http_is_refused() {
        assert_eq!(split_server("https://k.example").expect("fine"), ("k.example".into(), 443));
        let parts = split_server("https://127.0.0.1:16443/x").expect("fine");
        assert_eq!(parts, ("127.0.0.1".into(), 16443));
        assert!(split_server("http://k.example").is_err());
    }
}
