//! The XDP program.

use core::arch::asm;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::generated::{
    bpf_ktime_get_ns, bpf_xdp_adjust_tail,
};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use muralla_abi::budget::Credits;
use muralla_abi::decide::{BudgetKind, Decision, World, decide, decide_bad};
use muralla_abi::dns;
use muralla_abi::headers::{Headers, Parsed, parse, parse_transport};
use muralla_abi::layout::{Side, counter_index};
use muralla_abi::policy::OTHER;
use muralla_abi::sample::{SNAPLEN, TRAFFIC_WEIGHT};
use muralla_abi::table::{Line, Lines, Word};
use muralla_abi::verdict::{Reason, Verdict};

use crate::clock;
use crate::frame::{XdpFrame, copy, opaque};
use crate::lines::{LoadedKey, Map};
use crate::maps::{
    BAN_HITS, BANS, BUDGETS, COUNTERS, CREDITS, FAMILIAR, GATES, INTERFACE, LIMITER, LIMITER_MASK, POLICY,
    SAMPLES, SCRATCH, SIDE, Scratch, TIMING,
};

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
    if number % TRAFFIC_WEIGHT == 0 {
        // SAFETY: helper without arguments.
        begin = unsafe { bpf_ktime_get_ns() };
    }
    let begin = opaque(begin, number);
    let action = enforce(&ctx, begin != 0);
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
fn enforce(ctx: &XdpContext, traffic: bool) -> u32 {
    let frame = XdpFrame::new(ctx);
    let decision = judge(&frame);
    let Decision { verdict, reason, service } = decision;
    count(service, reason, verdict, frame.len());
    let refused = verdict != Verdict::Pass;
    if traffic || refused && due(reason) {
        sample(ctx, &frame, &decision, traffic);
    }
    match verdict {
        Verdict::Pass | Verdict::Observe => xdp_action::XDP_PASS,
        Verdict::Slip => slip(ctx, &frame),
        Verdict::Drop => xdp_action::XDP_DROP,
    }
}

#[inline(always)]
fn judge(frame: &XdpFrame) -> Decision {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        return decide_bad(&Kernel, Reason::Truncated);
    };
    // SAFETY: this CPU's own memory, and nothing interrupts the program to run it again.
    let Scratch { headers, question } = unsafe { &mut *scratch };
    match parse(frame, headers) {
        Parsed::NotIp => {
            Decision { verdict: Verdict::Pass, reason: Reason::NotIp as u8, service: OTHER }
        }
        Parsed::Bad(reason) => decide_bad(&Kernel, reason),
        Parsed::Ip => {
            let headers = forget(headers);
            parse_transport(frame, headers);
            let headers = forget(headers);
            decide(&Kernel, Side::from_bits(SIDE.load()), frame, headers, question)
        }
    }
}

/// Has the compiler store what it knows of the headers and load it again. The verifier then knows nothing
/// of them either, and follows one path from here where it would follow each way through the parser.
#[inline(always)]
fn forget(headers: &mut Headers) -> &mut Headers {
    let mut pointer: *mut Headers = headers;
    // SAFETY: a register is moved to itself.
    unsafe {
        asm!("{0} = {0}", inout(reg) pointer);
        &mut *pointer
    }
}

#[inline(always)]
pub fn count(service: u8, reason: u8, verdict: Verdict, bytes: u32) {
    let index = counter_index(INTERFACE.load(), service, reason, verdict as u8);
    if let Some(counter) = COUNTERS.get_ptr_mut(index) {
        // SAFETY: this CPU's own words.
        unsafe {
            (*counter).packets += 1;
            (*counter).bytes += u64::from(bytes);
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

/// Answers with TC=1. The packet is resized before anything in it is changed.
#[inline(always)]
fn slip(ctx: &XdpContext, frame: &XdpFrame) -> u32 {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        return xdp_action::XDP_DROP;
    };
    // SAFETY: as in `judge`.
    let Scratch { headers, question } = unsafe { &*scratch };
    let shrink = dns::slip_len(question) as i32 - frame.len() as i32;
    // SAFETY: the context is valid; all pointers into the packet are made anew below.
    if unsafe { bpf_xdp_adjust_tail(ctx.ctx, shrink) } != 0 {
        return xdp_action::XDP_DROP;
    }
    match dns::slip(&mut XdpFrame::new(ctx), headers, question) {
        Some(()) => xdp_action::XDP_TX,
        None => xdp_action::XDP_DROP,
    }
}

/// The kernel's maps and clock.
struct Kernel;

impl World for Kernel {
    type Table = Map;
    type Credits = CpuCredits;
    type Key = LoadedKey;

    #[inline(always)]
    fn key(&self) -> LoadedKey {
        LoadedKey
    }

    #[inline(always)]
    fn limiter_mask(&self) -> u32 {
        LIMITER_MASK.load()
    }

    #[inline(always)]
    fn policy(&self) -> Option<Map> {
        POLICY.get(0).map(|policy| Map::new(policy))
    }

    #[inline(always)]
    fn limiter(&self) -> Map {
        Map::new(&raw const LIMITER)
    }

    #[inline(always)]
    fn budgets(&self) -> Map {
        Map::new(&raw const BUDGETS)
    }

    #[inline(always)]
    fn familiar(&self) -> Map {
        Map::new(&raw const FAMILIAR)
    }

    #[inline(always)]
    fn bans(&self) -> Map {
        Map::new(&raw const BANS)
    }

    #[inline(always)]
    fn credits(&self, service: u8, kind: BudgetKind) -> Option<CpuCredits> {
        CREDITS.get_ptr_mut(u32::from(service & 15) * 4 + kind as u32).map(CpuCredits)
    }

    #[inline(always)]
    fn hit(&self, place: u32) {
        if let Some(hits) = BAN_HITS.get_ptr_mut(place) {
            // SAFETY: a word of the map; the addition is atomic, since other CPUs count too.
            unsafe {
                asm!(
                    "lock *(u64 *)({hits} + 0) += {one}",
                    hits = in(reg) hits,
                    one = in(reg) 1u64,
                    options(nostack),
                );
            }
        }
    }

    #[inline(always)]
    fn race(&self) {
        if let Some(timing) = TIMING.get_ptr_mut(0) {
            // SAFETY: this CPU's own words.
            unsafe { (*timing).races += 1 };
        }
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        clock::now()
    }
}

/// This CPU's credits for one budget.
struct CpuCredits(*mut u32);

impl Credits for CpuCredits {
    #[inline(always)]
    fn load(&self) -> u32 {
        // SAFETY: this CPU's own word.
        unsafe { *self.0 }
    }

    #[inline(always)]
    fn store(&mut self, credits: u32) {
        // SAFETY: as above.
        unsafe { *self.0 = credits };
    }
}
