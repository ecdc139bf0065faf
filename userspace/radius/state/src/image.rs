//! All subscribers as they were at one moment, in a file of this machine.
//!
//! A database hands out its rows one by one, and half a million of them take many seconds, in which nobody could log in after a
//! restart. The file is read in about one. What was changed since is in the log of changes, from the position that the file has: so
//! it may be hours old, and is as good as what is in the database. It says by the last row of that log which database it is of.
//!
//! A line with what it is (JSON), then rows, each a length and its columns, then the number of subscribers, and a checksum of all
//! that. A row is a subscriber, or a list of profiles or items that rows behind it refer to by its number: most subscribers have the
//! same few lists. Passwords are in it as they are in the database: nobody but its owner may read it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::hash::Hasher as _;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::HashTable;
use muralla_credentials::Hidden;
use muralla_database::{Change, LastChange, Position, Work};
use muralla_radius_dictionary::Dictionary;
use muralla_radius_policy::{Bulk, Shelf, Subscriber, Unreadable};
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use crate::changes::LOG;
use crate::{StateError, SubscriberEntry, convert};

/// Of this form.
const FORM: u32 = 2;

/// What begins a row: a subscriber, why one can't be read, or a list.
const SUBSCRIBER: u8 = 1;
const UNREADABLE: u8 = 0;
const LIST: u8 = 2;

/// Lists that have a number. Beyond it they are of one subscriber each, and stand in his row.
const MOST_LISTS: usize = 4_096;

/// Stands where a list has no number, before the list.
const NO_NUMBER: u32 = u32::MAX;

/// A longer file is none of ours: 16 GiB.
const LONGEST: u64 = 16 << 30;

/// What a file is of.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Head {
    muralla_subscribers: u32,
    position: String,
    sequence: i64,
    kind: String,
    name: String,
    at: i64,
}

/// A file that is being written.
pub(crate) struct ImageWriter {
    file: BufWriter<File>,
    new: PathBuf,
    place: PathBuf,
    sum: SipHasher13,
    count: u64,
    row: Vec<u8>,
    lists: HashMap<Vec<String>, u32>,
}

impl ImageWriter {
    /// Begins a file for what is read within `work`, whose log of changes stands at `position`; none if the log is empty, by which
    /// nobody could tell one database from another.
    pub(crate) async fn begin(
        work: &mut Work,
        position: &Position,
        place: &Path,
    ) -> Result<Option<Self>, StateError> {
        let Some(LastChange { sequence, change }) = LOG.last(work).await? else { return Ok(None) };
        let Change { kind, name, at } = change;
        let position = position.to_string();
        let head = Head { muralla_subscribers: FORM, position, sequence, kind, name, at };
        let new = place.with_added_extension("new");
        let begun = || {
            if let Some(folder) = place.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut options = File::options();
            let file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            let mut head = serde_json::to_vec(&head)?;
            head.push(b'\n');
            let mut writer = Self {
                file: BufWriter::with_capacity(1 << 16, file),
                new: new.clone(),
                place: place.to_owned(),
                sum: SipHasher13::new(),
                count: 0,
                row: Vec::new(),
                lists: HashMap::new(),
            };
            writer.write(&head)?;
            Ok(writer)
        };
        begun().map(Some).map_err(|source| failed(&new, source))
    }

    /// Adds a subscriber, or why his row can't be read.
    pub(crate) fn add(
        &mut self,
        name: &str,
        entry: Result<&SubscriberEntry, &str>,
    ) -> Result<(), StateError> {
        let added = self.add_lists(entry).and_then(|()| {
            let mut row = std::mem::take(&mut self.row);
            row.clear();
            pack(name, entry, &self.lists, &mut row);
            let written = self.write_row(&row);
            self.row = row;
            written
        });
        self.count += 1;
        added.map_err(|source| failed(&self.new, source))
    }

    /// Writes the lists that a subscriber is the first to have.
    fn add_lists(&mut self, entry: Result<&SubscriberEntry, &str>) -> io::Result<()> {
        let Ok(entry) = entry else { return Ok(()) };
        for list in [&entry.profiles, &entry.check, &entry.reply] {
            if self.lists.len() < MOST_LISTS && !self.lists.contains_key(list) {
                let number = u32::try_from(self.lists.len()).unwrap_or(NO_NUMBER);
                self.lists.insert(list.clone(), number);
                let mut row = vec![LIST];
                pack_list(&mut row, list);
                self.write_row(&row)?;
            }
        }
        Ok(())
    }

    fn write_row(&mut self, row: &[u8]) -> io::Result<()> {
        let length = u32::try_from(row.len()).unwrap_or(u32::MAX);
        self.write(&length.to_be_bytes())?;
        self.write(row)
    }

    /// Puts the file in the place of the one before.
    pub(crate) fn finish(mut self) -> Result<(), StateError> {
        let new = self.new.clone();
        let ended = || {
            let count = self.count.to_be_bytes();
            self.write(&count)?;
            let sum = self.sum.finish().to_be_bytes();
            self.file.write_all(&sum)?;
            // Not for the power: without it, some file systems show an empty file after a crash. That would be found out, and
            // cost a slow start.
            self.file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_data()?;
            fs::rename(&self.new, &self.place)
        };
        ended().map_err(|source| failed(&new, source))
    }

    fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.sum.write(octets);
        self.file.write_all(octets)
    }
}

/// A file that was read, and is whole.
pub(crate) struct Image {
    octets: Vec<u8>,
    rows: std::ops::Range<usize>,
    pub(crate) position: Position,
    pub(crate) subscribers: u64,
    last: LastChange,
}

impl Image {
    /// Reads a file; none if there is none.
    ///
    /// # Errors
    ///
    /// Why it can't be used, in words.
    pub(crate) fn read(place: &Path) -> Result<Option<Self>, String> {
        let length = match fs::metadata(place) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        if length > LONGEST {
            return Err(format!("it has {length} octets"));
        }
        let octets = fs::read(place).map_err(|error| error.to_string())?;
        Self::of(octets).map(Some).ok_or_else(|| "it is damaged, or of another version".to_owned())
    }

    fn of(octets: Vec<u8>) -> Option<Self> {
        let (rest, sum) = octets.split_last_chunk::<8>()?;
        let mut hasher = SipHasher13::new();
        hasher.write(rest);
        if hasher.finish() != u64::from_be_bytes(*sum) {
            return None;
        }
        let (rest, count) = rest.split_last_chunk::<8>()?;
        let line = rest.iter().position(|octet| *octet == b'\n')?;
        let head: Head = serde_json::from_slice(rest.get(..line)?).ok()?;
        if head.muralla_subscribers != FORM {
            return None;
        }
        let rows = line + 1..rest.len();
        let position = Position::parse(&head.position)?;
        let subscribers = u64::from_be_bytes(*count);
        let Head { sequence, kind, name, at, .. } = head;
        let last = LastChange { sequence, change: Change { kind, name, at } };
        Some(Self { rows, position, subscribers, last, octets })
    }

    /// Whether it is of that database. One that is restored, or another one, has not its last change.
    pub(crate) async fn is_of(&self, work: &mut Work) -> Result<bool, StateError> {
        Ok(LOG.has(work, &self.last).await?)
    }

    /// All rows.
    pub(crate) fn rows(&self) -> Rows<'_> {
        Rows { rest: self.octets.get(self.rows.clone()).unwrap_or_default(), lists: Vec::new() }
    }
}

/// Rows of a file, one after the other.
pub(crate) struct Rows<'a> {
    rest: &'a [u8],
    /// Those that came so far.
    pub(crate) lists: Vec<Vec<String>>,
}

impl<'a> Rows<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next subscribers' rows, at most so many, which are read by [`Kept::of`]; none where what follows is no row, which a
    /// whole file never has.
    pub(crate) fn next_stretch(&mut self, most: usize) -> Option<Vec<&'a [u8]>> {
        let mut stretch = Vec::with_capacity(most);
        while stretch.len() < most && !self.rest.is_empty() {
            stretch.extend(self.next()?);
        }
        Some(stretch)
    }

    /// The next row, unless that is a list.
    fn next(&mut self) -> Option<Option<&'a [u8]>> {
        let (length, behind) = self.rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (row, behind) = behind.split_at_checked(length)?;
        self.rest = behind;
        match row.split_first()? {
            (&LIST, list) => {
                self.lists.push(Columns(list).all(Columns::list)?);
                Some(None)
            }
            _ => Some(Some(row)),
        }
    }
}

/// A file as a shelf: where each subscriber's row is, by the hash of his name.
pub(crate) struct ImageShelf {
    image: Arc<Image>,
    /// A hash, and where the row begins.
    index: HashTable<(u64, usize)>,
    lists: Vec<Vec<String>>,
    dictionary: Arc<Dictionary>,
}

impl ImageShelf {
    /// Looks at each row's name; none if what is there is no row.
    pub(crate) fn new(
        image: &Arc<Image>,
        bulk: &Bulk,
        dictionary: &Arc<Dictionary>,
    ) -> Option<Self> {
        let mut index = HashTable::with_capacity(usize::try_from(image.subscribers).ok()?);
        let mut rows = image.rows();
        while !rows.is_empty() {
            let Some(row) = rows.next()? else { continue };
            let at = image.rows.end - rows.rest.len() - row.len();
            let hash = bulk.hash(name(row)?);
            index.insert_unique(hash, (hash, at), |&(hash, _)| hash);
        }
        let (lists, dictionary) = (rows.lists, Arc::clone(dictionary));
        Some(Self { image: Arc::clone(image), index, lists, dictionary })
    }

    fn row(&self, at: usize) -> Option<&[u8]> {
        let length = self.image.octets.get(at.checked_sub(4)?..at)?.as_array()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        self.image.octets.get(at..at.checked_add(length)?)
    }

    fn read(&self, row: &[u8]) -> Option<Subscriber> {
        let Kept::Subscriber(mut entry, lists) = Kept::of(row)? else { return None };
        lists.put_into(&mut entry, &self.lists)?;
        convert::subscriber(&self.dictionary, &entry).ok()
    }
}

impl Shelf for ImageShelf {
    fn fetch(
        &self,
        hash: u64,
        is_his: &dyn Fn(&[u8]) -> bool,
    ) -> Option<Result<Subscriber, Unreadable>> {
        let &(_, at) = self.index.find(hash, |&(other, at)| {
            other == hash && self.row(at).and_then(name).is_some_and(is_his)
        })?;
        Some(self.row(at).and_then(|row| self.read(row)).ok_or(Unreadable))
    }
}

/// The name in a subscriber's row.
fn name(row: &[u8]) -> Option<&[u8]> {
    let (_, columns) = row.split_first()?;
    let (length, behind) = columns.split_first_chunk::<4>()?;
    behind.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

fn failed(file: &Path, source: io::Error) -> StateError {
    StateError::File { what: file.display().to_string(), source }
}

/// What a row has.
#[derive(Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all rows are subscribers, each is there for a moment, and a box costs a start 50 ns for each of them"
)]
pub(crate) enum Kept {
    /// A subscriber without the lists that have a number, and these.
    Subscriber(SubscriberEntry, Lists),
    /// The name of one, and why what is said of him can't be read.
    Unreadable(String, String),
}

/// Numbers of a subscriber's lists, as far as they have one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Lists {
    pub(crate) profiles: Option<u32>,
    pub(crate) check: Option<u32>,
    pub(crate) reply: Option<u32>,
}

impl Lists {
    /// Puts the lists where they belong; none if one has a number that no list has.
    pub(crate) fn put_into(self, entry: &mut SubscriberEntry, lists: &[Vec<String>]) -> Option<()> {
        let places = [&mut entry.profiles, &mut entry.check, &mut entry.reply];
        for (number, place) in [self.profiles, self.check, self.reply].into_iter().zip(places) {
            if let Some(number) = number {
                place.clone_from(lists.get(usize::try_from(number).ok()?)?);
            }
        }
        Some(())
    }
}

/// Columns in a row: an octet whether it is there, then texts with their lengths, and numbers of eight octets.
fn pack(
    name: &str,
    entry: Result<&SubscriberEntry, &str>,
    lists: &HashMap<Vec<String>, u32>,
    row: &mut Vec<u8>,
) {
    row.push(if entry.is_ok() { SUBSCRIBER } else { UNREADABLE });
    text(row, name);
    let entry = match entry {
        Ok(entry) => entry,
        Err(reason) => return text(row, reason),
    };
    let SubscriberEntry { credential, profiles, disabled, check, reply, .. } = entry;
    text(row, credential.reveal());
    for list in [profiles, check, reply] {
        match lists.get(list) {
            Some(number) => row.extend(number.to_be_bytes()),
            None => {
                row.extend(NO_NUMBER.to_be_bytes());
                pack_list(row, list);
            }
        }
    }
    row.push(u8::from(*disabled));
    let numbers = [entry.not_before, entry.not_after, entry.credit_seconds, entry.credit_bytes];
    for number in numbers.into_iter().chain([entry.simultaneous.map(i64::from)]) {
        row.push(u8::from(number.is_some()));
        row.extend(number.into_iter().flat_map(i64::to_be_bytes));
    }
    let address = entry.address.map(|address| address.to_string());
    let prefixes = [entry.prefix6, entry.delegated6].map(|prefix| prefix.map(|it| it.to_string()));
    let pools = [&entry.pool, &entry.pool6, &entry.delegated_pool6, &entry.note];
    let addresses = [address].into_iter().chain(prefixes);
    for column in addresses.chain(pools.map(Clone::clone)) {
        row.push(u8::from(column.is_some()));
        column.iter().for_each(|column| text(row, column));
    }
}

fn pack_list(row: &mut Vec<u8>, list: &[String]) {
    row.extend(u32::try_from(list.len()).unwrap_or(u32::MAX).to_be_bytes());
    list.iter().for_each(|item| text(row, item));
}

fn text(row: &mut Vec<u8>, text: &str) {
    row.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    row.extend_from_slice(text.as_bytes());
}

impl Kept {
    /// Reads a row; none if it is none.
    pub(crate) fn of(row: &[u8]) -> Option<Self> {
        match row.split_first()? {
            (&SUBSCRIBER, columns) => Columns(columns).all(Columns::subscriber),
            (&UNREADABLE, columns) => Columns(columns)
                .all(|columns| Some(Self::Unreadable(columns.text()?, columns.text()?))),
            _ => None,
        }
    }
}

/// What is left of a row.
struct Columns<'a>(&'a [u8]);

impl Columns<'_> {
    /// Reads what is left, which must be that and nothing more.
    fn all<T>(mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        read(&mut self).filter(|_| self.0.is_empty())
    }

    fn subscriber(&mut self) -> Option<Kept> {
        let (name, credential) = (self.text()?, Hidden::new(self.text()?));
        let [profiles, check, reply] =
            [self.list_or_number()?, self.list_or_number()?, self.list_or_number()?];
        let lists = Lists { profiles: profiles.1, check: check.1, reply: reply.1 };
        let entry = SubscriberEntry {
            name,
            credential,
            profiles: profiles.0,
            check: check.0,
            reply: reply.0,
            disabled: self.flag()?,
            not_before: self.number()?,
            not_after: self.number()?,
            credit_seconds: self.number()?,
            credit_bytes: self.number()?,
            simultaneous: self.number()?.map(u16::try_from).transpose().ok()?,
            address: self.column()?.map(|text| text.parse()).transpose().ok()?,
            prefix6: self.column()?.map(|text| text.parse()).transpose().ok()?,
            delegated6: self.column()?.map(|text| text.parse()).transpose().ok()?,
            pool: self.column()?,
            pool6: self.column()?,
            delegated_pool6: self.column()?,
            note: self.column()?,
        };
        Some(Kept::Subscriber(entry, lists))
    }

    fn list_or_number(&mut self) -> Option<(Vec<String>, Option<u32>)> {
        match u32::from_be_bytes(self.take()?) {
            NO_NUMBER => Some((self.list()?, None)),
            number => Some((Vec::new(), Some(number))),
        }
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.take()? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(u32::from_be_bytes(self.take()?)).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        str::from_utf8(text).ok().map(str::to_owned)
    }

    fn list(&mut self) -> Option<Vec<String>> {
        let count = u32::from_be_bytes(self.take()?);
        // Each has a length at least, so that no number makes room for what isn't there.
        (0..count).map(|_| self.text()).collect()
    }

    fn number(&mut self) -> Option<Option<i64>> {
        let there = self.flag()?;
        if there { self.take().map(|octets| Some(i64::from_be_bytes(octets))) } else { Some(None) }
    }

    fn column(&mut self) -> Option<Option<String>> {
        let there = self.flag()?;
        if there { self.text().map(Some) } else { Some(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> SubscriberEntry {
        SubscriberEntry {
            name: "ann".into(),
            credential: Hidden::new("{CLEARTEXT}secret"),
            profiles: vec!["home".into(), String::new()],
            disabled: true,
            not_before: Some(i64::MIN),
            not_after: Some(i64::MAX),
            credit_seconds: Some(0),
            credit_bytes: Some(-1),
            simultaneous: Some(u16::MAX),
            check: vec!["NAS-Port == 1".into()],
            reply: vec!["Framed-Protocol = PPP".into(), "Framed-MTU = 1492".into()],
            address: Some("192.0.2.1".parse().unwrap()),
            prefix6: Some("2001:db8::/64".parse().unwrap()),
            delegated6: Some("2001:db8:1::/56".parse().unwrap()),
            pool: Some("home".into()),
            pool6: Some(String::new()),
            delegated_pool6: None,
            note: Some("né en 1970".into()),
        }
    }

    #[test]
    fn rows_are_read_as_they_were_written() {
        let plain = SubscriberEntry { name: "bob".into(), ..SubscriberEntry::default() };
        let none = HashMap::new();
        let entries = [everything(), plain, SubscriberEntry::default()];
        let entries = entries.map(|entry| Kept::Subscriber(entry, Lists::default()));
        let unreadable = Kept::Unreadable("carl".to_owned(), "his address".to_owned());
        for kept in entries.into_iter().chain([unreadable]) {
            let mut row = Vec::new();
            match &kept {
                Kept::Subscriber(entry, _) => pack(&entry.name, Ok(entry), &none, &mut row),
                Kept::Unreadable(name, reason) => pack(name, Err(reason), &none, &mut row),
            }
            assert_eq!(Kept::of(&row).as_ref(), Some(&kept));
            // Whatever is missing is noticed, and so is what is too much.
            for length in 0..row.len() {
                assert_eq!(Kept::of(&row[..length]), None, "{length}");
            }
            row.push(0);
            assert_eq!(Kept::of(&row), None);
        }
        let known = HashMap::from([(everything().reply, 5), (everything().check, 0)]);
        let mut row = Vec::new();
        pack("ann", Ok(&everything()), &known, &mut row);
        let lists = Lists { profiles: None, check: Some(0), reply: Some(5) };
        let rest = SubscriberEntry { check: Vec::new(), reply: Vec::new(), ..everything() };
        assert_eq!(Kept::of(&row), Some(Kept::Subscriber(rest, lists)));
    }

    #[test]
    fn a_file_that_is_not_whole_is_none() {
        let head = Head {
            muralla_subscribers: FORM,
            position: "number 7 at 9".into(),
            sequence: 7,
            kind: "subscriber".into(),
            name: "ann".into(),
            at: 5,
        };
        let file = |head: &Head| {
            let mut file = serde_json::to_vec(head).unwrap();
            file.push(b'\n');
            let (mut list, mut row) = (vec![LIST], Vec::new());
            pack_list(&mut list, &everything().reply);
            pack("ann", Ok(&everything()), &HashMap::from([(everything().reply, 0)]), &mut row);
            for row in [list, row] {
                file.extend((row.len() as u32).to_be_bytes());
                file.extend(row);
            }
            file.extend(1_u64.to_be_bytes());
            let mut hasher = SipHasher13::new();
            hasher.write(&file);
            file.extend(hasher.finish().to_be_bytes());
            file
        };
        let whole = file(&head);
        let image = Image::of(whole.clone()).unwrap();
        assert_eq!((image.subscribers, image.position.to_string()), (1, "number 7 at 9".into()));
        let mut rows = image.rows();
        let stretch = rows.next_stretch(9).unwrap();
        assert_eq!((stretch.len(), rows.is_empty()), (1, true));
        assert_eq!(rows.lists, [everything().reply]);
        let Some(Kept::Subscriber(ann, lists)) = Kept::of(stretch[0]) else { panic!("no row") };
        assert_eq!((ann.reply, lists.reply, lists.check), (vec![], Some(0), None));
        for length in 0..whole.len() {
            assert!(Image::of(whole[..length].to_vec()).is_none(), "{length}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            assert!(Image::of(damaged).is_none(), "{at}");
        }
        let other = Head { muralla_subscribers: FORM + 1, ..head };
        assert!(Image::of(file(&other)).is_none());
    }
}
