//! The states of membership and the moves between them (TOTEM.md section 16).

/// Where a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// In a ring that orders and delivers messages.
    Operational,
    /// Seeks agreement on who forms the next ring.
    Gather,
    /// Agreed; the commit token collects what each brings along.
    Commit,
    /// Exchanges messages of the old rings over the new one.
    Recovery,
    /// Has left for good in this life.
    Left,
}

base::transitions! {
    /// What moves a member from one state to another.
    pub State by StateEvent [Operational, Gather, Commit, Recovery, Left]:
    token_lost(Operational | Recovery) => Gather;
    foreign_ring(Operational) => Gather;
    join_received(Operational | Commit | Recovery) => Gather;
    unreachable(Operational) => Gather;
    reform(Operational) => Gather;
    failed_to_receive(Operational) => Gather;
    commit_lost(Commit) => Gather;
    consensus(Gather) => Commit;
    commit_token(Gather) => Commit;
    commit_token_full(Commit) => Recovery;
    recovered(Recovery) => Operational;
    leave(Operational | Gather | Commit | Recovery) => Left;
}
