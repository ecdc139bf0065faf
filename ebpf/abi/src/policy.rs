//! The compiled configuration: one image of lines that the kernel reads and userspace swaps whole.
//!
//! ```text
//! line                 what
//! HEADER               version, generation, masks and modes (see [`header`])
//! FEEDS                a bit for each feed that only observes
//! SERVICES ..          two lines for each service (see [`service`])
//! PORTS ..             a byte for each UDP, then each TCP port: the service's number
//! ROOT ..              16 bytes for each first half-word of an IPv4, then an IPv6 address
//! BUCKETS ..           hash of prefixes longer than 16 bits, four to a line
//! ```
//!
//! Because it is one map, a reload changes services, ports and every list in the same instant.

use crate::headers::proto;
use crate::layout::MAX_SERVICES;
use crate::limit::Rate;
use crate::table::{Line, Lines};

/// The line of the header.
pub const HEADER: u32 = 0;
/// The line of the feeds' modes: 256 bits in the first four words.
pub const FEEDS: u32 = 1;
/// The first line of the services.
pub const SERVICES: u32 = 2;
/// Lines of one service.
pub const SERVICE_LINES: u32 = 2;
/// The first line of the ports.
pub const PORTS: u32 = 64;
/// The first line of the roots.
pub const ROOT: u32 = PORTS + 2 * 65_536 / 64;
/// The first line of the buckets.
pub const BUCKETS: u32 = ROOT + 2 * 65_536 / 4;

const _: () = assert!(SERVICES + MAX_SERVICES * SERVICE_LINES <= PORTS);

/// Number of the service that everything else belongs to.
pub const OTHER: u8 = 0;
/// Number of the service that customers' outgoing SMTP belongs to.
pub const OUTGOING_SMTP: u8 = 1;

/// How a rule acts.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// It is not looked at.
    Off = 0,
    /// It counts what it would drop.
    Observe = 1,
    /// It drops.
    Enforce = 2,
}

impl Mode {
    /// The mode in the lowest two bits.
    #[inline(always)]
    pub const fn from_bits(bits: u64) -> Self {
        match bits & 3 {
            0 => Self::Off,
            1 => Self::Observe,
            _ => Self::Enforce,
        }
    }
}

/// The header line's words.
pub mod header {
    /// Version of the layout.
    pub const ABI: u32 = 0;
    /// Number of the policy, one more at each reload.
    pub const GENERATION: u32 = 1;
    /// Lines of buckets, less one.
    pub const BUCKET_MASK: u32 = 2;
    /// Lengths of prefixes beyond 64 bits in use, longest first, as 6-bit codes: 129 less the length.
    pub const DEEP_LENGTHS: u32 = 3;
    /// Modes of the rules that belong to no service, two bits each.
    pub const MODES: u32 = 4;

    /// Where each mode's two bits lie in [`MODES`].
    pub mod modes {
        /// Packets that contradict themselves.
        pub const IMPOSSIBLE: u32 = 0;
        /// Sources that are not routed on the Internet.
        pub const BOGONS: u32 = 2;
        /// Sources on the wrong side.
        pub const ANTISPOOF: u32 = 4;
        /// Bans of offenders.
        pub const BANS: u32 = 6;
    }
}

/// What a service speaks, for the kernel.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Only limited.
    Any = 0,
    /// TCP.
    Tcp = 1,
    /// DNS over UDP.
    Dns = 2,
    /// RADIUS authentication.
    RadiusAuth = 3,
    /// RADIUS accounting.
    RadiusAcct = 4,
    /// RADIUS dynamic authorisation.
    RadiusDyn = 5,
    /// DNS over TCP.
    DnsTcp = 6,
}

/// Words of a service's first line. A rate is an interval in the lower and a tolerance in the upper half,
/// both in ticks; zero stands for no limit.
pub mod service {
    /// Kind (8 bits), mode (8), slip (8), ANY policy (8), flags (8), chunk of the budgets (8).
    pub const TRAITS: u32 = 0;
    /// One source.
    pub const SOURCE: u32 = 1;
    /// One source from outside.
    pub const WORLD: u32 = 2;
    /// The whole service.
    pub const GLOBAL: u32 = 3;
    /// Familiar sources beyond the global budget.
    pub const RESERVE: u32 = 4;
    /// TCP segments without a known connection.
    pub const STRAY: u32 = 5;

    /// No word at all: nothing to be within.
    pub const NONE: u32 = 7;

    /// Flag: fragments are dropped.
    pub const DROP_FRAGMENTS: u64 = 1;
    /// Flag: there is some limit or budget.
    pub const LIMITS: u64 = 2;
}

/// What happens to DNS queries of type ANY.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AnyQuery {
    /// They pass.
    Pass = 0,
    /// They are sent to TCP.
    Slip = 1,
    /// They are dropped.
    Drop = 2,
}

/// A service as the decision needs it.
#[derive(Clone, Copy, Debug)]
pub struct Service<L> {
    line: L,
    traits: u64,
}

impl<L: Line> Service<L> {
    /// The kind's number; see [`Kind`].
    #[inline(always)]
    pub fn kind(&self) -> u8 {
        self.traits as u8
    }

    /// How its rules act.
    #[inline(always)]
    pub fn mode(&self) -> Mode {
        Mode::from_bits(self.traits >> 8)
    }

    /// One of how many limited queries is answered with TC=1; 0 for none.
    #[inline(always)]
    pub fn slip(&self) -> u8 {
        (self.traits >> 16) as u8
    }

    /// The ANY policy's number; see [`AnyQuery`].
    #[inline(always)]
    pub fn any(&self) -> u8 {
        (self.traits >> 24) as u8
    }

    /// Whether fragments are dropped.
    #[inline(always)]
    pub fn drops_fragments(&self) -> bool {
        (self.traits >> 32) & service::DROP_FRAGMENTS != 0
    }

    /// Whether there is some limit or budget.
    #[inline(always)]
    pub fn limits(&self) -> bool {
        (self.traits >> 32) & service::LIMITS != 0
    }

    /// Packets that a CPU takes at once from a budget.
    #[inline(always)]
    pub fn chunk(&self) -> u32 {
        (self.traits >> 40) as u8 as u32
    }

    /// The rate in one of the words of [`service`].
    #[inline(always)]
    pub fn rate(&self, word: u32) -> Rate {
        Rate::from_word(self.line.load(word))
    }
}

/// A service's traits as a word.
pub const fn service_traits(
    kind: Kind,
    mode: Mode,
    slip: u8,
    any: AnyQuery,
    flags: u8,
    chunk: u8,
) -> u64 {
    kind as u64
        | (mode as u64) << 8
        | (slip as u64) << 16
        | (any as u64) << 24
        | (flags as u64) << 32
        | (chunk as u64) << 40
}

/// Reads service number `index`.
#[inline(always)]
pub fn read_service<P: Lines>(policy: &P, index: u8) -> Option<Service<P::Line>> {
    let index = u32::from(index) & (MAX_SERVICES - 1);
    let line = policy.line(SERVICES + index * SERVICE_LINES)?;
    Some(Service { line, traits: line.load(service::TRAITS) })
}

/// The line, and the shift in bits within its word and the word, where a port's service is.
#[inline(always)]
pub const fn port_place(protocol: u8, port: u16) -> (u32, u32, u32) {
    let index = ((protocol == proto::TCP) as u32) << 16 | port as u32;
    (PORTS + (index >> 6), (index >> 3) & 7, (index & 7) * 8)
}

/// The service that listens on a UDP or TCP port.
#[inline(always)]
pub fn service_of_port<P: Lines>(policy: &P, protocol: u8, port: u16) -> u8 {
    if protocol != proto::TCP && protocol != proto::UDP {
        return OTHER;
    }
    let (line, word, shift) = port_place(protocol, port);
    policy.line(line).map_or(OTHER, |line| (line.load(word) >> shift) as u8)
}

/// Whether a feed only observes.
#[inline(always)]
pub fn feed_observes<P: Lines>(policy: &P, feed: u8) -> bool {
    let feed = u32::from(feed);
    policy.line(FEEDS).is_some_and(|line| (line.load(feed >> 6) >> (feed & 63)) & 1 != 0)
}
