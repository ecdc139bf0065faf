//! A model that is small enough to be handed out.

use crate::ledger::Ledger;
use crate::lexicon::{Entry, UNIT};
use crate::model::Model;
use crate::personal::Personal;
use crate::rehearsal::Rehearsal;

/// Weights of letters that say less are left out.
const FAINT: f32 = 0.01;

impl Model {
    /// The model without what makes it big: what was met in one lesson only, weights that say next to nothing, and what
    /// users said. The numbers that stay are rounded to 8 bits, so that a file of it compresses well.
    ///
    /// It has the key that it was learned with. One that is handed out is learned with a key that everybody may know; what
    /// that gives away is which words share a slot, until enough was learned with a key of the installation's own.
    #[must_use]
    pub fn condensed(&self) -> Self {
        let mut model = self.clone();
        for entry in model.lexicon.buckets.iter_mut().flat_map(|bucket| &mut bucket.0) {
            if entry.lessons() <= u32::from(UNIT) {
                *entry = Entry::default();
            }
            entry.z = rounded(entry.z);
            entry.n = rounded(entry.n);
        }
        for weight in &mut model.grams.weights {
            *weight = if weight.abs() < FAINT { 0.0 } else { rounded(*weight) };
        }
        for slot in &mut model.contexts.long {
            if slot.map(u32::from).iter().sum::<u32>() <= u32::from(UNIT / 4) {
                *slot = [0; 2];
            }
        }
        model.personal = Personal::new(&model.parameters);
        model.ledger = Ledger::new();
        model.rehearsal = Rehearsal::new(model.parameters.rehearsed);
        model
    }
}

/// The number with the first 8 of its 24 bits.
fn rounded(number: f32) -> f32 {
    f32::from_bits(number.to_bits().saturating_add(0x8000) & 0xffff_0000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::{ham, spam, taught};
    use crate::scratch::Scratch;

    #[test]
    fn numbers_are_rounded() {
        for (number, expected) in [
            (0.0, 0.0),
            (1.0, 1.0),
            (-3.5, -3.5),
            (1.003_906_25, 1.007_812_5),
            (-0.1, -0.100_097_656),
        ] {
            assert_eq!(rounded(number), expected);
        }
    }

    #[test]
    fn small_and_nearly_as_good() {
        let model = taught();
        let condensed = model.condensed();
        let size = |model: &Model| {
            let mut octets = Vec::new();
            model.write(&mut octets).unwrap();
            octets.len()
        };
        assert!(size(&condensed) < size(&model));
        let mut scratch = Scratch::new();
        for turn in 100..110 {
            assert!(condensed.score(&ham(turn).text(), None, &mut scratch).probability < 0.1);
            assert!(condensed.score(&spam(turn).text(), None, &mut scratch).probability > 0.9);
        }
        assert_eq!(condensed.tally(), model.tally());
    }
}
