//! What the role tells about itself, for the admin socket, the metrics and the live view.

use std::time::Duration;

use muralla_resolver::{Statistics, engine};
use serde::{Deserialize, Serialize};

/// The result of `muralla dns lookup` and `muralla dns trace`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Lookup {
    /// Name asked for.
    pub name: String,
    /// Type asked for.
    pub rtype: String,
    /// Response code in words (`NOERROR`).
    pub rcode: String,
    /// Where the answer came from.
    pub level: Level,
    /// What validation made of it.
    pub security: Security,
    /// Time it took.
    pub took: Duration,
    /// Answer section, a record each in presentation form.
    pub answers: Vec<String>,
    /// Authority section.
    pub authorities: Vec<String>,
    /// Extended errors (RFC 8914): number and words.
    pub errors: Vec<(u16, String)>,
    /// Each step, for a trace.
    pub steps: Vec<muralla_resolver::trace::Step>,
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The network card's program.
    Nic,
    /// The wire cache.
    Wire,
    /// A stale answer of the wire cache.
    Stale,
    /// The operator's own zones and lists, and private zones.
    Local,
    /// Recursion.
    Engine,
    /// Refused or malformed: nothing was looked up.
    None,
}

impl Level {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Nic, Self::Wire, Self::Stale, Self::Local, Self::Engine, Self::None];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nic => "nic",
            Self::Wire => "wire",
            Self::Stale => "stale",
            Self::Local => "local",
            Self::Engine => "engine",
            Self::None => "none",
        }
    }
}

/// What validation made of an answer (RFC 4035 section 4.3).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    /// Every part is signed by a chain from a trust anchor.
    Secure,
    /// Proven to lie outside every signed zone, or not validated by configuration.
    Insecure,
    /// It should be signed and is not, or wrongly.
    Bogus,
}

impl Security {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Secure => "secure",
            Self::Insecure => "insecure",
            Self::Bogus => "bogus",
        }
    }
}

impl From<engine::Security> for Security {
    fn from(security: engine::Security) -> Self {
        match security {
            engine::Security::Secure => Self::Secure,
            engine::Security::Insecure => Self::Insecure,
            engine::Security::Bogus => Self::Bogus,
        }
    }
}

/// How a query came.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// In a datagram.
    Udp,
    /// Over a connection (RFC 7766).
    Tcp,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Udp, Self::Tcp];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// State of the role at one moment.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Status {
    /// Addresses answered on.
    pub listen: Vec<String>,
    /// Threads that own sockets.
    pub threads: usize,
    /// Seconds since the start.
    pub uptime: u64,
    /// Queries by transport, type, response code and level, those of the network card among them.
    pub queries: Vec<QueryCount>,
    /// Latency of answered queries by level.
    pub latency: Vec<Latency>,
    /// The wire cache.
    pub cache: CacheStatus,
    /// The network card's cache; none without it.
    pub nic: Option<NicStatus>,
    /// Recursion.
    pub resolver: ResolverStatus,
    /// Validation failures by reason.
    pub bogus: Vec<(String, u64)>,
    /// Questions under way.
    pub questions: usize,
    /// Open TCP connections.
    pub connections: usize,
    /// Stale answers given.
    pub stale_served: u64,
    /// Answers refreshed before their end.
    pub prefetched: u64,
    /// Questions that joined one under way.
    pub coalesced: u64,
    /// Queries dropped by reason (`malformed`, `unsent`, `too_many_questions`, `too_many_connections`).
    pub dropped: Vec<(String, u64)>,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// Queries that have all of this in common.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct QueryCount {
    /// How they came.
    pub transport: Transport,
    /// Type in words, `other` for rare ones.
    pub rtype: String,
    /// Response code in words.
    pub rcode: String,
    /// Where the answer came from.
    pub level: Level,
    /// How many since the start.
    pub count: u64,
}

/// A histogram of latencies.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Latency {
    /// Where the answers came from.
    pub level: Level,
    /// Upper bounds in seconds with the number of answers at or below each; not cumulative.
    pub buckets: Vec<(f64, u64)>,
    /// Sum in seconds.
    pub sum: f64,
}

/// The wire cache.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct CacheStatus {
    /// Names, types and flags that have an entry.
    pub entries: u64,
    /// Bytes in use.
    pub bytes: u64,
    /// Bytes that may be used.
    pub limit: u64,
    /// Answers given from it.
    pub hits: u64,
    /// Questions that it could not answer.
    pub misses: u64,
    /// Entries that gave way to others.
    pub evictions: u64,
    /// The most asked, most first.
    pub hottest: Vec<(String, u64)>,
}

/// Recursion: counters since the start of the engine that is in force, and what it knows now.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ResolverStatus {
    /// Questions of clients.
    pub questions: u64,
    /// Questions that ended without an answer.
    pub failures: u64,
    /// Queries sent to other servers.
    pub upstream_queries: u64,
    /// Those that nothing came back for.
    pub upstream_timeouts: u64,
    /// Those that were answered with SERVFAIL.
    pub upstream_servfails: u64,
    /// Those that went over TCP.
    pub upstream_tcp: u64,
    /// Entries of the cache of records.
    pub records: u64,
    /// Bytes of these.
    pub record_bytes: u64,
    /// Delegations that are known.
    pub delegations: u64,
    /// Servers that are known.
    pub servers: u64,
}

impl From<&Statistics> for ResolverStatus {
    fn from(statistics: &Statistics) -> Self {
        Self {
            questions: statistics.questions,
            failures: statistics.failures,
            upstream_queries: statistics.upstream_queries,
            upstream_timeouts: statistics.upstream_timeouts,
            upstream_servfails: statistics.upstream_servfails,
            upstream_tcp: statistics.upstream_tcp,
            records: statistics.records as u64,
            record_bytes: statistics.record_bytes as u64,
            delegations: statistics.delegations as u64,
            servers: statistics.servers as u64,
        }
    }
}

/// Why validation failed, by the code of the extended error (RFC 8914), as metrics have it.
pub(crate) fn reason(code: u16) -> String {
    let name = match code {
        1 => "unsupported_dnskey_algorithm",
        2 => "unsupported_ds_digest",
        5 => "indeterminate",
        6 => "bogus",
        7 => "signature_expired",
        8 => "signature_not_yet_valid",
        9 => "dnskey_missing",
        10 => "rrsigs_missing",
        11 => "no_zone_key_bit",
        12 => "nsec_missing",
        25 => "signature_expired_before_valid",
        27 => "nsec3_iterations",
        _ => return format!("code_{code}"),
    };
    name.to_owned()
}

/// The network card's cache.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct NicStatus {
    /// Answers that it holds.
    pub entries: u64,
    /// Answers that it may hold.
    pub capacity: u64,
    /// Answers given since the start.
    pub answered: u64,
    /// The epoch of what it may answer.
    pub epoch: u32,
}

/// A zone or list.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Zone {
    /// Apex.
    pub name: String,
    /// What it is.
    pub kind: ZoneKind,
    /// Serial of its SOA record, where there is one.
    pub serial: Option<u32>,
    /// Records or entries.
    pub records: u64,
    /// Bytes in memory.
    pub bytes: u64,
    /// Seconds since it was loaded.
    pub age: u64,
    /// File.
    pub file: Option<String>,
    /// Why the newest file was not taken.
    pub problem: Option<String>,
}

/// Where the answers of a zone come from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ZoneKind {
    /// A zone file.
    Zone,
    /// Nowhere: it is one of those that no resolver asks the Internet for (RFC 6303 and its kin).
    Private,
    /// A block list of addresses.
    Ip4Set,
    /// A block list of names.
    DnSet,
    /// Other resolvers.
    Forward,
    /// Servers that the operator named.
    Stub,
}

impl ZoneKind {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zone => "zone",
            Self::Private => "private",
            Self::Ip4Set => "ip4set",
            Self::DnSet => "dnset",
            Self::Forward => "forward",
            Self::Stub => "stub",
        }
    }

    /// Whether others are asked.
    pub fn is_route(self) -> bool {
        matches!(self, Self::Forward | Self::Stub)
    }
}
