//! A process that dies at any step: what it was told to keep is kept, and what it did is done once, as far as the protocol allows.
//!
//! The same mail is sent again and again, and each time the process dies a little later: between two operations of SQLite, before
//! PostgreSQL is sent a statement, before a commit and behind it. Then another process goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};

use muralla_database::{Engine, Location};
use muralla_mail_envelope::{MessageId, Reply};
use muralla_mail_queue::owners::SILENT;
use muralla_mail_queue::{Handed, Job, Options, Outcome, Queue, QueueError, Report};
use muralla_mail_store::packs::memory::MemoryPacks;
use muralla_mail_store::{Bodies, BodyOptions};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use crate::common::Database;
use crate::stand::{NOW, about, id, submission};

/// When the process dies: so many steps from now, or never if negative.
#[derive(Clone, Debug, Default)]
struct Fuse(Arc<Burning>);

#[derive(Debug)]
struct Burning {
    left: AtomicI64,
    dead: AtomicBool,
}

impl Default for Burning {
    fn default() -> Self {
        Self { left: AtomicI64::new(-1), dead: AtomicBool::new(false) }
    }
}

impl Fuse {
    fn light(&self, steps: i64) {
        self.0.dead.store(false, SeqCst);
        self.0.left.store(steps, SeqCst);
    }

    /// A step. True if it is the last one.
    fn burn(&self) -> bool {
        let ends = self.0.left.load(SeqCst) >= 0 && self.0.left.fetch_sub(1, SeqCst) == 0;
        if ends {
            self.0.dead.store(true, SeqCst);
        }
        ends
    }

    fn is_dead(&self) -> bool {
        self.0.dead.load(SeqCst)
    }
}

/// What the rest of the world knows.
#[derive(Default)]
struct World {
    now: i64,
    /// Whether the submitter was told that the message is kept.
    kept: bool,
    /// How often each recipient got which message.
    delivered: BTreeMap<(MessageId, String), usize>,
    /// How often each was refused for good.
    refused: usize,
    /// What was done and not written down yet.
    unwritten: BTreeSet<(MessageId, String)>,
    /// What of that was not when the process died: nobody else can know that it was done.
    lost: BTreeSet<(MessageId, String)>,
    deferred: bool,
}

impl World {
    /// A server that takes mail for `good`, wants `slow` to come back once, and refuses `bad`.
    fn tried(&mut self, job: &Job) -> Report {
        let mut report = Report::default();
        for recipient in &job.envelope.recipients {
            let address = recipient.address.to_string();
            let key = (job.message, address.clone());
            report.outcomes.push(match address.as_str() {
                "slow@example.net" if !self.deferred => {
                    self.deferred = true;
                    Outcome::Temporary { reply: Reply::of_text(451, "4.7.1 later"), host: None }
                }
                "bad@example.net" => {
                    self.refused += 1;
                    self.unwritten.insert(key);
                    Outcome::Permanent { reply: Reply::of_text(550, "5.1.1 no"), host: None }
                }
                _ => {
                    *self.delivered.entry(key.clone()).or_default() += 1;
                    self.unwritten.insert(key);
                    let reply = Reply::of_text(250, "2.0.0 fine");
                    Outcome::Delivered { reply, host: None, handed: Handed::Silent }
                }
            });
        }
        report
    }

    fn written(&mut self, job: &Job) {
        for recipient in &job.envelope.recipients {
            self.unwritten.remove(&(job.message, recipient.address.to_string()));
        }
    }
}

/// Goes on until nothing is left to do, or until the process dies: then what it would have learnt last is not known.
async fn go_on(
    queue: &Queue,
    number: u32,
    world: &mut World,
    fuse: &Fuse,
) -> Result<(), QueueError> {
    let to = ["good@example.net", "bad@example.net", "slow@example.net", "also@example.com"];
    let alive = |world: &World| match fuse.is_dead() {
        true => Err(QueueError::Closing),
        false => Ok(world.now),
    };
    if !world.kept {
        queue.submit(submission(number, &to), world.now).await?;
        alive(world)?;
        world.kept = true;
    }
    for _ in 0..TURNS {
        queue.maintain(world.now).await?;
        for job in queue.take(100, world.now, |_| 100).await? {
            alive(world)?;
            queue.content(&job).await?;
            let report = world.tried(&job);
            let reported = queue.report(&job, report, world.now).await?;
            alive(world)?;
            assert!(reported.late.is_empty());
            world.written(&job);
        }
        for notice in queue.notices(None, 10).await? {
            alive(world)?;
            queue.tell(&notice, about(&notice), world.now).await?;
        }
        alive(world)?;
        let counts = queue.counts(world.now).await?;
        alive(world)?;
        if counts.messages == 0 {
            return Ok(());
        }
        let next = queue.next_due().await?;
        alive(world)?;
        world.now = world.now.max(next.expect("something waits"));
    }
    panic!("{number}: there is no end");
}

/// Takings that a message needs, and many more.
const TURNS: usize = 50;

/// A database whose process can die.
struct Mortal {
    fuse: Fuse,
    packs: Arc<MemoryPacks>,
    location: Location,
    /// SQLite: only commits are steps, and they are done.
    commits: bool,
    _database: Database,
    _folder: Option<TempDir>,
}

impl Mortal {
    /// A new process.
    async fn process(&self) -> (Engine, Queue) {
        let engine = Engine::new(&self.location, "muralla-mail-test").unwrap();
        if let Engine::Sqlite { writer, readers, .. } = &engine {
            for (pool, connections) in [(writer, 1), (readers, 4)] {
                let mut held = Vec::new();
                for _ in 0..connections {
                    held.push(pool.acquire().await.unwrap());
                }
                for connection in &mut held {
                    let mut handle = connection.lock_handle().await.unwrap();
                    let fuse = self.fuse.clone();
                    if self.commits {
                        // The transaction is there, and nobody hears of it.
                        handle.set_commit_hook(move || {
                            fuse.burn();
                            true
                        });
                        let fuse = self.fuse.clone();
                        handle.set_progress_handler(1, move || !fuse.is_dead());
                    } else {
                        handle.set_progress_handler(1, move || !fuse.burn() && !fuse.is_dead());
                    }
                }
            }
        }
        let packs = Arc::clone(&self.packs);
        let bodies = Bodies::new(engine.clone(), packs, BodyOptions::default());
        let queue = Queue::open(bodies, Options::new("box")).await.unwrap();
        (engine, queue)
    }

    /// Sends the same mail again and again; each time the process dies `stride` steps later. Tells how often it died.
    async fn dies_everywhere(&self, stride: i64, begin: i64) -> u32 {
        let mut died = 0;
        let mut number = 0;
        let mut now = NOW;
        let (mut engine, mut queue) = self.process().await;
        loop {
            let mut world = World { now, ..World::default() };
            number += 1;
            self.fuse.light(begin + i64::from(number - 1) * stride);
            let mut survived = true;
            loop {
                match go_on(&queue, number, &mut world, &self.fuse).await {
                    Ok(()) if !self.fuse.is_dead() => break,
                    Ok(()) => {}
                    Err(error) => assert!(self.fuse.is_dead(), "{error}"),
                }
                survived = false;
                died += 1;
                world.lost.append(&mut world.unwritten);
                drop(queue);
                self.fuse.light(-1);
                engine.close().await;
                (engine, queue) = self.process().await;
                world.now += SILENT;
            }
            self.fuse.light(-1);
            self.check(&engine, number, &world).await;
            now = world.now + 1;
            if survived {
                queue.leave(now).await.unwrap();
                return died;
            }
        }
    }

    async fn check(&self, engine: &Engine, number: u32, world: &World) {
        let mut work = engine.read().await.unwrap();
        for sql in [
            "SELECT count(*) FROM mail_queue",
            "SELECT count(*) FROM mail_queue_recipient",
            "SELECT count(*) FROM mail_body WHERE refs > 0",
        ] {
            assert_eq!(work.number(sql, Vec::new()).await.unwrap(), 0, "{number}: {sql}");
        }
        for address in ["good@example.net", "slow@example.net", "also@example.com"] {
            let key = (id(number), address.to_owned());
            assert!(world.delivered.contains_key(&key), "{number}: {address} never got it");
        }
        // Twice only where nobody could know of the first time.
        for (key, times) in &world.delivered {
            let most = 1 + usize::from(world.lost.contains(key));
            assert!(*times <= most, "{number}: {key:?} {times} times");
        }
        let notices: Vec<_> =
            world.delivered.keys().filter(|(_, to)| to == "Ann@example.org").collect();
        assert_eq!(notices.len(), 1, "{number}: a sender is told once: {notices:?}");
        let bad = (id(number), "bad@example.net".to_owned());
        let most = 1 + usize::from(world.lost.contains(&bad));
        assert!((1..=most).contains(&world.refused), "{number}: {}", world.refused);
    }
}

async fn sqlite(commits: bool) -> Mortal {
    let database = Database::sqlite();
    database.engine().await.close().await;
    let location = database.location().clone();
    let (fuse, packs) = (Fuse::default(), Arc::default());
    Mortal { fuse, packs, location, commits, _database: database, _folder: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn between_operations_of_sqlite() {
    let died = sqlite(false).await.dies_everywhere(97, 1).await;
    assert!(died > 40, "it died {died} times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn behind_each_commit_of_sqlite() {
    let died = sqlite(true).await.dies_everywhere(1, 0).await;
    assert!(died > 6, "it died {died} times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn before_statements_of_postgres() {
    let died = postgres(Cut { commits: false, behind: false }).await.dies_everywhere(5, 0).await;
    assert!(died > 12, "it died {died} times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn before_each_commit_of_postgres() {
    let died = postgres(Cut { commits: true, behind: false }).await.dies_everywhere(1, 0).await;
    assert!(died > 6, "it died {died} times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn behind_each_commit_of_postgres() {
    let died = postgres(Cut { commits: true, behind: true }).await.dies_everywhere(1, 0).await;
    assert!(died > 6, "it died {died} times");
}

/// What is counted, and whether the last of it still arrives.
#[derive(Clone, Copy, Debug)]
struct Cut {
    commits: bool,
    behind: bool,
}

async fn postgres(cut: Cut) -> Mortal {
    let database = Database::postgres();
    database.engine().await.close().await;
    let fuse = Fuse::default();
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
    let upstream = database.folder().join(".s.PGSQL.5432");
    tokio::spawn(proxy(listener, upstream, fuse.clone(), cut));
    let location = Location::Postgres(url(folder.path()));
    let packs = Arc::default();
    Mortal { fuse, packs, location, commits: false, _database: database, _folder: Some(folder) }
}

fn url(folder: &Path) -> String {
    format!("postgres://tester@localhost/postgres?host={}", folder.display())
}

/// Stands between a process and PostgreSQL, and counts the statements: when the fuse has burnt down, all connections are cut.
async fn proxy(listener: UnixListener, upstream: PathBuf, fuse: Fuse, cut: Cut) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let Ok(server) = UnixStream::connect(&upstream).await else { continue };
        let fuse = fuse.clone();
        connections.spawn(async move {
            if fuse.is_dead() {
                return;
            }
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let deaf = fuse.clone();
            let answers = async move {
                let mut buffer = vec![0; 16 << 10];
                while let Ok(octets @ 1..) = from_server.read(&mut buffer).await {
                    if deaf.is_dead() || to_client.write_all(&buffer[..octets]).await.is_err() {
                        return;
                    }
                }
            };
            let questions = async move {
                let mut messages = Messages::default();
                let mut buffer = vec![0; 16 << 10];
                while let Ok(octets @ 1..) = from_client.read(&mut buffer).await {
                    let steps = messages.steps(&buffer[..octets], cut.commits);
                    let dies = (0..steps).any(|_| fuse.burn());
                    if fuse.is_dead() && !(dies && cut.behind) {
                        return;
                    }
                    if to_server.write_all(&buffer[..octets]).await.is_err() || dies {
                        return;
                    }
                }
            };
            tokio::select! {
                () = answers => {}
                () = questions => {}
            }
        });
    }
}

/// Where messages of PostgreSQL's protocol begin: a type and a length, but for the first ones, which have no type.
#[derive(Default)]
struct Messages {
    head: Vec<u8>,
    /// How the content begins.
    content: Vec<u8>,
    left: usize,
    begun: bool,
}

impl Messages {
    /// How many statements end in these octets, `Sync` or `Query`; or how many of them commit.
    fn steps(&mut self, octets: &[u8], commits: bool) -> usize {
        octets.iter().filter(|octet| self.octet(**octet, commits)).count()
    }

    fn octet(&mut self, octet: u8, commits: bool) -> bool {
        let typed = usize::from(self.begun);
        if self.head.len() < typed + 4 {
            self.head.push(octet);
            if self.head.len() < typed + 4 {
                return false;
            }
            let length = u32::from_be_bytes(self.head[typed..].try_into().unwrap());
            self.left = length as usize - 4;
        } else {
            self.left -= 1;
            if self.content.len() < b"COMMIT".len() {
                self.content.push(octet);
            }
        }
        if self.left > 0 {
            return false;
        }
        let (head, content) = (std::mem::take(&mut self.head), std::mem::take(&mut self.content));
        let steps = match commits {
            true => head[0] == b'Q' && content == b"COMMIT",
            false => matches!(head[0], b'S' | b'Q'),
        };
        // A question for TLS has 8 octets, and is not what begins.
        let begun = self.begun;
        self.begun |= head[3] > 8 || head[2] > 0;
        begun && steps
    }
}
