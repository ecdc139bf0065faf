//! What comes of accounting records once they are durable: sessions in memory, and rows in the database.
//!
//! Two threads read the journal. The first keeps the table of sessions, which Simultaneous-Use asks, and is never behind for
//! long. The second brings the records into the database, and is behind for as long as that is away. Both keep their
//! position, and read again after a crash what they did not commit: a record that is applied or written twice changes
//! nothing.
//!
//! What the table closes by itself (sessions that nothing is heard of) is in no journal. It is kept until the database has
//! it, and no snapshot of the table is taken meanwhile: after a crash the table finds it out once more.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use muralla_journal::{Appender, Consumer, DeadLetter, Entry, Journal, JournalError};
use muralla_radius_accounting::{
    self as records, Effect, ExportRow, Outcome, Record, SessionId, Settings, Standing, State as SessionState, Status, Table, payload,
};
use muralla_radius_state::{self as state, Assigned, Backoff, State};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tracing::{error, info, warn};

use crate::config::AccountingConfig;
use crate::desk::{Desk, Wall};

/// The names of the two in the journal.
pub(crate) const SESSIONS: &str = "sessions";
const DATABASE: &str = "database";

/// How long they wait for news before they look at other things.
const WAIT: Duration = Duration::from_millis(200);

/// How long a batch that is not full waits for more.
const LINGER: Duration = Duration::from_millis(50);

/// Time between two searches for sessions that nothing is heard of.
const SEARCH: Duration = Duration::from_secs(2);

/// Sessions that one search closes at most, so that the journal is not left alone for long.
const MOST_CLOSED: usize = 10_000;

/// Rows of closed sessions that wait for the database at most: beyond it no more sessions are closed for their silence.
const MOST_WAITING: usize = 200_000;

/// Time between two words to the database that this server has told it everything.
const TELL: Duration = Duration::from_secs(5);

/// Time that the database has for what is left when the role stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// Closed sessions that are written to the database at once at most.
const CLOSED_AT_ONCE: usize = 10_000;

/// Time after which those are tried again that the database refused.
const REFUSED: Duration = Duration::from_secs(60);

/// Records of sessions that the table may have forgotten by now are not put to it again, or it would take them for new.
const FRESH: u64 = 2 * 3_600;

/// Bytes of the snapshot that are written at once.
const BUFFER: usize = 1 << 20;

/// The table of sessions, as far as the last snapshot has it, and up to where of the journal that is.
pub(crate) fn restore(settings: &Settings, file: &Path) -> (Table, Option<u64>) {
    let now = Wall::now().moment();
    let opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                warn!(file = %file.display(), %error, "the snapshot of the sessions can't be read: reading the whole journal");
            }
            return (Table::new(settings.clone(), rand::random()), None);
        }
    };
    let begin = Instant::now();
    match Table::restore(settings.clone(), rand::random(), BufReader::new(opened), now) {
        Ok((table, restored)) if restored.complete => {
            info!(sessions = restored.sessions, took = ?begin.elapsed(), "the sessions are back");
            (table, Some(restored.position))
        }
        Ok((table, restored)) => {
            warn!(?restored, file = %file.display(), "the snapshot of the sessions is damaged: reading the whole journal");
            (table, None)
        }
        Err(error) => {
            warn!(file = %file.display(), %error, "the snapshot of the sessions is not used: reading the whole journal");
            (Table::new(settings.clone(), rand::random()), None)
        }
    }
}

/// Where the table's settings come from.
pub(crate) fn settings(config: &AccountingConfig) -> Settings {
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    Settings {
        interim: config.interim.map(seconds),
        missed_interims: config.missed_interims,
        quiet: seconds(config.zombie_after),
        most_sessions: config.most_sessions,
        ..Settings::default()
    }
}

/// The two threads, until they are stopped.
pub(crate) struct Ledger {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What they share with each other, and with whoever looks at them.
struct Shared {
    desk: Arc<Desk>,
    config: AccountingConfig,
    snapshot: PathBuf,
    /// There once the database has answered for the first time.
    state: Arc<Mutex<Option<State>>>,
    runtime: Handle,
    stop: AtomicBool,
    /// The record that the table has taken last.
    applied: AtomicU64,
    closings: Mutex<Closings>,
    /// Why nothing is written to the database, which answers.
    unfit: Mutex<Option<String>>,
    counts: Counts,
    orders: Mutex<Vec<Order>>,
}

/// Sessions that the table closed by itself, for the database.
#[derive(Default)]
struct Closings {
    waiting: Vec<ExportRow>,
    /// Those that were taken and are not in the database yet.
    under_way: usize,
    /// Those that the database refused, why it did so last, and when it is asked again. They hold no snapshot up: that may be
    /// for ever.
    refused: Vec<ExportRow>,
    reason: String,
    again: Option<Instant>,
}

impl Closings {
    fn len(&self) -> usize {
        self.waiting.len() + self.under_way
    }

    fn refuse(&mut self, rows: Vec<ExportRow>, reason: String) {
        self.refused.extend(rows);
        self.reason = reason;
        self.again = Some(Instant::now() + REFUSED);
    }

    /// Some of those that are to be written.
    fn take(&mut self) -> Vec<ExportRow> {
        if self.again.is_some_and(|again| Instant::now() >= again) {
            self.again = None;
            self.waiting.append(&mut self.refused);
        }
        let taken = self.waiting.len().min(CLOSED_AT_ONCE);
        self.under_way = taken;
        self.waiting.drain(..taken).collect()
    }
}

/// What was done since the start.
#[derive(Default)]
struct Counts {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    unreadable: AtomicU64,
    zombies: AtomicU64,
    exported: AtomicU64,
    put_aside: AtomicU64,
}

/// Something that the second thread is to do with dead letters, which are in its hands.
enum Order {
    List(tokio::sync::oneshot::Sender<Result<Vec<DeadLetter>, JournalError>>),
    Replay(Appender, Option<Vec<u64>>, tokio::sync::oneshot::Sender<Result<usize, JournalError>>),
    Remove(Vec<u64>, tokio::sync::oneshot::Sender<Result<usize, JournalError>>),
}

/// What a status tells of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) outcomes: Vec<(String, u64)>,
    pub(crate) unreadable: u64,
    pub(crate) zombies: u64,
    pub(crate) exported: u64,
    pub(crate) put_aside: u64,
    pub(crate) closings_waiting: u64,
    /// Why nothing, or not everything, is written to the database, which answers.
    pub(crate) unfit: Option<String>,
    /// The record that the table has taken last.
    pub(crate) applied: u64,
}

impl Ledger {
    /// Starts the threads. `position` is where the snapshot that the table was restored from ends; without one the table takes
    /// all that the journal has.
    ///
    /// # Errors
    ///
    /// When the journal can't be read, or the system has no more threads.
    pub(crate) fn start(
        journal: &Journal,
        desk: Arc<Desk>,
        config: &AccountingConfig,
        snapshot: PathBuf,
        position: Option<u64>,
        state: Arc<Mutex<Option<State>>>,
        runtime: Handle,
    ) -> Result<Self, JournalError> {
        let (mut sessions, database) = (journal.consumer(SESSIONS)?, journal.consumer(DATABASE)?);
        // What is there may be older than what was committed, never newer than what can be read again.
        sessions.rewind(position.unwrap_or(0))?;
        let shared = Arc::new(Shared {
            desk,
            config: config.clone(),
            snapshot,
            state,
            runtime,
            stop: AtomicBool::new(false),
            applied: AtomicU64::new(sessions.position()),
            closings: Mutex::default(),
            unfit: Mutex::default(),
            counts: Counts::default(),
            orders: Mutex::default(),
        });
        let mut ledger = Self { shared: Arc::clone(&shared), threads: Vec::new() };
        let keeper = Keeper {
            shared: Arc::clone(&shared),
            consumer: sessions,
            saved: Instant::now(),
            searched: Instant::now(),
        };
        let exporter = Exporter {
            shared,
            consumer: database,
            backoff: Backoff::default(),
            told: Instant::now(),
            given_up: false,
        };
        ledger.spawn("radius-sessions", move || keeper.run())?;
        ledger.spawn("radius-database", move || exporter.run())?;
        Ok(ledger)
    }

    fn spawn(
        &mut self,
        name: &str,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<(), JournalError> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
        let refused = |source| JournalError::Disk {
            what: "start a thread for",
            name: name.to_owned(),
            source,
        };
        self.threads.push(thread.map_err(refused)?);
        Ok(())
    }

    /// What was done since the start.
    pub(crate) fn figures(&self) -> Figures {
        let counts = &self.shared.counts;
        let outcomes = Outcome::ALL.iter().zip(&counts.outcomes);
        // The guard is gone before anything else asks for the lock.
        let closings_waiting = self.shared.closings.lock().len() as u64;
        Figures {
            outcomes: outcomes
                .map(|(outcome, count)| (outcome.name().to_owned(), count.load(Relaxed)))
                .collect(),
            unreadable: counts.unreadable.load(Relaxed),
            zombies: counts.zombies.load(Relaxed),
            exported: counts.exported.load(Relaxed),
            put_aside: counts.put_aside.load(Relaxed),
            closings_waiting,
            unfit: self.shared.unfit(),
            applied: self.shared.applied.load(Relaxed),
        }
    }

    /// The records that can't be stored.
    pub(crate) fn dead_letters(
        &self,
    ) -> tokio::sync::oneshot::Receiver<Result<Vec<DeadLetter>, JournalError>> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.shared.orders.lock().push(Order::List(sender));
        receiver
    }

    /// Has them tried again: all, or those of the chosen numbers.
    pub(crate) fn replay(
        &self,
        appender: Appender,
        chosen: Option<Vec<u64>>,
    ) -> tokio::sync::oneshot::Receiver<Result<usize, JournalError>> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.shared.orders.lock().push(Order::Replay(appender, chosen, sender));
        receiver
    }

    /// Has those of the chosen numbers removed for good.
    pub(crate) fn remove_dead_letters(
        &self,
        chosen: Vec<u64>,
    ) -> tokio::sync::oneshot::Receiver<Result<usize, JournalError>> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.shared.orders.lock().push(Order::Remove(chosen, sender));
        receiver
    }

    /// Ends both, the sessions saved and the database told what there is time for.
    pub(crate) fn stop(mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                error!("a thread of the accounting had panicked");
            }
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // Nobody waits for them, but they end.
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn tolerance(&self) -> u32 {
        self.desk.sessions.settings().event_tolerance
    }

    fn state(&self) -> Option<State> {
        self.state.lock().clone()
    }

    fn unfit(&self) -> Option<String> {
        let unfit = self.unfit.lock().clone();
        let refused = || {
            let closings = self.closings.lock();
            let count = closings.refused.len();
            let reason = &closings.reason;
            (count > 0).then(|| format!("{count} ends of sessions that no record tells: {reason}"))
        };
        unfit.or_else(refused)
    }

    /// Does something with the database, until some time after the end has come.
    fn until_the_end<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        until_the_end(&self.runtime, &self.stop, work)
    }
}

/// Keeps the table of sessions.
struct Keeper {
    shared: Arc<Shared>,
    consumer: Consumer,
    saved: Instant,
    searched: Instant,
}

impl Keeper {
    fn run(mut self) {
        loop {
            let stopped = self.shared.stopped();
            let read = self.read();
            if stopped {
                break;
            }
            self.search();
            if self.saved.elapsed() >= self.shared.config.snapshot {
                self.save();
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
        self.save();
    }

    /// Takes what is new in the journal, for as long as there is no pause in it, but not for too long.
    fn read(&mut self) -> Result<(), JournalError> {
        let begin = Instant::now();
        while let Some(entry) = self.consumer.next()? {
            match payload::decode(&entry.payload) {
                Ok(record) => self.apply(&record),
                // Whoever writes it into the database puts it aside.
                Err(_) => {
                    self.shared.counts.unreadable.fetch_add(1, Relaxed);
                }
            }
            self.shared.applied.store(entry.sequence, Ordering::Release);
            if begin.elapsed() >= SEARCH {
                return Ok(());
            }
        }
        Ok(())
    }

    fn apply(&self, record: &Record<'_>) {
        let Shared { desk, counts, closings, .. } = &*self.shared;
        let wall = Wall::now();
        let effect = desk.sessions.apply(record, wall.moment());
        desk.whereabouts.note(record);
        if let Some(count) = counts.outcomes.get(effect.outcome as usize) {
            count.fetch_add(1, Relaxed);
        }
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

    /// Has addresses stay with those who use them, and come back from those who don't. Only what ends a session gives its
    /// address back: a Stop that is sent again, or read again, may find it with the next one.
    fn tell_leases(&self, record: &Record<'_>, effect: &Effect, wall: Wall) {
        let Some(session) = effect.session.filter(|_| record.status.is_of_session()) else { return };
        let ends = record.status == Status::Stop && effect.outcome == Outcome::Closed;
        // What is told late of a session that has ended, here or at another server, keeps nothing.
        let goes_on = session.state == SessionState::Open
            && !self.shared.desk.elsewhere.is_closed(session.id);
        if !ends && !goes_on {
            return;
        }
        let Some(leases) = self.shared.desk.leases() else { return };
        let subject = record.subscriber.map_or(record.user, str::as_bytes);
        let user = records::export::printable(subject);
        let port = state::port_of(record.nas_port_id, record.nas_port, record.calling);
        let holder = state::Holder { user: &user, nas: record.nas, port: port.as_deref() };
        let heard = state::Heard {
            began: wall.since().saturating_sub(Duration::from_secs(session.started.into())),
            came: Duration::from_nanos(wall.moment().since(record)),
            first: effect.outcome == Outcome::Opened,
        };
        for assigned in assigned(record) {
            let address = match assigned {
                Assigned::V4(address) => address.into(),
                Assigned::V6(prefix) => prefix.addr().into(),
            };
            if !ends {
                leases.renew(assigned, &holder, heard, Instant::now());
            } else if !self.is_kept(address, subject, wall) {
                leases.release(assigned, &holder, heard, Instant::now());
            }
        }
    }

    /// Whether another session of the subscriber has the address. One of somebody else had it before: its end was told to
    /// another server, or is yet to be.
    fn is_kept(&self, address: IpAddr, subscriber: &[u8], wall: Wall) -> bool {
        let Desk { sessions, elsewhere, .. } = &*self.shared.desk;
        let with = sessions.sessions_with(address, wall.moment());
        with.iter().any(|other| other.subscriber == subscriber && !elsewhere.is_closed(other.id))
    }

    /// Closes sessions that nothing was heard of for too long.
    fn search(&mut self) {
        if self.searched.elapsed() < SEARCH {
            return;
        }
        self.searched = Instant::now();
        let Shared { desk, closings, counts, .. } = &*self.shared;
        let room = MOST_WAITING.saturating_sub(closings.lock().len()).min(MOST_CLOSED);
        let wall = Wall::now();
        let lost = desk.sessions.expire(wall.moment(), room);
        if lost.is_empty() {
            return;
        }
        counts.zombies.fetch_add(lost.len() as u64, Relaxed);
        let context = desk.context();
        let rows = lost.iter().map(|view| {
            let nas = context.nases.named(&view.nas);
            let telco = nas.and_then(|nas| nas.telco.as_deref());
            ExportRow::closing(view, telco, wall.nanoseconds())
        });
        closings.lock().waiting.extend(rows);
    }

    /// Saves the sessions, and the position that they are at. If something is on its way to the database that is in no
    /// journal, the snapshot before has to do.
    fn save(&mut self) {
        self.saved = Instant::now();
        if self.shared.closings.lock().len() > 0 {
            return;
        }
        let position = self.shared.applied.load(Ordering::Acquire);
        let saved = replace(&self.shared.snapshot, |writer| {
            let now = Wall::now().moment();
            self.shared.desk.sessions.save(writer, position, now)
        });
        let committed = match saved {
            Ok(_) => self.consumer.commit(position).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = committed {
            warn!(
                error,
                "the sessions can't be saved to {}: make room, or choose another [radius.accounting] snapshot_file",
                self.shared.snapshot.display()
            );
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

/// Brings records into the database.
struct Exporter {
    shared: Arc<Shared>,
    consumer: Consumer,
    backoff: Backoff,
    told: Instant,
    /// Something could be neither written nor put aside before the end: the next process meets it again.
    given_up: bool,
}

/// Rows on their way, and the entries of the journal that they are of.
#[derive(Default)]
struct Batch {
    /// First those of sessions that the table closed by itself.
    rows: Vec<ExportRow>,
    closed: usize,
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
    fn run(mut self) {
        let mut batch = Batch::default();
        let mut end = None;
        while !self.given_up {
            self.carry_out_orders();
            if self.shared.stopped() {
                let end = *end.get_or_insert_with(|| Instant::now() + FAREWELL);
                let idle = batch.is_empty() && self.consumer.lag() == 0;
                if idle || Instant::now() >= end || self.shared.state().is_none() {
                    return;
                }
            }
            let Some(state) = self.shared.state() else {
                self.pause(WAIT);
                continue;
            };
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
                self.tell_all_is_told(&state);
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

    /// Makes rows of what the table closed, and of what is next in the journal.
    fn gather(&mut self) -> Result<Batch, JournalError> {
        let mut batch = Batch::default();
        let until = Instant::now() + LINGER;
        while batch.entries.len() < self.shared.config.batch && !self.given_up {
            match self.consumer.next() {
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
        let closed = self.shared.closings.lock().take();
        batch.closed = closed.len();
        batch.rows.splice(0..0, closed);
        Ok(batch)
    }

    fn add(&mut self, batch: &mut Batch, entry: Entry) {
        match payload::decode(&entry.payload) {
            Ok(record) => {
                let effect = self.effect(&record, entry.sequence);
                let tolerance = self.shared.tolerance();
                batch.rows.push(ExportRow::of(&record, &effect, entry.sequence, tolerance));
                batch.last = Some(entry.sequence);
                batch.entries.push(entry);
            }
            Err(damaged) => {
                if self.put_aside(&entry, &damaged.to_string()) {
                    batch.last = Some(entry.sequence);
                }
            }
        }
    }

    /// What the record did to its session: as the table knows it, if it is not too long ago.
    fn effect(&self, record: &Record<'_>, sequence: u64) -> Effect {
        // The table has it first, or it would take the record's time for now.
        while self.shared.applied.load(Ordering::Acquire) < sequence && !self.shared.stopped() {
            thread::sleep(Duration::from_millis(1));
        }
        let wall = Wall::now();
        let age = wall.nanoseconds().saturating_sub(record.received) / 1_000_000_000;
        if age < FRESH && self.shared.applied.load(Ordering::Acquire) >= sequence {
            return self.shared.desk.sessions.apply(record, wall.moment());
        }
        let alone = by_itself(record, self.shared.tolerance());
        // If the table knows its session, which may have been named for another record of it, that one is meant.
        match self.shared.desk.sessions.standing(record, wall.moment()) {
            Some(known) => named_by(alone, known),
            None => alone,
        }
    }

    /// Writes a batch; if that can't be done at the moment, says how long to wait.
    fn export(&mut self, state: &State, batch: &Batch) -> Result<(), Duration> {
        let exported = match self.shared.until_the_end(state.export(&batch.rows)) {
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
        for poison in &exported.poison {
            let entry = poison.index.checked_sub(batch.closed);
            if let Some(entry) = entry.and_then(|at| batch.entries.get(at))
                && !self.put_aside(entry, &poison.reason)
            {
                return Err(Duration::ZERO);
            }
        }
        let refused = exported.poison.iter().filter(|poison| poison.index < batch.closed);
        let rows: Vec<ExportRow> =
            refused.clone().filter_map(|poison| batch.rows.get(poison.index).cloned()).collect();
        let mut closings = self.shared.closings.lock();
        closings.under_way = 0;
        if let Some(poison) = refused.last() {
            error!(
                reason = poison.reason,
                sessions = rows.len(),
                "ends of sessions that no record tells can't be written to the database; trying again"
            );
            closings.refuse(rows, poison.reason.clone());
        }
        drop(closings);
        self.shared.counts.exported.fetch_add(exported.written as u64, Relaxed);
        if let Some(last) = batch.last
            && let Err(error) = self.consumer.commit(last)
        {
            // They are written again some day, and change nothing.
            warn!(%error, "the position in the journal can't be kept");
        }
        Ok(())
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
            self.carry_out_orders();
            self.pause(Duration::from_secs(1));
            if self.shared.stopped() {
                self.given_up = true;
                return false;
            }
        }
        true
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

/// Does something, until some time after the end has come: systemd waits for no database.
fn until_the_end<T>(
    runtime: &Handle,
    stop: &AtomicBool,
    work: impl Future<Output = T>,
) -> Option<T> {
    let end = async {
        while !stop.load(Ordering::SeqCst) {
            tokio::time::sleep(WAIT).await;
        }
        tokio::time::sleep(FAREWELL).await;
    };
    runtime.block_on(async {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = end => None,
        }
    })
}

/// What a record says for itself, of a session that the table may not remember.
fn by_itself(record: &Record<'_>, tolerance: u32) -> Effect {
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

/// What a record says for itself, of a session that the table knows. If nothing later is known of that, the table's totals are
/// better: it has counted what the NAS's counters went round.
fn named_by(alone: Effect, known: Standing) -> Effect {
    let session = alone.session.map(|session| {
        if session.updated >= known.updated {
            known
        } else {
            Standing { id: known.id, started: known.started, ..session }
        }
    });
    Effect { session, ..alone }
}

/// Replaces a file whole, so that a crash in the middle leaves the old one.
fn replace<T>(
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

/// Seconds since 1970.
pub(crate) fn seconds_of(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[test]
    fn what_never_ends_ends_with_the_role() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let stop = AtomicBool::new(true);
        assert_eq!(until_the_end(runtime.handle(), &stop, pending::<()>()), None);
        assert_eq!(until_the_end(runtime.handle(), &stop, ready(7)), Some(7), "if it is done");
    }

    #[test]
    fn closings_that_were_refused_are_tried_again_and_hold_no_snapshot_up() {
        let mut closings = Closings::default();
        let (rows, reason) = (vec![row(), row()], "no".to_owned());
        closings.refuse(rows, reason);
        assert_eq!((closings.len(), closings.take().len()), (0, 0), "not at once");
        closings.again = Some(Instant::now());
        assert_eq!((closings.take().len(), closings.refused.len()), (2, 0));
        assert_eq!((closings.len(), closings.under_way), (2, 2));
    }

    fn row() -> ExportRow {
        let source = "192.0.2.1:1813".parse().unwrap();
        // Acct-Status-Type Start, and an Acct-Session-Id.
        let attributes = [40, 6, 0, 0, 0, 1, 44, 3, b'1'];
        let record = Record::of_attributes(&attributes, "one", source, 1).unwrap();
        ExportRow::of(&record, &by_itself(&record, 120), 0, 120)
    }
}
