//! Why a message was judged as it was, in its own words.

use std::collections::HashMap;

use crate::tokens::{Origin, Sink};

/// Pieces of a message, the strongest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// Those that speak for spam.
    pub spam: Vec<Piece>,
    /// Those that speak against it.
    pub ham: Vec<Piece>,
}

/// A piece of a message and what it says.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// The word, pair, link, ... as it was read, with where it stood: `subject: winner`.
    pub text: String,
    /// About how much it moved the log-odds.
    pub log_odds: f32,
}

/// Remembers pieces with their text.
#[derive(Default)]
pub(crate) struct Witness {
    pieces: Vec<(u64, String)>,
    /// Where the text of each piece is.
    seen: HashMap<u64, usize>,
}

impl Witness {
    /// The strongest pieces, by what `weigh` says of their hashes.
    pub(crate) fn evidence(self, most: usize, weigh: impl Fn(u64) -> Option<f32>) -> Evidence {
        let mut pieces: Vec<Piece> = self
            .pieces
            .into_iter()
            .filter_map(|(hash, text)| Some(Piece { text, log_odds: weigh(hash)? }))
            .filter(|piece| piece.log_odds.abs() > 0.001)
            .collect();
        pieces.sort_by(|a, b| b.log_odds.abs().total_cmp(&a.log_odds.abs()));
        let (spam, ham): (Vec<_>, Vec<_>) =
            pieces.into_iter().partition(|piece| piece.log_odds > 0.0);
        let strongest = |pieces: Vec<Piece>| pieces.into_iter().take(most).collect();
        Evidence { spam: strongest(spam), ham: strongest(ham) }
    }

    fn remember(&mut self, hash: u64, text: impl FnOnce(&Self) -> String) {
        if !self.seen.contains_key(&hash) {
            let text = text(self);
            self.seen.insert(hash, self.pieces.len());
            self.pieces.push((hash, text));
        }
    }

    fn text(&self, hash: u64) -> &str {
        let piece = self.seen.get(&hash).and_then(|&at| self.pieces.get(at));
        piece.map_or("", |(_, text)| text)
    }
}

impl Sink for Witness {
    fn single(&mut self, hash: u64, origin: Origin, text: &[u8]) {
        self.remember(hash, |_| {
            let text = String::from_utf8_lossy(text);
            let text = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
            let label = origin.label();
            let colon = if label.is_empty() { "" } else { ": " };
            format!("{label}{colon}{}", text.collect::<String>())
        });
    }

    fn pair(&mut self, hash: u64, [first, second]: [u64; 2], back: usize) {
        self.remember(hash, |known| {
            let between = if back > 1 { " ... " } else { " " };
            let second = known.text(second);
            let second = second.split_once(": ").map_or(second, |(_, word)| word);
            format!("{}{between}{second}", known.text(first))
        });
    }
}
