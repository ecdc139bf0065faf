//! What an operator may write about mail, with its defaults.

mod problems;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use muralla_filter_perimeter::proxy::NextHop;
use muralla_mail_directory::{BlockedSubscribers, Hidden, Location, SendingLimits};
use muralla_mail_envelope::{Address, Domain, Keys};
use muralla_mail_store::{PackLocation, S3Location};
use muralla_smtp::tls::CertificateFiles;
use serde::{Deserialize, Serialize, Serializer};

use crate::units;

/// The mail roles: `[mail]`. Those whose section is missing do not run.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MailConfig {
    /// This machine's name, as other mail servers are told it and find it in DNS.
    pub hostname: Domain,
    /// Where directory, mailboxes and queue are: a file of SQLite, or `postgres://...`.
    #[serde(default = "default_database", serialize_with = "show_location")]
    pub database: Hidden,
    /// Where bodies are.
    #[serde(default)]
    pub packs: PacksConfig,
    /// Databases and packs of the other shards, by name, where the directory does not say them.
    #[serde(default)]
    pub shards: BTreeMap<String, ShardConfig>,
    /// Where the directory is kept for a start while the database is away; empty for nowhere.
    #[serde(default = "default_copy")]
    pub copy: PathBuf,
    /// Where mail waits on this machine while it can't be stored.
    #[serde(default)]
    pub spool: SpoolConfig,
    /// Secrets that envelope senders are signed with (SRS, PRVS), the newest first, the same on all machines. Without them nothing
    /// is forwarded under a sender of ours.
    #[serde(default)]
    pub keys: Vec<Hidden>,
    /// The domain of senders of forwarded mail; it has to lead to our mx. By default the hostname.
    #[serde(default)]
    pub forwarding_domain: Option<Domain>,
    /// Certificates of all roles. The first is for who asks for no name.
    #[serde(default)]
    pub certificates: Vec<CertificateConfig>,
    /// Domain of who logs in with a name alone.
    #[serde(default)]
    pub default_domain: Option<Domain>,
    /// Who gets mail for `postmaster` where nobody has that name.
    #[serde(default)]
    pub postmaster: Option<Address>,
    /// Bytes that an account may have if nothing else says it; 0: no limit.
    #[serde(default = "default_quota", with = "units::size")]
    pub quota: u64,
    /// How much an account may send if nothing else says it.
    #[serde(default = "default_limits")]
    pub limits: SendingLimits,
    /// What somebody may do with his mail who is blocked as a subscriber of RADIUS. Mail for him is taken in any case.
    #[serde(default)]
    pub blocked_subscribers: BlockedSubscribers,
    /// After how many days messages in Inbox are removed, whether they were read or not; 0: never. POP3 tells it to clients.
    #[serde(default)]
    pub inbox_days: u32,
    /// After how many days messages in Spam are removed; 0: never.
    #[serde(default = "default_days")]
    pub spam_days: u32,
    /// After how many days messages in Trash are removed; 0: never.
    #[serde(default = "default_days")]
    pub trash_days: u32,
    /// Minutes that this machine's zone lies east of Greenwich, for dates in headers.
    #[serde(default)]
    pub utc_offset_minutes: i16,
    /// Mail from other servers.
    #[serde(default)]
    pub mx: Option<MxConfig>,
    /// Mail from our users.
    #[serde(default)]
    pub submission: Option<SubmissionConfig>,
    /// Mail on its way out.
    #[serde(default)]
    pub outgoing: Option<OutgoingConfig>,
    /// Mailboxes for mail programs.
    #[serde(default)]
    pub pop3: Option<Pop3Config>,
    /// Whether mail from other servers is judged, and by what. Without it, everything is taken.
    #[serde(default)]
    pub filter: Option<FilterConfig>,
}

/// Where bodies are: a folder's path, or a bucket.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum PacksConfig {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A bucket that speaks S3.
    Bucket(BucketConfig),
}

/// A bucket that speaks S3.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BucketConfig {
    /// Such as `https://s3.example.net`.
    pub endpoint: String,
    /// Such as `garage`.
    pub region: String,
    /// The bucket's name.
    pub bucket: String,
    /// What names of objects begin with.
    #[serde(default)]
    pub prefix: String,
    /// The name of the key.
    pub access_key: String,
    /// The key.
    pub secret_key: Hidden,
}

/// Where a shard is.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ShardConfig {
    /// Its database.
    #[serde(serialize_with = "show_location")]
    pub database: Hidden,
    /// Its packs.
    pub packs: PacksConfig,
}

/// Where mail waits on this machine while it can't be stored.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpoolConfig {
    /// Its folder, on a disk that keeps what it was told to keep.
    pub folder: PathBuf,
    /// Bytes that may wait. Beyond them senders are told to come again.
    #[serde(with = "units::size")]
    pub size: u64,
    /// Messages that may wait.
    pub messages: usize,
    /// How long the oldest may wait until no more is taken.
    #[serde(with = "units::duration")]
    pub age: Duration,
    /// Bytes of the disk that are left free.
    #[serde(with = "units::size")]
    pub reserve: u64,
    /// How long after a failure what waits is tried again at the latest.
    #[serde(with = "units::duration")]
    pub retry: Duration,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateConfig {
    /// PEM: the certificate, then those between it and its root.
    pub chain: PathBuf,
    /// PEM: its key.
    pub key: PathBuf,
}

/// What is said to a message for a mailbox that is full.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenFull {
    /// Come again (452 4.2.2): senders try for days.
    #[default]
    Defer,
    /// No (552 5.2.2): the sender is told at once.
    Refuse,
}

/// What is said to a failure that comes back to an address of ours that was not signed: it answers mail that was not sent
/// from here, or was sent through another provider.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UnsignedBounces {
    /// Yes.
    #[default]
    Take,
    /// No (550 5.7.1): where all users send through `[mail.submission]`, and nobody answers from nobody (RFC 3834).
    Refuse,
}

/// Mail from other servers: `[mail.mx]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MxConfig {
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// Load balancers whose PROXY header says who the client is.
    pub proxies: Vec<IpNet>,
    /// Bytes of a message.
    #[serde(with = "units::size")]
    pub largest_message: u64,
    /// Recipients of a message: 100 at least (RFC 5321 section 4.5.3.1.8).
    pub recipients: usize,
    /// Recipients in one connection that were refused, after which it ends.
    pub refused_recipients: u32,
    /// Connections at once.
    pub connections: usize,
    /// Connections at once of one source.
    pub connections_per_source: u32,
    /// Bytes of messages in memory.
    #[serde(with = "units::size")]
    pub memory: u64,
    /// How long a client waits to be greeted, to see whether he speaks first.
    #[serde(with = "units::duration")]
    pub greeting_pause: Duration,
    /// How often a message may have been received before it is a loop.
    pub hops: usize,
    /// What is said to a message for a mailbox that is full.
    pub when_full: WhenFull,
    /// What is said to a failure that comes back and answers nothing of ours.
    pub unsigned_bounces: UnsignedBounces,
    /// How long the database may take before a message is spooled.
    #[serde(with = "units::duration")]
    pub patience: Duration,
}

/// Mail from our users: `[mail.submission]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SubmissionConfig {
    /// Where it listens for STARTTLS: port 587.
    pub listen: Vec<SocketAddr>,
    /// Where it listens for TLS from the start: port 465.
    pub listen_tls: Vec<SocketAddr>,
    /// Load balancers whose PROXY header says who the client is.
    pub proxies: Vec<IpNet>,
    /// Bytes of a message.
    #[serde(with = "units::size")]
    pub largest_message: u64,
    /// Recipients of a message.
    pub recipients: usize,
    /// Connections at once.
    pub connections: usize,
    /// Connections at once of one source.
    pub connections_per_source: u32,
    /// Bytes of messages in memory.
    #[serde(with = "units::size")]
    pub memory: u64,
    /// Whether `Received` tells where a user's message came from.
    pub reveal_client: bool,
    /// How long the database may take before a message is spooled.
    #[serde(with = "units::duration")]
    pub patience: Duration,
}

/// Mail on its way out: `[mail.outgoing]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutgoingConfig {
    /// What it calls itself; by default the hostname.
    pub name: Option<Domain>,
    /// Servers of DNS that are asked: our own. By default those of this machine.
    pub resolvers: Vec<SocketAddr>,
    /// The address that it calls from; by default the routing table chooses.
    pub source: Option<std::net::IpAddr>,
    /// Transactions at once, to all destinations.
    pub transactions: usize,
    /// Transactions at once with one destination.
    pub per_destination: u32,
    /// Bytes of messages in memory.
    #[serde(with = "units::size")]
    pub memory: u64,
    /// The port of other servers.
    pub port: u16,
    /// Whether users' addresses are signed in envelopes (PRVS), so that failures that come back are known to be ours. It
    /// takes `keys`.
    pub sign_senders: bool,
    /// Whether domains' policies for TLS are kept to (MTA-STS, RFC 8461).
    pub mta_sts: bool,
    /// Where these are kept for the next start; empty for nowhere.
    pub policies: PathBuf,
    /// Whether servers with TLSA records have to prove by them who they are (DANE, RFC 7672). It takes `resolvers` on this machine
    /// that validate.
    pub dane: bool,
    /// How long a connection is kept for the next message.
    #[serde(with = "units::duration")]
    pub keep: Duration,
    /// How long a message is tried.
    #[serde(with = "units::duration")]
    pub lifetime: Duration,
    /// After how long its sender is told that it takes long; 0: never.
    #[serde(with = "units::duration")]
    pub tell_delay: Duration,
    /// Waits between attempts, in seconds.
    pub waits: Vec<i64>,
    /// Longest message that goes back whole with a failure.
    #[serde(with = "units::size")]
    pub longest_return: u64,
}

/// Mailboxes for mail programs: `[mail.pop3]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pop3Config {
    /// Where it listens for STLS: port 110.
    pub listen: Vec<SocketAddr>,
    /// Where it listens for TLS from the start: port 995.
    pub listen_tls: Vec<SocketAddr>,
    /// Whether anybody may log in without encryption. Only where all clients are on our own lines.
    pub unencrypted_login: bool,
    /// Connections at once.
    pub connections: usize,
    /// Connections at once of one source.
    pub connections_per_source: usize,
    /// Bytes of messages in memory.
    #[serde(with = "units::size")]
    pub memory: u64,
    /// How long a client who is logged in may be silent: RFC 1939 section 3 wants ten minutes at least.
    #[serde(with = "units::duration")]
    pub idle: Duration,
    /// How long the database may take for an answer.
    #[serde(with = "units::duration")]
    pub patience: Duration,
    /// How long the answer to the first refused login is held back.
    #[serde(with = "units::duration")]
    pub failure_delay: Duration,
}

/// What mail is judged by: `[mail.filter]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilterConfig {
    /// What it learned before it came here, or here. Without one it knows no words, and judges by all else.
    pub model: Option<PathBuf>,
    /// What users put up with who say nothing: from 1, who rather misses a newsletter than sees spam, to 5, who rather sees spam
    /// than misses anything.
    pub tolerance: u8,
    /// Whether what is spam without any doubt is refused while its sender is connected.
    pub cut_off: bool,
    /// Zones of DNS that list addresses which send spam: those that `[dns]` has a copy of, so that nobody waits.
    pub block_lists: Vec<Domain>,
    /// Servers of DNS that are asked who sends a message: our own. By default those of `[mail.outgoing]`, or of this machine.
    pub resolvers: Vec<SocketAddr>,
    /// Names that people here trust, and that are borrowed by those who phish: the provider's own domains, banks.
    pub brands: Vec<String>,
    /// Where other mail systems ask as a milter. Port 11332 is what they expect of rspamd.
    pub milter: Vec<SocketAddr>,
    /// Where they ask over HTTP as they ask rspamd: port 11333.
    pub http: Vec<SocketAddr>,
    /// Who teaches over HTTP has to say this. Without it nobody teaches there.
    pub password: Option<Hidden>,
    /// From where they ask, and are believed about who sends a message. By default this machine alone.
    pub clients: Vec<IpNet>,
    /// Proxies in front of other mail systems.
    pub proxies: Vec<ProxyConfig>,
    /// Where ClamAV listens: the path of its socket, or a host and a port. Without it only our own rules look into parts.
    pub clamd: Option<String>,
    /// Bytes of the largest file that it takes: its `StreamMaxLength`.
    #[serde(with = "units::size")]
    pub clamd_largest: u64,
}

/// A proxy in front of another mail system: `[[mail.filter.proxies]]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where messages go on to: an address, or the path of a socket that speaks LMTP.
    pub next: String,
    /// Whether both sides speak LMTP; otherwise SMTP.
    #[serde(default)]
    pub lmtp: bool,
}

fn default_database() -> Hidden {
    Hidden::new("/var/lib/muralla-mail/mail.db")
}

fn default_copy() -> PathBuf {
    PathBuf::from("/var/lib/muralla-mail/directory.copy")
}

const fn default_quota() -> u64 {
    300_000_000
}

const fn default_days() -> u32 {
    30
}

const fn default_limits() -> SendingLimits {
    SendingLimits::USUAL
}

/// A database's location without its password.
#[must_use]
pub fn without_password(location: &str) -> String {
    let parts = location.split_once("://").and_then(|(scheme, rest)| {
        let (login, place) = rest.rsplit_once('@')?;
        let (user, _) = login.split_once(':')?;
        Some(format!("{scheme}://{user}:{}@{place}", Hidden::MARK))
    });
    parts.unwrap_or_else(|| location.to_owned())
}

fn show_location<S: Serializer>(location: &Hidden, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&without_password(location.reveal()))
}

fn everywhere(port: u16) -> Vec<SocketAddr> {
    vec![SocketAddr::from(([0, 0, 0, 0], port)), SocketAddr::from(([0u16; 8], port))]
}

impl Default for PacksConfig {
    fn default() -> Self {
        Self::Folder(PathBuf::from("/var/lib/muralla-mail/packs"))
    }
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self {
            folder: PathBuf::from("/var/lib/muralla-mail/spool"),
            size: 20 << 30,
            messages: 1_000_000,
            age: Duration::from_secs(3 * 86_400),
            reserve: 1 << 30,
            retry: Duration::from_secs(5),
        }
    }
}

impl Default for MxConfig {
    fn default() -> Self {
        Self {
            listen: everywhere(25),
            proxies: Vec::new(),
            largest_message: 35 << 20,
            recipients: 100,
            refused_recipients: 50,
            connections: 2000,
            connections_per_source: 20,
            memory: 512 << 20,
            greeting_pause: Duration::from_secs(1),
            hops: 50,
            when_full: WhenFull::default(),
            unsigned_bounces: UnsignedBounces::default(),
            patience: Duration::from_secs(10),
        }
    }
}

impl Default for SubmissionConfig {
    fn default() -> Self {
        Self {
            listen: everywhere(587),
            listen_tls: everywhere(465),
            proxies: Vec::new(),
            largest_message: 35 << 20,
            recipients: 100,
            connections: 2000,
            connections_per_source: 50,
            memory: 512 << 20,
            reveal_client: false,
            patience: Duration::from_secs(10),
        }
    }
}

impl Default for OutgoingConfig {
    fn default() -> Self {
        Self {
            name: None,
            resolvers: Vec::new(),
            source: None,
            transactions: 500,
            per_destination: 20,
            memory: 512 << 20,
            port: 25,
            sign_senders: true,
            mta_sts: true,
            policies: PathBuf::from("/var/lib/muralla-mail/policies"),
            dane: false,
            keep: Duration::from_secs(15),
            lifetime: Duration::from_secs(5 * 86_400),
            tell_delay: Duration::from_secs(4 * 3600),
            waits: vec![300, 900, 1800, 3600, 7200, 14_400],
            longest_return: 100 << 10,
        }
    }
}

impl ProxyConfig {
    /// Where messages go on to.
    ///
    /// # Errors
    ///
    /// What is wrong with how it is written.
    pub fn hop(&self) -> Result<NextHop, String> {
        if self.next.starts_with('/') {
            return match self.lmtp {
                true => Ok(NextHop::LmtpSocket(self.next.clone().into())),
                false => Err(format!(
                    "[[mail.filter.proxies]] next, {}: a socket of the file system speaks LMTP: add lmtp = true",
                    self.next
                )),
            };
        }
        let address = self.next.parse().map_err(|_| {
            format!(
                "[[mail.filter.proxies]] next, {}: write an address and a port, or the path of a socket",
                self.next
            )
        })?;
        Ok(if self.lmtp { NextHop::Lmtp(address) } else { NextHop::Smtp(address) })
    }
}

impl FilterConfig {
    /// Whether other mail systems ask it.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        !self.milter.is_empty() || !self.http.is_empty() || !self.proxies.is_empty()
    }
}

impl Default for FilterConfig {
    fn default() -> Self {
        Self {
            model: None,
            tolerance: 3,
            cut_off: true,
            block_lists: Vec::new(),
            resolvers: Vec::new(),
            brands: Vec::new(),
            milter: Vec::new(),
            http: Vec::new(),
            password: None,
            clients: Vec::new(),
            proxies: Vec::new(),
            clamd: None,
            clamd_largest: 64 << 20,
        }
    }
}

impl Default for Pop3Config {
    fn default() -> Self {
        Self {
            listen: everywhere(110),
            listen_tls: everywhere(995),
            unencrypted_login: false,
            connections: 10_000,
            connections_per_source: 20,
            memory: 256 << 20,
            idle: Duration::from_secs(600),
            patience: Duration::from_secs(60),
            failure_delay: Duration::from_secs(2),
        }
    }
}

impl PacksConfig {
    /// Where it is.
    #[must_use]
    pub fn location(&self) -> PackLocation {
        match self {
            Self::Folder(path) => PackLocation::Folder(path.clone()),
            Self::Bucket(bucket) => PackLocation::S3(S3Location {
                endpoint: bucket.endpoint.clone(),
                region: bucket.region.clone(),
                bucket: bucket.bucket.clone(),
                prefix: bucket.prefix.clone(),
                access_key: bucket.access_key.clone(),
                secret_key: bucket.secret_key.reveal().to_owned(),
            }),
        }
    }
}

impl From<&CertificateConfig> for CertificateFiles {
    fn from(config: &CertificateConfig) -> Self {
        Self { chain: config.chain.clone(), key: config.key.clone() }
    }
}

impl MailConfig {
    /// A configuration with defaults for all that can have one, and no role.
    #[must_use]
    pub fn new(hostname: Domain) -> Self {
        Self {
            hostname,
            database: default_database(),
            packs: PacksConfig::default(),
            shards: BTreeMap::new(),
            copy: default_copy(),
            spool: SpoolConfig::default(),
            keys: Vec::new(),
            forwarding_domain: None,
            certificates: Vec::new(),
            default_domain: None,
            postmaster: None,
            quota: default_quota(),
            limits: default_limits(),
            blocked_subscribers: BlockedSubscribers::default(),
            inbox_days: 0,
            spam_days: default_days(),
            trash_days: default_days(),
            utc_offset_minutes: 0,
            mx: None,
            submission: None,
            outgoing: None,
            pop3: None,
            filter: None,
        }
    }

    /// The database of directory, queue and the main shard.
    ///
    /// # Errors
    ///
    /// What is wrong with how it is written.
    pub fn location(&self) -> Result<Location, String> {
        Location::from_str(self.database.reveal())
            .map_err(|error| format!("[mail] database: {error}"))
    }

    /// The keys of SRS and PRVS; none if there are none.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn signing_keys(&self) -> Result<Option<Keys>, String> {
        if self.keys.is_empty() {
            return Ok(None);
        }
        let secrets: Vec<&str> = self.keys.iter().map(Hidden::reveal).collect();
        Keys::of_secrets(&secrets).map(Some).map_err(|error| format!("[mail] keys: {error}"))
    }

    /// The domain of senders of forwarded mail.
    #[must_use]
    pub fn forwarding(&self) -> &Domain {
        self.forwarding_domain.as_ref().unwrap_or(&self.hostname)
    }
}

#[cfg(test)]
mod tests;
