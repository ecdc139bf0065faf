//! Tells a thread that waits in `epoll` or an event loop that the watermark rose.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustix::event::{EventfdFlags, eventfd};

/// An eventfd that becomes readable whenever records became durable. Poll it, then [`drain`](Self::drain) it, and only then
/// read.
#[derive(Clone, Debug)]
pub struct Wakeup {
    slot: Arc<Slot>,
}

impl Wakeup {
    pub(crate) fn new(slot: Arc<Slot>) -> Self {
        Self { slot }
    }

    /// Makes it unreadable until the watermark rises again.
    pub fn drain(&self) {
        self.slot.drain();
    }
}

impl AsFd for Wakeup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.slot.as_fd()
    }
}

/// One who waits.
#[derive(Debug)]
pub(crate) struct Slot {
    eventfd: OwnedFd,
    /// The highest number that it waits for.
    awaits: AtomicU64,
}

impl Slot {
    /// For one who is told of every rise.
    pub(crate) fn always() -> io::Result<Self> {
        Self::new(u64::MAX)
    }

    /// For one who is told of what it appended.
    pub(crate) fn appender() -> io::Result<Self> {
        Self::new(0)
    }

    fn new(awaits: u64) -> io::Result<Self> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { eventfd, awaits: AtomicU64::new(awaits) })
    }

    pub(crate) fn await_number(&self, sequence: u64) {
        // Clones share it; the queue's lock is held, so that the last is the highest.
        self.awaits.store(sequence, Relaxed);
    }

    pub(crate) fn awaits(&self) -> u64 {
        self.awaits.load(Relaxed)
    }

    pub(crate) fn wake(&self) {
        // It fails only if the counter is near its end, and then it is readable.
        let _ = rustix::io::write(&self.eventfd, &1u64.to_ne_bytes());
    }

    pub(crate) fn drain(&self) {
        // It fails only if there is nothing in it.
        let _ = rustix::io::read(&self.eventfd, &mut [0u8; 8]);
    }
}

impl AsFd for Slot {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}
