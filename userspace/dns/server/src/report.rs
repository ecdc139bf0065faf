//! What the role tells about itself, for the admin socket, the metrics and the live view.

use std::time::Duration;

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
    /// What validation made of it: `secure`, `insecure` or `bogus`.
    pub security: String,
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

/// State of the role at one moment.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Status {
    /// Addresses answered on.
    pub listen: Vec<String>,
    /// Threads that own sockets.
    pub threads: usize,
    /// Seconds since the start.
    pub uptime: u64,
    /// Queries by transport (`udp`, `tcp`), type, response code and level, those of the network card among them.
    pub queries: Vec<QueryCount>,
    /// Latency of answered queries by level.
    pub latency: Vec<Latency>,
    /// The wire cache.
    pub cache: CacheStatus,
    /// The network card's cache; none without it.
    pub nic: Option<NicStatus>,
    /// The resolver's counters by name.
    pub resolver: Vec<(String, u64)>,
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
    /// Queries dropped by reason (`socket_full`, `too_many_questions`, ...).
    pub dropped: Vec<(String, u64)>,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// Queries that have all of this in common.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct QueryCount {
    /// `udp` or `tcp`.
    pub transport: String,
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
    /// `zone`, `private`, `ip4set`, `dnset`, `forward`, `stub`.
    pub kind: String,
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
