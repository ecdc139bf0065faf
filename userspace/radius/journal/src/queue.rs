//! Records on their way from the threads that append them to the one that writes them.

use std::mem;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::appender::AppendError;
use crate::record::{self, Head, MOST_PAYLOAD};
use crate::wakeup::Slot;

/// What was appended and not yet taken, as it will stand on the disk.
pub(crate) struct Queue {
    seed: u32,
    limit: usize,
    state: Mutex<State>,
    news: Condvar,
}

struct State {
    records: Vec<u8>,
    /// When the first of them came.
    since: Instant,
    /// The number of the next one.
    next: u64,
    mood: Mood,
    sleep: Sleep,
}

/// Whether records are taken in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mood {
    Open,
    /// There is no room on the disk.
    Full,
    /// The disk doesn't take what is written to it.
    Failed,
    Closed,
}

/// What the one who takes is waiting for.
#[derive(Clone, Copy)]
enum Sleep {
    Awake,
    UntilAny,
    UntilHalf,
}

impl Queue {
    /// A queue for at most so many bytes of records, numbered from `next` on.
    pub(crate) fn new(seed: u32, limit: usize, next: u64) -> Self {
        let state = State {
            // All of it at once, so that nothing is moved while others wait: untouched pages cost nothing.
            records: Vec::with_capacity(limit),
            since: Instant::now(),
            next,
            mood: Mood::Open,
            sleep: Sleep::Awake,
        };
        Self { seed, limit, state: Mutex::new(state), news: Condvar::new() }
    }

    /// Takes a record in and gives its number.
    pub(crate) fn append(
        &self,
        slot: &Slot,
        parts: &[&[u8]],
        time: u64,
    ) -> Result<u64, AppendError> {
        let length = parts.iter().map(|part| part.len()).sum();
        if length > MOST_PAYLOAD {
            return Err(AppendError::TooLong);
        }
        let checksum = record::checksum(self.seed, parts);
        let mut state = self.state.lock();
        match state.mood {
            Mood::Open => {}
            Mood::Full => return Err(AppendError::Full),
            Mood::Failed => return Err(AppendError::Failed),
            Mood::Closed => return Err(AppendError::Closed),
        }
        let head = Head { sequence: state.next, time, length };
        if state.records.len() + head.size() > self.limit {
            return Err(AppendError::Busy);
        }
        if state.records.is_empty() {
            state.since = Instant::now();
        }
        record::push(&mut state.records, &head, parts, checksum);
        state.next += 1;
        slot.await_number(head.sequence);
        let awaited = match state.sleep {
            Sleep::Awake => false,
            Sleep::UntilAny => true,
            Sleep::UntilHalf => state.records.len() >= self.half(),
        };
        if awaited {
            state.sleep = Sleep::Awake;
        }
        drop(state);
        if awaited {
            self.news.notify_one();
        }
        Ok(head.sequence)
    }

    /// Waits for records and exchanges them for the empty `batch`. False once the queue is closed and empty.
    ///
    /// Records that come while the last batch was being made durable, or within `gather` of it, wait for others until
    /// the first of them is so old. Those that come later are taken at once.
    pub(crate) fn take(&self, batch: &mut Vec<u8>, gather: Duration, last: Instant) -> bool {
        let mut state = self.state.lock();
        while state.records.is_empty() {
            if state.mood == Mood::Closed {
                return false;
            }
            state.sleep = Sleep::UntilAny;
            self.news.wait(&mut state);
        }
        if state.since.saturating_duration_since(last) < gather {
            let until = state.since + gather;
            while state.mood != Mood::Closed && state.records.len() < self.half() {
                state.sleep = Sleep::UntilHalf;
                if self.news.wait_until(&mut state, until).timed_out() {
                    break;
                }
            }
        }
        state.sleep = Sleep::Awake;
        mem::swap(&mut state.records, batch);
        true
    }

    /// Waits, but not longer than until the queue is closed. False if it is.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut state = self.state.lock();
        while state.mood != Mood::Closed {
            if self.news.wait_until(&mut state, until).timed_out() {
                return state.mood != Mood::Closed;
            }
        }
        false
    }

    /// Takes records in, or refuses them, from now on. What is closed remains so.
    pub(crate) fn set_mood(&self, mood: Mood) {
        let mut state = self.state.lock();
        if state.mood != Mood::Closed {
            state.mood = mood;
        }
        drop(state);
        if mood == Mood::Closed {
            self.news.notify_all();
        }
    }

    pub(crate) fn mood(&self) -> Mood {
        self.state.lock().mood
    }

    /// The last number given, and the bytes of records that wait here.
    pub(crate) fn appended(&self) -> (u64, usize) {
        let state = self.state.lock();
        (state.next - 1, state.records.len())
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    fn half(&self) -> usize {
        self.limit / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG_AGO: Duration = Duration::from_secs(3600);

    fn numbers(mut batch: &[u8]) -> Vec<u64> {
        let mut numbers = Vec::new();
        while let Some(head) = record::peek(batch) {
            numbers.push(head.sequence);
            batch = &batch[head.size()..];
        }
        numbers
    }

    #[test]
    fn it_is_bounded_and_in_order() {
        let (queue, slot) = (Queue::new(1, 3 * 40, 7), Slot::appender().unwrap());
        assert_eq!(queue.append(&slot, &[b"one"], 0), Ok(7));
        assert_eq!(queue.append(&slot, &[b"two", b"2"], 0), Ok(8));
        assert_eq!(queue.append(&slot, &[&[0; 9]], 0), Err(AppendError::Busy));
        assert_eq!(queue.append(&slot, &[&[0; 8]], 0), Ok(9));
        assert_eq!(queue.append(&slot, &[], 0), Err(AppendError::Busy));
        assert_eq!(queue.append(&slot, &[&[0; MOST_PAYLOAD], b"x"], 0), Err(AppendError::TooLong));
        assert_eq!((queue.appended(), slot.awaits()), ((9, 120), 9));

        let mut batch = Vec::with_capacity(queue.limit());
        let ages = Instant::now().checked_sub(LONG_AGO).unwrap();
        assert!(queue.take(&mut batch, Duration::ZERO, ages));
        assert_eq!(numbers(&batch), [7, 8, 9]);
        assert_eq!(queue.append(&slot, &[], 0), Ok(10));
        batch.clear();
        queue.set_mood(Mood::Closed);
        queue.set_mood(Mood::Open);
        assert_eq!(queue.append(&slot, &[], 0), Err(AppendError::Closed));
        assert!(queue.take(&mut batch, Duration::from_secs(60), Instant::now()));
        assert_eq!(numbers(&batch), [10], "what was in it comes out still, and at once");
        batch.clear();
        assert!(!queue.take(&mut batch, Duration::ZERO, ages));
        assert!(!queue.pause(Duration::from_secs(60)));
    }

    #[test]
    fn moods_refuse() {
        let (queue, slot) = (Queue::new(1, 1000, 1), Slot::appender().unwrap());
        let cases = [(Mood::Full, AppendError::Full), (Mood::Failed, AppendError::Failed)];
        for (mood, error) in cases {
            queue.set_mood(mood);
            assert_eq!(queue.append(&slot, &[b"x"], 0), Err(error));
            assert!(queue.pause(Duration::from_millis(1)));
        }
        queue.set_mood(Mood::Open);
        assert_eq!(queue.append(&slot, &[b"x"], 0), Ok(1), "no number was used up");
    }

    #[test]
    fn an_idle_one_gives_at_once_and_a_busy_one_gathers() {
        let (queue, slot) = (Queue::new(1, 8000, 1), Slot::appender().unwrap());
        let gather = Duration::from_secs(30);
        let mut batch = Vec::with_capacity(queue.limit());
        let begin = Instant::now();
        queue.append(&slot, &[b"idle"], 0).unwrap();
        assert!(queue.take(&mut batch, gather, begin.checked_sub(LONG_AGO).unwrap()));
        assert!(begin.elapsed() < gather, "nothing was waited for");

        batch.clear();
        std::thread::scope(|scope| {
            queue.append(&slot, &[b"busy"], 0).unwrap();
            let taker = scope.spawn(|| queue.take(&mut batch, gather, Instant::now()));
            while queue.appended().1 < queue.half() {
                queue.append(&slot, &[&[0; 1000]], 0).unwrap();
            }
            assert!(taker.join().unwrap());
        });
        assert!(begin.elapsed() < gather, "a half full one is taken before its time");
        assert!(numbers(&batch).len() >= 4);

        batch.clear();
        let queue = Queue::new(1, 8000, 1);
        let short = Duration::from_millis(20);
        queue.append(&slot, &[b"busy"], 0).unwrap();
        let begin = Instant::now();
        assert!(queue.take(&mut batch, short, begin));
        assert!(begin.elapsed() >= short - Duration::from_millis(5), "others had time to come");
    }
}
