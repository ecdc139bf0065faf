//! What is there of messages that were sent: each of them, counted at either box that gives mail.

use std::collections::{HashMap, HashSet};

use muralla_lab::load::numbered::{Recognised, Sent};

/// Messages that a box has, by their numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    copies: HashMap<u64, u64>,
    changed: HashSet<u64>,
}

impl Seen {
    pub(super) fn note(&mut self, message: Recognised) {
        *self.copies.entry(message.number).or_default() += 1;
        if !message.intact {
            self.changed.insert(message.number);
        }
    }

    /// Adds what somebody else has read.
    pub(super) fn join(&mut self, other: Self) {
        for (number, copies) in other.copies {
            *self.copies.entry(number).or_default() += copies;
        }
        self.changed.extend(other.changed);
    }

    fn of(&self, number: u64) -> u64 {
        self.copies.get(&number).copied().unwrap_or_default()
    }
}

/// Counts of messages.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Tally {
    /// That were promised to be kept.
    pub(super) acknowledged: u64,
    /// Of these, those that nobody has.
    pub(super) missing: u64,
    /// Of these, those that one box has and the other one hasn't.
    pub(super) invisible: u64,
    /// Copies that nobody can explain.
    pub(super) doubled: u64,
    /// Copies of messages that were sent again as nothing was said to them: who took it could not say so.
    pub(super) repeated: u64,
    /// That are not what was sent.
    pub(super) changed: u64,
    /// That were neither acknowledged nor refused until their sender gave up.
    pub(super) given_up: u64,
}

/// Counts. A message may be there once for its acknowledgement, and once more for each time that it was sent to its end and not
/// answered.
pub(super) fn tally(sent: &[Sent], seen: &[Seen; 2]) -> Tally {
    let mut tally = Tally::default();
    for message in sent {
        let [one, other] = seen.each_ref().map(|seen| seen.of(message.number));
        let (least, most) = (one.min(other), one.max(other));
        let promised = u64::from(message.acknowledged.is_some());
        tally.acknowledged += promised;
        tally.given_up += 1 - promised;
        if promised > 0 {
            tally.missing += u64::from(most == 0);
            tally.invisible += u64::from(most > 0 && least == 0);
        }
        let more = most.saturating_sub(promised);
        let explained = more.min(u64::from(message.unanswered));
        tally.repeated += explained;
        tally.doubled += more - explained;
        tally.changed += u64::from(seen.iter().any(|seen| seen.changed.contains(&message.number)));
    }
    tally
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sent(number: u64, acknowledged: bool, unanswered: u32) -> Sent {
        let acknowledged = acknowledged.then_some(Duration::ZERO);
        Sent { number, acknowledged, took: Duration::ZERO, attempts: 1 + unanswered, unanswered }
    }

    fn seen(copies: &[u64]) -> Seen {
        let mut seen = Seen::default();
        for &number in copies {
            seen.note(Recognised { number, intact: true });
        }
        seen
    }

    #[test]
    fn every_message_is_counted_where_it_is() {
        let all = |messages: &[Sent], one: &[u64], other: &[u64]| {
            tally(messages, &[seen(one), seen(other)])
        };
        let once = Tally { acknowledged: 1, ..Tally::default() };
        let good = sent(1, true, 0);
        assert_eq!(all(&[good], &[1], &[1]), once);
        assert_eq!(all(&[good], &[], &[]), Tally { missing: 1, ..once });
        assert_eq!(all(&[good], &[], &[1]), Tally { invisible: 1, ..once });
        assert_eq!(all(&[good], &[1, 1], &[1, 1]), Tally { doubled: 1, ..once });
        // Others' messages are nobody's business.
        assert_eq!(all(&[good], &[1, 2], &[1, 2]), once);
        // The answer to the first attempt was lost.
        let again = sent(1, true, 1);
        assert_eq!(all(&[again], &[1], &[1]), once);
        assert_eq!(all(&[again], &[1, 1], &[1, 1]), Tally { repeated: 1, ..once });
        assert_eq!(all(&[again], &[1, 1, 1], &[1]), Tally { repeated: 1, doubled: 1, ..once });
        // Nothing was ever promised.
        let never = Tally { given_up: 1, ..Tally::default() };
        assert_eq!(all(&[sent(1, false, 1)], &[1], &[1]), Tally { repeated: 1, ..never });
        assert_eq!(all(&[sent(1, false, 0)], &[1], &[]), Tally { doubled: 1, ..never });
        assert_eq!(all(&[sent(1, false, 0)], &[], &[]), never);
    }

    #[test]
    fn what_was_changed_on_the_way_is_told() {
        let mut other = seen(&[]);
        other.note(Recognised { number: 1, intact: false });
        let tally = tally(&[sent(1, true, 0)], &[seen(&[1]), other]);
        assert_eq!(tally, Tally { acknowledged: 1, changed: 1, ..Tally::default() });
    }
}
