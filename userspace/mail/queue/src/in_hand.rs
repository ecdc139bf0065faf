//! What this process took and has not reported yet.
//!
//! A lease may end while its owner still has the message: the database was away, the disk is full, or the other server is slow.
//! Others may take it then. But this process knows that somebody here has it, and does not hand it out a second time: it takes
//! the lease anew for the one who has it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use muralla_mail_envelope::MessageId;

use crate::rows::Key;

/// The recipients of a job, and the numbers that they were taken under last.
#[derive(Debug)]
pub(crate) struct Leases {
    message: MessageId,
    recipients: Vec<(i64, AtomicI64)>,
}

/// A recipient's place, and the number that it was taken under.
pub(crate) type Lease = (i64, i64);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct InHand {
    held: Mutex<HashMap<Key, Weak<Leases>>>,
}

impl Leases {
    pub(crate) fn new(message: MessageId, leases: Vec<Lease>) -> Arc<Self> {
        let recipients =
            leases.into_iter().map(|(number, fence)| (number, AtomicI64::new(fence))).collect();
        Arc::new(Self { message, recipients })
    }

    pub(crate) fn len(&self) -> usize {
        self.recipients.len()
    }

    /// As they are now.
    pub(crate) fn now(&self) -> Vec<Lease> {
        self.recipients.iter().map(|(number, fence)| (*number, fence.load(Relaxed))).collect()
    }

    /// Those that were taken anew since they were as they are given.
    pub(crate) fn renewed(&self, at: usize, (number, fence): Lease) -> bool {
        let now = self.recipients.get(at).map(|(number, fence)| (*number, fence.load(Relaxed)));
        now.is_some_and(|(same, now)| same == number && now != fence)
    }

    fn keys(&self) -> impl Iterator<Item = Key> {
        self.recipients.iter().map(|(number, _)| (self.message, *number))
    }
}

impl InHand {
    /// If somebody here has a recipient, he has it under this number from now on.
    pub(crate) fn renew(&self, key: Key, fence: i64) -> bool {
        let mut held = self.held();
        let Some(leases) = held.get(&key).and_then(Weak::upgrade) else {
            held.remove(&key);
            return false;
        };
        for (number, known) in &leases.recipients {
            if *number == key.1 {
                known.store(fence, Relaxed);
            }
        }
        true
    }

    /// Somebody here has these from now on, as long as he holds them.
    pub(crate) fn hold(&self, leases: &Arc<Leases>) {
        let mut held = self.held();
        held.extend(leases.keys().map(|key| (key, Arc::downgrade(leases))));
    }

    /// One of them was reported.
    pub(crate) fn release(&self, leases: &Arc<Leases>, number: i64) {
        let key = (leases.message, number);
        let mut held = self.held();
        // It may have been given back and handed out again since.
        if held.get(&key).is_some_and(|weak| std::ptr::eq(weak.as_ptr(), Arc::as_ptr(leases))) {
            held.remove(&key);
        }
    }

    /// Whether anybody here has anything. Forgets what was dropped.
    pub(crate) fn any(&self) -> bool {
        let mut held = self.held();
        held.retain(|_, leases| leases.strong_count() > 0);
        !held.is_empty()
    }

    pub(crate) fn forget_all(&self) {
        self.held().clear();
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Key, Weak<Leases>>> {
        // Nothing that is done under the lock leaves it half done.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: MessageId = MessageId([7; 16]);

    #[test]
    fn held_until_reported_or_dropped() {
        let all = InHand::default();
        let leases = Leases::new(MESSAGE, vec![(0, 5), (1, 9)]);
        assert!(!all.renew((MESSAGE, 0), 6), "nobody has it");
        all.hold(&leases);
        assert!(all.renew((MESSAGE, 0), 6));
        assert_eq!(leases.now(), [(0, 6), (1, 9)]);
        assert!(leases.renewed(0, (0, 5)) && !leases.renewed(0, (0, 6)));
        assert!(!leases.renewed(1, (1, 9)) && !leases.renewed(2, (2, 1)));
        all.release(&leases, 0);
        assert!(!all.renew((MESSAGE, 0), 7));
        assert_eq!(leases.now(), [(0, 6), (1, 9)]);
        assert!(all.any());
        drop(leases);
        assert!(!all.renew((MESSAGE, 1), 10), "who had it is gone");
        assert!(!all.any());
    }

    #[test]
    fn what_was_handed_out_again_is_another_ones() {
        let all = InHand::default();
        let (first, second) =
            (Leases::new(MESSAGE, vec![(0, 1)]), Leases::new(MESSAGE, vec![(0, 2)]));
        all.hold(&first);
        all.release(&first, 0);
        all.hold(&second);
        all.release(&first, 0);
        assert!(all.renew((MESSAGE, 0), 3));
        assert_eq!((first.now(), second.now()), (vec![(0, 1)], vec![(0, 3)]));
    }
}
