//! What the role tells about itself, for the admin socket, the metrics and the live view.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

pub use muralla_radius_state::{PoolStatus, Status as DatabaseStatus};
use serde::{Deserialize, Serialize};

/// What an answer was.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Access-Accept.
    Accept,
    /// Access-Reject.
    Reject,
    /// Accounting-Response: the record is durable.
    Accounting,
    /// To a Status-Server (RFC 5997).
    Status,
    /// One given before, to a NAS that asked again (RFC 5080 section 2.2.2).
    Repeat,
}

impl Answer {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Accept, Self::Reject, Self::Accounting, Self::Status, Self::Repeat];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Reject => "reject",
            Self::Accounting => "accounting",
            Self::Status => "status",
            Self::Repeat => "repeat",
        }
    }
}

/// Where a packet ended that got no acceptance.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Refused with an Access-Reject.
    Rejected,
    /// Dropped: the NAS asks again, or another server.
    Dropped,
    /// Dropped: it is no RADIUS packet.
    Malformed,
    /// Dropped: it can't be shown to be from a NAS that shares the secret.
    Unverified,
}

impl Stage {
    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Dropped => "dropped",
            Self::Malformed => "malformed",
            Self::Unverified => "unverified",
        }
    }
}

/// State of the role at one moment.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Status {
    /// Addresses of authentication.
    pub auth: Vec<String>,
    /// Addresses of accounting.
    pub acct: Vec<String>,
    /// Threads that own sockets.
    pub threads: usize,
    /// Seconds since the start.
    pub uptime: u64,
    /// Whether the subscribers are in memory, so that requests are answered.
    pub ready: bool,
    /// Answers by kind.
    pub answers: Vec<(Answer, u64)>,
    /// Latency of answers by kind.
    pub latency: Vec<Latency>,
    /// Refusals and silences by reason.
    pub reasons: Vec<ReasonCount>,
    /// The NASes.
    pub nases: Vec<NasStatus>,
    /// Addresses whose packets can't be shown to be from a NAS: the twenty that send most, as far as that is certain.
    pub strangers: Vec<Stranger>,
    /// Subscribers in memory.
    pub subscribers: u64,
    /// Profiles in memory.
    pub profiles: u64,
    /// Sessions open by the accounting, of records that came here.
    pub sessions: u64,
    /// Sessions open at other servers, by way of the database.
    pub sessions_elsewhere: u64,
    /// Accounting records by what they did to a session.
    pub records: Vec<(String, u64)>,
    /// Sessions closed because nothing was heard of them.
    pub zombies: u64,
    /// Refusals that wait for their time.
    pub delayed_rejects: u64,
    /// Acknowledgements that wait for the journal.
    pub pending_acknowledgements: u64,
    /// Password checks that wait for a thread.
    pub costly_waiting: u64,
    /// The accounting journal.
    pub journal: JournalStatus,
    /// The database; none before its first answer.
    pub database: Option<DatabaseStatus>,
    /// Why it can't be used although it answers, or has not answered yet: the last word. None if it can.
    #[serde(default)]
    pub database_error: Option<String>,
    /// Accounting records and closed sessions written into it since the start.
    pub exported: u64,
    /// Records put aside since the start because it refuses them.
    pub put_aside: u64,
    /// Closed sessions that wait for it.
    pub closings_waiting: u64,
    /// Why nothing, or not everything, is written into it although it answers.
    pub export_error: Option<String>,
    /// Why no records are taken out of the journal until the process is started anew; none if they are.
    #[serde(default)]
    pub accounting_failure: Option<String>,
    /// What the accounting does besides taking records, and whether it can.
    #[serde(default)]
    pub duties: Vec<DutyStatus>,
    /// Sessions that were forgotten for lack of room before all their records were in the database; 0 again once all records are.
    #[serde(default)]
    pub forgotten_unwritten: u64,
    /// The address pools, as this server sees them.
    pub pools: Vec<PoolStatus>,
    /// Whether another process runs under this server's name, so that this one gives nothing of a pool away any more.
    #[serde(default)]
    pub name_taken: bool,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

impl Status {
    /// What keeps users or operators waiting now, the worst first.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        if !self.ready {
            let why = self.database_error.as_deref().unwrap_or("the database has not answered yet");
            troubles.push(format!(
                "NOBODY CAN LOG IN: the subscribers are not in memory, and there is no copy of the database: {why}"
            ));
        }
        if self.journal.health != "good" {
            let why = self.journal.error.as_deref().unwrap_or(&self.journal.health);
            troubles.push(format!(
                "NO ACCOUNTING IS ACKNOWLEDGED: {why}; make room on the journal's disk"
            ));
        }
        match &self.database {
            None => {
                let why = self.database_error.as_deref().unwrap_or("nothing is known of it");
                troubles.push(format!(
                    "the database could not be used since the start, and is tried again: {why}"
                ));
            }
            Some(database) if database.away_since.is_some() => {
                let why = database.last_error.as_deref().unwrap_or("it does not answer");
                troubles.push(format!("the database is away: {why}"));
            }
            Some(_) => {
                let why = self.database_error.as_deref();
                troubles.extend(why.map(|why| format!("the database can't be used: {why}")));
            }
        }
        if let Some(why) = &self.accounting_failure {
            troubles.push(format!(
                "THE ACCOUNTING STANDS STILL: {why}; records are acknowledged and kept in the journal, but who is online is not \
                 followed any more: systemd starts the service anew, or `systemctl restart muralla-radius` does"
            ));
        }
        for why in self.duties.iter().filter_map(|duty| duty.failure.as_deref()) {
            troubles.push(format!(
                "the accounting panicked, and goes on without this: {why}; it is tried again; please report it"
            ));
        }
        if self.forgotten_unwritten > 0 {
            troubles.push(format!(
                "the memory for sessions is full, and the database has not their records yet: {} of them will be written by what \
                 each record tells alone, without what 32-bit counters went round, and two of one id as one; bring the database \
                 back, or raise [radius.accounting] most_sessions and restart",
                self.forgotten_unwritten
            ));
        }
        if let Some(why) = &self.export_error {
            troubles.push(format!(
                "accounting is not written into the database: {why}; it is kept until that is mended"
            ));
        }
        if self.journal.dead_letters > 0 {
            troubles.push(format!(
                "{} accounting record(s) can't be stored; `muralla radius dead-letters` shows why",
                self.journal.dead_letters
            ));
        }
        if self.name_taken {
            troubles.push(
                "WHO NEEDS AN ADDRESS OF A POOL GETS NONE HERE: another process has this server's name and all that it had reserved"
                    .to_owned(),
            );
        }
        // More addresses would be of no use then.
        let empty = |pool: &&PoolStatus| pool.size > 0 && pool.spare == 0 && !self.name_taken;
        for pool in self.pools.iter().filter(empty) {
            troubles.push(format!(
                "nothing can be given away of the pool {0}; `muralla radius pool add {0} PREFIX` makes it larger",
                pool.name
            ));
        }
        troubles
    }
}

/// Something that the accounting does besides taking records. If it panics, records are taken all the same, and it is tried
/// again.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct DutyStatus {
    /// What, in a word: `search`, `snapshot`, `closings`, `tidings`, `orders`.
    pub duty: String,
    /// How often it panicked since the start.
    pub panics: u64,
    /// What can't be done since its last panic, and what that said; none if it was done as it should since.
    pub failure: Option<String>,
}

/// A histogram of latencies.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Latency {
    /// What the answers were.
    pub answer: Answer,
    /// Upper bounds in seconds with the number of answers at or below each; not cumulative.
    pub buckets: Vec<(f64, u64)>,
    /// Sum in seconds.
    pub sum: f64,
}

/// Packets that ended for one reason.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ReasonCount {
    /// Where.
    pub stage: Stage,
    /// Why, in a word.
    pub reason: String,
    /// How many since the start.
    pub count: u64,
}

/// A NAS.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct NasStatus {
    /// Name.
    pub name: String,
    /// Prefixes that its packets come from.
    pub prefixes: Vec<String>,
    /// Whose it is.
    pub telco: Option<String>,
    /// Whether it may ask without Message-Authenticator.
    pub message_authenticator_optional: bool,
    /// Whether a secret to come is taken too.
    pub rolling: bool,
    /// Sessions open under its name, of records that came here.
    #[serde(default)]
    pub sessions: u64,
    /// Genuine Access-Requests.
    pub requests: u64,
    /// Access-Accepts.
    pub accepted: u64,
    /// Access-Rejects.
    pub rejected: u64,
    /// Genuine Accounting-Requests.
    pub accounting: u64,
    /// Accounting-Responses.
    pub acknowledged: u64,
    /// Requests that it sent again.
    pub repeated: u64,
    /// Packets from it that were dropped.
    pub dropped: u64,
    /// Why requests of it were refused or dropped.
    #[serde(default)]
    pub reasons: Vec<ReasonCount>,
    /// Seconds since its last packet that the old secret signed, while another one is to come; none if there was none since the
    /// start.
    pub old_secret: Option<u64>,
    /// Seconds since its last genuine packet; none if there was none.
    pub seen: Option<u64>,
}

/// An address whose packets can't be shown to be from a NAS.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Stranger {
    /// Where the packets come from; it may be made up.
    pub address: IpAddr,
    /// Why they are dropped: `unknown_client`, or what is wrong with a packet from a NAS's address.
    pub reason: String,
    /// The NAS that has the address, by name; none if nobody entered one.
    pub nas: Option<String>,
    /// Packets since the start, at most.
    pub packets: u64,
    /// How many of these may have been another's: a few addresses are counted, and who is new inherits a count.
    pub doubtful: u64,
    /// Seconds since the last one.
    pub seen: u64,
}

/// A login that was refused or not answered.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct LoginRefusal {
    /// Seconds since 1970.
    pub at: f64,
    /// User-Name; empty if there was none.
    pub user: String,
    /// The NAS by name.
    pub nas: String,
    /// Where the packet came from.
    pub source: IpAddr,
    /// Calling-Station-Id.
    pub calling_station: Option<String>,
    /// How the password was offered.
    pub method: String,
    /// Why, in a word, as counters have it.
    pub reason: String,
    /// Why, in words, and what exactly.
    pub words: String,
    /// Whether there was an Access-Reject. If not, the NAS may have asked another server.
    pub answered: bool,
    /// Refusals through the same NAS that were left out before this one, as they were too many at once.
    pub missed: u64,
}

/// Which refusals somebody wants to see. What is left out fits all.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RefusalFilter {
    /// User-Name, letter case aside.
    pub user: Option<String>,
    /// NAS by name.
    pub nas: Option<String>,
    /// Calling-Station-Id, letter case aside.
    pub calling_station: Option<String>,
    /// The reason in a word, as counters have it.
    pub reason: Option<String>,
    /// Not before this second since 1970.
    pub since: Option<f64>,
    /// Before this second since 1970.
    pub until: Option<f64>,
    /// At most so many.
    pub most: usize,
}

impl Default for RefusalFilter {
    fn default() -> Self {
        Self {
            user: None,
            nas: None,
            calling_station: None,
            reason: None,
            since: None,
            until: None,
            most: 100,
        }
    }
}

/// Whether a user's logins are refused because too many failed of late.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct UserLimits {
    /// The user, as he was asked for.
    pub user: String,
    /// Seconds until a login is looked at again, but for those from lines that he is at home at; none if it is now.
    pub seconds: Option<u64>,
    /// Lines that he is at home at, of those that were refused of late, from which his logins are refused as well.
    pub lines: Vec<LineLimit>,
}

/// A line from which a user's logins are refused.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct LineLimit {
    /// Calling-Station-Id; none of a NAS that sends none: there it is the port.
    pub calling_station: Option<String>,
    /// NAS-Port-Id, or else NAS-Port.
    #[serde(default)]
    pub port: Option<String>,
    /// The address that the box sends from that the port is of.
    #[serde(default)]
    pub source: Option<IpAddr>,
    /// Seconds until a login is looked at again.
    pub seconds: u64,
}

impl LineLimit {
    /// The line in words.
    #[must_use]
    pub fn line(&self) -> String {
        match (&self.calling_station, &self.port, self.source) {
            (Some(station), ..) => station.clone(),
            (None, Some(port), Some(source)) => format!("port {port} of the box at {source}"),
            (None, port, _) => format!("port {}", port.as_deref().unwrap_or_default()),
        }
    }
}

/// The accounting journal.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct JournalStatus {
    /// Whether records are taken: `good`, `full`, `failed` or `closed`.
    pub health: String,
    /// The number of the last record that was taken.
    pub appended: u64,
    /// The number up to which a power cut can take none any more.
    pub durable: u64,
    /// Segments.
    pub segments: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Calls of fdatasync since the start.
    pub fsyncs: u64,
    /// Records since the start.
    pub records: u64,
    /// Seconds that these took together.
    pub fsync_seconds: f64,
    /// Age of the oldest segment in seconds.
    pub oldest: Option<u64>,
    /// What failed last.
    pub error: Option<String>,
    /// Bytes that were found damaged since the start.
    pub damaged: u64,
    /// Records that each consumer has still before it.
    pub lag: Vec<(String, u64)>,
    /// Records put aside because they can't be stored.
    pub dead_letters: u64,
}

/// A session that is open.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Session {
    /// Its id with us, which is unique over all NASes.
    pub id: String,
    /// The subscriber, or else User-Name.
    pub user: String,
    /// User-Name as the NAS sent it.
    pub login: String,
    /// The NAS by name.
    pub nas: String,
    /// NAS-IP-Address, or NAS-IPv6-Address.
    pub nas_address: Option<IpAddr>,
    /// NAS-Port.
    pub port: Option<u32>,
    /// Acct-Session-Id as the NAS has it.
    pub session_id: String,
    /// Framed-IP-Address.
    pub address: Option<Ipv4Addr>,
    /// Framed-IPv6-Prefix and Delegated-IPv6-Prefix.
    pub prefixes: Vec<String>,
    /// Calling-Station-Id.
    pub calling_station: Option<String>,
    /// Begin, in seconds since 1970.
    pub started: i64,
    /// Until when it was known to go on, in seconds since 1970.
    pub updated: i64,
    /// Seconds since it was heard of.
    pub quiet: u64,
    /// Octets from the user.
    pub input_octets: u64,
    /// Octets to the user.
    pub output_octets: u64,
}

/// A record that can't be stored.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct DeadRecord {
    /// Its number in the journal.
    pub sequence: u64,
    /// When it came, in seconds since 1970.
    pub at: i64,
    /// Why.
    pub reason: String,
    /// User-Name, if it can be read at all.
    pub user: Option<String>,
    /// The NAS by name.
    pub nas: Option<String>,
    /// Acct-Status-Type in a word.
    pub status: Option<String>,
}

/// What became of a Disconnect-Request or CoA-Request for one session (RFC 5176).
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct DynamicOutcome {
    /// The user.
    pub user: String,
    /// The session, as the NAS has it.
    pub session_id: String,
    /// The NAS by name.
    pub nas: String,
    /// Where the request went.
    pub sent_to: Option<SocketAddr>,
    /// What came back.
    pub verdict: DynamicVerdict,
    /// In words.
    pub words: String,
    /// How often the request was sent.
    pub attempts: u32,
    /// Time until the answer, or until it was given up.
    pub took: Duration,
}

/// What came back.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DynamicVerdict {
    /// The NAS did it.
    Acknowledged,
    /// The NAS refused.
    Refused,
    /// Nothing came back.
    Silent,
    /// It could not be sent.
    Unsent,
}

/// The result of `muralla radius test`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct TestOutcome {
    /// The user.
    pub user: String,
    /// How the password was offered.
    pub method: String,
    /// Whether the answer was an Access-Accept; none without an answer.
    pub accepted: Option<bool>,
    /// The code in words (`Access-Accept`).
    pub code: Option<String>,
    /// The answer's attributes in words.
    pub attributes: Vec<String>,
    /// What there is to say besides.
    pub remarks: Vec<String>,
    /// Time from the request to the answer, the delay of a refusal in it.
    pub took: Duration,
}
