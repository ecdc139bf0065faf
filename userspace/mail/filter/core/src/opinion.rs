//! How likely a message is spam, and why.

use crate::reason::Reason;

/// How likely a message is spam, for anybody.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Opinion {
    /// Log-odds of spam, all in all: 0 is as likely as not, 4.6 is 99 %.
    pub log_odds: f32,
    /// What of that comes from what the message says.
    pub content: f32,
    /// What a recipient's own lessons add to that.
    pub personal: f32,
    /// What was found, with what each is worth in log-odds; what is worth most first.
    pub reasons: Vec<(Reason, f32)>,
}

impl Opinion {
    /// What of the log-odds comes from elsewhere than from what the message says.
    #[must_use]
    pub fn beside_content(&self) -> f32 {
        self.log_odds - self.content
    }
}

/// Beyond this, content says no more: who is that sure is sure of one kind of thing alone.
pub(crate) const MOST_OF_CONTENT: f32 = 9.0;

/// What findings may add, of one stage. What one trick is worth, ten of the same kind are not worth ten times.
pub(crate) const MOST_OF_STAGE: f32 = 7.0;

/// Adds up what is of one kind, so that no kind of evidence is all by itself.
pub(crate) fn bounded(sum: f32, most: f32) -> f32 {
    if sum.is_finite() { most * (sum / most).tanh() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_bounded() {
        for (sum, expected) in
            [(0.0, 0.0), (1.0, 0.99), (100.0, 7.0), (-100.0, -7.0), (f32::NAN, 0.0)]
        {
            assert!((bounded(sum, 7.0) - expected).abs() < 0.01, "{sum}");
        }
    }
}
