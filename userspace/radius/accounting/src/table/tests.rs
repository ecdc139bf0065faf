use std::thread;

use proptest::prelude::*;

use super::*;
use crate::record::Uptime;
use crate::samples::{Sample, T0, ip, moment};
use crate::usage::{Day, Kind, Usage, Who};

/// Second Starts, and everything else by which one session could be counted twice.
mod starts;

mod shares;

fn table() -> Table {
    Table::new(Settings::default(), [1, 2])
}

fn start() -> Sample {
    Sample::new(Status::Start)
}

fn interim(seconds: u32, octets: u64) -> Sample {
    Sample::new(Status::Interim).at(T0 + seconds).seconds(seconds).octets(octets, 0)
}

fn stop(seconds: u32, octets: u64) -> Sample {
    Sample::new(Status::Stop).at(T0 + seconds).seconds(seconds).octets(octets, 0)
}

/// Applies records when they come; gives what each did and gained.
fn run(table: &Table, samples: &[Sample]) -> Vec<(Outcome, u64)> {
    let effects = samples.iter().map(|sample| {
        let effect = table.apply(&sample.record(), moment(sample.received_at()));
        table.check();
        (effect.outcome, effect.gain.octets_in)
    });
    effects.collect()
}

fn outcomes(samples: &[Sample]) -> Vec<(Outcome, u64)> {
    run(&table(), samples)
}

use Outcome::{Closed, Duplicate, Late, Opened, Reopened, Updated};

#[test]
fn a_session_goes_its_way() {
    let table = table();
    let way = [start().calling("one"), interim(600, 100), interim(1_200, 250), stop(1_500, 300)];
    let expected = [(Opened, 0), (Updated, 100), (Updated, 150), (Closed, 50)];
    assert_eq!(run(&table, &way[..3]), expected[..3]);
    assert_eq!((table.open_of(b"ana"), table.open_on("pop-1"), table.stats().open), (1, 1, 1));
    let view = &table.sessions_of(b"ana", 9, moment(T0 + 1_260))[0];
    assert_eq!((view.started, view.updated, view.ended), (T0, T0 + 1_200, None));
    assert_eq!((view.seconds, view.octets_in, view.quiet), (1_200, 250, 60));
    assert_eq!((view.interval, view.calling.as_deref()), (Some(600), Some(&b"one"[..])));

    assert_eq!(run(&table, &way[3..]), expected[3..]);
    assert_eq!((table.open_of(b"ana"), table.open_on("pop-1"), table.stats().open), (0, 0, 0));
    let view = table.session(view.id, moment(T0 + 1_500)).unwrap();
    assert_eq!((view.state, view.ended, view.seconds), (State::Stopped, Some(T0 + 1_500), 1_500));
}

/// A box that counts anew gives an id again, on the day of a session that is forgotten already.
#[test]
fn no_session_gets_the_name_of_one_that_is_forgotten() {
    let later = T0 + 8 * 3_600;
    let again = |id: &str| stop(600, 9).session(id).at(later);
    let named = |sample: &Sample| SessionId::of(&sample.record(), 120);
    // One whose day has all of them in it.
    let id = (0..).map(|number| format!("{number:08x}")).find(|id| {
        let first = named(&start().session(id));
        first == named(&again(id)) && first == named(&start().session(id).at(later))
    });
    let id = id.unwrap();
    let name = |table: &Table, sample: &Sample| {
        let effect = table.apply(&sample.record(), moment(sample.received_at()));
        effect.session.unwrap().id
    };
    let table = || {
        let table = table();
        let first = name(&table, &start().session(&id));
        assert_eq!(name(&table, &stop(600, 9).session(&id)), first);
        let _ = table.expire(moment(later - 1), 10);
        assert_eq!(table.stats().remembered, 0);
        (table, first)
    };
    let (box_began_anew, first) = table();
    let second = name(&box_began_anew, &start().session(&id).at(later));
    assert_ne!(second, first);
    let end = stop(300, 5).session(&id).at(later + 300);
    assert_eq!(name(&box_began_anew, &end), second);
    // What tells the same totals is the same session, told again.
    let (told_again, first) = table();
    assert_eq!(name(&told_again, &again(&id)), first);
}

#[test]
fn a_wall_clock_that_is_put_back_takes_nothing_back() {
    let table = table();
    let _ = table.apply(&start().record(), moment(T0));
    let back = interim(600, 9).at(T0 - 3_000);
    let now = Moment { uptime: moment(T0 + 600).uptime, ..moment(T0 - 3_000) };
    let effect = table.apply(&back.record().with_uptime(Some(now.uptime)), now);
    let session = effect.session.unwrap();
    assert_eq!((effect.outcome, session.octets_in), (Updated, 9));
    assert!(session.updated >= T0, "{session:?}");
}

#[test]
fn what_comes_again_or_late_counts_once() {
    for (what, samples, expected) in [
        (
            "a start with a longer delay",
            vec![start(), start().at(T0 + 5).delay(5)],
            vec![(Opened, 0), (Duplicate, 0)],
        ),
        (
            "a start from a NAS that counts no delay",
            vec![start(), start().at(T0 + 60)],
            vec![(Opened, 0), (Duplicate, 0)],
        ),
        (
            "a start that is known by its stamp",
            vec![start().stamp(T0), start().at(T0 + 4_000).stamp(T0)],
            vec![(Opened, 0), (Duplicate, 0)],
        ),
        (
            "a start after an update",
            vec![interim(600, 9), start().at(T0 + 602).delay(602)],
            vec![(Opened, 9), (Updated, 0)],
        ),
        (
            "a start after the stop",
            vec![stop(600, 9), start().at(T0 + 602).delay(602)],
            vec![(Closed, 9), (Late, 0)],
        ),
        (
            "a stop without a start, again",
            vec![stop(600, 9), stop(600, 9).at(T0 + 605).delay(5)],
            vec![(Closed, 9), (Duplicate, 0)],
        ),
        (
            "a stop from a NAS that counts no delay",
            vec![start(), stop(600, 9), stop(600, 9).at(T0 + 3_000)],
            vec![(Opened, 0), (Closed, 9), (Duplicate, 0)],
        ),
        (
            "an update again",
            vec![interim(600, 9), interim(600, 9).at(T0 + 609).delay(9)],
            vec![(Opened, 9), (Duplicate, 0)],
        ),
        (
            "an update after a newer one",
            vec![interim(600, 9), interim(300, 5).at(T0 + 601).delay(301)],
            vec![(Opened, 9), (Late, 0)],
        ),
        (
            "an update after the stop",
            vec![stop(600, 9), interim(300, 5).at(T0 + 602).delay(302)],
            vec![(Closed, 9), (Late, 0)],
        ),
        (
            "a stop that tells more",
            vec![start(), stop(600, 9), stop(610, 11)],
            vec![(Opened, 0), (Closed, 9), (Late, 2)],
        ),
        (
            "counters that fall",
            vec![start(), interim(600, 9), interim(1_200, 4), stop(1_800, 12)],
            vec![(Opened, 0), (Updated, 9), (Updated, 0), (Closed, 3)],
        ),
        (
            "session time that stands still",
            vec![start(), interim(0, 5).at(T0 + 600), interim(0, 9).at(T0 + 1_200)],
            vec![(Opened, 0), (Opened, 5), (Updated, 4)],
        ),
    ] {
        assert_eq!(outcomes(&samples), expected, "{what}");
    }
}

#[test]
fn an_update_after_the_stop_never_opens_it() {
    let table = table();
    let samples = [start(), stop(600, 9), interim(660, 12)];
    assert_eq!(run(&table, &samples), [(Opened, 0), (Closed, 9), (Late, 3)]);
    assert_eq!((table.open_of(b"ana"), table.stats().remembered), (0, 1));
    let effect = table.apply(&interim(720, 12).record(), moment(T0 + 720));
    assert!(effect.session.unwrap().doubts.has(Doubts::AFTER_STOP));
}

#[test]
fn an_id_that_is_given_again_is_another_session() {
    let again = |sample: Sample| sample.at(T0 + 5_000);
    for (what, samples, sessions, total) in [
        (
            "after its stop",
            vec![
                start(),
                stop(600, 9),
                again(start()),
                Sample::new(Status::Interim).at(T0 + 5_600).seconds(600).octets(0, 0),
            ],
            2,
            9,
        ),
        (
            "soon after its stop, by a NAS whose times are exact",
            vec![start().delay(0), stop(20, 9).delay(0), start().at(T0 + 60).delay(0)],
            2,
            9,
        ),
        (
            "soon after its stop, by a NAS that may repeat itself",
            vec![start(), stop(20, 9), start().at(T0 + 60)],
            1,
            9,
        ),
        (
            "without a stop or a start, all counters anew",
            vec![
                start(),
                interim(600, 9),
                Sample::new(Status::Interim).at(T0 + 9_000).seconds(300).octets(4, 0),
            ],
            2,
            13,
        ),
        (
            "stop after stop, without starts",
            vec![stop(600, 9), Sample::new(Status::Stop).at(T0 + 9_000).seconds(300).octets(4, 0)],
            2,
            13,
        ),
        (
            "session time wrong, but counters go on",
            vec![
                start(),
                interim(600, 9),
                Sample::new(Status::Interim).at(T0 + 9_000).seconds(300).octets(14, 0),
            ],
            1,
            14,
        ),
        (
            "after its box began anew",
            vec![
                start(),
                interim(60, 9),
                Sample::new(Status::On).at(T0 + 90),
                start().at(T0 + 100),
                Sample::new(Status::Interim).at(T0 + 160).seconds(60).octets(4, 0),
            ],
            2,
            13,
        ),
    ] {
        let table = table();
        let total_seen: u64 = run(&table, &samples).iter().map(|(_, octets)| octets).sum();
        let stats = table.stats();
        assert_eq!((stats.open + stats.remembered, total_seen), (sessions, total), "{what}");
        let mut ids = Vec::new();
        table.walk(|session| {
            ids.push(session.id);
            true
        });
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), sessions, "{what}: each has a name of its own");
        assert!(table.open_of(b"ana") <= 1, "{what}");
    }
}

#[test]
fn sessions_of_one_second_have_names_of_their_own() {
    let table = table();
    let samples = [
        stop(0, 0),
        Sample::new(Status::Off).at(T0 + 236),
        start().at(T0 + 236),
        // It was sent before the box ended, which the other two were not.
        start().at(T0 + 236).stamp(T0 + 204),
        start().at(T0 + 236),
    ];
    run(&table, &samples);
    let mut ids = Vec::new();
    table.walk(|session| {
        ids.push(session.id);
        true
    });
    ids.sort();
    let count = ids.len();
    ids.dedup();
    assert_eq!((count, ids.len()), (3, 3));
}

#[test]
fn a_box_that_begins_or_ends_closes_its_sessions() {
    for (status, outcome, ended) in
        [(Status::On, Outcome::NasUp, T0 + 600), (Status::Off, Outcome::NasDown, T0 + 700)]
    {
        let table = table();
        let other_box = || interim(600, 5).session("9").user("eva").identifier("lns-2");
        run(&table, &[start(), interim(600, 9), other_box()]);
        let change = Sample::new(status).at(T0 + 700);
        let effect = table.apply(&change.record(), moment(T0 + 700));
        assert_eq!(effect.outcome, outcome);
        let [closed] = &effect.closes[..] else { panic!("one session: {effect:?}") };
        assert_eq!((closed.state, closed.ended), (State::Rebooted, Some(ended)));
        assert_eq!((closed.octets_in, &closed.user[..]), (9, &b"ana"[..]));
        assert_eq!((table.open_of(b"ana"), table.open_of(b"eva")), (0, 1));
        table.check();

        // Sent again, when a new session began in between.
        run(&table, &[start().session("2").at(T0 + 710)]);
        let again = Sample::new(status).at(T0 + 720).delay(19);
        let effect = table.apply(&again.record(), moment(T0 + 720));
        assert_eq!((effect.outcome, effect.closes.len()), (Duplicate, 0));
        assert_eq!(table.open_of(b"ana"), 1);

        // What was on its way: a stop corrects, a start from before is closed at once.
        let late =
            [stop(650, 11).at(T0 + 730).delay(80), start().session("3").at(T0 + 731).delay(100)];
        assert_eq!(run(&table, &late), [(Closed, 2), (Late, 0)]);
        assert_eq!(table.open_of(b"ana"), 1);

        // The whole entry: a record that doesn't say which box closes all that are behind it.
        let all = Sample::new(status).anonymous().at(T0 + 900);
        let effect = table.apply(&all.record(), moment(T0 + 900));
        assert_eq!(effect.closes.len(), 2);
        assert_eq!(table.stats().open, 0);
        table.check();
    }
}

#[test]
fn a_session_that_goes_on_after_accounting_on_is_opened_again() {
    let table = table();
    let samples =
        [start(), interim(600, 9), Sample::new(Status::On).at(T0 + 700), interim(1_200, 20)];
    let expected = [(Opened, 0), (Updated, 9), (Outcome::NasUp, 0), (Reopened, 11)];
    assert_eq!(run(&table, &samples), expected);
    // And the same if Accounting-On overtook nothing, but was overtaken.
    let table = self::table();
    let samples = [start(), interim(1_200, 20), Sample::new(Status::On).at(T0 + 1_300).delay(600)];
    assert_eq!(run(&table, &samples), [(Opened, 0), (Updated, 20), (Outcome::NasUp, 0)]);
    assert_eq!(table.open_of(b"ana"), 1);
}

#[test]
fn what_a_box_s_end_left_behind_is_counted_and_stays_closed() {
    let table = table();
    let on = Sample::new(Status::On).at(T0 + 700);
    run(&table, &[start(), interim(300, 9), on]);
    // It was sent before, and overtaken.
    let late = interim(600, 20).at(T0 + 710).delay(110);
    assert_eq!(run(&table, &[late]), [(Late, 11)]);
    assert_eq!((table.open_of(b"ana"), table.stats().remembered), (0, 1));
    let mut ended = 0;
    table.walk(|session| {
        ended = session.ended;
        true
    });
    assert_eq!(ended, T0 + 600, "it lived for as long as it was heard of");
}

#[test]
fn seconds_are_rough_when_a_box_begins_or_ends() {
    for (status, heard, open) in [
        // Nothing began a moment before its box did: the clocks are that far apart.
        (Status::On, 699, 1),
        (Status::On, 697, 0),
        // What was heard a moment after the box's end was heard before it.
        (Status::Off, 701, 0),
        (Status::Off, 704, 1),
    ] {
        let table = table();
        run(&table, &[start().at(T0 + heard), Sample::new(status).at(T0 + 705).delay(5)]);
        assert_eq!(table.stats().open, open, "{status:?} {heard}");
    }
}

#[test]
fn a_nas_that_sends_gigawords_when_there_are_any_needs_no_trail() {
    let table = table();
    let low = Sample::new(Status::Interim).at(T0 + 60).seconds(60).low_octets(3 << 30, 0);
    let high = interim(120, 5 << 30);
    for (samples, trails) in [([low.clone(), low.clone()], 1), ([high, low], 0)] {
        run(&table, &samples);
        let mut found = 0;
        table.walk(|session| {
            found += usize::from(session.trail.is_some());
            true
        });
        assert_eq!(found, trails);
    }
}

#[test]
fn silence_closes_a_session_and_its_voice_opens_it() {
    let table = table();
    run(&table, &[start(), interim(600, 100), interim(1_200, 200)]);
    let mut closed = Vec::new();
    let mut at = T0 + 1_200;
    while closed.is_empty() {
        at += 60;
        closed = table.expire(moment(at), 10);
    }
    assert!((1_800..2_100).contains(&(at - T0 - 1_200)), "three intervals and a quarter");
    let [lost] = &closed[..] else { panic!("{closed:?}") };
    assert_eq!((lost.state, lost.ended), (State::Lost, Some(T0 + 1_200)));
    assert_eq!((lost.octets_in, lost.seconds), (200, 1_200));
    assert_eq!(table.open_of(b"ana"), 0);
    table.check();
    // What was counted stays counted; what came since is added.
    assert_eq!(run(&table, &[interim(9_000, 950)]), [(Reopened, 750)]);
    assert_eq!(table.open_of(b"ana"), 1);
    assert_eq!(run(&table, &[stop(9_060, 960)]), [(Closed, 10)]);

    // A stop alone does as well, and no update does after it.
    let table = self::table();
    run(&table, &[start(), interim(600, 100)]);
    let mut at = T0 + 600;
    while table.stats().open > 0 {
        at += 60;
        table.expire(moment(at), 10);
    }
    assert_eq!(run(&table, &[stop(700, 130).at(at).delay(at - T0 - 700)]), [(Closed, 30)]);
    assert_eq!(run(&table, &[interim(650, 120).at(at + 1).delay(at + 1 - T0 - 650)]), [(Late, 0)]);
    assert_eq!(table.stats().open, 0);
}

#[test]
fn a_session_without_updates_is_given_longer() {
    let table = table();
    run(&table, &[start()]);
    let steps = |from: u32, to: u32| (from..to).step_by(200).map(|second| moment(T0 + second));
    assert!(steps(0, 47 * 3_600).all(|now| table.expire(now, 9).is_empty()));
    assert!(steps(47 * 3_600, 50 * 3_600).any(|now| !table.expire(now, 9).is_empty()));

    // If NASes were told an interval, it holds for all.
    let settings = Settings { interim: Some(300), ..Settings::default() };
    let table = Table::new(settings, [1, 2]);
    run(&table, &[start()]);
    assert!(steps(0, 900).all(|now| table.expire(now, 9).is_empty()));
    assert!(steps(900, 1_500).any(|now| !table.expire(now, 9).is_empty()));
}

#[test]
fn a_process_that_stood_still_closes_nothing() {
    let table = table();
    table.expire(moment(T0), 9);
    run(&table, &[start(), interim(600, 100)]);
    for second in (600..1_200).step_by(60) {
        assert!(table.expire(moment(T0 + second), 9).is_empty());
    }
    // Ten hours pass in which nobody listened.
    assert!(table.expire(moment(T0 + 36_000), 9).is_empty());
    assert!(table.expire(moment(T0 + 36_060), 9).is_empty());
    let later = (36_060..40_000).step_by(60).map(|second| table.expire(moment(T0 + second), 9));
    assert_eq!(later.flatten().count(), 1);
}

#[test]
fn steps_of_our_clock_close_and_double_nothing() {
    for step in [-86_400_i64, -3_600, -600, 600, 3_600, 86_400, 10 * 365 * 86_400] {
        let table = table();
        let stepped = |second: u32| {
            let wall = i64::from(T0 + second) + step;
            Moment { wall: wall as u64 * NANOS, ..moment(T0 + second) }
        };
        table.expire(moment(T0), 9);
        run(&table, &[start(), interim(600, 100)]);
        let apply = |sample: &Sample, second: u32| {
            let now = stepped(second);
            let record = Record { received: now.wall, ..sample.record() };
            let effect = table.apply(&record, now);
            table.check();
            (effect.outcome, effect.gain.octets_in)
        };
        let again = start().delay(610);
        assert_eq!(apply(&again, 610), (Duplicate, 0), "{step}");
        assert_eq!(apply(&interim(600, 100).delay(20), 620), (Duplicate, 0), "{step}");
        assert_eq!(apply(&interim(1_200, 250), 1_200), (Updated, 150), "{step}");
        assert!(table.expire(stepped(1_260), 9).is_empty(), "{step}");
        assert_eq!(table.open_of(b"ana"), 1, "{step}");
        assert_eq!(apply(&stop(1_500, 300), 1_500), (Closed, 50), "{step}");
        assert_eq!(apply(&stop(1_500, 300).delay(5), 1_505), (Duplicate, 0), "{step}");
        assert_eq!((table.stats().open, table.stats().remembered), (0, 1), "{step}");
    }
}

#[test]
fn records_that_are_applied_again_keep_their_order_over_a_step() {
    // A start at ten, the clock is put back by an hour, updates follow; and all of them are applied
    // again by another process before the machine was booted.
    let nanos = |second: u32| moment(T0 + second).uptime.nanos;
    let at = |sample: &Sample, second: u32, wall: u32| {
        let uptime = Some(Uptime { boot: 1, nanos: nanos(second) });
        let received = u64::from(wall) * NANOS;
        Record { received, uptime, ..sample.record() }.to_owned()
    };
    let records = [
        at(&start(), 0, T0),
        at(&interim(300, 10), 300, T0 + 300),
        at(&interim(900, 30), 900, T0 - 2_700),
        at(&stop(1_200, 40), 1_200, T0 - 2_400),
    ];
    let now = Moment { wall: u64::from(T0 - 2_000) * NANOS, ..moment(T0 + 1_600) };
    let table = table();
    let effects: Vec<_> = records
        .iter()
        .map(|record| {
            let effect = table.apply(&record.record(), now);
            (effect.outcome, effect.gain.octets_in)
        })
        .collect();
    assert_eq!(effects, [(Opened, 0), (Updated, 10), (Updated, 20), (Closed, 10)]);
}

#[test]
fn a_nas_whose_clock_is_wrong_is_accounted_by_ours() {
    let table = table();
    let samples = [
        start().stamp(35),
        interim(600, 9).stamp(635),
        // Its clock is set, and jumps.
        interim(1_200, 20).stamp(T0 + 1_200),
        stop(1_500, 30).stamp(T0 + 40_000),
    ];
    assert_eq!(run(&table, &samples), [(Opened, 0), (Updated, 9), (Updated, 11), (Closed, 10)]);
    let effect = table.apply(&stop(1_500, 30).stamp(T0 + 40_000).record(), moment(T0 + 1_501));
    assert!(effect.doubts.has(Doubts::CLOCK));
    let session = effect.session.unwrap();
    assert_eq!((session.started, session.ended), (T0, Some(T0 + 1_500)));
}

#[test]
fn a_nas_without_session_ids_has_lines() {
    let line = |status| Sample::new(status).session("").port(3);
    let table = table();
    let samples = [
        line(Status::Start),
        line(Status::Start).user("eva").session("").calling("x"),
        line(Status::Interim).at(T0 + 600).seconds(600).octets(5, 0),
        line(Status::Stop).at(T0 + 900).seconds(900).octets(8, 0),
    ];
    assert_eq!(run(&table, &samples), [(Opened, 0), (Opened, 0), (Updated, 5), (Closed, 3)]);
    assert_eq!((table.open_of(b"ana"), table.open_of(b"eva")), (0, 1));
}

#[test]
fn counters_of_32_bits_go_round() {
    const GIB: u64 = 1 << 30;
    let report = |status, seconds, octets| {
        Sample::new(status).at(T0 + seconds).seconds(seconds).low_octets(octets, 0)
    };
    let table = table();
    let samples = [
        start(),
        report(Status::Interim, 600, 3 * GIB),
        report(Status::Interim, 1_200, 5 * GIB),
        report(Status::Stop, 1_800, 6 * GIB),
    ];
    let expected = [(Opened, 0), (Updated, 3 * GIB), (Updated, 2 * GIB), (Closed, GIB)];
    assert_eq!(run(&table, &samples), expected);
    let effect = table.apply(&samples[3].record(), moment(T0 + 1_801));
    assert!(effect.session.unwrap().doubts.has(Doubts::WRAPPED));

    // The report from before it went round comes last.
    let late = report(Status::Interim, 600, 3 * GIB).at(T0 + 1_801).delay(1_201);
    let late = [start(), report(Status::Stop, 1_800, 5 * GIB), late];
    assert_eq!(outcomes(&late), [(Opened, 0), (Closed, GIB), (Late, 4 * GIB)]);
}

#[test]
fn session_time_is_made_up_for_by_the_clock() {
    let table = table();
    let bare = |status, second, delay| Sample::new(status).at(T0 + second).delay(delay);
    for (sample, seconds) in [
        (bare(Status::Start, 0, 0), 0),
        (bare(Status::Interim, 600, 0), 600),
        (bare(Status::Stop, 900, 0), 900),
        (bare(Status::Stop, 905, 5), 900),
        (bare(Status::Stop, 960, 0), 900),
    ] {
        let effect = table.apply(&sample.record(), moment(sample.received_at()));
        assert_eq!(effect.session.unwrap().seconds, seconds);
    }
}

#[test]
fn sessions_are_found_by_user_box_and_address() {
    let table = table();
    let now = moment(T0 + 60);
    let sample = start().address([198, 51, 100, 7]).prefix("2001:db8:7:100::/56");
    let record = sample.record().with_subscriber(Some("ana@example.net"));
    let _ = table.apply(&record, now);
    let other = start().session("2").user("ANA");
    let _ = table.apply(&other.record().with_subscriber(Some("ana@example.net")), now);
    assert_eq!((table.open_of(b"ana@example.net"), table.open_of(b"ana")), (2, 0));
    assert_eq!(table.sessions_of(b"ana@example.net", 9, now).len(), 2);
    assert_eq!(table.sessions_of(b"ana@example.net", 1, now).len(), 1);
    assert_eq!((table.open_on("pop-1"), table.open_on("pop-2")), (2, 0));
    assert_eq!(table.sessions_on("pop-1", 9, now).len(), 2);
    assert_eq!(table.sessions_on("pop-1", 1, now).len(), 1);
    for (address, found) in [
        ("198.51.100.7", 1),
        ("198.51.100.8", 0),
        ("2001:db8:7:1ff::1", 1),
        ("2001:db8:7:200::1", 0),
    ] {
        assert_eq!(table.sessions_with(ip(address), now).len(), found, "{address}");
    }

    // The address is learnt, or changes, later on.
    let moved = interim(600, 5).address([198, 51, 100, 8]);
    let _ = table.apply(&moved.record().with_subscriber(Some("ana@example.net")), moment(T0 + 600));
    table.check();
    for (address, found) in [("198.51.100.7", 0), ("198.51.100.8", 1)] {
        assert_eq!(table.sessions_with(ip(address), now).len(), found, "{address}");
    }
    let _ = table.apply(&stop(700, 5).record(), moment(T0 + 700));
    table.check();
    assert_eq!(table.open_of(b"ana@example.net"), 1);
    assert!(table.sessions_with(ip("198.51.100.8"), now).is_empty());
    let mut seen = 0;
    table.for_each_open(now, |_| {
        seen += 1;
        true
    });
    assert_eq!(seen, 1);
}

#[test]
fn memory_ends_and_says_so() {
    let settings = Settings { remember: 3_600, most_sessions: 64, ..Settings::default() };
    let table = Table::new(settings, [1, 2]);
    run(&table, &[start(), stop(600, 9)]);
    table.expire(moment(T0 + 4_100), 9);
    assert_eq!(table.stats().remembered, 1);
    table.expire(moment(T0 + 4_300), 9);
    assert_eq!(table.stats().remembered, 0);
    // Its stop once more, hours late: nobody here knows whether it was counted.
    let late = stop(600, 9).at(T0 + 9_000).delay(8_400);
    let effect = table.apply(&late.record(), moment(T0 + 9_000));
    assert_eq!((effect.outcome, effect.gain), (Outcome::Ancient, Gain::default()));
    let named = SessionId::of(&late.record(), 120);
    assert_eq!(effect.session.unwrap().id, named);
    // And if it is not late, but read from the journal once more.
    let again = table.apply(&stop(600, 9).record(), moment(T0 + 9_000));
    assert_eq!((again.outcome, again.gain), (Outcome::Ancient, Gain::default()));

    // Two for each shard; closed ones make room, open ones don't.
    let mut outcomes = Vec::new();
    for number in 0..200 {
        let sample = stop(4_400 + number, 1).session(&format!("closed-{number}"));
        outcomes.extend(run(&table, &[sample]));
    }
    assert!(outcomes.iter().all(|&(outcome, _)| outcome == Closed));
    let stats = table.stats();
    assert!(stats.remembered <= 64 && stats.forgotten_early >= 136, "{stats:?}");
    let mut full = 0;
    for number in 0..200 {
        let sample = start().at(T0 + 5_000).session(&format!("open-{number}"));
        full += usize::from(run(&table, &[sample])[0].0 == Outcome::Full);
    }
    let stats = table.stats();
    assert_eq!((stats.open + full, stats.refused), (200, full as u64));
    assert!(full >= 136, "{stats:?}");
}

#[test]
fn an_id_that_is_given_again_and_again_is_not_remembered_for_ever() {
    let table = table();
    for round in 0..100 {
        let sample = start().at(T0 + 1_000 * round);
        let _ = table.apply(&sample.record(), moment(T0 + 1_000 * round));
    }
    table.check();
    let stats = table.stats();
    assert_eq!(stats.open, 1);
    assert!(stats.remembered <= MOST_ALIKE, "{stats:?}");
}

#[test]
fn other_records_touch_nothing() {
    let tunnel = Sample::new(Status::Other(9));
    assert_eq!(outcomes(&[tunnel]), [(Outcome::Ignored, 0)]);
}

#[test]
fn readers_and_writers_get_along() {
    let table = table();
    thread::scope(|scope| {
        for worker in 0..4_u32 {
            let table = &table;
            scope.spawn(move || {
                for number in 0..500 {
                    let name = format!("{worker}-{number}");
                    let address = [198, 51, 100, number as u8];
                    let begin = start().session(&name).address(address);
                    let _ = table.apply(&begin.record(), moment(T0));
                    if number % 2 == 0 {
                        let end = stop(60, 10).session(&name);
                        let _ = table.apply(&end.record(), moment(T0 + 60));
                    }
                }
            });
        }
        for _ in 0..200 {
            let now = moment(T0 + 60);
            assert!(table.open_of(b"ana") <= 2_000);
            for view in table.sessions_of(b"ana", 20, now) {
                assert_eq!(view.state, State::Open);
            }
            let _ = table.sessions_with(ip("198.51.100.7"), now);
            let _ = table.expire(now, 9);
        }
    });
    table.check();
    assert_eq!(table.open_of(b"ana"), 1_000);
}

/// A NAS, as they are.
#[derive(Clone, Copy, Debug)]
struct Habits {
    /// Whether it sends gigawords: always, when there are any, never.
    gigawords: u8,
    /// Whether it sends Acct-Session-Time.
    timed: bool,
    /// Whether it sends Event-Timestamp, and Acct-Delay-Time.
    stamps: bool,
    delays: bool,
}

fn habits() -> impl Strategy<Value = Habits> {
    (0_u8..3, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(gigawords, timed, stamps, delays)| Habits {
            gigawords,
            // What tells neither its session time nor when things happened is beyond help.
            timed: timed || !stamps && !delays,
            stamps,
            delays,
        },
    )
}

/// A session as it was: seconds and octets between its reports.
#[derive(Clone, Debug)]
struct Story {
    habits: Habits,
    steps: Vec<(u32, u32, u32)>,
    starts: bool,
    stops: bool,
}

fn story() -> impl Strategy<Value = Story> {
    let steps = prop::collection::vec((1_u32..4_000, 0_u32..1 << 31, 0_u32..1 << 31), 1..12);
    (habits(), steps, any::<bool>(), any::<bool>()).prop_map(|(habits, steps, starts, stops)| {
        let starts = starts || !habits.timed;
        Story { habits, steps, starts, stops }
    })
}

/// One with a start and a stop, by a NAS that tells the session's time.
fn whole() -> impl Strategy<Value = Story> {
    story().prop_map(|story| {
        let habits = Habits { timed: true, ..story.habits };
        Story { habits, starts: true, stops: true, ..story }
    })
}

impl Story {
    /// Its records, each sent `attempts` times, and the sum of its octets.
    fn records(&self, begin: u32, attempts: u32) -> (Vec<Sample>, (u64, u64)) {
        let mut samples = Vec::new();
        let (mut seconds, mut sum) = (0, (0, 0));
        if self.starts {
            self.send(&mut samples, Status::Start, begin, 0, sum, attempts);
        }
        for (at, &(passed, octets_in, octets_out)) in self.steps.iter().enumerate() {
            seconds += passed;
            sum = (sum.0 + u64::from(octets_in), sum.1 + u64::from(octets_out));
            let last = at + 1 == self.steps.len();
            let status = if last && self.stops { Status::Stop } else { Status::Interim };
            self.send(&mut samples, status, begin, seconds, sum, attempts);
        }
        (samples, sum)
    }

    fn send(
        &self,
        samples: &mut Vec<Sample>,
        status: Status,
        begin: u32,
        seconds: u32,
        sum: (u64, u64),
        attempts: u32,
    ) {
        for attempt in 0..attempts {
            // Up to a minute and a half later.
            let waited = attempt * 29;
            let mut sample = Sample::new(status).at(begin + seconds + waited);
            if status != Status::Start {
                sample = match self.habits.gigawords {
                    0 => sample.octets(sum.0, sum.1),
                    1 if sum.0.max(sum.1) > u64::from(u32::MAX) => sample.octets(sum.0, sum.1),
                    _ => sample.low_octets(sum.0, sum.1),
                };
                if self.habits.timed {
                    sample = sample.seconds(seconds);
                }
            }
            if self.habits.stamps {
                sample = sample.stamp(begin + seconds);
            }
            if self.habits.delays {
                sample = sample.delay(waited);
            }
            samples.push(sample);
        }
    }
}

/// Everything that a run leaves behind that may not depend on its order.
#[derive(Debug, PartialEq)]
struct Left {
    totals: Vec<(State, u64, u64, u32)>,
    /// When each began, and ended if it did.
    times: Vec<(u32, u32)>,
    sums: Sum,
}

use crate::usage::Sum;

/// Applies records in an order, all of them after the last has come.
fn leave(samples: &[&Sample], end: u32) -> Left {
    let table = table();
    let mut usage = Usage::new();
    for sample in samples {
        let effect = table.apply(&sample.record(), moment(end));
        usage.add(&Who { user: "ana", nas: "pop-1", telco: None }, &effect.gain, |_| 3_600);
    }
    table.check();
    // A process that begins anew reads its journal again.
    for sample in samples {
        let effect = table.apply(&sample.record(), moment(end));
        assert!(effect.gain.is_empty() && effect.closes.is_empty(), "{effect:?}");
        assert!(effect.outcome != Opened, "{effect:?}");
    }
    table.check();
    let (mut totals, mut times) = (Vec::new(), Vec::new());
    table.walk(|session| {
        if session.is_claim() {
            return true;
        }
        totals.push((session.state, session.octets_in, session.octets_out, session.seconds));
        times.push((session.started, session.ended));
        true
    });
    times.sort_unstable();
    totals.sort_by_key(|&(_, octets_in, octets_out, seconds)| (octets_in, octets_out, seconds));
    let sums = usage.sum(Kind::User, "ana", Day(0), Day(i32::MAX));
    Left { totals, times, sums }
}

fn shuffled(count: usize) -> impl Strategy<Value = Vec<usize>> {
    Just((0..count).collect::<Vec<_>>()).prop_shuffle()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    /// The promise of this crate.
    #[test]
    fn any_order_and_any_repetition_leaves_the_same(
        (story, order) in story().prop_flat_map(|story| {
            let count = story.records(T0, 3).0.len();
            (Just(story), shuffled(count))
        }),
    ) {
        let (samples, sum) = story.records(T0, 3);
        let (once, _) = story.records(T0, 1);
        let end = T0 + 100_000;
        let in_order = leave(&once.iter().collect::<Vec<_>>(), end);
        let seconds = story.steps.iter().map(|&(passed, _, _)| passed).sum();
        let state = if story.stops { State::Stopped } else { State::Open };
        prop_assert_eq!(&in_order.totals, &[(state, sum.0, sum.1, seconds)]);
        let whole = Sum {
            octets_in: sum.0, octets_out: sum.1, seconds: seconds.into(), sessions: 1,
        };
        prop_assert_eq!(in_order.sums, whole);
        let ended = if story.stops { T0 + seconds } else { 0 };
        prop_assert_eq!(&in_order.times, &[(T0, ended)]);

        let shuffled: Vec<_> = order.iter().map(|&at| &samples[at]).collect();
        prop_assert_eq!(leave(&shuffled, end), in_order);
    }

    /// Two sessions of one id; the second's start comes before its updates, all else in any order.
    #[test]
    fn sessions_of_one_id_keep_apart_in_any_order(
        (first, second, mut order) in (whole(), whole()).prop_flat_map(|(first, second)| {
            let count = first.records(T0, 2).0.len() + second.records(T0, 2).0.len();
            (Just(first), Just(second), shuffled(count))
        }),
    ) {
        let end = T0 + 200_000;
        let (mut samples, sum) = first.records(T0, 2);
        let (others, other) = second.records(T0 + 100_000, 2);
        let begin = samples.len();
        samples.extend(others);
        let earliest = order.iter().position(|&at| at >= begin);
        let start = order.iter().position(|&at| at == begin);
        if let (Some(earliest), Some(start)) = (earliest, start) {
            order.swap(earliest, start);
        }
        let left = leave(&order.iter().map(|&at| &samples[at]).collect::<Vec<_>>(), end);
        let seconds = |story: &Story| story.steps.iter().map(|&(passed, _, _)| passed).sum::<u32>();
        let mut expected = vec![
            (State::Stopped, sum.0, sum.1, seconds(&first)),
            (State::Stopped, other.0, other.1, seconds(&second)),
        ];
        expected.sort_by_key(|&(_, octets_in, octets_out, seconds)| (octets_in, octets_out, seconds));
        prop_assert_eq!(left.totals, expected);
        prop_assert_eq!(left.sums.octets_in, sum.0 + other.0);
        prop_assert_eq!(left.sums.sessions, 2);
    }
}
