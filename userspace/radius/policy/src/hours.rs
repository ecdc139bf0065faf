//! Hours at which somebody may be connected, as UUCP wrote them: `Wk0800-1800,Sa,Su2000-2359`.
//!
//! A part is one or more days (`Su Mo Tu We Th Fr Sa`, `Wk` for Monday to Friday, `Al` or `Any` for all of them) and,
//! if it is not the whole day, a range of hours; parts are separated by commas or bars. `Never` stands for none. The
//! last minute counts whole: `0800-1759` ends at 18:00:00, as it does in the servers whose data is imported. A range
//! whose end is before its beginning means both ends of the day that was named, as in UUCP: `Fr2200-0600` is Friday
//! before 06:01 and Friday from 22:00 on.
//!
//! Nothing here knows a clock or a time zone: the moment is an argument, and has its offset.

use std::fmt;

use thiserror::Error;

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// Minutes of a week, which begins on Sunday.
const WEEK: u16 = 7 * DAY;

/// Longest text that is read, in bytes.
pub const LONGEST: usize = 1024;

/// A moment, and what the clocks on the wall show then.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Moment {
    /// Seconds since 1970.
    pub unix: i64,
    /// Seconds that local time is ahead of UTC (east is positive), the summer's hour included.
    pub offset: i32,
}

impl Moment {
    /// A moment in UTC.
    pub const fn utc(unix: i64) -> Self {
        Self { unix, offset: 0 }
    }

    /// Seconds since the local week began, at midnight before Sunday.
    fn second_of_week(self) -> u32 {
        const SECONDS: i64 = WEEK as i64 * 60;
        // 1970 began on a Thursday.
        let local = self.unix.saturating_add(i64::from(self.offset)).saturating_add(4 * 86_400);
        u32::try_from(local.rem_euclid(SECONDS)).unwrap_or(0)
    }
}

/// Hours of the week.
#[derive(Clone, Eq, PartialEq)]
pub struct Hours {
    /// In minutes of the week: from (inclusive) and until (exclusive), in order, with a gap between any two.
    open: Box<[(u16, u16)]>,
}

/// Whether one may be connected now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Left {
    /// No.
    Closed,
    /// For so many seconds more, at least 1.
    Seconds(u32),
    /// At any time.
    Always,
}

/// Why a text says no hours.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
pub enum HoursError {
    /// It is empty.
    #[error(
        "the hours are empty: write for instance Wk0800-1800, Al for always, or leave them out"
    )]
    Empty,
    /// It is too long.
    #[error("the hours are longer than {LONGEST} bytes: join the ranges")]
    TooLong,
    /// It begins with no day.
    #[error("{0:?} begins with no day: write Su, Mo, Tu, We, Th, Fr, Sa, Wk, Al or Never")]
    Day(String),
    /// Its range is none.
    #[error("{0:?} is no range of hours: write four digits, a hyphen and four digits: 0800-1800")]
    Range(String),
}

impl Hours {
    /// Reads hours, without regard to letters' case.
    ///
    /// # Errors
    ///
    /// [`HoursError`] if it can't be understood as a whole.
    pub fn parse(text: &str) -> Result<Self, HoursError> {
        if text.len() > LONGEST {
            return Err(HoursError::TooLong);
        }
        if text.trim().is_empty() {
            return Err(HoursError::Empty);
        }
        let mut ranges = Vec::new();
        for part in text.split([',', '|']) {
            part_of(part.trim(), &mut ranges)?;
        }
        Ok(Self { open: joined(ranges) })
    }

    /// Whether one may be connected at `now`, and for how long from then on.
    pub fn left(&self, now: Moment) -> Left {
        let second = now.second_of_week();
        let minute = u16::try_from(second / 60).unwrap_or(0);
        let Some(&(_, until)) =
            self.open.iter().find(|(from, until)| (*from..*until).contains(&minute))
        else {
            return Left::Closed;
        };
        let mut seconds = u32::from(until) * 60 - second;
        // From Saturday into Sunday.
        if until == WEEK
            && let Some(&(0, until)) = self.open.first()
        {
            if until == WEEK {
                return Left::Always;
            }
            seconds += u32::from(until) * 60;
        }
        Left::Seconds(seconds)
    }

    /// Whether there is no time at which one may be connected.
    pub fn is_never(&self) -> bool {
        self.open.is_empty()
    }

    /// Hours that are in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut ranges = Vec::new();
        for &(from, until) in &self.open {
            for &(other_from, other_until) in &other.open {
                let both = (from.max(other_from), until.min(other_until));
                if both.0 < both.1 {
                    ranges.push(both);
                }
            }
        }
        Self { open: joined(ranges) }
    }
}

/// As text that [`Hours::parse`] reads back to the same hours.
impl fmt::Display for Hours {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAYS: [&str; 7] = ["Su", "Mo", "Tu", "We", "Th", "Fr", "Sa"];
        if self.open.is_empty() {
            return out.write_str("Never");
        }
        if self.left(Moment::utc(0)) == Left::Always {
            return out.write_str("Al");
        }
        let mut comma = "";
        for &(from, until) in &self.open {
            for (day, name) in (0_u16..).zip(DAYS) {
                let begin = from.max(day * DAY);
                let end = until.min((day + 1) * DAY);
                if begin >= end {
                    continue;
                }
                let (begin, last) = (begin - day * DAY, end - 1 - day * DAY);
                write!(out, "{comma}{name}")?;
                if (begin, last) != (0, DAY - 1) {
                    let (hour, minute) = (begin / 60, begin % 60);
                    write!(out, "{hour:02}{minute:02}-{:02}{:02}", last / 60, last % 60)?;
                }
                comma = ",";
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Hours {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Hours({self})")
    }
}

/// Reads one part, such as `SaSu0800-1200`.
fn part_of(part: &str, ranges: &mut Vec<(u16, u16)>) -> Result<(), HoursError> {
    let mut rest = part;
    let mut days = 0_u8;
    let mut named = false;
    while let Some((set, after)) = day_of(rest) {
        days |= set;
        named = true;
        rest = after;
    }
    if !named {
        return Err(HoursError::Day(part.to_owned()));
    }
    let (from, last) = if rest.is_empty() {
        (0, DAY - 1)
    } else {
        range_of(rest).ok_or_else(|| HoursError::Range(part.to_owned()))?
    };
    for day in (0..7_u16).filter(|day| days & (1 << day) != 0) {
        let start = day * DAY;
        if from <= last {
            ranges.push((start + from, start + last + 1));
        } else {
            ranges.push((start, start + last + 1));
            ranges.push((start + from, start + DAY));
        }
    }
    Ok(())
}

/// Days that the text begins with, one bit each from Sunday on, and what follows.
fn day_of(text: &str) -> Option<(u8, &str)> {
    const NAMES: [(&str, u8); 11] = [
        ("never", 0),
        ("any", 0b111_1111),
        ("al", 0b111_1111),
        ("wk", 0b011_1110),
        ("su", 1),
        ("mo", 1 << 1),
        ("tu", 1 << 2),
        ("we", 1 << 3),
        ("th", 1 << 4),
        ("fr", 1 << 5),
        ("sa", 1 << 6),
    ];
    NAMES.iter().find_map(|(name, set)| {
        let (head, rest) = text.split_at_checked(name.len())?;
        head.eq_ignore_ascii_case(name).then_some((*set, rest))
    })
}

/// First and last minute of the day.
fn range_of(text: &str) -> Option<(u16, u16)> {
    let (from, until) = text.split_once('-')?;
    let from = minute_of(from)?;
    let last = minute_of(until)?;
    // 2400 is how people write the end of the day, and means nothing as its beginning.
    (from < DAY).then_some((from, last.min(DAY - 1)))
}

fn minute_of(text: &str) -> Option<u16> {
    if text.len() != 4 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u16 = text.parse().ok()?;
    let (hour, minute) = (number / 100, number % 100);
    ((hour < 24 && minute < 60) || number == 2400).then_some(hour * 60 + minute)
}

/// In order, and those that touch or overlap made one.
fn joined(mut ranges: Vec<(u16, u16)>) -> Box<[(u16, u16)]> {
    ranges.sort_unstable();
    let mut open: Vec<(u16, u16)> = Vec::with_capacity(ranges.len());
    for (from, until) in ranges {
        match open.last_mut() {
            Some((_, end)) if from <= *end => *end = until.max(*end),
            _ => open.push((from, until)),
        }
    }
    open.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sunday, 3 January 2027, 00:00 UTC.
    const SUNDAY: i64 = 1_798_934_400;

    fn at(day: i64, hour: i64, minute: i64, second: i64) -> Moment {
        Moment::utc(SUNDAY + day * 86_400 + hour * 3600 + minute * 60 + second)
    }

    #[test]
    fn the_week_begins_on_sunday() {
        assert_eq!(Moment::utc(SUNDAY).second_of_week(), 0);
        assert_eq!(Moment::utc(SUNDAY - 1).second_of_week(), 7 * 86_400 - 1);
        assert_eq!(Moment { unix: SUNDAY, offset: -1 }.second_of_week(), 7 * 86_400 - 1);
        assert_eq!(Moment { unix: SUNDAY, offset: 19_800 }.second_of_week(), 19_800);
        assert_eq!(Moment { unix: i64::MAX, offset: i32::MAX }.second_of_week() / 604_800, 0);
        assert_eq!(Moment { unix: i64::MIN, offset: i32::MIN }.second_of_week() / 604_800, 0);
    }

    #[test]
    fn hours_open_and_close() {
        use Left::{Always, Closed, Seconds};
        let cases = [
            ("Al", at(3, 4, 5, 6), Always),
            ("any", at(3, 4, 5, 6), Always),
            ("Wk,Sa,Su", at(0, 0, 0, 0), Always),
            ("SuMoTuWeThFrSa0000-2359", at(0, 0, 0, 0), Always),
            ("Al0000-2400", at(0, 0, 0, 0), Always),
            ("Never", at(2, 12, 0, 0), Closed),
            ("Wk0800-1800", at(1, 7, 59, 59), Closed),
            ("Wk0800-1800", at(1, 8, 0, 0), Seconds(36_060)),
            ("Wk0800-1759", at(1, 8, 0, 0), Seconds(36_000)),
            ("Wk0800-1759", at(5, 17, 59, 59), Seconds(1)),
            ("Wk0800-1759", at(5, 18, 0, 0), Closed),
            ("Wk0800-1759", at(6, 12, 0, 0), Closed),
            ("Wk0800-1759,Sa", at(6, 12, 0, 0), Seconds(43_200)),
            // Both ends of the day that was named.
            ("Fr2200-0600", at(5, 3, 0, 0), Seconds(3 * 3600 + 60)),
            ("Fr2200-0600", at(5, 23, 0, 0), Seconds(3600)),
            ("Fr2200-0600", at(6, 3, 0, 0), Closed),
            ("Al2200-0559", at(5, 23, 0, 0), Seconds(7 * 3600)),
            // Over the end of the week.
            ("Sa2200-2359,Su0000-0059", at(6, 23, 0, 0), Seconds(7200)),
            ("Sa2200-2359|su0000-0059", at(0, 0, 30, 0), Seconds(1800)),
            // Parts that touch are one.
            ("Mo0800-0959,Mo1000-1159", at(1, 8, 0, 0), Seconds(14_400)),
            ("SaSu0800-1159", at(0, 8, 0, 0), Seconds(14_400)),
        ];
        for (text, moment, left) in cases {
            assert_eq!(Hours::parse(text).unwrap().left(moment), left, "{text} {moment:?}");
        }
    }

    #[test]
    fn the_offset_is_heeded() {
        let hours = Hours::parse("Mo0800-1759").unwrap();
        let utc = at(1, 22, 0, 0);
        assert_eq!(hours.left(utc), Left::Closed);
        assert_eq!(hours.left(Moment { offset: -5 * 3600, ..utc }), Left::Seconds(3600));
    }

    #[test]
    fn what_is_no_hours_is_refused() {
        for text in [
            "",
            "  ",
            "Xx",
            "0800-1800",
            "Mo0800",
            "Mo0800-",
            "Mo-1800",
            "Mo800-1800",
            "Mo0860-1800",
            "Mo2500-2600",
            "Mo2400-2400",
            "Mo08:00-18:00",
            "Mo0800-1800x",
            "Mo,",
            ",Mo",
            "Mo,,Tu",
            "Mo+800-1800",
            "\u{e9}Mo",
        ] {
            assert!(Hours::parse(text).is_err(), "{text}");
        }
        assert_eq!(Hours::parse(&"Mo,".repeat(400)), Err(HoursError::TooLong));
    }

    #[test]
    fn text_comes_back() {
        for (text, again) in [
            ("Al", "Al"),
            ("never", "Never"),
            ("wk0800-1759", "Mo0800-1759,Tu0800-1759,We0800-1759,Th0800-1759,Fr0800-1759"),
            ("SaSu", "Su,Sa"),
            ("MoTu", "Mo,Tu"),
        ] {
            assert_eq!(Hours::parse(text).unwrap().to_string(), again);
        }
    }

    fn any_hours() -> impl Strategy<Value = Hours> {
        proptest::collection::vec((0..WEEK, 1..WEEK), 0..12).prop_map(|ranges| {
            let ranges = ranges
                .into_iter()
                .map(|(from, minutes)| (from, from.saturating_add(minutes).min(WEEK)))
                .collect();
            Hours { open: joined(ranges) }
        })
    }

    proptest! {
        #[test]
        fn display_is_read_back(hours in any_hours()) {
            prop_assert_eq!(Hours::parse(&hours.to_string()).ok(), Some(hours));
        }

        /// Against a plain map of the week's minutes.
        #[test]
        fn what_is_left_is_what_a_map_says(
            hours in any_hours(),
            other in any_hours(),
            second in 0..604_800_i64,
        ) {
            let both = hours.and(&other);
            let map: Vec<bool> = (0..WEEK)
                .map(|minute| {
                    [&hours, &other]
                        .iter()
                        .all(|hours| hours.open.iter().any(|(a, b)| (*a..*b).contains(&minute)))
                })
                .collect();
            let minute = usize::try_from(second / 60).unwrap();
            let open = map.iter().cycle().skip(minute).take(map.len()).take_while(|open| **open);
            let expected = match open.count() {
                0 => Left::Closed,
                all if all == map.len() => Left::Always,
                minutes => Left::Seconds(u32::try_from(minutes).unwrap() * 60
                    - u32::try_from(second % 60).unwrap()),
            };
            prop_assert_eq!(both.left(Moment::utc(SUNDAY + second)), expected);
        }

        #[test]
        fn any_text_is_read_without_panic(text in ".{0,40}") {
            let _ = Hours::parse(&text);
        }
    }
}
