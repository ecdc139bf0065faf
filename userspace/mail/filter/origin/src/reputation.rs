//! What is remembered of senders: how much good mail and how much spam came from an address, a network, an operator, a domain.
//!
//! Memory fades: after a half-life, half of it is left. A table has a fixed size; what says least makes room. Several boxes share
//! what they know through rows of a database: each adds what it saw ([`Reputation::take_changes`]), and reads what all of them saw
//! ([`Reputation::merge`]).
//!
//! Pure: no clock but the caller's, no randomness but a seed.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use muralla_mail_envelope::Domain;

use crate::authentication::Authentication;
use crate::connection::Connection;
use crate::finding::{Finding, Sign};
use crate::outcome::Outcome;

/// Of whom something is remembered.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Key {
    /// A computer: an IPv4 address, or the first 64 bits of one of IPv6, of which a computer has all.
    Address(IpAddr),
    /// Those around it: the first 24 bits of IPv4, or 48 of IPv6.
    Network(IpAddr),
    /// An operator, by the number of his network.
    Operator(u32),
    /// A domain that signs.
    Signer(String),
    /// A domain in envelopes whose SPF lets the client send.
    Sender(String),
    /// A host that links lead to.
    Host(String),
}

impl Key {
    /// The computer of an address.
    #[must_use]
    pub fn address(ip: IpAddr) -> Self {
        Self::Address(prefix(ip, 32, 64))
    }

    /// The network of an address.
    #[must_use]
    pub fn network(ip: IpAddr) -> Self {
        Self::Network(prefix(ip, 24, 48))
    }

    /// A letter for what it is, and its name: how rows of a database have it.
    #[must_use]
    pub fn row(&self) -> (char, String) {
        match self {
            Self::Address(ip) => ('a', ip.to_string()),
            Self::Network(ip) => ('n', ip.to_string()),
            Self::Operator(number) => ('o', number.to_string()),
            Self::Signer(domain) => ('d', domain.clone()),
            Self::Sender(domain) => ('s', domain.clone()),
            Self::Host(host) => ('h', host.clone()),
        }
    }

    /// The other way. Nothing if it is no row of ours.
    #[must_use]
    pub fn of_row(kind: char, name: &str) -> Option<Self> {
        match kind {
            'a' => name.parse().ok().map(Self::address),
            'n' => name.parse().ok().map(Self::network),
            'o' => name.parse().ok().map(Self::Operator),
            'd' => Domain::parse(name).ok().map(|name| Self::Signer(name.into())),
            's' => Domain::parse(name).ok().map(|name| Self::Sender(name.into())),
            'h' if !name.is_empty() && name.len() <= 255 => Some(Self::Host(name.to_owned())),
            _ => None,
        }
    }

    /// In seconds. Addresses change hands, domains hardly.
    const fn half_life(&self) -> i64 {
        const DAY: i64 = 86_400;
        match self {
            Self::Address(_) => 3 * DAY,
            Self::Network(_) | Self::Host(_) => 7 * DAY,
            Self::Operator(_) | Self::Signer(_) | Self::Sender(_) => 30 * DAY,
        }
    }
}

fn prefix(ip: IpAddr, v4: u32, v6: u32) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - v4).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask))
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - v6).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
        }
    }
}

/// What came from somebody.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Event {
    /// Mail that somebody wanted, or that went to an Inbox and stayed there.
    Good,
    /// Mail that was judged or reported as spam.
    Spam,
    /// A recipient that does not exist.
    UnknownRecipient,
    /// Mail to an address that only spam is sent to.
    Trap,
}

/// How much of each came, as far as it is remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Of [`Event::Good`].
    pub good: f64,
    /// Of [`Event::Spam`].
    pub spam: f64,
    /// Of [`Event::UnknownRecipient`].
    pub unknown: f64,
    /// Of [`Event::Trap`].
    pub traps: f64,
}

impl Counts {
    const fn slot(&mut self, event: Event) -> &mut f64 {
        match event {
            Event::Good => &mut self.good,
            Event::Spam => &mut self.spam,
            Event::UnknownRecipient => &mut self.unknown,
            Event::Trap => &mut self.traps,
        }
    }

    fn map(self, f: impl Fn(f64) -> f64) -> Self {
        let Self { good, spam, unknown, traps } = self;
        Self { good: f(good), spam: f(spam), unknown: f(unknown), traps: f(traps) }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            good: self.good + other.good,
            spam: self.spam + other.spam,
            unknown: self.unknown + other.unknown,
            traps: self.traps + other.traps,
        }
    }

    /// All of it.
    #[must_use]
    pub fn total(self) -> f64 {
        self.good + self.spam + self.unknown + self.traps
    }

    /// What speaks against him. An unknown recipient may be a typing error; a trap is none.
    #[must_use]
    pub fn bad(self) -> f64 {
        self.spam + self.unknown / 4.0 + self.traps * 3.0
    }

    /// How much of what came was bad, from 0 to 1; as if as many messages as `doubt` had come of which `usual` were bad, so that
    /// little says little.
    #[must_use]
    pub fn badness(self, usual: f64, doubt: f64) -> f64 {
        let all = self.good + self.bad() + doubt;
        if all > 0.0 { (self.bad() + usual * doubt) / all } else { usual }
    }

    /// What a database can hold is no number, or less than nothing, only if somebody broke it.
    fn sane(self) -> Self {
        self.map(|count| if count.is_finite() { count.clamp(0.0, 1e12) } else { 0.0 })
    }
}

/// A row for the database: what `key` did, worth what it says at `at`.
///
/// A database adds a change to what it has of that key after it has both at one time:
/// `counts * 2^((old.at - new.at) / half_life)`, where the half-life is [`Row::half_life`].
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Of whom.
    pub key: Key,
    /// When, in seconds since 1970.
    pub at: i64,
    /// How much.
    pub counts: Counts,
}

impl Row {
    /// In seconds.
    #[must_use]
    pub const fn half_life(&self) -> i64 {
        self.key.half_life()
    }

    /// What is left at a time.
    #[must_use]
    pub fn counts_at(&self, now: i64) -> Counts {
        faded(self.counts, self.at, now, self.half_life())
    }

    /// Both together, at the later time of the two: what a database does with a change.
    #[must_use]
    pub fn plus(&self, change: &Self) -> Self {
        let at = self.at.max(change.at);
        Self { key: self.key.clone(), at, counts: self.counts_at(at).plus(change.counts_at(at)) }
    }
}

/// Nothing fades backwards, whatever a clock says.
fn faded(counts: Counts, then: i64, now: i64, half_life: i64) -> Counts {
    let passed = now.saturating_sub(then).max(0);
    if passed == 0 {
        return counts;
    }
    // Seconds that matter are far below what f64 counts exactly.
    let halves = passed as f64 / half_life.max(1) as f64;
    let left = (-halves).exp2();
    counts.map(|count| count * left)
}

/// What is remembered, of no more than so many.
#[derive(Clone, Debug)]
pub struct Reputation {
    slots: Vec<Slot>,
    index: HashMap<Key, usize>,
    most: usize,
    random: u64,
    forgotten: u64,
}

#[derive(Clone, Debug)]
struct Slot {
    key: Key,
    at: i64,
    /// What all boxes saw, as far as it is known, with all that was given away.
    shared: Counts,
    /// What this box saw since.
    own: Counts,
}

impl Slot {
    fn fade(&mut self, now: i64) {
        let half_life = self.key.half_life();
        self.shared = faded(self.shared, self.at, now, half_life);
        self.own = faded(self.own, self.at, now, half_life);
        self.at = self.at.max(now);
    }

    fn counts_at(&self, now: i64) -> Counts {
        faded(self.shared.plus(self.own), self.at, now, self.key.half_life())
    }
}

/// How many are looked at for the one that says least.
const CANDIDATES: usize = 16;

/// What is less than this is nothing.
const TRACE: f64 = 0.01;

impl Reputation {
    /// An empty table of at most so many. `seed` decides who is looked at for making room.
    #[must_use]
    pub fn new(most: usize, seed: u64) -> Self {
        Self {
            slots: Vec::new(),
            index: HashMap::new(),
            most: most.max(1),
            // Xorshift stays at zero for ever.
            random: seed | 1,
            forgotten: 0,
        }
    }

    /// How many it knows.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether it knows nobody.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// How many had to make room.
    #[must_use]
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Remembers something.
    pub fn note(&mut self, key: &Key, event: Event, now: i64) {
        self.note_many(key, event, 1.0, now);
    }

    /// Remembers several of them, or a part of one.
    pub fn note_many(&mut self, key: &Key, event: Event, count: f64, now: i64) {
        if !count.is_finite() || count <= 0.0 {
            return;
        }
        if let Some(slot) = self.slot(key, now) {
            *slot.own.slot(event) += count;
        }
    }

    /// What is left of what it remembers of somebody.
    #[must_use]
    pub fn counts(&self, key: &Key, now: i64) -> Counts {
        let slot = self.index.get(key).and_then(|at| self.slots.get(*at));
        slot.map(|slot| slot.counts_at(now)).unwrap_or_default()
    }

    /// What this box saw since the last time, for the database to add. It is known to all from now on.
    #[must_use]
    pub fn take_changes(&mut self, now: i64) -> Vec<Row> {
        let mut rows = Vec::new();
        for slot in &mut self.slots {
            if slot.own == Counts::default() {
                continue;
            }
            slot.fade(now);
            let counts = std::mem::take(&mut slot.own);
            slot.shared = slot.shared.plus(counts);
            if counts.total() >= TRACE {
                rows.push(Row { key: slot.key.clone(), at: slot.at, counts });
            }
        }
        rows
    }

    /// Gives changes back that the database did not take.
    pub fn restore_changes(&mut self, rows: Vec<Row>, now: i64) {
        for row in rows {
            let counts = row.counts_at(now);
            if let Some(slot) = self.slot(&row.key, now) {
                slot.own = slot.own.plus(counts);
                let left = slot.shared;
                slot.shared = Counts {
                    good: (left.good - counts.good).max(0.0),
                    spam: (left.spam - counts.spam).max(0.0),
                    unknown: (left.unknown - counts.unknown).max(0.0),
                    traps: (left.traps - counts.traps).max(0.0),
                };
            }
        }
    }

    /// Learns what all boxes saw, as the database has it once our own changes are in it.
    pub fn merge(&mut self, rows: impl IntoIterator<Item = Row>, now: i64) {
        for row in rows {
            let row = Row { counts: row.counts.sane(), ..row };
            let counts = row.counts_at(now);
            if counts.total() < TRACE {
                continue;
            }
            if let Some(slot) = self.slot(&row.key, now) {
                slot.shared = counts;
            }
        }
    }

    /// Forgets those of whom nothing is left.
    pub fn sweep(&mut self, now: i64) {
        self.slots.retain(|slot| slot.counts_at(now).total() >= TRACE);
        self.index =
            self.slots.iter().enumerate().map(|(at, slot)| (slot.key.clone(), at)).collect();
    }

    /// His place, faded up to now; he takes that of another if there is none left.
    fn slot(&mut self, key: &Key, now: i64) -> Option<&mut Slot> {
        let at = match self.index.get(key) {
            Some(at) => *at,
            None => {
                let fresh = Slot {
                    key: key.clone(),
                    at: now,
                    shared: Counts::default(),
                    own: Counts::default(),
                };
                let at = if self.slots.len() < self.most {
                    self.slots.push(fresh);
                    self.slots.len() - 1
                } else {
                    let at = self.least(now)?;
                    let gone = std::mem::replace(self.slots.get_mut(at)?, fresh);
                    self.index.remove(&gone.key);
                    self.forgotten += 1;
                    at
                };
                self.index.insert(key.clone(), at);
                at
            }
        };
        let slot = self.slots.get_mut(at)?;
        slot.fade(now);
        Some(slot)
    }

    /// Of some taken at random, the one that says least: a flood of senders that are seen once displaces itself, and not those that
    /// are known.
    fn least(&mut self, now: i64) -> Option<usize> {
        let many = self.slots.len().max(1);
        let candidates: Vec<usize> = (0..CANDIDATES).map(|_| self.roll(many)).collect();
        let total = |at: &usize| {
            let slot = self.slots.get(*at);
            slot.map_or(f64::MAX, |slot| slot.counts_at(now).total())
        };
        candidates.into_iter().min_by(|one, other| total(one).total_cmp(&total(other)))
    }

    /// Marsaglia's xorshift: nobody gains by guessing it, as all candidates would have to be his own.
    fn roll(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from((self.random >> 11) % u64::try_from(below).unwrap_or(1).max(1)).unwrap_or(0)
    }
}

/// Those of whom something may be known, for a message: who brought it, who proved to have sent it, and where its links lead.
/// Whoever only claims something is not among them, so that nobody spoils or borrows the name of another.
#[must_use]
pub fn keys(
    connection: &Connection<'_>,
    authentication: &Authentication,
    hosts: &[&str],
) -> Vec<Key> {
    let mut keys = vec![Key::address(connection.ip), Key::network(connection.ip)];
    keys.extend(connection.asn.map(Key::Operator));
    keys.extend(authentication.signers().map(|domain| Key::Signer(domain.to_owned())));
    if authentication.spf.outcome == Outcome::Pass {
        keys.push(Key::Sender(authentication.spf.domain.clone()));
    }
    for host in hosts.iter().filter(|host| !host.is_empty() && host.len() <= 255) {
        let key = Key::Host(host.to_ascii_lowercase());
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

/// From what share of spam on somebody is bad, and how much must have come until that is said.
struct Bar {
    bad: f64,
    good: f64,
    doubt: f64,
}

/// How much of all mail is spam, where nothing is known.
const USUAL: f64 = 0.5;

impl Key {
    /// Networks, and even more operators, have all kinds of customers.
    const fn bar(&self) -> Bar {
        match self {
            Self::Address(_) => Bar { bad: 0.8, good: 0.1, doubt: 4.0 },
            Self::Network(_) => Bar { bad: 0.9, good: 0.0, doubt: 10.0 },
            Self::Operator(_) => Bar { bad: 0.95, good: 0.0, doubt: 50.0 },
            Self::Signer(_) | Self::Sender(_) => Bar { bad: 0.9, good: 0.05, doubt: 4.0 },
            Self::Host(_) => Bar { bad: 0.9, good: 0.0, doubt: 2.0 },
        }
    }

    const fn signs(&self) -> (Sign, Option<Sign>) {
        match self {
            Self::Address(_) => (Sign::BadAddress, Some(Sign::GoodAddress)),
            Self::Network(_) => (Sign::BadNetwork, None),
            Self::Operator(_) => (Sign::BadOperator, None),
            Self::Signer(_) => (Sign::BadSigner, Some(Sign::GoodSigner)),
            Self::Sender(_) => (Sign::BadSender, Some(Sign::GoodSender)),
            Self::Host(_) => (Sign::BadHost, None),
        }
    }
}

/// What is remembered of them that speaks for them or against them, each kind once: of several signers or hosts, the worst.
#[must_use]
pub fn judge(reputation: &Reputation, keys: &[Key], now: i64) -> Vec<Finding> {
    let mut found: Vec<(f64, Finding)> = Vec::new();
    let mut add = |badness: f64, sign: Sign, detail: String| match found
        .iter_mut()
        .find(|(_, known)| known.sign == sign)
    {
        Some(known) if known.0 >= badness => {}
        Some(known) => *known = (badness, Finding::new(sign, detail)),
        None => found.push((badness, Finding::new(sign, detail))),
    };
    for key in keys {
        let counts = reputation.counts(key, now);
        let (bar, (bad, good)) = (key.bar(), key.signs());
        let badness = counts.badness(USUAL, bar.doubt);
        let (_, name) = key.row();
        if badness >= bar.bad {
            add(badness, bad, name.clone());
        } else if badness <= bar.good
            && counts.traps < TRACE
            && let Some(good) = good
        {
            add(badness, good, name.clone());
        }
        if matches!(key, Key::Address(_)) && counts.traps >= 0.5 {
            add(badness, Sign::TrappedAddress, name);
        }
        if matches!(key, Key::Network(_)) && counts.total() < TRACE {
            add(badness, Sign::NewAddress, String::new());
        }
    }
    found.into_iter().map(|(_, finding)| finding).collect()
}

#[cfg(test)]
mod tests;
