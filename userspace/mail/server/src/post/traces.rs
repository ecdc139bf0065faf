//! What traces are told of messages that were taken over, and of those that were not.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt};
use muralla_mail_envelope::{Client, Envelope, MessageId, Recipient, ReversePath};
use muralla_mail_queue::{Event, EventKind};
use muralla_smtp::server::{Decision, network_of};
use parking_lot::Mutex;

use super::{Post, Taken};
use crate::clock;
use crate::letter::Letter;
use crate::plan::{Parcel, Plan};

/// A message, or some of its recipients, that somebody was refused.
#[derive(Clone, Copy)]
pub(crate) struct Refused<'a> {
    /// By whom: [`EventKind::Filtered`] or [`EventKind::Refused`].
    pub(crate) kind: EventKind,
    pub(crate) id: MessageId,
    pub(crate) client: &'a Client,
    pub(crate) from: &'a ReversePath,
    pub(crate) recipients: &'a [Recipient],
    /// As far as it came.
    pub(crate) message: &'a [u8],
    /// What was said.
    pub(crate) decision: &'a Decision,
    /// Whether they have a copy of it.
    pub(crate) kept: bool,
}

impl Post {
    /// Tells traces what happened. Nobody waits for it: what can't be told now is counted, and forgotten.
    pub(crate) fn note(&self, events: Vec<Event>) {
        let count = u64::try_from(events.len()).unwrap_or(u64::MAX);
        if !self.try_note(events) {
            self.0.counters.unnoted.fetch_add(count, Relaxed);
        }
    }

    fn try_note(&self, events: Vec<Event>) -> bool {
        if self.0.shards.main().is_ok_and(|main| main.is_away()) {
            return false;
        }
        let this = self.clone();
        let noting: BoxFuture<'static, bool> = async move {
            let Ok(queue) = this.0.shards.queue().await else { return false };
            events.into_iter().for_each(|event| queue.events().note(event));
            true
        }
        .boxed();
        // A queue that is not open yet hears nothing of it.
        noting.now_or_never().unwrap_or(false)
    }

    /// What traces tell of a message that came.
    pub(crate) fn note_taken(&self, plan: &Plan, letter: &Letter, taken: Taken) {
        let (kind, text) = match taken {
            Taken::There => (EventKind::Accepted, "it is durable"),
            Taken::Spooled => (EventKind::Spooled, "it waits on this machine's disk"),
        };
        let event = came(&plan.envelope, letter, kind, text, clock::now());
        let mut events = to_each(&plan.envelope.recipients, &event);
        events.extend(goes_on(&plan.envelope, plan.parcels.iter(), &event));
        match taken {
            Taken::There => self.note(events),
            // What can't be told now is told when it is brought in.
            Taken::Spooled => {
                self.try_note(events);
            }
        }
    }

    /// What traces tell of a message that waited since then, and of which no more than this is left to be done.
    pub(super) fn note_brought(&self, plan: &Plan, rest: &Plan, letter: &Letter, since: i64) {
        let text = "it was kept on this machine's disk";
        let event = came(&plan.envelope, letter, EventKind::Spooled, text, since);
        let is_left = |parcel: &Parcel| {
            rest.parcels.iter().any(|left| left.envelope.id == parcel.envelope.id)
        };
        let gone_on = plan.parcels.iter().filter(|parcel| !is_left(parcel));
        let mut events = goes_on(&plan.envelope, gone_on, &event);
        if rest.is_done() {
            events.extend(to_each(&plan.envelope.recipients, &event));
            let text = "it was brought in from this machine's disk";
            events.push(Event::new(plan.envelope.id, EventKind::Other, text, clock::now()));
        }
        if !events.is_empty() {
            self.note(events);
        }
    }

    /// What traces tell of a recipient whose account is gone since the message was taken.
    pub(super) fn note_gone(&self, envelope: &Envelope, parcel: &Parcel) {
        let queued = parcel.envelope.id;
        let text = format!("nobody has this address any more: it fails in the queue as {queued}");
        let event = Event::new(envelope.id, EventKind::Other, text, clock::now());
        self.note(to_each(&parcel.envelope.recipients, &event));
    }

    /// What traces tell of a message, or recipients, that were refused; unless that came too often lately.
    pub(crate) fn note_refused(&self, refused: &Refused<'_>) {
        let Refused { kind, id, client, from, recipients, message, decision, kept } = *refused;
        let (Decision::Say(reply) | Decision::Close(reply)) = decision else { return };
        let wanted = u32::try_from(recipients.len()).unwrap_or(u32::MAX);
        let rations = &self.0.rations;
        let ration = match kind {
            _ if client.authenticated.is_some() => &rations.users,
            EventKind::Filtered => &rations.filtered,
            _ => &rations.others,
        };
        let given = ration.take(client.ip, wanted, Instant::now());
        let rationed = u64::from(wanted - given);
        self.0.counters.rationed.fetch_add(rationed, Relaxed);
        if given == 0 {
            return;
        }
        let kept = if kept { "; a copy is in Rejects" } else { "" };
        let text = format!("from {} [{}]: {reply}{kept}", client.helo, client.ip);
        let event = Event::new(id, kind, text, clock::now()).of(message, from.address());
        let given = usize::try_from(given).unwrap_or(usize::MAX);
        self.note(to_each(recipients.get(..given).unwrap_or(recipients), &event));
    }
}

/// That a message came.
fn came(envelope: &Envelope, letter: &Letter, kind: EventKind, text: &str, at: i64) -> Event {
    let Envelope { id, from, client, .. } = envelope;
    let text = format!("from {} [{}]: {text}", client.helo, client.ip);
    Event::new(*id, kind, text, at).of(letter.whole(), from.address())
}

/// The same of each recipient.
fn to_each(recipients: &[Recipient], event: &Event) -> Vec<Event> {
    let events = recipients.iter().map(|recipient| {
        let recipient = Some(recipient.address.to_string());
        Event { recipient, ..event.clone() }
    });
    events.collect()
}

/// The same of what goes on: it has an id of its own, by which it is asked for.
fn goes_on<'a>(
    envelope: &Envelope,
    parcels: impl Iterator<Item = &'a Parcel>,
    event: &Event,
) -> Vec<Event> {
    let parcels = parcels.filter(|parcel| parcel.envelope.id != envelope.id);
    let events = parcels.flat_map(|parcel| {
        let event = Event {
            message: parcel.envelope.id,
            // Before it was queued, though that is known later.
            at_ms: envelope.received_at.saturating_mul(1000),
            text: format!("{} as {}", event.text, envelope.id),
            ..event.clone()
        };
        to_each(&parcel.envelope.recipients, &event)
    });
    events.collect()
}

/// How much of what is refused traces are told, so that nobody fills the database by being refused again and again: who guesses
/// addresses leaves theirs to users, and to those who ask why the filter refused them.
#[derive(Debug, Default)]
pub(super) struct Rations {
    users: Ration,
    filtered: Ration,
    others: Ration,
}

#[derive(Debug, Default)]
struct Ration(Mutex<Rationed>);

#[derive(Debug, Default)]
struct Rationed {
    began: Option<Instant>,
    all: u32,
    /// By networks: no more than were given something.
    sources: HashMap<IpAddr, u32>,
}

/// How long a ration is for.
const WHILE: Duration = Duration::from_secs(60);

/// Recipients that traces are told of in this time: refused to one source, and to all. All that are given in a month take about a
/// gigabyte and a half.
const EACH: u32 = 10;
const ALL: u32 = 60;

impl Ration {
    /// How many of so many are told of.
    fn take(&self, source: IpAddr, wanted: u32, now: Instant) -> u32 {
        let mut this = self.0.lock();
        if this.began.is_none_or(|began| now.saturating_duration_since(began) >= WHILE) {
            *this = Rationed { began: Some(now), ..Rationed::default() };
        }
        let network = network_of(source);
        let had = this.sources.get(&network).copied().unwrap_or(0);
        let given = wanted.min(EACH.saturating_sub(had)).min(ALL.saturating_sub(this.all));
        if given > 0 {
            this.all += given;
            this.sources.insert(network, had + given);
        }
        given
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_rationed() {
        let (ration, now) = (Ration::default(), Instant::now());
        let source = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(ration.take(source("192.0.2.1"), 4, now), 4);
        assert_eq!(ration.take(source("::ffff:192.0.2.1"), 100, now), EACH - 4);
        assert_eq!(ration.take(source("192.0.2.1"), 1, now), 0);
        assert_eq!(ration.take(source("2001:db8::1"), EACH, now), EACH);
        assert_eq!(ration.take(source("2001:db8::2"), 1, now), 0, "it is the same network");
        assert_eq!(ration.take(source("2001:db8:0:1::1"), 1, now), 1);
        // A flood of sources.
        let flood = (0..10_000_u32).map(|number| IpAddr::V4((0x0a00_0000 + number).into()));
        let given: u32 = flood.map(|source| ration.take(source, 1, now)).sum();
        assert_eq!(given, ALL - 2 * EACH - 1);
        assert!(ration.0.lock().sources.len() <= ALL as usize);
        assert_eq!(ration.take(source("192.0.2.9"), 1, now + WHILE / 2), 0);
        assert_eq!(ration.take(source("192.0.2.9"), 1, now + WHILE), 1);
    }
}
