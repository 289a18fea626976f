//! Moments at which a fault hurts most: it waits for what happens in the world, not for the clock. A fault at every point
//! of every rule (CLUSTER.md section 3, last paragraph) without a special scenario for each.

use base::{ConfigurationKind, NodeId};
use fencing::DeviceAction;
use lifecycle::Operation;

use crate::{
    dice::Dice,
    fact::{Fact, Part, PowerLoss},
};

/// What a fault waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// An executor takes an epoch with quorum: an era has opened.
    Opened,
    /// A member installs a configuration: promises are next.
    Installed,
    /// An executor has reported.
    Reported,
    /// The start of something exclusive begins.
    StartBegins,
    /// Something exclusive runs.
    Runs,
    /// Something exclusive does not run any more.
    Stopped,
    /// A power command leaves a fencer.
    Shot,
    /// A machine goes off by its BMC.
    Off,
    /// A fencer says that a machine is off: evidence is next.
    ReadOff,
    /// An executor has released everything for a clean leave.
    Released,
    /// The ring part of an agent starts.
    Returns,
}

impl Moment {
    const ALL: [Self; 11] = [
        Self::Opened,
        Self::Installed,
        Self::Reported,
        Self::StartBegins,
        Self::Runs,
        Self::Stopped,
        Self::Shot,
        Self::Off,
        Self::ReadOff,
        Self::Released,
        Self::Returns,
    ];

    /// The machine that the moment is about, and the other one, if this fact is it.
    pub fn meets(self, fact: &Fact) -> Option<(NodeId, NodeId)> {
        match (self, fact) {
            (Self::Opened, Fact::Epoch { node, quorate: true, .. })
            | (Self::Installed, Fact::Installed { node, kind: ConfigurationKind::Regular, .. })
            | (Self::Reported, Fact::Reported { node, .. })
            | (
                Self::StartBegins,
                Fact::Began { node, operation: Operation::Start, exclusive: true, .. },
            )
            | (Self::Runs, Fact::Holds { node, exclusive: true, .. })
            | (Self::Stopped, Fact::Drops { node, .. })
            | (Self::Off, Fact::PowerOff { node, why: PowerLoss::Bmc })
            | (Self::Released, Fact::Released { node })
            | (Self::Returns, Fact::Starts { node, part: Part::Ring }) => Some((*node, *node)),
            (Self::Shot, Fact::FenceSent { by, target, action, .. })
                if *action != DeviceAction::Read =>
            {
                Some((*by, *target))
            }
            (Self::ReadOff, Fact::FenceEnded { by, incident, off: true, .. }) => {
                Some((*by, incident.node))
            }
            _ => None,
        }
    }
}

/// Whom a fault hits that waited for its moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// As it was drawn.
    AsDrawn,
    /// The machine that the moment is about.
    Subject,
    /// The other one: the target of a command.
    Other,
}

/// A fault waits for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trap {
    /// Which.
    pub moment: Moment,
    /// Whom it hits.
    pub aim: Aim,
    /// How long after it.
    pub delay_us: u64,
}

impl Trap {
    /// Draws one.
    pub fn draw(dice: &mut Dice) -> Self {
        let moment = *dice.pick(&Moment::ALL);
        let aim = *dice.pick(&[Aim::AsDrawn, Aim::Subject, Aim::Subject, Aim::Other]);
        // as soon as possible, within a turn of the token, within a disk's write, later
        let delay_us = match dice.below(4) {
            0 => 0,
            1 => dice.below(2_000),
            2 => dice.below(20_000),
            _ => dice.below(300_000),
        };
        Self { moment, aim, delay_us }
    }
}
