//! The name of a session, the same on every server and after every restart.
//!
//! Acct-Session-Id alone names nothing: two NASes count alike, and one that reboots counts anew and
//! gives yesterday's ids again, even to the same user on the same port (FreeRADIUS' issue 1871).
//! The name is a digest of
//!
//! - the NAS's entry in the configuration, not its source port or address, which change;
//! - NAS-Identifier and NAS-IP-Address, for several boxes behind one entry, of which some have the
//!   same factory-set identifier and some the same private address;
//! - Acct-Session-Id; where a NAS sends none, NAS-Port, NAS-Port-Id and Calling-Station-Id;
//! - User-Name, as it stands: after a crash the same id mostly goes to another user;
//! - the day on which the session began, as far as the record that opened it tells (its event's
//!   time less Acct-Session-Time), so that ids given again on other days are others.
//!
//! NAS-Port is no part of it where there is an Acct-Session-Id: some NASes learn it after Start.
//!
//! A day's bounds are different for each session, so they never fall on the hour at which a whole
//! NAS reconnects; the estimates that two servers make of one beginning, seconds apart, fall on
//! different sides of a bound in about one of 40,000 sessions. An id that is given again within a
//! day is recognised by the [`Table`](crate::Table), which then names the later session by its
//! second: that is the one case in which the name depends on what came before.
//!
//! A record without Acct-Session-Time, other than a Start, doesn't tell when its session began. A
//! server that hears of a session by such a record first names it by the record's day, and so
//! agrees with a server that heard its Start only if no bound lies in between.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::record::Record;

const DAY: u64 = 86_400;

/// A session's name. Shown as 32 hexadecimal digits.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// The name of a record's session, as far as the record alone tells: what the table gives as
    /// well, unless the NAS gave the id twice within a day. `tolerance` is
    /// [`Settings::event_tolerance`](crate::Settings::event_tolerance).
    pub fn of(record: &Record<'_>, tolerance: u32) -> Self {
        let at = record.event(tolerance).at;
        Self::named(record, at.saturating_sub(record.session_seconds.unwrap_or(0)), 0)
    }

    /// The name of a record's session that `started` then: the first choice, and others if that is
    /// taken by another session of the same identity. Those go by the second, too.
    pub(crate) fn named(record: &Record<'_>, started: u32, choice: u32) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"muralla accounting session 1");
        let mut add = |part: &[u8]| {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part);
        };
        add(record.nas.as_bytes());
        add(record.nas_identifier.unwrap_or_default());
        match record.nas_address {
            None => add(&[]),
            Some(IpAddr::V4(address)) => add(&address.octets()),
            Some(IpAddr::V6(address)) => add(&address.octets()),
        }
        add(record.user);
        add(record.session);
        if record.session.is_empty() {
            add(&record.nas_port.map_or([0; 5], |port| {
                let [a, b, c, d] = port.to_be_bytes();
                [1, a, b, c, d]
            }));
            add(record.nas_port_id.unwrap_or_default());
            add(record.calling.unwrap_or_default());
        }

        let mut shift = [0; 8];
        hasher.finalize_xof().fill(&mut shift);
        let shift = u64::from_be_bytes(shift) % DAY;
        let day = (u64::from(started) + shift) / DAY;
        hasher.update(&day.to_be_bytes());
        if choice > 0 {
            hasher.update(&started.to_be_bytes());
            hasher.update(&choice.to_be_bytes());
        }
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        Self(id)
    }

    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no session's name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a session's id has 32 hexadecimal digits; `muralla radius session` lists them")]
pub struct BadSessionId;

impl FromStr for SessionId {
    type Err = BadSessionId;

    fn from_str(text: &str) -> Result<Self, BadSessionId> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(BadSessionId);
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| BadSessionId)?;
        Ok(Self(number.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Status;
    use crate::samples::{Sample, T0};

    #[test]
    fn every_record_of_a_session_gives_its_name() {
        let start = Sample::new(Status::Start).at(T0);
        let id = SessionId::of(&start.record(), 120);
        for (status, seconds) in [(Status::Interim, 600), (Status::Stop, 7_200)] {
            let later = Sample::new(status).at(T0 + seconds).seconds(seconds);
            assert_eq!(SessionId::of(&later.record(), 120), id);
        }
        // By another socket of the same NAS, sent again with another delay.
        let again = Sample::new(Status::Start).at(T0 + 9).delay(9).source("192.0.2.7:4711");
        assert_eq!(SessionId::of(&again.record(), 120), id);
    }

    #[test]
    fn whatever_tells_sessions_apart_changes_the_name() {
        let names: Vec<_> = [
            Sample::new(Status::Start),
            Sample::new(Status::Start).session("00000002"),
            Sample::new(Status::Start).user("eva"),
            Sample::new(Status::Start).nas("pop-2"),
            Sample::new(Status::Start).identifier("lns-2"),
            Sample::new(Status::Start).nas_address([192, 0, 2, 99]),
            Sample::new(Status::Start).at(T0 + 86_400),
            Sample::new(Status::Start).session("").calling("00:00:5e:00:53:01"),
            Sample::new(Status::Start).session("").calling("00:00:5e:00:53:02"),
            Sample::new(Status::Start).session("").port(7),
        ]
        .iter()
        .map(|sample| SessionId::of(&sample.record(), 120))
        .collect();
        for (at, name) in names.iter().enumerate() {
            assert!(!names[..at].contains(name), "{at}");
        }
    }

    #[test]
    fn the_name_is_the_same_in_the_next_version() {
        let id = SessionId::of(&Sample::new(Status::Start).record(), 120);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(SessionId::from_bytes(*id.as_bytes()), id);
        assert_eq!(id.to_string(), SAMPLE_NAME);
    }

    /// Rows in databases have it: it may never change.
    const SAMPLE_NAME: &str = "ec7d3d36d06409c6aea32ebe39d5a4eb";

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", "12", "+0000000000000000000000000000000", &"g".repeat(32)] {
            assert_eq!(text.parse::<SessionId>(), Err(BadSessionId), "{text}");
        }
    }

    #[test]
    fn bounds_of_days_are_spread() {
        // Of 1,000 sessions that begin at one midnight, few have a bound within a minute.
        let near = (0..1_000)
            .filter(|number| {
                let sample = Sample::new(Status::Start).session(&format!("{number:08x}"));
                let name = |at| SessionId::of(&sample.clone().at(at).record(), 120);
                name(T0 - 30) != name(T0 + 30)
            })
            .count();
        assert!(near < 10, "{near}");
    }
}
