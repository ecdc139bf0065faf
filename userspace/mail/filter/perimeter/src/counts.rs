//! What happened since the start.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::judge::Lost;
use crate::policy::{Action, Place};

/// Counters.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) connections: AtomicU64,
    pub(crate) turned_away: AtomicU64,
    pub(crate) malformed: AtomicU64,
    octets: AtomicU64,
    delivered: AtomicU64,
    spam: AtomicU64,
    refused: AtomicU64,
    put_off: AtomicU64,
    kept: AtomicU64,
    marked: AtomicU64,
    late: AtomicU64,
    panicked: AtomicU64,
    pub(crate) lessons: AtomicU64,
}

/// What a way did since the start, and what it is doing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Status {
    /// Connections that are open.
    pub open: usize,
    /// Octets of memory that messages take.
    pub memory: usize,
    /// Connections that were taken.
    pub connections: u64,
    /// Connections that were turned away: from somewhere that is not trusted, or too many.
    pub turned_away: u64,
    /// Connections that ended because what came was not the protocol.
    pub malformed: u64,
    /// Octets of messages that were judged.
    pub octets: u64,
    /// Messages passed on.
    pub delivered: u64,
    /// Messages passed on as spam.
    pub spam: u64,
    /// Messages refused.
    pub refused: u64,
    /// Messages put off.
    pub put_off: u64,
    /// Messages that whoever asked was told to keep.
    pub kept: u64,
    /// Messages passed on with a mark, as dangerous or not looked at.
    pub marked: u64,
    /// Judgements that took too long.
    pub late: u64,
    /// Judgements that failed.
    pub panicked: u64,
    /// Lessons that were learned.
    pub lessons: u64,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

impl Counts {
    /// A message was judged, and this is done with it.
    pub(crate) fn judged(&self, octets: usize, action: &Action, lost: Option<Lost>) {
        self.octets.fetch_add(u64::try_from(octets).unwrap_or(u64::MAX), Relaxed);
        count(match action {
            Action::Pass { place: Place::Inbox, .. } => &self.delivered,
            Action::Pass { place: Place::Spam, .. } => &self.spam,
            Action::Pass { .. } => &self.marked,
            Action::Quarantine { .. } => &self.kept,
            Action::Later(_) => &self.put_off,
            Action::Refuse(_) => &self.refused,
        });
        self.lost(lost);
    }

    /// A judgement did not end in a verdict.
    pub(crate) fn lost(&self, lost: Option<Lost>) {
        match lost {
            None => {}
            Some(Lost::Late) => count(&self.late),
            Some(Lost::Panicked) => count(&self.panicked),
        }
    }

    pub(crate) fn status(&self, open: usize, memory: usize) -> Status {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        Status {
            open,
            memory,
            connections: read(&self.connections),
            turned_away: read(&self.turned_away),
            malformed: read(&self.malformed),
            octets: read(&self.octets),
            delivered: read(&self.delivered),
            spam: read(&self.spam),
            refused: read(&self.refused),
            put_off: read(&self.put_off),
            kept: read(&self.kept),
            marked: read(&self.marked),
            late: read(&self.late),
            panicked: read(&self.panicked),
            lessons: read(&self.lessons),
        }
    }
}
