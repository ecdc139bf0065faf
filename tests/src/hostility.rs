//! Packets and connections that mean no good, to a DNS server, and what they get for it.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hickory_proto::op::{Message, ResponseCode};
use muralla_lab::namespace::Namespace;
use muralla_lab::random::Random;
use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use crate::connection::connect_from;

/// Packets sent without a look at what comes back, and the rest after them.
const BATCH: usize = 32;
const PAUSE: Duration = Duration::from_millis(2);

/// How long the last answers may take: a question's own time, and some. It is over when nothing comes for a while.
const LINGER: Duration = Duration::from_secs(8);
const QUIET: Duration = Duration::from_secs(2);

/// Most packets of one volley: each has an id of its own.
pub const VOLLEY: usize = 1 << 16;

/// Offsets and bits of a header (RFC 1035 section 4.1.1).
const HEADER: usize = 12;
const QR: u8 = 0x80;

/// Makes packets, the same for the same seed.
#[derive(Clone, Debug)]
pub struct Mutations {
    random: Random,
    zone: String,
}

impl Mutations {
    /// Queries for names below `zone`, and what can be made of them.
    pub fn new(seed: u64, zone: &str) -> Self {
        Self { random: Random::seeded(seed), zone: zone.to_owned() }
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.random.next_u64() % limit.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.random.next_u64() as u8
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }

    /// A query that is right in every way.
    pub fn valid(&mut self) -> Vec<u8> {
        const TYPES: [u16; 9] = [1, 28, 15, 16, 12, 33, 43, 65, 255];
        let name = format!("h{}.{}", self.below(500), self.zone);
        let rtype = TYPES.get(self.below(TYPES.len())).copied().unwrap_or(1);
        let edns = self.below(3);
        let mut packet = query(&name, rtype);
        if edns > 0 {
            let options = match (edns, self.below(3)) {
                (2, 0) => [&[0, 10, 0, 8][..], &self.bytes(8)].concat(),
                // What once was a server's cookie; client subnet; padding.
                (2, 1) => [&[0, 10, 0, 24][..], &self.bytes(24)].concat(),
                (2, _) => b"\0\x08\0\x07\0\x01\x18\0\xc0\0\x02\0\x0c\0\x04\0\0\0\0".to_vec(),
                _ => Vec::new(),
            };
            let payload = [0, 512, 1_232, 4_096, 65_535].map(u16::to_be_bytes);
            let payload = payload.get(self.below(payload.len())).copied().unwrap_or_default();
            let dnssec_ok = if self.below(2) == 0 { 0x80 } else { 0 };
            let length = (options.len() as u16).to_be_bytes();
            packet.extend([&[0, 0, 41][..], &payload, &[0, 0, dnssec_ok, 0], &length].concat());
            packet.extend(options);
            set(&mut packet, 11, 1);
        }
        packet
    }

    /// A packet of any kind: mostly a valid query with something wrong, seldom noise, seldom nothing wrong.
    pub fn any(&mut self) -> Vec<u8> {
        let mut packet = match self.below(12) {
            0 => {
                let length = self.below(600);
                return self.bytes(length);
            }
            1 => return self.valid(),
            _ => self.valid(),
        };
        for _ in 0..=self.below(3) {
            self.spoil(&mut packet);
        }
        packet
    }

    fn spoil(&mut self, packet: &mut Vec<u8>) {
        let at = self.below(packet.len());
        match self.below(14) {
            0 => packet.truncate(at),
            1 => {
                let length = self.below(200);
                packet.extend(self.bytes(length));
            }
            2..=4 => {
                let bit = self.below(8);
                if let Some(byte) = packet.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            5 => {
                let byte = self.byte();
                set(packet, at, byte);
            }
            // Flags and counts.
            6 => {
                let (at, byte) = (2 + self.below(10), self.byte());
                set(packet, at, byte);
            }
            7 => {
                if let Some(flags) = packet.get_mut(2) {
                    *flags |= QR;
                }
            }
            8 => {
                let opcode = self.below(16) as u8;
                if let Some(flags) = packet.get_mut(2) {
                    *flags = *flags & 0x87 | opcode << 3;
                }
            }
            // Lengths of labels, and pointers: to themselves, forwards, in circles.
            9 => {
                let length = [0, 63, 64, 0x80, 0xbf, 0xc0, 0xff];
                let length = length.get(self.below(length.len())).copied().unwrap_or_default();
                set(packet, HEADER, length);
            }
            10 => {
                let (at, target) = (HEADER + self.below(20), self.byte());
                set(packet, at, 0xc0);
                set(packet, at + 1, target);
            }
            // A part once more, and a part less.
            11 => packet.extend_from_within(at..),
            12 => {
                let end = (at + self.below(16)).min(packet.len());
                packet.drain(at..end);
            }
            // Class and type.
            _ => {
                let (at, byte) = (packet.len().saturating_sub(1 + self.below(16)), self.byte());
                set(packet, at, byte);
            }
        }
    }
}

fn set(packet: &mut [u8], at: usize, value: u8) {
    if let Some(byte) = packet.get_mut(at) {
        *byte = value;
    }
}

/// A query without EDNS, recursion desired.
pub fn query(name: &str, rtype: u16) -> Vec<u8> {
    let mut packet = b"\0\0\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        packet.push(label.len() as u8);
        packet.extend_from_slice(label.as_bytes());
    }
    packet.push(0);
    packet.extend_from_slice(&rtype.to_be_bytes());
    packet.extend_from_slice(&[0, 1]);
    packet
}

/// A packet and what came back for it.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// What was sent, its id included.
    pub packet: Vec<u8>,
    /// All answers with that id.
    pub answers: Vec<Vec<u8>>,
}

/// Sends packets from one socket, some 15,000 a second, each with its number as id, and collects what comes back. Those
/// without room for an id are sent too, but nothing is known of them.
///
/// # Errors
/// When the socket can't be had, or there are more than [`VOLLEY`] packets.
pub fn pelt(
    namespace: &Namespace,
    from: IpAddr,
    server: IpAddr,
    packets: Vec<Vec<u8>>,
) -> Result<Vec<Exchange>> {
    anyhow::ensure!(packets.len() <= VOLLEY, "{} packets have no ids", packets.len());
    let mut all: Vec<Exchange> = packets
        .into_iter()
        .enumerate()
        .map(|(number, mut packet)| {
            let [high, low] = (number as u16).to_be_bytes();
            set(&mut packet, 0, high);
            set(&mut packet, 1, low);
            Exchange { packet, answers: Vec::new() }
        })
        .collect();
    namespace.inside(move || {
        let socket = UdpSocket::bind((from, 0)).with_context(|| format!("from {from}"))?;
        socket.connect(SocketAddr::new(server, 53))?;
        set_socket_recv_buffer_size_force(socket.as_fd(), 8 << 20)?;
        let mut buffer = vec![0; 65_536];
        let mut collect = |all: &mut Vec<Exchange>| {
            let mut count = 0;
            while let Ok(length) = socket.recv(&mut buffer) {
                let answer = buffer.get(..length).unwrap_or_default();
                let id = answer.first_chunk().map(|id| usize::from(u16::from_be_bytes(*id)));
                if let Some(exchange) = id.and_then(|id| all.get_mut(id)) {
                    exchange.answers.push(answer.to_vec());
                }
                count += 1;
            }
            count
        };
        socket.set_nonblocking(true)?;
        for number in 0..all.len() {
            if let Some(exchange) = all.get(number) {
                // Refusals by ICMP are for those before, and a full buffer is as good as a lost packet.
                let _ = socket.send(&exchange.packet);
            }
            if number % BATCH == 0 {
                thread::sleep(PAUSE);
                collect(&mut all);
            }
        }
        let begin = Instant::now();
        let mut last = begin;
        while begin.elapsed() < LINGER && last.elapsed() < QUIET {
            thread::sleep(Duration::from_millis(20));
            if collect(&mut all) > 0 {
                last = Instant::now();
            }
        }
        Ok(all)
    })
}

impl Exchange {
    /// Whether there is no answer where there ought to be one: silence is for what has no whole header, and for responses.
    pub fn is_missed(&self) -> bool {
        self.answers.is_empty() && !self.deserves_silence()
    }

    fn deserves_silence(&self) -> bool {
        self.packet.len() < HEADER || self.packet.get(2).is_some_and(|flags| flags & QR != 0)
    }

    /// What no server may do, whoever asks.
    pub fn wrong(&self) -> Option<String> {
        let Self { packet, answers } = self;
        let (Some(answer), many) = (answers.first(), answers.len() > 1) else { return None };
        if self.deserves_silence() {
            return Some("an answer to what is no query".to_owned());
        }
        if many {
            return Some(format!("{} answers", answers.len()));
        }
        let message = match Message::from_vec(answer) {
            Ok(message) => message,
            Err(error) => return Some(format!("an answer that can't be read: {error}")),
        };
        if answer.get(2).is_none_or(|flags| flags & QR == 0) {
            return Some("an answer that is none".to_owned());
        }
        if malformed(&message) && answer.len() > packet.len() {
            return Some(format!("{} bytes for {} malformed ones", answer.len(), packet.len()));
        }
        let questions = answer.get(4..6).unwrap_or_default();
        if questions != [0, 0] {
            let length = answer.get(HEADER..).and_then(question_length);
            let asked = length.and_then(|length| packet.get(HEADER..HEADER + length));
            let repeated = length.and_then(|length| answer.get(HEADER..HEADER + length));
            if questions != [0, 1] || asked.is_none() || asked != repeated {
                return Some("another question in the answer".to_owned());
            }
        }
        None
    }

    /// What nobody may get who is no client and asks for nothing that is ours: anything but refusal, or more bytes
    /// than he sent.
    pub fn wrong_for_a_stranger(&self) -> Option<String> {
        let answer = self.answers.first()?;
        if answer.len() > self.packet.len() {
            return Some(format!("{} bytes for {}", answer.len(), self.packet.len()));
        }
        let message = Message::from_vec(answer).ok()?;
        let refused = message.metadata.response_code == ResponseCode::Refused;
        (!refused && !malformed(&message))
            .then(|| format!("{} instead of a refusal", message.metadata.response_code))
    }
}

/// Whether the server took the query for malformed.
fn malformed(answer: &Message) -> bool {
    // FORMERR, NOTIMP and BADVERS; the latter's number is also that of a TSIG error, and may be read as such.
    matches!(u16::from(answer.metadata.response_code), 1 | 4 | 16)
}

/// Bytes of an uncompressed name with type and class.
fn question_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match usize::from(*bytes.get(at)?) {
            0 => return Some(at + 5),
            length @ 1..=63 => at += length + 1,
            _ => return None,
        }
    }
}

/// What is done with a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Abuse {
    /// Half of a length, and then nothing.
    HalfLength,
    /// A length, and then too little.
    TooLittle,
    /// A length that no query has.
    TooLong,
    /// The length 0, again and again.
    Nothing,
    /// A length that is too short for what follows.
    TooShort,
    /// Noise.
    Noise,
}

impl Abuse {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::HalfLength,
        Self::TooLittle,
        Self::TooLong,
        Self::Nothing,
        Self::TooShort,
        Self::Noise,
    ];

    fn bytes(self, mutations: &mut Mutations) -> Vec<u8> {
        let query = mutations.valid();
        match self {
            Self::HalfLength => vec![0],
            Self::TooLittle => [&[0, 200][..], &query].concat(),
            Self::TooLong => [&[0xff, 0xff][..], &query].concat(),
            Self::Nothing => vec![0; 200],
            Self::TooShort => [&[0, 13][..], &query].concat(),
            Self::Noise => mutations.bytes(1_000),
        }
    }

    /// Connects and does it, and leaves the connection open. What the server does about it is its own affair.
    ///
    /// # Errors
    /// When it can't connect.
    pub fn commit(
        self,
        namespace: &Namespace,
        from: IpAddr,
        server: IpAddr,
        mutations: &mut Mutations,
    ) -> Result<TcpStream> {
        let mut stream = connect(namespace, from, server)?;
        // It may have been closed at once, there being too many.
        let _ = stream.write_all(&self.bytes(mutations));
        Ok(stream)
    }
}

/// A connection to port 53.
///
/// # Errors
/// When there is none within ten seconds.
pub fn connect(namespace: &Namespace, from: IpAddr, server: IpAddr) -> Result<TcpStream> {
    connect_from(namespace, from, SocketAddr::new(server, 53), Duration::from_secs(10))
}

/// Sends queries without reading a single answer, until nobody takes any more or `most` bytes are gone. Gives the number
/// of bytes that were taken.
pub fn stuff(stream: &mut TcpStream, packet: &[u8], most: usize, patience: Duration) -> usize {
    let framed = [&(packet.len() as u16).to_be_bytes(), packet].concat();
    let many = framed.repeat(100);
    let mut taken = 0;
    if stream.set_write_timeout(Some(patience)).is_err() {
        return 0;
    }
    while taken < most {
        match stream.write(&many) {
            Ok(0) => break,
            Ok(written) => taken += written,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    taken
}

/// Asks one query over TCP, a few bytes at a time, and gives the answer.
///
/// # Errors
/// When there is none.
pub fn ask_slowly(mut stream: &TcpStream, packet: &[u8], pause: Duration) -> Result<Message> {
    let framed = [&(packet.len() as u16).to_be_bytes(), packet].concat();
    for byte in framed {
        stream.write_all(&[byte]).context("sending a byte")?;
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
    let mut length = [0; 2];
    stream.read_exact(&mut length).context("waiting for an answer")?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer).context("waiting for the rest of an answer")?;
    Ok(Message::from_vec(&answer)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_packets() {
        let [a, b] = [7, 7].map(|seed| {
            let mut mutations = Mutations::new(seed, "example.org");
            (0..200).map(|_| mutations.any()).collect::<Vec<_>>()
        });
        assert_eq!(a, b);
        assert_ne!(a[0], a[1]);
    }

    #[test]
    fn valid_queries_are_valid() {
        let mut mutations = Mutations::new(3, "example.org");
        for _ in 0..500 {
            let packet = mutations.valid();
            let message = Message::from_vec(&packet).unwrap();
            assert_eq!(message.queries.len(), 1, "{message}");
        }
    }

    #[test]
    fn what_is_wrong_is_seen() {
        let query = query("www.example.org", 1);
        let answer = [&query[..2], &[0x81, 0x80], &query[4..]].concat();
        let error = [&query[..2], &[0x81, 0x81], &query[4..]].concat();
        let exchange = |packet: &[u8], answers: &[&[u8]]| Exchange {
            packet: packet.to_vec(),
            answers: answers.iter().map(|answer| answer.to_vec()).collect(),
        };
        assert_eq!(exchange(&query, &[]).wrong(), None);
        assert_eq!(exchange(&query, &[&answer]).wrong(), None);
        assert!(exchange(&answer, &[&answer]).wrong().is_some(), "QR");
        assert!(exchange(&query, &[&answer, &answer]).wrong().is_some(), "twice");
        assert!(exchange(&query, &[&query]).wrong().is_some(), "no answer");
        assert!(exchange(&query[..20], &[&error]).wrong().is_some(), "longer");
        assert!(exchange(&query, &[&answer[..20]]).wrong().is_some(), "half");
        assert!(exchange(&query, &[&answer]).wrong_for_a_stranger().is_some(), "an answer");
    }
}
