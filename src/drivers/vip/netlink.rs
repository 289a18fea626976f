//! Everything that speaks rtnetlink, in one file: its interface changes with each minor version (CRATES.md).

use core::{net::IpAddr, num::NonZeroU32, time::Duration};
use std::{io, sync::Arc};

use futures::{TryStream, TryStreamExt as _};
use rtnetlink::{
    Handle,
    packet_route::{
        address::{AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, CacheInfo},
        link::{LinkAttribute, LinkFlags},
        neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourState},
    },
};

use super::frames::Mac;

/// `IFA_PROTO` of every address that Palisade puts (kernel 5.18 and later): "p". The kernel's own are 1 to 3.
const PROTOCOL: AddressProtocol = AddressProtocol::Other(b'p');
/// The kernel's "for ever".
const FOREVER: u32 = u32::MAX;
const EBUSY: i32 = 16;
const EEXIST: i32 = 17;
const ENODEV: i32 = 19;
const EADDRNOTAVAIL: i32 = 99;

/// A dump that somebody gave up is read to its end by the connection: so often the next one is tried, and between.
const BUSY_TRIES: u8 = 20;
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// How long the kernel keeps an address that nobody renews.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it is taken away: `suspend` only.
    Permanent,
    /// Whole seconds; a second or so more in practice.
    Seconds(NonZeroU32),
}

impl From<Option<Duration>> for Lifetime {
    /// Whole seconds, rounded up, at least one; `None` is for ever.
    fn from(duration: Option<Duration>) -> Self {
        duration.map_or(Self::Permanent, |duration| {
            let rounded = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
            let seconds = u32::try_from(rounded).unwrap_or(FOREVER - 1);
            Self::Seconds(NonZeroU32::new(seconds).unwrap_or(NonZeroU32::MIN))
        })
    }
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number.
    pub index: u32,
    /// Name.
    pub name: String,
    /// `None` for interfaces without Ethernet addresses.
    pub mac: Option<Mac>,
    /// Switched on, and with a carrier.
    pub running: bool,
}

/// One address as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Present {
    pub(crate) index: u32,
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
    /// Whether it carries our mark.
    pub(crate) ours: bool,
    /// Seconds left, `None` for ever.
    pub(crate) valid_for: Option<u32>,
    /// Not usable yet, or refused by the kernel's own duplicate detection.
    pub(crate) tentative: bool,
    /// Hundredths of a second after boot.
    pub(crate) created: u32,
}

/// A connection to the kernel of the network namespace in which it was opened.
#[derive(Clone)]
pub(crate) struct Netlink {
    handle: Handle,
    /// The kernel refuses a second dump on one socket while the first goes on.
    dumps: Arc<tokio::sync::Mutex<()>>,
}

impl Netlink {
    /// Needs a runtime, which carries the connection from now on.
    pub(crate) fn open() -> io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Self { handle, dumps: Arc::default() })
    }

    /// Everything of one kind.
    async fn dump<S>(&self, ask: impl Fn() -> S + Send) -> io::Result<Vec<S::Ok>>
    where
        S: TryStream<Error = rtnetlink::Error> + Send,
        S::Ok: Send,
    {
        let _turn = self.dumps.lock().await;
        let mut tries = BUSY_TRIES;
        loop {
            match ask().try_collect().await {
                Err(rtnetlink::Error::NetlinkError(message))
                    if message.raw_code() == -EBUSY && tries > 0 =>
                {
                    tries -= 1;
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                other => return other.map_err(failed),
            }
        }
    }

    /// `None` when there is no such interface.
    pub(crate) async fn link(&self, name: &str) -> io::Result<Option<Link>> {
        Ok(self.links().await?.into_iter().find(|link| link.name == name))
    }

    pub(crate) async fn links(&self) -> io::Result<Vec<Link>> {
        let messages = self.dump(|| self.handle.link().get().execute()).await?;
        Ok(messages
            .into_iter()
            .filter_map(|message| {
                let (mut name, mut mac, mut carrier) = (None, None, true);
                for attribute in &message.attributes {
                    match attribute {
                        LinkAttribute::IfName(text) => name = Some(text.clone()),
                        LinkAttribute::Address(bytes) => {
                            mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(Mac);
                        }
                        // The flag "running" follows it up to a second later.
                        LinkAttribute::Carrier(present) => carrier = *present != 0,
                        _ => {}
                    }
                }
                let running = carrier && message.header.flags.contains(LinkFlags::Up);
                Some(Link { index: message.header.index, name: name?, mac, running })
            })
            .collect())
    }

    pub(crate) async fn addresses(&self) -> io::Result<Vec<Present>> {
        let messages = self.dump(|| self.handle.address().get().execute()).await?;
        Ok(messages.iter().filter_map(present).collect())
    }

    /// Adds, or renews what is there: new lifetime, our mark, no duplicate detection by the kernel (it takes seconds;
    /// the probe before has done it).
    pub(crate) async fn put(
        &self,
        index: u32,
        address: IpAddr,
        prefix: u8,
        lifetime: Lifetime,
    ) -> io::Result<()> {
        let seconds = match lifetime {
            Lifetime::Permanent => FOREVER,
            Lifetime::Seconds(seconds) => seconds.get().min(FOREVER - 1),
        };
        let mut times = CacheInfo::default();
        times.ifa_valid = seconds;
        times.ifa_preferred = seconds;
        let mut request = self.handle.address().add(index, address, prefix).replace();
        let attributes = &mut request.message_mut().attributes;
        attributes.push(AddressAttribute::CacheInfo(times));
        attributes.push(AddressAttribute::Protocol(PROTOCOL));
        if address.is_ipv6() {
            attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        match request.execute().await {
            Err(rtnetlink::Error::NetlinkError(message)) if message.raw_code() == -EEXIST => Ok(()),
            other => other.map_err(failed),
        }
    }

    /// `Ok` when it was not there.
    pub(crate) async fn take_away(&self, present: &Present) -> io::Result<()> {
        let all = self.dump(|| self.handle.address().get().execute()).await?;
        let same = |message: &AddressMessage| {
            self::present(message).is_some_and(|other| {
                (other.index, other.address, other.prefix)
                    == (present.index, present.address, present.prefix)
            })
        };
        let Some(message) = all.into_iter().find(same) else { return Ok(()) };
        match self.handle.address().del(message).execute().await {
            // It expired in between, or its interface went.
            Err(rtnetlink::Error::NetlinkError(message))
                if [-EADDRNOTAVAIL, -ENODEV].contains(&message.raw_code()) =>
            {
                Ok(())
            }
            other => other.map_err(failed),
        }
    }

    /// What this machine's kernel believes about a neighbour: which station has the address.
    pub(crate) async fn neighbour(&self, index: u32, address: IpAddr) -> io::Result<Option<Mac>> {
        let messages = self.dump(|| self.handle.neighbours().get().execute()).await?;
        for message in messages {
            let known = !matches!(
                message.header.state,
                NeighbourState::Failed | NeighbourState::Incomplete
            );
            if message.header.ifindex != index || !known {
                continue;
            }
            let (mut about, mut mac) = (None, None);
            for attribute in message.attributes {
                match attribute {
                    NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                        about = Some(v4.into())
                    }
                    NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                        about = Some(v6.into())
                    }
                    NeighbourAttribute::LinkLayerAddress(bytes) => {
                        mac = bytes.try_into().ok().map(Mac)
                    }
                    _ => {}
                }
            }
            if about == Some(address) && mac.is_some() {
                return Ok(mac);
            }
        }
        Ok(None)
    }
}

fn present(message: &AddressMessage) -> Option<Present> {
    let mut found = Present {
        index: message.header.index,
        address: IpAddr::from([0, 0, 0, 0]),
        prefix: message.header.prefix_len,
        ours: false,
        valid_for: None,
        tentative: false,
        created: 0,
    };
    let (mut local, mut remote) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => remote = Some(*address),
            AddressAttribute::Protocol(protocol) => found.ours = *protocol == PROTOCOL,
            AddressAttribute::CacheInfo(times) => {
                found.valid_for = (times.ifa_valid != FOREVER).then_some(times.ifa_valid);
                found.created = times.cstamp;
            }
            AddressAttribute::Flags(flags) => {
                found.tentative =
                    flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed);
            }
            _ => {}
        }
    }
    found.address = local.or(remote)?;
    Some(found)
}

fn failed(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::Netlink;

    /// A monitor and an announcement look at the same moment, again and again: both have intervals of whole seconds.
    #[tokio::test]
    async fn many_may_ask_at_once() {
        let netlink = Netlink::open().expect("netlink");
        let links = futures::future::join_all((0..50).map(|_| netlink.links()));
        let addresses = futures::future::join_all((0..50).map(|_| netlink.addresses()));
        let (links, addresses) = futures::future::join(links, addresses).await;
        for found in links {
            assert!(!found.expect("no one is refused").is_empty());
        }
        for found in addresses {
            found.expect("no one is refused");
        }
    }

    /// Who gives up must not make the next one fail.
    #[tokio::test]
    async fn a_question_that_was_given_up_hinders_nobody() {
        let netlink = Netlink::open().expect("netlink");
        for _ in 0..20 {
            let asked = tokio::time::timeout(std::time::Duration::ZERO, netlink.links()).await;
            drop(asked);
            netlink.addresses().await.expect("not refused");
        }
    }
}
