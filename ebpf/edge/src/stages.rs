//! The stages of a decision, each a function that the verifier looks at by itself.
//!
//! It follows a program once for each combination of values that it knows, up to a million instructions: in one piece,
//! the ways through the parser times those through the look-ups times those through the limiter are too many. A function
//! with a symbol of its own (`BTF_FUNC_GLOBAL`) is verified once, for any packet and any contents of the maps, so these
//! hand on everything through a map.

use core::arch::asm;
use core::ptr;

use aya_ebpf::bindings::{xdp_action, xdp_md};
use aya_ebpf::helpers::generated::{
    bpf_ktime_get_coarse_ns, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len,
};
use aya_ebpf::programs::XdpContext;
use muralla_abi::answers::{self, BODY_ROOM, Cache, Slot, slot};
use muralla_abi::budget::Credits;
use muralla_abi::decide::{self, BudgetKind, Case, Decision, World};
use muralla_abi::dns;
use muralla_abi::headers::{Parsed, parse, parse_transport};
use muralla_abi::layout::Side;
use muralla_abi::policy::OTHER;
use muralla_abi::verdict::{Reason, Verdict};

use crate::clock;
use crate::frame::{XdpFrame, opaque, store};
use crate::lines::{LoadedKey, Map};
use crate::maps::{
    ANSWER_HITS, ANSWER_INDEX, ANSWER_STATE, ANSWERS, BAN_HITS, BANS, BUDGETS, CREDITS, FAMILIAR,
    LIMITER, LIMITER_MASK, POLICY, SCRATCH, SIDE, TIMING,
};
use crate::wall::count_unanswered;

/// Decides on a packet. `unknown` is any number that the verifier does not know.
#[inline(always)]
pub fn judge(ctx: &XdpContext, unknown: u64) -> Decision {
    let Some(case) = SCRATCH.get_ptr_mut(0) else { return PASS };
    let kept_out = opaque(u64::from(bits(keep_out(ctx, case))), unknown) as u32;
    if kept_out != 0 {
        return Decision::from_bits(kept_out).unwrap_or(PASS);
    }
    let admitted = wall_admit(ctx.ctx);
    if afresh(case).memorable != 0 {
        wall_remember();
    }
    Decision::from_bits(admitted).unwrap_or(PASS)
}

/// Who sent it, and whether he is kept out. Not a function of its own: a call and its return cost as much as all
/// that is done here for a blocked source, where returns are guarded against speculation.
#[inline(always)]
fn keep_out(ctx: &XdpContext, case: *mut Case) -> Option<Decision> {
    match parse(&XdpFrame::new(ctx), &mut afresh(case).headers) {
        Parsed::Ip => {}
        Parsed::NotIp => return Some(Decision { reason: Reason::NotIp as u8, ..PASS }),
        Parsed::Bad(reason) => return Some(decide::decide_bad(&Kernel, reason)),
    }
    parse_transport(&XdpFrame::new(ctx), &mut afresh(case).headers);
    let side = Side::from_bits(SIDE.load());
    if let Some(decision) = decide::identify(&Kernel, side, afresh(case)) {
        return Some(decision);
    }
    decide::keep_out(&Kernel, side, afresh(case))
}

/// The case in hand, of which the compiler must read anew whatever it wrote before. The verifier then knows nothing of
/// it either, and follows one path from here where it would follow each way through the stage before.
#[inline(always)]
fn afresh<'a>(mut case: *mut Case) -> &'a mut Case {
    // SAFETY: a register is moved to itself. The case is this CPU's own memory; nothing interrupts the program to run it
    // again, and each stage borrows it once.
    unsafe {
        asm!("{0} = {0}", inout(reg) case);
        &mut *case
    }
}

/// Answers a packet that was judged to be slipped with TC=1.
#[inline(always)]
pub fn slip(ctx: &XdpContext) -> u32 {
    wall_slip(ctx.ctx)
}

/// Answers a query from the NIC cache, as which it was counted.
#[inline(always)]
pub fn answer(ctx: &XdpContext) -> u32 {
    wall_answer(ctx.ctx)
}

/// What can't be decided goes on.
const PASS: Decision =
    Decision { verdict: Verdict::Pass, reason: Reason::Other as u8, service: OTHER };

#[inline(always)]
fn bits(decision: Option<Decision>) -> u32 {
    decision.map_or(0, Decision::to_bits)
}

/// Whether it may come in: what the service's protocol demands, then limits and budgets. A DNS query that may is looked
/// up in the NIC cache.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn wall_admit(ctx: *mut xdp_md) -> u32 {
    let ctx = XdpContext::new(ctx);
    let Some(case) = SCRATCH.get_ptr_mut(0) else { return 0 };
    if let Some(decision) = decide::examine(&Kernel, &XdpFrame::new(&ctx), afresh(case)) {
        return decision.to_bits();
    }
    let admitted = decide::bound(&Kernel, afresh(case)).to_bits();
    let case = afresh(case);
    if case.answerable == 0 {
        return admitted;
    }
    let admitted = opaque(admitted.into(), case.question.id.into()) as u32;
    decide::answer(&Kernel, &XdpFrame::new(&ctx), case).map_or(admitted, Decision::to_bits)
}

/// Notes the source as one that does legitimate business. Not asked from within a stage, whose stack it would share.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn wall_remember() -> u32 {
    if let Some(case) = SCRATCH.get_ptr_mut(0) {
        decide::remember(&Kernel, afresh(case));
    }
    0
}

/// Answers with TC=1. The packet is resized before anything in it is changed.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn wall_slip(ctx: *mut xdp_md) -> u32 {
    let ctx = XdpContext::new(ctx);
    let Some(case) = SCRATCH.get_ptr_mut(0) else { return xdp_action::XDP_DROP };
    let Case { headers, question, .. } = afresh(case);
    // The whole frame, not what of it lies in the first buffer: the answer ends with its own last byte.
    // SAFETY: the context is valid.
    let whole = unsafe { bpf_xdp_get_buff_len(ctx.ctx) } as i32;
    let shrink = dns::slip_len(question) as i32 - whole;
    // SAFETY: the context is valid; all pointers into the packet are made anew below.
    if unsafe { bpf_xdp_adjust_tail(ctx.ctx, shrink) } != 0 {
        return xdp_action::XDP_DROP;
    }
    match dns::slip(&mut XdpFrame::new(&ctx), headers, question) {
        Some(()) => xdp_action::XDP_TX,
        None => xdp_action::XDP_DROP,
    }
}

/// Answers from the NIC cache. What can't be answered goes on to userspace as it came, as long as nothing of it was
/// changed.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn wall_answer(ctx: *mut xdp_md) -> u32 {
    let ctx = XdpContext::new(ctx);
    let Some(case) = SCRATCH.get_ptr_mut(0) else { return xdp_action::XDP_PASS };
    let action = give(&ctx, afresh(case));
    if action == xdp_action::XDP_PASS {
        count_unanswered(afresh(case).service(), XdpFrame::new(&ctx).len());
    }
    action
}

#[inline(always)]
fn give(ctx: &XdpContext, case: &mut Case) -> u32 {
    let Case { headers, question, found, .. } = case;
    let Some(slot) = Kernel.slot(found.slot) else { return xdp_action::XDP_PASS };
    if slot.load(slot::STAMP) != found.stamp {
        return xdp_action::XDP_PASS;
    }
    let grow = found.answered as i32 - found.asked as i32;
    // SAFETY: the context is valid; all pointers into the packet are made anew below.
    if unsafe { bpf_xdp_adjust_tail(ctx.ctx, grow) } != 0 {
        return xdp_action::XDP_PASS;
    }
    // In one register for both comparisons and the call: what is compared is what the verifier knows of.
    let body = opaque(found.body.into(), found.stamp);
    if body == 0 || body > BODY_ROOM.into() || !store(ctx, question.end, slot.body(), body as u32) {
        return xdp_action::XDP_DROP;
    }
    if answers::dress(&mut XdpFrame::new(ctx), headers, question, found, slot).is_none() {
        return xdp_action::XDP_DROP;
    }
    // Asked again after all that was read: the run may have been held up for longer than userspace waits.
    if slot.load(slot::STAMP) != found.stamp {
        return xdp_action::XDP_DROP;
    }
    if let Some(hits) = ANSWER_HITS.get_ptr_mut(found.slot) {
        // SAFETY: this CPU's own word.
        unsafe { *hits += 1 };
    }
    xdp_action::XDP_TX
}

/// The kernel's maps and clocks.
struct Kernel;

impl Cache for Kernel {
    type Table = Map;
    type Slot = MapSlot;

    #[inline(always)]
    fn state(&self) -> Map {
        Map::new(&raw const ANSWER_STATE)
    }

    #[inline(always)]
    fn index(&self) -> Map {
        Map::new(&raw const ANSWER_INDEX)
    }

    #[inline(always)]
    fn slot(&self, number: u32) -> Option<MapSlot> {
        ANSWERS.get_ptr(number).map(|slot| MapSlot(slot.cast()))
    }

    #[inline(always)]
    fn second(&self) -> u32 {
        // Unlike the wall's own clock, one that any process can read. Asked for what was found, which is worth the call.
        // SAFETY: helper without arguments.
        (unsafe { bpf_ktime_get_coarse_ns() } / 1_000_000_000) as u32
    }
}

/// A slot of the NIC cache.
#[derive(Clone, Copy)]
struct MapSlot(*const u64);

impl MapSlot {
    #[inline(always)]
    fn body(self) -> *const u8 {
        // SAFETY: a slot has so many words.
        unsafe { self.0.add(slot::BODY as usize).cast() }
    }
}

impl Slot for MapSlot {
    #[inline(always)]
    fn load(self, word: u32) -> u64 {
        // SAFETY: the verifier refuses a program that reads beyond the slot. Volatile, since userspace writes to it.
        unsafe { ptr::read_volatile(self.0.add(word as usize)) }
    }
}

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
