//! Management controllers: what takes the power from a machine.

pub mod ipmi;
pub mod redfish;
