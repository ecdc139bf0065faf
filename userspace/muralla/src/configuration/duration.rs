//! Durations as people write them: `30s`, `10m`, `2d`, `1h30m`, `1800ms`.

use std::time::Duration;

/// Milliseconds of each unit. One that begins like another comes before it.
const UNITS: [(&str, u64); 6] = [
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("ms", 1),
    ("m", 60_000),
    ("s", 1_000),
];

/// The duration that `text` names: one or several numbers with a unit of `ms`, `s`, `m`, `h`, `d` or
/// `w`, or `0`. At most a century.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    const CENTURY: u64 = 100 * 366 * 86_400_000;
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut milliseconds = 0u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let (unit, size) = UNITS.iter().find(|(unit, _)| tail.starts_with(unit))?;
        milliseconds = milliseconds.checked_add(number.parse::<u64>().ok()?.checked_mul(*size)?)?;
        rest = tail.strip_prefix(unit)?;
    }
    (!text.is_empty() && milliseconds <= CENTURY).then(|| Duration::from_millis(milliseconds))
}

/// The shortest way to write a duration, so that [`parse`] gives it back (in whole seconds).
pub(crate) fn write(duration: Duration) -> String {
    write_finely(Duration::from_secs(duration.as_secs()))
}

/// The same in whole milliseconds.
pub(crate) fn write_finely(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if left == 0 {
        return "0s".to_owned();
    }
    let mut units = UNITS;
    units.sort_unstable_by_key(|(_, size)| std::cmp::Reverse(*size));
    let mut text = String::new();
    for (unit, size) in units {
        // Weeks are read, but days are what people think in.
        if unit != "w" && left >= size {
            text.push_str(&format!("{}{unit}", left / size));
            left %= size;
        }
    }
    text
}

/// For `--for` and the like on the command line.
pub(crate) fn argument(text: &str) -> Result<Duration, String> {
    parse(text).ok_or_else(|| format!("`{text}` is no duration; write 30s, 10m, 1h30m or 2d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, seconds, written) in [
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("30s", 30, "30s"),
            ("90s", 90, "1m30s"),
            ("10m", 600, "10m"),
            ("1h30m", 5400, "1h30m"),
            ("2d", 172_800, "2d"),
            ("2w", 1_209_600, "14d"),
        ] {
            let duration = parse(text).unwrap();
            assert_eq!(duration.as_secs(), seconds, "{text}");
            assert_eq!(write(duration), written, "{text}");
            assert_eq!(parse(&write(duration)), Some(duration), "{text}");
        }
        for (text, milliseconds, written) in
            [("1800ms", 1_800, "1s800ms"), ("1m5ms", 60_005, "1m5ms"), ("5m", 300_000, "5m")]
        {
            let duration = parse(text).unwrap();
            assert_eq!(duration.as_millis(), milliseconds, "{text}");
            assert_eq!(write_finely(duration), written);
            assert_eq!(parse(written), Some(duration));
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "5",
            "s",
            "5x",
            "5 s",
            "-5s",
            "1.5h",
            "5s5",
            "99999999999999999999s",
            "9999999w",
            "１s",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
