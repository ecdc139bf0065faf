//! Somebody who looks into his mailbox all the time, at one box and at the other: what he saw once has to be there whenever he is
//! let in.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use muralla_lab::load::pop3::{self, Login};
use muralla_lab::namespace::Namespace;

/// Between two visits.
const REST: Duration = Duration::from_millis(300);

/// He ends when dropped.
pub(super) struct Visitor {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<Seen>>,
}

/// What he saw.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Seen {
    /// Visits.
    pub(super) visits: u64,
    /// Of these, those in which he was not let in, or told to come again: something was away.
    pub(super) put_off: u64,
    /// Of these, those in which there was less than before, although nobody removes anything.
    pub(super) shrunk: u64,
    most: u64,
}

impl Visitor {
    pub(super) fn start(
        place: Namespace,
        targets: Vec<SocketAddrV4>,
        login: Login,
    ) -> Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&stopped);
        let thread = thread::Builder::new().name("visitor".to_owned());
        let visit = move || {
            let mut seen = Seen::default();
            for target in targets.iter().cycle() {
                if theirs.load(Ordering::Relaxed) {
                    break;
                }
                seen.note(pop3::count(&place, *target, &login).ok());
                thread::sleep(REST);
            }
            seen
        };
        let thread = thread.spawn(visit).context("starting a thread")?;
        Ok(Self { stopped, thread: Some(thread) })
    }

    /// What he saw until now. A visit that is under way is waited for.
    pub(super) fn stop(mut self) -> Result<Seen> {
        self.stopped.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("he was stopped before")?;
        thread.join().map_err(|_| anyhow!("who looks into his mailbox panicked"))
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Nobody wants to know any more.
            let _ = thread.join();
        }
    }
}

impl Seen {
    /// Of a visit: how many messages there were, if he was let in.
    fn note(&mut self, there: Option<u64>) {
        self.visits += 1;
        match there {
            None => self.put_off += 1,
            Some(there) => {
                self.shrunk += u64::from(there < self.most);
                self.most = self.most.max(there);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_before_is_told() {
        let mut seen = Seen::default();
        for there in [Some(3), None, Some(3), Some(5), Some(4), Some(0), Some(6)] {
            seen.note(there);
        }
        assert_eq!(seen, Seen { visits: 7, put_off: 1, shrunk: 2, most: 6 });
    }
}
