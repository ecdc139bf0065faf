use super::*;

/// What sessions there are, in the order in which they began: state, octets in, seconds.
type Rows = Vec<(State, u64, u32)>;

fn rows(table: &Table) -> Rows {
    let mut rows = Vec::new();
    table.walk(|session| {
        if !session.is_claim() {
            rows.push((session.start, session.state, session.octets_in, session.seconds));
        }
        true
    });
    rows.sort_by_key(|&(start, ..)| start);
    rows.into_iter().map(|(_, state, octets, seconds)| (state, octets, seconds)).collect()
}

/// Applies records when they come, and all of them again. Gives the sessions, and what was counted:
/// octets, seconds and sessions.
fn settle(samples: &[Sample]) -> (Rows, (u64, u32, u32)) {
    let table = table();
    let mut sum = (0, 0, 0);
    let mut end = T0;
    for sample in samples {
        end = end.max(sample.received_at());
        let effect = table.apply(&sample.record(), moment(sample.received_at()));
        table.check();
        assert!(table.open_of(b"ana") <= 1, "{sample:?}");
        sum.0 += effect.gain.octets_in;
        sum.1 += effect.gain.seconds;
        sum.2 += effect.gain.sessions;
    }
    let once = rows(&table);
    for sample in samples {
        let effect = table.apply(&sample.record(), moment(end));
        table.check();
        assert!(effect.gain.is_empty(), "{sample:?} {effect:?}");
    }
    assert_eq!(rows(&table), once, "the same records again");
    (once, sum)
}

/// A record of a NAS that doesn't tell the session's time, but when things happened.
fn bare(status: Status, second: u32, octets: u64) -> Sample {
    late(status, second, octets, 0)
}

/// One of its records that comes late.
fn late(status: Status, second: u32, octets: u64, delay: u32) -> Sample {
    let sample = Sample::new(status).at(T0 + second + delay).delay(delay);
    if status == Status::Start { sample } else { sample.octets(octets, octets) }
}

const START: Status = Status::Start;
const INTERIM: Status = Status::Interim;
const STOP: Status = Status::Stop;

#[test]
fn a_second_start_is_no_second_session() {
    let second = |second: u32| start().at(T0 + second);
    for (what, samples) in [
        (
            "with session time",
            vec![
                start(),
                interim(600, 9),
                second(700),
                second(705).delay(5),
                interim(1_200, 20),
                second(1_300),
                interim(1_800, 30),
                stop(2_400, 40),
            ],
        ),
        (
            "when the user gets an address",
            vec![
                start(),
                interim(600, 9),
                second(700).address([198, 51, 100, 1]).port(7),
                interim(1_200, 20).address([198, 51, 100, 1]),
                stop(2_400, 40),
            ],
        ),
        (
            "with another address, but the session's time goes on",
            vec![
                start().address([198, 51, 100, 1]),
                interim(600, 9),
                second(700).address([198, 51, 100, 2]),
                interim(1_200, 20),
                stop(2_400, 40),
            ],
        ),
        (
            "without session time",
            vec![
                bare(START, 0, 0),
                bare(INTERIM, 600, 9),
                bare(START, 700, 0),
                start().at(T0 + 730).delay(30),
                bare(INTERIM, 1_200, 20),
                bare(START, 1_300, 0),
                bare(START, 1_700, 0),
                bare(INTERIM, 1_800, 30),
                bare(STOP, 2_400, 40),
            ],
        ),
        (
            "without session time, before anything else",
            vec![bare(START, 0, 0), bare(START, 700, 0), bare(STOP, 2_400, 40)],
        ),
        (
            "with session time in the stop alone",
            vec![
                bare(START, 0, 0),
                bare(INTERIM, 600, 9),
                bare(START, 700, 0),
                bare(INTERIM, 1_200, 20),
                bare(STOP, 2_400, 40).seconds(2_400),
            ],
        ),
        (
            "without session time, with another address, but the counters go on",
            vec![
                bare(START, 0, 0).address([198, 51, 100, 1]),
                bare(INTERIM, 600, 9),
                bare(START, 700, 0).address([198, 51, 100, 2]),
                bare(INTERIM, 1_200, 20),
                bare(STOP, 2_400, 40),
            ],
        ),
        (
            "that comes after the stop",
            vec![bare(START, 0, 0), bare(STOP, 2_400, 40), start().at(T0 + 2_450).delay(1_750)],
        ),
    ] {
        let (rows, sum) = settle(&samples);
        let sessions: Vec<_> = rows.iter().filter(|row| row.0 != State::Superseded).collect();
        assert_eq!(sessions, [&(State::Stopped, 40, 2_400)], "{what}: {rows:?}");
        assert_eq!((sum.0, sum.1), (40, 2_400), "{what}");
        // A Start from another address is shown as a session for a while.
        assert_eq!(rows.len(), 1, "{what}");
        assert!(sum.2 == 1 || what.contains("another address"), "{what}: {sum:?}");
    }
}

#[test]
fn what_the_user_is_seen_with_does_not_change() {
    let table = table();
    let samples =
        [bare(START, 0, 0), bare(INTERIM, 600, 9), bare(START, 700, 0).address([198, 51, 100, 1])];
    assert_eq!(run(&table, &samples), [(Opened, 0), (Updated, 9), (Updated, 0)]);
    let now = moment(T0 + 701);
    let open = table.sessions_of(b"ana", 9, now);
    assert_eq!((open.len(), open[0].started, open[0].octets_in), (1, T0, 9));
    assert_eq!(table.sessions_with(ip("198.51.100.1"), now), open, "its address is known");
    let effect = table.apply(&samples[2].record(), now);
    assert_eq!(
        (effect.outcome, effect.session.map(|session| session.id)),
        (Duplicate, Some(open[0].id))
    );
    assert_eq!(open[0].quiet, 1, "it was heard of");
}

#[test]
fn a_session_whose_stop_was_lost_is_told_from_the_next_one() {
    use State::{Open, Rebooted, Stopped, Superseded};
    let next = |second: u32| bare(START, second, 0);
    let timed = |second: u32, seconds: u32, octets: u64| {
        Sample::new(INTERIM).at(T0 + second).seconds(seconds).octets(octets, octets)
    };
    let first = || [bare(START, 0, 0).calling("one").port(1), bare(INTERIM, 600, 9)];
    let after = |samples: &[Sample]| [&first(), samples].concat();
    let both = vec![(Superseded, 9, 600), (Open, 20, 600)];
    for (what, samples, expected) in [
        ("by session time", after(&[next(5_000), timed(5_600, 600, 20)]), both.clone()),
        (
            "by the stop's session time",
            after(&[next(5_000), timed(5_600, 600, 20), bare(STOP, 6_000, 30).seconds(1_000)]),
            vec![(Superseded, 9, 600), (Stopped, 30, 1_000)],
        ),
        (
            "by counters that fell",
            after(&[next(5_000), bare(INTERIM, 5_600, 4), bare(STOP, 6_000, 8)]),
            vec![(Superseded, 9, 600), (Stopped, 8, 1_000)],
        ),
        (
            "by counters that fell, at once",
            after(&[next(5_000), bare(STOP, 6_000, 8)]),
            vec![(Superseded, 9, 600), (Stopped, 8, 1_000)],
        ),
        (
            "by the station that called, whatever the counters",
            after(&[next(5_000).calling("two"), bare(INTERIM, 5_600, 20)]),
            both.clone(),
        ),
        (
            "by an address, and counters that fell",
            [
                vec![bare(START, 0, 0).address([198, 51, 100, 1]), bare(INTERIM, 600, 30)],
                vec![next(5_000).address([198, 51, 100, 2]), bare(INTERIM, 5_600, 20)],
            ]
            .concat(),
            vec![(Superseded, 30, 600), (Open, 20, 600)],
        ),
        (
            "by a port, and counters that fell",
            after(&[next(5_000).port(2), bare(INTERIM, 5_600, 5)]),
            vec![(Superseded, 9, 600), (Open, 5, 600)],
        ),
        (
            "by its box's new beginning",
            after(&[
                Sample::new(Status::On).at(T0 + 4_000).delay(0),
                next(5_000),
                bare(INTERIM, 5_600, 20),
            ]),
            vec![(Rebooted, 9, 600), (Open, 20, 600)],
        ),
        (
            "by its box's new beginning, which comes late",
            after(&[
                next(5_000),
                Sample::new(Status::On).at(T0 + 5_010).delay(1_010),
                bare(INTERIM, 5_600, 20),
            ]),
            vec![(Rebooted, 9, 600), (Open, 20, 600)],
        ),
        (
            "by its stop, which comes late",
            after(&[next(5_000), late(STOP, 4_000, 12, 1_010), bare(INTERIM, 5_600, 20)]),
            vec![(Stopped, 12, 4_000), (Open, 20, 600)],
        ),
        (
            "by its stop, between two Starts of the next one",
            after(&[
                next(5_000),
                late(STOP, 4_000, 12, 1_010),
                next(5_300),
                bare(INTERIM, 5_600, 20),
            ]),
            vec![(Stopped, 12, 4_000), (Open, 20, 600)],
        ),
    ] {
        let (rows, sum) = settle(&samples);
        assert_eq!(rows, expected, "{what}");
        let octets: u64 = expected.iter().map(|row| row.1).sum();
        let seconds: u32 = expected.iter().map(|row| row.2).sum();
        assert_eq!(sum, (octets, seconds, 2), "{what}");
    }
}

#[test]
fn what_nothing_tells_apart_is_one_session() {
    let first = [bare(START, 0, 0), bare(INTERIM, 600, 9)];
    let after = |samples: &[Sample]| [&first, samples].concat();
    for (what, samples, octets) in [
        ("a Start alone", after(&[bare(START, 5_000, 0)]), 9),
        ("counters that go on", after(&[bare(START, 5_000, 0), bare(INTERIM, 5_600, 12)]), 12),
        (
            "one counter that fell: it went wrong",
            after(&[
                bare(START, 5_000, 0),
                Sample::new(INTERIM).at(T0 + 5_600).delay(0).octets(4, 20),
            ]),
            9,
        ),
        (
            "a report that may be older than the Start",
            after(&[start().at(T0 + 1_000), Sample::new(INTERIM).at(T0 + 1_010).octets(4, 4)]),
            9,
        ),
        (
            "counters that fell after they had gone on",
            after(&[bare(START, 700, 0), bare(INTERIM, 900, 12), bare(INTERIM, 1_200, 5)]),
            12,
        ),
    ] {
        let (rows, sum) = settle(&samples);
        assert_eq!(rows.len(), 1, "{what}: {rows:?}");
        assert_eq!((rows[0].0, sum.0, sum.2), (State::Open, octets, 1), "{what}");
    }
}

#[test]
fn a_stop_that_comes_after_the_next_start_leaves_the_user_online() {
    let table = table();
    let samples = [
        bare(START, 0, 0),
        bare(INTERIM, 600, 9),
        bare(START, 700, 0).address([198, 51, 100, 2]),
        late(STOP, 650, 11, 55),
    ];
    assert_eq!(run(&table, &samples)[3], (Closed, 2));
    let open = table.sessions_of(b"ana", 9, moment(T0 + 706));
    assert_eq!((open.len(), open[0].started, open[0].octets_in), (1, T0 + 700, 0));
    assert_eq!(table.sessions_with(ip("198.51.100.2"), moment(T0 + 706)), open);
    // Its Start, sent again, counts it; and so does whatever else comes first.
    let effect = table.apply(&samples[2].record(), moment(T0 + 710));
    assert_eq!((effect.outcome, effect.gain.sessions), (Opened, 1));
    let effect = table.apply(&bare(STOP, 900, 4).record(), moment(T0 + 900));
    assert_eq!((effect.outcome, effect.gain.octets_in, effect.gain.seconds), (Closed, 4, 200));
    assert_eq!(effect.gain.sessions, 0);
    assert_eq!(table.open_of(b"ana"), 0);
}

#[test]
fn a_nas_without_session_ids_has_as_many_sessions_as_starts() {
    let line = |sample: Sample| sample.session("").port(3);
    let samples = [
        line(bare(START, 0, 0)),
        line(bare(INTERIM, 600, 9)),
        line(bare(START, 700, 0)),
        line(bare(INTERIM, 1_000, 4)),
    ];
    let (rows, sum) = settle(&samples);
    assert_eq!(rows, [(State::Superseded, 9, 600), (State::Open, 4, 300)]);
    assert_eq!(sum, (13, 900, 2));
}

#[test]
fn a_lost_session_that_goes_on_beside_a_new_start_is_one() {
    for samples in [
        [start(), interim(600, 9), start().at(T0 + 9_000), interim(9_300, 20)],
        [bare(START, 0, 0), bare(INTERIM, 600, 9), bare(START, 9_000, 0), bare(INTERIM, 9_300, 20)],
    ] {
        let table = table();
        run(&table, &samples[..2]);
        for second in (600..6_000).step_by(60) {
            let _ = table.expire(moment(T0 + second), 9);
        }
        assert_eq!(table.open_of(b"ana"), 0);
        assert_eq!(run(&table, &samples[2..3]), [(Opened, 0)]);
        let effect = table.apply(&samples[3].record(), moment(T0 + 9_300));
        table.check();
        assert_eq!((effect.outcome, effect.gain.octets_in), (Reopened, 11));
        let [closed] = &effect.closes[..] else { panic!("{effect:?}") };
        assert_eq!((closed.state, closed.octets_in), (State::Superseded, 0));
        assert_eq!(rows(&table), [(State::Open, 20, 9_300)]);
    }
}

#[test]
fn sessions_that_follow_each_other_closely_keep_their_stops() {
    // A NAS without session time gives an id again a minute after the stop. The exporter applies
    // everything again, behind the keeper.
    let samples = [
        bare(START, 0, 0),
        bare(INTERIM, 600, 500),
        bare(STOP, 1_000, 900),
        bare(START, 1_060, 0),
        bare(INTERIM, 1_300, 7),
    ];
    let (rows, sum) = settle(&samples);
    assert_eq!(rows, [(State::Stopped, 900, 1_000), (State::Open, 7, 240)]);
    assert_eq!(sum, (907, 1_240, 2));
}

#[test]
fn stops_without_session_time_count_once() {
    for (what, samples, rows) in [
        (
            "again, hours later, by a NAS that doesn't say so",
            vec![
                bare(START, 0, 0),
                Sample::new(STOP).at(T0 + 900).octets(9, 9),
                Sample::new(STOP).at(T0 + 9_000).octets(9, 9),
            ],
            vec![(State::Stopped, 9, 900)],
        ),
        (
            "two, of two sessions, the later one first",
            vec![bare(STOP, 9_000, 5), late(STOP, 900, 9, 8_110)],
            vec![(State::Stopped, 9, 0), (State::Stopped, 5, 0)],
        ),
        (
            "one before what is known of the next session",
            vec![bare(START, 5_000, 0), bare(INTERIM, 5_600, 5), late(STOP, 900, 9, 4_710)],
            vec![(State::Stopped, 9, 0), (State::Open, 5, 600)],
        ),
        (
            "without a Start, then the Start",
            vec![bare(STOP, 900, 9), late(START, 0, 0, 905)],
            vec![(State::Stopped, 9, 900)],
        ),
        (
            "in the middle of what is known",
            vec![
                bare(START, 0, 0),
                bare(INTERIM, 1_200, 12),
                late(STOP, 900, 9, 310),
                bare(INTERIM, 1_800, 15),
            ],
            vec![(State::Open, 15, 1_800)],
        ),
    ] {
        assert_eq!(settle(&samples).0, rows, "{what}");
    }
}

#[test]
fn what_nothing_told_apart_is_not_told_apart_by_being_sent_again() {
    let again = |status: Status, second: u32, seconds: u32, octets: (u64, u64)| {
        Sample::new(status).at(T0 + second).seconds(seconds).octets(octets.0, octets.1)
    };
    for (what, samples, expected) in [
        (
            "an update of a session whose Start was lost, as the stop before it was",
            vec![
                start(),
                again(INTERIM, 900, 900, (1_500, 1_100)),
                again(INTERIM, 90_100, 100, (1_000, 1_200)),
                again(INTERIM, 90_129, 100, (1_000, 1_200)),
            ],
            (State::Open, 1_500, 900),
        ),
        (
            "the stop of such a session",
            vec![
                start(),
                again(INTERIM, 1, 1, (0, 800)),
                again(STOP, 90_133, 133, (900, 400)),
                again(STOP, 90_162, 133, (900, 400)),
            ],
            (State::Stopped, 900, 133),
        ),
    ] {
        assert_eq!(settle(&samples).0, [expected], "{what}");
    }
}

#[test]
fn the_time_of_a_session_whose_start_was_lost_is_what_was_seen_of_it() {
    let (rows, sum) =
        settle(&[bare(INTERIM, 600, 9), bare(INTERIM, 1_200, 20), bare(STOP, 1_500, 30)]);
    assert_eq!(rows, [(State::Stopped, 30, 900)]);
    assert_eq!(sum, (30, 900, 1));
}

#[test]
fn rounds_are_not_made_up() {
    const GIB: u64 = 1 << 30;
    let low = |status, second: u32, octets: u64| {
        Sample::new(status).at(T0 + second).delay(0).low_octets(octets, 0)
    };
    // Session time in the stop alone.
    let samples = [
        bare(START, 0, 0),
        low(INTERIM, 600, GIB),
        low(INTERIM, 1_200, 3 * GIB),
        low(STOP, 1_800, 3 * GIB + 5).seconds(1_800),
    ];
    assert_eq!(settle(&samples).1, (3 * GIB + 5, 1_800, 1));
    // Our clock is put back by an hour between two reports.
    let table = table();
    let mut sum = 0;
    for (sample, second, step) in [
        (bare(START, 0, 0), 0, 0),
        (low(INTERIM, 600, GIB), 600, 0),
        (low(INTERIM, 1_200, 3 * GIB), 1_200, 0),
        (low(INTERIM, 1_800, 3 * GIB + 5), 1_800, 3_600),
    ] {
        let now = Moment { wall: u64::from(T0 + second - step) * NANOS, ..moment(T0 + second) };
        let record = Record { received: now.wall, ..sample.record() };
        sum += table.apply(&record, now).gain.octets_in;
    }
    assert_eq!(sum, 3 * GIB + 5);
    // Two sessions that nothing told apart.
    let timed = |second: u32, seconds: u32, octets_in: u64, octets_out: u64| {
        Sample::new(INTERIM).at(T0 + second).seconds(seconds).low_octets(octets_in, octets_out)
    };
    let samples = [start(), timed(900, 900, 3 * GIB, 5), timed(90_800, 800, GIB, 7)];
    assert_eq!(settle(&samples).1, (3 * GIB, 900, 1));
}

#[test]
fn second_starts_without_end_cost_one_claim() {
    let table = table();
    run(&table, &[start(), interim(600, 9)]);
    let mut id = None;
    for round in 1..100 {
        let sample = start().at(T0 + 600 + 1_000 * round);
        let effect = table.apply(&sample.record(), moment(sample.received_at()));
        assert_eq!(effect.outcome, Updated);
        let known = *id.get_or_insert(effect.session.unwrap().id);
        assert_eq!(effect.session.unwrap().id, known);
    }
    table.check();
    assert_eq!((table.stats().open, table.stats().remembered), (1, 1));
    // An earlier one that comes late is no news.
    assert_eq!(run(&table, &[start().at(T0 + 200_000).delay(150_000)]), [(Late, 0)]);
}

#[test]
fn a_claim_pushes_nothing_out() {
    let settings = Settings { most_sessions: 32, ..Settings::default() };
    let table = Table::new(settings, [1, 2]);
    // One session has room in each part.
    let samples = [start(), interim(600, 9), start().at(T0 + 5_000), interim(5_600, 20)];
    let expected = [(Opened, 0), (Updated, 9), (Updated, 0), (Updated, 11)];
    assert_eq!(run(&table, &samples), expected);
    assert_eq!(table.stats().forgotten_early, 0);
}

#[test]
fn a_claim_survives_a_restart() {
    let first = table();
    run(&first, &[bare(START, 0, 0), bare(INTERIM, 600, 9), bare(START, 5_000, 0).calling("one")]);
    let mut saved = Vec::new();
    first.save(&mut saved, 1, moment(T0 + 5_001)).unwrap();
    for (octets, expected) in [
        (4, vec![(State::Superseded, 9, 600), (State::Open, 4, 600)]),
        (12, vec![(State::Open, 12, 5_600)]),
    ] {
        let now = moment(T0 + 5_002);
        let (again, restored) =
            Table::restore(Settings::default(), [3, 4], &saved[..], now).unwrap();
        assert_eq!((restored.sessions, again.stats().open), (2, 1));
        assert_eq!(rows(&again), [(State::Open, 9, 600)]);
        run(&again, &[bare(INTERIM, 5_600, octets)]);
        assert_eq!(rows(&again), expected);
    }
}

#[test]
fn a_session_s_standing_is_known_without_taking_a_record() {
    let table = table();
    let now = moment(T0 + 700);
    assert_eq!(table.standing(&bare(START, 0, 0).record(), now), None);
    run(&table, &[bare(START, 0, 0), bare(INTERIM, 600, 9), bare(START, 700, 0)]);
    let known = table.standing(&bare(INTERIM, 650, 12).record(), now).unwrap();
    assert_eq!((known.octets_in, known.started, known.state), (9, T0, State::Open));
    for sample in [bare(START, 0, 0), bare(START, 700, 0), bare(START, 900, 0), bare(STOP, 900, 12)]
    {
        let standing = table.standing(&sample.record(), now).unwrap();
        assert_eq!((standing.id, standing.state), (known.id, known.state), "{sample:?}");
    }
    assert_eq!(table.standing(&bare(START, 0, 0).user("eva").record(), now), None);
    assert_eq!(table.standing(&Sample::new(Status::On).record(), now), None);
    assert_eq!(rows(&table), [(State::Open, 9, 600)], "nothing was taken");
}

/// A session with Starts in its middle, where nobody needs them.
fn restless() -> impl Strategy<Value = (Story, Vec<u32>)> {
    let starts = prop::collection::vec(prop::option::weighted(0.4, any::<u32>()), 12);
    (story(), starts).prop_map(|(mut story, starts)| {
        if !story.habits.timed && story.habits.gigawords == 2 {
            // Without either, counters that went round while nothing was in order are nobody's.
            for (_, octets_in, octets_out) in &mut story.steps {
                (*octets_in, *octets_out) = (*octets_in >> 4, *octets_out >> 4);
            }
        }
        let mut second = 0;
        let mut seconds = Vec::new();
        for (&(passed, ..), start) in story.steps.iter().zip(starts) {
            // A Start in the second of a stop is another session's.
            if let Some(start) = start.filter(|_| passed > 8) {
                seconds.push(second + 4 + start % (passed - 8));
            }
            second += passed;
        }
        (story, seconds)
    })
}

fn with_starts(
    story: &Story,
    begin: u32,
    seconds: &[u32],
    attempts: u32,
) -> (Vec<Sample>, (u64, u64)) {
    let (mut samples, sum) = story.records(begin, attempts);
    for &second in seconds {
        story.send(&mut samples, Status::Start, begin + second, 0, (0, 0), attempts);
    }
    (samples, sum)
}

fn in_order(samples: &[Sample]) -> Vec<&Sample> {
    let mut samples: Vec<_> = samples.iter().collect();
    samples.sort_by_key(|sample| sample.received_at());
    samples
}

fn seconds_of(story: &Story) -> u32 {
    story.steps.iter().map(|&(passed, _, _)| passed).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    /// The promise, with Starts in the middle: by NASes with and without session time.
    #[test]
    fn repeated_starts_in_any_order_leave_one_session(
        (story, starts, order) in restless().prop_flat_map(|(story, starts)| {
            let count = with_starts(&story, T0, &starts, 3).0.len();
            (Just(story), Just(starts), shuffled(count))
        }),
    ) {
        let end = T0 + 100_000;
        let (once, sum) = with_starts(&story, T0, &starts, 1);
        let seconds = seconds_of(&story);
        let state = if story.stops { State::Stopped } else { State::Open };
        let straight = leave(&in_order(&once), end);
        prop_assert_eq!(&straight.totals, &[(state, sum.0, sum.1, seconds)]);
        let whole = Sum {
            octets_in: sum.0, octets_out: sum.1, seconds: seconds.into(), sessions: 1,
        };
        prop_assert_eq!(straight.sums, whole);

        let (samples, _) = with_starts(&story, T0, &starts, 3);
        let shuffled: Vec<_> = order.iter().map(|&at| &samples[at]).collect();
        let shuffled = leave(&shuffled, end);
        prop_assert_eq!((shuffled.totals, shuffled.sums), (straight.totals, straight.sums));
        // Its beginning may be that of a Start minutes later, if that came first.
        let [(started, ended)] = shuffled.times[..] else { panic!("one session") };
        prop_assert!((T0..=T0 + 240).contains(&started) && ended == straight.times[0].1);
    }

    /// Counters that go round meanwhile may be lost where nothing tells that the session goes on,
    /// but never doubled.
    #[test]
    fn repeated_starts_never_add_to_counters_that_go_round(
        (story, starts) in (story(), prop::collection::vec(1_u32..40_000, 0..12)),
    ) {
        let habits = Habits { gigawords: 2, timed: false, delays: true, ..story.habits };
        let story = Story { habits, starts: true, ..story };
        // Not in the seconds of the stop, where a Start is another session's.
        let end = seconds_of(&story);
        let starts: Vec<_> = starts.into_iter().filter(|start| start + 8 < end).collect();
        let (samples, sum) = with_starts(&story, T0, &starts, 3);
        let samples = in_order(&samples);
        // And once more, as a process that begins anew reads its journal.
        let samples = [&samples[..], &samples[..]].concat();
        let left = leave_once(&samples, T0 + 100_000);
        prop_assert!(left.octets_in <= sum.0 && left.octets_out <= sum.1, "{:?}", left);
        // Two sessions that were told apart may have a second in common, for times are rough.
        let rough = 2 * starts.len() as u64;
        prop_assert!(left.seconds <= u64::from(end) + rough, "{:?}", left);
    }

    /// An id that is given again, stops and Starts lost and repeated: whatever the order, nobody
    /// pays for more than was used.
    #[test]
    fn ids_given_again_are_never_billed_twice(
        (first, second, starts, order) in (restless(), restless()).prop_flat_map(|(first, second)| {
            let count = records_of_both(&first, &second).0.len();
            let starts = [first.1.clone(), second.1.clone()];
            (Just(first.0), Just(second.0), Just(starts), shuffled(count))
        }),
    ) {
        let [starts_of_first, starts_of_second] = starts;
        let (first, second) = ((first, starts_of_first), (second, starts_of_second));
        let (samples, of_first, sum) = records_of_both(&first, &second);
        // What came before the first record that is known of a session nothing tells, if its Start
        // was lost: the records of the first session have come once when the second begins.
        let is_first = |at: &usize| *at < of_first && at.is_multiple_of(2);
        let once = order.iter().copied().filter(is_first);
        let rest = order.iter().copied().filter(|at| !is_first(at));
        let order: Vec<_> = once.chain(rest).collect();
        let shuffled: Vec<_> = order.iter().map(|&at| &samples[at]).collect();
        for samples in [in_order(&samples), shuffled] {
            let left = leave_once(&samples, T0 + 200_000);
            prop_assert!(left.octets_in <= sum.0 && left.octets_out <= sum.1, "{:?} {:?}", left, sum);
        }
    }
}

/// Records of two sessions of one NAS that has its habits, and the sum of their octets.
fn records_of_both(
    (first, starts_of_first): &(Story, Vec<u32>),
    (second, starts_of_second): &(Story, Vec<u32>),
) -> (Vec<Sample>, usize, (u64, u64)) {
    let mut habits = first.habits;
    if !habits.timed {
        habits.gigawords = 0;
    }
    let story =
        |story: &Story| Story { habits, starts: story.starts || !habits.timed, ..story.clone() };
    // A Start about as far from the beginning as times may be off is taken for either.
    let far =
        |starts: &[u32]| starts.iter().copied().filter(|&start| start > 400).collect::<Vec<_>>();
    let (mut samples, one) = with_starts(&story(first), T0, &far(starts_of_first), 2);
    let (others, other) = with_starts(&story(second), T0 + 100_000, &far(starts_of_second), 2);
    let of_first = samples.len();
    samples.extend(others);
    (samples, of_first, (one.0 + other.0, one.1 + other.1))
}

fn leave_once(samples: &[&Sample], end: u32) -> Sum {
    let table = table();
    let sum = samples.iter().fold(Sum::default(), |sum, sample| {
        let gain = table.apply(&sample.record(), moment(end)).gain;
        sum.with(Sum {
            octets_in: gain.octets_in,
            octets_out: gain.octets_out,
            seconds: gain.seconds.into(),
            sessions: gain.sessions.into(),
        })
    });
    table.check();
    sum
}

/// A Start overtakes the stop of the session before it, which is then sent again.
#[test]
fn a_stop_from_before_a_start_does_not_end_what_began_with_it() {
    let late_stop = stop(0, 500).at(T0 + 213).delay(58);
    let table = table();
    let way = [start(), start().at(T0 + 213).delay(0), late_stop.clone()];
    assert_eq!(run(&table, &way), [(Opened, 0), (Updated, 0), (Closed, 500)]);
    assert_eq!(table.stats().open, 1);
    let again = [late_stop, stop(0, 500).at(T0 + 283).delay(128)];
    assert_eq!(run(&table, &again), [(Duplicate, 0), (Duplicate, 0)]);
    assert_eq!(table.stats().open, 1);
    let end = stop(100, 70).at(T0 + 313).delay(0);
    assert_eq!(run(&table, &[end]), [(Closed, 70)]);
    assert_eq!(table.stats().open, 0);
}

/// A Start without a time may be the late one of a session that has stopped; one that says that it is later than the stop is not,
/// although the other seems to be later still.
#[test]
fn a_start_from_after_the_stop_is_another_session_whatever_was_taken_for_the_first() {
    let bare = |second: u32| start().at(T0 + second);
    let stopped = Sample::new(STOP).seconds(0).stamp(T0);
    let dated = start().at(T0 + 116).stamp(T0 + 52);
    let (rows, (_, _, sessions)) = settle(&[stopped, bare(66), bare(116), dated, bare(116)]);
    let states: Vec<State> = rows.into_iter().map(|(state, ..)| state).collect();
    assert_eq!((states, sessions), (vec![State::Stopped, State::Open], 2));
}

/// Records that [`crate::fuzzing::table`] makes of eight bytes each: the first found that a session's beginning was moved behind its
/// end, the second that a Start beside a session that goes on was of one that had been given up when it came again.
#[test]
fn what_fuzzing_found_is_counted_once() {
    let late = [
        [241, 0, 0, 0, 0, 0, 0, 247],
        [0, 213, 66, 0, 33, 0, 0, 0],
        [0, 0, 0, 32, 1, 13, 184, 0],
        [0, 0, 50, 0, 0, 0, 0, 0],
        [0, 0, 0, 64, 0, 0, 0, 44],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ];
    let claimed = [
        [32, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 7, 254, 255, 255, 255, 18],
        [0, 0, 44, 247, 15, 66, 213, 19],
        [205, 7, 205, 10, 10, 10, 44, 44],
        [0, 0, 0, 0, 0, 0, 0, 66],
        [27, 0, 0, 0, 7, 0, 19, 126],
        [0, 0, 255, 47, 0, 0, 127, 180],
        [0, 0, 42, 0, 0, 0, 0, 0],
    ];
    crate::fuzzing::table(late.as_flattened());
    crate::fuzzing::table(claimed.as_flattened());
}
