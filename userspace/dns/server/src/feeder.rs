//! Keeps the network card's cache: what is hot gets there, what was answered there counts as asked here, and what ends
//! soon is looked up again in time.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use muralla_dns_wire::{Answer, Freshness, Key, Kind};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::desk::{Desk, IN};
use crate::hot::{HotAnswer, HotAnswers, HotKey, Published};
use crate::report::{Level, NicStatus, Transport};
use crate::tally::Answered;

/// Time between two rounds.
const ROUND: Duration = Duration::from_millis(250);

/// Time between two looks at the whole cache, which is a walk through all of it.
const SURVEY: Duration = Duration::from_secs(30);

/// Most answers that such a look brings.
const CANDIDATES: usize = 8_192;

/// Most questions that may wait for the next round.
const WAITING: usize = 16_384;

/// Bits of a message's fourth byte (RFC 1035 section 4.1.1, RFC 4035 section 3.2.3).
const RECURSION_AVAILABLE: u8 = 0x80;
const AUTHENTIC_DATA: u8 = 0x20;

/// Hits of late that make an answer hot.
const HOTTER: u32 = 2;

/// An answer that ends sooner is not worth the trouble.
const SHORTEST: u32 = 2;

/// One of so many answers at most gives way to hotter ones in a round.
const GIVES_WAY: u64 = 16;

/// Questions that became hot since the last round, as those notice who answer them.
#[derive(Default)]
pub(crate) struct Warm {
    wanted: AtomicBool,
    keys: Mutex<Vec<Key>>,
}

impl Warm {
    /// Notes a question that was hit so often of late. Each is noted now and then only, with eight times the hits of
    /// the time before, so that a hit stays as cheap as it was.
    pub(crate) fn note(&self, key: &Key, hits: u32) {
        let now_and_then = hits.is_power_of_two() && hits.trailing_zeros() % 3 == HOTTER.ilog2();
        if now_and_then && self.wanted.load(Relaxed) {
            let mut keys = self.keys.lock();
            if keys.len() < WAITING {
                keys.push(*key);
            }
        }
    }

    /// Exchanges the questions noted for an empty list: who answers queries never waits while they are copied, and has
    /// nothing to allocate.
    fn take(&self, into: &mut Vec<Key>) {
        into.clear();
        into.reserve_exact(WAITING);
        std::mem::swap(&mut *self.keys.lock(), into);
        self.wanted.store(true, Relaxed);
    }
}

/// The network card's cache and what is in it.
pub(crate) struct Feeder {
    state: Mutex<State>,
}

struct State {
    hot: Box<dyn HotAnswers>,
    published: HashMap<HotKey, Held>,
    /// Those that found no room, for the next round.
    again: Vec<Key>,
    /// Those that became hot: a list that is used again.
    warm: Vec<Key>,
    surveyed: Instant,
}

/// What is published for a question.
#[derive(Clone, Copy)]
struct Held {
    born: u32,
    ends: u32,
    /// From when on a newer answer may be there.
    due: u32,
    rcode: u8,
    /// Hits at the network card of late.
    heat: u64,
}

impl Feeder {
    pub(crate) fn new(mut hot: Box<dyn HotAnswers>) -> Self {
        // What another process left is of a policy that may be another one.
        hot.flush();
        Self {
            state: Mutex::new(State {
                hot,
                published: HashMap::new(),
                again: Vec::new(),
                warm: Vec::new(),
                surveyed: Instant::now(),
            }),
        }
    }

    /// Has the network card forget everything, at once.
    pub(crate) fn flush(&self) {
        let mut state = self.state.lock();
        state.hot.flush();
        state.published.clear();
    }

    pub(crate) fn status(&self) -> NicStatus {
        self.state.lock().hot.status()
    }

    /// One round.
    pub(crate) fn round(&self, desk: &Arc<Desk>) {
        let now = desk.now();
        let mut state = self.state.lock();
        let State { hot, published, again, warm, surveyed } = &mut *state;
        for (key, hits) in hot.hits() {
            let mut rcode = 0;
            if let Some(published) = published.get_mut(&key) {
                published.heat = published.heat.saturating_add(hits);
                rcode = published.rcode;
            }
            let answered =
                Answered { transport: Transport::Udp, rtype: key.qtype, rcode, level: Level::Nic };
            desk.shared_tally().queries_only(answered, hits);
            if let Some(key) = wire_key(&key) {
                desk.credit(&key, hits);
            }
        }
        if hot.status().entries == 0 {
            // It forgot everything: another wall took the place of the one that had them.
            published.clear();
        }
        let mut candidates = std::mem::take(again);
        desk.warm().take(warm);
        candidates.append(warm);
        // Those that were looked up again meanwhile take the place of the old ones.
        let due = published.iter().filter(|(_, published)| now >= published.due);
        candidates.extend(due.filter_map(|(key, _)| wire_key(key)));
        if surveyed.elapsed() >= SURVEY {
            *surveyed = Instant::now();
            let hottest = desk.hottest(CANDIDATES).into_iter();
            candidates.extend(hottest.filter(|hot| hot.hits >= HOTTER).map(|hot| hot.key));
            for published in published.values_mut() {
                published.heat /= 2;
            }
        }
        make_room(hot.as_mut(), published, candidates.len());
        for key in candidates {
            if let Some(answer) = desk.peek(&key)
                && !publish(hot.as_mut(), published, &key, &answer, now)
                && again.len() < WAITING
            {
                again.push(key);
            }
        }
        published.retain(|key, published| {
            let lives = published.ends > now;
            if !lives {
                hot.withdraw(key);
            }
            lives
        });
    }
}

/// Has the coldest answers give way, if there would be no room for so many more. Their places are free in the next
/// rounds: the card may be reading them now.
fn make_room(hot: &mut dyn HotAnswers, published: &mut HashMap<HotKey, Held>, wanted: usize) {
    let NicStatus { entries, capacity, .. } = hot.status();
    let free = usize::try_from(capacity.saturating_sub(entries)).unwrap_or(usize::MAX);
    let most = usize::try_from(capacity / GIVES_WAY).unwrap_or(usize::MAX);
    let count = wanted.saturating_sub(free).min(most).min(published.len());
    if count == 0 {
        return;
    }
    let mut by_heat: Vec<(u64, HotKey)> =
        published.iter().map(|(key, published)| (published.heat, key.clone())).collect();
    by_heat.select_nth_unstable_by_key(count - 1, |(heat, _)| *heat);
    for (_, key) in by_heat.into_iter().take(count) {
        hot.withdraw(&key);
        published.remove(&key);
    }
}

/// Has the card give an answer, if it is worth it. False if it found no room.
fn publish(
    hot: &mut dyn HotAnswers,
    published: &mut HashMap<HotKey, Held>,
    key: &Key,
    answer: &Answer,
    now: u32,
) -> bool {
    let Freshness::Fresh(left) = answer.freshness(now) else { return true };
    if answer.kind() == Kind::Failure || left <= SHORTEST {
        return true;
    }
    let ends = now.saturating_add(left);
    let key = hot_key(key);
    if published.get(&key).is_some_and(|published| published.born == answer.born()) {
        return true;
    }
    let mut message = answer.aged(now);
    if let Some(flags) = message.get_mut(3) {
        *flags |= RECURSION_AVAILABLE;
        if answer.secure() && !key.checking_disabled {
            *flags |= AUTHENTIC_DATA;
        }
    }
    let rcode = message.get(3).map_or(0, |flags| flags & 15);
    let expires_in = Duration::from_secs(u64::from(left));
    match hot.publish(&HotAnswer { key: &key, message: &message, expires_in }) {
        Published::NoRoom => return false,
        Published::Unfit => {}
        Published::Given => {
            let due = ends.saturating_sub((answer.ttl() / 10).max(SHORTEST));
            let heat = published.get(&key).map_or(u64::from(HOTTER), |held| held.heat);
            published.insert(key, Held { born: answer.born(), ends, due, rcode, heat });
        }
    }
    true
}

/// Niceness of the rounds: who answers queries goes first wherever both could.
const GIVES_WAY_TO_ANSWERS: i32 = 19;

/// Rounds until told to stop, in a thread of their own.
///
/// # Errors
/// When the thread can't be started.
pub(crate) fn run(
    feeder: Arc<Feeder>,
    desk: Arc<Desk>,
    stop: watch::Receiver<bool>,
    runtime: Handle,
) -> io::Result<()> {
    let rounds = move || {
        let _context = runtime.enter();
        // Of this thread alone, on Linux. Without it the rounds are only less polite.
        if let Err(error) = rustix::process::setpriority_process(None, GIVES_WAY_TO_ANSWERS) {
            tracing::debug!(%error, "the feeder keeps its priority");
        }
        while !*stop.borrow() && stop.has_changed().is_ok() {
            // A panic was told already, and is no reason to leave the card alone.
            let _ = catch_unwind(AssertUnwindSafe(|| feeder.round(&desk)));
            thread::sleep(ROUND);
        }
    };
    thread::Builder::new().name("dns-feeder".to_owned()).spawn(rounds).map(drop)
}

fn hot_key(key: &Key) -> HotKey {
    HotKey {
        name: key.name().to_vec(),
        qtype: key.qtype(),
        dnssec_ok: key.dnssec_ok(),
        checking_disabled: key.checking_disabled(),
    }
}

fn wire_key(key: &HotKey) -> Option<Key> {
    Key::new(&key.name, key.qtype, IN, key.dnssec_ok, key.checking_disabled).ok()
}
