//! Rows for databases and files.

use serde::Serialize;

use crate::record::{NANOS, Record};
use crate::table::{Effect, Outcome};
use crate::view::{SessionView, State};

/// A record with what it did, or a session that was closed without a record, in plain fields.
///
/// # How rows are merged
///
/// *Events*: one row for each `event_id`; a row that is there already stays.
///
/// *Sessions*: one row for each `session_id`. `octets_in`, `octets_out`, `packets_in`,
/// `packets_out` and `session_seconds` are the greatest of all rows. Of the rest the row with the
/// greater [`rank`](ExportRow::rank) counts, and among equals the later one; a field that a row
/// lacks changes nothing. So rows can be written again and in any order, and by two servers of
/// which each saw part of a session: the totals are right as soon as all are written.
///
/// *Sums over time* are made of what a row adds to its session's totals in the database, in the
/// transaction that does so: spread it by [`Gain::by_day`](crate::Gain::by_day) from the session's
/// last `updated_at` there to this one. The `gained_*` fields are what it added for this server.
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
    /// The session's state after it: see [`State::name`].
    pub state: Option<&'static str>,
    /// When it happened: seconds since 1970.
    pub event_at: i64,
    /// When it came: microseconds since 1970.
    pub received_at: i64,
    /// Event-Timestamp as the NAS said: seconds since 1970.
    pub event_timestamp: Option<i64>,
    /// Acct-Delay-Time as the NAS said: seconds.
    pub delay_seconds: Option<i64>,
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
    /// Octets that the user sent, since what was known before.
    pub gained_octets_in: i64,
    /// Octets that the user received, since what was known before.
    pub gained_octets_out: i64,
    /// Seconds, since what was known before.
    pub gained_seconds: i64,
    /// Acct-Terminate-Cause.
    pub cause: Option<i64>,
    /// Its name in RFC 2866 section 5.10 and RFC 3580 section 2.1, in snake case.
    pub cause_name: Option<&'static str>,
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
            event_timestamp: record.event_timestamp.map(Into::into),
            delay_seconds: record.delay.map(Into::into),
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
            gained_octets_in: whole(effect.gain.octets_in),
            gained_octets_out: whole(effect.gain.octets_out),
            gained_seconds: effect.gain.seconds.into(),
            cause: record.cause.map(Into::into),
            cause_name: record.cause.and_then(cause_name),
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
            event_timestamp: None,
            delay_seconds: None,
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
            gained_octets_in: 0,
            gained_octets_out: 0,
            gained_seconds: 0,
            cause: view.cause.map(Into::into),
            cause_name: view.cause.and_then(|cause| cause_name(cause.into())),
            doubts: view.doubts.to_string(),
        }
    }

    /// How much a row knows of its session's state: a stop is final, a record of an open session
    /// outdoes what somebody else closed before it.
    ///
    /// The first number is 1 for a stopped session; the second the time up to which the session is
    /// known; the third is 1 for a session that was closed then, without a stop.
    pub fn rank(&self) -> (u8, i64, u8) {
        let is = |state: State| self.state == Some(state.name());
        let closed = !is(State::Open) && !is(State::Stopped);
        (is(State::Stopped).into(), self.updated_at.unwrap_or(0), closed.into())
    }

    /// Whether it tells nothing that was not told before: another row of the same event did.
    pub fn is_duplicate(&self) -> bool {
        self.outcome == Outcome::Duplicate.name()
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

/// The name of an Acct-Terminate-Cause.
pub fn cause_name(cause: u32) -> Option<&'static str> {
    const NAMES: [&str; 23] = [
        "user_request",
        "lost_carrier",
        "lost_service",
        "idle_timeout",
        "session_timeout",
        "admin_reset",
        "admin_reboot",
        "port_error",
        "nas_error",
        "nas_request",
        "nas_reboot",
        "port_unneeded",
        "port_preempted",
        "port_suspended",
        "service_unavailable",
        "callback",
        "user_error",
        "host_request",
        // RFC 3580 section 2.1.
        "supplicant_restart",
        "reauthentication_failure",
        "port_reinitialized",
        "port_administratively_disabled",
        // RFC 4603.
        "lost_power",
    ];
    NAMES.get(usize::try_from(cause).ok()?.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

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
        assert_eq!((stop.gained_octets_in, stop.gained_seconds), (5 << 32, 3_600));
        assert_eq!((stop.cause, stop.cause_name), (Some(5), Some("session_timeout")));
        assert_eq!(stop.framed_address.as_deref(), Some("198.51.100.7"));
        assert_eq!(stop.framed_prefix.as_deref(), Some("2001:db8:7::/56"));
        assert_eq!(stop.delay_seconds, Some(4));
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

    #[test]
    fn causes_have_names() {
        assert_eq!(cause_name(0), None);
        assert_eq!(cause_name(1), Some("user_request"));
        assert_eq!(cause_name(18), Some("host_request"));
        assert_eq!(cause_name(19), Some("supplicant_restart"));
        assert_eq!(cause_name(24), None);
    }

    /// What a database does with rows of sessions.
    fn merge(rows: &[ExportRow]) -> BTreeMap<String, (i64, i64, &'static str)> {
        let mut merged: BTreeMap<String, (ExportRow, i64)> = BTreeMap::new();
        for row in rows {
            let id = row.session_id.clone().unwrap();
            let known = merged.entry(id).or_insert_with(|| (row.clone(), 0));
            known.1 = known.1.max(row.octets_in);
            if row.rank() >= known.0.rank() {
                known.0 = row.clone();
            }
        }
        let rows = merged.into_iter().map(|(id, (row, octets))| {
            (id, (octets, row.ended_at.unwrap_or(0), row.state.unwrap()))
        });
        rows.collect()
    }

    #[test]
    fn rows_of_two_servers_merge_in_any_order() {
        let start = Sample::new(Status::Start).at(T0);
        let interim = Sample::new(Status::Interim).at(T0 + 600).seconds(600).octets(100, 0);
        let stop = Sample::new(Status::Stop).at(T0 + 900).seconds(900).octets(150, 0);
        // The first server heard the beginning, gave the session up, and told so.
        let first = Table::new(Settings::default(), [1, 2]);
        let mut rows = Vec::new();
        for sample in [&start, &interim] {
            let effect = first.apply(&sample.record(), moment(sample.received_at()));
            rows.push(ExportRow::of(&sample.record(), &effect, 1, 120));
        }
        assert!(first.expire(moment(T0 + 601), 10).is_empty());
        for minute in 1..60 {
            let lost = first.expire(moment(T0 + 601 + 60 * minute), 10);
            rows.extend(lost.iter().map(|view| ExportRow::closing(view, None, 0)));
        }
        assert_eq!(rows.last().unwrap().outcome, "lost");
        // The second heard the rest.
        let second = Table::new(Settings::default(), [3, 4]);
        let effect = second.apply(&stop.record(), moment(stop.received_at()));
        rows.push(ExportRow::of(&stop.record(), &effect, 1, 120));
        let merged = merge(&rows);
        let totals: Vec<_> = merged.values().copied().collect();
        assert_eq!(totals, [(150, i64::from(T0) + 900, "stopped")]);
        rows.reverse();
        assert_eq!(merge(&rows), merged);
    }
}
