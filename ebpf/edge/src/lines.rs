//! Tables of lines, as the shared code wants them.

use core::arch::asm;
use core::ffi::c_void;
use core::ptr;

use aya_ebpf::helpers::bpf_map_lookup_elem;
use muralla_abi::table::{Key, Line, Lines, Word};

use crate::maps::SEEDS;

/// An array map with values of 64 bytes.
#[derive(Clone, Copy)]
pub struct Map(*mut c_void);

impl Map {
    /// The table in a map's definition, or in a map that was found in another.
    #[inline(always)]
    pub const fn new<T>(definition: *const T) -> Self {
        Self(definition.cast_mut().cast())
    }
}

/// A line of a table.
#[derive(Clone, Copy)]
pub struct MapLine(*mut u64);

impl Lines for Map {
    type Line = MapLine;

    #[inline(always)]
    fn line(&self, index: u32) -> Option<MapLine> {
        // SAFETY: the pointer is a map's, whose keys are numbers of 32 bits.
        let line = unsafe { bpf_map_lookup_elem(self.0, ptr::from_ref(&index).cast()) };
        (!line.is_null()).then_some(MapLine(line.cast()))
    }
}

impl Line for MapLine {
    type Word = MapWord;

    #[inline(always)]
    fn word(self, slot: u32) -> MapWord {
        // SAFETY: a line has eight words.
        MapWord(unsafe { self.0.add(slot as usize & 7) })
    }
}

/// A word of a line.
#[derive(Clone, Copy)]
pub struct MapWord(*mut u64);

impl Word for MapWord {
    #[inline(always)]
    fn load(self) -> u64 {
        // SAFETY: the word is in a map. Volatile, since others write to it.
        unsafe { ptr::read_volatile(self.0) }
    }

    #[inline(always)]
    fn replace(self, old: u64, new: u64) -> u64 {
        let seen: u64;
        // SAFETY: as above. Atomic types don't exist for this target, the instruction does (Linux 5.12).
        unsafe {
            asm!(
                "r0 = cmpxchg_64({word} + 0, r0, {new})",
                word = in(reg) self.0,
                new = in(reg) new,
                inout("r0") old => seen,
                options(nostack),
            );
        }
        seen ^ old
    }
}

/// The seeds that the program was loaded with: numbers in its code.
pub struct LoadedKey;

impl Key for LoadedKey {
    #[inline(always)]
    fn seed(&self, index: u32) -> u64 {
        let seeds: *const u64 = (&raw const SEEDS).cast();
        // SAFETY: there are as many as anybody asks for. Volatile, as `Global` has it: the loader sets them.
        unsafe { ptr::read_volatile(seeds.add(index as usize)) }
    }
}
