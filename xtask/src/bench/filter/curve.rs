//! How well scores tell spam from ham.

/// What somebody thought of a message of which it is known what it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Judged {
    pub(super) spam: bool,
    /// The more, the more likely spam, on whatever scale.
    pub(super) score: f64,
    /// Whether it would not be in the Inbox at default settings.
    pub(super) flagged: bool,
}

/// One less the area under the curve (ROC): the share of pairs of a spam and a ham in which the ham has the higher score; ties count
/// half. NaN where one kind is missing.
pub(super) fn one_less_auc(judged: &[Judged]) -> f64 {
    let mut all: Vec<Judged> = judged.to_vec();
    all.sort_by(|one, other| one.score.total_cmp(&other.score));
    let (mut pairs, mut spam_below) = (0.0, 0.0);
    for tied in all.chunk_by(|one, other| one.score == other.score) {
        let spam = tied.iter().filter(|one| one.spam).count() as f64;
        let ham = tied.len() as f64 - spam;
        // Each ham here is above the spam that came before.
        pairs += ham * (spam_below + spam / 2.0);
        spam_below += spam;
    }
    let ham = all.len() as f64 - spam_below;
    pairs / (ham * spam_below)
}

/// The share of spam that is missed with the lowest cut-off by which no larger share than that of the ham is taken for spam. What has
/// the cut-off's score is ham. NaN without any spam.
pub(super) fn missed_at(judged: &[Judged], ham_error: f64) -> f64 {
    let mut ham = scores(judged, false);
    ham.sort_by(|one, other| other.total_cmp(one));
    let allowed = (ham.len() as f64 * ham_error) as usize;
    let cut_off = ham.get(allowed).copied().unwrap_or(f64::NEG_INFINITY);
    let spam = scores(judged, true);
    let missed = spam.iter().filter(|score| **score <= cut_off).count();
    missed as f64 / spam.len() as f64
}

/// The share of one kind that is kept out of the Inbox at default settings. NaN without any.
pub(super) fn flagged(judged: &[Judged], spam: bool) -> f64 {
    let of_kind = judged.iter().filter(|one| one.spam == spam);
    let all = of_kind.clone().count();
    of_kind.filter(|one| one.flagged).count() as f64 / all as f64
}

fn scores(judged: &[Judged], spam: bool) -> Vec<f64> {
    judged.iter().filter(|one| one.spam == spam).map(|one| one.score).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(ham: &[f64], spam: &[f64]) -> Vec<Judged> {
        let of = |scores: &[f64], spam| {
            let one = move |score: &f64| Judged { spam, score: *score, flagged: *score >= 5.0 };
            scores.iter().map(one).collect::<Vec<_>>()
        };
        [of(ham, false), of(spam, true)].concat()
    }

    #[test]
    fn pairs_in_the_wrong_order_are_counted() {
        for (ham, spam, expected) in [
            (&[1.0, 2.0][..], &[3.0, 4.0][..], 0.0),
            (&[3.0, 4.0], &[1.0, 2.0], 1.0),
            (&[1.0], &[1.0], 0.5),
            (&[1.0, 3.0], &[2.0, 4.0], 0.25),
            (&[1.0, 2.0], &[2.0, 2.0], 0.25),
            (&[-9.0, 0.0, 0.0, 7.0], &[0.0, 8.0], 0.25),
        ] {
            assert_eq!(one_less_auc(&judged(ham, spam)), expected, "{ham:?} {spam:?}");
        }
        assert!(one_less_auc(&judged(&[1.0], &[])).is_nan());
    }

    #[test]
    fn spam_is_missed_with_the_cut_off_that_ham_allows() {
        let ham: Vec<f64> = (0..1_000).map(f64::from).collect();
        for (spam, ham_error, expected) in [
            // One ham of a thousand may be above: the cut-off is the second one's score.
            (&[998.0, 998.5, 2_000.0, 5.0][..], 0.001, 0.5),
            (&[998.0, 998.5, 2_000.0, 5.0], 0.0, 0.75),
            (&[998.0, 998.5, 2_000.0, 5.0], 0.5, 0.25),
            (&[1.0, 2.0], 1.0, 0.0),
        ] {
            assert_eq!(missed_at(&judged(&ham, spam), ham_error), expected, "{spam:?} {ham_error}");
        }
        // Ham that ties is on one side of the cut-off, and no more of it may be above than allowed.
        assert_eq!(missed_at(&judged(&[1.0, 1.0, 1.0, 0.0], &[1.0, 2.0]), 0.25), 0.5);
        assert!(missed_at(&judged(&[1.0], &[]), 0.1).is_nan());
    }

    #[test]
    fn what_is_kept_out_is_counted_by_kind() {
        let judged = judged(&[1.0, 5.0, 2.0, 3.0], &[9.0, 4.0]);
        assert_eq!((flagged(&judged, false), flagged(&judged, true)), (0.25, 0.5));
        assert!(flagged(&[], true).is_nan());
    }
}
