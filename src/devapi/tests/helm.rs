//! The chart on devapi, as Helm does it: installed, upgraded, rolled back, uninstalled; and what it says of `helm test`, which
//! would run pods.
//!
//! Without `--wait`: nothing becomes ready where nothing runs.

use std::path::Path;
use std::process::Command;

use devapi::{Options, Server};

const NS: &str = "palisade";

struct Tools<'a> {
    kubeconfig: &'a Path,
}

impl Tools<'_> {
    /// What a program says, and whether it is content.
    fn run(&self, program: &str, line: &str) -> (bool, String) {
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/palisade");
        let quickstart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests/quickstart");
        let place = |word: &str| match word {
            "CHART" => chart.display().to_string(),
            "QUICKSTART" => quickstart.display().to_string(),
            word => word.to_owned(),
        };
        let home = self.kubeconfig.with_file_name("home");
        let output = Command::new(program)
            .args(["--namespace", NS])
            .args(line.split(' ').map(place))
            .env("KUBECONFIG", self.kubeconfig)
            .env("HELM_CACHE_HOME", home.join("cache"))
            .env("HELM_CONFIG_HOME", home.join("config"))
            .env("HELM_DATA_HOME", home.join("data"))
            .env("KUBECACHEDIR", home.join("kube"))
            .output()
            .unwrap_or_else(|e| panic!("{program}: {e}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    }

    fn said(&self, program: &str, line: &str, wanted: &str) -> String {
        let (fine, said) = self.run(program, line);
        assert!(fine && said.contains(wanted), "{program} {line}: wanted {wanted:?}, got: {said}");
        said
    }

    fn refused(&self, program: &str, line: &str, wanted: &str) -> String {
        let (fine, said) = self.run(program, line);
        assert!(!fine && said.contains(wanted), "{program} {line}: wanted {wanted:?}, got: {said}");
        said
    }
}

fn the_chart(tools: &Tools<'_>) {
    let install = "upgrade --install palisade CHART --create-namespace --set secrets.bmc={bmc-n1} --set cluster.name=quickstart";
    tools.said("helm", install, "STATUS: deployed");
    tools.said("helm", "list", "palisade");
    let made = "get deployment,daemonset,serviceaccount,role,rolebinding,networkpolicy,pdb -o name";
    for name in ["deployment.apps/palisade-controller", "daemonset.apps/palisade-agent"] {
        tools.said("kubectl", made, name);
    }
    // the definitions are served, and what is applied to them is kept
    tools.said("kubectl", "apply -f QUICKSTART", "hacluster.palisade.dev/quickstart created");
    // the chart's own policies are at work: a program does not confirm a power-off
    let robot = "--as=system:serviceaccount:palisade:palisade-controller --as-group=system:masters";
    let confirm = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/helm/confirmation.yaml");
    let confirm = confirm.display();
    tools.refused(
        "kubectl",
        &format!("create -f {confirm} {robot}"),
        "a power-off is confirmed by a person",
    );
    tools.refused("kubectl", &format!("create -f {confirm} --as=bob"), r#""ann" is not you"#);
    tools.said("kubectl", &format!("create -f {confirm} --as=ann"), "created");

    let config = "get configmap palisade-agent -o yaml";
    let upgrade = "upgrade palisade CHART --reuse-values --set agent.interfaces.public=eth1";
    tools.said("helm", upgrade, "REVISION: 2");
    tools.said("kubectl", config, "eth1");
    tools.said("helm", "rollback palisade 1", "Rollback was a success");
    let (_, after) = tools.run("kubectl", config);
    assert!(after.contains("agent.toml") && !after.contains("eth1"), "{after}");
    tools.said("helm", "history palisade", "Rollback to 1");

    tools.refused("helm", "test palisade", "devapi does not do this: the kind pods");

    // a hook asks the members, in a pod; without it the chart goes
    tools.refused("helm", "uninstall palisade", "devapi does not do this: the kind jobs");
    tools.said("helm", "uninstall palisade --no-hooks", "uninstalled");
    // definitions and what people have written outlive the release
    tools.said("kubectl", "get palisade -o name", "hacluster.palisade.dev/quickstart");
    let (_, rest) = tools.run("kubectl", made);
    assert!(!rest.contains("palisade-"), "{rest}");
    tools.said("helm", install, "STATUS: deployed");
    tools.said("helm", "uninstall palisade --no-hooks", "uninstalled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs helm and kubectl: cargo lab test devapi"]
async fn helm_does_with_the_chart_what_it_does_on_a_cluster() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(Options::new(dir.path())).await.expect("starts");
    let kubeconfig = server.kubeconfig();
    let done = tokio::task::spawn_blocking(move || the_chart(&Tools { kubeconfig: &kubeconfig }));
    let done = done.await;
    server.stop().await.expect("stops");
    done.expect("the chart");
}
