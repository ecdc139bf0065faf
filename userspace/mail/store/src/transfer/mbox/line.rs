//! The line before each message of an mbox: `From ann@example.net Mon Jun  1 12:00:00 2026`. Pure.

use std::fmt;

use muralla_mail_envelope::date;

/// Longest sender that is written.
const LONGEST: usize = 256;

/// See the module.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FromLine {
    /// Who sent the message, by its envelope.
    pub sender: String,
    /// When it came, in seconds since 1970.
    pub time: i64,
}

impl FromLine {
    /// Reads a line. Nothing if it is none: there is no date of the kind in it, somewhere behind `From `.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        let line = line.strip_prefix(b"From ")?;
        let text = String::from_utf8_lossy(line);
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        (0..words.len()).find_map(|at| {
            let (sender, date) = words.split_at_checked(at)?;
            Some(Self { time: time(date)?, sender: sender.join(" ") })
        })
    }
}

impl fmt::Display for FromLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // RFC 5322 has the same words in another order: `Mon, 1 Jun 2026 12:00:00 +0000`.
        let date = date::rfc5322(self.time, 0);
        let mut words = date.split([',', ' ']).filter(|word| !word.is_empty());
        let mut next = || words.next().unwrap_or_default();
        let (weekday, day, month, year, time) = (next(), next(), next(), next(), next());
        writeln!(f, "From {} {weekday} {month} {day:>2} {time} {year}", self.sender)
    }
}

/// Who sent a message, as far as it says so in its first lines; `MAILER-DAEMON` if not.
#[must_use]
pub fn sender(message: &[u8]) -> String {
    const NAME: &[u8] = b"Return-Path:";
    let lines = message.split(|byte| *byte == b'\n').take(50);
    let mut headers = lines.take_while(|line| !matches!(*line, b"" | b"\r"));
    let is_path =
        |line: &&[u8]| line.first_chunk::<12>().is_some_and(|name| name.eq_ignore_ascii_case(NAME));
    let path = headers.find(is_path).and_then(|line| line.get(NAME.len()..)).unwrap_or_default();
    let path = String::from_utf8_lossy(path);
    let path = path.trim().trim_matches(['<', '>']);
    let is_plain = |path: &str| path.chars().all(|letter| letter.is_ascii_graphic());
    if path.is_empty() || path.len() > LONGEST || !is_plain(path) {
        return "MAILER-DAEMON".to_owned();
    }
    path.to_owned()
}

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Seconds since 1970 of words such as `Mon Jun 1 12:00:00 2026`, perhaps with a zone before or behind the year. One that is
/// no number of hours and minutes is taken for Greenwich's.
fn time(words: &[&str]) -> Option<i64> {
    let [weekday, month, day, clock, rest @ ..] = words else { return None };
    if !WEEKDAYS.contains(weekday) {
        return None;
    }
    let month = MONTHS.iter().position(|name| name == month)? + 1;
    let day: i64 = day.parse().ok().filter(|day| (1..=31).contains(day))?;
    let mut clock = clock.split(':').map(|part| part.parse::<i64>().ok().filter(|part| *part >= 0));
    let (hour, minute) = (clock.next()??, clock.next()??);
    let second = clock.next().unwrap_or(Some(0))?;
    if clock.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let rest = rest.get(..rest.len().min(3))?;
    let year = rest.iter().find_map(|word| year(word))?;
    let zone: i64 = rest.iter().find_map(|word| zone(word)).unwrap_or(0);
    let days = days(year, i64::try_from(month).ok()?, day);
    Some(days * 86_400 + hour * 3600 + minute * 60 + second - zone)
}

fn year(word: &str) -> Option<i64> {
    let is_year = word.len() == 4 && word.bytes().all(|byte| byte.is_ascii_digit());
    is_year.then(|| word.parse().ok()).flatten()
}

/// Seconds east of Greenwich.
fn zone(word: &str) -> Option<i64> {
    let (sign, digits) = match word.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let number = year(digits)?;
    Some(sign * (number / 100 * 3600 + number % 100 * 60))
}

/// Days since 1970 of a date. Years are counted from March on, so that the odd day is the last one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_of_many_programs() {
        for (line, sender, time) in [
            ("From ann@example.net Thu Jan  1 00:00:00 1970\n", "ann@example.net", 0),
            ("From ann@example.net Mon Jun  1 12:00:00 2026", "ann@example.net", 1_780_315_200),
            // Mozilla's, one with a quoted local part, and zones in three places.
            ("From - Tue Feb 29 00:00:00 2000\r\n", "-", 951_782_400),
            (
                "From \"a b\"@example.net Tue Feb 29 00:00:00 2000\n",
                "\"a b\"@example.net",
                951_782_400,
            ),
            ("From a Tue Feb 29 02:00:00 +0200 2000\n", "a", 951_782_400),
            ("From a Tue Feb 29 00:00:00 GMT 2000\n", "a", 951_782_400),
            ("From a Mon Feb 28 18:30:00 2000 -0530\n", "a", 951_782_400),
            ("From a Tue Feb 29 00:00 2000\n", "a", 951_782_400),
            ("From Tue Feb 29 00:00:00 2000\n", "", 951_782_400),
        ] {
            let expected = FromLine { sender: sender.into(), time };
            assert_eq!(FromLine::parse(line.as_bytes()), Some(expected), "{line:?}");
        }
        for line in [
            "",
            "From ",
            "From here on it rains",
            "from a Tue Feb 29 00:00:00 2000",
            "From: a Tue Feb 29 00:00:00 2000",
            "From a Tue Feb 29 2000",
            "From a Tue Feb 32 00:00:00 2000",
            "From a Tue Feb 29 24:00:00 2000",
            "From a Tue Feb 29 00:00:00",
            "From a Tue Foo 29 00:00:00 2000",
        ] {
            assert_eq!(FromLine::parse(line.as_bytes()), None, "{line:?}");
        }
    }

    #[test]
    fn senders() {
        for (message, expected) in [
            ("Return-Path: <a@b>\r\nSubject: c\r\n\r\n", "a@b"),
            ("Received: x\r\nreturn-path: <a@b>\r\n\r\n", "a@b"),
            ("Return-Path: <>\r\n\r\n", "MAILER-DAEMON"),
            ("Return-Path: <a b@c>\r\n\r\n", "MAILER-DAEMON"),
            ("Subject: c\r\n\r\nReturn-Path: <a@b>\r\n", "MAILER-DAEMON"),
        ] {
            assert_eq!(sender(message.as_bytes()), expected, "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(time in -62_135_596_800_i64..253_402_300_800, sender in "[!-~]{1,20}") {
            let line = FromLine { sender, time };
            prop_assert_eq!(FromLine::parse(line.to_string().as_bytes()), Some(line));
        }
    }
}
