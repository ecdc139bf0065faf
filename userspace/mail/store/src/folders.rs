//! Accounts, folders and flags, as far as they are data.

use std::fmt;
use std::ops::{BitAnd, BitOr, Not};

use muralla_database::{DatabaseError, Row, Value, Work};

use crate::bodies::BodyId;
use crate::numbers::EPOCH;
use crate::outcome::StoreError;

/// Longest path of a folder, in bytes.
pub const LONGEST_PATH: usize = 512;

/// Folders of one account at most.
pub const MOST_FOLDERS: usize = 2_000;

/// An account, by its number in the directory.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Account(pub i64);

/// A folder of an account, by a number that no other folder of it ever has.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FolderId(pub i64);

/// What a folder is for (RFC 6154).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Purpose {
    /// Whatever its owner likes.
    #[default]
    Own,
    /// New mail.
    Inbox,
    /// What the filter took for spam.
    Spam,
    /// What was sent.
    Sent,
    /// What is being written.
    Drafts,
    /// What was thrown away.
    Trash,
    /// What was refused while its sender was connected: see [`rejects`](crate::rejects).
    Rejects,
}

impl Purpose {
    /// Those of the folders that everybody has.
    pub const SPECIAL: [Self; 5] = [Self::Inbox, Self::Spam, Self::Sent, Self::Drafts, Self::Trash];

    /// The path of the folder that has it.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Own => "",
            Self::Inbox => "Inbox",
            Self::Spam => "Spam",
            Self::Sent => "Sent",
            Self::Drafts => "Drafts",
            Self::Trash => "Trash",
            // No path that anybody can write, so that a folder of one's own may be called Rejects.
            Self::Rejects => "/Rejects",
        }
    }

    /// What a folder of this path is for. `INBOX` is meant in any letters (RFC 9051 section 5.1), and other names are only in
    /// their own.
    #[must_use]
    pub fn of(path: &str) -> Self {
        if path.eq_ignore_ascii_case("inbox") {
            return Self::Inbox;
        }
        Self::find(|purpose| purpose.path() == path)
    }

    /// Whether a folder is in listings, and counted to the quota.
    #[must_use]
    pub const fn is_open(self) -> bool {
        !matches!(self, Self::Rejects)
    }

    pub(crate) const fn number(self) -> i64 {
        self as i64
    }

    fn numbered(number: i64) -> Self {
        Self::find(|purpose| purpose.number() == number)
    }

    fn find(is_it: impl Fn(&Self) -> bool) -> Self {
        Self::SPECIAL.into_iter().chain([Self::Rejects]).find(is_it).unwrap_or_default()
    }
}

/// The path of a folder: names with `/` between them.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FolderPath(String);

impl FolderPath {
    /// Reads a path.
    ///
    /// # Errors
    ///
    /// [`StoreError::Path`] if it is empty, too long, has an empty name in it, or controls.
    pub fn parse(path: &str) -> Result<Self, StoreError> {
        let path = match Purpose::of(path) {
            Purpose::Inbox => Purpose::Inbox.path(),
            _ => path,
        };
        let reason = if path.len() > LONGEST_PATH {
            Some("it is too long: 512 bytes are the most")
        } else if path.chars().any(char::is_control) {
            Some("it has characters that nobody sees")
        } else if path.split('/').any(|name| name.trim().is_empty()) {
            Some("a name in it is empty")
        } else {
            None
        };
        match reason {
            None => Ok(Self(path.to_owned())),
            Some(reason) => Err(StoreError::Path { path: path.to_owned(), reason }),
        }
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it is for.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        Purpose::of(&self.0)
    }
}

impl From<Purpose> for FolderPath {
    /// The folder of a purpose; Inbox for [`Purpose::Own`].
    fn from(purpose: Purpose) -> Self {
        let purpose = if purpose == Purpose::Own { Purpose::Inbox } else { purpose };
        Self(purpose.path().to_owned())
    }
}

impl fmt::Display for FolderPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is known of a message besides what it says (RFC 9051 section 2.3.2), as a set.
#[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
pub struct Flags(pub u32);

impl Flags {
    /// It was read.
    pub const SEEN: Self = Self(1);
    /// It was answered.
    pub const ANSWERED: Self = Self(2);
    /// It is marked.
    pub const FLAGGED: Self = Self(4);
    /// It is to be removed.
    pub const DELETED: Self = Self(8);
    /// It is not finished.
    pub const DRAFT: Self = Self(16);
    /// It was passed on.
    pub const FORWARDED: Self = Self(32);
    /// Its reader called it spam.
    pub const JUNK: Self = Self(64);
    /// Its reader said that it is none.
    pub const NOT_JUNK: Self = Self(128);

    /// Their letters in the name of a file of Maildir. The last two have none.
    const LETTERS: [(Self, char); 6] = [
        (Self::DRAFT, 'D'),
        (Self::FLAGGED, 'F'),
        (Self::FORWARDED, 'P'),
        (Self::ANSWERED, 'R'),
        (Self::SEEN, 'S'),
        (Self::DELETED, 'T'),
    ];

    /// Whether it has all of these.
    #[must_use]
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// What the end of a Maildir file's name says, in the order of the letters.
    #[must_use]
    pub fn to_letters(self) -> String {
        Self::LETTERS
            .iter()
            .filter(|(flag, _)| self.has(*flag))
            .map(|(_, letter)| *letter)
            .collect()
    }

    /// Reads that; letters that mean nothing are passed over.
    #[must_use]
    pub fn from_letters(letters: &str) -> Self {
        let known = Self::LETTERS.iter().filter(|(_, letter)| letters.contains(*letter));
        known.fold(Self::default(), |flags, (flag, _)| flags | *flag)
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Flags {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Not for Flags {
    type Output = Self;

    fn not(self) -> Self {
        Self(!self.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({})", self.to_letters())
    }
}

/// A folder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Folder {
    /// Its number.
    pub id: FolderId,
    /// Its path.
    pub path: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Another one than that of any folder that had its name before (RFC 9051 section 2.3.1.1).
    pub uidvalidity: u32,
    /// The UID of what comes next.
    pub next_uid: u32,
    /// Its messages.
    pub messages: u64,
    /// Those that were not read.
    pub unseen: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The change that it was last changed with.
    pub modseq: i64,
}

/// A message in a folder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// The folder.
    pub folder: FolderId,
    /// Its number there; never given twice.
    pub uid: u32,
    /// Its body.
    pub body: BodyId,
    /// Bytes of the message.
    pub size: u64,
    /// What is known of it.
    pub flags: Flags,
    /// When it was delivered, in seconds since 1970.
    pub received: i64,
    /// When it came into this folder (RFC 8514), in the same.
    pub saved: i64,
    /// The change that it was last changed with.
    pub modseq: i64,
}

/// What an account has, for its quota.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// Messages.
    pub messages: u64,
    /// Bytes, as they came.
    pub bytes: u64,
}

/// A row of `mail_box`, locked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BoxRow {
    pub(crate) state: i64,
    pub(crate) modseq: i64,
    pub(crate) next_folder: i64,
    pub(crate) messages: i64,
    pub(crate) bytes: i64,
    /// The greatest number by which anybody moved it.
    pub(crate) fence: i64,
}

impl BoxRow {
    pub(crate) const HERE: i64 = 0;
    pub(crate) const LEAVING: i64 = 1;
    pub(crate) const ELSEWHERE: i64 = 2;

    pub(crate) const NEW: Self =
        Self { state: Self::HERE, modseq: 0, next_folder: 1, messages: 0, bytes: 0, fence: 0 };

    pub(crate) const COLUMNS: &str = "account, state, modseq, next_folder, messages, bytes, fence";

    /// Behind [`BoxRow::COLUMNS`] in a row.
    pub(crate) fn of(row: &Row) -> Result<(Account, Self), DatabaseError> {
        let this = Self {
            state: row.int(1)?,
            modseq: row.int(2)?,
            next_folder: row.int(3)?,
            messages: row.int(4)?,
            bytes: row.int(5)?,
            fence: row.int(6)?,
        };
        Ok((Account(row.int(0)?), this))
    }

    pub(crate) fn values(&self, account: Account) -> Vec<Value> {
        let Self { state, modseq, next_folder, messages, bytes, fence } = *self;
        [account.0, state, modseq, next_folder, messages, bytes, fence].map(Value::from).to_vec()
    }

    /// Writes locked rows back, as [`BoxRow::values`] has them.
    pub(crate) async fn store(work: &mut Work, rows: Vec<Vec<Value>>) -> Result<(), DatabaseError> {
        work.bulk(
            "INSERT INTO mail_box (account, state, modseq, next_folder, messages, bytes, fence)",
            "ON CONFLICT (account) DO UPDATE SET state = excluded.state, modseq = excluded.modseq, \
             next_folder = excluded.next_folder, messages = excluded.messages, bytes = excluded.bytes, fence = excluded.fence",
            7,
            rows,
        )
        .await
    }
}

impl Folder {
    pub(crate) const COLUMNS: &str =
        "account, id, name, purpose, uidvalidity, next_uid, messages, unseen, bytes, modseq";

    /// Behind [`Folder::COLUMNS`] in a row.
    pub(crate) fn of(row: &Row) -> Result<(Account, Self), DatabaseError> {
        let folder = Self {
            id: FolderId(row.int(1)?),
            path: row.text(2)?,
            purpose: Purpose::numbered(row.int(3)?),
            uidvalidity: narrow(row.int(4)?)?,
            next_uid: narrow(row.int(5)?)?,
            messages: wide(row.int(6)?),
            unseen: wide(row.int(7)?),
            bytes: wide(row.int(8)?),
            modseq: row.int(9)?,
        };
        Ok((Account(row.int(0)?), folder))
    }

    /// An empty one that is not stored yet.
    pub(crate) fn new(id: i64, path: &FolderPath, now: i64) -> Self {
        Self {
            id: FolderId(id),
            path: path.as_str().to_owned(),
            purpose: path.purpose(),
            // Seconds of its beginning, and its number, as two may begin in one second.
            uidvalidity: uidvalidity(id, now),
            next_uid: 1,
            messages: 0,
            unseen: 0,
            bytes: 0,
            modseq: 0,
        }
    }

    pub(crate) fn values(&self, account: Account) -> Vec<Value> {
        vec![
            account.0.into(),
            self.id.0.into(),
            self.path.as_str().into(),
            self.purpose.number().into(),
            i64::from(self.uidvalidity).into(),
            i64::from(self.next_uid).into(),
            count(self.messages),
            count(self.unseen),
            count(self.bytes),
            self.modseq.into(),
        ]
    }

    /// Writes folders of locked boxes, as [`Folder::values`] has them.
    pub(crate) async fn store(work: &mut Work, rows: Vec<Vec<Value>>) -> Result<(), DatabaseError> {
        work.bulk(
            "INSERT INTO mail_folder (account, id, name, purpose, uidvalidity, next_uid, messages, unseen, bytes, modseq)",
            "ON CONFLICT (account, id) DO UPDATE SET name = excluded.name, purpose = excluded.purpose, \
             uidvalidity = excluded.uidvalidity, next_uid = excluded.next_uid, messages = excluded.messages, \
             unseen = excluded.unseen, bytes = excluded.bytes, modseq = excluded.modseq",
            10,
            rows,
        )
        .await
    }

    /// The number of a message that comes now: the seconds since 2026, or one more than the last, whichever is more. So numbers are not
    /// given twice even if the database was put back to an earlier state, and a client that knows those of before takes no new
    /// message for an old one. Nothing if there is none left.
    pub(crate) fn number(&mut self, now: i64) -> Option<u32> {
        let time = u32::try_from(now.saturating_sub(EPOCH)).unwrap_or(0);
        let uid = self.next_uid.max(time);
        self.next_uid = uid.checked_add(1)?;
        Some(uid)
    }

    /// What POP3 calls a message of this folder (RFC 1939 section 7, UIDL): the same wherever the mailbox is moved, and never another's.
    #[must_use]
    pub fn uidl(&self, uid: u32) -> String {
        format!("{:08x}{uid:08x}", self.uidvalidity)
    }

    /// Whether a message of this folder may be called so by [`Folder::uidl`].
    #[must_use]
    pub fn may_call(&self, name: &str) -> bool {
        name.len() == 16 && name.starts_with(&format!("{:08x}", self.uidvalidity))
    }

    pub(crate) fn add(&mut self, size: u64, flags: Flags) {
        self.messages += 1;
        self.bytes += size;
        self.unseen += u64::from(!flags.has(Flags::SEEN));
    }

    pub(crate) fn take(&mut self, size: u64, flags: Flags) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(size);
        self.unseen = self.unseen.saturating_sub(u64::from(!flags.has(Flags::SEEN)));
    }
}

impl Message {
    pub(crate) const COLUMNS: &str = "folder, uid, body, size, flags, received, saved, modseq";

    /// The columns of [`Message::COLUMNS`] in a row.
    pub(crate) fn of(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            folder: FolderId(row.int(0)?),
            uid: narrow(row.int(1)?)?,
            body: BodyId(row.int(2)?),
            size: wide(row.int(3)?),
            flags: Flags(narrow(row.int(4)?)?),
            received: row.int(5)?,
            saved: row.int(6)?,
            modseq: row.int(7)?,
        })
    }

    pub(crate) fn values(&self, account: Account, delivery: Option<Vec<u8>>) -> Vec<Value> {
        vec![
            account.0.into(),
            self.folder.0.into(),
            i64::from(self.uid).into(),
            self.body.0.into(),
            count(self.size),
            i64::from(self.flags.0).into(),
            self.received.into(),
            self.saved.into(),
            self.modseq.into(),
            delivery.into(),
        ]
    }

    /// Inserts messages, as [`Message::values`] has them.
    pub(crate) async fn insert(
        work: &mut Work,
        rows: Vec<Vec<Value>>,
    ) -> Result<(), DatabaseError> {
        work.bulk(
            "INSERT INTO mail_message (account, folder, uid, body, size, flags, received, saved, modseq, delivery)",
            "",
            10,
            rows,
        )
        .await
    }
}

/// Rises with time, and differs between folders that begin in the same second.
fn uidvalidity(id: i64, now: i64) -> u32 {
    let mixed = now.wrapping_add(id);
    u32::try_from(mixed.rem_euclid(i64::from(u32::MAX))).unwrap_or(1).max(1)
}

pub(crate) fn count(value: u64) -> Value {
    Value::from(i64::try_from(value).unwrap_or(i64::MAX))
}

fn wide(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn narrow(value: i64) -> Result<u32, DatabaseError> {
    u32::try_from(value).map_err(|_| DatabaseError::Row(format!("{value} is no number of 32 bits")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_checked() {
        for (path, purpose) in [
            ("INBOX", Purpose::Inbox),
            ("inbox", Purpose::Inbox),
            ("Spam", Purpose::Spam),
            ("spam", Purpose::Own),
            ("Inbox/Lists", Purpose::Own),
            ("Año/Señal", Purpose::Own),
            ("Rejects", Purpose::Own),
        ] {
            assert_eq!(FolderPath::parse(path).unwrap().purpose(), purpose, "{path}");
        }
        assert_eq!(FolderPath::parse("iNbOx").unwrap().as_str(), "Inbox");
        let rejects = Purpose::Rejects.path();
        for path in ["", "/", "a/", "/a", "a//b", "a\u{7}", " ", &"a".repeat(600), rejects] {
            assert!(FolderPath::parse(path).is_err(), "{path}");
        }
        for purpose in Purpose::SPECIAL.into_iter().chain([Purpose::Rejects]) {
            assert_eq!(FolderPath::from(purpose).purpose(), purpose);
            assert_eq!(Purpose::numbered(purpose.number()), purpose);
        }
    }

    #[test]
    fn flags_have_letters() {
        let flags = Flags::SEEN | Flags::ANSWERED | Flags::JUNK;
        assert_eq!(flags.to_letters(), "RS");
        assert_eq!(Flags::from_letters("SRx"), Flags::SEEN | Flags::ANSWERED);
        assert!(flags.has(Flags::SEEN) && !flags.has(Flags::SEEN | Flags::DRAFT));
    }

    proptest! {
        #[test]
        fn a_folder_s_counts_come_back(messages in proptest::collection::vec((0_u64..1 << 30, 0_u32..256), 0..50)) {
            let mut folder = Folder::new(7, &Purpose::Inbox.into(), 1_800_000_000);
            for (size, flags) in &messages {
                folder.add(*size, Flags(*flags));
            }
            prop_assert_eq!(folder.messages, messages.len() as u64);
            for (size, flags) in &messages {
                folder.take(*size, Flags(*flags));
            }
            prop_assert_eq!((folder.messages, folder.unseen, folder.bytes), (0, 0, 0));
        }
    }
}
