//! A part of the sessions: a slab, an index over identities, and lists through the slab.

use hashbrown::HashTable;

use super::forgotten::Forgotten;
use crate::session::{NONE, Session};
use crate::view::State;

/// Sessions that are allocated at once.
pub(crate) const CHUNK: usize = 128;

#[derive(Debug, Default)]
pub(crate) struct Shard {
    chunks: Vec<Box<[Slot]>>,
    /// The first slot that is free.
    free: u32,
    /// For each identity the newest session that has it.
    newest: HashTable<u32>,
    /// For each box its first open session.
    places: HashTable<First>,
    /// Closed sessions, those first that were closed first. Lost ones are kept longer.
    closed: Queue,
    lost: Queue,
    open: usize,
    held: usize,
    text_bytes: usize,
    /// The names of those that are not here any more.
    pub(super) forgotten: Forgotten,
}

#[derive(Debug)]
enum Slot {
    /// With the next free one.
    Free(u32),
    Full(Session),
}

/// A chunk of slots is a chunk of sessions: being free costs nothing.
const _: () = assert!(size_of::<Slot>() == size_of::<Session>());

#[derive(Clone, Copy, Debug)]
struct First {
    place: u32,
    slot: u32,
}

#[derive(Clone, Copy, Debug)]
struct Queue {
    first: u32,
    last: u32,
}

impl Default for Queue {
    fn default() -> Self {
        Self { first: NONE, last: NONE }
    }
}

/// Spreads 32 bits over 64, for tables that go by the highest and the lowest.
fn spread(tag: u32) -> u64 {
    u64::from(tag).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Shard {
    pub(crate) fn new() -> Self {
        Self { free: NONE, ..Self::default() }
    }

    pub(crate) fn open(&self) -> usize {
        self.open
    }

    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Bytes of all its allocations, without what the allocator adds.
    pub(crate) fn bytes(&self) -> usize {
        self.chunks.capacity() * size_of::<Box<[Slot]>>()
            + self.chunks.len() * CHUNK * size_of::<Slot>()
            + self.newest.allocation_size()
            + self.places.allocation_size()
            + self.text_bytes
            + self.forgotten.bytes()
    }

    /// Removes a session, and keeps its name for a while.
    pub(crate) fn forget(&mut self, slot: u32, now: i64) -> Option<Session> {
        let session = self.remove(slot)?;
        if !session.is_claim() {
            self.forgotten.add(&session, now);
        }
        Some(session)
    }

    pub(crate) fn session(&self, slot: u32) -> Option<&Session> {
        match self.chunks.get(slot as usize / CHUNK)?.get(slot as usize % CHUNK)? {
            Slot::Full(session) => Some(session),
            Slot::Free(_) => None,
        }
    }

    pub(crate) fn session_mut(&mut self, slot: u32) -> Option<&mut Session> {
        match self.slot_mut(slot)? {
            Slot::Full(session) => Some(session),
            Slot::Free(_) => None,
        }
    }

    /// The sessions of one chunk; none if there is no such chunk.
    pub(crate) fn chunk(&self, chunk: usize) -> Option<impl Iterator<Item = (u32, &Session)>> {
        let slots = self.chunks.get(chunk)?.iter().enumerate();
        Some(slots.filter_map(move |(at, slot)| match slot {
            Slot::Full(session) => Some(((chunk * CHUNK + at) as u32, session)),
            Slot::Free(_) => None,
        }))
    }

    /// The newest session with an identity.
    pub(crate) fn newest(&self, tag: u32, is: impl Fn(&Session) -> bool) -> Option<u32> {
        let found = self.newest.find(spread(tag), |&slot| {
            self.session(slot).is_some_and(|session| session.tag == tag && is(session))
        });
        found.copied()
    }

    /// A session, and those that had its identity before it.
    pub(crate) fn chain(&self, newest: u32) -> impl Iterator<Item = (u32, &Session)> + Clone {
        let first = self.session(newest).map(|session| (newest, session));
        std::iter::successors(first, |(_, session)| {
            Some((session.older, self.session(session.older)?))
        })
    }

    /// The open sessions of a box, copied so that they can be closed on the way.
    pub(crate) fn of_place(&self, place: u32) -> Vec<u32> {
        let mut slots = Vec::new();
        let mut at = self.first_of(place);
        while let Some(session) = self.session(at) {
            slots.push(at);
            at = session.next;
        }
        slots
    }

    /// The closed session that was closed first.
    pub(crate) fn oldest_closed(&self, lost: bool) -> Option<u32> {
        let queue = if lost { self.lost } else { self.closed };
        Some(queue.first).filter(|&first| first != NONE)
    }

    /// Puts a session in, before the first of `newest`'s chain that began earlier than it did. It
    /// is in no list yet: see [`Self::list`].
    pub(crate) fn insert(&mut self, newest: Option<u32>, mut session: Session) -> u32 {
        if self.free == NONE {
            self.add_chunk();
        }
        let (tag, start) = (session.tag, session.start);
        self.text_bytes += text_bytes(&session);
        let newer = newest.and_then(|newest| {
            let newer = self.chain(newest).take_while(|(_, session)| session.start > start);
            newer.last().map(|(slot, _)| slot)
        });
        session.older = match newer.and_then(|newer| self.session(newer)) {
            Some(newer) => newer.older,
            None => newest.unwrap_or(NONE),
        };
        let slot = self.free;
        if let Some(free) = self.slot_mut(slot)
            && let Slot::Free(next) = std::mem::replace(free, Slot::Full(session))
        {
            self.free = next;
        }
        self.held += 1;
        match (newer.and_then(|newer| self.session_mut(newer)), newest) {
            (Some(newer), _) => newer.older = slot,
            (None, Some(newest)) => self.replace_newest(tag, newest, Some(slot)),
            (None, None) => {
                let chunks = &self.chunks;
                self.newest.insert_unique(spread(tag), slot, |&slot| {
                    tag_of(chunks, slot).map_or(0, spread)
                });
            }
        }
        slot
    }

    /// Takes a session out of everything.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<Session> {
        self.unlist(slot, self.session(slot)?.state);
        let session = self.session(slot)?;
        let (tag, older) = (session.tag, session.older);
        self.text_bytes -= text_bytes(session);
        let newest = self
            .newest
            .iter_hash(spread(tag))
            .copied()
            .find(|&newest| self.chain(newest).any(|(at, _)| at == slot));
        let newest = newest?;
        if newest == slot {
            self.replace_newest(tag, slot, Some(older).filter(|&older| older != NONE));
        } else {
            let newer = self.chain(newest).find(|(_, session)| session.older == slot);
            let newer = newer.map(|(newer, _)| newer)?;
            self.session_mut(newer)?.older = older;
        }
        let free = Slot::Free(self.free);
        let Slot::Full(session) = std::mem::replace(self.slot_mut(slot)?, free) else {
            return None;
        };
        self.free = slot;
        self.held -= 1;
        Some(session)
    }

    /// Changes a session's texts.
    pub(crate) fn set_text(&mut self, slot: u32, text: crate::text::Text) {
        if let Some(session) = self.session_mut(slot) {
            let before = std::mem::replace(&mut session.text, text).bytes().len();
            let after = session.text.bytes().len();
            self.text_bytes = self.text_bytes + after - before;
        }
    }

    /// Notes how many bytes a session's trail took, and takes.
    pub(crate) fn trail_changed(&mut self, before: usize, after: usize) {
        self.text_bytes = self.text_bytes + after - before;
    }

    /// Puts a session into the list of its state.
    pub(crate) fn list(&mut self, slot: u32) {
        let Some(session) = self.session(slot) else { return };
        let (state, place) = (session.state, session.place);
        match state {
            State::Open => {
                let next = self.first_of(place);
                self.link(NONE, slot);
                self.link(slot, next);
                self.set_first(place, slot);
                self.open += 1;
            }
            state => {
                let last = self.queue(state).last;
                self.link(last, slot);
                self.link(slot, NONE);
                let queue = self.queue(state);
                queue.last = slot;
                if last == NONE {
                    queue.first = slot;
                }
            }
        }
    }

    /// Takes a session out of the list of the state that it had when it was put in.
    pub(crate) fn unlist(&mut self, slot: u32, state: State) {
        let Some(session) = self.session(slot) else { return };
        let (place, previous, next) = (session.place, session.previous, session.next);
        self.link(previous, next);
        match state {
            State::Open => {
                if self.first_of(place) == slot {
                    self.set_first(place, next);
                }
                self.open -= 1;
            }
            state => {
                let queue = self.queue(state);
                if queue.first == slot {
                    queue.first = next;
                }
                if queue.last == slot {
                    queue.last = previous;
                }
            }
        }
    }

    fn link(&mut self, previous: u32, next: u32) {
        if let Some(session) = self.session_mut(previous) {
            session.next = next;
        }
        if let Some(session) = self.session_mut(next) {
            session.previous = previous;
        }
    }

    fn queue(&mut self, state: State) -> &mut Queue {
        if state == State::Lost { &mut self.lost } else { &mut self.closed }
    }

    fn first_of(&self, place: u32) -> u32 {
        let first = self.places.find(spread(place), |first| first.place == place);
        first.map_or(NONE, |first| first.slot)
    }

    fn set_first(&mut self, place: u32, slot: u32) {
        let hash = spread(place);
        match self.places.find_entry(hash, |first| first.place == place) {
            Ok(entry) if slot == NONE => {
                entry.remove();
            }
            Ok(mut entry) => entry.get_mut().slot = slot,
            Err(_) if slot == NONE => {}
            Err(_) => {
                self.places.insert_unique(hash, First { place, slot }, |first| spread(first.place));
            }
        }
    }

    fn replace_newest(&mut self, tag: u32, slot: u32, by: Option<u32>) {
        if let Ok(mut entry) = self.newest.find_entry(spread(tag), |&known| known == slot) {
            match by {
                Some(by) => *entry.get_mut() = by,
                None => {
                    entry.remove();
                }
            }
        }
    }

    fn slot_mut(&mut self, slot: u32) -> Option<&mut Slot> {
        self.chunks.get_mut(slot as usize / CHUNK)?.get_mut(slot as usize % CHUNK)
    }

    fn add_chunk(&mut self) {
        let first = (self.chunks.len() * CHUNK) as u32;
        let last = first + CHUNK as u32 - 1;
        let next = |at| if at == last { NONE } else { at + 1 };
        self.chunks.push((first..=last).map(|at| Slot::Free(next(at))).collect());
        self.free = first;
    }

    /// Whether all parts agree with each other.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn check(&self) {
        let mut chained = 0;
        for &newest in &self.newest {
            chained += self.chain(newest).count();
            let open = self.chain(newest).filter(|(_, session)| session.is_open()).count();
            assert!(open <= 1, "of one identity one session is open");
        }
        assert_eq!(chained, self.held, "every session has an identity");
        let (mut open, mut bytes) = (0, 0);
        for chunk in 0..self.chunks.len() {
            for (slot, session) in self.chunk(chunk).into_iter().flatten() {
                open += usize::from(session.is_open());
                bytes += text_bytes(session);
                for (neighbour, back) in [(session.next, true), (session.previous, false)] {
                    if neighbour != NONE {
                        let neighbour = self.session(neighbour).map(|neighbour| {
                            assert_eq!(neighbour.is_open(), session.is_open());
                            if back { neighbour.previous } else { neighbour.next }
                        });
                        assert_eq!(neighbour, Some(slot));
                    }
                }
            }
        }
        assert_eq!((open, bytes), (self.open, self.text_bytes));
        let listed: usize = self.places.iter().map(|first| self.of_place(first.place).len()).sum();
        assert_eq!(listed, self.open);
    }
}

/// Bytes that a session takes beside its slot.
fn text_bytes(session: &Session) -> usize {
    session.text.bytes().len() + session.trail_bytes()
}

fn tag_of(chunks: &[Box<[Slot]>], slot: u32) -> Option<u32> {
    match chunks.get(slot as usize / CHUNK)?.get(slot as usize % CHUNK)? {
        Slot::Full(session) => Some(session.tag),
        Slot::Free(_) => None,
    }
}
