//! What people and machines match on: groups, field managers, condition types, reasons, events (STYLE.md 17).
//!
//! Words here are contracts: add, don't change.

/// API group of every kind.
pub const GROUP: &str = "palisade.dev";
/// Version of every kind.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` of every kind.
pub const API_VERSION: &str = "palisade.dev/v1alpha1";

/// Field managers of server-side apply: one writer per section.
pub mod manager {
    /// The controller: specs of what it creates, labels, owner references.
    pub const CONTROLLER: &str = "palisade-controller";
    /// The controller's part of statuses: `Accepted` and `observedGeneration`.
    pub const CONTROLLER_STATUS: &str = "palisade-controller-status";
    /// The coordinator's part of statuses, and `FencingOperation` objects.
    pub const COORDINATOR: &str = "palisade-coordinator";
    /// A member that is in no ring: that it cannot be, on its own `HANode`.
    pub const MEMBER: &str = "palisade-member";
}

/// Labels that we set.
pub mod label {
    /// On what the controller or the coordinator creates: name of the cluster.
    pub const CLUSTER: &str = "palisade.dev/cluster";
    /// On `FencingOperation`: name of the member.
    pub const NODE: &str = "palisade.dev/node";
    /// `palisade`, on everything that we create.
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
}

/// Condition types.
pub mod condition {
    /// The spec of `observedGeneration` is understood and in force. Written by the controller.
    pub const ACCEPTED: &str = "Accepted";
    /// Something works less well than it should.
    pub const DEGRADED: &str = "Degraded";
    /// Every member can be powered off.
    pub const FENCING_READY: &str = "FencingReady";
    /// Something is on its way.
    pub const PROGRESSING: &str = "Progressing";
    /// The cluster has quorum.
    pub const QUORATE: &str = "Quorate";
    /// It does what the spec says.
    pub const READY: &str = "Ready";
    /// The member cannot take part in the ring, by its own word: nobody else can say it.
    pub const CANNOT_JOIN: &str = "CannotJoin";
    /// The member cannot reach the API.
    pub const API_UNREACHABLE: &str = "ApiUnreachable";
    /// The part of the member's agent that starts and stops does not answer.
    pub const EXECUTOR_AWAY: &str = "ExecutorAway";
    /// The part of the member's agent that powers others off does not answer.
    pub const FENCER_AWAY: &str = "FencerAway";
    /// The ring key that the API has is none, or not the one that the member uses.
    pub const KEY_INVALID: &str = "KeyInvalid";
    /// Links of the member share a subnet or an interface: one failure takes both.
    pub const LINKS_NOT_REDUNDANT: &str = "LinksNotRedundant";
    /// The kernel refused something to the member's agent: under load it may be taken for dead.
    pub const PRIVILEGE_REFUSED: &str = "PrivilegeRefused";
    /// Secrets in the member's state directory are not sealed by a TPM.
    pub const SECRETS_UNSEALED: &str = "SecretsUnsealed";
    /// The member is no machine, but plays one.
    pub const STAND_IN: &str = "StandIn";
    /// The member cannot make something durable.
    pub const STATE_DIRECTORY_FAILING: &str = "StateDirectoryFailing";
    /// A file of the member's state directory could not be believed at its start.
    pub const STATE_SET_ASIDE: &str = "StateSetAside";
    /// The agent of the member was not run for longer than half of the token timeout, a moment ago.
    pub const EXECUTION_GAP: &str = "ExecutionGap";
    /// The watchdog that the member's machine is configured with is not proven armed.
    pub const WATCHDOG_NOT_ARMED: &str = "WatchdogNotArmed";
    /// As kstatus reads it: work in progress.
    pub const RECONCILING: &str = "Reconciling";
    /// As kstatus reads it: cannot go on without a person.
    pub const STALLED: &str = "Stalled";
}

/// Reasons of conditions.
pub mod reason {
    /// Everything is as it should be.
    pub const AS_SPECIFIED: &str = "AsSpecified";
    /// The certificate of a fence device is not the one that was to be expected.
    pub const CERTIFICATE_UNTRUSTED: &str = "CertificateUntrusted";
    /// What the spec says does not fit the device, for example several systems and none chosen.
    pub const DEVICE_MISFIT: &str = "DeviceMisfit";
    /// The machine of a fence device has not said yet who it is.
    pub const IDENTITY_UNKNOWN: &str = "IdentityUnknown";
    /// Some members can use it, others cannot; the message says who and why.
    pub const NOT_FROM_ALL: &str = "NotFromAll";
    /// The device does not answer as its protocol asks.
    pub const PROTOCOL_VIOLATION: &str = "ProtocolViolation";
    /// Nothing answers at the address.
    pub const UNREACHABLE: &str = "Unreachable";
    /// The device belongs to another machine than the one that it is to switch off.
    pub const WRONG_IDENTITY: &str = "WrongIdentity";
    /// The credentials Secret of a fence device is missing, lacks an entry, or the device refuses what it holds.
    pub const CREDENTIALS_INVALID: &str = "CredentialsInvalid";
    /// A request or confirmation was carried out.
    pub const DONE: &str = "Done";
    /// Another object uses the same resource id or address.
    pub const DUPLICATE: &str = "Duplicate";
    /// Members are being powered off or wait for it.
    pub const FENCING: &str = "Fencing";
    /// Too many power-offs in the window; a person must look.
    pub const FENCING_SUSPENDED: &str = "FencingSuspended";
    /// A field has a value that the schema allows and we do not.
    pub const INVALID: &str = "Invalid";
    /// The ring's key Secret is missing or its entry has the wrong size.
    pub const KEY_INVALID: &str = "KeyInvalid";
    /// Links of a member share a subnet or an interface.
    pub const LINKS_NOT_REDUNDANT: &str = "LinksNotRedundant";
    /// A rule of a location constraint holds on no member.
    pub const MATCHES_NOBODY: &str = "MatchesNobody";
    /// Members of the cluster are missing.
    pub const MEMBERS_MISSING: &str = "MembersMissing";
    /// A machine's only power switch hangs on the power of that machine.
    pub const SINGLE_POINT_OF_FAILURE: &str = "SinglePointOfFailure";
    /// Some member has no device that can power it off.
    pub const NO_FENCING_METHOD: &str = "NoFencingMethod";
    /// The `HACluster` that `clusterRef` names does not exist (yet).
    pub const NO_SUCH_CLUSTER: &str = "NoSuchCluster";
    /// Less than a majority of the voters.
    pub const NO_QUORUM: &str = "NoQuorum";
    /// The cluster's name of a member is not a Kubernetes Node (yet).
    pub const NODE_NOT_FOUND: &str = "NodeNotFound";
    /// `noQuorumPolicy: Ignore` while exclusive resources exist.
    pub const IGNORE_WITH_EXCLUSIVE: &str = "IgnoreWithExclusive";
    /// Order constraints form a cycle.
    pub const ORDER_CYCLE: &str = "OrderCycle";
    /// Carried out in part.
    pub const PENDING: &str = "Pending";
    /// A request was refused; the message says why.
    pub const REFUSED: &str = "Refused";
    /// An object's generation went backwards: restored etcd or stale server. The accepted revision stays.
    pub const SPEC_REGRESSED: &str = "SpecRegressed";
    /// More than one voter has lost its disk; a person must decide.
    pub const STATE_LOST: &str = "StateLost";
    /// The member says so of itself.
    pub const SAID_BY_MEMBER: &str = "SaidByMember";
    /// Nobody is fenced and nothing is recovered, as a person asked (`palisade suspend`).
    pub const SUSPENDED: &str = "Suspended";
    /// No member may run it.
    pub const UNPLACEABLE: &str = "Unplaceable";
    /// Fencing is off while exclusive resources exist.
    pub const UNFENCED: &str = "Unfenced";
    /// Something that the spec names does not exist (yet).
    pub const UNKNOWN_REFERENCE: &str = "UnknownReference";
    /// A majority is there.
    pub const MAJORITY: &str = "Majority";
}

/// What fencers say of a device in `Ready` of its `FenceDevice`; another word is of a later version. The coordinator writes
/// it, the controller reads it into `FencingReady`.
pub const SAID_OF_DEVICES: [&str; 9] = [
    reason::CERTIFICATE_UNTRUSTED,
    reason::CREDENTIALS_INVALID,
    reason::DEVICE_MISFIT,
    condition::FENCER_AWAY,
    reason::IDENTITY_UNKNOWN,
    reason::PROTOCOL_VIOLATION,
    reason::REFUSED,
    reason::UNREACHABLE,
    reason::WRONG_IDENTITY,
];

/// In the message of [`reason::NODE_NOT_FOUND`]: the controller says it in `Accepted`, the coordinator repeats it in `Degraded`.
pub const NOT_FOUND_WAITING: &str = "not found (waiting)";

/// Reasons of events.
pub mod event {
    /// A spec was accepted.
    pub const ACCEPTED: &str = "Accepted";
    /// A spec was refused; what was accepted last stays in force.
    pub const REFUSED: &str = "Refused";
    /// The controller created an object.
    pub const CREATED: &str = "Created";
    /// The controller removed an object that it had created.
    pub const REMOVED: &str = "Removed";
    /// An instance failed on a member.
    pub const FAILED: &str = "Failed";
    /// A power-off was ordered.
    pub const FENCING: &str = "Fencing";
    /// A power-off was verified.
    pub const FENCED: &str = "Fenced";
}
