//! An account or an alias as it lies in memory: one piece of bytes, since there are half a million of them.
//!
//! The same bytes are what the copy on the disk consists of, so a change of their form needs a new
//! [`copy::VERSION`](crate::copy).

use std::ops::Deref;

use muralla_credentials::{Credential, Scheme, View};
use triomphe::ThinArc;

use crate::entries::{Protocols, SendingLimits, SubscriberState};
use crate::{AccountId, ScramKeys, ShardId};

/// An account or an alias, packed and shared. A pointer to it has eight bytes, its length lies with it.
#[derive(Clone)]
pub(crate) struct Record(ThinArc<(), u8>);

impl From<Vec<u8>> for Record {
    fn from(bytes: Vec<u8>) -> Self {
        Self(ThinArc::from_header_and_slice((), &bytes))
    }
}

impl Deref for Record {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.slice
    }
}

/// Longest record that is read: 10,000 targets of 320 bytes.
pub(crate) const LONGEST: usize = 4 << 20;

const DISABLED: u8 = 1;
const MAY_SEND: u8 = 2;
const KEEP_COPY: u8 = 4;
const HAS_QUOTA: u8 = 8;
const HAS_LIMITS: u8 = 16;
/// Senders, forwards and app passwords follow.
const HAS_LISTS: u8 = 32;
/// Its password is a subscriber's as well.
const LINKED: u8 = 64;
/// He is blocked.
const BLOCKED: u8 = 128;

/// What an account's record is made of.
#[derive(Debug, Default)]
pub(crate) struct NewAccount<'a> {
    pub(crate) id: i64,
    pub(crate) name: &'a str,
    pub(crate) shard: i64,
    pub(crate) disabled: bool,
    pub(crate) may_send: bool,
    pub(crate) keep_copy: bool,
    /// The subscriber whose password it has, if there is one.
    pub(crate) subscriber: Option<SubscriberState>,
    pub(crate) quota_bytes: Option<u64>,
    pub(crate) limits: SendingLimits,
    pub(crate) backends: &'a str,
    pub(crate) credential: Credential,
    pub(crate) scram: Option<ScramKeys>,
    pub(crate) senders: Vec<&'a str>,
    pub(crate) lists: Lists,
}

/// What belongs to an account in other tables.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lists {
    pub(crate) forwards: Vec<String>,
    pub(crate) apps: Vec<NewApp>,
}

/// An app password.
#[derive(Clone, Debug)]
pub(crate) struct NewApp {
    pub(crate) id: i64,
    pub(crate) protocols: Protocols,
    pub(crate) expires: Option<i64>,
    pub(crate) credential: Credential,
    pub(crate) scram: Option<ScramKeys>,
}

impl NewAccount<'_> {
    pub(crate) fn pack(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(256));
        out.bytes(self.name.as_bytes());
        out.0.extend(self.id.to_le_bytes());
        let limited = self.limits != SendingLimits::default();
        let lists = !(self.senders.is_empty()
            && self.lists.forwards.is_empty()
            && self.lists.apps.is_empty());
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        out.0.push(
            flag(self.disabled, DISABLED)
                | flag(self.may_send, MAY_SEND)
                | flag(self.keep_copy, KEEP_COPY)
                | flag(self.quota_bytes.is_some(), HAS_QUOTA)
                | flag(limited, HAS_LIMITS)
                | flag(lists, HAS_LISTS)
                | flag(self.subscriber.is_some(), LINKED)
                | flag(self.subscriber == Some(SubscriberState::Blocked), BLOCKED),
        );
        out.number(self.shard.cast_unsigned());
        if let Some(quota) = self.quota_bytes {
            out.number(quota);
        }
        if limited {
            for limit in self.limits.to_array() {
                out.number(limit.map_or(0, |limit| u64::from(limit) + 1));
            }
        }
        out.bytes(self.backends.as_bytes());
        out.secret(&self.credential, self.scram.as_ref());
        if lists {
            out.number(self.senders.len() as u64);
            for sender in &self.senders {
                out.bytes(sender.as_bytes());
            }
            out.number(self.lists.forwards.len() as u64);
            for forward in &self.lists.forwards {
                out.bytes(forward.as_bytes());
            }
            out.number(self.lists.apps.len() as u64);
            for app in &self.lists.apps {
                out.0.extend(app.id.to_le_bytes());
                out.0.push(app.protocols.bits());
                out.0.extend(app.expires.unwrap_or(i64::MAX).to_le_bytes());
                out.secret(&app.credential, app.scram.as_ref());
            }
        }
        out.0
    }
}

/// An account's record, read where it lies.
#[derive(Clone, Copy)]
pub(crate) struct Account<'a> {
    pub(crate) id: AccountId,
    pub(crate) name: &'a str,
    pub(crate) shard: ShardId,
    pub(crate) disabled: bool,
    pub(crate) may_send: bool,
    pub(crate) keep_copy: bool,
    /// The subscriber whose password it has, if there is one.
    pub(crate) subscriber: Option<SubscriberState>,
    pub(crate) quota_bytes: Option<u64>,
    pub(crate) limits: SendingLimits,
    /// Names, one in each line.
    pub(crate) backends: &'a str,
    pub(crate) secret: Secret<'a>,
    lists: Option<&'a [u8]>,
}

/// What a password is compared with.
#[derive(Clone, Copy)]
pub(crate) struct Secret<'a> {
    credential: &'a [u8],
    scram: &'a [u8],
}

/// An app password, read where it lies.
#[derive(Clone, Copy)]
pub(crate) struct App<'a> {
    pub(crate) id: i64,
    pub(crate) protocols: Protocols,
    /// `i64::MAX` for ever.
    pub(crate) expires: i64,
    pub(crate) secret: Secret<'a>,
}

/// The name of any record: of an account or an alias.
pub(crate) fn name_of(record: &[u8]) -> &[u8] {
    Reader(record).bytes().unwrap_or_default()
}

/// The number of an account's record, and its name.
pub(crate) fn id_of(record: &[u8]) -> Option<i64> {
    let mut reader = Reader(record);
    reader.bytes()?;
    reader.int()
}

impl<'a> Account<'a> {
    /// Reads a record; none if it is damaged.
    pub(crate) fn read(record: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(record);
        let name = reader.text()?;
        let id = AccountId(reader.int()?);
        let flags = reader.byte()?;
        let shard = ShardId(reader.number()?.cast_signed());
        let quota_bytes = if flags & HAS_QUOTA != 0 { Some(reader.number()?) } else { None };
        let mut limits = [None; 5];
        if flags & HAS_LIMITS != 0 {
            for limit in &mut limits {
                let number = reader.number()?;
                *limit = number.checked_sub(1).and_then(|limit| u32::try_from(limit).ok());
            }
        }
        Some(Self {
            id,
            name,
            shard,
            disabled: flags & DISABLED != 0,
            may_send: flags & MAY_SEND != 0,
            keep_copy: flags & KEEP_COPY != 0,
            subscriber: match (flags & LINKED != 0, flags & BLOCKED != 0) {
                (false, _) => None,
                (true, false) => Some(SubscriberState::Active),
                (true, true) => Some(SubscriberState::Blocked),
            },
            quota_bytes,
            limits: SendingLimits::from_array(limits),
            backends: reader.text()?,
            secret: reader.secret()?,
            lists: (flags & HAS_LISTS != 0).then_some(reader.0),
        })
    }

    /// Whether everything in it can be read.
    pub(crate) fn is_whole(record: &'a [u8]) -> bool {
        Self::read(record)
            .is_some_and(|account| account.lists.is_none() || account.read_lists().is_some())
    }

    /// What it may send as beside its own addresses.
    pub(crate) fn senders(&self) -> Vec<&'a str> {
        self.read_lists().map(|(senders, ..)| senders).unwrap_or_default()
    }

    /// Where its mail is forwarded to.
    pub(crate) fn forwards(&self) -> Vec<&'a str> {
        self.read_lists().map(|(_, forwards, _)| forwards).unwrap_or_default()
    }

    /// Its app passwords.
    pub(crate) fn apps(&self) -> Vec<App<'a>> {
        self.read_lists().map(|(.., apps)| apps).unwrap_or_default()
    }

    fn read_lists(&self) -> Option<(Vec<&'a str>, Vec<&'a str>, Vec<App<'a>>)> {
        let mut reader = Reader(self.lists?);
        let (mut senders, mut forwards, mut apps) = (Vec::new(), Vec::new(), Vec::new());
        for list in [&mut senders, &mut forwards] {
            for _ in 0..reader.number()? {
                list.push(reader.text()?);
            }
        }
        for _ in 0..reader.number()? {
            apps.push(App {
                id: reader.int()?,
                protocols: Protocols::from_bits(reader.byte()?),
                expires: reader.int()?,
                secret: reader.secret()?,
            });
        }
        Some((senders, forwards, apps))
    }
}

impl<'a> Secret<'a> {
    pub(crate) fn credential(&self) -> View<'a> {
        View::of(self.credential)
    }

    /// As [`View::of`] reads it.
    pub(crate) fn packed_credential(&self) -> &'a [u8] {
        self.credential
    }

    pub(crate) fn scheme(&self) -> Scheme {
        self.credential().scheme()
    }

    pub(crate) fn scram(&self) -> Option<ScramKeys> {
        ScramKeys::unpack(self.scram)
    }

    pub(crate) fn has_scram(&self) -> bool {
        !self.scram.is_empty()
    }
}

/// Packs an alias.
pub(crate) fn pack_alias(name: &str, targets: &[(String, bool)]) -> Vec<u8> {
    let length: usize = targets.iter().map(|(target, _)| target.len() + 3).sum();
    let mut out = Writer(Vec::with_capacity(name.len() + length + 2));
    out.bytes(name.as_bytes());
    for (target, may_send) in targets {
        out.0.push(u8::from(*may_send));
        out.bytes(target.as_bytes());
    }
    out.0
}

/// The targets of an alias, each with whether it may send as the alias.
pub(crate) fn targets(record: &[u8]) -> impl Iterator<Item = (&str, bool)> {
    let mut reader = Reader(record);
    let _ = reader.bytes();
    std::iter::from_fn(move || {
        let may_send = reader.byte()? != 0;
        Some((reader.text()?, may_send))
    })
}

/// Whether everything in an alias can be read.
pub(crate) fn is_whole_alias(record: &[u8]) -> bool {
    let mut reader = Reader(record);
    if reader.text().is_none() {
        return false;
    }
    while !reader.0.is_empty() {
        if reader.byte().is_none() || reader.text().is_none() {
            return false;
        }
    }
    true
}

struct Writer(Vec<u8>);

impl Writer {
    /// Seven bits in each byte, the lowest first.
    fn number(&mut self, mut number: u64) {
        while number > 0x7f {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn secret(&mut self, credential: &Credential, scram: Option<&ScramKeys>) {
        let mut packed = Vec::new();
        credential.pack(&mut packed);
        self.bytes(&packed);
        packed.clear();
        if let Some(keys) = scram {
            keys.pack(&mut packed);
        }
        self.bytes(&packed);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn int(&mut self) -> Option<i64> {
        let (bytes, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(i64::from_le_bytes(*bytes))
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        str::from_utf8(self.bytes()?).ok()
    }

    fn secret(&mut self) -> Option<Secret<'a>> {
        Some(Secret { credential: self.bytes()?, scram: self.bytes()? })
    }
}

#[cfg(test)]
mod tests {
    use muralla_credentials::Check;
    use proptest::prelude::*;

    use super::*;

    fn full() -> NewAccount<'static> {
        NewAccount {
            id: 7,
            name: "ann@example.org",
            shard: 300,
            disabled: true,
            may_send: true,
            keep_copy: true,
            subscriber: Some(SubscriberState::Blocked),
            quota_bytes: Some(0),
            limits: SendingLimits {
                messages_per_hour: Some(0),
                recipients_per_day: Some(u32::MAX),
                ..SendingLimits::default()
            },
            backends: "store\nold",
            credential: Credential::parse("{CLEARTEXT}secret").unwrap(),
            scram: Some(ScramKeys::derive(b"secret", b"salt", 2)),
            senders: vec!["@example.net"],
            lists: Lists {
                forwards: vec!["ann@example.com".into(), "bob@example.com".into()],
                apps: vec![NewApp {
                    id: 3,
                    protocols: Protocols::DEVICE,
                    expires: Some(5),
                    credential: Credential::parse("{CLEARTEXT}other").unwrap(),
                    scram: None,
                }],
            },
        }
    }

    #[test]
    fn an_account_comes_back_as_it_was() {
        let packed = full().pack();
        assert!(Account::is_whole(&packed));
        assert_eq!((name_of(&packed), id_of(&packed)), (&b"ann@example.org"[..], Some(7)));
        let account = Account::read(&packed).unwrap();
        assert_eq!((account.id, account.name), (AccountId(7), "ann@example.org"));
        assert_eq!((account.shard, account.quota_bytes), (ShardId(300), Some(0)));
        assert_eq!(account.limits, full().limits);
        assert!(account.disabled && account.may_send && account.keep_copy);
        assert_eq!(account.subscriber, Some(SubscriberState::Blocked));
        for subscriber in [None, Some(SubscriberState::Active)] {
            let packed = NewAccount { subscriber, ..full() }.pack();
            assert_eq!(Account::read(&packed).unwrap().subscriber, subscriber);
        }
        assert_eq!(account.backends, "store\nold");
        assert!(matches!(account.secret.credential().check(b"secret"), Check::Fits));
        assert!(account.secret.scram().unwrap().fits(b"secret"));
        assert_eq!(account.senders(), ["@example.net"]);
        assert_eq!(account.forwards(), ["ann@example.com", "bob@example.com"]);
        let apps = account.apps();
        assert_eq!((apps.len(), apps[0].id, apps[0].expires), (1, 3, 5));
        assert!(matches!(apps[0].secret.credential().check(b"other"), Check::Fits));
        assert!(!apps[0].secret.has_scram() && apps[0].protocols.has(crate::Protocol::Imap));
    }

    #[test]
    fn an_alias_comes_back_as_it_was() {
        let targets_of =
            vec![("ann@example.org".to_owned(), true), ("b@example.com".to_owned(), false)];
        let packed = pack_alias("all@example.org", &targets_of);
        assert!(is_whole_alias(&packed));
        assert_eq!(name_of(&packed), b"all@example.org");
        let read: Vec<_> = targets(&packed).collect();
        assert_eq!(read, [("ann@example.org", true), ("b@example.com", false)]);
        assert!(!is_whole_alias(&packed[..packed.len() - 1]));
    }

    /// Half a million of these are to fit into 150 MB, with what finds them.
    #[test]
    fn a_usual_account_is_small() {
        let text = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let account = NewAccount {
            id: 499_999,
            name: "firstname.lastname@example.org",
            shard: 1,
            may_send: true,
            keep_copy: true,
            credential: Credential::parse(text).unwrap(),
            scram: Some(ScramKeys::derive(b"x", &[0; 16], 1)),
            ..NewAccount::default()
        };
        assert!(account.pack().len() <= 200, "{}", account.pack().len());
    }

    proptest! {
        #[test]
        fn nothing_is_too_damaged_to_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (name_of(&bytes), id_of(&bytes), Account::is_whole(&bytes));
            prop_assert!(targets(&bytes).count() <= bytes.len());
            let _ = is_whole_alias(&bytes);
        }

        #[test]
        fn what_was_cut_off_is_noticed(cut in 1usize..400) {
            let packed = full().pack();
            let cut = packed.len().saturating_sub(cut);
            prop_assert!(!Account::is_whole(&packed[..cut]));
        }

        #[test]
        fn numbers_come_back(number in any::<u64>()) {
            let mut writer = Writer(Vec::new());
            writer.number(number);
            let mut reader = Reader(&writer.0);
            prop_assert_eq!(reader.number(), Some(number));
            prop_assert!(reader.0.is_empty());
        }
    }
}
