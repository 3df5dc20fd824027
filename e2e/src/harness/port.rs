//! Ports for programs that are told where to listen.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the range from which the kernel hands out ports to client sockets, so that a port stays
/// free while its program is down.
const LOWEST: u32 = 10_000;
const HOW_MANY: u32 = 20_000;

/// An address of this machine that nobody listens on, never the same twice in one test process.
/// Another test process starts elsewhere in the range.
pub fn free() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(7_919);
    for _ in 0..HOW_MANY {
        let number = LOWEST + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % HOW_MANY;
        let port = u16::try_from(number).expect("the range ends below 65536");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free port between {LOWEST} and {}", LOWEST + HOW_MANY);
}
