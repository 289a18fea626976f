//! `palisade completion SHELL`, and what kubectl asks a plugin for: candidates for the word that is being written.
//!
//! kubectl runs `kubectl_complete-palisade WORD...` (a link to this program) and reads one candidate a line, then a number
//! that says what else the shell shall do.

use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;

/// The name by which kubectl asks for candidates.
pub(crate) const KUBECTL_COMPLETES: &str = "kubectl_complete-palisade";
/// Words that are read; a command line of ours has a dozen.
const WORDS_MAX: usize = 64;
/// kubectl's `ShellCompDirectiveNoFileComp`.
const NO_FILES: &str = ":4";
/// kubectl's `ShellCompDirectiveDefault`: the shell completes file names.
const FILES: &str = ":0";

/// Options of `palisade completion`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// bash, zsh, fish or powershell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &Args, mut command: Command) {
    clap_complete::generate(args.shell, &mut command, "palisade", &mut std::io::stdout());
}

/// Answers kubectl.
pub(crate) fn for_kubectl(command: &Command, words: Vec<String>) -> ExitCode {
    let words: Vec<String> = words.into_iter().take(WORDS_MAX).collect();
    for candidate in candidates(command, &words) {
        println!("{candidate}");
    }
    println!("{}", if takes_path(command, &words) { FILES } else { NO_FILES });
    ExitCode::SUCCESS
}

/// The verb that the finished words lead to, and the option among them that waits for its value.
fn place<'a>(command: &'a Command, done: &[String]) -> (&'a Command, Option<&'a clap::Arg>) {
    let (mut at, mut waits) = (command, None);
    for word in done {
        if waits.take().is_some() {
            continue;
        }
        if word.starts_with('-') {
            waits = option(at, word).filter(|arg| arg.get_action().takes_values());
        } else if let Some(verb) = at.find_subcommand(word) {
            at = verb;
        }
    }
    (at, waits)
}

fn option<'a>(command: &'a Command, word: &str) -> Option<&'a clap::Arg> {
    command.get_arguments().find(|arg| {
        let short = arg.get_short().map(|short| format!("-{short}"));
        word.strip_prefix("--").is_some_and(|long| arg.get_long() == Some(long))
            || short.as_deref() == Some(word)
    })
}

/// Each that the last word begins.
fn candidates(command: &Command, words: &[String]) -> Vec<String> {
    let (last, done) = words.split_last().map_or(("", [].as_slice()), |(l, d)| (l.as_str(), d));
    let (at, waits) = place(command, done);
    let values = |arg: &clap::Arg| -> Vec<String> {
        arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect()
    };
    let all: Vec<String> = if let Some(arg) = waits {
        values(arg)
    } else if last.starts_with('-') {
        let shown = at.get_arguments().filter(|arg| !arg.is_hide_set());
        shown.filter_map(|arg| Some(format!("--{}", arg.get_long()?))).collect()
    } else {
        let verbs = at.get_subcommands().filter(|verb| !verb.is_hide_set());
        let verbs = verbs.map(|verb| verb.get_name().to_owned());
        verbs.chain(at.get_positionals().flat_map(values)).collect()
    };
    all.into_iter().filter(|candidate| candidate.starts_with(last)).collect()
}

fn takes_path(command: &Command, words: &[String]) -> bool {
    let done = words.split_last().map_or([].as_slice(), |(_, done)| done);
    let (_, waits) = place(command, done);
    waits.is_some_and(|arg| {
        arg.get_value_parser().type_id() == clap::builder::ValueParser::path_buf().type_id()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn offered(words: &[&str]) -> Vec<String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        candidates(&crate::Cli::command(), &words)
    }

    #[test]
    fn kubectl_is_offered_verbs_options_and_values() {
        assert_eq!(offered(&["stat"]), ["status"]);
        assert!(offered(&[""]).contains(&"timeline".to_owned()));
        assert_eq!(offered(&["status", "--wa"]), ["--watch"]);
        assert_eq!(offered(&["status", "--output", ""]), ["json", "text"]);
        assert!(offered(&["node", ""]).contains(&"standby".to_owned()));
        assert!(offered(&["completion", "b"]).contains(&"bash".to_owned()));
        assert_eq!(offered(&["status", "nonsense-that-nothing-begins"]), Vec::<String>::new());
        let words = ["status".to_owned(), "--kubeconfig".to_owned(), String::new()];
        assert!(takes_path(&crate::Cli::command(), &words));
    }
}
