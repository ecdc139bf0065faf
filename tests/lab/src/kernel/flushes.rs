//! Flushes of the disk counted by process: a program that the kernel runs where a file system is asked for one, by fsync(2),
//! fdatasync(2) or a write that has to last (O_DSYNC). It costs nothing where nobody asks.
//!
//! Tracepoints at system calls would slow down all calls of all programs.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr;

use super::{EXIT, MAP_CREATE, MapCreate, aim, bpf, check, instruction, load_kind, look_up};

const MAP_LOOKUP_ELEM: libc::c_int = 1;
const MAP_GET_NEXT_KEY: libc::c_int = 4;
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;

/// Processes that can be told apart.
const PROCESSES: u32 = 16_384;

/// Counts for as long as it is kept.
#[derive(Debug)]
pub(crate) struct FlushCounters {
    counts: OwnedFd,
    _link: OwnedFd,
}

impl FlushCounters {
    /// Begins to count what a kind of file system is asked for; `None` if that has no tracepoint that is known here.
    pub(crate) fn attach(file_system: i64) -> io::Result<Option<Self>> {
        const HASH: u32 = 1;
        const PROG_TYPE_RAW_TRACEPOINT: u32 = 17;
        let Some(name) = tracepoint(file_system) else { return Ok(None) };
        let mut create = MapCreate { kind: HASH, key: 4, value: 8, entries: PROCESSES, flags: 0 };
        // SAFETY: the structure is the kernel's for this command, and has no pointers.
        let counts = unsafe { bpf(MAP_CREATE, &mut create) }?;
        let program = load_kind(PROG_TYPE_RAW_TRACEPOINT, &counting(counts.as_raw_fd()))?;
        let mut open = RawTracepointOpen {
            name: name.as_ptr() as u64,
            program: program.as_raw_fd(),
            _reserved: 0,
        };
        // SAFETY: the structure is the kernel's for this command, and the name that it points to lives for ever.
        let link = unsafe { bpf(RAW_TRACEPOINT_OPEN, &mut open) }?;
        Ok(Some(Self { counts, _link: link }))
    }

    /// Flushes that a process has asked for since.
    pub(crate) fn of(&self, pid: u32) -> u64 {
        let (mut count, look) = (0_u64, pid);
        let lookup = MapElement {
            map: self.counts.as_raw_fd(),
            _reserved: 0,
            key: (&raw const look) as u64,
            value: (&raw mut count) as u64,
            flags: 0,
        };
        // SAFETY: the key and the value are of the map's sizes and outlive the call.
        let found = unsafe { element(MAP_LOOKUP_ELEM, &lookup) };
        // One that has never asked isn't there.
        if found { count } else { 0 }
    }

    /// Flushes that all processes have asked for since, those that ended meanwhile among them.
    pub(crate) fn of_all(&self) -> u64 {
        let (mut sum, mut last) = (0, None);
        while let Some(pid) = self.behind(last) {
            sum += self.of(pid);
            last = Some(pid);
        }
        sum
    }

    /// The process behind another one in the map's own order, or the first one.
    fn behind(&self, pid: Option<u32>) -> Option<u32> {
        let mut next = 0_u32;
        let step = MapElement {
            map: self.counts.as_raw_fd(),
            _reserved: 0,
            key: pid.as_ref().map_or(0, |pid| ptr::from_ref(pid) as u64),
            value: (&raw mut next) as u64,
            flags: 0,
        };
        // SAFETY: both keys are of the map's size and outlive the call; no key at all asks for the first one.
        let found = unsafe { element(MAP_GET_NEXT_KEY, &step) };
        found.then_some(next)
    }
}

/// Asks the kernel for something of a map's: whether it is there.
///
/// # Safety
/// What the structure points to is as large as the command wants it, and outlives the call.
unsafe fn element(command: libc::c_int, element: &MapElement) -> bool {
    let element: *const MapElement = element;
    // SAFETY: the structure is the kernel's for these commands; what it points to is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, element, size_of::<MapElement>()) };
    check(result as i32).is_ok()
}

/// Where a file system, by its number in statfs(2), says that it is asked for a flush.
const fn tracepoint(file_system: i64) -> Option<&'static CStr> {
    Some(match file_system {
        0xef53 => c"ext4_sync_file_enter",
        0x5846_5342 => c"xfs_file_fsync",
        0x9123_683e => c"btrfs_sync_file",
        0xf2f5_2010 => c"f2fs_sync_file_enter",
        _ => return None,
    })
}

/// Adds one for the calling process (helpers 14 and 2: bpf_get_current_pid_tgid, bpf_map_update_elem).
fn counting(map: RawFd) -> Vec<[u8; 8]> {
    // Where a jump to the end lies is filled in below.
    const TO_END: i16 = i16::MAX;
    let mut program = vec![
        instruction(0x85, 0, 0, 0, 14),
        instruction(0x77, 0, 0, 0, 32),
        // The key at the stack's top, where it is looked up.
        instruction(0x63, 10, 0, -4, 0),
    ];
    program.extend(look_up(map));
    program.extend([
        instruction(0x15, 0, 0, 3, 0),
        instruction(0xb7, 1, 0, 0, 1),
        instruction(0xdb, 0, 1, 0, 0),
        instruction(0x05, 0, 0, TO_END, 0),
        // The first time: two of its threads at once may lose one.
        instruction(0x7a, 10, 0, -16, 1),
        instruction(0x18, 1, 1, 0, map),
        instruction(0, 0, 0, 0, 0),
        instruction(0xbf, 2, 10, 0, 0),
        instruction(0x07, 2, 0, 0, -4),
        instruction(0xbf, 3, 10, 0, 0),
        instruction(0x07, 3, 0, 0, -16),
        instruction(0xb7, 4, 0, 0, 0),
        instruction(0x85, 0, 0, 0, 2),
    ]);
    aim(&mut program, TO_END);
    program.extend([instruction(0xb7, 0, 0, 0, 0), EXIT]);
    program
}

/// `union bpf_attr` for BPF_MAP_LOOKUP_ELEM, and for BPF_MAP_GET_NEXT_KEY, where the value is a key.
#[repr(C)]
struct MapElement {
    map: RawFd,
    _reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The beginning of `union bpf_attr` for BPF_RAW_TRACEPOINT_OPEN.
#[repr(C)]
struct RawTracepointOpen {
    name: u64,
    program: RawFd,
    _reserved: u32,
}
