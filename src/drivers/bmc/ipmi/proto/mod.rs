//! The pure half: bytes and states. No sockets, no clock, no randomness of its own.
//!
//! Everything that comes from a BMC is hostile (SAFETY.md 4.4): lengths are checked before use, a datagram that is
//! not authentic changes nothing but a counter, and no input panics.

mod chassis;
mod message;
mod rakp;
mod rmcp;
mod seal;
mod session;
mod suite;
mod wire;

pub use chassis::{parse_chassis_status, parse_system_guid};
pub use message::{Request, Response, parse_request, parse_response};
pub use rakp::{OpenResponse, Rakp2, Rakp4, parse_open_response, parse_rakp2, parse_rakp4};
pub use rmcp::{DATAGRAM_MAX, Packet, PayloadType, parse_packet};
pub use seal::Keys;
pub use session::{Action, Answer, Config, Failure, Output, Reason, Session};
pub use suite::{CipherSuite, Crypto, CryptoFailed, Hash, Privilege, Tag, UnsafeSuite};
pub use wire::Malformed;

#[cfg(test)]
pub(crate) use message::checksum;
#[cfg(any(test, feature = "double"))]
pub(crate) use {rakp::*, rmcp::*};
