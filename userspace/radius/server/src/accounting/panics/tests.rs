use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use muralla_journal::{Entry, Journal, Options};
use muralla_radius_accounting::{ExportRow, Record, Table, payload};
use muralla_radius_dictionary::Dictionary;
use muralla_radius_policy::{Base, Case, Names};
use muralla_radius_state::{Location, SessionFilter, State};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::duties::Duty;
use super::*;
use crate::accounting::exporter::by_itself;
use crate::accounting::{Ledger, Shared, settings};
use crate::config::{NasConfig, RadiusConfig};
use crate::desk::{Context, Desk, Wall};
use crate::nases::{Nases, SELF};
use crate::report::DutyStatus;

/// Panics at what is meant to cause one, as a mistake of ours would.
pub(crate) fn trap(record: &Record<'_>, part: Part) {
    let meant: &[u8] = match part {
        Part::Sessions => b"panic of the table",
        Part::Database => b"panic of the rows",
    };
    assert!(record.user != meant, "on purpose");
}

pub(crate) fn trap_batch(entries: &[Entry]) {
    let meant = entries.iter().filter_map(|entry| payload::decode(&entry.payload).ok());
    assert!(!meant.into_iter().any(|record| record.user == b"panic of the batch"), "on purpose");
}

pub(crate) fn trap_closings(rows: &[ExportRow]) {
    assert!(!rows.iter().any(|row| row.user_name == "panic of a closing"), "on purpose");
}

/// A duty panics while there is a file that names it.
pub(in crate::accounting) fn trap_duty(shared: &Shared, duty: Duty) {
    assert!(!trap_of(&shared.snapshot, duty).exists(), "on purpose");
}

fn trap_of(snapshot: &Path, duty: Duty) -> PathBuf {
    snapshot.with_extension(format!("{duty:?}"))
}

/// The accounting of one process after the other.
struct Stand {
    runtime: Runtime,
    folder: TempDir,
    config: RadiusConfig,
    state: State,
}

impl Stand {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let database = Location::Sqlite(folder.path().join("state.db"));
        let state = runtime.block_on(State::open(&database)).unwrap();
        Self { runtime, folder, config: RadiusConfig::default(), state }
    }

    fn journal(&self) -> Journal {
        let options = Options { reserve: 0, segment: 1 << 20, ..Options::default() };
        Journal::open(&self.folder.path().join("journal"), options).unwrap().0
    }

    fn append(&self, journal: &Journal, users: &[&str]) {
        let appender = journal.appender().unwrap();
        for (number, user) in users.iter().enumerate() {
            let mut attributes = vec![40, 6, 0, 0, 0, 1, 44, 3, b'1' + number as u8];
            attributes.extend([1, user.len() as u8 + 2]);
            attributes.extend(user.as_bytes());
            let source = "192.0.2.1:1813".parse().unwrap();
            let now = Wall::now().nanoseconds();
            let record = Record::of_attributes(&attributes, "one", source, now).unwrap();
            let mut bytes = Vec::new();
            payload::encode(&record, &mut bytes);
            let ticket = appender.append(&bytes).unwrap();
            wait_for("durability", || appender.is_durable(ticket));
        }
    }

    fn ledger(&self, journal: &Journal) -> (Ledger, Arc<Desk>) {
        let anywhere = ipnet::Ipv4Net::new(Ipv4Addr::UNSPECIFIED, 0).unwrap().into();
        let own = NasConfig::new(SELF, anywhere, "a secret of nobody".to_owned());
        let (nases, _) = Nases::new(&[own], &[], &Nases::default(), 1);
        let own = Arc::clone(nases.named(SELF).unwrap());
        let context = Context::new(&self.config, nases, own, Vec::<IpAddr>::new());
        let base = Base::new(Dictionary::built_in(), Names::new(Case::Exact), [1, 2]);
        let table = Table::new(settings(&self.config.accounting), [1, 2]);
        let desk = Arc::new(Desk::new(&self.config, context, Arc::new(base), Arc::new(table)));
        let state = Arc::new(Mutex::new(Some(self.state.clone())));
        let ledger = Ledger::start(
            journal,
            Arc::clone(&desk),
            &self.config.accounting,
            self.folder.path().join("sessions"),
            None,
            state,
            self.runtime.handle().clone(),
        );
        (ledger.unwrap(), desk)
    }

    fn users(&self) -> Vec<String> {
        let filter = SessionFilter::default();
        let all = self.state.sessions(&filter, 100);
        let mut users: Vec<String> =
            self.runtime.block_on(all).unwrap().into_iter().map(|session| session.user).collect();
        users.sort();
        users
    }
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < until, "never came: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Starts process after process as a supervisor would, until one goes on; gives how many there were.
fn until_it_goes_on(stand: &Stand, expected: &[&str]) -> usize {
    for count in 1..10 {
        let journal = stand.journal();
        let (ledger, desk) = stand.ledger(&journal);
        wait_for("the end, or the rows", || {
            ledger.failure().is_some() || stand.users() == expected
        });
        let failure = ledger.failure();
        if failure.is_some() {
            // Whoever asks for what nobody does hears so.
            assert!(stand.runtime.block_on(ledger.dead_letters()).is_err());
        } else {
            wait_for("the table", || desk.sessions.stats().open == expected.len());
            let letters = ledger.dead_letters();
            let letters = stand.runtime.block_on(letters).unwrap().unwrap();
            assert_eq!((letters.len(), letters[0].reason.as_str()), (1, CAUSE));
        }
        ledger.stop();
        journal.close().unwrap();
        if failure.is_none() {
            return count;
        }
    }
    panic!("it panics for ever");
}

#[test]
fn a_record_that_causes_panics_is_put_aside_and_all_others_are_taken() {
    for (user, most) in
        [("panic of the table", 3), ("panic of the rows", 3), ("panic of the batch", 4)]
    {
        let stand = Stand::new();
        let journal = stand.journal();
        stand.append(&journal, &["ana", user, "eva"]);
        journal.close().unwrap();
        assert!(until_it_goes_on(&stand, &["ana", "eva"]) <= most, "{user}");
        let noted = fs::read_to_string(stand.folder.path().join("sessions.panics")).unwrap();
        assert_eq!(noted, "2 2\n", "{user}: the one, and that others are suspected no more");
        // Known for as long as it is read again.
        assert_eq!(until_it_goes_on(&stand, &["ana", "eva"]), 1, "{user}");
        stand.runtime.block_on(stand.state.close());
    }
}

fn duty(ledger: &Ledger, name: &str) -> DutyStatus {
    ledger.figures().duties.into_iter().find(|duty| duty.duty == name).unwrap()
}

/// What is done besides takes no record with it, is told, and goes on by itself.
#[test]
fn a_duty_that_panics_keeps_no_record_from_anybody() {
    for (kind, name) in
        [(Duty::Search, "search"), (Duty::Snapshot, "snapshot"), (Duty::Tidings, "tidings")]
    {
        let mut stand = Stand::new();
        stand.config.accounting.snapshot = Duration::from_millis(50);
        let snapshot = stand.folder.path().join("sessions");
        let trap = trap_of(&snapshot, kind);
        fs::write(&trap, "").unwrap();
        let journal = stand.journal();
        stand.append(&journal, &["ana"]);
        let (ledger, desk) = stand.ledger(&journal);
        wait_for("a panic", || duty(&ledger, name).panics > 0);
        stand.append(&journal, &["ana", "eva"]);
        wait_for("the rows", || stand.users() == ["ana", "eva"]);
        wait_for("the table", || desk.sessions.stats().open == 2);
        let told = duty(&ledger, name).failure;
        assert!(told.is_some_and(|told| told.ends_with("on purpose")), "{name}");
        assert_eq!(ledger.failure(), None, "the rest does not stand still");
        fs::remove_file(&trap).unwrap();
        wait_for("the duty", || duty(&ledger, name).failure.is_none());
        assert!(duty(&ledger, name).panics > 0, "what was stays counted");
        ledger.stop();
        journal.close().unwrap();
        assert!(snapshot.exists());
        stand.runtime.block_on(stand.state.close());
    }
}

#[test]
fn an_end_at_which_writing_panics_takes_no_other_with_it() {
    let stand = Stand::new();
    let journal = stand.journal();
    let (ledger, _) = stand.ledger(&journal);
    let rows = ["ben", "panic of a closing", "dan"].iter().zip(b'7'..).map(|(user, session)| {
        let source = "192.0.2.1:1813".parse().unwrap();
        let attributes = [40, 6, 0, 0, 0, 1, 44, 3, session];
        let now = Wall::now().nanoseconds();
        let record = Record::of_attributes(&attributes, "one", source, now).unwrap();
        let row = ExportRow::of(&record, &by_itself(&record, 120), 0, 120);
        ExportRow { user_name: (*user).to_owned(), subscriber: (*user).to_owned(), ..row }
    });
    ledger.shared.closings.lock().waiting.extend(rows);
    stand.append(&journal, &["ana"]);
    wait_for("the others", || stand.users() == ["ana", "ben", "dan"]);
    wait_for("the verdict", || ledger.shared.closings.lock().refused.len() == 1);
    assert_eq!(ledger.failure(), None);
    wait_for("the last one", || ledger.figures().closings_waiting == 0);
    assert!(ledger.figures().unfit.is_some_and(|unfit| unfit.contains("panics at it")));
    assert_eq!(duty(&ledger, "closings").panics, 2);
    // What comes later waits for nothing.
    stand.append(&journal, &["ana", "eva"]);
    wait_for("later ones", || stand.users() == ["ana", "ben", "dan", "eva"]);
    ledger.stop();
    journal.close().unwrap();
    stand.runtime.block_on(stand.state.close());
}

#[test]
fn what_is_behind_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let snapshot = folder.path().join("sessions");
    let noted = || fs::read_to_string(folder.path().join("sessions.panics")).unwrap_or_default();
    let panics = Panics::load(&snapshot, 1..=100);
    for (sequence, times) in [(7, 1), (9, 2), (20, 1)] {
        for _ in 0..times {
            let _at = panics.at(Part::Sessions, sequence);
            panics.note(Part::Sessions, &"a reason");
        }
    }
    panics.note(Part::Database, &"a reason");
    assert_eq!(noted(), "0 1\n7 1\n9 2\n20 1\n");
    panics.passed(Part::Sessions, 15);
    panics.passed(Part::Database, 6);
    assert_eq!(noted().lines().count(), 4, "one part may come to them yet");
    panics.passed(Part::Database, 15);
    assert_eq!(noted(), "0 1\n9 2\n20 1\n");
    let later = Panics::load(&snapshot, 1..=100);
    assert!(later.is_wary() && later.is_cause(9));
    later.searched();
    for part in [Part::Sessions, Part::Database] {
        later.passed(part, 30);
    }
    assert_eq!(noted(), "9 2\n");
    // What is not read again is forgotten for good: another journal has other records.
    assert!(!Panics::load(&snapshot, 10..=100).is_cause(9));
    assert_eq!(noted(), "");
    assert!(!Panics::load(&snapshot, 1..=100).is_cause(9));
}

#[test]
fn what_is_noted_of_another_journal_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let snapshot = folder.path().join("sessions");
    let panics = Panics::load(&snapshot, 1..=100);
    for _ in 0..2 {
        let _at = panics.at(Part::Sessions, 7);
        panics.note(Part::Sessions, &"a reason");
    }
    let told = panics.failure().unwrap();
    assert!(told.contains("record 7") && told.ends_with("a reason"), "{told}");
    assert!(!panics.is_cause(7), "its own process has ended");
    let later = Panics::load(&snapshot, 5..=100);
    assert!(later.is_cause(7) && !later.is_cause(8) && !later.is_wary());
    for read_again in [8..=100, 1..=6] {
        assert!(!Panics::load(&snapshot, read_again).is_cause(7));
    }
}
