//! Durations and sizes as people write them: `30s`, `1h30m`, `64KiB`.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Visitor};
use serde::{Deserializer, Serializer};

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

/// Durations, for serde.
pub(crate) mod duration {
    use super::{Deserializer, Duration, Serializer, Span, write_span};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        from.deserialize_str(Span)
    }

    pub(crate) fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&write_span(*span))
    }
}

/// Sizes, for serde.
pub(crate) mod size {
    use super::{Deserializer, Serializer, Size, write_size};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        from.deserialize_any(Size)
    }

    pub(crate) fn serialize<S: Serializer>(size: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&write_size(*size))
    }
}

/// In as few units as give it exactly, as [`parse_span`] reads it. Less than a millisecond is left away.
fn write_span(span: Duration) -> String {
    let mut rest = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0".to_owned();
    }
    let mut out = String::new();
    let mut units = SPANS;
    units.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    for (unit, size) in units {
        let count = rest / size;
        if count > 0 {
            out.push_str(&format!("{count}{unit}"));
            rest -= count * size;
        }
    }
    out
}

/// In the largest unit that gives it exactly.
fn write_size(size: u64) -> String {
    if size == 0 {
        return "0".to_owned();
    }
    let unit = SIZES.iter().find(|(_, unit)| size.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{size}B"), |(name, unit)| format!("{}{name}", size / unit))
}

struct Span;

impl Visitor<'_> for Span {
    type Value = Duration;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a duration such as \"30s\", \"10m\" or \"1h30m\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
        parse_span(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

struct Size;

impl Visitor<'_> for Size {
    type Value = u64;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a size such as \"64KiB\", \"35MiB\" or \"2GiB\", or a number of bytes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        parse_size(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<u64, E> {
        u64::try_from(number).map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for (text, seconds) in
            [("0", 0), ("30s", 30), ("1h30m", 5400), ("5d", 432_000), ("1w1s", 604_801)]
        {
            let span = Duration::from_secs(seconds);
            assert_eq!(write_span(span), text);
            assert_eq!(parse_span(text), Some(span));
        }
        assert_eq!(write_span(Duration::from_millis(1800)), "1s800ms");
        for (text, size) in
            [("0", 0), ("300000000B", 300_000_000), ("35MiB", 35 << 20), ("20GiB", 20 << 30)]
        {
            assert_eq!(write_size(size), text);
            assert_eq!(parse_size(text), Some(size));
        }
    }

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
