//! RADIUS requests in masses, from many NASes over IPv4: at a rate, whatever comes back, or so many under way all the
//! time.
//!
//! - [`requests`]: what is asked
//! - [`exchange`]: the thread that asks, and checks every answer
//!
//! A NAS has an address, a few ports and 256 identifiers on each (RFC 2865 section 3): each of these places has one request
//! under way at a time. One socket serves a port of all NASes, whose addresses are a range of the namespace's own.

mod exchange;
pub mod requests;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use crate::histogram::Histogram;
use crate::namespace::Namespace;
use exchange::Exchange;
use requests::Requests;

/// NASes with consecutive addresses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Nases {
    /// The first one's address; all of them are local in the namespace (see [`crate::Lab::host_on_customers`]).
    pub first: Ipv4Addr,
    /// How many.
    pub count: u32,
    /// Ports that each of them sends from.
    pub ports: u16,
}

/// Identifiers of a port.
const IDS: u64 = 256;

impl Nases {
    /// The address of a NAS.
    pub const fn address(self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first.to_bits().wrapping_add(number))
    }

    /// Ports of all NASes.
    pub const fn lanes(self) -> u32 {
        self.count.saturating_mul(self.ports as u32)
    }

    /// Requests that can be under way at once.
    pub const fn places(self) -> u64 {
        self.lanes() as u64 * IDS
    }

    /// Where the request of that number comes from: NASes take turns, then ports, then identifiers.
    const fn place(self, number: u64) -> Place {
        let lanes = self.lanes() as u64;
        let (lane, turn) = (number % lanes, number / lanes);
        Place {
            nas: self.address((lane % self.count as u64) as u32),
            lane: lane as u32,
            lanes: self.lanes(),
            id: (turn % IDS) as u8,
            round: turn / IDS,
        }
    }

    /// The lane of a socket and an address of ours; none if that isn't a NAS'.
    fn lane(self, socket: usize, address: Ipv4Addr) -> Option<usize> {
        let nas = address.to_bits().checked_sub(self.first.to_bits())?;
        (nas < self.count).then(|| socket * self.count as usize + nas as usize)
    }
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    /// Address of the NAS.
    pub nas: Ipv4Addr,
    /// Number of the NAS' port among all ports of all NASes.
    pub lane: u32,
    /// How many there are of these.
    pub lanes: u32,
    /// Identifier.
    pub id: u8,
    /// How often that place was used before.
    pub round: u64,
}

/// How fast requests are sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pace {
    /// So many a second, whatever comes back.
    Rate(u32),
    /// As many as are answered, with so many under way; in bursts, as they come through a card.
    Window(u32),
}

/// How NASes behave.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who asks.
    pub nases: Nases,
    /// The server.
    pub target: SocketAddrV4,
    /// What all of them share with it.
    pub secret: String,
    /// How fast they ask.
    pub pace: Pace,
    /// When a request without an answer is lost.
    pub patience: Duration,
    /// Time after which a request is sent once more, again and again; none if it never is.
    pub retry: Option<Duration>,
    /// Whether the numbers of the requests that were answered are remembered.
    pub remember: bool,
    /// The core that they run on.
    pub core: usize,
}

/// What came of requests.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Requests sent, each counted once.
    pub sent: u64,
    /// Packets sent beyond that: repetitions.
    pub repeated: u64,
    /// How often the request was sent that was sent most often.
    pub most_sendings: u32,
    /// Genuine answers by code (RFC 2865 section 4).
    pub codes: [u64; 16],
    /// Requests without an answer in time.
    pub lost: u64,
    /// Packets that the kernel had no room for.
    pub refused: u64,
    /// Answers that are not genuine: another authenticator, or a wrong Message-Authenticator, which is looked at in every
    /// sixteenth.
    pub wrong: u64,
    /// Answers to Access-Requests without a Message-Authenticator, of every sixteenth.
    pub unsigned: u64,
    /// From when a request was due to its answer, in microseconds, repetitions included.
    pub latencies: Histogram,
    /// From when a request was due to when it was sent, in microseconds: how far the sender itself was late.
    pub lateness: Histogram,
    /// Numbers of the requests that were answered, if these are to be remembered.
    pub answered: Vec<u64>,
    /// Time that this took.
    pub elapsed: Duration,
}

impl Outcome {
    /// Genuine answers of any code.
    pub fn answers(&self) -> u64 {
        self.codes.iter().sum()
    }

    /// Answers with that code.
    pub fn answers_with(&self, code: u8) -> u64 {
        self.codes.get(usize::from(code)).copied().unwrap_or_default()
    }

    /// Answers a second.
    pub fn rate(&self) -> f64 {
        self.answers() as f64 / self.elapsed.as_secs_f64()
    }

    /// Share of the ended requests that were answered, from 0 to 1; 1 if none has ended.
    pub fn success(&self) -> f64 {
        match self.answers() + self.lost {
            0 => 1.0,
            ended => self.answers() as f64 / ended as f64,
        }
    }

    /// Latency in milliseconds that this share of the answers stayed within.
    pub fn quantile(&self, share: f64) -> f64 {
        self.latencies.quantile(share) as f64 / 1e3
    }

    /// Whether requests were sent so late that latencies tell as much of the sender as of the server: of a hundred one was
    /// late by more than half of what one in a hundred took.
    pub fn was_late(&self) -> bool {
        self.lateness.quantile(0.99) * 2 > self.latencies.quantile(0.99)
    }

    /// Adds another outcome.
    pub fn add(&mut self, more: &Self) {
        self.sent += more.sent;
        self.repeated += more.repeated;
        self.most_sendings = self.most_sendings.max(more.most_sendings);
        for (mine, theirs) in self.codes.iter_mut().zip(more.codes) {
            *mine += theirs;
        }
        self.lost += more.lost;
        self.refused += more.refused;
        self.wrong += more.wrong;
        self.unsigned += more.unsigned;
        self.latencies.merge(&more.latencies);
        self.lateness.merge(&more.lateness);
        self.answered.extend(&more.answered);
        self.elapsed += more.elapsed;
    }
}

/// NASes that ask. They end when dropped.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug)]
struct Shared {
    stopped: AtomicBool,
    interval: Mutex<(Instant, Outcome)>,
}

impl Shared {
    fn interval(&self) -> MutexGuard<'_, (Instant, Outcome)> {
        self.interval.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Load {
    /// Starts NASes in a namespace. They ask until they are stopped, or there is nothing left to ask.
    ///
    /// # Errors
    /// When a request could find its place taken by an earlier one, or a socket can't be made.
    pub fn start(
        namespace: &Namespace,
        requests: Arc<dyn Requests>,
        options: Options,
    ) -> Result<Self> {
        ensure!(options.nases.places() > 0, "a load needs NASes with ports");
        let most = match options.pace {
            Pace::Rate(rate) => f64::from(rate) * options.patience.as_secs_f64(),
            Pace::Window(window) => f64::from(window),
        };
        ensure!(
            most <= options.nases.places() as f64,
            "{most} requests under way need more than {} identifiers: give NASes more ports",
            options.nases.places()
        );
        ensure!(options.pace != Pace::Rate(0), "a load needs a rate");
        let interval = Mutex::new((Instant::now(), Outcome::default()));
        let shared = Arc::new(Shared { stopped: AtomicBool::new(false), interval });
        let theirs = Arc::clone(&shared);
        let thread = namespace.thread("nases", move || {
            Exchange::new(&*requests, &options)?.work(
                || theirs.stopped.load(Ordering::Relaxed),
                |tally| theirs.interval().1.add(tally),
            )
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Asks all that there is to ask, and waits for the last answer.
    ///
    /// # Errors
    /// As [`Load::start`].
    pub fn once(
        namespace: &Namespace,
        requests: Arc<dyn Requests>,
        options: Options,
    ) -> Result<Outcome> {
        let mut load = Self::start(namespace, requests, options)?;
        load.join()?;
        Ok(load.interval())
    }

    /// What happened since the last call, or since the start.
    pub fn interval(&self) -> Outcome {
        let mut interval = self.shared.interval();
        let (since, outcome) =
            std::mem::replace(&mut *interval, (Instant::now(), Outcome::default()));
        Outcome { elapsed: interval.0 - since, ..outcome }
    }

    /// Whether it has ended by itself.
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Asks nothing new, waits for what is under way, and tells what happened since the last call of
    /// [`Load::interval`].
    ///
    /// # Errors
    /// When a socket failed.
    pub fn stop(mut self) -> Result<Outcome> {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.join()?;
        Ok(self.interval())
    }

    fn join(&mut self) -> Result<()> {
        match self.thread.take() {
            Some(thread) => thread.join().map_err(|_| anyhow!("the NASes' thread panicked"))?,
            None => Ok(()),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Its errors were for `stop`.
        let _ = self.join();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const NASES: Nases = Nases { first: Ipv4Addr::new(198, 18, 0, 250), count: 10, ports: 3 };

    #[test]
    fn every_place_is_used_before_one_is_used_again() {
        let places = NASES.places();
        assert_eq!((NASES.lanes(), places), (30, 7_680));
        let used: HashSet<(u32, u8)> = (0..places)
            .map(|number| NASES.place(number))
            .map(|place| {
                assert_eq!(place.round, 0);
                (place.lane, place.id)
            })
            .collect();
        assert_eq!(used.len() as u64, places);
        let again = NASES.place(places + 31);
        assert_eq!(again, Place { round: 1, ..NASES.place(31) });
        assert_eq!(again.nas, Ipv4Addr::new(198, 18, 0, 251));
        assert_eq!((again.lane, again.id), (1, 1));
    }

    #[test]
    fn answers_find_their_lane() {
        for number in 0..30 {
            let place = NASES.place(number);
            let socket = place.lane / NASES.count;
            assert_eq!(NASES.lane(socket as usize, place.nas), Some(place.lane as usize));
        }
        for stranger in [[198, 18, 1, 4], [198, 18, 0, 249], [0, 0, 0, 0]] {
            assert_eq!(NASES.lane(0, stranger.into()), None);
        }
    }

    #[test]
    fn senders_that_are_late_say_so() {
        let mut outcome = Outcome { lost: 1, ..Outcome::default() };
        outcome.codes[2] = 2;
        outcome.codes[3] = 1;
        outcome.elapsed = Duration::from_millis(500);
        assert_eq!((outcome.answers(), outcome.answers_with(2)), (3, 2));
        assert!((outcome.success() - 0.75).abs() < 1e-9 && (outcome.rate() - 6.0).abs() < 1e-9);
        (0..100).for_each(|_| outcome.latencies.record(1_000));
        (0..100).for_each(|_| outcome.lateness.record(100));
        assert!(!outcome.was_late());
        (0..100).for_each(|_| outcome.lateness.record(800));
        assert!(outcome.was_late());
    }
}
