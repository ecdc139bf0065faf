//! What stands behind options: moments, credits, and what is to be taken away.

use std::fmt;
use std::str::FromStr;

use muralla_radius_dictionary::Zone;

use crate::configuration::{duration, parse_moment};

/// A value that is given, or that is to be taken away: an empty one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Given<T> {
    Nothing,
    Value(T),
}

impl<T> Given<T> {
    /// What is to hold instead of what was.
    pub(crate) fn instead<U>(
        given: Option<Self>,
        was: Option<U>,
        write: impl FnOnce(T) -> U,
    ) -> Option<U> {
        match given {
            Some(Self::Value(value)) => Some(write(value)),
            Some(Self::Nothing) => None,
            None => was,
        }
    }
}

pub(super) fn given<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<Given<T>, String> {
    or_nothing(|text: &str| text.parse::<T>().map_err(|error| error.to_string()))(text)
}

pub(super) fn or_nothing<T>(
    parse: impl Fn(&str) -> Result<T, String> + Clone,
) -> impl Fn(&str) -> Result<Given<T>, String> + Clone {
    move |text| if text.is_empty() { Ok(Given::Nothing) } else { parse(text).map(Given::Value) }
}

/// A moment of the command line. What has no zone is local time, by the configuration's `time_zone`: a date alone is where
/// that day begins, as everywhere else where days are counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum When {
    /// Seconds that a clock of local time counts since the beginning of 1970.
    Local(u64),
    /// Seconds since 1970.
    Universal(u64),
}

impl When {
    /// Seconds since 1970, where local time is that of a zone.
    pub(crate) fn seconds(self, zone: &Zone) -> i64 {
        let signed = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        match self {
            Self::Local(seconds) => zone.universal(signed(seconds)),
            Self::Universal(seconds) => signed(seconds),
        }
    }
}

pub(super) fn when_argument(text: &str) -> Result<When, String> {
    let wrong = || "a day such as 2026-11-01, or a moment such as 2026-11-01T06:00:00Z".to_owned();
    let written: toml::value::Datetime = text.parse().map_err(|_| wrong())?;
    let seconds = parse_moment(&written).ok_or_else(wrong)?;
    Ok(if written.offset.is_none() { When::Local(seconds) } else { When::Universal(seconds) })
}

/// What is added to a credit: time or octets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum CreditChange {
    /// Seconds.
    Time(i64),
    /// Octets.
    Bytes(i64),
}

pub(super) fn credit_argument(text: &str) -> Result<CreditChange, String> {
    let wrong = || format!("`{text}` is no change of a credit; write +10h, -30m, +1G or -500M");
    let (sign, amount) = match text.split_at_checked(1) {
        Some(("+", amount)) => (1, amount),
        Some(("-", amount)) => (-1, amount),
        _ => return Err(wrong()),
    };
    // Units of octets are great letters: `10m` are minutes, `10M` are octets.
    if let Some(bytes) = octets(amount) {
        return i64::try_from(bytes)
            .map(|bytes| CreditChange::Bytes(sign * bytes))
            .map_err(|_| wrong());
    }
    let time = duration::parse(amount).ok_or_else(wrong)?;
    i64::try_from(time.as_secs())
        .map(|seconds| CreditChange::Time(sign * seconds))
        .map_err(|_| wrong())
}

pub(super) fn octets_argument(text: &str) -> Result<i64, String> {
    let octets = octets(text).and_then(|octets| i64::try_from(octets).ok());
    octets.ok_or_else(|| format!("`{text}` is no number of octets; write 500M, 10G or 1T"))
}

/// Octets with a unit of `B`, `K`, `M`, `G` or `T` (powers of 1024, also as `KiB` and so on).
fn octets(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 5] =
        [("B", 1), ("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40)];
    let (number, unit) = text.split_at_checked(text.find(|c: char| !c.is_ascii_digit())?)?;
    let unit = unit.strip_suffix("iB").unwrap_or(unit);
    let (_, size) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_day_begins_at_local_midnight() {
        for (text, ahead, behind) in [
            // 2026-11-01 in UTC is 1,793,491,200.
            ("2026-11-01", 1_793_491_200 - 19_800, 1_793_491_200 + 10_800),
            ("2026-11-01T00:00:00", 1_793_491_200 - 19_800, 1_793_491_200 + 10_800),
            ("2026-11-01T00:00:00Z", 1_793_491_200, 1_793_491_200),
            ("2026-11-01T00:00:00+05:30", 1_793_491_200 - 19_800, 1_793_491_200 - 19_800),
        ] {
            let when = when_argument(text).unwrap();
            let zones = ["+05:30", "-03:00"].map(|zone| zone.parse::<Zone>().unwrap());
            assert_eq!(zones.map(|zone| when.seconds(&zone)), [ahead, behind], "{text}");
        }
        assert!(when_argument("06:00:00").is_err());
    }

    #[test]
    fn credits_are_time_or_octets() {
        for (text, change) in [
            ("+10h", CreditChange::Time(36_000)),
            ("-1h30m", CreditChange::Time(-5_400)),
            ("+10m", CreditChange::Time(600)),
            ("+10M", CreditChange::Bytes(10 << 20)),
            ("-1G", CreditChange::Bytes(-(1 << 30))),
            ("+1TiB", CreditChange::Bytes(1 << 40)),
        ] {
            assert_eq!(credit_argument(text), Ok(change), "{text}");
        }
        for text in ["10h", "+", "-", "", "+G", "+1GB", "+10", "++1G", "-99999999999999T", "+ä"] {
            assert!(credit_argument(text).is_err(), "{text}");
        }
    }
}
