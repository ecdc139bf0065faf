//! Rows for databases and files.

use std::time::Duration;

use serde::Serialize;

use crate::record::{NANOS, Record};
use crate::table::Effect;
use crate::view::SessionView;

/// A record with what it did, or a session that was closed without a record, in plain fields.
///
/// # How rows are merged
///
/// *Events*: one row for each `event_id`; a row that is there already stays.
///
/// *Sessions*: one row for each `session_id`. `octets_in`, `octets_out`, `packets_in`,
/// `packets_out` and `session_seconds` are the greatest of all rows. A stop is final; else a record
/// of an open session outdoes what somebody else closed before it. So rows can be written again and
/// in any order, and by two servers of which each saw part of a session: the totals are right as
/// soon as all are written.
///
/// *Sums over time* are made of what a row adds to its session's totals in the database, in the
/// transaction that does so: spread it by [`Gain::by_day`](crate::Gain::by_day) from the session's
/// last `updated_at` there to this one.
///
/// All times are in UTC. Texts have no control characters: bytes that are none of UTF-8, and
/// control characters, are shown as `\x00`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExportRow {
    /// Names the event: 32 hexadecimal digits. Retransmissions have the same.
    pub event_id: String,
    /// Names the session: 32 hexadecimal digits. None for records of no session.
    pub session_id: Option<String>,
    /// The journal's sequence; 0 for what the table closed by itself.
    pub sequence: u64,
    /// `start`, `interim`, `stop`, `accounting_on`, `accounting_off`, ...; `closed` for what the
    /// table closed by itself.
    pub status: &'static str,
    /// What it did: see [`Outcome::name`]; for what the table closed, the state.
    pub outcome: &'static str,
    /// The session's state after it: see [`State::name`](crate::State::name).
    pub state: Option<&'static str>,
    /// When it happened: seconds since 1970.
    pub event_at: i64,
    /// When it came: microseconds since 1970.
    pub received_at: i64,
    /// When it came by the machine's clock that nobody sets (CLOCK_BOOTTIME), if that was in this
    /// life of the machine: since its boot. None unless whoever writes the row says so.
    pub came: Option<Duration>,
    /// The NAS's entry in the configuration.
    pub nas: String,
    /// The telco (group) that it belongs to.
    pub telco: Option<String>,
    /// NAS-Identifier.
    pub nas_identifier: Option<String>,
    /// NAS-IP-Address or NAS-IPv6-Address.
    pub nas_address: Option<String>,
    /// NAS-Port.
    pub nas_port: Option<i64>,
    /// NAS-Port-Id.
    pub nas_port_id: Option<String>,
    /// The address that the packet came from.
    pub source: Option<String>,
    /// User-Name.
    pub user_name: String,
    /// The subscriber, or else User-Name.
    pub subscriber: String,
    /// Acct-Session-Id.
    pub acct_session_id: String,
    /// Class, in hexadecimal digits.
    pub class: Option<String>,
    /// Calling-Station-Id.
    pub calling_station: Option<String>,
    /// Called-Station-Id.
    pub called_station: Option<String>,
    /// Framed-IP-Address.
    pub framed_address: Option<String>,
    /// Framed-IPv6-Prefix.
    pub framed_prefix: Option<String>,
    /// Framed-IPv6-Address.
    pub framed_address6: Option<String>,
    /// Delegated-IPv6-Prefix.
    pub delegated_prefix: Option<String>,
    /// When the session began: seconds since 1970.
    pub started_at: Option<i64>,
    /// When it was last known to go on: seconds since 1970.
    pub updated_at: Option<i64>,
    /// When it ended: seconds since 1970; see [`SessionView::ended`].
    pub ended_at: Option<i64>,
    /// Its time: seconds.
    pub session_seconds: i64,
    /// Octets that the user sent, of the whole session.
    pub octets_in: i64,
    /// Octets that the user received, of the whole session.
    pub octets_out: i64,
    /// Packets that the user sent, modulo 2^32 as the NAS counts them.
    pub packets_in: i64,
    /// Packets that the user received, modulo 2^32 as the NAS counts them.
    pub packets_out: i64,
    /// Its time when the record was made: seconds.
    pub seconds_then: i64,
    /// Octets that the user sent until the record was made.
    pub octets_in_then: i64,
    /// Octets that the user received until the record was made.
    pub octets_out_then: i64,
    /// Acct-Terminate-Cause.
    pub cause: Option<i64>,
    /// What was not quite right, by [`Doubts::names`](crate::Doubts::names), with commas.
    pub doubts: String,
}

impl ExportRow {
    /// The row of a record. `sequence` is the journal's; `effect` is what [`Table::apply`] said.
    ///
    /// [`Table::apply`]: crate::Table::apply
    pub fn of(record: &Record<'_>, effect: &Effect, sequence: u64, event_tolerance: u32) -> Self {
        let session = effect.session.as_ref();
        let total = |known: Option<u64>, said: Option<u64>| whole(known.or(said).unwrap_or(0));
        let octets_in = session.map(|session| session.octets_in);
        let octets_out = session.map(|session| session.octets_out);
        let seconds = session.map(|session| u64::from(session.seconds));
        let said = (
            record.session_seconds.map(Into::into),
            record.octets_in.total(),
            record.octets_out.total(),
        );
        let at = record.event(event_tolerance).at;
        // Where the session has gone on since, as the record waited or came late, its figures are not those of the record.
        let then = match session {
            Some(session) if session.updated <= at => (seconds, octets_in, octets_out),
            _ => (None, None, None),
        };
        Self {
            event_id: hex(&record.event_id()),
            session_id: session.map(|session| session.id.to_string()),
            sequence,
            status: record.status.name(),
            outcome: effect.outcome.name(),
            state: session.map(|session| session.state.name()),
            event_at: at.into(),
            received_at: whole(record.received / (NANOS / 1_000_000)),
            came: None,
            nas: record.nas.into(),
            telco: record.telco.map(Into::into),
            nas_identifier: record.nas_identifier.map(printable),
            nas_address: record.nas_address.map(|address| address.to_string()),
            nas_port: record.nas_port.map(Into::into),
            nas_port_id: record.nas_port_id.map(printable),
            source: Some(record.source.ip().to_string()),
            user_name: printable(record.user),
            subscriber: printable(record.subject()),
            acct_session_id: printable(record.session),
            class: record.class.map(hex),
            calling_station: record.calling.map(printable),
            called_station: record.called.map(printable),
            framed_address: record.framed_address.map(|address| address.to_string()),
            framed_prefix: record.framed_prefix.map(|prefix| prefix.to_string()),
            framed_address6: record.framed_address6.map(|address| address.to_string()),
            delegated_prefix: record.delegated_prefix.map(|prefix| prefix.to_string()),
            started_at: session.map(|session| session.started.into()),
            updated_at: session.map(|session| session.updated.into()),
            ended_at: session.and_then(|session| session.ended.map(Into::into)),
            session_seconds: total(seconds, said.0),
            octets_in: total(octets_in, said.1),
            octets_out: total(octets_out, said.2),
            packets_in: record.packets_in.unwrap_or(0).into(),
            packets_out: record.packets_out.unwrap_or(0).into(),
            seconds_then: total(then.0, said.0),
            octets_in_then: total(then.1, said.1),
            octets_out_then: total(then.2, said.2),
            cause: record.cause.map(Into::into),
            doubts: session
                .map_or(effect.doubts, |session| session.doubts | effect.doubts)
                .to_string(),
        }
    }

    /// The row of a session that was closed without a record: lost, superseded, or by its NAS's
    /// new beginning. `received` is when: nanoseconds since 1970.
    pub fn closing(view: &SessionView, telco: Option<&str>, received: u64) -> Self {
        let ended = view.ended.unwrap_or(view.updated);
        let text = |text: &Option<Vec<u8>>| text.as_deref().map(printable);
        Self {
            event_id: closing_id(view),
            session_id: Some(view.id.to_string()),
            sequence: 0,
            status: "closed",
            outcome: view.state.name(),
            state: Some(view.state.name()),
            event_at: ended.into(),
            received_at: whole(received / (NANOS / 1_000_000)),
            came: None,
            nas: view.nas.clone(),
            telco: telco.map(Into::into),
            nas_identifier: text(&view.nas_identifier),
            nas_address: view.nas_address.map(|address| address.to_string()),
            nas_port: view.nas_port.map(Into::into),
            nas_port_id: text(&view.nas_port_id),
            source: None,
            user_name: printable(&view.user),
            subscriber: printable(&view.subscriber),
            acct_session_id: printable(&view.session),
            class: None,
            calling_station: text(&view.calling),
            called_station: None,
            framed_address: view.framed_address.map(|address| address.to_string()),
            framed_prefix: view.framed_prefix.map(|prefix| prefix.to_string()),
            framed_address6: view.framed_address6.map(|address| address.to_string()),
            delegated_prefix: view.delegated_prefix.map(|prefix| prefix.to_string()),
            started_at: Some(view.started.into()),
            updated_at: Some(view.updated.into()),
            ended_at: view.ended.map(Into::into),
            session_seconds: view.seconds.into(),
            octets_in: whole(view.octets_in),
            octets_out: whole(view.octets_out),
            packets_in: view.packets_in.into(),
            packets_out: view.packets_out.into(),
            seconds_then: view.seconds.into(),
            octets_in_then: whole(view.octets_in),
            octets_out_then: whole(view.octets_out),
            cause: view.cause.map(Into::into),
            doubts: view.doubts.to_string(),
        }
    }
}

/// Databases have no unsigned numbers: what is too big for a signed one is as big as one can be.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn closing_id(view: &SessionView) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"muralla accounting closing 1");
    hasher.update(view.id.as_bytes());
    hasher.update(view.state.name().as_bytes());
    hasher.update(&view.updated.to_be_bytes());
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    hex(&id)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Text that every database and file takes.
pub fn printable(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                let mut buffer = [0; 4];
                for byte in character.encode_utf8(&mut buffer).bytes() {
                    let _ = write!(text, "\\x{byte:02x}");
                }
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Status;
    use crate::samples::{Sample, T0, moment};
    use crate::table::{Settings, Table};

    fn rows(samples: &[Sample]) -> Vec<ExportRow> {
        let table = Table::new(Settings::default(), [1, 2]);
        let rows = samples.iter().enumerate().map(|(at, sample)| {
            let effect = table.apply(&sample.record(), moment(sample.received_at()));
            ExportRow::of(&sample.record(), &effect, at as u64 + 1, 120)
        });
        rows.collect()
    }

    #[test]
    fn a_row_has_everything_in_plain_fields() {
        let stop = Sample::new(Status::Stop)
            .at(T0 + 3_600)
            .seconds(3_600)
            .octets(5 << 32, 7)
            .calling("00:00:5e:00:53:01")
            .address([198, 51, 100, 7])
            .prefix("2001:db8:7::/56")
            .cause(5)
            .delay(4);
        let rows = rows(&[Sample::new(Status::Start).at(T0), stop]);
        let [start, stop] = &rows[..] else { panic!("two rows") };
        assert_eq!((start.status, start.outcome, start.state), ("start", "opened", Some("open")));
        assert_eq!((stop.status, stop.outcome, stop.state), ("stop", "closed", Some("stopped")));
        assert_eq!(start.session_id, stop.session_id);
        assert_ne!(start.event_id, stop.event_id);
        assert_eq!(stop.started_at, Some(T0.into()));
        assert_eq!(stop.ended_at, Some(i64::from(T0) + 3_596));
        assert_eq!((stop.octets_in, stop.octets_out, stop.session_seconds), (5 << 32, 7, 3_600));
        assert_eq!(stop.cause, Some(5));
        assert_eq!(stop.framed_address.as_deref(), Some("198.51.100.7"));
        assert_eq!(stop.framed_prefix.as_deref(), Some("2001:db8:7::/56"));
        assert_eq!(stop.received_at, i64::from(T0 + 3_600) * 1_000_000);
        assert_eq!((stop.user_name.as_str(), stop.nas.as_str()), ("ana", "pop-1"));
    }

    #[test]
    fn a_record_that_waited_has_the_figures_of_its_time() {
        let sample = |status, at: u32| {
            Sample::new(status).at(T0 + at).seconds(at).octets(u64::from(at) << 30, 7)
        };
        let all = [
            Sample::new(Status::Start).at(T0),
            sample(Status::Interim, 600),
            sample(Status::Interim, 1_200),
            sample(Status::Stop, 1_500),
        ];
        let table = Table::new(Settings::default(), [1, 2]);
        for sample in &all {
            let _ = table.apply(&sample.record(), moment(sample.received_at()));
        }
        // All of them go to the database when that is back.
        for (sample, seconds) in all.iter().zip([0, 600, 1_200, 1_500]) {
            let effect = table.apply(&sample.record(), moment(T0 + 2_000));
            let row = ExportRow::of(&sample.record(), &effect, 1, 120);
            let octets = if seconds == 0 { 0 } else { 7 };
            let then = (row.seconds_then, row.octets_in_then, row.octets_out_then);
            assert_eq!(then, (seconds, seconds << 30, octets), "{}", row.status);
            assert_eq!((row.session_seconds, row.octets_in), (1_500, 1_500 << 30));
        }
    }

    #[test]
    fn no_byte_of_a_text_is_a_database_s_problem() {
        for (bytes, text) in [
            (&b"ana"[..], "ana"),
            (b"DOMAIN\\ana", "DOMAIN\\ana"),
            (b"a\0b\nc", "a\\x00b\\x0ac"),
            (b"\xff\xc3", "\\xff\\xc3"),
            ("señora".as_bytes(), "señora"),
            ("\u{85}".as_bytes(), "\\xc2\\x85"),
        ] {
            assert_eq!(printable(bytes), text);
        }
    }
}
