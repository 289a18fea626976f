//! The words: one JSON line each way, one question a connection.

use core::net::{IpAddr, SocketAddr};
use std::{io, path::PathBuf, string::String, vec::Vec};

use base::{ResourceId, ResourceKind};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Longest line, either way.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// What a network card is called.
pub type Station = [u8; 6];

/// A question of an agent to its machine's kernel and, through it, to the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ask {
    /// What is on this machine? [`Told::Addresses`].
    Addresses {},
    /// Tells the network that the address is here. [`Told::Done`], [`Told::Gone`].
    Announce {
        /// Which.
        address: IpAddr,
    },
    /// A connection to what the network has there. No answer while nobody answers; after [`Told::Done`] this connection is
    /// that one. [`Told::Refused`].
    Connect {
        /// Of a machine, or a virtual one.
        to: SocketAddr,
    },
    /// Is the machine with this address there, and does somebody hold this port? Answered after as long as the real
    /// probe takes. [`Told::Heard`].
    Knock {
        /// Of a machine.
        address: IpAddr,
        /// UDP.
        port: u16,
    },
    /// From now on, while this connection is open, whoever connects to `at` on this machine arrives at that socket, with one
    /// line before all else: [`Arrival`]. [`Told::Done`], [`Told::Refused`].
    Listen {
        /// Also when the address is on another machine now.
        at: SocketAddr,
        /// In the folder of this machine.
        socket: PathBuf,
    },
    /// Who has it as far as this machine knows? [`Told::Station`].
    Neighbour {
        /// Which.
        address: IpAddr,
    },
    /// Puts an address here, or gives one that is here a new lifetime. [`Told::Done`], [`Told::Refused`].
    Put {
        /// What and where.
        present: Present,
    },
    /// Takes an address away. [`Told::Done`] also when it was not here.
    Remove {
        /// Which.
        address: IpAddr,
    },
    /// Gives an address that is here a new lifetime. [`Told::Done`], [`Told::Gone`].
    Renew {
        /// Which.
        address: IpAddr,
        /// `None`: for ever.
        lifetime_ms: Option<u64>,
    },
    /// Of this machine. [`Told::Station`].
    Station {},
    /// Does another machine on the network answer for this address? [`Told::Station`].
    WhoHas {
        /// Which.
        address: IpAddr,
    },
}

/// Who arrives at a socket that listens for others, and where to; one JSON line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arrival {
    /// The client.
    pub from: SocketAddr,
    /// As it was asked for.
    pub at: SocketAddr,
}

impl Arrival {
    /// Longest line of one.
    pub const BYTES_MAX: usize = 256;
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "told", content = "with", rename_all = "kebab-case")]
pub enum Told {
    /// All of this machine.
    Addresses(Vec<Present>),
    /// It is so.
    Done,
    /// The address is not here (any more).
    Gone,
    /// Of a knock.
    Heard(Heard),
    /// Nothing was changed, for this reason.
    Refused(String),
    /// Somebody, or nobody.
    Station(Option<Station>),
}

/// One address on one machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Present {
    /// Which.
    pub address: IpAddr,
    /// Whose it is.
    pub resource: ResourceId,
    /// As it was put.
    pub kind: ResourceKind,
    /// What is left; `None`: for ever.
    pub lifetime_ms: Option<u64>,
    /// Token of this stay; a new lifetime does not change it. Ignored in questions.
    pub run: u64,
}

/// What a knock brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Heard {
    /// The machine answers, and nobody holds the port.
    Closed,
    /// The machine answers, and somebody holds the port.
    Open,
    /// Nothing.
    Silent,
}

/// One line.
pub fn encode<T: Serialize>(word: &T) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(word)?;
    if line.len() >= LINE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "longer than a line may be"));
    }
    line.push(b'\n');
    Ok(line)
}

/// Reads one line, with or without its end.
pub fn decode<T: DeserializeOwned>(line: &[u8]) -> io::Result<T> {
    Ok(serde_json::from_slice(line)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_as_they_were_written_and_others_do_not_read() {
        let address = "127.0.0.9".parse().expect("valid");
        let network = "public".parse().expect("valid");
        let kind = ResourceKind::Address { address, prefix: 24, network };
        let resource = "vip".parse().expect("valid");
        let present = Present { address, resource, kind, lifetime_ms: Some(9000), run: 7 };
        for ask in [Ask::Addresses {}, Ask::Put { present: present.clone() }] {
            assert_eq!(decode::<Ask>(&encode(&ask).expect("short")).expect("reads"), ask);
        }
        for told in [Told::Done, Told::Heard(Heard::Silent), Told::Addresses(vec![present])] {
            assert_eq!(decode::<Told>(&encode(&told).expect("short")).expect("reads"), told);
        }
        let knock = br#"{"ask":"knock","address":"127.0.0.2","port":5405}"#;
        assert_eq!(
            decode::<Ask>(knock).expect("reads"),
            Ask::Knock { address: "127.0.0.2".parse().expect("valid"), port: 5405 }
        );
        assert!(decode::<Ask>(br#"{"ask":"reboot"}"#).is_err());
    }
}
