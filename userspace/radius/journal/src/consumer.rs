//! Reads with a position that outlives the process.
//!
//! The file `NAME.position` is a magic number, the journal's own number, the position and a CRC-32C of these.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{AcqRel, Acquire, Release},
};
use std::time::Duration;

use crc32c::crc32c;

use crate::dead_letters::DeadLetters;
use crate::disk::{self, Disk};
use crate::error::JournalError;
use crate::octets::{numbers, u32_at, u64_at};
use crate::reader::{Entry, Reader};
use crate::recovery::{Damage, Recovered};
use crate::store::{self, Store};

/// What the names of positions end with.
pub(crate) const EXTENSION: &str = ".position";

const MAGIC: &[u8; 8] = b"MURALLAp";

/// Bytes of a position file.
const SIZE: usize = 28;

/// A reader whose position is on the disk: segments that it has not passed are not deleted, and after a restart it goes on
/// after what it committed last. It so reads each record at least once.
pub struct Consumer {
    reader: Reader,
    /// The last entry that was given.
    given: u64,
    store: Arc<Store>,
    subscription: Arc<Subscription>,
}

impl Consumer {
    pub(crate) fn new(
        store: Arc<Store>,
        subscription: Arc<Subscription>,
    ) -> Result<Self, JournalError> {
        if subscription.in_use.swap(true, AcqRel) {
            return Err(JournalError::InUse(subscription.name.clone()));
        }
        let position = subscription.position();
        let reader = Reader::new(Arc::clone(&store), position);
        Ok(Self { reader, given: position, store, subscription })
    }

    /// The name that it was opened by.
    pub fn name(&self) -> &str {
        &self.subscription.name
    }

    /// As [`Reader::next`].
    ///
    /// # Errors
    /// When a segment can't be read. The next call tries again.
    #[expect(clippy::should_implement_trait, reason = "an iterator would end at the first None")]
    pub fn next(&mut self) -> Result<Option<Entry>, JournalError> {
        let entry = self.reader.next()?;
        if let Some(entry) = &entry {
            self.given = entry.sequence;
        }
        Ok(entry)
    }

    /// As [`Reader::wait`].
    pub fn wait(&self, time: Duration) -> bool {
        self.reader.wait(time)
    }

    /// The number up to which it will never read again.
    pub fn position(&self) -> u64 {
        self.subscription.position()
    }

    /// Numbers that are durable and not committed.
    pub fn lag(&self) -> u64 {
        self.store.durable().saturating_sub(self.position())
    }

    /// Never reads again what has this number or a lower one, after a crash neither. A number that was not read yet
    /// counts as the last one that was. It waits for the disk.
    ///
    /// # Errors
    /// When the position can't be made durable; then the one before is in force.
    pub fn commit(&mut self, sequence: u64) -> Result<(), JournalError> {
        // Past the last entry there may be numbers of which nothing is left.
        let read = self.reader.position();
        let position = if sequence >= self.given { read } else { sequence };
        if position > self.position() {
            self.set(position)?;
        }
        Ok(())
    }

    /// Reads again what was read and not committed.
    pub fn roll_back(&mut self) {
        self.given = self.position();
        self.reader = Reader::new(Arc::clone(&self.store), self.given);
    }

    /// Reads again what comes after a lower number, as far as it is still there.
    ///
    /// # Errors
    /// When the position can't be made durable; then the one before is in force.
    pub fn rewind(&mut self, after: u64) -> Result<(), JournalError> {
        if after < self.position() {
            self.set(after)?;
        }
        self.roll_back();
        Ok(())
    }

    /// Puts an entry aside that can't be taken, durably, with the reason why. Then it may be committed as if it had been.
    /// An entry that is among the dead letters already is not put there again.
    ///
    /// # Errors
    /// When it can't be made durable, or dead letters fill their room. Then it must not be committed.
    pub fn poison(&self, entry: &Entry, reason: &str) -> Result<(), JournalError> {
        self.subscription.dead.add(entry, reason)
    }

    /// What was put aside.
    pub fn dead_letters(&self) -> &DeadLetters {
        &self.subscription.dead
    }

    fn set(&self, position: u64) -> Result<(), JournalError> {
        self.subscription.save(&*self.store.disk, self.store.identity, position)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.subscription.in_use.store(false, Release);
    }
}

/// A consumer that there is, whether it is in use or not.
pub(crate) struct Subscription {
    name: String,
    position: AtomicU64,
    in_use: AtomicBool,
    pub(crate) dead: DeadLetters,
}

impl Subscription {
    /// One that is new to the journal: it begins with the oldest record that there is.
    pub(crate) fn create(store: &Store, name: &str) -> Result<Self, JournalError> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=64).contains(&name.len()) || !name.bytes().all(fits) {
            return Err(JournalError::Name(name.to_owned()));
        }
        let (_, _, oldest) = store.segments();
        let position = oldest.map_or_else(|| store.durable(), |oldest| oldest.first - 1);
        let dead = DeadLetters::open(&store.disk, &store.rules, store.identity, name)?;
        let subscription = Self::at(name, position, dead);
        subscription.save(&*store.disk, store.identity, position)?;
        Ok(subscription)
    }

    /// One that was there before. It goes on after `begin` if its position is lost.
    pub(crate) fn restore(
        name: &str,
        disk: &Arc<dyn Disk>,
        rules: &store::Rules,
        identity: u64,
        begin: u64,
        recovered: &mut Recovered,
    ) -> Result<Self, JournalError> {
        let file = format!("{name}{EXTENSION}");
        let bytes = disk::read_file(&**disk, &file, SIZE + 1)
            .map_err(JournalError::disk("read", &file))?
            .unwrap_or_default();
        let position = decode(&bytes, identity).unwrap_or_else(|| {
            recovered.note(Damage::Position { consumer: name.to_owned() });
            begin
        });
        let dead = DeadLetters::open(disk, rules, identity, name)?;
        Ok(Self::at(name, position, dead))
    }

    fn at(name: &str, position: u64, dead: DeadLetters) -> Self {
        let (position, in_use) = (AtomicU64::new(position), AtomicBool::new(false));
        Self { name: name.to_owned(), position, in_use, dead }
    }

    pub(crate) fn position(&self) -> u64 {
        self.position.load(Acquire)
    }

    pub(crate) fn is_in_use(&self) -> bool {
        self.in_use.load(Acquire)
    }

    /// Makes a position durable, and then in force.
    fn save(&self, disk: &dyn Disk, identity: u64, position: u64) -> Result<(), JournalError> {
        let file = format!("{}{EXTENSION}", self.name);
        disk::replace(disk, &file, &encode(position, identity))
            .map_err(JournalError::disk("save", &file))?;
        self.position.store(position, Release);
        Ok(())
    }

    /// Deletes what there is of it.
    pub(crate) fn delete(&self, disk: &dyn Disk) -> Result<(), JournalError> {
        let file = format!("{}{EXTENSION}", self.name);
        disk.remove(&file).map_err(JournalError::disk("delete", &file))?;
        disk.sync().map_err(JournalError::disk("sync", "its folder"))
    }
}

fn encode(position: u64, identity: u64) -> Vec<u8> {
    let fields: [u8; 24] = numbers(&[u64::from_be_bytes(*MAGIC), identity, position]);
    let mut bytes = fields.to_vec();
    bytes.extend(crc32c(&fields).to_be_bytes());
    bytes
}

fn decode(bytes: &[u8], identity: u64) -> Option<u64> {
    let sum = u32_at(bytes, SIZE - 4)?;
    let sound = bytes.len() == SIZE
        && bytes.starts_with(MAGIC)
        && u64_at(bytes, 8)? == identity
        && crc32c(bytes.get(..SIZE - 4)?) == sum;
    if sound { u64_at(bytes, 16) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_come_back_or_are_known_as_damaged() {
        let bytes = encode(0x0102, 0x0304);
        assert_eq!(bytes.len(), SIZE);
        assert_eq!(&bytes[..8], b"MURALLAp");
        assert_eq!(decode(&bytes, 0x0304), Some(0x0102));
        assert_eq!(decode(&bytes, 0x0305), None, "of another journal");
        assert_eq!(decode(&bytes[..SIZE - 1], 0x0304), None);
        assert_eq!(decode(&[&bytes[..], b"x"].concat(), 0x0304), None);
        for bit in 0..SIZE * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bytes, 0x0304), None, "bit {bit}");
        }
    }
}
