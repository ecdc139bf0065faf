use proptest::prelude::*;

use super::*;

fn gain(from: i64, to: i64, octets_in: u64) -> Gain {
    Gain { from: from as u32, to: to as u32, octets_in, ..Gain::default() }
}

fn utc(_: i64) -> i32 {
    0
}

/// Days with their octets.
fn shares(gain: Gain, offset: impl Fn(i64) -> i32) -> Vec<String> {
    gain.by_day(offset).map(|share| format!("{} {}", share.day, share.sum.octets_in)).collect()
}

fn octets(gain: Gain, offset: impl Fn(i64) -> i32) -> u64 {
    gain.by_day(offset).map(|share| share.sum.octets_in).sum()
}

/// 2026-11-29, 00:00 UTC.
const MIDNIGHT: i64 = 20_786 * DAY;

#[test]
fn days_have_dates() {
    for (days, date) in [
        (0, "1970-01-01"),
        (-1, "1969-12-31"),
        (59, "1970-03-01"),
        (11_016, "2000-02-29"),
        (20_786, "2026-11-29"),
        (47_540, "2100-02-28"),
        (47_541, "2100-03-01"),
    ] {
        assert_eq!(Day(days).to_string(), date);
        assert_eq!(date.parse(), Ok(Day(days)));
    }
    for text in
        ["", "2026-11", "2026-11-31", "2026-13-01", "2026-11-29-1", "26-11-29", "2026-+1-29"]
    {
        assert_eq!(text.parse::<Day>(), Err(BadDay), "{text}");
    }
}

#[test]
fn usage_is_divided_by_the_time_on_either_side_of_midnight() {
    let within = gain(MIDNIGHT - 600, MIDNIGHT - 1, 100);
    assert_eq!(shares(within, utc), ["2026-11-28 100"]);
    let across = gain(MIDNIGHT - 200, MIDNIGHT + 400, 100);
    assert_eq!(shares(across, utc), ["2026-11-28 33", "2026-11-29 67"]);
    let to_midnight = gain(MIDNIGHT - 200, MIDNIGHT, 100);
    assert_eq!(shares(to_midnight, utc), ["2026-11-28 100"]);
    let three_days = gain(MIDNIGHT - 100, MIDNIGHT + DAY + 100, 100 + 864 + 1);
    assert_eq!(octets(three_days, utc), 100 + 864 + 1);
    assert_eq!(shares(three_days, utc).len(), 3);
}

#[test]
fn a_late_report_counts_on_its_own_day() {
    let late = gain(MIDNIGHT + 300, MIDNIGHT - 300, 4);
    assert_eq!(shares(late, utc), ["2026-11-28 4"]);
}

#[test]
fn what_is_older_than_a_year_counts_for_the_first_day_that_is_kept() {
    let all: Vec<_> = gain(0, MIDNIGHT, 1_000_000).by_day(utc).collect();
    assert_eq!(all.len(), MOST_DAYS as usize);
    assert_eq!(octets(gain(0, MIDNIGHT, 1_000_000), utc), 1_000_000);
}

#[test]
fn local_time_decides_and_may_be_put_back_or_forward() {
    // An hour ahead of UTC: its midnight is at 23:00.
    let across = gain(MIDNIGHT - 2 * 3_600, MIDNIGHT, 100);
    let expected = ["2026-11-28 50", "2026-11-29 50"];
    assert_eq!(shares(across, |_| 3_600), expected);
    // Put back by an hour at 23:30 UTC: midnight comes then, and not a second time.
    let put_back = |at| if at < MIDNIGHT - 1_800 { 3_600 } else { 0 };
    assert_eq!(shares(across, put_back), expected);
    // Put forward over midnight.
    let put_forward = |at| if at < MIDNIGHT - 1_800 { 0 } else { 3_600 };
    let forward = shares(gain(MIDNIGHT - 3_600, MIDNIGHT + 3_600, 100), put_forward);
    assert_eq!(forward, ["2026-11-28 25", "2026-11-29 75"]);
}

#[test]
fn nothing_gained_is_no_day() {
    assert_eq!(Gain::default().by_day(utc).count(), 0);
    let session = Gain { sessions: 1, from: 5, to: 5, ..Gain::default() };
    assert_eq!(session.by_day(utc).map(|share| share.sum.sessions).collect::<Vec<_>>(), [1]);
}

#[test]
fn sums_are_by_user_nas_and_telco() {
    let mut usage = Usage::new();
    let ana = Who { user: "ana", nas: "pop-1", telco: Some("north") };
    let eva = Who { user: "eva", nas: "pop-1", telco: None };
    usage.add(&ana, &gain(MIDNIGHT - 50, MIDNIGHT + 50, 10), utc);
    usage.add(&eva, &gain(MIDNIGHT + 50, MIDNIGHT + 60, 7), utc);
    let (first, second) = (Day(20_785), Day(20_786));
    for (kind, name, from, to, expected) in [
        (Kind::User, "ana", first, second, 10),
        (Kind::User, "ana", second, second, 5),
        (Kind::User, "eva", first, first, 0),
        (Kind::User, "nobody", first, second, 0),
        (Kind::Nas, "pop-1", first, second, 17),
        (Kind::Nas, "pop-1", second, second, 12),
        (Kind::Telco, "north", first, second, 10),
    ] {
        assert_eq!(usage.sum(kind, name, from, to).octets_in, expected, "{kind:?} {name}");
    }
    let mut saved = Vec::new();
    usage.save(&mut saved).unwrap();
    assert_eq!(Usage::restore(&saved[..]).unwrap(), usage);
    saved[40] ^= 1;
    assert!(Usage::restore(&saved[..]).is_err());
    assert!(Usage::restore(&saved[..saved.len() - 1]).is_err());

    usage.forget_before(Kind::User, second);
    assert_eq!(usage.sum(Kind::User, "ana", first, second).octets_in, 5);
    usage.forget_before(Kind::User, Day(20_787));
    assert_eq!(usage.rows(Kind::User).count(), 0);
    assert_eq!(usage.rows(Kind::Nas).count(), 2);
}

proptest! {
    #[test]
    fn shares_add_up(
        from: u32, to: u32, octets_in: u64, octets_out: u64, seconds: u32,
        offsets in prop::collection::vec(-50_000_i32..50_000, 1..4),
    ) {
        let gain = Gain { from, to, octets_in, octets_out, seconds, sessions: 1 };
        let offset = |at: i64| offsets[(at / 7_000) as usize % offsets.len()];
        let sum = gain.by_day(offset).fold(Sum::default(), |sum, share| sum.with(share.sum));
        let whole = Sum { octets_in, octets_out, seconds: u64::from(seconds), sessions: 1 };
        prop_assert_eq!(sum, whole);
    }

    #[test]
    fn dates_come_back(days in -700_000_i32..2_900_000) {
        let (year, month, day) = Day(days).date();
        if (1..=9_999).contains(&year) {
            prop_assert_eq!(Day::from_date(year, month, day), Some(Day(days)));
        }
        prop_assert!(Day(days + 1).date() > Day(days).date());
    }
}
