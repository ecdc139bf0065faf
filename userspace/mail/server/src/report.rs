//! How the roles are, for metrics, health and whoever asks.

use serde::{Deserialize, Serialize};

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
    /// What an operator should look at, in words; empty when all is well.
    pub troubles: Vec<String>,
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
