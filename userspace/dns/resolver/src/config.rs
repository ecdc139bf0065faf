//! What the operator decides about resolution, as plain values; checked once by [`Settings::parse`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hickory_proto::rr::Name;
use ipnet::IpNet;
use muralla_dnssec::Work;
use muralla_dnssec::anchors::{Anchors, ParseError};
use serde::Serialize;

use crate::hints;

/// Configuration of a resolver. The default resolves on the Internet with validation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResolverConfig {
    /// Names and addresses of the root's servers.
    pub root_hints: Vec<(String, Vec<IpAddr>)>,
    /// Asks the root's servers at the start who the root's servers are (RFC 8109); the hints only lead there.
    pub priming: bool,
    /// DS or DNSKEY records in the form of a zone file, of the root or of islands of security.
    pub trust_anchors: Vec<String>,
    /// What happens to answers that fail validation.
    pub validation: Validation,
    /// Names at and below which nothing is validated (RFC 7646), each with its end in Unix seconds.
    pub negative_trust_anchors: Vec<(String, Option<u64>)>,
    /// Zones that are asked of other resolvers.
    pub forward: Vec<Route>,
    /// Zones whose authoritative servers are given here instead of being found.
    pub stub: Vec<Route>,
    /// Takes private addresses (loopback, RFC 1918, link-local, ULA, documentation) for name servers that a delegation
    /// names. Configured servers may always have them.
    pub allow_private_servers: bool,
    /// Further networks that are never asked because of a delegation.
    pub deny_servers: Vec<IpNet>,
    /// Address records in these networks are taken out of answers from the Internet (DNS rebinding).
    pub deny_answers: Vec<IpNet>,
    /// A copy of the root zone (RFC 8806) as a zone file.
    pub local_root: Option<PathBuf>,
    /// Asks servers over IPv4.
    pub ipv4: bool,
    /// Asks servers over IPv6.
    pub ipv6: bool,
    /// How much of a name each server is shown (RFC 9156).
    pub qname_minimisation: Minimisation,
    /// Mixes the letter case of questions, as proof that an answer belongs to its question.
    pub case_randomization: bool,
    /// Largest answer over UDP that servers may send, in bytes: 512 to 4096.
    pub edns_payload: u16,
    /// What one question may cost.
    pub budgets: Budgets,
    /// Memory for records, in bytes.
    pub cache_bytes: usize,
}

impl Default for ResolverConfig {
    fn default() -> Self {
        Self {
            root_hints: hints::root(),
            priming: true,
            trust_anchors: hints::trust_anchors(),
            validation: Validation::Enforce,
            negative_trust_anchors: Vec::new(),
            forward: Vec::new(),
            stub: Vec::new(),
            allow_private_servers: false,
            deny_servers: Vec::new(),
            deny_answers: Vec::new(),
            local_root: None,
            ipv4: true,
            ipv6: true,
            qname_minimisation: Minimisation::Relaxed,
            case_randomization: true,
            edns_payload: 1232,
            budgets: Budgets::default(),
            cache_bytes: 64 << 20,
        }
    }
}

/// What happens to answers that fail validation.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Validation {
    /// SERVFAIL.
    #[default]
    Enforce,
    /// Given all the same, with an extended error, and counted.
    Permissive,
    /// Nothing is validated.
    Off,
}

/// How much of a name each server is shown.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Minimisation {
    /// A label at a time, and NXDOMAIN for a part is NXDOMAIN for the whole (RFC 8020).
    Strict,
    /// A label at a time; a server that says NXDOMAIN for a part is asked for the whole.
    #[default]
    Relaxed,
    /// The whole name, always.
    Off,
}

/// A zone with servers of the operator's choice.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Route {
    /// The zone: names at and below it go this way.
    pub zone: String,
    /// Who is asked.
    pub servers: Vec<SocketAddr>,
    /// Whether the zone is resolved from the root if none of the servers helps.
    pub first: bool,
}

/// What one question may cost, with everything that is asked because of it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Budgets {
    /// Queries sent to servers.
    pub queries: u32,
    /// How deep questions for addresses of name servers may nest.
    pub depth: u8,
    /// Links of a CNAME chain.
    pub cname_chain: usize,
    /// Referrals on the way to one name.
    pub referrals: usize,
    /// Time on the wall: 100 ms to a minute.
    pub time: Duration,
    /// Names of servers without glue that are looked up for one zone.
    pub glueless: usize,
    /// Addresses of servers that are considered for one zone.
    pub addresses: usize,
    /// Signatures that are checked.
    pub signatures: u32,
    /// Blocks of 64 octets that are hashed for NSEC3 names and DS digests.
    pub hashes: u32,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            queries: 64,
            depth: 8,
            cname_chain: 11,
            referrals: 30,
            time: Duration::from_secs(6),
            glueless: 5,
            addresses: 20,
            signatures: Work::SIGNATURES,
            hashes: Work::HASHES,
        }
    }
}

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A name is none.
    #[error("{0:?} is not a domain name")]
    Name(String),
    /// A zone without servers.
    #[error("zone {0} has no servers")]
    NoServers(String),
    /// Nowhere to start.
    #[error("there are no root hints, no local root and no forwarder for the root")]
    NoRoot,
    /// A trust anchor that can't be read.
    #[error("trust anchor {0:?}: {1}")]
    Anchor(String, ParseError),
    /// A number outside its range.
    #[error("{0} must be between {1} and {2}")]
    Range(&'static str, u64, u64),
    /// The copy of the root zone can't be used.
    #[error("local root {0}: {1}")]
    LocalRoot(PathBuf, String),
}

/// A configuration that was checked, in the types that resolution works with.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) hints: Vec<(Name, Vec<IpAddr>)>,
    pub(crate) priming: bool,
    pub(crate) anchors: Anchors,
    pub(crate) validation: Validation,
    pub(crate) negative_anchors: Vec<(Name, Option<u64>)>,
    pub(crate) routes: Vec<ParsedRoute>,
    pub(crate) allow_private: bool,
    pub(crate) deny_servers: Vec<IpNet>,
    pub(crate) deny_answers: Vec<IpNet>,
    pub(crate) ipv4: bool,
    pub(crate) ipv6: bool,
    pub(crate) minimisation: Minimisation,
    pub(crate) mixed_case: bool,
    pub(crate) payload: u16,
    pub(crate) budgets: Budgets,
    pub(crate) cache_bytes: usize,
}

/// A [`Route`] that was checked.
#[derive(Clone, Debug)]
pub(crate) struct ParsedRoute {
    pub(crate) zone: Name,
    pub(crate) servers: Vec<SocketAddr>,
    pub(crate) first: bool,
    /// The servers recurse: a forward zone, not a stub zone.
    pub(crate) recursive: bool,
}

impl Settings {
    pub(crate) fn parse(config: &ResolverConfig) -> Result<Self, ConfigError> {
        let mut hints = Vec::new();
        for (name, addresses) in &config.root_hints {
            hints.push((parse_name(name)?, addresses.clone()));
        }
        let mut routes = Vec::new();
        for (list, recursive) in [(&config.forward, true), (&config.stub, false)] {
            for route in list {
                if route.servers.is_empty() {
                    return Err(ConfigError::NoServers(route.zone.clone()));
                }
                routes.push(ParsedRoute {
                    zone: parse_name(&route.zone)?,
                    servers: route.servers.clone(),
                    first: route.first,
                    recursive,
                });
            }
        }
        // The longest zone comes first, so that the first match is the closest.
        routes.sort_by_key(|route| std::cmp::Reverse(route.zone.iter().len()));
        let covers_root = routes.iter().any(|route| route.zone.is_root());
        let hinted = hints.iter().any(|(_, addresses)| !addresses.is_empty());
        if !covers_root && !hinted {
            return Err(ConfigError::NoRoot);
        }
        let mut negative_anchors = Vec::new();
        for (name, until) in &config.negative_trust_anchors {
            negative_anchors.push((parse_name(name)?, *until));
        }
        let mut anchors = Anchors::default();
        for text in &config.trust_anchors {
            let parsed = Anchors::parse(text);
            anchors.extend(parsed.map_err(|why| ConfigError::Anchor(text.clone(), why))?);
        }
        range("edns_payload", u64::from(config.edns_payload), 512, 4096)?;
        range("budgets.queries", u64::from(config.budgets.queries), 1, 10_000)?;
        let milliseconds = u64::try_from(config.budgets.time.as_millis()).unwrap_or(u64::MAX);
        range("budgets.time in milliseconds", milliseconds, 100, 60_000)?;
        range("budgets.depth", u64::from(config.budgets.depth), 1, 16)?;
        range("cache_bytes", config.cache_bytes as u64, 64 << 10, u64::MAX)?;
        Ok(Self {
            hints,
            priming: config.priming,
            anchors,
            validation: config.validation,
            negative_anchors,
            routes,
            allow_private: config.allow_private_servers,
            deny_servers: config.deny_servers.clone(),
            deny_answers: config.deny_answers.clone(),
            ipv4: config.ipv4,
            ipv6: config.ipv6,
            minimisation: config.qname_minimisation,
            mixed_case: config.case_randomization,
            payload: config.edns_payload,
            budgets: config.budgets.clone(),
            cache_bytes: config.cache_bytes,
        })
    }

    /// Whether a server that a delegation names may be asked; `private` if this one may have a private address.
    pub(crate) fn may_ask(&self, address: IpAddr, private: bool) -> bool {
        self.family(address)
            && !self.deny_servers.iter().any(|net| net.contains(&address))
            && (private || self.allow_private || !is_private(address))
    }

    /// Whether the address's family is in use.
    pub(crate) fn family(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.ipv4,
            IpAddr::V6(_) => self.ipv6,
        }
    }

    /// Whether a negative trust anchor stands at or above the name.
    pub(crate) fn under_negative_anchor(&self, name: &Name, unix: u64) -> bool {
        self.negative_anchors
            .iter()
            .any(|(anchor, until)| anchor.zone_of(name) && until.is_none_or(|until| unix < until))
    }
}

/// A name of the configuration, in small letters and ending at the root.
pub(crate) fn parse_name(text: &str) -> Result<Name, ConfigError> {
    let mut name = Name::from_ascii(text).map_err(|_| ConfigError::Name(text.to_owned()))?;
    name.set_fqdn(true);
    Ok(name.to_lowercase())
}

fn range(what: &'static str, value: u64, low: u64, high: u64) -> Result<(), ConfigError> {
    if (low..=high).contains(&value) { Ok(()) } else { Err(ConfigError::Range(what, low, high)) }
}

/// Addresses that no name server on the Internet has.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_private_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_private_v4(v4),
            None => is_private_v6(v6),
        },
    }
}

fn is_private_v4(v4: Ipv4Addr) -> bool {
    let [a, b, ..] = v4.octets();
    v4.is_loopback()
        || v4.is_private()
        || v4.is_link_local()
        || v4.is_documentation()
        || v4.is_multicast()
        || v4.is_broadcast()
        || a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (b == 18 || b == 19))
        || a >= 240
}

fn is_private_v6(v6: Ipv6Addr) -> bool {
    let [first, second, ..] = v6.segments();
    v6.is_loopback()
        || v6.is_unspecified()
        || v6.is_multicast()
        || (first & 0xffc0) == 0xfe80
        || (first & 0xfe00) == 0xfc00
        || (first == 0x2001 && second == 0xdb8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_usable_and_round_trips() {
        let config = ResolverConfig::default();
        let settings = Settings::parse(&config).unwrap();
        assert_eq!(settings.hints.len(), 13);
        assert!(settings.hints.iter().all(|(_, addresses)| addresses.len() == 2));
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let base = ResolverConfig::default();
        let cases = [
            ResolverConfig { root_hints: Vec::new(), ..base.clone() },
            ResolverConfig { trust_anchors: vec!["nonsense".into()], ..base.clone() },
            ResolverConfig { edns_payload: 100, ..base.clone() },
            ResolverConfig {
                forward: vec![Route { zone: "a.b".into(), servers: Vec::new(), first: false }],
                ..base.clone()
            },
            ResolverConfig { negative_trust_anchors: vec![("a..b".into(), None)], ..base.clone() },
        ];
        for case in cases {
            assert!(Settings::parse(&case).is_err(), "{case:?}");
        }
    }

    #[test]
    fn private_servers_are_not_asked_unless_allowed() {
        let strict = Settings::parse(&ResolverConfig::default()).unwrap();
        let open = Settings::parse(&ResolverConfig {
            allow_private_servers: true,
            deny_servers: vec!["10.9.0.0/16".parse().unwrap()],
            ..Default::default()
        })
        .unwrap();
        for (address, by_default, allowed) in [
            ("8.8.8.8", true, true),
            ("127.0.0.1", false, true),
            ("10.1.2.3", false, true),
            ("10.9.2.3", false, false),
            ("192.0.2.1", false, true),
            ("::ffff:127.0.0.1", false, true),
            ("fd00::1", false, true),
            ("fe80::1", false, true),
            ("2001:db8::1", false, true),
            ("2001:500::1", true, true),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(strict.may_ask(address, false), by_default, "{address}");
            assert_eq!(open.may_ask(address, false), allowed, "{address}");
        }
    }

    #[test]
    fn negative_anchors_end() {
        let settings = Settings::parse(&ResolverConfig {
            negative_trust_anchors: vec![("broken.example".into(), Some(100))],
            ..Default::default()
        })
        .unwrap();
        let below = parse_name("www.broken.example").unwrap();
        let beside = parse_name("other.example").unwrap();
        assert!(settings.under_negative_anchor(&below, 99));
        assert!(!settings.under_negative_anchor(&below, 100));
        assert!(!settings.under_negative_anchor(&beside, 99));
    }
}
