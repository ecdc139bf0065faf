//! A message that was read once, as the learners see it.

use muralla_filter_anatomy::disguise::folded;
use muralla_filter_anatomy::part::Role;
use muralla_filter_anatomy::{Anatomy, Limits};
use muralla_filter_statistics::Text;

use crate::reason::{Reason, Stage};

/// What is kept of a text for the learners, in octets: they look at less.
const MOST_TEXT: usize = 64 << 10;

/// What the learners see of a message.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reading {
    fields: Vec<(String, String)>,
    body: String,
    clear: String,
    markup: String,
    extra: Vec<String>,
}

impl Reading {
    /// Reads what was read once, with what is odd about it.
    #[must_use]
    pub fn of(anatomy: &Anatomy<'_>, reasons: &[Reason], limits: &Limits) -> Self {
        let mut body = String::new();
        let pages = anatomy.pages.iter().filter(|page| !page.attached);
        for text in pages.map(|page| page.visible.as_str()).chain([anatomy.plain.as_str()]) {
            let room = MOST_TEXT.saturating_sub(body.len());
            let end = text.floor_char_boundary(room.min(text.len()));
            body.push_str(text.get(..end).unwrap_or_default());
            body.push('\n');
        }
        // What was meant, beside what stands there: only where the two differ, so that honest words don't count twice.
        let clear = if anatomy.disguise.is_empty() { String::new() } else { folded(&body) };
        let parts = anatomy.parts.iter().filter(|part| part.role == Role::Attachment);
        let mut extra: Vec<String> = parts.map(|part| format!("part:{}", part.media)).collect();
        // What depends on who receives it, or when, says nothing of the next message.
        let structure = reasons.iter().filter(|reason| reason.stage == Stage::Structure);
        extra.extend(structure.map(|reason| format!("odd:{}", reason.name)));
        Self {
            fields: anatomy.decoded_fields(limits),
            body,
            clear,
            markup: anatomy.markup(MOST_TEXT),
            extra,
        }
    }

    /// Hands it to somebody who judges.
    pub fn with_text<T>(&self, judge: impl FnOnce(&Text<'_>) -> T) -> T {
        let fields: Vec<(&str, &str)> =
            self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let extra: Vec<&str> = self.extra.iter().map(String::as_str).collect();
        judge(&Text {
            fields: &fields,
            body: &self.body,
            clear: &self.clear,
            markup: &self.markup,
            extra: &extra,
        })
    }
}
