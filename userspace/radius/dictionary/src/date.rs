//! Dates, as they are written for `date` attributes. Pure: the zone is an argument.

use std::fmt;

use crate::zone::Zone;

const DAY: i64 = 86_400;

/// Reads seconds since 1970, `2026-12-31`, `2026-12-31T23:59:59Z`, `31 Dec 2026`, `Dec 31 2026 23:59:59 UTC` and the
/// like. `place` is where a time is meant that says no zone.
pub(crate) fn parse(text: &str, place: &Zone) -> Option<u32> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let words = text.split([' ', ',', '\t']).filter(|word| !word.is_empty());
    let (mut day, mut month, mut year) = (None, None, None);
    let (mut time, mut zone) = (None, None);
    for word in words {
        if let Some(([y, m, d], rest)) = iso(word) {
            if year.is_some() || month.is_some() || day.is_some() {
                return None;
            }
            (year, month, day) = (Some(y), Some(m), Some(d));
            if let Some(clock) = rest {
                let (clock, suffix) = split_zone(clock);
                set(&mut time, clock_of(clock)?)?;
                if !suffix.is_empty() {
                    set(&mut zone, zone_of(suffix)?)?;
                }
            }
        } else if let Some(offset) = zone_of(word) {
            set(&mut zone, offset)?;
        } else if word.contains(':') {
            let (clock, suffix) = split_zone(word);
            set(&mut time, clock_of(clock)?)?;
            if !suffix.is_empty() {
                set(&mut zone, zone_of(suffix)?)?;
            }
        } else if let Some(number) = month_of(word) {
            set(&mut month, number)?;
        } else if is_weekday(word) {
            // It says nothing that the date doesn't.
        } else {
            let number: i64 = word.parse().ok()?;
            if word.len() == 4 { set(&mut year, number)? } else { set(&mut day, number)? }
        }
    }
    let days = days_of(year?, month?, day?)?;
    let local = days * DAY + time.unwrap_or(0);
    let seconds = zone.map_or_else(|| place.universal(local), |ahead| local - ahead);
    u32::try_from(seconds).ok()
}

/// Writes a date so that [`parse`] reads it again, as in `Dec 31 2026 23:59:59 UTC`.
pub(crate) struct Shown(pub(crate) u32);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (i64::from(self.0) / DAY, i64::from(self.0) % DAY);
        let (year, month, day) = civil(days);
        let index = usize::try_from(month - 1).unwrap_or_default();
        let month = MONTHS.get(index).copied().unwrap_or("Jan");
        let (hour, minute) = (second / 3600, second / 60 % 60);
        write!(f, "{month} {day:>2} {year} {hour:02}:{minute:02}:{:02} UTC", second % 60)
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const LONG_MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Each part is said once.
fn set(place: &mut Option<i64>, value: i64) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

fn month_of(word: &str) -> Option<i64> {
    let is = |name: &&str| name.eq_ignore_ascii_case(word);
    let at = MONTHS.iter().position(is).or_else(|| LONG_MONTHS.iter().position(is))?;
    i64::try_from(at + 1).ok()
}

fn is_weekday(word: &str) -> bool {
    ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
        .iter()
        .any(|day| word.eq_ignore_ascii_case(day))
}

/// `2026-12-31`, and the time behind a `T`.
fn iso(word: &str) -> Option<([i64; 3], Option<&str>)> {
    let (date, time) = match word.split_once(['T', 't']) {
        Some((date, time)) => (date, Some(time)),
        None => (word, None),
    };
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    if parts.next().is_some() || year.len() != 4 || !digits(year, 4) {
        return None;
    }
    if !digits(month, 2) || !digits(day, 2) {
        return None;
    }
    Some(([year.parse().ok()?, month.parse().ok()?, day.parse().ok()?], time))
}

/// `23:59:59Z` in front of and behind the time.
fn split_zone(word: &str) -> (&str, &str) {
    let at = word.find(['Z', 'z', '+', '-']).unwrap_or(word.len());
    word.split_at_checked(at).unwrap_or((word, ""))
}

fn zone_of(word: &str) -> Option<i64> {
    if ["Z", "UTC", "GMT"].iter().any(|name| word.eq_ignore_ascii_case(name)) {
        return Some(0);
    }
    let (sign, digits) = match word.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let digits = digits.replace(':', "");
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes) = match digits.len() {
        2 => (digits.as_str(), "0"),
        4 => digits.split_at_checked(2)?,
        _ => return None,
    };
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// `23:59` or `23:59:59`.
fn clock_of(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let mut part = |below: i64, missing: Option<&'static str>| {
        let text = parts.next().or(missing)?;
        let number: i64 = if text.len() <= 2 { text.parse().ok()? } else { return None };
        (0..below).contains(&number).then_some(number)
    };
    let (hour, minute) = (part(24, None)?, part(60, None)?);
    // A leap second is taken for the one before.
    let second = part(61, Some("0"))?.min(59);
    parts.next().is_none().then_some(hour * 3600 + minute * 60 + second)
}

/// Days since 1970 of a date in the Gregorian calendar; none if there is no such day.
fn days_of(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1970..=2106).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // The year begins in March here, so that the leap day is its last.
    let (shifted, from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    let days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + day_of_year - 719_468;
    (civil(days) == (year, month, day)).then_some(days)
}

/// Year, month and day, of days since 1970.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_as_people_write_them() {
        for (text, east, seconds) in [
            ("0", 0, Some(0)),
            ("1798761599", 3600, Some(1_798_761_599)),
            ("4294967296", 0, None),
            ("1970-01-01", 0, Some(0)),
            ("1970-1-2", 0, Some(86_400)),
            ("2026-12-31T23:59:59Z", -10_800, Some(1_798_761_599)),
            ("2026-12-31T20:59:59-03:00", 0, Some(1_798_761_599)),
            ("2026-12-31 20:59:59", -10_800, Some(1_798_761_599)),
            ("2026-12-31 23:59", 0, Some(1_798_761_540)),
            ("31 Dec 2026", 0, Some(1_798_675_200)),
            ("31 dec 2026", -10_800, Some(1_798_686_000)),
            ("Dec 31 2026", 0, Some(1_798_675_200)),
            ("December 31, 2026 23:59:59 UTC", 7200, Some(1_798_761_599)),
            ("Thu Dec 31 23:59:59 2026 GMT", 0, Some(1_798_761_599)),
            ("29 Feb 2024", 0, Some(1_709_164_800)),
            ("29 Feb 2023", 0, None),
            ("31 Apr 2026", 0, None),
            ("Jan  1 1970 00:00:00 +0100", 0, None),
            ("7 Feb 2106 06:28:15 UTC", 0, Some(u32::MAX)),
            ("7 Feb 2106 06:28:16 UTC", 0, None),
            ("Dec 2026", 0, None),
            ("31 Dec", 0, None),
            ("31 Dec Jan 2026", 0, None),
            ("31 Dec 2026 25:00", 0, None),
            ("31 Dec 2026 1:00 2:00", 0, None),
            ("never", 0, None),
            ("", 0, None),
            ("é", 0, None),
        ] {
            assert_eq!(parse(text, &Zone::fixed(east).unwrap()), seconds, "{text}");
        }
        assert_eq!(Shown(1_798_761_599).to_string(), "Dec 31 2026 23:59:59 UTC");
        assert_eq!(Shown(0).to_string(), "Jan  1 1970 00:00:00 UTC");
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(seconds in any::<u32>(), east in -50_000..50_000_i32) {
            prop_assert_eq!(parse(&Shown(seconds).to_string(), &Zone::fixed(east).unwrap()), Some(seconds));
        }

        #[test]
        fn any_text_is_survived(text in ".{0,40}", east in -90_000..90_000_i32) {
            parse(&text, &Zone::fixed(east).unwrap());
        }
    }
}
