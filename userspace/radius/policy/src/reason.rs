//! Why somebody is refused: for counters, for the log, and for the one who is.

use muralla_radius_wire::method::mschap;

/// Makes the reasons, so that none is forgotten in a table.
macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident, $name:literal, $text:expr, $words:literal;)+) => {
        /// Why somebody is refused, or not answered.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[$doc])* $variant,)+
        }

        impl Reason {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name in counters, in snake case.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// What the user is told in Reply-Message, if the operator says nothing else.
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// What it was, for the log: "refused: ...".
            pub fn words(self) -> &'static str {
                match self {
                    $(Self::$variant => $words,)+
                }
            }
        }
    };
}

/// What everybody is told who did not prove who he is: who guesses names learns nothing from it.
const UNPROVEN: &str = "Wrong name or password.";

reasons! {
    /// No such subscriber.
    UnknownUser, "unknown_user", UNPROVEN, "no such subscriber";
    /// The wrong password.
    WrongPassword, "wrong_password", UNPROVEN, "wrong password";
    /// The method can't work with the credential that is stored.
    Impossible, "method_impossible", UNPROVEN, "the method can't work with what is stored";
    /// The request offers nothing that can be looked at.
    BadOffer, "bad_offer", UNPROVEN, "the request has no password that can be used";
    /// There is no User-Name, or an impossible one.
    NoName, "no_name", UNPROVEN, "the request has no usable User-Name";
    /// A realm whose users are refused.
    RefusedRealm, "refused_realm", UNPROVEN, "its realm is refused by the configuration";
    /// There is such a subscriber, but what is said of him can't be read: the rule that keeps him out may be in it.
    Unreadable, "subscriber_unreadable", UNPROVEN, "what the database says of the subscriber can't be read; `muralla radius status` says what";
    /// Too many failures of late, of the user or at the NAS.
    Attempts, "too_many_attempts", UNPROVEN, "too many failures of late";
    /// The subscriber is disabled.
    Disabled, "disabled", "Your account is disabled.", "the subscriber is disabled";
    /// The account is not valid yet.
    NotYet, "not_yet_valid", "Your account is not valid yet.", "the account is not valid yet";
    /// The account has expired.
    Expired, "expired", "Your account has expired.", "the account has expired";
    /// Not at this hour.
    Hours, "outside_hours", "You may not connect at this time.", "not at this hour";
    /// No time is left.
    NoTime, "no_time_left", "Your time is used up.", "no credit of seconds is left";
    /// No volume is left.
    NoVolume, "no_volume_left", "Your volume is used up.", "no credit of bytes is left";
    /// As many sessions as allowed.
    Sessions, "too_many_sessions", "You are already connected.", "as many sessions as allowed are open";
    /// One of his own check items does not hold.
    Check, "check_failed", "You may not connect from here.", "a check item of the subscriber does not hold";
    /// None of his profiles applies to this request.
    NoProfile, "no_profile_applies", "You may not connect from here.", "none of the subscriber's profiles applies here";
    /// A profile of his is missing, or can't be used.
    BrokenProfile, "broken_profile", "You can not be connected at the moment.", "a profile of the subscriber is missing or broken";
    /// The pool has nothing left.
    PoolEmpty, "pool_empty", "No address is free at the moment.", "the pool has no address left";
    /// The pool is not known.
    NoPool, "no_such_pool", "You can not be connected at the moment.", "the pool is not known";
    /// Nobody knows at the moment what is free: no answer, so that the NAS asks another server.
    PoolAway, "pool_unavailable", "You can not be connected at the moment.", "nothing of the pool is reserved here and the database is away";
    /// The subscribers are not loaded yet: no answer, so that the NAS asks another server.
    NotReady, "not_ready", "You can not be connected at the moment.", "the subscribers are not loaded yet";
    /// The reply would not fit into a packet.
    TooLong, "reply_too_long", "You can not be connected at the moment.", "the reply items are longer than a packet";
}

impl Reason {
    /// Whether it says that somebody did not prove who he is: what the limits on attempts count.
    pub fn is_failed_attempt(self) -> bool {
        matches!(
            self,
            Self::UnknownUser | Self::WrongPassword | Self::Impossible | Self::RefusedRealm
        )
    }

    /// What MS-CHAP calls it.
    pub fn mschap(self) -> mschap::Refusal {
        match self {
            Self::Disabled | Self::NotYet | Self::Expired => mschap::Refusal::Disabled,
            Self::Hours => mschap::Refusal::RestrictedHours,
            _ if self.text() == UNPROVEN => mschap::Refusal::Wrong,
            _ => mschap::Refusal::NoDialIn,
        }
    }
}

/// Texts of the operator's own for Reply-Message, by reason.
#[derive(Clone, Debug, Default)]
pub struct Texts(Vec<(Reason, Option<Box<str>>)>);

/// Longest text, in bytes: one Reply-Message.
pub const LONGEST_TEXT: usize = 253;

/// Why a text can't be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the text for {} is longer than {LONGEST_TEXT} bytes: shorten it", reason.name())]
pub struct TextTooLong {
    /// For which reason it is.
    pub reason: Reason,
}

impl Texts {
    /// Says this instead; an empty text says nothing.
    ///
    /// Those who did not prove who they are all get the same text, whichever of their reasons it is set for: a
    /// guesser must not learn which names there are.
    ///
    /// # Errors
    ///
    /// If it is longer than [`LONGEST_TEXT`].
    pub fn set(&mut self, reason: Reason, text: &str) -> Result<(), TextTooLong> {
        if text.len() > LONGEST_TEXT {
            return Err(TextTooLong { reason });
        }
        let reason = representative(reason);
        let text = (!text.is_empty()).then(|| text.into());
        match self.0.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, known)) => *known = text,
            None => self.0.push((reason, text)),
        }
        Ok(())
    }

    /// What to say; nothing if the operator wants nothing said.
    pub fn of(&self, reason: Reason) -> Option<&str> {
        let representative = representative(reason);
        match self.0.iter().find(|(known, _)| *known == representative) {
            Some((_, text)) => text.as_deref(),
            None => Some(reason.text()),
        }
    }
}

/// All who did not prove who they are have one text.
fn representative(reason: Reason) -> Reason {
    if reason.text() == UNPROVEN { Reason::WrongPassword } else { reason }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_for_counters_and_different() {
        let names: HashSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        for (number, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, number);
            let name = reason.name();
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert!(reason.text().len() <= LONGEST_TEXT);
        }
    }

    #[test]
    fn who_did_not_prove_himself_learns_nothing() {
        let mut texts = Texts::default();
        texts.set(Reason::UnknownUser, "Try again.").unwrap();
        texts.set(Reason::Expired, "Please pay.").unwrap();
        texts.set(Reason::Hours, "").unwrap();
        for reason in Reason::ALL.iter().filter(|reason| reason.is_failed_attempt()) {
            assert_eq!(texts.of(*reason), Some("Try again."));
            assert_eq!(reason.mschap(), mschap::Refusal::Wrong);
        }
        assert_eq!(texts.of(Reason::Attempts), Some("Try again."));
        assert_eq!(texts.of(Reason::Expired), Some("Please pay."));
        assert_eq!(texts.of(Reason::Hours), None);
        assert_eq!(texts.of(Reason::Disabled), Some("Your account is disabled."));
        let long = "x".repeat(254);
        let refused = texts.set(Reason::Disabled, &long);
        assert_eq!(refused, Err(TextTooLong { reason: Reason::Disabled }));
    }
}
