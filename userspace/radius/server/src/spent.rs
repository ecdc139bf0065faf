//! What sessions used that have ended, and that is not off their subscribers' credits yet.
//!
//! A credit goes down where records are written into the database. While that is away they are in the journal alone, and
//! whoever ended a session could use the same credit again. So the totals of each ended session are kept here until a look at
//! the database has shown that they are off: by a row of the session that has as much, or by a look that began after its last
//! record was written. They outlive a restart in a file that is written with the snapshot of the sessions; what came after
//! that is read in the journal again.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs;
use std::io::{self, BufRead, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muralla_radius_accounting::SessionId;
use muralla_radius_policy::Used;
use parking_lot::RwLock;
use tracing::warn;

/// Ended sessions of one subscriber that are told apart: of those beyond, the sum is kept.
const MOST_PARTS: usize = 8;

/// Ended sessions in all: about 150 MB of them.
const MOST: usize = 1 << 20;

/// Entries of the order beyond four for each part, before those are left out that mean nothing any more.
const SLACK: usize = 4_096;

/// The first line of the file, and the beginning of the last one.
const FIRST_LINE: &str = "muralla radius spent 1";
const LAST_LINE: &str = "all";

/// See the module.
#[derive(Default)]
pub(crate) struct Spent(RwLock<Inner>);

#[derive(Default)]
struct Inner {
    users: HashMap<Arc<[u8]>, Vec<Part>>,
    parts: usize,
    /// Whose parts end with which record of the journal, in its order.
    order: VecDeque<(u64, Arc<[u8]>)>,
    /// Up to which record everything is off.
    settled: u64,
    /// Up to which record everything is written, and after how many looks that was so.
    written: VecDeque<(u64, u64)>,
    /// How many looks at the database have ended.
    looks: u64,
}

/// An ended session, or several of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Part {
    /// None of several.
    pub(crate) id: Option<SessionId>,
    /// What it used.
    pub(crate) used: Used,
    /// What of that is off the credit.
    pub(crate) off: Used,
    /// Its last record in the journal.
    sequence: u64,
}

impl Part {
    /// What of it is not off the credit, if so much is.
    pub(crate) fn left(&self, off: Used) -> Used {
        let off = most(self.off, off);
        Used {
            seconds: self.used.seconds.saturating_sub(off.seconds),
            octets: self.used.octets.saturating_sub(off.octets),
        }
    }
}

impl Spent {
    /// Notes that a session of `user` has ended with these totals, by the record of the journal that has this number.
    pub(crate) fn note(&self, user: &[u8], id: SessionId, used: Used, sequence: u64) {
        let mut inner = self.0.write();
        if sequence > inner.settled {
            let off = Used::default();
            inner.put(user, Part { id: Some(id), used, off, sequence });
        }
    }

    /// Hears that a session which ended has these totals in the database. In the same look the credit was read.
    pub(crate) fn hear(&self, user: &[u8], id: SessionId, off: Used) {
        let mut inner = self.0.write();
        let Some(parts) = inner.users.get_mut(user) else { return };
        let Some(at) = parts.iter().position(|part| part.id == Some(id)) else { return };
        let Some(part) = parts.get_mut(at) else { return };
        part.off = most(part.off, off);
        if part.left(off) == Used::default() {
            parts.swap_remove(at);
            let is_last = parts.is_empty();
            inner.parts -= 1;
            if is_last {
                inner.users.remove(user);
            }
        }
    }

    /// Notes that everything up to a record is in the database.
    pub(crate) fn written(&self, sequence: u64) {
        let mut inner = self.0.write();
        let looks = inner.looks;
        match inner.written.back_mut() {
            Some((last, at)) if *at == looks => *last = sequence.max(*last),
            _ => inner.written.push_back((sequence, looks)),
        }
    }

    /// Notes that a look at the database has ended, and that all it saw is in force.
    pub(crate) fn looked(&self) {
        let mut inner = self.0.write();
        inner.looks += 1;
        // The look that was under way when it was written may not have seen it; the next one has.
        while let Some((sequence, at)) = inner.written.front().copied()
            && at + 2 <= inner.looks
        {
            inner.written.pop_front();
            inner.settle(sequence);
        }
    }

    /// From the start on: everything up to a record is off the credits.
    pub(crate) fn begin_after(&self, sequence: u64) {
        self.0.write().settle(sequence);
    }

    /// What ended sessions of a subscriber used that may not be off his credit.
    pub(crate) fn of(&self, user: &[u8]) -> Vec<Part> {
        self.0.read().users.get(user).cloned().unwrap_or_default()
    }

    /// Forgets those who have no credit.
    pub(crate) fn retain(&self, has_credit: impl Fn(&[u8]) -> bool) {
        let mut inner = self.0.write();
        inner.users.retain(|user, _| has_credit(user));
        inner.parts = inner.users.values().map(Vec::len).sum();
    }

    /// Writes all of it.
    pub(crate) fn save(&self, writer: &mut impl Write) -> io::Result<()> {
        let inner = self.0.read();
        writeln!(writer, "{FIRST_LINE}")?;
        for (user, part) in
            inner.users.iter().flat_map(|(user, parts)| parts.iter().map(move |part| (user, part)))
        {
            let Part { id, used, off, sequence } = part;
            let id = id.map_or_else(|| "-".to_owned(), |id| id.to_string());
            write!(writer, "{sequence} {id} {} {}", used.seconds, used.octets)?;
            write!(writer, " {} {} ", off.seconds, off.octets)?;
            user.iter().try_for_each(|byte| write!(writer, "{byte:02x}"))?;
            writeln!(writer)?;
        }
        writeln!(writer, "{LAST_LINE} {}", inner.parts)
    }

    /// Reads what was written, as far as it is not settled and of no record after the `last` one.
    ///
    /// # Errors
    ///
    /// When it can't be read to its end. What comes before is taken.
    pub(crate) fn restore(&self, reader: impl BufRead, last: u64) -> io::Result<()> {
        let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut lines = reader.lines();
        if lines.next().transpose()?.as_deref() != Some(FIRST_LINE) {
            return Err(damaged("it is none of this version"));
        }
        // In the order of the journal, as they would have come.
        let mut parts: BTreeMap<(u64, usize), (Vec<u8>, Part)> = BTreeMap::new();
        let mut outcome = Err(damaged("its end is missing"));
        for line in lines {
            let line = line?;
            if let Some(count) = line.strip_prefix(LAST_LINE) {
                if count.trim().parse() == Ok(parts.len()) {
                    outcome = Ok(());
                }
                break;
            }
            let Some((user, part)) = read_line(&line) else {
                outcome = Err(damaged("a line can't be read"));
                break;
            };
            parts.insert((part.sequence, parts.len()), (user, part));
        }
        let mut inner = self.0.write();
        for (user, part) in parts.into_values() {
            if part.sequence > inner.settled && part.sequence <= last {
                inner.put(&user, part);
            }
        }
        outcome
    }
}

impl Inner {
    fn put(&mut self, user: &[u8], part: Part) {
        let known = self.users.get_key_value(user).map(|(user, _)| Arc::clone(user));
        if self.parts >= MOST && known.is_none() {
            return;
        }
        let user = known.unwrap_or_else(|| user.into());
        let sequence = part.sequence;
        let parts = self.users.entry(Arc::clone(&user)).or_default();
        match parts.iter_mut().find(|known| known.id.is_some() && known.id == part.id) {
            Some(known) => {
                known.used = most(known.used, part.used);
                known.off = most(known.off, part.off);
                known.sequence = known.sequence.max(sequence);
            }
            None => {
                self.parts += 1;
                parts.push(part);
            }
        }
        if parts.len() > MOST_PARTS {
            parts.sort_unstable_by_key(|part| part.sequence);
            if let [first, second, ..] = &mut **parts {
                let (one, other) = (first.left(Used::default()), second.left(Used::default()));
                let used = Used {
                    seconds: one.seconds.saturating_add(other.seconds),
                    octets: one.octets.saturating_add(other.octets),
                };
                *second = Part { id: None, used, off: Used::default(), sequence: second.sequence };
                parts.remove(0);
                self.parts -= 1;
            }
        }
        self.order.push_back((sequence, user));
        if self.order.len() > 4 * self.parts + SLACK {
            self.shorten();
        }
    }

    /// Leaves one entry in the order for each part: not for those that have become parts of a sum.
    fn shorten(&mut self) {
        let all = self.users.iter().flat_map(|(user, parts)| {
            parts.iter().map(move |part| (part.sequence, Arc::clone(user)))
        });
        let mut order: Vec<(u64, Arc<[u8]>)> = all.collect();
        order.sort_unstable();
        self.order = order.into();
    }

    /// Forgets what ended with a record up to this one.
    fn settle(&mut self, sequence: u64) {
        self.settled = self.settled.max(sequence);
        while let Some((last, _)) = self.order.front()
            && *last <= self.settled
        {
            let Some((_, user)) = self.order.pop_front() else { return };
            let Some(parts) = self.users.get_mut(&user) else { continue };
            let before = parts.len();
            parts.retain(|part| part.sequence > self.settled);
            self.parts -= before - parts.len();
            if parts.is_empty() {
                self.users.remove(&user);
            }
        }
    }
}

/// Where the sums lie: beside the snapshot of the sessions.
pub(crate) fn file_beside(snapshot: &Path) -> PathBuf {
    let mut file = snapshot.as_os_str().to_owned();
    file.push(".spent");
    PathBuf::from(file)
}

/// Reads the file, if there is one. `there` begins with the record up to which everything is in the database, and ends with
/// the last one of the journal: what is beyond that is of another one.
pub(crate) fn restore(spent: &Spent, file: &Path, there: RangeInclusive<u64>) {
    spent.begin_after(*there.start());
    let restored =
        fs::File::open(file).and_then(|file| spent.restore(io::BufReader::new(file), *there.end()));
    if let Err(error) = restored
        && error.kind() != io::ErrorKind::NotFound
    {
        warn!(file = %file.display(), %error, "what ended sessions used can't be read whole: some credit may be used twice");
    }
}

fn read_line(line: &str) -> Option<(Vec<u8>, Part)> {
    let words: Vec<&str> = line.split(' ').collect();
    let &[sequence, id, seconds, octets, off_seconds, off_octets, user] = &*words else {
        return None;
    };
    let id = if id == "-" { None } else { Some(id.parse().ok()?) };
    let used = Used { seconds: seconds.parse().ok()?, octets: octets.parse().ok()? };
    let off = Used { seconds: off_seconds.parse().ok()?, octets: off_octets.parse().ok()? };
    let digits = user.as_bytes().chunks(2);
    let bytes = digits.map(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
    let user = bytes.collect::<Option<Vec<u8>>>()?;
    Some((user, Part { id, used, off, sequence: sequence.parse().ok()? }))
}

fn most(one: Used, other: Used) -> Used {
    Used { seconds: one.seconds.max(other.seconds), octets: one.octets.max(other.octets) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> SessionId {
        SessionId::from_bytes([number; 16])
    }

    fn used(seconds: u64) -> Used {
        Used { seconds, octets: 10 * seconds }
    }

    fn left(spent: &Spent, user: &str) -> u64 {
        let parts = spent.of(user.as_bytes());
        parts.iter().map(|part| part.left(Used::default()).seconds).sum()
    }

    #[test]
    fn it_is_kept_until_a_look_that_began_after_it_was_written_has_ended() {
        let spent = Spent::default();
        spent.note(b"ann", id(1), used(100), 5);
        spent.note(b"bob", id(3), used(70), 6);
        spent.note(b"ann", id(2), used(50), 7);
        spent.looked();
        assert_eq!((left(&spent, "ann"), left(&spent, "bob")), (150, 70));
        spent.written(6);
        spent.looked();
        assert_eq!((left(&spent, "ann"), left(&spent, "bob")), (150, 70), "it was under way");
        spent.written(7);
        spent.looked();
        assert_eq!((left(&spent, "ann"), left(&spent, "bob")), (50, 0));
        spent.looked();
        assert_eq!(left(&spent, "ann"), 0);
        let inner = spent.0.read();
        assert_eq!((inner.parts, inner.users.len(), inner.order.len()), (0, 0, 0));
    }

    #[test]
    fn what_a_look_has_seen_of_a_session_is_off() {
        let spent = Spent::default();
        spent.note(b"ann", id(1), used(100), 5);
        spent.hear(b"ann", id(2), used(100));
        spent.hear(b"ann", id(1), used(60));
        assert_eq!(left(&spent, "ann"), 40);
        spent.hear(b"ann", id(1), used(30));
        assert_eq!(left(&spent, "ann"), 40, "it never goes down");
        let known = &spent.of(b"ann")[0];
        assert_eq!(known.left(used(90)), used(10), "what somebody else knows counts as well");
        spent.note(b"ann", id(1), used(120), 9);
        assert_eq!(left(&spent, "ann"), 60);
        spent.hear(b"ann", id(1), used(120));
        assert_eq!(spent.of(b"ann"), []);
    }

    #[test]
    fn what_is_read_again_and_was_written_is_not_noted() {
        let spent = Spent::default();
        spent.begin_after(6);
        spent.note(b"ann", id(1), used(100), 6);
        spent.note(b"ann", id(2), used(50), 7);
        spent.note(b"ann", id(2), used(50), 7);
        assert_eq!(left(&spent, "ann"), 50);
    }

    #[test]
    fn of_many_sessions_the_sum_is_kept() {
        let spent = Spent::default();
        for number in 0..100 {
            spent.note(b"ann", id(number), used(10), u64::from(number) + 1);
        }
        assert_eq!((left(&spent, "ann"), spent.of(b"ann").len()), (1_000, MOST_PARTS));
        spent.written(99);
        (0..2).for_each(|_| spent.looked());
        assert_eq!(left(&spent, "ann"), 10);
        // However long the database is away.
        for number in 101..100_000 {
            let user = if number % 3 == 0 { &b"ann"[..] } else { b"bob" };
            spent.note(user, id((number % 251) as u8), used(1), number);
        }
        let total = left(&spent, "ann") + left(&spent, "bob");
        let order = spent.0.read().order.len();
        assert!(order <= 8 * MOST_PARTS + SLACK, "{order}");
        spent.written(99_999);
        (0..2).for_each(|_| spent.looked());
        assert!(total > 90_000 && left(&spent, "ann") + left(&spent, "bob") == 0, "{total}");
    }

    #[test]
    fn who_has_no_credit_is_forgotten() {
        let spent = Spent::default();
        spent.note(b"ann", id(1), used(100), 5);
        spent.note(b"bob", id(2), used(100), 6);
        spent.retain(|user| user == b"bob");
        assert_eq!((left(&spent, "ann"), left(&spent, "bob")), (0, 100));
        spent.begin_after(6);
        assert_eq!(spent.0.read().parts, 0);
    }

    #[test]
    fn what_is_saved_comes_back() {
        let spent = Spent::default();
        spent.note("añn \n".as_bytes(), id(1), used(100), 5);
        spent.hear("añn \n".as_bytes(), id(1), used(30));
        (0..20).for_each(|number| {
            spent.note(b"bob", id(10 + number), used(7), 10 + u64::from(number));
        });
        let mut saved = Vec::new();
        spent.save(&mut saved).unwrap();
        let restored = Spent::default();
        restored.begin_after(4);
        restored.restore(&*saved, 29).unwrap();
        for user in ["añn \n", "bob"] {
            let of = |spent: &Spent| {
                let mut parts = spent.of(user.as_bytes());
                parts.sort_unstable_by_key(|part| part.sequence);
                parts
            };
            assert_eq!(of(&restored), of(&spent), "{user}");
        }
        let later = Spent::default();
        later.begin_after(28);
        later.restore(&*saved, 29).unwrap();
        assert_eq!((left(&later, "añn \n"), left(&later, "bob")), (0, 7));

        let another = Spent::default();
        another.restore(&*saved, 9).unwrap();
        assert_eq!((left(&another, "añn \n"), left(&another, "bob")), (70, 0), "another journal");

        // Of one that was cut off, as much as there is.
        for cut in [0, 10, saved.len() / 2, saved.len() - 3] {
            let damaged = Spent::default();
            assert!(damaged.restore(&saved[..cut], 29).is_err(), "{cut}");
            assert!(left(&damaged, "bob") <= left(&spent, "bob"));
        }
    }
}
