//! Types of conditions that a member says about itself (STYLE.md 17: what people and machines see stands in one place).

/// The API cannot be reached. Nothing is decided by it (CLUSTER.md section 7).
pub const API_UNREACHABLE: &str = "ApiUnreachable";
/// The executor does not answer.
pub const EXECUTOR_AWAY: &str = "ExecutorAway";
/// The fencer does not answer: this member cannot power others off.
pub const FENCER_AWAY: &str = "FencerAway";
/// The ring's thread was not run for longer than half of the token timeout.
pub const GAP: &str = "ExecutionGap";
/// The ring key that the API has is none, or not the one that is used here.
pub const KEY: &str = "KeyInvalid";
/// The ring's sockets cannot be bound.
pub const LINK: &str = "LinkNotBound";
/// Links share a subnet or an interface.
pub const LINKS: &str = "LinksNotRedundant";
/// A privilege was refused: memory may be paged out, or the thread may wait for others.
pub const PRIVILEGE: &str = "PrivilegeRefused";
/// Secrets in the state directory are not sealed by a TPM.
pub const SECRETS_UNSEALED: &str = "SecretsUnsealed";
/// Addresses, or the answers of silent machines, are those of a stand-in: this is no machine.
pub const STAND_IN: &str = "StandIn";
/// Something cannot be made durable.
pub const STATE_DIR: &str = "StateDirectoryFailing";
/// A file of the state directory could not be believed.
pub const STATE_SET_ASIDE: &str = "StateSetAside";
/// The watchdog is configured and not armed.
pub const WATCHDOG: &str = "WatchdogNotArmed";

/// What other members hear of, and stands on the member's HANode. Not [`LINK`]: it has no ring to be said over. The first two
/// are what earlier versions understand, which hear eight.
pub const TOLD: [&str; 12] = [
    GAP,
    WATCHDOG,
    KEY,
    LINKS,
    STATE_DIR,
    FENCER_AWAY,
    EXECUTOR_AWAY,
    API_UNREACHABLE,
    PRIVILEGE,
    SECRETS_UNSEALED,
    STAND_IN,
    STATE_SET_ASIDE,
];

/// Of these, what is over in a moment at each start or upgrade: said when it lasts.
pub const PASSING: [&str; 3] = [API_UNREACHABLE, EXECUTOR_AWAY, FENCER_AWAY];

/// All of them: each has a series from the start.
pub const ALL: [&str; 13] = [
    API_UNREACHABLE,
    EXECUTOR_AWAY,
    FENCER_AWAY,
    GAP,
    KEY,
    LINK,
    LINKS,
    PRIVILEGE,
    SECRETS_UNSEALED,
    STAND_IN,
    STATE_DIR,
    STATE_SET_ASIDE,
    WATCHDOG,
];
