//! What is judged, and which of its header fields count.

/// A message as the learners see it: read, decoded and cut by whoever parsed it.
///
/// Nothing of it need be well-formed, and all of it may be hostile; what is longer than [`Parameters`](crate::Parameters) say
/// is cut.
#[derive(Clone, Copy, Debug, Default)]
pub struct Text<'a> {
    /// Header fields in the order of the message: name as written, value unfolded and decoded. All of them may be given: those
    /// that receivers write, or that say more of a corpus than of a sender, are left out here.
    pub fields: &'a [(&'a str, &'a str)],
    /// What a reader sees, as it was written.
    pub body: &'a str,
    /// What a reader sees once tricks with letters are undone. Empty if that is the same as the body.
    pub clear: &'a str,
    /// The HTML of the message, if it has any.
    pub markup: &'a str,
    /// What other stages noticed: short names such as `struct:html-only`.
    pub extra: &'a [&'a str],
}

/// Fields that are looked at, and of these the ones that are read.
const MOST_FIELDS: (usize, usize) = (1000, 100);

impl<'a> Text<'a> {
    /// The fields that count: names, values, ordinals in [`FIELDS`].
    pub(crate) fn known_fields(
        &self,
    ) -> impl Iterator<Item = (&'a str, &'a str, usize, &'static Field)> {
        let (looked_at, read) = MOST_FIELDS;
        let known = |&(name, value): &(&'a str, &'a str)| {
            known(name).map(|(ordinal, field)| (name, value, ordinal, field))
        };
        self.fields.iter().take(looked_at).filter_map(known).take(read)
    }
}

/// What of a field's value counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Treatment {
    /// Its words.
    Words,
    /// Its words and its addresses.
    Addresses,
    /// How many there are and how they are written, but not who they are: that is the receiver.
    Recipients,
    /// Its parameters.
    Media,
    /// Which program it says it was, without its version.
    Software,
    /// How a date is written, and in which time zone.
    Date,
    /// How an identifier is composed, but not the machine that gave it.
    Identifier,
    /// That it is there.
    Presence,
}

/// A header field that counts.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) treatment: Treatment,
}

/// The first of [`FIELDS`], of which users have opinions.
pub(crate) const PERSONAL_FIELDS: usize = 4;

/// The fields that count. A list of what is let in, since everybody on a message's way invents fields of his own, and a
/// learner that sees them learns who received its lessons.
pub(crate) const FIELDS: &[Field] = &[
    field("subject", Treatment::Words),
    field("from", Treatment::Addresses),
    field("reply-to", Treatment::Addresses),
    field("sender", Treatment::Addresses),
    field("to", Treatment::Recipients),
    field("cc", Treatment::Recipients),
    field("date", Treatment::Date),
    field("message-id", Treatment::Identifier),
    field("content-type", Treatment::Media),
    field("content-disposition", Treatment::Media),
    field("content-transfer-encoding", Treatment::Words),
    field("mime-version", Treatment::Words),
    field("x-mailer", Treatment::Software),
    field("user-agent", Treatment::Software),
    field("x-mimeole", Treatment::Software),
    field("x-priority", Treatment::Words),
    field("x-msmail-priority", Treatment::Words),
    field("importance", Treatment::Words),
    field("priority", Treatment::Words),
    field("precedence", Treatment::Words),
    field("organization", Treatment::Words),
    field("auto-submitted", Treatment::Words),
    field("content-language", Treatment::Words),
    field("in-reply-to", Treatment::Presence),
    field("references", Treatment::Presence),
    field("list-id", Treatment::Presence),
    field("list-unsubscribe", Treatment::Presence),
    field("list-unsubscribe-post", Treatment::Presence),
    field("feedback-id", Treatment::Presence),
    field("disposition-notification-to", Treatment::Presence),
    field("x-originating-ip", Treatment::Presence),
    field("thread-index", Treatment::Presence),
    field("thread-topic", Treatment::Presence),
    field("dkim-signature", Treatment::Presence),
    field("comments", Treatment::Presence),
    field("mail-followup-to", Treatment::Presence),
    field("bcc", Treatment::Presence),
];

const fn field(name: &'static str, treatment: Treatment) -> Field {
    Field { name, treatment }
}

/// The field's ordinal in the table, if it counts.
fn known(name: &str) -> Option<(usize, &'static Field)> {
    FIELDS.iter().enumerate().find(|(_, field)| field.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn what_receivers_write_does_not_count() {
        for name in [
            "Received",
            "Delivered-To",
            "Return-Path",
            "X-MS-Exchange-Organization-SCL",
            "X-Forefront-Antispam-Report",
            "Authentication-Results",
            "ARC-Seal",
            "X-Spam-Status",
            "Status",
            "X-Status",
            "X-Keywords",
            "X-UIDL",
            "List-Archive",
            "X-Pyzor",
            "Lines",
            "",
        ] {
            assert!(known(name).is_none(), "{name}");
        }
        for name in ["Subject", "SUBJECT", "from", "Content-Type"] {
            assert!(known(name).is_some(), "{name}");
        }
    }

    #[test]
    fn fields_are_read_with_limits() {
        let of =
            |fields: &[(&str, &str)]| Text { fields, ..Text::default() }.known_fields().count();
        assert_eq!(of(&[("X-Noise", ""); 900]), 0);
        assert_eq!(of(&[("Subject", ""); 900]), 100);
        // What stands behind noise is read, unless there is too much of it.
        let mut fields = vec![("X-Noise", ""); 900];
        fields.push(("Subject", ""));
        assert_eq!(of(&fields), 1);
        fields.splice(..0, [("X-Noise", ""); 900]);
        assert_eq!(of(&fields), 0);
    }

    #[test]
    fn each_field_is_named_once() {
        let names: HashSet<&str> = FIELDS.iter().map(|field| field.name).collect();
        assert_eq!(names.len(), FIELDS.len());
        assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
    }
}
