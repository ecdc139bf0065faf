//! Days and times as RFC 5322 section 3.3 writes them.

/// A moment, given in seconds since 1970, as `Fri, 21 Nov 1997 09:55:06 -0600`, in a zone that lies `offset_minutes` east
/// of Greenwich.
///
/// Years from 0 to 9999: what lies outside is written as the nearest that does not.
#[must_use]
pub fn rfc5322(seconds: i64, offset_minutes: i16) -> String {
    // RFC 5322 has no zones beyond a day.
    let offset = i64::from(offset_minutes.clamp(-1439, 1439));
    let local = seconds.clamp(FIRST, LAST).saturating_add(offset * 60).clamp(FIRST, LAST);
    let days = local.div_euclid(86_400);
    let second = local.rem_euclid(86_400);
    let (year, month, day) = civil(days);
    let weekday = name(&WEEKDAYS, days.saturating_add(4).rem_euclid(7));
    let month = name(&MONTHS, month - 1);
    let sign = if offset < 0 { '-' } else { '+' };
    let offset = offset.abs();
    format!(
        "{weekday}, {day} {month} {year:04} {:02}:{:02}:{:02} {sign}{:02}{:02}",
        second / 3600,
        second / 60 % 60,
        second % 60,
        offset / 60,
        offset % 60,
    )
}

const FIRST: i64 = -62_167_219_200;
const LAST: i64 = 253_402_300_799;

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn name(names: &[&'static str], number: i64) -> &'static str {
    usize::try_from(number).ok().and_then(|number| names.get(number)).copied().unwrap_or_default()
}

/// Year, month and day of a day since 1970-01-01. Years are counted from March on, so that the odd day is the last one.
const fn civil(days: i64) -> (i64, i64, i64) {
    // Since 0000-03-01, in eras of 400 years, which are all of the same length.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day = days.rem_euclid(146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments() {
        for (seconds, offset, text) in [
            (0, 0, "Thu, 1 Jan 1970 00:00:00 +0000"),
            (-1, 0, "Wed, 31 Dec 1969 23:59:59 +0000"),
            // RFC 5322 appendix A.1.1.
            (880_127_706, -360, "Fri, 21 Nov 1997 09:55:06 -0600"),
            (951_782_400, 0, "Tue, 29 Feb 2000 00:00:00 +0000"),
            (1_078_012_800, 60, "Sun, 29 Feb 2004 01:00:00 +0100"),
            (4_107_542_399, 0, "Sun, 28 Feb 2100 23:59:59 +0000"),
            (4_107_542_400, 0, "Mon, 1 Mar 2100 00:00:00 +0000"),
            (1_795_478_400, 345, "Tue, 24 Nov 2026 05:45:00 +0545"),
            (1_795_478_400, -210, "Mon, 23 Nov 2026 20:30:00 -0330"),
            (i64::MAX, 0, "Fri, 31 Dec 9999 23:59:59 +0000"),
            (i64::MIN, 0, "Sat, 1 Jan 0000 00:00:00 +0000"),
            (i64::MAX, i16::MAX, "Fri, 31 Dec 9999 23:59:59 +2359"),
        ] {
            assert_eq!(rfc5322(seconds, offset), text);
        }
    }

    proptest! {
        /// Each day follows the one before it, whatever the calendar does.
        #[test]
        fn days_follow(day in -719_527i64..2_932_895) {
            let (year, month, date) = civil(day);
            let next = civil(day + 1);
            let lengths = [31, if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            let last = date == lengths[usize::try_from(month - 1).unwrap()];
            let expected = match (last, month) {
                (true, 12) => (year + 1, 1, 1),
                (true, _) => (year, month + 1, 1),
                (false, _) => (year, month, date + 1),
            };
            prop_assert_eq!(next, expected);
        }

        #[test]
        fn never_odd(seconds: i64, offset: i16) {
            let text = rfc5322(seconds, offset);
            prop_assert!((30..=31).contains(&text.len()), "{}", text);
            prop_assert!(text.is_ascii());
        }
    }
}
