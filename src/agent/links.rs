//! Whether the links of this machine are as many as they look: two on one subnet or on one interface fail together (row 10
//! of SPEC-ERRORS.md).

use std::net::IpAddr;

/// An address of an interface, as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Name of the interface.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// Length of its prefix in bits.
    pub prefix: u8,
}

/// What is wrong with these links, link 0 first. Loopback is nobody's second network: a box is one machine.
pub fn judge(links: &[IpAddr], held: &[Held]) -> Option<String> {
    let mut wrong = Vec::new();
    let found: Vec<(usize, &Held)> = links
        .iter()
        .enumerate()
        .filter(|(_, link)| !link.is_loopback())
        .filter_map(|(n, link)| Some((n, held.iter().find(|h| h.address == *link)?)))
        .collect();
    for (at, (n, one)) in found.iter().enumerate() {
        for (m, other) in &found[at + 1..] {
            if network(one) == network(other) {
                let (net, prefix) = network(one);
                wrong.push(format!("links {n} and {m} share {net}/{prefix}: no redundancy; give each link a network of its own"));
            } else if one.interface == other.interface {
                wrong.push(format!(
                    "links {n} and {m} are both on interface {}: no redundancy; give each link an interface of its own",
                    one.interface
                ));
            }
        }
    }
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

/// The network that an address is in.
fn network(held: &Held) -> (IpAddr, u8) {
    let net = match held.address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(held.prefix.min(32))).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(held.prefix.min(128))).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    };
    (net, held.prefix)
}

/// What the kernel has now; nothing where it does not say.
pub fn held() -> Vec<Held> {
    let Ok(all) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    all.filter_map(|one| {
        let ip = |storage: nix::sys::socket::SockaddrStorage| {
            let v4 = storage.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            v4.or_else(|| storage.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
        };
        let prefix = match ip(one.netmask?)? {
            IpAddr::V4(mask) => mask.to_bits().count_ones(),
            IpAddr::V6(mask) => mask.to_bits().count_ones(),
        };
        Some(Held {
            interface: one.interface_name,
            address: ip(one.address?)?,
            // At most 128.
            prefix: u8::try_from(prefix).unwrap_or(u8::MAX),
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(interface: &str, address: &str, prefix: u8) -> Held {
        let address = address.parse().expect("an address");
        Held { interface: interface.into(), address, prefix }
    }

    fn said(links: &[&str], held: &[Held]) -> Option<String> {
        let links: Vec<IpAddr> = links.iter().map(|l| l.parse().expect("an address")).collect();
        judge(&links, held)
    }

    #[test]
    fn two_links_in_one_subnet_or_on_one_interface_are_one_link() {
        let held = [
            on("eth0", "10.0.0.11", 24),
            on("eth1", "10.0.0.111", 24),
            on("eth1", "10.1.0.11", 16),
            on("eth2", "fd00:1::b", 64),
            on("eth3", "fd00:1::6f", 64),
        ];
        assert_eq!(
            said(&["10.0.0.11", "10.0.0.111"], &held).as_deref(),
            Some(
                "links 0 and 1 share 10.0.0.0/24: no redundancy; give each link a network of its own"
            )
        );
        assert!(
            said(&["10.0.0.111", "10.1.0.11"], &held)
                .is_some_and(|why| why.starts_with("links 0 and 1 are both on interface eth1:"))
        );
        assert!(
            said(&["fd00:1::b", "fd00:1::6f"], &held)
                .is_some_and(|why| why.contains("share fd00:1::/64"))
        );
        assert_eq!(said(&["10.0.0.11", "10.1.0.11"], &held), None, "silence");
        assert_eq!(said(&["10.0.0.11"], &held), None);
        assert_eq!(said(&["10.0.0.11", "10.9.9.9"], &held), None, "not held: another condition");
    }

    #[test]
    fn loopback_is_no_second_network() {
        let held = [on("lo", "127.1.0.1", 8), on("lo", "127.2.0.1", 8)];
        assert_eq!(said(&["127.1.0.1", "127.2.0.1"], &held), None);
    }

    #[test]
    fn the_kernel_says_what_this_machine_has() {
        let lo = held().into_iter().find(|h| h.address == IpAddr::from([127, 0, 0, 1]));
        assert_eq!(lo.map(|h| (h.interface, h.prefix)), Some(("lo".into(), 8)));
    }
}
