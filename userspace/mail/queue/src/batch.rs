//! What waits to be written, many in one transaction: messages that come, reports, notices.
//!
//! Rows are locked in one order, so that two transactions don't wait for each other: messages by their id, with their
//! recipients; destinations by their name; then bodies, parts and packs, as the store does.

use std::collections::{BTreeSet, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use futures_util::FutureExt;
use muralla_database::{Value, Work};
use muralla_mail_envelope::MessageId;
use muralla_mail_store::BodyRow;
use tokio::sync::{Mutex, mpsc, oneshot};
use tracing::{error, warn};

use crate::error::{QueueError, again};
use crate::events::{Event, EventKind};
use crate::in_hand::Lease;
use crate::notices::{Happened, Notice, Owed};
use crate::queue::{Inner, Outcome, Reported};
use crate::rows::{Locked, MessageRow, OVER, RecipientRow, WAITING, message_id};

/// Steps in one transaction at most.
pub(crate) const MOST: usize = 256;

/// A step and who waits for it.
pub(crate) struct Task {
    pub(crate) step: Step,
    pub(crate) reply: oneshot::Sender<Result<Answer, QueueError>>,
}

pub(crate) type Tasks = Arc<Mutex<mpsc::Receiver<Task>>>;

/// What is to be written.
pub(crate) enum Step {
    Queue(Box<Queueing>),
    Report(Arc<Reporting>),
    Settle(Settling),
    /// What a test brings a committer down with.
    #[cfg(test)]
    Panic,
}

/// A message whose body is durable.
pub(crate) struct Queueing {
    pub(crate) id: MessageId,
    pub(crate) body: BodyRow,
    pub(crate) coming: Arc<(MessageRow, Vec<RecipientRow>)>,
    pub(crate) queued: Event,
    /// What it tells somebody of.
    pub(crate) settles: Option<Settling>,
}

/// What became of a job.
pub(crate) struct Reporting {
    pub(crate) message: MessageId,
    pub(crate) destination: String,
    pub(crate) outcomes: Vec<(Lease, Outcome)>,
    pub(crate) back_off: Option<i64>,
    pub(crate) chance: u32,
    pub(crate) now: i64,
}

/// A notice that is done with.
pub(crate) struct Settling {
    message: MessageId,
    about: Vec<(i64, Owed)>,
    /// Why nobody can be told, if so.
    untold: Option<String>,
    now: i64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Done,
    Again,
    Late,
    Reported(Reported),
}

impl Settling {
    pub(crate) fn of(notice: &Notice, now: i64) -> Self {
        Self { message: notice.message, about: notice.about.clone(), untold: None, now }
    }

    /// Of one that nobody can be told.
    pub(crate) fn untold(notice: &Notice, why: &str, now: i64) -> Self {
        Self { untold: Some(why.to_owned()), ..Self::of(notice, now) }
    }
}

impl Step {
    /// The message that is changed, and not made.
    fn about(&self) -> Option<MessageId> {
        match self {
            Self::Queue(queueing) => queueing.settles.as_ref().map(|settling| settling.message),
            Self::Report(reporting) => Some(reporting.message),
            Self::Settle(settling) => Some(settling.message),
            #[cfg(test)]
            Self::Panic => panic!("a step of a test"),
        }
    }

    fn now(&self) -> i64 {
        match self {
            Self::Queue(queueing) => queueing.coming.0.created,
            Self::Report(reporting) => reporting.now,
            Self::Settle(settling) => settling.now,
            #[cfg(test)]
            Self::Panic => 0,
        }
    }
}

/// Takes what waits and writes it, until nobody can give anything any more.
pub(crate) async fn commit_tasks(queue: Weak<Inner>, tasks: Tasks) {
    loop {
        let mut batch = Vec::new();
        {
            // Another committer gathers the next batch while this one commits.
            let mut tasks = tasks.lock().await;
            if tasks.recv_many(&mut batch, MOST).await == 0 {
                return;
            }
        }
        // Whoever waits for an answer holds the queue.
        let Some(queue) = queue.upgrade() else { return };
        queue.counters.batches.fetch_add(1, Relaxed);
        queue.commit(batch).await;
    }
}

impl Inner {
    async fn commit(&self, batch: Vec<Task>) {
        let (mut steps, replies): (Vec<Step>, Vec<_>) =
            batch.into_iter().map(|task| (task.step, task.reply)).unzip();
        let error = match self.commit_together(&steps).await {
            Ok(answers) => {
                for (reply, answer) in replies.into_iter().zip(answers) {
                    // One who waited may have gone.
                    let _ = reply.send(Ok(answer));
                }
                return;
            }
            Err(error) => error,
        };
        let error = Arc::new(error);
        if error.is_away() || steps.len() == 1 && !error.is_refused() {
            for reply in replies {
                let _ = reply.send(Err(QueueError::Together(Arc::clone(&error))));
            }
            return;
        }
        // One of them can't be written; the others must not suffer for it.
        warn!(%error, steps = steps.len(), "what was to be queued is written one by one");
        for (step, reply) in steps.drain(..).zip(replies) {
            let step = [step];
            let mut answer = self.commit_together(&step).await;
            // Another process may have queued the same message at the same moment: now it is seen.
            if answer.as_ref().is_err_and(QueueError::is_refused) {
                answer = self.commit_together(&step).await;
            }
            let answer = answer.map(|answers| answers.into_iter().next().unwrap_or(Answer::Done));
            let _ = reply.send(answer);
        }
    }

    async fn commit_together(&self, steps: &[Step]) -> Result<Vec<Answer>, QueueError> {
        // What one of them brings down must not take the others along, nor whoever commits what comes next.
        let caught = AssertUnwindSafe(async { again!(self.transaction(steps)) }).catch_unwind();
        let answers = caught.await.unwrap_or_else(|_| {
            self.counters.panics.fetch_add(1, Relaxed);
            error!(steps = steps.len(), "what was to be queued caused a panic; please report it");
            Err(QueueError::Panicked)
        })?;
        let mut woken = false;
        for (step, answer) in steps.iter().zip(&answers) {
            woken |= self.count(step, answer);
        }
        if woken {
            self.due.notify_one();
        }
        Ok(answers)
    }

    async fn transaction(&self, steps: &[Step]) -> Result<Vec<Answer>, QueueError> {
        let changed: BTreeSet<MessageId> = steps.iter().filter_map(Step::about).collect();
        let now = steps.iter().map(Step::now).max().unwrap_or(0);
        let mut work = self.engine.write().await?;
        let mut locked = Locked::take(&mut work, &changed).await?;
        let mut known = known(&mut work, steps).await?;
        let (mut messages, mut recipients, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
        let mut answers = Vec::with_capacity(steps.len());
        for step in steps {
            answers.push(match step {
                Step::Report(reporting) => {
                    Answer::Reported(self.report_one(&mut locked, reporting))
                }
                Step::Settle(settling) => settle(&mut locked, settling),
                #[cfg(test)]
                Step::Panic => Answer::Done,
                Step::Queue(queueing) => {
                    let settled = match &queueing.settles {
                        Some(settling) => settle(&mut locked, settling),
                        None => Answer::Done,
                    };
                    if matches!(settled, Answer::Late) {
                        Answer::Late
                    } else if !known.insert(queueing.id) {
                        Answer::Again
                    } else {
                        let (message, rows) = &*queueing.coming;
                        messages.push(message.values(queueing.id));
                        for (number, row) in (0..).zip(rows) {
                            recipients.push(row.values((queueing.id, number)));
                            locked.lanes.due(&row.destination, row.due);
                        }
                        locked.events.push(queueing.queued.clone());
                        bodies.push((queueing.body.clone(), 1));
                        Answer::Done
                    }
                }
            });
        }
        let rest = locked.write(&mut work, now).await?;
        let head = format!("INSERT INTO mail_queue ({})", MessageRow::COLUMNS);
        work.bulk(&head, "", 9, messages).await?;
        let head = format!("INSERT INTO mail_queue_recipient ({})", RecipientRow::COLUMNS);
        work.bulk(&head, "", RecipientRow::WIDTH, recipients).await?;
        let untold = rest.write(&mut work, &self.bodies).await?;
        if !bodies.is_empty() {
            self.bodies.insert(&mut work, &bodies).await?;
        }
        work.commit().await?;
        self.counters.untold.fetch_add(untold, Relaxed);
        Ok(answers)
    }

    /// What became of one job.
    fn report_one(&self, locked: &mut Locked, reporting: &Reporting) -> Reported {
        let Reporting { message, destination, outcomes, back_off, chance, now } = reporting;
        let mut reported = Reported::default();
        if let Some(until) = back_off {
            locked.lanes.back_off(destination, *until);
        }
        for (at, (lease, outcome)) in outcomes.iter().enumerate() {
            let key = (*message, lease.0);
            let row = locked.recipient(key).filter(|row| {
                // The number says whose it is: it rose if somebody else took it since.
                row.fence == lease.1 && row.owner.is_some() && row.state != OVER
            });
            let (Some(mut row), Some(about)) = (row.cloned(), locked.messages.get(message)) else {
                reported.late.push(at);
                continue;
            };
            let expires = about.expires;
            row.owner = None;
            match outcome {
                Outcome::Delivered { reply, host, handed } => {
                    let owed = about.owes(&row, Happened::Delivered(*handed));
                    row.say(reply, host.as_deref(), *now);
                    let text = said(reply, host.as_deref());
                    locked.event(*message, EventKind::Delivered, Some(&row), text, *now);
                    reported.owed += usize::from(owed.is_some());
                    locked.end(key, row, owed);
                    continue;
                }
                Outcome::Permanent { reply, host } => {
                    row.say(reply, host.as_deref(), *now);
                    let text = said(reply, host.as_deref());
                    reported.owed += usize::from(about.owes(&row, Happened::Failed).is_some());
                    locked.fail(key, row, &text, *now);
                    continue;
                }
                Outcome::Untried => row.due = *now,
                Outcome::Temporary { reply, host } => {
                    row.attempts = row.attempts.saturating_add(1);
                    row.say(reply, host.as_deref(), *now);
                    let schedule = &self.options.schedule;
                    match schedule.next(row.attempts, expires, *now, *chance) {
                        Some(due) => row.due = due,
                        None => row.due = i64::MAX,
                    }
                }
                Outcome::Unreachable { reply, host } => {
                    row.say(reply, host.as_deref(), *now);
                    let later = now.saturating_add(UNREACHED).max(back_off.unwrap_or(0));
                    row.due = if *now >= expires { i64::MAX } else { later.min(expires) };
                }
            }
            // Whoever holds it knows why: it doesn't expire meanwhile.
            if row.due == i64::MAX && row.state == WAITING {
                reported.owed += usize::from(about.owes(&row, Happened::Failed).is_some());
                locked.fail(key, row, EXPIRED, *now);
                continue;
            }
            row.due = row.due.min(expires.max(*now));
            if let Outcome::Temporary { reply, host } | Outcome::Unreachable { reply, host } =
                outcome
            {
                let text = said(reply, host.as_deref());
                locked.event(*message, EventKind::Deferred, Some(&row), text, *now);
            }
            if row.state == WAITING {
                locked.lanes.due(&row.destination, row.due);
                reported.next = Some(reported.next.map_or(row.due, |next| next.min(row.due)));
            }
            locked.change(key, row);
        }
        reported
    }

    /// Counts it. Tells whether something may be due.
    fn count(&self, step: &Step, answer: &Answer) -> bool {
        let counters = &self.counters;
        match (step, answer) {
            (Step::Queue(queueing), Answer::Done) => {
                counters.submitted.fetch_add(1, Relaxed);
                if queueing.settles.is_some() {
                    counters.notices.fetch_add(1, Relaxed);
                }
                true
            }
            (Step::Queue(_), Answer::Again) => {
                counters.again.fetch_add(1, Relaxed);
                false
            }
            (Step::Report(reporting), Answer::Reported(reported)) => {
                counters.late.fetch_add(reported.late.len() as u64, Relaxed);
                let mut woken = false;
                for (at, (_, outcome)) in reporting.outcomes.iter().enumerate() {
                    if reported.late.contains(&at) {
                        continue;
                    }
                    let counter = match outcome {
                        Outcome::Delivered { .. } => &counters.delivered,
                        Outcome::Permanent { .. } => &counters.failed,
                        Outcome::Temporary { .. } | Outcome::Unreachable { .. } => {
                            &counters.deferred
                        }
                        Outcome::Untried => {
                            woken = true;
                            continue;
                        }
                    };
                    counter.fetch_add(1, Relaxed);
                }
                woken
            }
            _ => false,
        }
    }
}

/// What a sender reads if a message has expired.
pub(crate) const EXPIRED: &str = "it was tried for as long as it may be";

/// After how long what could not be reached is due again at the earliest, in seconds.
const UNREACHED: i64 = 30;

fn said(reply: &muralla_mail_envelope::Reply, host: Option<&str>) -> String {
    match host {
        Some(host) => format!("{host}: {reply}"),
        None => reply.to_string(),
    }
}

/// Clears what a notice is about; or nothing of it, if something of it is otherwise by now.
fn settle(locked: &mut Locked, settling: &Settling) -> Answer {
    let Settling { message, about, untold, now } = settling;
    let is_owed = |(number, owed): &(i64, Owed)| {
        locked.recipient((*message, *number)).is_some_and(|row| row.owed == Some(*owed))
    };
    if !about.iter().all(is_owed) {
        return Answer::Late;
    }
    for (number, owed) in about {
        let key = (*message, *number);
        let Some(row) = locked.recipient(key).cloned() else { continue };
        locked.settle(key, row, *owed, untold.as_deref(), *now);
    }
    Answer::Done
}

/// Those of the messages to be queued that are, or were.
async fn known(work: &mut Work, steps: &[Step]) -> Result<HashSet<MessageId>, QueueError> {
    let ids: Vec<Value> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Queue(queueing) => Some(queueing.id.as_bytes().as_slice().into()),
            _ => None,
        })
        .collect();
    let mut known = HashSet::new();
    for sql in [
        "SELECT id FROM mail_queue WHERE id IN ({})",
        "SELECT id FROM mail_queue_done WHERE id IN ({})",
    ] {
        work.each_in(sql, &[], &ids, |row| {
            known.insert(message_id(&row, 0)?);
            Ok(())
        })
        .await?;
    }
    Ok(known)
}
