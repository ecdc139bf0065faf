//! Who may ask: the NAS of an address by its longest prefix.
//!
//! The table is replaced whole; what was counted of a NAS stays with its name. A look costs one probe for each prefix length
//! in use, which is the same for ten NASes and for ten thousand.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use muralla_radius_accounting::NasName;
use muralla_radius_wire::{Requirement, Secret};

use crate::config::{MessageAuthenticator, NasConfig};
use crate::renamed::Renamed;
use crate::tally::NasTally;

/// The name of this machine as a NAS: what the canary and `radius test` ask as.
pub(crate) const SELF: &str = "muralla";

/// A NAS, or all of a prefix.
#[derive(Clone, Debug)]
pub(crate) struct Nas {
    pub(crate) name: Arc<str>,
    /// The same, as records have it.
    pub(crate) id: NasName,
    /// Groups that it is in, for Huntgroup-Name.
    pub(crate) groups: Vec<Arc<str>>,
    pub(crate) telco: Option<Arc<str>>,
    pub(crate) prefix: IpNet,
    /// The one in force, and perhaps the one to come.
    pub(crate) secrets: Vec<Secret>,
    pub(crate) requirement: Requirement,
    pub(crate) coa_port: u16,
    pub(crate) counts: Arc<NasTally>,
}

impl Nas {
    /// Whether it may ask without Message-Authenticator.
    pub(crate) fn is_lax(&self) -> bool {
        self.requirement == Requirement::IfPresent
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Nases {
    v4: Levels<u32>,
    v6: Levels<u128>,
    all: Vec<Arc<Nas>>,
}

impl Nases {
    /// A table of `first` and then of `second`, where they name other prefixes; with what the table before has counted. What
    /// can't be used is left out, and said.
    pub(crate) fn new(
        first: &[NasConfig],
        second: &[NasConfig],
        before: &Nases,
        threads: usize,
    ) -> (Self, Vec<String>) {
        let mut counted: HashMap<Arc<str>, Arc<NasTally>> =
            before.all.iter().map(|nas| (Arc::clone(&nas.name), Arc::clone(&nas.counts))).collect();
        let (mut nases, mut problems) = (Self::default(), Vec::new());
        let mut seen = HashSet::new();
        for (at, config) in first.iter().chain(second).enumerate() {
            let prefix = config.prefix.trunc();
            if !seen.insert(prefix) {
                problems.push(format!(
                    "NAS {}: {prefix} is there already{}",
                    config.name,
                    if at < first.len() {
                        "; remove one of the two"
                    } else {
                        ", and the configuration goes before the database"
                    }
                ));
                continue;
            }
            let texts = std::iter::once(&config.secret).chain(&config.next_secret);
            let secrets: Result<Vec<Secret>, _> =
                texts.map(|text| Secret::new(text.reveal().as_bytes().to_vec())).collect();
            let Ok(secrets) = secrets else {
                problems
                    .push(format!("NAS {}: its secret is empty, so it is not let in", config.name));
                continue;
            };
            let id = match NasName::new(&config.name) {
                Ok(id) => id,
                Err(error) => {
                    problems.push(format!("NAS {prefix}: {error}"));
                    continue;
                }
            };
            let name: Arc<str> = config.name.as_str().into();
            let counts = counted
                .entry(Arc::clone(&name))
                .or_insert_with(|| Arc::new(NasTally::new(threads)));
            let nas = Arc::new(Nas {
                counts: Arc::clone(counts),
                name,
                id,
                groups: config.groups.iter().map(|group| group.as_str().into()).collect(),
                telco: config.telco.as_deref().map(Arc::from),
                prefix,
                secrets,
                requirement: match config.message_authenticator {
                    MessageAuthenticator::Required => Requirement::Required,
                    MessageAuthenticator::Optional => Requirement::IfPresent,
                },
                coa_port: config.coa_port,
            });
            nases.insert(prefix, Arc::clone(&nas));
            nases.all.push(nas);
        }
        nases.v4.sort();
        nases.v6.sort();
        (nases, problems)
    }

    /// The NAS of an address.
    pub(crate) fn of(&self, address: IpAddr) -> Option<&Arc<Nas>> {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.of(|bits| u32::from(address) & mask32(bits)),
            IpAddr::V6(address) => self.v6.of(|bits| u128::from(address) & mask128(bits)),
        }
    }

    /// The entry that all of a prefix belongs to, as far as no longer prefix is within it.
    fn of_prefix(&self, prefix: IpNet) -> Option<&Arc<Nas>> {
        match prefix {
            IpNet::V4(prefix) => {
                let address = u32::from(prefix.network());
                self.v4.of_at_most(prefix.prefix_len(), |bits| address & mask32(bits))
            }
            IpNet::V6(prefix) => {
                let address = u128::from(prefix.network());
                self.v6.of_at_most(prefix.prefix_len(), |bits| address & mask128(bits))
            }
        }
    }

    /// Prefixes that have another name than they had in a table before.
    pub(crate) fn renamed_since(&self, before: &Nases) -> Vec<Renamed> {
        let mut renamed = HashSet::new();
        for nas in before.all.iter().chain(&self.all) {
            let (was, is) = (before.of_prefix(nas.prefix), self.of_prefix(nas.prefix));
            if let (Some(was), Some(is)) = (was, is)
                && was.name != is.name
            {
                let (was, is) = (Arc::clone(&was.name), Arc::clone(&is.name));
                renamed.insert(Renamed { prefix: nas.prefix, was, is });
            }
        }
        renamed.into_iter().collect()
    }

    /// A NAS by its name.
    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Nas>> {
        self.all.iter().find(|nas| &*nas.name == name)
    }

    /// Where a NAS takes requests of ours, and the entry that has the secret for it: where it sends `from`, or the address that
    /// it `says` it has, if that is one of its own, or the only one that it can have.
    pub(crate) fn reachable(
        &self,
        name: &str,
        from: Option<IpAddr>,
        says: Option<IpAddr>,
    ) -> Option<(SocketAddr, &Arc<Nas>)> {
        let those = || self.all.iter().filter(|nas| &*nas.name == name);
        // The longest prefix counts here as it does for its packets, and the entry may be another's by now.
        let own = |address: Option<IpAddr>| {
            let address = address?.to_canonical();
            Some((address, self.of(address).filter(|nas| &*nas.name == name)?))
        };
        let host = |nas: &&Arc<Nas>| nas.prefix.prefix_len() == nas.prefix.max_prefix_len();
        let only = || those().find(host).map(|nas| (nas.prefix.addr(), nas));
        // Behind a translation of addresses there may be none of them: then what it says is the best guess.
        let guess = || Some((says?, those().next()?));
        let found = own(from).or_else(|| own(says)).or_else(only).or_else(guess);
        let (address, nas) = found?;
        Some((SocketAddr::new(address, nas.coa_port), nas))
    }

    /// All, in the order of the configuration.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Nas>> {
        self.all.iter()
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    fn insert(&mut self, prefix: IpNet, nas: Arc<Nas>) {
        match prefix {
            IpNet::V4(prefix) => {
                self.v4.insert(prefix.prefix_len(), prefix.network().into(), nas);
            }
            IpNet::V6(prefix) => {
                self.v6.insert(prefix.prefix_len(), prefix.network().into(), nas);
            }
        }
    }
}

/// One hash table for each prefix length in use, the longest first.
#[derive(Debug)]
struct Levels<K>(Vec<(u8, HashMap<K, Arc<Nas>>)>);

impl<K> Default for Levels<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Eq + std::hash::Hash> Levels<K> {
    fn insert(&mut self, bits: u8, network: K, nas: Arc<Nas>) {
        match self.0.iter_mut().find(|(other, _)| *other == bits) {
            Some((_, level)) => {
                level.insert(network, nas);
            }
            None => self.0.push((bits, HashMap::from([(network, nas)]))),
        }
    }

    fn sort(&mut self) {
        self.0.sort_by_key(|(bits, _)| std::cmp::Reverse(*bits));
    }

    fn of(&self, network: impl Fn(u8) -> K) -> Option<&Arc<Nas>> {
        self.of_at_most(u8::MAX, network)
    }

    fn of_at_most(&self, most: u8, network: impl Fn(u8) -> K) -> Option<&Arc<Nas>> {
        let mut levels = self.0.iter().filter(|(bits, _)| *bits <= most);
        levels.find_map(|(bits, level)| level.get(&network(*bits)))
    }
}

fn mask32(bits: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0)
}

fn mask128(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nas(name: &str, prefix: &str) -> NasConfig {
        NasConfig::new(name, prefix.parse().unwrap(), "a secret of sixteen")
    }

    #[test]
    fn the_longest_prefix_counts() {
        let config = [
            nas("all", "0.0.0.0/0"),
            nas("site", "192.0.2.0/24"),
            nas("one", "192.0.2.7/32"),
            nas("six", "2001:db8::/32"),
            nas("host", "2001:db8::1/128"),
        ];
        let (nases, problems) = Nases::new(&config, &[], &Nases::default(), 1);
        assert_eq!(problems, Vec::<String>::new());
        for (address, expected) in [
            ("192.0.2.7", Some("one")),
            ("192.0.2.8", Some("site")),
            ("::ffff:192.0.2.7", Some("one")),
            ("198.51.100.1", Some("all")),
            ("2001:db8::1", Some("host")),
            ("2001:db8::2", Some("six")),
            ("2001:db9::2", None),
        ] {
            let found = nases.of(address.parse().unwrap());
            assert_eq!(found.map(|nas| &*nas.name), expected, "{address}");
        }
        assert!(Nases::default().of("192.0.2.7".parse().unwrap()).is_none());
    }

    #[test]
    fn the_configuration_goes_before_the_database_and_counts_survive() {
        let (first, second) =
            ([nas("a", "192.0.2.1/32")], [nas("b", "192.0.2.1/24"), nas("c", "192.0.2.1/32")]);
        let (before, problems) = Nases::new(&first, &second, &Nases::default(), 2);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains("NAS c"));
        let of = |nases: &Nases| nases.of("192.0.2.1".parse().unwrap()).unwrap().name.to_string();
        assert_eq!((of(&before), before.len()), ("a".to_owned(), 2));
        before
            .named("a")
            .unwrap()
            .counts
            .of(1)
            .requests
            .fetch_add(3, std::sync::atomic::Ordering::Relaxed);
        let (after, _) = Nases::new(&second, &first, &before, 2);
        assert_eq!(of(&after), "c", "another order");
        let (after, _) = Nases::new(&first, &[], &before, 2);
        assert_eq!(after.len(), 1);
        assert_eq!(after.named("a").unwrap().counts.sum().requests, 3);
    }

    #[test]
    fn a_nas_is_reached_where_it_is() {
        let mut site = nas("site", "192.0.2.0/24");
        site.coa_port = 1_700;
        let mut inner = nas("site", "192.0.2.64/26");
        inner.secret = muralla_radius_state::Hidden::new("the secret of the inner ones");
        let config = [site, inner, nas("one", "198.51.100.7/32"), nas("two", "192.0.2.8/32")];
        let (nases, _) = Nases::new(&config, &[], &Nases::default(), 1);
        for (name, from, says, expected) in [
            // Behind a translation of addresses it says one that nobody reaches.
            ("site", Some("192.0.2.9"), Some("10.0.0.1"), Some("192.0.2.9:1700")),
            ("site", Some("::ffff:192.0.2.9"), Some("192.0.2.10"), Some("192.0.2.9:1700")),
            ("site", Some("192.0.2.65"), None, Some("192.0.2.65:3799")),
            // What it sent from has gone to another, or is nobody's.
            ("site", Some("192.0.2.8"), Some("192.0.2.10"), Some("192.0.2.10:1700")),
            ("site", Some("203.0.113.1"), Some("10.0.0.1"), Some("10.0.0.1:1700")),
            ("site", None, Some("192.0.2.9"), Some("192.0.2.9:1700")),
            ("site", None, Some("10.0.0.1"), Some("10.0.0.1:1700")),
            ("site", None, None, None),
            ("one", None, Some("10.0.0.1"), Some("198.51.100.7:3799")),
            ("one", None, None, Some("198.51.100.7:3799")),
            ("none", Some("192.0.2.9"), Some("192.0.2.9"), None),
        ] {
            let address = |text: Option<&str>| text.map(|text| text.parse().unwrap());
            let found = nases.reachable(name, address(from), address(says));
            let to = found.map(|(to, _)| to.to_string());
            assert_eq!(to.as_deref(), expected, "{name} {from:?} {says:?}");
            // The secret is that of the address.
            let inner = expected.is_some_and(|to| to.starts_with("192.0.2.65"));
            let prefix = found.map(|(_, nas)| nas.prefix.to_string());
            assert_eq!(prefix.as_deref() == Some("192.0.2.64/26"), inner, "{prefix:?}");
        }
    }

    #[test]
    fn a_roll_has_two_secrets_and_an_empty_one_lets_nobody_in() {
        let mut rolling = nas("a", "192.0.2.1/32");
        rolling.next_secret = Some(muralla_radius_state::Hidden::new("the one to come"));
        let mut empty = nas("b", "192.0.2.2/32");
        empty.secret = muralla_radius_state::Hidden::new("");
        let (nases, problems) = Nases::new(&[rolling, empty], &[], &Nases::default(), 1);
        assert_eq!((nases.len(), problems.len()), (1, 1));
        assert_eq!(nases.named("a").unwrap().secrets.len(), 2);
        assert!(nases.of("192.0.2.2".parse().unwrap()).is_none());
    }
}
