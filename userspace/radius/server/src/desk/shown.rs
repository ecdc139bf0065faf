//! What the desk shows of its decisions: to those who follow as it answers, and to whoever asks later why somebody was refused.

use muralla_radius_accounting::export::printable;
use muralla_radius_policy::Refusal;
use muralla_radius_wire::{Packet, kind};

use super::{Desk, Question, milliseconds};
use crate::place::{self, place_of};
use crate::refusals::Note;
use crate::tail::{self, Attributes, Seen, Tailed};

/// What became of a request, for those who follow.
pub(super) struct Shown<'a> {
    pub(super) method: &'a str,
    pub(super) verdict: &'static str,
    pub(super) failure: bool,
    /// The answer; empty if there is none, or none yet.
    pub(super) reply: &'a [u8],
}

impl<'a> Shown<'a> {
    /// There is no answer.
    pub(super) fn dropped(method: &'a str) -> Self {
        Self { method, verdict: "drop", failure: true, reply: &[] }
    }
}

impl Desk {
    /// Keeps a refusal for whoever is asked about it.
    pub(super) fn note(
        &self,
        question: &Question<'_>,
        method: &'static str,
        refusal: &Refusal,
        answered: bool,
    ) {
        let packet = question.packet;
        let mut port = [0; place::ROOM];
        self.refusals.note(&Note {
            at: tail::now(),
            clock: milliseconds(question.since.saturating_duration_since(self.begun)),
            nas: &question.nas.name,
            source: question.source.ip().to_canonical(),
            user: packet.first(kind::USER_NAME).unwrap_or_default(),
            calling_station: packet.first(kind::CALLING_STATION_ID),
            place: place_of(packet, question.source.ip(), &mut port),
            method,
            refusal,
            answered,
        });
    }

    /// Shows a request to those who follow.
    pub(super) fn show(
        &self,
        question: &Question<'_>,
        answer: &Shown<'_>,
        reason: impl FnOnce() -> Option<String>,
    ) {
        let packet = question.packet;
        let seen = Seen {
            user: packet.first(kind::USER_NAME),
            nas: &question.nas.name,
            calling_station: packet.first(kind::CALLING_STATION_ID),
            failure: answer.failure,
        };
        // A terminal obeys what stands between control characters, and the user chose his name.
        let text = |kind| packet.first(kind).map(printable);
        let attributes = || {
            let reply = Packet::parse(answer.reply).ok();
            let reply = reply.map(|reply| reply.attribute_bytes()).unwrap_or_default();
            Attributes::new(&self.base.dictionary(), packet.attribute_bytes(), reply)
        };
        self.tail.show(&seen, |wanted| Tailed {
            at: tail::now(),
            source: question.source,
            nas: question.nas.name.to_string(),
            code: packet.code().name().to_owned(),
            id: packet.id(),
            user: text(kind::USER_NAME),
            calling_station: text(kind::CALLING_STATION_ID),
            called_station: text(kind::CALLED_STATION_ID),
            nas_port: packet.number(kind::NAS_PORT),
            method: answer.method.to_owned(),
            verdict: answer.verdict.to_owned(),
            reason: reason(),
            took: question.since.elapsed(),
            missed: 0,
            attributes: wanted.then(attributes),
        });
    }
}
