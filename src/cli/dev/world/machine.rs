//! One machine: its first process, its cables, its boots.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use base::NodeName;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{Mutex, watch},
    time::timeout,
};

use super::super::plan::{Folder, Node, Plan, RING_PORT, SITE_PORT, WEB_PORT};

/// Ending all processes of a machine takes milliseconds; more than this is a fault to be said.
const END_MAX: Duration = Duration::from_secs(10);
/// For a word to the first process: milliseconds, and on a laptop that compiles something meanwhile seconds.
const WORD_MAX: Duration = Duration::from_secs(20);

/// What connects a machine with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wires {
    /// It has power and its processes run or stand still.
    pub(super) alive: bool,
    /// Its cables are in.
    pub(super) plugged: bool,
}

impl Wires {
    /// Whether anybody can reach it.
    pub(super) const fn reachable(self) -> bool {
        self.alive && self.plugged
    }
}

struct Running {
    child: Child,
    words: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// One machine.
pub(super) struct Machine {
    folder: Folder,
    node: Node,
    /// As the others know it.
    link: IpAddr,
    /// Where its agent binds.
    port: IpAddr,
    metrics: SocketAddr,
    wires: watch::Sender<Wires>,
    /// The lock of its power: one thing at a time.
    running: Mutex<Option<Running>>,
    /// A boot that waits is void when another thing was done with the power meanwhile.
    turn: AtomicU64,
    /// The turn of the boot that is under way; 0 if there is none.
    boots: AtomicU64,
}

impl Machine {
    pub(super) fn new(plan: &Plan, folder: &Folder, node: &Node) -> Self {
        Self {
            folder: folder.clone(),
            link: plan.link(node),
            port: plan.port(node),
            metrics: plan.metrics(node),
            node: node.clone(),
            wires: watch::Sender::new(Wires { alive: false, plugged: true }),
            running: Mutex::new(None),
            turn: AtomicU64::new(1),
            boots: AtomicU64::new(0),
        }
    }

    pub(super) fn name(&self) -> &NodeName {
        &self.node.name
    }

    /// Its place among the machines of the box.
    pub(super) fn place(&self) -> usize {
        usize::from(self.node.id) - 1
    }

    /// Whether that file is one of this machine.
    pub(super) fn owns(&self, path: &std::path::Path) -> bool {
        use std::path::Component;
        let plain =
            path.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
        plain && path.starts_with(self.folder.machine(&self.node.name))
    }

    pub(super) const fn link(&self) -> IpAddr {
        self.link
    }

    /// Of the ring, as the others know it.
    pub(super) const fn ring_link(&self) -> SocketAddr {
        SocketAddr::new(self.link, RING_PORT)
    }

    /// Of the ring, where its agent really is.
    pub(super) const fn ring_port(&self) -> SocketAddr {
        SocketAddr::new(self.port, RING_PORT)
    }

    pub(super) fn kernel_socket(&self) -> PathBuf {
        self.folder.kernel_socket(&self.node.name)
    }

    /// Of its network card.
    pub(super) const fn station(&self) -> [u8; 6] {
        // locally administered
        [2, 0, 0x7f, 0x4d, 0, self.node.id]
    }

    pub(super) fn wires(&self) -> Wires {
        *self.wires.borrow()
    }

    /// Ends when nobody can reach it any more.
    pub(super) async fn unreachable(&self) {
        // The sender lives as long as this machine.
        let _ = self.wires.subscribe().wait_for(|wires| !wires.reachable()).await;
    }

    pub(super) fn plug(&self, plugged: bool) {
        self.wires.send_modify(|wires| wires.plugged = plugged);
    }

    /// Ends everything, if it runs. Idempotent.
    pub(super) async fn cut(&self) {
        self.turn.fetch_add(1, Ordering::AcqRel);
        self.wires.send_modify(|wires| wires.alive = false);
        let mut running = self.running.lock().await;
        // A boot that was under way has plugged it in again.
        self.wires.send_modify(|wires| wires.alive = false);
        let Some(Running { mut child, words, answers: _answers }) = running.take() else { return };
        // Its standard input ends: the first process ends all others, then itself.
        drop(words);
        if timeout(END_MAX, child.wait()).await.is_err() {
            eprintln!("palisade dev: processes of {} did not end in {END_MAX:?}", self.node.name);
            let _ = child.kill().await;
        }
    }

    /// Boots later, unless something else is done with its power meanwhile. A finger on the button of a machine that boots
    /// changes nothing: who presses again and again must not keep it from booting. False if it was such a one.
    pub(super) fn boot_after(self: &Arc<Self>, delay: Duration) -> bool {
        let turn = self.turn.load(Ordering::Acquire);
        if self.boots.swap(turn, Ordering::AcqRel) == turn {
            return false;
        }
        let machine = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            if machine.turn.load(Ordering::Acquire) == turn
                && let Err(error) = machine.boot().await
            {
                eprintln!("palisade dev: {} cannot boot: {error:#}", machine.node.name);
            }
            // Only its own: after a cut another one may be under way.
            let _ = machine.boots.compare_exchange(turn, 0, Ordering::AcqRel, Ordering::Acquire);
        });
        true
    }

    /// Its first process starts, and sees to a fresh boot id and an empty run directory.
    pub(super) async fn boot(&self) -> Result<()> {
        let mut running = self.running.lock().await;
        if running.is_some() {
            return Ok(());
        }
        self.prepare().with_context(|| format!("preparing {}", self.node.name))?;
        let mut child = Command::from(agent::own_program())
            .args(["dev", "machine", self.node.name.as_str(), "--dir"])
            .arg(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Of the terminal's Ctrl-C this process hears, its machines do not.
            .process_group(0)
            .spawn()
            .context("its first process")?;
        let words = child.stdin.take().context("a pipe was asked for")?;
        let answers = child.stdout.take().context("a pipe was asked for")?;
        *running = Some(Running { child, words, answers: BufReader::new(answers) });
        self.wires.send_modify(|wires| wires.alive = true);
        Ok(())
    }

    /// To its first process, which says when it is done.
    pub(super) async fn word(&self, word: &str) -> Result<()> {
        let mut running = self.running.lock().await;
        let Some(running) = running.as_mut() else {
            bail!("{} is dead: `palisade dev start {}`", self.node.name, self.node.name);
        };
        let talk = async {
            running.words.write_all(format!("{word}\n").as_bytes()).await?;
            let mut answer = String::new();
            match running.answers.read_line(&mut answer).await? {
                0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                _ => Ok(()),
            }
        };
        // Its power does not wait for the word: `cut` needs the lock that is held here.
        let mut wires = self.wires.subscribe();
        let said = tokio::select! {
            said = timeout(WORD_MAX, talk) => said.context("it does not answer")?,
            _ = wires.wait_for(|wires| !wires.alive) => {
                bail!("{} is dead: its power was cut before it had heard of it", self.node.name)
            }
        };
        said.with_context(|| format!("the first process of {}", self.node.name))
    }

    fn prepare(&self) -> Result<()> {
        use super::super::plan::write_private;
        let dir = self.folder.machine(&self.node.name);
        let templates = dir.join("processes");
        make_private(&templates)?;
        let run = dir.join("run");
        write_private(&dir.join("system-uuid"), format!("{}\n", self.node.uuid).as_bytes())?;
        let config = format!(
            "# Written at each boot of this simulated machine.\n\
             run_dir = {run:?}\nprocess_templates = {templates:?}\nsystem_uuid_file = {:?}\nboot_id_file = {:?}\n\
             metrics_listen = \"{}\"\n\
             self_fence = \"watchdog\"\nrealtime = \"off\"\n\
             [stand_in]\nkernel = {:?}\nlinks = [\"{}\"]\n",
            dir.join("system-uuid"),
            dir.join("boot-id"),
            self.metrics,
            self.kernel_socket(),
            self.port,
        );
        write_private(&dir.join("agent.toml"), config.as_bytes())?;
        let own = std::env::current_exe()?;
        let (name, link) = (&self.node.name, self.link);
        for (template, port) in [("web.toml", WEB_PORT), ("site.toml", SITE_PORT)] {
            let text = format!(
                "argv = [{own:?}, \"dev\", \"web\", \"{name}\", \"{link}:{port}\"]\nstop_timeout_ms = 3000\n\
                 monitor = {{ http = {port}, address = \"{link}\" }}\n",
            );
            let template = templates.join(template);
            // A person may change it; it is theirs then.
            if !template.exists() {
                write_private(&template, text.as_bytes())?;
            }
        }
        Ok(())
    }
}

fn make_private(dir: &std::path::Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}
