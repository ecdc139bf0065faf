//! System calls that nothing safe wraps: a socket that puts whole frames on an interface, many with
//! one call, and the smallest XDP program. The only place of this crate with `unsafe`.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

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

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Attaches a program that passes everything to the interface of that index in the calling thread's
/// namespace, in native mode, for as long as the descriptor is kept.
///
/// A veth end with a program polls its ring; only then does what the other end sends by XDP_TX
/// arrive. GRO alone has the ring but isn't woken: 256 frames get in, and the rest is lost.
pub(crate) fn attach_pass(interface: u32) -> io::Result<OwnedFd> {
    const PROG_LOAD: libc::c_int = 5;
    const LINK_CREATE: libc::c_int = 28;
    const PROG_TYPE_XDP: u32 = 6;
    const ATTACH_XDP: u32 = 37;
    const DRIVER_MODE: u32 = 1 << 2;
    /// `r0 = XDP_PASS; exit`, as bytes of two instructions.
    const PASS: [u8; 16] = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

    let mut load = ProgLoad {
        kind: PROG_TYPE_XDP,
        instructions: (PASS.len() / 8) as u32,
        code: PASS.as_ptr() as u64,
        license: c"MIT".as_ptr() as u64,
        ..ProgLoad::default()
    };
    // SAFETY: the structure is the kernel's for this command, and what it points to is static.
    let program = unsafe { bpf(PROG_LOAD, &mut load) }?;
    let mut create = LinkCreate {
        program: program.as_raw_fd(),
        interface,
        attach: ATTACH_XDP,
        flags: DRIVER_MODE,
    };
    // SAFETY: the structure is the kernel's for this command, and has no pointers.
    unsafe { bpf(LINK_CREATE, &mut create) }
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
