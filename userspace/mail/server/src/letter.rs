//! A message with what we write above it.

use bytes::{BufMut, Bytes, BytesMut};

use crate::plan::Plan;

/// A message with what we write above it: `Return-Path` for mailboxes, and below that what everybody gets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Letter {
    whole: Bytes,
    below: usize,
}

impl Letter {
    /// Of a plan, of header fields that everybody gets, and of what came.
    pub(crate) fn new(plan: &Plan, head: &str, message: &[u8]) -> Self {
        let path = plan.return_path();
        let mut whole = BytesMut::with_capacity(path.len() + head.len() + message.len());
        whole.put_slice(path.as_bytes());
        whole.put_slice(head.as_bytes());
        whole.put_slice(message);
        Self { whole: whole.freeze(), below: path.len() }
    }

    /// Of what [`Letter::whole`] gave.
    pub(crate) fn read(whole: Bytes, plan: &Plan) -> Option<Self> {
        let path = plan.return_path();
        whole.starts_with(path.as_bytes()).then_some(Self { whole, below: path.len() })
    }

    /// As it lies in a mailbox.
    pub(crate) fn whole(&self) -> &Bytes {
        &self.whole
    }

    /// As it goes on, with more above it.
    pub(crate) fn passed_on(&self, head: &str) -> Bytes {
        let below = self.whole.slice(self.below..);
        if head.is_empty() {
            return below;
        }
        let mut all = BytesMut::with_capacity(head.len() + below.len());
        all.put_slice(head.as_bytes());
        all.put_slice(&below);
        all.freeze()
    }
}
