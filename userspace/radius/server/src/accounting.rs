//! What comes of accounting records once they are durable: sessions in memory, and rows in the database.
//!
//! Two threads read the journal. The first keeps the table of sessions, which Simultaneous-Use asks, and is never behind for
//! long. The second brings the records into the database, and is behind for as long as that is away. Both keep their
//! position, and read again after a crash what they did not commit: a record that is applied or written twice changes
//! nothing.
//!
//! What the table closes by itself (sessions that nothing is heard of) is in no journal. It is kept until the database has
//! it, and no snapshot of the table is taken meanwhile: after a crash the table finds it out once more.
//!
//! What the table knows of a session no record tells by itself: its name, if its id was given twice, and its octets, if its
//! counters went round. So the table has each record first, and remembers its session until the database has it, however long
//! that is away.

mod conflicts;
mod exporter;
mod keeper;
#[cfg(test)]
mod outage;
mod panics;

use std::fs::File;
use std::io::{self, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use muralla_journal::{Appender, DeadLetter, Journal, JournalError};
use muralla_radius_accounting::{ExportRow, Outcome, Record, Settings, Table};
use muralla_radius_state::State;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use self::exporter::Exporter;
use self::keeper::Keeper;
use self::panics::{Panics, Part};
use crate::config::AccountingConfig;
use crate::desk::{Desk, Wall};
use crate::report::DutyStatus;
use crate::spent;

/// The names of the two in the journal.
pub(crate) const SESSIONS: &str = "sessions";
const DATABASE: &str = "database";

/// How long they wait for news before they look at other things, such as whether this is the end.
const WAIT: Duration = Duration::from_millis(20);

/// Time that the database has for what is left when the role stops, and nobody is answered meanwhile. The journal keeps the rest
/// for the next process.
const FAREWELL: Duration = Duration::from_millis(250);

/// Closed sessions that are written to the database at once at most.
const CLOSED_AT_ONCE: usize = 10_000;

/// Time after which those are tried again that the database refused.
const REFUSED: Duration = Duration::from_secs(60);

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
    /// Until when what is left has time, once it was seen that this is the end.
    end: OnceLock<Instant>,
    /// The record that the table has taken last.
    applied: AtomicU64,
    closings: Mutex<Closings>,
    /// Why nothing is written to the database, which answers.
    unfit: Mutex<Option<String>>,
    counts: Counts,
    orders: Mutex<Vec<Order>>,
    /// Who waits for the sessions to be saved.
    save: Mutex<Vec<oneshot::Sender<()>>>,
    panics: Panics,
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
    /// So many are taken one at a time: one of them caused a panic.
    alone: usize,
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
        let most = if self.alone > 0 { 1 } else { CLOSED_AT_ONCE };
        let taken = self.waiting.len().min(most);
        self.alone = self.alone.saturating_sub(taken);
        self.under_way = taken;
        self.waiting.drain(..taken).collect()
    }

    /// Those that were taken could not be written yet.
    fn put_back(&mut self, rows: Vec<ExportRow>) {
        if rows.len() == 1 {
            // It may have been taken by itself.
            self.alone += 1;
        }
        self.under_way = 0;
        self.waiting.splice(0..0, rows);
    }

    /// Writing those that were taken caused a panic. The one that is the cause is found out, and then tried by itself now and
    /// then.
    fn panicked(&mut self, rows: Vec<ExportRow>) {
        self.under_way = 0;
        match rows.len() {
            1 => self.refuse(rows, "the accounting panics at it; please report it".to_owned()),
            count => {
                self.alone = self.alone.max(count);
                self.waiting.splice(0..0, rows);
            }
        }
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
    List(oneshot::Sender<Result<Vec<DeadLetter>, JournalError>>),
    Replay(Appender, Option<Vec<u64>>, oneshot::Sender<Result<usize, JournalError>>),
    Remove(Vec<u64>, oneshot::Sender<Result<usize, JournalError>>),
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
    /// Why records stay in the journal until the process is started anew.
    pub(crate) failure: Option<String>,
    /// What is done besides, and whether it can be.
    pub(crate) duties: Vec<DutyStatus>,
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
        desk.pending.applied(sessions.position());
        desk.pending.begins(journal.status().durable);
        let written = database.position();
        let there = written..=journal.status().durable;
        spent::restore(&desk.spent, &spent::file_beside(&snapshot), there.clone());
        let read_again = sessions.position().min(written)..=*there.end();
        let panics = Panics::load(&snapshot, read_again);
        let shared = Arc::new(Shared {
            desk,
            config: config.clone(),
            snapshot,
            state,
            runtime,
            stop: AtomicBool::new(false),
            end: OnceLock::new(),
            applied: AtomicU64::new(sessions.position()),
            closings: Mutex::default(),
            unfit: Mutex::default(),
            counts: Counts::default(),
            orders: Mutex::default(),
            save: Mutex::default(),
            panics,
        });
        let mut ledger = Self { shared: Arc::clone(&shared), threads: Vec::new() };
        let keeper = Keeper::new(Arc::clone(&shared), sessions);
        let exporter = Exporter::new(shared, database)?;
        ledger.spawn("radius-sessions", Part::Sessions, move || keeper.run())?;
        ledger.spawn("radius-database", Part::Database, move || exporter.run())?;
        Ok(ledger)
    }

    fn spawn(
        &mut self,
        name: &str,
        part: Part,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<(), JournalError> {
        let shared = Arc::clone(&self.shared);
        let guarded = move || {
            if let Err(cause) = catch_unwind(AssertUnwindSafe(work)) {
                shared.panics.note(part, &*cause);
                // The other one would go by what this one left half done.
                shared.stop.store(true, Ordering::SeqCst);
                shared.orders.lock().clear();
                shared.save.lock().clear();
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(guarded);
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
            failure: self.failure(),
            duties: self.shared.panics.duties.status(),
        }
    }

    /// The record that the table has taken last.
    pub(crate) fn applied(&self) -> u64 {
        self.shared.applied.load(Ordering::Acquire)
    }

    /// Why records stay in the journal until the process is started anew, if one of the threads has ended.
    pub(crate) fn failure(&self) -> Option<String> {
        self.shared.panics.failure()
    }

    fn order(&self, order: Order) {
        let mut orders = self.shared.orders.lock();
        // Nobody would carry it out, and whoever waits for it hears so.
        if self.failure().is_none() {
            orders.push(order);
        }
    }

    /// The records that can't be stored.
    pub(crate) fn dead_letters(&self) -> oneshot::Receiver<Result<Vec<DeadLetter>, JournalError>> {
        let (sender, receiver) = oneshot::channel();
        self.order(Order::List(sender));
        receiver
    }

    /// Has them tried again: all, or those of the chosen numbers.
    pub(crate) fn replay(
        &self,
        appender: Appender,
        chosen: Option<Vec<u64>>,
    ) -> oneshot::Receiver<Result<usize, JournalError>> {
        let (sender, receiver) = oneshot::channel();
        self.order(Order::Replay(appender, chosen, sender));
        receiver
    }

    /// Has those of the chosen numbers removed for good.
    pub(crate) fn remove_dead_letters(
        &self,
        chosen: Vec<u64>,
    ) -> oneshot::Receiver<Result<usize, JournalError>> {
        let (sender, receiver) = oneshot::channel();
        self.order(Order::Remove(chosen, sender));
        receiver
    }

    /// Has the sessions saved, and tells when they are. What is saved while requests are answered is not left for the end, in
    /// which nobody is.
    pub(crate) fn save(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut save = self.shared.save.lock();
        // Who would do it may have ended.
        if self.failure().is_none() {
            save.push(sender);
        }
        receiver
    }

    /// Ends both, the sessions saved if that is long ago, and the database told what there is time for.
    pub(crate) fn stop(mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                error!("a thread of the accounting panicked while it told of another panic");
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
        until_the_end(&self.runtime, || self.end(), work)
    }

    /// Until when what is left has time; none as long as this is not the end.
    fn end(&self) -> Option<Instant> {
        self.stopped().then(|| *self.end.get_or_init(|| Instant::now() + FAREWELL))
    }
}

/// Does something, until the end is over, which `end` tells once it has come: systemd waits for no database.
fn until_the_end<T>(
    runtime: &Handle,
    end: impl Fn() -> Option<Instant>,
    work: impl Future<Output = T>,
) -> Option<T> {
    let end = async {
        loop {
            match end() {
                Some(end) => return tokio::time::sleep_until(end.into()).await,
                None => tokio::time::sleep(WAIT).await,
            }
        }
    };
    runtime.block_on(async {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = end => None,
        }
    })
}

/// By whom a record's session is counted: the subscriber, or else User-Name.
pub(crate) fn subject<'a>(record: &Record<'a>) -> &'a [u8] {
    record.subscriber.map_or(record.user, str::as_bytes)
}

/// Seconds since 1970.
pub(crate) fn seconds_of(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::exporter::by_itself;
    use super::*;

    #[test]
    fn what_never_ends_ends_with_the_role() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let end = || Some(Instant::now());
        assert_eq!(until_the_end(runtime.handle(), end, pending::<()>()), None);
        assert_eq!(until_the_end(runtime.handle(), end, ready(7)), Some(7), "if it is done");
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

    #[test]
    fn of_closings_that_panic_the_one_is_found_and_the_others_pass() {
        let named = |user: &str| ExportRow { user_name: user.to_owned(), ..row() };
        let users = |rows: &[ExportRow]| -> Vec<String> {
            rows.iter().map(|row| row.user_name.clone()).collect()
        };
        let waiting = vec![named("a"), named("bad"), named("c")];
        let mut closings = Closings { waiting, ..Closings::default() };
        let (mut passed, mut panics) = (Vec::new(), 0);
        loop {
            let rows = closings.take();
            if rows.is_empty() {
                break;
            }
            if users(&rows).contains(&"bad".to_owned()) {
                panics += 1;
                closings.panicked(rows);
            } else {
                passed.extend(users(&rows));
                closings.under_way = 0;
            }
        }
        assert_eq!((passed, panics), (vec!["a".to_owned(), "c".to_owned()], 2));
        assert_eq!((users(&closings.refused), closings.len()), (vec!["bad".to_owned()], 0));
        // What waits for the database meanwhile is as it was.
        closings.waiting = vec![named("d"), named("e")];
        let rows = closings.take();
        closings.put_back(rows);
        assert_eq!(users(&closings.waiting), ["d", "e"]);
        assert_eq!((closings.take().len(), closings.alone), (2, 0));
    }

    fn row() -> ExportRow {
        let source = "192.0.2.1:1813".parse().unwrap();
        // Acct-Status-Type Start, and an Acct-Session-Id.
        let attributes = [40, 6, 0, 0, 0, 1, 44, 3, b'1'];
        let record = Record::of_attributes(&attributes, "one", source, 1).unwrap();
        ExportRow::of(&record, &by_itself(&record, 120), 0, 120)
    }
}
