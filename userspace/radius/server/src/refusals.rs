//! Logins that were refused or not answered, for whoever is asked why somebody can't log in.
//!
//! The last ones are kept in memory and can be searched, and they go into the product's log, from where they can be found for
//! as long as that is kept. A socket thread only puts them into memory: it writes no log, and no NAS whose users all fail at once
//! takes the room of the others.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use muralla_radius_policy::{Reason, Refusal};
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::info;

use crate::report::{LoginRefusal, RefusalFilter};

/// Refusals that are kept: a few megabytes.
const KEPT: usize = 16_384;

/// Of one NAS: so many at once, and then one in so many milliseconds.
const BURST: u64 = 500;
const EVERY: u64 = 50;

/// NASes whose rate is known at once.
const MOST_NASES: usize = 65_536;

/// How often they are written into the log, and how many at most each time.
const WRITE: Duration = Duration::from_secs(1);
const LINES: usize = 100;

/// Longest text that is kept of a request.
const LONGEST: usize = 253;

/// See the module.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<Inner>);

#[derive(Default)]
struct Inner {
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
    pub(crate) method: &'static str,
    pub(crate) refusal: &'a Refusal,
    /// Whether there was an Access-Reject.
    pub(crate) answered: bool,
}

impl Refusals {
    /// Keeps a refusal, if its NAS has not too many.
    pub(crate) fn note(&self, note: &Note<'_>) {
        let inner = &mut *self.0.lock();
        let Some(missed) = inner.admit(note.nas, note.clock) else { return };
        if inner.kept.len() >= KEPT {
            inner.kept.pop_front();
        }
        let short = |text: &[u8]| text.get(..LONGEST).unwrap_or(text).into();
        inner.kept.push_back(Kept {
            at: note.at,
            nas: Arc::clone(note.nas),
            source: note.source,
            user: short(note.user),
            calling_station: note.calling_station.map(short),
            method: note.method,
            reason: note.refusal.reason,
            detail: note.refusal.detail.as_deref().map(Into::into),
            answered: note.answered,
            missed,
        });
        inner.next += 1;
    }

    /// Those that fit, the latest first.
    pub(crate) fn find(&self, filter: &RefusalFilter) -> Vec<LoginRefusal> {
        let inner = self.0.lock();
        let fitting = inner.kept.iter().rev().filter(|kept| kept.fits(filter));
        fitting.take(filter.most).map(Kept::tell).collect()
    }

    /// What is to be written into the log now, and how many more there were.
    fn take(&self) -> (Vec<LoginRefusal>, u64) {
        let mut inner = self.0.lock();
        let new = usize::try_from(inner.next - inner.logged).unwrap_or(usize::MAX);
        let there = new.min(inner.kept.len());
        let first = inner.kept.len() - there;
        let taken: Vec<LoginRefusal> =
            inner.kept.iter().skip(first).take(LINES).map(Kept::tell).collect();
        inner.logged = inner.next;
        let left_out = taken.iter().map(|refused| refused.missed).sum::<u64>();
        let more = (new - taken.len()) as u64 + left_out;
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

impl Inner {
    /// Whether one more of a NAS is kept, and how many were left out before it.
    fn admit(&mut self, nas: &Arc<str>, clock: u64) -> Option<u64> {
        if !self.rates.contains_key(nas) {
            if self.rates.len() >= MOST_NASES {
                self.rates.clear();
            }
            self.rates.insert(Arc::clone(nas), Rate::default());
        }
        let rate = self.rates.get_mut(nas)?;
        let paid = rate.paid.max(clock) + EVERY;
        if paid - clock > BURST * EVERY {
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

    fn tell(&self) -> LoginRefusal {
        let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        let detail = self.detail.as_deref();
        let words = self.reason.words();
        LoginRefusal {
            at: self.at,
            user: text(&self.user),
            nas: self.nas.to_string(),
            source: self.source,
            calling_station: self.calling_station.as_deref().map(text),
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
        let refusals = Refusals::default();
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

    #[test]
    fn a_nas_that_fails_all_at_once_leaves_room_for_others() {
        let refusals = Refusals::default();
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
        let refusals = Refusals::default();
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
        assert_eq!(refusals.0.lock().kept.len(), KEPT);
    }
}
