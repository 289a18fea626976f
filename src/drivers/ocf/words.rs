//! What an agent says with Pacemaker's tools, parsed into one word of ours.
//!
//! Heard is what an agent says of the instance that it was called for, on the machine that it was called on: its promotion
//! score until the instance is down, and the name of the machine. All else is refused in words, never taken for done.

use base::{NodeName, ResourceId};

/// Pacemaker's infinity.
pub(super) const SCORE_MAX: i32 = 1_000_000;
/// Words of one call of a tool.
pub(super) const WORDS_MAX: usize = 32;
/// What `sysexits.h` calls wrong usage and what is not to be had; Pacemaker's tools end with the same.
pub(super) const USAGE: u8 = 64;
pub(super) const UNAVAILABLE: u8 = 69;
/// Pacemaker's code for a query of what is not there.
pub(super) const NO_SUCH: u8 = 105;

/// Tools that agents call. Those that are only refused are here so that nobody takes the machine's own for ours.
pub const NAMES: [&str; 10] = [
    "crm_attribute",
    "crm_master",
    "crm_node",
    "attrd_updater",
    "cibadmin",
    "crm_failcount",
    "crm_mon",
    "crm_resource",
    "crm_standby",
    "crm_ticket",
];

/// Whose agent it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whose<'a> {
    pub(super) instance: &'a ResourceId,
    pub(super) node: Option<&'a NodeName>,
}

/// What was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// The instance's promotion score here.
    Score(i32),
    /// It has none any more.
    NoScore,
    /// What is it? The second is what to say if there is none.
    AskScore { quiet: bool, default: Option<String> },
    /// What is this machine called?
    AskNode,
}

/// Why nothing was heard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0} is not heard by Palisade: docs/ocf.md lists what is")]
    Tool(String),
    #[error("option {0} is not heard by Palisade: docs/ocf.md lists what is")]
    Option(String),
    #[error("option {0} needs a value")]
    NoValue(String),
    #[error(
        "{0} is not heard by Palisade: of attributes an agent can only say its own promotion score, \
         by crm_master or crm_attribute --promotion"
    )]
    Attribute(String),
    #[error("an agent may only speak of its own instance {own}, not of {other}")]
    OtherInstance { own: ResourceId, other: String },
    #[error("an agent may only speak of the machine that it runs on, not of {0}")]
    OtherNode(String),
    #[error(
        "a promotion score lasts until the instance is down: leave -l {0} away, or say -l reboot"
    )]
    Lifetime(String),
    #[error("{0} is no score: a whole number from -1000000 to 1000000, INFINITY or -INFINITY")]
    NoScore(String),
    #[error("say what to do: -v SCORE, -D or -G")]
    Nothing,
}

impl Refusal {
    pub(super) const fn code(&self) -> u8 {
        match self {
            Self::NoValue(_) | Self::NoScore(_) | Self::Nothing => USAGE,
            _ => UNAVAILABLE,
        }
    }
}

/// What this call of a tool says.
pub(super) fn word(tool: &str, words: &[String], whose: Whose<'_>) -> Result<Word, Refusal> {
    match tool {
        "crm_node" => match words {
            [only] if only == "-n" || only == "--name" => Ok(Word::AskNode),
            _ => Err(Refusal::Tool(format!("crm_node {}", words.join(" ")))),
        },
        "crm_master" | "crm_attribute" => {
            Said::parse(tool == "crm_master", words)?.word(tool == "crm_master", whose)
        }
        _ => Err(Refusal::Tool(tool.to_owned())),
    }
}

/// Options as they stand there; of repeated ones the last counts.
#[derive(Debug, Default)]
struct Said {
    value: Option<String>,
    delete: bool,
    quiet: bool,
    promotion: bool,
    resource: Option<String>,
    name: Option<String>,
    node: Option<String>,
    lifetime: Option<String>,
    default: Option<String>,
}

impl Said {
    fn parse(master: bool, words: &[String]) -> Result<Self, Refusal> {
        let mut said = Self::default();
        let mut rest = words.iter().peekable();
        while let Some(word) = rest.next() {
            if let Some(long) = word.strip_prefix("--") {
                let (name, with) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (long, None),
                };
                let short = short(name).ok_or_else(|| Refusal::Option(word.clone()))?;
                let with = match with {
                    Some(value) => Some(value),
                    None if takes_value(master, short) => rest.next().cloned(),
                    None if short == 'p' => rest.next_if(|next| !next.starts_with('-')).cloned(),
                    None => None,
                };
                said.take(master, short, with, word)?;
            } else if let Some(cluster) = word.strip_prefix('-') {
                let mut letters = cluster.chars();
                while let Some(letter) = letters.next() {
                    let attached = letters.as_str();
                    let with = if takes_value(master, letter) {
                        letters = "".chars();
                        let attached = attached.strip_prefix('=').unwrap_or(attached);
                        if attached.is_empty() {
                            rest.next().cloned()
                        } else {
                            Some(attached.into())
                        }
                    } else if letter == 'p' && attached.is_empty() {
                        rest.next_if(|next| !next.starts_with('-')).cloned()
                    } else {
                        None
                    };
                    said.take(master, letter, with, word)?;
                }
            } else {
                return Err(Refusal::Option(word.clone()));
            }
        }
        Ok(said)
    }

    fn take(
        &mut self,
        master: bool,
        letter: char,
        with: Option<String>,
        word: &str,
    ) -> Result<(), Refusal> {
        let needed = |with: Option<String>| match with {
            Some(value) => Ok(Some(value)),
            None => Err(Refusal::NoValue(word.to_owned())),
        };
        match letter {
            'v' => self.value = needed(with)?,
            'N' | 'U' => self.node = needed(with)?,
            'l' => self.lifetime = needed(with)?,
            'n' if !master => self.name = needed(with)?,
            'd' if !master => self.default = needed(with)?,
            'r' if master => self.resource = needed(with)?,
            'p' if !master => {
                self.promotion = true;
                self.resource = with.or_else(|| self.resource.take());
            }
            'D' => self.delete = true,
            'q' | 'Q' => self.quiet = true,
            // to ask is what it does without another word
            'G' | 'V' => {}
            _ => return Err(Refusal::Option(word.to_owned())),
        }
        Ok(())
    }

    fn word(self, master: bool, whose: Whose<'_>) -> Result<Word, Refusal> {
        let own = whose.instance;
        // agents say it with the number of a copy or without
        let is_own = |name: &str| {
            let plain = own.as_str().rsplit_once(':').map_or(own.as_str(), |(plain, _)| plain);
            name == own.as_str() || name == plain
        };
        match &self.name {
            Some(name) => match name.strip_prefix("master-") {
                Some(of) if is_own(of) => {}
                Some(of) => {
                    return Err(Refusal::OtherInstance { own: own.clone(), other: of.into() });
                }
                None => return Err(Refusal::Attribute(format!("attribute {name}"))),
            },
            None if !master && !self.promotion => {
                return Err(Refusal::Attribute("an attribute without a name".into()));
            }
            None => {}
        }
        if let Some(other) = self.resource.filter(|of| !is_own(of)) {
            return Err(Refusal::OtherInstance { own: own.clone(), other });
        }
        let here = |node: &String| whose.node.is_some_and(|own| own.as_str() == node);
        if let Some(node) = self.node.filter(|node| !here(node)) {
            return Err(Refusal::OtherNode(node));
        }
        if let Some(lifetime) = self.lifetime.filter(|lifetime| lifetime != "reboot") {
            return Err(Refusal::Lifetime(lifetime));
        }
        match (self.value, self.delete) {
            (Some(value), false) => score(&value).map(Word::Score).ok_or(Refusal::NoScore(value)),
            (None, true) => Ok(Word::NoScore),
            (None, false) => Ok(Word::AskScore { quiet: self.quiet, default: self.default }),
            (Some(_), true) => Err(Refusal::Nothing),
        }
    }
}

/// The letter of a long option, old spellings too.
fn short(name: &str) -> Option<char> {
    Some(match name {
        "update" | "attr-value" => 'v',
        "delete" | "delete-attr" => 'D',
        "query" | "get-value" => 'G',
        "quiet" => 'q',
        "verbose" => 'V',
        "node" | "uname" => 'N',
        "lifetime" => 'l',
        "name" | "attr-name" => 'n',
        "promotion" => 'p',
        "resource" => 'r',
        "default" => 'd',
        _ => return None,
    })
}

const fn takes_value(master: bool, letter: char) -> bool {
    match letter {
        'v' | 'N' | 'U' | 'l' => true,
        'n' | 'd' => !master,
        'r' => master,
        _ => false,
    }
}

fn score(text: &str) -> Option<i32> {
    match text {
        "INFINITY" | "+INFINITY" => Some(SCORE_MAX),
        "-INFINITY" => Some(-SCORE_MAX),
        _ => {
            // what is larger is as much as there is
            let number: i64 = text.parse().ok()?;
            let max = i64::from(SCORE_MAX);
            i32::try_from(number.clamp(-max, max)).ok()
        }
    }
}

/// As Pacemaker prints it.
pub(super) fn score_text(score: i32) -> String {
    match score {
        SCORE_MAX => "INFINITY".into(),
        score if score == -SCORE_MAX => "-INFINITY".into(),
        score => score.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> Result<Word, Refusal> {
        let (own, node) = ("db:0".parse().expect("valid"), "ctl-1".parse().expect("valid"));
        let mut words = line.split(' ').map(str::to_owned);
        let tool = words.next().expect("a tool");
        let words: Vec<String> = words.collect();
        word(&tool, &words, Whose { instance: &own, node: Some(&node) })
    }

    #[test]
    fn what_agents_say_of_their_own_promotion_is_heard_in_every_spelling() {
        // as Debian's agents call it: Stateful, galera, mariadb, redis, pgsql, rabbitmq-server-ha, drbd
        for (line, score) in [
            ("crm_attribute --promotion -v 5", 5),
            ("crm_attribute -p -v 10", 10),
            ("crm_attribute -p db -v 10", 10),
            ("crm_attribute --promotion=db:0 --update=7 --lifetime=reboot", 7),
            ("crm_master -v 100 -l reboot", 100),
            ("crm_master -Q -v 100 -l reboot", 100),
            ("crm_master -l reboot -N ctl-1 -v 50", 50),
            ("crm_master -v INFINITY -l reboot", SCORE_MAX),
            ("crm_master -Q -l reboot -v -INFINITY", -SCORE_MAX),
            ("crm_master -v 99999999999", SCORE_MAX),
            ("crm_master -v -5", -5),
            ("crm_master -v0", 0),
            ("crm_master -qv 3", 3),
            ("crm_attribute --lifetime=reboot --name=master-db --node=ctl-1 --update 20", 20),
        ] {
            assert_eq!(said(line), Ok(Word::Score(score)), "{line}");
        }
        for line in ["crm_master -D", "crm_master -l reboot -D", "crm_attribute --promotion -D"] {
            assert_eq!(said(line), Ok(Word::NoScore), "{line}");
        }
        let ask = |quiet, default: Option<&str>| {
            Ok(Word::AskScore { quiet, default: default.map(str::to_owned) })
        };
        assert_eq!(said("crm_master -G"), ask(false, None));
        assert_eq!(said("crm_attribute -p -G -q"), ask(true, None));
        assert_eq!(said("crm_attribute -p --query --quiet -d 0"), ask(true, Some("0")));
        assert_eq!(said("crm_node -n"), Ok(Word::AskNode));
    }

    #[test]
    fn all_else_is_refused_with_the_reason_and_another_code_than_done() {
        for (line, words) in [
            ("crm_master -v 5 -N ctl-2", "not of ctl-2"),
            ("crm_master -v 5 -r web", "not of web"),
            ("crm_attribute -p web -v 5", "not of web"),
            ("crm_attribute -n master-web -v 5", "not of web"),
            ("crm_master -v 5 -l forever", "say -l reboot"),
            ("crm_master -v five", "five is no score"),
            ("crm_master -v 5++", "5++ is no score"),
            ("crm_master -v", "-v needs a value"),
            ("crm_master -v 5 -D", "say what to do"),
            ("crm_master -z", "option -z is not heard"),
            ("crm_master now", "option now is not heard"),
            ("crm_attribute -N ctl-1 -l reboot --name db-last-committed -v 7", "db-last-committed"),
            ("crm_attribute --type crm_config --name x -s y -v 1", "--type is not heard"),
            ("crm_attribute -G", "without a name"),
            ("attrd_updater -p -n db-gtid -Q", "attrd_updater is not heard"),
            ("crm_mon -1X", "crm_mon is not heard"),
            ("crm_node -p", "crm_node -p is not heard"),
            ("crm_node", "crm_node  is not heard"),
        ] {
            let refusal = said(line).expect_err(line);
            assert!(refusal.to_string().contains(words), "{line}: {refusal}");
            assert!(refusal.code() != 0 && refusal.code() != NO_SUCH, "{line}");
        }
    }
}
