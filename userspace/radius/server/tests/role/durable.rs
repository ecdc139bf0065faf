//! What was acknowledged is kept, whatever dies, and counts once.

use std::io;

use muralla_journal::disk::DiskFile;
use muralla_journal::simulated::SimulatedDisk;
use muralla_radius_state::{SessionState, SumBy, UsageFilter};
use parking_lot::{Condvar, Mutex};

use super::*;

/// A disk that does not come back from a sync while it is told so.
struct StuckDisk {
    disk: SimulatedDisk,
    stuck: Arc<Stuck>,
}

#[derive(Default)]
struct Stuck {
    is: Mutex<bool>,
    news: Condvar,
}

impl Stuck {
    fn set(&self, stuck: bool) {
        *self.is.lock() = stuck;
        self.news.notify_all();
    }

    fn pass(&self) {
        let mut stuck = self.is.lock();
        self.news.wait_while(&mut stuck, |stuck| *stuck);
    }
}

struct StuckFile {
    file: Arc<dyn DiskFile>,
    stuck: Arc<Stuck>,
}

impl StuckDisk {
    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(StuckFile { file, stuck: Arc::clone(&self.stuck) })
    }
}

impl Disk for StuckDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        self.disk.names()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.disk.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.disk.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sync()
    }

    fn free(&self) -> io::Result<u64> {
        self.disk.free()
    }
}

impl DiskFile for StuckFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn sync(&self) -> io::Result<()> {
        self.stuck.pass();
        self.file.sync()
    }
}

#[test]
fn a_record_is_acknowledged_once_it_is_durable_and_not_before() {
    let stand = Stand::new();
    let stuck = Arc::new(Stuck::default());
    let disk = StuckDisk { disk: SimulatedDisk::new(1, 1 << 30), stuck: Arc::clone(&stuck) };
    let role = stand.start_on(disk);
    let (nas, acct) = (stand.nas(), stand.accounting_nas());
    assert_eq!(acct.ask(&record(1, START, "nemo", "one")).code, ACCOUNTING_RESPONSE);

    stuck.set(true);
    let start = record(2, START, "nemo", "two").sign(SECRET);
    acct.ask_in_vain(&start);
    assert_eq!(role.status().pending_acknowledgements, 1);
    acct.ask_in_vain(&start);
    assert_eq!(count(&role.status(), Stage::Dropped, "under_way"), 1);
    assert_eq!(nas.ask(&pap(3, "nemo", "arctangent")).code, ACCESS_ACCEPT, "logins go on");

    stuck.set(false);
    let answer = acct.receive(Duration::from_secs(10)).expect("an answer");
    assert_eq!(check(&answer, &start, SECRET).code, ACCOUNTING_RESPONSE);
    assert!(acct.receive(Duration::from_millis(200)).is_none(), "one answer");
    wait_for("nothing to wait", || role.status().pending_acknowledgements == 0);
    assert_eq!(role.status().journal.records, 2);
    stand.stop(&role);
}

/// Whoever has seen one packet may send it again from wherever he likes, and gets nothing into the journal by it.
#[test]
fn a_packet_that_comes_again_from_elsewhere_is_written_once() {
    let stand = Stand::new();
    let stuck = Arc::new(Stuck::default());
    let disk = StuckDisk { disk: SimulatedDisk::new(1, 1 << 30), stuck: Arc::clone(&stuck) };
    let role = stand.start_on(disk);
    let acct = stand.accounting_nas();
    let first = record(1, START, "nemo", "one").sign(SECRET);
    assert_eq!(acct.ask_bytes(&first).code, ACCOUNTING_RESPONSE);
    for _ in 0..20 {
        assert_eq!(stand.accounting_nas().ask_bytes(&first).code, ACCOUNTING_RESPONSE);
    }
    // What is not durable yet is acknowledged when it is, whichever way it came.
    stuck.set(true);
    let second = record(2, START, "nemo", "two").sign(SECRET);
    acct.ask_in_vain(&second);
    let others: Vec<Client> = (0..20).map(|_| stand.accounting_nas()).collect();
    others.iter().for_each(|other| other.send(&second));
    wait_for("them to wait", || role.status().pending_acknowledgements == 21);
    stuck.set(false);
    for client in others.iter().chain([&acct]) {
        let answer = client.receive(Duration::from_secs(10)).expect("an answer");
        assert_eq!(check(&answer, &second, SECRET).code, ACCOUNTING_RESPONSE);
    }
    wait_for("nothing to wait", || role.status().pending_acknowledgements == 0);
    assert_eq!(role.status().journal.records, 2);
    stand.stop(&role);
}

/// A NAS that sends more than the disk takes leaves room for others.
#[test]
fn no_nas_has_all_acknowledgements_that_may_wait() {
    let mut stand = Stand::new();
    stand.config.limits.pending_acknowledgements = 8;
    stand.config.threads = Some(1.try_into().unwrap());
    let stuck = Arc::new(Stuck::default());
    let disk = StuckDisk { disk: SimulatedDisk::new(1, 1 << 30), stuck: Arc::clone(&stuck) };
    let role = stand.start_on(disk);
    let (acct, old) = (stand.accounting_nas(), Client::new(OLD_NAS, stand.config.acct[0], SECRET));
    stuck.set(true);
    for id in 0..6 {
        acct.send(&record(id, START, "nemo", &format!("session {id}")).sign(SECRET));
    }
    let refused = || count(&role.status(), Stage::Dropped, "too_many_pending_of_nas");
    wait_for("the refusals", || refused() == 4);
    let other = record(9, START, "nemo", "of another").sign(SECRET);
    old.send(&other);
    wait_for("the other's", || role.status().pending_acknowledgements == 3);
    stuck.set(false);
    assert_eq!(check(&old.receive(Duration::from_secs(10)).unwrap(), &other, SECRET).id, 9);
    // Through another socket, for the first one still has two answers.
    stand.accounting_nas().ask(&record(10, START, "nemo", "one more"));
    stand.stop(&role);
}

#[test]
fn a_disk_that_fails_stops_the_acknowledgements_and_not_the_logins() {
    let stand = Stand::new();
    let disk = SimulatedDisk::new(2, 1 << 30);
    let role = stand.start_on(disk.clone());
    let (nas, acct) = (stand.nas(), stand.accounting_nas());
    disk.fail_writes(true);
    let first = record(1, START, "nemo", "one").sign(SECRET);
    acct.ask_in_vain(&first);
    wait_for("the journal to say so", || role.status().journal.health == "failed");
    let second = record(2, START, "nemo", "two").sign(SECRET);
    acct.ask_in_vain(&second);
    assert_eq!(count(&role.status(), Stage::Dropped, "journal_failed"), 1);
    assert_eq!(nas.ask(&pap(3, "nemo", "arctangent")).code, ACCESS_ACCEPT);

    disk.fail_writes(false);
    let answer = acct.receive(Duration::from_secs(10)).expect("the one that was taken in");
    assert_eq!(check(&answer, &first, SECRET).code, ACCOUNTING_RESPONSE);
    wait_for("the journal to be well", || role.status().journal.health == "good");
    // What was not taken in is taken in when it is sent again.
    assert_eq!(acct.ask_bytes(&second).code, ACCOUNTING_RESPONSE);
    wait_for("both sessions", || role.status().sessions == 2);
    stand.stop(&role);
}

#[test]
fn without_a_database_nothing_that_was_acknowledged_is_lost_even_if_the_power_goes() {
    let mut stand = Stand::new();
    let here = std::mem::replace(&mut stand.config.state.location, nowhere());
    stand.config.state.copy = None;
    let disk = SimulatedDisk::new(3, 1 << 30);
    let handle = stand.runtime.handle().clone();
    let config = stand.config.clone();
    let role = Role::start_on(config, Vec::new(), handle, Arc::new(disk.clone())).unwrap();
    let (nas, acct) = (stand.nas(), stand.accounting_nas());
    for number in 0..50 {
        let answer = acct.ask(&record(number, START, "nemo", &format!("session {number}")));
        assert_eq!(answer.code, ACCOUNTING_RESPONSE);
    }
    // Nobody is known: the NAS is to ask another server. Whoever watches the process is not to restart it for that.
    nas.ask_in_vain(&pap(1, "nemo", "arctangent").sign(SECRET));
    nas.ask_in_vain(&Request::new(STATUS_SERVER, 2).sign(SECRET));
    wait_for("both to be dropped", || count(&role.status(), Stage::Dropped, "not_ready") == 2);
    stand.runtime.block_on(role.canary()).unwrap();
    let status = role.status();
    assert!(!status.ready && status.database.is_none() && status.sessions == 50);

    let crashed = disk.crash(4);
    stand.stop(&role);
    drop(role);
    std::fs::remove_file(stand.folder.path().join("sessions")).unwrap();
    stand.config.state.location = here;
    let role = stand.start_on(crashed);
    wait_for("the database", || stand.sessions(&role).len() == 50);
    assert_eq!(role.status().sessions, 50);
    stand.stop(&role);
}

#[test]
fn a_start_without_the_database_answers_from_its_copy() {
    let mut stand = Stand::new();
    // Two files of one kind: a copy is a state of its own.
    let copy = stand.folder.path().join("state.db");
    stand.config.state.location = nowhere();
    stand.config.state.copy = Some(copy);
    let role = stand.start(Vec::new());
    let nas = stand.nas();
    assert_eq!(nas.ask(&pap(1, "nemo", "arctangent")).code, ACCESS_ACCEPT);
    assert_eq!(nas.ask(&pap(2, "nemo", "arctangens")).code, ACCESS_REJECT);
    assert_eq!(nas.ask(&Request::new(STATUS_SERVER, 3)).code, ACCESS_ACCEPT);
    // What is given out of pools only the database knows: another server may have it.
    nas.ask_in_vain(&pap(4, "pooled one", "arctangent").sign(SECRET));
    assert_eq!(count(&role.status(), Stage::Dropped, "pool_unavailable"), 1);
    stand.stop(&role);
}

#[test]
fn a_restart_with_the_same_sockets_loses_nothing() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let acct = stand.accounting_nas();
    acct.ask(&record(1, START, "nemo", "before"));
    wait_for("the session", || role.status().sessions == 1);
    let kept: Vec<(String, OwnedFd)> = role
        .descriptors()
        .into_iter()
        .map(|(name, socket)| (name, socket.try_clone_to_owned().unwrap()))
        .collect();
    assert_eq!(kept.len(), 4);
    stand.stop(&role);
    // Whoever looks at a role that has stopped does no harm.
    stand.stop(&role);
    assert!(role.status().sessions > 0);
    drop(role);

    let waiting: Vec<(Client, Vec<u8>)> = (0..40u8)
        .map(|number| {
            let session = format!("meanwhile {number}");
            let (client, request) = if number % 4 == 0 {
                // Not before there is something to give out of the pool: to one line, as it has but few at first.
                (stand.nas(), pap(number, "pooled one", "arctangent").number(5, 1))
            } else if number % 2 == 0 {
                (stand.nas(), pap(number, "nemo", "arctangent"))
            } else {
                (stand.accounting_nas(), record(number, START, "nt", &session))
            };
            let request = request.sign(SECRET);
            client.send(&request);
            (client, request)
        })
        .collect();
    let role = stand.start(kept);
    for (client, request) in &waiting {
        let answer = client.receive(Duration::from_secs(10)).expect("an answer");
        let code = check(&answer, request, SECRET).code;
        let reasons = role.status().reasons;
        assert!([ACCESS_ACCEPT, ACCOUNTING_RESPONSE].contains(&code), "{code}: {reasons:?}");
    }
    wait_for("all sessions", || role.status().sessions == 21);
    wait_for("the database", || stand.sessions(&role).len() == 21);
    stand.stop(&role);
}

#[test]
fn records_that_are_read_again_change_nothing() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let acct = stand.accounting_nas();
    for session in 0..6u8 {
        let name = format!("session {session}");
        let octets = 1_000 * u32::from(session + 1);
        acct.ask(&record(4 * session, START, "nemo", &name));
        acct.ask(&usage(record(4 * session + 1, INTERIM, "nemo", &name), 60, octets));
        if session % 2 == 0 {
            acct.ask(&usage(record(4 * session + 2, STOP, "nemo", &name), 90, 2 * octets));
        }
    }
    wait_for("the database", || role.status().exported == 15);
    let sums = |role: &Role| {
        let filter =
            UsageFilter { by: SumBy::User, daily: false, from: 0, to: i32::MAX, name: None };
        stand.runtime.block_on(role.state().unwrap().usage(&filter)).unwrap()
    };
    let (sessions, usage) = (stand.sessions(&role), sums(&role));
    assert_eq!(sessions.len(), 6);
    assert_eq!(sessions.iter().filter(|session| session.state == SessionState::Open).count(), 3);
    assert_eq!(
        (usage.len(), usage[0].octets_in),
        (1, 2_000 + 2_000 + 6_000 + 4_000 + 10_000 + 6_000)
    );
    assert_eq!(role.status().sessions, 3);
    stand.stop(&role);
    drop(role);

    // As if nothing of what was read had been kept: neither positions nor the table.
    let journal = &stand.config.journal.folder;
    for consumer in ["sessions", "database"] {
        std::fs::remove_file(journal.join(format!("{consumer}.position"))).unwrap();
    }
    std::fs::remove_file(stand.folder.path().join("sessions")).unwrap();
    let role = stand.start(Vec::new());
    wait_for("everything to be read again", || {
        let status = role.status();
        status.exported == 15
            && status.journal.lag.iter().any(|(name, lag)| name == "database" && *lag == 0)
    });
    assert_eq!((stand.sessions(&role), sums(&role)), (sessions, usage));
    assert_eq!(role.status().sessions, 3);
    stand.stop(&role);
}

#[test]
fn a_record_sent_again_with_another_identifier_counts_once() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let acct = stand.accounting_nas();
    let sent = |id, delay| usage(record(id, STOP, "nemo", "once"), 60, 500).number(41, delay);
    acct.ask(&sent(1, 0));
    thread::sleep(Duration::from_millis(1_100));
    // RFC 2866 section 5.2: with the delay changed it is another packet.
    acct.ask(&sent(2, 1));
    wait_for("the database", || role.status().exported == 2);
    let sessions = stand.sessions(&role);
    assert_eq!(sessions.len(), 1);
    assert_eq!((sessions[0].octets_in, sessions[0].octets_out), (500, 1_000));
    let records = role.status().records;
    assert!(records.contains(&("duplicate".to_owned(), 1)), "{records:?}");
    stand.stop(&role);
}
