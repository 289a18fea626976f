//! Options of the quorum. None is built yet; each is refused with the reason (CLUSTER.md section 3, rule 7).

/// What a spec may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wanted {
    /// A clean leave lowers the quorum.
    AllowDownscale,
    /// A vote from outside.
    Arbiter,
    /// Who stays on after members have left, one by one.
    LastManStanding,
    /// An even split is decided by a node.
    TieBreaker,
    /// Both halves of two are quorate; fencing decides.
    TwoNode,
    /// Not quorate after a start until all were seen once.
    WaitForAll,
}

/// An option that is not built. Nothing was set; whoever wrote the spec must take it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("quorum option {option:?} is refused: {reason}; remove it from the spec")]
pub struct RefusedOption {
    /// Which.
    pub option: Wanted,
    /// Why.
    pub reason: &'static str,
}

/// The rules in force: plain majority.
// `wait_for_all` will be a field here, and "waiting" a value that `Quorum::of` is given beside the members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules(pub(crate) ());

impl Rules {
    /// Plain majority, if nothing else is wanted.
    pub fn new(wanted: &[Wanted]) -> Result<Self, RefusedOption> {
        let Some(&option) = wanted.first() else { return Ok(Self(())) };
        let reason = match option {
            Wanted::AllowDownscale => {
                "voters are part of the replicated state and change one at a time by a revision"
            }
            Wanted::Arbiter | Wanted::LastManStanding | Wanted::TieBreaker => {
                "it is not in the model that shows that two halves never act at once"
            }
            Wanted::TwoNode | Wanted::WaitForAll => "it is not built yet; it comes with two-node",
        };
        Err(RefusedOption { option, reason })
    }
}
