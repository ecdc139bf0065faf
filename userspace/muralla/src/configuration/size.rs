//! Sizes in bytes as people write them: `64KiB`, `256MiB`, `2GiB`.

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// The bytes that `text` names: a whole number with a unit of `B`, `KiB`, `MiB` or `GiB`.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, size) = UNITS.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*size)
}

/// The shortest exact way to write a size.
pub(crate) fn write(bytes: u64) -> String {
    let exact = UNITS.iter().find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size));
    exact.map_or_else(|| "0B".to_owned(), |(unit, size)| format!("{}{unit}", bytes / size))
}

/// A size for people, in about three digits.
pub(crate) fn about(bytes: u64) -> String {
    match UNITS.iter().find(|(_, size)| bytes >= *size) {
        None | Some((_, 1)) => format!("{bytes} B"),
        Some((unit, size)) => {
            let value = bytes as f64 / *size as f64;
            if value < 99.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes, written) in [
            ("256MiB", 256 << 20, "256MiB"),
            ("1024MiB", 1 << 30, "1GiB"),
            ("64 KiB", 64 << 10, "64KiB"),
            ("1000B", 1_000, "1000B"),
            ("0B", 0, "0B"),
        ] {
            assert_eq!(parse(text), Some(bytes), "{text}");
            assert_eq!(write(bytes), written);
            assert_eq!(parse(&write(bytes)), Some(bytes));
        }
        for text in ["", "5", "MiB", "1.5GiB", "-1B", "5MB", "5TiB", "99999999999999999999GiB"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_for_people_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_536, "1.5 KiB"),
            (200 << 20, "200 MiB"),
            (3 << 30, "3.0 GiB"),
        ] {
            assert_eq!(about(bytes), text);
        }
    }
}
