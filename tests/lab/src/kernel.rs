//! System calls that nothing safe wraps: a socket that puts whole frames on an interface, many with
//! one call, small XDP programs, waiting for many sockets, and descriptors for a program to come. The
//! only place of this crate with `unsafe`.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Frames that one call sends at most.
pub(crate) const BATCH: usize = 64;

/// A packet socket (packet(7)) bound to an interface, past the queueing discipline.
#[derive(Debug)]
pub(crate) struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// A socket for the interface of that index in the calling thread's namespace. It receives
    /// nothing.
    pub(crate) fn open(interface: u32) -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and nobody else has it.
        let socket = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        socket.bind(interface)?;
        socket.set(libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, 1)?;
        socket.set(libc::SOL_SOCKET, libc::SO_SNDBUF, 4 << 20)?;
        Ok(socket)
    }

    fn bind(&self, interface: u32) -> io::Result<()> {
        // SAFETY: sockaddr_ll is made of integers, for which zero is a value.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = interface as i32;
        let length = size_of_val(&address) as libc::socklen_t;
        // SAFETY: the address outlives the call and has the length that is passed.
        let result = unsafe { libc::bind(self.0.as_raw_fd(), (&raw const address).cast(), length) };
        check(result).map(drop)
    }

    fn set(&self, level: i32, option: i32, value: i32) -> io::Result<()> {
        let length = size_of_val(&value) as libc::socklen_t;
        // SAFETY: the value outlives the call and has the length that is passed.
        let result = unsafe {
            libc::setsockopt(self.0.as_raw_fd(), level, option, (&raw const value).cast(), length)
        };
        check(result).map(drop)
    }

    /// Sends the frames, at most [`BATCH`] of them, and says how many went out; the error is that
    /// of the first frame.
    pub(crate) fn send<'a>(&self, frames: impl IntoIterator<Item = &'a [u8]>) -> io::Result<usize> {
        let mut vectors = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH];
        // SAFETY: mmsghdr is made of integers and pointers, for which zero is a value.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        let mut count = 0;
        for ((frame, vector), header) in frames.into_iter().zip(&mut vectors).zip(&mut headers) {
            // The kernel only reads from it.
            vector.iov_base = frame.as_ptr().cast_mut().cast();
            vector.iov_len = frame.len();
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            count += 1;
        }
        // SAFETY: the first `count` headers point to vectors, and these to frames borrowed for 'a;
        // all of them outlive the call, which writes to nothing but the headers.
        let sent = unsafe { libc::sendmmsg(self.0.as_raw_fd(), headers.as_mut_ptr(), count, 0) };
        check(sent).map(|sent| sent as usize)
    }
}

/// Frames laid out once for `sendmmsg`, so that sending some of them costs the caller nothing but the
/// call.
pub(crate) struct Volley {
    /// What the vectors point into: never changed, so never moved on the heap.
    _bytes: Vec<u8>,
    /// What the headers point to, likewise.
    _vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl Volley {
    pub(crate) fn new(frames: &[Vec<u8>]) -> Self {
        let bytes = frames.concat();
        let mut rest = &bytes[..];
        let mut vectors: Vec<libc::iovec> = frames
            .iter()
            .map(|frame| {
                let (this, after) = rest.split_at(frame.len());
                rest = after;
                // The kernel only reads from it.
                libc::iovec { iov_base: this.as_ptr().cast_mut().cast(), iov_len: this.len() }
            })
            .collect();
        let headers = vectors
            .iter_mut()
            .map(|vector| {
                // SAFETY: mmsghdr is made of integers and pointers, for which zero is a value.
                let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
                header.msg_hdr.msg_iov = vector;
                header.msg_hdr.msg_iovlen = 1;
                header
            })
            .collect();
        Self { _bytes: bytes, _vectors: vectors, headers }
    }

    pub(crate) fn len(&self) -> usize {
        self.headers.len()
    }

    /// Sends up to `count` frames from number `at` on, not beyond the last one, and says how many went
    /// out; the error is that of the first frame.
    pub(crate) fn send(
        &mut self,
        socket: &PacketSocket,
        at: usize,
        count: usize,
    ) -> io::Result<usize> {
        let end = at.saturating_add(count).min(self.headers.len());
        let Some(headers) = self.headers.get_mut(at..end) else {
            return Ok(0);
        };
        // SAFETY: the headers point to vectors and these to bytes that live as long as `self` and never
        // move; the call writes to nothing but the headers.
        let sent = unsafe {
            libc::sendmmsg(socket.0.as_raw_fd(), headers.as_mut_ptr(), headers.len() as u32, 0)
        };
        check(sent).map(|sent| sent as usize)
    }
}

/// Waits until one of the descriptors can be read, at most so long; true at the place of each that can.
pub(crate) fn wait_readable(
    waited: &mut Vec<libc::pollfd>,
    sockets: &[impl AsRawFd],
    patience: Duration,
) -> io::Result<bool> {
    if waited.len() != sockets.len() {
        waited.clear();
        waited.extend(sockets.iter().map(|socket| libc::pollfd {
            fd: socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        }));
    }
    let patience = libc::timespec {
        tv_sec: patience.as_secs() as i64,
        tv_nsec: i64::from(patience.subsec_nanos()),
    };
    // SAFETY: the array and the time outlive the call, and there is no signal mask.
    let ready = unsafe {
        libc::ppoll(waited.as_mut_ptr(), waited.len() as u64, &raw const patience, ptr::null())
    };
    match check(ready) {
        Ok(ready) => Ok(ready > 0),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(error) => Err(error),
    }
}

/// Has the program that the command runs find the descriptors at 3, 4, ... (sd_listen_fds(3)).
pub(crate) fn pass_descriptors(command: &mut Command, descriptors: Vec<OwnedFd>) {
    /// Above all that is passed: where a descriptor waits until those below are in their places.
    const AWAY: i32 = 512;
    // SAFETY: between fork and exec only async-signal-safe calls are made, on descriptors that the
    // closure owns; nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            for (place, descriptor) in (AWAY..).zip(&descriptors) {
                check(libc::dup2(descriptor.as_raw_fd(), place))?;
            }
            for place in 0..descriptors.len() as i32 {
                check(libc::dup2(AWAY + place, 3 + place))?;
                check(libc::close(AWAY + place))?;
            }
            Ok(())
        });
    }
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

const MAP_CREATE: libc::c_int = 0;
const PROG_LOAD: libc::c_int = 5;
const LINK_CREATE: libc::c_int = 28;
const LINK_UPDATE: libc::c_int = 29;

/// Attaches a program that passes everything to the interface of that index in the calling thread's
/// namespace, in native mode, for as long as the descriptor is kept.
///
/// A veth end with a program polls its ring; only then does what the other end sends by XDP_TX
/// arrive. GRO alone has the ring but isn't woken: 256 frames get in, and the rest is lost.
pub(crate) fn attach_pass(interface: u32) -> io::Result<OwnedFd> {
    const ATTACH_XDP: u32 = 37;
    const DRIVER_MODE: u32 = 1 << 2;
    let program = load(&PASS)?;
    let mut create = LinkCreate {
        program: program.as_raw_fd(),
        interface,
        attach: ATTACH_XDP,
        flags: DRIVER_MODE,
    };
    // SAFETY: the structure is the kernel's for this command, and has no pointers.
    unsafe { bpf(LINK_CREATE, &mut create) }
}

/// Puts the program that passes everything back.
pub(crate) fn pass_again(link: &OwnedFd) -> io::Result<()> {
    update(link, &load(&PASS)?)
}

/// Counters of DNS answers by response code, kept by a program at an interface that takes those answers
/// off the wire: no stack, no socket and no system call is needed for one.
#[derive(Debug)]
pub(crate) struct AnswerCounters {
    /// [`COUNTERS`] numbers, shared with the program.
    page: NonNull<AtomicU64>,
    _map: OwnedFd,
}

/// Response codes from 0, then the same for truncated answers.
pub(crate) const COUNTERS: usize = 32;
const PAGE: usize = 4_096;

// SAFETY: the page is shared memory of atomic numbers, which any thread may read at any time.
unsafe impl Send for AnswerCounters {}
// SAFETY: as above.
unsafe impl Sync for AnswerCounters {}

impl AnswerCounters {
    /// Puts the counting program in the place of the link's. It takes answers over IPv4 to ports 16384 to
    /// 32767 and lets everything else pass.
    pub(crate) fn attach(link: &OwnedFd) -> io::Result<Self> {
        const ARRAY: u32 = 2;
        const MAPPABLE: u32 = 1 << 10;
        let mut create =
            MapCreate { kind: ARRAY, key: 4, value: 8, entries: COUNTERS as u32, flags: MAPPABLE };
        // SAFETY: the structure is the kernel's for this command, and has no pointers.
        let map = unsafe { bpf(MAP_CREATE, &mut create) }?;
        // SAFETY: a new mapping of a map that is at least a page long, at an address of the kernel's choice.
        let page = unsafe {
            libc::mmap(ptr::null_mut(), PAGE, libc::PROT_READ, libc::MAP_SHARED, map.as_raw_fd(), 0)
        };
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let page = NonNull::new(page.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let counters = Self { page, _map: map };
        update(link, &load(&counting(counters._map.as_raw_fd()))?)?;
        Ok(counters)
    }

    pub(crate) fn read(&self) -> [u64; COUNTERS] {
        std::array::from_fn(|at| {
            // SAFETY: the page has room for more than COUNTERS numbers and is mapped until `self` is dropped.
            unsafe { self.page.add(at).as_ref() }.load(Ordering::Relaxed)
        })
    }
}

impl Drop for AnswerCounters {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `attach`, and nobody has a reference into it.
        unsafe { libc::munmap(self.page.as_ptr().cast(), PAGE) };
    }
}

/// One instruction of the kernel's machine (RFC 9669 section 3).
const fn instruction(code: u8, target: u8, source: u8, offset: i16, value: i32) -> [u8; 8] {
    let [o0, o1] = offset.to_ne_bytes();
    let [v0, v1, v2, v3] = value.to_ne_bytes();
    [code, source << 4 | target, o0, o1, v0, v1, v2, v3]
}

const EXIT: [u8; 8] = instruction(0x95, 0, 0, 0, 0);
const XDP_DROP: i32 = 1;
const XDP_PASS: i32 = 2;
const PASS: [[u8; 8]; 2] = [instruction(0xb7, 0, 0, 0, XDP_PASS), EXIT];

fn counting(map: RawFd) -> Vec<[u8; 8]> {
    let load32 = |target, offset| instruction(0x61, target, 1, offset, 0);
    let load16 = |target, offset| instruction(0x69, target, 2, offset, 0);
    let load8 = |target, offset| instruction(0x71, target, 2, offset, 0);
    // Where a jump to `pass` lies is filled in below.
    const TO_PASS: i16 = i16::MAX;
    let unless = |register, value| instruction(0x55, register, 0, TO_PASS, value);
    let mut program = vec![
        load32(2, 0),
        load32(3, 4),
        // As far as the second byte of the DNS header's flags.
        instruction(0xbf, 4, 2, 0, 0),
        instruction(0x07, 4, 0, 0, 46),
        instruction(0x2d, 4, 3, TO_PASS, 0),
        // IPv4 without options, UDP, from port 53, to a port of ours.
        load16(4, 12),
        unless(4, i32::from(u16::from_ne_bytes([0x08, 0x00]))),
        load8(4, 14),
        unless(4, 0x45),
        load8(4, 23),
        unless(4, 17),
        load16(4, 34),
        unless(4, i32::from(u16::from_ne_bytes([0, 53]))),
        load8(4, 36),
        instruction(0x57, 4, 0, 0, 0xc0),
        unless(4, 0x40),
        // A response (RFC 1035 section 4.1.1); TC makes 16, and the code is added.
        load8(4, 44),
        instruction(0xbf, 5, 4, 0, 0),
        instruction(0x57, 5, 0, 0, 0x80),
        unless(5, 0x80),
        instruction(0x57, 4, 0, 0, 2),
        instruction(0x67, 4, 0, 0, 3),
        load8(5, 45),
        instruction(0x57, 5, 0, 0, 0xf),
        instruction(0x4f, 5, 4, 0, 0),
        instruction(0x63, 10, 5, -4, 0),
        // The map's address is an instruction of two halves, and looking up is helper number 1.
        instruction(0x18, 1, 1, 0, map),
        instruction(0, 0, 0, 0, 0),
        instruction(0xbf, 2, 10, 0, 0),
        instruction(0x07, 2, 0, 0, -4),
        instruction(0x85, 0, 0, 0, 1),
        instruction(0x15, 0, 0, 2, 0),
        instruction(0xb7, 1, 0, 0, 1),
        instruction(0xdb, 0, 1, 0, 0),
        instruction(0xb7, 0, 0, 0, XDP_DROP),
        EXIT,
    ];
    let pass = program.len();
    for (at, line) in program.iter_mut().enumerate() {
        let [code, registers, o0, o1, value @ ..] = *line;
        if i16::from_ne_bytes([o0, o1]) == TO_PASS {
            let [o0, o1] = ((pass - at - 1) as i16).to_ne_bytes();
            let [v0, v1, v2, v3] = value;
            *line = [code, registers, o0, o1, v0, v1, v2, v3];
        }
    }
    program.extend(PASS);
    program
}

/// Loads an XDP program.
fn load(instructions: &[[u8; 8]]) -> io::Result<OwnedFd> {
    const PROG_TYPE_XDP: u32 = 6;
    let mut load = ProgLoad {
        kind: PROG_TYPE_XDP,
        instructions: instructions.len() as u32,
        code: instructions.as_ptr() as u64,
        license: c"MIT".as_ptr() as u64,
        ..ProgLoad::default()
    };
    // SAFETY: the structure is the kernel's for this command, and what it points to outlives the call.
    unsafe { bpf(PROG_LOAD, &mut load) }
}

/// Puts a program in the place of a link's.
fn update(link: &OwnedFd, program: &OwnedFd) -> io::Result<()> {
    let update = LinkUpdate {
        link: link.as_raw_fd(),
        program: program.as_raw_fd(),
        flags: 0,
        old_program: 0,
    };
    // SAFETY: the structure is the kernel's for this command, and has no pointers.
    let done = unsafe {
        libc::syscall(libc::SYS_bpf, LINK_UPDATE, &raw const update, size_of::<LinkUpdate>())
    };
    check(done as i32).map(drop)
}

/// The beginning of `union bpf_attr` for BPF_MAP_CREATE.
#[repr(C)]
struct MapCreate {
    kind: u32,
    key: u32,
    value: u32,
    entries: u32,
    flags: u32,
}

/// The beginning of `union bpf_attr` for BPF_LINK_UPDATE.
#[repr(C)]
struct LinkUpdate {
    link: RawFd,
    program: RawFd,
    flags: u32,
    old_program: u32,
}

/// The beginning of `union bpf_attr` for BPF_PROG_LOAD.
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    kind: u32,
    instructions: u32,
    code: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
}

/// The beginning of `union bpf_attr` for BPF_LINK_CREATE.
#[repr(C)]
struct LinkCreate {
    program: RawFd,
    interface: u32,
    attach: u32,
    flags: u32,
}

/// A command of bpf(2) that returns a descriptor.
///
/// # Safety
/// The attributes are those of the command, and what they point to is as long as they say.
unsafe fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads as many bytes as are there; the rest is the caller's promise.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) };
    check(fd as i32)?;
    // SAFETY: the descriptor was just made and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
