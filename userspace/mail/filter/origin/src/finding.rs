//! What speaks for a sender and against him, each with a name, a weight to begin with, and a sentence for people.

use std::fmt;

macro_rules! signs {
    ($($name:ident $slug:literal $weight:literal $sentence:literal;)+) => {
        /// What speaks for a sender or against him. In the sentences, `{}` is what [`Finding::detail`] says.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[non_exhaustive]
        pub enum Sign {
            $(#[doc = $sentence] $name,)+
        }

        impl Sign {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Its name, for logs, headers and models: it is never given to another.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $slug,)+
                }
            }

            /// How much it says on its own until something has learned better: 1 is met in good mail every day, 5 seldom, 10
            /// hardly ever; below 0, it speaks for the sender.
            #[must_use]
            pub const fn weight(self) -> f32 {
                match self {
                    $(Self::$name => $weight,)+
                }
            }

            const fn sentence(self) -> &'static str {
                match self {
                    $(Self::$name => $sentence,)+
                }
            }
        }
    };
}

signs! {
    // The connection.
    Listed "listed" 5.0 "The computer that sent the message is on a list of those that send spam: {}.";
    ListedNetwork "listed-network" 3.0 "The computer that sent the message is in a network whose owner says that no mail comes from there: {}.";
    ListedWell "listed-well" -3.0 "The computer that sent the message is on a list of those that send good mail: {}.";
    NoName "no-name" 2.0 "The computer that sent the message has no name.";
    GenericName "generic-name" 2.0 "The computer that sent the message has a name as customers' connections have: {}.";
    SpokeEarly "spoke-early" 6.0 "The computer that sent the message spoke before it was greeted, as programs that send spam do.";
    Hurried "hurried" 2.5 "The computer that sent the message did not wait for replies.";
    ForeignProtocol "foreign-protocol" 8.0 "The computer that sent the message spoke another language than that of mail servers.";
    Injected "injected" 6.0 "Somebody put commands in front of the encrypted connection.";
    BareLineEnds "bare-line-ends" 2.5 "The computer that sent the message ends lines as no mail server does.";
    ManyErrors "many-errors" 2.0 "The computer that sent the message made many errors on the way.";
    GuessesPasswords "guesses-passwords" 6.0 "The computer that sent the message tried to log in, and could not.";
    GuessesAddresses "guesses-addresses" 6.0 "The computer that sent the message tries out addresses: {}.";
    SeveralUnknown "several-unknown" 2.5 "The computer that sent the message wrote to several addresses that do not exist: {}.";

    // Its envelope.
    HeloOurs "helo-ours" 7.0 "The computer that sent the message gives a name of ours for its own: {}.";
    HeloAddress "helo-address" 3.0 "The computer that sent the message gives an address for its name: {}.";
    HeloForeignAddress "helo-foreign-address" 5.0 "The computer that sent the message gives another address than its own for its name: {}.";
    HeloShort "helo-short" 2.0 "The computer that sent the message gives a name that exists only in its own network: {}.";
    HeloOdd "helo-odd" 3.0 "The computer that sent the message gives a name that is none: {}.";
    SenderOurs "sender-ours" 4.0 "Failures of the message would go to an address of ours, but it was not sent from here: {}.";
    AuthorOurs "author-ours" 7.0 "The message says that it was written here, but it was not: {}.";
    AuthorOursChanged "author-ours-changed" 3.0 "The message says that it was written here, and was changed by somebody on the way: {}.";
    BounceUnsigned "bounce-unsigned" 5.0 "The message reports a failure of mail that was not sent from here: {}.";
    BounceForged "bounce-forged" 8.0 "The message reports a failure of mail that was not sent from here, and pretends that it was: {}.";
    BounceLate "bounce-late" 2.5 "The message reports a failure of mail that was sent long ago: {}.";
    BounceToMany "bounce-to-many" 4.0 "The message reports a failure, but goes to several people.";
    SenderNowhere "sender-nowhere" 5.0 "The message comes from a domain that does not exist, or to which nobody can answer: {}.";
    SenderTakesNone "sender-takes-none" 3.0 "The message comes from a domain that takes no mail: {}.";

    // What it proves.
    Proved "proved" -1.0 "The message really comes from {}.";
    SpfFail "spf-fail" 3.0 "The computer that sent the message may not send mail of {}.";
    SpfSoftFail "spf-softfail" 1.0 "The computer that sent the message probably may not send mail of {}.";
    SpfBroken "spf-broken" 0.5 "What {} says of who may send its mail can't be understood.";
    DkimFail "dkim-fail" 1.0 "The signature of the message is not good: {}.";
    DkimUnusable "dkim-unusable" 1.0 "The signature of the message proves nothing: {}.";
    DmarcReject "dmarc-reject" 6.0 "The message is not from {}, which wants such mail to be refused.";
    DmarcQuarantine "dmarc-quarantine" 4.0 "The message is not from {}, which wants such mail to be taken for spam.";
    DmarcFail "dmarc-fail" 1.0 "The message does not prove that it is from {}.";
    DmarcBroken "dmarc-broken" 0.5 "What {} says of mail in its name can't be understood.";
    ArcFail "arc-fail" 0.5 "Those who passed the message on say things of it that don't fit: {}.";
    Unproved "unproved" 1.5 "Nothing proves who sent the message.";
    Unfinished "unfinished" 1.0 "Who sent the message could not be looked up in time.";

    // What is remembered.
    BadAddress "bad-address" 5.0 "Spam came from the same computer lately: {}.";
    BadNetwork "bad-network" 2.5 "Much spam came from computers near to that which sent the message: {}.";
    BadOperator "bad-operator" 1.5 "Much spam came from the network of the operator that the message came from: {}.";
    BadSigner "bad-signer" 4.0 "Much spam came with the signature of {}.";
    BadSender "bad-sender" 3.5 "Much spam came from the domain {}.";
    BadHost "bad-host" 4.5 "The message has a link to a place that much spam leads to: {}.";
    TrappedAddress "trapped-address" 7.0 "The computer that sent the message wrote to addresses that only spam is sent to: {}.";
    GoodAddress "good-address" -1.5 "Good mail came from the same computer, and hardly any spam: {}.";
    GoodSigner "good-signer" -2.5 "Good mail came with the signature of {}, and hardly any spam.";
    GoodSender "good-sender" -1.5 "Good mail came from the domain {}, and hardly any spam.";
    NewAddress "new-address" 0.5 "No mail came from the same network before.";
}

/// Something that was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// What.
    pub sign: Sign,
    /// What shows it: names, numbers, made harmless; nothing where there is no more to say.
    pub detail: String,
}

/// The longest detail, in characters.
const LONGEST_DETAIL: usize = 160;

impl Finding {
    pub(crate) fn new(sign: Sign, detail: impl fmt::Display) -> Self {
        Self { sign, detail: harmless(&detail.to_string()) }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.sign.name()
    }

    /// How much it says on its own: see [`Sign::weight`].
    #[must_use]
    pub const fn weight(&self) -> f32 {
        self.sign.weight()
    }

    /// One sentence that a person can read.
    #[must_use]
    pub fn describe(&self) -> String {
        self.sign.sentence().replace("{}", &self.detail)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.describe())
    }
}

/// A foreign text as it can stand in a line of ours: short, and of what can be seen. Names of the net are ASCII; other letters
/// are shown as they are, and what turns or hides them is not.
fn harmless(text: &str) -> String {
    let shown = |char: char| {
        let hidden = char.is_control()
            || matches!(
                char,
                '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
            );
        if hidden { '\u{b7}' } else { char }
    };
    let mut out: String = text.chars().map(shown).take(LONGEST_DETAIL).collect();
    if text.chars().nth(LONGEST_DETAIL).is_some() {
        out.push('\u{2026}');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_name_and_a_sentence() {
        let mut names: Vec<_> = Sign::ALL.iter().map(|sign| sign.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Sign::ALL.len());
        for sign in Sign::ALL {
            let name = sign.name();
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
            assert!((-5.0..=10.0).contains(&sign.weight()), "{name}");
            let shown = Finding::new(*sign, "example.org").describe();
            assert!(shown.ends_with('.') && !shown.contains("{}"), "{shown}");
        }
    }

    #[test]
    fn harmless_details() {
        let finding = Finding::new(Sign::HeloOdd, format!("a\r\nb\u{202e}c{}", "x".repeat(500)));
        assert!(finding.detail.starts_with("a\u{b7}\u{b7}b\u{b7}cxx"));
        assert_eq!(finding.detail.chars().count(), LONGEST_DETAIL + 1);
    }
}
