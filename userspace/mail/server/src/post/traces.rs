//! What traces are told of messages that were taken over.

use futures_util::future::{BoxFuture, FutureExt};
use muralla_mail_envelope::Envelope;
use muralla_mail_queue::{Event, EventKind};

use super::{Post, Taken};
use crate::clock;
use crate::letter::Letter;
use crate::plan::Plan;

impl Post {
    /// Tells traces what happened. Nobody waits for it.
    pub(crate) fn note(&self, events: Vec<Event>) {
        if self.0.shards.main().is_ok_and(|main| main.is_away()) {
            return;
        }
        let this = self.clone();
        let noting: BoxFuture<'static, ()> = async move {
            if let Ok(queue) = this.0.shards.queue().await {
                events.into_iter().for_each(|event| queue.events().note(event));
            }
        }
        .boxed();
        // A queue that is not open yet hears nothing of it.
        let _ = noting.now_or_never();
    }

    /// What traces tell of a message that came.
    pub(crate) fn note_taken(&self, plan: &Plan, letter: &Letter, taken: Taken) {
        let (kind, text) = match taken {
            Taken::There => (EventKind::Accepted, "it is durable"),
            Taken::Spooled => (EventKind::Spooled, "it waits on this machine's disk"),
        };
        let Envelope { id, from, client, recipients, .. } = &plan.envelope;
        let text = format!("from {} [{}]: {text}", client.helo, client.ip);
        let event = Event::new(*id, kind, text, clock::now()).of(letter.whole(), from.address());
        let events = recipients.iter().map(|recipient| {
            let recipient = Some(recipient.address.to_string());
            Event { recipient, ..event.clone() }
        });
        let mut events: Vec<Event> = events.collect();
        // What goes on has an id of its own, by which it is asked for.
        for parcel in plan.parcels.iter().filter(|parcel| parcel.envelope.id != *id) {
            let event = Event {
                message: parcel.envelope.id,
                // Before it was queued, though that is known later.
                at_ms: plan.envelope.received_at.saturating_mul(1000),
                text: format!("{} as {id}", event.text),
                ..event.clone()
            };
            events.extend(parcel.envelope.recipients.iter().map(|recipient| {
                let recipient = Some(recipient.address.to_string());
                Event { recipient, ..event.clone() }
            }));
        }
        self.note(events);
    }
}
