//! How the roles are, for metrics, health and whoever asks.

use serde::{Deserialize, Serialize};

pub use crate::dkim::DkimStatus;
pub use crate::inquiry::InquiryStatus;
pub use crate::measures::{DeliveryStatus, DiskStatus, SessionCounts};
use crate::mx::MxStatus;
pub use crate::operators::QueueFigures;
use crate::outgoing::OutgoingStatus;
use crate::pop3::Pop3Status;
use crate::post::PostStatus;
use crate::shards::ShardStatus;
use crate::spool::SpoolStatus;
use crate::submission::SubmissionStatus;

/// How the roles of this process are.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Status {
    /// Where they listen: what is spoken, and the address.
    pub listening: Vec<(String, String)>,
    /// Seconds since the start.
    pub uptime: u64,
    /// The directory.
    pub directory: muralla_mail_directory::Status,
    /// The stores that were used.
    pub shards: Vec<ShardStatus>,
    /// What waits on this machine's disk.
    pub spool: SpoolStatus,
    /// Messages that were taken over.
    pub post: PostStatus,
    /// What is in the queue of all servers; none while its database is away.
    pub queue: Option<QueueFigures>,
    /// Mailboxes that were full a moment ago.
    pub full_mailboxes: u64,
    /// How mail is handed over to each store and back-end, and to other domains.
    #[serde(default)]
    pub deliveries: Vec<DeliveryStatus>,
    /// Room on disks of this machine that mail is kept on.
    #[serde(default)]
    pub disks: Vec<DiskStatus>,
    /// What became of messages that were to be signed.
    #[serde(default)]
    pub dkim: DkimStatus,
    /// Certificates: a file, and when it expires in seconds since 1970.
    pub certificates: Vec<(String, Option<i64>)>,
    /// Mail from other servers.
    pub mx: Option<ServerStatus<MxStatus>>,
    /// Mail from our users.
    pub submission: Option<ServerStatus<SubmissionStatus>>,
    /// Mail on its way out.
    pub outgoing: Option<OutgoingStatus>,
    /// Mailboxes for mail programs.
    pub pop3: Option<ServerStatus<Pop3Status>>,
    /// What was tidied up.
    #[serde(default)]
    pub upkeep: UpkeepStatus,
    /// What an operator should look at, in words; empty when all is well.
    pub troubles: Vec<String>,
}

/// What was tidied up in all stores since the start, and how they were found.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct UpkeepStatus {
    /// Messages that were removed from Inbox, as they were there for too long.
    pub expired_inbox: u64,
    /// The same from Spam.
    pub expired_spam: u64,
    /// The same from Trash.
    pub expired_trash: u64,
    /// The same from Rejects.
    #[serde(default)]
    pub expired_rejects: u64,
    /// How often all folders of one kind in one store were looked at for them.
    pub passes: u64,
    /// Moves of mailboxes that ended, as nobody went on with them.
    pub moves_ended: u64,
    /// Mailboxes whose mail was removed, as their accounts are gone.
    pub emptied: u64,
    /// How each store was found.
    #[serde(default)]
    pub stores: Vec<StoreCondition>,
    /// What came to nothing the last time.
    #[serde(default)]
    pub failing: Vec<FailingDuty>,
}

/// How the packs of a store were found when they were last tidied up.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct StoreCondition {
    /// The shard.
    pub shard: String,
    /// Packs that rows name and that are not there: mail in them can't be read, and no pack is tidied up meanwhile.
    pub missing_packs: u64,
    /// Bytes of all packs.
    pub bytes: u64,
    /// Of these, bytes that something needs.
    pub live: u64,
}

/// A piece of the upkeep that fails.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct FailingDuty {
    /// The shard.
    pub shard: String,
    /// What is not done, in words.
    pub what: String,
    /// Why.
    pub why: String,
    /// Since when, in seconds since 1970.
    pub since: i64,
}

/// How a server is.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ServerStatus<T> {
    /// Connections.
    pub connections: u64,
    /// Bytes of messages in memory.
    pub memory: u64,
    /// Connections that were turned away, as there were too many, since the start.
    pub turned_away: u64,
    /// What became of them.
    #[serde(flatten)]
    pub counts: T,
}
