//! The first of the two threads: it keeps the table of sessions.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{Ordering, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use muralla_journal::{Consumer, JournalError};
use muralla_radius_accounting::{
    self as records, Effect, ExportRow, Outcome, Record, SessionView, State as SessionState,
    Status, payload,
};
use muralla_radius_policy::Used;
use muralla_radius_state::{self as state, Assigned, Line};
use tracing::{error, warn};

use super::conflicts::Conflicts;
use super::panics::Part;
use super::panics::duties::{Contained, Duty};
use super::{Shared, WAIT, subject};
use crate::desk::{Desk, Wall};
use crate::precedence::{FOLLOWS, give_way};
use crate::spent;

/// Time between two searches for sessions that nothing is heard of.
const SEARCH: Duration = Duration::from_secs(2);

/// A snapshot that is younger is not made anew at the end: the next start has few records to take beside it.
const FRESH: Duration = Duration::from_secs(5);

/// Sessions that one search closes at most, so that the journal is not left alone for long.
const MOST_CLOSED: usize = 10_000;

/// Rows of closed sessions that wait for the database at most: beyond it no more sessions are closed for their silence.
const MOST_WAITING: usize = 200_000;

/// Bytes of the snapshot that are written at once.
const BUFFER: usize = 1 << 20;

/// Keeps the table of sessions.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    consumer: Consumer,
    /// When it was last tried to save the sessions, or this began.
    tried: Instant,
    /// When this process has saved them.
    saved: Option<Instant>,
    searched: Instant,
    /// Sessions that the table closed, of which the database is not to be told yet.
    lost: Vec<SessionView>,
    conflicts: Conflicts,
}

impl Keeper {
    /// It reads with a consumer of its own.
    pub(super) fn new(shared: Arc<Shared>, consumer: Consumer) -> Self {
        let (tried, searched) = (Instant::now(), Instant::now());
        let conflicts = Conflicts::default();
        Self { shared, consumer, tried, saved: None, searched, lost: Vec::new(), conflicts }
    }

    /// Works until it is stopped.
    pub(super) fn run(mut self) {
        give_way(FOLLOWS);
        loop {
            let stopped = self.shared.stopped();
            let read = self.read();
            if stopped {
                break;
            }
            let wanted = std::mem::take(&mut *self.shared.save.lock());
            if wanted.is_empty() {
                self.search();
            }
            if self.tried.elapsed() >= self.shared.config.snapshot || !wanted.is_empty() {
                self.save();
            }
            for who in wanted {
                // Who has given up waiting does not hear it.
                let _ = who.send(());
            }
            match read {
                Ok(()) => {
                    self.consumer.wait(WAIT);
                }
                Err(error) => {
                    warn!(%error, "the journal can't be read; trying again");
                    thread::sleep(WAIT);
                }
            }
        }
        if self.saved.is_none_or(|saved| saved.elapsed() >= FRESH) {
            self.save();
        }
    }

    /// Takes what is new in the journal, for as long as there is no pause in it, but not for too long, nor when the sessions are to
    /// be saved: whoever stops soon after a start would have the next one begin where this one did.
    fn read(&mut self) -> Result<(), JournalError> {
        let begin = Instant::now();
        while let Some(entry) = self.consumer.next()? {
            match payload::decode(&entry.payload) {
                // The database puts it aside.
                Ok(_) if self.shared.panics.is_cause(entry.sequence) => {
                    self.shared.counts.unreadable.fetch_add(1, Relaxed);
                }
                Ok(record) => {
                    let _at = self.shared.panics.at(Part::Sessions, entry.sequence);
                    #[cfg(test)]
                    super::panics::tests::trap(&record, Part::Sessions);
                    self.apply(&record, entry.sequence);
                }
                // Whoever writes it into the database puts it aside.
                Err(_) => {
                    self.shared.counts.unreadable.fetch_add(1, Relaxed);
                }
            }
            self.shared.applied.store(entry.sequence, Ordering::Release);
            self.shared.desk.pending.applied(entry.sequence);
            let is_over = self.shared.end().is_some_and(|end| Instant::now() >= end);
            if is_over || begin.elapsed() >= SEARCH || !self.shared.save.lock().is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn apply(&self, record: &Record<'_>, sequence: u64) {
        let Shared { desk, counts, closings, .. } = &*self.shared;
        let wall = Wall::now();
        let effect = desk.sessions.apply(record, wall.moment());
        desk.whereabouts.note(record);
        if let Some(count) = counts.outcomes.get(effect.outcome as usize) {
            count.fetch_add(1, Relaxed);
        }
        self.note_spent(record, &effect, sequence);
        self.tell_others(record, &effect);
        self.tell_leases(record, &effect, wall);
        if effect.closes.is_empty() {
            return;
        }
        // What gave way to another session with the same id the database can't know, and of what a box closed that began anew
        // not all: it takes a box for another as soon as it says something else of itself. Twice closed changes nothing.
        let rows = effect
            .closes
            .iter()
            .map(|view| ExportRow::closing(view, record.telco, wall.nanoseconds()));
        closings.lock().waiting.extend(rows);
    }

    /// Keeps what sessions used that have ended, until it is off their subscribers' credits.
    fn note_spent(&self, record: &Record<'_>, effect: &Effect, sequence: u64) {
        let Desk { spent, .. } = &*self.shared.desk;
        let ended = effect.session.filter(|session| session.state != SessionState::Open);
        let ended = ended
            .filter(|_| effect.outcome == Outcome::Closed || !effect.gain.is_empty())
            .filter(|_| self.shared.desk.has_credit(subject(record)));
        if let Some(session) = ended {
            let octets = session.octets_in.saturating_add(session.octets_out);
            let used = Used { seconds: session.seconds.into(), octets };
            spent.note(subject(record), session.id, used, sequence);
        }
        self.note_ends(&effect.closes, sequence);
    }

    /// Has sessions that other servers were told of, and the database has open, be over where this one was told their end.
    fn tell_others(&self, record: &Record<'_>, effect: &Effect) {
        let others = &self.shared.desk.others;
        if let Some(session) = &effect.session
            && session.state == SessionState::Stopped
        {
            others.end(session.id);
        }
        // In the second in which a box begins, its first session may begin as well; in the one in which it ends, none.
        let at = i64::from(record.event(self.shared.tolerance()).at);
        let until = match record.status {
            Status::On => at - 1,
            Status::Off => at,
            _ => return,
        };
        others.restart(self.shared.desk.pending.spots().of_record(record), until);
    }

    /// The same of sessions that the table closed.
    fn note_ends(&self, closed: &[SessionView], sequence: u64) {
        let Desk { spent, .. } = &*self.shared.desk;
        for view in closed {
            if self.shared.desk.has_credit(&view.subscriber) {
                let octets = view.octets_in.saturating_add(view.octets_out);
                let used = Used { seconds: view.seconds.into(), octets };
                spent.note(&view.subscriber, view.id, used, sequence);
            }
        }
    }

    /// Has addresses stay with those who use them, and come back from those who don't. Only what ends a session gives its
    /// address back: a Stop that is sent again, or read again, may find it with the next one.
    fn tell_leases(&self, record: &Record<'_>, effect: &Effect, wall: Wall) {
        let Some(session) = effect.session.filter(|_| record.status.is_of_session()) else {
            return;
        };
        let ends = record.status == Status::Stop && effect.outcome == Outcome::Closed;
        // What is told late of a session that has ended, here or at another server, keeps nothing.
        let goes_on = session.state == SessionState::Open
            && !self.shared.desk.others.known().is_closed(session.id);
        if !ends && !goes_on {
            return;
        }
        let Some(leases) = self.shared.desk.leases() else { return };
        let subject = subject(record);
        let user = records::export::printable(subject);
        let port = Line::from(record).text();
        let holder = state::Holder { user: &user, nas: record.nas, port: port.as_deref() };
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let way =
            Duration::from_nanos(wall.moment().since(record)) + seconds(record.delay.unwrap_or(0));
        let lasted = match record.status {
            Status::Start => Some(0),
            _ => record.session_seconds,
        };
        let heard = state::Heard {
            session: session.id,
            began: lasted.map(|lasted| way + seconds(lasted)),
            stamped: wall.since().saturating_sub(seconds(session.started)),
            starts: record.status == Status::Start && effect.outcome == Outcome::Opened,
            known: self.shared.desk.is_subscriber(subject),
        };
        for assigned in assigned(record) {
            let address = match assigned {
                Assigned::V4(address) => address.into(),
                Assigned::V6(prefix) => prefix.addr().into(),
            };
            if !ends {
                if leases.renew(assigned, &holder, heard, Instant::now()) {
                    let others = self.shared.desk.sessions.sessions_with(address, wall.moment());
                    self.conflicts.tell(address, &holder, &others, Instant::now());
                }
            } else if !self.is_kept(address, subject, wall) {
                leases.release(assigned, &user, session.id);
            }
        }
    }

    /// Whether another session of the subscriber has the address. One of somebody else had it before: its end was told to
    /// another server, or is yet to be.
    fn is_kept(&self, address: IpAddr, subscriber: &[u8], wall: Wall) -> bool {
        let Desk { sessions, others, .. } = &*self.shared.desk;
        let elsewhere = others.known();
        let with = sessions.sessions_with(address, wall.moment());
        with.iter().any(|other| other.subscriber == subscriber && !elsewhere.is_closed(other.id))
    }

    /// Closes sessions that nothing was heard of for too long. A panic at one leaves the records alone, and those that were
    /// closed before it.
    fn search(&mut self) {
        if self.searched.elapsed() < SEARCH {
            return;
        }
        self.searched = Instant::now();
        let shared = Arc::clone(&self.shared);
        let duties = &shared.panics.duties;
        let lost = &mut self.lost;
        duties.contain(Duty::Search, Instant::now(), || {
            #[cfg(test)]
            super::panics::tests::trap_duty(&shared, Duty::Search);
            let waiting = shared.closings.lock().len();
            let room = MOST_WAITING.saturating_sub(waiting).min(MOST_CLOSED);
            shared.desk.sessions.expire_into(Wall::now().moment(), room, lost);
        });
        while let Some(view) = self.lost.pop() {
            let told = duties.contain(Duty::Search, Instant::now(), || self.tell_lost(&view));
            match told {
                Contained::Done(()) => {}
                Contained::Panicked => {
                    let (session, nas) = (view.id, &view.nas);
                    error!(%session, nas, "the database can't be told of the end of a session that nothing is heard of");
                }
                Contained::Paused => {
                    self.lost.push(view);
                    return;
                }
            }
        }
    }

    /// Has the database be told of a session that was closed for its silence.
    fn tell_lost(&self, view: &SessionView) {
        let Shared { desk, closings, counts, .. } = &*self.shared;
        let context = desk.context();
        let nas = context.nases.named(&view.nas);
        let telco = nas.and_then(|nas| nas.telco.as_deref());
        let row = ExportRow::closing(view, telco, Wall::now().nanoseconds());
        closings.lock().waiting.push(row);
        counts.zombies.fetch_add(1, Relaxed);
        self.note_ends(std::slice::from_ref(view), self.shared.applied.load(Ordering::Acquire));
    }

    /// Saves the sessions, and the position that they are at. If something is on its way to the database that is in no
    /// journal, the snapshot before has to do.
    fn save(&mut self) {
        self.tried = Instant::now();
        if self.shared.closings.lock().len() > 0 || !self.lost.is_empty() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let consumer = &mut self.consumer;
        let position = shared.applied.load(Ordering::Acquire);
        let committed = shared.panics.duties.contain(Duty::Snapshot, Instant::now(), || {
            #[cfg(test)]
            super::panics::tests::trap_duty(&shared, Duty::Snapshot);
            // First what the table does not say of those that ended, or after a crash nobody would.
            let file = spent::file_beside(&shared.snapshot);
            replace(&file, |writer| shared.desk.spent.save(writer))?;
            replace(&shared.snapshot, |writer| {
                let now = Wall::now().moment();
                shared.desk.sessions.save(writer, position, now)
            })?;
            consumer.commit(position).map_err(io::Error::other)
        });
        match committed {
            Contained::Done(Ok(())) => {
                shared.panics.passed(Part::Sessions, position);
                self.saved = Some(Instant::now());
            }
            Contained::Done(Err(error)) => warn!(
                %error,
                "the sessions can't be saved to {}: make room, or choose another [radius.accounting] snapshot_file",
                shared.snapshot.display()
            ),
            Contained::Panicked | Contained::Paused => {}
        }
    }
}

/// Addresses and prefixes that a record says somebody has.
fn assigned(record: &Record<'_>) -> impl Iterator<Item = Assigned> {
    let prefixes = [record.framed_prefix, record.delegated_prefix].into_iter().flatten();
    let prefixes = prefixes.filter_map(|prefix| {
        ipnet::Ipv6Net::new(prefix.address(), prefix.length()).ok().map(Assigned::V6)
    });
    record.framed_address.map(Assigned::V4).into_iter().chain(prefixes)
}

/// Replaces a file whole, so that a crash in the middle leaves the old one.
pub(super) fn replace<T>(
    file: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<T>,
) -> io::Result<T> {
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let attempt = || {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        // Nobody else reads who is online.
        let opened =
            File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        let mut writer = BufWriter::with_capacity(BUFFER, opened);
        let written = write(&mut writer)?;
        writer.flush()?;
        writer.get_ref().sync_data()?;
        fs::rename(&new, file)?;
        if let Some(folder) = file.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(written)
    };
    attempt().inspect_err(|_| {
        // On a full disk the half of it would keep it full.
        let _ = fs::remove_file(&new);
    })
}
