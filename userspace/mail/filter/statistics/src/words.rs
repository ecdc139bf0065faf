//! FTRL-proximal: logistic regression on words and pairs, in which every word learns at its own pace.
//!
//! A word that was met often has had its say and moves little; a new one moves much. What a word has to say is kept as sums
//! of gradients, from which its weight follows when it is asked for, and small weights are none.

use crate::lexicon::Entry;
use crate::parameters::Parameters;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Words {
    alpha: f32,
    beta: f32,
    l1: f32,
    l2: f32,
    scale: f32,
}

impl Words {
    pub(crate) const fn new(parameters: &Parameters) -> Self {
        Self {
            alpha: parameters.word_alpha,
            beta: parameters.word_beta,
            l1: parameters.word_l1,
            l2: parameters.word_l2,
            scale: parameters.word_scale,
        }
    }

    /// What each of so many words counts: long messages say no more than short ones.
    pub(crate) fn scale(&self, words: usize) -> f32 {
        self.scale / (words.max(1) as f32).sqrt()
    }

    /// What a word adds to the log-odds, before it is scaled.
    pub(crate) fn weight(&self, entry: &Entry) -> f32 {
        if entry.z.abs() <= self.l1 {
            return 0.0;
        }
        (self.l1.copysign(entry.z) - entry.z)
            / ((self.beta + entry.n.sqrt()) / self.alpha + self.l2)
    }

    /// Learns that the message's probability was off by `-gradient`.
    pub(crate) fn learn(&self, entry: &mut Entry, gradient: f32) {
        let weight = self.weight(entry);
        let n = entry.n + gradient * gradient;
        entry.z += gradient - (n.sqrt() - entry.n.sqrt()) / self.alpha * weight;
        entry.n = n;
    }
}
