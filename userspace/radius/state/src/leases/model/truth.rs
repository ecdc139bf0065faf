//! What is true, whatever servers and the database know of it.

use muralla_radius_accounting::SessionId;

use super::{LEASE, OFFER};
use crate::{Assigned, PoolEntry};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Status {
    Start,
    Interim,
    Stop,
}

/// What a NAS has to tell, and when that happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) session: usize,
    pub(super) status: Status,
    pub(super) at: u64,
}

/// The truth of a session. Times are milliseconds of the model.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) user: u64,
    pub(super) line: u64,
    pub(super) address: Assigned,
    pub(super) offered: u64,
    pub(super) began: Option<u64>,
    pub(super) ended: bool,
}

impl Session {
    pub(super) fn is_on(&self, user: u64, line: u64) -> bool {
        (self.user, self.line) == (user, line)
    }

    pub(super) fn is_open(&self) -> bool {
        self.began.is_some() && !self.ended
    }

    pub(super) fn is_offered(&self, now: u64, seconds: u64) -> bool {
        now < self.offered + seconds * 1000
    }
}

pub(super) fn pool(name: &str, ranges: &[&str]) -> PoolEntry {
    let mut pool = PoolEntry::ipv4(name, ranges.iter().copied());
    pool.block = Some(4);
    (pool.offer_seconds, pool.lease_seconds) = (OFFER as u32, LEASE as u32);
    pool
}

pub(super) fn id(session: usize) -> SessionId {
    SessionId::from_bytes((session as u128 + 1).to_be_bytes())
}

pub(super) fn names(user: u64, line: u64) -> (String, String) {
    (format!("user{user}"), format!("line {line}"))
}
