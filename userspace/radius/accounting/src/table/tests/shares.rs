//! No NAS has all of the memory, whatever its sessions are worth.

use super::*;

fn open(table: &Table, nas: &str, number: u32) -> bool {
    let sample = start()
        .nas(nas)
        .identifier(&format!("box-{}", number % 7))
        .session(&format!("{nas}-{number}"));
    let effect = table.apply(&sample.record(), moment(sample.received_at()));
    effect.outcome == Opened
}

#[test]
fn one_that_makes_sessions_up_leaves_room_for_others() {
    let settings = Settings { most_sessions: 3_200, ..Settings::default() };
    let table = Table::new(settings, [1, 2]);
    assert!(open(&table, "honest", 0));
    let taken = (0..10_000).filter(|&number| open(&table, "other", number)).count();
    assert!((1_600..3_000).contains(&taken), "{taken}");
    let let_in = (1..100).filter(|&number| open(&table, "honest", number)).count();
    assert_eq!(let_in, 99, "all of them");
    assert_eq!((table.open_on("other"), table.open_on("honest")), (taken, 100));
    // Its own that were there before go on, and end.
    let end = start().nas("other").identifier("box-0").session("other-0");
    assert_eq!(run(&table, &[end])[0].0, Duplicate);
    table.check();
}

#[test]
fn the_only_one_has_all_of_it() {
    let settings = Settings { most_sessions: 3_200, ..Settings::default() };
    let table = Table::new(settings, [1, 2]);
    let taken = (0..10_000).filter(|&number| open(&table, "only", number)).count();
    assert_eq!(taken, 3_200);
}
