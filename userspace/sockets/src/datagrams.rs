//! Datagrams, many in one system call each way. The crate's only unsafe code.
//!
//! recvmmsg and sendmmsg spare most of what a datagram costs, and UDP_SEGMENT (udp(7)) most of the rest where several
//! answers take one way; IP_PKTINFO and IPV6_PKTINFO (RFC 3542) carry the address that was asked, so that a wildcard
//! socket answers from it.

use std::io;
use std::mem::{self, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use tracing::debug;

use crate::bundles::Bundles;

/// Datagrams in one system call.
pub const BATCH: usize = 64;

/// Bytes for control messages: one of either family, and the length to cut at.
const CONTROL: usize = 64;

/// Bytes of a line of the processor's cache.
const LINE: usize = 64;

/// Who sent a datagram, and to which address of ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Path {
    /// Who sent it, and is answered.
    pub peer: SocketAddr,
    /// None where the socket is bound to one address anyway.
    local: Option<Local>,
}

/// The address that was asked, and for a link-local one its interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Local {
    address: IpAddr,
    interface: u32,
}

/// Memory for one message header's parts; aligned as control messages need it.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL]);

impl Path {
    /// A way to a peer, as if its datagram had come to that address of ours.
    #[cfg(test)]
    pub(crate) fn to(peer: SocketAddr, local: Option<IpAddr>) -> Self {
        Self { peer, local: local.map(|address| Local { address, interface: 0 }) }
    }
}

/// Received datagrams of at most `LONGEST` bytes each; what is longer is cut.
pub struct Inbox<const LONGEST: usize> {
    /// Room for each datagram, every [`Self::STRIDE`] bytes.
    data: Box<[u8]>,
    names: Box<[libc::sockaddr_storage]>,
    control: Box<[Control]>,
    iovecs: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    received: usize,
}

// SAFETY: the pointers within lead to the boxes beside them, which move along with their owner.
unsafe impl<const LONGEST: usize> Send for Inbox<LONGEST> {}

impl<const LONGEST: usize> Default for Inbox<LONGEST> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const LONGEST: usize> Inbox<LONGEST> {
    /// An odd number of lines: datagrams are much shorter than their rooms, and the beginnings of rooms of 4,096 bytes
    /// would all fall into the same few places of the cache.
    const STRIDE: usize = LONGEST.next_multiple_of(LINE) | LINE;

    /// Room for one batch.
    pub fn new() -> Self {
        // SAFETY: all of these are plain numbers and pointers, for which zero is a value.
        let (names, iovecs, headers) = unsafe {
            (
                vec![mem::zeroed(); BATCH].into_boxed_slice(),
                vec![mem::zeroed::<libc::iovec>(); BATCH].into_boxed_slice(),
                vec![mem::zeroed::<libc::mmsghdr>(); BATCH].into_boxed_slice(),
            )
        };
        let mut inbox = Self {
            data: vec![0; Self::STRIDE * BATCH].into_boxed_slice(),
            names,
            control: vec![Control([0; CONTROL]); BATCH].into_boxed_slice(),
            iovecs,
            headers,
            received: 0,
        };
        let parts = inbox
            .headers
            .iter_mut()
            .zip(&mut inbox.iovecs)
            .zip(inbox.data.chunks_exact_mut(Self::STRIDE))
            .zip(&mut inbox.names)
            .zip(&mut inbox.control);
        for ((((header, iovec), data), name), control) in parts {
            iovec.iov_base = data.as_mut_ptr().cast();
            iovec.iov_len = LONGEST;
            header.msg_hdr.msg_iov = iovec;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
        }
        inbox
    }

    /// Takes what waits at the socket, without waiting, and gives the number of datagrams.
    ///
    /// # Errors
    ///
    /// When nothing waits (`WouldBlock`), or with what the system says; errors that an earlier answer caused (ICMP) come up
    /// here, too.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.received = 0;
        for header in &mut self.headers {
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
            header.msg_hdr.msg_controllen = CONTROL;
        }
        // SAFETY: the headers point to live memory of the lengths that they name.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        if received < 0 {
            return Err(io::Error::last_os_error());
        }
        self.received = received as usize;
        Ok(self.received)
    }

    /// The datagrams received last, those without a usable sender left out.
    pub fn datagrams(&self) -> impl Iterator<Item = (&[u8], Path)> {
        let rooms = self.data.chunks_exact(Self::STRIDE);
        self.headers.iter().zip(rooms).zip(&self.names).take(self.received).filter_map(
            |((header, room), name)| {
                let data = room.get(..header.msg_len as usize)?;
                let path = Path { peer: address(name)?, local: local(&header.msg_hdr) };
                Some((data, path))
            },
        )
    }
}

/// Answers of at most `LONGEST` bytes each that wait to be sent. Those of one length along one path leave together, so
/// their order is not kept.
pub struct Outbox<const LONGEST: usize> {
    /// One answer behind the other.
    data: Box<[u8]>,
    used: usize,
    /// Where each answer lies, and the number of its bundle.
    answers: Vec<Answer>,
    bundles: Bundles,
    /// By bundle.
    names: Box<[libc::sockaddr_storage]>,
    control: Box<[Control]>,
    /// By answer, those of one bundle side by side.
    iovecs: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    /// Whether the kernel cuts messages, as far as is known.
    cuts: bool,
}

#[derive(Clone, Copy)]
struct Answer {
    begin: usize,
    length: usize,
    bundle: usize,
}

// SAFETY: as for the inbox.
unsafe impl<const LONGEST: usize> Send for Outbox<LONGEST> {}

impl<const LONGEST: usize> Default for Outbox<LONGEST> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const LONGEST: usize> Outbox<LONGEST> {
    /// Room for one batch.
    pub fn new() -> Self {
        // SAFETY: all of these are plain numbers and pointers, for which zero is a value.
        let (names, iovecs, headers) = unsafe {
            (
                vec![mem::zeroed(); BATCH].into_boxed_slice(),
                vec![mem::zeroed::<libc::iovec>(); BATCH].into_boxed_slice(),
                vec![mem::zeroed::<libc::mmsghdr>(); BATCH].into_boxed_slice(),
            )
        };
        Self {
            data: vec![0; LONGEST * BATCH].into_boxed_slice(),
            used: 0,
            answers: Vec::with_capacity(BATCH),
            bundles: Bundles::new(),
            names,
            control: vec![Control([0; CONTROL]); BATCH].into_boxed_slice(),
            iovecs,
            headers,
            cuts: true,
        }
    }

    /// The memory for the next answer; none if the box is full.
    pub fn room(&mut self) -> Option<&mut [u8; LONGEST]> {
        if self.answers.len() >= BATCH {
            return None;
        }
        self.data.get_mut(self.used..)?.first_chunk_mut()
    }

    /// Takes the first `len` bytes of [`Self::room`] as an answer along `path`.
    pub fn push(&mut self, len: usize, path: &Path) {
        if self.answers.len() >= BATCH {
            return;
        }
        let length = len.min(LONGEST);
        let bundle = self.bundles.put(path, length);
        self.answers.push(Answer { begin: self.used, length, bundle });
        self.used += length;
    }

    /// Sends what waits, and gives the number of answers that the kernel did not take: its buffer was full, or there is
    /// no way to the client.
    pub fn send(&mut self, socket: BorrowedFd<'_>) -> usize {
        self.gather();
        let mut lost = 0;
        // Bundles that need no look any more, and headers of the others: the first that is left, and how many there are.
        let (mut done, mut begin, mut end) = (0, 0, self.address(0, self.cuts));
        let mut refused = None;
        while let Some(left) = self.headers.get_mut(begin..end)
            && let Some(first) = left.first()
        {
            let answers = first.msg_hdr.msg_iovlen;
            // SAFETY: the headers point to live memory of the lengths that they name.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    left.as_mut_ptr(),
                    left.len() as u32,
                    libc::MSG_DONTWAIT,
                )
            };
            if sent > 0 {
                begin += sent as usize;
                if let Some(error) = refused.take() {
                    // Alone it goes: it is the way out, or a policy on it, that cutting does not go with.
                    debug!(%error, "the kernel does not cut messages here: answers leave one by one from now on");
                    self.cuts = false;
                }
                continue;
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                // That it is too long for a path's MTU, which anybody may have told the kernel, is of this peer alone; so is
                // whatever else is wrong with him.
                Some(code @ (libc::EIO | libc::EINVAL | libc::EMSGSIZE)) if answers > 1 => {
                    refused = (code == libc::EIO).then_some(error);
                    done += begin;
                    (begin, end) = (0, self.address(done, false));
                }
                _ => {
                    // The first of those left is the one that failed.
                    refused = None;
                    begin += 1;
                    lost += answers;
                }
            }
        }
        self.answers.clear();
        self.bundles.clear();
        self.used = 0;
        lost
    }

    /// Points to the answers, bundle by bundle.
    fn gather(&mut self) {
        let mut next = [0; BATCH];
        let mut begin = 0;
        for (next, bundle) in next.iter_mut().zip(self.bundles.all()) {
            *next = begin;
            begin += bundle.answers;
        }
        for answer in &self.answers {
            let Some(at) = next.get_mut(answer.bundle) else { continue };
            let bytes = self.data.get_mut(answer.begin..answer.begin + answer.length);
            if let (Some(iovec), Some(bytes)) = (self.iovecs.get_mut(*at), bytes) {
                iovec.iov_base = bytes.as_mut_ptr().cast();
                iovec.iov_len = bytes.len();
            }
            *at += 1;
        }
    }

    /// Writes headers for the bundles from that one on, one for each if the kernel is to cut messages, or else one for
    /// each answer, and gives their number.
    fn address(&mut self, from: usize, cut: bool) -> usize {
        let (sent, left) = self.bundles.all().split_at_checked(from).unwrap_or_default();
        let mut answer: usize = sent.iter().map(|bundle| bundle.answers).sum();
        let mut header = 0;
        let places = self.names.iter_mut().zip(&mut self.control).skip(from);
        for (bundle, (name, control)) in left.iter().zip(places) {
            let (messages, each) = if cut { (1, bundle.answers) } else { (bundle.answers, 1) };
            for _ in 0..messages {
                let iovecs = self.iovecs.get_mut(answer..answer + each);
                if let (Some(header), Some(iovecs)) = (self.headers.get_mut(header), iovecs) {
                    let header = &mut header.msg_hdr;
                    address_message(header, iovecs, name, control, &bundle.path);
                    if each > 1 {
                        let length = bundle.length as u16;
                        attach(header, control, libc::SOL_UDP, libc::UDP_SEGMENT, length);
                    }
                }
                answer += each;
                header += 1;
            }
        }
        header
    }
}

/// Sends one answer, without waiting.
///
/// # Errors
///
/// When the kernel does not take it.
pub fn send_one(socket: BorrowedFd<'_>, answer: &[u8], path: &Path) -> io::Result<()> {
    // SAFETY: plain numbers and pointers, for which zero is a value.
    let (mut name, mut header) =
        unsafe { (mem::zeroed::<libc::sockaddr_storage>(), mem::zeroed::<libc::msghdr>()) };
    let mut control = Control([0; CONTROL]);
    let mut iovecs =
        [libc::iovec { iov_base: answer.as_ptr().cast_mut().cast(), iov_len: answer.len() }];
    address_message(&mut header, &mut iovecs, &mut name, &mut control, path);
    // SAFETY: the header points to live memory of the lengths that it names; sendmsg only reads it.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &header, libc::MSG_DONTWAIT) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Fills in a message header: what, to whom, and from which address.
fn address_message(
    header: &mut libc::msghdr,
    iovecs: &mut [libc::iovec],
    name: &mut libc::sockaddr_storage,
    control: &mut Control,
    path: &Path,
) {
    header.msg_iov = iovecs.as_mut_ptr();
    header.msg_iovlen = iovecs.len();
    header.msg_namelen = store(name, path.peer);
    header.msg_name = ptr::from_mut(name).cast();
    header.msg_control = ptr::null_mut();
    header.msg_controllen = 0;
    header.msg_flags = 0;
    match path.local {
        None => {}
        Some(Local { address: IpAddr::V4(address), .. }) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: in_addr(address),
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            attach(header, control, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
        }
        Some(Local { address: IpAddr::V6(address), interface }) => {
            let link_local = address.is_unicast_link_local();
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: address.octets() },
                ipi6_ifindex: if link_local { interface } else { 0 },
            };
            attach(header, control, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
        }
    }
}

/// Puts one more control message into `control`: first an address, then at most a number.
fn attach<T>(header: &mut libc::msghdr, control: &mut Control, level: i32, kind: i32, value: T) {
    const HEAD: usize = size_of::<libc::cmsghdr>();
    const ADDRESS: usize = HEAD + size_of::<libc::in6_pktinfo>().next_multiple_of(8);
    const { assert!(size_of::<T>() <= size_of::<libc::in6_pktinfo>()) };
    const { assert!(ADDRESS + HEAD + size_of::<u64>() <= CONTROL) };
    let at = header.msg_controllen;
    let length = size_of::<T>() as u32;
    // SAFETY: CMSG_LEN and CMSG_SPACE only add.
    let (exact, space) = unsafe { (libc::CMSG_LEN(length), libc::CMSG_SPACE(length)) };
    let Some(place) = control.0.get_mut(at..at + space as usize) else { return };
    let message = place.as_mut_ptr().cast::<libc::cmsghdr>();
    // SAFETY: the place has room for header and value, and begins at a multiple of what aligns both: the memory is
    // aligned, and CMSG_SPACE keeps it so.
    unsafe {
        (*message).cmsg_level = level;
        (*message).cmsg_type = kind;
        (*message).cmsg_len = exact as usize;
        ptr::write_unaligned(libc::CMSG_DATA(message).cast(), value);
    }
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = at + space as usize;
}

/// The address that a datagram was sent to, if the socket tells.
fn local(header: &libc::msghdr) -> Option<Local> {
    // SAFETY: the kernel filled in the control messages and their length; the macros stay within it.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info: libc::in_pktinfo =
                        ptr::read_unaligned(libc::CMSG_DATA(message).cast());
                    let address = Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr));
                    return Some(Local { address: address.into(), interface: 0 });
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info: libc::in6_pktinfo =
                        ptr::read_unaligned(libc::CMSG_DATA(message).cast());
                    let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                    return Some(Local { address: address.into(), interface: info.ipi6_ifindex });
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    None
}

/// Has the socket tell with each datagram which address it was sent to.
///
/// # Errors
///
/// When the socket is of the other family.
pub fn tell_destination(socket: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    let (level, option) = if v6 {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
    } else {
        (libc::IPPROTO_IP, libc::IP_PKTINFO)
    };
    let on: i32 = 1;
    // SAFETY: the option's value is the integer that is passed with its length.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            ptr::from_ref(&on).cast(),
            size_of::<i32>() as u32,
        )
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn in_addr(address: Ipv4Addr) -> libc::in_addr {
    libc::in_addr { s_addr: u32::from(address).to_be() }
}

fn address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says what lies there, and the storage is as large as any.
            let name = unsafe { *ptr::from_ref(name).cast::<libc::sockaddr_in>() };
            let address = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            Some(SocketAddrV4::new(address, u16::from_be(name.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let name = unsafe { *ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
            let address = Ipv6Addr::from(name.sin6_addr.s6_addr);
            let port = u16::from_be(name.sin6_port);
            Some(SocketAddrV6::new(address, port, name.sin6_flowinfo, name.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// Writes an address where the kernel reads it, and gives its length.
fn store(name: &mut libc::sockaddr_storage, address: SocketAddr) -> libc::socklen_t {
    match address {
        SocketAddr::V4(address) => {
            let value = libc::sockaddr_in {
                sin_family: libc::AF_INET as u16,
                sin_port: address.port().to_be(),
                sin_addr: in_addr(*address.ip()),
                sin_zero: [0; 8],
            };
            // SAFETY: the storage is as large as any address and aligned for it.
            unsafe { ptr::from_mut(name).cast::<libc::sockaddr_in>().write(value) };
            size_of::<libc::sockaddr_in>() as u32
        }
        SocketAddr::V6(address) => {
            let value = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as u16,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: address.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                sin6_scope_id: address.scope_id(),
            };
            // SAFETY: as above.
            unsafe { ptr::from_mut(name).cast::<libc::sockaddr_in6>().write(value) };
            size_of::<libc::sockaddr_in6>() as u32
        }
    }
}

#[cfg(test)]
mod tests;
