//! The chart: what is rendered from it is fresh, a real API server admits all of it, its rights and policies hold, and an
//! uninstall keeps what people have written.
//!
//! No kubelet runs here: pods are made and bound to machines, and never start. Whether they start, whether `helm test` is
//! green and whether an upgrade stops nothing is seen on machines with kubelets only (issue of the image).
//!
//! Needs root; `cargo lab test chart` runs it.

use e2e::chart::Tools;
use e2e::clock::wait_until;
use e2e::command::{attempt_with_input, said};
use e2e::kubebox::{KubeBox, Parts};
use e2e::lab::{Lab, LabSpec};
use e2e::product::TREE;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

mod renderings;

const NS: &str = "palisade";
/// For what the API server does a moment later, on a machine that has much else to do.
const SLOW: Duration = Duration::from_secs(90);

fn tree(path: &str) -> String {
    format!("{TREE}/{path}")
}

fn tools() -> Tools {
    Tools::find().expect("helm, promtool and Lua")
}

/// Values that turn most branches of the templates.
const MANY: &str = r#"
agent:
  processes: {enabled: true}
  watchdog: {enabled: true}
  interfaces: {public: eth1}
  updateStrategy: {type: OnDelete}
  extraVolumes: [{name: opt, hostPath: {path: /opt}}]
  extraExecutorVolumeMounts: [{name: opt, mountPath: /opt}]
api: {host: 10.0.0.1}
secrets: {bmcAny: true}
image: {digest: "sha256:0000000000000000000000000000000000000000000000000000000000000000", pullSecrets: [pull]}
controller: {replicas: 1, networkPolicy: {scrapeFrom: [{namespaceSelector: {}}]}}
metrics: {dashboard: {enabled: true}}
rbac:
  mayFence: [{kind: Group, name: operators, apiGroup: rbac.authorization.k8s.io}]
  mayConfirmOff: [{kind: User, name: alice, apiGroup: rbac.authorization.k8s.io}]
fullnameOverride: other
commonLabels: {team: cloud}
"#;

/// Processes as units of the machine, no hook.
const UNITS: &str =
    "{suspendOnUninstall: false, agent: {processes: {enabled: true, runtime: systemd}}}";

/// Services that come as images.
const IMAGES: &str =
    "{agent: {containers: {enabled: true}, processes: {enabled: true, runtime: systemd}}}";

/// Agents that are no pods of the release, and the file for those that are static pods.
const MACHINES: &str = "{fencer: {enabled: false}, agent: {enabled: false, onMachines: true, staticPod: {render: true}}}";

/// Values with nothing of the agents.
const FEW: &str = r#"
agent: {enabled: false}
fencer: {enabled: false}
admission: {enabled: false}
crds: {install: false}
rbac: {aggregateToView: false}
controller: {networkPolicy: {enabled: false}, podDisruptionBudget: {enabled: false}}
"#;

struct Fresh {
    lab: Lab,
    api: KubeBox,
    tools: Tools,
}

impl Fresh {
    fn up(name: &str) -> Self {
        let tools = tools();
        let program = Path::new(env!("CARGO_BIN_EXE_e2e"));
        let lab = Lab::create(&Lab::default_dir(name), LabSpec::three(name), program);
        let lab = lab.expect("a lab");
        let api = KubeBox::start(&lab, Parts { controllers: true, scheduler: true });
        let fresh = Self { api: api.expect("an API server"), lab, tools };
        fresh.bare_kubeconfig();
        fresh.admin(&["create", "namespace", NS], None).expect("created");
        fresh
    }

    fn host(&self) -> String {
        self.api.kubeconfig("host").display().to_string()
    }

    /// A kubeconfig that is nobody: for tokens.
    fn bare(&self) -> String {
        self.lab.dir().join("kube/bare.kubeconfig").display().to_string()
    }

    fn bare_kubeconfig(&self) {
        let text = std::fs::read_to_string(self.host()).expect("read");
        let mut config: Value = serde_json::from_str(&text).expect("JSON");
        config["users"][0]["user"] = json!({});
        std::fs::write(self.bare(), config.to_string()).expect("written");
    }

    fn kubectl(&self, args: &[&str], input: Option<&Value>) -> Result<String, String> {
        let kubebox = self.lab.program("kubebox").display().to_string();
        let args = [&["kubectl"], args].concat();
        let text = input.map(Value::to_string).unwrap_or_default();
        let output = attempt_with_input(&kubebox, &args, &text).expect("run");
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() { Ok(out) } else { Err(said(&output)) }
    }

    fn admin(&self, args: &[&str], input: Option<&Value>) -> Result<String, String> {
        let config = format!("--kubeconfig={}", self.host());
        self.kubectl(&[&[config.as_str(), "-n", NS], args].concat(), input)
    }

    /// With a bearer token and nothing else.
    fn token(&self, token: &str, args: &[&str], input: Option<&Value>) -> Result<String, String> {
        let config = format!("--kubeconfig={}", self.bare());
        let token = format!("--token={token}");
        self.kubectl(&[&[config.as_str(), token.as_str(), "-n", NS], args].concat(), input)
    }

    fn json(&self, args: &[&str]) -> Value {
        let text = self.admin(&[args, &["-o", "json"]].concat(), None).expect("listed");
        serde_json::from_str(&text).expect("JSON")
    }

    fn helm(&self, args: &[&str]) -> String {
        let config = format!("--kubeconfig={}", self.host());
        self.tools.helm(&[args, &["-n", NS, &config]].concat()).unwrap_or_else(|e| panic!("{e:#}"))
    }

    /// Three machines that are ready by their own word; nobody runs pods there.
    fn machines(&self) {
        for name in ["n1", "n2", "n3"] {
            let node = json!({"apiVersion": "v1", "kind": "Node",
                "metadata": {"name": name, "labels": {"palisade.dev/member": "true", "kubernetes.io/hostname": name}}});
            self.admin(&["create", "-f", "-"], Some(&node)).expect("created");
            let size = json!({"cpu": "4", "memory": "8Gi", "pods": "50"});
            let now = "2026-01-01T00:00:00Z";
            let ready = json!([{"type": "Ready", "status": "True", "reason": "Test", "message": "",
                "lastHeartbeatTime": now, "lastTransitionTime": now}]);
            let status =
                json!({"status": {"capacity": size, "allocatable": size, "conditions": ready}});
            let patch = ["patch", "node", name, "--subresource=status", "--type=merge", "-p"];
            self.admin(&[&patch[..], &[&status.to_string()]].concat(), None).expect("patched");
        }
    }

    /// The pod of a part on a machine, once it is bound there.
    fn pod(&self, part: &str, node: &str) -> String {
        let label = format!("app.kubernetes.io/component={part}");
        let at = format!("spec.nodeName={node}");
        let get = ["get", "pods", "-l", &label, "--field-selector", &at, "-o", "name"];
        let mut found = String::new();
        let there = wait_until(SLOW, || {
            found = self.admin(&get, None).unwrap_or_default().trim().replace("pod/", "");
            !found.is_empty()
        });
        assert!(there, "no pod of {part} on {node}");
        found
    }

    /// What the kubelet of that machine would give to the pod.
    fn token_of(&self, part: &str, node: &str) -> String {
        let (account, pod) = (format!("palisade-{part}"), self.pod(part, node));
        let bound = ["--bound-object-kind=Pod", "--bound-object-name", &pod];
        let create = [&["create", "token", &account], &bound[..]].concat();
        self.admin(&create, None).expect("a token").trim().to_owned()
    }

    /// As an agent mirrors: server-side apply of a status.
    fn mirror(&self, token: &str, kind: &str, name: &str, status: Value) -> Result<String, String> {
        let body = json!({"apiVersion": "palisade.dev/v1alpha1", "kind": kind,
            "metadata": {"name": name, "namespace": NS}, "status": status});
        let apply = ["apply", "--server-side", "--force-conflicts", "--subresource=status"];
        let manager = ["--field-manager=palisade-coordinator", "-f", "-"];
        self.token(token, &[&apply[..], &manager].concat(), Some(&body))
    }

    fn member(&self, name: &str) {
        let node = json!({"apiVersion": "palisade.dev/v1alpha1", "kind": "HANode", "metadata": {"name": name},
            "spec": {"clusterRef": {"name": "quickstart"}, "member": name}});
        self.admin(&["create", "-f", "-"], Some(&node)).expect("created");
    }

    fn install(&self) {
        let chart = tree("charts/palisade");
        let set = "secrets.bmc={bmc-n1,bmc-n2,bmc-n3}";
        let text = self.helm(&[
            "install",
            "palisade",
            &chart,
            "--set",
            set,
            "--set=cluster.name=quickstart",
        ]);
        assert!(text.contains("kubectl label node") && !text.contains("WARNING"), "{text}");
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        self.lab.down().expect("down");
        self.lab.purge().expect("purge");
    }
}

fn refused(said: Result<String, String>, why: &str) {
    let error = said.expect_err(why);
    assert!(error.contains(why), "{why:?} is not in: {error}");
}

/// Folder in the run directory and volume of each mount there.
fn seen_of_run(container: &Value) -> Vec<String> {
    let mounts = container["volumeMounts"].as_array().cloned().unwrap_or_default();
    let below = |mount: &Value| {
        let path = mount["mountPath"].as_str()?.strip_prefix("/run/palisade")?;
        Some(format!("{} {}", path.trim_start_matches('/'), mount["name"].as_str()?))
    };
    let mut seen: Vec<String> = mounts.iter().filter_map(below).collect();
    seen.sort();
    seen
}

#[test]
#[ignore = "needs root: cargo lab test chart"]
fn every_rendering_is_admitted_and_an_uninstall_keeps_what_people_have_written() {
    let fresh = Fresh::up("kchart");
    fresh.machines();
    let chart = tree("charts/palisade");
    // Definitions first, so that the policies' parameters are known; then each rendering in a dry run of the server.
    fresh.admin(&["apply", "--server-side", "-f", &tree("crds")], None).expect("taken");
    for (name, values) in [
        ("defaults", ""),
        ("many", MANY),
        ("units", UNITS),
        ("images", IMAGES),
        ("machines", MACHINES),
        ("few", FEW),
    ] {
        let file = fresh.lab.dir().join("values.yaml");
        std::fs::write(&file, values).expect("written");
        let file = file.display().to_string();
        let config = format!("--kubeconfig={}", fresh.host());
        let args = [
            "template",
            "palisade",
            &chart,
            "-n",
            NS,
            "-f",
            &file,
            "--kube-version=1.36.3",
            &config,
        ];
        let rendered = fresh.tools.helm(&args).expect(name);
        let path = fresh.lab.dir().join("rendered.yaml").display().to_string();
        std::fs::write(&path, rendered).expect("written");
        let dry = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", &path];
        fresh.admin(&dry, None).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    fresh.admin(&["delete", "-f", &tree("crds")], None).expect("deleted");

    fresh.install();
    let install = ["upgrade", "palisade", &chart, "--reuse-values", "--dry-run=server"];
    fresh.helm(&install);
    // A type error in an expression is only a warning of the status.
    let typed = || {
        let policies = fresh.json(&["get", "validatingadmissionpolicies"]);
        let all = policies["items"].as_array().cloned().unwrap_or_default();
        all.len() == 5 && all.iter().all(|p| p["status"]["observedGeneration"] == 1)
    };
    assert!(wait_until(SLOW, typed));
    let policies = fresh.json(&["get", "validatingadmissionpolicies"]).to_string();
    assert!(!policies.contains("expressionWarnings"), "{policies}");

    // One pod of each part on each machine, with what a container may see of the machine.
    for node in ["n1", "n2", "n3"] {
        let agent = fresh.json(&["get", "pod", &fresh.pod("agent", node)]);
        let executor = &agent["spec"]["initContainers"][0];
        assert_eq!(executor["name"], "executor");
        assert!(!executor["volumeMounts"].to_string().contains("serviceaccount"), "{executor}");
        let ring = &agent["spec"]["containers"][0]["volumeMounts"];
        assert!(
            ring.to_string().contains("/var/lib/palisade/fencer"),
            "hidden from the ring: {ring}"
        );
        let fencer = fresh.json(&["get", "pod", &fresh.pod("fencer", node)]);
        // Of the run directory each container has what its part must reach, and a fencer nothing of people's socket.
        let ring = seen_of_run(&agent["spec"]["containers"][0]);
        assert_eq!(ring, ["agent run-agent", "executor run-executor", "fencer run-fencer"]);
        assert_eq!(seen_of_run(executor), [" run", "agent nothing", "fencer nothing"]);
        let fencing = seen_of_run(&fencer["spec"]["containers"][0]);
        assert_eq!(fencing, ["fencer run-fencer", "watch run-watch"]);
        // The ring part's group, for the token and the sockets that it is given.
        assert_eq!(agent["spec"]["securityContext"]["fsGroup"], 65533);
        assert_eq!(fencer["spec"]["securityContext"]["supplementalGroups"][0], 65533);
        assert_eq!(fencer["spec"]["hostPID"], Value::Null);
    }
    // The controller's pods run in a namespace that refuses everything that is not restricted.
    fresh.admin(&["create", "namespace", "strict"], None).expect("created");
    let label = ["label", "namespace", "strict", "pod-security.kubernetes.io/enforce=restricted"];
    fresh.admin(&label, None).expect("labelled");
    fresh
        .admin(&["-n", "strict", "create", "serviceaccount", "palisade-controller"], None)
        .expect("made");
    for (from, taken) in
        [("deployment/palisade-controller", true), ("daemonset/palisade-agent", false)]
    {
        let mut pod = fresh.json(&["get", from])["spec"]["template"].clone();
        pod["apiVersion"] = "v1".into();
        pod["kind"] = "Pod".into();
        pod["metadata"]["name"] = "try".into();
        pod["spec"]["serviceAccountName"] = "palisade-controller".into();
        let create = ["-n", "strict", "create", "--dry-run=server", "-f", "-"];
        assert_eq!(fresh.admin(&create, Some(&pod)).is_ok(), taken, "{from}");
    }

    // A value changes: the agents' template with it, the controller's not.
    let before = fresh.json(&["get", "deployment/palisade-controller"])["spec"]["template"].clone();
    let generation = |what: &str| fresh.json(&["get", what])["metadata"]["generation"].clone();
    let agents = generation("daemonset/palisade-agent");
    let watchdog =
        ["upgrade", "palisade", &chart, "--reuse-values", "--set=agent.interfaces.public=eth1"];
    fresh.helm(&watchdog);
    assert_ne!(generation("daemonset/palisade-agent"), agents);
    assert_eq!(fresh.json(&["get", "deployment/palisade-controller"])["spec"]["template"], before);
    fresh.helm(&["rollback", "palisade", "1"]);
    let config = fresh.json(&["get", "configmap/palisade-agent"])["data"]["agent.toml"].to_string();
    assert!(!config.contains("eth1"), "{config}");

    // Objects outlive the release, and the next one takes the definitions over.
    fresh.admin(&["apply", "-f", &tree("manifests/quickstart")], None).expect("taken");
    // No kubelet runs the hook here: `cargo lab kubelets` sees it.
    fresh.helm(&["uninstall", "palisade", "--no-hooks"]);
    let left =
        fresh.admin(&["get", "palisade", "-o", "name"], None).expect("the kinds are still there");
    for name in ["hacluster.palisade.dev/quickstart", "virtualip.palisade.dev/public"] {
        assert!(left.contains(name), "{left}");
    }
    let rest =
        "roles,rolebindings,serviceaccounts,configmaps,daemonsets,deployments,networkpolicies,pdb";
    let rest = fresh.admin(&["get", rest, "-o", "name"], None).expect("listed");
    assert!(!rest.contains("palisade"), "{rest}");
    fresh.install();
    assert!(fresh.admin(&["get", "hac/quickstart"], None).is_ok());
    fresh.helm(&["uninstall", "palisade", "--no-hooks"]);

    // The plain manifests, by kustomize, in earnest.
    fresh
        .admin(
            &["apply", "--server-side", "--force-conflicts", "-k", &tree("manifests/install")],
            None,
        )
        .expect("taken");
    fresh.pod("agent", "n1");
}

#[test]
#[ignore = "needs root: cargo lab test chart"]
fn an_agent_writes_as_the_coordinator_that_it_is_and_nobody_reads_what_is_not_theirs() {
    let fresh = Fresh::up("kvap");
    fresh.machines();
    fresh.install();
    fresh.admin(&["apply", "-f", &tree("manifests/quickstart")], None).expect("taken");
    for name in ["n1", "n2", "n3"] {
        fresh.member(name);
    }
    for (name, entry) in [("ring-key", "key"), ("bmc-n1", "password")] {
        let literal = format!("--from-literal={entry}=canary-{entry}");
        fresh.admin(&["create", "secret", "generic", name, &literal], None).expect("made");
    }
    let (n1, n2) = (fresh.token_of("agent", "n1"), fresh.token_of("agent", "n2"));

    // A token that is bound to no machine, as somebody with rights on the account would make one.
    let loose = fresh.admin(&["create", "token", "palisade-agent"], None).expect("a token");
    let era = |era: u32, who: &str| json!({"observedEra": era, "coordinator": who});
    let cluster =
        |token: &str, status: Value| fresh.mirror(token, "HACluster", "quickstart", status);
    // The policies take effect a moment after they are made: the first refusal is waited for.
    let held = || cluster(loose.trim(), era(1, "n1")).is_err();
    assert!(wait_until(SLOW, held), "a loose token is taken");
    refused(cluster(loose.trim(), era(1, "n1")), "must be bound to its node");
    refused(cluster(&n2, era(5, "n1")), "may name itself only");
    cluster(&n1, era(5, "n1")).expect("the coordinator says that it is one");
    // The policy's view of the cluster's status is a moment old, and lets a newer era through meanwhile.
    let stranger = || fresh.mirror(&n2, "HANode", "n3", json!({"observedEra": 5})).is_err();
    assert!(wait_until(SLOW, stranger), "another than the coordinator mirrors members");
    for (kind, name) in
        [("HANode", "n1"), ("HANode", "n2"), ("VirtualIP", "public"), ("ResourcePlacement", "web")]
    {
        let said = fresh.mirror(&n2, kind, name, json!({"observedEra": 5}));
        refused(
            said,
            "the agent of n2 is not the coordinator of HACluster quickstart, which is n1",
        );
        fresh.mirror(&n1, kind, name, json!({"observedEra": 5})).expect("the coordinator");
    }
    // One that is in no ring says so on its own machine's object, and nothing else, and nowhere else.
    let lonely = json!({"conditions": [{"type": "CannotJoin", "status": "True", "reason": "KeyInvalid",
        "message": "no key", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    let alone = |name: &str| {
        let body = json!({"apiVersion": "palisade.dev/v1alpha1", "kind": "HANode",
            "metadata": {"name": name}, "status": lonely});
        let apply = [
            "apply",
            "--server-side",
            "--subresource=status",
            "--field-manager=palisade-member",
            "-f",
            "-",
        ];
        fresh.token(&n2, &apply, Some(&body))
    };
    alone("n2").expect("the own machine");
    refused(alone("n3"), "is not the coordinator");
    let operation = json!({"apiVersion": "palisade.dev/v1alpha1", "kind": "FencingOperation",
        "metadata": {"name": "n3-1.2"},
        "spec": {"clusterRef": {"name": "quickstart"}, "node": "n3", "nodeId": 3, "incident": "1.2"}});
    let apply = ["apply", "--server-side", "--field-manager=palisade-coordinator", "-f", "-"];
    refused(fresh.token(&n2, &apply, Some(&operation)), "is not the coordinator");
    fresh.token(&n1, &apply, Some(&operation)).expect("the coordinator records");
    refused(fresh.token(&n2, &["delete", "fo", "n3-1.2"], None), "is not the coordinator");

    // The next era has another coordinator, which writes the cluster first and the rest at once after it.
    cluster(&n2, era(9, "n2")).expect("the new coordinator");
    fresh.mirror(&n2, "HANode", "n3", json!({"observedEra": 9})).expect("at once");
    let old = || fresh.mirror(&n1, "HANode", "n1", json!({"observedEra": 9})).is_err();
    assert!(wait_until(SLOW, old), "the old one is held back");
    refused(cluster(&n1, era(8, "n1")), "observedEra");

    // Secrets: each by the one account that needs it, by name only.
    let fencer = fresh.token_of("fencer", "n1");
    let controller = fresh.token_of_any("controller");
    fresh.token(&fencer, &["get", "secret", "bmc-n1"], None).expect("its own");
    fresh.token(&n1, &["get", "secret", "ring-key"], None).expect("its own");
    for (who, token, secret) in [
        ("agent", &n1, "bmc-n1"),
        ("fencer", &fencer, "ring-key"),
        ("controller", &controller, "bmc-n1"),
        ("controller", &controller, "ring-key"),
    ] {
        let said = fresh.token(token, &["get", "secret", secret], None);
        refused(said, "is forbidden");
        refused(fresh.token(token, &["get", "secrets"], None), "cannot list");
        let canary = fresh.token(token, &["get", "secret", secret, "-o", "yaml"], None);
        assert!(!canary.unwrap_or_else(|e| e).contains("canary"), "{who}");
    }
    // A stranger in the namespace, and one beside it.
    for namespace in [NS, "default"] {
        let account = ["-n", namespace, "create", "serviceaccount", "tenant"];
        fresh.admin(&account, None).expect("made");
        let token = ["-n", namespace, "create", "token", "tenant"];
        let token = fresh.admin(&token, None).expect("a token");
        refused(fresh.token(token.trim(), &["get", "secret", "bmc-n1"], None), "is forbidden");
        refused(
            fresh.mirror(token.trim(), "HANode", "n1", json!({"observedEra": 99})),
            "is forbidden",
        );
    }

    // People: asking and confirming are two rights, and a confirmation is its author's own word.
    for (role, user) in [("may-fence", "bob"), ("may-confirm-off", "alice")] {
        let role = format!("--role=palisade-{role}");
        let binding = ["create", "rolebinding", user, &role, "--user", user];
        fresh.admin(&binding, None).expect("bound");
    }
    let confirmation = |by: &str| {
        json!({"apiVersion": "palisade.dev/v1alpha1", "kind": "FencingConfirmation", "metadata": {"generateName": "c-"},
            "spec": {"clusterRef": {"name": "quickstart"}, "node": "n3", "incident": "1.2", "confirmedBy": by,
                "iHaveSeenThatItIsOff": true}})
    };
    let request = json!({"apiVersion": "palisade.dev/v1alpha1", "kind": "FencingRequest", "metadata": {"generateName": "r-"},
        "spec": {"clusterRef": {"name": "quickstart"}, "node": "n3", "reason": "a test"}});
    let make = |user: &str, object: &Value| {
        let user = format!("--as={user}");
        fresh.admin(&[&user, "create", "-f", "-"], Some(object))
    };
    make("bob", &request).expect("may ask");
    refused(make("bob", &confirmation("bob")), "cannot create resource \"fencingconfirmations\"");
    refused(make("alice", &request), "cannot create resource \"fencingrequests\"");
    refused(make("alice", &confirmation("bob")), "is not you: write \"alice\"");
    make("alice", &confirmation("alice")).expect("may confirm");
    // Even with all rights a program does not confirm, nor do the parts of an agent ask.
    let robot = ["create", "rolebinding", "robot", "--role=palisade-may-confirm-off"];
    let account = "--serviceaccount=palisade:tenant";
    fresh.admin(&[&robot[..], &[account]].concat(), None).expect("bound");
    let robot = "system:serviceaccount:palisade:tenant";
    refused(make(robot, &confirmation(robot)), "confirmed by a person");
    for token in [&n1, &fencer, &controller] {
        refused(fresh.token(token, &["create", "-f", "-"], Some(&request)), "is forbidden");
    }
    let bare = json!({"spec": {"standby": true}}).to_string();
    let patch = ["patch", "han", "n2", "--type=merge", "-p", &bare];
    refused(fresh.token(&n1, &patch, None), "is forbidden");
    let readers = fresh.json(&["get", "clusterrole", "palisade.palisade.view"]);
    assert!(!readers["rules"].to_string().contains("secrets"), "{readers}");
}

impl Fresh {
    /// The token of any pod of a part.
    fn token_of_any(&self, part: &str) -> String {
        let account = format!("palisade-{part}");
        self.admin(&["create", "token", &account], None).expect("a token").trim().to_owned()
    }
}
