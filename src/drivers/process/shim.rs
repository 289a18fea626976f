//! The shim: parent of one supervised process, alone in its session, independent of the agent that started it.
//!
//! `palisade shim --resources DIR --templates DIR --resource ID --template NAME --token TOKEN [--cgroup PATH]`
//!
//! It closes what it inherited, leads a session of its own, leaves the agent's cgroups, starts the process from its
//! template, writes the record, reaps everything that its process leaves behind (it is their subreaper), and writes
//! how it ended. It takes no orders: a stop goes to the process. Signals that end a session do not end it.
//!
//! `palisade shim --leave [CGROUP] -- PROGRAM ARGUMENTS` is the other form: it leaves the agent's cgroups and becomes the program,
//! an OCF agent, which ends by itself; what that starts is the machine's.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::{
        fs::{MetadataExt as _, OpenOptionsExt as _},
        process::{CommandExt as _, ExitStatusExt as _},
    },
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    thread,
    time::Duration,
};

use base::{Label, ResourceId};
use nix::sys::signal::{SigSet, Signal};
use rustix::process::{Pid, WaitOptions, getpid, kill_process, setsid, wait};

use super::{
    cgroup::{self, Cgroups},
    proc::{self, ProcessId},
    record::{Exit, Folder, Record},
    template::{self, Template},
};

/// The output of a process is kept up to this size, then begins anew; it lies in memory.
const OUTPUT_BYTES_MAX: u64 = 1024 * 1024;
const OUTPUT_LOOK_EVERY: Duration = Duration::from_secs(10);
/// Exit status of a shim that started nothing; the reason stands in the file `error`.
pub(super) const NOT_STARTED: u8 = 69;

struct Arguments {
    resources: PathBuf,
    templates: PathBuf,
    resource: ResourceId,
    template: Label,
    token: String,
    cgroups: Cgroups,
}

/// The subcommand's main; `arguments` without the program's name and the subcommand's.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter().peekable();
    if arguments.next_if(|word| word == "--leave").is_some() {
        return become_program(arguments);
    }
    let arguments = match read_arguments(arguments) {
        Ok(arguments) => arguments,
        Err(why) => {
            eprintln!("palisade shim: {why}; it is started by the agent only");
            return ExitCode::from(2);
        }
    };
    let folder = Folder::new(&arguments.resources, &arguments.resource);
    match supervise(&arguments, &folder) {
        Ok(exit) => {
            // Without the file the next agent still sees that nothing runs; only the reason is lost.
            let _ = folder.write("exit.json", &exit);
            ExitCode::SUCCESS
        }
        Err(why) => {
            let _ = folder.write_bytes("error", why.as_bytes());
            ExitCode::from(NOT_STARTED)
        }
    }
}

/// Standard input and output, environment and process group are as the agent made them.
fn become_program(mut words: impl Iterator<Item = OsString>) -> ExitCode {
    let mut cgroups = Cgroups::Stay;
    let mut word = words.next();
    if let Some(to) = word.as_ref().filter(|to| *to != "--").and_then(|to| to.to_str()) {
        cgroups = Cgroups::Leave { to: to.to_owned() };
        word = words.next();
    }
    let Some(program) = words.next().filter(|_| word.is_some_and(|word| word == "--")) else {
        eprintln!("palisade shim: --leave [CGROUP] -- PROGRAM; it is started by the agent only");
        return ExitCode::from(2);
    };
    for kept in cgroup::leave(&cgroups) {
        eprintln!(
            "palisade shim: not left, what it starts may end with the agent's container: {kept}"
        );
    }
    // Neither our protection against the killer of the kernel nor our signals are theirs.
    let _ = fs::write("/proc/self/oom_score_adj", "0");
    let _ = SigSet::empty().thread_set_mask();
    let error = Command::new(&program).args(words).exec();
    eprintln!("palisade shim: {}: {error}", program.display());
    // OCF's word for what may not be executed.
    ExitCode::from(crate::resource::ocf::PERMISSION)
}

fn read_arguments(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, String> {
    let mut words = arguments.into_iter();
    let (mut resources, mut templates) = (None, None);
    let (mut resource, mut template, mut token) = (None, None, None);
    let mut cgroups = Cgroups::Stay;
    while let Some(word) = words.next() {
        let value = words.next().ok_or("an option without value")?;
        let text = value.to_str().ok_or("a value that is not UTF-8")?;
        match word.to_str() {
            Some("--resources") => resources = Some(PathBuf::from(&value)),
            Some("--templates") => templates = Some(PathBuf::from(&value)),
            Some("--resource") => resource = text.parse::<ResourceId>().ok(),
            Some("--template") => template = text.parse::<Label>().ok(),
            Some("--token") => token = Some(text.to_owned()),
            Some("--cgroup") => cgroups = Cgroups::Leave { to: text.to_owned() },
            _ => return Err("an unknown option".into()),
        }
    }
    let missing = "an option is missing or malformed";
    Ok(Arguments {
        resources: resources.ok_or(missing)?,
        templates: templates.ok_or(missing)?,
        resource: resource.ok_or(missing)?,
        template: template.ok_or(missing)?,
        token: token.ok_or(missing)?,
        cgroups,
    })
}

fn supervise(arguments: &Arguments, folder: &Folder) -> Result<Exit, String> {
    let said = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    close_inherited().map_err(said("closing inherited descriptors"))?;
    // The process inherits the mask: it gets an empty one, whatever the agent's was.
    SigSet::empty().thread_set_mask().map_err(|error| format!("unblocking signals: {error}"))?;
    // Refused only to a group leader, which a fresh child is not; then there is a session of its own already.
    if let Err(error) = setsid()
        && proc::stat(own_pid()).is_none_or(|stat| stat.session != own_pid())
    {
        return Err(format!("no session of its own: {error}"));
    }
    rustix::process::set_child_subreaper(Some(getpid()))
        .map_err(|error| format!("not the reaper of its descendants: {error}"))?;
    let cgroups_kept = cgroup::leave(&arguments.cgroups);
    // Where the right is missing, the shim is as mortal as others.
    let _ = fs::write("/proc/self/oom_score_adj", "-999");

    let template = template::load(&arguments.templates, &arguments.template)
        .map_err(|error| error.to_string())?;
    let log = folder.path("output.log");
    let output = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&log)
        .map_err(said("output.log"))?;
    let mut child = command(&template)?
        .stdout(output.try_clone().map_err(said("output.log"))?)
        .stderr(output)
        .spawn()
        .map_err(|error| format!("{}: {error}", template.argv[0]))?;
    // Blocked, not ignored, and only now: what is blocked before stays blocked in the process.
    let mut blocked = SigSet::empty();
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
        blocked.add(signal);
    }
    // Without it the shim is as mortal as others; what it started is found all the same.
    let _ = blocked.thread_block();
    let pid = i32::try_from(child.id()).map_err(|_| "a pid beyond 31 bits")?;
    let _ = fs::write(format!("/proc/{pid}/oom_score_adj"), template.oom_score_adj.to_string());
    let record = ProcessId::of(pid).zip(ProcessId::of(own_pid())).map(|(process, shim)| Record {
        resource: arguments.resource.clone(),
        template: arguments.template.clone(),
        token: arguments.token.clone(),
        shim,
        process,
        cgroups_kept,
    });
    let written = record.ok_or_else(|| "/proc is not readable".to_owned()).and_then(|record| {
        folder.write("record.json", &record).map_err(|error| format!("record.json: {error}"))
    });
    if let Err(why) = written {
        // Nobody would ever find it again.
        let _ = child.kill();
        bury();
        return Err(why);
    }
    thread::spawn(move || {
        loop {
            thread::sleep(OUTPUT_LOOK_EVERY);
            if fs::metadata(&log).is_ok_and(|meta| meta.size() > OUTPUT_BYTES_MAX) {
                let _ = fs::OpenOptions::new().write(true).truncate(true).open(&log);
            }
        }
    });
    let status = wait_for(pid);
    bury();
    let ended = |status: std::process::ExitStatus| (status.code(), status.signal());
    let (status, signal) = status.map_or((None, None), ended);
    Ok(Exit { token: arguments.token.clone(), status, signal })
}

fn command(template: &Template) -> Result<Command, String> {
    let (program, arguments) = template.argv.split_first().ok_or("argv is empty")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(&template.environment)
        .current_dir(&template.working_dir)
        .stdin(Stdio::null())
        .process_group(0);
    if let Some(name) = &template.user {
        let user = nix::unistd::User::from_name(name)
            .map_err(|error| format!("user {name}: {error}"))?
            .ok_or_else(|| format!("there is no user {name} on this machine"))?;
        // The standard library drops all supplementary groups with the user.
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    Ok(command)
}

fn own_pid() -> i32 {
    getpid().as_raw_nonzero().get()
}

/// Everything but standard input and output, which the agent gave as `/dev/null`.
fn close_inherited() -> io::Result<()> {
    let descriptors: Vec<i32> = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in descriptors {
        // The folder's own descriptor is in the list and closed already.
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}

/// Reaps whatever ends until `main` does.
fn wait_for(main: i32) -> Option<std::process::ExitStatus> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == main => {
                return Some(std::process::ExitStatus::from_raw(status.as_raw()));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

/// Kills and reaps what the process left behind: as their subreaper the shim is the parent of all that remain.
fn bury() {
    loop {
        for orphan in proc::find(|_, stat| stat.parent == own_pid()) {
            if let Some(pid) = Pid::from_raw(orphan.pid) {
                let _ = kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        // Killed and not gone yet: a process that waits for a disk, or one whose children come to us next.
        thread::sleep(Duration::from_millis(5));
    }
}
