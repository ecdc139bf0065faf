//! Checks that take milliseconds on purpose (argon2, bcrypt): done by a few threads of their own, so that nobody else waits.
//!
//! The queue is short. Where it is full the request is dropped, and the NAS asks again: by then there may be room, and a
//! flood of guesses costs no more than these threads.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::{Condvar, Mutex};
use tracing::error;

/// The part of the queue in which requests may wait that were decided before.
const COPIES: usize = 4;

/// Something to be done, and to whom its outcome goes.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// The threads, until they are dropped.
pub(crate) struct Costly {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    bell: Condvar,
    most: usize,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    stopped: bool,
}

impl Costly {
    /// So many threads, and a queue for so many jobs.
    ///
    /// # Errors
    ///
    /// When the system has no more threads.
    pub(crate) fn start(threads: usize, most: usize) -> io::Result<Self> {
        let shared =
            Arc::new(Shared { queue: Mutex::default(), bell: Condvar::new(), most: most.max(1) });
        let mut pool = Self { shared: Arc::clone(&shared), threads: Vec::new() };
        for number in 0..threads.max(1) {
            let shared = Arc::clone(&shared);
            let thread = thread::Builder::new()
                .name(format!("radius-costly-{number}"))
                .spawn(move || shared.work())?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// Has a job done in its turn; gives it back where there is no room. What `is_copy`, of a request that was decided before,
    /// has a part of the room alone: whoever sends such requests again keeps no others waiting for long.
    pub(crate) fn submit(&self, job: Job, is_copy: bool) -> Result<(), Job> {
        let most = self.shared.most;
        let most = if is_copy { (most / COPIES).max(1).min(most) } else { most };
        let mut queue = self.shared.queue.lock();
        if queue.stopped || queue.jobs.len() >= most {
            return Err(job);
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.shared.bell.notify_one();
        Ok(())
    }

    /// Jobs that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.shared.queue.lock().jobs.len()
    }
}

impl Shared {
    fn work(&self) {
        loop {
            let mut queue = self.queue.lock();
            let job = loop {
                if queue.stopped {
                    return;
                }
                match queue.jobs.pop_front() {
                    Some(job) => break job,
                    None => self.bell.wait(&mut queue),
                }
            };
            drop(queue);
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                error!("a password check caused a panic; please report it");
            }
        }
    }
}

impl Drop for Costly {
    fn drop(&mut self) {
        let mut queue = self.shared.queue.lock();
        queue.stopped = true;
        // Whoever asked asks again.
        queue.jobs.clear();
        drop(queue);
        self.shared.bell.notify_all();
        for thread in self.threads.drain(..) {
            // A panic within a job was told; there is no other.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn jobs_are_done_in_turn_and_a_full_queue_takes_no_more() {
        let pool = Costly::start(1, 2).unwrap();
        let (done, outcomes) = mpsc::channel();
        let (go, gate) = mpsc::channel::<()>();
        let job = |number: u32| -> Job {
            let done = done.clone();
            Box::new(move || done.send(number).unwrap())
        };
        let first = done.clone();
        let (begun, begin) = mpsc::channel();
        let blocking: Job = Box::new(move || {
            begun.send(()).unwrap();
            gate.recv().unwrap();
            first.send(0).unwrap();
        });
        assert!(pool.submit(blocking, false).is_ok());
        begin.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(pool.submit(job(1), false).is_ok());
        assert!(pool.submit(job(2), false).is_ok());
        assert_eq!(pool.waiting(), 2);
        assert!(pool.submit(job(3), false).is_err(), "full");
        go.send(()).unwrap();
        let order: Vec<u32> =
            (0..3).map(|_| outcomes.recv_timeout(Duration::from_secs(10)).unwrap()).collect();
        assert_eq!(order, [0, 1, 2]);
    }

    #[test]
    fn copies_leave_room_for_others() {
        let pool = Costly::start(1, 8).unwrap();
        let (go, gate) = mpsc::channel::<()>();
        let (begun, begin) = mpsc::channel();
        let blocking: Job = Box::new(move || {
            begun.send(()).unwrap();
            gate.recv().unwrap();
        });
        assert!(pool.submit(blocking, false).is_ok());
        begin.recv_timeout(Duration::from_secs(10)).unwrap();
        let submit = |is_copy| pool.submit(Box::new(|| ()), is_copy).is_ok();
        let copies = (0..100).filter(|_| submit(true)).count();
        assert_eq!(copies, 2);
        let others = (0..100).filter(|_| submit(false)).count();
        assert_eq!(others, 6);
        assert!(!submit(true));
        go.send(()).unwrap();
    }

    #[test]
    fn a_panic_costs_one_job_and_no_thread() {
        let pool = Costly::start(1, 8).unwrap();
        assert!(pool.submit(Box::new(|| panic!("on purpose")), false).is_ok());
        let (done, outcome) = mpsc::channel();
        assert!(pool.submit(Box::new(move || done.send(7).unwrap()), false).is_ok());
        assert_eq!(outcome.recv_timeout(Duration::from_secs(10)), Ok(7));
    }

    #[test]
    fn whoever_drops_it_waits_for_nobody_but_the_job_at_hand() {
        let pool = Costly::start(2, 8).unwrap();
        let (done, outcome) = mpsc::channel::<()>();
        let begun = done.clone();
        assert!(
            pool.submit(
                Box::new(move || {
                    begun.send(()).unwrap();
                    thread::sleep(Duration::from_millis(20));
                    done.send(()).unwrap();
                }),
                false
            )
            .is_ok()
        );
        outcome.recv_timeout(Duration::from_secs(10)).unwrap();
        drop(pool);
        assert!(outcome.try_recv().is_ok(), "the job at hand was finished");
    }
}
