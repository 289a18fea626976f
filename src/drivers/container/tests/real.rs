//! The driver against a real containerd and runc, which it starts beside those of the machine.

use core::time::Duration;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use base::{Label, ResourceId, ResourceKind};
use lifecycle::Outcome;
use rustix::process::{Pid, Signal, kill_process};

use super::super::{ContainerConfig, ContainerDriver, driver::id, image::hex};
use crate::{
    process::ProcessId,
    resource::{Instance, ResourceDriver},
};

const NAME: &str = "example.org/service:1";

/// A containerd with its folders.
struct Lab {
    folder: tempfile::TempDir,
    programs: PathBuf,
    containerd: Option<Child>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.power_off();
    }
}

impl Lab {
    fn new() -> Self {
        let programs = std::env::var_os("PALISADE_CONTAINERD");
        let programs = programs.expect("PALISADE_CONTAINERD: folder with containerd, ctr, pause");
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["root", "state", "templates", "records"] {
            fs::create_dir(folder.path().join(name)).expect("made");
        }
        let lab = Self { folder, programs: programs.into(), containerd: None };
        let config = format!(
            "version = 3\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\", \
             \"io.containerd.cri.v1.runtime\", \"io.containerd.cri.v1.images\", \
             \"io.containerd.nri.v1.nri\"]\n[grpc]\naddress = {:?}\n",
            lab.at("root"),
            lab.at("state"),
            lab.at("sock")
        );
        fs::write(lab.at("config.toml"), config).expect("written");
        lab
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn up(&mut self) {
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.programs.display());
        let log = fs::File::create(self.at("log")).expect("a log");
        let child = Command::new(self.programs.join("containerd"))
            .arg("--config")
            .arg(self.at("config.toml"))
            .env("PATH", path)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("containerd starts");
        self.containerd = Some(child);
        let until = Instant::now() + Duration::from_secs(30);
        while !self.ctr(&["version"]) {
            assert!(Instant::now() < until, "containerd does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn power_off(&mut self) {
        if let Some(mut child) = self.containerd.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn ctr(&self, words: &[&str]) -> bool {
        Command::new(self.programs.join("ctr"))
            .arg("-a")
            .arg(self.at("sock"))
            .args(["-n", "palisade"])
            .args(words)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    fn driver(&self, boot: &str) -> ContainerDriver {
        ContainerDriver::new(ContainerConfig {
            templates: self.at("templates"),
            socket: self.at("sock"),
            namespace: "palisade".into(),
            snapshotter: "overlayfs".into(),
            records: self.at("records"),
            boot: boot.into(),
        })
    }

    fn import(&self) {
        let archive = archive(&self.at("image"), &self.programs.join("pause"));
        let archive = archive.to_str().expect("text");
        assert!(self.ctr(&["images", "import", "--snapshotter", "overlayfs", archive]));
    }

    /// Whether containerd has any record of ours.
    fn records(&self) -> String {
        let out = Command::new(self.programs.join("ctr"))
            .arg("-a")
            .arg(self.at("sock"))
            .args(["-n", "palisade", "containers", "ls", "-q"])
            .output()
            .expect("ctr runs");
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }
}

/// An OCI archive of one static program.
fn archive(folder: &Path, program: &Path) -> PathBuf {
    let tar = |inside: &Path, file: &Path| {
        let done = Command::new("tar").arg("-C").arg(inside).arg("-cf").arg(file).arg(".").status();
        assert!(done.is_ok_and(|status| status.success()));
    };
    let (files, layout) = (folder.join("files"), folder.join("layout"));
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&files).expect("made");
    fs::create_dir_all(&blobs).expect("made");
    fs::copy(program, files.join("service")).expect("copied");
    let layer = folder.join("layer.tar");
    tar(&files, &layer);
    let put = |bytes: &[u8]| {
        let digest = hex(bytes);
        fs::write(blobs.join(&digest), bytes).expect("written");
        (format!("sha256:{digest}"), bytes.len())
    };
    let (layer, layer_size) = put(&fs::read(layer).expect("read"));
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = serde_json::json!({"os": "linux", "architecture": arch,
        "config": {"Entrypoint": ["/service"], "User": "65532"},
        "rootfs": {"type": "layers", "diff_ids": [layer]}});
    let (config, config_size) = put(config.to_string().as_bytes());
    let kind = "application/vnd.oci.image";
    let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": format!("{kind}.manifest.v1+json"),
        "config": {"mediaType": format!("{kind}.config.v1+json"), "digest": config, "size": config_size},
        "layers": [{"mediaType": format!("{kind}.layer.v1.tar"), "digest": layer, "size": layer_size}]});
    let (manifest, size) = put(manifest.to_string().as_bytes());
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [{
        "mediaType": format!("{kind}.manifest.v1+json"), "digest": manifest, "size": size,
        "annotations": {"io.containerd.image.name": NAME}}]});
    fs::write(layout.join("index.json"), index.to_string()).expect("written");
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("written");
    let made = folder.join("image.tar");
    tar(&layout, &made);
    made
}

/// The service, and the shim that holds it.
fn kill(process: i32) {
    let shim = crate::process::parent(process).expect("it has one");
    for pid in [shim, process] {
        if let Some(pid) = Pid::from_raw(pid) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    while ProcessId::of(process).is_some_and(ProcessId::alive) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "root, runc, a built containerd: PALISADE_CONTAINERD=~/.cache/palisade/containerd-* cargo test -p drivers container::tests::real -- --ignored"]
async fn a_container_is_started_found_again_stopped_and_not_believed_after_a_power_loss() {
    let mut lab = Lab::new();
    let template: Label = "service".parse().expect("valid");
    let resource: ResourceId = format!("web:{}", std::process::id()).parse().expect("valid");
    let kind = ResourceKind::Process { template };
    let instance = Instance { resource: &resource, kind: &kind, lifetime: None };
    let templates = lab.at("templates");
    let write = |more: &str| {
        let text = format!("image = \"{NAME}\"\n{more}");
        fs::write(templates.join("service.toml"), text).expect("written");
    };
    write("");
    let driver = lab.driver("boot-1");
    // Nothing is known without containerd: that is not "not running".
    assert!(matches!(driver.probe(instance).await, Outcome::Failed { .. }));
    lab.up();
    assert_eq!(driver.probe(instance).await, Outcome::NotRunning);
    match driver.start(instance).await {
        Outcome::Failed { code: 5, reason } => {
            assert!(reason.contains("images import"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    lab.import();
    write(&format!("image_digest = \"sha256:{}\"\n", "0".repeat(64)));
    assert!(matches!(driver.start(instance).await, Outcome::Failed { code: 5, .. }));
    assert_eq!(lab.records(), "");
    write("");
    let begun = Instant::now();
    assert_eq!(driver.start(instance).await, Outcome::Ok);
    println!("started in {:?}", begun.elapsed());
    assert_eq!(driver.start(instance).await, Outcome::Ok, "starting what runs is done");
    let run = driver.run(instance).await.expect("it runs");
    assert_eq!(lab.records(), id(&resource));

    // The agent and containerd are restarted: the same process.
    lab.power_off();
    assert!(matches!(driver.probe(instance).await, Outcome::Failed { .. }));
    lab.up();
    let driver = lab.driver("boot-1");
    let found = driver.survivors().await;
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0].resource, found[0].kind.as_ref()), (&resource, Some(&kind)));
    assert_eq!(found[0].run, run);
    assert_eq!(driver.monitor(instance).await, Outcome::Ok);

    let process = driver.process(&resource).expect("on record");
    let begun = Instant::now();
    assert_eq!(driver.stop(instance).await, Outcome::Ok);
    println!("stopped in {:?}", begun.elapsed());
    assert!(!process.alive());
    assert_eq!(lab.records(), "");
    assert_eq!(driver.stop(instance).await, Outcome::Ok, "stopping what does not run is done");

    // It does not listen to this signal (the first process of a pid namespace is spared those it does not handle).
    write("stop_signal = \"USR1\"\nstop_timeout_ms = 300\n");
    assert_eq!(driver.start(instance).await, Outcome::Ok);
    let begun = Instant::now();
    assert_eq!(driver.stop(instance).await, Outcome::Ok);
    assert!(begun.elapsed() >= Duration::from_millis(300), "asked first");
    assert_eq!(driver.run(instance).await, None);

    // It dies by itself: seen, and the name is free for the next start.
    assert_eq!(driver.start(instance).await, Outcome::Ok);
    kill_process(
        driver.process(&resource).and_then(ProcessId::as_pid).expect("there"),
        Signal::KILL,
    )
    .expect("killed");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(driver.monitor(instance).await, Outcome::NotRunning);
    assert_eq!(driver.start(instance).await, Outcome::Ok);

    // Power loss: the processes and /run are gone, containerd's records stay.
    lab.power_off();
    kill(driver.process(&resource).expect("on record").pid);
    // Runc's own records lie in /run too, the machine's, as containerd's shim says it to.
    let _ = fs::remove_dir_all(format!("/run/containerd/runc/palisade/{}", id(&resource)));
    let (state, records) = (lab.at("state"), lab.at("records"));
    let _ = Command::new("sh")
        .arg("-c")
        .arg("grep -o ' [^ ]*/rootfs ' /proc/self/mounts | grep \"$0\" | xargs -r umount -l; rm -rf \"$0\" \"$1\"")
        .args([&state, &records])
        .status();
    lab.up();
    assert_eq!(lab.records(), id(&resource), "the record outlived the power");
    let driver = lab.driver("boot-2");
    assert_eq!(driver.probe(instance).await, Outcome::NotRunning);
    assert_eq!(driver.survivors().await, []);
    assert_eq!(lab.records(), "", "cleaned away");
    assert_eq!(driver.start(instance).await, Outcome::Ok);
    assert_eq!(driver.stop(instance).await, Outcome::Ok);
}
