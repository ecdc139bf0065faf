//! When a certificate expires.

use super::der::{self, TIME, UTC_TIME};

/// `notAfter` of a certificate, in seconds since 1970: RFC 5280 section 4.1.
pub(super) fn not_after(certificate: &[u8]) -> Option<i64> {
    let validity = der::certificate(certificate)?.validity;
    let (_not_before, rest) =
        der::take(validity, UTC_TIME).or_else(|| der::take(validity, TIME))?;
    match der::take(rest, UTC_TIME) {
        // Section 4.1.2.5.1: two digits of a year mean 1950 to 2049.
        Some((time, _)) => {
            let (year, rest) = number(time, 2)?;
            seconds(if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        None => {
            let (time, _) = der::take(rest, TIME)?;
            let (year, rest) = number(time, 4)?;
            seconds(year, rest)
        }
    }
}

fn number(text: &[u8], digits: usize) -> Option<(i64, &[u8])> {
    let (number, rest) = text.split_at_checked(digits)?;
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    Some((number, rest))
}

/// `MMDDHHMMSSZ` of a year.
fn seconds(year: i64, rest: &[u8]) -> Option<i64> {
    let (month, rest) = number(rest, 2)?;
    let (day, rest) = number(rest, 2)?;
    let (hour, rest) = number(rest, 2)?;
    let (minute, rest) = number(rest, 2)?;
    let (second, rest) = number(rest, 2)?;
    if rest != b"Z" || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days since 1970 of a day in a year that begins in March, so that the odd day is its last.
    let year = if month < 3 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let days =
        365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (year, rest, expected) in [
            (1970, "0101000000Z", Some(0)),
            (2000, "0229120000Z", Some(951_825_600)),
            (2026, "1124000000Z", Some(1_795_478_400)),
            (2049, "1231000000Z", Some(2_524_521_600)),
            (2026, "1324000000Z", None),
            (2026, "1124000000", None),
            (2026, "1124000000+0100", None),
            (2026, "11", None),
        ] {
            assert_eq!(seconds(year, rest.as_bytes()), expected, "{year}{rest}");
        }
        for der in [&[][..], &[0x30], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30, 0x85]] {
            assert_eq!(not_after(der), None);
        }
    }
}
