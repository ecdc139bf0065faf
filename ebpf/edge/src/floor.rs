//! The least that a program can do about a packet: count it and drop it. What the wall's cost is measured against.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use muralla_abi::policy::OTHER;
use muralla_abi::verdict::{Reason, Verdict};

use crate::wall::count;

/// Counts and drops.
#[xdp(frags)]
pub fn floor(ctx: XdpContext) -> u32 {
    let bytes = (ctx.data_end() - ctx.data()) as u32;
    count(OTHER, Reason::Other as u8, Verdict::Drop, bytes);
    xdp_action::XDP_DROP
}
