//! Who judges, and what happens when he takes too long or falls over.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use tokio::time::timeout;

use crate::question::{Party, Question};
use crate::verdict::Verdict;

/// Who judges.
pub trait Judge: Send + Sync + 'static {
    /// Judges a message.
    fn judge<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Verdict>;

    /// Learns from a message what it is.
    fn learn<'a>(&'a self, lesson: &'a Lesson) -> BoxFuture<'a, Learned> {
        let _ = lesson;
        async { Learned::NotOffered }.boxed()
    }

    /// Whether he can judge at all. Must not wait.
    fn is_ready(&self) -> bool {
        true
    }
}

/// A message of which somebody says what it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lesson {
    /// Whether it is spam.
    pub spam: bool,
    /// For whom that holds; for all if nobody is named.
    pub user: Option<Party>,
    /// The message, with CRLF for line ends.
    pub message: Bytes,
}

/// What came of a lesson.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Learned {
    /// It is known now.
    Now,
    /// It was known before.
    Before,
    /// It can't be learned from, for this reason.
    Refused(String),
    /// Lessons are not taken here.
    NotOffered,
}

/// How a judgement ended that did not end in a verdict.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Lost {
    Late,
    Panicked,
}

/// Has a message judged. A judge that is late or that panics leaves a message that was not looked at: neither clean nor lost.
pub(crate) async fn judged(
    judge: &dyn Judge,
    question: &Question,
    patience: Duration,
) -> (Verdict, Option<Lost>) {
    // What a panic leaves half done in a judge is his own to contain; nothing of ours is shared with him.
    let judging = AssertUnwindSafe(async { judge.judge(question).await }).catch_unwind();
    let recipients = question.recipients.len();
    match timeout(patience, judging).await {
        Ok(Ok(verdict)) => (verdict, None),
        Ok(Err(_)) => (Verdict::unscanned("the filter failed", recipients), Some(Lost::Panicked)),
        Err(_) => (Verdict::unscanned("the filter took too long", recipients), Some(Lost::Late)),
    }
}
