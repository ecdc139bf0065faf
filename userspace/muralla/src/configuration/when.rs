//! Moments of the calendar, in Unix seconds and as TOML has them.

use toml::value::{Datetime, Offset};

/// Days of 400 years, after which the calendar repeats.
const DAYS_OF_ERA: u64 = 146_097;

/// Days from 0000-03-01 to 1970-01-01.
const EPOCH: u64 = 719_468;

/// The moment in Unix seconds. A date alone is its beginning in UTC, a time without a zone is UTC; a time
/// without a date is no moment, and neither is one before 1970.
pub(crate) fn seconds(moment: &Datetime) -> Option<u64> {
    let date = moment.date?;
    let days = days(date.year.into(), date.month.into(), date.day.into())?;
    let of_day = moment.time.as_ref().map_or(0, |time| {
        u64::from(time.hour) * 3_600
            + u64::from(time.minute) * 60
            + u64::from(time.second.unwrap_or(0))
    });
    let local = days * 86_400 + of_day;
    match moment.offset {
        None | Some(Offset::Z) => Some(local),
        Some(Offset::Custom { minutes }) => local.checked_add_signed(-60 * i64::from(minutes)),
    }
}

/// How TOML writes the moment.
pub(crate) fn write(seconds: u64) -> String {
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years begin in March here, so that the leap
/// day is the last.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.checked_sub(1)?;
    let (era, of_era) = (year / 400, year % 400);
    let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + day_of_year;
    (era * DAYS_OF_ERA + day_of_era).checked_sub(EPOCH)
}

/// The date so many days after 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH;
    let (era, of_era) = (days / DAYS_OF_ERA, days % DAYS_OF_ERA);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_and_written() {
        for (text, unix, written) in [
            ("1970-01-01", 0, "1970-01-01T00:00:00Z"),
            ("2000-02-29", 951_782_400, "2000-02-29T00:00:00Z"),
            ("2024-03-01T00:00:00Z", 1_709_251_200, "2024-03-01T00:00:00Z"),
            ("2026-11-24T12:00:00", 1_795_521_600, "2026-11-24T12:00:00Z"),
            ("2026-11-24T12:00:00+02:00", 1_795_514_400, "2026-11-24T10:00:00Z"),
            ("2099-12-31T23:59:59Z", 4_102_444_799, "2099-12-31T23:59:59Z"),
        ] {
            let moment: Datetime = text.parse().unwrap();
            assert_eq!(seconds(&moment), Some(unix), "{text}");
            assert_eq!(write(unix), written);
        }
        for text in ["1969-12-31", "12:00:00"] {
            assert_eq!(seconds(&text.parse().unwrap()), None, "{text}");
        }
    }
}
