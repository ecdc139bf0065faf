//! Patterns of `=~`: regular expressions, with bounds.
//!
//! Most patterns in providers' tables are plain text with an anchor or two (`^02159`), and there may be one for each
//! of a hundred thousand subscribers: such are kept as text, in a hundredth of the memory.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

/// Longest pattern, in bytes.
pub const LONGEST: usize = 512;

/// Most memory of one expression, in bytes. Matching takes time in proportion to what is matched, never more.
const MOST_MEMORY: usize = 256 * 1024;

/// A pattern.
#[derive(Clone)]
pub(crate) enum Pattern {
    /// `^text$`
    Whole(Box<[u8]>),
    /// `^text`
    Beginning(Box<[u8]>),
    /// `text$`
    End(Box<[u8]>),
    Other(Box<Regex>),
}

/// Why a pattern can't be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PatternError {
    /// It is too long, or would take too much memory.
    #[error("the pattern is longer than {LONGEST} bytes, or repeats too much: make it simpler")]
    TooBig,
    /// It is no regular expression.
    #[error("the pattern is no regular expression: {0}")]
    Syntax(String),
}

impl Pattern {
    /// Reads a pattern, as Perl writes them but for what looks back or ahead. Letters' case matters, unless it
    /// begins with `(?i)`.
    pub(crate) fn parse(text: &str) -> Result<Self, PatternError> {
        if text.len() > LONGEST {
            return Err(PatternError::TooBig);
        }
        if let Some(plain) = plain(text) {
            return Ok(plain);
        }
        let regex = RegexBuilder::new(text)
            .unicode(false)
            .size_limit(MOST_MEMORY)
            .dfa_size_limit(MOST_MEMORY)
            .build();
        match regex {
            Ok(regex) => Ok(Self::Other(Box::new(regex))),
            Err(regex::Error::CompiledTooBig(_)) => Err(PatternError::TooBig),
            Err(error) => {
                // The last line says what it is; those before draw the place.
                let text = error.to_string();
                let words = text.lines().last().unwrap_or_default().trim();
                Err(PatternError::Syntax(words.trim_start_matches("error: ").to_owned()))
            }
        }
    }

    /// Whether it is in `text`.
    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        match self {
            Self::Whole(literal) => **literal == *text,
            Self::Beginning(literal) => text.starts_with(literal),
            Self::End(literal) => text.ends_with(literal),
            Self::Other(regex) => regex.is_match(text),
        }
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lossy = String::from_utf8_lossy;
        match self {
            Self::Whole(literal) => write!(out, "^{}$", lossy(literal)),
            Self::Beginning(literal) => write!(out, "^{}", lossy(literal)),
            Self::End(literal) => write!(out, "{}$", lossy(literal)),
            Self::Other(regex) => out.write_str(regex.as_str()),
        }
    }
}

/// The pattern, if it is plain text with an anchor.
fn plain(text: &str) -> Option<Pattern> {
    let (anchored, rest) = match text.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut literal = Vec::with_capacity(rest.len());
    let mut characters = rest.chars().peekable();
    let mut ends = false;
    while let Some(character) = characters.next() {
        let taken = match character {
            '$' if characters.peek().is_none() => {
                ends = true;
                break;
            }
            // An escaped letter or digit has a meaning of its own, and so have these two.
            '\\' => characters
                .next()
                .filter(|one| one.is_ascii_punctuation() && !matches!(one, '<' | '>'))?,
            '.' | '^' | '$' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' => {
                return None;
            }
            other => other,
        };
        literal.extend_from_slice(taken.encode_utf8(&mut [0; 4]).as_bytes());
    }
    let literal = literal.into_boxed_slice();
    match (anchored, ends) {
        (true, true) => Some(Pattern::Whole(literal)),
        (true, false) => Some(Pattern::Beginning(literal)),
        (false, true) => Some(Pattern::End(literal)),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns() {
        let cases = [
            ("^02159", "021595550100", true),
            ("^02159", "0021595550100", false),
            ("55$", "0215955", true),
            ("55$", "0215956", false),
            ("^0215955$", "0215955", true),
            ("^0215955$", "02159550", false),
            ("215", "0215955", true),
            ("", "anything", true),
            ("^$", "", true),
            ("^$", "x", false),
            ("^a\\.b$", "a.b", true),
            ("^a\\.b$", "axb", false),
            ("^a.b$", "axb", true),
            ("^(021|022)", "0229", true),
            ("^[0-9a-f]{4}$", "00ff", true),
            ("^\\d+$", "0123", true),
            ("(?i)^ANN$", "ann", true),
            ("^a{2}$", "aa", true),
            ("^a|b$", "xb", true),
            ("\u{e9}t\u{e9}$", "\u{e9}t\u{e9}", true),
            // The line's end is no end.
            ("^a$", "a\n", false),
        ];
        for (pattern, text, expected) in cases {
            let parsed = Pattern::parse(pattern).unwrap();
            assert_eq!(parsed.matches(text.as_bytes()), expected, "{pattern} {text}");
        }
        assert!(matches!(Pattern::parse("^02159"), Ok(Pattern::Beginning(_))));
    }

    #[test]
    fn patterns_without_end_are_refused() {
        assert_eq!(Pattern::parse(&"x".repeat(513)).err(), Some(PatternError::TooBig));
        let deep = Pattern::parse("((((a{100}){100}){100}){100})");
        assert_eq!(deep.err(), Some(PatternError::TooBig));
        for text in ["(", "a{2,1}", "*", "(?=a)", "\\1", "[b-a]"] {
            let Err(PatternError::Syntax(words)) = Pattern::parse(text) else {
                panic!("{text} is a pattern?");
            };
            assert!(!words.is_empty() && !words.contains('\n'), "{text}: {words}");
        }
    }

    proptest! {
        /// What is taken for plain text means what the expression means.
        #[test]
        fn plain_text_means_the_same(
            pattern in "\\^?[a-c.\\\\^$ -]{0,6}\\$?",
            text in "[a-c.\\\\^$ -]{0,8}",
        ) {
            if let Ok(parsed) = Pattern::parse(&pattern) {
                let regex = RegexBuilder::new(&pattern).unicode(false).build().unwrap();
                prop_assert_eq!(parsed.matches(text.as_bytes()), regex.is_match(text.as_bytes()));
            }
        }
    }
}
