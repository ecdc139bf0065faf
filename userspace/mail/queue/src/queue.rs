//! The handle: messages come in, reports of them too.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use muralla_database::{Engine, migrate};
use muralla_mail_envelope::{AddressDomain, Envelope, RcptParameters, Reply};
use muralla_mail_store::{Bodies, BodyRow};
use tokio::sync::{Mutex, Notify, mpsc, oneshot};

use crate::batch::{self, Answer, MOST, Step, Task};
use crate::error::QueueError;
use crate::events::{Event, EventKind, Events};
use crate::in_hand::InHand;
use crate::notices::{self, Handed, Notice};
use crate::owners::Owner;
use crate::rows::{MessageRow, RecipientRow, WAITING};
use crate::schedule::Schedule;
use crate::schema::SCHEMA;
use crate::take::Job;

/// A queue. Clones are the same one; it ends with the last of them, when what was handed to it is written.
#[derive(Clone)]
pub struct Queue {
    pub(crate) inner: Arc<Inner>,
}

/// How a queue works.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// Who takes from it: the name of this box and role. Each process of it is another [life](crate::owners).
    pub owner: String,
    /// When messages are tried.
    pub schedule: Schedule,
    /// How long who takes something has it for himself, in seconds: longer than an attempt lasts (RFC 5321 section 4.5.3.2 has ten
    /// minutes for the last reply alone), or he has to [renew](Queue::renew).
    pub lease: i64,
    /// How long what another server queued, or what came due, may go unseen: see [`Queue::woken`].
    pub poll: Duration,
    /// Recipients of one job at most: RFC 5321 section 4.5.3.1.8 lets a server refuse more than a hundred.
    pub recipients: usize,
    /// How long an id is remembered of a message that has left, in seconds: longer than whoever submits tries again.
    pub remember: i64,
    /// How long events are kept, in seconds.
    pub events: i64,
}

impl Options {
    /// The usual ones.
    #[must_use]
    pub fn new(owner: impl Into<String>) -> Self {
        Self {
            owner: owner.into(),
            schedule: Schedule::default(),
            lease: 1200,
            poll: Duration::from_secs(1),
            recipients: 100,
            remember: 7 * 86_400,
            events: 30 * 86_400,
        }
    }
}

/// A message for the queue.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Everything known of it. Its id is queued once, however often it is submitted.
    pub envelope: Envelope,
    /// The message, lines ended by CRLF.
    pub raw: Bytes,
    /// Where each recipient goes, in their order: any names that whoever takes them understands. If there are none, each goes to
    /// the domain of his address.
    pub destinations: Vec<String>,
    /// The account whose mail each recipient gets, in their order, by its number: the one that forwards it there. If there are none,
    /// nobody forwards.
    pub accounts: Vec<Option<i64>>,
    /// Whether its sender may be told what becomes of it. Of a message that anybody could have sent in his name, never.
    pub known: bool,
    /// When it is first tried, in seconds since 1970; at once if none.
    pub due: Option<i64>,
    /// How long it is tried, in seconds, if not as long as others.
    pub lifetime: Option<i64>,
}

impl Submission {
    /// One that goes to the domains of its recipients. Its sender is told only if he proved who he is, or it was made here.
    #[must_use]
    pub fn new(envelope: Envelope, raw: Bytes) -> Self {
        let known = notices::is_known(&envelope);
        Self {
            envelope,
            raw,
            destinations: Vec::new(),
            accounts: Vec::new(),
            known,
            due: None,
            lifetime: None,
        }
    }
}

/// What became of a submission.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Submitted {
    /// It is queued, and durable.
    Queued,
    /// It was queued before, and may have been sent since.
    Again,
}

/// What became of a notice.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Told {
    /// It is queued, or done with.
    Told,
    /// Somebody else did it, or something else became of the recipients meanwhile: forget it.
    Late,
}

/// What became of a recipient.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// He has it, or another server.
    Delivered {
        /// What the server said.
        reply: Reply,
        /// The server's name.
        host: Option<String>,
        /// Who tells the sender.
        handed: Handed,
    },
    /// Not now: tried again later, and counted.
    Temporary {
        /// What the server said.
        reply: Reply,
        /// The server's name.
        host: Option<String>,
    },
    /// Never.
    Permanent {
        /// What the server said, or what we say in its place.
        reply: Reply,
        /// The server's name.
        host: Option<String>,
    },
    /// The destination could not be reached: nothing was learnt of the message, and no attempt is counted.
    Unreachable {
        /// What is known, as a reply: `451 4.4.1 connection refused`.
        reply: Reply,
        /// The last server that was tried.
        host: Option<String>,
    },
    /// It was not tried: the process is ending, or had too much to do.
    Untried,
}

/// What became of a job.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Of each recipient, in the job's order.
    pub outcomes: Vec<Outcome>,
    /// Until when everybody leaves the destination alone, in seconds since 1970.
    pub back_off: Option<i64>,
}

/// What came of a report.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reported {
    /// Recipients, by their place in the job, whose outcome came too late: somebody else has them, or an operator decided
    /// otherwise.
    pub late: Vec<usize>,
    /// Recipients of whom the sender is now to be told: see [`Queue::notices`].
    pub owed: usize,
    /// When the first of those that wait is due, in seconds since 1970.
    pub next: Option<i64>,
}

/// How it went since the process began.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct QueueStatus {
    /// Messages queued.
    pub submitted: u64,
    /// Messages that were queued before.
    pub again: u64,
    /// Recipients delivered.
    pub delivered: u64,
    /// Recipients put off.
    pub deferred: u64,
    /// Recipients that a server refused for good.
    pub failed: u64,
    /// Recipients that failed, refused or expired, of whom nobody could be told, as their messages have no sender, or one that may be
    /// forged, or that takes no mail himself: they are held, for an operator to look at.
    pub untold: u64,
    /// Outcomes that came too late.
    pub late: u64,
    /// Notices queued.
    pub notices: u64,
    /// Transactions that these took.
    pub batches: u64,
    /// What waits to be written.
    pub waiting: u64,
    /// Events that were forgotten.
    pub events_lost: u64,
    /// Transactions that caused a panic: what was in them is tried again by who wanted it.
    pub panics: u64,
}

pub(crate) struct Inner {
    pub(crate) engine: Engine,
    pub(crate) bodies: Bodies,
    pub(crate) options: Options,
    pub(crate) events: Events,
    pub(crate) tasks: mpsc::Sender<Task>,
    pub(crate) counters: Counters,
    pub(crate) due: Notify,
    pub(crate) owner: Owner,
    pub(crate) in_hand: InHand,
    /// Held while something is taken.
    pub(crate) taking: Mutex<()>,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) submitted: AtomicU64,
    pub(crate) again: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) deferred: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) untold: AtomicU64,
    pub(crate) late: AtomicU64,
    pub(crate) notices: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) panics: AtomicU64,
}

/// How often what others were faster at is tried again.
const ATTEMPTS: usize = 5;

/// Longest wait for a place among those who wait.
const PATIENCE: Duration = Duration::from_secs(30);

impl Queue {
    /// Opens the queue in the database of these bodies, and brings its tables up to date; the store's must be there. Within a
    /// runtime of tokio, which its committers live in.
    ///
    /// # Errors
    ///
    /// [`QueueError`].
    pub async fn open(bodies: Bodies, options: Options) -> Result<Self, QueueError> {
        let engine = bodies.engine().clone();
        migrate(&engine, &SCHEMA).await?;
        let events = Events::new(engine.clone());
        let (tasks, receiver) = mpsc::channel(4 * MOST);
        let receiver = Arc::new(Mutex::new(receiver));
        // PostgreSQL commits several at a time; SQLite has one writer.
        let committers = if engine.postgres().is_some() { 2 } else { 1 };
        let inner = Arc::new(Inner {
            owner: Owner::new(options.owner.clone()),
            in_hand: InHand::default(),
            taking: Mutex::new(()),
            engine,
            bodies,
            options,
            events,
            tasks,
            counters: Counters::default(),
            due: Notify::new(),
        });
        for _ in 0..committers {
            let queue: Weak<Inner> = Arc::downgrade(&inner);
            tokio::spawn(batch::commit_tasks(queue, Arc::clone(&receiver)));
        }
        Ok(Self { inner })
    }

    /// Queues a message. When it returns, the message is durable. May be abandoned: then the message is queued or not, and to submit
    /// it again queues it once.
    ///
    /// # Errors
    ///
    /// [`QueueError`]: it isn't queued, as far as is known.
    pub async fn submit(&self, submission: Submission, now: i64) -> Result<Submitted, QueueError> {
        match self.inner.queue(submission, None, now).await? {
            Answer::Again => Ok(Submitted::Again),
            _ => Ok(Submitted::Queued),
        }
    }

    /// Says what became of a job. When it returns, that is durable.
    ///
    /// # Errors
    ///
    /// [`QueueError`]: if it may pass, report again. If it never does, the job is tried again when its lease ends.
    pub async fn report(
        &self,
        job: &Job,
        report: Report,
        now: i64,
    ) -> Result<Reported, QueueError> {
        let recipients = job.leases.len();
        if report.outcomes.len() != recipients {
            let given = report.outcomes.len();
            return Err(QueueError::Count { id: job.message, recipients, given });
        }
        let mut told = Reported::default();
        let mut left: Vec<(usize, Outcome)> = report.outcomes.into_iter().enumerate().collect();
        for _ in 0..ATTEMPTS {
            let leases = job.leases.now();
            let spoken =
                left.iter().filter_map(|(at, said)| Some((*leases.get(*at)?, said.clone())));
            let step = Step::Report(Arc::new(batch::Reporting {
                message: job.message,
                destination: job.destination.clone(),
                outcomes: spoken.collect(),
                back_off: report.back_off,
                chance: rand::random(),
                now,
            }));
            let Answer::Reported(reported) = self.inner.write(step).await? else { break };
            told.owed += reported.owed;
            told.next = told.next.into_iter().chain(reported.next).min();
            if !reported.late.is_empty() {
                // If this process took it anew meanwhile, it did so for this job.
                drop(self.inner.taking.lock().await);
            }
            let mut again = Vec::new();
            for (place, (at, outcome)) in left.into_iter().enumerate() {
                let Some(lease) = leases.get(at) else { continue };
                let late = reported.late.contains(&place);
                if late && job.leases.renewed(at, *lease) {
                    again.push((at, outcome));
                    continue;
                }
                if late {
                    told.late.push(at);
                }
                self.inner.in_hand.release(&job.leases, lease.0);
            }
            left = again;
            if left.is_empty() {
                break;
            }
        }
        told.late.extend(left.into_iter().map(|(at, _)| at));
        Ok(told)
    }

    /// Gives a job back that was not tried.
    ///
    /// # Errors
    ///
    /// [`QueueError`]: it is due again when its lease ends.
    pub async fn give_back(&self, job: &Job, now: i64) -> Result<Reported, QueueError> {
        let outcomes = vec![Outcome::Untried; job.leases.len()];
        self.report(job, Report { outcomes, back_off: None }, now).await
    }

    /// Queues a notice for the sender of a message, and clears what it is about, in one transaction. The submission's id should be
    /// the [notice's](Notice::id), and its sender `<>`.
    ///
    /// # Errors
    ///
    /// [`QueueError`]: it is still owed.
    pub async fn tell(
        &self,
        notice: &Notice,
        submission: Submission,
        now: i64,
    ) -> Result<Told, QueueError> {
        match self.inner.queue(submission, Some(notice), now).await? {
            Answer::Late => Ok(Told::Late),
            _ => Ok(Told::Told),
        }
    }

    /// Clears what a notice is about, as it was brought in another way.
    ///
    /// # Errors
    ///
    /// [`QueueError`]: it is still owed.
    pub async fn settle(&self, notice: &Notice, now: i64) -> Result<Told, QueueError> {
        self.settled(batch::Settling::of(notice, now)).await
    }

    /// Nobody can be told what a notice is about, for that reason: what failed is held for an operator, and counted as
    /// [untold](QueueStatus::untold).
    ///
    /// # Errors
    ///
    /// [`QueueError`]: it is still owed.
    pub async fn settle_untold(
        &self,
        notice: &Notice,
        why: &str,
        now: i64,
    ) -> Result<Told, QueueError> {
        self.settled(batch::Settling::untold(notice, why, now)).await
    }

    async fn settled(&self, settling: batch::Settling) -> Result<Told, QueueError> {
        match self.inner.write(Step::Settle(settling)).await? {
            Answer::Late => Ok(Told::Late),
            _ => Ok(Told::Told),
        }
    }

    /// A message's content.
    ///
    /// # Errors
    ///
    /// [`QueueError`].
    pub async fn content(&self, job: &Job) -> Result<Bytes, QueueError> {
        Ok(self.inner.bodies.get(job.body).await?)
    }

    /// The lives of messages.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.inner.events
    }

    /// The bodies that its own are among.
    #[must_use]
    pub fn bodies(&self) -> &Bodies {
        &self.inner.bodies
    }

    /// Waits until there may be something to [take](Queue::take): at once if this process made something due, and for
    /// [`Options::poll`] at most, as what others queued is seen by looking.
    pub async fn woken(&self) {
        // Whoever is woken looks, whatever woke him.
        let _ = tokio::time::timeout(self.inner.options.poll, self.inner.due.notified()).await;
    }

    /// How it is.
    #[must_use]
    pub fn status(&self) -> QueueStatus {
        let Inner { tasks, counters, events, .. } = &*self.inner;
        QueueStatus {
            submitted: counters.submitted.load(Relaxed),
            again: counters.again.load(Relaxed),
            delivered: counters.delivered.load(Relaxed),
            deferred: counters.deferred.load(Relaxed),
            failed: counters.failed.load(Relaxed),
            untold: counters.untold.load(Relaxed),
            late: counters.late.load(Relaxed),
            notices: counters.notices.load(Relaxed),
            batches: counters.batches.load(Relaxed),
            waiting: tasks.max_capacity().saturating_sub(tasks.capacity()) as u64,
            events_lost: events.lost(),
            panics: counters.panics.load(Relaxed),
        }
    }
}

impl Inner {
    /// Makes a body durable, then its rows.
    async fn queue(
        &self,
        submission: Submission,
        notice: Option<&Notice>,
        now: i64,
    ) -> Result<Answer, QueueError> {
        let raw = submission.raw.clone();
        let id = submission.envelope.id;
        let recipients = submission.envelope.recipients.len();
        if recipients == 0 {
            return Err(QueueError::Nobody(id));
        }
        for given in [submission.destinations.len(), submission.accounts.len()] {
            if given != 0 && given != recipients {
                return Err(QueueError::Count { id, recipients, given });
            }
        }
        let sender = submission.envelope.from.address();
        let mut queued = Event::new(id, EventKind::Queued, String::new(), now).of(&raw, sender);
        queued.text = match recipients {
            1 => format!("{} bytes for one recipient", raw.len()),
            _ => format!("{} bytes for {recipients} recipients", raw.len()),
        };
        let mut attempt = 0;
        let mut rows = None;
        loop {
            let body = self.bodies.put(raw.clone()).await?;
            let coming = match rows.take() {
                Some(rows) => rows,
                None => self.rows(&submission, &body, now)?,
            };
            let (message, recipients) = Arc::unwrap_or_clone(coming);
            let message = MessageRow { body: body.id(), ..message };
            let coming = Arc::new((message, recipients));
            rows = Some(Arc::clone(&coming));
            let step = Step::Queue(Box::new(batch::Queueing {
                id,
                body,
                coming,
                queued: queued.clone(),
                settles: notice.map(|notice| batch::Settling::of(notice, now)),
            }));
            match self.write(step).await {
                Err(error) if error.is_stale() && attempt < ATTEMPTS => attempt += 1,
                answer => return answer,
            }
        }
    }

    fn rows(
        &self,
        submission: &Submission,
        body: &BodyRow,
        now: i64,
    ) -> Result<Arc<(MessageRow, Vec<RecipientRow>)>, QueueError> {
        let Submission { envelope, destinations, accounts, known, due, lifetime, .. } = submission;
        let (mut envelope, known) = (envelope.clone(), *known);
        let id = envelope.id;
        let mut rows = Vec::with_capacity(envelope.recipients.len());
        for (at, recipient) in std::mem::take(&mut envelope.recipients).into_iter().enumerate() {
            let destination = match destinations.get(at) {
                Some(destination) => crate::rows::clean(destination),
                None => destination_of(&recipient.address.domain),
            };
            let said = recipient.parameters != RcptParameters::default();
            let parameters = said.then(|| serde_json::to_string(&recipient.parameters));
            rows.push(RecipientRow {
                address: recipient.address.to_string(),
                parameters: parameters
                    .transpose()
                    .map_err(|error| QueueError::Envelope { id, source: error.into() })?,
                destination,
                state: WAITING,
                due: due.unwrap_or(now),
                attempts: 0,
                tried: None,
                reply: None,
                host: None,
                owner: None,
                fence: 0,
                owed: None,
                account: accounts.get(at).copied().flatten(),
                held_until: None,
            });
        }
        let sender = envelope.from.address().map(ToString::to_string).unwrap_or_default();
        let schedule = &self.options.schedule;
        let begins = due.unwrap_or(now).max(now);
        let expires = match *lifetime {
            Some(lifetime) => begins.saturating_add(lifetime.max(0)),
            None => schedule.expires(begins),
        };
        let tells = known && !sender.is_empty();
        let message = MessageRow {
            envelope: envelope.encode().map_err(|source| QueueError::Envelope { id, source })?,
            body: body.id(),
            size: i64::try_from(body.original()).unwrap_or(i64::MAX),
            sender: sender.to_ascii_lowercase(),
            known,
            created: now,
            expires,
            delay: schedule.delayed(begins).filter(|_| tells),
        };
        Ok(Arc::new((message, rows)))
    }

    /// Has a step written with others.
    async fn write(&self, step: Step) -> Result<Answer, QueueError> {
        let (reply, answer) = oneshot::channel();
        let task = Task { step, reply };
        self.tasks.send_timeout(task, PATIENCE).await.map_err(|refused| match refused {
            mpsc::error::SendTimeoutError::Timeout(_) => QueueError::Busy,
            mpsc::error::SendTimeoutError::Closed(_) => QueueError::Closing,
        })?;
        answer.await.map_err(|_| QueueError::Closing)?
    }
}

/// Where mail for a domain goes, if nobody said otherwise.
fn destination_of(domain: &AddressDomain) -> String {
    domain.to_string()
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Queue({})", self.inner.options.owner)
    }
}

#[cfg(test)]
mod tests;
