//! What is away, and what was only asked in vain.

use std::sync::Arc;

use muralla_database::DatabaseError;
use muralla_mail_queue::QueueError;
use muralla_mail_store::{BodyError, StoreError};

use crate::shards::Shard;

/// What a store said: whether it may pass, and its words. Who does not answer is not asked again for a while.
pub(super) fn said(shard: &Arc<Shard>, error: &StoreError) -> (bool, String) {
    if is_outage(error) {
        shard.failed(error);
    }
    (error.may_pass(), error.to_string())
}

/// Whether the engine or the packs are away, and not only what was asked of them.
pub(crate) fn is_outage(error: &StoreError) -> bool {
    match error {
        StoreError::Database(error) => error.is_away(),
        StoreError::Body(error) => is_outage_of_bodies(error),
        StoreError::Together(error) => is_outage(error),
        _ => false,
    }
}

fn is_outage_of_bodies(error: &BodyError) -> bool {
    match error {
        BodyError::Database(error) => DatabaseError::is_away(error),
        BodyError::Pack(error) => error.may_pass(),
        _ => false,
    }
}

pub(super) fn is_outage_of_queue(error: &QueueError) -> bool {
    match error {
        QueueError::Database(error) => error.is_away(),
        QueueError::Body(error) => is_outage_of_bodies(error),
        QueueError::Together(error) => is_outage_of_queue(error),
        _ => false,
    }
}
