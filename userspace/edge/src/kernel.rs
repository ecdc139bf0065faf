//! The system calls that the loader needs and no library offers: maps that are shared with the programs as
//! memory, links that are updated in place, counters read in one go. The crate's only unsafe code.
//!
//! Structures are those of `union bpf_attr` in the kernel's `include/uapi/linux/bpf.h`; the kernel takes any
//! length of them and zeroes the rest.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU64;

use ipnet::IpNet;

const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_LINK_UPDATE: libc::c_long = 29;

const MAP_TYPE_ARRAY: u32 = 2;
const MAP_TYPE_ARRAY_OF_MAPS: u32 = 12;
const BPF_F_MMAPABLE: u32 = 1 << 10;

/// Where a program is attached, as the kernel numbers it.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum AttachType {
    SockOps = 3,
    Xdp = 37,
}

/// Attach to the driver.
pub(crate) const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
/// Attach to the network stack.
pub(crate) const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;

/// # Safety
///
/// `attr` must be what the kernel expects for `command`, and every pointer in it valid for the call.
unsafe fn bpf<T>(command: libc::c_long, attr: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the caller answers for the contents; the kernel reads and writes within the given size.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, ptr::from_mut(attr), size_of::<T>() as libc::c_uint)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// # Safety
///
/// As for [`bpf`], with a command that returns a new file descriptor.
unsafe fn bpf_fd<T>(command: libc::c_long, attr: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: the caller's.
    let fd = unsafe { bpf(command, attr)? };
    // SAFETY: the kernel has just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

#[repr(C)]
#[derive(Default)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; 16],
}

fn name(text: &str) -> [u8; 16] {
    let mut name = [0; 16];
    for (to, from) in name.iter_mut().take(15).zip(text.bytes()) {
        *to = from;
    }
    name
}

/// Creates an array of `lines` lines of 64 bytes that can be mapped into memory.
pub(crate) fn create_lines(map_name: &str, lines: u32) -> io::Result<OwnedFd> {
    let mut attr = MapCreate {
        map_type: MAP_TYPE_ARRAY,
        key_size: 4,
        value_size: 64,
        max_entries: lines,
        map_flags: BPF_F_MMAPABLE,
        map_name: name(map_name),
        ..MapCreate::default()
    };
    // SAFETY: the attribute has no pointers.
    unsafe { bpf_fd(BPF_MAP_CREATE, &mut attr) }
}

/// Creates an array of one map, which must be like `inner`.
pub(crate) fn create_holder(map_name: &str, inner: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = MapCreate {
        map_type: MAP_TYPE_ARRAY_OF_MAPS,
        key_size: 4,
        value_size: 4,
        max_entries: 1,
        inner_map_fd: inner.as_raw_fd() as u32,
        map_name: name(map_name),
        ..MapCreate::default()
    };
    // SAFETY: the attribute has no pointers, and `inner` is open.
    unsafe { bpf_fd(BPF_MAP_CREATE, &mut attr) }
}

#[repr(C)]
#[derive(Default)]
struct MapElem {
    map_fd: u32,
    _pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Puts `inner` into the only place of a holder. Programs see the old map or the new one.
pub(crate) fn hold(holder: BorrowedFd<'_>, inner: BorrowedFd<'_>) -> io::Result<()> {
    let (key, value) = (0u32, inner.as_raw_fd() as u32);
    let mut attr = MapElem {
        map_fd: holder.as_raw_fd() as u32,
        key: ptr::from_ref(&key) as u64,
        value: ptr::from_ref(&value) as u64,
        ..MapElem::default()
    };
    // SAFETY: key and value are of the holder's sizes and outlive the call.
    unsafe { bpf(BPF_MAP_UPDATE_ELEM, &mut attr) }.map(drop)
}

#[repr(C)]
struct Object {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Pins a map or a link on a bpffs.
pub(crate) fn pin(fd: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let mut attr =
        Object { pathname: path.as_ptr() as u64, bpf_fd: fd.as_raw_fd() as u32, file_flags: 0 };
    // SAFETY: the path is a C string that outlives the call.
    unsafe { bpf(BPF_OBJ_PIN, &mut attr) }.map(drop)
}

/// Opens what is pinned at a path.
pub(crate) fn open_pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let mut attr = Object { pathname: path.as_ptr() as u64, bpf_fd: 0, file_flags: 0 };
    // SAFETY: as above.
    unsafe { bpf_fd(BPF_OBJ_GET, &mut attr) }
}

#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    prog_fd: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
}

/// Attaches a program: to an interface's index for XDP, to a control group's directory for socket events.
pub(crate) fn link_create(
    program: BorrowedFd<'_>,
    target: u32,
    attach_type: AttachType,
    flags: u32,
) -> io::Result<OwnedFd> {
    let mut attr = LinkCreate {
        prog_fd: program.as_raw_fd() as u32,
        target,
        attach_type: attach_type as u32,
        flags,
    };
    // SAFETY: the attribute has no pointers.
    unsafe { bpf_fd(BPF_LINK_CREATE, &mut attr) }
}

/// Puts another program in the place of a link's, between one packet and the next.
pub(crate) fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    #[repr(C)]
    struct LinkUpdate {
        link_fd: u32,
        new_prog_fd: u32,
        flags: u32,
        old_prog_fd: u32,
    }
    let mut attr = LinkUpdate {
        link_fd: link.as_raw_fd() as u32,
        new_prog_fd: program.as_raw_fd() as u32,
        flags: 0,
        old_prog_fd: 0,
    };
    // SAFETY: the attribute has no pointers.
    unsafe { bpf(BPF_LINK_UPDATE, &mut attr) }.map(drop)
}

/// The interface that an XDP link is attached to; zero once the interface is gone.
pub(crate) fn link_ifindex(link: BorrowedFd<'_>) -> io::Result<u32> {
    #[repr(C)]
    #[derive(Default)]
    struct LinkInfo {
        kind: u32,
        id: u32,
        prog_id: u32,
        _pad: u32,
        ifindex: u32,
        _rest: [u32; 11],
    }
    #[repr(C)]
    struct InfoByFd {
        bpf_fd: u32,
        info_len: u32,
        info: u64,
    }
    let mut info = LinkInfo::default();
    let mut attr = InfoByFd {
        bpf_fd: link.as_raw_fd() as u32,
        info_len: size_of::<LinkInfo>() as u32,
        info: ptr::from_mut(&mut info) as u64,
    };
    // SAFETY: the kernel writes at most `info_len` bytes.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr)? };
    Ok(info.ifindex)
}

/// All values of an array with a value on each CPU: `entries` times CPUs times `value_size` bytes, in that
/// order; `value_size` a multiple of eight.
pub(crate) fn read_per_cpu(
    map: BorrowedFd<'_>,
    entries: u32,
    value_size: usize,
) -> io::Result<Vec<u64>> {
    #[repr(C)]
    #[derive(Default)]
    struct Batch {
        in_batch: u64,
        out_batch: u64,
        keys: u64,
        values: u64,
        count: u32,
        map_fd: u32,
        elem_flags: u64,
        flags: u64,
    }
    let words = entries as usize * possible_cpus()? * value_size / 8;
    let mut values = vec![0u64; words];
    let mut keys = vec![0u32; entries as usize];
    let mut next = 0u32;
    let mut attr = Batch {
        out_batch: ptr::from_mut(&mut next) as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: entries,
        map_fd: map.as_raw_fd() as u32,
        ..Batch::default()
    };
    // SAFETY: keys and values have room for `count` entries.
    match unsafe { bpf(BPF_MAP_LOOKUP_BATCH, &mut attr) } {
        Ok(_) => Ok(values),
        // All was read, and there was no more.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) && attr.count == entries => {
            Ok(values)
        }
        Err(error) => Err(error),
    }
}

/// CPUs that the kernel keeps values for.
pub(crate) fn possible_cpus() -> io::Result<usize> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible")?;
    let last = text.trim().rsplit([',', '-']).next().and_then(|last| last.parse::<usize>().ok());
    last.map(|last| last + 1).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// An array of lines or words, mapped into memory: what is written here, the programs see.
#[derive(Debug)]
pub(crate) struct Shared {
    base: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the memory is atomics, and belongs to this value alone as far as its address space goes.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// Maps `words` words of a map.
    pub(crate) fn new(map: BorrowedFd<'_>, words: usize) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                words * 8,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, words })
    }

    /// The words.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: mapped for as long as `self` lives, aligned to pages, and shared as atomics only.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.words) }
    }

    /// The words as lines of eight.
    pub(crate) fn lines(&self) -> &[[AtomicU64; 8]] {
        let (lines, _) = self.words().as_chunks();
        lines
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, which nothing borrows any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.words * 8) };
    }
}

/// The index of an interface; none if there is no such interface now.
pub(crate) fn ifindex(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: a C string that outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => None,
        index => Some(index),
    }
}

/// Addresses of all interfaces but the loopback's own, each with its network's length, by interface.
pub(crate) fn addresses() -> io::Result<BTreeMap<String, Vec<IpNet>>> {
    let mut list: *mut libc::ifaddrs = ptr::null_mut();
    // SAFETY: the call makes a list, which is freed below.
    if unsafe { libc::getifaddrs(&mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found: BTreeMap<String, Vec<IpNet>> = BTreeMap::new();
    let mut next = list;
    while !next.is_null() {
        // SAFETY: an element of the list, valid until it is freed; a present address has the length of its
        // family.
        unsafe {
            let entry = &*next;
            next = entry.ifa_next;
            let Some(address) = entry.ifa_addr.as_ref() else {
                continue;
            };
            let ip = |address: *const libc::sockaddr| -> IpAddr {
                if i32::from((*address).sa_family) == libc::AF_INET {
                    let v4 = &*address.cast::<libc::sockaddr_in>();
                    return Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)).into();
                }
                let v6 = &*address.cast::<libc::sockaddr_in6>();
                Ipv6Addr::from(v6.sin6_addr.s6_addr).into()
            };
            if !matches!(i32::from(address.sa_family), libc::AF_INET | libc::AF_INET6) {
                continue;
            }
            let host = ip(entry.ifa_addr);
            let network = if entry.ifa_netmask.is_null() {
                None
            } else {
                IpNet::with_netmask(host, ip(entry.ifa_netmask)).ok()
            };
            if !host.is_loopback() {
                let name = CStr::from_ptr(entry.ifa_name).to_string_lossy().into_owned();
                found.entry(name).or_default().push(network.unwrap_or_else(|| host.into()));
            }
        }
    }
    // SAFETY: the list that `getifaddrs` made.
    unsafe { libc::freeifaddrs(list) };
    Ok(found)
}

/// The file descriptor of a directory, as the target of a link.
pub(crate) fn target(directory: &impl AsFd) -> u32 {
    directory.as_fd().as_raw_fd() as u32
}

/// Whether a path lies on a bpffs.
pub(crate) fn on_bpffs(path: &Path) -> io::Result<bool> {
    const BPF_FS_MAGIC: u64 = 0xcafe_4a11;
    let path = c_path(path)?;
    // SAFETY: zeroes are a valid `statfs`.
    let mut status: libc::statfs = unsafe { mem::zeroed() };
    // SAFETY: a C string, and room for the answer.
    if unsafe { libc::statfs(path.as_ptr(), &mut status) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(status.f_type as u64 == BPF_FS_MAGIC)
}

/// Takes a link's program off, whoever else holds the link.
pub(crate) fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    const BPF_LINK_DETACH: libc::c_long = 34;
    let mut fd = link.as_raw_fd() as u32;
    // SAFETY: the attribute is one number.
    unsafe { bpf(BPF_LINK_DETACH, &mut fd) }.map(drop)
}

/// Nanoseconds between two ticks of the kernel: the step of its coarse clock.
pub(crate) fn tick_ns() -> u32 {
    let mut step = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: room for the answer.
    let known = unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &mut step) } == 0;
    let usual = 4_000_000;
    if known { u32::try_from(step.tv_nsec).unwrap_or(usual) } else { usual }
}
