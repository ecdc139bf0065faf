//! The maps. Their names and layouts are what `muralla_abi::layout::ABI` numbers: pinned, they outlive the
//! program and the daemon.

use aya_ebpf::Global;
use aya_ebpf::btf_maps::{Array, ArrayOfMaps, PerCpuArray, RingBuf};
use aya_ebpf::macros::btf_map;
use muralla_abi::answers::SLOT_WORDS;
use muralla_abi::decide::Case;
use muralla_abi::layout::{
    self, ANSWER_LINES, ANSWERS as ANSWER_SLOTS, BAN_LINES, Counter, FAMILIAR_LINES, MAX_SERVICES,
    SAMPLES_BYTES, Timing,
};
use muralla_abi::sample::Sample;
use muralla_abi::table::Seeds;
use muralla_abi::verdict::Reason;

/// `BPF_F_MMAPABLE`: userspace reads and writes the map as memory.
const MMAPABLE: usize = 1 << 10;

/// Number of the interface among those protected; set when the program is loaded for it.
#[unsafe(no_mangle)]
pub static INTERFACE: Global<u32> = Global::new(0);

/// Bits of `muralla_abi::layout::Side`; set when the program is loaded for an interface.
#[unsafe(no_mangle)]
pub static SIDE: Global<u32> = Global::new(0);

/// The seeds of the keyed hash, of which every table is made; set when the program is loaded.
#[unsafe(no_mangle)]
pub static SEEDS: Global<[u64; Seeds::WORDS]> = Global::new([0; Seeds::WORDS]);

/// Lines of the limiter's table, less one; set when the program is loaded.
#[unsafe(no_mangle)]
pub static LIMITER_MASK: Global<u32> = Global::new(0);

/// Nanoseconds between two ticks of the kernel; set when the program is loaded.
#[unsafe(no_mangle)]
pub static TICK_NS: Global<u32> = Global::new(1_000_000);

/// The policy in force, swapped whole. Made by the loader, which knows how many lines there must be.
#[btf_map]
pub static POLICY: ArrayOfMaps<Array<[u64; 8], 1>, 1> = ArrayOfMaps::new();

/// The limiter's table; the loader sets its size.
#[btf_map]
pub static LIMITER: Array<[u64; 8], 131_072, MMAPABLE> = Array::new();

/// A line of budgets for each service.
#[btf_map]
pub static BUDGETS: Array<[u64; 8], { MAX_SERVICES as usize }> = Array::new();

/// Each CPU's credits, four for each service.
#[btf_map]
pub static CREDITS: PerCpuArray<u32, { MAX_SERVICES as usize * 4 }> = PerCpuArray::new();

/// Sources recently seen doing legitimate business.
#[btf_map]
pub static FAMILIAR: Array<[u64; 8], { FAMILIAR_LINES as usize }> = Array::new();

/// Bans, after a line of lengths.
#[btf_map]
pub static BANS: Array<[u64; 8], { BAN_LINES as usize + 1 }, MMAPABLE> = Array::new();

/// Packets that each ban has met.
#[btf_map]
pub static BAN_HITS: Array<u64, { (BAN_LINES as usize + 1) * 4 }, MMAPABLE> = Array::new();

/// The slots of the NIC cache.
#[btf_map]
pub static ANSWERS: Array<[u64; SLOT_WORDS as usize], { ANSWER_SLOTS as usize }, MMAPABLE> =
    Array::new();

/// Which slot is whose.
#[btf_map]
pub static ANSWER_INDEX: Array<[u64; 8], { ANSWER_LINES as usize }, MMAPABLE> = Array::new();

/// How the NIC cache stands as a whole.
#[btf_map]
pub static ANSWER_STATE: Array<[u64; 8], 1, MMAPABLE> = Array::new();

/// Queries that each slot has answered.
#[btf_map]
pub static ANSWER_HITS: PerCpuArray<u64, { ANSWER_SLOTS as usize }> = PerCpuArray::new();

/// Packets and bytes by interface, service, reason and verdict.
#[btf_map]
pub static COUNTERS: PerCpuArray<Counter, { layout::COUNTERS as usize }> = PerCpuArray::new();

/// What the program measures of itself.
#[btf_map]
pub static TIMING: PerCpuArray<Timing, 1> = PerCpuArray::new();

/// When each reason may be sampled again, in ticks of the kernel.
#[btf_map]
pub static GATES: Array<[u64; 8], { Reason::ROOM / 8 }> = Array::new();

/// Samples on their way to userspace.
#[btf_map]
pub static SAMPLES: RingBuf<Sample, { SAMPLES_BYTES as usize }> = RingBuf::new();

/// What is known of the packet in hand.
#[btf_map]
pub static SCRATCH: PerCpuArray<Case, 1> = PerCpuArray::new();
