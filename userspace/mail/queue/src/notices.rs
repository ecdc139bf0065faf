//! Which senders are told of what. Pure but for reading what is owed.
//!
//! A notice goes to a message's sender, so it must never go to somebody who did not send it, and never be answered by another:
//! - never about a message from `<>`: it may be a notice itself (RFC 5321 section 4.5.5). It is held if it fails, unless it is one of
//!   ours, which goes;
//! - never to a sender that anybody could have written there: only to one that proved who he is, or that we made ourselves;
//! - of a failure and a delay unless he asked not to be told, of a success only if he asked (RFC 3461 section 5.2).
//!
//! What is owed is written in the transaction that makes it so, and cleared in the one that queues the notice: a crash between the
//! two forgets none and sends none twice.

use muralla_mail_envelope::dsn::{Action, Fate};
use muralla_mail_envelope::{Address, EnhancedCode, Envelope, MessageId, Notify, ReversePath};
use muralla_mail_store::BodyId;

/// What a sender is owed about one recipient.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Owed {
    /// That it takes long.
    Delayed,
    /// That it went to a server that will tell nothing.
    Relayed,
    /// That it arrived.
    Delivered,
    /// That it will not.
    Failed,
}

/// Who has a message that was taken.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Handed {
    /// A server that was told what the sender wants to know, and will tell him.
    On,
    /// A server that can't be told, as it has no DSN.
    Silent,
    /// The recipient: a mailbox.
    Home,
}

/// What happened to a recipient.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Happened {
    /// It takes long.
    Delayed,
    /// It was taken.
    Delivered(Handed),
    /// It failed for good.
    Failed,
}

/// What the sender is owed.
#[must_use]
pub fn owed(known: bool, from_nobody: bool, notify: Notify, happened: Happened) -> Option<Owed> {
    if !known || from_nobody {
        return None;
    }
    match happened {
        Happened::Failed => notify.on_failure().then_some(Owed::Failed),
        Happened::Delayed => notify.on_delay().then_some(Owed::Delayed),
        Happened::Delivered(Handed::On) => None,
        Happened::Delivered(Handed::Silent) => notify.on_success().then_some(Owed::Relayed),
        Happened::Delivered(Handed::Home) => notify.on_success().then_some(Owed::Delivered),
    }
}

/// Whether a message's sender may be told at all: he proved who he is, or it was made here.
#[must_use]
pub fn is_known(envelope: &Envelope) -> bool {
    use muralla_mail_envelope::Protocol;
    envelope.client.authenticated.is_some() || envelope.client.protocol == Protocol::Local
}

impl Owed {
    /// What was done, in the words of RFC 3464.
    #[must_use]
    pub const fn action(self) -> Action {
        match self {
            Self::Delayed => Action::Delayed,
            Self::Relayed => Action::Relayed,
            Self::Delivered => Action::Delivered,
            Self::Failed => Action::Failed,
        }
    }

    pub(crate) const fn number(owed: Option<Self>) -> i64 {
        match owed {
            None => 0,
            Some(Self::Delayed) => 1,
            Some(Self::Relayed) => 2,
            Some(Self::Delivered) => 3,
            Some(Self::Failed) => 4,
        }
    }

    pub(crate) const fn of(number: i64) -> Option<Self> {
        match number {
            1 => Some(Self::Delayed),
            2 => Some(Self::Relayed),
            3 => Some(Self::Delivered),
            4 => Some(Self::Failed),
            _ => None,
        }
    }
}

/// What a sender is to be told of one message: facts for [`dsn::build`](muralla_mail_envelope::dsn::build).
#[derive(Clone, Debug)]
pub struct Notice {
    /// What the notice itself is to be called: always the same for the same facts.
    pub id: MessageId,
    /// The message.
    pub message: MessageId,
    /// Its envelope, without recipients.
    pub envelope: Envelope,
    /// Its body, which stays until the notice is queued.
    pub body: BodyId,
    /// Bytes of it.
    pub size: u64,
    /// Whom it goes to.
    pub to: Address,
    /// What became of it for whom.
    pub fates: Vec<Fate>,
    /// Which recipients, and what of them: what is cleared when it is queued.
    pub(crate) about: Vec<(i64, Owed)>,
}

impl Notice {
    /// Of an envelope and what is owed of its recipients. None if there is nobody to tell.
    pub(crate) fn new(
        message: MessageId,
        envelope: Envelope,
        body: BodyId,
        size: u64,
        about: Vec<(i64, Owed)>,
        fates: Vec<Fate>,
    ) -> Option<Self> {
        let ReversePath::Address(to) = envelope.from.clone() else { return None };
        if about.is_empty() {
            return None;
        }
        // FNV-1a of what it is about.
        let number = about.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, (number, owed)| {
            let fact = number.wrapping_mul(8).wrapping_add(Owed::number(Some(*owed)));
            fact.to_be_bytes()
                .iter()
                .fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
        });
        let id = message.derive("notice", number);
        Some(Self { id, message, envelope, body, size, to, fates, about })
    }
}

/// The status of a recipient: RFC 3463. What failed although its last reply was temporary has expired, and what was never said
/// anything of, too.
pub(crate) fn status(owed: Owed, reply: Option<&muralla_mail_envelope::Reply>) -> EnhancedCode {
    match (owed, reply) {
        (Owed::Failed, Some(reply)) if reply.is_permanent() => reply.status(),
        (Owed::Failed, _) => EnhancedCode::new(4, 4, 7),
        (Owed::Delayed, Some(reply)) if reply.is_temporary() => reply.status(),
        (Owed::Delayed, _) => EnhancedCode::new(4, 4, 1),
        (Owed::Relayed | Owed::Delivered, Some(reply)) if reply.is_positive() => reply.status(),
        (Owed::Relayed | Owed::Delivered, _) => EnhancedCode::new(2, 0, 0),
    }
}

#[cfg(test)]
mod tests {
    use muralla_mail_envelope::Reply;

    use super::*;

    const EVERYTHING: Notify = Notify { never: false, success: true, failure: true, delay: true };
    const FAILURE: Notify = Notify { never: false, success: false, failure: true, delay: false };
    const SUCCESS: Notify = Notify { never: false, success: true, failure: false, delay: false };
    const UNSAID: Notify = Notify { never: false, success: false, failure: false, delay: false };

    #[test]
    fn who_is_told_of_what() {
        use Happened::{Delayed, Delivered, Failed};
        for (notify, happened, expected) in [
            (UNSAID, Failed, Some(Owed::Failed)),
            (UNSAID, Delayed, Some(Owed::Delayed)),
            (UNSAID, Delivered(Handed::Home), None),
            (UNSAID, Delivered(Handed::Silent), None),
            (FAILURE, Failed, Some(Owed::Failed)),
            (FAILURE, Delayed, None),
            (SUCCESS, Failed, None),
            (SUCCESS, Delivered(Handed::Home), Some(Owed::Delivered)),
            (SUCCESS, Delivered(Handed::Silent), Some(Owed::Relayed)),
            (SUCCESS, Delivered(Handed::On), None),
            (EVERYTHING, Delayed, Some(Owed::Delayed)),
            (Notify::NEVER, Failed, None),
            (Notify::NEVER, Delayed, None),
            (Notify::NEVER, Delivered(Handed::Home), None),
        ] {
            assert_eq!(owed(true, false, notify, happened), expected, "{notify:?} {happened:?}");
            // Nobody to tell, or nobody knows whom.
            assert_eq!(owed(true, true, notify, happened), None);
            assert_eq!(owed(false, false, notify, happened), None);
            assert_eq!(owed(false, true, notify, happened), None);
        }
    }

    #[test]
    fn numbers_stay_what_they_are() {
        for (owed, number) in [
            (None, 0),
            (Some(Owed::Delayed), 1),
            (Some(Owed::Relayed), 2),
            (Some(Owed::Delivered), 3),
            (Some(Owed::Failed), 4),
        ] {
            assert_eq!((Owed::number(owed), Owed::of(number)), (number, owed));
        }
    }

    #[test]
    fn what_expired_says_so() {
        let reply = |code, text| Reply::of_text(code, text);
        for (owed, reply, status) in [
            (Owed::Failed, Some(reply(550, "5.1.1 nobody")), "5.1.1"),
            (Owed::Failed, Some(reply(451, "4.7.1 later")), "4.4.7"),
            (Owed::Failed, None, "4.4.7"),
            (Owed::Delayed, Some(reply(451, "4.7.1 later")), "4.7.1"),
            (Owed::Delayed, None, "4.4.1"),
            (Owed::Relayed, Some(reply(250, "2.1.5 fine")), "2.1.5"),
            (Owed::Delivered, None, "2.0.0"),
        ] {
            assert_eq!(super::status(owed, reply.as_ref()).to_string(), status);
        }
    }
}
