//! What a member says about itself and its cluster: the answer to `palisade status`.
//!
//! Stable for programs (DESIGN.md section 7): fields are added, never renamed. Made by the ring part from the replicated
//! state, printed by the CLI.

use serde::{Deserialize, Serialize};

/// The whole answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the agent that answers.
    pub version: String,
    /// `namespace/name`.
    pub cluster: String,
    /// Name of the member that answers.
    pub node: String,
    /// Milliseconds since 1970 on that member.
    pub at_ms: u64,
    /// The ring as this member sees it.
    pub ring: RingStatus,
    /// Whether this member's component has the majority of the voters.
    pub quorate: bool,
    /// The era, when there is a configuration.
    pub era: Option<EraStatus>,
    /// Name of the coordinator of this component.
    pub coordinator: Option<String>,
    /// All voters, by name.
    pub nodes: Vec<NodeStatus>,
    /// All resources, by id.
    pub resources: Vec<ResourceStatus>,
    /// Who owes evidence, and what that blocks.
    pub debts: Vec<DebtStatus>,
    /// Open fencing operations, and the last ones.
    pub operations: Vec<OperationStatus>,
    /// What is not as it should be on this member.
    pub conditions: Vec<ConditionStatus>,
    /// The last failures of members with their phases, the newest last.
    pub incidents: Vec<IncidentStatus>,
}

/// The ring.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingStatus {
    /// `waiting` (for the first contact with the API), `gather`, `commit`, `recovery`, `operational`, `left`.
    pub state: String,
    /// `REP.SEQ` of the last regular configuration.
    pub id: Option<String>,
    /// Names of its members.
    pub members: Vec<String>,
    /// Configurations since this agent started.
    pub configurations: u64,
    /// Datagrams that were dropped since this agent started, by reason.
    pub dropped: u64,
}

/// The era.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EraStatus {
    /// Its name, which is the ring id.
    pub id: String,
    /// Its ring sequence, as objects carry it in `observedEra`.
    pub sequence: u64,
    /// Whether orders count.
    pub open: bool,
    /// Why not, when not.
    pub waiting_for: Option<String>,
    /// Members that have not reported yet.
    pub unreported: Vec<String>,
}

/// One voter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: u16,
    /// `online`, `standby`, `maintenance`, `pending`, `offline`, `unclean`, `evicted`.
    pub state: String,
    /// Why, for people.
    pub reason: Option<String>,
    /// Life of its agent.
    pub incarnation: Option<String>,
}

/// One resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceStatus {
    /// Its id.
    pub id: String,
    /// `Address`, `Process`, ...
    pub kind: String,
    /// Where it runs or may run.
    pub instances: Vec<InstanceStatus>,
    /// Why it is not where it should be, for people.
    pub reason: Option<String>,
    /// Its object is gone and the resource was retained (CLUSTER.md section 7).
    pub retained: bool,
}

/// One instance of a resource on one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Name of the member.
    pub node: String,
    /// `Stopped`, `Started`, `Unpromoted`, `Promoted`, `Unknown`.
    pub role: String,
    /// Failures counted there.
    pub failures: u32,
    /// A stop failed: it stays where it is.
    pub stop_failed: bool,
    /// What is under way or wrong there now.
    pub failed: Option<String>,
    /// Of failures: which operation failed last and why, in its driver's words.
    pub reason: Option<String>,
}

/// One debt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebtStatus {
    /// Who owes evidence.
    pub node: String,
    /// Ring id at which the debt arose.
    pub incident: String,
    /// What is being done about it, or why nothing can be, with the way out.
    pub reason: String,
    /// Resources that wait for it.
    pub blocks: Vec<String>,
}

/// One fencing operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationStatus {
    /// The target.
    pub node: String,
    /// Ring id at which the debt arose.
    pub incident: String,
    /// What was last seen of it.
    pub state: String,
    /// Member that carries it out.
    pub executor: Option<String>,
    /// Tries so far.
    pub attempts: u32,
    /// Kind of evidence, when there is some.
    pub evidence: Option<String>,
}

/// One condition of this member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionStatus {
    /// One of [`crate::conditions`].
    #[serde(rename = "type")]
    pub kind: String,
    /// `CamelCase`.
    pub reason: String,
    /// With the way out.
    pub message: String,
}

/// The failure of one member, in parts (DESIGN.md section 3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentStatus {
    /// Who failed.
    pub node: String,
    /// Ring id at which the debt arose.
    pub incident: String,
    /// When the silence began: the last token of the old ring, in milliseconds since 1970 on this member.
    pub at_ms: u64,
    /// How long each part took. A part that has not ended, or was not needed, is missing.
    pub phases_ms: Phases,
}

/// Parts of a failover, in milliseconds, each from the end of the one before; `recover` and `announce` share their time, so
/// that the sum of all is the time from the last token until everything runs and is seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
    /// Last token to broken ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detect: Option<u64>,
    /// Broken ring to open era.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agree: Option<u64>,
    /// Open era to the fencing intent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<u64>,
    /// Fencing intent to the accepted power-off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fence: Option<u64>,
    /// Accepted power-off to evidence in effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<u64>,
    /// Evidence to the last start, without `announce`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recover: Option<u64>,
    /// Address added until a peer has said that it sees it there; missing where no address moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub announce: Option<u64>,
}

impl Phases {
    /// Name and milliseconds of each, in their order.
    pub const fn parts(&self) -> [(&'static str, Option<u64>); 7] {
        let Self { detect, agree, plan, fence, verify, recover, announce } = *self;
        [
            ("detect", detect),
            ("agree", agree),
            ("plan", plan),
            ("fence", fence),
            ("verify", verify),
            ("recover", recover),
            ("announce", announce),
        ]
    }

    /// Milliseconds of all that are known.
    pub fn total_ms(&self) -> u64 {
        self.parts().into_iter().filter_map(|(_, ms)| ms).sum()
    }
}
