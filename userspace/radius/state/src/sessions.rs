//! Sessions in the database: as rows that can be joined in any order, and as entries for people.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::Ipv6Net;
use muralla_database::{DatabaseError, Row, Value, Work, dialect};
use muralla_radius_accounting::{ExportRow, SessionId};
use serde::{Deserialize, Serialize};

use crate::changes::from_hex;
use crate::{Line, State, StateError};

/// Largest number of octets that is believed, 9 petabytes: a counter that says more is broken, and must not break a sum.
pub(crate) const MOST_OCTETS: i64 = 1 << 53;

/// Columns that follow the latest record.
pub(crate) const TEXTS: [&str; 14] = [
    "user_name",
    "login",
    "nas",
    "telco",
    "box",
    "acct_session_id",
    "address",
    "prefix6",
    "delegated6",
    "address6",
    "calling",
    "called",
    "port",
    "line",
];

/// Columns that only grow.
const GROWING: [&str; 8] = [
    "stopped",
    "session_time",
    "octets_in",
    "octets_out",
    "packets_in",
    "packets_out",
    "cause",
    "updated",
];

/// A session as records tell of it. [`SessionRow::join`] of two is what both tell: in whatever order and however often it is
/// done, the outcome is the same.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SessionRow {
    pub(crate) id: [u8; 16],
    pub(crate) texts: [String; TEXTS.len()],
    pub(crate) started: i64,
    pub(crate) updated: i64,
    pub(crate) stopped: i64,
    pub(crate) presumed: i64,
    pub(crate) presumption: i64,
    pub(crate) session_time: i64,
    pub(crate) octets_in: i64,
    pub(crate) octets_out: i64,
    pub(crate) packets_in: i64,
    pub(crate) packets_out: i64,
    pub(crate) cause: i64,
}

impl SessionRow {
    /// What a row of accounting says of its session; none if it is about no session.
    pub(crate) fn of(row: &ExportRow) -> Option<Self> {
        let id = from_hex(row.session_id.as_deref()?)?.try_into().ok()?;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let texts = [
            row.subscriber.clone(),
            row.user_name.clone(),
            row.nas.clone(),
            text(&row.telco),
            box_of(row),
            row.acct_session_id.clone(),
            text(&row.framed_address),
            text(&row.framed_prefix),
            text(&row.delegated_prefix),
            text(&row.framed_address6),
            text(&row.calling_station),
            text(&row.called_station),
            port_of_row(row).unwrap_or_default(),
            Line::from(row).text().unwrap_or_default(),
        ];
        let updated = row.updated_at.unwrap_or(row.event_at);
        let number = number_of(row.state.unwrap_or_default());
        let ended = row.ended_at.unwrap_or(updated).max(1);
        Some(Self {
            id,
            texts,
            started: row.started_at.unwrap_or(row.event_at),
            updated,
            stopped: if number == 1 { ended } else { 0 },
            presumed: if number > 1 { updated.max(1) } else { 0 },
            presumption: if number > 1 { number } else { 0 },
            session_time: octets(row.session_seconds),
            octets_in: octets(row.octets_in),
            octets_out: octets(row.octets_out),
            packets_in: octets(row.packets_in),
            packets_out: octets(row.packets_out),
            cause: row.cause.unwrap_or(0).clamp(0, u32::MAX.into()),
        })
    }

    /// Whether it is open, as its numbers tell: what was stopped stays so; what was presumed to have ended is open again if
    /// something later is known.
    pub(crate) fn state(&self) -> i64 {
        if self.stopped > 0 {
            1
        } else if self.presumed > 0 && self.presumed >= self.updated {
            self.presumption
        } else {
            0
        }
    }

    /// Takes over what the other tells of the same session.
    pub(crate) fn join(&mut self, other: Self) {
        for (mine, other_text) in self.texts.iter_mut().zip(other.texts) {
            if !other_text.is_empty() && (mine.is_empty() || other.updated >= self.updated) {
                *mine = other_text;
            }
        }
        if other.presumed > self.presumed {
            (self.presumed, self.presumption) = (other.presumed, other.presumption);
        }
        self.started = self.started.min(other.started);
        self.updated = self.updated.max(other.updated);
        self.stopped = self.stopped.max(other.stopped);
        self.session_time = self.session_time.max(other.session_time);
        self.octets_in = self.octets_in.max(other.octets_in);
        self.octets_out = self.octets_out.max(other.octets_out);
        self.packets_in = self.packets_in.max(other.packets_in);
        self.packets_out = self.packets_out.max(other.packets_out);
        self.cause = self.cause.max(other.cause);
    }

    fn values(&self, server: &str) -> Vec<Value> {
        let mut values = vec![Value::from(&self.id[..]), self.state().into()];
        values.extend(self.texts.iter().map(|text| Value::from(text.as_str())));
        values.extend(
            [
                self.started,
                self.presumed,
                self.presumption,
                self.stopped,
                self.session_time,
                self.octets_in,
                self.octets_out,
                self.packets_in,
                self.packets_out,
                self.cause,
                self.updated,
            ]
            .map(Value::from),
        );
        values.push(server.into());
        // Of one that is new, everything is.
        values.push(self.session_time.into());
        values.push(self.octets_in.saturating_add(self.octets_out).into());
        values
    }
}

/// Writes rows, no session twice: joined with what is there.
pub(crate) async fn join_all(
    work: &mut Work,
    rows: &[SessionRow],
    server: &str,
) -> Result<(), DatabaseError> {
    const TABLE: &str = "radius_session";
    let mut columns = vec!["id", "state"];
    columns.extend(TEXTS);
    columns.extend(["started", "presumed", "presumption"]);
    columns.extend(GROWING);
    columns.push("server");
    columns.extend(["grown_time", "grown_octets"]);
    let head = format!("INSERT INTO {TABLE} ({})", columns.join(", "));
    let newer = |column: &str| {
        format!(
            "{column} = CASE WHEN excluded.{column} <> '' AND ({TABLE}.{column} = '' OR excluded.updated >= {TABLE}.updated) THEN excluded.{column} ELSE {TABLE}.{column} END"
        )
    };
    let mut sets: Vec<String> = TEXTS.iter().map(|column| newer(column)).collect();
    sets.push(format!("presumption = CASE WHEN excluded.presumed > {TABLE}.presumed THEN excluded.presumption ELSE {TABLE}.presumption END"));
    sets.push(dialect::greater(TABLE, "presumed"));
    sets.push(dialect::less(TABLE, "started"));
    sets.extend(GROWING.iter().map(|column| dialect::greater(TABLE, column)));
    let growth = |column: &str| {
        format!(
            "CASE WHEN excluded.{column} > {TABLE}.{column} THEN excluded.{column} - {TABLE}.{column} ELSE 0 END"
        )
    };
    sets.push(format!("grown_time = {}", growth("session_time")));
    sets.push(format!("grown_octets = {} + {}", growth("octets_in"), growth("octets_out")));
    let tail = format!("ON CONFLICT (id) DO UPDATE SET {}", sets.join(", "));
    let values = rows.iter().map(|row| row.values(server)).collect();
    work.bulk(&head, &tail, columns.len(), values).await
}

/// Brings the states of sessions in line with their numbers, and notes who did. `which` is a condition with a list.
pub(crate) async fn settle(
    work: &mut Work,
    which: &str,
    keys: &[Value],
    server: &str,
) -> Result<u64, DatabaseError> {
    const STATE: &str = "CASE WHEN stopped > 0 THEN 1 WHEN presumed > 0 AND presumed >= updated THEN presumption ELSE 0 END";
    let sql = format!(
        "UPDATE radius_session SET state = {STATE}, server = $1 WHERE {which} AND state <> {STATE}"
    );
    work.execute_in(&sql, &[server.into()], keys).await
}

/// Whether a session is open, or by what it was closed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// It goes on.
    Open,
    /// Its NAS reported its end.
    Stopped,
    /// Its NAS began anew.
    Rebooted,
    /// Nothing was heard of it for too long.
    Lost,
    /// Its NAS gave its id to another.
    Superseded,
}

impl SessionState {
    /// All of them, by their number in the database.
    pub const ALL: [Self; 5] =
        [Self::Open, Self::Stopped, Self::Rebooted, Self::Lost, Self::Superseded];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Stopped => "stopped",
            Self::Rebooted => "rebooted",
            Self::Lost => "lost",
            Self::Superseded => "superseded",
        }
    }

    pub(crate) fn of(number: i64) -> Self {
        let at = usize::try_from(number).ok();
        at.and_then(|at| Self::ALL.get(at)).copied().unwrap_or(Self::Lost)
    }
}

impl fmt::Display for SessionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A session as the database knows it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SessionEntry {
    /// Its name, in hexadecimal digits.
    pub id: String,
    /// Whether it is open.
    pub state: SessionState,
    /// The subscriber.
    pub user: String,
    /// User-Name as it stood.
    pub login: String,
    /// The NAS's entry.
    pub nas: String,
    /// NAS-IP-Address or NAS-IPv6-Address; may be empty.
    pub nas_address: String,
    /// The telco it belongs to; may be empty.
    pub telco: String,
    /// Acct-Session-Id.
    pub acct_session_id: String,
    /// When it began, in seconds since 1970.
    pub started: i64,
    /// When it was last known to go on.
    pub updated: i64,
    /// When it ended; none while it is open.
    pub ended: Option<i64>,
    /// Session time in seconds.
    pub session_time: i64,
    /// Octets that the user sent.
    pub octets_in: i64,
    /// Octets that the user received.
    pub octets_out: i64,
    /// Packets that the user sent.
    pub packets_in: i64,
    /// Packets that the user received.
    pub packets_out: i64,
    /// Acct-Terminate-Cause; 0 if none was told.
    pub cause: i64,
    /// Framed-IP-Address; may be empty.
    pub address: String,
    /// Framed-IPv6-Prefix; may be empty.
    pub prefix6: String,
    /// Delegated-IPv6-Prefix; may be empty.
    pub delegated6: String,
    /// Framed-IPv6-Address; may be empty.
    pub address6: String,
    /// Calling-Station-Id; may be empty.
    pub calling: String,
    /// Called-Station-Id; may be empty.
    pub called: String,
    /// NAS-Port-Id, NAS-Port or Calling-Station-Id; may be empty.
    pub port: String,
    /// All that tells the line, the same at the login and in accounting ([`Line::text`]); may be empty.
    pub line: String,
    /// The server that changed its state last.
    pub server: String,
    /// Whether its NAS alone says that it has what it has of pools: nobody was offered it, and its user is no subscriber, or has
    /// too much by such words. It keeps nothing from others.
    #[serde(default)]
    pub unproven: bool,
}

impl SessionEntry {
    /// Its name.
    #[must_use]
    pub fn session_id(&self) -> Option<SessionId> {
        Some(SessionId::from_bytes(from_hex(&self.id)?.try_into().ok()?))
    }
}

pub(crate) const SESSION: &str = "SELECT id, state, user_name, login, nas, telco, acct_session_id, started, updated, stopped, presumed, session_time, octets_in, octets_out, packets_in, packets_out, cause, address, prefix6, delegated6, address6, calling, called, port, server, box, line, unproven FROM radius_session";

pub(crate) fn session_of(row: &Row) -> Result<SessionEntry, DatabaseError> {
    let state = SessionState::of(row.int(1)?);
    let (updated, stopped) = (row.int(8)?, row.int(9)?);
    Ok(SessionEntry {
        id: hex(&row.bytes(0)?),
        state,
        user: row.text(2)?,
        login: row.text(3)?,
        nas: row.text(4)?,
        nas_address: address_of(&row.text(25)?).to_owned(),
        telco: row.text(5)?,
        acct_session_id: row.text(6)?,
        started: row.int(7)?,
        updated,
        ended: match state {
            SessionState::Open => None,
            SessionState::Stopped => Some(stopped),
            // Nobody pays for what nobody saw.
            _ => Some(updated),
        },
        session_time: row.int(11)?,
        octets_in: row.int(12)?,
        octets_out: row.int(13)?,
        packets_in: row.int(14)?,
        packets_out: row.int(15)?,
        cause: row.int(16)?,
        address: row.text(17)?,
        prefix6: row.text(18)?,
        delegated6: row.text(19)?,
        address6: row.text(20)?,
        calling: row.text(21)?,
        called: row.text(22)?,
        port: row.text(23)?,
        line: row.text(26)?,
        server: row.text(24)?,
        unproven: row.int(27)? != 0,
    })
}

/// Which sessions are looked for; empty is all of them.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionFilter {
    /// Of one subscriber.
    pub user: Option<String>,
    /// On one NAS.
    pub nas: Option<String>,
    /// That have or had this address, or a prefix that it is of.
    pub address: Option<IpAddr>,
    /// Those that ended after this moment, or have not; in seconds since 1970.
    pub from: Option<i64>,
    /// Those that began by this moment.
    pub to: Option<i64>,
    /// Only those that are open.
    pub open: bool,
}

/// An address as records write it, and all prefixes that it is of.
fn networks_of(address: Ipv6Addr) -> Vec<Value> {
    let networks = (0..=128).filter_map(|length| Ipv6Net::new(address, length).ok());
    let networks = networks.map(|network| network.trunc().to_string().into());
    [address.to_string().into()].into_iter().chain(networks).collect()
}

impl State {
    /// At most `most` sessions, the latest first.
    ///
    /// # Errors
    ///
    /// If the database is away.
    pub async fn sessions(
        &self,
        filter: &SessionFilter,
        most: u32,
    ) -> Result<Vec<SessionEntry>, StateError> {
        let mut sql = format!("{SESSION} WHERE 1 = 1");
        let mut values = Vec::new();
        // The first one may be several numbers in a row.
        let mut add = |condition: &str, with: Vec<Value>| {
            let first = values.len() + 1;
            values.extend(with);
            let places = (first..=values.len()).map(|at| format!("${at}"));
            sql.push_str(&condition.replace("{}", &places.collect::<Vec<_>>().join(", ")));
        };
        if let Some(user) = &filter.user {
            add(" AND user_name = {}", vec![user.as_str().into()]);
        }
        if let Some(nas) = &filter.nas {
            add(" AND nas = {}", vec![nas.as_str().into()]);
        }
        match filter.address {
            Some(IpAddr::V4(address)) => add(" AND address = {}", vec![address.to_string().into()]),
            // What stands beside the lists makes the indices fit.
            Some(IpAddr::V6(address)) => add(
                " AND ((address6 <> '' AND address6 IN ({})) OR (prefix6 <> '' AND prefix6 IN ({})) OR (delegated6 <> '' AND delegated6 IN ({})))",
                networks_of(address),
            ),
            None => {}
        }
        if let Some(to) = filter.to {
            add(" AND started <= {}", vec![to.into()]);
        }
        if let Some(from) = filter.from {
            add(
                " AND (state = 0 OR CASE WHEN stopped > 0 THEN stopped ELSE updated END >= {})",
                vec![from.into()],
            );
        }
        if filter.open {
            sql.push_str(" AND state = 0");
        }
        values.push(i64::from(most).into());
        sql.push_str(&format!(" ORDER BY started DESC, id LIMIT ${}", values.len()));
        self.select(&sql, values, session_of).await
    }

    /// Shows every open session of other servers, for [`Elsewhere`](crate::Elsewhere).
    ///
    /// # Errors
    ///
    /// If the database is away.
    pub async fn each_open_elsewhere(
        &self,
        mut show: impl FnMut(SessionEntry) + Send,
    ) -> Result<(), StateError> {
        let sql = format!("{SESSION} WHERE state = 0 AND server <> $1");
        self.each_of_all(&sql, |row| {
            show(session_of(row)?);
            Ok(())
        })
        .await
    }

    /// Tells the name of every open session of this server, which knows all else of them by itself.
    ///
    /// # Errors
    ///
    /// If the database is away.
    pub async fn each_open_here(
        &self,
        mut show: impl FnMut(SessionId) + Send,
    ) -> Result<(), StateError> {
        const SQL: &str = "SELECT id FROM radius_session WHERE state = 0 AND server = $1";
        self.each_of_all(SQL, |row| {
            if let Ok(id) = row.bytes(0)?.try_into() {
                show(SessionId::from_bytes(id));
            }
            Ok(())
        })
        .await
    }

    async fn each_of_all(
        &self,
        sql: &str,
        mut show: impl FnMut(&Row) -> Result<(), DatabaseError> + Send,
    ) -> Result<(), StateError> {
        self.watched(async {
            let mut work = self.inner.engine.read().await?;
            let values = vec![self.server().into()];
            work.each_of_many(sqlx::AssertSqlSafe(sql.to_owned()), values, |row| show(&row))
                .await?;
            Ok(())
        })
        .await
    }
}

impl State {
    /// Shows those of these sessions that have ended as far as the database knows: a server's own table may have missed that,
    /// if others were told while it was away.
    ///
    /// # Errors
    ///
    /// If the database is away.
    pub async fn each_ended_session(
        &self,
        sessions: &[SessionId],
        mut show: impl FnMut(SessionEntry) + Send,
    ) -> Result<(), StateError> {
        self.watched(async {
            let mut work = self.inner.engine.read().await?;
            let keys: Vec<Value> =
                sessions.iter().map(|session| Value::from(&session.as_bytes()[..])).collect();
            let sql = format!("{SESSION} WHERE state <> 0 AND id IN ({{}})");
            work.each_in(&sql, &[], &keys, |row| {
                show(session_of(&row)?);
                Ok(())
            })
            .await?;
            Ok(())
        })
        .await
    }
}

/// The port of a row, for people.
pub(crate) fn port_of_row(row: &ExportRow) -> Option<String> {
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let port = row.nas_port.map(|port| port.to_string());
    filled(&row.nas_port_id).or(port).or_else(|| filled(&row.calling_station))
}

/// The box that a record is from, behind its NAS's entry.
pub(crate) fn box_of(row: &ExportRow) -> String {
    let (identifier, address) = (row.nas_identifier.as_deref(), row.nas_address.as_deref());
    format!("{}|{}|{}", row.nas, identifier.unwrap_or_default(), address.unwrap_or_default())
}

/// The address in what [`box_of`] made.
fn address_of(named: &str) -> &str {
    named.rsplit_once('|').map_or("", |(_, address)| address)
}

pub(crate) fn octets(octets: i64) -> i64 {
    octets.clamp(0, MOST_OCTETS)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The number of a state in the database, by its name.
fn number_of(name: &str) -> i64 {
    let place = SessionState::ALL.iter().position(|state| state.name() == name);
    place.and_then(|place| i64::try_from(place).ok()).unwrap_or(0)
}

/// A session of nothing but this, for a test to fill.
#[cfg(test)]
pub(crate) fn entry(id: u8, user: &str, state: SessionState, server: &str) -> SessionEntry {
    SessionEntry {
        id: hex(&[id; 16]),
        state,
        user: user.into(),
        login: user.into(),
        nas: "lns".into(),
        nas_address: String::new(),
        telco: String::new(),
        acct_session_id: "1".into(),
        started: 1,
        updated: 1,
        ended: None,
        session_time: 0,
        octets_in: 0,
        octets_out: 0,
        packets_in: 0,
        packets_out: 0,
        cause: 0,
        address: String::new(),
        prefix6: String::new(),
        delegated6: String::new(),
        address6: String::new(),
        calling: String::new(),
        called: String::new(),
        port: String::new(),
        line: String::new(),
        server: server.into(),
        unproven: false,
    }
}

#[cfg(test)]
mod tests {
    use muralla_radius_accounting as accounting;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn states_have_the_names_that_accounting_gives_them() {
        for (state, number) in accounting::State::ALL.iter().zip(0..) {
            assert_eq!(number_of(state.name()), number);
            assert_eq!(SessionState::of(number).name(), state.name());
        }
    }

    fn row() -> impl Strategy<Value = SessionRow> {
        let numbers = proptest::array::uniform7(0i64..5);
        (numbers, 1i64..5, any::<bool>()).prop_map(|(numbers, updated, told)| {
            let [started, stopped, presumed, session_time, octets_in, packets_in, cause] = numbers;
            SessionRow {
                id: [1; 16],
                // One text for one time: two that differ at the same second are told apart by nothing.
                texts: std::array::from_fn(|at| match told {
                    true => format!("{at} {updated}"),
                    false => String::new(),
                }),
                started,
                updated,
                stopped: stopped / 4,
                presumed,
                // One reason for one time, as above.
                presumption: if presumed == 0 { 0 } else { 2 + presumed % 3 },
                session_time,
                octets_in,
                octets_out: octets_in * 2,
                packets_in,
                packets_out: 0,
                cause,
            }
        })
    }

    fn joined(rows: &[SessionRow]) -> SessionRow {
        let mut rows = rows.iter().cloned();
        let mut first = rows.next().unwrap();
        rows.for_each(|row| first.join(row));
        first
    }

    proptest! {
        #[test]
        fn the_order_and_repetitions_change_nothing(
            rows in proptest::collection::vec(row(), 1..6),
            order in any::<proptest::sample::Index>(),
        ) {
            let mut other = rows.clone();
            other.rotate_left(order.index(rows.len()));
            other.reverse();
            other.extend(rows.clone());
            let (one, other) = (joined(&rows), joined(&other));
            // A text that only an older row has stays, whichever comes first; so the texts of the latest that has one are
            // compared where the latest has some.
            let latest = rows.iter().map(|row| row.updated).max().unwrap();
            let told = rows.iter().any(|row| row.updated == latest && !row.texts[0].is_empty());
            if told {
                prop_assert_eq!(&one.texts, &other.texts);
            }
            prop_assert_eq!(SessionRow { texts: other.texts.clone(), ..one }, other);
        }
    }

    #[test]
    fn a_box_has_its_address_behind_its_names() {
        for (named, address) in [
            ("lns|box 1|192.0.2.1", "192.0.2.1"),
            ("a|b||c|2001:db8::1", "2001:db8::1"),
            ("lns||", ""),
            ("", ""),
        ] {
            assert_eq!(address_of(named), address, "{named}");
        }
    }
}
