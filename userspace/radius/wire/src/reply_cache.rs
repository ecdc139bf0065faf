//! What was answered in the last seconds: a NAS that asks again gets the same reply again (RFC 5080 section 2.2.2).
//!
//! Everything is allocated at the beginning: a table of requests, in chains by hash and in a queue by age, and a ring
//! of bytes in which replies are written one after the other. The ring laps the oldest replies; whether that happened
//! to one is seen from its position, so nothing has to be tidied up.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::code::Code;
use crate::packet::{LONGEST, Packet};

/// Seconds that a reply may be kept (RFC 5080 section 2.2.2 speaks of 5 to 30).
const LIFE: std::ops::RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(30);

/// Bytes that a cache has at least.
const SMALLEST: usize = 256 * 1024;

/// Bytes of a reply, by which the bytes of a cache are shared out between requests and replies. Those with more have
/// longer ones lapped earlier.
const TYPICAL_REPLY: usize = 192;

/// Requests that are let go of at once, so that no caller waits for a whole flood to expire.
const EXPIRED_AT_ONCE: usize = 8;

/// No entry.
const NONE: u32 = u32::MAX;

/// What tells one request from another (RFC 5080 section 2.2.2). Retransmissions are equal in all of it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Identity {
    /// Address and port that it came from.
    pub source: SocketAddr,
    /// What it is.
    pub code: Code,
    /// Its identifier.
    pub id: u8,
    /// Its authenticator.
    pub authenticator: [u8; 16],
}

impl Identity {
    /// The identity of a packet.
    pub fn of(packet: &Packet<'_>, source: SocketAddr) -> Self {
        let authenticator = *packet.authenticator();
        Self { source, code: packet.code(), id: packet.id(), authenticator }
    }

    /// What no two requests can have at the same time.
    fn key(&self) -> (SocketAddr, Code, u8) {
        (self.source, self.code, self.id)
    }
}

/// What is known of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Seen<'a> {
    /// It has to be worked on. It counts as under way now.
    New,
    /// Somebody works on it: silence is right.
    UnderWay,
    /// This is what was answered: send it again.
    Answered(&'a [u8]),
}

/// The requests of the last seconds that came through one socket, bounded in bytes. To be asked about packets whose
/// sender is [verified](crate::verify_request): a forgery must not take the place of a request.
///
/// The time that is handed in must not go backwards; where it does, nothing expires.
pub struct ReplyCache {
    life: Duration,
    hasher: RandomState,
    /// The first entry of each chain. Their number is a power of two.
    chains: Box<[u32]>,
    /// Never grows beyond what was allocated at the beginning.
    entries: Vec<Entry>,
    most: usize,
    /// The first of the free ones, in a chain.
    free: u32,
    oldest: u32,
    newest: u32,
    /// Requests that it knows.
    known: usize,
    ring: Box<[u8]>,
    /// Bytes written to the ring since the beginning, gaps included.
    written: u64,
    lost: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    identity: Identity,
    since: Instant,
    reply: Option<Reply>,
    chain: u32,
    /// The next one in the chain, or of the free ones.
    next: u32,
    older: u32,
    newer: u32,
}

/// A place in the ring.
#[derive(Clone, Copy)]
struct Reply {
    /// [`ReplyCache::written`] before it was.
    at: u64,
    length: NonZero<u16>,
}

impl ReplyCache {
    /// A cache that takes about `bytes` (at least 256 KiB) and remembers a reply for `life`, between 2 and 30 seconds.
    pub fn new(bytes: usize, life: Duration) -> Self {
        let bytes = bytes.max(SMALLEST);
        let head = size_of::<u32>();
        let most = bytes / (size_of::<Entry>() + 2 * head + TYPICAL_REPLY);
        let most = most.min(NONE as usize / 2);
        let chains = most.next_power_of_two();
        let ring = bytes.saturating_sub(most * size_of::<Entry>() + chains * head).max(2 * LONGEST);
        Self {
            life: life.clamp(*LIFE.start(), *LIFE.end()),
            hasher: RandomState::new(),
            chains: vec![NONE; chains].into_boxed_slice(),
            entries: Vec::with_capacity(most),
            most,
            free: NONE,
            oldest: NONE,
            newest: NONE,
            known: 0,
            ring: vec![0; ring].into_boxed_slice(),
            written: 0,
            lost: 0,
        }
    }

    /// Looks a request up, and remembers it as under way if it is new. One with the same source, code and identifier
    /// but another authenticator is new, and takes the place of the old one.
    pub fn begin(&mut self, identity: Identity, now: Instant) -> Seen<'_> {
        self.expire(now);
        let chain = self.chain(&identity);
        let Some((slot, entry)) = self.find(chain, &identity) else {
            self.insert(chain, identity, now);
            return Seen::New;
        };
        let same = entry.identity == identity && self.is_fresh(&entry, now);
        let place = match entry.reply {
            None if same => return Seen::UnderWay,
            Some(reply) if same => self.place(reply),
            _ => None,
        };
        let Some(place) = place else {
            self.lost += u64::from(same);
            self.renew(slot, identity, None, now);
            return Seen::New;
        };
        Seen::Answered(self.ring.get(place).unwrap_or_default())
    }

    /// Remembers what was answered. Does nothing if the NAS has asked something else with the same identifier since.
    pub fn answered(&mut self, identity: Identity, reply: &[u8], now: Instant) {
        self.answered_with(identity, &[], reply, now);
    }

    /// The same with something before the reply, which is found before it: what the caller wants to know of it.
    pub fn answered_with(&mut self, identity: Identity, head: &[u8], reply: &[u8], now: Instant) {
        let chain = self.chain(&identity);
        let slot = match self.find(chain, &identity) {
            Some((_, entry)) if entry.identity != identity && self.is_fresh(&entry, now) => return,
            Some((slot, _)) => slot,
            None => self.insert(chain, identity, now),
        };
        match self.write(head, reply) {
            Some(reply) => self.renew(slot, identity, Some(reply), now),
            None => self.forget(identity),
        }
    }

    /// Forgets a request that will not be answered, so that the next transmission of it is new.
    pub fn forget(&mut self, identity: Identity) {
        if let Some((slot, entry)) = self.find(self.chain(&identity), &identity)
            && entry.identity == identity
        {
            self.remove(slot, &entry);
        }
    }

    /// Requests that it knows, expired ones included that were not let go of yet.
    pub fn len(&self) -> usize {
        self.known
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.known == 0
    }

    /// Requests that it forgot before their time because it is too small, as far as it noticed.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
            + self.chains.len() * size_of::<u32>()
            + self.ring.len()
    }

    /// Lets go of some of those whose time is over.
    fn expire(&mut self, now: Instant) {
        for _ in 0..EXPIRED_AT_ONCE {
            match self.entry(self.oldest) {
                Some(entry) if !self.is_fresh(&entry, now) => self.remove(self.oldest, &entry),
                _ => return,
            }
        }
    }

    fn is_fresh(&self, entry: &Entry, now: Instant) -> bool {
        now.saturating_duration_since(entry.since) < self.life
    }

    fn entry(&self, slot: u32) -> Option<Entry> {
        self.entries.get(slot as usize).copied()
    }

    fn change(&mut self, slot: u32, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries.get_mut(slot as usize) {
            change(entry);
        }
    }

    /// The chain for this source, code and identifier.
    fn chain(&self, identity: &Identity) -> u32 {
        let address = match identity.source.ip() {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        let [high, low] = identity.source.port().to_be_bytes();
        let rest = u32::from_be_bytes([high, low, identity.code.0, identity.id]);
        // Their number is a power of two, and fits.
        (self.hasher.hash_one((address, rest)) & (self.chains.len() as u64 - 1)) as u32
    }

    /// The entry with this source, code and identifier.
    fn find(&self, chain: u32, identity: &Identity) -> Option<(u32, Entry)> {
        let mut slot = *self.chains.get(chain as usize)?;
        while let Some(entry) = self.entries.get(slot as usize) {
            if entry.identity.key() == identity.key() {
                return Some((slot, *entry));
            }
            slot = entry.next;
        }
        None
    }

    /// Takes a free entry, or the oldest.
    fn insert(&mut self, chain: u32, identity: Identity, now: Instant) -> u32 {
        if self.free == NONE
            && self.entries.len() >= self.most
            && let Some(oldest) = self.entry(self.oldest)
        {
            self.lost += u64::from(self.is_fresh(&oldest, now));
            self.remove(self.oldest, &oldest);
        }
        let next = self.chains.get(chain as usize).copied().unwrap_or(NONE);
        let entry = Entry {
            identity,
            since: now,
            reply: None,
            chain,
            next,
            older: self.newest,
            newer: NONE,
        };
        let slot = match self.entry(self.free) {
            Some(free) => {
                let slot = std::mem::replace(&mut self.free, free.next);
                self.change(slot, |place| *place = entry);
                slot
            }
            None => {
                self.entries.push(entry);
                // Below `most`, which fits.
                (self.entries.len() - 1) as u32
            }
        };
        if let Some(first) = self.chains.get_mut(chain as usize) {
            *first = slot;
        }
        self.append(slot);
        self.known += 1;
        slot
    }

    fn remove(&mut self, slot: u32, entry: &Entry) {
        self.unqueue(entry);
        let chain = entry.chain as usize;
        let first = self.chains.get(chain).copied().unwrap_or(NONE);
        if first == slot {
            if let Some(first) = self.chains.get_mut(chain) {
                *first = entry.next;
            }
        } else {
            let mut before = first;
            while let Some(one) = self.entry(before) {
                if one.next == slot {
                    self.change(before, |one| one.next = entry.next);
                    break;
                }
                before = one.next;
            }
        }
        let free = std::mem::replace(&mut self.free, slot);
        self.change(slot, |place| place.next = free);
        self.known -= 1;
    }

    /// Makes an entry the newest.
    fn renew(&mut self, slot: u32, identity: Identity, reply: Option<Reply>, now: Instant) {
        let Some(entry) = self.entry(slot) else { return };
        self.unqueue(&entry);
        let older = self.newest;
        self.change(slot, |place| {
            *place = Entry { identity, since: now, reply, older, newer: NONE, ..entry };
        });
        self.append(slot);
    }

    /// Hangs an entry that knows who is older to the new end of the queue.
    fn append(&mut self, slot: u32) {
        match self.newest {
            NONE => self.oldest = slot,
            newest => self.change(newest, |entry| entry.newer = slot),
        }
        self.newest = slot;
    }

    fn unqueue(&mut self, entry: &Entry) {
        match entry.older {
            NONE => self.oldest = entry.newer,
            older => self.change(older, |older| older.newer = entry.newer),
        }
        match entry.newer {
            NONE => self.newest = entry.older,
            newer => self.change(newer, |newer| newer.older = entry.older),
        }
    }

    /// Writes a reply to the ring, in one piece.
    fn write(&mut self, head: &[u8], reply: &[u8]) -> Option<Reply> {
        let whole = head.len() + reply.len();
        let length = NonZero::new(u16::try_from(whole).ok()?)?;
        let size = self.ring.len() as u64;
        let left = size - self.written % size;
        let fits = whole as u64 <= left;
        let at = if fits { self.written } else { self.written + left };
        let start = (at % size) as usize;
        let (before, behind) =
            self.ring.get_mut(start..start + whole)?.split_at_mut_checked(head.len())?;
        before.copy_from_slice(head);
        behind.copy_from_slice(reply);
        self.written = at + whole as u64;
        Some(Reply { at, length })
    }

    /// Where a reply lies, if it was not lapped.
    fn place(&self, reply: Reply) -> Option<Range<usize>> {
        let size = self.ring.len() as u64;
        let start = (reply.at % size) as usize;
        let end = start + usize::from(reply.length.get());
        (self.written - reply.at <= size).then_some(start..end)
    }
}

impl fmt::Debug for ReplyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyCache")
            .field("known", &self.known)
            .field("lost", &self.lost)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
