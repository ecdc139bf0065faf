//! Who is known elsewhere: where a domain's back-ends know more than we do, they are asked for a recipient before his mail is taken. So
//! nothing is taken for who is nobody, and lies in the queue until an operator looks at it.
//!
//! Nothing is handed over: the back-end is told a sender and the recipient, and what it says of him is remembered for a while. One that
//! does not answer costs its recipients no more than a "not now", unless it knew them a day ago.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use muralla_mail_directory::{Backend, BackendId, Directory, Target};
use muralla_mail_envelope::{Address, Domain, Reply};
use muralla_smtp::client::{Speaks, Waits};
use muralla_smtp::tls::Trust;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::outgoing::hosts::Names;
use crate::outgoing::remote::{Caller, Place};

/// Asks back-ends.
pub(crate) struct Inquiry {
    caller: Caller,
    answers: Mutex<Answers>,
    turns: Mutex<HashMap<BackendId, Arc<Semaphore>>>,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    remembered: AtomicU64,
    known: AtomicU64,
    unknown: AtomicU64,
    unanswered: AtomicU64,
}

/// What back-ends said of recipients since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(default)]
pub struct InquiryStatus {
    /// What was known from before.
    pub remembered: u64,
    /// That mail for them is taken.
    pub known: u64,
    /// That it is not.
    pub unknown: u64,
    /// Nothing, for now.
    pub unanswered: u64,
}

/// What is known of a recipient.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Found {
    /// Mail for him is taken, or nobody can be asked.
    Known,
    /// It is not, for good.
    Unknown(Reply),
    /// That can't be told now.
    Unsure,
}

/// What was said, until it is too old. Pure: time is an argument.
#[derive(Debug, Default)]
struct Answers {
    said: HashMap<(BackendId, Address), Said>,
    /// Back-ends that do not answer, and until when they are not asked.
    silent: HashMap<BackendId, Instant>,
}

#[derive(Clone, Debug)]
struct Said {
    /// None if mail for him is taken.
    refusal: Option<Reply>,
    at: Instant,
}

/// How long it is remembered that somebody is known, and that he is not: he may be entered at any moment.
const YES: Duration = Duration::from_secs(600);
const NO: Duration = Duration::from_secs(60);

/// How long somebody is taken for known whose back-end does not answer.
const STALE: Duration = Duration::from_secs(86_400);

/// How long a back-end that did not answer is not asked.
const SILENT: Duration = Duration::from_secs(5);

/// Answers that are remembered.
const MOST: usize = 100_000;

/// A back-end is asked for so many recipients at once, and for one of them for so long. Each has turns of its own: one that hangs
/// keeps nobody from asking the others.
const AT_ONCE: usize = 32;
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a turn is waited for.
const TURN: Duration = Duration::from_secs(5);

/// How often connections that nobody uses are looked for.
const SWEEP: Duration = Duration::from_secs(5);

impl Inquiry {
    pub(crate) fn new(names: Arc<dyn Names>, trust: Trust, name: Domain) -> Self {
        let mut caller = Caller::new(names, trust, name, 25);
        // They are the operator's own, and a client waits.
        caller.waits = Waits {
            connect: Duration::from_secs(3),
            handshake: Duration::from_secs(5),
            greeting: Duration::from_secs(5),
            command: Duration::from_secs(5),
            quit: Duration::from_secs(1),
            ..Waits::default()
        };
        Self {
            caller,
            answers: Mutex::default(),
            turns: Mutex::default(),
            counters: Counters::default(),
        }
    }

    pub(crate) fn status(&self) -> InquiryStatus {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        InquiryStatus {
            remembered: read(&self.counters.remembered),
            known: read(&self.counters.known),
            unknown: read(&self.counters.unknown),
            unanswered: read(&self.counters.unanswered),
        }
    }

    /// Hangs connections up that nobody uses any more, until told to stop.
    pub(crate) async fn keep(&self, mut stop: watch::Receiver<bool>) {
        loop {
            let stopped = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => true,
                () = sleep(SWEEP) => false,
            };
            self.caller.sweep(stopped).await;
            if stopped {
                return;
            }
        }
    }

    /// Whether mail for these is taken where it goes. Who has anything here is known, and so is whoever gets it by way of another.
    pub(crate) async fn ask(&self, directory: &Directory, targets: &[Target]) -> Found {
        let mut asked = Vec::new();
        for target in targets {
            match target {
                Target::Backend { backends, address } => {
                    asked.push(self.ask_for(directory, backends, address));
                }
                Target::Mailbox { .. } | Target::Forward { .. } => return Found::Known,
            }
        }
        together(join_all(asked).await)
    }

    /// The same for one: who is known to one of them is known.
    async fn ask_for(
        &self,
        directory: &Directory,
        backends: &[BackendId],
        address: &Address,
    ) -> Found {
        let asked = backends.iter().filter_map(|id| {
            let place = match directory.backend(*id)? {
                Backend::Lmtp { host, port } => (host, port, Speaks::Lmtp),
                Backend::Smtp { host, port } => (host, port, Speaks::Smtp),
                // A Maildir knows nobody, and whom our store knows was found before.
                Backend::Store | Backend::Maildir { .. } => return None,
            };
            Some(self.ask_one(*id, place, address))
        });
        together(join_all(asked).await)
    }

    async fn ask_one(
        &self,
        id: BackendId,
        (host, port, speaks): (String, u16, Speaks),
        address: &Address,
    ) -> Found {
        let counters = &self.counters;
        let known = self.answers.lock().find(id, address, Instant::now());
        if let Some(found) = known {
            counters.remembered.fetch_add(1, Relaxed);
            return found;
        }
        // Not the back-end's own: it may have come to be another server.
        let key = format!("{host}:{port}");
        let place = Place::Server { host: &host, port, speaks };
        let turns = || Arc::new(Semaphore::new(AT_ONCE));
        let turns = self.turns.lock().entry(id).or_insert_with(turns).clone();
        let Ok(_turn) = timeout(TURN, turns.acquire()).await else {
            // It is asked for many others, which says nothing of how it is.
            counters.unanswered.fetch_add(1, Relaxed);
            return self.answers.lock().of_before(id, address, Instant::now());
        };
        let said = timeout(PATIENCE, self.caller.verify(&key, &place, address)).await;
        let now = Instant::now();
        let mut answers = self.answers.lock();
        let found = match said {
            Ok(Ok(reply)) if reply.is_positive() => {
                answers.learn(id, address, None, now);
                Found::Known
            }
            Ok(Ok(reply)) if is_of_who_asks(&reply) => {
                debug!(host, %address, %reply, "a back-end takes no inquiries");
                Found::Known
            }
            Ok(Ok(reply)) if reply.is_permanent() => {
                answers.learn(id, address, Some(reply.clone()), now);
                Found::Unknown(reply)
            }
            // It may be so for him alone.
            Ok(Ok(reply)) => {
                debug!(host, %address, %reply, "a back-end does not say now whether it knows somebody");
                answers.of_before(id, address, now)
            }
            Ok(Err(reply)) => {
                debug!(host, %address, %reply, "a back-end can't be asked whether it knows somebody");
                answers.silent.insert(id, now + SILENT);
                answers.of_before(id, address, now)
            }
            Err(_) => {
                debug!(host, %address, "a back-end takes long to say whether it knows somebody");
                answers.silent.insert(id, now + SILENT);
                answers.of_before(id, address, now)
            }
        };
        drop(answers);
        let counter = match &found {
            Found::Known => &counters.known,
            Found::Unknown(_) => &counters.unknown,
            Found::Unsure => &counters.unanswered,
        };
        counter.fetch_add(1, Relaxed);
        found
    }
}

/// Whether it is a refusal of us, of the connection or of a sender without a name, and not of the recipient (RFC 3463 section 2): then
/// nobody can be asked there.
fn is_of_who_asks(reply: &Reply) -> bool {
    reply.is_permanent() && matches!(reply.status().subject, 3..=7)
}

/// Of several, as it is when one of them is enough. Nothing at all is no reason to refuse.
fn together(all: Vec<Found>) -> Found {
    all.into_iter()
        .reduce(|one, other| match (one, other) {
            (Found::Known, _) | (_, Found::Known) => Found::Known,
            (Found::Unsure, _) | (_, Found::Unsure) => Found::Unsure,
            (first, _) => first,
        })
        .unwrap_or(Found::Known)
}

impl Answers {
    /// What needs no asking.
    fn find(&self, id: BackendId, address: &Address, now: Instant) -> Option<Found> {
        let said = self.said.get(&(id, address.clone()));
        let fresh = said.filter(|said| {
            let long = if said.refusal.is_some() { NO } else { YES };
            now.saturating_duration_since(said.at) < long
        });
        match fresh {
            Some(Said { refusal: Some(reply), .. }) => Some(Found::Unknown(reply.clone())),
            Some(Said { refusal: None, .. }) => Some(Found::Known),
            None if self.silent.get(&id).is_some_and(|until| *until > now) => {
                Some(self.of_before(id, address, now))
            }
            None => None,
        }
    }

    /// What was said long ago of whom nothing can be found out now.
    fn of_before(&self, id: BackendId, address: &Address, now: Instant) -> Found {
        match self.said.get(&(id, address.clone())) {
            Some(Said { refusal: None, at }) if now.saturating_duration_since(*at) < STALE => {
                Found::Known
            }
            _ => Found::Unsure,
        }
    }

    fn learn(&mut self, id: BackendId, address: &Address, refusal: Option<Reply>, now: Instant) {
        self.silent.remove(&id);
        if self.said.len() >= MOST {
            self.said.retain(|_, said| {
                let long = if said.refusal.is_some() { NO } else { STALE };
                now.saturating_duration_since(said.at) < long
            });
        }
        // Who guesses makes no room by that, and pushes nobody out who is known.
        if self.said.len() >= MOST && refusal.is_some() {
            return;
        }
        if self.said.len() >= MOST {
            self.said.clear();
        }
        self.said.insert((id, address.clone()), Said { refusal, at: now });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: BackendId = BackendId(7);

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn no() -> Reply {
        Reply::of_text(550, "5.1.1 No such user")
    }

    #[test]
    fn refusals_of_whoever_asks_are_no_answer() {
        for (code, text, of_us) in [
            (250, "2.1.5 Ok", false),
            (450, "4.7.1 Greylisted", false),
            (550, "No such user", false),
            (550, "5.1.1 No such user", false),
            (550, "5.2.1 Mailbox disabled", false),
            (550, "5.7.1 Bounces must be signed", true),
            (554, "5.7.1 Client host rejected", true),
            (501, "5.5.4 Bad sender", true),
            (550, "5.3.0 Not here", true),
        ] {
            assert_eq!(is_of_who_asks(&Reply::of_text(code, text)), of_us, "{text}");
        }
    }

    #[test]
    fn answers_are_remembered_for_a_while() {
        let (mut answers, begin) = (Answers::default(), Instant::now());
        let (ann, eve) = (address("ann@example.org"), address("eve@example.org"));
        assert_eq!(answers.find(OLD, &ann, begin), None);
        answers.learn(OLD, &ann, None, begin);
        answers.learn(OLD, &eve, Some(no()), begin);
        let later = begin + NO - Duration::from_secs(1);
        assert_eq!(answers.find(OLD, &ann, later), Some(Found::Known));
        assert_eq!(answers.find(OLD, &eve, later), Some(Found::Unknown(no())));
        assert_eq!(answers.find(BackendId(8), &ann, later), None, "another may not know her");
        assert_eq!(answers.find(OLD, &eve, begin + NO), None, "he may have been entered");
        assert_eq!(answers.find(OLD, &ann, begin + YES), None);
    }

    #[test]
    fn who_was_known_is_known_while_nobody_answers() {
        let (mut answers, begin) = (Answers::default(), Instant::now());
        let (ann, eve, new) =
            (address("ann@example.org"), address("eve@example.org"), address("new@example.org"));
        answers.learn(OLD, &ann, None, begin);
        answers.learn(OLD, &eve, Some(no()), begin);
        let later = begin + 2 * YES;
        answers.silent.insert(OLD, later + SILENT);
        assert_eq!(answers.find(OLD, &ann, later), Some(Found::Known));
        assert_eq!(answers.find(OLD, &eve, later), Some(Found::Unsure));
        assert_eq!(answers.find(OLD, &new, later), Some(Found::Unsure));
        assert_eq!(answers.find(OLD, &new, later + SILENT), None, "it is asked again");
        assert_eq!(answers.of_before(OLD, &ann, begin + STALE), Found::Unsure);
    }

    #[test]
    fn who_guesses_pushes_nobody_out() {
        let (mut answers, begin) = (Answers::default(), Instant::now());
        for number in 0..MOST {
            answers.learn(OLD, &address(&format!("a{number}@example.org")), Some(no()), begin);
        }
        answers.learn(OLD, &address("b@example.org"), Some(no()), begin);
        assert_eq!(answers.said.len(), MOST);
        answers.learn(OLD, &address("b@example.org"), Some(no()), begin + NO);
        assert_eq!(answers.said.len(), 1, "what is over goes");
    }

    #[test]
    fn one_who_knows_him_is_enough() {
        let (known, unsure, unknown) = (Found::Known, Found::Unsure, Found::Unknown(no()));
        assert_eq!(together(vec![unknown.clone(), unsure.clone(), known.clone()]), known);
        assert_eq!(together(vec![unknown.clone(), unsure.clone()]), unsure);
        assert_eq!(together(vec![unknown.clone(), unknown.clone()]), unknown);
        assert_eq!(together(Vec::new()), known, "nobody can be asked");
    }
}
