//! Network namespaces of a test: each a thread of its own, gone with it. Nothing outside of them is touched.

use std::{process::Command, sync::mpsc, thread};

use nix::sched::{CloneFlags, unshare};

type Job = Box<dyn FnOnce() + Send>;

/// A namespace with its thread.
pub(crate) struct Namespace {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<thread::JoinHandle<()>>,
    /// What `ip link set .. netns` takes.
    pub(crate) tid: i32,
}

impl Namespace {
    /// `None`, and said so, without the right to make one.
    pub(crate) fn new() -> Option<Self> {
        let (jobs, todo) = mpsc::channel::<Job>();
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            let made = unshare(CloneFlags::CLONE_NEWNET);
            let _ = tell.send(made.map(|()| nix::unistd::gettid().as_raw()));
            todo.into_iter().for_each(|job| job());
        });
        match told.recv() {
            Ok(Ok(tid)) => {
                let namespace = Self { jobs: Some(jobs), thread: Some(thread), tid };
                namespace.ip("link set lo up");
                Some(namespace)
            }
            other => {
                println!("NOT RUN: no network namespace can be made here ({other:?}): run as root");
                assert!(std::env::var_os("PALISADE_REQUIRE_ROOT").is_none(), "root is required");
                None
            }
        }
    }

    /// Runs inside, on the namespace's own thread.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        let job: Job = Box::new(move || {
            let _ = tell.send(job());
        });
        self.jobs.as_ref().expect("not dropped").send(job).expect("the thread lives");
        told.recv().expect("the job did not panic")
    }

    /// Runs a future inside.
    pub(crate) fn block_on<F>(&self, make: impl FnOnce() -> F + Send + 'static) -> F::Output
    where
        F: Future,
        F::Output: Send + 'static,
    {
        self.run(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async { make().await })
        })
    }

    /// `ip WORDS`, inside.
    pub(crate) fn ip(&self, words: &str) -> String {
        let arguments: Vec<String> = words.split(' ').map(Into::into).collect();
        self.run(move || {
            let output =
                Command::new("ip").args(&arguments).output().expect("iproute2 is installed");
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "ip {arguments:?}: {error}");
            String::from_utf8_lossy(&output.stdout).into_owned()
        })
    }

    /// Two namespaces and a cable: `left` and `right`, with 10.9.0.1 and .2, fd09::1 and ::2.
    pub(crate) fn pair() -> Option<(Self, Self)> {
        let (left, right) = (Self::new()?, Self::new()?);
        left.ip(&format!("link add left type veth peer name right netns {}", right.tid));
        for (namespace, name, number) in [(&left, "left", 1), (&right, "right", 2)] {
            namespace.ip(&format!("addr add 10.9.0.{number}/24 dev {name}"));
            namespace.ip(&format!("addr add fd09::{number}/64 dev {name} nodad"));
            namespace.ip(&format!("link set {name} up"));
        }
        // The kernel tells its own IPv6 up to a second late that a link came up; before that it routes nothing there and
        // does not listen to the groups of its addresses.
        for (namespace, name, number) in [(&left, "left", 1), (&right, "right", 2)] {
            let group = format!("ff0200000000000000000001ff00000{number}");
            let ready = || {
                let up = namespace.ip(&format!("link show {name}")).contains("state UP");
                let group = group.clone();
                up && namespace.run(move || {
                    std::fs::read_to_string("/proc/thread-self/net/igmp6")
                        .expect("readable")
                        .contains(&group)
                })
            };
            while !ready() {
                thread::sleep(core::time::Duration::from_millis(20));
            }
        }
        Some((left, right))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
