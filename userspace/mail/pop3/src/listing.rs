//! What a maildrop holds: one snapshot for each session, sixteen octets a message.

use std::io::Write;

/// Longest unique id in octets: RFC 1939 section 7.
pub const LONGEST_UNIQUE_ID: usize = 70;

/// What a maildrop held when a session began. Its numbers stay as they are, whatever arrives or goes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Listing {
    validity: u64,
    messages: Vec<Message>,
    octets: u64,
    /// Unique ids that other servers gave, by position and in its order.
    names: Vec<(u32, Box<str>)>,
}

/// A message in a maildrop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Message {
    /// What the maildrop knows it by, for ever.
    pub uid: u64,
    /// Its octets, lines ended by CRLF.
    pub size: u64,
}

/// A unique id that can't be one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "a unique id has between one and {LONGEST_UNIQUE_ID} printable characters, and no space: RFC 1939 section 7"
)]
pub struct ListingError;

impl Listing {
    /// A maildrop with room for so many messages. `validity` changes when its uids begin anew.
    #[must_use]
    pub fn with_capacity(validity: u64, messages: usize) -> Self {
        Self { validity, messages: Vec::with_capacity(messages), octets: 0, names: Vec::new() }
    }

    /// Adds a message behind the others.
    pub fn push(&mut self, uid: u64, size: u64) {
        self.messages.push(Message { uid, size });
        self.octets = self.octets.saturating_add(size);
    }

    /// Adds a message behind the others that another server called by an id of its own. Clients keep that id, and would
    /// fetch all their mail again if it changed when a mailbox moves here.
    ///
    /// # Errors
    ///
    /// If RFC 1939 has no such ids; nothing is added then.
    pub fn push_named(&mut self, uid: u64, size: u64, name: &str) -> Result<(), ListingError> {
        let fits = (1..=LONGEST_UNIQUE_ID).contains(&name.len());
        let at = u32::try_from(self.messages.len()).map_err(|_| ListingError)?;
        if !fits || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ListingError);
        }
        self.names.push((at, name.into()));
        self.push(uid, size);
        Ok(())
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// All octets together.
    #[must_use]
    pub const fn octets(&self) -> u64 {
        self.octets
    }

    /// A message by its position, from 0.
    #[must_use]
    pub fn message(&self, at: usize) -> Option<Message> {
        self.messages.get(at).copied()
    }

    /// Appends a message's unique id. Of ours, the form never changes: validity and uid, in hexadecimal.
    pub fn write_unique_id(&self, at: usize, out: &mut Vec<u8>) {
        let name = u32::try_from(at)
            .ok()
            .and_then(|at| self.names.binary_search_by_key(&at, |&(at, _)| at).ok())
            .and_then(|found| self.names.get(found));
        match (name, self.messages.get(at)) {
            (Some((_, name)), _) => out.extend_from_slice(name.as_bytes()),
            (None, Some(message)) => {
                // Writing to a Vec can't fail.
                let _ = write!(out, "{:08x}{:08x}", self.validity, message.uid);
            }
            (None, None) => {}
        }
    }
}

/// Which messages of a listing a session has marked: one bit each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    words: Vec<u64>,
    count: usize,
}

impl Marks {
    pub(crate) fn contains(&self, at: usize) -> bool {
        self.words.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// Whether it was not marked before.
    pub(crate) fn insert(&mut self, at: usize) -> bool {
        if self.contains(at) {
            return false;
        }
        if self.words.len() <= at / 64 {
            self.words.resize(at / 64 + 1, 0);
        }
        if let Some(word) = self.words.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
        self.count += 1;
        true
    }

    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn clear(&mut self) {
        self.words.clear();
        self.count = 0;
    }

    /// The marked ones, in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(index, &word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| index * 64 + bit)
        })
    }
}

#[cfg(test)]
mod tests;
