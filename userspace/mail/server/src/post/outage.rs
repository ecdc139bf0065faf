//! Why something is not done: whether it is done later, and whose fault it is if not.

use std::sync::Arc;

use muralla_database::DatabaseError;
use muralla_mail_queue::QueueError;
use muralla_mail_store::{BodyError, PackError, StoreError};

use super::Fate;
use crate::shards::Shard;

/// Whose fault it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    /// Nobody's, or the operator's, who mends it: the same is done later.
    Passing,
    /// The message's.
    Message,
    /// Ours: no other message has it, and nobody can tell its sender anything that would help him.
    Ours,
}

/// What becomes of what a store refused.
pub(super) fn of_store(shard: &Arc<Shard>, error: &StoreError) -> Fate {
    if is_outage(error) {
        shard.failed(error);
    }
    fate(store_fault(error), error.to_string())
}

/// What becomes of what the queue refused.
pub(super) fn of_queue(shard: &Arc<Shard>, error: &QueueError) -> Fate {
    if is_outage_of_queue(error) {
        shard.failed(error);
    }
    fate(queue_fault(error), error.to_string())
}

fn fate(fault: Fault, why: String) -> Fate {
    match fault {
        Fault::Passing => Fate::Later(why),
        Fault::Message => Fate::Never(why),
        Fault::Ours => Fate::Fault(why),
    }
}

fn database_fault(error: &DatabaseError) -> Fault {
    match error {
        DatabaseError::Refused(_) | DatabaseError::Row(_) => Fault::Ours,
        _ => Fault::Passing,
    }
}

fn body_fault(error: &BodyError) -> Fault {
    match error {
        BodyError::Database(error) => database_fault(error),
        BodyError::TooLarge { .. } => Fault::Message,
        BodyError::Missing(_) | BodyError::Damaged { .. } => Fault::Ours,
        // Packs that are not there, or not as they must be, are somebody's to mend.
        BodyError::Pack(_) | BodyError::Stale | BodyError::Closing => Fault::Passing,
    }
}

fn store_fault(error: &StoreError) -> Fault {
    match error {
        StoreError::Body(error) => body_fault(error),
        StoreError::Database(error) => database_fault(error),
        StoreError::Together(error) => store_fault(error),
        other if other.may_pass() => Fault::Passing,
        _ => Fault::Ours,
    }
}

fn queue_fault(error: &QueueError) -> Fault {
    match error {
        QueueError::Body(error) => body_fault(error),
        QueueError::Database(error) => database_fault(error),
        QueueError::Together(error) => queue_fault(error),
        // It may pass; but if not, it must not come again and again.
        QueueError::Panicked => Fault::Ours,
        other if other.may_pass() => Fault::Passing,
        _ => Fault::Ours,
    }
}

/// Whether a bucket did not take what was to be written. What is wrong with a disk, or full, is said at once, and keeps nobody waiting.
pub(crate) fn is_of_packs(error: &StoreError) -> bool {
    match error {
        StoreError::Body(BodyError::Pack(PackError::Bucket { .. })) => true,
        StoreError::Together(error) => is_of_packs(error),
        _ => false,
    }
}

/// The same of the queue.
pub(crate) fn is_of_packs_of_queue(error: &QueueError) -> bool {
    match error {
        QueueError::Body(BodyError::Pack(PackError::Bucket { .. })) => true,
        QueueError::Together(error) => is_of_packs_of_queue(error),
        _ => false,
    }
}

/// Whether the connection to the database failed, and not only what was asked over it. A pack that can't be read or written is no such
/// failure: others can.
pub(crate) fn is_outage(error: &StoreError) -> bool {
    match error {
        StoreError::Database(error) | StoreError::Body(BodyError::Database(error)) => {
            error.is_away()
        }
        StoreError::Together(error) => is_outage(error),
        _ => false,
    }
}

/// The same of the queue.
pub(crate) fn is_outage_of_queue(error: &QueueError) -> bool {
    match error {
        QueueError::Database(error) | QueueError::Body(BodyError::Database(error)) => {
            error.is_away()
        }
        QueueError::Together(error) => is_outage_of_queue(error),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use muralla_mail_envelope::MessageId;
    use muralla_mail_store::{Account, BodyId};

    use super::*;

    fn disk() -> PackError {
        PackError::Disk {
            what: "reading",
            place: "the packs".to_owned(),
            source: io::Error::other("bad sector"),
        }
    }

    #[test]
    fn a_message_is_refused_for_good_for_its_own_fault_alone() {
        let large = || BodyError::TooLarge { size: 9, most: 8 };
        for (error, fault) in [
            (StoreError::Body(large()), Fault::Message),
            (StoreError::Together(Arc::new(StoreError::Body(large()))), Fault::Message),
            (StoreError::Body(BodyError::Missing(BodyId(7))), Fault::Ours),
            (StoreError::Database(DatabaseError::Row("x".to_owned())), Fault::Ours),
            (StoreError::TooManyFolders, Fault::Ours),
            (StoreError::Database(DatabaseError::Slow(5, "a look")), Fault::Passing),
            (StoreError::Database(DatabaseError::Newer { found: 2, known: 1 }), Fault::Passing),
            (StoreError::Body(disk().into()), Fault::Passing),
            (StoreError::Body(PackError::Gone("0".to_owned()).into()), Fault::Passing),
            (StoreError::Leaving(Account(1)), Fault::Passing),
            (StoreError::Busy, Fault::Passing),
        ] {
            assert_eq!(store_fault(&error), fault, "{error}");
        }
        for (error, fault) in [
            (QueueError::Body(large()), Fault::Message),
            (QueueError::Nobody(MessageId([7; 16])), Fault::Ours),
            (QueueError::Busy, Fault::Passing),
            (QueueError::Together(Arc::new(QueueError::Closing)), Fault::Passing),
        ] {
            assert_eq!(queue_fault(&error), fault, "{error}");
        }
    }

    #[test]
    fn only_a_bucket_keeps_waiting() {
        let bucket = || {
            let (place, reason) = ("a bucket".to_owned(), "503 Slow Down".to_owned());
            PackError::Bucket { what: "writing a pack", place, reason }
        };
        assert!(is_of_packs(&StoreError::Body(bucket().into())));
        assert!(is_of_packs(&StoreError::Together(Arc::new(StoreError::Body(bucket().into())))));
        assert!(is_of_packs_of_queue(&QueueError::Body(bucket().into())));
        for error in [disk(), PackError::Full("a disk".to_owned()), PackError::Closed] {
            assert!(!is_of_packs(&StoreError::Body(error.into())));
        }
        assert!(!is_of_packs(&StoreError::Busy) && !is_of_packs_of_queue(&QueueError::Busy));
    }

    #[test]
    fn only_a_connection_that_fails_is_an_outage() {
        let slow = || DatabaseError::Slow(5, "a look");
        assert!(is_outage(&StoreError::Database(slow())));
        assert!(is_outage(&StoreError::Together(Arc::new(StoreError::Body(slow().into())))));
        assert!(is_outage_of_queue(&QueueError::Database(slow())));
        for error in [StoreError::Body(disk().into()), StoreError::Busy] {
            assert!(!is_outage(&error), "{error}");
        }
        for error in [QueueError::Body(disk().into()), QueueError::Busy] {
            assert!(!is_outage_of_queue(&error), "{error}");
        }
    }
}
