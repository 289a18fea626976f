//! One action per resource, kind and node; asking again for the same one only ever makes it more required.

use alloc::{string::String, vec::Vec};

use crate::{
    model::Role,
    plan::FenceAction,
    unpack::{QuorumPolicy, can_fence, mark_for_fencing},
    world::{Act, ActFlags, ActIx, Needs, NodeIx, Requires, ResIx, Verb, World},
};

impl World<'_> {
    /// An ordering point that belongs to no resource.
    pub(crate) fn new_sync(&mut self, label: String) -> ActIx {
        let act = self.push_act(Verb::Sync, None, None, label);
        self[act].set(ActFlags::PSEUDO | ActFlags::OPTIONAL);
        act
    }

    pub(crate) fn push_act(
        &mut self,
        verb: Verb,
        res: Option<ResIx>,
        node: Option<NodeIx>,
        label: String,
    ) -> ActIx {
        let at = ActIx::at(self.acts.len());
        self.acts.push(Act {
            verb,
            res,
            node,
            interval_ms: 0,
            label,
            flags: ActFlags::RUNNABLE,
            needs: Needs::Nothing,
            before: Vec::new(),
            after: Vec::new(),
            required_before: 0,
            fence: FenceAction::Reboot,
            why: "",
            blocked_by: None,
            required_by: None,
            queued: false,
            whole: None,
        });
        if let Some(r) = res {
            self[r].acts.push(at);
        }
        at
    }

    /// The action of a resource on a node, made if there is none yet.
    pub(crate) fn act(
        &mut self,
        r: ResIx,
        verb: Verb,
        node: Option<NodeIx>,
        optional: bool,
    ) -> ActIx {
        self.recurring_act(r, verb, node, optional, 0, "")
    }

    pub(crate) fn recurring_act(
        &mut self,
        r: ResIx,
        verb: Verb,
        node: Option<NodeIx>,
        optional: bool,
        interval_ms: u64,
        label: &str,
    ) -> ActIx {
        let found = self[r].acts.iter().copied().find(|at| {
            let act = &self[*at];
            act.verb == verb
                && act.interval_ms == interval_ms
                && (act.node == node || act.node.is_none() || node.is_none())
                && act.label == label
        });
        let at = match found {
            Some(at) => {
                if self[at].node.is_none() {
                    self[at].node = node;
                }
                at
            }
            None => {
                let at = self.push_act(verb, Some(r), node, label.into());
                self[at].interval_ms = interval_ms;
                self[at].needs = self.needs(r, verb);
                if optional {
                    self[at].set(ActFlags::OPTIONAL);
                }
                at
            }
        };
        let act = &self[at];
        if act.node.is_some()
            && !act.pseudo()
            && !self[r].managed
            && interval_ms == 0
            && verb != Verb::Cancel
        {
            self[at].set(ActFlags::OPTIONAL);
        } else if !optional {
            self[at].clear(ActFlags::OPTIONAL);
        }
        self.update_runnable(at);
        at
    }

    fn needs(&self, r: ResIx, verb: Verb) -> Needs {
        if !matches!(verb, Verb::Start | Verb::Promote) {
            return Needs::Nothing;
        }
        match self[r].requires {
            Requires::Nothing => Needs::Nothing,
            Requires::Quorum => Needs::Quorum,
            Requires::Fencing | Requires::Unfencing => Needs::Fencing,
        }
    }

    fn update_runnable(&mut self, at: ActIx) {
        if self[at].pseudo() {
            return;
        }
        let Some(r) = self[at].res else { return };
        let Some(node) = self[at].node else {
            self[at].clear(ActFlags::RUNNABLE);
            return;
        };
        let (verb, needs) = (self[at].verb, self[at].needs);
        if !self[node].online && (!self.is_guest(node) || self[node].needs_reset) {
            self[at].clear(ActFlags::RUNNABLE);
            self[at].why = "node is offline";
            if self[r].managed && verb == Verb::Stop && !self[node].unclean {
                mark_for_fencing(self, node, "a stop cannot be run there");
            }
            return;
        }
        if self[node].pending {
            self[at].clear(ActFlags::RUNNABLE);
            self[at].why = "node is pending";
            return;
        }
        if needs == Needs::Nothing {
            self[at].set(ActFlags::RUNNABLE);
            if self.is_guest(node) && !can_fence(self, node) {
                self[at].clear(ActFlags::RUNNABLE);
                self[at].why = "its host is lost and cannot be fenced";
            }
            return;
        }
        match self.quorum_policy_for(r) {
            QuorumPolicy::Stop => {
                self[at].clear(ActFlags::RUNNABLE);
                self[at].why = "no quorum";
            }
            QuorumPolicy::Freeze => {
                let res = &self[r];
                if res.running_on.is_empty() || res.next_role > res.role {
                    self[at].clear(ActFlags::RUNNABLE);
                    self[at].why = "quorum freeze";
                }
            }
            _ => self[at].set(ActFlags::RUNNABLE),
        }
    }

    fn quorum_policy_for(&mut self, r: ResIx) -> QuorumPolicy {
        if self.model.quorate {
            return QuorumPolicy::Ignore;
        }
        match self.opts.quorum_policy {
            QuorumPolicy::Demote => match self[r].role {
                Role::Promoted | Role::Unpromoted => {
                    if self[r].next_role > Role::Unpromoted {
                        self.set_next_role(r, Role::Unpromoted);
                    }
                    QuorumPolicy::Ignore
                }
                _ => QuorumPolicy::Stop,
            },
            other => other,
        }
    }

    /// An ordering point of a group or clone.
    pub(crate) fn pseudo_act(
        &mut self,
        r: ResIx,
        verb: Verb,
        optional: bool,
        runnable: bool,
    ) -> ActIx {
        let found = self[r].acts.iter().copied().find(|at| self[*at].verb == verb);
        let at = match found {
            Some(at) => at,
            None => {
                let at = self.push_act(verb, Some(r), None, String::new());
                self[at].set(ActFlags::OPTIONAL);
                at
            }
        };
        self[at].set(ActFlags::PSEUDO);
        if !optional {
            self[at].clear(ActFlags::OPTIONAL);
        }
        if runnable {
            self[at].set(ActFlags::RUNNABLE);
        } else {
            self[at].clear(ActFlags::RUNNABLE);
        }
        at
    }
}

/// Actions of one kind of a resource; on one node, if one is given.
pub(crate) fn actions_of(
    world: &World<'_>,
    r: ResIx,
    verb: Verb,
    node: Option<NodeIx>,
) -> Vec<ActIx> {
    world[r]
        .acts
        .iter()
        .copied()
        .filter(|at| {
            let act = &world[*at];
            act.verb == verb && node.is_none_or(|node| act.node == Some(node))
        })
        .collect()
}

/// The first action of one kind; on the node, or failing that one that has no node yet.
pub(crate) fn first_action(
    world: &World<'_>,
    r: ResIx,
    verb: Verb,
    node: Option<NodeIx>,
) -> Option<ActIx> {
    let mut loose = None;
    for at in world[r].acts.iter().copied() {
        let act = &world[at];
        if act.verb != verb {
            continue;
        }
        match (node, act.node) {
            (None, _) => return Some(at),
            (Some(wanted), Some(is)) if wanted == is => return Some(at),
            (Some(_), None) => loose = loose.or(Some(at)),
            (Some(_), Some(_)) => {}
        }
    }
    loose
}
