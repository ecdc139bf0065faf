//! Whether two messages are one, sent twice with small changes.
//!
//! Of every three words in a row a number is made, and of all these numbers, each shuffled in 32 ways, the smallest is kept
//! (min-hashes). The share of those that two texts have in common is an estimate of how many of their threes they have in common
//! (Jaccard's measure), within about a sixth. What differs from recipient to recipient is taken out before: numbers, links, addresses,
//! letter case, disguises. Of large parts, a hash is kept as they are.

use crate::disguise::{is_direction, is_invisible};
use crate::part::{Part, Role};

/// Numbers that are kept of a text.
pub const MINIMA: usize = 32;

/// Groups of them that are looked up as one.
pub const BANDS: usize = 8;

/// Words that are looked at: what makes a campaign stands at its beginning, and time grows with this.
const MOST_WORDS: usize = 3_000;

/// Words that a text must have to be one among others: greetings are all alike.
const FEWEST_WORDS: usize = 10;

/// Octets from which on a part is known by its hash. Smaller ones are logos and signatures, that everybody has.
pub const LARGE: usize = 4 << 10;

/// The shuffles. Whoever knows them can write messages that look like those of others, so that each installation has its own;
/// what is compared is made with one.
#[derive(Clone)]
pub struct Key([u64; MINIMA]);

impl Key {
    /// The shuffles of a secret.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(secret);
        hasher.update(b"muralla filter fingerprint 1");
        let mut reader = hasher.finalize_xof();
        let mut seeds = [0; MINIMA];
        for seed in &mut seeds {
            let mut octets = [0; 8];
            reader.fill(&mut octets);
            *seed = u64::from_le_bytes(octets);
        }
        Self(seeds)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

/// What a message is known by.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Fingerprint {
    /// Of its text; nothing if there is too little of it.
    pub text: Option<[u64; MINIMA]>,
    /// Of its large parts, BLAKE3, each once.
    pub parts: Vec<[u8; 32]>,
}

impl Fingerprint {
    /// What a text and these parts are known by.
    #[must_use]
    pub fn of(text: &str, parts: &[Part<'_>], key: &Key) -> Self {
        let mut large: Vec<[u8; 32]> = parts
            .iter()
            .filter(|part| part.role == Role::Attachment && part.size() >= LARGE)
            .map(|part| *blake3::hash(&part.content).as_bytes())
            .collect();
        large.sort_unstable();
        large.dedup();
        Self { text: minima(text, key), parts: large }
    }

    /// How much of their texts two messages have in common, from 0 to 1; nothing if one has too little.
    #[must_use]
    pub fn similarity(&self, other: &Self) -> Option<f32> {
        let (one, other) = (self.text.as_ref()?, other.text.as_ref()?);
        let same = one.iter().zip(other).filter(|(one, other)| one == other).count();
        Some(same as f32 / MINIMA as f32)
    }

    /// Numbers by which similar texts are found: texts of which 80 % is common have one of these in common 98 times of 100, those
    /// with 30 % six.
    #[must_use]
    pub fn bands(&self) -> Option<[u64; BANDS]> {
        let minima = self.text.as_ref()?;
        let mut bands = [0; BANDS];
        for ((number, band), rows) in
            (0_u64..).zip(&mut bands).zip(minima.chunks_exact(MINIMA / BANDS))
        {
            *band = rows.iter().fold(mix(number), |hash, row| mix(hash ^ row));
        }
        Some(bands)
    }
}

fn minima(text: &str, key: &Key) -> Option<[u64; MINIMA]> {
    let mut minima = [u64::MAX; MINIMA];
    let mut last = [0_u64; 2];
    let mut count = 0;
    let mut link = false;
    for word in text.split_whitespace() {
        // Links and addresses differ from recipient to recipient; that there is one does not. Several are as one.
        if word.contains("://") || word.contains('@') || word.starts_with("www.") {
            if !link {
                count += 1;
                see(LINK, &mut last, count, key, &mut minima);
            }
            link = true;
            continue;
        }
        for piece in word.split(|char: char| !(char.is_alphanumeric() || is_invisible(char))) {
            let Some(hash) = word_hash(piece) else { continue };
            link = false;
            count += 1;
            see(hash, &mut last, count, key, &mut minima);
        }
        if count >= MOST_WORDS {
            break;
        }
    }
    (count >= FEWEST_WORDS).then_some(minima)
}

/// What stands for a link.
const LINK: u64 = 0x6c69_6e6b;

fn see(word: u64, last: &mut [u64; 2], count: usize, key: &Key, minima: &mut [u64; MINIMA]) {
    let [first, second] = *last;
    *last = [second, word];
    if count < 3 {
        return;
    }
    let three = mix(mix(first.wrapping_add(mix(second))) ^ word);
    for (minimum, seed) in minima.iter_mut().zip(&key.0) {
        *minimum = (*minimum).min(mix(three ^ seed));
    }
}

/// A number for a word, without what is not seen; nothing if it has a digit or nothing to see.
fn word_hash(word: &str) -> Option<u64> {
    // FNV-1a: words are short.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut any = false;
    let mut see = |char: char| {
        any = true;
        hash = (hash ^ u64::from(u32::from(char))).wrapping_mul(0x0100_0000_01b3);
    };
    for char in word.chars() {
        if char.is_ascii() {
            if char.is_ascii_digit() {
                return None;
            }
            see(char.to_ascii_lowercase());
        } else if !is_invisible(char) && !is_direction(char) {
            let mut buffer = [0; 4];
            for char in crate::disguise::folded(char.encode_utf8(&mut buffer)).chars() {
                see(char);
            }
        }
    }
    any.then_some(hash)
}

/// A number that looks like none before: the end of SplitMix64, which is one to one.
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CAMPAIGN: &str = "Dear customer, we have noticed that your mailbox is almost full and that you will not be able to \
        receive new messages in the next days. In order to keep your mailbox please confirm your account with the button below \
        within the next day, or all messages which are waiting for you will be returned to those who sent them. We are sorry for \
        the trouble that this may give you, and thank you for your patience. Your team for mail and security, all rights reserved \
        https://a.example/k?x=1";

    const OTHER: &str = "Hello everybody, the meeting on Thursday is moved to the large room on the third floor because the small one \
        is being painted. Please bring the figures of the last quarter with you, and tell those who are not on this list. There \
        will be coffee, and cake if somebody brings one. Until then, and see you on Thursday at the usual time, the secretary";

    fn print(text: &str) -> Fingerprint {
        Fingerprint::of(text, &[], &Key::new(&[7; 32]))
    }

    #[test]
    fn small_changes_change_little() {
        let original = print(CAMPAIGN);
        for (what, text, least) in [
            ("nothing", CAMPAIGN.to_owned(), 1.0),
            ("letter case", CAMPAIGN.to_uppercase().replace("HTTPS", "https"), 1.0),
            ("spaces", CAMPAIGN.replace(' ', "\r\n  "), 1.0),
            ("another link", CAMPAIGN.replace("a.example/k?x=1", "b.example/another/one"), 1.0),
            ("signs", CAMPAIGN.replace([',', '.'], " ").replace("a example", "a.example"), 1.0),
            (
                "disguises",
                CAMPAIGN.replace("mailbox", "mail\u{200b}box").replace("account", "\u{430}ccount"),
                1.0,
            ),
            ("a number", CAMPAIGN.replace("in the next days", "in the next 48 days"), 1.0),
            ("a name", CAMPAIGN.replace("customer", "Mary"), 0.75),
            ("a few words", CAMPAIGN.replace("sorry", "unhappy").replace("button", "link"), 0.6),
            ("a sentence more", format!("{CAMPAIGN} reference is kept for you"), 0.75),
        ] {
            let similarity = original.similarity(&print(&text)).unwrap();
            assert!(similarity >= least, "{what}: {similarity}");
        }
        for (what, text) in [
            ("another text", OTHER.to_owned()),
            ("the same words, shuffled", {
                let mut words: Vec<&str> = CAMPAIGN.split(' ').collect();
                words.sort_unstable();
                words.join(" ")
            }),
        ] {
            let similarity = original.similarity(&print(&text)).unwrap();
            assert!(similarity <= 0.1, "{what}: {similarity}");
        }
    }

    #[test]
    fn similar_texts_are_found() {
        let common = |one: &str, other: &str| {
            let (one, other) = (print(one).bands().unwrap(), print(other).bands().unwrap());
            one.iter().zip(other).filter(|(one, other)| **one == *other).count()
        };
        assert_eq!(common(CAMPAIGN, CAMPAIGN), BANDS);
        assert!(common(CAMPAIGN, &CAMPAIGN.replace("customer", "Mary")) >= 1);
        assert_eq!(common(CAMPAIGN, OTHER), 0);
    }

    #[test]
    fn too_little_is_nothing() {
        for text in ["", "Hi", "see you on Thursday, then", "1 2 3 4 5 6 7 8 9 10 11 12"] {
            assert_eq!(print(text), Fingerprint::default(), "{text}");
        }
        assert_eq!(print("Hi").similarity(&print(CAMPAIGN)), None);
    }

    #[test]
    fn keys_differ() {
        let other = Fingerprint::of(CAMPAIGN, &[], &Key::new(&[8; 32]));
        assert_eq!(print(CAMPAIGN).similarity(&other), Some(0.0));
        assert_eq!(format!("{:?}", Key::new(&[7; 32])), "Key");
    }

    /// What was made before is compared with what is made after an upgrade.
    #[test]
    fn it_stays_as_it_is() {
        let text = print(CAMPAIGN).text.unwrap();
        assert_eq!((text[0], text[31]), (464_414_693_048_135_256, 445_342_315_486_001_767));
    }

    proptest! {
        #[test]
        fn anything(text in "(?s)(.|[a-z]{1,5} ){0,200}") {
            let print = print(&text);
            prop_assert!(print.similarity(&print).is_none_or(|similarity| similarity == 1.0));
        }
    }
}
