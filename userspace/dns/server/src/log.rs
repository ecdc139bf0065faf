//! The query log: one query of so many, for people who look for a pattern.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::report::{Level, Transport};

/// Queries that wait for a follower that is slow; older ones are lost to it.
const BACKLOG: usize = 1_024;

/// A query and its answer.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct LoggedQuery {
    /// Seconds since 1970.
    pub at: f64,
    /// Who asked.
    pub client: SocketAddr,
    /// How it came.
    pub transport: Transport,
    /// Name asked for, in presentation form.
    pub name: String,
    /// Type asked for.
    pub rtype: String,
    /// Response code.
    pub rcode: String,
    /// Where the answer came from.
    pub level: Level,
    /// Time that the answer took.
    pub took: Duration,
}

/// Chooses queries and hands them to those who follow.
pub(crate) struct QueryLog {
    every: AtomicU32,
    count: AtomicU32,
    sender: broadcast::Sender<LoggedQuery>,
}

impl QueryLog {
    pub(crate) fn new(every: u32) -> Self {
        let (sender, _) = broadcast::channel(BACKLOG);
        Self { every: AtomicU32::new(every), count: AtomicU32::new(0), sender }
    }

    pub(crate) fn choose_one_of(&self, every: u32) {
        self.every.store(every, Relaxed);
    }

    /// Whether somebody follows, and it is this query's turn.
    pub(crate) fn wants(&self) -> bool {
        let every = self.every.load(Relaxed);
        every != 0
            && self.sender.receiver_count() > 0
            && self.count.fetch_add(1, Relaxed).is_multiple_of(every)
    }

    pub(crate) fn write(&self, query: LoggedQuery) {
        // Nobody follows any more: then nobody misses it.
        let _ = self.sender.send(query);
    }

    pub(crate) fn follow(&self) -> broadcast::Receiver<LoggedQuery> {
        self.sender.subscribe()
    }
}

/// The time for [`LoggedQuery::at`].
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
