//! A box on a real API server in place of devapi: `palisade dev --kubeconfig FILE`.

use std::{path::Path, process::Command, time::Duration};

use crate::boxed::{Running, address, alone, gone, palisade, served_by, until, until_within};

/// The API server, its controllers and a box share a small machine.
const READY_MAX: Duration = Duration::from_secs(180);

/// As a person does who has set `KUBECONFIG` to the box's.
fn kubectl(dir: &Path, words: &str) -> Option<String> {
    let output = Command::new("kubectl")
        .args(words.split(' '))
        .env("KUBECONFIG", dir.join("kubeconfig"))
        .env("KUBECACHEDIR", dir.join("kubecache"))
        .output()
        .expect("kubectl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        eprintln!("kubectl {words}: {}", String::from_utf8_lossy(&output.stderr));
    }
    output.status.success().then_some(text)
}

#[test]
#[ignore = "needs a real API server: cargo lab test devapi"]
fn a_box_lives_on_a_real_api_server_and_comes_back_to_it() {
    let _alone = alone();
    let real = std::env::var("PALISADE_REAL_API").expect("PALISADE_REAL_API: a kubeconfig");
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("box");
    let running = Running::start_on(&dir, &real);
    running.wait_ready_within(&dir, READY_MAX);
    let at = address(&dir);
    let holder = until("it is served", || served_by(at));

    let shown = kubectl(&dir, "get palisade -o name").expect("listed, without a namespace");
    for name in ["hacluster.palisade.dev/quickstart", "virtualip.palisade.dev/"] {
        assert!(shown.contains(name), "{shown}");
    }
    // what the controller and the coordinator say reaches the real server
    let said = "wait --for=condition=Quorate hacluster/quickstart --timeout=60s";
    assert!(kubectl(&dir, said).is_some());

    let (ok, said) = palisade(&["dev", "kill", &holder, "--dir"], &dir);
    assert!(ok, "{said}");
    until("another machine serves", || served_by(at).filter(|by| *by != holder));
    let evidence = "get fencingoperations -o jsonpath={.items[*].status.evidence}";
    until_within("the fence is recorded, with its evidence", READY_MAX, || {
        kubectl(&dir, evidence).filter(|text| text.len() > 4)
    });

    let below = running.below();
    let (ok, said) = palisade(&["dev", "stop", "--dir"], &dir);
    assert!(ok, "{said}");
    gone(&below);
    drop(running);

    // it goes on from what the server and the folder keep
    let again = Running::start_on(&dir, &real);
    again.wait_ready_within(&dir, READY_MAX);
    assert_eq!(address(&dir), at, "the same box");
    until("it is served again", || served_by(at));
    let (ok, said) = palisade(&["dev", "stop", "--dir"], &dir);
    assert!(ok, "{said}");
}
