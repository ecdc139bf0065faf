//! What the operator may write about RADIUS, with its defaults.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use muralla_radius_dictionary::{Dictionary, DictionaryError, Zone};
use muralla_radius_policy::{Case, Names, Realm, Reason, Settings, Texts};
use muralla_radius_state::{Hidden, Location, Options, StateError};
use serde::Serialize;

/// The port of authentication (RFC 2865 section 3).
pub const AUTH_PORT: u16 = 1812;

/// The port of accounting (RFC 2866 section 3).
pub const ACCT_PORT: u16 = 1813;

/// The port at which a NAS takes Disconnect and CoA (RFC 5176 section 3).
pub const DYNAMIC_PORT: u16 = 3799;

/// How a URL of PostgreSQL begins.
pub const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// The RADIUS role.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RadiusConfig {
    /// Addresses for authentication. A wildcard address answers from the address that was asked.
    pub auth: Vec<SocketAddr>,
    /// Addresses for accounting.
    pub acct: Vec<SocketAddr>,
    /// Threads that own sockets; by default one for each core.
    pub threads: Option<NonZero<usize>>,
    /// Who may ask. Those of the database are added; where both name the same prefix, these here count.
    pub nas: Vec<NasConfig>,
    /// Where subscribers and all else live.
    pub state: StateConfig,
    /// The accounting journal.
    pub journal: JournalConfig,
    /// How names are compared.
    pub names: NamesConfig,
    /// What comes of accounting records.
    pub accounting: AccountingConfig,
    /// How answers are given.
    pub answers: AnswersConfig,
    /// Bounds on those who ask.
    pub limits: LimitsConfig,
    /// Disconnect and CoA, sent to NASes.
    pub dynamic: DynamicConfig,
    /// Dictionaries besides those built in, in FreeRADIUS' format.
    pub dictionaries: Vec<PathBuf>,
    /// Where login times hold, and where days begin.
    pub zone: Zone,
}

/// A NAS, or all of a prefix.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NasConfig {
    /// Name in metrics, logs and records.
    pub name: String,
    /// Where its packets come from. The longest prefix that fits counts.
    pub prefix: IpNet,
    /// What it shares with us.
    pub secret: Hidden,
    /// The secret to come: taken too, so that NASes can be changed one after the other.
    pub next_secret: Option<Hidden>,
    /// Whose NAS it is, for sums, and as a group.
    pub telco: Option<String>,
    /// Groups that it is in, for check items (Huntgroup-Name).
    pub groups: Vec<String>,
    /// Whether an Access-Request needs a Message-Authenticator.
    pub message_authenticator: MessageAuthenticator,
    /// The port at which it takes Disconnect and CoA.
    pub coa_port: u16,
}

/// Whether an Access-Request needs a Message-Authenticator (RFC 2869 section 5.14). Without one, somebody between NAS and
/// server can turn a refusal into an acceptance (CVE-2024-3596).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageAuthenticator {
    /// Yes.
    #[default]
    Required,
    /// No: for an old NAS that can't send one, and loudly so. With a Proxy-State it is needed all the same.
    Optional,
}

/// Where subscribers, profiles, NASes, pools, sessions and records live, and how long.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StateConfig {
    /// Where.
    pub location: StateLocation,
    /// Where a copy of a database elsewhere is kept, for a start while that is away; none for nowhere.
    pub copy: Option<PathBuf>,
    /// This server's name among those that share the database, the same after a restart; by default the machine's.
    pub server: Option<String>,
    /// Whether interim records are stored one by one. What they say is counted in any case.
    pub keep_interims: bool,
    /// How long a server may have been away and still learn what changed, without reading everything.
    pub keep_changes: Duration,
    /// How long accounting records are kept in the database; zero is for ever.
    pub keep_records: Duration,
    /// How long closed sessions are kept there, with their sums; zero is for ever.
    pub keep_sessions: Duration,
    /// How long addresses are given out of what this server has reserved while the database is away.
    pub hold_blocks: Duration,
}

/// Where it lies.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum StateLocation {
    /// In a file of our own (SQLite): one server.
    Embedded(PathBuf),
    /// In PostgreSQL, by its URL: two servers or more.
    Postgres(Hidden),
    /// The same, by the URL that this file has: for a password that not everybody may read who reads the configuration.
    File(PathBuf),
}

/// The accounting journal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JournalConfig {
    /// Its folder, on a disk that keeps what it was told to keep.
    pub folder: PathBuf,
    /// Bytes of one segment.
    pub segment: u64,
    /// How long records gather for one fdatasync, at most 5 ms.
    pub gather: Duration,
    /// How long segments are kept after all have read them.
    pub keep: Duration,
    /// Bytes of the disk that are left free. Below that nothing is acknowledged any more.
    pub reserve: u64,
}

/// How names are read.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NamesConfig {
    /// Whether letter case tells subscribers apart.
    pub case: NameCase,
    /// What is done with realms, by name: the `isp.example` of `ann@isp.example`.
    pub realms: Vec<(String, RealmRule)>,
    /// What is done with all others.
    pub other_realms: RealmRule,
    /// The realm of names that have none.
    pub default_realm: Option<String>,
}

/// Whether letter case tells subscribers apart.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NameCase {
    /// Yes, as RFC 7542 section 2.2 has it for what stands before the realm.
    #[default]
    Exact,
    /// No.
    Folded,
}

/// What is done with a realm.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RealmRule {
    /// It is part of the subscriber's name.
    #[default]
    Keep,
    /// The subscriber's name is what is left without it.
    Strip,
    /// Its users are none of ours.
    Refuse,
}

/// What comes of accounting records.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AccountingConfig {
    /// How often all NASes tell of their sessions (Acct-Interim-Interval). None if they don't all: then it is learnt from each
    /// session's updates.
    pub interim: Option<Duration>,
    /// Updates that may be missed in a row before a session is taken as gone.
    pub missed_interims: u32,
    /// Time after which a session is taken as gone that never had an update.
    pub zombie_after: Duration,
    /// Sessions in memory at most, those that ended a while ago included.
    pub most_sessions: usize,
    /// Records of one transaction of the database.
    pub batch: usize,
    /// Time between two snapshots of the session table.
    pub snapshot: Duration,
    /// Where the snapshot lies; by default beside the journal.
    pub snapshot_file: Option<PathBuf>,
}

/// How answers are given.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AnswersConfig {
    /// Time before an Access-Reject is sent: old NASes try again at once. At most half of `reply_life`, so that what the NAS
    /// sends again meanwhile is known.
    pub reject_delay: Duration,
    /// Time for which an answer is kept for a NAS that asks again (RFC 5080 section 2.2.2), 2 s to 30 s.
    pub reply_life: Duration,
    /// Bytes of memory for these answers, all threads together; a fourth of it, and at least 4 MiB, is for logins that are asked
    /// for again from another port.
    pub reply_cache: usize,
    /// Whether refusals say why, in words that help no guesser.
    pub say_why: bool,
    /// Words of one's own for a refusal, by its reason as counters name it (`expired`).
    pub texts: Vec<(String, String)>,
}

/// Bounds on those who ask.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LimitsConfig {
    /// Failures of one user in a row after which he has to wait.
    pub user_failures: u32,
    /// Time after which one of them is forgiven.
    pub user_forgiven: Duration,
    /// Failures through one NAS in a row, with names that no subscriber has, after which such names have to wait.
    pub nas_failures: u32,
    /// Time after which one of them is forgiven.
    pub nas_forgiven: Duration,
    /// Users with failures, and lines of users, that are remembered.
    pub remembered: usize,
    /// Threads for passwords that take long to check on purpose (argon2, bcrypt).
    pub costly_threads: NonZero<usize>,
    /// Checks that may wait for these threads.
    pub costly_queue: usize,
    /// Acknowledgements that may wait for the journal, for each thread.
    pub pending_acknowledgements: usize,
    /// Refusals that may wait for their time, for each thread; beyond that they are sent at once.
    pub delayed_rejects: usize,
}

/// Disconnect and CoA (RFC 5176), sent to NASes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DynamicConfig {
    /// From which address of ours, where NASes want to see the server's; by default the routing table chooses.
    pub source: Option<IpAddr>,
    /// Time before a request is sent again; doubles each time.
    pub first_timeout: Duration,
    /// How often a request is sent.
    pub attempts: u32,
}

impl NasConfig {
    /// A NAS with defaults for all that can have one.
    pub fn new(name: impl Into<String>, prefix: IpNet, secret: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            prefix,
            secret: Hidden::new(secret),
            next_secret: None,
            telco: None,
            groups: Vec::new(),
            message_authenticator: MessageAuthenticator::default(),
            coa_port: DYNAMIC_PORT,
        }
    }
}

impl Default for RadiusConfig {
    fn default() -> Self {
        let listen = |port| {
            vec![
                SocketAddr::from(([0, 0, 0, 0], port)),
                SocketAddr::from(([0u16, 0, 0, 0, 0, 0, 0, 0], port)),
            ]
        };
        Self {
            auth: listen(AUTH_PORT),
            acct: listen(ACCT_PORT),
            threads: None,
            nas: Vec::new(),
            state: StateConfig::default(),
            journal: JournalConfig::default(),
            names: NamesConfig::default(),
            accounting: AccountingConfig::default(),
            answers: AnswersConfig::default(),
            limits: LimitsConfig::default(),
            dynamic: DynamicConfig {
                source: None,
                first_timeout: Duration::from_secs(1),
                attempts: 4,
            },
            dictionaries: Vec::new(),
            zone: Zone::UTC,
        }
    }
}

impl Default for StateConfig {
    fn default() -> Self {
        Self {
            location: StateLocation::Embedded(PathBuf::from("/var/lib/muralla-radius/state.db")),
            copy: Some(PathBuf::from("/var/lib/muralla-radius/copy.db")),
            server: None,
            keep_interims: false,
            keep_changes: Duration::from_secs(86_400),
            keep_records: Options::KEEP,
            keep_sessions: Options::KEEP,
            hold_blocks: Duration::from_secs(86_400),
        }
    }
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self {
            folder: PathBuf::from("/var/lib/muralla-radius/journal"),
            segment: 64 << 20,
            gather: Duration::from_millis(2),
            keep: Duration::from_secs(7 * 86_400),
            reserve: 1 << 30,
        }
    }
}

impl Default for AccountingConfig {
    fn default() -> Self {
        Self {
            interim: None,
            missed_interims: 3,
            zombie_after: Duration::from_secs(48 * 3_600),
            most_sessions: 4_000_000,
            batch: 1_000,
            snapshot: Duration::from_secs(30),
            snapshot_file: None,
        }
    }
}

impl Default for AnswersConfig {
    fn default() -> Self {
        Self {
            reject_delay: Duration::from_secs(1),
            reply_life: Duration::from_secs(5),
            reply_cache: 64 << 20,
            say_why: true,
            texts: Vec::new(),
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            user_failures: 10,
            user_forgiven: Duration::from_secs(20),
            nas_failures: 10_000,
            nas_forgiven: Duration::from_millis(10),
            remembered: 1 << 20,
            costly_threads: NonZero::<usize>::MIN,
            costly_queue: 64,
            pending_acknowledgements: 65_536,
            delayed_rejects: 65_536,
        }
    }
}

impl NamesConfig {
    /// How a User-Name leads to a subscriber by this.
    pub fn rules(&self) -> Names {
        let rule = |rule: RealmRule| match rule {
            RealmRule::Keep => Realm::Keep,
            RealmRule::Strip => Realm::Strip,
            RealmRule::Refuse => Realm::Refuse,
        };
        let case = match self.case {
            NameCase::Exact => Case::Exact,
            NameCase::Folded => Case::Folded,
        };
        let mut names = Names::new(case).with_other_realms(rule(self.other_realms));
        for (realm, what) in &self.realms {
            names = names.with_realm(realm, rule(*what));
        }
        match &self.default_realm {
            Some(realm) => names.with_default_realm(realm),
            None => names,
        }
    }
}

impl RadiusConfig {
    /// Where the database lies, and how this server works on it. A file that says where is read each time.
    ///
    /// # Errors
    ///
    /// When such a file can't be read, or has no URL of PostgreSQL in it.
    pub fn database(&self) -> Result<(Location, Options), StateError> {
        let state = &self.state;
        let location = match &state.location {
            StateLocation::Embedded(path) => Location::Sqlite(path.clone()),
            StateLocation::Postgres(url) => Location::Postgres(url.reveal().to_owned()),
            StateLocation::File(file) => Location::Postgres(url_in(file)?),
        };
        let defaults = Options::default();
        let options = Options {
            server: state.server.clone().unwrap_or(defaults.server),
            zone: self.zone.clone(),
            fold_names: self.names.case == NameCase::Folded,
            keep_interims: state.keep_interims,
            keep_changes: state.keep_changes,
            keep_records: state.keep_records,
            keep_sessions: state.keep_sessions,
            hold_blocks: state.hold_blocks,
        };
        Ok((location, options))
    }

    /// What can't be as it is written, each with what to do about it; empty when all is well.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut demand = |holds: bool, text: &str| {
            if !holds {
                problems.push(text.to_owned());
            }
        };
        let AnswersConfig { reject_delay, reply_life, .. } = self.answers;
        let (two, thirty) = (Duration::from_secs(2), Duration::from_secs(30));
        demand(
            !self.auth.is_empty() || !self.acct.is_empty(),
            "[radius] listens nowhere: give `auth` and `acct` addresses",
        );
        let same = |a: &SocketAddr, b: &SocketAddr| {
            let anywhere = a.ip().is_unspecified() || b.ip().is_unspecified();
            // Port 0 is any that is free.
            a.port() != 0
                && a.port() == b.port()
                && (a.ip() == b.ip() || anywhere && a.is_ipv4() == b.is_ipv4())
        };
        demand(
            !self.auth.iter().any(|auth| self.acct.iter().any(|acct| same(auth, acct))),
            "[radius] auth and acct share an address and a port: the usual ports are 1812 and 1813",
        );
        demand(
            (two..=thirty).contains(&reply_life),
            "[radius.answers] reply_life must be from 2 s to 30 s (RFC 5080 section 2.2.2)",
        );
        demand(
            reject_delay * 2 <= reply_life,
            "[radius.answers] reject_delay must be at most half of reply_life: what a NAS sends again meanwhile would not be \
             recognised",
        );
        demand(
            self.journal.gather <= Duration::from_millis(5),
            "[radius.journal] gather must be at most 5 ms: NASes wait for it",
        );
        for keep in [self.state.keep_records, self.state.keep_sessions] {
            demand(
                keep.is_zero() || keep >= self.journal.keep,
                "[radius.state] keep_records and keep_sessions must be 0 (for ever) or at least [radius.journal] keep: what is \
                 still in the journal would come back",
            );
        }
        demand(
            self.accounting.missed_interims > 1,
            "[radius.accounting] missed_interims must be at least 2: one lost packet would close a session",
        );
        demand(self.accounting.batch > 0, "[radius.accounting] batch must be at least 1");
        demand(
            self.dynamic.attempts > 0,
            "[radius.dynamic] attempts must be at least 1: nothing would ever be sent",
        );
        demand(
            self.limits.user_failures > 0 && self.limits.nas_failures > 0,
            "[radius.limits] user_failures and nas_failures must be at least 1: nobody could ever log in",
        );
        for nas in &self.nas {
            let name = &nas.name;
            if nas.secret.is_empty() || nas.next_secret.as_ref().is_some_and(Hidden::is_empty) {
                problems.push(format!("the secret of NAS {name} is empty: write one"));
            }
            if name.is_empty() {
                problems.push(format!("the NAS at {} has no name: give it one", nas.prefix));
            }
        }
        problems
    }

    /// The built-in dictionary and the operator's, with dates in the configured zone.
    ///
    /// # Errors
    ///
    /// The file and the line that can't be read.
    pub fn dictionary(&self) -> Result<Dictionary, DictionaryError> {
        let mut dictionary = Dictionary::clone(&Dictionary::built_in()).in_zone(self.zone.clone());
        for file in &self.dictionaries {
            dictionary = dictionary.with_file(file)?;
        }
        Ok(dictionary)
    }

    /// [`RadiusConfig::problems`], and those of what the configuration names: files, and reasons with texts.
    pub fn problems_in_full(&self) -> Vec<String> {
        let mut problems = self.problems();
        problems.extend(self.answers.settings().err().into_iter().flatten());
        let dictionary = self.dictionary().err();
        problems.extend(dictionary.map(|error| format!("[radius] dictionaries: {error}")));
        problems
    }

    /// What the operator should know although it is allowed.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for nas in &self.nas {
            if nas.prefix.prefix_len() == 0 {
                warnings.push(format!(
                    "NAS {} is the whole Internet ({}): the wall lets everybody ask, and the secret can be tried from anywhere; \
                     write the prefix that its packets come from",
                    nas.name, nas.prefix
                ));
            }
            if nas.message_authenticator == MessageAuthenticator::Optional {
                warnings.push(format!(
                    "NAS {} ({}) may ask without Message-Authenticator: whoever sits between it and this server can forge \
                     acceptances (CVE-2024-3596); set it to required as soon as the NAS can send one",
                    nas.name, nas.prefix
                ));
            }
            let short = |secret: &Hidden| (1..16).contains(&secret.reveal().len());
            if short(&nas.secret) || nas.next_secret.as_ref().is_some_and(short) {
                warnings.push(format!(
                    "the secret of NAS {} has less than 16 bytes and can be found by trying (RFC 2865 section 3): roll it to a \
                     longer one with next_secret",
                    nas.name
                ));
            }
        }
        warnings
    }
}

/// The URL in a file, which stands in a line of its own.
fn url_in(file: &Path) -> Result<String, StateError> {
    let what = format!("location_file {}", file.display());
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(source) => return Err(StateError::File { what, source }),
    };
    let mut lines = text.lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
    match first.filter(|line| SCHEMES.iter().any(|scheme| line.starts_with(scheme))) {
        Some(url) => Ok(url.to_owned()),
        // What stands there may be a password, and is not repeated.
        None => Err(StateError::Invalid {
            what,
            reason: "its first line is no postgres://user:password@host/database".to_owned(),
        }),
    }
}

impl AnswersConfig {
    /// Bytes for answers to logins, which all threads know. Acknowledgements, which are shorter and belong to the thread that
    /// sent them, have the rest.
    pub(crate) fn shared_replies(&self) -> usize {
        self.reply_cache / 4 * 3
    }

    /// What refusals say.
    pub(crate) fn settings(&self) -> Result<Settings, Vec<String>> {
        let (mut texts, mut problems) = (Texts::default(), Vec::new());
        for (name, text) in &self.texts {
            let reason = Reason::ALL.iter().find(|reason| reason.name() == name);
            let set = match reason {
                Some(reason) => texts.set(*reason, text).map_err(|error| error.to_string()),
                None => {
                    let all: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
                    Err(format!("there is no reason `{name}`; there are {}", all.join(", ")))
                }
            };
            problems.extend(set.err().map(|error| format!("[radius.answers] texts: {error}")));
        }
        if !self.say_why {
            for reason in Reason::ALL {
                // No text is not too long.
                let _ = texts.set(*reason, "");
            }
        }
        if problems.is_empty() {
            Ok(Settings { texts, ..Settings::default() })
        } else {
            Err(problems)
        }
    }
}

#[cfg(test)]
mod tests;
