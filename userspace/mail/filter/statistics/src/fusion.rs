//! Whom to believe: a logistic regression on what the learners said, learned as lessons come.
//!
//! A learner's log-odds are squashed, so that one which is very sure and very wrong can be overruled, but never cut off:
//! which of two sure things is surer must not be lost.

use crate::parameters::Parameters;

/// Learners that are fused.
pub(crate) const LEARNERS: usize = 4;

/// What each learner believes, in log-odds of spam.
pub(crate) type Voices = [f32; LEARNERS];

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fusion {
    pub(crate) weights: Voices,
    pub(crate) bias: f32,
    rate: f32,
    squash: f32,
}

/// Beyond it a learner would be believed blindly.
const HIGHEST: f32 = 40.0;

/// Weights learn faster than the bias: they have a voice only where their learner has one.
const FASTER: f32 = 10.0;

impl Fusion {
    pub(crate) fn new(parameters: &Parameters) -> Self {
        Self {
            weights: [parameters.fusion_weight; LEARNERS],
            bias: 0.0,
            rate: parameters.fusion_rate,
            squash: parameters.squash,
        }
    }

    pub(crate) fn log_odds(&self, voices: &Voices) -> f32 {
        let weighed = self.weights.iter().zip(voices);
        self.bias + weighed.map(|(weight, voice)| weight * self.squashed(*voice)).sum::<f32>()
    }

    /// Learns that the fused probability was off.
    pub(crate) fn learn(&mut self, voices: &Voices, error: f32) {
        let step = self.rate * error;
        for (weight, voice) in self.weights.iter_mut().zip(voices) {
            let voice = voice / (self.squash + voice.abs());
            // A learner may be useless, but it is never to be taken for its opposite.
            *weight = (*weight + step * voice * FASTER).clamp(0.0, HIGHEST);
        }
        self.bias = (self.bias + step).clamp(-HIGHEST, HIGHEST);
    }

    /// How much the fused log-odds move with each voice.
    pub(crate) fn slopes(&self, voices: &Voices) -> Voices {
        let mut slopes = self.weights;
        for (slope, voice) in slopes.iter_mut().zip(voices) {
            *slope *= self.squash / (self.squash + voice.abs()).powi(2);
        }
        slopes
    }

    fn squashed(&self, voice: f32) -> f32 {
        voice / (self.squash + voice.abs())
    }
}

/// The probability that belongs to log-odds.
pub(crate) fn probability(log_odds: f32) -> f32 {
    1.0 / (1.0 + (-log_odds).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_neutral() {
        let fusion = Fusion::new(&Parameters::default());
        assert_eq!(fusion.log_odds(&[0.0; LEARNERS]), 0.0);
        assert_eq!(probability(0.0), 0.5);
    }

    #[test]
    fn a_learner_that_is_right_is_believed_more() {
        let mut fusion = Fusion::new(&Parameters::default());
        for turn in 0..200 {
            let target = if turn % 2 == 0 { 1.0 } else { 0.0 };
            let right = if turn % 2 == 0 { 5.0 } else { -5.0 };
            let mut voices = [0.0; LEARNERS];
            voices[..2].copy_from_slice(&[right, -right]);
            let error = target - probability(fusion.log_odds(&voices));
            fusion.learn(&voices, error);
        }
        let begun = Parameters::default().fusion_weight;
        assert!(fusion.weights[0] > begun, "{fusion:?}");
        assert!((0.0..begun).contains(&fusion.weights[1]), "{fusion:?}");
        assert_eq!(fusion.weights[2], begun);
    }

    #[test]
    fn surer_stays_surer() {
        let fusion = Fusion::new(&Parameters::default());
        let mut last = f32::MIN;
        for voice in [-1000.0, -100.0, -5.0, 0.0, 5.0, 100.0, 1000.0] {
            let mut voices = [0.0; LEARNERS];
            voices[0] = voice;
            let fused = fusion.log_odds(&voices);
            assert!(fused > last, "{voice}");
            last = fused;
        }
    }
}
