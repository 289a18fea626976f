//! The only unsafe code of this crate: calls that rustix, nix, socket2 and tokio leave to their caller. Reviewed as a
//! whole; nothing else belongs here.
#![expect(unsafe_code, reason = "each block states why it is sound; see the top of this file")]

use core::{ffi::c_int, mem::size_of};
use std::{io, os::fd::BorrowedFd};

use nix::libc;
use rustix::ioctl::{Getter, NoArg, Opcode, Setter, Updater, ioctl, opcode};
use socket2::{SockAddr, Socket};
use tokio::io::unix::AsyncFd;

/// A socket under the runtime's eyes.
pub(crate) fn register(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: the socket owns its descriptor, always returns the same one, and is owned by the result.
    unsafe { AsyncFd::register(socket) }.map_err(|error| error.into_parts().1)
}

/// One ethertype on one interface.
pub(crate) fn packet_address(index: u32, ethertype: u16) -> io::Result<SockAddr> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: ethertype.to_be(),
        sll_ifindex: i32::try_from(index).map_err(io::Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the storage is made to hold any address and is aligned for it; the length is that of what was written.
    let made = unsafe {
        SockAddr::try_init(|storage, length| {
            storage.cast::<libc::sockaddr_ll>().write(address);
            *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })
    };
    made.map(|((), address)| address)
}

const WATCHDOG: u8 = b'W';
/// `struct watchdog_info`: options, firmware version, identity.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct WatchdogInfo {
    pub(crate) options: u32,
    pub(crate) firmware: u32,
    pub(crate) identity: [u8; 32],
}

const GETSUPPORT: Opcode = opcode::read::<WatchdogInfo>(WATCHDOG, 0);
const SETOPTIONS: Opcode = opcode::read::<c_int>(WATCHDOG, 4);
const KEEPALIVE: Opcode = opcode::read::<c_int>(WATCHDOG, 5);
const SETTIMEOUT: Opcode = opcode::read_write::<c_int>(WATCHDOG, 6);
const GETTIMEOUT: Opcode = opcode::read::<c_int>(WATCHDOG, 7);

/// What the device says about itself.
pub(crate) fn watchdog_info(fd: BorrowedFd<'_>) -> io::Result<WatchdogInfo> {
    // SAFETY: WDIOC_GETSUPPORT writes one `struct watchdog_info`, for which all bit patterns are valid.
    Ok(unsafe { ioctl(fd, Getter::<GETSUPPORT, WatchdogInfo>::new()) }?)
}

/// Seconds in force.
pub(crate) fn watchdog_timeout(fd: BorrowedFd<'_>) -> io::Result<c_int> {
    // SAFETY: WDIOC_GETTIMEOUT writes one int.
    Ok(unsafe { ioctl(fd, Getter::<GETTIMEOUT, c_int>::new()) }?)
}

/// Asks for a timeout; what the device made of it comes back.
pub(crate) fn set_watchdog_timeout(fd: BorrowedFd<'_>, mut seconds: c_int) -> io::Result<c_int> {
    // SAFETY: WDIOC_SETTIMEOUT reads and writes one int.
    unsafe { ioctl(fd, Updater::<SETTIMEOUT, c_int>::new(&mut seconds)) }?;
    Ok(seconds)
}

/// One feed.
pub(crate) fn feed_watchdog(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: WDIOC_KEEPALIVE takes no argument.
    Ok(unsafe { ioctl(fd, NoArg::<KEEPALIVE>::new()) }?)
}

/// `WDIOS_ENABLECARD` or `WDIOS_DISABLECARD`.
pub(crate) fn set_watchdog_options(fd: BorrowedFd<'_>, options: c_int) -> io::Result<()> {
    // SAFETY: WDIOC_SETOPTIONS reads one int.
    Ok(unsafe { ioctl(fd, Setter::<SETOPTIONS, c_int>::new(options)) }?)
}

/// The numbers that `linux/watchdog.h` makes on this kind of machine.
#[cfg(all(test, target_arch = "x86_64"))]
#[test]
fn watchdog_opcodes_are_the_kernels() {
    let expected = [0x8028_5700, 0x8004_5704, 0x8004_5705, 0xc004_5706, 0x8004_5707];
    assert_eq!([GETSUPPORT, SETOPTIONS, KEEPALIVE, SETTIMEOUT, GETTIMEOUT], expected);
}
