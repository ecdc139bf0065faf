//! The XDP program: decides, counts, samples, acts.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use muralla_abi::decide::Decision;
use muralla_abi::layout::counter_index;
use muralla_abi::sample::{SNAPLEN, TRAFFIC_WEIGHT};
use muralla_abi::table::{Line, Lines, Word};
use muralla_abi::verdict::{Reason, Verdict};

use crate::clock;
use crate::frame::{XdpFrame, copy, opaque};
use crate::lines::Map;
use crate::maps::{COUNTERS, GATES, INTERFACE, SAMPLES, TIMING};
use crate::stages;

/// Ticks of the kernel (1 to 10 ms each) between two samples of one reason. Its count of them is one load from memory,
/// where its clock would cost a dropped packet a tenth of its time.
const SAMPLE_INTERVAL: u64 = 10;

/// Judges every frame that the interface receives.
#[xdp(frags)]
#[inline(always)]
pub fn wall(ctx: XdpContext) -> u32 {
    let Some(timing) = TIMING.get_ptr_mut(0) else {
        return xdp_action::XDP_PASS;
    };
    // SAFETY: this CPU's own words.
    let number = unsafe {
        (*timing).packets += 1;
        (*timing).packets
    };
    let mut begin = 0;
    if number % TRAFFIC_WEIGHT == 1 {
        // SAFETY: helper without arguments.
        begin = unsafe { bpf_ktime_get_ns() };
    }
    let begin = opaque(begin, number);
    let action = enforce(&ctx, begin != 0, number);
    if begin != 0 {
        // SAFETY: as above.
        unsafe {
            (*timing).nanoseconds += bpf_ktime_get_ns() - begin;
            (*timing).timed += 1;
        }
    }
    action
}

#[inline(always)]
fn enforce(ctx: &XdpContext, traffic: bool, number: u64) -> u32 {
    let decision = stages::judge(ctx, number);
    let Decision { verdict, reason, service } = decision;
    let frame = XdpFrame::new(ctx);
    count(service, reason, verdict, frame.len());
    let refused = !matches!(verdict, Verdict::Pass | Verdict::Answer);
    if traffic || refused && due(reason) {
        sample(ctx, &frame, &decision, traffic);
    }
    match verdict {
        Verdict::Pass | Verdict::Observe => xdp_action::XDP_PASS,
        Verdict::Slip => stages::slip(ctx),
        Verdict::Answer => stages::answer(ctx),
        Verdict::Drop => xdp_action::XDP_DROP,
    }
}

#[inline(always)]
pub fn count(service: u8, reason: u8, verdict: Verdict, bytes: u32) {
    add(service, reason, verdict, 1, bytes.into());
}

/// Counts a query as one that passed, which was counted as one that is answered.
#[inline(always)]
pub fn count_unanswered(service: u8, bytes: u32) {
    let bytes = u64::from(bytes);
    let (none, answered) = (0u64, Reason::Answered as u8);
    add(service, answered, Verdict::Answer, none.wrapping_sub(1), none.wrapping_sub(bytes));
    add(service, Reason::Clean as u8, Verdict::Pass, 1, bytes);
}

#[inline(always)]
fn add(service: u8, reason: u8, verdict: Verdict, packets: u64, bytes: u64) {
    let index = counter_index(INTERFACE.load(), service, reason, verdict as u8);
    if let Some(counter) = COUNTERS.get_ptr_mut(index) {
        // SAFETY: this CPU's own words.
        unsafe {
            (*counter).packets = (*counter).packets.wrapping_add(packets);
            (*counter).bytes = (*counter).bytes.wrapping_add(bytes);
        }
    }
}

/// Whether the reason may be sampled again, and takes that right.
#[inline(always)]
fn due(reason: u8) -> bool {
    let Some(gates) = Map::new(&raw const GATES).line(u32::from(reason) / 8) else {
        return false;
    };
    let slot = u32::from(reason) % 8;
    let (next, now) = (gates.load(slot), clock::ticks());
    now >= next && gates.word(slot).replace(next, now + SAMPLE_INTERVAL) == 0
}

#[inline(always)]
fn sample(ctx: &XdpContext, frame: &XdpFrame, decision: &Decision, traffic: bool) {
    let Some(mut entry) = SAMPLES.reserve(0) else {
        return;
    };
    let sample = entry.as_mut_ptr();
    // Hidden, or the compiler compares the two pointers instead, from which the verifier learns nothing.
    let caplen = (opaque(frame.len().into(), frame.len().into()) as u32).min(SNAPLEN as u32);
    // SAFETY: reserved memory of a sample's size, every field of which is written here.
    let copied = unsafe {
        (*sample).time_ns = bpf_ktime_get_ns();
        (*sample).ifindex = (*ctx.ctx).ingress_ifindex;
        (*sample).len = frame.len();
        (*sample).caplen = caplen as u16;
        (*sample).service = decision.service;
        (*sample).reason = decision.reason;
        (*sample).verdict = decision.verdict as u8;
        (*sample).traffic = u8::from(traffic);
        (*sample)._reserved = [0; 2];
        caplen > 0 && copy(ctx, (&raw mut (*sample).data).cast(), caplen)
    };
    if copied {
        entry.submit(0);
    } else {
        entry.discard(0);
    }
}
