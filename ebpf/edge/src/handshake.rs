//! Notes who completed a TCP handshake with a socket of this machine.
//!
//! The kernel calls this for each accepted connection, whoever listens: so every service gives its clients
//! the proof that their address is their own, without knowing of it.

use aya_ebpf::macros::sock_ops;
use aya_ebpf::programs::SockOpsContext;
use muralla_abi::familiar::{Proof, note};
use muralla_abi::headers::Addr;

use crate::clock;
use crate::frame::opaque;
use crate::lines::{LoadedKey, Map};
use crate::maps::FAMILIAR;

/// `BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB`: a connection that came in is established.
const PASSIVE_ESTABLISHED: u32 = 5;

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

/// Called by the kernel at each event of each socket.
#[sock_ops]
pub fn handshake(ctx: SockOpsContext) -> u32 {
    if ctx.op() == PASSIVE_ESTABLISHED {
        let _ = established(&ctx);
    }
    0
}

#[inline(always)]
fn established(ctx: &SockOpsContext) -> Option<()> {
    let now = (clock::now() / 1_000_000_000) as u32;
    let (addr, v6) = match ctx.family() {
        AF_INET => (Addr::v4(u32::from_be(ctx.remote_ip4())), false),
        AF_INET6 => remote_v6(ctx),
        _ => return None,
    };
    note(&Map::new(&raw const FAMILIAR), &LoadedKey, addr, v6, Proof::Handshake, now);
    Some(())
}

/// The peer of a socket that listens for both families may be an IPv4 host (RFC 4291 section 2.5.5.2).
#[inline(always)]
fn remote_v6(ctx: &SockOpsContext) -> (Addr, bool) {
    let [a, b, c, d] = ctx.remote_ip6().map(u32::from_be);
    // Else this load and that of `remote_ip4` become one at either of two offsets, which the verifier refuses.
    let d = opaque(u64::from(d), u64::from(a)) as u32;
    if a == 0 && b == 0 && c == 0xffff {
        return (Addr::v4(d), false);
    }
    let join = |upper: u32, lower: u32| u64::from(upper) << 32 | u64::from(lower);
    (Addr { hi: join(a, b), lo: join(c, d) }, true)
}
