//! Who is banned, and for how long, for what the services behind the wall saw.
//!
//! Evidence adds up to a score that fades with time; at the threshold its source is banned for a
//! while, each time twice as long. Two things are never held against a source: what anybody could
//! have sent in its name (no completed handshake), and, once several customers were seen behind
//! the address, what one of them does.
//!
//! A source is an IPv4 address or an IPv6 /64. Time is an argument: seconds since 1970, so that
//! bans outlive a restart. Memory is bounded whatever is reported.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::config::{BanConfig, RuleMode};

/// Most sources that are remembered.
pub const MAX_SOURCES: usize = 65_536;

/// Heaviest single piece of evidence.
pub const MAX_WEIGHT: f64 = 1000.0;

/// Most distinct customers that are told apart behind one address.
pub const MAX_CUSTOMERS: usize = 64;

/// Longest service name and reason that are kept, in bytes.
pub const MAX_TEXT: usize = 128;

/// Seconds for which a customer counts as being behind the address he logged in from.
pub const CUSTOMER_MEMORY: u64 = 24 * 3600;

/// A score below this share of the threshold is as good as forgotten.
const FORGOTTEN: f64 = 0.01;

/// Seconds between walks over everything that is remembered.
const TIDY_EVERY: u64 = 60;

/// Evidence against a source.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Offence {
    /// Whose packets it was.
    pub source: IpAddr,
    /// The service that saw it.
    pub service: String,
    /// What it saw, in a word or a few.
    pub reason: String,
    /// How heavy it is; held within 0 and [`MAX_WEIGHT`].
    pub weight: f64,
    /// Whether the source proved that it gets what is sent to its address: a completed TCP
    /// handshake, a valid DNS cookie, a known NAS.
    pub handshake: bool,
    /// Whom it tried to be. Guessed names prove nothing about who is behind the address: a customer
    /// who logged in is told by [`Offenders::customer_seen`].
    #[serde(default)]
    pub account: Option<String>,
}

/// What became of a piece of evidence.
#[must_use]
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "judgement", rename_all = "snake_case")]
pub enum Judgement {
    /// It was added to the source's score.
    Noted {
        /// The score now.
        score: f64,
    },
    /// The source is banned, by this evidence or already before.
    Banned {
        /// The address, or the /64 of an IPv6 address.
        prefix: IpNet,
        /// Seconds that are left of the ban.
        seconds: u64,
    },
    /// It would be banned if not several customers were behind its address: limit it.
    Limited,
    /// Anybody could have sent it in the source's name: counted, never held against it.
    Unproven,
    /// The source is protected, or no address that one can ban.
    Protected,
}

/// A ban.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Ban {
    /// The address, or the /64 of an IPv6 address.
    pub prefix: IpNet,
    /// The service whose evidence made it full.
    pub service: String,
    /// That evidence's reason.
    pub reason: String,
    /// When it ends, in seconds since 1970.
    pub until: u64,
}

/// A source that is being watched.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Watched {
    /// The address, or the /64 of an IPv6 address.
    pub prefix: IpNet,
    /// Weight of proven evidence, faded to now.
    pub score: f64,
    /// Weight of unproven evidence, faded to now.
    pub unproven: f64,
    /// Bans that are not forgotten yet.
    pub bans: u32,
    /// Distinct customers seen behind it in the last day, at most [`MAX_CUSTOMERS`].
    pub customers: u32,
    /// The service of the latest evidence.
    pub service: String,
    /// The reason of the latest evidence.
    pub reason: String,
}

/// Everybody who was reported, and the customers who share an address.
#[derive(Clone, Debug)]
pub struct Offenders {
    config: BanConfig,
    capacity: usize,
    sources: HashMap<IpNet, Source>,
    customers: HashMap<IpNet, Vec<Customer>>,
    /// No ban ends before this.
    next_end: u64,
    next_tidying: u64,
    /// Time of the last sweep.
    swept: u64,
}

impl Offenders {
    /// Nobody was reported yet.
    pub fn new(config: BanConfig) -> Self {
        Self::with_capacity(config, MAX_SOURCES)
    }

    fn with_capacity(config: BanConfig, capacity: usize) -> Self {
        Self {
            config,
            capacity,
            sources: HashMap::new(),
            customers: HashMap::new(),
            next_end: u64::MAX,
            next_tidying: 0,
            swept: 0,
        }
    }

    /// Takes over a new configuration. Bans that stand keep their end, but never one beyond the new
    /// longest ban from `now` on.
    pub fn configure(&mut self, config: BanConfig, now: u64) {
        self.config = config;
        let latest = now.saturating_add(self.longest());
        for source in self.sources.values_mut() {
            source.banned_until = source.banned_until.min(latest);
        }
        self.next_end = self.next_end.min(latest);
    }

    /// Judges a piece of evidence. `protected` tells the addresses that are never banned.
    ///
    /// With bans `off` evidence is only noted. In `observe` bans are given as in `enforce`: it is
    /// for the packet's rule not to act on them.
    pub fn report(
        &mut self,
        offence: &Offence,
        now: u64,
        protected: impl Fn(IpAddr) -> bool,
    ) -> Judgement {
        let address = offence.source.to_canonical();
        if !bannable(address) || protected(address) {
            return Judgement::Protected;
        }
        let key = key(address);
        let weight = sane(offence.weight, MAX_WEIGHT);
        if !offence.handshake {
            self.note_unproven(key, offence, weight, now);
            return Judgement::Unproven;
        }

        self.make_room(key, now);
        let shared = self.is_shared(key, now);
        let (first, longest) = (self.config.first.as_secs().max(1), self.longest());
        let (threshold, mode) = (self.config.threshold, self.config.mode);
        let half_life = self.half_life();
        let source = self.sources.entry(key).or_insert_with(|| Source::new(now));
        if source.banned_until > now {
            // What was under way when the ban came is no new offence.
            return Judgement::Banned { prefix: key, seconds: source.banned_until - now };
        }
        source.fade(now, half_life);
        source.forgive(now, longest);
        source.last_offence = now;
        source.evidence(offence);
        // Far above the threshold, a shared address would stay limited for long after the last offence.
        source.score = (source.score + weight).min(threshold.max(MAX_WEIGHT) * 2.0);
        if mode == RuleMode::Off || source.score < threshold {
            return Judgement::Noted { score: source.score };
        }
        if shared {
            return Judgement::Limited;
        }
        let doubled =
            1_u64.checked_shl(source.bans).map_or(u64::MAX, |times| first.saturating_mul(times));
        let seconds = doubled.min(longest);
        source.bans = source.bans.saturating_add(1);
        source.banned_until = now.saturating_add(seconds);
        // The score was paid for with the ban.
        source.score = 0.0;
        self.next_end = self.next_end.min(source.banned_until);
        Judgement::Banned { prefix: key, seconds }
    }

    /// Tells that a customer proved to be himself from this address (a password that was right, a
    /// session of the access network).
    pub fn customer_seen(&mut self, source: IpAddr, account: &str, now: u64) {
        let key = key(source.to_canonical());
        if self.customers.len() >= self.capacity && !self.customers.contains_key(&key) {
            // The last ones seen on addresses with most customers are what one needs to remember.
            let kept = |seen: &Vec<Customer>| {
                let recent = seen.iter().map(|customer| customer.seen).max().unwrap_or(0);
                (seen.len() as f64).min(MAX_CUSTOMERS as f64) * 1e12 + recent.min(1 << 39) as f64
            };
            prune(&mut self.customers, self.capacity, kept);
        }
        let account = account_number(account);
        let seen = self.customers.entry(key).or_default();
        seen.retain(|customer| customer.account != account && customer.is_recent(now));
        if seen.len() >= MAX_CUSTOMERS {
            seen.remove(0);
        }
        seen.push(Customer { account, seen: now });
    }

    /// The bans that stand, by prefix.
    pub fn active(&self, now: u64) -> Vec<Ban> {
        let mut bans: Vec<_> = self
            .sources
            .iter()
            .filter(|(_, source)| source.banned_until > now)
            .map(|(prefix, source)| source.ban(*prefix))
            .collect();
        bans.sort_unstable_by_key(|ban| ban.prefix);
        bans
    }

    /// The `n` sources with most evidence against them, proven first.
    pub fn watched(&self, n: usize, now: u64) -> Vec<Watched> {
        let half_life = self.half_life();
        let mut all: Vec<_> = self
            .sources
            .iter()
            .map(|(prefix, source)| Watched {
                prefix: *prefix,
                score: source.score * source.remains(now, half_life),
                unproven: source.unproven * source.remains(now, half_life),
                bans: source.bans,
                customers: u32::try_from(self.customers_behind(*prefix, now)).unwrap_or(u32::MAX),
                service: source.service.clone(),
                reason: source.reason.clone(),
            })
            .collect();
        all.sort_unstable_by(|a, b| {
            let order = b.score.total_cmp(&a.score).then(b.unproven.total_cmp(&a.unproven));
            order.then(a.prefix.cmp(&b.prefix))
        });
        all.truncate(n);
        all
    }

    /// Ends the bans whose time is over and returns them; now and then forgets old evidence. Cheap
    /// enough for every second. When the clock was set back since the last time, everything moves
    /// with it, so that no ban gets longer.
    pub fn sweep(&mut self, now: u64) -> Vec<Ban> {
        self.move_back(self.swept.saturating_sub(now));
        self.swept = now;
        let mut ended = Vec::new();
        if now >= self.next_end {
            self.next_end = u64::MAX;
            for (prefix, source) in &mut self.sources {
                if source.banned_until > now {
                    self.next_end = self.next_end.min(source.banned_until);
                } else if source.banned_until > 0 {
                    ended.push(source.ban(*prefix));
                    source.last_offence = source.last_offence.max(source.banned_until);
                    source.banned_until = 0;
                }
            }
            ended.sort_unstable_by_key(|ban| ban.prefix);
        }
        if now >= self.next_tidying {
            self.next_tidying = now.saturating_add(TIDY_EVERY);
            self.forget(now);
        }
        ended
    }

    /// Takes back the bans and the evidence of every source within `prefix`; whether there was any
    /// ban.
    pub fn pardon(&mut self, prefix: IpNet) -> bool {
        let mut banned = false;
        // For IPv6 a single address means the /64 that was banned for it.
        let prefix =
            if prefix == prefix.addr().into() { key(prefix.addr().to_canonical()) } else { prefix };
        self.sources.retain(|key, source| {
            let pardoned = prefix.contains(key);
            banned |= pardoned && source.banned_until > 0;
            !pardoned
        });
        banned
    }

    /// Sources that are remembered.
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// Whether nobody is remembered.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Everything that has to outlive a restart.
    pub fn snapshot(&self, now: u64) -> Snapshot {
        let half_life = self.half_life();
        let sources = self
            .sources
            .iter()
            .filter(|(_, source)| !source.is_forgotten(now, half_life, self.config.threshold))
            .map(|(prefix, source)| (*prefix, source.clone()))
            .collect();
        let customers = self
            .customers
            .iter()
            // A lone customer is cheap to see again, and there are half a million of them.
            .filter(|(_, seen)| seen.len() > 1)
            .map(|(prefix, seen)| (*prefix, seen.clone()))
            .collect();
        Snapshot { taken: now, sources, customers }
    }

    /// Goes on from a snapshot. If the clock went back since, everything moves with it; no ban
    /// lasts longer than the longest from `now` on. What makes no sense in it is left out.
    pub fn restore(config: BanConfig, snapshot: Snapshot, now: u64) -> Self {
        let back = snapshot.taken.saturating_sub(now);
        let past = |time: u64| time.saturating_sub(back).min(now);
        let mut offenders = Self::new(config);
        let latest = now.saturating_add(offenders.longest());
        for (prefix, mut source) in snapshot.sources.into_iter().take(offenders.capacity) {
            if key(prefix.addr()) != prefix || !bannable(prefix.addr()) {
                continue;
            }
            source.score = sane(source.score, f64::MAX);
            source.unproven = sane(source.unproven, f64::MAX);
            source.faded = past(source.faded);
            source.last_offence = past(source.last_offence);
            source.banned_until = source.banned_until.saturating_sub(back).min(latest);
            if source.banned_until > 0 {
                offenders.next_end = offenders.next_end.min(source.banned_until);
            }
            source.service = cut(&source.service);
            source.reason = cut(&source.reason);
            offenders.sources.insert(prefix, source);
        }
        for (prefix, mut seen) in snapshot.customers.into_iter().take(offenders.capacity) {
            seen.truncate(MAX_CUSTOMERS);
            seen.iter_mut().for_each(|customer| customer.seen = past(customer.seen));
            if key(prefix.addr()) == prefix {
                offenders.customers.insert(prefix, seen);
            }
        }
        offenders
    }

    fn longest(&self) -> u64 {
        self.config.longest.as_secs().max(1)
    }

    fn half_life(&self) -> f64 {
        self.config.half_life.as_secs_f64().max(1.0)
    }

    fn customers_behind(&self, key: IpNet, now: u64) -> usize {
        self.customers
            .get(&key)
            .map_or(0, |seen| seen.iter().filter(|customer| customer.is_recent(now)).count())
    }

    fn is_shared(&self, key: IpNet, now: u64) -> bool {
        let enough = usize::try_from(self.config.shared_after).unwrap_or(usize::MAX);
        self.customers_behind(key, now) >= enough.clamp(1, MAX_CUSTOMERS)
    }

    /// Unproven evidence is shown, but takes no room that proven evidence needs.
    fn note_unproven(&mut self, key: IpNet, offence: &Offence, weight: f64, now: u64) {
        let half_life = self.half_life();
        if self.sources.len() >= self.capacity && !self.sources.contains_key(&key) {
            return;
        }
        let source = self.sources.entry(key).or_insert_with(|| Source::new(now));
        source.fade(now, half_life);
        source.unproven = (source.unproven + weight).min(1e9);
        if source.banned_until <= now && source.score == 0.0 && source.bans == 0 {
            source.evidence(offence);
        }
    }

    fn make_room(&mut self, key: IpNet, now: u64) {
        if self.sources.len() < self.capacity || self.sources.contains_key(&key) {
            return;
        }
        self.forget(now);
        if self.sources.len() < self.capacity {
            return;
        }
        let half_life = self.half_life();
        prune(&mut self.sources, self.capacity, |source| {
            let standing = if source.banned_until > now { 1e15 } else { 0.0 };
            standing + f64::from(source.bans) + source.score * source.remains(now, half_life)
        });
    }

    fn move_back(&mut self, seconds: u64) {
        if seconds == 0 {
            return;
        }
        for source in self.sources.values_mut() {
            for time in [&mut source.faded, &mut source.last_offence, &mut source.banned_until] {
                *time = time.saturating_sub(seconds);
            }
        }
        for customer in self.customers.values_mut().flatten() {
            customer.seen = customer.seen.saturating_sub(seconds);
        }
        self.next_end = if self.next_end == u64::MAX {
            u64::MAX
        } else {
            self.next_end.saturating_sub(seconds)
        };
        self.next_tidying = self.next_tidying.saturating_sub(seconds);
    }

    fn forget(&mut self, now: u64) {
        let (half_life, longest) = (self.half_life(), self.longest());
        let threshold = self.config.threshold;
        self.sources.retain(|_, source| {
            source.forgive(now, longest);
            !source.is_forgotten(now, half_life, threshold)
        });
        self.customers.retain(|_, seen| {
            seen.retain(|customer| customer.is_recent(now));
            !seen.is_empty()
        });
    }
}

/// What outlives a restart. Written as JSON by the caller.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Snapshot {
    /// When it was taken, in seconds since 1970.
    taken: u64,
    sources: Vec<(IpNet, Source)>,
    customers: Vec<(IpNet, Vec<Customer>)>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Source {
    score: f64,
    unproven: f64,
    /// When the two scores were faded last.
    faded: u64,
    /// Bans given and not forgotten.
    bans: u32,
    /// When the present ban ends; 0 without one.
    banned_until: u64,
    /// From when on good behaviour counts.
    last_offence: u64,
    service: String,
    reason: String,
}

impl Source {
    const fn new(now: u64) -> Self {
        Self {
            score: 0.0,
            unproven: 0.0,
            faded: now,
            bans: 0,
            banned_until: 0,
            last_offence: now,
            service: String::new(),
            reason: String::new(),
        }
    }

    /// Share of the scores that is left at `now`.
    fn remains(&self, now: u64, half_life: f64) -> f64 {
        (-(now.saturating_sub(self.faded) as f64) / half_life).exp2()
    }

    fn fade(&mut self, now: u64, half_life: f64) {
        let remains = self.remains(now, half_life);
        self.score *= remains;
        self.unproven *= remains;
        self.faded = now;
    }

    /// One ban is forgotten for each `longest` seconds of good behaviour after the last one.
    fn forgive(&mut self, now: u64, longest: u64) {
        let since = self.last_offence.max(self.banned_until);
        let steps = now.saturating_sub(since) / longest;
        if steps > 0 {
            self.bans = self.bans.saturating_sub(u32::try_from(steps).unwrap_or(u32::MAX));
            self.last_offence = since + steps * longest;
        }
    }

    fn is_forgotten(&self, now: u64, half_life: f64, threshold: f64) -> bool {
        let weight = self.score.max(self.unproven) * self.remains(now, half_life);
        self.bans == 0 && self.banned_until <= now && weight <= threshold * FORGOTTEN
    }

    fn evidence(&mut self, offence: &Offence) {
        self.service = cut(&offence.service);
        self.reason = cut(&offence.reason);
    }

    fn ban(&self, prefix: IpNet) -> Ban {
        Ban {
            prefix,
            service: self.service.clone(),
            reason: self.reason.clone(),
            until: self.banned_until,
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Customer {
    account: u64,
    seen: u64,
}

impl Customer {
    const fn is_recent(&self, now: u64) -> bool {
        now.saturating_sub(self.seen) < CUSTOMER_MEMORY
    }
}

/// Names are compared, never shown. After an upgrade that hashes otherwise a customer may count
/// twice for a day, which errs on the customers' side.
fn account_number(account: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    account.to_ascii_lowercase().hash(&mut hasher);
    hasher.finish()
}

fn key(address: IpAddr) -> IpNet {
    match address {
        IpAddr::V4(_) => address.into(),
        IpAddr::V6(_) => IpNet::new(address, 64).map_or_else(|_| address.into(), |net| net.trunc()),
    }
}

/// Addresses of the box itself, of groups and of the link (whose /64 every neighbour shares) are
/// nobody's to ban.
const fn bannable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !(v4.is_loopback() || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast())
        }
        IpAddr::V6(v6) => {
            !(v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unicast_link_local())
        }
    }
}

fn sane(weight: f64, most: f64) -> f64 {
    if weight.is_nan() { 0.0 } else { weight.clamp(0.0, most) }
}

/// The text without control characters, up to [`MAX_TEXT`] bytes.
fn cut(text: &str) -> String {
    let text = text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or(text);
    text.chars().filter(|c| !c.is_control()).collect()
}

/// Drops the eighth of the entries with the lowest rank, so that the walk is paid for by as many
/// insertions.
fn prune<V>(entries: &mut HashMap<IpNet, V>, capacity: usize, rank: impl Fn(&V) -> f64) {
    let surplus = (capacity / 8).max(1).min(entries.len());
    let mut ranked: Vec<_> = entries.iter().map(|(key, value)| (rank(value), *key)).collect();
    if surplus < ranked.len() {
        ranked.select_nth_unstable_by(surplus, |(a, _), (b, _)| a.total_cmp(b));
    }
    for (_, key) in ranked.into_iter().take(surplus) {
        entries.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000;
    const FIRST: u64 = 60;
    const LONGEST: u64 = 3600;

    fn config() -> BanConfig {
        BanConfig {
            mode: RuleMode::Enforce,
            threshold: 10.0,
            half_life: Duration::from_secs(600),
            first: Duration::from_secs(FIRST),
            longest: Duration::from_secs(LONGEST),
            shared_after: 3,
        }
    }

    fn offence(source: &str, weight: f64) -> Offence {
        Offence {
            source: source.parse().unwrap(),
            service: "smtp".into(),
            reason: "spam".into(),
            weight,
            handshake: true,
            account: None,
        }
    }

    fn nobody(_: IpAddr) -> bool {
        false
    }

    fn banned(judgement: &Judgement) -> Option<(String, u64)> {
        match judgement {
            Judgement::Banned { prefix, seconds } => Some((prefix.to_string(), *seconds)),
            _ => None,
        }
    }

    #[test]
    fn adds_up_and_bans_the_address_or_the_64() {
        let cases = [
            ("198.51.100.7", "198.51.100.7/32"),
            ("::ffff:198.51.100.7", "198.51.100.7/32"),
            ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ];
        for (source, prefix) in cases {
            let mut offenders = Offenders::new(config());
            let light = offence(source, 4.0);
            assert_eq!(offenders.report(&light, NOW, nobody), Judgement::Noted { score: 4.0 });
            assert_eq!(offenders.report(&light, NOW, nobody), Judgement::Noted { score: 8.0 });
            let judgement = offenders.report(&light, NOW, nobody);
            assert_eq!(banned(&judgement), Some((prefix.into(), FIRST)), "{source}");
            let again = offenders.report(&light, NOW + 20, nobody);
            assert_eq!(banned(&again), Some((prefix.into(), FIRST - 20)), "not made longer");
            let expected = Ban {
                prefix: prefix.parse().unwrap(),
                service: "smtp".into(),
                reason: "spam".into(),
                until: NOW + FIRST,
            };
            assert_eq!(offenders.active(NOW + FIRST - 1), std::slice::from_ref(&expected));
            assert_eq!(offenders.active(NOW + FIRST), []);
            assert_eq!(offenders.sweep(NOW + FIRST - 1), []);
            assert_eq!(offenders.sweep(NOW + FIRST), [expected]);
            assert_eq!(offenders.sweep(NOW + FIRST + 1), []);
        }
    }

    #[test]
    fn neighbours_in_a_64_are_one_source() {
        let mut offenders = Offenders::new(config());
        let _ = offenders.report(&offence("2001:db8::1", 6.0), NOW, nobody);
        let judgement = offenders.report(&offence("2001:db8::2", 6.0), NOW, nobody);
        assert!(banned(&judgement).is_some());
    }

    #[test]
    fn evidence_fades_by_half() {
        let mut offenders = Offenders::new(config());
        let _ = offenders.report(&offence("192.0.2.1", 8.0), NOW, nobody);
        let later = offenders.report(&offence("192.0.2.1", 1.0), NOW + 600, nobody);
        assert_eq!(later, Judgement::Noted { score: 5.0 });
        let set_back = offenders.report(&offence("192.0.2.1", 1.0), NOW - 5000, nobody);
        assert_eq!(set_back, Judgement::Noted { score: 6.0 });
    }

    #[test]
    fn bans_double_up_to_the_longest_and_are_forgotten_step_by_step() {
        let mut offenders = Offenders::new(config());
        let heavy = offence("192.0.2.1", 50.0);
        let mut now = NOW;
        for expected in [60, 120, 240, 480, 960, 1920, 3600, 3600] {
            let (_, seconds) = banned(&offenders.report(&heavy, now, nobody)).unwrap();
            assert_eq!(seconds, expected);
            now += seconds;
            offenders.sweep(now);
        }
        // Eight bans, of which five are forgotten: the next is the fourth.
        now += 5 * LONGEST + 10;
        offenders.sweep(now);
        assert_eq!(banned(&offenders.report(&heavy, now, nobody)).unwrap().1, 480);
        now += 480 + 4 * LONGEST;
        offenders.sweep(now);
        assert!(offenders.is_empty(), "{offenders:?}");
    }

    #[test]
    fn never_bans_protected_nor_unbannable_sources() {
        let mut offenders = Offenders::new(config());
        let guard = |address: IpAddr| address == "192.0.2.1".parse::<IpAddr>().unwrap();
        for source in ["192.0.2.1", "::ffff:192.0.2.1"] {
            assert_eq!(offenders.report(&offence(source, 99.0), NOW, guard), Judgement::Protected);
        }
        for source in [
            "127.0.0.1",
            "::1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "ff02::1",
            "fe80::1",
            "255.255.255.255",
        ] {
            assert_eq!(offenders.report(&offence(source, 99.0), NOW, nobody), Judgement::Protected);
        }
        assert!(offenders.is_empty());
    }

    #[test]
    fn unproven_evidence_is_shown_and_never_counts() {
        let mut offenders = Offenders::new(config());
        let spoofed = Offence { handshake: false, ..offence("192.0.2.1", 900.0) };
        for _ in 0..100 {
            assert_eq!(offenders.report(&spoofed, NOW, nobody), Judgement::Unproven);
        }
        let judgement = offenders.report(&offence("192.0.2.1", 1.0), NOW, nobody);
        assert_eq!(judgement, Judgement::Noted { score: 1.0 });
        let watched = offenders.watched(9, NOW);
        assert_eq!((watched[0].score, watched[0].unproven), (1.0, 90_000.0));
        assert_eq!(offenders.active(NOW), []);
    }

    #[test]
    fn a_shared_address_is_limited() {
        let mut offenders = Offenders::new(config());
        let nat = offence("192.0.2.1", 50.0);
        for account in ["anna", "ANNA", "bert"] {
            offenders.customer_seen(nat.source, account, NOW);
        }
        assert!(banned(&offenders.report(&nat, NOW, nobody)).is_some(), "two are a household");
        let now = NOW + FIRST;
        offenders.customer_seen(nat.source, "cleo", now);
        assert_eq!(offenders.report(&nat, now, nobody), Judgement::Limited);
        assert_eq!(offenders.report(&nat, now, nobody), Judgement::Limited);
        assert_eq!(offenders.active(now), []);
        let next_day = now + CUSTOMER_MEMORY;
        assert!(banned(&offenders.report(&nat, next_day, nobody)).is_some(), "they have gone");
    }

    #[test]
    fn guessed_names_make_no_shared_address() {
        let mut offenders = Offenders::new(config());
        let judgements: Vec<_> = (0..10)
            .map(|i| {
                let guess =
                    Offence { account: Some(format!("user{i}")), ..offence("192.0.2.1", 3.0) };
                offenders.report(&guess, NOW, nobody)
            })
            .collect();
        assert!(judgements.last().and_then(banned).is_some());
    }

    #[test]
    fn modes() {
        for (mode, bans) in [(RuleMode::Enforce, 1), (RuleMode::Observe, 1), (RuleMode::Off, 0)] {
            let mut offenders = Offenders::new(BanConfig { mode, ..config() });
            let _ = offenders.report(&offence("192.0.2.1", 50.0), NOW, nobody);
            assert_eq!(offenders.active(NOW).len(), bans, "{mode:?}");
        }
    }

    #[test]
    fn weights_and_texts_are_bounded() {
        let cases =
            [(f64::NAN, 0.0), (-5.0, 0.0), (f64::INFINITY, MAX_WEIGHT), (1e300, MAX_WEIGHT)];
        for (weight, score) in cases {
            let mut offenders = Offenders::new(BanConfig { threshold: 1e6, ..config() });
            let mut heavy = offence("192.0.2.1", weight);
            heavy.reason = "\x1b[31mü".repeat(500);
            assert_eq!(offenders.report(&heavy, NOW, nobody), Judgement::Noted { score });
            let reason = &offenders.watched(1, NOW)[0].reason;
            assert!(reason.len() <= MAX_TEXT && !reason.contains(char::is_control));
        }
    }

    #[test]
    fn a_full_memory_keeps_the_worst() {
        let mut offenders = Offenders::with_capacity(config(), 64);
        let _ = offenders.report(&offence("192.0.2.1", 50.0), NOW, nobody);
        let _ = offenders.report(&offence("192.0.2.2", 9.0), NOW, nobody);
        for i in 0..1000_u32 {
            let source = format!("10.0.{}.{}", i / 250, i % 250);
            let mut light = offence(&source, 1.0);
            light.handshake = i % 3 > 0;
            let _ = offenders.report(&light, NOW, nobody);
            offenders.customer_seen(light.source, "someone", NOW + u64::from(i));
            assert!(offenders.len() <= 64 && offenders.customers.len() <= 64);
        }
        assert_eq!(offenders.active(NOW).len(), 1);
        assert_eq!(offenders.watched(1, NOW)[0].prefix, "192.0.2.2/32".parse().unwrap());
    }

    #[test]
    fn a_full_memory_of_unproven_sources_has_room_for_proven_ones() {
        let mut offenders = Offenders::with_capacity(config(), 64);
        for i in 0..1000_u32 {
            let spoofed = Offence {
                handshake: false,
                ..offence(&format!("10.0.{}.{}", i / 250, i % 250), 900.0)
            };
            let _ = offenders.report(&spoofed, NOW, nobody);
        }
        for i in 0..50 {
            let _ = offenders.report(&offence(&format!("192.0.2.{i}"), 1.0), NOW, nobody);
        }
        assert_eq!(
            offenders.watched(99, NOW).iter().filter(|watched| watched.score > 0.0).count(),
            50
        );
    }

    #[test]
    fn pardons() {
        let mut offenders = Offenders::new(config());
        let _ = offenders.report(&offence("2001:db8::1", 50.0), NOW, nobody);
        let _ = offenders.report(&offence("192.0.2.1", 50.0), NOW, nobody);
        assert!(!offenders.pardon("198.51.100.0/24".parse().unwrap()));
        assert!(offenders.pardon("192.0.2.0/24".parse().unwrap()));
        assert!(offenders.pardon("2001:db8::7/128".parse().unwrap()));
        assert!(offenders.is_empty());
    }

    #[test]
    fn a_new_configuration_shortens_bans() {
        let mut offenders = Offenders::new(config());
        let _ = offenders.report(&offence("192.0.2.1", 50.0), NOW, nobody);
        offenders.configure(BanConfig { longest: Duration::from_secs(5), ..config() }, NOW);
        assert_eq!(offenders.active(NOW)[0].until, NOW + 5);
        assert_eq!(offenders.sweep(NOW + 5).len(), 1);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_ban_longer() {
        let mut offenders = Offenders::new(config());
        let _ = offenders.report(&offence("192.0.2.1", 50.0), NOW, nobody);
        offenders.sweep(NOW + 10);
        let now = NOW - 1_000_000;
        offenders.sweep(now);
        assert_eq!(offenders.active(now)[0].until, now + FIRST - 10);
        assert_eq!(offenders.sweep(now + FIRST).len(), 1);
        offenders.sweep(now + FIRST + LONGEST);
        assert!(offenders.is_empty());
    }

    fn through_json(snapshot: &Snapshot) -> Snapshot {
        serde_json::from_str(&serde_json::to_string(snapshot).unwrap()).unwrap()
    }

    #[test]
    fn bans_outlive_a_restart_whatever_the_clock_does() {
        // (seconds that the clock moved over the restart, seconds left of 60 s of ban)
        let cases = [
            (0, Some(60)),
            (20, Some(40)),
            (60, None),
            (1 << 40, None),
            (-20, Some(60)),
            (-(NOW as i64), Some(60)),
        ];
        for (moved, left) in cases {
            let mut offenders = Offenders::new(config());
            let _ = offenders.report(&offence("192.0.2.1", 50.0), NOW, nobody);
            for account in ["anna", "bert", "cleo"] {
                offenders.customer_seen("192.0.2.9".parse().unwrap(), account, NOW);
            }
            let now = NOW.saturating_add_signed(moved);
            let mut restored =
                Offenders::restore(config(), through_json(&offenders.snapshot(NOW)), now);
            let active = restored.active(now);
            assert_eq!(active.first().map(|ban| ban.until - now), left, "{moved}");
            if moved < 60 {
                let nat = restored.report(&offence("192.0.2.9", 50.0), now, nobody);
                assert_eq!(nat, Judgement::Limited);
                let end = now + left.unwrap();
                assert_eq!(restored.sweep(end).len(), 1);
                let second = restored.report(&offence("192.0.2.1", 50.0), end, nobody);
                assert_eq!(banned(&second).unwrap().1, 2 * FIRST, "history is kept");
            }
        }
    }

    #[test]
    fn a_snapshot_that_makes_no_sense_bans_nobody_for_long() {
        let source = r#"{"score":1e308,"unproven":-5,"faded":9e18,"bans":4294967295,"banned_until":18446744073709551615,"last_offence":18446744073709551615,"service":"s","reason":"r"}"#
            .replace("9e18", "9000000000000000000");
        let text = format!(
            r#"{{"taken":{NOW},"sources":[["192.0.2.1/32",{source}],["0.0.0.0/0",{source}],["fe80::/64",{source}],["2001:db8::/32",{source}]],"customers":[["10.0.0.0/8",[]]]}}"#
        );
        let mut restored = Offenders::restore(config(), serde_json::from_str(&text).unwrap(), NOW);
        let active = restored.active(NOW);
        assert_eq!(active.len(), 1);
        assert_eq!(active[0].until, NOW + LONGEST);
        assert_eq!(restored.sweep(NOW + LONGEST).len(), 1);
        let _ = restored.report(&offence("192.0.2.1", 1.0), NOW + LONGEST, nobody);
    }

    #[test]
    fn judgements_read_well_as_json() {
        let banned = Judgement::Banned { prefix: "192.0.2.1/32".parse().unwrap(), seconds: 60 };
        assert_eq!(
            serde_json::to_string(&banned).unwrap(),
            r#"{"judgement":"banned","prefix":"192.0.2.1/32","seconds":60}"#
        );
        assert_eq!(
            serde_json::to_string(&Judgement::Unproven).unwrap(),
            r#"{"judgement":"unproven"}"#
        );
    }

    #[derive(Clone, Debug)]
    enum Step {
        Report { host: u8, weight: f64, handshake: bool, protected: bool },
        Customer { host: u8, account: u8 },
        Wait(u32),
        Sweep,
        Restart { moved: i32 },
    }

    fn weight() -> impl Strategy<Value = f64> {
        prop_oneof![4 => 0.0..15.0, 1 => any::<f64>(), 1 => Just(f64::NAN)]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0_u8..20, weight(), any::<bool>(), prop::bool::weighted(0.1)).prop_map(
                |(host, weight, handshake, protected)| Step::Report { host, weight, handshake, protected }
            ),
            1 => (0_u8..20, 0_u8..5).prop_map(|(host, account)| Step::Customer { host, account }),
            3 => (0_u32..10_000).prop_map(Step::Wait),
            1 => Just(Step::Sweep),
            1 => any::<i32>().prop_map(|moved| Step::Restart { moved }),
        ]
    }

    proptest! {
        #[test]
        fn bans_only_the_proven_and_never_for_too_long(steps in prop::collection::vec(step(), 1..200)) {
            let mut offenders = Offenders::with_capacity(config(), 16);
            let mut now = NOW;
            let mut proven = std::collections::HashSet::new();
            for step in steps {
                match step {
                    Step::Report { host, weight, handshake, protected } => {
                        let mut evidence = offence(&format!("192.0.2.{host}"), weight);
                        evidence.handshake = handshake;
                        let judgement = offenders.report(&evidence, now, |_| protected);
                        if protected {
                            prop_assert_eq!(&judgement, &Judgement::Protected);
                        } else if handshake {
                            proven.insert(IpNet::from(evidence.source));
                        } else {
                            prop_assert_eq!(&judgement, &Judgement::Unproven);
                        }
                        if let Judgement::Banned { seconds, .. } = judgement {
                            prop_assert!((1..=LONGEST).contains(&seconds));
                        }
                    }
                    Step::Customer { host, account } => {
                        let source = format!("192.0.2.{host}").parse().unwrap();
                        offenders.customer_seen(source, &account.to_string(), now);
                    }
                    Step::Wait(seconds) => now += u64::from(seconds),
                    Step::Sweep => drop(offenders.sweep(now)),
                    Step::Restart { moved } => {
                        let snapshot = through_json(&offenders.snapshot(now));
                        now = now.saturating_add_signed(moved.into());
                        offenders = Offenders::restore(config(), snapshot, now);
                        offenders.capacity = 16;
                    }
                }
                prop_assert!(offenders.sources.len() <= 16 && offenders.customers.len() <= 16);
                for ban in offenders.active(now) {
                    prop_assert!(proven.contains(&ban.prefix), "{:?}", ban);
                    prop_assert!(ban.until <= now + LONGEST, "{:?}", ban);
                }
            }
            // Everybody is forgotten in the end: the bans first, one for each longest.
            offenders.sweep(now + 500 * LONGEST);
            prop_assert!(offenders.is_empty() && offenders.customers.is_empty());
            prop_assert_eq!(offenders.next_end, u64::MAX);
        }
    }
}
