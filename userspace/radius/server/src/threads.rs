//! A thread that owns its sockets: a request is decided in it, from memory, and nobody else is woken.
//!
//! What can't be answered at once waits without anybody waiting for it: refusals for their time, acknowledgements for the
//! journal, slow passwords for a thread of their own. One bell wakes the thread for the last of these and at its end, the
//! journal's for acknowledgements.

mod serving;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use muralla_journal::{Appender, Ticket};
use muralla_radius_policy::{Checked, Costly as Comparison};
use muralla_radius_wire::{Code, Identity, LONGEST, Packet, ReplyCache, Secret};
use muralla_sockets::datagrams::{self, BATCH, Path};
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use tracing::{error, warn};

use crate::asked::Asking;
use crate::costly::Costly;
use crate::desk::{Context, Desk, Scratch, Wall};
use crate::listening::Service;
use crate::nases::Nas;
use crate::report::{Answer, Stage};
use crate::tally::Tally;
use crate::wheel::{self, Wheel};

/// What is received, and what is to be sent: packets are never longer.
type Inbox = datagrams::Inbox<LONGEST>;
type Outbox = datagrams::Outbox<LONGEST>;

/// Batches that are read from one socket before the others have their turn.
const TURN: usize = 16;

/// Time for which requests wait in the sockets while subscribers and NASes are loaded. After that accounting is taken from the
/// NASes that are known. Logins wait longer, as nothing is won by dropping them, but not as long as whoever watches this process
/// waits for an answer.
const HEAD_START: Duration = Duration::from_secs(2);
const HEAD_START_OF_LOGINS: Duration = Duration::from_secs(3);

/// Time that acknowledgements and slow passwords have for their end when the role stops.
const DRAIN: Duration = Duration::from_secs(1);

/// The part of the acknowledgements that may wait in a thread, that may be of one NAS.
const SHARE: u64 = 4;

/// Buffers that are kept for the next answer that waits.
const SPARE: usize = 4_096;

/// The threads, until they are told to stop.
pub(crate) struct Workers {
    stop: Arc<AtomicBool>,
    mailboxes: Vec<Arc<Mailbox>>,
    threads: Vec<JoinHandle<()>>,
}

/// What one thread has to do.
pub(crate) struct Work {
    pub(crate) ports: Vec<Port>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) gauges: Arc<Gauges>,
    /// The thread's own, since its bell rings for all who share one.
    pub(crate) appender: Appender,
}

/// A socket, and what is asked at it.
pub(crate) struct Port {
    pub(crate) service: Service,
    pub(crate) socket: OwnedFd,
}

/// What waits in a thread.
#[derive(Default)]
pub(crate) struct Gauges {
    pub(crate) delayed_rejects: AtomicU64,
    pub(crate) pending_acknowledgements: AtomicU64,
}

/// Where others leave word for a thread, and the bell that wakes it.
pub(crate) struct Mailbox {
    verdicts: Mutex<Vec<Verdict>>,
    bell: OwnedFd,
}

/// Of a password that takes long to check; nothing if it was not checked.
struct Verdict {
    number: u64,
    checked: Option<Checked>,
}

impl Mailbox {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// When the system has no more descriptors.
    pub(crate) fn new() -> io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { verdicts: Mutex::default(), bell })
    }

    /// Wakes the thread.
    pub(crate) fn ring(&self) {
        // It can only fail for a counter that is full, and then the bell rings already.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    fn deliver(&self, verdict: Verdict) {
        self.verdicts.lock().push(verdict);
        self.ring();
    }

    /// Stops the ringing.
    fn answer_bell(&self) {
        // If it does not ring, that is well.
        let _ = rustix::io::read(&self.bell, &mut [0u8; 8]);
    }
}

/// A password on its way through the slow threads: whatever becomes of it, word comes back.
struct Errand {
    mailbox: Arc<Mailbox>,
    number: u64,
    checked: Option<Checked>,
}

impl Errand {
    fn run(mut self, comparison: Comparison) {
        self.checked = Some(comparison.run());
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        let checked = self.checked.take();
        self.mailbox.deliver(Verdict { number: self.number, checked });
    }
}

/// Starts a thread for each work.
///
/// # Errors
///
/// When the system has no more threads.
pub(crate) fn start(
    desk: &Arc<Desk>,
    costly: &Arc<Costly>,
    work: Vec<Work>,
) -> io::Result<Workers> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut workers =
        Workers { stop: Arc::clone(&stop), mailboxes: Vec::new(), threads: Vec::new() };
    let share = work.len().max(1);
    for (number, work) in work.into_iter().enumerate() {
        workers.mailboxes.push(Arc::clone(&work.mailbox));
        let (desk, costly, stop) = (Arc::clone(desk), Arc::clone(costly), Arc::clone(&stop));
        let thread = thread::Builder::new()
            .name(format!("radius-udp-{number}"))
            .spawn(move || Worker::new(desk, costly, number, share, work).run(&stop))?;
        workers.threads.push(thread);
    }
    Ok(workers)
}

impl Workers {
    /// Has the threads read no more, and end what is under way. What waits in the sockets stays there, for the process that
    /// gets them next.
    pub(crate) fn stop(mut self) {
        self.tell();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                error!("a thread that owned sockets had panicked");
            }
        }
    }

    fn tell(&self) {
        self.stop.store(true, Ordering::SeqCst);
        for mailbox in &self.mailboxes {
            mailbox.ring();
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // Nobody waits for them, but they end.
        self.tell();
    }
}

struct Worker {
    inbox: Inbox,
    ports: Vec<Port>,
    bench: Bench,
}

/// All that a thread works with besides what comes in.
struct Bench {
    desk: Arc<Desk>,
    costly: Arc<Costly>,
    number: usize,
    tally: Arc<Tally>,
    mailbox: Arc<Mailbox>,
    gauges: Arc<Gauges>,
    appender: Appender,
    outbox: Outbox,
    /// The port that the outbox is for.
    aimed: usize,
    /// What the outbox holds, to be counted once it is sent.
    answers: [Option<Answer>; BATCH],
    held: usize,
    replies: ReplyCache,
    later: Wheel<Parcel>,
    /// What came out of it: empty, but for its memory.
    due: Vec<Parcel>,
    acknowledgements: VecDeque<Acknowledgement>,
    /// How many of them wait for what another thread appended: no bell rings here for that.
    borrowed: usize,
    slow: HashMap<u64, Slow>,
    next_slow: u64,
    spare: Vec<Vec<u8>>,
    scratch: Scratch,
    begun: Instant,
}

/// An answer that is ready and waits.
struct Parcel {
    port: usize,
    path: Path,
    identity: Identity,
    /// How all threads remember an Access-Request.
    asking: Option<Asking>,
    bytes: Vec<u8>,
}

/// An answer that waits until its record is durable.
struct Acknowledgement {
    ticket: Ticket,
    borrowed: bool,
    parcel: Parcel,
    nas: Arc<Nas>,
    since: Instant,
}

/// A request whose password takes long to check.
struct Slow {
    port: usize,
    path: Path,
    nas: Arc<Nas>,
    secret: Secret,
    packet: Vec<u8>,
    asking: Option<Asking>,
    since: Instant,
}

/// A request that is being served.
struct Served<'a> {
    port: usize,
    path: &'a Path,
    packet: &'a Packet<'a>,
    identity: Identity,
    nas: &'a Arc<Nas>,
    secret: &'a Secret,
    asking: Option<Asking>,
    since: Instant,
}

/// The moment, as of the last look.
#[derive(Clone, Copy)]
struct Clock {
    now: Instant,
    wall: Wall,
}

impl Clock {
    fn look() -> Self {
        Self { now: Instant::now(), wall: Wall::now() }
    }
}

impl Worker {
    fn new(desk: Arc<Desk>, costly: Arc<Costly>, number: usize, share: usize, work: Work) -> Self {
        let answers = desk.context().answers.clone();
        let own = answers.reply_cache.saturating_sub(answers.shared_replies());
        let bench = Bench {
            replies: ReplyCache::new(own / share, answers.reply_life),
            desk,
            costly,
            number,
            tally: work.tally,
            mailbox: work.mailbox,
            gauges: work.gauges,
            appender: work.appender,
            outbox: Outbox::new(),
            aimed: 0,
            answers: [None; BATCH],
            held: 0,
            later: Wheel::new(0),
            due: Vec::new(),
            acknowledgements: VecDeque::new(),
            borrowed: 0,
            slow: HashMap::new(),
            next_slow: 0,
            spare: Vec::new(),
            scratch: Scratch::default(),
            begun: Instant::now(),
        };
        Self { inbox: Inbox::new(), ports: work.ports, bench }
    }

    fn run(self, stop: &AtomicBool) {
        let Self { mut inbox, ports, mut bench } = self;
        let (mailbox, appender) = (Arc::clone(&bench.mailbox), bench.appender.clone());
        let mut watched: Vec<PollFd<'_>> = Vec::with_capacity(ports.len() + 2);
        while !stop.load(Ordering::SeqCst) {
            let (ready, passed) = (bench.desk.is_ready(), bench.begun.elapsed());
            let is_open = |service: Service| match service {
                Service::Auth => ready || passed >= HEAD_START_OF_LOGINS,
                Service::Acct => ready || passed >= HEAD_START,
            };
            watched.clear();
            watched.push(PollFd::new(&mailbox.bell, PollFlags::IN));
            watched.push(PollFd::new(&appender, PollFlags::IN));
            watched.extend(ports.iter().map(|port| {
                let flags = if is_open(port.service) { PollFlags::IN } else { PollFlags::empty() };
                PollFd::new(&port.socket, flags)
            }));
            wait(&mut watched, bench.patience(is_open(Service::Auth)));
            let mut signs = watched.iter().map(|watched| !watched.revents().is_empty());
            let (rang, durable) = (signs.next() == Some(true), signs.next() == Some(true));
            bench.guard(|bench| bench.follow_up(&ports, rang, durable));
            for (at, readable) in signs.enumerate() {
                if readable {
                    bench.drain(&mut inbox, &ports, at, stop);
                }
            }
            bench.show_gauges();
        }
        bench.guard(|bench| bench.finish(&ports));
        bench.show_gauges();
    }
}

/// Waits until one of them has something to say.
fn wait(watched: &mut [PollFd<'_>], patience: Option<Duration>) {
    let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
    match poll(watched, patience.as_ref()) {
        Ok(_) => {}
        Err(error) => {
            for watched in watched {
                watched.clear_revents();
            }
            if error != rustix::io::Errno::INTR {
                // It can't be for any reason that passes quickly, and must not eat a core.
                error!(%error, "sockets can't be waited for; trying again");
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

impl Bench {
    /// One packet that brings a thread down would leave its sockets unread.
    fn guard(&mut self, work: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_err() {
            error!("a batch of requests caused a panic and is lost; please report it");
            self.outbox = Outbox::new();
            self.held = 0;
        }
    }

    /// How long may be waited for something to come.
    fn patience(&self, open: bool) -> Option<Duration> {
        if self.later.waiting() > 0 || self.borrowed > 0 {
            Some(Duration::from_millis(wheel::TICK))
        } else {
            (!open).then_some(Duration::from_millis(50))
        }
    }

    fn show_gauges(&self) {
        self.gauges.delayed_rejects.store(self.later.waiting() as u64, Relaxed);
        let pending = self.acknowledgements.len() as u64;
        self.gauges.pending_acknowledgements.store(pending, Relaxed);
    }

    /// Answers what waits at one socket, for at most one turn.
    fn drain(&mut self, inbox: &mut Inbox, ports: &[Port], at: usize, stop: &AtomicBool) {
        let Some(port) = ports.get(at) else { return };
        for _ in 0..TURN {
            if stop.load(Ordering::SeqCst) {
                return;
            }
            match inbox.receive(port.socket.as_fd()) {
                Ok(received) => {
                    self.guard(|bench| bench.serve(inbox, ports, at));
                    if received < BATCH {
                        return;
                    }
                }
                Err(error) => {
                    // Errors that an earlier answer caused (ICMP) come up here too, and mean nothing.
                    let expected = [
                        io::ErrorKind::WouldBlock,
                        io::ErrorKind::Interrupted,
                        io::ErrorKind::ConnectionRefused,
                    ];
                    if !expected.contains(&error.kind()) {
                        warn!(%error, "a read from a RADIUS socket failed");
                    }
                    return;
                }
            }
        }
    }

    fn serve(&mut self, inbox: &Inbox, ports: &[Port], at: usize) {
        let (clock, context) = (Clock::look(), self.desk.context());
        let Some(port) = ports.get(at) else { return };
        for (bytes, path) in inbox.datagrams() {
            self.aim(ports, at, clock.now);
            self.take(&context, &clock, at, port.service, bytes, &path);
        }
        self.send(ports, clock.now);
    }

    /// Serves one datagram.
    fn take(
        &mut self,
        context: &Context,
        clock: &Clock,
        at: usize,
        service: Service,
        bytes: &[u8],
        path: &Path,
    ) {
        let packet = match Packet::parse(bytes) {
            Ok(packet) => packet,
            Err(malformed) => return self.tally.reason(Stage::Malformed, malformed.reason(), 1),
        };
        let Some((nas, secret)) = self.recognise(context, clock, service, &packet, path) else {
            return;
        };
        let identity = Identity::of(&packet, path.peer);
        let since = clock.now;
        let mut served =
            Served { port: at, path, packet: &packet, identity, nas, secret, asking: None, since };
        match packet.code() {
            Code::ACCESS_REQUEST => {
                if self.is_to_be_decided(clock, &mut served) {
                    self.authorise(context, clock, &served, None);
                }
            }
            _ if !self.is_new(clock, &served) => {}
            Code::ACCOUNTING_REQUEST => self.account(context, clock, &served),
            _ => self.tell_status(context, &served, service),
        }
    }

    /// Does what became due: acknowledgements, refusals, and verdicts of the slow threads.
    fn follow_up(&mut self, ports: &[Port], rang: bool, durable: bool) {
        let clock = Clock::look();
        if durable {
            self.appender.drain();
        }
        if durable || self.borrowed > 0 {
            self.acknowledge_durable(ports, clock.now);
        }
        self.send_due(ports, false, clock.now);
        if rang {
            self.mailbox.answer_bell();
            let mut verdicts = std::mem::take(&mut *self.mailbox.verdicts.lock());
            let context = self.desk.context();
            for verdict in verdicts.drain(..) {
                self.conclude(&context, &clock, ports, verdict);
            }
        }
        self.send(ports, clock.now);
    }

    /// Sends the acknowledgements of all records that no power cut can take any more.
    fn acknowledge_durable(&mut self, ports: &[Port], now: Instant) {
        let durable = self.appender.durable();
        while let Some(next) = self.acknowledgements.pop_front_if(|next| next.ticket.0 <= durable) {
            let counts = next.nas.counts.of(self.number);
            counts.acknowledged.fetch_add(1, Relaxed);
            counts.pending.fetch_sub(1, Relaxed);
            self.borrowed -= usize::from(next.borrowed);
            self.tally.answered(Answer::Accounting, now.saturating_duration_since(next.since));
            self.post(ports, next.parcel, now);
        }
    }

    /// Sends the refusals whose time has come, or all of them.
    fn send_due(&mut self, ports: &[Port], all: bool, now: Instant) {
        if self.later.waiting() == 0 {
            return;
        }
        let mut due = std::mem::take(&mut self.due);
        if all {
            self.later.take_all(|parcel| due.push(parcel));
        } else {
            let elapsed = milliseconds(now.duration_since(self.begun));
            self.later.expire(elapsed, |parcel| due.push(parcel));
        }
        for parcel in due.drain(..) {
            self.post(ports, parcel, now);
        }
        self.due = due;
    }

    /// Ends a request whose password was checked elsewhere.
    fn conclude(&mut self, context: &Context, clock: &Clock, ports: &[Port], verdict: Verdict) {
        let Some(slow) = self.slow.remove(&verdict.number) else { return };
        let Ok(packet) = Packet::parse(&slow.packet) else { return };
        let served = Served {
            port: slow.port,
            path: &slow.path,
            packet: &packet,
            identity: Identity::of(&packet, slow.path.peer),
            nas: &slow.nas,
            secret: &slow.secret,
            asking: slow.asking,
            since: slow.since,
        };
        self.aim(ports, slow.port, clock.now);
        match verdict.checked {
            Some(checked) => self.authorise(context, clock, &served, Some(checked)),
            None => self.drop_request(&served, "check_failed"),
        }
    }

    /// Puts an answer that has waited into the outbox. It was counted.
    fn post(&mut self, ports: &[Port], parcel: Parcel, now: Instant) {
        self.aim(ports, parcel.port, now);
        let Parcel { path, identity, asking, mut bytes, .. } = parcel;
        if let Some(room) = self.outbox.room().and_then(|room| room.get_mut(..bytes.len())) {
            room.copy_from_slice(&bytes);
            self.outbox.push(bytes.len(), &path);
            match &asking {
                Some(asking) => self.desk.asked.answered(asking, &bytes, now),
                None => self.replies.answered(identity, &bytes, now),
            }
        }
        if self.spare.len() < SPARE {
            bytes.clear();
            self.spare.push(bytes);
        }
    }

    /// Ends what is under way when the role stops: refusals go out at once, acknowledgements as soon as they may.
    fn finish(&mut self, ports: &[Port]) {
        let end = Instant::now() + DRAIN;
        self.send_due(ports, true, Instant::now());
        self.send(ports, Instant::now());
        let (mailbox, appender) = (Arc::clone(&self.mailbox), self.appender.clone());
        while !(self.acknowledgements.is_empty() && self.slow.is_empty()) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let mut watched =
                [PollFd::new(&mailbox.bell, PollFlags::IN), PollFd::new(&appender, PollFlags::IN)];
            wait(&mut watched, Some(left));
            let [rang, durable] = watched.map(|watched| !watched.revents().is_empty());
            self.follow_up(ports, rang, durable);
            self.send_due(ports, true, Instant::now());
            self.send(ports, Instant::now());
        }
        let lost = self.acknowledgements.len();
        if lost > 0 {
            warn!(
                lost,
                "records are not acknowledged because the journal's disk does not answer; NASes will send them again"
            );
        }
    }

    /// Has the outbox take answers for this port, and be not full.
    fn aim(&mut self, ports: &[Port], at: usize, begin: Instant) {
        if self.aimed != at || self.outbox.room().is_none() {
            self.send(ports, begin);
            self.aimed = at;
        }
    }

    /// Counts what was put into the outbox once it is sent.
    fn hold(&mut self, answer: Answer) {
        if let Some(slot) = self.answers.get_mut(self.held) {
            *slot = Some(answer);
            self.held += 1;
        }
    }

    /// Sends what the outbox holds.
    fn send(&mut self, ports: &[Port], begin: Instant) {
        let Some(port) = ports.get(self.aimed) else { return };
        let lost = self.outbox.send(port.socket.as_fd());
        if lost > 0 {
            self.tally.reason(Stage::Dropped, "unsent", lost as u64);
        }
        if self.held == 0 {
            return;
        }
        let took = begin.elapsed();
        for answer in self.answers.iter_mut().take(self.held).filter_map(Option::take) {
            self.tally.answered(answer, took);
        }
        self.held = 0;
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
