//! Datagrams over IPv4, many with one system call each way, each from or to an address of its own (ip(7),
//! IP_PKTINFO): one socket is enough for a port of thousands of hosts.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

use super::check;

/// Datagrams of one call.
pub(crate) const BATCH: usize = 64;
/// Bytes of the longest datagram; what is longer is cut.
pub(crate) const LONGEST: usize = 1_024;
/// Kernel memory for what arrives and waits for its turn, and for what is to be sent.
const BUFFER: usize = 8 << 20;

/// A socket on a port of the kernel's choice, for all addresses of the calling thread's namespace.
pub(crate) fn open() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_nonblocking(true)?;
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER)?;
    rustix::net::sockopt::set_socket_send_buffer_size_force(&socket, BUFFER)?;
    let on: libc::c_int = 1;
    // SAFETY: the value outlives the call and has the length that is passed.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_PKTINFO,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    check(result).map(|_| socket)
}

/// One control message, as the kernel lays it out (cmsg(3)): its header is followed by its data without a gap.
#[repr(C)]
#[derive(Clone, Copy)]
struct Control {
    header: libc::cmsghdr,
    info: libc::in_pktinfo,
}

const _: () = assert!(
    mem::offset_of!(Control, info) == size_of::<libc::cmsghdr>(),
    "CMSG_DATA lies behind an aligned header"
);

/// Length of the message without what pads it.
const CONTROL: usize = mem::offset_of!(Control, info) + size_of::<libc::in_pktinfo>();

impl Control {
    fn from(source: Ipv4Addr) -> Self {
        // SAFETY: the header and the data are made of integers, for which zero is a value.
        let mut control: Self = unsafe { mem::zeroed() };
        control.header.cmsg_len = CONTROL;
        control.header.cmsg_level = libc::IPPROTO_IP;
        control.header.cmsg_type = libc::IP_PKTINFO;
        control.info.ipi_spec_dst.s_addr = source.to_bits().to_be();
        control
    }
}

/// Datagrams that wait to be sent, all to one server.
pub(crate) struct Outgoing {
    data: Box<[[u8; LONGEST]]>,
    control: Box<[Control]>,
    // Pointed to by the headers, as the vectors are.
    _target: Box<libc::sockaddr_in>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    waiting: usize,
}

impl Outgoing {
    /// Room for one batch.
    pub(crate) fn new(target: SocketAddrV4) -> Self {
        // SAFETY: made of integers, for which zero is a value.
        let mut name: Box<libc::sockaddr_in> = Box::new(unsafe { mem::zeroed() });
        name.sin_family = libc::AF_INET as libc::sa_family_t;
        name.sin_port = target.port().to_be();
        name.sin_addr.s_addr = target.ip().to_bits().to_be();
        let mut data = vec![[0; LONGEST]; BATCH].into_boxed_slice();
        let mut control = vec![Control::from(Ipv4Addr::UNSPECIFIED); BATCH].into_boxed_slice();
        let mut vectors = vectors(&mut data);
        let mut headers = headers(&mut vectors, &mut control);
        for header in &mut headers {
            header.msg_hdr.msg_name = (&raw mut *name).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        }
        Self { data, control, _target: name, vectors, headers, waiting: 0 }
    }

    /// Where the next datagram is written; none when the batch is full.
    pub(crate) fn room(&mut self) -> Option<&mut [u8; LONGEST]> {
        self.data.get_mut(self.waiting)
    }

    /// Takes what was written there: so many bytes, from that address.
    pub(crate) fn push(&mut self, length: usize, source: Ipv4Addr) {
        if let (Some(control), Some(vector)) =
            (self.control.get_mut(self.waiting), self.vectors.get_mut(self.waiting))
        {
            control.info.ipi_spec_dst.s_addr = source.to_bits().to_be();
            vector.iov_len = length.min(LONGEST);
            self.waiting += 1;
        }
    }

    /// Sends all that waits, and says how many the kernel had no room for.
    pub(crate) fn send(&mut self, socket: &UdpSocket) -> usize {
        let (mut begin, mut refused) = (0, 0);
        while let Some(left) =
            self.headers.get_mut(begin..self.waiting).filter(|left| !left.is_empty())
        {
            // SAFETY: the headers point to a name, to control messages and to vectors of boxes of this structure, and
            // these to its data, all of the lengths that are given; the call writes to nothing but the headers.
            let sent = unsafe {
                libc::sendmmsg(socket.as_raw_fd(), left.as_mut_ptr(), left.len() as u32, 0)
            };
            match check(sent) {
                Ok(sent) => begin += sent.max(1) as usize,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    begin += 1;
                    refused += 1;
                }
            }
        }
        self.waiting = 0;
        refused
    }
}

/// Datagrams that have arrived.
pub(crate) struct Incoming {
    data: Box<[[u8; LONGEST]]>,
    control: Box<[Control]>,
    // Pointed to by the headers.
    _vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    received: usize,
}

impl Incoming {
    /// Room for one batch.
    pub(crate) fn new() -> Self {
        let mut data = vec![[0; LONGEST]; BATCH].into_boxed_slice();
        let mut control = vec![Control::from(Ipv4Addr::UNSPECIFIED); BATCH].into_boxed_slice();
        let mut vectors = vectors(&mut data);
        let headers = headers(&mut vectors, &mut control);
        Self { data, control, _vectors: vectors, headers, received: 0 }
    }

    /// Takes what has arrived, at most a batch, without waiting; says how many.
    pub(crate) fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.received = 0;
        for header in &mut self.headers {
            header.msg_hdr.msg_controllen = size_of::<Control>();
        }
        // SAFETY: the headers point to control messages and to vectors of boxes of this structure, and these to its
        // data, all of the lengths that are given, which the call may write to.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        self.received = check(received)? as usize;
        Ok(self.received)
    }

    /// What came with the last call, and to which address of ours.
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = (&[u8], Ipv4Addr)> {
        let parts = self.headers.iter().zip(&self.data).zip(&self.control).take(self.received);
        parts.filter_map(|((header, data), control)| {
            let told = header.msg_hdr.msg_controllen >= CONTROL
                && control.header.cmsg_level == libc::IPPROTO_IP
                && control.header.cmsg_type == libc::IP_PKTINFO;
            let address = Ipv4Addr::from_bits(u32::from_be(control.info.ipi_addr.s_addr));
            data.get(..header.msg_len as usize).filter(|_| told).map(|data| (data, address))
        })
    }
}

fn vectors(data: &mut [[u8; LONGEST]]) -> Box<[libc::iovec]> {
    data.iter_mut()
        .map(|data| libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: LONGEST })
        .collect()
}

fn headers(vectors: &mut [libc::iovec], control: &mut [Control]) -> Box<[libc::mmsghdr]> {
    let parts = vectors.iter_mut().zip(control);
    parts
        .map(|(vector, control)| {
            // SAFETY: made of integers and pointers, for which zero is a value.
            let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = ptr::from_mut(control).cast();
            header.msg_hdr.msg_controllen = size_of::<Control>();
            header
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn datagrams_come_from_and_to_addresses_of_choice() {
        let (one, other) = (open().unwrap(), open().unwrap());
        let port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
        let server = Ipv4Addr::new(127, 0, 0, 77);
        let mut outgoing = Outgoing::new(SocketAddrV4::new(server, port(&other)));
        for number in 0..BATCH as u8 {
            let room = outgoing.room().unwrap();
            room[..3].copy_from_slice(&[number, 1, 2]);
            outgoing.push(3, Ipv4Addr::new(127, 0, 1, number));
        }
        assert!(outgoing.room().is_none());
        assert_eq!(outgoing.send(&one), 0);
        assert!(outgoing.room().is_some());
        let mut incoming = Incoming::new();
        let (mut numbers, mut seen) = (Vec::new(), 0);
        while seen < BATCH {
            match incoming.receive(&other) {
                Ok(count) => seen += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => panic!("{error}"),
            }
            for (data, to) in incoming.datagrams() {
                assert_eq!((to, &data[1..]), (server, &[1, 2][..]));
                numbers.push(data[0]);
            }
        }
        assert_eq!(numbers, (0..BATCH as u8).collect::<Vec<_>>());
        // Whom an answer would go to is what was chosen as the source.
        let target = SocketAddrV4::new(Ipv4Addr::new(127, 0, 1, 9), port(&other));
        let mut outgoing = Outgoing::new(target);
        outgoing.push(1, Ipv4Addr::new(127, 0, 2, 5));
        assert_eq!(outgoing.send(&one), 0);
        other.set_nonblocking(false).unwrap();
        let (_, from) = other.recv_from(&mut [0; 8]).unwrap();
        assert_eq!(from, SocketAddr::from((Ipv4Addr::new(127, 0, 2, 5), port(&one))));
    }
}
