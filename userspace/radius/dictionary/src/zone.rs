//! Where days begin and what clocks on the wall show: a fixed distance from UTC, or a zone with its summers.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use serde::{Serialize, Serializer};

/// A distance from UTC, such as `-05:00`, or a zone of the IANA database, such as `Europe/Madrid`, whose distance changes with
/// the seasons.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Zone(TimeZone);

/// What is no zone.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "\"{0}\" is neither a distance from UTC, such as \"-05:00\", nor a zone that the system's tzdata knows, such as \"Europe/Madrid\""
)]
pub struct UnknownZone(String);

impl Zone {
    /// UTC.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// A zone that is always so many seconds ahead of UTC (east is positive), at most 25 hours.
    #[must_use]
    pub fn fixed(seconds: i32) -> Option<Self> {
        Some(Self(TimeZone::fixed(Offset::from_seconds(seconds).ok()?)))
    }

    /// Seconds that local time is ahead of UTC at a second since 1970.
    #[must_use]
    pub fn ahead(&self, at: i64) -> i32 {
        self.0.to_offset(timestamp(at)).seconds()
    }

    /// The second since 1970 at which local time is so many seconds after the beginning of its 1970: the earlier one where a
    /// clock shows it twice, and as much later as the clock jumps where none shows it.
    #[must_use]
    pub fn universal(&self, local: i64) -> i64 {
        let shown = TimeZone::UTC.to_datetime(timestamp(local));
        let at = self.0.to_timestamp(shown).map(Timestamp::as_second);
        at.unwrap_or_else(|_| local.saturating_sub(self.ahead(local).into()))
    }

    /// Reads a moment as dates of attributes are written, such as `2026-12-31 23:59:59`, with a zone behind it or without one:
    /// then it is meant here. In seconds since 1970; none if it is no date, or of another age than 1970 to 2106.
    #[must_use]
    pub fn moment(&self, text: &str) -> Option<u32> {
        crate::date::parse(text.trim(), self)
    }
}

/// The moment of a second since 1970; at the edges of what can be said, the edge.
fn timestamp(at: i64) -> Timestamp {
    let edge = if at < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_second(at).unwrap_or(edge)
}

impl Default for Zone {
    fn default() -> Self {
        Self::UTC
    }
}

impl FromStr for Zone {
    type Err = UnknownZone;

    fn from_str(text: &str) -> Result<Self, UnknownZone> {
        let unknown = || UnknownZone(text.to_owned());
        if text.starts_with(['+', '-']) {
            return fixed(text).ok_or_else(unknown);
        }
        // What the database calls a file that describes the machine's own zone is no name of one.
        TimeZone::get(text).map(Self).map_err(|_| unknown())
    }
}

/// `+hh:mm` or `-hh:mm`, at most 14 hours.
fn fixed(text: &str) -> Option<Zone> {
    let (sign, rest) = text.split_at_checked(1)?;
    let (hours, minutes) = rest.split_once(':')?;
    let number = |text: &str, most: i32| {
        let plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i32>().ok().filter(|number| plain && *number <= most)
    };
    let seconds = number(hours, 14)? * 3_600 + number(minutes, 59)? * 60;
    let seconds = if sign == "-" { -seconds } else { seconds };
    (seconds.abs() <= 14 * 3_600).then(|| Zone::fixed(seconds))?
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.to_fixed_offset(), self.0.iana_name()) {
            (Err(_), Some(name)) => f.write_str(name),
            (offset, _) => {
                let seconds = offset.map_or(0, Offset::seconds);
                let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.abs() / 60);
                write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
            }
        }
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn distances_from_utc_read_back() {
        for (text, expected) in [
            ("+00:00", Some(0)),
            ("-05:00", Some(-18_000)),
            ("+05:45", Some(20_700)),
            ("+14:00", Some(50_400)),
            ("-14:00", Some(-50_400)),
            ("+14:01", None),
            ("05:00", None),
            ("+5:00", None),
            ("+05:60", None),
            ("+0é:00", None),
            ("+", None),
            ("", None),
        ] {
            let zone = text.parse::<Zone>();
            assert_eq!(zone.as_ref().ok().map(|zone| zone.ahead(0)), expected, "{text}");
            if let Ok(zone) = zone {
                assert_eq!(zone.to_string(), text);
            }
        }
        for text in ["Europe/Nowhere", "../passwd", "/etc/localtime", "Europe/Madrid\n"] {
            let error = text.parse::<Zone>().unwrap_err();
            assert!(error.to_string().contains("tzdata"), "{error}");
        }
    }

    #[test]
    fn summers_are_an_hour_ahead() {
        let madrid: Zone = "Europe/Madrid".parse().unwrap();
        assert_eq!(madrid.to_string(), "Europe/Madrid");
        // 2026-03-29T01:00Z and 2026-10-25T01:00Z are when the clocks are set.
        let (spring, autumn) = (1_774_746_000, 1_792_890_000);
        let at = |seconds| (madrid.ahead(seconds - 1), madrid.ahead(seconds));
        assert_eq!((at(spring), at(autumn)), ((3_600, 7_200), (7_200, 3_600)));
        // 02:30 is not there in spring, and there twice in autumn.
        assert_eq!(madrid.universal(spring + 3_600 + 1_800), spring + 1_800);
        assert_eq!(madrid.universal(autumn + 3_600 + 1_800), autumn - 1_800);
        // Midnights, and the ends of time.
        assert_eq!(madrid.universal(1_782_864_000), 1_782_864_000 - 7_200, "1 July");
        assert_eq!(madrid.universal(1_767_225_600), 1_767_225_600 - 3_600, "1 January");
        for at in [i64::MIN, i64::MAX] {
            let _ = (madrid.ahead(at), madrid.universal(at));
        }
    }

    proptest! {
        #[test]
        fn what_a_clock_shows_is_when_it_shows_it(at in -10_000_000_000i64..10_000_000_000) {
            for name in ["Europe/Madrid", "America/Lima", "Asia/Kolkata", "America/Santiago", "-03:30"] {
                let zone: Zone = name.parse().unwrap();
                let local = at + i64::from(zone.ahead(at));
                let again = zone.universal(local);
                prop_assert_eq!(again + i64::from(zone.ahead(again)), local, "{}", name);
                prop_assert!(again <= at);
            }
        }
    }
}
