//! Tells senders what became of their messages: RFC 3464.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::FutureExt;
use muralla_mail_directory::{BackendId, Target};
use muralla_mail_envelope::dsn::{self, Report};
use muralla_mail_envelope::language::English;
use muralla_mail_envelope::{Address, Client, Domain, Envelope, Recipient, ReversePath};
use muralla_mail_queue::{Notice, Queue, QueueError, Submission, Told};
use tracing::{debug, error, warn};

use crate::clock;
use crate::dkim::Signer;
use crate::plan::Known;
use crate::post::is_outage_of_queue;
use crate::recipients::{Nobody, Recipients};
use crate::routes::Route;

/// Who tells them.
pub(crate) struct Notices {
    pub(crate) recipients: ArcSwap<Recipients>,
    pub(crate) signer: Signer,
    pub(crate) hostname: Domain,
    /// Whom notices come from, as people see it.
    pub(crate) author: Address,
    pub(crate) offset_minutes: i16,
    /// Longest message that goes back whole.
    pub(crate) longest_return: usize,
    /// Notices that caused a panic, since the start.
    pub(crate) panics: AtomicU64,
}

/// How long a message is waited for that can't be read and is to go back, in seconds.
const WAITED_FOR: i64 = 3600;

/// How long a sender is waited for whose address leads astray, in seconds: as long as a message is tried, and as long again for
/// whoever entered it.
const LED_ASTRAY: i64 = 10 * 86_400;

/// Notices that are read at once.
const AT_ONCE: usize = 64;

impl Notices {
    /// Tells everybody who is owed something; how many that were. One who can't be told now keeps nobody else waiting.
    ///
    /// # Errors
    ///
    /// [`QueueError`], if the database is away: the others are told later.
    pub(crate) async fn tell_all(&self, queue: &Queue) -> Result<u64, QueueError> {
        let mut after = None;
        let mut told = 0;
        loop {
            let notices = queue.notices(after, AT_ONCE).await?;
            let Some(last) = notices.last() else { return Ok(told) };
            after = Some(last.message);
            for notice in &notices {
                match AssertUnwindSafe(self.tell(queue, notice)).catch_unwind().await {
                    Ok(Ok(one)) => told += u64::from(one),
                    Ok(Err(error)) if is_outage_of_queue(&error) => return Err(error),
                    Ok(Err(error)) => {
                        warn!(id = %notice.message, %error, "a sender is told later");
                    }
                    Err(_) => {
                        self.panics.fetch_add(1, Relaxed);
                        error!(id = %notice.message, "a notice caused a panic; please report it. Its sender is told later");
                    }
                }
            }
        }
    }

    async fn tell(&self, queue: &Queue, notice: &Notice) -> Result<bool, QueueError> {
        let now = clock::now();
        let (recipients, destinations) = match self.way_to(&notice.to, now) {
            Way::To(recipients, destinations) => (recipients, destinations),
            Way::Astray if now >= ended(notice).saturating_add(LED_ASTRAY) => {
                return give_up(queue, notice, "its sender's address leads astray", now).await;
            }
            Way::Astray | Way::UnknownForNow => {
                debug!(id = %notice.message, to = %notice.to, "a sender is told later, as it is not known where he is");
                return Ok(false);
            }
            Way::Nowhere(why) => return give_up(queue, notice, why, now).await,
        };
        let message = match queue.bodies().get(notice.body).await {
            Ok(message) => message,
            // For a while it is waited for; then he is told without it.
            Err(error) if error.may_pass() && now < ended(notice).saturating_add(WAITED_FOR) => {
                return Err(error.into());
            }
            Err(error) => {
                warn!(id = %notice.message, %error, "a message can't be sent back");
                Bytes::from_static(b"\r\n")
            }
        };
        let report = Report {
            id: notice.id,
            reporting: &self.hostname,
            author: &self.author,
            to: &notice.to,
            message_id: notice.message,
            envid: notice.envelope.mail.envid.as_deref(),
            arrived_at: notice.envelope.received_at,
            ret: notice.envelope.mail.ret,
            smtputf8: notice.envelope.mail.smtputf8,
            fates: &notice.fates,
            message: &message,
            longest_return: self.longest_return,
            now,
            offset_minutes: self.offset_minutes,
            language: &English,
        };
        let Some(built) = dsn::build(&report) else {
            return give_up(queue, notice, "there is nothing to tell", now).await;
        };
        let envelope = Envelope {
            id: notice.id,
            from: ReversePath::Null,
            mail: built.parameters,
            recipients,
            received_at: now,
            client: Client::local(&self.hostname),
        };
        let built_message = Bytes::from(built.message);
        let signed = match self.author.domain() {
            Some(author) => self.signer.sign(author, "", &built_message, now).await,
            None => String::new(),
        };
        let message = match signed.is_empty() {
            true => built_message,
            false => [signed.as_bytes(), &built_message].concat().into(),
        };
        let submission =
            Submission { destinations, known: false, ..Submission::new(envelope, message) };
        Ok(queue.tell(notice, submission, now).await? == Told::Told)
    }

    /// Where a sender's mail goes: nowhere if he is one of ours who is gone.
    fn way_to(&self, to: &Address, now: i64) -> Way {
        let elsewhere =
            |address: &Address| (address.clone(), Route::Domain(address.domain.to_string()));
        let ways = match self.recipients.load().find(to, true, now) {
            Err(Nobody::NotOurs) => vec![elsewhere(to)],
            Err(Nobody::UnknownForNow) => return Way::UnknownForNow,
            Err(Nobody::Astray) => return Way::Astray,
            Err(Nobody::Disabled) => return Way::Nowhere("its sender takes no mail"),
            Err(Nobody::Unknown) => return Way::Nowhere("its sender is gone"),
            Err(Nobody::Forged | Nobody::Unsigned) => {
                return Way::Nowhere("its sender's address is too old, or was not made here");
            }
            Ok(Known::Bounce(to)) => vec![elsewhere(&to)],
            Ok(Known::Targets(targets)) => targets.iter().flat_map(ways).collect(),
        };
        let unzipped: (Vec<Address>, Vec<Route>) = ways.into_iter().unzip();
        let recipients: Vec<Recipient> = unzipped.0.into_iter().map(Recipient::new).collect();
        let destinations = unzipped.1.iter().map(ToString::to_string).collect();
        match recipients.is_empty() {
            true => Way::Nowhere("its sender's mail goes nowhere"),
            false => Way::To(recipients, destinations),
        }
    }
}

/// Nobody can be told: an operator has to know.
async fn give_up(queue: &Queue, notice: &Notice, why: &str, now: i64) -> Result<bool, QueueError> {
    warn!(id = %notice.message, to = %notice.to, why, "nobody can be told what became of a message: what failed of it is held");
    queue.settle_untold(notice, why, now).await?;
    Ok(false)
}

/// When what a notice is about happened.
fn ended(notice: &Notice) -> i64 {
    let last = notice.fates.iter().filter_map(|fate| fate.last_attempt).max();
    last.unwrap_or(notice.envelope.received_at)
}

/// How a sender is told.
enum Way {
    /// These are, each there.
    To(Vec<Recipient>, Vec<String>),
    /// Whether anybody has his address is known when the database is there again.
    UnknownForNow,
    /// What was entered for him leads round in a circle: whoever did so may mend it.
    Astray,
    /// He can't be, as this says.
    Nowhere(&'static str),
}

fn ways(target: &Target) -> Vec<(Address, Route)> {
    let route = |backend: &BackendId| match *backend {
        BackendId::STORE => Route::Store { folder: "Inbox".to_owned() },
        other => Route::Backend(other),
    };
    match target {
        Target::Mailbox { name, backends, .. } => {
            let Some(address) = name.to_address() else { return Vec::new() };
            backends.iter().map(|backend| (address.clone(), route(backend))).collect()
        }
        Target::Backend { backends, address } => {
            backends.iter().map(|backend| (address.clone(), route(backend))).collect()
        }
        Target::Forward { address, .. } => {
            vec![(address.clone(), Route::Domain(address.domain.to_string()))]
        }
    }
}

#[cfg(test)]
mod tests;
