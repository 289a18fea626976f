//! What one evaluation leaves for the next: an event changes little, so most of history is as it was read before.
//!
//! Invariants: only what is a function of data that is still the same data is taken over ([`Shared::is_same`]), and only
//! where names still mean the same resources; so the answer is that of an evaluation from scratch, byte for byte.

use alloc::{string::String, vec::Vec};

use crate::{
    Detail, Error, Model, Plan,
    digest::Digests,
    model::{Resource, ResourceHistory, Shared},
    plan_with,
    world::{ResIx, World},
};

/// Plans anew after each event. Gives what [`crate::schedule`] gives, sooner, where successive models share the
/// histories of nodes on which nothing happened (clone the last model and change it).
#[derive(Clone, Debug, Default)]
pub struct Scheduler {
    memory: Memory,
}

impl Scheduler {
    /// As [`crate::schedule`].
    ///
    /// # Errors
    /// As [`crate::schedule`].
    pub fn schedule(&mut self, model: &Model) -> Result<Plan, Error> {
        plan_with(model, Detail::Decision, &mut self.memory)
    }
}

/// What is known of the last model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    /// Nothing is kept where nobody asks again.
    idle: bool,
    /// The configuration that was planned for last.
    resources: Option<Shared<Vec<Resource>>>,
    /// The configured resources, by handle.
    layout: Vec<Layout>,
    /// Per node, by handle.
    nodes: Vec<Option<Read>>,
    /// A function of the text alone, so they hold for every model.
    pub(crate) digests: Digests,
}

/// What names and agents in history are compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Layout {
    id: String,
    agent: Option<[String; 3]>,
    numbered: bool,
}

/// A node's history, as it was read.
#[derive(Clone, Debug)]
struct Read {
    history: Shared<Vec<ResourceHistory>>,
    /// Per record.
    known: Vec<Known>,
}

/// What is known of a record of history; the handles are those of configured resources.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Known {
    /// It is to be read as if for the first time.
    Nothing,
    /// It says that this resource was looked for and not found, and nothing else.
    Absent(ResIx),
    /// It says more than that.
    About {
        /// The resource that has its name, if one has.
        named: Option<ResIx>,
        /// Whether it speaks of another agent than the configuration does.
        other_agent: bool,
    },
}

impl Memory {
    /// For an evaluation that stands alone.
    pub(crate) fn none() -> Self {
        Self { idle: true, ..Self::default() }
    }

    /// Whether the history of this node was checked before, found valid and planned for.
    pub(crate) fn has_checked(&self, node: usize, history: &Shared<Vec<ResourceHistory>>) -> bool {
        self.nodes
            .get(node)
            .and_then(Option::as_ref)
            .is_some_and(|read| read.history.is_same(history))
    }

    /// Whether these resources were checked before and found valid.
    pub(crate) fn has_planned(&self, resources: &Shared<Vec<Resource>>) -> bool {
        self.resources.as_ref().is_some_and(|known| known.is_same(resources))
    }

    /// Forgets what was read if names mean something else by now.
    pub(crate) fn settle_layout(&mut self, world: &World<'_>) {
        if self.idle {
            return;
        }
        self.resources = Some(world.model.resources.clone());
        let same = self.layout.len() == world.res.len()
            && (self.layout.iter().zip(0..)).all(|(known, at)| is_as(world, ResIx(at), known));
        if !same {
            let all = (0..world.res.len()).map(ResIx::at);
            self.layout = all.map(|r| layout(world, r)).collect();
            self.nodes.clear();
        }
        self.nodes.resize(world.nodes.len(), None);
    }

    /// What was read of a node's history before, if it still is the same.
    pub(crate) fn take(
        &mut self,
        node: usize,
        history: &Shared<Vec<ResourceHistory>>,
    ) -> Option<Vec<Known>> {
        let read = self.nodes.get_mut(node)?.take_if(|read| read.history.is_same(history))?;
        Some(read.known)
    }

    /// Remembers what was read.
    pub(crate) fn keep(
        &mut self,
        node: usize,
        history: &Shared<Vec<ResourceHistory>>,
        known: Vec<Known>,
    ) {
        if let Some(slot) = self.nodes.get_mut(node) {
            *slot = Some(Read { history: history.clone(), known });
        }
    }

    /// Whether what is read is to be kept.
    pub(crate) const fn is_idle(&self) -> bool {
        self.idle
    }

    /// Whether a handle means a configured resource, and not one that only history knows.
    pub(crate) fn is_configured(&self, r: ResIx) -> bool {
        r.ix() < self.layout.len()
    }
}

fn layout(world: &World<'_>, r: ResIx) -> Layout {
    Layout {
        id: world[r].id.clone(),
        agent: world[r].primitive.map(|p| [p.class.clone(), p.provider.clone(), p.agent.clone()]),
        numbered: world[world.top_of(r)].is_anonymous_clone(),
    }
}

fn is_as(world: &World<'_>, r: ResIx, known: &Layout) -> bool {
    let agent = world[r].primitive.map(|p| [&p.class, &p.provider, &p.agent]);
    world[r].id == known.id
        && world[world.top_of(r)].is_anonymous_clone() == known.numbered
        && match (&known.agent, agent) {
            (None, None) => true,
            (Some(known), Some(agent)) => known.iter().zip(agent).all(|(a, b)| a == b),
            _ => false,
        }
}
