//! A language that nobody speaks, with as many words as people use, some of them often and most of them seldom.

use crate::random::Random;

use super::{below, pick};

/// Words of the language.
const COUNT: usize = 6_000;
/// Words that are prepared to be said, each as often as it is said.
const DRAWS: usize = 1 << 16;

const ONSETS: [&str; 24] = [
    "b", "c", "d", "f", "g", "h", "l", "m", "n", "p", "r", "s", "t", "v", "w", "st", "tr", "pr",
    "ch", "sh", "th", "", "", "",
];
const VOWELS: [&str; 12] = ["a", "e", "i", "o", "u", "e", "a", "i", "ea", "ou", "io", "e"];
const CODAS: [&str; 16] =
    ["", "", "", "n", "r", "s", "t", "l", "d", "m", "nt", "st", "ng", "ll", "ck", "rs"];

/// The language.
#[derive(Debug)]
pub(super) struct Words {
    words: Vec<String>,
    draws: Vec<u16>,
}

impl Words {
    pub(super) fn new() -> Self {
        let mut random = Random::seeded(1);
        let words: Vec<String> = (0..COUNT).map(|rank| word(rank, &mut random)).collect();
        // Zipf's law: a word is said in proportion to one by its rank.
        let sum: f64 = (1..=COUNT).map(|rank| 1.0 / rank as f64).sum();
        let mut draws = Vec::with_capacity(DRAWS);
        let mut said = 0.0;
        for rank in 0..COUNT {
            said += 1.0 / (rank + 1) as f64;
            let until = (said / sum * DRAWS as f64) as usize;
            draws.resize(until.clamp(draws.len(), DRAWS), rank as u16);
        }
        draws.resize(DRAWS, 0);
        Self { words, draws }
    }

    pub(super) fn word(&self, random: &mut Random) -> &str {
        let at = below(random, self.draws.len() as u64) as usize;
        let rank = self.draws.get(at).copied().unwrap_or_default();
        self.words.get(usize::from(rank)).map_or("", String::as_str)
    }

    /// One of those that are said seldom, for names.
    pub(super) fn name(&self, random: &mut Random) -> String {
        let at = COUNT / 4 + below(random, (COUNT / 4) as u64) as usize;
        self.words.get(at).cloned().unwrap_or_default()
    }

    /// Some words with an end, and a number now and then.
    pub(super) fn sentence(&self, random: &mut Random) -> Vec<u8> {
        let mut sentence = Vec::with_capacity(96);
        let count = 4 + below(random, 15);
        for at in 0..count {
            let drawn = random.next_u64() % 24;
            let word = self.word(random);
            let mut bytes = word.bytes();
            // The first one, and names.
            if (at == 0 || drawn == 0)
                && let Some(first) = bytes.next()
            {
                sentence.push(first.to_ascii_uppercase());
            }
            sentence.extend(bytes);
            match drawn {
                1 => sentence.extend_from_slice(format!(" {}", below(random, 3_000)).as_bytes()),
                2 if at + 1 < count => sentence.push(b','),
                _ => {}
            }
            if at + 1 < count {
                sentence.push(b' ');
            }
        }
        sentence.extend_from_slice(pick(random, &[".", ".", ".", ".", "?", "!"]).as_bytes());
        sentence
    }

    /// Paragraphs of about so many bytes, in lines of 72.
    pub(super) fn paragraphs(&self, to: &mut Vec<u8>, bytes: usize, random: &mut Random) {
        let end = to.len() + bytes;
        while to.len() < end {
            let mut column = 0;
            for _ in 0..2 + below(random, 5) {
                if to.len() >= end {
                    break;
                }
                let sentence = self.sentence(random);
                for word in sentence.split(|&byte| byte == b' ') {
                    if column > 0 && column + word.len() >= 72 {
                        to.extend_from_slice(b"\r\n");
                        column = 0;
                    } else if column > 0 {
                        to.push(b' ');
                        column += 1;
                    }
                    to.extend_from_slice(word);
                    column += word.len();
                }
            }
            to.extend_from_slice(b"\r\n\r\n");
        }
    }
}

/// The more often a word is said, the shorter it is.
fn word(rank: usize, random: &mut Random) -> String {
    let syllables = match rank {
        0..60 => 1,
        60..800 => 1 + below(random, 2),
        _ => 2 + below(random, 3),
    };
    (0..syllables)
        .map(|_| {
            let [onset, vowel] = [pick(random, &ONSETS), pick(random, &VOWELS)];
            format!("{onset}{vowel}{}", pick(random, &CODAS))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_words_are_said_often() {
        let words = Words::new();
        assert_eq!(words.draws.len(), DRAWS);
        let often = words.draws.iter().filter(|&&rank| rank < 100).count() as f64;
        // The harmonic numbers of 100 and of 6,000 are 5.19 and 9.28.
        assert!((often / DRAWS as f64 - 0.559).abs() < 0.01, "{often}");
        let mut random = Random::seeded(3);
        let mut text = Vec::new();
        words.paragraphs(&mut text, 5_000, &mut random);
        let text = String::from_utf8(text).unwrap();
        assert!((5_000..6_500).contains(&text.len()), "{}", text.len());
        assert!(text.lines().all(|line| line.len() <= 90), "{text}");
        assert!(text.ends_with("\r\n\r\n"));
    }
}
