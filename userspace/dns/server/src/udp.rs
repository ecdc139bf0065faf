//! A thread that owns its sockets: what the caches know is answered in it, and nobody else is woken.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use muralla_sockets::datagrams::{BATCH, Inbox, Outbox};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use tracing::{error, warn};

use crate::desk::{Asker, Desk, LONGEST_ANSWER, Outcome, Reply};
use crate::report::Transport;
use crate::tally::{Answered, Event, Tally};

/// Batches that are read from one socket before the others have their turn.
const TURN: usize = 16;

/// Longest query that is read: nobody needs more over UDP, and what is longer is cut and then refused as malformed.
const LONGEST_QUERY: usize = 2_048;

/// The threads, until they are told to stop.
pub(crate) struct Workers {
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<()>>,
}

struct Stop {
    wanted: AtomicBool,
    /// Wakes the threads; never read, so that it wakes them all.
    bell: Vec<OwnedFd>,
}

/// Starts one thread for each list of sockets.
///
/// # Errors
///
/// When the system has no more threads or descriptors.
pub(crate) fn start(
    desk: &Arc<Desk>,
    threads: Vec<(Vec<Arc<OwnedFd>>, Arc<Tally>)>,
) -> io::Result<Workers> {
    let bells = threads.iter().map(|_| eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK));
    let bell = bells.collect::<Result<_, _>>()?;
    let stop = Arc::new(Stop { wanted: AtomicBool::new(false), bell });
    let mut workers = Workers { stop: Arc::clone(&stop), threads: Vec::new() };
    for (number, (sockets, tally)) in threads.into_iter().enumerate() {
        let (desk, stop) = (Arc::clone(desk), Arc::clone(&stop));
        let thread = thread::Builder::new()
            .name(format!("dns-udp-{number}"))
            .spawn(move || Worker::new(desk, sockets, tally).run(&stop, number))?;
        workers.threads.push(thread);
    }
    Ok(workers)
}

impl Workers {
    /// Has the threads read no more. What waits in the sockets stays there, for the process that gets them next.
    pub(crate) fn stop(self) {
        self.stop.wanted.store(true, Ordering::SeqCst);
        for bell in &self.stop.bell {
            // It can only fail for a counter that is full, and then the bell rings already.
            let _ = rustix::io::write(bell, &1u64.to_ne_bytes());
        }
        for thread in self.threads {
            if thread.join().is_err() {
                error!("a thread that owned sockets had panicked");
            }
        }
    }
}

struct Worker {
    desk: Arc<Desk>,
    sockets: Vec<Arc<OwnedFd>>,
    tally: Arc<Tally>,
    inbox: Inbox<LONGEST_QUERY>,
    outbox: Outbox<LONGEST_ANSWER>,
    answered: [Option<Answered>; BATCH],
}

impl Worker {
    fn new(desk: Arc<Desk>, sockets: Vec<Arc<OwnedFd>>, tally: Arc<Tally>) -> Self {
        let (inbox, outbox) = (Inbox::new(), Outbox::new());
        Self { desk, sockets, tally, inbox, outbox, answered: [None; BATCH] }
    }

    fn run(mut self, stop: &Stop, number: usize) {
        let sockets = self.sockets.clone();
        let mut watched: Vec<PollFd<'_>> =
            sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        if let Some(bell) = stop.bell.get(number) {
            watched.push(PollFd::new(bell, PollFlags::IN));
        }
        while !stop.wanted.load(Ordering::SeqCst) {
            match poll(&mut watched, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    // It can't be for any reason that passes quickly, and must not eat a core.
                    error!(%error, "sockets can't be waited for; trying again");
                    thread::sleep(Duration::from_millis(100));
                }
            }
            for (socket, watched) in sockets.iter().zip(&watched) {
                if !watched.revents().is_empty() {
                    self.drain(socket, stop);
                }
            }
        }
    }

    /// Answers what waits at one socket, for at most one turn.
    fn drain(&mut self, socket: &Arc<OwnedFd>, stop: &Stop) {
        for _ in 0..TURN {
            if stop.wanted.load(Ordering::SeqCst) {
                return;
            }
            match self.inbox.receive(socket.as_fd()) {
                Ok(received) => {
                    // One query that brings a thread down would leave its sockets unread.
                    if catch_unwind(AssertUnwindSafe(|| self.answer(socket))).is_err() {
                        error!("a batch of queries caused a panic and is lost; please report it");
                        self.outbox = Outbox::new();
                    }
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
                        warn!(%error, "a read from a DNS socket failed");
                    }
                    return;
                }
            }
        }
    }

    fn answer(&mut self, socket: &Arc<OwnedFd>) {
        let begin = Instant::now();
        let policy = self.desk.policy();
        let mut count = 0;
        for (packet, path) in self.inbox.datagrams() {
            let Some(room) = self.outbox.room() else { break };
            let reply = || Reply::Udp { socket: Arc::clone(socket), path };
            let asker = Asker { peer: path.peer, transport: Transport::Udp, begin };
            match self.desk.handle(&policy, &self.tally, packet, asker, room, reply) {
                Outcome::Answer { len, answered } => {
                    self.outbox.push(len, &path);
                    if let Some(slot) = self.answered.get_mut(count) {
                        *slot = Some(answered);
                        count += 1;
                    }
                }
                Outcome::Later => {}
                Outcome::Silence => self.tally.event(Event::Silence, 1),
            }
        }
        let lost = self.outbox.send(socket.as_fd());
        if lost > 0 {
            self.tally.event(Event::Unsent, lost as u64);
        }
        let took = begin.elapsed();
        for answered in self.answered.iter_mut().take(count) {
            if let Some(answered) = answered.take() {
                self.tally.answered(answered, took);
            }
        }
    }
}
