//! What NASes ask: subscribers who want in, prepared beforehand, and accounting records, of which none is like another.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use super::{Nases, Place};
use crate::frames::radius::{ACCESS_REQUEST, ACCOUNTING_REQUEST, HEADER, Packet, seal_accounting};
use crate::random::Random;
use crate::subscribers::Subscribers;

/// Requests by number.
pub trait Requests: Send + Sync {
    /// The code of all of them.
    fn code(&self) -> u8;

    /// Writes the request of that number, which comes from that place, and gives its length; none when there are no more. The
    /// same number and place give the same packet.
    fn write(&self, number: u64, place: Place, buffer: &mut [u8]) -> Option<usize>;
}

/// How a subscriber proves who it is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Method {
    /// A password (RFC 2865 section 5.2).
    Pap,
    /// CHAP (RFC 1994).
    Chap,
    /// MS-CHAPv2 (RFC 2759).
    MsChap2,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pap, Self::Chap, Self::MsChap2];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pap => "pap",
            Self::Chap => "chap",
            Self::MsChap2 => "mschap2",
        }
    }
}

const USER_NAME: u8 = 1;
const NAS_IP_ADDRESS: u8 = 4;
const NAS_PORT: u8 = 5;
const SERVICE_TYPE: u8 = 6;
const FRAMED_PROTOCOL: u8 = 7;
const FRAMED_IP_ADDRESS: u8 = 8;
const CALLED_STATION_ID: u8 = 30;
const CALLING_STATION_ID: u8 = 31;
const NAS_IDENTIFIER: u8 = 32;
const ACCT_STATUS_TYPE: u8 = 40;
const ACCT_DELAY_TIME: u8 = 41;
const ACCT_INPUT_OCTETS: u8 = 42;
const ACCT_OUTPUT_OCTETS: u8 = 43;
const ACCT_SESSION_ID: u8 = 44;
const ACCT_AUTHENTIC: u8 = 45;
const ACCT_SESSION_TIME: u8 = 46;
const ACCT_INPUT_PACKETS: u8 = 47;
const ACCT_OUTPUT_PACKETS: u8 = 48;
const ACCT_TERMINATE_CAUSE: u8 = 49;
const EVENT_TIMESTAMP: u8 = 55;
const NAS_PORT_TYPE: u8 = 61;

/// Framed.
const SERVICE: u32 = 2;
/// PPP.
const PROTOCOL: u32 = 1;
/// PPP over Ethernet (RFC 4603 section 2.1).
const PORT_TYPE: u32 = 32;
/// What all NASes call themselves in requests that any of them may send.
const IDENTIFIER: &str = "bras.lab.test";
const CALLED: &str = "ether1:internet";

/// Access-Requests, all with a Message-Authenticator: whole packets, which are prepared because MS-CHAPv2 costs the sender
/// more than sending does.
///
/// The Message-Authenticator covers the identifier, so that there are as many packets for each of the 256. They come in turn,
/// and as their number is prime, all places (if these are not a multiple of it) have sent all packets for their identifier
/// before one sends the same again: none is a repetition within any server's memory.
#[derive(Clone, Debug)]
pub struct Authentications {
    bytes: Vec<u8>,
    /// By identifier; where in `bytes` each packet begins and ends.
    packets: Vec<[u32; 2]>,
}

/// Packets for each identifier, a prime number: 261,376 in all.
const VARIANTS: u32 = 1_021;

impl Authentications {
    /// Requests of subscribers drawn at random; the same in every run.
    ///
    /// # Errors
    /// When there are no subscribers.
    pub fn prepare(method: Method, subscribers: Subscribers, secret: &str) -> Result<Self> {
        ensure!(subscribers.count > 0, "there is nobody to authenticate");
        let secret = secret.as_bytes();
        let mut random = Random::seeded(20_260_101);
        let mut bytes = Vec::new();
        let mut packets = Vec::with_capacity(256 * VARIANTS as usize);
        for id in 0..=u8::MAX {
            for _ in 0..VARIANTS {
                let number = (random.next_u64() % u64::from(subscribers.count)) as u32;
                let (user, password) = (Subscribers::name(number), Subscribers::password(number));
                let packet = Packet::access_request(id, random.block())
                    .attribute(USER_NAME, user.as_bytes());
                let packet = match method {
                    Method::Pap => packet.password(secret, &password),
                    Method::Chap => packet.chap(id, &random.block(), &password),
                    Method::MsChap2 => {
                        packet.mschap2(id, [&random.block(), &random.block()], &user, &password)
                    }
                };
                let packet = packet
                    .attribute(NAS_IDENTIFIER, IDENTIFIER.as_bytes())
                    .attribute(NAS_PORT, &number.to_be_bytes())
                    .attribute(NAS_PORT_TYPE, &PORT_TYPE.to_be_bytes())
                    .attribute(SERVICE_TYPE, &SERVICE.to_be_bytes())
                    .attribute(FRAMED_PROTOCOL, &PROTOCOL.to_be_bytes())
                    .attribute(CALLED_STATION_ID, CALLED.as_bytes())
                    .attribute(CALLING_STATION_ID, station(number).as_bytes())
                    .signed(secret)
                    .encode();
                let begin = bytes.len() as u32;
                bytes.extend(packet);
                packets.push([begin, bytes.len() as u32]);
            }
        }
        Ok(Self { bytes, packets })
    }
}

impl Requests for Authentications {
    fn code(&self) -> u8 {
        ACCESS_REQUEST
    }

    fn write(&self, _number: u64, place: Place, buffer: &mut [u8]) -> Option<usize> {
        // Requests with this identifier before this one, of all NASes.
        let earlier = place.round * u64::from(place.lanes) + u64::from(place.lane);
        let variant = earlier % u64::from(VARIANTS);
        let index = usize::from(place.id) * VARIANTS as usize + variant as usize;
        let &[begin, end] = self.packets.get(index)?;
        let packet = self.bytes.get(begin as usize..end as usize)?;
        buffer.get_mut(..packet.len())?.copy_from_slice(packet);
        Some(packet.len())
    }
}

/// What a record tells of its session.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Status {
    /// It has begun.
    Start,
    /// It goes on.
    Interim,
    /// It has ended.
    Stop,
}

impl Status {
    /// Acct-Status-Type (RFC 2866 section 5.1).
    const fn number(self) -> u32 {
        match self {
            Self::Start => 1,
            Self::Stop => 2,
            Self::Interim => 3,
        }
    }

    /// Seconds since the beginning of its session.
    const fn age(self) -> u32 {
        match self {
            Self::Start => 0,
            Self::Interim => 300,
            Self::Stop => 600,
        }
    }
}

/// Accounting-Requests of sessions that no other load has, each from the NAS that its session is on.
///
/// Sessions come in waves: all of a wave begin, then all tell how they go on, then all end. A wave is longer than what is under
/// way, so that nothing is overtaken by what follows it.
#[derive(Clone, Debug)]
pub struct Accounting {
    /// Records of a session, in their order.
    statuses: Vec<Status>,
    /// Sessions of a wave: a multiple of the lanes, for a session's records to come from one.
    wave: u64,
    /// Records in all.
    most: u64,
    secret: Vec<u8>,
    subscribers: u32,
    /// When sessions began, in seconds of Unix time; also what tells these sessions from those of other loads.
    begun: u32,
}

/// Sessions of a wave, at least.
const LEAST_WAVE: u64 = 4_096;

impl Accounting {
    /// Records of sessions that have those, for as long as wanted, or as many as `most` says. `earlier` are seconds that the
    /// sessions began before now: two loads with the same would tell of the same sessions.
    ///
    /// # Errors
    /// When the clock stands before 1970, or there is nothing to tell.
    pub fn new(
        statuses: &[Status],
        nases: Nases,
        subscribers: Subscribers,
        secret: &str,
        earlier: u32,
    ) -> Result<Self> {
        ensure!(!statuses.is_empty() && subscribers.count > 0, "there is nothing to account for");
        let lanes = u64::from(nases.lanes()).max(1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("a clock before 1970")?;
        Ok(Self {
            statuses: statuses.to_vec(),
            wave: LEAST_WAVE.next_multiple_of(lanes),
            most: u64::MAX,
            secret: secret.as_bytes().to_vec(),
            subscribers: subscribers.count,
            begun: (now.as_secs() as u32).saturating_sub(earlier),
        })
    }

    /// The same with an end.
    pub const fn most(mut self, records: u64) -> Self {
        self.most = records;
        self
    }

    /// Session and status of a record; none beyond the last one.
    pub fn record(&self, number: u64) -> Option<(String, Status)> {
        let (session, status) = self.session(number)?;
        Some((self.session_id(session), status))
    }

    fn session(&self, number: u64) -> Option<(u64, Status)> {
        let (turn, within) = (number / self.wave, number % self.wave);
        let count = self.statuses.len() as u64;
        let status = self.statuses.get((turn % count) as usize)?;
        (number < self.most).then_some((turn / count * self.wave + within, *status))
    }

    /// Acct-Session-Id.
    fn session_id(&self, session: u64) -> String {
        format!("{:08x}-{session:08x}", self.begun)
    }
}

impl Requests for Accounting {
    fn code(&self) -> u8 {
        ACCOUNTING_REQUEST
    }

    fn write(&self, number: u64, place: Place, buffer: &mut [u8]) -> Option<usize> {
        let (session, status) = self.session(number)?;
        let subscriber = (session % u64::from(self.subscribers)) as u32;
        let mut writer = Writer { buffer: &mut *buffer, at: HEADER };
        writer.number(ACCT_STATUS_TYPE, status.number())?;
        writer.push(ACCT_SESSION_ID, self.session_id(session).as_bytes())?;
        writer.push(USER_NAME, Subscribers::name(subscriber).as_bytes())?;
        writer.push(NAS_IP_ADDRESS, &place.nas.octets())?;
        writer.number(NAS_PORT, subscriber)?;
        writer.number(NAS_PORT_TYPE, PORT_TYPE)?;
        writer.number(SERVICE_TYPE, SERVICE)?;
        writer.number(FRAMED_PROTOCOL, PROTOCOL)?;
        // 100.64.0.0/10 (RFC 6598).
        writer.number(FRAMED_IP_ADDRESS, 0x6440_0000 | (subscriber & 0x003f_ffff))?;
        writer.push(CALLED_STATION_ID, CALLED.as_bytes())?;
        writer.push(CALLING_STATION_ID, station(subscriber).as_bytes())?;
        writer.number(ACCT_AUTHENTIC, 1)?;
        writer.number(EVENT_TIMESTAMP, self.begun.saturating_add(status.age()))?;
        writer.number(ACCT_DELAY_TIME, 0)?;
        if status != Status::Start {
            writer.number(ACCT_SESSION_TIME, status.age())?;
            for (kind, each) in [
                (ACCT_INPUT_OCTETS, 12_345),
                (ACCT_OUTPUT_OCTETS, 234_567),
                (ACCT_INPUT_PACKETS, 45),
                (ACCT_OUTPUT_PACKETS, 210),
            ] {
                writer.number(kind, status.age() * each)?;
            }
        }
        if status == Status::Stop {
            // User Request (RFC 2866 section 5.10).
            writer.number(ACCT_TERMINATE_CAUSE, 1)?;
        }
        let length = writer.at;
        let packet = buffer.get_mut(..length)?;
        let [high, low] = (length as u16).to_be_bytes();
        packet.get_mut(..4)?.copy_from_slice(&[ACCOUNTING_REQUEST, place.id, high, low]);
        seal_accounting(packet, &self.secret);
        Some(length)
    }
}

/// A line's end: the hardware address of what dials in.
fn station(subscriber: u32) -> String {
    let [a, b, c, d] = subscriber.to_be_bytes();
    format!("02:00:{a:02X}:{b:02X}:{c:02X}:{d:02X}")
}

struct Writer<'b> {
    buffer: &'b mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn push(&mut self, kind: u8, value: &[u8]) -> Option<()> {
        let length = value.len() + 2;
        let room = self.buffer.get_mut(self.at..self.at + length)?;
        let (head, rest) = room.split_first_chunk_mut::<2>()?;
        *head = [kind, length as u8];
        rest.copy_from_slice(value);
        self.at += length;
        Some(())
    }

    fn number(&mut self, kind: u8, value: u32) -> Option<()> {
        self.push(kind, &value.to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::Ipv4Addr;

    use super::*;
    use crate::frames::radius::message_authenticator_fits;

    const NASES: Nases = Nases { first: Ipv4Addr::new(198, 18, 0, 1), count: 7, ports: 2 };
    const SUBSCRIBERS: Subscribers = Subscribers { count: 1_000 };

    fn written(requests: &dyn Requests, number: u64) -> Vec<u8> {
        let mut buffer = [0; 1_024];
        let length = requests.write(number, NASES.place(number), &mut buffer).unwrap();
        let [high, low] = (length as u16).to_be_bytes();
        assert_eq!(buffer[..4], [requests.code(), NASES.place(number).id, high, low]);
        buffer[..length].to_vec()
    }

    /// Kinds and values, down to the last byte.
    fn attributes(packet: &[u8]) -> Vec<(u8, &[u8])> {
        let mut rest = &packet[HEADER..];
        let mut all = Vec::new();
        while let [kind, length, ..] = *rest {
            all.push((kind, &rest[2..usize::from(length)]));
            rest = &rest[usize::from(length)..];
        }
        assert!(rest.is_empty());
        all
    }

    #[test]
    fn requests_of_every_method_are_signed_and_differ() {
        let lengths = Method::ALL.map(|method| {
            let requests = Authentications::prepare(method, SUBSCRIBERS, "secret").unwrap();
            let mut seen = HashSet::new();
            for number in (0..NASES.places() * 3).step_by(13) {
                let packet = written(&requests, number);
                let authenticator = packet[4..HEADER].try_into().unwrap();
                let fits = message_authenticator_fits(&packet, &authenticator, b"secret");
                assert_eq!(fits, Some(true), "{method:?}");
                assert_eq!(attributes(&packet)[1].0, USER_NAME);
                let place = NASES.place(number);
                assert!(seen.insert((place.lane, place.id, authenticator)), "{number} again");
            }
            written(&requests, 0).len()
        });
        assert_eq!(lengths, [144, 163, 208]);
    }

    #[test]
    fn sessions_begin_go_on_and_end_on_one_nas() {
        let statuses = [Status::Start, Status::Interim, Status::Stop];
        let accounting = Accounting::new(&statuses, NASES, SUBSCRIBERS, "secret", 900).unwrap();
        let wave = accounting.wave;
        assert!(wave >= LEAST_WAVE && wave.is_multiple_of(u64::from(NASES.lanes())));
        for session in [0, 5, wave - 1, wave, 7 * wave + 3] {
            let first = session / wave * 3 * wave + session % wave;
            let mut told = Vec::new();
            for (turn, status) in (0..).zip(statuses) {
                let number = first + turn * wave;
                assert_eq!(accounting.record(number).unwrap().1, status);
                let packet = written(&accounting, number);
                let all = attributes(&packet);
                let value =
                    |wanted| all.iter().find(|(kind, _)| *kind == wanted).unwrap().1.to_vec();
                assert_eq!(value(ACCT_STATUS_TYPE), status.number().to_be_bytes());
                assert_eq!(value(NAS_IP_ADDRESS), NASES.place(number).nas.octets());
                let id = String::from_utf8(value(ACCT_SESSION_ID)).unwrap();
                assert_eq!(accounting.record(number).unwrap().0, id);
                told.push((id, value(NAS_IP_ADDRESS), value(USER_NAME)));
                let mut sealed = packet.clone();
                seal_accounting(&mut sealed, b"secret");
                assert_eq!(sealed, packet);
            }
            assert!(told.iter().all(|one| *one == told[0]), "{told:?}");
        }
        let ids: HashSet<String> =
            (0..2 * wave).map(|number| accounting.record(number).unwrap().0).collect();
        assert_eq!(ids.len() as u64, wave);
        let few = accounting.most(3);
        assert!(few.record(2).is_some() && few.record(3).is_none());
        assert!(few.write(3, NASES.place(3), &mut [0; 1_024]).is_none());
    }

    #[test]
    fn a_buffer_that_is_too_short_takes_nothing() {
        let accounting = Accounting::new(&[Status::Stop], NASES, SUBSCRIBERS, "secret", 0).unwrap();
        let length = written(&accounting, 0).len();
        let mut buffer = vec![0; length - 1];
        assert_eq!(accounting.write(0, NASES.place(0), &mut buffer), None);
    }
}
