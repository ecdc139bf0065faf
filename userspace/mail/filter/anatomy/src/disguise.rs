//! Letters that are not what they seem: invisible ones, ones of other scripts, ones of mathematicians, letters spaced out, digits
//! in their place. What was meant is given beside what stands there, because that somebody hid it says more than the word.

use unicode_normalization::UnicodeNormalization;
use unicode_security::skeleton;

use crate::limits::Limits;

/// What was found in a text.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Disguise {
    /// Words that were looked at.
    pub words: usize,
    /// Characters that nobody sees.
    pub invisible: usize,
    /// Those among them which stand between two letters.
    pub invisible_in_words: usize,
    /// Places where a word may be parted at the end of a line, two letters from both ends or more: pages are full of them where
    /// words are long, and they are not among those above.
    pub hyphens: usize,
    /// Characters that turn the direction of what follows.
    pub directions: usize,
    /// Words with letters of several scripts that look alike.
    pub mixed: usize,
    /// Words in letters of mathematicians, in circles and squares.
    pub styled: usize,
    /// Words of which the letters are spaced out.
    pub spaced: usize,
    /// Words with digits and signs in the place of letters.
    pub digits: usize,
    /// What was meant by disguised words, in lower case; at most [`MOST_TOKENS`].
    pub meant: Vec<String>,
    /// Those among them that nobody has a good reason to disguise.
    pub baits: Vec<String>,
}

/// Disguised words that are kept.
pub const MOST_TOKENS: usize = 200;

/// The longest word that is looked at, in characters: no language's words are longer, and data are.
const LONGEST_WORD: usize = 64;

/// Where a word may be parted.
const SOFT_HYPHEN: char = '\u{ad}';

impl Disguise {
    /// Looks through a text.
    #[must_use]
    pub fn of(text: &str, limits: &Limits) -> Self {
        let mut found = Self::default();
        found.spaced_out(text, limits);
        for word in text.split(|char: char| !belongs_to_word(char)).filter(|word| !word.is_empty())
        {
            if found.words >= limits.words {
                break;
            }
            found.words += 1;
            found.word(word);
        }
        found
    }

    /// Whether there was anything.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.invisible == 0
            && self.directions == 0
            && self.mixed == 0
            && self.styled == 0
            && self.spaced == 0
            && self.digits == 0
    }

    /// Adds what was found in another text.
    pub(crate) fn add(&mut self, other: Self) {
        self.words += other.words;
        self.invisible += other.invisible;
        self.invisible_in_words += other.invisible_in_words;
        self.hyphens += other.hyphens;
        self.directions += other.directions;
        self.mixed += other.mixed;
        self.styled += other.styled;
        self.spaced += other.spaced;
        self.digits += other.digits;
        for (mine, theirs) in [(&mut self.meant, other.meant), (&mut self.baits, other.baits)] {
            let room = MOST_TOKENS.saturating_sub(mine.len());
            mine.extend(theirs.into_iter().take(room));
        }
    }

    fn word(&mut self, word: &str) {
        let ascii = word.is_ascii();
        if ascii {
            self.leet(word);
            return;
        }
        let mut scripts = Scripts::default();
        let (mut invisible, mut within, mut styled, mut letters) = (0, 0, 0, 0);
        // What nobody sees since the last letter, and the letters since the last of those.
        let (mut pending, mut piece, mut shortest) = (0, 0, usize::MAX);
        let mut hyphens = true;
        for char in word.chars().take(LONGEST_WORD) {
            if is_invisible(char) {
                invisible += 1;
                pending += usize::from(letters > 0);
                hyphens &= char == SOFT_HYPHEN;
            } else if is_direction(char) {
                self.directions += 1;
            } else {
                scripts.see(char);
                if char.is_alphabetic() {
                    if pending > 0 {
                        shortest = shortest.min(piece);
                        piece = 0;
                    }
                    within += pending;
                    letters += 1;
                    piece += 1;
                    styled += usize::from(is_styled(char));
                }
                pending = 0;
            }
        }
        // Joiners have their place in the scripts of India and Arabia, and between emoji, which are no letters.
        if scripts.joins || letters == 0 {
            (invisible, within) = (0, 0);
        }
        self.invisible += invisible;
        if hyphens && shortest.min(piece) >= 2 {
            self.hyphens += within;
            within = 0;
        }
        self.invisible_in_words += within;
        let mixed = scripts.are_mixed() && letters > 2;
        self.mixed += usize::from(mixed);
        self.styled += usize::from(styled > 1);
        if within > 0 || mixed || styled > 1 {
            self.meant(folded(word));
        }
    }

    /// Letters with digits and signs between them.
    fn leet(&mut self, word: &str) {
        if word.len() < 4 || word.len() > 20 {
            return;
        }
        let digits = word.bytes().filter(|byte| !byte.is_ascii_alphabetic()).count();
        let starts = word.starts_with(|char: char| char.is_ascii_alphabetic());
        if digits == 0 || digits > 3 || !starts {
            return;
        }
        // Names of products and codes have digits, too: only what is known as bait counts.
        let meant = |bait: &&&str| {
            bait.len() == word.len()
                && bait.bytes().zip(word.bytes()).all(|(meant, written)| {
                    meant.eq_ignore_ascii_case(&written) || stands_for(written, meant)
                })
        };
        if let Some(bait) = BAITS.iter().find(meant) {
            self.digits += 1;
            self.meant((*bait).to_owned());
        }
    }

    /// Single letters with one and the same sign between them, five or more.
    fn spaced_out(&mut self, text: &str, limits: &Limits) {
        let mut run = Run::default();
        let mut seen = 0;
        let mut chars = text.chars().filter(|char| !is_invisible(*char)).peekable();
        let mut before: Option<char> = None;
        while let Some(char) = chars.next() {
            // In the East, a word may be one character.
            let single = char.is_alphabetic()
                && char < '\u{600}'
                && before.is_none_or(|before| !before.is_alphanumeric())
                && chars.peek().is_none_or(|next| !next.is_alphanumeric());
            if single {
                run.letters.push(char);
            } else if char.is_alphanumeric() || char == '\n' {
                self.end_run(&mut run);
            } else if !run.letters.is_empty() {
                // One sign, which is the same all along.
                let fits = before.is_some_and(char::is_alphanumeric)
                    && run.between.is_none_or(|between| between == char);
                if fits {
                    run.between = Some(char);
                } else {
                    self.end_run(&mut run);
                }
            }
            before = Some(char);
            seen += 1;
            // No word is shorter than two characters with what is between.
            if seen > limits.words.saturating_mul(16) {
                break;
            }
        }
        self.end_run(&mut run);
    }

    fn end_run(&mut self, run: &mut Run) {
        let Run { letters, between } = std::mem::take(run);
        let count = letters.chars().count();
        // Initials, and lists from A to E, are no words.
        let rising = letters.chars().zip(letters.chars().skip(1)).all(|(one, next)| one < next);
        if count >= 5 && count <= LONGEST_WORD && between.is_some() && !rising {
            self.spaced += 1;
            self.meant(folded(&letters));
        }
    }

    fn meant(&mut self, word: String) {
        if self.meant.len() >= MOST_TOKENS || word.is_empty() {
            return;
        }
        if is_bait(&word) && self.baits.len() < MOST_TOKENS {
            self.baits.push(word.clone());
        }
        self.meant.push(word);
    }
}

/// Letters of a run.
#[derive(Debug, Default)]
struct Run {
    letters: String,
    between: Option<char>,
}

/// Text as it was meant to be read: without what nobody sees, in lower case, each letter the simplest that looks like it.
#[must_use]
pub fn folded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        fold(char, &mut out);
    }
    out
}

fn fold(char: char, out: &mut String) {
    if char.is_ascii() {
        out.push(char.to_ascii_lowercase());
        return;
    }
    if is_invisible(char) || is_direction(char) {
        return;
    }
    // Compatibility first (UAX 15): letters of mathematicians are letters.
    let mut simple = [char].into_iter().nfkc();
    if let (Some(first), None) = (simple.next(), simple.next())
        && first.is_ascii()
    {
        out.push(first.to_ascii_lowercase());
        return;
    }
    // Then what looks alike (UTS 39), where that is a letter of ours.
    let mut buffer = [0; 4];
    let start = out.len();
    out.extend(skeleton(char.encode_utf8(&mut buffer)));
    let alike = out.get(start..).unwrap_or_default();
    if !alike.is_empty() && alike.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        let lower = alike.to_ascii_lowercase();
        out.truncate(start);
        out.push_str(&lower);
    } else {
        out.truncate(start);
        out.extend([char].into_iter().nfkc().flat_map(char::to_lowercase));
    }
}

/// What a host or a name looks like: for comparison alone, since not only foreign letters are replaced here (UTS 39).
#[must_use]
pub fn looks_like(text: &str) -> String {
    // `I` looks like `l`, and `0` like `O`: so lower case comes first, and once more after.
    let lower: String = text.chars().flat_map(char::to_lowercase).collect();
    let alike: String = skeleton(&lower).flat_map(char::to_lowercase).collect();
    // Where the case of a letter is lost, as in hosts, `i` may have been `I`. Of short words there are too many that differ
    // by that alone.
    if alike.len() > 5 { alike.replace('i', "l") } else { alike }
}

/// What is seen by nobody: default ignorable characters that mail uses between letters.
#[must_use]
pub const fn is_invisible(char: char) -> bool {
    matches!(
        char,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{17b4}'
            | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2060}'..='\u{2064}'
            | '\u{206a}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// What turns the direction of text: UAX 9.
#[must_use]
pub const fn is_direction(char: char) -> bool {
    matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn belongs_to_word(char: char) -> bool {
    char.is_alphanumeric()
        || matches!(char, '@' | '$')
        || !char.is_ascii() && (is_invisible(char) || is_direction(char) || is_styled(char))
}

/// Letters of mathematicians, in circles, squares and small capitals. Wide ones belong to the scripts of the East.
const fn is_styled(char: char) -> bool {
    matches!(
        char,
        '\u{1d400}'..='\u{1d7ff}'
            | '\u{2460}'..='\u{24ff}'
            | '\u{1f110}'..='\u{1f189}'
            | '\u{1d00}'..='\u{1d2b}'
            | '\u{2102}'
            | '\u{210a}'..='\u{2113}'
            | '\u{2115}'
            | '\u{2118}'..='\u{211d}'
            | '\u{2124}'
            | '\u{2128}'
            | '\u{212c}'..='\u{2134}'
    )
}

/// The scripts that have letters which look like those of others.
#[derive(Debug, Default)]
struct Scripts {
    latin: bool,
    greek: bool,
    cyrillic: bool,
    other: bool,
    /// Scripts in which joiners are part of spelling.
    joins: bool,
}

impl Scripts {
    fn see(&mut self, char: char) {
        match char {
            'a'..='z' | 'A'..='Z' | '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => {
                self.latin = true
            }
            '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' if char.is_alphabetic() => {
                self.greek = true;
            }
            '\u{400}'..='\u{52f}' | '\u{1c80}'..='\u{1c8f}' | '\u{a640}'..='\u{a69f}' => {
                self.cyrillic = true;
            }
            // Armenian, Cherokee, Lisu, Coptic, Deseret.
            '\u{531}'..='\u{587}'
            | '\u{13a0}'..='\u{13ff}'
            | '\u{ab70}'..='\u{abbf}'
            | '\u{a4d0}'..='\u{a4ff}'
            | '\u{2c80}'..='\u{2cff}'
            | '\u{10400}'..='\u{1044f}' => self.other = true,
            '\u{600}'..='\u{8ff}'
            | '\u{900}'..='\u{dff}'
            | '\u{e00}'..='\u{109f}'
            | '\u{1780}'..='\u{18af}' => {
                self.joins = true;
            }
            _ => {}
        }
    }

    const fn are_mixed(&self) -> bool {
        let count = self.latin as u8 + self.greek as u8 + self.cyrillic as u8 + self.other as u8;
        count > 1
    }
}

/// Whether a digit or sign stands for that letter.
const fn stands_for(written: u8, letter: u8) -> bool {
    matches!(
        (written, letter),
        (b'0', b'o')
            | (b'1', b'i' | b'l')
            | (b'3', b'e')
            | (b'4' | b'@', b'a')
            | (b'5' | b'$', b's')
            | (b'7', b't')
    )
}

/// Whether a word is one that is disguised for one reason alone.
#[must_use]
pub fn is_bait(word: &str) -> bool {
    BAITS.binary_search(&word).is_ok()
}

/// In order.
const BAITS: &[&str] = &[
    "account",
    "accounts",
    "adobe",
    "airdrop",
    "amazon",
    "apple",
    "bank",
    "banking",
    "binance",
    "bitcoin",
    "bonus",
    "capitalone",
    "cash",
    "casino",
    "chase",
    "cialis",
    "citibank",
    "coinbase",
    "confirm",
    "credit",
    "crypto",
    "dating",
    "delivery",
    "dhl",
    "docusign",
    "dropbox",
    "ebay",
    "escorts",
    "ethereum",
    "expired",
    "facebook",
    "fedex",
    "free",
    "gift",
    "google",
    "hsbc",
    "icloud",
    "instagram",
    "investment",
    "invoice",
    "levitra",
    "linkedin",
    "loan",
    "loans",
    "locked",
    "login",
    "lottery",
    "mailbox",
    "metamask",
    "microsoft",
    "money",
    "mortgage",
    "netflix",
    "notification",
    "office",
    "onedrive",
    "outlook",
    "package",
    "passcode",
    "password",
    "payment",
    "payments",
    "paypal",
    "penis",
    "pharmacy",
    "pills",
    "poker",
    "porn",
    "porno",
    "prize",
    "profit",
    "refund",
    "replica",
    "rolex",
    "sale",
    "security",
    "sexy",
    "sharepoint",
    "suspended",
    "tramadol",
    "unsubscribe",
    "update",
    "urgent",
    "valium",
    "verification",
    "verify",
    "viagra",
    "wallet",
    "weight",
    "whatsapp",
    "winner",
    "xanax",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn study(text: &str) -> Disguise {
        Disguise::of(text, &Limits::default())
    }

    #[test]
    fn plain_text_is_none() {
        for text in [
            "",
            "Dear Sir, please find attached the invoice for May. Yours, A. B. C. Miller",
            "Sehr geehrte Damen und Herren, gr\u{fc}\u{df}e",
            "\u{41f}\u{440}\u{438}\u{432}\u{435}\u{442}, \u{43c}\u{438}\u{440}",
            "\u{3b1}-carotene and \u{394}T, 5 \u{b5}m",
            "a b c d e f g h",
            "H2O, mp3player, k8s, x86_64, b2b, R2D2, 4711",
            "\u{928}\u{92e}\u{938}\u{94d}\u{200d}\u{924}\u{947}",
            "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} \u{2764}\u{fe0f}",
            "\u{6cc}\u{200c}\u{6a9}",
            "\u{65e5}\u{672c}\u{8a9e}ABC\u{30c6}\u{30b9}\u{30c8}",
            "user@example.org costs $5",
            "- - - - - - -",
        ] {
            let found = study(text);
            assert!(found.is_empty(), "{text} {found:?}");
        }
    }

    #[test]
    fn disguises() {
        for (text, counts, meant) in [
            // Invisible, in words, directions, mixed, styled, spaced, digits.
            ("V\u{200b}iagra", [1, 1, 0, 0, 0, 0, 0], "viagra"),
            ("p\u{ad}assword", [1, 1, 0, 0, 0, 0, 0], "password"),
            ("pass\u{ad}\u{200b}word", [2, 2, 0, 0, 0, 0, 0], "password"),
            ("word\u{200b} word", [1, 0, 0, 0, 0, 0, 0], ""),
            ("\u{440}aypal", [0, 0, 0, 1, 0, 0, 0], "paypal"),
            ("Micr\u{3bf}soft", [0, 0, 0, 1, 0, 0, 0], "microsoft"),
            ("\u{1d4df}\u{1d4ea}\u{1d502}\u{1d439}", [0, 0, 0, 0, 1, 0, 0], "payf"),
            ("\u{24d5}\u{24e1}\u{24d4}\u{24d4}", [0, 0, 0, 0, 1, 0, 0], "free"),
            ("V i a g r a now", [0, 0, 0, 0, 0, 1, 0], "viagra"),
            ("V.i.a.g.r.a", [0, 0, 0, 0, 0, 1, 0], "viagra"),
            ("get v-i-a-g-r-a", [0, 0, 0, 0, 0, 1, 0], "viagra"),
            ("V1agra", [0, 0, 0, 0, 0, 0, 1], "viagra"),
            ("p@ypal", [0, 0, 0, 0, 0, 0, 1], "paypal"),
            ("passw0rd", [0, 0, 0, 0, 0, 0, 1], "password"),
            ("C1al1s", [0, 0, 0, 0, 0, 0, 1], "cialis"),
            ("bi11ing", [0, 0, 0, 0, 0, 0, 0], ""),
            ("abc\u{202e}fdp.exe", [0, 0, 1, 0, 0, 0, 0], ""),
        ] {
            let found = study(text);
            let found_counts = [
                found.invisible,
                found.invisible_in_words,
                found.directions,
                found.mixed,
                found.styled,
                found.spaced,
                found.digits,
            ];
            assert_eq!(found_counts, counts, "{text}");
            assert_eq!(found.meant.join(" "), meant, "{text}");
            assert_eq!(found.baits.is_empty(), !is_bait(meant), "{text}");
        }
    }

    #[test]
    fn words_that_may_be_parted() {
        let found = study("Daten\u{ad}schutz\u{ad}er\u{ad}kl\u{e4}\u{ad}rung, pass\u{ad}word");
        assert_eq!((found.hyphens, found.invisible, found.invisible_in_words), (5, 5, 0));
        assert!(found.meant.is_empty());
    }

    #[test]
    fn folding() {
        for (text, expected) in [
            ("", ""),
            ("PayPal", "paypal"),
            ("\u{420}\u{430}y", "pay"),
            ("\u{1d5d4}\u{ff21}\u{24b6}", "aaa"),
            ("gr\u{fc}n", "gr\u{fc}n"),
            ("\u{200b}a\u{202e}", "a"),
        ] {
            assert_eq!(folded(text), expected, "{text}");
        }
        for (one, other, alike) in [
            ("paypal", "PAYPAL", true),
            ("paypa1", "paypal", true),
            ("g00gle", "google", true),
            ("rnicrosoft", "microsoft", true),
            ("paypai", "paypal", true),
            ("appie", "apple", false),
            ("\u{440}\u{430}\u{443}\u{440}\u{430}l", "paypal", true),
            ("paypal", "payball", false),
        ] {
            assert_eq!(looks_like(one) == looks_like(other), alike, "{one} {other}");
        }
    }

    #[test]
    fn baits_are_in_order() {
        assert!(BAITS.is_sorted());
        assert!(is_bait("viagra") && !is_bait("garden"));
    }

    #[test]
    fn limits_hold() {
        let limits = Limits { words: 10, ..Limits::default() };
        assert_eq!(Disguise::of(&"word ".repeat(100), &limits).words, 10);
        let found = study(&"V\u{200b}iagra ".repeat(1_000));
        assert_eq!((found.meant.len(), found.invisible), (MOST_TOKENS, 1_000));
        study(&"a ".repeat(500_000));
        study(&"\u{200b}".repeat(100_000));
    }

    proptest! {
        #[test]
        fn anything(text in "(?s).{0,200}") {
            let found = study(&text);
            prop_assert!(found.meant.len() <= MOST_TOKENS);
            prop_assert!(found.invisible_in_words <= found.invisible);
            let _ = looks_like(&text);
            let once = folded(&text);
            prop_assert!(!once.chars().any(is_invisible));
        }
    }
}
