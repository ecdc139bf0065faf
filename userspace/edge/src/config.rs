//! The `[edge]` part of the configuration, as plain checked values.
//!
//! Reading the file, with line numbers for every complaint, is the business of the binary; what
//! arrives here was already checked.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Everything the wall needs to know to be built.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EdgeConfig {
    /// Interfaces to protect, at most [`MAX_INTERFACES`].
    pub interfaces: Vec<InterfaceConfig>,
    /// Prefixes of the access customers: the only ones that get recursion.
    pub customers: Vec<IpNet>,
    /// Prefixes of the network access servers: the only ones that get RADIUS.
    pub nas: Vec<IpNet>,
    /// Addresses of the services besides those of the interfaces (virtual and anycast addresses).
    pub own: Vec<IpNet>,
    /// Customers who may run a mail server: no limit on their outgoing port 25.
    pub mail_servers: Vec<IpNet>,
    /// Always let through, before anything else is looked at. A rule that would cut one off is refused.
    pub protected: Vec<IpNet>,
    /// Let through before anything else is looked at.
    pub allow: Vec<IpNet>,
    /// Files of prefixes to allow, one prefix a line, `#` starts a comment.
    pub allow_files: Vec<PathBuf>,
    /// Prefixes that the configuration blocks, without expiry.
    pub block: Vec<IpNet>,
    /// Feeds of prefixes to block, each swapped whole. At most 255.
    pub feeds: Vec<FeedConfig>,
    /// Sources that are not routed on the Internet, arriving on an `internet` interface.
    pub bogons: RuleMode,
    /// Customers' addresses arriving from the Internet, and others arriving from the customers.
    pub antispoof: RuleMode,
    /// Packets that contradict themselves (lengths, flags, LAND).
    pub impossible: RuleMode,
    /// Services in the order of their numbers, beginning with 0 `other` (the catch-all) and 1
    /// `outgoing_smtp`. At most [`MAX_SERVICES`].
    pub services: Vec<ServiceConfig>,
    /// Bans of offenders.
    pub bans: BanConfig,
    /// Sources that the limiter can tell apart; 8 bytes each, rounded up to a power of two.
    pub limiter_sources: u32,
    /// Prefixes that all lists and feeds together may hold.
    pub max_prefixes: u32,
    /// Where programs, links and maps are pinned (on a bpffs).
    pub pin_dir: PathBuf,
}

/// Most interfaces that one wall protects.
pub const MAX_INTERFACES: usize = 4;

/// Most services that one wall knows, the two built-in ones included.
pub const MAX_SERVICES: usize = 16;

/// One interface to protect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InterfaceConfig {
    /// Its name, as `ip link` shows it.
    pub name: String,
    /// Which side of the provider it looks at.
    pub role: Role,
    /// How the program is attached.
    pub mode: AttachMode,
}

/// Which side of the provider an interface looks at.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The Internet: bogons are dropped here, and customers' addresses if another interface has them.
    Internet,
    /// The access customers: outgoing port 25 is limited here, and foreign sources are dropped.
    Customers,
    /// Both on one interface: neither side's source checks can be applied.
    Both,
}

/// How the program is attached to an interface.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AttachMode {
    /// Native; generic when the driver refuses, loudly.
    Auto,
    /// Native or not at all.
    Native,
    /// In the network stack: slow, for tests and odd devices.
    Generic,
}

/// Whether a rule acts.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleMode {
    /// It drops.
    #[default]
    Enforce,
    /// It counts and samples what it would drop.
    Observe,
    /// It is not looked at.
    Off,
}

/// A feed of prefixes to block.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FeedConfig {
    /// Its name in metrics and drops.
    pub name: String,
    /// One prefix a line; `#` and `;` start a comment.
    pub file: PathBuf,
    /// Whether it acts.
    pub mode: RuleMode,
    /// Older than this, it is reported as stale. Zero: never.
    pub max_age: Duration,
}

/// What a service speaks, and so how its packets are checked.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceKind {
    /// Not checked, only limited: the catch-all `other`, and `outgoing_smtp`.
    Any,
    /// Any service over TCP: opening SYNs are limited.
    Tcp,
    /// DNS over UDP.
    Dns,
    /// DNS over TCP: like any service over TCP, but for the customers alone.
    DnsTcp,
    /// RADIUS authentication (1812).
    RadiusAuth,
    /// RADIUS accounting (1813).
    RadiusAcct,
    /// RADIUS dynamic authorisation (3799).
    RadiusDyn,
}

/// What to do with DNS queries of type ANY over UDP.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AnyPolicy {
    /// The server decides (RFC 8482).
    #[default]
    Pass,
    /// Send the client to TCP.
    Slip,
    /// Drop.
    Drop,
}

/// A rate with the burst that it allows.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Packets a second, sustained; from 0.01 to 10,000,000.
    pub rate: f64,
    /// Packets at once after a pause; at least 1.
    pub burst: f64,
}

/// One service behind the wall.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceConfig {
    /// Its name in metrics, drops and configuration.
    pub name: String,
    /// What it speaks.
    pub kind: ServiceKind,
    /// Its ports (UDP for DNS and RADIUS, TCP for the others).
    pub ports: Vec<u16>,
    /// Whether its rules act.
    pub mode: RuleMode,
    /// Limit of one admitted source address; networks around it get growing multiples.
    /// DNS: customers. RADIUS: a NAS. TCP: opening SYNs of anyone.
    pub source: Option<Limit>,
    /// DNS: limit of one source that is no customer; without it, such sources are dropped. Over TCP it is of opening
    /// SYNs.
    pub world: Option<Limit>,
    /// The whole service's budget.
    pub global: Option<Limit>,
    /// What sources recently seen doing legitimate business get beyond the global budget.
    pub reserve: Option<Limit>,
    /// TCP: budget of segments other than SYN from sources without a known connection.
    pub stray: Option<Limit>,
    /// Whether fragments for the service are dropped.
    pub drop_fragments: bool,
    /// DNS: one of how many limited queries is answered with TC=1; 0 for none, 1 for all.
    pub slip: u8,
    /// DNS: queries of type ANY.
    pub any: AnyPolicy,
}

/// How offenders are banned.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BanConfig {
    /// Whether bans act.
    pub mode: RuleMode,
    /// Weight of evidence at which a source is banned.
    pub threshold: f64,
    /// Time in which half of a source's weight is forgotten.
    pub half_life: Duration,
    /// Length of the first ban; each further one is twice as long.
    pub first: Duration,
    /// Longest ban.
    pub longest: Duration,
    /// Distinct customers behind an address from which on it is limited rather than banned.
    pub shared_after: u32,
}
