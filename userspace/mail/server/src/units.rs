//! Durations and sizes as people write them: `30s`, `1h30m`, `64KiB`.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::Deserializer;
use serde::de::{self, Visitor};

/// Milliseconds of each unit. One that begins like another comes before it.
const SPANS: [(&str, u64); 6] = [
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("ms", 1),
    ("m", 60_000),
    ("s", 1_000),
];

const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A century, which nothing that is configured lasts.
const LONGEST: u64 = 100 * 366 * 86_400_000;

/// One or several whole numbers with their units, or `0`.
fn parse_span(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut milliseconds = 0u64;
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit())?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let (unit, size) = SPANS.iter().find(|(unit, _)| tail.starts_with(unit))?;
        milliseconds = milliseconds.checked_add(number.parse::<u64>().ok()?.checked_mul(*size)?)?;
        rest = tail.strip_prefix(unit)?;
    }
    (!text.is_empty() && milliseconds <= LONGEST).then(|| Duration::from_millis(milliseconds))
}

/// A whole number with its unit, or `0`.
fn parse_size(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let digits = text.find(|char: char| !char.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, size) = SIZES.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*size)
}

pub(crate) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    from.deserialize_str(Written {
        parse: parse_span,
        example: "a duration such as \"30s\", \"10m\" or \"1h30m\"",
        of: PhantomData,
    })
}

pub(crate) fn size<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    from.deserialize_str(Written {
        parse: parse_size,
        example: "a size such as \"64KiB\", \"35MiB\" or \"2GiB\"",
        of: PhantomData,
    })
}

struct Written<T> {
    parse: fn(&str) -> Option<T>,
    example: &'static str,
    of: PhantomData<T>,
}

impl<T> Visitor<'_> for Written<T> {
    type Value = T;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.example)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_are_read() {
        for (text, seconds) in
            [("0", Some(0)), ("30s", Some(30)), ("1h30m", Some(5400)), ("2d", Some(172_800))]
        {
            assert_eq!(parse_span(text).map(|span| span.as_secs()), seconds, "{text}");
        }
        assert_eq!(parse_span("1800ms"), Some(Duration::from_millis(1800)));
        for text in ["", "5", "s", "5x", "5 s", "-5s", "1.5h", "5s5", "9999999w"] {
            assert_eq!(parse_span(text), None, "{text}");
        }
        for (text, size) in
            [("0", 0), ("1B", 1), ("64KiB", 65_536), ("64 KiB", 65_536), ("2GiB", 2 << 30)]
        {
            assert_eq!(parse_size(text), Some(size), "{text}");
        }
        for text in ["", "5", "KiB", "5kb", "-1B", "99999999999999GiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
