//! A resource instance, group or clone as the stages see it.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use crate::model::{Primitive, ResourceHistory, Role};

use super::{ActIx, ColocIx, NodeIx, NodeSet, ResIx, Verb};

/// What kind of resource. In rising order of containment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Variant {
    Primitive,
    Group,
    Clone,
}

/// What starting needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Requires {
    Nothing,
    Quorum,
    Fencing,
    Unfencing,
}

/// What to do with what runs more often than it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MultipleActive {
    StopStart,
    StopOnly,
    Block,
    StopUnexpected,
}

/// Whether a resource is looked for on a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Discovery {
    #[default]
    Always,
    Never,
    Exclusive,
}

/// One node in a resource's table of nodes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cell {
    pub(crate) score: i32,
    /// Whether the node is a candidate at all.
    pub(crate) present: bool,
    pub(crate) discovery: Discovery,
    /// Instances of a clone placed here (in the clone's own table).
    pub(crate) count: u32,
}

/// Why a score is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) node: Option<NodeIx>,
    pub(crate) score: i32,
    pub(crate) why: Source,
}

/// Where a score comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A location constraint, by position in the model.
    Location(usize),
    Stickiness,
    FailureLimit,
    FailedStop,
    HardError,
    FatalError,
    OnFailBan,
    FailedForGood,
    Health,
    Removed,
    Unmanaged,
    TargetRole,
    InstanceLimit,
    ShutdownLock,
    /// Connections, devices and guests are not for nodes that are reached by a connection.
    Remote,
    Ticket,
    MultipleActive,
    /// Of its capacities too little is left.
    Capacity,
    /// A colocation, by handle.
    Colocation(ColocIx),
}

/// A location constraint on one resource, resolved.
#[derive(Clone, Debug)]
pub(crate) struct LocationRule {
    /// Position in the model.
    pub(crate) index: usize,
    pub(crate) role: Option<Role>,
    pub(crate) nodes: Vec<(NodeIx, i32)>,
    pub(crate) discovery: Discovery,
}

/// A colocation of two resources.
#[derive(Clone, Debug)]
pub(crate) struct Coloc<'m> {
    /// Name for people.
    pub(crate) id: &'m str,
    pub(crate) dependent: ResIx,
    pub(crate) primary: ResIx,
    pub(crate) score: i32,
    pub(crate) dependent_role: Option<Role>,
    pub(crate) primary_role: Option<Role>,
    /// Node attribute that must be equal; `None` is the node itself.
    pub(crate) attribute: Option<&'m str>,
    pub(crate) influence: bool,
    /// Configured by a person, not implied by a group.
    pub(crate) explicit: bool,
}

/// From where to where something migrates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Migration {
    pub(crate) source: NodeIx,
    pub(crate) target: NodeIx,
}

/// Actions of one kind of a clone's instances.
#[derive(Default)]
pub(crate) struct Inner {
    /// Of each instance the first.
    pub(crate) first: Vec<(ResIx, ActIx)>,
    /// Of each instance the first that has no node.
    pub(crate) loose: Vec<(ResIx, ActIx)>,
    /// Those that have a node, by node and instance; of each instance one on each node.
    pub(crate) placed: Vec<(NodeIx, ResIx, ActIx)>,
}

/// One replica of a bundle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replica {
    pub(crate) container: ResIx,
    pub(crate) address: Option<ResIx>,
    pub(crate) connection: Option<ResIx>,
    /// The copy of what runs inside.
    pub(crate) child: Option<ResIx>,
}

/// One resource instance, group or clone.
pub(crate) struct Res<'m> {
    /// Unique name, numbered for instances.
    pub(crate) id: String,
    /// Name without the instance number.
    pub(crate) base: &'m str,
    /// Instance number.
    pub(crate) number: u32,
    pub(crate) variant: Variant,
    pub(crate) primitive: Option<&'m Primitive>,
    pub(crate) class: &'m str,
    pub(crate) parent: Option<ResIx>,
    pub(crate) children: Vec<ResIx>,
    pub(crate) meta: BTreeMap<&'m str, &'m str>,
    /// Name in history, if it differs from `id`.
    pub(crate) history_name: Option<String>,

    /// What `target-role` says, if it is a role.
    pub(crate) target_role: Option<Role>,
    pub(crate) priority: i32,
    pub(crate) stickiness: i32,
    pub(crate) migration_threshold: i32,
    pub(crate) failure_timeout: i64,
    pub(crate) requires: Requires,
    /// Whether it may move without being stopped first.
    pub(crate) allow_migrate: bool,
    /// What it takes of its node's capacities.
    pub(crate) utilization: BTreeMap<&'m str, i64>,
    pub(crate) multiple_active: MultipleActive,
    pub(crate) managed: bool,
    pub(crate) critical: bool,
    pub(crate) maintenance: bool,
    pub(crate) removed: bool,
    pub(crate) fencing_device: bool,
    pub(crate) unfencing_device: bool,
    /// Whether it is the connection to a remote or guest node.
    pub(crate) is_connection: bool,
    /// The node that it connects.
    pub(crate) connects: Option<NodeIx>,
    /// Whether a lost connection is tried again only after a while.
    pub(crate) reconnects_later: bool,
    /// What it runs inside of.
    pub(crate) container: Option<ResIx>,
    /// What runs inside of it.
    pub(crate) fillers: Vec<ResIx>,
    /// Of addresses, connections and clones: the bundle that they belong to.
    pub(crate) bundle: Option<ResIx>,
    /// Of bundles: what they consist of, and the clone of what runs inside.
    pub(crate) replicas: Vec<Replica>,
    pub(crate) inner_clone: Option<ResIx>,
    pub(crate) is_bundle: bool,

    // collectives
    pub(crate) promotable: bool,
    pub(crate) unique: bool,
    pub(crate) notify: bool,
    pub(crate) ordered: bool,
    pub(crate) interleave: bool,
    pub(crate) instances_max: u32,
    pub(crate) instances_per_node: u32,
    pub(crate) promoted_max: u32,
    pub(crate) promoted_per_node: u32,
    pub(crate) promotion_scores_added: bool,

    // state from history
    pub(crate) role: Role,
    pub(crate) next_role: Role,
    pub(crate) running_on: Vec<NodeIx>,
    pub(crate) known_on: NodeSet,
    /// Where history speaks of another agent than the configuration does.
    pub(crate) other_agent_on: NodeSet,
    pub(crate) failed: bool,
    pub(crate) stop_if_failed: bool,
    pub(crate) failure_ignored: bool,
    /// Nodes whose failures no longer count, because the definition has changed since.
    pub(crate) forgiven_on: Vec<NodeIx>,
    pub(crate) blocked: bool,
    pub(crate) start_pending: bool,
    /// Where it was looked for and not found, which is all that is recorded there.
    pub(crate) absent_on: NodeSet,
    /// What the other nodes have recorded of it.
    pub(crate) histories: Vec<(NodeIx, &'m ResourceHistory)>,
    pub(crate) ticket_missing: bool,
    pub(crate) pending_on: Option<NodeIx>,
    /// A live migration that has left its source and not reached its target yet.
    pub(crate) partial: Option<Migration>,
    /// Sources of migrations that arrived, where the stop is still missing.
    pub(crate) dangling_on: Vec<NodeIx>,
    pub(crate) locked_to: Option<NodeIx>,
    pub(crate) lock_time: i64,

    // placement
    pub(crate) allowed: Vec<Cell>,
    pub(crate) exclusive_discovery: bool,
    pub(crate) locations: Vec<usize>,
    pub(crate) this_with: Vec<ColocIx>,
    pub(crate) with_this: Vec<ColocIx>,
    pub(crate) unplaced: bool,
    pub(crate) placing: bool,
    pub(crate) merging: bool,
    pub(crate) node: Option<NodeIx>,
    pub(crate) promotion_order: i32,
    pub(crate) promotion_sorted: bool,
    pub(crate) reasons: Vec<Reason>,

    // actions
    pub(crate) acts: Vec<ActIx>,
    /// For clones of one primitive: what their instances do, in their order.
    pub(crate) inner: BTreeMap<Verb, Inner>,
    pub(crate) restarting: bool,
    pub(crate) stop_unexpected: bool,
}

impl Res<'_> {
    pub(crate) fn meta(&self, name: &str) -> Option<&str> {
        self.meta.get(name).copied()
    }

    pub(crate) fn meta_bool(&self, name: &str) -> Option<bool> {
        crate::model::parse_bool(self.meta(name)?)
    }

    pub(crate) fn is_primitive(&self) -> bool {
        self.variant == Variant::Primitive
    }

    pub(crate) fn is_clone(&self) -> bool {
        self.variant == Variant::Clone
    }

    pub(crate) fn is_anonymous_clone(&self) -> bool {
        self.is_clone() && !self.unique
    }

    pub(crate) fn current_node(&self) -> Option<NodeIx> {
        self.running_on.first().copied()
    }
}
