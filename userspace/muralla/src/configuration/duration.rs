//! Durations as people write them: `30s`, `10m`, `2d`, `1h30m`.

use std::time::Duration;

const UNITS: [(&str, u64); 5] = [("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// The duration that `text` names: one or several numbers with a unit of `s`, `m`, `h`, `d` or `w`, or
/// `0`. At most a century.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    const CENTURY: u64 = 100 * 366 * 86_400;
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let (unit, size) = UNITS.iter().find(|(unit, _)| tail.starts_with(unit))?;
        seconds = seconds.checked_add(number.parse::<u64>().ok()?.checked_mul(*size)?)?;
        rest = tail.strip_prefix(unit)?;
    }
    (!text.is_empty() && seconds <= CENTURY).then(|| Duration::from_secs(seconds))
}

/// The shortest way to write a duration, so that [`parse`] gives it back (in whole seconds).
pub(crate) fn write(duration: Duration) -> String {
    let mut seconds = duration.as_secs();
    if seconds == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, size) in UNITS {
        // Weeks are read, but days are what people think in.
        if unit != "w" && seconds >= size {
            text.push_str(&format!("{}{unit}", seconds / size));
            seconds %= size;
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
