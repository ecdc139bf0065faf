//! Two servers over one database, NASes that go from one to the other, and whatever may happen to all of them, in any order:
//! no login is given what somebody else has.

mod runs;
mod steps;
mod truth;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use muralla_database::Location;
use muralla_radius_accounting::ExportRow;
use muralla_radius_dictionary::Dictionary;
use proptest::prelude::*;
use tempfile::TempDir;

use self::steps::{HOME, Step, VIP, VIPS};
use self::truth::{Record, Session, Status, id, names, pool};
use super::{Heard, Holder, Leases};
use crate::state::unix_now;
use crate::{Assigned, Options, Removal, State, SubscriberEntry};

/// Seconds of an offer, of a lease, and of a reservation.
const OFFER: u64 = 20;
const LEASE: u64 = 60;
const HOLD: u64 = 120;

const NAMES: [&str; 2] = ["a", "b"];

/// What a server's table knows of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Known {
    Open,
    Stopped,
}

#[derive(Default)]
struct Server {
    up: bool,
    leases: Option<Leases>,
    /// What was acknowledged, and when it came.
    journal: Vec<(Record, u64)>,
    exported: usize,
    table: HashMap<usize, Known>,
    snapshot: (usize, HashMap<usize, Known>),
    closed: HashSet<usize>,
    /// What had been let pass when it ended in order.
    ended: u64,
}

struct World {
    folder: TempDir,
    states: [State; 2],
    servers: [Server; 2],
    sessions: Vec<Session>,
    records: Vec<Record>,
    is_away: bool,
    born: Instant,
    skipped: u64,
    /// What happened, to tell it.
    history: Vec<String>,
}

impl World {
    async fn new() -> Self {
        // Nothing of it need outlive the machine.
        let memory = Path::new("/dev/shm");
        let folder = match memory.is_dir() {
            true => tempfile::tempdir_in(memory).unwrap(),
            false => tempfile::tempdir().unwrap(),
        };
        let location = Location::Sqlite(folder.path().join("state.db"));
        let open = async |server: &str| {
            let options = Options {
                server: server.into(),
                hold_blocks: Duration::from_secs(HOLD),
                ..Options::default()
            };
            State::open_with(&location, options).await.unwrap()
        };
        let states = [open("a").await, open("b").await];
        for (name, ranges) in [("home", HOME[0]), ("vip", VIP[0])] {
            states[0].put_pool(&pool(name, ranges)).await.unwrap();
        }
        // Of others a NAS's word alone is none.
        let subscribers: Vec<SubscriberEntry> = (0..6)
            .map(|user| SubscriberEntry { name: names(user, 0).0, ..SubscriberEntry::default() })
            .collect();
        states[0].put_subscribers(&Dictionary::built_in(), &subscribers, |_| ()).await.unwrap();
        let mut world = Self {
            folder,
            states,
            servers: Default::default(),
            sessions: Vec::new(),
            records: Vec::new(),
            is_away: false,
            born: Instant::now(),
            skipped: 0,
            history: Vec::new(),
        };
        for at in 0..2 {
            world.begin(at, false).await;
            world.caught_up(at).await;
        }
        world
    }

    fn now(&self) -> u64 {
        self.skipped + self.born.elapsed().as_millis() as u64
    }

    async fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        self.history.push(format!("{} {step:?}", self.now()));
        let connected = !self.is_away;
        let round = |at: usize| self.servers[at].leases.clone().filter(|_| connected);
        match *step {
            Step::LogIn(at, user, line) => self.log_in(at, user, line)?,
            Step::Start(session, at) => {
                let now = self.now();
                let ready = |session: &Session| {
                    session.began.is_none() && !session.ended && session.is_offered(now, OFFER / 2)
                };
                if self.servers[at].up
                    && let Some(session) = self.chosen(session, ready)
                {
                    self.sessions[session].began = Some(now);
                    self.tell(session, Status::Start, Some(at));
                }
            }
            Step::Interim(session, at) => {
                if let Some(session) = self.chosen(session, Session::is_open) {
                    self.tell(session, Status::Interim, Some(at));
                }
            }
            Step::Stop(session, at) => {
                if let Some(session) = self.chosen(session, Session::is_open) {
                    self.sessions[session].ended = true;
                    self.tell(session, Status::Stop, at);
                }
            }
            Step::Repeat(record, at) => {
                let record = self.records.iter().rev().nth(record).copied();
                if let Some(record) = record.filter(|_| self.servers[at].up) {
                    self.deliver(record, at);
                }
            }
            Step::Export(at, most, keeps) => self.export(at, most, keeps).await,
            Step::CaughtUp(at) => self.caught_up(at).await,
            Step::Follow(at) => self.follow(at).await,
            Step::Keep(at) => {
                if let Some(leases) = round(at) {
                    leases.keep().await.unwrap();
                }
            }
            Step::Tell(at) => {
                if let Some(leases) = round(at) {
                    leases.tell(true).await.unwrap();
                }
            }
            Step::Hear(at) => {
                if let Some(leases) = round(at) {
                    leases.hear_releases().await.unwrap();
                }
            }
            Step::Ask(at) => {
                if let Some(leases) = round(at) {
                    leases.ask_ended().await.unwrap();
                }
            }
            Step::Stock(at) => {
                if let Some(leases) = round(at) {
                    let pools: Vec<_> = leases.inner.pools.read().values().cloned().collect();
                    for pool in pools {
                        leases.stock(&pool, Duration::from_secs(HOLD)).await.unwrap();
                    }
                }
            }
            Step::Snapshot(at) => {
                let server = &mut self.servers[at];
                server.snapshot = (server.journal.len(), server.table.clone());
            }
            Step::End(at) => {
                let (life, skipped) = (self.life_of(at), self.skipped);
                let server = &mut self.servers[at];
                (server.up, server.ended) = (false, skipped);
                match server.leases.take() {
                    Some(leases) if connected => leases.stop().await.unwrap(),
                    Some(leases) => assert!(leases.end() && leases.write_down(&life).unwrap()),
                    None => {}
                }
            }
            Step::Kill(at) => {
                let server = &mut self.servers[at];
                (server.up, server.leases) = (false, None);
            }
            Step::Begin(at, first) => self.begin(at, first).await,
            Step::Away(away) => self.is_away = away,
            Step::Wait(seconds) => self.wait(seconds).await,
            Step::Home(ranges) => self.put("home", HOME[ranges]).await,
            Step::Vip(ranges) => self.put("vip", VIP[ranges]).await,
            Step::Remove(vip) => {
                let name = if vip { "vip" } else { "home" };
                let removed = self.states[0].remove_pool(name, false).await;
                self.history.push(format!("  {removed:?}"));
                if let Err(error) = removed {
                    assert!(error.is_refusal(), "{error}");
                }
            }
        }
        Ok(())
    }

    async fn put(&mut self, name: &str, ranges: &[&str]) {
        let put = self.states[0].put_pool(&pool(name, ranges)).await;
        self.history.push(format!("  {put:?}"));
        if let Err(error) = put {
            assert!(error.is_refusal(), "{error}");
        }
    }

    /// One of the latest sessions of which something holds.
    fn chosen(&self, number: usize, fits: impl Fn(&Session) -> bool) -> Option<usize> {
        let fitting = (0..self.sessions.len()).rev().filter(|at| fits(&self.sessions[*at]));
        let fitting: Vec<usize> = fitting.collect();
        fitting.get(number % fitting.len().max(1)).copied()
    }

    fn log_in(&mut self, at: usize, user: u64, line: u64) -> Result<(), TestCaseError> {
        let Some(leases) = self.servers[at].leases.clone() else { return Ok(()) };
        // What the server knows him to have there.
        let server = &self.servers[at];
        let open = server
            .table
            .iter()
            .filter(|(session, known)| **known == Known::Open && !server.closed.contains(*session));
        let has: Vec<Assigned> = open
            .map(|(session, _)| &self.sessions[*session])
            .filter(|session| session.is_on(user, line))
            .map(|session| session.address)
            .collect();
        let before = (0..self.sessions.len())
            .filter(|at| self.sessions[*at].is_on(user, line) && !self.sessions[*at].ended);
        for session in before.collect::<Vec<_>>() {
            self.sessions[session].ended = true;
            if self.sessions[session].began.is_some() {
                self.tell(session, Status::Stop, None);
            }
        }
        let now = self.now();
        let (name, port) = names(user, line);
        let holder = Holder { user: &name, nas: "lns", port: Some(&port) };
        let pool = if user < VIPS { "home" } else { "vip" };
        let Ok(address) = leases.lease_again(pool, &holder, &has, Instant::now()) else {
            return Ok(());
        };
        let number = self.sessions.len();
        self.history.push(format!("  session {number} of {name} {port}: {address}"));
        let other = self.sessions.iter().position(|session| {
            session.address == address
                && !session.ended
                && (session.began.is_some() || session.is_offered(now, OFFER - 2))
        });
        prop_assert!(
            other.is_none(),
            "{address} is session {}'s:\n{}",
            other.unwrap_or_default(),
            self.history.join("\n")
        );
        self.sessions.push(Session {
            user,
            line,
            address,
            offered: now,
            began: None,
            ended: false,
        });
        Ok(())
    }

    fn tell(&mut self, session: usize, status: Status, at: Option<usize>) {
        let record = Record { session, status, at: self.now() };
        self.records.push(record);
        self.history.push(format!("  {status:?} of {session}"));
        if let Some(at) = at.filter(|at| self.servers[*at].up) {
            self.deliver(record, at);
        }
    }

    /// A server has a record in its journal, and acts on it.
    fn deliver(&mut self, record: Record, at: usize) {
        let now = self.now();
        self.history.push(format!("  {record:?} at {at}"));
        self.servers[at].journal.push((record, now));
        self.apply(record, now, at);
    }

    /// What the role does with a record that it reads in its journal.
    fn apply(&mut self, record: Record, came: u64, at: usize) {
        let now = self.now();
        let Self { servers, sessions, .. } = self;
        let (server, session) = (&mut servers[at], &sessions[record.session]);
        let known = server.table.get(&record.session).copied();
        let ends = record.status == Status::Stop && known != Some(Known::Stopped);
        let opens = record.status != Status::Stop && known.is_none();
        if ends {
            server.table.insert(record.session, Known::Stopped);
        } else if opens {
            server.table.insert(record.session, Known::Open);
        }
        let goes_on = server.table.get(&record.session) == Some(&Known::Open)
            && !server.closed.contains(&record.session);
        let Some(leases) = server.leases.clone().filter(|_| ends || goes_on) else { return };
        let (name, port) = names(session.user, session.line);
        let holder = Holder { user: &name, nas: "lns", port: Some(&port) };
        // NASes tell whole seconds.
        let began = session.began.unwrap_or_default() / 1000 * 1000;
        let second = |time: u64| Duration::from_secs(time / 1000);
        let way = Duration::from_millis(now.saturating_sub(came))
            + second(came.saturating_sub(record.at));
        let lasted = record.at.saturating_sub(session.began.unwrap_or_default());
        let heard = Heard {
            session: id(record.session),
            began: Some(way + second(lasted)),
            stamped: Duration::from_millis(now.saturating_sub(began)),
            starts: opens && record.status == Status::Start,
            known: true,
        };
        let kept = || {
            server.table.iter().any(|(other, known)| {
                *known == Known::Open
                    && !server.closed.contains(other)
                    && sessions[*other].user == session.user
                    && sessions[*other].address == session.address
            })
        };
        if !ends {
            leases.renew(session.address, &holder, heard, Instant::now());
        } else if !kept() {
            leases.release(session.address, &name, id(record.session));
        }
    }

    async fn export(&mut self, at: usize, most: usize, keeps: bool) {
        let server = &self.servers[at];
        if self.is_away || !server.up {
            return;
        }
        let entries = &server.journal[server.exported..];
        let entries = &entries[..entries.len().min(most)];
        let rows: Vec<ExportRow> =
            entries.iter().map(|(record, came)| self.row(record, *came, server)).collect();
        let written = self.states[at].export(&rows).await.unwrap();
        assert_eq!(written.written, rows.len());
        self.history.push(format!("  {} rows", rows.len()));
        if keeps {
            self.servers[at].exported += rows.len();
        }
    }

    fn row(&self, record: &Record, came: u64, server: &Server) -> ExportRow {
        let session = &self.sessions[record.session];
        let (name, port) = names(session.user, session.line);
        let now = self.now();
        let wall = |then: u64| unix_now() as i64 - (now.saturating_sub(then) / 1000) as i64;
        let stopped = server.table.get(&record.session) == Some(&Known::Stopped);
        let mut row = crate::export::plain_row();
        row.event_id =
            format!("{:016x}{:016x}", record.session, record.at * 4 + record.status as u64);
        row.session_id = Some(id(record.session).to_string());
        row.sequence = 1;
        row.status = match record.status {
            Status::Start => "start",
            Status::Interim => "interim",
            Status::Stop => "stop",
        };
        row.state = Some(if stopped { "stopped" } else { "open" });
        row.event_at = wall(record.at);
        let ago = Duration::from_millis(now.saturating_sub(came));
        row.came = crate::state::since_boot().checked_sub(ago);
        row.nas = "lns".into();
        (row.user_name, row.subscriber) = (name.clone(), name);
        row.nas_port_id = Some(port);
        row.framed_address = Some(session.address.to_string());
        row.started_at = Some(wall(session.began.unwrap_or_default()));
        row.updated_at = Some(wall(record.at));
        row.ended_at = stopped.then(|| wall(record.at));
        row
    }

    async fn caught_up(&mut self, at: usize) {
        let server = &self.servers[at];
        if !self.is_away && server.up && server.exported == server.journal.len() {
            *self.states[at].inner.caught_up.lock() = None;
            self.states[at].caught_up().await.unwrap();
        }
    }

    async fn follow(&mut self, at: usize) {
        if self.is_away || !self.servers[at].up {
            return;
        }
        let all = self.states[at].sessions(&crate::SessionFilter::default(), 10_000).await.unwrap();
        for session in all {
            let number = usize::from_str_radix(&session.id, 16).unwrap() - 1;
            if session.state != crate::SessionState::Open && session.server != NAMES[at] {
                self.servers[at].closed.insert(number);
            }
        }
    }

    /// A server begins, or has waited for the database; what is behind the snapshot it reads again, before or after it has
    /// addresses.
    async fn begin(&mut self, at: usize, reads_first: bool) {
        let begins = !self.servers[at].up;
        if begins {
            let server = &mut self.servers[at];
            server.up = true;
            server.table = server.snapshot.1.clone();
            server.closed.clear();
            if reads_first {
                self.read_again(at);
            }
        }
        let life = self.life_of(at);
        if self.servers[at].leases.is_none() && !self.is_away {
            Leases::forget_written(&life).unwrap();
            let leases = Leases::start(&self.states[at]).await.unwrap();
            self.servers[at].leases = Some(leases);
        }
        if begins && !reads_first {
            self.read_again(at);
        }
        if begins && self.is_away {
            let leases = Leases::go_on(&self.states[at], &life).unwrap();
            if let Some(leases) = &leases {
                // The machine's time went on meanwhile.
                let passed = self.skipped - self.servers[at].ended;
                leases.inner.clock.ahead.fetch_add(passed, Ordering::SeqCst);
            }
            self.servers[at].leases = leases;
        }
    }

    /// Where a server writes down the life that another process is to go on with.
    fn life_of(&self, at: usize) -> PathBuf {
        self.folder.path().join(NAMES[at])
    }

    fn read_again(&mut self, at: usize) {
        let from = self.servers[at].snapshot.0;
        for number in from..self.servers[at].journal.len() {
            let (record, came) = self.servers[at].journal[number];
            self.apply(record, came, at);
        }
    }

    /// Everybody goes, and everything is told: then everything is free.
    async fn end(&mut self) -> Result<(), TestCaseError> {
        self.is_away = false;
        for at in 0..2 {
            self.begin(at, true).await;
        }
        for session in 0..self.sessions.len() {
            if self.sessions[session].is_open() {
                self.sessions[session].ended = true;
                self.tell(session, Status::Stop, Some(0));
            }
        }
        for record in self.records.clone() {
            if record.status == Status::Stop {
                self.deliver(record, 0);
            }
        }
        for _ in 0..6 {
            for at in 0..2 {
                self.export(at, usize::MAX, true).await;
                self.caught_up(at).await;
            }
            self.wait(LEASE).await;
            for at in 0..2 {
                self.caught_up(at).await;
                let leases = self.servers[at].leases.clone().unwrap();
                leases.keep().await.unwrap();
            }
        }
        for server in &self.servers {
            let pools = server.leases.as_ref().unwrap().status();
            let held: u64 = pools.iter().map(|pool| pool.held).sum();
            prop_assert!(held == 0, "{held} are not free:\n{}", self.history.join("\n"));
        }
        // What ended in a block that is nobody's is found by who has it next.
        let mut left = self.states[0].leases(None, "", 99).await.unwrap();
        left.retain(|lease| lease.expires > unix_now() as i64);
        prop_assert!(left.is_empty(), "{left:?}:\n{}", self.history.join("\n"));
        self.move_everything().await
    }

    /// What nobody has may go to another pool, in part or as a whole.
    async fn move_everything(&mut self) -> Result<(), TestCaseError> {
        let ranges = [("vip", VIP[0]), ("home", HOME[0]), ("home", HOME[1]), ("vip", VIP[1])];
        for (name, ranges) in ranges {
            let mut put = self.states[0].put_pool(&pool(name, ranges)).await;
            for _ in 0..3 {
                if put.is_err() {
                    self.round().await;
                    put = self.states[0].put_pool(&pool(name, ranges)).await;
                }
            }
            prop_assert!(put.is_ok(), "{name} {put:?}:\n{}", self.history.join("\n"));
            self.round().await;
        }
        for name in ["home", "vip"] {
            let mut removed = self.states[0].remove_pool(name, false).await;
            for _ in 0..3 {
                if !matches!(removed, Ok(Removal::Done)) {
                    self.round().await;
                    removed = self.states[0].remove_pool(name, false).await;
                }
            }
            let is_gone = matches!(removed, Ok(Removal::Done));
            prop_assert!(is_gone, "{name} {removed:?}:\n{}", self.history.join("\n"));
        }
        Ok(())
    }

    /// A round of both servers, with what they were told in the database.
    async fn round(&mut self) {
        self.wait(5).await;
        for at in 0..2 {
            self.caught_up(at).await;
        }
        for server in &self.servers {
            server.leases.as_ref().unwrap().keep().await.unwrap();
        }
    }

    /// Lets time pass: what the database has becomes older.
    async fn wait(&mut self, seconds: u64) {
        self.skipped += seconds * 1000;
        for server in &self.servers {
            if let Some(leases) = &server.leases {
                leases.inner.clock.ahead.fetch_add(seconds * 1000, Ordering::SeqCst);
            }
        }
        let mut work = self.states[0].inner.engine.write().await.unwrap();
        for sql in [
            "UPDATE radius_lease SET since = since - $1, expires = expires - $1",
            "UPDATE radius_block SET until = until - $1 WHERE free_at > 1",
            "UPDATE radius_block SET free_at = max(free_at - $1, 2) WHERE free_at > 1",
            "UPDATE radius_server SET seen = seen - $1",
            "UPDATE radius_server SET exported = exported - $1 WHERE exported > 0",
            "UPDATE radius_session SET started = started - $1, updated = updated - $1",
            "UPDATE radius_session SET stopped = stopped - $1 WHERE stopped > 0",
            "UPDATE radius_pool SET wanted = wanted - $1",
        ] {
            work.execute(sql, vec![(seconds as i64).into()]).await.unwrap();
        }
        work.commit().await.unwrap();
    }
}
