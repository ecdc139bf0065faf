//! What a NAS reports, as this product reads it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use muralla_radius_wire::{Code, Packet, kind};

use crate::doubts::Doubts;

/// Nanoseconds of a second.
pub(crate) const NANOS: u64 = 1_000_000_000;

/// Longest Acct-Delay-Time that is believed, in seconds: a month. NASes that count it in
/// milliseconds, or send rubbish, are beyond that soon.
pub const LONGEST_DELAY: u32 = 31 * 86_400;

/// Bytes of attributes at most: what fits into a packet (RFC 2865 section 3).
pub const MOST_BYTES: usize = 4_096 - 20;

/// An Accounting-Request that can be used. Borrows the packet, or the journal's payload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Record<'a> {
    /// Acct-Status-Type (40).
    pub status: Status,
    /// The NAS's entry in the configuration, by name: several boxes may be behind one.
    pub nas: &'a str,
    /// The telco (group) that the NAS's entry belonged to when the record came, if the server told.
    pub telco: Option<&'a str>,
    /// Where the packet came from.
    pub source: SocketAddr,
    /// When it came, by our clock: nanoseconds since 1970.
    pub received: u64,
    /// When it came, by a clock that is never stepped, if the server told.
    pub uptime: Option<Uptime>,
    /// Acct-Session-Id (44); empty if there is none.
    pub session: &'a [u8],
    /// User-Name (1); empty if there is none.
    pub user: &'a [u8],
    /// The subscriber that User-Name means (letter case and realm settled), if the server told.
    /// Simultaneous sessions are counted, and usage summed, by this.
    pub subscriber: Option<&'a str>,
    /// NAS-Identifier (32).
    pub nas_identifier: Option<&'a [u8]>,
    /// NAS-IP-Address (4), or else NAS-IPv6-Address (95).
    pub nas_address: Option<IpAddr>,
    /// NAS-Port (5).
    pub nas_port: Option<u32>,
    /// NAS-Port-Id (87).
    pub nas_port_id: Option<&'a [u8]>,
    /// Class (25), the first of them.
    pub class: Option<&'a [u8]>,
    /// Event-Timestamp (55) as the NAS says, in seconds since 1970. See [`Record::event`].
    pub event_timestamp: Option<u32>,
    /// Acct-Delay-Time (41) as the NAS says, in seconds.
    pub delay: Option<u32>,
    /// Acct-Session-Time (46), in seconds.
    pub session_seconds: Option<u32>,
    /// Acct-Input-Octets (42) and -Gigawords (52): what the user sent.
    pub octets_in: Octets,
    /// Acct-Output-Octets (43) and -Gigawords (53): what the user received.
    pub octets_out: Octets,
    /// Acct-Input-Packets (47).
    pub packets_in: Option<u32>,
    /// Acct-Output-Packets (48).
    pub packets_out: Option<u32>,
    /// Acct-Terminate-Cause (49).
    pub cause: Option<u32>,
    /// Framed-IP-Address (8), if it is one (RFC 2865 section 5.8 has two that mean "choose").
    pub framed_address: Option<Ipv4Addr>,
    /// Framed-IPv6-Prefix (97).
    pub framed_prefix: Option<Prefix6>,
    /// Framed-IPv6-Address (168).
    pub framed_address6: Option<Ipv6Addr>,
    /// Delegated-IPv6-Prefix (123).
    pub delegated_prefix: Option<Prefix6>,
    /// Calling-Station-Id (31).
    pub calling: Option<&'a [u8]>,
    /// Called-Station-Id (30).
    pub called: Option<&'a [u8]>,
    /// What is not quite right about its attributes; [`Record::event`] may find more.
    pub doubts: Doubts,
    /// All attributes as they stood in the packet.
    pub attributes: &'a [u8],
}

/// A moment in one life of the machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Uptime {
    /// Which life: a digest of /proc/sys/kernel/random/boot_id, or another number that is different
    /// after every boot.
    pub boot: u32,
    /// Nanoseconds since then (CLOCK_BOOTTIME).
    pub nanos: u64,
}

/// Acct-Status-Type (RFC 2866 section 5.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Status {
    /// A session began.
    Start,
    /// It ended.
    Stop,
    /// It goes on.
    Interim,
    /// The NAS began: it booted, or accounting was switched on.
    On,
    /// The NAS is about to end.
    Off,
    /// Tunnels (RFC 2867), failures, vendors' own: kept and exported, of no effect on sessions.
    Other(u32),
}

impl Status {
    /// From the number on the wire.
    pub const fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Start,
            2 => Self::Stop,
            3 => Self::Interim,
            7 => Self::On,
            8 => Self::Off,
            other => Self::Other(other),
        }
    }

    /// The number on the wire.
    pub const fn number(self) -> u32 {
        match self {
            Self::Start => 1,
            Self::Stop => 2,
            Self::Interim => 3,
            Self::On => 7,
            Self::Off => 8,
            Self::Other(number) => number,
        }
    }

    /// In snake case, as counters and columns have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Interim => "interim",
            Self::On => "accounting_on",
            Self::Off => "accounting_off",
            Self::Other(9) => "tunnel_start",
            Self::Other(10) => "tunnel_stop",
            Self::Other(11) => "tunnel_reject",
            Self::Other(12) => "tunnel_link_start",
            Self::Other(13) => "tunnel_link_stop",
            Self::Other(14) => "tunnel_link_reject",
            Self::Other(15) => "failed",
            Self::Other(_) => "other",
        }
    }

    /// Whether it is about one session.
    pub const fn is_of_session(self) -> bool {
        matches!(self, Self::Start | Self::Stop | Self::Interim)
    }
}

/// A counter of octets, of which older NASes send the lower half alone.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Octets {
    /// Modulo 2^32.
    pub low: Option<u32>,
    /// How often that went round (RFC 2869 section 5.1); none if the NAS doesn't say.
    pub gigawords: Option<u32>,
}

impl Octets {
    /// Both halves together; none if neither is there.
    pub fn total(self) -> Option<u64> {
        if self.low.is_none() && self.gigawords.is_none() {
            return None;
        }
        let high = u64::from(self.gigawords.unwrap_or(0));
        Some(high << 32 | u64::from(self.low.unwrap_or(0)))
    }
}

/// An IPv6 prefix; bits behind its length are 0.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Prefix6 {
    address: Ipv6Addr,
    length: u8,
}

impl Prefix6 {
    /// A prefix of at most 128 bits.
    pub fn new(address: Ipv6Addr, length: u8) -> Option<Self> {
        let rest = 128_u32.checked_sub(u32::from(length))?;
        let mask = u128::MAX.checked_shl(rest).unwrap_or(0);
        Some(Self { address: Ipv6Addr::from_bits(address.to_bits() & mask), length })
    }

    /// Its first address.
    pub const fn address(self) -> Ipv6Addr {
        self.address
    }

    /// Bits that are given, 0 to 128.
    pub const fn length(self) -> u8 {
        self.length
    }

    /// Whether an address is within.
    pub fn contains(self, address: Ipv6Addr) -> bool {
        Self::new(address, self.length) == Some(self)
    }

    /// As RFC 3162 section 2.3 has it: a reserved octet, the length, and as much as it takes.
    pub(crate) fn of_attribute(value: &[u8]) -> Option<Self> {
        let (&[_, length], given) = value.split_first_chunk()?;
        let mut address = [0; 16];
        address.get_mut(..given.len())?.copy_from_slice(given);
        Self::new(Ipv6Addr::from(address), length)
    }
}

impl fmt::Display for Prefix6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// When something happened, as far as can be told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Event {
    /// Seconds since 1970.
    pub at: u32,
    /// Whether a retransmission of the record would say the same: the NAS gives the event's time,
    /// or counts its delay.
    pub exact: bool,
    /// What is doubtful about it.
    pub doubts: Doubts,
}

/// The name of a NAS's entry in the configuration.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NasName(Arc<str>);

/// A name that no NAS can have.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a NAS's name has 1 to 253 bytes and no control characters; give it another")]
pub struct BadNasName;

impl NasName {
    /// Longest name, in bytes.
    pub const LONGEST: usize = 253;

    /// Takes a name.
    pub fn new(name: &str) -> Result<Self, BadNasName> {
        if is_nas_name(name) { Ok(Self(name.into())) } else { Err(BadNasName) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NasName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) fn is_nas_name(name: &str) -> bool {
    (1..=NasName::LONGEST).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// Why no record can be made of a packet. It was well formed and its sender knew the secret: drop
/// it and count the reason, but look at the NAS.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum Unusable {
    /// It is no Accounting-Request.
    #[error("not an Accounting-Request: send it to the authentication port")]
    NotAccounting,
    /// Acct-Status-Type is missing, or no number.
    #[error("no Acct-Status-Type: the NAS must say what it reports (RFC 2866 section 5.1)")]
    NoStatus,
    /// Nothing tells which session it is about.
    #[error("neither Acct-Session-Id nor a port or calling station: nothing tells the session")]
    NoSession,
    /// The attributes don't add up.
    #[error("an attribute is longer than the packet or shorter than its header")]
    Attributes,
    /// The name is none that [`NasName`] takes.
    #[error("the name of the NAS's entry is empty, too long or has control characters")]
    Nas,
}

impl Unusable {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::NotAccounting, Self::NoStatus, Self::NoSession, Self::Attributes, Self::Nas];

    /// In snake case, for counters.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotAccounting => "not_accounting",
            Self::NoStatus => "no_status",
            Self::NoSession => "no_session",
            Self::Attributes => "attributes",
            Self::Nas => "nas_name",
        }
    }
}

impl<'a> Record<'a> {
    /// Reads an Accounting-Request that was verified. `received` is our wall clock in nanoseconds
    /// since 1970 when the packet came.
    pub fn of(
        packet: &Packet<'a>,
        nas: &'a NasName,
        source: SocketAddr,
        received: u64,
    ) -> Result<Self, Unusable> {
        if packet.code() != Code::ACCOUNTING_REQUEST {
            return Err(Unusable::NotAccounting);
        }
        Self::of_attributes(packet.attribute_bytes(), nas.as_str(), source, received)
    }

    /// Reads encoded attributes, as they stand in a packet or in a payload of the journal.
    pub fn of_attributes(
        attributes: &'a [u8],
        nas: &'a str,
        source: SocketAddr,
        received: u64,
    ) -> Result<Self, Unusable> {
        if !is_nas_name(nas) {
            return Err(Unusable::Nas);
        }
        let mut record = Self::blank(attributes, nas, source, received);
        let (status, whole) = record.read();
        if !whole || attributes.len() > MOST_BYTES {
            return Err(Unusable::Attributes);
        }
        record.status = status.ok_or(Unusable::NoStatus)?;
        if record.session.is_empty() && record.status.is_of_session() {
            record.doubts = record.doubts | Doubts::NO_SESSION_ID;
            let line = (record.nas_port, record.nas_port_id, record.calling);
            if line == (None, None, None) {
                return Err(Unusable::NoSession);
            }
        }
        Ok(record)
    }

    /// With the subscriber that User-Name means.
    pub fn with_subscriber(self, subscriber: Option<&'a str>) -> Self {
        Self { subscriber, ..self }
    }

    /// With the moment at which it came, on a clock that is never stepped. Records that are applied
    /// again after a restart then keep their order, whatever became of the wall clock meanwhile.
    pub fn with_uptime(self, uptime: Option<Uptime>) -> Self {
        Self { uptime, ..self }
    }

    /// With the telco that the NAS belongs to.
    pub fn with_telco(self, telco: Option<&'a str>) -> Self {
        Self { telco, ..self }
    }

    /// When the event happened.
    ///
    /// Event-Timestamp (RFC 2869 section 5.3) if it is within `tolerance` seconds of when the
    /// record was first sent, that is, came less Acct-Delay-Time (RFC 2866 section 5.2); else the
    /// latter, with a doubt; a delay that would have the record sent before its event is doubted
    /// instead. So a retransmission has the time of the first attempt, be its
    /// identifier and delay what they may, if the NAS sends either attribute; and a NAS whose clock
    /// is wrong or jumps is accounted by ours.
    pub fn event(&self, tolerance: u32) -> Event {
        let received = self.received / NANOS;
        let mut doubts = self.doubts;
        let delay = self.delay.unwrap_or(0);
        let believed = delay <= LONGEST_DELAY && u64::from(delay) <= received;
        if !believed {
            doubts = doubts | Doubts::DELAY;
        }
        let sent = received.saturating_sub(if believed { u64::from(delay) } else { 0 });
        let sent = u32::try_from(sent).unwrap_or(u32::MAX);
        let exact = believed && self.delay.is_some();
        let Some(stamp) = self.event_timestamp else { return Event { at: sent, exact, doubts } };
        if stamp.abs_diff(sent) <= tolerance {
            return Event { at: stamp, exact: true, doubts };
        }
        if u64::from(stamp) > u64::from(sent) && u64::from(stamp) <= received {
            // Some NASes count their delay in milliseconds.
            return Event { at: stamp, exact: true, doubts: doubts | Doubts::DELAY };
        }
        Event { at: sent, exact, doubts: doubts | Doubts::CLOCK }
    }

    /// A name for the event that is the same for each retransmission of the record: a digest of
    /// its NAS and of all attributes that a retransmission leaves alone, which is all but
    /// Acct-Delay-Time (RFC 2866 section 5.2), Proxy-State and Message-Authenticator. Two interim
    /// updates that agree in all counters and times have one name, and tell nothing different.
    pub fn event_id(&self) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"muralla accounting event 1");
        hasher.update(&(self.nas.len() as u64).to_be_bytes());
        hasher.update(self.nas.as_bytes());
        for (kind, value) in Walk::over(self.attributes) {
            let changes = matches!(
                kind,
                kind::ACCT_DELAY_TIME | kind::PROXY_STATE | kind::MESSAGE_AUTHENTICATOR
            );
            if !changes {
                hasher.update(&[kind, value.len() as u8]);
                hasher.update(value);
            }
        }
        let mut name = [0; 16];
        hasher.finalize_xof().fill(&mut name);
        name
    }

    /// A copy that borrows nothing.
    pub fn to_owned(&self) -> OwnedRecord {
        OwnedRecord {
            status: self.status,
            nas: self.nas.into(),
            telco: self.telco.map(Into::into),
            subscriber: self.subscriber.map(Into::into),
            source: self.source,
            received: self.received,
            uptime: self.uptime,
            doubts: self.doubts,
            attributes: self.attributes.into(),
        }
    }

    /// The name that usage is summed by, and simultaneous sessions counted.
    pub(crate) fn subject(&self) -> &'a [u8] {
        self.subscriber.map_or(self.user, str::as_bytes)
    }

    fn blank(attributes: &'a [u8], nas: &'a str, source: SocketAddr, received: u64) -> Self {
        Self {
            status: Status::Other(0),
            nas,
            telco: None,
            source,
            received,
            uptime: None,
            session: &[],
            user: &[],
            subscriber: None,
            nas_identifier: None,
            nas_address: None,
            nas_port: None,
            nas_port_id: None,
            class: None,
            event_timestamp: None,
            delay: None,
            session_seconds: None,
            octets_in: Octets::default(),
            octets_out: Octets::default(),
            packets_in: None,
            packets_out: None,
            cause: None,
            framed_address: None,
            framed_prefix: None,
            framed_address6: None,
            delegated_prefix: None,
            calling: None,
            called: None,
            doubts: Doubts::default(),
            attributes,
        }
    }

    /// Takes each attribute's first appearance; gives the status, and whether the lengths add up.
    fn read(&mut self) -> (Option<Status>, bool) {
        let (mut status, mut nas_v4, mut nas_v6, mut fits) = (None, None, None, true);
        let mut walk = Walk::over(self.attributes);
        for (kind, value) in walk.by_ref() {
            let length = match kind {
                kind::ACCT_STATUS_TYPE => take(&mut status, number(value)),
                kind::ACCT_DELAY_TIME => take(&mut self.delay, number(value)),
                kind::ACCT_INPUT_OCTETS => take(&mut self.octets_in.low, number(value)),
                kind::ACCT_OUTPUT_OCTETS => take(&mut self.octets_out.low, number(value)),
                kind::ACCT_INPUT_GIGAWORDS => take(&mut self.octets_in.gigawords, number(value)),
                kind::ACCT_OUTPUT_GIGAWORDS => take(&mut self.octets_out.gigawords, number(value)),
                kind::ACCT_SESSION_TIME => take(&mut self.session_seconds, number(value)),
                kind::ACCT_INPUT_PACKETS => take(&mut self.packets_in, number(value)),
                kind::ACCT_OUTPUT_PACKETS => take(&mut self.packets_out, number(value)),
                kind::ACCT_TERMINATE_CAUSE => take(&mut self.cause, number(value)),
                kind::EVENT_TIMESTAMP => take(&mut self.event_timestamp, number(value)),
                kind::NAS_PORT => take(&mut self.nas_port, number(value)),
                kind::NAS_IP_ADDRESS => take(&mut nas_v4, number(value)),
                kind::FRAMED_IP_ADDRESS => {
                    let address = number(value).map(Ipv4Addr::from_bits);
                    take(&mut self.framed_address, address)
                }
                kind::NAS_IPV6_ADDRESS => take(&mut nas_v6, address6(value)),
                kind::FRAMED_IPV6_ADDRESS => take(&mut self.framed_address6, address6(value)),
                kind::FRAMED_IPV6_PREFIX => {
                    take(&mut self.framed_prefix, Prefix6::of_attribute(value))
                }
                kind::DELEGATED_IPV6_PREFIX => {
                    take(&mut self.delegated_prefix, Prefix6::of_attribute(value))
                }
                kind::CLASS => take(&mut self.class, Some(value)),
                kind::NAS_IDENTIFIER => take(&mut self.nas_identifier, some_text(value)),
                kind::NAS_PORT_ID => take(&mut self.nas_port_id, some_text(value)),
                kind::CALLING_STATION_ID => take(&mut self.calling, some_text(value)),
                kind::CALLED_STATION_ID => take(&mut self.called, some_text(value)),
                kind::USER_NAME => {
                    if self.user.is_empty() {
                        self.user = value;
                    }
                    true
                }
                kind::ACCT_SESSION_ID => {
                    if self.session.is_empty() {
                        self.session = value;
                    }
                    true
                }
                _ => true,
            };
            // An empty text is as good as none; the session's id has a doubt of its own.
            fits &= length || value.is_empty();
        }
        if !fits {
            self.doubts = self.doubts | Doubts::LENGTHS;
        }
        self.nas_address = (nas_v4.map(|address| IpAddr::V4(Ipv4Addr::from_bits(address))))
            .or(nas_v6.map(IpAddr::V6));
        // 0.0.0.0 is no address, 255.255.255.255 lets the user choose and 255.255.255.254 the NAS.
        self.framed_address = self
            .framed_address
            .filter(|address| !matches!(address.to_bits(), 0 | 0xffff_fffe | 0xffff_ffff));
        // RFC 2869 section 5.3 counts from 1970: 0 is a NAS that has no clock.
        self.event_timestamp = self.event_timestamp.filter(|&stamp| stamp != 0);
        (status.map(Status::from_number), walk.is_whole())
    }
}

/// Fills a place that is empty; false if the value could not be read.
fn take<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let read = value.is_some();
    if place.is_none() {
        *place = value;
    }
    read
}

fn number(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.try_into().ok()?))
}

fn address6(value: &[u8]) -> Option<Ipv6Addr> {
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?))
}

fn some_text(value: &[u8]) -> Option<&[u8]> {
    (!value.is_empty()).then_some(value)
}

/// Attributes one after the other, up to the first whose length can't be.
struct Walk<'a> {
    rest: &'a [u8],
}

impl<'a> Walk<'a> {
    fn over(attributes: &'a [u8]) -> Self {
        Self { rest: attributes }
    }

    fn is_whole(&self) -> bool {
        self.rest.is_empty()
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[kind, length], rest) = self.rest.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(usize::from(length).checked_sub(2)?)?;
        self.rest = rest;
        Some((kind, value))
    }
}

/// A record that borrows nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OwnedRecord {
    status: Status,
    nas: Box<str>,
    telco: Option<Box<str>>,
    subscriber: Option<Box<str>>,
    source: SocketAddr,
    received: u64,
    uptime: Option<Uptime>,
    doubts: Doubts,
    attributes: Box<[u8]>,
}

impl OwnedRecord {
    /// The record.
    pub fn record(&self) -> Record<'_> {
        let mut record = Record::blank(&self.attributes, &self.nas, self.source, self.received);
        // All of this was found to be right when it was made.
        record.read();
        record.status = self.status;
        record.doubts = self.doubts;
        record.uptime = self.uptime;
        record.with_subscriber(self.subscriber.as_deref()).with_telco(self.telco.as_deref())
    }
}

#[cfg(test)]
mod tests;
