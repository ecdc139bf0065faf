//! What the operator may write about DNS, with its defaults.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use muralla_resolver::config::ResolverConfig;
use muralla_zones::LocalConfig;
use serde::Serialize;

/// The DNS role.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DnsConfig {
    /// Addresses to answer on, UDP and TCP. A wildcard address answers from the address that was asked.
    pub listen: Vec<SocketAddr>,
    /// Threads that own sockets; by default one for each core.
    pub threads: Option<NonZero<usize>>,
    /// Bytes of memory for the wire cache.
    pub cache: u64,
    /// Where the cache is kept from one start to the next; none for nowhere.
    pub cache_file: Option<PathBuf>,
    /// Who may ask for recursion. Others are answered from the operator's own zones alone.
    pub clients: Vec<IpNet>,
    /// Whether hot answers are given by the network card's program.
    pub nic: bool,
    /// Whether server cookies (RFC 9018) are given.
    pub cookies: bool,
    /// Stale answers (RFC 8767).
    pub stale: StaleConfig,
    /// Bounds on clients.
    pub limits: LimitsConfig,
    /// The query log.
    pub log: QueryLogConfig,
    /// The name that the watchdog asks for. Any answer proves that the role works.
    pub canary: String,
    /// Recursion.
    pub resolver: ResolverConfig,
    /// Zones and lists of one's own.
    pub local: LocalConfig,
}

/// Stale answers (RFC 8767).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StaleConfig {
    /// How long after its end an answer may still be given when there is no other; zero for never.
    pub keep: Duration,
    /// How long a client waits for a fresh answer before it gets the stale one. RFC 8767 section 5 has 1.8 s, with the way
    /// there and back.
    pub after: Duration,
}

/// Bounds on what clients may take.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LimitsConfig {
    /// Questions under way that the caches could not answer, all clients together.
    pub questions: usize,
    /// The same for one client: an IPv4 address, or the /64 of an IPv6 address.
    pub questions_per_client: usize,
    /// Open TCP connections.
    pub connections: usize,
    /// The same for one client.
    pub connections_per_client: usize,
    /// Time without a query after which a TCP connection is closed.
    pub idle: Duration,
    /// Longest time to live that is believed (RFC 8767 section 4).
    pub longest_ttl: Duration,
    /// Longest time to live of a negative answer (RFC 2308 section 5).
    pub longest_negative_ttl: Duration,
}

/// A sample of the queries, for `muralla dns log` and the daemon's log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QueryLogConfig {
    /// One of so many queries is written; 0 for none.
    pub every: u32,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self {
            listen: vec![
                SocketAddr::from(([0, 0, 0, 0], 53)),
                SocketAddr::from(([0u16, 0, 0, 0, 0, 0, 0, 0], 53)),
            ],
            threads: None,
            cache: 256 << 20,
            cache_file: Some(PathBuf::from("/var/lib/muralla-dns/cache")),
            clients: Vec::new(),
            nic: true,
            cookies: true,
            stale: StaleConfig {
                keep: Duration::from_secs(86_400),
                after: Duration::from_millis(1_700),
            },
            limits: LimitsConfig::default(),
            log: QueryLogConfig { every: 0 },
            canary: "localhost".to_owned(),
            resolver: ResolverConfig::default(),
            local: LocalConfig::default(),
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            questions: 20_000,
            questions_per_client: 200,
            connections: 4_000,
            connections_per_client: 32,
            idle: Duration::from_secs(10),
            longest_ttl: Duration::from_secs(86_400),
            longest_negative_ttl: Duration::from_secs(3_600),
        }
    }
}
