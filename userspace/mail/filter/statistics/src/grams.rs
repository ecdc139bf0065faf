//! Logistic regression on every four letters that follow each other, at the beginning of a message.
//!
//! It needs no idea of what a word is, and learns obfuscation, languages and the hand of a program as it comes.

use crate::distinct::Distinct;
use crate::hash::Key;
use crate::parameters::Parameters;
use crate::text::{Text, Treatment};
use crate::tokens::cut;

/// Octets of one header field that are read.
const LONGEST_VALUE: usize = 200;

#[derive(Clone, Debug)]
pub(crate) struct Grams {
    pub(crate) weights: Box<[f32]>,
    rate: f32,
}

impl Grams {
    pub(crate) fn new(parameters: &Parameters) -> Self {
        let weights = vec![0.0; 1 << parameters.gram_bits].into_boxed_slice();
        Self { weights, rate: parameters.gram_rate }
    }

    pub(crate) fn log_odds(&self, slots: &[u32]) -> f32 {
        slots.iter().filter_map(|&slot| self.weights.get(slot as usize)).sum()
    }

    /// Moves every weight by what the message's probability was off.
    pub(crate) fn learn(&mut self, slots: &[u32], error: f32) {
        let step = error * self.rate;
        for &slot in slots {
            if let Some(weight) = self.weights.get_mut(slot as usize) {
                *weight += step;
            }
        }
    }
}

/// Writes down what is read letter by letter.
pub(crate) fn spell(parameters: &Parameters, text: &Text<'_>, letters: &mut Vec<u8>) {
    letters.clear();
    let end = usize::from(parameters.gram_header);
    for (name, value, _, field) in text.known_fields() {
        if letters.len() >= end {
            break;
        }
        letters.extend_from_slice(name.as_bytes());
        letters.push(b':');
        match field.treatment {
            Treatment::Words | Treatment::Addresses | Treatment::Media | Treatment::Software => {
                letters.extend_from_slice(cut(value, LONGEST_VALUE).as_bytes());
            }
            Treatment::Date | Treatment::Identifier => {
                // Not which day or number it was, but how such a thing is written.
                let local = value.split('@').next().unwrap_or_default();
                letters.extend(cut(local, LONGEST_VALUE).bytes().map(|byte| match byte {
                    b'0'..=b'9' => b'9',
                    other => other,
                }));
            }
            Treatment::Recipients => {
                letters.extend(cut(value, 80).bytes().filter(|byte| !byte.is_ascii_alphanumeric()));
            }
            Treatment::Presence => {}
        }
        letters.push(b'\n');
    }
    letters.truncate(end);
    for (part, most) in [
        (text.body, parameters.gram_body),
        (text.clear, parameters.gram_body / 2),
        (text.markup, parameters.gram_markup),
    ] {
        letters.push(b'\n');
        letters.extend_from_slice(cut(part, usize::from(most)).as_bytes());
    }
}

/// Slots of a message's grams, each once.
pub(crate) fn slots(
    key: &Key,
    bits: u8,
    letters: &[u8],
    seen: &mut Distinct,
    slots: &mut Vec<u32>,
) {
    seen.clear();
    slots.clear();
    let shift = u64::BITS - u32::from(bits);
    let mut gram = 0_u32;
    for (at, &letter) in letters.iter().enumerate() {
        gram = gram << 8 | u32::from(letter);
        if at >= 3 {
            let slot = key.gram(gram) >> shift;
            if seen.insert(slot) {
                slots.push(slot as u32);
            }
        }
    }
}
