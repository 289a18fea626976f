//! The lab and its observer, tried on machines that nobody manages: what a cut, a freeze, a BMC
//! and an overlap look like must be known before anything is judged by them.
//!
//! They need root and the packages of `cargo lab install`; `cargo lab test` runs them.

use e2e::bmc::{self, BmcFaults};
use e2e::clock::{monotonic_ns, wait_until};
use e2e::command::attempt;
use e2e::lab::{Lab, LabSpec};
use e2e::machine::{BootEntry, Machine};
use e2e::network::{self, Direction, Network};
use e2e::observation::{Observation, vip};
use e2e::observer::events::What;
use e2e::power::{self, PowerEvent};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// A lab of its own for each test, ended whatever happens.
struct Fresh(Lab);

impl Fresh {
    fn up(name: &str) -> Self {
        let spec = LabSpec { boot_delay_ms: 0, ..LabSpec::three(name) };
        let lab = Lab::create(&Lab::default_dir(name), spec, Path::new(env!("CARGO_BIN_EXE_e2e")));
        let fresh = Self(lab.expect("a lab"));
        for machine in fresh.0.machines() {
            machine.set_boot_list(&[web(&fresh.0)]).expect("a boot list");
            power::on(&machine, "test").expect("power");
        }
        fresh
    }

    fn machine(&self, name: &str) -> Machine {
        self.0.machine(name).expect("a machine")
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        self.0.down().expect("down");
        self.0.purge().expect("purge");
        assert!(self.0.namespaces().all().iter().all(|n| !network::namespace_exists(n)));
    }
}

fn web(lab: &Lab) -> BootEntry {
    let argv = vec![lab.program("e2e").display().to_string(), "serve-node-id".into()];
    BootEntry { name: "web".into(), argv, env: Default::default(), restart_ms: Some(100) }
}

/// Connects from the client's namespace.
fn connect(lab: &Lab, address: std::net::Ipv4Addr) -> std::io::Result<TcpStream> {
    let namespace = lab.namespaces().client();
    let thread = std::thread::spawn(move || {
        network::enter(&namespace).expect("the client's namespace");
        TcpStream::connect_timeout(&SocketAddr::from((address, 80)), Duration::from_millis(500))
    });
    thread.join().expect("no panic")
}

fn ask(lab: &Lab, address: std::net::Ipv4Addr) -> Option<String> {
    let mut stream = connect(lab, address).ok()?;
    stream.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.lines().last().map(str::to_owned)
}

fn answers(lab: &Lab, machine: &Machine) -> bool {
    ask(lab, machine.address(Network::Public)).as_deref() == Some(machine.name())
}

fn soon(what: &str, done: impl FnMut() -> bool) {
    assert!(wait_until(Duration::from_secs(5), done), "{what} within 5 s");
}

fn ipmi(machine: &Machine, words: &[&str]) -> Result<String, String> {
    ipmi_from(&format!("/run/netns/{}", machine.lab().namespaces().bmc()), machine, words)
}

fn ipmi_from(namespace: &str, machine: &Machine, words: &[&str]) -> Result<String, String> {
    let net = format!("--net={namespace}");
    let (address, password) =
        (machine.bmc_address().to_string(), bmc::password(machine).expect("one"));
    let tool = [&net, "ipmitool", "-I", "lanplus", "-C", "3", "-N", "1", "-R", "1", "-H", &address];
    let argv = [&tool[..], &["-U", bmc::USER, "-P", &password], words].concat();
    let output = attempt("nsenter", &argv).expect("ipmitool");
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() { Ok(text) } else { Err(e2e::command::said(&output)) }
}

#[test]
#[ignore = "needs root: cargo lab test"]
fn a_power_cut_is_silent_a_crash_says_goodbye() {
    let fresh = Fresh::up("tcut");
    let (cut, crashed) = (fresh.machine("n1"), fresh.machine("n2"));
    soon("both answer", || answers(&fresh.0, &cut) && answers(&fresh.0, &crashed));
    let mut held = [&cut, &crashed].map(|m| {
        let stream = connect(&fresh.0, m.address(Network::Public)).expect("it answers");
        stream.set_read_timeout(Some(Duration::from_millis(700))).expect("set");
        stream
    });
    assert_eq!(power::off(&cut, "test").expect("off"), PowerEvent::Dead);
    assert_eq!(power::crash(&crashed, "test").expect("crash"), PowerEvent::Dead);
    let silence = held[0].read(&mut [0; 8]).expect_err("nothing comes from the dead");
    assert_eq!(silence.kind(), std::io::ErrorKind::WouldBlock);
    match held[1].read(&mut [0; 8]) {
        Ok(0) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        Ok(n) => panic!("{n} bytes out of nowhere"),
    }
}

#[test]
#[ignore = "needs root: cargo lab test"]
fn a_machine_keeps_its_disk_and_loses_the_rest() {
    let fresh = Fresh::up("tdisk");
    let n1 = fresh.machine("n1");
    let boot_id = || n1.exec(&["cat", "/proc/sys/kernel/random/boot_id"]).expect("boot id");
    let before = boot_id();
    assert_eq!(before.trim(), n1.running().expect("fine").expect("on").boot_id);
    for path in ["/var/lib/kept", "/etc/kept", "/root/kept", "/run/lost", "/tmp/lost"] {
        n1.exec(&["touch", path]).expect("touch");
    }
    assert!(!Path::new("/var/lib/kept").exists(), "the host's own folder is untouched");
    assert_eq!(n1.exec(&["hostname"]).expect("hostname").trim(), "n1");
    assert_eq!(power::reset(&n1, "test").expect("reset"), PowerEvent::Live);
    n1.exec(&["ls", "/var/lib/kept", "/etc/kept", "/root/kept"]).expect("all kept");
    for path in ["/run/lost", "/tmp/lost"] {
        n1.exec(&["ls", path]).expect_err(path);
    }
    assert_ne!(boot_id(), before);
    assert_eq!(power::on(&n1, "test").expect("on"), PowerEvent::Nothing, "twice is once");
}

#[test]
#[ignore = "needs root: cargo lab test"]
fn a_frozen_machine_answers_below_and_not_above() {
    let fresh = Fresh::up("tfreeze");
    let n1 = fresh.machine("n1");
    soon("it answers", || answers(&fresh.0, &n1));
    n1.freeze().expect("freeze");
    connect(&fresh.0, n1.address(Network::Public)).expect("its kernel accepts");
    assert_eq!(ask(&fresh.0, n1.address(Network::Public)), None);
    n1.exec(&["true"]).expect("a command on it does not hang");
    n1.thaw().expect("thaw");
    assert!(answers(&fresh.0, &n1));
    n1.freeze().expect("freeze");
    assert_eq!(power::off(&n1, "test").expect("off"), PowerEvent::Dead, "frozen or not");
}

#[test]
#[ignore = "needs root: cargo lab test"]
fn cut_cables_stay_cut_and_muting_is_one_way() {
    let fresh = Fresh::up("tmute");
    let (n1, n2) = (fresh.machine("n1"), fresh.machine("n2"));
    soon("both answer", || answers(&fresh.0, &n1) && answers(&fresh.0, &n2));
    n1.cut(&[Network::Public]).expect("cut");
    assert!(!answers(&fresh.0, &n1));
    power::reset(&n1, "test").expect("reset");
    assert!(wait_until(Duration::from_secs(2), || !n1.processes_with("serve-node-id").is_empty()));
    assert!(!answers(&fresh.0, &n1), "still cut after a power cycle");
    n1.heal(&[Network::Public]).expect("heal");
    soon("healed", || answers(&fresh.0, &n1));
    let pid = n2.running().expect("fine").expect("on").init.pid;
    for direction in [Direction::In, Direction::Out] {
        network::mute(pid, Network::Public, direction, None).expect("mute");
        assert!(!answers(&fresh.0, &n2), "{direction:?}");
        network::unmute(pid).expect("unmute");
        soon("unmuted", || answers(&fresh.0, &n2));
        let other = n1.address(Network::Public);
        network::mute(pid, Network::Public, direction, Some(other)).expect("mute one peer");
        assert!(answers(&fresh.0, &n2), "the client is not that peer");
        network::unmute(pid).expect("unmute");
    }
}

#[test]
#[ignore = "needs root: cargo lab test"]
fn a_bmc_switches_its_machine_and_can_misbehave() {
    let fresh = Fresh::up("tbmc");
    let n1 = fresh.machine("n1");
    let is = |wanted: &str| {
        assert_eq!(ipmi(&n1, &["power", "status"]), Ok(format!("Chassis Power is {wanted}")))
    };
    is("on");
    ipmi(&n1, &["power", "off"]).expect("off");
    assert!(!n1.is_on(), "true when the answer is there");
    is("off");
    ipmi(&n1, &["power", "on"]).expect("on");
    assert!(n1.is_on());
    let guid: String = ipmi(&n1, &["raw", "0x06", "0x37"]).expect("Get System GUID");
    let guid: String = guid.split_whitespace().collect();
    assert_eq!(guid, n1.system_uuid().expect("uuid").simple().to_string());
    bmc::set_faults(&n1, &BmcFaults { lie: true, ..Default::default() }).expect("lie");
    ipmi(&n1, &["power", "off"]).expect("it says so");
    is("off");
    assert!(n1.is_on(), "a lie");
    bmc::set_faults(&n1, &BmcFaults { refuse: true, ..Default::default() }).expect("refuse");
    ipmi(&n1, &["power", "off"]).expect_err("refused");
    is("on");
    bmc::set_faults(&n1, &BmcFaults { late_ms: 700, ..Default::default() }).expect("late");
    ipmi(&n1, &["power", "off"]).expect("answered at once");
    is("on");
    soon("it happens", || !n1.is_on());
    is("off");
    bmc::set_faults(&n1, &BmcFaults::default()).expect("behave");
    ipmi(&n1, &["power", "on"]).expect("on");
    bmc::set_reachable(&n1, false).expect("vanish");
    ipmi(&n1, &["power", "status"]).expect_err("nobody answers");
    bmc::set_reachable(&n1, true).expect("return");
    is("on");
}

#[test]
#[ignore = "needs root: cargo lab test"]
fn power_commands_at_once_have_one_effect() {
    let fresh = Fresh::up("trace");
    let n1 = fresh.machine("n1");
    let at_once = |command: fn(&Machine, &str) -> anyhow::Result<PowerEvent>, effect| {
        let threads: Vec<_> = (0..6)
            .map(|_| {
                let n1 = n1.clone();
                std::thread::spawn(move || command(&n1, "test").expect("it works"))
            })
            .collect();
        let effects: Vec<_> = threads.into_iter().map(|t| t.join().expect("no panic")).collect();
        assert_eq!(effects.iter().filter(|e| **e == effect).count(), 1, "{effects:?}");
    };
    at_once(power::off, PowerEvent::Dead);
    at_once(power::on, PowerEvent::Live);
}

#[test]
#[ignore = "needs root: cargo lab test"]
fn a_machine_that_reboots_itself_comes_back_as_another_boot() {
    let fresh = Fresh::up("tboot");
    let n1 = fresh.machine("n1");
    let before = n1.running().expect("fine").expect("on");
    // SysRq is the host's; reboot(2) is the pid namespace's. The lab's program calls it.
    let program = fresh.0.program("e2e").display().to_string();
    let _ = n1.exec(&[&program, "reboot-machine"]);
    soon("it is back", || {
        n1.running().expect("fine").is_some_and(|now| now.boot_id != before.boot_id)
    });
    soon("it serves", || answers(&fresh.0, &n1));
    assert!(!before.init.is_alive());
}

#[test]
#[ignore = "needs root: cargo lab test"]
fn a_watchdog_that_is_not_fed_resets_its_machine_even_frozen() {
    let fresh = Fresh::up("tdog");
    let n1 = fresh.machine("n1");
    let boot = || n1.running().expect("fine").map(|r| r.boot_id);
    let before = boot();
    let mut dog =
        std::os::unix::net::UnixStream::connect(e2e::watchdog::socket(&n1)).expect("it listens");
    dog.write_all(b"arm 500\n").expect("said");
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(200));
        dog.write_all(b"feed\n").expect("fed");
    }
    assert_eq!(boot(), before, "fed for 1 s");
    n1.freeze().expect("freeze");
    soon("it is another boot", || boot().is_some_and(|now| Some(now) != before));
    std::thread::sleep(Duration::from_millis(700));
    let second = boot();
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(boot(), second, "a new life begins disarmed");
    let log = power::read_log(fresh.0.dir()).expect("a log");
    assert!(log.iter().any(|l| l.caller == "watchdog" && l.event == PowerEvent::Dead));
}

#[test]
#[ignore = "needs root: cargo lab test"]
fn a_process_frozen_alone_outlives_sigkill_and_not_the_power() {
    let fresh = Fresh::up("tstuck");
    let n1 = fresh.machine("n1");
    soon("it runs", || !n1.processes_with("serve-node-id").is_empty());
    let pid = n1.processes_with("serve-node-id")[0];
    if !n1.groups().expect("groups").freeze_alone(pid).expect("frozen") {
        return; // cgroup v2 only: a frozen process dies there
    }
    let record = e2e::records::ProcessRecord::of(pid).expect("it is there");
    record.kill_and_wait(Duration::from_millis(500)).expect_err("not even SIGKILL");
    assert_eq!(power::off(&n1, "test").expect("off"), PowerEvent::Dead);
    assert!(!record.is_alive());
}

#[test]
#[ignore = "needs root: cargo lab test"]
fn what_a_crashed_lab_left_is_ended_by_its_records() {
    let fresh = Fresh::up("tagain");
    let before: Vec<_> =
        fresh.0.machines().iter().map(|m| m.running().expect("fine").expect("on").init).collect();
    let spec = fresh.0.spec().clone();
    let again =
        Lab::create(fresh.0.dir(), spec, Path::new(env!("CARGO_BIN_EXE_e2e"))).expect("again");
    assert!(before.iter().all(|init| !init.is_alive()));
    assert!(again.machines().iter().all(|m| !m.is_on()));
    assert_eq!(again.services().expect("records").len(), 3, "its BMCs");
}

#[test]
#[ignore = "needs root: cargo lab test"]
fn init_starts_again_what_asked_for_it() {
    let fresh = Fresh::up("tinit");
    let n1 = fresh.machine("n1");
    soon("it runs", || n1.processes_with("serve-node-id").len() == 1);
    let first = n1.processes_with("serve-node-id")[0];
    let record = e2e::records::ProcessRecord::of(first).expect("it runs");
    record.kill_and_wait(Duration::from_secs(2)).expect("killed");
    soon("another runs", || {
        let now = n1.processes_with("serve-node-id");
        now.len() == 1 && now[0] != first
    });
}

#[test]
#[ignore = "needs root: cargo lab test"]
fn the_observer_sees_an_address_and_a_process_on_two_machines() {
    let fresh = Fresh::up("tred");
    let lab = &fresh.0;
    let (n1, n2, n3) = (fresh.machine("n1"), fresh.machine("n2"), fresh.machine("n3"));
    // One holder of address and process to begin with.
    for machine in [&n2, &n3] {
        machine.set_boot_list(&[]).expect("nothing to start");
        power::reset(machine, "test").expect("reset");
    }
    let out = lab.dir().join("events.jsonl");
    let observer = Path::new(env!("CARGO_BIN_EXE_observer"));
    let observation = Observation::start(lab, observer, &out).expect("an observer");
    let address = format!("{}/32", vip());
    let add = |m: &Machine| m.exec(&["ip", "address", "add", &address, "dev", "public"]).map(drop);
    let remove =
        |m: &Machine| m.exec(&["ip", "address", "delete", &address, "dev", "public"]).map(drop);
    add(&n1).expect("added");
    std::thread::sleep(Duration::from_millis(800));
    let green = observation.verdict().expect("a verdict");
    assert_eq!(green.blind, Vec::<String>::new());
    assert_eq!(green.overlap_ms(), 0.0, "{green:?}");
    assert!(green.http_good > 20, "{green:?}");

    // Twice the address.
    let begun = monotonic_ns();
    add(&n2).expect("added twice");
    std::thread::sleep(Duration::from_millis(900));
    remove(&n2).expect("removed");
    std::thread::sleep(Duration::from_millis(300));
    let red = observation.verdict_since(begun).expect("a verdict");
    let overlap = red.address_overlap_ms[&vip().to_string()];
    assert!((880.0..1200.0).contains(&overlap), "{overlap}");
    assert_eq!(red.process_overlap_ms["web"], 0.0);
    assert!(red.double_answers[&vip().to_string()] >= 3, "{red:?}");

    // Twice the process.
    let begun = monotonic_ns();
    let program = lab.program("e2e").display().to_string();
    n2.set_boot_list(&[web(lab)]).expect("a boot list");
    power::reset(&n2, "test").expect("reset");
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(n2.processes_with("serve-node-id").len(), 1, "{program} runs");
    power::off(&n2, "test").expect("off");
    std::thread::sleep(Duration::from_millis(100));
    let red = observation.verdict_since(begun).expect("a verdict");
    let overlap = red.process_overlap_ms["web"];
    assert!((500.0..1200.0).contains(&overlap), "{overlap}");
    assert_eq!(red.address_overlap_ms[&vip().to_string()], 0.0);

    // A shot: who, by whom, and the gap that it causes.
    let begun = monotonic_ns();
    let n3_network = format!("/proc/{}/ns/net", n3.running().expect("fine").expect("on").init.pid);
    ipmi_from(&n3_network, &n1, &["power", "off"]).expect("shot");
    std::thread::sleep(Duration::from_millis(500));
    n3.set_boot_list(&[web(lab)]).expect("a boot list");
    power::reset(&n3, "test").expect("reset");
    soon("its network is up", || add(&n3).is_ok());
    std::thread::sleep(Duration::from_millis(1500));
    let cut = observation.verdict_since(begun).expect("a verdict");
    assert_eq!(cut.overlap_ms(), 0.0, "{cut:?}");
    let gap = cut.longest_gap.expect("served before and after");
    assert_eq!((gap.from.as_str(), gap.to.as_str()), ("n1", "n3"));
    assert!((500.0..3000.0).contains(&gap.ms()), "{gap:?}");
    assert_eq!(cut.shots.len(), 1, "{:?}", cut.shots);
    assert!(cut.shots[0].dead_ns.is_some());
    assert_eq!(cut.shots[0].by, Some(n3.address(Network::Bmc)));
    // Of IPv6 the kernel notifies only after duplicate detection; a dump sees the tentative ones.
    let late = |e: &e2e::observer::events::Event| match &e.what {
        What::AddressAdded { by_dump, address, .. }
        | What::AddressRemoved { by_dump, address, .. } => *by_dump && address.is_ipv4(),
        _ => false,
    };
    let missed: Vec<_> = observation.events().expect("events").into_iter().filter(late).collect();
    assert_eq!(missed, [], "notifications were missed");
    let n3_network = format!("/proc/{}/ns/net", n3.running().expect("fine").expect("on").init.pid);
    let entered = std::fs::File::open(&n3_network).expect("n3 is on");
    let speaker = std::thread::spawn(move || {
        nix::sched::setns(entered, nix::sched::CloneFlags::CLONE_NEWNET).expect("its network");
        e2e::observer::packets::announce(Network::Public, vip()).expect("announced");
    });
    speaker.join().expect("no panic");
    std::thread::sleep(Duration::from_millis(300));
    let announced = |e: &e2e::observer::events::Event| matches!(e.what, What::Announced { .. });
    assert!(observation.events().expect("events").iter().any(announced), "an announcement");
    observation.stop().expect("stopped");
}
