//! docs/tutorial.md as a person follows it: every command is typed, every output compared.
//!
//! In a `console` block a line that begins with `$ ` is a command, the lines below it are what it prints. `...` in a line is any text, a
//! line of `...` alone any number of lines. `cargo dev` goes on in a terminal of its own; the rest is typed into one shell. What
//! only looks is repeated until it shows what stands there; what does something is typed once.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use crate::boxed::{address, alone, program, served_by};

const TUTORIAL: &str = include_str!("../../../../docs/tutorial.md");
const CARGO: &str = include_str!("../../../../.cargo/config.toml");
const LOOKS: [&str; 5] =
    ["curl ", "kubectl get ", "palisade dev describe", "palisade status", "palisade timeline"];
/// For a command to end, or a look to show what it shall; on a machine that compiles something else meanwhile.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks.
const AGAIN: Duration = Duration::from_millis(300);
/// The page says that `n1` serves first; on a busy machine another one may have been faster.
const BOXES_MAX: u32 = 5;

/// A command of the page with what it prints.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    command: String,
    prints: Vec<String>,
}

fn steps(markdown: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = markdown.lines();
    while lines.by_ref().any(|line| line == "```console") {
        for line in lines.by_ref().take_while(|line| *line != "```") {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => {
                    steps.push(Step { command: command.into(), prints: Vec::new() });
                }
                (None, Some(step)) => step.prints.push(line.into()),
                (None, None) => panic!("{line:?} stands above the first command"),
            }
        }
    }
    steps
}

/// Whether that was printed.
fn fits(expected: &[String], printed: &[String]) -> bool {
    match (expected.split_first(), printed.split_first()) {
        (None, None) => true,
        (Some((any, rest)), _) if any == "..." => {
            (0..=printed.len()).any(|skipped| fits(rest, &printed[skipped..]))
        }
        (Some((line, rest)), Some((is, left))) => line_fits(line, is) && fits(rest, left),
        _ => false,
    }
}

fn line_fits(expected: &str, line: &str) -> bool {
    let mut parts = expected.trim_end().split("...");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.trim_end().strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    true
}

/// Lines of a program, standard output and error as they come.
struct Terminal {
    lines: mpsc::Receiver<String>,
}

impl Terminal {
    /// The child's ends are closed here, so that it ends with the child.
    fn of(command: &mut Command) -> (Child, Self) {
        let (read, write) = std::io::pipe().expect("a pipe");
        command.stdout(write.try_clone().expect("a pipe")).stderr(write);
        let child = command.spawn().expect("it starts");
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let (tell, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(read).lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        (child, Self { lines })
    }

    fn next(&self, until: Instant) -> Option<String> {
        self.lines.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
    }

    /// Everything until the lines fit.
    fn until_fits(&self, expected: &[String]) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        let mut printed = Vec::new();
        while !fits(expected, &printed) {
            match self.next(until) {
                Some(line) => printed.push(line),
                None => return Err(printed.join("\n")),
            }
        }
        Ok(())
    }
}

/// Ended when dropped, by its id.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a person has in front: a clone with a built program, a home, two terminals.
struct Person {
    /// The clone, which is the home too.
    home: tempfile::TempDir,
    shell: Ended,
    typed: ChildStdin,
    terminal: Terminal,
    first: Option<(Ended, Terminal)>,
}

impl Person {
    fn sits_down() -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let debug = home.path().join("target/debug");
        fs::create_dir_all(&debug).expect("made");
        symlink(program(), debug.join("palisade")).expect("linked");
        let mut sh = Command::new("sh");
        at_home(sh.stdin(Stdio::piped()), home.path());
        let (mut shell, terminal) = Terminal::of(&mut sh);
        let typed = shell.stdin.take().expect("piped");
        Self { home, shell: Ended(shell), typed, terminal, first: None }
    }

    fn state(&self) -> PathBuf {
        self.home.path().join(".local/state/palisade-dev")
    }

    /// `cargo dev`, but that the program is built already.
    fn first_terminal(&mut self) -> &Terminal {
        assert!(
            CARGO.lines().any(|l| l == r#"dev = "run --locked --package cli -- dev""#),
            "`cargo dev` is no longer what this test runs in its place"
        );
        let mut palisade = Command::new(program());
        at_home(palisade.arg("dev").stdin(Stdio::null()), self.home.path());
        let (child, terminal) = Terminal::of(&mut palisade);
        &self.first.insert((Ended(child), terminal)).1
    }

    /// Until a box runs in which `n1` serves, as on the page.
    fn starts_the_box(&mut self, page: &Step) {
        for _ in 0..BOXES_MAX {
            let terminal = self.first_terminal();
            let any_holder: Vec<String> = page
                .prints
                .iter()
                .map(|line| line.replace("127.77.0.", "127.77...").replace("by n1", "by ..."))
                .collect();
            if let Err(printed) = terminal.until_fits(&any_holder) {
                panic!(
                    "$ {}\nprinted:\n{printed}\nexpected:\n{}",
                    page.command,
                    page.prints.join("\n")
                );
            }
            match served_by(address(&self.state())) {
                Some(by) if by == "n1" => return,
                by => println!("not the box of the page: served by {by:?}; another one"),
            }
            self.first = None;
            fs::remove_dir_all(self.state()).expect("forgotten");
        }
        panic!("of {BOXES_MAX} boxes none was served by n1 at first");
    }

    /// What the command printed, and how it ended.
    fn types(&mut self, command: &str) -> (Vec<String>, bool) {
        const MARK: &str = "-- ended with ";
        writeln!(self.typed, "{command}\necho \"{MARK}$?\"").expect("the shell lives");
        let until = Instant::now() + PATIENCE;
        let mut printed = Vec::new();
        loop {
            let line = self.terminal.next(until);
            let line = line.unwrap_or_else(|| panic!("$ {command} does not end: {printed:#?}"));
            match line.strip_prefix(MARK) {
                Some(code) => return (printed, code == "0"),
                None => printed.push(line),
            }
        }
    }

    fn follows(&mut self, step: &Step) {
        let until = Instant::now() + PATIENCE;
        let look = LOOKS.iter().any(|look| step.command.starts_with(look));
        loop {
            let (printed, well) = self.types(&step.command);
            if well && fits(&step.prints, &printed) {
                return;
            }
            assert!(
                look && Instant::now() < until,
                "$ {}\nprinted:\n{}\n(ended well: {well})\nexpected:\n{}",
                step.command,
                printed.join("\n"),
                step.prints.join("\n")
            );
            std::thread::sleep(AGAIN);
        }
    }
}

/// No setting of whoever runs the test leads elsewhere.
fn at_home<'a>(command: &'a mut Command, home: &Path) -> &'a mut Command {
    for name in ["XDG_STATE_HOME", "KUBECONFIG", "PALISADE_AGENT"] {
        command.env_remove(name);
    }
    command.env("HOME", home).current_dir(home)
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

#[test]
fn every_command_of_the_tutorial_prints_what_it_says() {
    let _alone = alone();
    assert!(is_installed("curl"), "the tutorial needs curl: apt-get install curl");
    let steps = steps(TUTORIAL);
    assert!(steps.len() > 10, "the commands of the page were found: {}", steps.len());
    let begun = Instant::now();
    let mut person = Person::sits_down();
    let mut network = None;
    for step in &steps {
        println!("{:5.1} s  $ {}", begun.elapsed().as_secs_f64(), step.command);
        if step.command == "cargo dev" {
            person.starts_the_box(step);
            let at = address(&person.state()).ip().to_string();
            network = at.strip_suffix("250").map(str::to_owned);
            continue;
        }
        if step.command.starts_with("kubectl ") && !is_installed("kubectl") {
            println!("NOT RUN: there is no kubectl here");
            continue;
        }
        // The first box of a machine has the page's addresses; beside other boxes it has other ones.
        let network = network.as_deref().expect("the page begins with a box");
        let here = |text: &str| text.replace("127.77.0.", network);
        person.follows(&Step {
            command: here(&step.command),
            prints: step.prints.iter().map(|line| here(line)).collect(),
        });
    }
    let (mut cluster, _) = person.first.take().expect("it was started");
    assert!(cluster.0.wait().expect("its word").success(), "the box ended well");
    println!("{} commands in {:.1?}", steps.len(), begun.elapsed());
    let _ = person.shell.0.kill();
}

#[test]
fn a_page_is_read_as_people_read_it() {
    let page =
        "text\n```console\n$ a b\none\n$ c\n```\n```sh\n$ not typed\n```\n```console\n$ d\n```\n";
    let step = |command: &str, prints: &[&str]| Step {
        command: command.into(),
        prints: prints.iter().map(|line| (*line).into()).collect(),
    };
    assert_eq!(steps(page), [step("a b", &["one"]), step("c", &[]), step("d", &[])]);

    let fits = |expected: &str, printed: &str| {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        fits(&lines(expected), &lines(printed))
    };
    assert!(fits("a\n...\nd", "a\nb\nc\nd") && fits("a\n...\nd", "a\nd"));
    assert!(!fits("a\n...\nd", "a\nb") && !fits("a", "a\nb") && !fits("a\nb", "a"));
    assert!(fits("by ... in ... ms", "by n1 in 5 ms") && fits("... ms", "5 ms"));
    assert!(!fits("by ... in ... ms", "by n1 in 5 s") && !fits("n1", "n2") && !fits("n1", "n1 x"));
}
