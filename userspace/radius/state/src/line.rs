//! Where at a NAS a login or a session is, as far as its packets tell: whether two of a user's are one and the same.
//!
//! No attribute tells it alone. NAS-Port-Id is the line with one NAS and with another the name of an interface that all share;
//! NAS-Port is a line, or new with each session, or the same on several boxes behind one entry; Calling-Station-Id may be
//! missing, or that of a proxy. So two are on the same line only if all agrees that both tell, and both tell of a line at
//! all. Who is taken for another though he is the same gets another address, or waits for the end of his session; who is taken
//! for the same though he is another would have a session for nothing, and somebody else's address.
//!
//! Where NAS-Port is new with each session, that never holds, and who calls again after his Stop was lost would wait. So he who is
//! the same but for NAS-Port may take the place of a session of which nothing is heard when something should be; but a caller may
//! have several sessions (channels of ISDN, or a router that dials in more than once), so that as long as one speaks, it counts.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::hash::Hasher;
use std::io::Write;
use std::net::IpAddr;

use muralla_radius_accounting::export::printable;
use muralla_radius_accounting::{ExportRow, Record, SessionView};
use muralla_radius_policy::Holder;
use siphasher::sip::SipHasher13;

use crate::SessionEntry;

/// Between the parts of a line's text.
const BETWEEN: char = '|';

/// Parts that tell the line, and after them those that tell the box which it is of.
const LINE: usize = 3;
const MACHINE: usize = 2;

/// Room for a number or an address as text.
const ROOM: usize = 46;

/// What packets tell of where somebody is, at the login as in accounting.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Line<'a> {
    /// NAS-Port-Id.
    pub port_id: Option<&'a [u8]>,
    /// NAS-Port.
    pub port: Option<u32>,
    /// Calling-Station-Id.
    pub station: Option<&'a [u8]>,
    /// NAS-Identifier.
    pub identifier: Option<&'a [u8]>,
    /// NAS-IP-Address or NAS-IPv6-Address.
    pub address: Option<IpAddr>,
}

impl<'a> From<&Holder<'a>> for Line<'a> {
    fn from(holder: &Holder<'a>) -> Self {
        let Holder { port_id, port, station, identifier, address, .. } = *holder;
        Self { port_id, port, station, identifier, address }
    }
}

impl<'a> From<&Record<'a>> for Line<'a> {
    fn from(record: &Record<'a>) -> Self {
        Self {
            port_id: record.nas_port_id,
            port: record.nas_port,
            station: record.calling,
            identifier: record.nas_identifier,
            address: record.nas_address,
        }
    }
}

impl<'a> From<&'a SessionView> for Line<'a> {
    fn from(session: &'a SessionView) -> Self {
        Self {
            port_id: session.nas_port_id.as_deref(),
            port: session.nas_port,
            station: session.calling.as_deref(),
            identifier: session.nas_identifier.as_deref(),
            address: session.nas_address,
        }
    }
}

impl<'a> From<&'a ExportRow> for Line<'a> {
    fn from(row: &'a ExportRow) -> Self {
        let bytes = |text: &'a Option<String>| text.as_deref().map(str::as_bytes);
        Self {
            port_id: bytes(&row.nas_port_id),
            port: row.nas_port.and_then(|port| port.try_into().ok()),
            station: bytes(&row.calling_station),
            identifier: bytes(&row.nas_identifier),
            address: row.nas_address.as_deref().and_then(|address| address.parse().ok()),
        }
    }
}

impl Line<'_> {
    /// As it lies in the database, the same on every server: NAS-Port-Id, NAS-Port, Calling-Station-Id, NAS-Identifier and the
    /// NAS's address with bars between them, as far as there are any. None if nothing but the box is told: that is no line.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let mut parts: [String; LINE + MACHINE] = Default::default();
        self.each(|at, part| {
            if let Some(text) = parts.get_mut(at) {
                *text = String::from_utf8_lossy(part).into_owned();
            }
        });
        if parts.iter().take(LINE).all(String::is_empty) {
            return None;
        }
        let mut text = parts.join("|");
        text.truncate(text.trim_end_matches(BETWEEN).len());
        Some(text)
    }

    /// Shows what there is, by its place.
    fn each(&self, mut show: impl FnMut(usize, &[u8])) {
        let Self { port_id, port, station, identifier, address } = self;
        for (at, text) in [(0, port_id), (2, station), (3, identifier)] {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                show(at, &plain(text));
            }
        }
        let mut room = [0; ROOM];
        if let Some(port) = port {
            show(1, shown(&mut room, port));
        }
        if let Some(address) = address {
            show(4, shown(&mut room, address.to_canonical()));
        }
    }
}

/// As it stands in rows, without bars.
fn plain(text: &[u8]) -> Cow<'_, [u8]> {
    if text.iter().all(|byte| matches!(byte, b' '..=b'{' | b'}' | b'~')) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(printable(text).replace(BETWEEN, "\\x7c").into_bytes())
}

fn shown(room: &mut [u8; ROOM], what: impl Display) -> &[u8] {
    let mut rest = room.as_mut_slice();
    // No number and no address is longer than the room.
    let _ = write!(rest, "{what}");
    let len = ROOM - rest.len();
    room.get(..len).unwrap_or_default()
}

/// Where somebody is, and by which name his NAS calls the session, hashed: small, and quick to compare. Zero is what is not
/// told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Spot {
    nas: u64,
    session: u64,
    line: [u64; LINE],
    machine: [u64; MACHINE],
}

impl Spot {
    /// Whether two of a user's are on the same line, or one session by its Acct-Session-Id: the earlier one is over, or the
    /// NAS would not ask for another.
    #[must_use]
    pub fn is_same_line(&self, other: &Self) -> bool {
        let both = |(one, other): &(&u64, &u64)| **one != 0 && **other != 0;
        let mut told = self.line.iter().zip(&other.line).filter(both).peekable();
        let is_line = told.peek().is_some() && told.all(|(one, other)| one == other);
        let is_session = self.session != 0 && self.session == other.session;
        self.is_same_machine(other) && (is_line || is_session)
    }

    /// Whether two of a user's are of one caller at one box, whatever NAS-Port says, which some NASes make up anew for each
    /// session: both tell the same Calling-Station-Id, and no other NAS-Port-Id. That does not say that the earlier one is over:
    /// who calls may have several.
    #[must_use]
    pub fn is_same_caller(&self, other: &Self) -> bool {
        let ([port_id, _, station], [other_id, _, other_station]) = (self.line, other.line);
        let agrees = port_id == 0 || other_id == 0 || port_id == other_id;
        self.is_same_machine(other) && agrees && station != 0 && station == other_station
    }

    /// Whether two records are of one session, as far as its names tell: as [`SessionId`] does but for the day.
    ///
    /// [`SessionId`]: muralla_radius_accounting::SessionId
    #[must_use]
    pub fn is_same_session(&self, other: &Self) -> bool {
        let Self { nas, session, line, machine } = self;
        (*nas, *session, machine) == (other.nas, other.session, &other.machine)
            && (*session != 0 || *line == other.line)
    }

    /// Whether both may be of one box behind an entry.
    #[must_use]
    pub fn is_same_machine(&self, other: &Self) -> bool {
        let agree = |(one, other): (&u64, &u64)| *one == 0 || *other == 0 || one == other;
        self.nas == other.nas && self.machine.iter().zip(&other.machine).all(agree)
    }
}

/// Makes [`Spot`]s. Those of one maker can be compared.
#[derive(Clone, Copy, Default)]
pub struct Spots {
    keys: [u64; 2],
}

impl Spots {
    /// The keys must be secret and random, or a user could choose what is taken for the same.
    #[must_use]
    pub const fn new(keys: [u64; 2]) -> Self {
        Self { keys }
    }

    /// Where a login comes from.
    #[must_use]
    pub fn of_login(&self, login: &Holder<'_>) -> Spot {
        self.of(login.nas, login.session.unwrap_or_default(), &login.into())
    }

    /// Where the session of a record is.
    #[must_use]
    pub fn of_record(&self, record: &Record<'_>) -> Spot {
        self.of(record.nas, record.session, &record.into())
    }

    /// Where a session is.
    #[must_use]
    pub fn of_view(&self, session: &SessionView) -> Spot {
        self.of(&session.nas, &session.session, &session.into())
    }

    /// Where a session is, by the database.
    #[must_use]
    pub fn of_entry(&self, session: &SessionEntry) -> Spot {
        let box_alone = Line { address: session.nas_address.parse().ok(), ..Line::default() };
        let mut spot = self.of(&session.nas, session.acct_session_id.as_bytes(), &box_alone);
        for (at, part) in session.line.split(BETWEEN).enumerate() {
            if !part.is_empty() {
                spot.set(at, self.hash(at, part.as_bytes()));
            }
        }
        spot
    }

    fn of(&self, nas: &str, session: &[u8], line: &Line<'_>) -> Spot {
        let session = match session {
            [] => 0,
            session => self.hash(LINE + MACHINE, &plain(session)),
        };
        let nas = self.hash(LINE + MACHINE + 1, nas.as_bytes());
        let mut spot = Spot { nas, session, ..Spot::default() };
        line.each(|at, part| spot.set(at, self.hash(at, part)));
        spot
    }

    /// Never zero.
    fn hash(&self, what: usize, text: &[u8]) -> u64 {
        let [one, two] = self.keys;
        let mut hasher = SipHasher13::new_with_keys(one, two);
        hasher.write_usize(what);
        hasher.write(text);
        hasher.finish().max(1)
    }
}

impl fmt::Debug for Spots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spots").finish_non_exhaustive()
    }
}

impl Spot {
    fn set(&mut self, at: usize, hash: u64) {
        if let Some(part) = self.line.iter_mut().chain(&mut self.machine).nth(at) {
            *part = hash;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Line<'_> =
        Line { port_id: None, port: None, station: None, identifier: None, address: None };

    fn spot(nas: &str, session: &str, line: Line<'_>) -> Spot {
        Spots::new([1, 2]).of(nas, session.as_bytes(), &line)
    }

    /// An interface that all share, a port that is new each time, and who calls.
    fn mikrotik(port: u32, station: &str) -> Line<'_> {
        Line {
            port_id: Some(b"ether2"),
            port: Some(port),
            station: Some(station.as_bytes()),
            ..NOTHING
        }
    }

    fn behind<'a>(identifier: &'a str, address: &str, line: Line<'a>) -> Line<'a> {
        let address = address.parse().ok();
        Line { identifier: Some(identifier.as_bytes()), address, ..line }
    }

    #[test]
    fn who_is_on_the_same_line() {
        let port = |port| Line { port: Some(port), ..NOTHING };
        let named = |name: &'static str| Line { port_id: Some(name.as_bytes()), ..NOTHING };
        let calling = |name: &'static str| Line { station: Some(name.as_bytes()), ..NOTHING };
        for (one, other, expected) in [
            // A NAS with one interface for all.
            (mikrotik(1, "00:AA"), mikrotik(1, "00:AA"), true),
            (mikrotik(1, "00:AA"), mikrotik(2, "00:BB"), false),
            (mikrotik(1, "00:AA"), mikrotik(2, "00:AA"), false),
            (mikrotik(1, "00:AA"), mikrotik(1, "00:BB"), false),
            // Several boxes behind one entry.
            (behind("a", "192.0.2.1", port(7)), behind("a", "192.0.2.1", port(7)), true),
            (behind("a", "192.0.2.1", port(7)), behind("b", "192.0.2.1", port(7)), false),
            (behind("a", "192.0.2.1", port(7)), behind("a", "192.0.2.2", port(7)), false),
            (behind("a", "192.0.2.1", port(7)), behind("a", "", port(7)), true),
            (behind("a", "192.0.2.1", port(7)), behind("a", "::ffff:192.0.2.1", port(7)), true),
            (behind("a", "2001:db8::1", port(7)), behind("a", "2001:db8::2", port(7)), false),
            // By one thing alone.
            (port(7), port(7), true),
            (port(7), port(8), false),
            (named("eth 1/1"), named("eth 1/1"), true),
            (named("eth 1/1"), named("eth 1/2"), false),
            (calling("0049"), calling("0049"), true),
            (calling("0049"), calling("0050"), false),
            // What one of them does not tell says nothing, nor does what neither tells.
            (mikrotik(1, "00:AA"), port(1), true),
            (mikrotik(1, ""), mikrotik(1, "00:AA"), true),
            (named("7"), port(7), false),
            (port(7), calling("7"), false),
            (NOTHING, NOTHING, false),
            (behind("a", "192.0.2.1", NOTHING), behind("a", "192.0.2.1", NOTHING), false),
            (named(""), named(""), false),
        ] {
            let (one, other) = (spot("lns", "", one), spot("lns", "", other));
            assert_eq!(one.is_same_line(&other), expected, "{one:?} {other:?}");
            assert_eq!(other.is_same_line(&one), expected);
            let elsewhere = Spot { nas: spot("another", "", NOTHING).nas, ..other };
            assert!(!one.is_same_line(&elsewhere), "{one:?} {elsewhere:?}");
        }
    }

    #[test]
    fn who_is_the_same_caller() {
        let other_port = Line { port_id: Some(b"ether3"), ..mikrotik(2, "00:AA") };
        let no_port_id = Line { port_id: None, ..mikrotik(2, "00:AA") };
        for (one, other, expected) in [
            (mikrotik(1, "00:AA"), mikrotik(2, "00:AA"), true),
            (mikrotik(1, "00:AA"), no_port_id, true),
            (mikrotik(1, "00:AA"), other_port, false),
            (mikrotik(1, "00:AA"), mikrotik(1, "00:BB"), false),
            // Nobody is the same by what is not told.
            (mikrotik(1, ""), mikrotik(2, ""), false),
            (mikrotik(1, "00:AA"), mikrotik(1, ""), false),
            (NOTHING, NOTHING, false),
            (
                behind("a", "192.0.2.1", mikrotik(1, "00:AA")),
                behind("b", "192.0.2.1", mikrotik(2, "00:AA")),
                false,
            ),
        ] {
            let (one, other) = (spot("lns", "", one), spot("lns", "", other));
            assert_eq!(one.is_same_caller(&other), expected, "{one:?} {other:?}");
            assert_eq!(other.is_same_caller(&one), expected);
            assert!(!one.is_same_caller(&Spot { nas: spot("x", "", NOTHING).nas, ..other }));
        }
    }

    #[test]
    fn a_session_by_its_name_is_the_same_wherever_its_box_is_the_same() {
        let here = behind("a", "192.0.2.1", Line { port: Some(7), ..NOTHING });
        let later = Line { port: Some(8), ..here };
        let there = behind("b", "192.0.2.2", Line { port: Some(8), ..NOTHING });
        assert!(spot("lns", "1", here).is_same_line(&spot("lns", "1", later)));
        assert!(!spot("lns", "1", here).is_same_line(&spot("lns", "2", later)));
        assert!(!spot("lns", "1", here).is_same_line(&spot("lns", "1", there)));
        assert!(!spot("lns", "", here).is_same_line(&spot("lns", "", later)));
        for (one, other, expected) in [
            (spot("lns", "1", here), spot("lns", "1", later), true),
            (spot("lns", "1", here), spot("lns", "2", here), false),
            (spot("lns", "1", here), spot("lns", "1", there), false),
            (spot("lns", "1", here), spot("other", "1", here), false),
            (spot("lns", "", here), spot("lns", "", here), true),
            (spot("lns", "", here), spot("lns", "", later), false),
        ] {
            assert_eq!(one.is_same_session(&other), expected, "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_line_has_a_text_that_is_its_own() {
        let all = behind("lns", "192.0.2.1", mikrotik(7, "00:AA"));
        for (line, text) in [
            (all, Some("ether2|7|00:AA|lns|192.0.2.1")),
            (mikrotik(7, ""), Some("ether2|7")),
            (Line { port: Some(0), ..NOTHING }, Some("|0")),
            (Line { station: Some(b"0049"), ..NOTHING }, Some("||0049")),
            (Line { port_id: Some(b"a|b\n"), ..NOTHING }, Some("a\\x7cb\\x0a")),
            (Line { port_id: Some("Büro".as_bytes()), ..NOTHING }, Some("Büro")),
            (behind("lns", "192.0.2.1", NOTHING), None),
            (NOTHING, None),
        ] {
            assert_eq!(line.text().as_deref(), text, "{line:?}");
        }
        let mut row = crate::export::plain_row();
        row.nas_port_id = Some("a|b\\x0a".to_owned());
        row.nas_address = Some("2001:db8::1".to_owned());
        assert_eq!(Line::from(&row).text().as_deref(), Some("a\\x7cb\\x0a||||2001:db8::1"));
    }
}
