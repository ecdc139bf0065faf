//! System calls that nothing safe wraps: a socket that puts whole frames on an interface, many with
//! one call, small XDP programs, waiting for many sockets, and descriptors for a program to come;
//! [`datagrams`] of many addresses, and [`flushes`] counted. The only place of this crate with `unsafe`.

pub(crate) mod datagrams;
pub(crate) mod flushes;

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr::{self, NonNull};
use std::sync::Arc;
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
    /// [`COUNTERS`] numbers and their sum, shared with the program.
    shared: SharedMap,
}

/// Response codes from 0, then the same for truncated answers.
pub(crate) const COUNTERS: usize = 32;

impl AnswerCounters {
    /// Puts the counting program in the place of the link's. It takes answers over IPv4 to ports 16384 to
    /// 32767 and lets everything else pass.
    pub(crate) fn attach(link: &OwnedFd) -> io::Result<Self> {
        let shared = SharedMap::new(1, COUNTERS + 1)?;
        update(link, &load(&counting(shared.map.as_raw_fd()))?)?;
        Ok(Self { shared })
    }

    pub(crate) fn read(&self) -> [u64; COUNTERS] {
        std::array::from_fn(|at| {
            self.shared.word(at).map_or(0, |word| word.load(Ordering::Relaxed))
        })
    }
}

/// Frames that the kernel puts on a wire by itself, as those of a card: whoever receives them by XDP finds each in a
/// page of its own, and needs not copy it there first, as what a socket sent to a veth pair.
#[derive(Debug)]
pub(crate) struct Generator {
    program: OwnedFd,
    /// The words of [`generator`].
    state: SharedMap,
    _frames: SharedMap,
    counters: Arc<AnswerCounters>,
}

/// Words of what a generator's program and its owner tell each other.
mod generator {
    /// Frames sent.
    pub(super) const SENT: usize = 0;
    /// How many may be sent beyond those that were answered.
    pub(super) const AHEAD: usize = 1;
    /// Runs of the program in which no frame could be sent, for so many were under way.
    pub(super) const FULL: usize = 2;
    /// Frames of a burst that are still to be sent.
    pub(super) const BURST: usize = 3;
    pub(super) const WORDS: usize = 4;

    /// Frames of a burst: there must be room for so many. A card tells of what arrived in bursts, too; one at a time,
    /// each would interrupt the server that answers the one before, at a multiple of its cost.
    pub(super) const FRAMES_OF_BURST: i32 = 32;

    /// Bytes of the longest frame.
    pub(super) const LONGEST: usize = 376;
    /// Words of a frame: its length, then its bytes.
    pub(super) const FRAME_WORDS: usize = 1 + LONGEST / 8;
    /// Bytes of the frame that the kernel has ready for each run.
    pub(super) const BLANK: usize = 64;
    /// Runs of one call. The kernel sets up its pages for each call anew.
    pub(super) const RUNS: u32 = 1 << 20;
}

impl Generator {
    /// Loads frames to be sent in turn. Nothing is sent before [`Generator::allow`].
    pub(crate) fn load(frames: &[Vec<u8>], counters: Arc<AnswerCounters>) -> io::Result<Self> {
        if frames.is_empty() || frames.iter().any(|frame| frame.len() > generator::LONGEST) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let shared = SharedMap::new(frames.len(), generator::FRAME_WORDS)?;
        for (frame, first) in frames.iter().zip((0..).step_by(generator::FRAME_WORDS)) {
            let length = [frame.len() as u64];
            let words = frame.chunks(8).map(|bytes| {
                let mut word = [0; 8];
                word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
                u64::from_ne_bytes(word)
            });
            for (at, word) in (first..).zip(length.into_iter().chain(words)) {
                shared.store(at, word);
            }
        }
        let state = SharedMap::new(1, generator::WORDS)?;
        let maps = [&state, &shared, &counters.shared].map(|shared| shared.map.as_raw_fd());
        let program = load(&generating(maps, frames.len() as i32))?;
        Ok(Self { program, state, _frames: shared, counters })
    }

    /// Frames sent, and how often none could be, for so many were under way.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let read = |at| self.state.word(at).map_or(0, |word| word.load(Ordering::Relaxed));
        (read(generator::SENT), read(generator::FULL))
    }

    /// Answers so far, of all kinds.
    pub(crate) fn answered(&self) -> u64 {
        self.counters.shared.word(COUNTERS).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// From now on so many frames may be sent beyond those that were answered.
    pub(crate) fn allow(&self, ahead: u64) {
        self.state.store(generator::AHEAD, ahead);
    }

    /// Sends out of the interface of that index in the calling thread's namespace what may be sent, for some
    /// milliseconds, or a while longer if much may.
    pub(crate) fn run(&self, interface: u32) -> io::Result<()> {
        const TEST_RUN: libc::c_int = 10;
        const LIVE_FRAMES: u32 = 1 << 1;
        let blank = [0_u8; generator::BLANK];
        let context = XdpContext {
            data_end: generator::BLANK as u32,
            ingress_interface: interface,
            ..XdpContext::default()
        };
        let mut run = TestRun {
            program: self.program.as_raw_fd() as u32,
            data_size_in: generator::BLANK as u32,
            data_in: blank.as_ptr() as u64,
            repeat: generator::RUNS,
            context_size_in: size_of::<XdpContext>() as u32,
            context_in: (&raw const context) as u64,
            flags: LIVE_FRAMES,
            ..TestRun::default()
        };
        // SAFETY: the structure is the kernel's for this command, and what it points to outlives the call.
        let done =
            unsafe { libc::syscall(libc::SYS_bpf, TEST_RUN, &raw mut run, size_of::<TestRun>()) };
        check(done as i32).map(drop)
    }
}

/// An array map of the kernel's, whose words are in this process's memory, too.
#[derive(Debug)]
struct SharedMap {
    words: NonNull<AtomicU64>,
    count: usize,
    map: OwnedFd,
}

// SAFETY: it is shared memory of atomic numbers, which any thread may read and write at any time.
unsafe impl Send for SharedMap {}
// SAFETY: as above.
unsafe impl Sync for SharedMap {}

impl SharedMap {
    /// So many entries of so many words each.
    fn new(entries: usize, words: usize) -> io::Result<Self> {
        const ARRAY: u32 = 2;
        const MAPPABLE: u32 = 1 << 10;
        let mut create = MapCreate {
            kind: ARRAY,
            key: 4,
            value: words as u32 * 8,
            entries: entries as u32,
            flags: MAPPABLE,
        };
        // SAFETY: the structure is the kernel's for this command, and has no pointers.
        let map = unsafe { bpf(MAP_CREATE, &mut create) }?;
        let count = entries * words;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping of a map that has so many bytes, at an address of the kernel's choice.
        let words = unsafe {
            libc::mmap(ptr::null_mut(), count * 8, access, libc::MAP_SHARED, map.as_raw_fd(), 0)
        };
        if words == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let words = NonNull::new(words.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { words, count, map })
    }

    fn word(&self, at: usize) -> Option<&AtomicU64> {
        // SAFETY: the mapping has so many words, and stays until `self` is dropped.
        (at < self.count).then(|| unsafe { self.words.add(at).as_ref() })
    }

    fn store(&self, at: usize, value: u64) {
        if let Some(word) = self.word(at) {
            word.store(value, Ordering::Relaxed);
        }
    }
}

impl Drop for SharedMap {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new`, and nobody has a reference into it.
        unsafe { libc::munmap(self.words.as_ptr().cast(), self.count * 8) };
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
const XDP_TX: i32 = 3;
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
        // Kept through the call: eight times the place.
        instruction(0xbf, 6, 5, 0, 0),
        instruction(0x67, 6, 0, 0, 3),
        instruction(0x62, 10, 0, -4, 0),
    ];
    program.extend(look_up(map));
    program.extend([
        instruction(0x15, 0, 0, 4, 0),
        instruction(0xb7, 1, 0, 0, 1),
        instruction(0xdb, 0, 1, (COUNTERS * 8) as i16, 0),
        instruction(0x0f, 0, 6, 0, 0),
        instruction(0xdb, 0, 1, 0, 0),
        instruction(0xb7, 0, 0, 0, XDP_DROP),
        EXIT,
    ]);
    aim(&mut program, TO_PASS);
    program.extend(PASS);
    program
}

/// The program of a [`Generator`], with the maps of its state, its frames and the counted answers.
fn generating([state, frames, answers]: [RawFd; 3], count: i32) -> Vec<[u8; 8]> {
    // Where a jump to the end lies is filled in below.
    const TO_END: i16 = i16::MAX;
    let word = |at: usize| (at * 8) as i16;
    let load64 = |target, base, offset| instruction(0x79, target, base, offset, 0);
    let store64 = |base, source, offset| instruction(0x7b, base, source, offset, 0);
    let unless_null = instruction(0x15, 0, 0, TO_END, 0);
    let mut program = vec![instruction(0xbf, 6, 1, 0, 0), instruction(0x62, 10, 0, -4, 0)];
    program.extend(look_up(answers));
    program.extend([unless_null, load64(7, 0, word(COUNTERS))]);
    program.extend(look_up(state));
    program.extend([
        unless_null,
        load64(8, 0, word(generator::SENT)),
        load64(2, 0, word(generator::BURST)),
        instruction(0x55, 2, 0, 10, 0),
        // Room for another burst: or that there was none is counted.
        load64(1, 0, word(generator::AHEAD)),
        instruction(0x0f, 7, 1, 0, 0),
        instruction(0xbf, 1, 8, 0, 0),
        instruction(0x07, 1, 0, 0, generator::FRAMES_OF_BURST),
        instruction(0xbd, 1, 7, 4, 0),
        load64(1, 0, word(generator::FULL)),
        instruction(0x07, 1, 0, 0, 1),
        store64(0, 1, word(generator::FULL)),
        instruction(0x05, 0, 0, TO_END, 0),
        instruction(0xb7, 2, 0, 0, generator::FRAMES_OF_BURST),
        instruction(0x07, 2, 0, 0, -1),
        store64(0, 2, word(generator::BURST)),
        instruction(0xbf, 1, 8, 0, 0),
        instruction(0x07, 1, 0, 0, 1),
        store64(0, 1, word(generator::SENT)),
        instruction(0x97, 8, 0, 0, count),
        instruction(0x63, 10, 8, -4, 0),
    ]);
    program.extend(look_up(frames));
    program.extend([
        unless_null,
        instruction(0xbf, 9, 0, 0, 0),
        load64(7, 9, 0),
        instruction(0x15, 7, 0, TO_END, 0),
        instruction(0x25, 7, 0, TO_END, generator::LONGEST as i32),
        // As long as the frame is to be: bpf_xdp_adjust_tail.
        instruction(0xbf, 1, 6, 0, 0),
        instruction(0xbf, 2, 7, 0, 0),
        instruction(0x17, 2, 0, 0, generator::BLANK as i32),
        instruction(0x85, 0, 0, 0, 65),
        instruction(0x55, 0, 0, TO_END, 0),
        // Its bytes: bpf_xdp_store_bytes.
        instruction(0xbf, 1, 6, 0, 0),
        instruction(0xb7, 2, 0, 0, 0),
        instruction(0xbf, 3, 9, 0, 0),
        instruction(0x07, 3, 0, 0, 8),
        instruction(0xbf, 4, 7, 0, 0),
        instruction(0x85, 0, 0, 0, 190),
        instruction(0x55, 0, 0, TO_END, 0),
        instruction(0xb7, 0, 0, 0, XDP_TX),
        EXIT,
    ]);
    aim(&mut program, TO_END);
    program.extend([instruction(0xb7, 0, 0, 0, XDP_DROP), EXIT]);
    program
}

/// Looks the key at the stack's top up in a map: R0 has the value's address, or null. The map's address is an
/// instruction of two halves, and looking up is helper number 1.
fn look_up(map: RawFd) -> [[u8; 8]; 5] {
    [
        instruction(0x18, 1, 1, 0, map),
        instruction(0, 0, 0, 0, 0),
        instruction(0xbf, 2, 10, 0, 0),
        instruction(0x07, 2, 0, 0, -4),
        instruction(0x85, 0, 0, 0, 1),
    ]
}

/// Has the jumps with that offset lead to what comes next.
fn aim(program: &mut [[u8; 8]], offset: i16) {
    let end = program.len();
    for (at, line) in program.iter_mut().enumerate() {
        let [code, registers, o0, o1, value @ ..] = *line;
        if i16::from_ne_bytes([o0, o1]) == offset {
            let [o0, o1] = ((end - at - 1) as i16).to_ne_bytes();
            let [v0, v1, v2, v3] = value;
            *line = [code, registers, o0, o1, v0, v1, v2, v3];
        }
    }
}

/// Loads an XDP program.
fn load(instructions: &[[u8; 8]]) -> io::Result<OwnedFd> {
    const PROG_TYPE_XDP: u32 = 6;
    load_kind(PROG_TYPE_XDP, instructions)
}

/// Loads a program of that type.
fn load_kind(kind: u32, instructions: &[[u8; 8]]) -> io::Result<OwnedFd> {
    let mut load = ProgLoad {
        kind,
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

/// `struct xdp_md`.
#[repr(C)]
#[derive(Default)]
struct XdpContext {
    data: u32,
    data_end: u32,
    data_meta: u32,
    ingress_interface: u32,
    receive_queue: u32,
    egress_interface: u32,
}

/// `union bpf_attr` for BPF_PROG_TEST_RUN.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    result: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_size_in: u32,
    context_size_out: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch: u32,
    _reserved: u32,
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
