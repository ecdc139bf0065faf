//! Zones and their servers: what parents said of their children, what the operator configured, and the root.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::Name;
use tokio::time::Instant;

use crate::bounded::Bounded;
use crate::config::{ParsedRoute, Settings};
use crate::rrset::RrSet;
use crate::scrub::{Host, Referral};

/// Where name servers listen.
const PORT: u16 = 53;

/// Longest that a delegation is kept, in seconds: two days, as top-level domains give.
const MAX_TTL: u32 = 172_800;

/// Who serves a zone.
#[derive(Clone, Debug)]
pub(crate) struct Delegation {
    pub(crate) zone: Name,
    /// The zone whose servers told so; `None` if the operator did.
    pub(crate) parent: Option<Name>,
    pub(crate) hosts: Vec<Host>,
    /// Addresses that the operator configured.
    pub(crate) fixed: Vec<SocketAddr>,
    /// The servers recurse.
    pub(crate) recursive: bool,
    /// Servers may have private addresses: it is the operator's own, or below.
    pub(crate) private: bool,
    /// DS RRset as it came with the referral, not validated.
    pub(crate) ds: Option<Arc<RrSet>>,
    /// NSEC and NSEC3 RRsets that came with it, not validated.
    pub(crate) proofs: Vec<Arc<RrSet>>,
    pub(crate) since: Instant,
    pub(crate) expires: Instant,
}

impl Delegation {
    /// A zone that the operator configured.
    pub(crate) fn route(route: &ParsedRoute) -> Self {
        Self {
            fixed: route.servers.clone(),
            recursive: route.recursive,
            private: !route.zone.is_root(),
            ..Self::configured(route.zone.clone())
        }
    }

    /// The root, as the hints have it.
    pub(crate) fn hints(settings: &Settings) -> Self {
        let addresses = settings.hints.iter().flat_map(|(_, addresses)| addresses);
        let fixed = addresses.map(|address| SocketAddr::new(*address, PORT)).collect();
        Self { fixed, ..Self::configured(Name::root()) }
    }

    fn configured(zone: Name) -> Self {
        let now = Instant::now();
        Self {
            zone,
            parent: None,
            hosts: Vec::new(),
            fixed: Vec::new(),
            recursive: false,
            private: false,
            ds: None,
            proofs: Vec::new(),
            since: now,
            // Thirty years; more than an instant takes everywhere would be wrong.
            expires: now + Duration::from_secs(30 * 365 * 86_400),
        }
    }

    /// The child that a server of this zone referred to. It never outlives what it hangs on: a parent that was
    /// redelegated takes all below along (ghost domains).
    pub(crate) fn child(&self, referral: &Referral) -> Self {
        let now = Instant::now();
        // Even what may not be kept is needed until the question is answered.
        let ttl = Duration::from_secs(referral.ttl.clamp(1, MAX_TTL).into());
        Self {
            zone: referral.zone.clone(),
            parent: Some(self.zone.clone()),
            hosts: referral.hosts.clone(),
            fixed: Vec::new(),
            recursive: false,
            private: self.private,
            ds: referral.ds.clone(),
            proofs: referral.proofs.clone(),
            since: now,
            expires: self.expires.min(now + ttl),
        }
    }

    /// Addresses that came along, as far as they may be asked.
    pub(crate) fn addresses(&self, settings: &Settings) -> Vec<SocketAddr> {
        let fixed = self.fixed.iter().copied().filter(|server| settings.family(server.ip()));
        let glue =
            self.hosts.iter().flat_map(|host| usable(&host.addresses, self.private, settings));
        fixed.chain(glue).collect()
    }

    /// Hosts whose addresses have to be looked up. One inside the zone without glue can't be.
    pub(crate) fn without_glue(&self) -> impl Iterator<Item = &Name> + '_ {
        self.hosts
            .iter()
            .filter(|host| host.addresses.is_empty() && !self.zone.zone_of(&host.name))
            .map(|host| &host.name)
    }

    fn bytes(&self) -> usize {
        let hosts: usize = self.hosts.iter().map(|host| 96 + 17 * host.addresses.len()).sum();
        let sets: usize = self.ds.iter().chain(&self.proofs).map(|set| set.bytes()).sum();
        size_of::<Self>() + hosts + sets
    }
}

/// Addresses of a host that may be asked; `private` ones too if the zone may have them.
pub(crate) fn usable<'a>(
    addresses: &'a [IpAddr],
    private: bool,
    settings: &'a Settings,
) -> impl Iterator<Item = SocketAddr> + 'a {
    addresses
        .iter()
        .filter(move |address| settings.may_ask(**address, private))
        .map(|address| SocketAddr::new(*address, PORT))
}

/// Delegations that were learnt, by zone.
#[derive(Debug)]
pub(crate) struct Delegations(Bounded<Name, Arc<Delegation>>);

impl Delegations {
    /// At most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self(Bounded::new(limit))
    }

    /// The deepest zone at or above the name.
    pub(crate) fn closest(&mut self, name: &Name) -> Option<Arc<Delegation>> {
        (0..=name.iter().len())
            .rev()
            .find_map(|labels| self.0.fresh(&name.trim_to(labels)).cloned())
    }

    /// All zones known at or above the name, the deepest first.
    pub(crate) fn all_above(&mut self, name: &Name) -> Vec<Arc<Delegation>> {
        (0..=name.iter().len())
            .rev()
            .filter_map(|labels| self.0.fresh(&name.trim_to(labels)).cloned())
            .collect()
    }

    /// What is known of just this zone.
    pub(crate) fn at(&mut self, zone: &Name) -> Option<Arc<Delegation>> {
        self.0.fresh(zone).cloned()
    }

    /// Keeps a delegation.
    pub(crate) fn keep(&mut self, delegation: Arc<Delegation>) {
        let (bytes, expires) = (delegation.bytes(), delegation.expires);
        self.0.put(delegation.zone.clone(), delegation, bytes, expires);
    }

    /// Forgets a zone.
    pub(crate) fn remove(&mut self, zone: &Name) {
        self.0.remove(zone);
    }

    /// Forgets a zone and all below it.
    pub(crate) fn flush_zone(&mut self, zone: &Name) {
        self.0.retain(|key| !zone.zone_of(key));
    }

    /// Entries and bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        self.0.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ResolverConfig;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn referral(zone: &str, ttl: u32, hosts: &[(&str, &[&str])]) -> Referral {
        let hosts = hosts
            .iter()
            .map(|(host, addresses)| Host {
                name: name(host),
                addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            })
            .collect();
        Referral { zone: name(zone), hosts, ds: None, proofs: Vec::new(), ttl }
    }

    #[tokio::test(start_paused = true)]
    async fn a_child_never_outlives_its_parent() {
        let settings = Settings::parse(&ResolverConfig::default()).unwrap();
        let root = Delegation::hints(&settings);
        let parent = root.child(&referral("a.", 60, &[]));
        let child = parent.child(&referral("b.a.", 86_400, &[]));
        assert_eq!(child.expires, parent.expires);
        let mut known = Delegations::new(1 << 20);
        known.keep(Arc::new(parent));
        known.keep(Arc::new(child));
        assert_eq!(known.closest(&name("x.b.a.")).unwrap().zone, name("b.a."));
        assert_eq!(known.closest(&name("x.a.")).unwrap().zone, name("a."));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(known.closest(&name("x.b.a.")).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn private_glue_is_left_out_and_in_zone_hosts_need_glue() {
        let settings = Settings::parse(&ResolverConfig::default()).unwrap();
        let root = Delegation::hints(&settings);
        let zone = root.child(&referral(
            "a.",
            60,
            &[("ns1.a.", &["198.41.0.4", "127.0.0.1"]), ("ns2.a.", &[]), ("ns.b.", &[])],
        ));
        assert_eq!(zone.addresses(&settings), ["198.41.0.4:53".parse().unwrap()]);
        assert_eq!(zone.without_glue().collect::<Vec<_>>(), [&name("ns.b.")]);
    }
}
