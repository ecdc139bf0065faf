use proptest::prelude::*;

use super::*;
use crate::record::{NANOS, Status};
use crate::samples::{Sample, T0, moment};
use crate::table::{Outcome, Settings, Table};

fn table() -> Table {
    let table = Table::new(Settings::default(), [1, 2]);
    let sessions = [
        Sample::new(Status::Start).calling("x").address([198, 51, 100, 1]).port(5),
        Sample::new(Status::Start).session("2").user("eva").prefix("2001:db8:2::/56"),
        Sample::new(Status::Start).session("3").user("leo"),
        Sample::new(Status::Start).session("").user("").calling("00:00:5e:00:53:01"),
        Sample::new(Status::Interim).at(T0 + 60).seconds(60).octets(5 << 32, 7),
        Sample::new(Status::Interim).session("2").user("eva").at(T0 + 60).low_octets(3 << 30, 1),
        Sample::new(Status::Stop).session("3").user("leo").at(T0 + 90).seconds(90).cause(1),
        Sample::new(Status::On).nas("pop-2").at(T0 + 99),
    ];
    for sample in sessions {
        let _ = table.apply(&sample.record(), moment(sample.received_at()));
    }
    table
}

fn saved(table: &Table, at: u32) -> Vec<u8> {
    let mut saved = Vec::new();
    table.save(&mut saved, 42, moment(at)).unwrap();
    saved
}

/// An hour later, after a boot.
fn later() -> Moment {
    let uptime = crate::record::Uptime { boot: 2, nanos: 50 * NANOS };
    Moment { wall: u64::from(T0 + 3_700) * NANOS, uptime }
}

#[test]
fn sessions_survive_a_boot() {
    let table = table();
    let saved = saved(&table, T0 + 100);
    let settings = Settings::default();
    let (again, restored) = Table::restore(settings, [3, 4], &saved[..], later()).unwrap();
    again.check();
    let expected = Restored {
        position: 42,
        taken: u64::from(T0) + 100,
        sessions: 4,
        complete: true,
        ..Restored::default()
    };
    assert_eq!(restored, expected);
    assert_eq!((again.stats().open, again.stats().remembered), (3, 1));
    for user in ["ana", "eva", "leo", ""] {
        assert_eq!(again.open_of(user.as_bytes()), table.open_of(user.as_bytes()), "{user}");
    }
    let before = &table.sessions_of(b"ana", 9, moment(T0 + 100))[0];
    let after = &again.sessions_of(b"ana", 9, later())[0];
    assert_eq!(after.quiet, 0, "nobody listened, so nobody was silent");
    assert_eq!(after.idle, before.idle + 3_600, "it is as long ago as it is");
    assert_eq!(*after, crate::SessionView { quiet: 0, idle: after.idle, ..before.clone() });
    assert_eq!(again.sessions_with([198, 51, 100, 1].into(), later()).len(), 1);
    assert_eq!(again.sessions_with(crate::samples::ip("2001:db8:2:ff::1"), later()).len(), 1);
}

#[test]
fn records_behind_the_snapshot_find_their_sessions() {
    let table = table();
    let saved = saved(&table, T0 + 100);
    let (again, _) = Table::restore(Settings::default(), [3, 4], &saved[..], later()).unwrap();
    for (sample, outcome, gained) in [
        // They were in it already.
        (Sample::new(Status::Start), Outcome::Duplicate, 0),
        (
            Sample::new(Status::Interim).at(T0 + 60).seconds(60).octets(5 << 32, 7),
            Outcome::Duplicate,
            0,
        ),
        (
            Sample::new(Status::Stop).session("3").user("leo").at(T0 + 90).seconds(90),
            Outcome::Duplicate,
            0,
        ),
        // They came afterwards.
        (
            Sample::new(Status::Stop).at(T0 + 120).seconds(120).octets(6 << 32, 7),
            Outcome::Closed,
            1 << 32,
        ),
        (
            Sample::new(Status::Interim).session("2").user("eva").at(T0 + 120).low_octets(5, 1),
            Outcome::Updated,
            (1 << 32) + 5 - (3 << 30),
        ),
    ] {
        let effect = again.apply(&sample.record(), later());
        assert_eq!((effect.outcome, effect.gain.octets_in), (outcome, gained), "{sample:?}");
    }
    again.check();
}

#[test]
fn the_time_away_closes_nothing_and_forgets_nothing() {
    let table = table();
    let saved = saved(&table, T0 + 100);
    let week = moment(T0 + 7 * 86_400);
    let (again, _) = Table::restore(Settings::default(), [3, 4], &saved[..], week).unwrap();
    assert!(again.expire(week, 9).is_empty());
    assert!(again.expire(moment(T0 + 7 * 86_400 + 60), 9).is_empty());
    assert_eq!((again.stats().open, again.stats().remembered), (3, 1));
}

#[test]
fn a_box_s_beginning_is_remembered() {
    let table = table();
    let saved = saved(&table, T0 + 100);
    let (again, _) = Table::restore(Settings::default(), [3, 4], &saved[..], later()).unwrap();
    let late = Sample::new(Status::Start).nas("pop-2").at(T0 + 200).delay(120);
    let effect = again.apply(&late.record(), later());
    assert_eq!(effect.outcome, Outcome::Late, "it began before its box did");
    assert_eq!(again.stats().open, 3);
}

#[test]
fn damage_costs_what_it_hits() {
    let table = Table::new(Settings::default(), [1, 2]);
    for number in 0..2_000 {
        let sample = Sample::new(Status::Start).session(&format!("{number:08}"));
        let _ = table.apply(&sample.record(), moment(T0));
    }
    let saved = saved(&table, T0);
    let restore = |bytes: &[u8]| {
        let (table, restored) =
            Table::restore(Settings::default(), [3, 4], bytes, moment(T0 + 1)).unwrap();
        table.check();
        restored
    };
    assert_eq!((restore(&saved).sessions, restore(&saved).complete), (2_000, true));
    let mut hit = saved.clone();
    let middle = hit.len() / 2;
    hit[middle] ^= 1;
    let restored = restore(&hit);
    assert!((1_000..2_000).contains(&restored.sessions), "{restored:?}");
    assert_eq!((restored.damaged, restored.complete), (1, false));
    let restored = restore(&saved[..middle]);
    assert!((100..2_000).contains(&restored.sessions), "{restored:?}");
    assert!(!restored.complete);

    let error = |bytes: &[u8]| {
        let restored = Table::restore(Settings::default(), [3, 4], bytes, moment(T0));
        restored.map(|_| ()).unwrap_err()
    };
    assert!(matches!(error(b""), SnapshotError::Format));
    assert!(matches!(error(&[7; 100]), SnapshotError::Format));
    assert!(matches!(error(&saved[..12]), SnapshotError::Damaged));
    let mut later = saved;
    later[10] = 9;
    assert!(matches!(error(&later), SnapshotError::Version { needs: 9, .. }));
}

#[test]
fn there_may_be_no_room_for_all() {
    let table = table();
    let saved = saved(&table, T0 + 100);
    let settings = Settings { most_sessions: 1, ..Settings::default() };
    let (again, restored) = Table::restore(settings, [1, 2], &saved[..], later()).unwrap();
    assert_eq!(restored.sessions + restored.refused, 4);
    again.check();
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        crate::fuzzing::snapshot(&bytes);
        crate::fuzzing::usage(&bytes);
    }
}
