//! When a certificate expires. That is all we want to know of it beside what webpki tells, and not worth a parser of X.509.

/// `notAfter` of a certificate, in seconds since 1970: RFC 5280 section 4.1.
pub(super) fn not_after(certificate: &[u8]) -> Option<i64> {
    let (certificate, _) = take(certificate, SEQUENCE)?;
    let (mut rest, _) = take(certificate, SEQUENCE)?;
    // The version has a default, and so may be missing.
    if let Some((_, behind)) = take(rest, VERSION) {
        rest = behind;
    }
    let (_serial, rest) = take(rest, INTEGER)?;
    let (_algorithm, rest) = take(rest, SEQUENCE)?;
    let (_issuer, rest) = take(rest, SEQUENCE)?;
    let (validity, _) = take(rest, SEQUENCE)?;
    let (_not_before, rest) = take(validity, UTC_TIME).or_else(|| take(validity, TIME))?;
    match take(rest, UTC_TIME) {
        // Section 4.1.2.5.1: two digits of a year mean 1950 to 2049.
        Some((time, _)) => {
            let (year, rest) = number(time, 2)?;
            seconds(if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        None => {
            let (time, _) = take(rest, TIME)?;
            let (year, rest) = number(time, 4)?;
            seconds(year, rest)
        }
    }
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// Content of an element, and what is behind it.
fn take(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [first, length, rest @ ..] = der else { return None };
    if *first != tag {
        return None;
    }
    let octets = usize::from(*length);
    if octets < 0x80 {
        return rest.split_at_checked(octets);
    }
    let (bytes, rest) = rest.split_at_checked(octets & 0x7f).filter(|(it, _)| it.len() <= 4)?;
    let length = bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
    rest.split_at_checked(length)
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
