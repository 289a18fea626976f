//! What the stages share: the model with integer handles in place of names, and what has been decided so far.

mod action;
mod names;
mod node;
mod nodes;
mod resource;

pub(crate) use action::{Act, ActFlags, Edge, Needs, OrderEnd, OrderFlags, OrderRule, Verb};
use names::Names;
pub(crate) use node::{NodeState, Nodes};
pub(crate) use nodes::NodeSet;
pub(crate) use resource::{
    Cell, Coloc, Discovery, Inner, LocationRule, Migration, MultipleActive, Reason, Replica,
    Requires, Res, Source, Variant,
};

use alloc::{string::String, vec::Vec};
use core::{
    cell::RefCell,
    ops::{Index, IndexMut},
};

use crate::{
    digest::Digests,
    model::{INFINITY, Model},
    plan::Stage,
    unpack::Properties,
};

macro_rules! handle {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) struct $name(pub(crate) u32);

        impl $name {
            /// Models are limited far below `u32::MAX` (see `model::validate`).
            pub(crate) fn at(index: usize) -> Self {
                Self(u32::try_from(index).unwrap_or(u32::MAX))
            }

            pub(crate) const fn ix(self) -> usize {
                self.0 as usize
            }
        }
    };
}

handle!(
    /// A node.
    NodeIx
);
handle!(
    /// A resource instance, group or clone.
    ResIx
);
handle!(
    /// An action.
    ActIx
);
handle!(
    /// A colocation of two resources.
    ColocIx
);

/// A score in one row of the plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScoreNote {
    pub(crate) stage: Stage,
    pub(crate) resource: ResIx,
    pub(crate) node: NodeIx,
    pub(crate) score: i32,
}

/// The state of one computation.
pub(crate) struct World<'m> {
    pub(crate) model: &'m Model,
    pub(crate) opts: Properties,
    pub(crate) nodes: Vec<NodeState<'m>>,
    /// Per node whether it can run resources, as it was when places began to be chosen.
    pub(crate) usable: Vec<bool>,
    pub(crate) res: Vec<Res<'m>>,
    /// Resources outside any other, in order of declaration, removed ones last.
    pub(crate) top: Vec<ResIx>,
    /// Resources by name (instances by numbered name).
    names: Names,
    pub(crate) colocs: Vec<Coloc<'m>>,
    pub(crate) order_rules: Vec<OrderRule>,
    pub(crate) acts: Vec<Act>,
    /// How often an action has changed since orders began to be applied.
    pub(crate) changes: u64,
    /// Mandatory ties whose primary was not placed when its dependent chose.
    pub(crate) open_rings: Vec<(ResIx, ColocIx)>,
    /// Locations that apply to instances' promotion.
    pub(crate) locations: Vec<LocationRule>,
    pub(crate) scores: Vec<ScoreNote>,
    /// Whether anybody will ask for scores and reasons; decisions never do.
    pub(crate) explains: bool,
    /// Digests that were made before, by what they are of.
    pub(crate) digests: RefCell<Digests>,
    pub(crate) warnings: Vec<String>,
    /// Containers to be stopped because of what happened to their connections.
    pub(crate) stops_due: Vec<ResIx>,
    /// What is no longer configured and was in a container, by the name of that.
    pub(crate) lost_containers: Vec<(ResIx, String)>,
    /// Whether some device can fence.
    pub(crate) has_fencing_device: bool,
    /// Whether some device gives access back after fencing.
    pub(crate) unfencing_enabled: bool,
}

impl<'m> Index<NodeIx> for World<'m> {
    type Output = NodeState<'m>;
    fn index(&self, at: NodeIx) -> &Self::Output {
        &self.nodes[at.ix()]
    }
}
impl IndexMut<NodeIx> for World<'_> {
    fn index_mut(&mut self, at: NodeIx) -> &mut Self::Output {
        &mut self.nodes[at.ix()]
    }
}
impl<'m> Index<ResIx> for World<'m> {
    type Output = Res<'m>;
    fn index(&self, at: ResIx) -> &Self::Output {
        &self.res[at.ix()]
    }
}
impl IndexMut<ResIx> for World<'_> {
    fn index_mut(&mut self, at: ResIx) -> &mut Self::Output {
        &mut self.res[at.ix()]
    }
}
impl Index<ActIx> for World<'_> {
    type Output = Act;
    fn index(&self, at: ActIx) -> &Self::Output {
        &self.acts[at.ix()]
    }
}
impl IndexMut<ActIx> for World<'_> {
    fn index_mut(&mut self, at: ActIx) -> &mut Self::Output {
        &mut self.acts[at.ix()]
    }
}
impl<'m> Index<ColocIx> for World<'m> {
    type Output = Coloc<'m>;
    fn index(&self, at: ColocIx) -> &Self::Output {
        &self.colocs[at.ix()]
    }
}

/// Adds scores: saturates at the infinities, and minus infinity wins over plus infinity.
pub(crate) fn add_scores(a: i32, b: i32) -> i32 {
    if a <= -INFINITY || b <= -INFINITY {
        -INFINITY
    } else if a >= INFINITY || b >= INFINITY {
        INFINITY
    } else {
        (a + b).clamp(-INFINITY, INFINITY)
    }
}

impl<'m> World<'m> {
    pub(crate) fn new(model: &'m Model, opts: Properties) -> Self {
        Self {
            model,
            opts,
            nodes: Vec::new(),
            usable: Vec::new(),
            res: Vec::new(),
            top: Vec::new(),
            names: Names::default(),
            colocs: Vec::new(),
            order_rules: Vec::new(),
            acts: Vec::new(),
            changes: 0,
            open_rings: Vec::new(),
            locations: Vec::new(),
            scores: Vec::new(),
            explains: false,
            digests: RefCell::default(),
            warnings: Vec::new(),
            stops_due: Vec::new(),
            lost_containers: Vec::new(),
            // custom resources declare devices as levels, a CIB as resources
            has_fencing_device: !model.fencing_levels.is_empty(),
            unfencing_enabled: false,
        }
    }

    pub(crate) fn node_ids(&self) -> impl Iterator<Item = NodeIx> + use<> {
        (0..self.nodes.len()).map(NodeIx::at)
    }

    pub(crate) fn child_count(&self, r: ResIx) -> usize {
        self[r].children.len()
    }

    pub(crate) fn child(&self, r: ResIx, at: usize) -> ResIx {
        self[r].children[at]
    }

    /// The outermost resource that contains this one; what belongs to a bundle stands for itself.
    pub(crate) fn top_of(&self, mut r: ResIx) -> ResIx {
        while let Some(parent) = self[r].parent.filter(|parent| !self[*parent].is_bundle) {
            r = parent;
        }
        r
    }

    /// Adds to a resource's score on one node, or on all, with everything inside it, and remembers why.
    pub(crate) fn add_location(&mut self, r: ResIx, node: Option<NodeIx>, score: i32, why: Source) {
        for at in 0..self.child_count(r) {
            let child = self.child(r, at);
            self.add_location(child, node, score, why);
        }
        match node {
            Some(node) => self.add_node_score(r, node, score),
            None => {
                for node in self.node_ids() {
                    self.add_node_score(r, node, score);
                }
            }
        }
        self.note_reason(r, Reason { node, score, why });
    }

    /// As [`Self::add_location`] on all nodes, for the resource itself only.
    pub(crate) fn add_location_here(&mut self, r: ResIx, score: i32, why: Source) {
        for node in self.node_ids() {
            self.add_node_score(r, node, score);
        }
        self.note_reason(r, Reason { node: None, score, why });
    }

    /// Remembers why a score is what it is, for explanations.
    pub(crate) fn note_reason(&mut self, r: ResIx, reason: Reason) {
        if self.explains {
            self[r].reasons.push(reason);
        }
    }

    fn add_node_score(&mut self, r: ResIx, node: NodeIx, score: i32) {
        let base = self[node].score;
        let cell = &mut self[r].allowed[node.ix()];
        if !cell.present {
            cell.present = true;
            cell.score = base;
        }
        cell.score = add_scores(cell.score, score);
    }

    pub(crate) fn set_next_role(&mut self, r: ResIx, role: crate::model::Role) {
        self[r].next_role = role;
        for at in 0..self.child_count(r) {
            let child = self.child(r, at);
            self.set_next_role(child, role);
        }
    }
}
