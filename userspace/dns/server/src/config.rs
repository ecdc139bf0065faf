//! What the operator may write about DNS, with its defaults.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use muralla_resolver::config::{Budgets, ResolverConfig};
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
    /// From where other servers are asked.
    pub source: Source,
    /// Zones and lists of one's own.
    pub local: LocalConfig,
}

impl DnsConfig {
    /// What of it decides how an answer comes out, as text to be compared. What is not known to be harmless is among it.
    pub(crate) fn rules(&self) -> String {
        let Self { stale, limits, resolver, .. } = self;
        // Neither memory nor patience nor the way that a question takes changes what the answer to it is.
        let ResolverConfig { ipv4, ipv6, priming, case_randomization, edns_payload, .. } =
            ResolverConfig::default();
        let resolver = ResolverConfig {
            ipv4,
            ipv6,
            priming,
            case_randomization,
            edns_payload,
            budgets: Budgets::default(),
            cache_bytes: 0,
            ..resolver.clone()
        };
        let LimitsConfig { longest_ttl, longest_negative_ttl, .. } = limits;
        format!("{resolver:?} {longest_ttl:?} {longest_negative_ttl:?} {:?}", stale.keep)
    }
}

/// Addresses of this machine from which other servers are asked; without one of a family, that which the routing table
/// chooses.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Source {
    /// For servers with IPv4.
    pub v4: Option<Ipv4Addr>,
    /// For servers with IPv6.
    pub v6: Option<Ipv6Addr>,
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

/// A sample of the queries, for `muralla dns log`.
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
            source: Source::default(),
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

#[cfg(test)]
mod tests {
    use muralla_resolver::config::Validation;

    use super::*;

    #[test]
    fn rules_are_what_decides_how_an_answer_comes_out() {
        let changed = |change: fn(&mut DnsConfig)| {
            let mut config = DnsConfig::default();
            change(&mut config);
            config.rules() != DnsConfig::default().rules()
        };
        let matters: [fn(&mut DnsConfig); 6] = [
            |config| config.resolver.validation = Validation::Off,
            |config| config.resolver.negative_trust_anchors.push(("example".into(), None)),
            |config| config.resolver.deny_answers.push(IpNet::default()),
            |config| config.resolver.trust_anchors.clear(),
            |config| config.limits.longest_ttl = Duration::from_secs(60),
            |config| config.stale.keep = Duration::ZERO,
        ];
        for (at, change) in matters.into_iter().enumerate() {
            assert!(changed(change), "{at}");
        }
        let harmless: [fn(&mut DnsConfig); 5] = [
            |config| config.threads = NonZero::new(3),
            |config| config.cache = 1 << 20,
            |config| config.limits.questions = 5,
            |config| config.resolver.cache_bytes = 1 << 20,
            |config| config.resolver.budgets.queries = 5,
        ];
        for (at, change) in harmless.into_iter().enumerate() {
            assert!(!changed(change), "{at}");
        }
    }
}
