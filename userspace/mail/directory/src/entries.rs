//! What operators enter, as it lies in the database.

use std::fmt;
use std::path::{Component, PathBuf};

use muralla_credentials::{Credential, Hidden};
use muralla_mail_envelope::{Address, Domain};
use serde::{Deserialize, Serialize};

use crate::{DirectoryError, Name};

/// An account's number: its own for ever, whatever its name.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(transparent)]
pub struct AccountId(pub i64);

/// A shard's number.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(transparent)]
pub struct ShardId(pub i64);

/// A back-end's number.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(transparent)]
pub struct BackendId(pub i64);

impl ShardId {
    /// The one that is there from the beginning.
    pub const MAIN: Self = Self(1);
}

impl BackendId {
    /// Our own store.
    pub const STORE: Self = Self(0);
    /// One that is named somewhere and not there: what is for it waits.
    pub const MISSING: Self = Self(-1);
}

impl fmt::Display for AccountId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl fmt::Display for BackendId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// How much may be sent. None: what stands above says it (the domain, the configuration); 0: there is no limit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SendingLimits {
    /// Messages in an hour.
    pub messages_per_hour: Option<u32>,
    /// Messages in a day.
    pub messages_per_day: Option<u32>,
    /// Recipients in an hour, each message's counted.
    pub recipients_per_hour: Option<u32>,
    /// Recipients in a day.
    pub recipients_per_day: Option<u32>,
    /// Recipients of one message.
    pub recipients_per_message: Option<u32>,
}

impl SendingLimits {
    /// What a person needs at most, and a stolen account at least.
    pub const USUAL: Self = Self {
        messages_per_hour: Some(200),
        messages_per_day: Some(1_000),
        recipients_per_hour: Some(500),
        recipients_per_day: Some(2_000),
        recipients_per_message: Some(100),
    };

    /// These, and `above` where these say nothing.
    #[must_use]
    pub fn or(self, above: Self) -> Self {
        Self {
            messages_per_hour: self.messages_per_hour.or(above.messages_per_hour),
            messages_per_day: self.messages_per_day.or(above.messages_per_day),
            recipients_per_hour: self.recipients_per_hour.or(above.recipients_per_hour),
            recipients_per_day: self.recipients_per_day.or(above.recipients_per_day),
            recipients_per_message: self.recipients_per_message.or(above.recipients_per_message),
        }
    }

    pub(crate) fn to_array(self) -> [Option<u32>; 5] {
        [
            self.messages_per_hour,
            self.messages_per_day,
            self.recipients_per_hour,
            self.recipients_per_day,
            self.recipients_per_message,
        ]
    }

    pub(crate) fn from_array(limits: [Option<u32>; 5]) -> Self {
        let [
            messages_per_hour,
            messages_per_day,
            recipients_per_hour,
            recipients_per_day,
            recipients_per_message,
        ] = limits;
        Self {
            messages_per_hour,
            messages_per_day,
            recipients_per_hour,
            recipients_per_day,
            recipients_per_message,
        }
    }
}

/// A domain of ours.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DomainEntry {
    /// Its name.
    pub name: Domain,
    /// The domain whose addresses all of this one's are, too; then the rest of the entry means nothing.
    #[serde(default)]
    pub alias_of: Option<Domain>,
    /// Whether its mail and its logins are refused.
    #[serde(default)]
    pub disabled: bool,
    /// Whether what is nobody's goes to the back-ends, which know more than we do.
    #[serde(default)]
    pub relay: bool,
    /// Where mail goes that is nobody's.
    #[serde(default)]
    pub catch_all: Vec<Address>,
    /// What parts a detail from a name, as in `name+detail`; none if nothing does.
    #[serde(default = "DomainEntry::separator")]
    pub separator: Option<char>,
    /// Names of back-ends that take its accounts' mail; none: our store.
    #[serde(default)]
    pub backends: Vec<String>,
    /// Where its new accounts live; none: where there is most room.
    #[serde(default)]
    pub shard: Option<ShardId>,
    /// Bytes that an account may have; 0: no limit; none: as configured.
    #[serde(default)]
    pub quota_bytes: Option<u64>,
    /// How much an account may send.
    #[serde(default)]
    pub limits: SendingLimits,
    /// When it was entered, in seconds since 1970; set when it is.
    #[serde(default)]
    pub created: i64,
    /// For people.
    #[serde(default)]
    pub note: Option<String>,
}

impl DomainEntry {
    /// A domain with the usual values.
    #[must_use]
    pub fn new(name: Domain) -> Self {
        Self {
            name,
            alias_of: None,
            disabled: false,
            relay: false,
            catch_all: Vec::new(),
            separator: Self::separator(),
            backends: Vec::new(),
            shard: None,
            quota_bytes: None,
            limits: SendingLimits::default(),
            created: 0,
            note: None,
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "it is a field's usual value")]
    fn separator() -> Option<char> {
        Some('+')
    }

    pub(crate) fn check(&self) -> Result<(), DirectoryError> {
        let invalid =
            |why: &str| Err(DirectoryError::invalid(format!("domain {}", self.name), why));
        if self.alias_of.as_ref() == Some(&self.name) {
            return invalid("it can not be an alias of itself");
        }
        if self.separator.is_some_and(|char| {
            char.is_alphanumeric() || "@\"\\ ".contains(char) || char.is_control()
        }) {
            return invalid("what parts a detail from a name is a sign such as + or -");
        }
        if self.relay && !self.backends.iter().any(|backend| backend != Backend::STORE) {
            return invalid(
                "who relays what is nobody's needs a back-end that is not our store: name one",
            );
        }
        if self.catch_all.len() > MOST_CATCH_ALL {
            return invalid(
                "it has more than 100 addresses for what is nobody's: make them an alias",
            );
        }
        check_names(&format!("domain {}", self.name), &self.backends)
    }
}

/// Most addresses of a catch-all.
const MOST_CATCH_ALL: usize = 100;

/// An account: who logs in, and whose mail is kept.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AccountEntry {
    /// Its number; given when it is entered, and told by what reads it.
    #[serde(default)]
    pub id: Option<AccountId>,
    /// Its name and main address.
    pub name: Name,
    /// `{SCHEME}text`, such as `{SSHA}...`, `$2b$...`; empty if no password will do. See
    /// [`Registry::set_password`](crate::Registry::set_password) for one that is known.
    #[serde(default, skip_serializing)]
    pub credential: Hidden,
    /// Keys of SCRAM-SHA-256 made of the same password; see [`ScramKeys`](crate::ScramKeys).
    #[serde(default, skip_serializing)]
    pub scram: Option<Hidden>,
    /// Where its mail lives; none when it is entered: the domain's shard, or where there is most room.
    #[serde(default)]
    pub shard: Option<ShardId>,
    /// Names of back-ends that take its mail, all of them; none: the domain's.
    #[serde(default)]
    pub backends: Vec<String>,
    /// Bytes that it may have, of mail as it came; 0: no limit; none: the domain's.
    #[serde(default)]
    pub quota_bytes: Option<u64>,
    /// Whether neither mail nor a login is taken.
    #[serde(default)]
    pub disabled: bool,
    /// Whether it may send.
    #[serde(default = "yes")]
    pub may_send: bool,
    /// Where its mail is forwarded to.
    #[serde(default)]
    pub forwards: Vec<Address>,
    /// Whether what is forwarded stays here as well.
    #[serde(default = "yes")]
    pub keep_copy: bool,
    /// What it may send as beside its own addresses: others, or `@domain`.
    #[serde(default)]
    pub senders: Vec<String>,
    /// How much it may send.
    #[serde(default)]
    pub limits: SendingLimits,
    /// The subscriber of RADIUS who is the same person.
    #[serde(default)]
    pub subscriber: Option<String>,
    /// How he is there; none if he does not lie in the same database, so that each has a password of his own. Told by what reads it.
    #[serde(default)]
    pub subscriber_state: Option<SubscriberState>,
    /// When it was entered, in seconds since 1970; set when it is.
    #[serde(default)]
    pub created: i64,
    /// For people.
    #[serde(default)]
    pub note: Option<String>,
}

/// How the subscriber is whose password an account has.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SubscriberState {
    /// He may have access.
    Active,
    /// He is refused there.
    Blocked,
}

fn yes() -> bool {
    true
}

impl AccountEntry {
    /// An account with the usual values, which no password fits.
    #[must_use]
    pub fn new(name: Name) -> Self {
        Self {
            id: None,
            name,
            credential: Hidden::default(),
            scram: None,
            shard: None,
            backends: Vec::new(),
            quota_bytes: None,
            disabled: false,
            may_send: true,
            forwards: Vec::new(),
            keep_copy: true,
            senders: Vec::new(),
            limits: SendingLimits::default(),
            subscriber: None,
            subscriber_state: None,
            created: 0,
            note: None,
        }
    }

    pub(crate) fn check(&self) -> Result<(), DirectoryError> {
        let what = format!("account {}", self.name);
        let credential = Credential::parse(self.credential.reveal())
            .map_err(|error| DirectoryError::invalid(&what, format!("its credential: {error}")))?;
        if credential == Credential::Anything {
            return Err(DirectoryError::invalid(
                what,
                "an account that any password fits is a spammer's: set one",
            ));
        }
        if let Some(keys) = &self.scram {
            crate::ScramKeys::parse(keys.reveal())
                .map_err(|error| DirectoryError::invalid(&what, error))?;
        }
        if self.forwards.len() > MOST_FORWARDS {
            return Err(DirectoryError::invalid(
                what,
                "its mail is forwarded to more than 100 addresses: make them an alias",
            ));
        }
        if self.senders.len() > MOST_SENDERS {
            return Err(DirectoryError::invalid(
                what,
                "it may send as more than 100 addresses: write @domain",
            ));
        }
        for sender in &self.senders {
            check_sender(sender).map_err(|error| DirectoryError::invalid(&what, error))?;
        }
        if self.subscriber.as_ref().is_some_and(|subscriber| {
            subscriber.is_empty() || subscriber.len() > LONGEST_SUBSCRIBER
        }) {
            return Err(DirectoryError::invalid(what, "a subscriber's name has 1 to 253 bytes"));
        }
        check_names(&what, &self.backends)
    }
}

/// Longest name of a subscriber, in bytes: an attribute of RADIUS has no more (RFC 2865 section 5).
pub(crate) const LONGEST_SUBSCRIBER: usize = 253;

/// Most forwards, and most other senders, of an account.
const MOST_FORWARDS: usize = 100;
const MOST_SENDERS: usize = 100;

/// The form in which what an account may send as is stored.
pub(crate) fn check_sender(sender: &str) -> Result<String, DirectoryError> {
    match sender.strip_prefix('@') {
        Some(domain) => {
            let domain = Domain::parse(domain)
                .map_err(|error| DirectoryError::invalid(format!("sender {sender}"), error))?;
            Ok(format!("@{domain}"))
        }
        None => Ok(Name::parse(sender)?.into()),
    }
}

/// An alias: a name whose mail goes elsewhere.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AliasEntry {
    /// Its name.
    pub name: Name,
    /// Where its mail goes; its own name among them is the account of that name.
    pub targets: Vec<Address>,
    /// Whether accounts that are its targets may send as it.
    #[serde(default = "yes")]
    pub may_send: bool,
    /// For people.
    #[serde(default)]
    pub note: Option<String>,
}

impl AliasEntry {
    /// Most targets of an alias.
    pub const MOST_TARGETS: usize = 10_000;

    /// An alias with the usual values.
    #[must_use]
    pub fn new(name: Name, targets: Vec<Address>) -> Self {
        Self { name, targets, may_send: true, note: None }
    }

    pub(crate) fn check(&self) -> Result<(), DirectoryError> {
        let invalid = |why: &str| Err(DirectoryError::invalid(format!("alias {}", self.name), why));
        if self.targets.is_empty() {
            return invalid("it has no target: name one, or remove the alias");
        }
        if self.targets.len() > Self::MOST_TARGETS {
            return invalid(
                "it has more than 10000 targets: part it into several, or use a list manager",
            );
        }
        Ok(())
    }
}

/// A password for one program or device: made by us, long, and good for what it was made for.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct AppPasswordEntry {
    /// Its number.
    pub id: i64,
    /// Whose it is.
    pub account: AccountId,
    /// What its owner calls it.
    pub label: String,
    /// What it is good for.
    pub protocols: Protocols,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// When it ends, in seconds since 1970.
    pub expires: Option<i64>,
}

/// What somebody logs in for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "their names are their documentation")]
pub enum Protocol {
    Pop3,
    Imap,
    Submission,
    Webmail,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pop3, Self::Imap, Self::Submission, Self::Webmail];

    /// Its name, as it is entered.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pop3 => "pop3",
            Self::Imap => "imap",
            Self::Submission => "submission",
            Self::Webmail => "webmail",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of protocols; as text, their names with spaces between.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Protocols(u8);

impl Protocols {
    /// All of them.
    pub const ALL: Self = Self(0b1111);
    /// What a mail program on a device needs.
    pub const DEVICE: Self =
        Self(Protocol::Pop3.bit() | Protocol::Imap.bit() | Protocol::Submission.bit());

    /// A set of these.
    #[must_use]
    pub fn of(protocols: &[Protocol]) -> Self {
        Self(protocols.iter().fold(0, |bits, protocol| bits | protocol.bit()))
    }

    /// Whether a protocol is in it.
    #[must_use]
    pub const fn has(self, protocol: Protocol) -> bool {
        self.0 & protocol.bit() != 0
    }

    /// Reads names with spaces or commas between.
    ///
    /// # Errors
    ///
    /// If there is none, or another.
    pub fn parse(text: &str) -> Result<Self, DirectoryError> {
        let invalid = || {
            DirectoryError::invalid(
                "protocols",
                "write one or more of pop3, imap, submission, webmail",
            )
        };
        let mut bits = 0;
        for name in text.split([' ', ',']).filter(|name| !name.is_empty()) {
            let protocol = Protocol::ALL.into_iter().find(|known| known.name() == name);
            bits |= protocol.ok_or_else(invalid)?.bit();
        }
        if bits == 0 { Err(invalid()) } else { Ok(Self(bits)) }
    }

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    pub(crate) const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ALL.0)
    }
}

impl fmt::Display for Protocols {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Protocol::ALL.into_iter().filter(|protocol| self.has(*protocol));
        for (at, protocol) in names.enumerate() {
            let space = if at > 0 { " " } else { "" };
            write!(out, "{space}{}", protocol.name())?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Protocols {
    type Error = DirectoryError;

    fn try_from(text: String) -> Result<Self, DirectoryError> {
        Self::parse(&text)
    }
}

impl From<Protocols> for String {
    fn from(protocols: Protocols) -> Self {
        protocols.to_string()
    }
}

/// Where mail is handed over.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Backend {
    /// Our own store.
    Store,
    /// A store that speaks LMTP (RFC 2033).
    Lmtp {
        /// Its host, or address.
        host: String,
        /// Its port.
        port: u16,
    },
    /// Another server that speaks SMTP.
    Smtp {
        /// Its host, or address.
        host: String,
        /// Its port.
        port: u16,
    },
    /// Folders of Maildir.
    Maildir {
        /// Where an account's is: `%u` is its name, `%n` the local part of it, `%d` the domain.
        path: String,
    },
}

impl Backend {
    /// The name of our own store among the back-ends.
    pub const STORE: &'static str = "store";

    pub(crate) fn check(&self, what: &str) -> Result<(), DirectoryError> {
        match self {
            Self::Store => Err(DirectoryError::invalid(
                what,
                "the store is one without being entered: its name is store",
            )),
            Self::Lmtp { host, port } | Self::Smtp { host, port } => {
                let plain = |char: char| char.is_ascii_alphanumeric() || "-._:".contains(char);
                if host.is_empty() || host.len() > 253 || !host.chars().all(plain) {
                    return Err(DirectoryError::invalid(
                        what,
                        "its host is neither a name nor an address",
                    ));
                }
                if *port == 0 {
                    return Err(DirectoryError::invalid(what, "its port is between 1 and 65535"));
                }
                Ok(())
            }
            Self::Maildir { path } => {
                let sample = Name::parse("name@example.org")?;
                maildir(path, &sample)
                    .map(drop)
                    .map_err(|why| DirectoryError::invalid(what, why))?;
                let each = path.contains("%u") || (path.contains("%n") && path.contains("%d"));
                if each {
                    return Ok(());
                }
                Err(DirectoryError::invalid(
                    what,
                    "its path is the same for several accounts: put %u into it, or %d and %n",
                ))
            }
        }
    }

    /// The Maildir of an account.
    ///
    /// # Errors
    ///
    /// If this is no Maildir, or the account's name can't be a part of a path, such as one with a slash.
    pub fn maildir(&self, account: &Name) -> Result<PathBuf, DirectoryError> {
        let what = || format!("Maildir of {account}");
        match self {
            Self::Maildir { path } => {
                maildir(path, account).map_err(|why| DirectoryError::invalid(what(), why))
            }
            _ => Err(DirectoryError::invalid(what(), "the back-end is no Maildir")),
        }
    }
}

/// Whoever has a name must not choose a folder by it.
fn maildir(template: &str, account: &Name) -> Result<PathBuf, &'static str> {
    let (local, domain) = (account.local(), account.domain());
    if local.starts_with('.') || local.contains(['/', '\0']) {
        return Err(
            "this name can't be a part of a path: rename the account, or use another back-end",
        );
    }
    let mut path = String::new();
    let mut chars = template.chars();
    while let Some(char) = chars.next() {
        match char {
            '%' => match chars.next() {
                Some('u') => path.push_str(account.as_str()),
                Some('n') => path.push_str(local),
                Some('d') => path.push_str(domain),
                Some('%') => path.push('%'),
                _ => return Err("in its path, % is followed by u, n, d or another %"),
            },
            '\0' => return Err("its path has a zero in it"),
            other => path.push(other),
        }
    }
    let path = PathBuf::from(path);
    let plain =
        path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !path.is_absolute() || !plain {
        return Err("its path begins with / and has no .. in it");
    }
    Ok(path)
}

/// A back-end with its name.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct BackendEntry {
    /// Its number; given when it is entered.
    #[serde(default)]
    pub id: Option<BackendId>,
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(flatten)]
    pub backend: Backend,
    /// For people.
    #[serde(default)]
    pub note: Option<String>,
}

/// A shard: a store that mailboxes live in.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ShardEntry {
    /// Its number; given when it is entered.
    #[serde(default)]
    pub id: Option<ShardId>,
    /// Its name.
    pub name: String,
    /// Its database, where the configuration does not say it.
    #[serde(default, skip_serializing)]
    pub location: Option<Hidden>,
    /// Its packs, where the configuration does not say it.
    #[serde(default, skip_serializing)]
    pub packs: Option<Hidden>,
    /// Whether new accounts go elsewhere.
    #[serde(default)]
    pub closed: bool,
    /// For people.
    #[serde(default)]
    pub note: Option<String>,
}

/// Somebody whom an account knows.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ContactEntry {
    /// His address.
    pub address: Address,
    /// His name.
    #[serde(default)]
    pub name: Option<String>,
    /// Who entered it.
    #[serde(default)]
    pub source: ContactSource,
    /// When it was entered, in seconds since 1970; set when it is.
    #[serde(default)]
    pub created: i64,
}

/// Who entered a contact.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ContactSource {
    /// The account's owner.
    #[default]
    Person,
    /// Nobody: mail was sent there.
    Sent,
}

impl ContactSource {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Sent => "sent",
        }
    }

    pub(crate) fn of(name: &str) -> Self {
        if name == "sent" { Self::Sent } else { Self::Person }
    }
}

/// A key that mail of a domain is signed with.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DkimKeyEntry {
    /// The domain that signs.
    pub domain: Domain,
    /// Where in it the public key is published: `selector._domainkey.domain`.
    pub selector: String,
    /// How it signs.
    pub algorithm: DkimAlgorithm,
    /// The private key: PKCS #8 in PEM.
    #[serde(skip_serializing)]
    pub private_key: Hidden,
    /// Whether mail is signed with it.
    #[serde(default)]
    pub active: bool,
    /// When it was entered, in seconds since 1970; set when it is.
    #[serde(default)]
    pub created: i64,
}

/// How a key signs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DkimAlgorithm {
    /// RFC 6376.
    RsaSha256,
    /// RFC 8463.
    Ed25519Sha256,
}

impl DkimAlgorithm {
    /// Its name in the signature.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa-sha256",
            Self::Ed25519Sha256 => "ed25519-sha256",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        [Self::RsaSha256, Self::Ed25519Sha256].into_iter().find(|known| known.name() == name)
    }
}

impl DkimKeyEntry {
    pub(crate) fn check(&self) -> Result<(), DirectoryError> {
        let what = format!("DKIM key {} of {}", self.selector, self.domain);
        // RFC 6376 section 3.1: sub-domains, as DNS has them.
        if Domain::parse(&format!("{}.example", self.selector)).is_err() {
            return Err(DirectoryError::invalid(
                what,
                "a selector consists of letters, digits and hyphens, such as 2026a",
            ));
        }
        let key = self.private_key.reveal();
        if !key.contains("-----BEGIN") || !key.contains("PRIVATE KEY-----") || key.len() > 16_384 {
            return Err(DirectoryError::invalid(
                what,
                "the private key is not in PEM: it begins with -----BEGIN PRIVATE KEY-----",
            ));
        }
        Ok(())
    }
}

/// Names of back-ends in an entry.
pub(crate) fn check_names(what: &str, names: &[String]) -> Result<(), DirectoryError> {
    if names.len() > 16 {
        return Err(DirectoryError::invalid(what, "it has more than 16 back-ends"));
    }
    for (at, name) in names.iter().enumerate() {
        check_label(&format!("{what}: back-end {name}"), name)?;
        if names.iter().take(at).any(|earlier| earlier == name) {
            return Err(DirectoryError::invalid(
                what,
                format!("its back-end {name} is there twice"),
            ));
        }
    }
    Ok(())
}

/// A name of a shard or back-end.
pub(crate) fn check_label(what: &str, name: &str) -> Result<(), DirectoryError> {
    let plain = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
    if (1..=64).contains(&name.len()) && name.chars().all(plain) {
        return Ok(());
    }
    Err(DirectoryError::invalid(
        what,
        "a name has 1 to 64 letters, digits, hyphens, dots or underscores",
    ))
}

/// Items as they lie in the database: one in each line.
pub(crate) fn lines<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The items of a text.
pub(crate) fn items(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_in_no_text() {
        let mut account = AccountEntry::new(Name::parse("ann@example.org").unwrap());
        account.credential = Hidden::new("{CLEARTEXT}arctangent");
        account.scram = Some(Hidden::new("arctangent"));
        let key = DkimKeyEntry {
            domain: Domain::parse("example.org").unwrap(),
            selector: "a".into(),
            algorithm: DkimAlgorithm::Ed25519Sha256,
            private_key: Hidden::new("arctangent"),
            active: true,
            created: 0,
        };
        let shard = ShardEntry {
            id: None,
            name: "a".into(),
            location: Some(Hidden::new("postgres://u:arctangent@h/d")),
            packs: Some(Hidden::new("arctangent")),
            closed: false,
            note: None,
        };
        for text in [
            format!("{account:?}{key:?}{shard:?}"),
            serde_json::to_string(&account).unwrap(),
            serde_json::to_string(&key).unwrap(),
            serde_json::to_string(&shard).unwrap(),
        ] {
            assert!(!text.contains("arctangent"), "{text}");
        }
    }

    #[test]
    fn entries_are_read_with_the_usual_values() {
        let account: AccountEntry = serde_json::from_str(r#"{"name": "Ann@example.org"}"#).unwrap();
        assert_eq!(account, AccountEntry::new(Name::parse("ann@example.org").unwrap()));
        let domain: DomainEntry = serde_json::from_str(r#"{"name": "example.org"}"#).unwrap();
        assert_eq!(domain, DomainEntry::new(Domain::parse("example.org").unwrap()));
        assert!(serde_json::from_str::<AccountEntry>(r#"{"nmae": "ann@example.org"}"#).is_err());
        let text = r#"{"name": "old", "kind": "lmtp", "host": "192.0.2.1", "port": 24}"#;
        let backend: BackendEntry = serde_json::from_str(text).unwrap();
        assert_eq!(backend.backend, Backend::Lmtp { host: "192.0.2.1".into(), port: 24 });
    }

    #[test]
    fn a_maildir_is_where_the_operator_said_and_nowhere_else() {
        let backend = |path: &str| Backend::Maildir { path: path.into() };
        for (path, name, expected) in [
            ("/var/mail/%d/%n", "ann@example.org", Some("/var/mail/example.org/ann")),
            ("/var/mail/%u/100%%", "ann@example.org", Some("/var/mail/ann@example.org/100%")),
            ("/var/mail/%d/%n", "../ann@example.org", None),
            ("/var/mail/%d/%n", ".@example.org", None),
            ("/var/mail/%d/%n", "a/b@example.org", None),
            ("/var/../mail/%u", "ann@example.org", None),
            ("mail/%u", "ann@example.org", None),
            ("/mail/%x", "ann@example.org", None),
        ] {
            let maildir = backend(path).maildir(&Name::parse(name).unwrap()).ok();
            assert_eq!(maildir, expected.map(PathBuf::from), "{path} {name}");
        }
        assert!(backend("/var/mail/%n").check("x").is_err(), "two domains may have one name");
        assert!(backend("/var/mail/%d/%n").check("x").is_ok());
        assert!(Backend::Store.check("x").is_err());
    }

    #[test]
    fn protocols_are_names() {
        for (text, expected) in [
            ("pop3", Some(Protocols::of(&[Protocol::Pop3]))),
            ("submission,imap pop3", Some(Protocols::DEVICE)),
            ("", None),
            ("telnet", None),
        ] {
            assert_eq!(Protocols::parse(text).ok(), expected, "{text}");
        }
        assert_eq!(Protocols::parse(&Protocols::ALL.to_string()).unwrap(), Protocols::ALL);
        assert!(!Protocols::DEVICE.has(Protocol::Webmail));
    }

    #[test]
    fn entries_that_make_no_sense_are_refused() {
        let domain = |change: fn(&mut DomainEntry)| {
            let mut entry = DomainEntry::new(Domain::parse("example.org").unwrap());
            change(&mut entry);
            entry.check()
        };
        assert!(domain(|_| ()).is_ok());
        assert!(domain(|entry| entry.separator = None).is_ok());
        assert!(domain(|entry| entry.separator = Some('a')).is_err());
        assert!(domain(|entry| entry.relay = true).is_err());
        assert!(domain(|entry| entry.alias_of = Some(entry.name.clone())).is_err());
        assert!(domain(|entry| entry.backends = vec!["a".into(), "a".into()]).is_err());
        let account = |change: fn(&mut AccountEntry)| {
            let mut entry = AccountEntry::new(Name::parse("ann@example.org").unwrap());
            change(&mut entry);
            entry.check()
        };
        assert!(
            account(|entry| entry.senders = vec!["@example.org".into(), "b@example.org".into()])
                .is_ok()
        );
        assert!(account(|entry| entry.senders = vec!["everybody".into()]).is_err());
        assert!(account(|entry| entry.credential = Hidden::new("{SSHA}short")).is_err());
        assert!(account(|entry| entry.scram = Some(Hidden::new("short"))).is_err());
        let key = DkimKeyEntry {
            domain: Domain::parse("example.org").unwrap(),
            selector: "a b".into(),
            algorithm: DkimAlgorithm::RsaSha256,
            private_key: Hidden::new("-----BEGIN PRIVATE KEY-----\n"),
            active: false,
            created: 0,
        };
        assert!(key.check().is_err());
        assert!(DkimKeyEntry { selector: "2026a".into(), ..key.clone() }.check().is_ok());
        assert!(
            DkimKeyEntry { selector: "a".into(), private_key: Hidden::new("x"), ..key }
                .check()
                .is_err()
        );
    }
}
