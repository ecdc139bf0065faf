//! What both sides can: the first packet each way.

use super::{MilterError, packet};

/// Versions that are spoken.
pub const OLDEST: u32 = 2;
/// The newest of them: Sendmail 8.14, Postfix 2.6.
pub const NEWEST: u32 = 6;

/// What one side says: of a mail system what it has, of a filter what it wants of that.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Terms {
    /// The version.
    pub version: u32,
    /// What a filter may do: [`actions`].
    pub actions: u32,
    /// What is left out: [`steps`].
    pub steps: u32,
}

/// What a filter may do to a message.
pub mod actions {
    /// Write header fields.
    pub const ADD_HEADERS: u32 = 0x01;
    /// Replace the body.
    pub const CHANGE_BODY: u32 = 0x02;
    /// Add recipients.
    pub const ADD_RECIPIENTS: u32 = 0x04;
    /// Remove recipients.
    pub const REMOVE_RECIPIENTS: u32 = 0x08;
    /// Change and remove header fields.
    pub const CHANGE_HEADERS: u32 = 0x10;
    /// Have it kept until an operator has looked at it.
    pub const QUARANTINE: u32 = 0x20;
    /// Change the sender.
    pub const CHANGE_SENDER: u32 = 0x40;
    /// Add recipients with parameters.
    pub const ADD_RECIPIENTS_WITH: u32 = 0x80;
    /// Ask for other macros than the usual.
    pub const CHOOSE_MACROS: u32 = 0x100;
}

/// What is left out: commands that are not sent, answers that are not waited for.
pub mod steps {
    /// No word of the connection.
    pub const NO_CONNECT: u32 = 0x01;
    /// No word of the greeting.
    pub const NO_HELO: u32 = 0x02;
    /// No word of the sender.
    pub const NO_MAIL: u32 = 0x04;
    /// No word of recipients.
    pub const NO_RECIPIENT: u32 = 0x08;
    /// No body.
    pub const NO_BODY: u32 = 0x10;
    /// No header.
    pub const NO_HEADERS: u32 = 0x20;
    /// No word of the header's end.
    pub const NO_END_OF_HEADERS: u32 = 0x40;
    /// No answer to header fields.
    pub const UNANSWERED_HEADER: u32 = 0x80;
    /// No commands that nobody knows.
    pub const NO_UNKNOWN: u32 = 0x100;
    /// No word of `DATA`.
    pub const NO_DATA: u32 = 0x200;
    /// The rest of a body can be left out.
    pub const SKIP: u32 = 0x400;
    /// Recipients that were refused are told, too.
    pub const REFUSED_RECIPIENTS: u32 = 0x800;
    /// No answer to the connection.
    pub const UNANSWERED_CONNECT: u32 = 0x1000;
    /// No answer to the greeting.
    pub const UNANSWERED_HELO: u32 = 0x2000;
    /// No answer to the sender.
    pub const UNANSWERED_MAIL: u32 = 0x4000;
    /// No answer to recipients.
    pub const UNANSWERED_RECIPIENT: u32 = 0x8000;
    /// No answer to `DATA`.
    pub const UNANSWERED_DATA: u32 = 0x1_0000;
    /// No answer to commands that nobody knows.
    pub const UNANSWERED_UNKNOWN: u32 = 0x2_0000;
    /// No answer to the header's end.
    pub const UNANSWERED_END_OF_HEADERS: u32 = 0x4_0000;
    /// No answer to pieces of the body.
    pub const UNANSWERED_BODY: u32 = 0x8_0000;
    /// Values of header fields come and go with the space that they begin with.
    pub const LEADING_SPACE: u32 = 0x10_0000;
    /// Pieces of a body have up to 256 KiB.
    pub const PIECES_256K: u32 = 0x1000_0000;
    /// Pieces of a body have up to 1 MiB.
    pub const PIECES_1M: u32 = 0x2000_0000;
}

/// What we do to messages.
const WANTED_ACTIONS: u32 = NEEDED_ACTIONS | actions::QUARANTINE;
const NEEDED_ACTIONS: u32 = actions::ADD_HEADERS | actions::CHANGE_HEADERS;

/// What we leave out: answers nobody needs, so that a message comes in one stream.
const WANTED_STEPS: u32 = steps::UNANSWERED_HEADER
    | steps::UNANSWERED_CONNECT
    | steps::UNANSWERED_HELO
    | steps::UNANSWERED_MAIL
    | steps::UNANSWERED_RECIPIENT
    | steps::UNANSWERED_DATA
    | steps::UNANSWERED_UNKNOWN
    | steps::UNANSWERED_END_OF_HEADERS
    | steps::UNANSWERED_BODY
    | steps::NO_UNKNOWN
    | steps::NO_DATA
    | steps::LEADING_SPACE;

impl Terms {
    /// Reads what a mail system says.
    pub(crate) fn parse(data: &[u8]) -> Option<Self> {
        // Whatever comes behind is of a version that we don't know, and that the one agreed on does not have.
        let (numbers, _) = data.split_first_chunk::<12>()?;
        let [version, actions, steps] = [0, 4, 8].map(|at| {
            let number = numbers.get(at..).and_then(<[u8]>::first_chunk::<4>);
            number.map_or(0, |number| u32::from_be_bytes(*number))
        });
        Some(Self { version, actions, steps })
    }

    /// What is agreed on, where the other side has these.
    ///
    /// # Errors
    ///
    /// If there is nothing that both can.
    pub fn agreed(self) -> Result<Self, MilterError> {
        if self.version < OLDEST {
            return Err(MilterError::Version(self.version));
        }
        if self.actions & NEEDED_ACTIONS != NEEDED_ACTIONS {
            return Err(MilterError::Powerless);
        }
        Ok(Self {
            version: self.version.min(NEWEST),
            actions: self.actions & WANTED_ACTIONS,
            steps: self.steps & WANTED_STEPS,
        })
    }

    /// Whether a filter may do that.
    #[must_use]
    pub const fn may(self, action: u32) -> bool {
        self.actions & action == action
    }

    /// Whether that is left out.
    #[must_use]
    pub const fn leaves_out(self, step: u32) -> bool {
        self.steps & step == step
    }

    pub(crate) fn write(self, out: &mut Vec<u8>) {
        let [version, actions, steps] =
            [self.version, self.actions, self.steps].map(u32::to_be_bytes);
        packet::write(out, b'O', &[&version, &actions, &steps]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreed() {
        let all = u32::MAX;
        for (version, has_actions, has_steps, expected) in [
            // Postfix since 2.6, Sendmail since 8.14.
            (6, 0x1ff, 0x1f_ffff, Ok((6, 0x31, 0x1f_f380))),
            // Of a version that is still to come.
            (7, all, all, Ok((6, 0x31, 0x1f_f380))),
            // Sendmail 8.13.
            (2, 0x3f, 0x7f, Ok((2, 0x31, 0))),
            (2, 0x1f, 0x7f, Ok((2, 0x11, 0))),
            (4, 0x3f, 0x3ff, Ok((4, 0x31, 0x380))),
            (1, 0x0f, 0x3f, Err(MilterError::Version(1))),
            (0, all, all, Err(MilterError::Version(0))),
            (6, 0x0f, all, Err(MilterError::Powerless)),
            (6, 0x10, all, Err(MilterError::Powerless)),
        ] {
            let offered = Terms { version, actions: has_actions, steps: has_steps };
            let expected =
                expected.map(|(version, actions, steps)| Terms { version, actions, steps });
            assert_eq!(offered.agreed(), expected, "{version} {has_actions:x} {has_steps:x}");
        }
    }

    #[test]
    fn on_the_wire() {
        let terms = Terms { version: 6, actions: 0x31, steps: 0x1f_f380 };
        let mut out = Vec::new();
        terms.write(&mut out);
        assert_eq!(out, b"\0\0\0\x0dO\0\0\0\x06\0\0\0\x31\0\x1f\xf3\x80");
        assert_eq!(Terms::parse(&out[5..]), Some(terms));
        assert_eq!(Terms::parse(b"\0\0\0\x06\0\0\0\x31\0\x1f\xf3\x80more"), Some(terms));
        assert_eq!(Terms::parse(&out[6..]), None);
        assert!(terms.may(actions::QUARANTINE) && !terms.may(actions::CHANGE_BODY));
        assert!(terms.leaves_out(steps::NO_DATA) && !terms.leaves_out(steps::SKIP));
    }
}
