//! What the wall tells of itself, and what the operator asks of it.

use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Mode;
use crate::config::{Role, RuleMode};

/// What a reload changed.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Reload {
    /// The policy's number.
    pub generation: u64,
    /// Prefixes in it.
    pub prefixes: u64,
    /// Whether programs were replaced too.
    pub programs_replaced: bool,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// What happened to an interface.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct InterfaceEvent {
    /// The interface.
    pub interface: String,
    /// In words.
    pub event: String,
    /// Whether it is protected now.
    pub attached: bool,
}

/// How the wall stands.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Status {
    /// Version of the layout.
    pub abi: u32,
    /// When the daemon started, in seconds since 1970.
    pub started: u64,
    /// The policy's number.
    pub policy_generation: u64,
    /// Prefixes in the policy.
    pub prefixes: u64,
    /// Slots of the limiter.
    pub limiter_slots: u64,
    /// Those that hold a source or network ahead of its rate now; estimated from a part of the table.
    pub limiter_used: u64,
    /// Updates of the limiter lost to another CPU.
    pub limiter_races: u64,
    /// Nanoseconds that the program takes for a packet, over all that were timed; none before the first.
    pub ns_per_packet: Option<f64>,
    /// The interfaces.
    pub interfaces: Vec<InterfaceStatus>,
    /// The feeds.
    pub feeds: Vec<FeedStatus>,
    /// The services' names, in the order of their numbers.
    pub services: Vec<String>,
    /// Blocks by the operator.
    pub blocks: u64,
    /// Bans of offenders.
    pub bans: u64,
}

/// How an interface is protected.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// Its index; none while it is not there.
    pub ifindex: Option<u32>,
    /// Which side it looks at.
    pub role: Role,
    /// How the program is attached.
    pub mode: Option<Mode>,
    /// Whether it is.
    pub attached: bool,
    /// Why not, or why not well.
    pub problem: Option<String>,
    /// Packets that the interface received.
    pub rx_packets: u64,
    /// Packets that the kernel dropped for want of room.
    pub rx_dropped: u64,
    /// Packets that the card dropped before anyone saw them.
    pub rx_missed: u64,
}

/// How a feed is.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct FeedStatus {
    /// Its name.
    pub name: String,
    /// Its file.
    pub file: String,
    /// Whether it acts.
    pub mode: RuleMode,
    /// Prefixes in force.
    pub prefixes: u64,
    /// Age of the file in force, in seconds.
    pub age_seconds: Option<u64>,
    /// Whether that is too old.
    pub stale: bool,
    /// Why the file was refused; what it said before stays in force.
    pub problem: Option<String>,
}

/// What was counted.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CounterRow {
    /// The interface.
    pub interface: String,
    /// The service.
    pub service: String,
    /// The reason's name.
    pub reason: String,
    /// The verdict's name.
    pub verdict: String,
    /// Packets.
    pub packets: u64,
    /// Bytes of their frames.
    pub bytes: u64,
}

/// A block that the operator wants.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct BlockRequest {
    /// Whom.
    pub prefix: IpNet,
    /// Why.
    #[serde(default)]
    pub note: String,
    /// For how long; none for ever.
    pub ttl: Option<Duration>,
    /// From what; none for everything.
    pub services: Option<Vec<String>>,
}

/// A block in force.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct BlockEntry {
    /// Whom.
    pub prefix: IpNet,
    /// `operator` or `offence`.
    pub origin: String,
    /// Why.
    pub note: String,
    /// Seconds left; none for ever.
    pub expires_in: Option<u64>,
    /// Packets it has met.
    pub hits: u64,
    /// From what; empty for everything.
    pub services: Vec<String>,
}
