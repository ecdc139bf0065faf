//! The second of the two threads: it brings records into the database.

use std::sync::Arc;
use std::sync::atomic::{Ordering, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use muralla_journal::{Consumer, DeadLetter, Entry, JournalError};
use muralla_radius_accounting::{
    self as records, Effect, ExportRow, Moment, Outcome, Record, SessionId, Standing,
    State as SessionState, Status, Table, payload,
};
use muralla_radius_state::{Backoff, Changed, Exported, State, StateError};
use tracing::{error, warn};

use super::panics::duties::{Contained, Duty};
use super::panics::{CAUSE, Part};
use super::{Order, Shared, WAIT};
use crate::desk::Wall;
use crate::precedence::{FOLLOWS, give_way};

/// How long a batch that is not full waits for more.
const LINGER: Duration = Duration::from_millis(50);

/// Time between two words to the database that this server has told it everything.
const TELL: Duration = Duration::from_secs(5);

/// Brings records into the database.
pub(super) struct Exporter {
    shared: Arc<Shared>,
    consumer: Consumer,
    backoff: Backoff,
    told: Instant,
    /// Up to this record each is written alone: one of a batch caused a panic. None once all those are written.
    alone_until: Option<u64>,
    /// Something could be neither written nor put aside before the end: the next process meets it again.
    given_up: bool,
}

/// Rows on their way, and the entries of the journal that they are of.
#[derive(Default)]
struct Batch {
    rows: Vec<ExportRow>,
    entries: Vec<Entry>,
    /// Up to where it goes.
    last: Option<u64>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.last.is_none()
    }
}

impl Exporter {
    /// It reads with a consumer of its own. From now on the table remembers what that has still before it.
    ///
    /// # Errors
    ///
    /// When the journal can't be read.
    pub(super) fn new(shared: Arc<Shared>, mut consumer: Consumer) -> Result<Self, JournalError> {
        let (backoff, told) = (Backoff::default(), Instant::now());
        let sessions = &shared.desk.sessions;
        while let Some(entry) = consumer.next()? {
            if let Ok(record) = payload::decode(&entry.payload) {
                sessions.unwritten(Some(&record), Wall::now().moment());
                break;
            }
        }
        consumer.roll_back();
        let batch = shared.config.batch as u64;
        let last = consumer.position().saturating_add(batch);
        let alone_until = shared.panics.is_wary().then_some(last);
        Ok(Self { shared, consumer, backoff, told, alone_until, given_up: false })
    }

    /// Works until it is stopped.
    pub(super) fn run(mut self) {
        give_way(FOLLOWS);
        let mut batch = Batch::default();
        while !self.given_up {
            self.look_after_orders();
            if let Some(end) = self.shared.end() {
                let idle = batch.is_empty() && self.consumer.lag() == 0;
                if idle || Instant::now() >= end || self.shared.state().is_none() {
                    return;
                }
            }
            let Some(state) = self.shared.state() else {
                self.pause(WAIT);
                continue;
            };
            if let Err(wait) = self.write_closings(&state) {
                self.pause(wait);
                continue;
            }
            if batch.is_empty() {
                match self.gather() {
                    Ok(gathered) => batch = gathered,
                    Err(error) => {
                        warn!(%error, "the journal can't be read; trying again");
                        self.pause(WAIT);
                        continue;
                    }
                }
            }
            if batch.is_empty() {
                self.tell_tidings(&state);
                self.consumer.wait(WAIT);
                continue;
            }
            match self.export(&state, &batch) {
                Ok(()) => batch = Batch::default(),
                Err(wait) => self.pause(wait),
            }
        }
    }

    /// Waits, but not beyond the end.
    fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        let stopped = self.shared.stopped();
        while Instant::now() < until && self.shared.stopped() == stopped {
            thread::sleep(WAIT.min(until.saturating_duration_since(Instant::now())));
        }
        if stopped {
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Makes rows of what is next in the journal.
    fn gather(&mut self) -> Result<Batch, JournalError> {
        let mut batch = Batch::default();
        let until = Instant::now() + LINGER;
        let most = if self.alone_until.is_some() { 1 } else { self.shared.config.batch };
        while batch.entries.len() < most && !self.given_up {
            match self.consumer.next() {
                Ok(Some(entry)) if !self.wait_for_the_table(entry.sequence) => {
                    // It can't be written under its session's name: the next process does it.
                    self.given_up = true;
                    self.consumer.roll_back();
                    return Ok(Batch::default());
                }
                Ok(Some(entry)) => self.add(&mut batch, entry),
                Ok(None) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if batch.last.is_none() || left.is_zero() || !self.consumer.wait(left) {
                        break;
                    }
                }
                Err(error) => {
                    self.consumer.roll_back();
                    return Err(error);
                }
            }
        }
        Ok(batch)
    }

    fn add(&mut self, batch: &mut Batch, entry: Entry) {
        let shared = Arc::clone(&self.shared);
        let reason = match payload::decode(&entry.payload) {
            Ok(_) if shared.panics.is_cause(entry.sequence) => CAUSE.to_owned(),
            Ok(record) => {
                let _at = shared.panics.at(Part::Database, entry.sequence);
                #[cfg(test)]
                super::panics::tests::trap(&record, Part::Database);
                let (sessions, now) = (&shared.desk.sessions, Wall::now().moment());
                if batch.entries.is_empty() {
                    sessions.unwritten(Some(&record), now);
                }
                let tolerance = shared.tolerance();
                let effect = effect(sessions, &record, now, tolerance);
                let row = ExportRow::of(&record, &effect, entry.sequence, tolerance);
                batch.rows.push(ExportRow { came: came(&record, now), ..row });
                batch.last = Some(entry.sequence);
                batch.entries.push(entry);
                return;
            }
            Err(damaged) => damaged.to_string(),
        };
        if self.put_aside(&entry, &reason) {
            batch.last = Some(entry.sequence);
        }
    }

    /// Until the table has taken a record, and so knows its session. False if the end comes first.
    fn wait_for_the_table(&self, sequence: u64) -> bool {
        while self.shared.applied.load(Ordering::Acquire) < sequence {
            if let Some(end) = self.shared.end() {
                // It takes what there is before it ends.
                if self.shared.panics.failure().is_some() || Instant::now() >= end {
                    return false;
                }
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// Lets the table forget what it remembered for this.
    fn note_all_is_written(&self) {
        if self.consumer.lag() > 0 {
            return;
        }
        let sessions = &self.shared.desk.sessions;
        let forgotten = sessions.stats().forgotten_unwritten;
        if forgotten > 0 {
            warn!(
                sessions = forgotten,
                "sessions were written by what their records tell alone, as [radius.accounting] most_sessions did not reach for them"
            );
        }
        sessions.unwritten(None, Wall::now().moment());
    }

    /// Writes ends of sessions that no record tells, before the records that came since. A panic at them leaves the records alone.
    /// If they can't be written at the moment, says how long to wait.
    fn write_closings(&mut self, state: &State) -> Result<(), Duration> {
        let shared = Arc::clone(&self.shared);
        let duties = &shared.panics.duties;
        if duties.is_paused(Duty::Closings, Instant::now()) {
            return Ok(());
        }
        let rows = shared.closings.lock().take();
        if rows.is_empty() {
            return Ok(());
        }
        let contained = duties.contain(Duty::Closings, Instant::now(), || {
            #[cfg(test)]
            super::panics::tests::trap_closings(&rows);
            shared.until_the_end(state.export(&rows))
        });
        let exported = match contained {
            Contained::Done(exported) => exported,
            Contained::Panicked => {
                shared.closings.lock().panicked(rows);
                return Ok(());
            }
            Contained::Paused => {
                shared.closings.lock().put_back(rows);
                return Ok(());
            }
        };
        let exported = match self.judge(state, exported) {
            Ok(exported) => exported,
            Err(wait) => {
                shared.closings.lock().put_back(rows);
                return Err(wait);
            }
        };
        let mut closings = shared.closings.lock();
        closings.under_way = 0;
        if let Some(last) = exported.poison.last() {
            let refused = exported.poison.iter().filter_map(|poison| rows.get(poison.index));
            let refused: Vec<ExportRow> = refused.cloned().collect();
            error!(
                reason = last.reason,
                sessions = refused.len(),
                "ends of sessions that no record tells can't be written to the database; trying again"
            );
            closings.refuse(refused, last.reason.clone());
        }
        Ok(())
    }

    /// Writes a batch; if that can't be done at the moment, says how long to wait.
    fn export(&mut self, state: &State, batch: &Batch) -> Result<(), Duration> {
        let shared = Arc::clone(&self.shared);
        let of_one = batch.entries.first().filter(|_| batch.rows.len() == 1);
        let _at = of_one.map(|entry| shared.panics.at(Part::Database, entry.sequence));
        #[cfg(test)]
        super::panics::tests::trap_batch(&batch.entries);
        let exported = self.shared.until_the_end(state.export(&batch.rows));
        let exported = self.judge(state, exported)?;
        for poison in &exported.poison {
            if let Some(entry) = batch.entries.get(poison.index)
                && !self.put_aside(entry, &poison.reason)
            {
                return Err(Duration::ZERO);
            }
        }
        if let Some(last) = batch.last {
            self.shared.desk.spent.written(last);
            match self.consumer.commit(last) {
                Ok(()) => self.shared.panics.passed(Part::Database, last),
                // They are written again some day, and change nothing.
                Err(error) => warn!(%error, "the position in the journal can't be kept"),
            }
            let is_end = self.alone_until.is_some_and(|until| last >= until);
            if is_end || self.consumer.lag() == 0 {
                self.all_are_written_alone();
            }
        }
        Ok(())
    }

    /// What the database said of rows; if it could not take them, how long to wait.
    fn judge(
        &mut self,
        state: &State,
        exported: Option<Result<Exported, StateError>>,
    ) -> Result<Exported, Duration> {
        let mut exported = match exported {
            Some(Ok(exported)) => exported,
            Some(Err(error)) => {
                let wait = self.backoff.failed(rand::random());
                let unfit = (!error.may_pass()).then(|| error.to_string());
                if unfit.is_some() {
                    error!(%error, "accounting records can't be written to the database; they stay in the journal");
                }
                *self.shared.unfit.lock() = unfit;
                return Err(wait);
            }
            None => {
                // The next process writes it.
                self.given_up = true;
                return Err(Duration::ZERO);
            }
        };
        self.backoff.succeeded();
        *self.shared.unfit.lock() = None;
        self.shared.counts.exported.fetch_add(exported.written as u64, Relaxed);
        if !exported.ended.is_empty() {
            let ended = Changed::Sessions(std::mem::take(&mut exported.ended));
            self.shared.desk.others.hear(ended, state.server());
        }
        Ok(exported)
    }

    /// The batch that held a panic's cause is written, and the cause found, if it was of its records.
    fn all_are_written_alone(&mut self) {
        if self.alone_until.take().is_some() {
            self.shared.panics.searched();
        }
    }

    /// Puts a record aside that will never be written. As long as that can't be done, nothing goes on: it must not be lost.
    /// False if the end came first.
    fn put_aside(&mut self, entry: &Entry, reason: &str) -> bool {
        error!(
            sequence = entry.sequence,
            reason, "an accounting record is put aside as a dead letter"
        );
        self.shared.counts.put_aside.fetch_add(1, Relaxed);
        while let Err(error) = self.consumer.poison(entry, reason) {
            error!(%error, "a dead letter can't be kept; trying again");
            // If there are too many, the operator retries or removes some.
            self.look_after_orders();
            self.pause(Duration::from_secs(1));
            if self.shared.stopped() {
                self.given_up = true;
                return false;
            }
        }
        true
    }

    /// Says how far it is where nothing is left to be written.
    fn tell_tidings(&mut self, state: &State) {
        if self.consumer.lag() == 0 {
            self.all_are_written_alone();
        }
        let shared = Arc::clone(&self.shared);
        shared.panics.duties.contain(Duty::Tidings, Instant::now(), || {
            #[cfg(test)]
            super::panics::tests::trap_duty(&shared, Duty::Tidings);
            self.note_all_is_written();
            self.tell_all_is_told(state);
        });
    }

    /// Leases that ended are given to others once every server has said that it has told everything.
    fn tell_all_is_told(&mut self, state: &State) {
        if self.told.elapsed() < TELL || self.consumer.lag() > 0 {
            return;
        }
        self.told = Instant::now();
        // If the database is away, it is told another time.
        let _ = self.shared.until_the_end(state.caught_up());
    }

    /// Does what operators want of dead letters. Whoever waits for an order that panics hears that nobody does it.
    fn look_after_orders(&self) {
        let duties = &self.shared.panics.duties;
        if !self.shared.orders.lock().is_empty() {
            duties.contain(Duty::Orders, Instant::now(), || self.carry_out_orders());
        }
    }

    fn carry_out_orders(&self) {
        let orders = std::mem::take(&mut *self.shared.orders.lock());
        for order in orders {
            // Whoever wanted to know may have gone.
            match order {
                Order::List(reply) => {
                    let _ = reply.send(self.consumer.dead_letters().list());
                }
                Order::Replay(appender, chosen, reply) => {
                    let wanted = |letter: &DeadLetter| {
                        chosen.as_ref().is_none_or(|chosen| chosen.contains(&letter.sequence))
                    };
                    let _ = reply.send(self.consumer.dead_letters().replay(&appender, wanted));
                }
                Order::Remove(chosen, reply) => {
                    let wanted = |letter: &DeadLetter| chosen.contains(&letter.sequence);
                    let _ = reply.send(self.consumer.dead_letters().remove(wanted));
                }
            }
        }
    }
}

/// When a record came by the clock that nobody sets, if that was in this life of the machine.
fn came(record: &Record<'_>, now: Moment) -> Option<Duration> {
    let uptime = record.uptime.filter(|uptime| uptime.boot == now.uptime.boot)?;
    Some(Duration::from_nanos(uptime.nanos))
}

/// What a record did that the table has taken, and what its session came to by then: as the table knows it, or else as the
/// record alone tells.
pub(super) fn effect(table: &Table, record: &Record<'_>, now: Moment, tolerance: u32) -> Effect {
    let alone = by_itself(record, tolerance);
    match table.standing(record, now) {
        Some(known) => Effect { outcome: Outcome::Duplicate, session: Some(known), ..alone },
        None => alone,
    }
}

/// What a record says for itself, of a session that the table does not remember.
pub(super) fn by_itself(record: &Record<'_>, tolerance: u32) -> Effect {
    let event = record.event(tolerance);
    let seconds = record.session_seconds.unwrap_or(0);
    let stopped = record.status == Status::Stop;
    let session = record.status.is_of_session().then(|| Standing {
        id: SessionId::of(record, tolerance),
        state: if stopped { SessionState::Stopped } else { SessionState::Open },
        started: event.at.saturating_sub(seconds),
        updated: event.at,
        ended: stopped.then_some(event.at),
        seconds,
        octets_in: record.octets_in.total().unwrap_or(0),
        octets_out: record.octets_out.total().unwrap_or(0),
        doubts: event.doubts,
    });
    Effect {
        outcome: if session.is_some() { Outcome::Ancient } else { Outcome::Ignored },
        session,
        gain: records::Gain::default(),
        closes: Vec::new(),
        doubts: event.doubts,
    }
}
