//! The machine's own kubectl against devapi: what people type. Without a kubectl on PATH the test says so and does
//! nothing.

use std::path::Path;
use std::process::{Command, Output};

use devapi::{Options, Server};

/// What is typed, and what is said. A leading `!` expects failure.
const TYPED: &[(&str, &str)] = &[
    ("create namespace palisade", "namespace/palisade created"),
    ("apply -f QUICKSTART", "hacluster.palisade.dev/quickstart created"),
    ("apply -f QUICKSTART", "hacluster.palisade.dev/quickstart unchanged"),
    (
        "apply --server-side --dry-run=server --force-conflicts -f CRDS",
        "haclusters.palisade.dev serverside-applied (server dry run)",
    ),
    ("-n palisade get palisade", "hacluster.palisade.dev/quickstart"),
    ("-n palisade get hac -o name", "hacluster.palisade.dev/quickstart"),
    ("-n palisade describe hac quickstart", "API Version:  palisade.dev/v1alpha1"),
    ("explain hacluster.spec.fencing.budget", "How often one machine may be powered off."),
    ("explain configmap.data", "map[string]string"),
    (
        "wait --for=condition=Established crd --all --timeout=5s",
        "virtualips.palisade.dev condition met",
    ),
    ("!-n palisade wait --for=condition=Ready hac --all --timeout=1s", "timed out waiting"),
    ("-n palisade create configmap c --from-literal=a=1", "configmap/c created"),
    ("-n palisade create secret generic s --from-literal=a=1", "secret/s created"),
    ("-n palisade get secret s -o jsonpath={.data.a}", "MQ=="),
    (
        "-n palisade create role r --verb=get --resource=secrets",
        "role.rbac.authorization.k8s.io/r created",
    ),
    ("-n palisade create deployment d --image=x", "devapi keeps this object and runs nothing"),
    ("-n palisade get deployment d -o jsonpath={.spec.template.spec.containers[0].image}", "x"),
    (
        "!-n palisade scale deployment d --replicas=3",
        "devapi does not do this: the scale subresource",
    ),
    (
        "!get --raw /api/v1/namespaces/palisade/pods",
        "devapi does not do this: the kind pods is not served",
    ),
    ("-n palisade patch configmap c -p {\"data\":{\"b\":\"2\"}}", "configmap/c patched"),
    ("-n palisade label configmap c x=y", "configmap/c labeled"),
    ("-n palisade get configmap -l x=y", "c      2"),
    ("-n palisade edit configmap c", "configmap/c edited"),
    ("-n palisade get configmap c -o jsonpath={.data.b}", "3"),
    ("!-n palisade create configmap c --from-literal=a=1", "configmaps \"c\" already exists"),
    ("-n palisade delete configmap c", "configmap \"c\" deleted"),
    ("!-n palisade get configmap c", "configmaps \"c\" not found"),
    ("auth whoami", "devapi:admin"),
    ("auth can-i create secrets", "yes"),
    ("delete namespace palisade", "namespace \"palisade\" deleted"),
    ("get hac -A", "No resources found"),
    ("delete crd virtualips.palisade.dev", "deleted"),
];

fn type_in(kubeconfig: &Path, line: &str) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let place = |word: &str| match word {
        "QUICKSTART" => root.join("manifests/quickstart").display().to_string(),
        "CRDS" => root.join("crds").display().to_string(),
        word => word.to_owned(),
    };
    Command::new("kubectl")
        .args(line.trim_start_matches('!').split(' ').map(place))
        .env("KUBECONFIG", kubeconfig)
        .env("KUBE_EDITOR", "sed -i /b:/s/2/3/")
        .env("KUBECACHEDIR", kubeconfig.with_file_name("cache"))
        .output()
        .expect("kubectl runs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_type_works() {
    if Command::new("kubectl").args(["version", "--client"]).output().is_err() {
        eprintln!("no kubectl on PATH: nothing was tested");
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let seed = api::crds().iter().map(|c| serde_json::to_value(c).expect("JSON")).collect();
    let server = Server::start(Options { seed, ..Options::new(dir.path()) }).await.expect("starts");
    let kubeconfig = server.kubeconfig();
    let wrong = tokio::task::spawn_blocking(move || {
        let mut wrong = Vec::new();
        for (line, expected) in TYPED {
            let output = type_in(&kubeconfig, line);
            let said = format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            if output.status.success() == line.starts_with('!') || !said.contains(expected) {
                wrong.push(format!("kubectl {line}\n  wanted {expected:?}, got: {said}"));
            }
        }
        wrong
    });
    let wrong = wrong.await.expect("types");
    server.stop().await.expect("stops");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
