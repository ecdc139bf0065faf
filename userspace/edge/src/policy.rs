//! Compiles the configuration into the image that the kernel reads.
//!
//! Everything is decided here, once: which prefix says what, flattened so that the longest match tells all;
//! rates in ticks; ports as a table. What lies in the image is described in [`muralla_abi::policy`].

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;
use muralla_abi::budget;
use muralla_abi::headers::{Addr, proto};
use muralla_abi::layout::ABI;
use muralla_abi::limit::Rate;
use muralla_abi::policy::{
    self as layout, AnyQuery, BUCKETS, FEEDS, HEADER, Kind, Mode, SERVICE_LINES, SERVICES, header,
    service,
};
use muralla_abi::prefix::{ENTRIES, Facts, MAX_LENGTHS, PARENT_BITS, mask, root_place, tag};
use muralla_abi::table::{Hash, Key, Seeds};

use crate::config::{AnyPolicy, EdgeConfig, Limit, RuleMode, ServiceConfig, ServiceKind};

/// The prefixes of every list, read from wherever they are kept.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    /// The protected set, the built-in part included.
    pub protected: Vec<IpNet>,
    /// The allow list: configuration, files and what was allowed at run time.
    pub allowed: Vec<IpNet>,
    /// Addresses of ours: the interfaces' and the configured ones.
    pub own: Vec<IpNet>,
    /// Networks that interfaces on the customers' side are in.
    pub neighbours: Vec<IpNet>,
    /// The feeds' prefixes, in the order of the configuration.
    pub feeds: Vec<Vec<IpNet>>,
}

/// A compiled policy.
#[derive(Clone, Debug)]
pub struct Image {
    /// The lines of the map.
    pub lines: Vec<[u64; 8]>,
    /// Prefixes in it, after flattening.
    pub prefixes: u64,
}

/// Why a policy can't be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// More prefixes than the table was made for.
    #[error(
        "{prefixes} prefixes do not fit into a table for {room}: raise edge.limits.max_prefixes to {advice} and restart"
    )]
    TooManyPrefixes {
        /// Prefixes after flattening.
        prefixes: u64,
        /// Prefixes that the table was made for.
        room: u64,
        /// What would do.
        advice: u64,
    },
}

/// Lines of buckets for a number of prefixes: a power of two, at most two thirds full.
pub fn bucket_lines(max_prefixes: u32) -> u32 {
    let entries = u64::from(max_prefixes) * 3 / 2;
    let lines = entries.div_ceil(u64::from(ENTRIES)).clamp(64, 1 << 20);
    (lines as u32).next_power_of_two()
}

/// Lines of an image for a number of prefixes.
pub fn image_lines(max_prefixes: u32) -> u32 {
    BUCKETS + bucket_lines(max_prefixes)
}

/// Compiles. `lines` is the length of the map, which was fixed when the maps were made.
pub fn compile(
    config: &EdgeConfig,
    lists: &Lists,
    seeds: &Seeds,
    generation: u64,
    lines: u32,
) -> Result<Image, CompileError> {
    let mut image = Image { lines: vec![[0; 8]; lines as usize], prefixes: 0 };
    let bucket_mask = lines - BUCKETS - 1;
    let modes = u64::from(mode(config.impossible) as u8) << header::modes::IMPOSSIBLE
        | u64::from(mode(config.bogons) as u8) << header::modes::BOGONS
        | u64::from(mode(config.antispoof) as u8) << header::modes::ANTISPOOF
        | u64::from(mode(config.bans.mode) as u8) << header::modes::BANS;
    image.set(HEADER, header::ABI, u64::from(ABI));
    image.set(HEADER, header::GENERATION, generation);
    image.set(HEADER, header::BUCKET_MASK, u64::from(bucket_mask));
    image.set(HEADER, header::MODES, modes);
    for (feed, number) in config.feeds.iter().zip(1u32..) {
        if feed.mode == RuleMode::Observe {
            image.or(FEEDS, number / 64, 1 << (number % 64));
        }
    }
    for (index, service) in (0u8..).zip(&config.services) {
        image.service(index, service);
    }
    let prefixes = Flat::of(config, lists);
    image.prefixes(prefixes, seeds, bucket_mask)?;
    Ok(image)
}

impl Image {
    fn set(&mut self, line: u32, word: u32, value: u64) {
        if let Some(place) = self.word(line, word) {
            *place = value;
        }
    }

    fn or(&mut self, line: u32, word: u32, value: u64) {
        if let Some(place) = self.word(line, word) {
            *place |= value;
        }
    }

    fn word(&mut self, line: u32, word: u32) -> Option<&mut u64> {
        self.lines.get_mut(line as usize)?.get_mut(word as usize)
    }

    fn service(&mut self, index: u8, config: &ServiceConfig) {
        let line = SERVICES + u32::from(index) * SERVICE_LINES;
        let kind = match config.kind {
            ServiceKind::Any => Kind::Any,
            ServiceKind::Tcp => Kind::Tcp,
            ServiceKind::Dns => Kind::Dns,
            ServiceKind::DnsTcp => Kind::DnsTcp,
            ServiceKind::RadiusAuth => Kind::RadiusAuth,
            ServiceKind::RadiusAcct => Kind::RadiusAcct,
            ServiceKind::RadiusDyn => Kind::RadiusDyn,
        };
        let any = match config.any {
            AnyPolicy::Pass => AnyQuery::Pass,
            AnyPolicy::Slip => AnyQuery::Slip,
            AnyPolicy::Drop => AnyQuery::Drop,
        };

        let all = [config.source, config.world, config.global, config.reserve, config.stray];
        let limits = all.iter().any(Option::is_some);
        let flags = [(config.drop_fragments, service::DROP_FRAGMENTS), (limits, service::LIMITS)];
        let flags = flags.iter().filter(|(set, _)| *set).map(|(_, flag)| *flag as u8).sum();
        let budgets = [config.global, config.reserve, config.stray].map(rate);
        let chunk = budgets.iter().filter(|rate| !rate.is_unlimited());
        let chunk = chunk.map(|rate| budget::chunk(*rate)).min().unwrap_or(1);
        let traits =
            layout::service_traits(kind, mode(config.mode), config.slip, any, flags, chunk);
        self.set(line, service::TRAITS, traits);
        self.set(line, service::SOURCE, rate(config.source).to_word());
        self.set(line, service::WORLD, rate(config.world).to_word());
        let [global, reserve, stray] = budgets;
        self.set(line, service::GLOBAL, global.to_word());
        self.set(line, service::RESERVE, reserve.to_word());
        self.set(line, service::STRAY, stray.to_word());

        let protocol = match config.kind {
            ServiceKind::Any => return,
            ServiceKind::Tcp | ServiceKind::DnsTcp => proto::TCP,
            _ => proto::UDP,
        };
        for &port in &config.ports {
            let (line, word, shift) = layout::port_place(protocol, port);
            self.or(line, word, u64::from(index) << shift);
        }
    }

    fn prefixes(
        &mut self,
        mut flat: Flat,
        seeds: &Seeds,
        bucket_mask: u32,
    ) -> Result<(), CompileError> {
        flat.fit_lengths();
        let room = u64::from(bucket_mask + 1) * u64::from(ENTRIES);
        let stored = flat.entries.iter().filter(|entry| entry.length > 16).count() as u64;
        let too_many = CompileError::TooManyPrefixes {
            prefixes: stored,
            room: room * 2 / 3,
            advice: stored + stored / 4,
        };
        if stored * 10 > room * 9 {
            return Err(too_many);
        }
        self.prefixes = flat.entries.len() as u64;

        let parents = flat.parents();
        let mut lengths: BTreeMap<(u32, u32), BTreeSet<u32>> = BTreeMap::new();
        let mut deep = BTreeSet::new();
        for entry in &flat.entries {
            let Entry { v6, addr, length, facts } = *entry;
            let (line, word) = root_place(v6, addr.hi);
            if length <= 16 {
                self.roots(v6, addr.hi, length, facts);
                continue;
            }
            let parent = parents.get(&addr.hi).copied().filter(|_| v6).unwrap_or(0);
            let stored = if length > 64 {
                deep.insert(length);
                let tag = tag(true, length, parent);
                Stored { key: addr.lo, value: u64::from(tag) << 32 | u64::from(facts.0) }
            } else {
                lengths.entry((line, word)).or_default().insert(length);
                let own = if length == 64 { parent } else { 0 };
                let tag = tag(v6, length, own);
                Stored { key: addr.hi, value: u64::from(tag) << 32 | u64::from(facts.0) }
            };
            if !self.store(stored, seeds, bucket_mask) {
                return Err(too_many);
            }
        }
        for ((line, word), lengths) in lengths {
            self.set(line, word, codes(&lengths, 65));
        }
        self.set(HEADER, header::DEEP_LENGTHS, codes(&deep, 129));
        Ok(())
    }

    /// Facts of all root entries that a prefix of up to 16 bits covers.
    fn roots(&mut self, v6: bool, hi: u64, length: u32, facts: Facts) {
        let first = hi >> 48;
        for index in first..first + (1 << (16 - length)) {
            let (line, word) = root_place(v6, index << 48);
            self.set(line, word + 1, u64::from(facts.0));
        }
    }

    /// Puts an entry into one of its two lines, moving others to their second where both are full.
    fn store(&mut self, mut entry: Stored, seeds: &Seeds, bucket_mask: u32) -> bool {
        const MOVES: u32 = 500;
        let mut avoid = None;
        for step in 0..MOVES {
            let hash = entry.hash(seeds);
            let choices =
                [hash.first(bucket_mask), hash.second(bucket_mask)].map(|line| BUCKETS + line);
            let [first, second] = choices.map(|line| self.used(line));
            let [emptier, fuller] =
                if first <= second { choices } else { [choices[1], choices[0]] };
            if first.min(second) < ENTRIES {
                let used = self.used(emptier);
                self.put(emptier, used, entry);
                return true;
            }
            let line = if avoid == Some(emptier) { fuller } else { emptier };
            let victim = step % ENTRIES;
            let moved =
                Stored { key: self.get(line, victim * 2), value: self.get(line, victim * 2 + 1) };
            self.put(line, victim, entry);
            avoid = Some(line);
            entry = moved;
        }
        false
    }

    fn get(&self, line: u32, word: u32) -> u64 {
        self.lines.get(line as usize).and_then(|line| line.get(word as usize)).copied().unwrap_or(0)
    }

    fn used(&self, line: u32) -> u32 {
        (0..ENTRIES).take_while(|entry| self.get(line, entry * 2 + 1) != 0).count() as u32
    }

    fn put(&mut self, line: u32, entry: u32, stored: Stored) {
        self.set(line, entry * 2, stored.key);
        self.set(line, entry * 2 + 1, stored.value);
    }
}

/// An entry as it lies in a line.
#[derive(Clone, Copy)]
struct Stored {
    key: u64,
    value: u64,
}

impl Stored {
    /// The hash by which the kernel looks for it.
    fn hash(self, seeds: &Seeds) -> Hash {
        let tag = (self.value >> 32) as u32;
        let v6 = tag >> 30 & 1 != 0;
        match tag >> PARENT_BITS & 0xff {
            length @ 0..=64 if v6 => seeds.hash_64(self.key, length),
            length @ 0..=64 => seeds.hash_v4(self.key, length),
            _ => seeds.hash_64(self.key, tag),
        }
    }
}

/// Lengths as 6-bit codes, longest first.
fn codes(lengths: &BTreeSet<u32>, above: u32) -> u64 {
    lengths.iter().fold(0, |codes, length| codes << 6 | u64::from(above - length))
}

fn mode(mode: RuleMode) -> Mode {
    match mode {
        RuleMode::Off => Mode::Off,
        RuleMode::Observe => Mode::Observe,
        RuleMode::Enforce => Mode::Enforce,
    }
}

fn rate(limit: Option<Limit>) -> Rate {
    limit.map_or(Rate::UNLIMITED, |Limit { rate, burst }| Rate::per_second(rate, burst))
}

/// One prefix and what is known below it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Entry {
    v6: bool,
    addr: Addr,
    length: u32,
    facts: Facts,
}

impl Entry {
    fn new(prefix: &IpNet, facts: u32) -> Self {
        let facts = Facts(facts);
        match prefix.network() {
            IpAddr::V4(addr) => Self {
                v6: false,
                addr: Addr::v4(addr.into()),
                length: u32::from(prefix.prefix_len()),
                facts,
            },
            IpAddr::V6(addr) => Self {
                v6: true,
                addr: Addr::v6(addr.into()),
                length: u32::from(prefix.prefix_len()),
                facts,
            },
        }
    }

    fn place(&self) -> (bool, Addr, u32) {
        (self.v6, self.addr, self.length)
    }

    fn covers(&self, other: &Self) -> bool {
        let Self { v6, addr, length, .. } = *self;
        let same = |bits: u64, others: u64, length: u32| {
            length == 0 || mask(bits, length) == mask(others, length)
        };
        v6 == other.v6
            && length <= other.length
            && same(addr.hi, other.addr.hi, length.min(64))
            && (length <= 64 || same(addr.lo, other.addr.lo, length - 64))
    }
}

/// Zones: who is in one is no bogon.
const ZONES: u32 = Facts::PROTECTED
    | Facts::ALLOWED
    | Facts::CUSTOMER
    | Facts::NAS
    | Facts::OWN
    | Facts::NEIGHBOUR;

fn merge(outer: Facts, inner: Facts) -> Facts {
    const FEED: u32 = 0xff << Facts::FEED_SHIFT;
    let feed = if inner.feed() != 0 { inner.0 & FEED } else { outer.0 & FEED };
    let mut bits = (outer.0 | inner.0) & !FEED;
    if bits & ZONES != 0 {
        bits &= !Facts::BOGON;
    }
    Facts(bits | feed)
}

/// Every prefix of every list, each with all that is known below it.
struct Flat {
    /// In order of family, address and length.
    entries: Vec<Entry>,
}

impl Flat {
    fn of(config: &EdgeConfig, lists: &Lists) -> Self {
        let mut entries = Vec::new();
        let mut add = |prefixes: &[IpNet], facts: u32| {
            entries.extend(prefixes.iter().map(|prefix| Entry::new(prefix, facts)));
        };
        add(&lists.protected, Facts::PROTECTED);
        add(&lists.allowed, Facts::ALLOWED);
        add(&lists.own, Facts::OWN);
        add(&lists.neighbours, Facts::NEIGHBOUR);
        add(&config.customers, Facts::CUSTOMER);
        add(&config.nas, Facts::NAS);
        add(&config.mail_servers, Facts::MAIL_SERVER);
        add(&config.block, Facts::BLOCKED);
        add(&bogons(), Facts::BOGON);
        for ((feed, prefixes), number) in config.feeds.iter().zip(&lists.feeds).zip(1u32..) {
            if feed.mode != RuleMode::Off {
                add(prefixes, number << Facts::FEED_SHIFT);
            }
        }
        Self::flatten(entries)
    }

    fn flatten(mut entries: Vec<Entry>) -> Self {
        // Longer IPv6 prefixes hang below one of 64 bits.
        let parents: Vec<Entry> = entries
            .iter()
            .filter(|entry| entry.length > 64)
            .map(|entry| Entry {
                addr: Addr { hi: entry.addr.hi, lo: 0 },
                length: 64,
                facts: Facts::default(),
                ..*entry
            })
            .collect();
        entries.extend(parents);
        entries.sort_unstable_by_key(Entry::place);
        entries.dedup_by(|next, kept| {
            let same = next.place() == kept.place();
            if same {
                kept.facts = merge(next.facts, kept.facts);
            }
            same
        });
        let mut around: Vec<Entry> = Vec::new();
        for entry in &mut entries {
            while around.last().is_some_and(|outer| !outer.covers(entry)) {
                around.pop();
            }
            if let Some(outer) = around.last() {
                entry.facts = merge(outer.facts, entry.facts);
            } else {
                entry.facts = merge(Facts::default(), entry.facts);
            }
            around.push(*entry);
        }
        Self { entries }
    }

    /// Numbers of the prefixes of 64 bits below which longer ones hang.
    fn parents(&self) -> BTreeMap<u64, u32> {
        let deep: BTreeSet<u64> = self
            .entries
            .iter()
            .filter(|entry| entry.length > 64)
            .map(|entry| entry.addr.hi)
            .collect();
        deep.into_iter().zip(1..).collect()
    }

    /// Makes longer prefixes of some where more lengths are in use below a root entry than its list holds.
    fn fit_lengths(&mut self) {
        let (deep, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.entries).into_iter().partition(|entry| entry.length > 64);
        let root = |entry: &Entry| (entry.v6, entry.addr.hi >> 48, entry.length > 16);
        for group in rest.chunk_by(|a, b| root(a) == root(b)) {
            if group.first().is_some_and(|entry| entry.length > 16) {
                self.entries.extend(fit(group.to_vec()));
            } else {
                self.entries.extend_from_slice(group);
            }
        }
        self.entries.extend(fit(deep));
        self.entries.sort_unstable_by_key(Entry::place);
    }
}

/// Promotes prefixes until no more than [`MAX_LENGTHS`] lengths are left, and none of 65 bits, for which there
/// is no code.
fn fit(mut entries: Vec<Entry>) -> Vec<Entry> {
    let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
    for entry in &entries {
        *counts.entry(entry.length).or_default() += 1;
    }
    while let Some((from, to)) = promotion(&counts) {
        let taken: HashSet<Addr> =
            entries.iter().filter(|entry| entry.length == to).map(|entry| entry.addr).collect();
        let (promoted, mut kept): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.length == from);
        kept.extend(
            promoted
                .iter()
                .flat_map(|entry| split(entry, to))
                // What is known of the longer prefix already includes what the shorter one says.
                .filter(|part| !taken.contains(&part.addr)),
        );
        counts.remove(&from);
        let count = kept.iter().filter(|entry| entry.length == to).count();
        counts.insert(to, count as u32);
        entries = kept;
    }
    entries
}

/// The length to give up, and the one that its prefixes take on: whose become the fewest.
fn promotion(counts: &BTreeMap<u32, u32>) -> Option<(u32, u32)> {
    if counts.contains_key(&65) {
        return Some((65, 66));
    }
    if counts.len() <= MAX_LENGTHS as usize {
        return None;
    }
    counts
        .iter()
        .zip(counts.keys().skip(1))
        .min_by_key(|((from, count), to)| u64::from(**count) << (**to - **from).min(40))
        .map(|((from, _), to)| (*from, *to))
}

/// The parts of a prefix that have `length` bits.
fn split(entry: &Entry, length: u32) -> impl Iterator<Item = Entry> + use<> {
    let entry = *entry;
    (0..1u64 << (length - entry.length)).map(move |part| {
        let mut addr = entry.addr;
        if length > 64 {
            addr.lo |= part << (128 - length);
        } else {
            addr.hi |= part << (64 - length);
        }
        Entry { addr, length, ..entry }
    })
}

/// Prefixes that are not routed on the Internet (RFC 6890 and the registries that it began). Sources that can't
/// exist on any wire are the kernel side's to know.
pub fn bogons() -> Vec<IpNet> {
    const BOGONS: &[&str] = &[
        "10.0.0.0/8",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "100::/64",
        "2001:2::/48",
        "2001:db8::/32",
        "3fff::/20",
        "fc00::/7",
    ];
    BOGONS.iter().filter_map(|prefix| prefix.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use muralla_abi::prefix::lookup;
    use muralla_abi::table::HostLines;
    use proptest::prelude::*;

    use super::*;

    const SEEDS: Seeds = Seeds::TEST;

    fn image(entries: Vec<Entry>, max_prefixes: u32) -> Result<Image, CompileError> {
        let lines = image_lines(max_prefixes);
        let mut image = Image { lines: vec![[0; 8]; lines as usize], prefixes: 0 };
        let mask = lines - BUCKETS - 1;
        image.set(HEADER, header::BUCKET_MASK, u64::from(mask));
        image.prefixes(Flat::flatten(entries), &SEEDS, mask)?;
        Ok(image)
    }

    fn atoms(image: &Image) -> Vec<[AtomicU64; 8]> {
        image.lines.iter().map(|line| line.map(AtomicU64::new)).collect()
    }

    /// What the longest match and all around it say, asked of the plain list.
    fn expected(entries: &[Entry], addr: Addr, v6: bool) -> Facts {
        let host = Entry { v6, addr, length: if v6 { 128 } else { 32 }, facts: Facts(0) };
        let mut around: Vec<&Entry> = entries.iter().filter(|entry| entry.covers(&host)).collect();
        around.sort_by_key(|entry| entry.length);
        around.iter().fold(Facts(0), |outer, entry| merge(outer, entry.facts))
    }

    fn prefix() -> impl Strategy<Value = (Entry, Addr)> {
        let v4 = (0u32..4, any::<u32>(), 0u32..=32).prop_map(|(few, bits, length)| {
            let addr = 0x0a00_0000 | few << 16 | bits & 0xffff;
            let masked = if length == 0 { 0 } else { addr & u32::MAX << (32 - length) };
            (false, Addr::v4(masked), length, Addr::v4(addr))
        });
        let v6 = (0u128..4, any::<u128>(), 0u32..=128).prop_map(|(few, bits, length)| {
            let addr =
                0x2001_0db8 << 96 | few << 64 | bits & 0xffff_ffff | (bits >> 96 & 0xff) << 70;
            let masked = if length == 0 { 0 } else { addr & u128::MAX << (128 - length) };
            (true, Addr::v6(masked), length, Addr::v6(addr))
        });
        (prop_oneof![v4, v6], 0u32..12).prop_map(|((v6, addr, length, host), bit)| {
            let facts = if bit < 8 { 1 << bit } else { (bit - 7) << Facts::FEED_SHIFT };
            (Entry { v6, addr, length, facts: Facts(facts) }, host)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// The kernel's look-up in the image says what a plain search through the lists says.
        #[test]
        fn look_ups_agree_with_the_lists(prefixes in proptest::collection::vec(prefix(), 1..120)) {
            let mut entries: Vec<Entry> = prefixes.iter().map(|(entry, _)| *entry).collect();
            // A prefix in two feeds belongs to the one that was compiled first: leave one of each.
            entries.sort_unstable_by_key(Entry::place);
            entries.dedup_by_key(|entry| entry.place());
            let image = image(entries.clone(), 1 << 18).expect("fits");
            let lines = atoms(&image);
            for (entry, host) in prefixes {
                for addr in [entry.addr, host] {
                    let found = lookup(&HostLines(&lines), &SEEDS, addr, entry.v6);
                    prop_assert_eq!(found, expected(&entries, addr, entry.v6), "{:x?}", addr);
                }
            }
        }
    }

    #[test]
    fn a_full_table_is_refused_with_advice() {
        let entries = (0..2_000u32)
            .map(|host| Entry {
                v6: false,
                addr: Addr::v4(0x0a00_0000 + host),
                length: 32,
                facts: Facts(Facts::BLOCKED),
            })
            .collect();
        let error = image(entries, 100).expect_err("2000 prefixes in a table for 100");
        assert!(error.to_string().contains("raise edge.limits.max_prefixes to 2500"), "{error}");
    }

    #[test]
    fn zones_are_no_bogons() {
        let entries = vec![
            Entry::new(&"10.0.0.0/8".parse().unwrap(), Facts::BOGON),
            Entry::new(&"10.1.0.0/16".parse().unwrap(), Facts::CUSTOMER),
            Entry::new(&"10.1.2.0/24".parse().unwrap(), 3 << Facts::FEED_SHIFT),
        ];
        let image = image(entries, 100).unwrap();
        let lines = atoms(&image);
        let ask = |addr: u32| lookup(&HostLines(&lines), &SEEDS, Addr::v4(addr), false).0;
        assert_eq!(ask(0x0a02_0304), Facts::BOGON);
        assert_eq!(ask(0x0a01_0304), Facts::CUSTOMER);
        assert_eq!(ask(0x0a01_0204), Facts::CUSTOMER | 3 << Facts::FEED_SHIFT);
    }
}
