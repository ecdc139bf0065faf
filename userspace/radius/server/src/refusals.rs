//! Logins that were refused or not answered, for whoever is asked why somebody can't log in.
//!
//! The last ones are kept in memory and can be searched, and they go into the product's log, from where they can be found for
//! as long as that is kept. A socket thread only puts them into memory: it writes no log, and no NAS whose users all fail at once
//! takes the room of the others.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use muralla_radius_accounting::export::printable;
use muralla_radius_policy::{Reason, Refusal};
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::info;

use crate::report::{LoginRefusal, RefusalFilter};

/// Refusals that are kept, of all threads: a few megabytes.
const KEPT: usize = 16_384;

/// Of one NAS: so many at once, and then one in so many milliseconds. Of all threads as well.
const BURST: u64 = 500;
const EVERY: u64 = 50;

/// Those that are looked at at once: the thread that keeps them may wait for that long.
const SLICE: u64 = 64;

/// NASes whose rate is known at once.
const MOST_NASES: usize = 65_536;

/// How often they are written into the log, and how many at most each time.
const WRITE: Duration = Duration::from_secs(1);
const LINES: usize = 100;

/// Most threads that have a ring of their own.
const MOST_RINGS: usize = 64;

/// Longest text that is kept of a request.
const LONGEST: usize = 253;

/// See the module. Each socket thread has a ring of its own, so that none waits for another.
pub(crate) struct Refusals(Box<[Mutex<Ring>]>);

/// Those of one thread.
struct Ring {
    most: usize,
    /// What a NAS may add, as above.
    burst: u64,
    every: u64,
    kept: VecDeque<Kept>,
    /// The number of the next one.
    next: u64,
    /// Those before it are in the log, or were too many for it.
    logged: u64,
    rates: HashMap<Arc<str>, Rate>,
}

/// What a NAS may add.
#[derive(Default)]
struct Rate {
    /// When all that it added is paid, in milliseconds.
    paid: u64,
    /// How many were left out since the last one that was kept.
    missed: u64,
}

/// One that is kept.
struct Kept {
    at: f64,
    nas: Arc<str>,
    source: IpAddr,
    user: Box<[u8]>,
    calling_station: Option<Box<[u8]>>,
    /// The line, of a NAS that tells no Calling-Station-Id.
    port: Option<Box<[u8]>>,
    method: &'static str,
    reason: Reason,
    detail: Option<Box<str>>,
    answered: bool,
    missed: u64,
}

/// What is to be noted of a request.
pub(crate) struct Note<'a> {
    /// Seconds since 1970.
    pub(crate) at: f64,
    /// Milliseconds on a clock that never goes back.
    pub(crate) clock: u64,
    pub(crate) nas: &'a Arc<str>,
    pub(crate) source: IpAddr,
    pub(crate) user: &'a [u8],
    pub(crate) calling_station: Option<&'a [u8]>,
    /// The line as attempts have it ([`place_of`](crate::place::place_of)).
    pub(crate) place: Option<&'a [u8]>,
    pub(crate) method: &'static str,
    pub(crate) refusal: &'a Refusal,
    /// Whether there was an Access-Reject.
    pub(crate) answered: bool,
}

impl Refusals {
    /// For so many threads that answer.
    pub(crate) fn new(threads: usize) -> Self {
        let threads = threads.clamp(1, MOST_RINGS);
        Self((0..threads).map(|_| Mutex::new(Ring::new(threads))).collect())
    }

    /// Keeps a refusal, if its NAS has not too many.
    pub(crate) fn note(&self, note: &Note<'_>) {
        if let Some(ring) = self.0.get(place() % self.0.len().max(1)) {
            ring.lock().note(note);
        }
    }

    /// Those that fit, the latest first.
    pub(crate) fn find(&self, filter: &RefusalFilter) -> Vec<LoginRefusal> {
        let mut found: Vec<LoginRefusal> =
            self.0.iter().flat_map(|ring| find_in(ring, filter, Kept::tell)).collect();
        // Those of one thread stay in their order.
        found.sort_by(|one, other| other.at.total_cmp(&one.at));
        found.truncate(filter.most);
        found
    }

    /// The lines of those that fit, as attempts have them; some more than once.
    pub(crate) fn places(&self, filter: &RefusalFilter) -> Vec<Box<[u8]>> {
        let found = self.0.iter().flat_map(|ring| find_in(ring, filter, Kept::place));
        found.flatten().collect()
    }

    /// What is to be written into the log now, and how many more there were.
    fn take(&self) -> (Vec<LoginRefusal>, u64) {
        let (mut taken, mut more) = (Vec::new(), 0);
        for ring in &self.0 {
            let (some, others) = ring.lock().take();
            taken.extend(some);
            more += others;
        }
        taken.sort_by(|one, other| one.at.total_cmp(&other.at));
        more += taken.len().saturating_sub(LINES) as u64;
        taken.truncate(LINES);
        more += taken.iter().map(|refused| refused.missed).sum::<u64>();
        (taken, more)
    }

    /// Writes them into the log, until it is stopped.
    pub(crate) async fn write(&self, mut stop: watch::Receiver<bool>) {
        loop {
            let stopped = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => true,
                () = tokio::time::sleep(WRITE) => false,
            };
            let (refused, more) = self.take();
            for LoginRefusal {
                user, nas, calling_station, method, reason, words, answered, ..
            } in &refused
            {
                let calling_station = calling_station.as_deref().unwrap_or_default();
                let what = if *answered { "login refused" } else { "login not answered" };
                info!(user, nas, calling_station, method, reason, "{what}: {words}");
            }
            if more > 0 {
                info!(more, "further logins were refused; `muralla radius refusals` has the last");
            }
            if stopped {
                return;
            }
        }
    }
}

/// The number of a thread among those that refuse.
fn place() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static PLACE: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    PLACE.with(|place| *place)
}

/// Those of a ring that fit, the latest first. Some at a time: its thread waits for no more than that.
fn find_in<T>(ring: &Mutex<Ring>, filter: &RefusalFilter, tell: impl Fn(&Kept) -> T) -> Vec<T> {
    let (mut found, mut before) = (Vec::new(), u64::MAX);
    while before > 0 && found.len() < filter.most {
        let ring = ring.lock();
        let first = ring.next - ring.kept.len() as u64;
        let end = before.min(ring.next);
        before = end.saturating_sub(SLICE).max(first);
        let skipped = usize::try_from(ring.next - end).unwrap_or(usize::MAX);
        let some = usize::try_from(end.saturating_sub(before)).unwrap_or(usize::MAX);
        let fitting = ring.kept.iter().rev().skip(skipped).take(some);
        found.extend(fitting.filter(|kept| kept.fits(filter)).map(&tell));
        if before <= first {
            break;
        }
    }
    found
}

impl Ring {
    /// One of so many.
    fn new(rings: usize) -> Self {
        let share = rings as u64;
        Self {
            most: KEPT / rings.max(1),
            burst: (BURST / share.max(1)).max(1),
            every: EVERY * share,
            kept: VecDeque::new(),
            next: 0,
            logged: 0,
            rates: HashMap::new(),
        }
    }

    fn note(&mut self, note: &Note<'_>) {
        let Some(missed) = self.admit(note.nas, note.clock) else { return };
        if self.kept.len() >= self.most {
            self.kept.pop_front();
        }
        let short = |text: &[u8]| text.get(..LONGEST).unwrap_or(text).into();
        self.kept.push_back(Kept {
            at: note.at,
            nas: Arc::clone(note.nas),
            source: note.source,
            user: short(note.user),
            calling_station: note.calling_station.map(short),
            port: note.place.filter(|place| Some(*place) != note.calling_station).map(Into::into),
            method: note.method,
            reason: note.refusal.reason,
            detail: note.refusal.detail.as_deref().map(Into::into),
            answered: note.answered,
            missed,
        });
        self.next += 1;
    }

    /// Those that the log has not, at most as many as it gets, and how many more there were.
    fn take(&mut self) -> (Vec<LoginRefusal>, u64) {
        let new = usize::try_from(self.next - self.logged).unwrap_or(usize::MAX);
        let first = self.kept.len() - new.min(self.kept.len());
        let taken: Vec<LoginRefusal> =
            self.kept.iter().skip(first).take(LINES).map(Kept::tell).collect();
        self.logged = self.next;
        let more = (new - taken.len()) as u64;
        (taken, more)
    }

    /// Whether one more of a NAS is kept, and how many were left out before it.
    fn admit(&mut self, nas: &Arc<str>, clock: u64) -> Option<u64> {
        if !self.rates.contains_key(nas) {
            if self.rates.len() >= MOST_NASES {
                self.rates.clear();
            }
            self.rates.insert(Arc::clone(nas), Rate::default());
        }
        let rate = self.rates.get_mut(nas)?;
        let paid = rate.paid.max(clock) + self.every;
        if paid - clock > self.burst * self.every {
            rate.missed += 1;
            return None;
        }
        rate.paid = paid;
        Some(std::mem::take(&mut rate.missed))
    }
}

impl Kept {
    fn fits(&self, filter: &RefusalFilter) -> bool {
        let same = |wanted: &Option<String>, is: &[u8]| {
            wanted.as_ref().is_none_or(|wanted| wanted.as_bytes().eq_ignore_ascii_case(is))
        };
        same(&filter.user, &self.user)
            && same(&filter.reason, self.reason.name().as_bytes())
            && filter.nas.as_ref().is_none_or(|nas| **nas == *self.nas)
            && filter.calling_station.as_ref().is_none_or(|wanted| {
                let is = self.calling_station.as_deref();
                is.is_some_and(|is| is.eq_ignore_ascii_case(wanted.as_bytes()))
            })
            && filter.since.is_none_or(|since| self.at >= since)
            && filter.until.is_none_or(|until| self.at < until)
    }

    fn place(&self) -> Option<Box<[u8]>> {
        let station = self.calling_station.as_ref().filter(|station| !station.is_empty());
        self.port.as_ref().or(station).cloned()
    }

    fn tell(&self) -> LoginRefusal {
        let detail = self.detail.as_deref();
        let words = self.reason.words();
        LoginRefusal {
            at: self.at,
            user: printable(&self.user),
            nas: self.nas.to_string(),
            source: self.source,
            calling_station: self.calling_station.as_deref().map(printable),
            method: self.method.to_owned(),
            reason: self.reason.name().to_owned(),
            words: detail.map_or_else(|| words.to_owned(), |detail| format!("{words}: {detail}")),
            answered: self.answered,
            missed: self.missed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(refusals: &Refusals, nas: &str, user: &str, reason: Reason, clock: u64) {
        let mut refusal = Refusal::unreadable("a detail");
        refusal.reason = reason;
        refusals.note(&Note {
            at: clock as f64 / 1_000.0,
            clock,
            nas: &nas.into(),
            source: "192.0.2.1".parse().unwrap(),
            user: user.as_bytes(),
            calling_station: Some(b"00-AA"),
            place: Some(b"00-AA"),
            method: "PAP",
            refusal: &refusal,
            answered: true,
        });
    }

    fn found(refusals: &Refusals, filter: RefusalFilter) -> Vec<String> {
        let found = refusals.find(&filter);
        found.into_iter().map(|refused| format!("{} {}", refused.user, refused.reason)).collect()
    }

    #[test]
    fn they_are_found_by_who_where_why_and_when() {
        let refusals = Refusals::new(1);
        note(&refusals, "one", "Ann", Reason::WrongPassword, 1_000);
        note(&refusals, "two", "bob", Reason::Expired, 2_000);
        note(&refusals, "two", "ann", Reason::Sessions, 3_000);
        let all = RefusalFilter::default;
        let some = |text: &str| Some(text.to_owned());
        for (filter, expected) in [
            (all(), &["ann too_many_sessions", "bob expired", "Ann wrong_password"][..]),
            (RefusalFilter { most: 1, ..all() }, &["ann too_many_sessions"][..]),
            (
                RefusalFilter { user: some("ann"), ..all() },
                &["ann too_many_sessions", "Ann wrong_password"][..],
            ),
            (RefusalFilter { nas: some("two"), user: some("bob"), ..all() }, &["bob expired"][..]),
            (
                RefusalFilter { reason: some("wrong_password"), ..all() },
                &["Ann wrong_password"][..],
            ),
            (RefusalFilter { calling_station: some("00-ab"), ..all() }, &[][..]),
            (RefusalFilter { since: Some(2.0), until: Some(3.0), ..all() }, &["bob expired"][..]),
        ] {
            assert_eq!(found(&refusals, filter.clone()), expected, "{filter:?}");
        }
        let refused = &refusals.find(&all())[0];
        assert_eq!(refused.words, "as many sessions as allowed are open: a detail");
    }

    /// A terminal obeys what stands between control characters, and users choose their names.
    #[test]
    fn no_control_character_reaches_the_operator() {
        let refusals = Refusals::new(1);
        note(&refusals, "one", "\x1b[2J\x1b]0;all is well\x07ann\r\n", Reason::WrongPassword, 0);
        let refused = refusals.find(&RefusalFilter::default());
        assert_eq!(refused[0].user, "\\x1b[2J\\x1b]0;all is well\\x07ann\\x0d\\x0a");
    }

    #[test]
    fn a_nas_that_fails_all_at_once_leaves_room_for_others() {
        let refusals = Refusals::new(1);
        note(&refusals, "quiet", "bob", Reason::Expired, 0);
        for number in 0..1_000_000u64 {
            note(&refusals, "loud", "ann", Reason::WrongPassword, number / 100);
        }
        let of = |nas: &str| {
            let nas = Some(nas.to_owned());
            refusals.find(&RefusalFilter { nas, most: usize::MAX, ..RefusalFilter::default() })
        };
        assert_eq!(of("quiet").len(), 1);
        // A burst, and then what ten seconds allow.
        let loud = of("loud");
        assert!((BURST as usize..BURST as usize + 10_000 / EVERY as usize).contains(&loud.len()));
        let missed: u64 = loud.iter().map(|refused| refused.missed).sum();
        assert!(missed + loud.len() as u64 > 990_000, "{missed}");
    }

    #[test]
    fn the_log_gets_each_once_and_never_too_many() {
        let refusals = Refusals::new(1);
        assert_eq!(refusals.take().0.len(), 0);
        note(&refusals, "one", "ann", Reason::WrongPassword, 0);
        note(&refusals, "one", "bob", Reason::WrongPassword, 0);
        let (taken, more) = refusals.take();
        assert_eq!((taken.len(), more), (2, 0));
        assert_eq!(taken[0].user, "ann");
        for number in 0..(KEPT as u64 + 5_000) {
            note(&refusals, &format!("nas {}", number % 1_000), "ann", Reason::Expired, 0);
        }
        let (taken, more) = refusals.take();
        assert_eq!((taken.len(), more), (LINES, KEPT as u64 + 5_000 - LINES as u64));
        assert_eq!(refusals.take().0.len(), 0);
        assert_eq!(refusals.0[0].lock().kept.len(), KEPT);
    }

    #[test]
    fn what_several_threads_refuse_is_one_list() {
        const THREADS: u64 = 4;
        const EACH: u64 = 200;
        let refusals = Refusals::new(THREADS as usize);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let refusals = &refusals;
                scope.spawn(move || {
                    for number in 0..EACH {
                        let (nas, clock) = (format!("nas {number}"), number * THREADS + thread);
                        note(refusals, &nas, &format!("{clock:04}"), Reason::Expired, clock);
                    }
                });
            }
        });
        let all = found(&refusals, RefusalFilter { most: usize::MAX, ..RefusalFilter::default() });
        let expected: Vec<String> =
            (0..THREADS * EACH).rev().map(|clock| format!("{clock:04} expired")).collect();
        assert_eq!(all, expected);
        let last = RefusalFilter { most: 70, ..RefusalFilter::default() };
        assert_eq!(found(&refusals, last), expected[..70]);
        let nas = Some("nas 0".to_owned());
        let first = RefusalFilter { nas, ..RefusalFilter::default() };
        assert_eq!(found(&refusals, first).len(), THREADS as usize, "the oldest of each");
        let (taken, more) = refusals.take();
        assert_eq!((taken.len() as u64 + more, taken.len()), (THREADS * EACH, LINES));
        assert!(taken.is_sorted_by(|one, other| one.at <= other.at));
        assert_eq!(refusals.take().0.len(), 0);
    }
}
