//! The wall's clock: the kernel's count of ticks, which is one load from memory. Its own clocks are a call each, and
//! would take a tenth of the time that a dropped packet may cost.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::generated::bpf_jiffies64;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use muralla_abi::frame::FrameMut;

use crate::frame::XdpFrame;
use crate::maps::TICK_NS;

/// Ticks of the kernel, from a start of its own choice.
#[inline(always)]
pub fn ticks() -> u64 {
    // SAFETY: helper without arguments.
    unsafe { bpf_jiffies64() }
}

/// The same in nanoseconds.
#[inline(always)]
pub fn now() -> u64 {
    ticks() * u64::from(TICK_NS.load())
}

/// Tells userspace what the clock says, in the first eight bytes of a frame that is run through it.
#[xdp]
pub fn clock(ctx: XdpContext) -> u32 {
    let mut frame = XdpFrame::new(&ctx);
    let now = now();
    let _ = frame.put_u32(0, (now >> 32) as u32);
    let _ = frame.put_u32(4, now as u32);
    xdp_action::XDP_PASS
}
