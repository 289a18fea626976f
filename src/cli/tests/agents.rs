//! Three agents as people run them: `palisade agent` with its three parts, on 127.89.0.0/16, a real process as resource.
//!
//! Needs no root: what the kernel refuses is a condition. The process is a `sleep` from a template in the test's folder.

#[path = "../../agent/tests/loopback/revision.rs"]
mod revision;

use std::{
    fs,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use agent::{
    state::{FileKind, StateDir},
    status::Status,
};

const KEY: &str = "1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const CANARY: &str = "00010203";
const LONG: Duration = Duration::from_secs(30);

struct Machine {
    dir: PathBuf,
    /// Where people speak to its agent.
    socket: PathBuf,
    agent: Option<Child>,
    /// Executor and fencer, where they have supervisors of their own.
    beside: Vec<Child>,
}

struct Lab {
    machines: Vec<Machine>,
    _dir: tempfile::TempDir,
}

impl Lab {
    fn start(port: u16) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let machines = [1_u16, 2, 3].map(|node| {
            let dir = dir.path().join(format!("ctl-{node}"));
            let templates = dir.join("processes");
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&templates).expect("made");
            fs::write(templates.join("web.toml"), "argv = [\"/bin/sleep\", \"1000\"]\n").expect("written");
            fs::write(dir.join("uuid"), revision::uuid(node).to_string()).expect("written");
            let boot = format!("{node:032x}\n");
            fs::write(dir.join("boot-id"), boot).expect("written");
            let config = format!(
                "run_dir = {:?}\nprocess_templates = {templates:?}\nsystem_uuid_file = {:?}\nboot_id_file = {:?}\nself_fence = \"watchdog\"\n",
                dir.join("run"),
                dir.join("uuid"),
                dir.join("boot-id"),
            );
            fs::write(dir.join("agent.toml"), config).expect("written");
            let mut state = StateDir::open(&dir.join("state"), Duration::ZERO).expect("opened");
            state.write_as(FileKind::Revision, &revision::three(port)).expect("written");
            state.write(FileKind::RingKeys, KEY.as_bytes()).expect("written");
            assert!(state.ring_keys().expect("read").is_some());
            let socket = dir.join("run/agent/agent.sock");
            Machine { dir, socket, agent: None, beside: Vec::new() }
        });
        let mut lab = Self { machines: machines.into(), _dir: dir };
        for node in 1..=3 {
            lab.start_agent(node);
        }
        lab
    }

    fn start_agent(&mut self, node: usize) {
        let state = self.machines[node - 1].dir.join("state");
        self.machines[node - 1].agent = Some(self.start_parts(node, &state, &[]));
    }

    /// What a container of one part sees of the run directory: `own` folders, and those of others, as `(name, whose)`. Returns
    /// its configuration.
    fn container(&self, node: usize, part: &str, own: &[&str], of: &[(&str, &Path)]) -> PathBuf {
        let machine = &self.machines[node - 1].dir;
        let run = machine.join(part);
        for folder in own {
            // as a kubelet makes them
            fs::create_dir_all(run.join(folder)).expect("made");
        }
        for (folder, whose) in of {
            std::os::unix::fs::symlink(whose.join(folder), run.join(folder)).expect("linked");
        }
        let config = fs::read_to_string(machine.join("agent.toml")).expect("written before");
        let rest = config.split_once('\n').expect("its first line names the run directory").1;
        let file = machine.join(format!("{part}.toml"));
        fs::write(&file, format!("run_dir = {run:?}\n{rest}")).expect("written");
        file
    }

    /// One supervisor of the machine, with the parts that `words` name.
    fn start_parts(&self, node: usize, state: &Path, words: &[&str]) -> Child {
        let config = self.machines[node - 1].dir.join("agent.toml");
        self.run_agent(env!("CARGO_BIN_EXE_palisade"), node, state, &config, words)
    }

    fn run_agent(
        &self,
        program: &str,
        node: usize,
        state: &Path,
        config: &Path,
        words: &[&str],
    ) -> Child {
        let machine = &self.machines[node - 1];
        let log = fs::OpenOptions::new().create(true).append(true).open(machine.dir.join("log"));
        Command::new(program)
            .args(["agent", "--node-name", &format!("ctl-{node}")])
            .args(["--namespace", "ha", "--cluster", "main", "--log-format", "json"])
            .args(["--kubeconfig", "/nonexistent/kubeconfig"])
            .arg("--state-dir")
            .arg(state)
            .arg("--config")
            .arg(config)
            .args(words)
            .env("PALISADE_LOG", std::env::var("PALISADE_LOG").unwrap_or_else(|_| "debug".into()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a log"))
            .spawn()
            .expect("started")
    }

    fn all_online(&self, node: usize) {
        self.until("all three are online", |lab| {
            let status = lab.status(node)?;
            let online = status.nodes.iter().filter(|node| node.state == "online").count();
            (online == 3 && status.era?.open).then_some(())
        });
    }

    /// As a service manager would.
    fn terminate_agent(&mut self, node: usize) {
        let mut agent = self.machines[node - 1].agent.take().expect("started");
        let pid = agent.id().to_string();
        assert!(Command::new("/bin/kill").args(["-TERM", &pid]).status().expect("run").success());
        let begun = Instant::now();
        let status = agent.wait().expect("gone");
        assert!(status.success(), "{status}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }

    fn palisade(&self, node: usize, words: &[&str]) -> (Option<i32>, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_palisade"))
            .args(words)
            .arg("--agent")
            .arg(&self.machines[node - 1].socket)
            .output()
            .expect("run");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    fn status(&self, node: usize) -> Option<Status> {
        let (_, out, _) = self.palisade(node, &["status", "--output", "json"]);
        serde_json::from_str(&out).ok()
    }

    fn until<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            if begun.elapsed() > LONG {
                for node in 1..=3 {
                    let (_, out, error) = self.palisade(node, &["status"]);
                    eprintln!("{out}{error}");
                    eprintln!("{}", self.palisade(node, &["timeline"]).1);
                }
                panic!("{what}: not within {LONG:?}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Memory and processor time of one settled agent, for whoever runs this by hand:
    /// `PALISADE_IDLE_SECONDS=30 PALISADE_LOG=info cargo test --release -p cli --test agents -- --nocapture`.
    fn tell_cost(&self, node: usize) {
        let seconds = std::env::var("PALISADE_IDLE_SECONDS").ok().and_then(|s| s.parse().ok());
        let seconds: u64 = seconds.unwrap_or(1);
        let agent = self.machines[node - 1].agent.as_ref().expect("started").id();
        let parts = fs::read_to_string(format!("/proc/{agent}/task/{agent}/children"));
        let mut pids: Vec<u32> =
            parts.unwrap_or_default().split(' ').filter_map(|pid| pid.parse().ok()).collect();
        pids.push(agent);
        let before: Vec<u64> = pids.iter().map(|pid| processor_ns(*pid)).collect();
        std::thread::sleep(Duration::from_secs(seconds));
        let (mut memory, mut processor) = (0, 0.0);
        for (pid, before) in pids.iter().zip(before) {
            let spent = processor_ns(*pid).saturating_sub(before);
            let percent = spent as f64 / (seconds as f64 * 1e7);
            let map = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            let pss = map.lines().find_map(|line| line.strip_prefix("Pss:"));
            let kib = pss.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let part =
                words.split('\0').skip_while(|w| *w != "--part").nth(1).unwrap_or("supervisor");
            println!("{part} {} KiB, {percent:.2} % of a core", kib.unwrap_or(0));
            memory += kib.unwrap_or(0);
            processor += percent;
        }
        println!("sum {memory} KiB, {processor:.2} % of a core");
    }

    /// (node, pid) of the resource's process.
    fn resource(&self) -> Option<(usize, u32)> {
        (1..=3).find_map(|node| Some((node, pid(&self.machines[node - 1].dir)?)))
    }
}

/// Time on a processor of all threads, by the scheduler's own count.
fn processor_ns(pid: u32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    threads
        .filter_map(|thread| {
            let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum()
}

/// From the record that the shim keeps.
fn pid(machine: &Path) -> Option<u32> {
    let folder = fs::read_dir(machine.join("run/resources")).ok()?.next()?.ok()?.path();
    let record = fs::read_to_string(folder.join("record.json")).ok()?;
    let record: serde_json::Value = serde_json::from_str(&record).ok()?;
    let pid = u32::try_from(record["process"]["pid"].as_u64()?).ok()?;
    Path::new(&format!("/proc/{pid}")).exists().then_some(pid)
}

impl Drop for Lab {
    fn drop(&mut self) {
        for machine in &mut self.machines {
            for agent in machine.agent.iter_mut().chain(&mut machine.beside) {
                let _ = agent.kill();
                let _ = agent.wait();
            }
            if let Some(pid) = pid(&machine.dir) {
                let _ = Command::new("/bin/kill").args(["-9", &pid.to_string()]).status();
            }
        }
    }
}

#[test]
fn three_agents_run_a_process_that_outlives_the_restart_of_its_agent_and_no_log_names_the_key() {
    let mut lab = Lab::start(42_201);
    let (holder, before) = lab.until("the process runs", Lab::resource);
    lab.until("its holder says so", |lab| {
        let status = lab.status(holder)?;
        let web = status.resources.iter().find(|r| r.id == "web")?;
        web.instances.iter().any(|i| i.role == "Started").then_some(())
    });
    let (code, text, error) = lab.palisade(holder, &["status"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(text.contains("quorate") && text.contains("web"), "{text}");
    assert!(!text.contains("disk"), "a first start has lost nothing: {text}");

    lab.tell_cost(holder);

    // killed, not asked: supervisor and parts are gone at once, the process stays
    let agent = lab.machines[holder - 1].agent.as_mut().expect("started");
    agent.kill().expect("killed");
    agent.wait().expect("gone");
    assert_eq!(lab.palisade(holder, &["status"]).0, Some(1), "nobody answers there");
    lab.start_agent(holder);
    lab.all_online(holder);
    assert_eq!(lab.resource(), Some((holder, before)), "the same process");

    // asked to end: it says for how long, and nobody does anything for longer than a crash would be waited for
    lab.terminate_agent(holder);
    std::thread::sleep(Duration::from_secs(7));
    assert_eq!(lab.resource(), Some((holder, before)), "the same process");
    let other = if holder == 1 { 2 } else { 1 };
    let seen = lab.status(other).expect("it answers");
    let commanded = seen.operations.iter().any(|operation| operation.attempts > 0);
    assert!(seen.quorate && !commanded, "nobody was fenced: {:?}", seen.operations);
    lab.start_agent(holder);
    lab.all_online(holder);
    assert_eq!(lab.resource(), Some((holder, before)), "the same process");

    // a verb of a person, refused and done
    let (code, _, error) = lab.palisade(holder, &["node", "standby", "nobody"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("no member is called nobody"), "{error}");
    let (code, _, error) = lab.palisade(holder, &["node", "standby", &format!("ctl-{holder}")]);
    assert_eq!(code, Some(0), "{error}");
    lab.until("it moved", |lab| lab.resource().filter(|(node, _)| *node != holder));

    for machine in &lab.machines {
        let log = fs::read_to_string(machine.dir.join("log")).expect("a log");
        assert!(!log.contains(CANARY), "the key stands in a log");
        assert!(log.lines().all(|line| line.starts_with('{')), "JSON lines only");
    }
}

/// Sockets that whoever has this directory can reach, by their paths in it.
fn sockets(dir: &Path) -> Vec<String> {
    use std::os::unix::fs::FileTypeExt as _;
    let mut found = Vec::new();
    for folder in fs::read_dir(dir).expect("read").flatten().filter(|entry| entry.path().is_dir()) {
        for file in fs::read_dir(folder.path()).expect("read").flatten() {
            if file.file_type().is_ok_and(|kind| kind.is_socket()) {
                let path = folder.path().join(file.file_name());
                let below = path.strip_prefix(dir).expect("below it");
                found.push(below.display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// As in the chart: each part has the folders of those whom it must reach, and nothing of the ring's state but the ring part.
#[test]
fn parts_that_see_only_their_folders_are_one_agent_and_no_fencer_reaches_the_socket_of_people() {
    let mut lab = Lab::start(42_231);
    let (holder, before) = lab.until("the process runs", Lab::resource);
    lab.terminate_agent(holder);
    let dir = lab.machines[holder - 1].dir.clone();
    let (run, ring_dir, fencer_dir) = (dir.join("run"), dir.join("ring"), dir.join("fencer"));
    for folder in ["agent", "fencer"] {
        fs::remove_dir_all(run.join(folder)).expect("of the agent that was whole");
    }
    let fencer = lab.container(holder, "fencer", &["fencer"], &[("watch", &run)]);
    let of = [("executor", run.as_path()), ("fencer", &fencer_dir)];
    let ring = lab.container(holder, "ring", &["agent"], &of);
    let program = env!("CARGO_BIN_EXE_palisade");
    let nothing = Path::new("/nonexistent/state");
    let state = dir.join("state");
    let bare = dir.join("fencer-state");
    let part = |lab: &Lab, state: &Path, config: &Path, part: &str| {
        lab.run_agent(program, holder, state, config, &["--parts", part])
    };
    let executor = part(&lab, nothing, &dir.join("agent.toml"), "executor");
    let fencing = part(&lab, &bare, &fencer, "fencer");
    let joined = part(&lab, &state, &ring, "ring");
    let machine = &mut lab.machines[holder - 1];
    machine.beside = vec![executor, fencing];
    machine.agent = Some(joined);
    machine.socket = ring_dir.join("agent/agent.sock");
    lab.all_online(holder);
    let away = |lab: &Lab| {
        let status = lab.status(holder)?;
        Some(status.conditions.iter().any(|c| c.kind == "ExecutorAway" || c.kind == "FencerAway"))
    };
    lab.until("its parts found each other", |lab| away(lab).filter(|away| !away));
    assert_eq!(lab.resource(), Some((holder, before)), "the same process");
    assert_eq!(sockets(&fencer_dir), ["fencer/fencer.sock", "watch/executor.sock"]);
    let reached = [
        "agent/agent.sock",
        "executor/executor.sock",
        "executor/fencer.sock",
        "fencer/fencer.sock",
    ];
    assert_eq!(sockets(&ring_dir), reached);
    assert_eq!(
        sockets(&run),
        ["executor/executor.sock", "executor/fencer.sock", "watch/executor.sock"]
    );

    // the fencer alone is of the version before: it listens in the run directory itself, and the executor leads there
    let fencer = &mut lab.machines[holder - 1].beside[1];
    fencer.kill().expect("killed");
    fencer.wait().expect("gone");
    lab.until("its absence is said", |lab| away(lab).filter(|away| *away));
    let machine = &lab.machines[holder - 1];
    let again = match std::env::var("PALISADE_BEFORE") {
        Ok(program) => {
            lab.run_agent(&program, holder, &bare, &dir.join("agent.toml"), &["--parts", "fencer"])
        }
        Err(_) => {
            let older = lab.container(holder, "older", &["fencer"], &[("watch", &run)]);
            let again = lab.run_agent(program, holder, &bare, &older, &["--parts", "fencer"]);
            let new = dir.join("older/fencer/fencer.sock");
            let begun = Instant::now();
            while fs::rename(&new, machine.dir.join("run/fencer.sock")).is_err() {
                assert!(begun.elapsed() < LONG, "it listens");
                std::thread::sleep(Duration::from_millis(20));
            }
            again
        }
    };
    lab.machines[holder - 1].beside[1] = again;
    lab.until("it is led to it", |lab| away(lab).filter(|away| !away));
    assert_eq!(lab.resource(), Some((holder, before)), "the same process");
}

/// Pid of a part, by its supervisor.
fn part(supervisor: u32, name: &str) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children"));
    children.ok()?.split_whitespace().filter_map(|pid| pid.parse().ok()).find(|pid| {
        let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split('\0').skip_while(|word| *word != "--part").nth(1) == Some(name)
    })
}

#[test]
fn a_ring_part_gives_root_up_and_its_state_is_root_s_before_and_after() {
    if !rustix::process::geteuid().is_root() {
        println!("NOT RUN: giving root up needs root");
        return;
    }
    let mut lab = Lab::start(42_241);
    let (holder, before) = lab.until("the process runs", Lab::resource);
    lab.terminate_agent(holder);
    let dir = lab.machines[holder - 1].dir.clone();
    for folder in [&dir, dir.parent().expect("the test's")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o711)).expect("passed through");
    }
    let file = dir.join("agent.toml");
    let as_root = fs::read_to_string(&file).expect("written before");
    fs::write(&file, format!("{as_root}[ring_user]\nuid = 65533\ngid = 65532\n")).expect("written");
    lab.start_agent(holder);
    let well = |lab: &Lab| {
        lab.all_online(holder);
        let missed = ["ExecutorAway", "FencerAway", "StateDirectoryFailing", "StateSetAside"];
        lab.until("its parts found each other", |lab| {
            let status = lab.status(holder)?;
            (!status.conditions.iter().any(|c| missed.contains(&c.kind.as_str()))).then_some(())
        });
        assert_eq!(lab.resource(), Some((holder, before)), "the same process");
    };
    well(&lab);
    let supervisor = |lab: &Lab| lab.machines[holder - 1].agent.as_ref().expect("started").id();
    let ring = part(supervisor(&lab), "ring").expect("a ring part");
    let threads: Vec<_> =
        fs::read_dir(format!("/proc/{ring}/task")).expect("it runs").flatten().collect();
    assert!(threads.len() >= 3, "main, ring, persist");
    for thread in threads {
        let status = fs::read_to_string(thread.path().join("status")).expect("read");
        let says = |key: &str| -> Vec<&str> {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or("missing").split_whitespace().collect()
        };
        assert_eq!(says("Uid:"), ["65533"; 4], "{status}");
        assert_eq!(says("Gid:"), ["65532"; 4], "{status}");
        assert_eq!(says("Groups:"), ["65532"], "{status}");
        assert_eq!(says("NoNewPrivs:"), ["1"], "{status}");
        for set in ["CapEff:", "CapPrm:", "CapInh:", "CapAmb:"] {
            let held = u64::from_str_radix(says(set)[0], 16).expect("a number");
            assert_eq!(held & !(1 << 14), 0, "IPC_LOCK at most: {status}");
        }
    }
    let state = dir.join("state");
    for found in fs::read_dir(&state).expect("read").flatten() {
        let owner = found.metadata().expect("there").uid();
        assert_eq!(owner, 0, "the version before reads {:?} too", found.path());
    }

    // killed, it comes back as before; asked to end, it ends; and as root it goes on where it was
    let ring = ring.to_string();
    assert!(Command::new("/bin/kill").args(["-9", &ring]).status().expect("run").success());
    lab.until("a new one", |lab| {
        part(supervisor(lab), "ring").filter(|new| new.to_string() != ring)
    });
    well(&lab);
    lab.terminate_agent(holder);
    fs::write(&file, as_root).expect("written");
    match std::env::var("PALISADE_BEFORE") {
        Ok(program) => {
            let again = lab.run_agent(&program, holder, &state, &file, &[]);
            let machine = &mut lab.machines[holder - 1];
            (machine.agent, machine.socket) = (Some(again), dir.join("run/agent.sock"));
        }
        Err(_) => lab.start_agent(holder),
    }
    well(&lab);
}

/// Executor and fencer know the run directory of the machine and nothing of the ring's state.
#[test]
fn an_agent_whose_parts_have_supervisors_of_their_own_is_one_member_and_each_restarts_alone() {
    let mut lab = Lab::start(42_211);
    let (holder, _) = lab.until("the process runs", Lab::resource);
    lab.terminate_agent(holder);
    let state = lab.machines[holder - 1].dir.join("state");
    let bare = lab.machines[holder - 1].dir.join("fencer-state");
    let nothing = Path::new("/nonexistent/state");
    let beside = vec![
        lab.start_parts(holder, nothing, &["--parts", "executor"]),
        lab.start_parts(holder, &bare, &["--parts", "fencer"]),
    ];
    lab.machines[holder - 1].beside = beside;
    let ring = lab.start_parts(holder, &state, &["--parts", "ring"]);
    lab.machines[holder - 1].agent = Some(ring);
    lab.all_online(holder);
    let (where_, before) = lab.until("the process runs", Lab::resource);
    let away = |lab: &Lab| {
        let status = lab.status(holder)?;
        Some(status.conditions.iter().any(|c| c.kind == "ExecutorAway" || c.kind == "FencerAway"))
    };
    lab.until("its parts found each other", |lab| away(lab).filter(|away| !away));
    assert!(bare.join("fencer").is_dir(), "its credentials lie apart from the ring's state");

    // the ring part alone, asked to end and started again: nobody is fenced, the process stays
    lab.terminate_agent(holder);
    let ring = lab.start_parts(holder, &state, &["--parts", "ring"]);
    lab.machines[holder - 1].agent = Some(ring);
    lab.all_online(holder);
    assert_eq!(lab.resource(), Some((where_, before)), "the same process");

    // the executor alone, killed: it finds what it left
    let executor = &mut lab.machines[holder - 1].beside[0];
    executor.kill().expect("killed");
    executor.wait().expect("gone");
    lab.until("its absence is said", |lab| away(lab).filter(|away| *away));
    let again = lab.start_parts(holder, nothing, &["--parts", "executor"]);
    lab.machines[holder - 1].beside[0] = again;
    lab.until("it is back", |lab| away(lab).filter(|away| !away));
    assert_eq!(lab.resource(), Some((where_, before)), "the same process");
}

#[test]
fn a_suspended_cluster_outlives_all_its_agents_and_is_adopted_by_the_next() {
    let mut lab = Lab::start(42_221);
    let (holder, before) = lab.until("the process runs", Lab::resource);
    lab.all_online(holder);
    let other = if holder == 1 { 2 } else { 1 };

    // refused while one is away, with the way out
    lab.terminate_agent(other);
    lab.until("it is missed", |lab| {
        let status = lab.status(holder)?;
        let online = status.nodes.iter().filter(|n| n.state == "online").count();
        (online == 2 && status.era?.open).then_some(())
    });
    let (code, _, error) = lab.palisade(holder, &["suspend"]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("start its agent"), "{error}");
    lab.start_agent(other);
    lab.all_online(holder);

    let (code, said, error) = lab.palisade(other, &["suspend"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(said.contains("The agents may be stopped now"), "{said}");
    let suspended = |lab: &Lab, node| {
        let status = lab.status(node)?;
        Some(status.conditions.iter().any(|c| c.kind == "Suspended"))
    };
    assert_eq!(suspended(&lab, holder), Some(true));
    for node in 1..=3 {
        assert!(
            lab.machines[node - 1].dir.join("run/suspended").exists(),
            "each executor notes it"
        );
    }
    // said twice is said once, also when the rings have stopped
    lab.until("its ring has stopped", |lab| (!lab.status(holder)?.quorate).then_some(()));
    let (code, _, error) = lab.palisade(holder, &["suspend"]);
    assert_eq!(code, Some(0), "{error}");
    for node in 1..=3 {
        lab.terminate_agent(node);
    }
    assert_eq!(lab.resource(), Some((holder, before)), "nothing is left but what was served");

    // two come back, and wait for longer than anybody is waited for
    for node in [holder, other] {
        lab.start_agent(node);
    }
    lab.until("two are back", |lab| lab.status(other)?.era?.open.then_some(()));
    std::thread::sleep(Duration::from_millis(5500));
    let seen = lab.status(other).expect("it answers");
    assert!(
        seen.operations.iter().all(|operation| operation.attempts == 0),
        "{:?}",
        seen.operations
    );
    assert_eq!(suspended(&lab, other), Some(true));
    assert_eq!(lab.resource(), Some((holder, before)), "the same process");

    lab.start_agent((1..=3).find(|n| ![holder, other].contains(n)).expect("the third"));
    lab.all_online(holder);
    lab.until("the suspension is over", |lab| suspended(lab, holder).filter(|yes| !yes));
    for node in 1..=3 {
        lab.until("its executor has heard so", |lab| {
            (!lab.machines[node - 1].dir.join("run/suspended").exists()).then_some(())
        });
    }
    assert_eq!(lab.resource(), Some((holder, before)), "the same process");

    // and it is a cluster again
    let (code, _, error) = lab.palisade(holder, &["node", "standby", &format!("ctl-{holder}")]);
    assert_eq!(code, Some(0), "{error}");
    lab.until("it moved", |lab| lab.resource().filter(|(node, _)| *node != holder));

    // who leaves for good ends well, and may stay for its kubelet's sake
    let (code, _, error) = lab.palisade(holder, &["node", "leave"]);
    assert_eq!(code, Some(0), "{error}");
    let status = lab.machines[holder - 1].agent.as_mut().expect("started").wait().expect("gone");
    assert_eq!(status.code(), Some(0), "a unit with Restart=on-failure stays ended");
}
