//! Two answers beside each other: state, actions, their order, and what else is done (probes, monitors, notifications).

use std::{collections::BTreeSet, fmt};

use super::answer::{self, Answer, Step};

/// What came of one CIB.
pub(crate) enum Verdict {
    /// Ours does not plan it; why.
    Unsupported(String),
    /// Pacemaker did not take it; why.
    Refused(String),
    /// Both have a plan.
    Compared(Difference),
}

/// Lines that differ: `-` Pacemaker's alone, `+` ours alone.
#[derive(Default)]
pub(crate) struct Difference {
    pub(crate) state: Vec<String>,
    pub(crate) actions: Vec<String>,
    pub(crate) order: Vec<String>,
    pub(crate) extras: Vec<String>,
}

impl Difference {
    /// Whether all that differs is that Pacemaker stops and starts again what ours leaves running.
    pub(crate) fn ours_is_calmer(&self) -> bool {
        let again = |line: &String| {
            let other = match line.strip_prefix("- stop ") {
                Some(rest) => format!("- start {rest}"),
                None => line.replacen("- start ", "- stop ", 1),
            };
            other != *line && self.actions.contains(&other)
        };
        self.state.is_empty() && !self.actions.is_empty() && self.actions.iter().all(again)
    }

    /// The first of the levels at which they differ; extras are for information.
    pub(crate) fn level(&self) -> Option<&'static str> {
        if self.ours_is_calmer() {
            return Some("calmer");
        }
        if !self.state.is_empty() && self.actions.is_empty() {
            return Some("shown");
        }
        let levels = [("state", &self.state), ("actions", &self.actions), ("order", &self.order)];
        levels.into_iter().find(|(_, lines)| !lines.is_empty()).map(|(name, _)| name)
    }
}

/// Asks both.
pub(crate) fn judge(text: &str) -> Verdict {
    let ours = match ours(text) {
        Ok(answer) => answer,
        Err(error) => return Verdict::Unsupported(error),
    };
    // Pacemaker does nothing but probe then, which is a difference that is meant (docs/parity.md)
    if answer::fences_with_nothing(text) {
        return Verdict::Refused("fencing is enabled and there is no device".to_owned());
    }
    match answer::of_peer(text) {
        Ok(theirs) if twice(&theirs) => {
            Verdict::Refused("two copies of a resource start on one node".to_owned())
        }
        Ok(theirs) => Verdict::Compared(difference(&ours, &theirs)),
        Err(error) => Verdict::Refused(error),
    }
}

/// Both answers as they are.
pub(crate) fn both(text: &str) -> String {
    let mut scores = String::new();
    if let Ok(cib) = cib::read(text) {
        let plan = policy::explain(&cib.model).unwrap_or_default();
        for row in &plan.scores {
            let line = format!("{:?} {} {} {}\n", row.stage, row.resource, row.node, row.score);
            scores.push_str(&line);
        }
    }
    let answers = [("ours", ours(text)), ("Pacemaker", answer::of_peer(text))];
    answers.into_iter().fold(scores, |all, (name, answer)| match answer {
        Ok(answer) => {
            let all_steps = steps(&answer, |_| true).join("\n  ");
            format!("{all}{name}\n  {}\n  --\n  {all_steps}\n", places(&answer).join("\n  "))
        }
        Err(error) => format!("{all}{name}: {error}\n"),
    })
}

/// Whether one thing is started twice on a node, which no cluster can do; 2.1.5 plans it now and then.
fn twice(answer: &Answer) -> bool {
    let starts = steps(answer, |step| step.operation == "start");
    starts.windows(2).any(|pair| pair[0] == pair[1])
}

fn ours(text: &str) -> Result<Answer, String> {
    let cib = cib::read(text).map_err(|e| e.to_string())?;
    let mut model = cib.model;
    model.now = cib.execution_date.unwrap_or(1_700_000_000);
    policy::schedule(&model).map(|plan| answer::of_plan(&plan)).map_err(|e| e.to_string())
}

fn difference(ours: &Answer, theirs: &Answer) -> Difference {
    let mut found = Difference {
        state: lines(&places(ours), &places(theirs)),
        actions: lines(&steps(ours, Step::is_core), &steps(theirs, Step::is_core)),
        order: Vec::new(),
        extras: lines(&steps(ours, Step::is_extra), &steps(theirs, Step::is_extra)),
    };
    if found.actions.is_empty() {
        let (ours, theirs) = (relation(ours), relation(theirs));
        let swapped = |pair: &(String, String)| (pair.1.clone(), pair.0.clone());
        found.order.extend(theirs.difference(&ours).map(|(a, b)| format!("- {a} -> {b}")));
        let reversed = ours.difference(&theirs).filter(|pair| theirs.contains(&swapped(pair)));
        found.order.extend(reversed.map(|(a, b)| format!("+ {a} -> {b} (reversed)")));
    }
    found
}

/// What only one of two sorted lists has, counted.
fn lines(ours: &[String], theirs: &[String]) -> Vec<String> {
    let mut rest: Vec<&String> = ours.iter().collect();
    let mut lines = Vec::new();
    for line in theirs {
        match rest.iter().position(|other| *other == line) {
            Some(at) => drop(rest.swap_remove(at)),
            None => lines.push(format!("- {line}")),
        }
    }
    rest.sort();
    lines.extend(rest.into_iter().map(|line| format!("+ {line}")));
    lines
}

fn places(answer: &Answer) -> Vec<String> {
    let all = answer.places.iter().flat_map(|(id, list)| list.iter().map(move |at| (id, at)));
    let mut lines: Vec<String> =
        all.map(|(id, (node, role))| format!("{id} {role} {node}")).collect();
    lines.extend(answer.fenced.iter().map(|node| format!("fenced {node}")));
    lines
}

fn steps(answer: &Answer, counts: fn(&Step) -> bool) -> Vec<String> {
    let mut lines: Vec<String> = answer
        .steps
        .iter()
        .flatten()
        .filter(|step| counts(step))
        .map(|step| {
            let detail = if step.is_core() { "" } else { step.detail.as_str() };
            format!("{} {} {} {detail}", step.operation, step.resource, step.node)
                .trim_end()
                .to_owned()
        })
        .collect();
    lines.sort();
    lines
}

/// Pairs of core actions of which the first ends before the second begins, by whatever way.
fn relation(answer: &Answer) -> BTreeSet<(String, String)> {
    let mut after = vec![Vec::new(); answer.steps.len()];
    for (from, to) in &answer.order {
        after[*from].push(*to);
    }
    let name = |at: usize| {
        let step = answer.steps[at].as_ref().filter(|step| step.is_core())?;
        Some(format!("{} {} {}", step.operation, step.resource, step.node))
    };
    let mut pairs = BTreeSet::new();
    for from in 0..answer.steps.len() {
        let Some(first) = name(from) else { continue };
        let (mut seen, mut open) = (vec![false; answer.steps.len()], after[from].clone());
        while let Some(at) = open.pop() {
            if !std::mem::replace(&mut seen[at], true) {
                pairs.extend(name(at).map(|then| (first.clone(), then)));
                open.extend(&after[at]);
            }
        }
    }
    pairs
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = match self {
            Self::Unsupported(why) => return write!(f, "unsupported: {why}"),
            Self::Refused(why) => return write!(f, "refused by Pacemaker: {why}"),
            Self::Compared(found) => found,
        };
        let parts = [
            ("state", &found.state),
            ("actions", &found.actions),
            ("order", &found.order),
            ("extras", &found.extras),
        ];
        for (name, lines) in parts {
            for line in lines {
                writeln!(f, "  {name:8}{line}")?;
            }
        }
        Ok(())
    }
}
