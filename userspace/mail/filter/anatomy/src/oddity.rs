//! What is odd about a message, each with a name, a weight to begin with, and a sentence for people.

use std::fmt;

use crate::anatomy::{Anatomy, Surroundings};

mod content;
mod header;
mod links;
mod parts;

#[cfg(test)]
mod tests;

macro_rules! oddities {
    ($($name:ident $slug:literal $weight:literal $sentence:literal;)+) => {
        /// What can be odd about a message. In the sentences, `{}` is what [`Finding::detail`] says.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[non_exhaustive]
        pub enum Oddity {
            $(#[doc = $sentence] $name,)+
        }

        impl Oddity {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Its name, for logs, headers and models: it is never given to another.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $slug,)+
                }
            }

            /// How much it says on its own, from 0 to 10, until something has learned better: 1 is met in good mail every day,
            /// 5 seldom, 10 hardly ever.
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

oddities! {
    // What was not read.
    Unreadable "unreadable" 5.0 "Part of the message is so badly formed that it could not be read.";
    TooLarge "too-large" 1.0 "The message is larger than what is read of one.";
    HugeHeader "huge-header" 5.0 "The header of the message is far larger than those of ordinary mail.";
    TooDeep "too-deep" 6.0 "Parts of the message are packed into each other more often than any mail program does.";
    TooManyParts "too-many-parts" 5.0 "The message has more parts than any mail program writes.";
    TooManyMessages "too-many-messages" 4.0 "The message has more messages in it than are read.";
    TooMuchContent "too-much-content" 3.0 "The message has more decoded content than is read.";
    TooMuchHtml "too-much-html" 2.0 "The message has more HTML than is read.";
    TooMuchText "too-much-text" 1.0 "The message has more text than is read.";
    TooManyLinks "too-many-links" 2.0 "The message has more links or images than are read.";

    // The header.
    NoAuthor "no-author" 4.0 "The message does not say who wrote it.";
    BadAuthor "bad-author" 4.0 "What the message gives as its author is no mail address: {}.";
    SeveralAuthors "several-authors" 2.0 "The message names several authors and does not say who of them sent it: {}.";
    DuplicateField "duplicate-field" 4.0 "The header has the field {} several times, so that programs differ about which one counts.";
    BrokenHeader "broken-header" 2.0 "The header has lines that are no header fields.";
    RawHeader "raw-header" 1.5 "Subject or names have letters that no charset explains.";
    NoDate "no-date" 1.5 "The message does not say when it was written.";
    BadDate "bad-date" 2.0 "Nobody can read when the message was written.";
    FutureDate "future-date" 2.5 "The message says that it was written in the future, {} from now.";
    OldDate "old-date" 1.5 "The message says that it was written {} ago.";
    NoMessageId "no-message-id" 1.5 "The message has no Message-ID, which mail programs give to all they write.";
    BadMessageId "bad-message-id" 1.0 "The message's Message-ID is none: {}.";
    NoRecipient "no-recipient" 1.0 "The message does not say to whom it is written.";
    NoSubject "no-subject" 0.5 "The message has no subject.";
    ManyHops "many-hops" 1.0 "The message was passed on {} times.";
    FalseReply "false-reply" 1.0 "The subject says that the message is an answer, but it refers to none.";
    ReplyElsewhere "reply-elsewhere" 1.0 "Answers go to another domain than that of the author: {}.";
    ReplyToFreemail "reply-to-freemail" 3.0 "The message comes from {}; a free mailbox instead of the author's own domain gets the answers.";
    AddressInName "address-in-name" 3.5 "The author's name is another mail address than his own: {}.";
    BrandInName "brand-in-name" 3.0 "The author calls himself {}, which does not own that domain.";
    LookalikeAuthor "lookalike-author" 6.0 "The domain of the author looks like that of another: {}.";
    DisguisedSubject "disguised-subject" 4.0 "Subject or author's name have letters that are not what they seem, to get past filters.";
    ReversedSubject "reversed-subject" 3.0 "Subject or author's name have characters that turn the direction of what follows.";

    // Parts.
    BrokenEncoding "broken-encoding" 1.5 "A part of the message is encoded in a way that nothing decodes without loss: {}.";
    OpenMultipart "open-multipart" 1.0 "The message has no end, or promises parts that it does not have.";
    UnknownCharset "unknown-charset" 1.5 "The message has text in a charset that nobody knows.";
    Program "program" 8.0 "An attachment is a program, which runs when it is opened: {}.";
    Script "script-attached" 8.0 "An attachment is a script, which runs when it is opened: {}.";
    Macros "macros" 4.0 "An attachment is a document of a kind that can bring programs along: {}.";
    DiskImage "disk-image" 5.0 "An attachment is the image of a disk, by which programs are brought past warnings: {}.";
    TwoExtensions "two-extensions" 7.0 "An attachment is called like a document, but its real ending is another: {}.";
    TrickyName "tricky-name" 7.0 "The name of an attachment hides how it ends: {}.";
    FalseType "false-type" 4.0 "An attachment is not what it says: {}.";
    Encrypted "encrypted-archive" 2.5 "An attachment is an encrypted archive, into which nobody can look: {}.";
    PageAttached "page-attached" 2.0 "An attachment is a web page: {}.";

    // Pages.
    HiddenText "hidden-text" 1.5 "The message has text that readers do not see: {}.";
    CutWords "cut-words" 5.0 "Words of the message are cut by text that readers do not see, to get past filters.";
    ImageOnly "image-only" 1.5 "The message is an image with hardly any text.";
    LittleText "little-text" 0.5 "The message has much HTML and little text.";
    TextsDiffer "texts-differ" 1.5 "The message's plain text says something else than its page.";
    FormInMail "form-in-mail" 2.5 "The message has a form that is to be filled in, which is sent to {}.";
    AsksPassword "asks-password" 6.0 "The message asks for a password: {}.";
    ScriptInMail "script-in-mail" 2.5 "The message has a script in it.";
    FrameInMail "frame-in-mail" 2.0 "The message shows something from elsewhere in a frame: {}.";
    Refresh "refresh" 5.0 "The message takes its reader to another page by itself: {}.";
    Smuggling "smuggling" 8.0 "A page in the message puts a file together that is in it in pieces, to get past scanners: {}.";

    // Letters.
    InvisibleLetters "invisible-letters" 3.5 "Words of the message have characters in them that nobody sees.";
    MixedScripts "mixed-scripts" 4.0 "Words of the message have letters of several scripts that look alike.";
    StyledLetters "styled-letters" 2.5 "Words of the message are written in mathematical letters or such.";
    SpacedLetters "spaced-letters" 2.5 "Words of the message are spaced out letter by letter.";
    DigitsForLetters "digits-for-letters" 2.5 "Words of the message have digits or signs in the place of letters.";
    Bait "bait" 4.0 "The message disguises words that nobody has a good reason to disguise: {}.";
    TurnedText "turned-text" 2.0 "The message has characters that turn the direction of what follows.";

    // Links.
    FalseLink "false-link" 5.0 "A link says that it leads to one place, but leads to another: {}.";
    UserInLink "user-in-link" 5.0 "A link has something in front of its host that looks like one: {}.";
    AddressLink "address-link" 3.5 "A link leads to a computer that has no name: {}.";
    DisguisedAddress "disguised-address" 7.0 "A link leads to an address that is written so that nobody recognises it: {}.";
    LookalikeLink "lookalike-link" 6.5 "A link leads to a domain that looks like that of another: {}.";
    BrandInLink "brand-in-link" 3.5 "A link has a name in it that does not belong to where it leads: {}.";
    ForeignScripts "foreign-scripts" 3.0 "A link leads to a domain whose letters are of several scripts: {}.";
    ShortLink "short-link" 1.5 "A link is shortened, so that nobody sees where it leads: {}.";
    OnwardLink "onward-link" 1.0 "A link leads on to another place than it seems: {}.";
    ManyLabels "many-labels" 2.0 "A link leads to a host with unusually many names in front of its domain: {}.";
    OddPort "odd-port" 2.5 "A link leads to an unusual port: {}.";
    LongLink "long-link" 1.0 "A link is unusually long.";
    DataLink "data-link" 5.0 "A link is a page itself, which nobody can check: {}.";
    ScriptLink "script-link" 5.0 "A link is a script: {}.";
    FileLink "file-link" 6.0 "A link makes the reader's computer log in somewhere else: {}.";
    BrokenLink "broken-link" 1.0 "A link can't be read: {}.";
}

/// Something odd that was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// What.
    pub oddity: Oddity,
    /// What shows it: names, numbers and pieces of the message, made harmless; nothing where there is no more to say.
    pub detail: String,
}

/// The longest detail, in characters.
const LONGEST_DETAIL: usize = 160;

impl Finding {
    pub(crate) fn new(oddity: Oddity, detail: impl fmt::Display) -> Self {
        Self { oddity, detail: harmless(&detail.to_string()) }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.oddity.name()
    }

    /// How much it says on its own: see [`Oddity::weight`].
    #[must_use]
    pub const fn weight(&self) -> f32 {
        self.oddity.weight()
    }

    /// One sentence that a person can read.
    #[must_use]
    pub fn describe(&self) -> String {
        self.oddity.sentence().replace("{}", &self.detail)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

/// A foreign text as it can stand in a line of ours: short, and without what nobody sees.
fn harmless(text: &str) -> String {
    let mut out: String = text
        .chars()
        .map(|char| {
            let odd = char.is_control()
                || crate::disguise::is_invisible(char)
                || crate::disguise::is_direction(char)
                || matches!(char, '\u{2028}' | '\u{2029}');
            if odd { '\u{b7}' } else { char }
        })
        .take(LONGEST_DETAIL)
        .collect();
    if text.chars().nth(LONGEST_DETAIL).is_some() {
        out.push('\u{2026}');
    }
    out
}

/// What is odd about a message, each oddity once, with what shows it first.
pub(crate) fn findings(anatomy: &Anatomy<'_>, surroundings: &Surroundings<'_>) -> Vec<Finding> {
    let mut found = Found::default();
    header::look(anatomy, surroundings, &mut found);
    parts::look(anatomy, &mut found);
    content::look(anatomy, &mut found);
    links::look(anatomy, surroundings, &mut found);
    found.0.sort_by_key(|finding| finding.oddity);
    found.0
}

/// Findings, each oddity once.
#[derive(Debug, Default)]
struct Found(Vec<Finding>);

impl Found {
    fn has(&self, oddity: Oddity) -> bool {
        self.0.iter().any(|finding| finding.oddity == oddity)
    }

    fn add(&mut self, oddity: Oddity, detail: impl fmt::Display) {
        if !self.has(oddity) {
            self.0.push(Finding::new(oddity, detail));
        }
    }

    fn add_if(&mut self, odd: bool, oddity: Oddity) {
        if odd {
            self.add(oddity, "");
        }
    }
}
