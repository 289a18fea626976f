//! `cargo lab`: the lab's commands.

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use e2e::kubebox::{KubeBox, Parts};
use e2e::lab::{self, Lab, LabSpec};
use e2e::network::Network;
use e2e::scenario::stack::Options;
use e2e::with_api::Beside;
use e2e::{bmc, image, init, install, kubelets, network, node_id, power, relay};
use e2e::{idle, powercuts, product, quickstart, sabotage, scenario, suite};
use std::path::PathBuf;
use std::process::ExitCode;

/// Machines of namespaces, BMCs with real power, a real Kubernetes API.
#[derive(Parser)]
#[command(name = "lab", version)]
struct Cli {
    /// Which lab: several can be up beside each other.
    #[arg(long, global = true, default_value = "lab")]
    name: String,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install the packages that the lab needs, and try the kernel.
    Install,
    /// Make a lab and power its machines on.
    Up {
        /// From power-on to the first sign of life.
        #[arg(long, default_value_t = 6000)]
        boot_delay_ms: u64,
        /// Without a Kubernetes API.
        #[arg(long)]
        no_api: bool,
    },
    /// Run kubectl against the lab's API server.
    Kubectl {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Start a real API server, run a command beside it (KUBECONFIG, kubectl, helm), end the server.
    Api {
        #[arg(trailing_var_arg = true, required = true)]
        argv: Vec<String>,
    },
    /// Set everything up, pull a plug, show what happens. The lab stays up.
    Quickstart {
        #[command(flatten)]
        with: With,
    },
    /// Run everything that must pass, or the named steps of it.
    Test {
        only: Vec<String>,
        #[command(flatten)]
        with: With,
    },
    /// Run a scenario (or all of them) in a fresh lab; its verdict goes to OUT/NAME/verdict.json.
    Scenario {
        scenario: String,
        /// With `all`: as many at one time, each in a lab of its own.
        #[arg(long, default_value_t = 1)]
        beside: usize,
        #[command(flatten)]
        with: With,
    },
    /// Break one rule of the product, and see the scenario that must notice; or all of them.
    Sabotage {
        which: String,
        /// As many at one time, each in a lab of its own.
        #[arg(long, default_value_t = 1)]
        beside: usize,
        #[command(flatten)]
        with: With,
    },
    /// Make the product's image as an OCI archive, with its bill of materials, and try it.
    Image {
        /// A static build of the product; built when it is missing.
        #[arg(long)]
        program: Option<PathBuf>,
        /// In place of the version.
        #[arg(long)]
        tag: Option<String>,
        #[arg(long, default_value = "target/image")]
        out: PathBuf,
    },
    /// The chart on machines with real kubelets: install, power cut, test, upgrade, rollback, removal.
    Kubelets {
        /// Only these parts, after the install.
        only: Vec<String>,
        /// An archive of `cargo lab image`; made when it is missing.
        #[arg(long)]
        image: Option<PathBuf>,
        /// A commit or tag: that version's chart and image are installed, upgraded to this one, rolled back to.
        #[arg(long, value_name = "COMMIT")]
        before: Option<String>,
        /// Agents as units of the machines; all of them lose power while the API is away.
        #[arg(long, conflicts_with_all = ["before", "static_pods", "containers"])]
        units: bool,
        /// Agents as static pods of the machines; replaced by another file, and then all machines lose power while the API is away.
        #[arg(long = "static", conflicts_with_all = ["before", "containers"])]
        static_pods: bool,
        /// The service comes as an image: the agents run it as a container of the machine's containerd.
        #[arg(long, conflicts_with = "before")]
        containers: bool,
        #[command(flatten)]
        with: With,
    },
    /// Measure what the agents use while nothing happens.
    Idle {
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        #[command(flatten)]
        with: With,
    },
    /// Cut the holder's power again and again, and measure.
    Powercuts {
        #[arg(long, default_value_t = 20)]
        count: usize,
        /// Each cut once more with API server and controller stopped.
        #[arg(long)]
        api_down_interleaved: bool,
        #[command(flatten)]
        with: With,
    },
    /// End everything that the lab has recorded. Disks and logs stay.
    Down {
        /// Remove these too.
        #[arg(long)]
        purge: bool,
    },
    /// Say what is on.
    Status,
    /// Press a machine's power button.
    Power { machine: String, action: Power },
    /// Pull cables of a machine: those named, or all.
    Cut { machine: String, networks: Vec<Network> },
    /// Put cables back, end muting: those named, or all.
    Heal { machine: String, networks: Vec<Network> },
    /// Lose one direction of a machine's traffic on a network without anybody being told.
    Mute {
        machine: String,
        network: Network,
        direction: network::Direction,
        /// Only what is exchanged with this machine.
        #[arg(long)]
        peer: Option<String>,
    },
    /// Freeze a whole machine; its kernel goes on answering.
    Freeze { machine: String },
    /// Let it go on.
    Thaw { machine: String },
    /// Run a command on a machine.
    Exec {
        machine: String,
        #[arg(trailing_var_arg = true, required = true)]
        argv: Vec<String>,
    },
    /// Make a machine's BMC misbehave (no option: behave again).
    Bmc {
        machine: String,
        /// Nothing answers.
        #[arg(long)]
        unreachable: bool,
        /// Each command takes this much longer.
        #[arg(long, default_value_t = 0)]
        delay_ms: u64,
        /// Power-off is answered at once and happens this much later.
        #[arg(long, default_value_t = 0)]
        late_ms: u64,
        /// Power commands take this long and then fail.
        #[arg(long, default_value_t = 0)]
        hang_ms: u64,
        /// Power commands fail.
        #[arg(long)]
        refuse: bool,
        /// Power commands succeed and do nothing.
        #[arg(long)]
        lie: bool,
    },
    /// Answer HTTP requests with the host's name.
    #[command(alias = "answer-node-id")]
    ServeNodeId {
        #[arg(long, default_value_t = 80)]
        port: u16,
    },
    /// A BMC's late effect.
    #[command(hide = true)]
    PressLater { dir: PathBuf, machine: String, action: String, late_ms: u64 },
    /// A BMC's hook.
    #[command(hide = true)]
    Chassis {
        dir: PathBuf,
        machine: String,
        #[arg(trailing_var_arg = true)]
        words: Vec<String>,
    },
    /// Carry connections from one namespace to another.
    #[command(hide = true)]
    Relay {
        listen: String,
        to: String,
        #[arg(long)]
        listen_in: Option<String>,
        #[arg(long)]
        namespace: Option<String>,
    },
    /// Reboot the machine on which this runs: refused outside of the lab's machines.
    #[command(hide = true)]
    RebootMachine,
    /// Stands beside a machine and boots it again when it reboots itself.
    #[command(hide = true)]
    MachineGuard { dir: PathBuf, machine: String },
    /// A machine's pid 1.
    #[command(hide = true)]
    MachineInit { dir: PathBuf, machine: String },
}

#[derive(clap::Args)]
struct With {
    /// Another build of the product, e.g. one with a sabotage in it.
    #[arg(long)]
    palisade: Option<PathBuf>,
    /// Build nothing: take the programs that lie beside this one.
    #[arg(long)]
    built: bool,
    /// Where the results go.
    #[arg(long, default_value = "target/lab")]
    out: PathBuf,
    /// From power-on to the first sign of life.
    #[arg(long, default_value_t = 6000)]
    boot_delay_ms: u64,
    /// Leave the lab up at the end.
    #[arg(long)]
    keep: bool,
    /// Apply neither CRDs nor manifests: for stand-ins that read none.
    #[arg(long)]
    without_objects: bool,
    /// Give each machine a watchdog.
    #[arg(long)]
    watchdog: bool,
}

impl With {
    fn options(&self, name: &str) -> Result<Options> {
        install::packages()?;
        install::kernel()?;
        let programs = product::build(self.palisade.as_deref(), self.built)?;
        Ok(Options {
            dir: Lab::default_dir(name),
            name: name.to_owned(),
            palisade: programs.palisade,
            observer: programs.observer,
            e2e: programs.e2e,
            boot_delay_ms: self.boot_delay_ms,
            keep: self.keep,
            without_objects: self.without_objects,
            watchdog: self.watchdog,
            sabotage: None,
        })
    }
}

fn or_failed(passed: bool) -> Result<()> {
    if passed { Ok(()) } else { bail!("not all passed: see above") }
}

#[derive(Clone, Copy, ValueEnum)]
enum Power {
    On,
    Off,
    Reset,
    Crash,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let dir = Lab::default_dir(&cli.name);
    let machine = |name: &str| Lab::open(&dir)?.machine(name);
    let or_all = |named: Vec<Network>| if named.is_empty() { Network::ALL.to_vec() } else { named };
    match cli.verb {
        Verb::Install => {
            install::packages()?;
            install::kernel()
        }
        Verb::Kubectl { args } => {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            print!("{}", KubeBox::of(&Lab::open(&dir)?).kubectl(&args)?);
            Ok(())
        }
        Verb::Api { argv } => {
            install::packages()?;
            install::kernel()?;
            let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
            Beside::start(&cli.name)?.run(&argv)
        }
        Verb::Relay { listen, to, listen_in, namespace } => {
            relay::run(&listen, listen_in.as_deref(), &to, namespace.as_deref())
        }
        Verb::Up { boot_delay_ms, no_api } => {
            install::packages()?;
            install::kernel()?;
            let _lock = lab::lock(&dir)?;
            let spec = LabSpec { boot_delay_ms, ..LabSpec::three(&cli.name) };
            let lab = Lab::create(&dir, spec, &std::env::current_exe()?)?;
            if !no_api {
                let api = KubeBox::start(&lab, Parts { controllers: true, scheduler: false })?;
                println!("export KUBECONFIG={}", api.kubeconfig("host").display());
            }
            for machine in lab.machines() {
                power::on(&machine, "person")?;
            }
            status(&lab)
        }
        Verb::Quickstart { with } => {
            quickstart::run(&Options { keep: true, ..with.options(&cli.name)? })
        }
        Verb::Test { only, with } => {
            install::packages()?;
            install::kernel()?;
            let options = || with.options(&cli.name);
            suite::run(&only, suite::Context { options: &options, out: &with.out })
        }
        Verb::Scenario { scenario: which, beside, with } if which == "all" && beside > 1 => {
            let names: Vec<&str> = scenario::ALL.iter().map(|s| s.name).collect();
            let options = with.options(&cli.name)?;
            or_failed(scenario::run_beside(&names, beside, &options, &with.out)?.is_empty())
        }
        Verb::Scenario { scenario: which, with, .. } => {
            or_failed(scenario::run(&which, &with.options(&cli.name)?, &with.out)?)
        }
        Verb::Sabotage { which, beside, mut with } => {
            let build = || sabotage::build(with.built);
            with.palisade = Some(with.palisade.clone().map_or_else(build, Ok)?);
            let options = with.options(&cli.name)?;
            or_failed(if beside > 1 {
                sabotage::run_beside(&which, beside, &options, &with.out)?
            } else {
                sabotage::run(&which, &options, &with.out)?
            })
        }
        Verb::Image { program, tag, out } => image::run(&out, program.as_deref(), tag.as_deref()),
        Verb::Kubelets { only, image, before, units, static_pods, containers, with } => {
            let agent = match (units, static_pods) {
                (true, _) => kubelets::Agent::Unit,
                (_, true) => kubelets::Agent::StaticPod,
                _ => kubelets::Agent::Pods,
            };
            let given = kubelets::Given { image, before, agent, containers, only };
            or_failed(kubelets::run(&given, &with.options(&cli.name)?, &with.out)?)
        }
        Verb::Idle { seconds, with } => idle::run(seconds, &with.options(&cli.name)?, &with.out),
        Verb::Powercuts { count, api_down_interleaved, with } => {
            let options = with.options(&cli.name)?;
            or_failed(powercuts::run(count, api_down_interleaved, &options, &with.out)?)
        }
        Verb::Down { purge } => {
            let _lock = lab::lock(&dir)?;
            let lab = Lab::open(&dir)?;
            lab.down()?;
            if purge { lab.purge() } else { Ok(()) }
        }
        Verb::Status => status(&Lab::open(&dir)?),
        Verb::Power { machine: name, action } => {
            let machine = machine(&name)?;
            let done = match action {
                Power::On => power::on(&machine, "person"),
                Power::Off => power::off(&machine, "person"),
                Power::Reset => power::reset(&machine, "person"),
                Power::Crash => power::crash(&machine, "person"),
            }?;
            println!("{done:?}");
            Ok(())
        }
        Verb::Cut { machine: name, networks } => machine(&name)?.cut(&or_all(networks)),
        Verb::Heal { machine: name, networks } => {
            let machine = machine(&name)?;
            if let Some(running) = machine.running()? {
                network::unmute(running.init.pid)?;
            }
            machine.heal(&or_all(networks))
        }
        Verb::Mute { machine: name, network, direction, peer } => {
            let peer = peer.map(|p| Ok::<_, anyhow::Error>(machine(&p)?.address(network)));
            let running = machine(&name)?.running()?.context("the machine is off")?;
            network::mute(running.init.pid, network, direction, peer.transpose()?)
        }
        Verb::Freeze { machine: name } => machine(&name)?.freeze(),
        Verb::Thaw { machine: name } => machine(&name)?.thaw(),
        Verb::Exec { machine: name, argv } => {
            let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
            let status = machine(&name)?.command(&argv)?.status()?;
            if !status.success() {
                bail!("`{}` on {name}: {status}", argv.join(" "));
            }
            Ok(())
        }
        Verb::Bmc { machine: name, unreachable, delay_ms, late_ms, hang_ms, refuse, lie } => {
            let machine = machine(&name)?;
            bmc::set_reachable(&machine, !unreachable)?;
            bmc::set_faults(&machine, &bmc::BmcFaults { delay_ms, late_ms, hang_ms, refuse, lie })
        }
        Verb::ServeNodeId { port } => node_id::serve(port),
        Verb::PressLater { dir, machine, action, late_ms } => {
            bmc::press_later(&Lab::open(&dir)?.machine(&machine)?, &action, late_ms)
        }
        Verb::Chassis { dir, machine, words } => {
            let said = bmc::chassis(&Lab::open(&dir)?.machine(&machine)?, &words)?;
            println!("{said}");
            Ok(())
        }
        Verb::RebootMachine => init::reboot(),
        Verb::MachineGuard { dir, machine } => power::guard(&dir, &machine),
        Verb::MachineInit { dir, machine } => init::run(&dir, &machine),
    }
}

fn status(lab: &Lab) -> Result<()> {
    for machine in lab.machines() {
        match machine.running()? {
            Some(running) => println!(
                "{:<8} on   pid {:<8} boot {} bmc {}",
                machine.name(),
                running.init.pid,
                running.boot_id,
                machine.bmc_address()
            ),
            None => println!("{:<8} off  bmc {}", machine.name(), machine.bmc_address()),
        }
    }
    for service in lab.services()? {
        let state = if service.process.is_alive() { "runs" } else { "DEAD" };
        println!("{:<16} {state} pid {}", service.name, service.process.pid);
    }
    Ok(())
}
