//! What the fuzz targets do with arbitrary bytes: each function panics if a promise is broken.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "panics are its findings")]

use std::net::SocketAddr;

use crate::record::{NANOS, Record, Uptime};
use crate::snapshot::{self, frames};
use crate::table::{Moment, Outcome, Settings, Table};
use crate::usage::{Kind, Usage, Who};
use crate::{ExportRow, payload as journal};

/// A payload from the journal: what can be read can be written and read again.
pub fn payload(bytes: &[u8]) {
    let Ok(record) = journal::decode(bytes) else { return };
    let mut again = Vec::new();
    journal::encode(&record, &mut again);
    assert_eq!(journal::decode(&again), Ok(record));
    assert!(again.len() <= journal::LONGEST);
    assert_eq!(record.to_owned().record(), record);
}

/// A snapshot: what can be read makes a table that agrees with itself, and can be written and read
/// again. Checksums keep arbitrary bytes out of what is behind them: they are tried as items, too.
pub fn snapshot(bytes: &[u8]) {
    restored(bytes);
    restored(&framed(frames::SESSIONS, Some(snapshot::head(7, at(1_000_000))), bytes));
}

fn restored(bytes: &[u8]) {
    let settings = Settings { most_sessions: 1_024, ..Settings::default() };
    let now = at(1_000_000);
    let Ok((table, _)) = Table::restore(settings.clone(), [1, 2], bytes, now) else { return };
    table.check();
    let mut saved = Vec::new();
    let written = table.save(&mut saved, 7, now).unwrap();
    let settings = Settings { most_sessions: 32 * 1_024, ..settings };
    let (again, restored) = Table::restore(settings, [3, 4], &saved[..], now).unwrap();
    assert!(restored.complete);
    assert_eq!((restored.position, restored.refused), (7, 0));
    assert_eq!(restored.sessions, written.sessions);
    again.check();
    assert_eq!(again.stats().open, table.stats().open);
    table.expire(at(2_000_000), usize::MAX);
    table.check();
}

/// Sums that were saved.
pub fn usage(bytes: &[u8]) {
    for bytes in [bytes, &framed(frames::USAGE, None, bytes)] {
        let Ok(usage) = Usage::restore(bytes) else { continue };
        let mut saved = Vec::new();
        usage.save(&mut saved).unwrap();
        assert_eq!(Usage::restore(&saved[..]).unwrap(), usage);
    }
}

/// A file with a head and items, each of them as long as its first byte says.
fn framed(holds: u8, head: Option<Vec<u8>>, items: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut frames = frames::Writer::new(&mut file, holds).unwrap();
    if let Some(head) = head {
        frames.push(&head).unwrap();
    }
    let mut rest = items;
    while let Some((&length, after)) = rest.split_first() {
        let (item, after) = after.split_at(after.len().min(usize::from(length)));
        frames.push(item).unwrap();
        rest = after;
    }
    frames.finish().unwrap();
    file
}

/// Records one after the other, each of a few bytes that choose among a few values: the table
/// agrees with itself, nothing is counted twice, and what it says of totals adds up.
pub fn table(bytes: &[u8]) {
    let settings = Settings { most_sessions: 64 * 32, ..Settings::default() };
    let table = Table::new(settings, [1, 2]);
    let mut usage = Usage::new();
    let mut now = 1_000_000_u32;
    for step in bytes.chunks_exact(8) {
        let &[what, whose, passed, delay, seconds, octets_in, octets_out, marks] = step else {
            continue;
        };
        now += u32::from(passed) * if marks & 1 != 0 { 600 } else { 1 };
        if what % 16 == 15 {
            for view in table.expire(at(now), 100) {
                assert!(view.ended.is_some());
            }
            continue;
        }
        let mut attributes = Vec::new();
        let mut push = |kind: u8, value: &[u8]| {
            attributes.extend([kind, value.len() as u8 + 2]);
            attributes.extend(value);
        };
        push(40, &[1_u32, 2, 3, 3, 3, 7, 8, 15][usize::from(what % 8)].to_be_bytes());
        push(44, &[whose & 3]);
        push(1, &[whose >> 2 & 3]);
        push(32, &[whose >> 4 & 1]);
        push(8, &[192, 0, 2, whose]);
        if marks & 2 != 0 {
            push(41, &u32::from(delay).to_be_bytes());
        }
        if marks & 4 != 0 {
            push(46, &(u32::from(seconds) * 60).to_be_bytes());
        }
        if marks & 8 != 0 {
            push(42, &(u32::from(octets_in) << 24).to_be_bytes());
            push(43, &(u32::from(octets_out) << 24).to_be_bytes());
        }
        if marks & 16 != 0 {
            push(52, &u32::from(octets_in & 3).to_be_bytes());
        }
        if marks & 32 != 0 {
            push(55, &(now - u32::from(delay)).to_be_bytes());
        }
        if marks & 64 != 0 {
            push(97, &[0, 64, 0x20, 1, 0xd, 0xb8, 0, 0, 0, whose]);
        }
        let source = SocketAddr::from(([192, 0, 2, 1], 1_646));
        let received = u64::from(now) * NANOS;
        let record = Record::of_attributes(&attributes, "nas", source, received).unwrap();
        let effect = table.apply(&record, at(now));
        let row = ExportRow::of(&record, &effect, 1, 120);
        assert_eq!(row.session_id.is_some(), record.status.is_of_session());
        usage.add(&Who { user: "u", nas: "n", telco: None }, &effect.gain, |_| 3_600);

        let again = table.apply(&record, at(now));
        assert!(again.gain.is_empty(), "nothing is counted twice");
        if record.status.is_of_session() && effect.outcome != Outcome::Ancient {
            let (one, two) = (effect.session.unwrap(), again.session.unwrap());
            assert_eq!(
                (one.id, one.octets_in, one.octets_out),
                (two.id, two.octets_in, two.octets_out)
            );
        }
    }
    table.check();
    let stats = table.stats();
    let mut saved = Vec::new();
    table.save(&mut saved, 1, at(now)).unwrap();
    let (restored, _) =
        Table::restore(table.settings().clone(), [5, 6], &saved[..], at(now)).unwrap();
    restored.check();
    assert_eq!(restored.stats().open, stats.open);
    let mut users = 0;
    restored.for_each_open(at(now), |view| {
        users += 1;
        assert!(restored.open_of(&view.subscriber) > 0);
        true
    });
    assert_eq!(users, stats.open);
    assert!(usage.rows(Kind::User).count() <= usage.rows(Kind::Nas).count());
}

fn at(seconds: u32) -> Moment {
    let nanos = u64::from(seconds) * NANOS;
    Moment { wall: nanos, uptime: Uptime { boot: 1, nanos } }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn tables_agree_with_themselves(bytes in prop::collection::vec(any::<u8>(), 0..1_600)) {
            super::table(&bytes);
        }
    }
}
