//! Keeps the network card's cache: what is hot gets there, what was answered there counts as asked here, and what ends
//! soon is looked up again in time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use muralla_dns_wire::cache::Hot;
use muralla_dns_wire::{Key, Kind};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::desk::{Desk, IN, aged};
use crate::hot::{HotAnswer, HotAnswers, HotKey};
use crate::report::{Level, NicStatus};
use crate::tally::{Answered, Transport};

/// Time between two rounds.
const ROUND: Duration = Duration::from_millis(500);

/// Most answers looked at in a round.
const CANDIDATES: usize = 8_192;

/// Queries since an answer was last looked at that make it hot.
const HOTTER: u32 = 2;

/// An answer that ends sooner is not worth the trouble.
const SHORTEST: u32 = 2;

/// The network card's cache and what is in it.
pub(crate) struct Feeder {
    state: Mutex<State>,
}

struct State {
    hot: Box<dyn HotAnswers>,
    /// When the answer that was published for a key was born, and its response code.
    published: HashMap<HotKey, Published>,
}

#[derive(Clone, Copy)]
struct Published {
    born: u32,
    ends: u32,
    rcode: u8,
}

impl Feeder {
    pub(crate) fn new(mut hot: Box<dyn HotAnswers>) -> Self {
        // What another process left is of a policy that may be another one.
        hot.flush();
        Self { state: Mutex::new(State { hot, published: HashMap::new() }) }
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
        let State { hot, published } = &mut *state;
        for (key, hits) in hot.hits() {
            let rcode = published.get(&key).map_or(0, |published| published.rcode);
            let answered =
                Answered { transport: Transport::Udp, rtype: key.rtype, rcode, level: Level::Nic };
            desk.shared_tally().queries_only(answered, hits);
            if let Some(key) = wire_key(&key) {
                desk.credit(&key, hits);
            }
        }
        for Hot { key, hits, answer, .. } in desk.hottest(CANDIDATES) {
            let ends = answer.born().saturating_add(answer.ttl());
            let lasting = ends > now.saturating_add(SHORTEST);
            if hits < HOTTER || answer.kind() == Kind::Failure || !lasting {
                continue;
            }
            let key = hot_key(&key);
            if published.get(&key).is_some_and(|published| published.born == answer.born()) {
                continue;
            }
            let message = aged(&answer, now);
            let rcode = message.get(3).map_or(0, |flags| flags & 15);
            let expires_in = Duration::from_secs(u64::from(ends - now));
            let secure = answer.secure();
            if hot.publish(&HotAnswer { key: &key, message: &message, secure, expires_in }) {
                published.insert(key, Published { born: answer.born(), ends, rcode });
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

/// Rounds until told to stop.
pub(crate) async fn run(feeder: Arc<Feeder>, desk: Arc<Desk>, mut stop: watch::Receiver<bool>) {
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = rounds.tick() => {}
        }
        let (feeder, desk) = (Arc::clone(&feeder), Arc::clone(&desk));
        // Only a panic can end it, and that was told already.
        let _ = tokio::task::spawn_blocking(move || feeder.round(&desk)).await;
    }
}

fn hot_key(key: &Key) -> HotKey {
    HotKey {
        name: key.name().to_vec(),
        rtype: key.qtype(),
        dnssec_ok: key.dnssec_ok(),
        checking_disabled: key.checking_disabled(),
    }
}

fn wire_key(key: &HotKey) -> Option<Key> {
    Key::new(&key.name, key.rtype, IN, key.dnssec_ok, key.checking_disabled).ok()
}
