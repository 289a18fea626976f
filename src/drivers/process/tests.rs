//! Real processes under the real shim, in a folder of the test. Every one is ended by the test that began it.

use core::time::Duration;
use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt as _, path::Path, time::Instant};

use base::{Label, ResourceId, ResourceKind};
use lifecycle::{Answer, Call, CallId, Operation, Outcome};

use super::{
    Cgroups, Monitor, ProcessConfig, ProcessDriver, TemplateError, cgroup, load, monitor,
    proc::{self, ProcessId, parse_stat},
    record::Record,
    template,
};
use crate::resource::{Instance, ResourceDriver as _, carry_out};

const SECONDS: Duration = Duration::from_secs(10);

struct Bench {
    folder: tempfile::TempDir,
    resource: ResourceId,
    kind: ResourceKind,
}

impl Bench {
    fn new(template: &str) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let bench = Self {
            resource: "web:0".parse().expect("valid"),
            kind: ResourceKind::Process { template: "web".parse().expect("valid") },
            folder,
        };
        fs::create_dir(bench.path("templates")).expect("created");
        bench.write(template);
        bench
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, template: &str) {
        let file = self.path("templates/web.toml");
        fs::write(&file, template).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("set");
        fs::set_permissions(self.path("templates"), fs::Permissions::from_mode(0o755))
            .expect("set");
    }

    /// As a new agent would see the machine.
    fn driver(&self) -> ProcessDriver {
        ProcessDriver::new(self.config())
    }

    fn config(&self) -> ProcessConfig {
        let exe = std::env::current_exe().expect("known");
        let shim = exe.parent().and_then(Path::parent).expect("target").join("examples/shim");
        assert!(shim.exists(), "{} is built by `cargo test -p drivers`", shim.display());
        ProcessConfig {
            templates: self.path("templates"),
            resources: self.path("resources"),
            shim: vec![shim.into()],
            cgroups: Cgroups::Stay,
        }
    }

    async fn run(&self, operation: Operation) -> Outcome {
        self.call(operation, SECONDS).await.outcome
    }

    async fn call(&self, operation: Operation, timeout: Duration) -> Answer {
        let call = Call {
            id: CallId(1),
            resource: self.resource.clone(),
            kind: self.kind.clone(),
            operation,
            interval: None,
            timeout,
            lifetime: SECONDS,
            order: None,
        };
        carry_out(&self.driver(), &call).await
    }

    fn record(&self) -> Record {
        let text = fs::read(self.path("resources/web:0/record.json")).expect("a record");
        serde_json::from_slice(&text).expect("a record")
    }
}

impl Drop for Bench {
    /// Ends by recorded pid and start time what a failed test left.
    fn drop(&mut self) {
        let Ok(text) = fs::read(self.path("resources/web:0/record.json")) else { return };
        let Ok(record) = serde_json::from_slice::<Record>(&text) else { return };
        for process in super::stop::living(&record) {
            if let Some(pid) = process.as_pid() {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

fn script(text: &str) -> String {
    format!("argv = [\"/bin/sh\", \"-c\", {text:?}]\nstop_timeout_ms = 300\n")
}

#[tokio::test]
async fn a_process_is_started_seen_and_stopped() {
    let bench = Bench::new("argv = [\"/bin/sleep\", \"1000\"]");
    assert_eq!(bench.run(Operation::Probe).await, Outcome::NotRunning);
    assert_eq!(bench.run(Operation::Stop).await, Outcome::Ok, "stopping what does not run");
    let begin = Instant::now();
    assert_eq!(bench.run(Operation::Start).await, Outcome::Ok);
    println!("start: {:?}", begin.elapsed());
    let record = bench.record();
    assert_eq!(bench.run(Operation::Start).await, Outcome::Ok, "starting what runs");
    assert_eq!(bench.record(), record, "and nothing was started twice");
    assert_eq!(bench.run(Operation::Probe).await, Outcome::Ok);
    assert_eq!(bench.run(Operation::Monitor).await, Outcome::Ok);
    let begin = Instant::now();
    assert_eq!(bench.run(Operation::Stop).await, Outcome::Ok);
    println!("stop: {:?}", begin.elapsed());
    assert!(!record.process.alive() && !record.shim.alive());
    assert_eq!(bench.run(Operation::Monitor).await, Outcome::NotRunning);
    assert!(matches!(bench.run(Operation::Promote).await, Outcome::Failed { code: 3, .. }));
}

#[tokio::test]
async fn a_new_agent_finds_what_the_last_one_started() {
    let bench = Bench::new("argv = [\"/bin/sleep\", \"1000\"]");
    let (first, second) = (bench.driver(), bench.driver());
    let instance = Instance { resource: &bench.resource, kind: &bench.kind, lifetime: None };
    assert_eq!(first.start(instance).await, Outcome::Ok);
    let run = first.run(instance).await.expect("it runs");
    drop(first);
    let survivors = second.survivors().await;
    assert_eq!(survivors.len(), 1);
    assert_eq!((&survivors[0].resource, survivors[0].run), (&bench.resource, run));
    assert_eq!(survivors[0].kind.as_ref(), Some(&bench.kind));
    assert_eq!(second.stop(instance).await, Outcome::Ok);
    assert_eq!(second.survivors().await, []);
    assert_eq!(second.run(instance).await, None);
}

#[tokio::test]
async fn a_pid_that_is_somebody_elses_is_not_ours() {
    let bench = Bench::new("argv = [\"/bin/sleep\", \"1000\"]");
    let own = ProcessId::of(std::process::id() as i32).expect("me");
    let stale = ProcessId { start: own.start + 1, ..own };
    let record = Record {
        resource: bench.resource.clone(),
        template: "web".parse().expect("valid"),
        token: "old".into(),
        shim: stale,
        process: stale,
        cgroups_kept: vec![],
    };
    fs::create_dir_all(bench.path("resources/web:0")).expect("created");
    fs::write(
        bench.path("resources/web:0/record.json"),
        serde_json::to_vec(&record).expect("json"),
    )
    .expect("written");
    assert_eq!(bench.run(Operation::Probe).await, Outcome::NotRunning);
    assert_eq!(bench.run(Operation::Stop).await, Outcome::Ok);
    assert!(own.alive(), "the test itself was not shot");
}

#[tokio::test]
async fn the_shim_has_a_session_of_its_own_and_inherits_nothing() {
    let bench = Bench::new(
        "argv = [\"/bin/sleep\", \"1000\"]\nenvironment = { A = \"b\" }\noom_score_adj = 7",
    );
    // A descriptor that is inheritable: duplicated without close-on-exec.
    let held = fs::File::open("/dev/zero").expect("there");
    let leaked = rustix::io::dup(&held).expect("duplicated");
    assert_eq!(bench.run(Operation::Start).await, Outcome::Ok);
    drop(leaked);
    let record = bench.record();
    for (pid, session) in
        [(record.shim.pid, record.shim.pid), (record.process.pid, record.shim.pid)]
    {
        assert_eq!(proc::stat(pid).expect("lives").session, session);
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).expect("readable") {
            let target = fs::read_link(entry.expect("entry").path()).expect("a link");
            let target = target.to_string_lossy().into_owned();
            assert!(target == "/dev/null" || target.ends_with("output.log"), "inherited {target}");
        }
    }
    let of =
        |name| fs::read_to_string(format!("/proc/{}/{name}", record.process.pid)).expect("there");
    assert_eq!((of("environ").as_str(), of("oom_score_adj").as_str()), ("A=b\0", "7\n"));
    assert_eq!(bench.run(Operation::Stop).await, Outcome::Ok);
}

#[tokio::test]
async fn a_process_runs_as_the_user_of_its_template_and_in_no_other_group() {
    if !rustix::process::geteuid().is_root() {
        println!("NOT RUN: becoming another user needs root");
        return;
    }
    let bench = Bench::new("argv = [\"/bin/sleep\", \"1000\"]\nuser = \"nobody\"");
    let user = nix::unistd::User::from_name("nobody").expect("passwd").expect("on every machine");
    assert_eq!(bench.run(Operation::Start).await, Outcome::Ok);
    let status = fs::read_to_string(format!("/proc/{}/status", bench.record().process.pid));
    let status = status.expect("it runs");
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).expect("a field");
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    let four = |id: u32| [id; 4].map(|id| id.to_string()).join(" ");
    assert_eq!(field("Uid:"), four(user.uid.as_raw()));
    assert_eq!(field("Gid:"), four(user.gid.as_raw()));
    assert_eq!(field("Groups:"), "");
    assert_eq!(field("SigBlk:"), "0000000000000000", "and no signal of the agent's is blocked");
    assert_eq!(bench.run(Operation::Stop).await, Outcome::Ok);
}

//= SAFETY.md#S11
//= type=test
#[tokio::test]
async fn who_ignores_the_stop_signal_is_killed_with_all_its_children() {
    let bench = Bench::new(&script(
        "trap '' TERM; setsid sleep 1000 & sleep 1000 & while :; do sleep 1; done",
    ));
    assert_eq!(bench.run(Operation::Start).await, Outcome::Ok);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let record = bench.record();
    let family =
        proc::find(|_, stat| stat.session == record.shim.pid || stat.parent == record.process.pid);
    assert!(family.len() >= 4, "shim, shell and sleepers: {family:?}");
    let begin = Instant::now();
    assert_eq!(bench.run(Operation::Stop).await, Outcome::Ok);
    assert!(begin.elapsed() >= Duration::from_millis(300), "it was asked first");
    for process in family {
        assert!(!process.alive(), "{process:?} is left, also the one in a session of its own");
    }
}

#[tokio::test]
async fn a_process_that_ends_is_not_running_and_its_status_is_kept() {
    let bench = Bench::new(&script("sleep 1000 & sleep 0.2; exit 3"));
    assert_eq!(bench.run(Operation::Start).await, Outcome::Ok);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(bench.run(Operation::Monitor).await, Outcome::NotRunning);
    let exit = bench.driver().last_exit(&bench.resource).expect("recorded");
    assert_eq!((exit.status, exit.signal), (Some(3), None));
    assert_eq!(bench.driver().survivors().await, []);
}

#[tokio::test]
async fn who_lost_its_shim_is_still_found_and_stopped() {
    let bench = Bench::new(&script("sleep 1000 & sleep 1000"));
    assert_eq!(bench.run(Operation::Start).await, Outcome::Ok);
    let record = bench.record();
    let shim = record.shim.as_pid().expect("a pid");
    rustix::process::kill_process(shim, rustix::process::Signal::KILL).expect("killed");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bench.run(Operation::Monitor).await, Outcome::Ok);
    assert_eq!(bench.driver().survivors().await.len(), 1);
    assert_eq!(bench.run(Operation::Stop).await, Outcome::Ok);
    assert_eq!(super::stop::living(&record), []);
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let bench = Bench::new("argv = [\"/nonexistent/program\"]");
    let outcome = bench.run(Operation::Start).await;
    let Outcome::Failed { reason, .. } = &outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("/nonexistent/program"), "{reason}");
    bench.write("argv = [\"/bin/true\"]\nuser = \"nobody-of-this-name\"");
    let outcome = bench.run(Operation::Start).await;
    let Outcome::Failed { reason, .. } = &outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("no user"), "{reason}");
    bench.write("argv = [\"/bin/false\"]\nmonitor = { tcp = 1 }");
    let outcome = bench.run(Operation::Start).await;
    assert!(matches!(outcome, Outcome::Failed { code: 1, .. }), "{outcome:?}");
    fs::remove_file(bench.path("templates/web.toml")).expect("removed");
    let outcome = bench.run(Operation::Start).await;
    assert!(matches!(outcome, Outcome::Failed { code: 5, .. }), "{outcome:?}");
}

#[tokio::test]
async fn the_monitor_asks_the_port_and_the_page() {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("bound").port();
    let bench = Bench::new(&format!(
        "argv = [\"/usr/bin/env\", \"python3\", \"-m\", \"http.server\", \"{port}\", \"--bind\", \"127.0.0.1\"]\n\
         environment = {{ PATH = {:?} }}\nworking_dir = {:?}\nmonitor = {{ http = {port}, path = \"/\" }}",
        std::env::var("PATH").expect("set"),
        "/usr/share"
    ));
    let begin = Instant::now();
    assert_eq!(bench.run(Operation::Start).await, Outcome::Ok);
    println!("start until it answers: {:?}", begin.elapsed());
    assert_eq!(bench.run(Operation::Monitor).await, Outcome::Ok);
    let process = bench.record().process.as_pid().expect("a pid");
    bench
        .write(&format!("argv = [\"/bin/true\"]\nmonitor = {{ http = {port}, path = \"/none\" }}"));
    let outcome = bench.run(Operation::Monitor).await;
    let Outcome::Failed { reason, .. } = &outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("404"), "{reason}");
    rustix::process::kill_process(process, rustix::process::Signal::KILL).expect("killed");
    while bench.record().process.alive() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(bench.run(Operation::Monitor).await, Outcome::NotRunning);
    assert!(TcpListener::bind(("127.0.0.1", port)).is_ok(), "nothing holds the port");
}

#[tokio::test]
async fn a_start_that_is_broken_off_leaves_nothing() {
    // At several points: before the shim has a process, with one, and while the monitor is not content.
    for patience in [0, 1, 2, 3, 4, 6, 8, 20, 100] {
        let bench = Bench::new("argv = [\"/bin/sleep\", \"1000\"]\nmonitor = { tcp = 1 }");
        let answer = bench.call(Operation::Start, Duration::from_millis(patience)).await;
        assert_eq!(answer.outcome, Outcome::TimedOut);
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert_eq!(bench.run(Operation::Probe).await, Outcome::NotRunning, "after {patience} ms");
        assert_eq!(bench.driver().survivors().await, []);
        if let Ok(text) = fs::read(bench.path("resources/web:0/record.json")) {
            let record: Record = serde_json::from_slice(&text).expect("a record");
            assert_eq!(super::stop::living(&record), [], "after {patience} ms");
        }
    }
}

/// A group of the test below the root of every hierarchy, removed at its end.
struct Groups(String);

impl Drop for Groups {
    fn drop(&mut self) {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        for hierarchy in cgroup::hierarchies(&mountinfo) {
            let group = hierarchy.at.join(&self.0);
            for _ in 0..100 {
                if !group.exists() || fs::remove_dir(&group).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// What a container that ends would kill: everything in its groups, of every controller (CLUSTER.md section 8).
#[tokio::test]
async fn the_shim_leaves_every_cgroup_of_the_agent() {
    if !rustix::process::geteuid().is_root() || !Path::new("/sys/fs/cgroup").is_dir() {
        println!("NOT RUN: leaving cgroups needs root and cgroups");
        return;
    }
    let groups = Groups(format!("palisade-test-leave-{}", std::process::id()));
    let bench = Bench::new("argv = [\"/bin/sleep\", \"1000\"]");
    let mut config = bench.config();
    config.cgroups = Cgroups::Leave { to: format!("/{}", groups.0) };
    let driver = ProcessDriver::new(config);
    let instance = Instance { resource: &bench.resource, kind: &bench.kind, lifetime: None };
    assert_eq!(driver.start(instance).await, Outcome::Ok);
    let record = bench.record();
    assert_eq!(record.cgroups_kept, Vec::<String>::new());
    for pid in [record.shim.pid, record.process.pid] {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("readable");
        assert!(text.lines().count() > 0);
        for line in text.lines() {
            assert!(line.ends_with(&format!(":/{}", groups.0)), "not left: {line}");
        }
    }
    assert_eq!(driver.stop(instance).await, Outcome::Ok);
}

/// A freezer cgroup of the test, thawed and removed at its end.
struct Freezer(std::path::PathBuf);

impl Freezer {
    fn new() -> Option<Self> {
        let name = format!("palisade-test-{}", std::process::id());
        let group = Path::new("/sys/fs/cgroup/freezer").join(name);
        fs::create_dir(&group).is_ok().then_some(Self(group))
    }

    fn set(&self, file: &str, value: &str) {
        fs::write(self.0.join(file), value).expect("written");
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("freezer.state"), "THAWED");
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A frozen process takes no signal, not even SIGKILL: the stop must say so and not "stopped".
#[tokio::test]
async fn a_stop_that_cannot_end_is_a_failure() {
    let Some(freezer) = Freezer::new() else {
        println!("NOT RUN: no freezer cgroup (v1) that this user may use");
        return;
    };
    let bench = Bench::new(&script("sleep 1000"));
    assert_eq!(bench.run(Operation::Start).await, Outcome::Ok);
    let record = bench.record();
    freezer.set("cgroup.procs", &record.process.pid.to_string());
    freezer.set("freezer.state", "FROZEN");
    let outcome = bench.run(Operation::Stop).await;
    freezer.set("freezer.state", "THAWED");
    let Outcome::Failed { reason, .. } = &outcome else { panic!("{outcome:?}") };
    assert!(reason.contains(&record.process.pid.to_string()), "{reason}");
    assert_eq!(bench.run(Operation::Stop).await, Outcome::Ok, "a later stop succeeds");
}

#[test]
fn templates_that_others_can_write_are_refused() {
    let bench = Bench::new("argv = [\"/bin/true\"]");
    let name: Label = "web".parse().expect("valid");
    let folder = bench.path("templates");
    let file = folder.join("web.toml");
    assert!(load(&folder, &name).is_ok());
    for (path, mode) in [(&file, 0o664), (&file, 0o646), (&folder, 0o777), (&folder, 0o775)] {
        let before = fs::metadata(path).expect("there").permissions();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
        let result = load(&folder, &name);
        assert!(matches!(result, Err(TemplateError::Unsafe(_))), "{mode:o} {}", path.display());
        fs::set_permissions(path, before).expect("set");
    }
    let elsewhere = bench.path("elsewhere.toml");
    fs::rename(&file, &elsewhere).expect("moved");
    std::os::unix::fs::symlink(&elsewhere, &file).expect("linked");
    assert!(load(&folder, &name).is_err(), "no links");
    if rustix::process::geteuid().is_root() {
        fs::remove_file(&file).expect("removed");
        fs::rename(&elsewhere, &file).expect("moved");
        std::os::unix::fs::chown(&file, Some(65534), None).expect("given away");
        assert!(matches!(load(&folder, &name), Err(TemplateError::Unsafe(_))));
    } else {
        println!("NOT RUN: the owner check needs root to give a file away");
    }
}

#[test]
fn templates_say_what_is_wrong_with_them() {
    for (text, expected) in [
        ("argv = []", "empty"),
        ("argv = [\"sh\"]", "absolute"),
        ("argv = [\"/bin/sh\"]\nshell = true", "unknown field"),
        ("argv = [\"/bin/a\\u0000b\"]", "NUL"),
        ("argv = [\"/bin/sh\"]\nworking_dir = \"x\"", "absolute"),
        ("argv = [\"/bin/sh\"]\nenvironment = { \"A=B\" = \"\" }", "environment"),
        ("argv = [\"/bin/sh\"]\nmonitor = {}", "monitor"),
        ("argv = [\"/bin/sh\"]\nmonitor = { http = 80, path = \"x y\" }", "monitor.path"),
        ("argv = [\"/bin/sh\"]\nstop_signal = \"KILL\"", "variant"),
        ("argv = [\"/bin/sh\"]\nstop_timeout_ms = 3600001", "hour"),
    ] {
        let error = template::parse(text).expect_err(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
    let template = template::parse("argv = [\"/bin/sh\"]\nmonitor = { tcp = 80 }").expect("valid");
    assert_eq!(template.monitor, Monitor::Tcp { address: [127, 0, 0, 1].into(), port: 80 });
}

#[test]
fn a_program_may_have_brackets_and_spaces_in_its_name() {
    let line = "42 (a) S 9 (b) S 1 42 40 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 777 0 0";
    let stat = parse_stat(line).expect("a stat");
    assert_eq!((stat.state, stat.parent, stat.session, stat.start), (b'S', 1, 40, 777));
    assert_eq!(parse_stat(""), None);
    assert_eq!(parse_stat("1 (x) S"), None);
}

#[test]
fn http_status_lines_are_read_strictly() {
    assert_eq!(monitor::status(b"HTTP/1.1 204 No Content\r\n"), Some(204));
    for bad in [&b"HTTP/1.1"[..], b"HTTP/1.1 2", b"HTTP/2 200 ", b"", b"HTTP/1.0 abc", b"\xff\xfe"]
    {
        assert_eq!(monitor::status(bad), None);
    }
}

#[test]
fn cgroup_mounts_are_found() {
    let mountinfo = "25 18 0:22 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                     26 18 0:23 / /proc rw - proc proc rw\n\
                     27 18 0:24 / /sys/fs/cgroup/a\\040b rw shared:9 - cgroup2 none rw\nnoise\n";
    let at: Vec<_> = cgroup::hierarchies(mountinfo).into_iter().map(|h| h.at).collect();
    assert_eq!(at, [Path::new("/sys/fs/cgroup/memory"), Path::new("/sys/fs/cgroup/a b")]);
}
