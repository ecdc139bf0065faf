//! The names of sessions that the table has forgotten.
//!
//! A name goes by the day on which its session began, and an id that is given again on that day must not lead to the same name:
//! the greater of two sessions would be taken for both. So the names are kept for longer than a day, of which a session's own
//! memory is only a part. Whatever tells the very totals that were known last is the same session's, told again.

use std::collections::HashMap;

use crate::id::SessionId;
use crate::session::{Report, Session};

/// Seconds for which names are kept at least: a day, and what clocks and delays may add.
const KEPT: i64 = 26 * 3_600;

#[derive(Debug, Default)]
pub(crate) struct Forgotten {
    /// Names and totals, both shortened.
    young: HashMap<u64, u32>,
    /// Those from before the last turn.
    old: HashMap<u64, u32>,
    /// Steady: when that was.
    turned: Option<i64>,
}

impl Forgotten {
    pub(crate) fn add(&mut self, session: &Session, now: i64) {
        let turned = *self.turned.get_or_insert(now);
        if now - turned > KEPT {
            self.old = std::mem::take(&mut self.young);
            self.turned = Some(now);
        }
        let totals = totals(session.seconds, session.octets_in as u32, session.octets_out as u32);
        self.young.insert(short(&session.id), totals);
    }

    /// Whether a name is that of another session than the one that a report is of.
    pub(crate) fn is_of_another(&self, id: &SessionId, report: &Report) -> bool {
        let known = self.young.get(&short(id)).or_else(|| self.old.get(&short(id)));
        let octets = |octets: crate::record::Octets| octets.low.unwrap_or(0);
        known.is_some_and(|known| {
            let seconds = report.seconds.unwrap_or(0);
            *known != totals(seconds, octets(report.octets_in), octets(report.octets_out))
        })
    }

    pub(crate) fn bytes(&self) -> usize {
        (self.young.capacity() + self.old.capacity()) * size_of::<(u64, u32)>()
    }
}

fn short(id: &SessionId) -> u64 {
    let (first, _) = id.as_bytes().split_at(8);
    first.iter().fold(0, |short, byte| short << 8 | u64::from(*byte))
}

fn totals(seconds: u32, octets_in: u32, octets_out: u32) -> u32 {
    let mix = |sum: u32, next: u32| (sum ^ next).wrapping_mul(0x9e37_79b1).rotate_left(15);
    mix(mix(mix(1, seconds), octets_in), octets_out)
}
