//! Accounting into the database: a batch in one transaction, each as often as one likes.
//!
//! Everything here only grows: a record that is there stays; a session's numbers are the greatest of what all records tell; a
//! day's usage is kept as the total that its session had reached; a credit is charged by how much a session's row has grown. So
//! the same batch written twice, batches that overlap or
//! come out of order, and two servers that each had a part of a session, all lead to the same sums.

mod leases;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::time::{Duration, Instant};

use muralla_database::{DatabaseError, Value, Work, dialect};
use muralla_radius_accounting::usage::{Gain, Sum};
use muralla_radius_accounting::{Day, ExportRow};
use muralla_radius_dictionary::Zone;
use sqlx::AssertSqlSafe;

use self::leases::write_leases;
use crate::changes::from_hex;
use crate::credits::charge;
use crate::sessions::{
    SESSION, SessionEntry, SessionRow, box_of, join_all, octets, port_of_row, session_of, settle,
};
use crate::state::{since_boot, unix_now};
use crate::{State, StateError};

/// How often it is written down that there is nothing to export.
const CAUGHT_UP: Duration = Duration::from_secs(5);

/// What was written of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exported {
    /// Rows that are in the database now.
    pub written: usize,
    /// Rows that the database refuses: they will never be written, and are a matter for people.
    pub poison: Vec<Poison>,
    /// Sessions that are open by these rows, and have ended as far as the database knows: another server was told that, and who
    /// wrote the rows may never hear of it otherwise.
    pub ended: Vec<SessionEntry>,
}

/// A row that can't be written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Poison {
    /// Which of the batch.
    pub index: usize,
    /// Why.
    pub reason: String,
}

impl State {
    /// Writes a batch: records, sessions, usage, and leases of addresses, in one transaction. If the database refuses the
    /// data, the rows that are the cause are found by halves, and the others are written. That a row is the cause is believed
    /// only if the database takes another one that is plain: else it is the database that is not fit.
    ///
    /// # Errors
    ///
    /// If the database is away, or can't do it as it is. Then nothing, or a part of the batch, is written: write it again.
    pub async fn export(&self, rows: &[ExportRow]) -> Result<Exported, StateError> {
        let (mut exported, mut is_fit) = (Exported::default(), false);
        let mut left: Vec<Range<usize>> = std::iter::once(0..rows.len()).collect();
        while let Some(range) = left.pop() {
            let Some(part) = rows.get(range.clone()).filter(|part| !part.is_empty()) else {
                continue;
            };
            match self.watched(self.write_batch(part)).await {
                Ok(ended) => {
                    exported.written += part.len();
                    exported.ended.extend(ended);
                }
                Err(error) if !error.is_refusal() => return Err(error),
                Err(error) if part.len() == 1 => {
                    if !is_fit && let Some(row) = part.first() {
                        let another = [plain(row)];
                        is_fit = self.watched(self.try_batch(&another)).await.is_ok();
                    }
                    if !is_fit {
                        return Err(error);
                    }
                    exported.poison.push(Poison { index: range.start, reason: error.to_string() });
                }
                Err(_) => {
                    let middle = range.start + part.len() / 2;
                    left.push(middle..range.end);
                    left.push(range.start..middle);
                }
            }
        }
        Ok(exported)
    }

    /// Notes that everything which this server was told until now is in the database. To be called often while there is
    /// nothing to export (it is written every few seconds): an address whose lease has ended is given to others only when
    /// every server has said so, because its renewal may lie in a journal.
    ///
    /// # Errors
    ///
    /// If the database is away.
    pub async fn caught_up(&self) -> Result<(), StateError> {
        let noted = *self.inner.caught_up.lock();
        if noted.is_some_and(|noted| noted.elapsed() < CAUGHT_UP) {
            return Ok(());
        }
        let begin = Instant::now();
        *self.inner.caught_up.lock() = Some(begin);
        self.watched(async {
            let mut work = self.inner.engine.write().await?;
            // What came while the database was waited for is not in it.
            let age = i64::try_from(begin.elapsed().as_secs()).unwrap_or(i64::MAX / 4);
            note_exported(&mut work, self.server(), age).await?;
            Ok(work.commit().await?)
        })
        .await
    }

    async fn write_batch(&self, rows: &[ExportRow]) -> Result<Vec<SessionEntry>, StateError> {
        let mut work = self.inner.engine.write().await?;
        let ended = self.write_rows(&mut work, rows).await?;
        work.commit().await?;
        Ok(ended)
    }

    /// Finds out whether a batch could be written, and leaves nothing of it.
    async fn try_batch(&self, rows: &[ExportRow]) -> Result<(), StateError> {
        let mut work = self.inner.engine.write().await?;
        self.write_rows(&mut work, rows).await.map(drop)
    }

    /// Gives the sessions that are open by these rows, and have ended.
    async fn write_rows(
        &self,
        work: &mut Work,
        rows: &[ExportRow],
    ) -> Result<Vec<SessionEntry>, StateError> {
        self.write_records(work, rows).await?;
        let sessions = gathered(rows);
        let keys: Vec<Value> = sessions.keys().map(|id| Value::from(&id[..])).collect();
        // Before the sessions themselves, because it goes by what was known of them.
        self.write_usage(work, rows, &keys).await?;
        let all: Vec<SessionRow> = sessions.into_values().collect();
        join_all(work, &all, self.server()).await?;
        self.write_boots(work, rows, &keys).await?;
        settle(work, "id IN ({})", &keys, self.server()).await?;
        charge(work, &keys, self.inner.options.fold_names).await?;
        write_leases(self, work, &keys).await?;
        // What was closed without a record says nothing of how far the journal is written; nor does what came before the machine's
        // boot, of which a clock alone tells that may have been set since.
        let of_journal = rows.iter().filter(|row| row.sequence > 0);
        if let Some(latest) = of_journal.filter_map(|row| row.came).max() {
            let age = since_boot().saturating_sub(latest).as_secs();
            note_exported(work, self.server(), i64::try_from(age).unwrap_or(i64::MAX)).await?;
        }
        let mut ended = Vec::new();
        let sql = format!("{SESSION} WHERE state <> 0 AND id IN ({{}})");
        work.each_in(&sql, &[], &open_by(rows), |row| {
            ended.push(session_of(&row)?);
            Ok(())
        })
        .await?;
        Ok(ended)
    }

    async fn write_records(&self, work: &mut Work, rows: &[ExportRow]) -> Result<(), StateError> {
        const COLUMNS: [&str; 27] = [
            "event",
            "session",
            "status",
            "at",
            "received",
            "server",
            "user_name",
            "login",
            "nas",
            "telco",
            "box",
            "acct_session_id",
            "session_time",
            "octets_in",
            "octets_out",
            "packets_in",
            "packets_out",
            "cause",
            "address",
            "prefix6",
            "delegated6",
            "address6",
            "calling",
            "called",
            "port",
            "class",
            "doubts",
        ];
        let keep = self.inner.options.keep_interims;
        let mut records: BTreeMap<Vec<u8>, Vec<Value>> = BTreeMap::new();
        for row in rows.iter().filter(|row| keep || row.status != "interim") {
            let Some(event) = from_hex(&row.event_id).filter(|event| !event.is_empty()) else {
                return Err(StateError::invalid("a record", "its event has no name"));
            };
            let session = row.session_id.as_deref().and_then(from_hex);
            let text = |text: &Option<String>| Value::from(text.clone().unwrap_or_default());
            let values = vec![
                Value::from(&event[..]),
                session.into(),
                row.status.into(),
                row.event_at.into(),
                (row.received_at / 1_000_000).into(),
                self.server().into(),
                row.subscriber.as_str().into(),
                row.user_name.as_str().into(),
                row.nas.as_str().into(),
                text(&row.telco),
                box_of(row).into(),
                row.acct_session_id.as_str().into(),
                octets(row.seconds_then).into(),
                octets(row.octets_in_then).into(),
                octets(row.octets_out_then).into(),
                octets(row.packets_in).into(),
                octets(row.packets_out).into(),
                row.cause.unwrap_or(0).into(),
                text(&row.framed_address),
                text(&row.framed_prefix),
                text(&row.delegated_prefix),
                text(&row.framed_address6),
                text(&row.calling_station),
                text(&row.called_station),
                port_of_row(row).unwrap_or_default().into(),
                text(&row.class),
                row.doubts.as_str().into(),
            ];
            records.entry(event).or_insert(values);
        }
        let head = format!("INSERT INTO radius_record ({})", COLUMNS.join(", "));
        let records = records.into_values().collect();
        Ok(work.bulk(&head, "ON CONFLICT (event) DO NOTHING", COLUMNS.len(), records).await?)
    }

    /// Writes the totals that sessions had reached at the end of each day. What was added since the last record that is
    /// known is spread over the days between.
    async fn write_usage(
        &self,
        work: &mut Work,
        rows: &[ExportRow],
        keys: &[Value],
    ) -> Result<(), DatabaseError> {
        const TABLE: &str = "radius_usage";
        let mut known: BTreeMap<Vec<u8>, Reached> = BTreeMap::new();
        work.each_in(
            "SELECT id, updated, session_time, octets_in, octets_out FROM radius_session WHERE id IN ({})",
            &[],
            keys,
            |row| {
                let reached = Reached {
                    at: row.int(1)?,
                    totals: [row.int(2)?, row.int(3)?, row.int(4)?],
                };
                known.insert(row.bytes(0)?, reached);
                Ok(())
            },
        )
        .await?;
        let mut days: BTreeMap<(Vec<u8>, i32), [i64; 3]> = BTreeMap::new();
        for row in rows {
            let Some(session) = SessionRow::of(row) else { continue };
            let first = Reached { at: session.started, totals: [0; 3] };
            let reached = known.entry(session.id.to_vec()).or_insert(first);
            let totals = [session.session_time, session.octets_in, session.octets_out];
            for (day, totals) in reached.advance(session.updated, totals, &self.inner.options.zone)
            {
                let at_end = days.entry((session.id.to_vec(), day)).or_default();
                for (known, new) in at_end.iter_mut().zip(totals) {
                    *known = new.max(*known);
                }
            }
        }
        let rows = days
            .into_iter()
            .map(|((session, day), [seconds, octets_in, octets_out])| {
                vec![
                    Value::from(&session[..]),
                    i64::from(day).into(),
                    seconds.into(),
                    octets_in.into(),
                    octets_out.into(),
                ]
            })
            .collect();
        let sets = ["session_time", "octets_in", "octets_out"]
            .map(|column| dialect::greater(TABLE, column));
        let tail = format!("ON CONFLICT (session, day) DO UPDATE SET {}", sets.join(", "));
        let head = "INSERT INTO radius_usage (session, day, session_time, octets_in, octets_out)";
        work.bulk(head, &tail, 5, rows).await
    }

    /// Closes what boxes that began or ended had open, whichever server was told.
    async fn write_boots(
        &self,
        work: &mut Work,
        rows: &[ExportRow],
        keys: &[Value],
    ) -> Result<(), DatabaseError> {
        let mut boots: BTreeMap<String, i64> = BTreeMap::new();
        for row in rows {
            // In the second in which a box begins, its first session may begin as well; in the one in which it ends, none.
            let until = match row.status {
                "accounting_on" => row.event_at.saturating_sub(1),
                "accounting_off" => row.event_at,
                _ => continue,
            };
            let at = boots.entry(box_of(row)).or_insert(until);
            *at = until.max(*at);
        }
        let values =
            boots.iter().map(|(name, at)| vec![name.as_str().into(), (*at).into()]).collect();
        let tail =
            format!("ON CONFLICT (box) DO UPDATE SET {}", dialect::greater("radius_boot", "at"));
        work.bulk("INSERT INTO radius_boot (box, at)", &tail, 2, values).await?;
        for (name, at) in &boots {
            work.execute(
                "UPDATE radius_session SET presumed = $2, presumption = 2 WHERE box = $1 AND state = 0 AND updated <= $2 AND presumed < $2",
                vec![name.as_str().into(), (*at).into()],
            )
            .await?;
        }
        let names: Vec<Value> = boots.keys().map(|name| name.as_str().into()).collect();
        settle(work, "state = 0 AND box IN ({})", &names, self.server()).await?;
        // And what came late, of sessions from before.
        work.execute_in(
            "UPDATE radius_session SET presumed = (SELECT b.at FROM radius_boot b WHERE b.box = radius_session.box), presumption = 2 WHERE stopped = 0 AND updated <= (SELECT b.at FROM radius_boot b WHERE b.box = radius_session.box) AND presumed < (SELECT b.at FROM radius_boot b WHERE b.box = radius_session.box) AND id IN ({})",
            &[],
            keys,
        )
        .await?;
        Ok(())
    }
}

/// A row of nothing, for a test to fill.
#[cfg(test)]
pub(crate) fn plain_row() -> ExportRow {
    let source = "192.0.2.1:1813".parse().unwrap();
    // Acct-Status-Type Start, and an Acct-Session-Id.
    let attributes = [40, 6, 0, 0, 0, 1, 44, 3, b'1'];
    let record =
        muralla_radius_accounting::Record::of_attributes(&attributes, "lns", source, 1).unwrap();
    let settings = muralla_radius_accounting::Settings::default();
    let table = muralla_radius_accounting::Table::new(settings, [1, 2]);
    let uptime = muralla_radius_accounting::record::Uptime { boot: 1, nanos: 1 };
    let now = muralla_radius_accounting::Moment { wall: 1, uptime };
    ExportRow::of(&record, &table.apply(&record, now), 1, 120)
}

/// A row like another one, with nothing in it that a database could refuse.
fn plain(row: &ExportRow) -> ExportRow {
    const NAME: &str = "00000000000000000000000000000000";
    let now = i64::try_from(unix_now()).unwrap_or(i64::MAX);
    ExportRow {
        event_id: NAME.to_owned(),
        session_id: row.session_id.is_some().then(|| NAME.to_owned()),
        sequence: 0,
        status: row.status,
        outcome: row.outcome,
        state: row.state,
        event_at: now,
        received_at: now.saturating_mul(1_000_000),
        came: None,
        nas: String::new(),
        telco: None,
        nas_identifier: None,
        nas_address: None,
        nas_port: None,
        nas_port_id: None,
        source: None,
        user_name: String::new(),
        subscriber: String::new(),
        acct_session_id: String::new(),
        class: None,
        calling_station: None,
        called_station: None,
        // Without them no lease would be tried.
        framed_address: row.framed_address.clone(),
        framed_prefix: row.framed_prefix.clone(),
        framed_address6: None,
        delegated_prefix: row.delegated_prefix.clone(),
        started_at: Some(now),
        updated_at: Some(now),
        ended_at: row.ended_at.map(|_| now),
        session_seconds: 0,
        octets_in: 0,
        octets_out: 0,
        packets_in: 0,
        packets_out: 0,
        seconds_then: 0,
        octets_in_then: 0,
        octets_out_then: 0,
        cause: None,
        doubts: String::new(),
    }
}

/// What is known of a session's usage.
#[derive(Clone, Copy, Debug)]
struct Reached {
    at: i64,
    /// Seconds, octets in, octets out.
    totals: [i64; 3],
}

impl Reached {
    /// The totals at the end of each day between what is known and `totals` at `at`.
    fn advance(&mut self, at: i64, totals: [i64; 3], zone: &Zone) -> Vec<(i32, [i64; 3])> {
        let added: Vec<i64> =
            totals.iter().zip(self.totals).map(|(new, known)| (new - known).max(0)).collect();
        let moment = |at: i64| u32::try_from(at.max(0)).unwrap_or(u32::MAX);
        let (seconds, octets_in, octets_out) = match added.as_slice() {
            [seconds, octets_in, octets_out] if added.iter().any(|added| *added > 0) => {
                (*seconds, *octets_in, *octets_out)
            }
            _ => {
                // A session of which nothing is counted yet is a session of its day all the same.
                let day = Day::of(at, zone.ahead(at)).0;
                let first = self.totals == [0; 3];
                self.at = self.at.max(at);
                return if first { vec![(day, [0; 3])] } else { Vec::new() };
            }
        };
        let gain = Gain {
            from: moment(self.at),
            to: moment(at.max(self.at)),
            octets_in: octets_in.max(0).cast_unsigned(),
            octets_out: octets_out.max(0).cast_unsigned(),
            seconds: u32::try_from(seconds.max(0)).unwrap_or(u32::MAX),
            sessions: 0,
        };
        let mut so_far = self.totals;
        let mut days = Vec::new();
        for share in gain.by_day(|at| zone.ahead(at)) {
            let Sum { octets_in, octets_out, seconds, .. } = share.sum;
            for (total, more) in so_far.iter_mut().zip([seconds, octets_in, octets_out]) {
                *total = total.saturating_add_unsigned(more);
            }
            days.push((share.day.0, so_far));
        }
        self.at = self.at.max(at);
        for (known, new) in self.totals.iter_mut().zip(totals) {
            *known = new.max(*known);
        }
        days
    }
}

/// What the rows of a batch tell of each session.
fn gathered(rows: &[ExportRow]) -> BTreeMap<[u8; 16], SessionRow> {
    // In order, so that two servers which write the same ones never wait for each other in a circle.
    let mut sessions: BTreeMap<[u8; 16], SessionRow> = BTreeMap::new();
    for row in rows.iter().filter_map(SessionRow::of) {
        match sessions.entry(row.id) {
            Entry::Vacant(entry) => {
                entry.insert(row);
            }
            Entry::Occupied(mut entry) => entry.get_mut().join(row),
        }
    }
    sessions
}

/// The sessions of which all rows of a batch say that they are open.
fn open_by(rows: &[ExportRow]) -> Vec<Value> {
    let mut sessions: BTreeMap<Vec<u8>, bool> = BTreeMap::new();
    for row in rows {
        if let Some(id) = row.session_id.as_deref().and_then(from_hex) {
            *sessions.entry(id).or_insert(true) &= row.state == Some("open");
        }
    }
    sessions.into_iter().filter(|(_, open)| *open).map(|(id, _)| Value::from(&id[..])).collect()
}

/// Seconds by which less is claimed to be written than seems to be: records pass each other on their way into the journal, and
/// wait there until they are durable.
const MARGIN: i64 = 2;

/// Notes how old what this server has not written yet may be.
async fn note_exported(work: &mut Work, server: &str, age: i64) -> Result<(), DatabaseError> {
    let age = age.saturating_add(MARGIN);
    let now = dialect::now(work).await?;
    let greater = dialect::greater("radius_server", "exported");
    let sql = format!(
        "INSERT INTO radius_server (name, incarnation, seen, exported) VALUES ($1, 0, $2, $3) ON CONFLICT (name) DO UPDATE SET seen = excluded.seen, {greater}"
    );
    let values = vec![server.into(), now.into(), now.saturating_sub(age).max(1).into()];
    work.execute(AssertSqlSafe(sql), values).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 86_400;

    #[test]
    fn usage_is_spread_over_the_days_between() {
        let utc = Zone::fixed(0).unwrap();
        let mut reached = Reached { at: DAY * 10 - 600, totals: [0; 3] };
        let days = reached.advance(DAY * 10 + 600, [1200, 1000, 10], &utc);
        assert_eq!(days, [(9, [600, 500, 5]), (10, [1200, 1000, 10])]);
        // The same again, and what is older.
        assert_eq!(reached.advance(DAY * 10 + 600, [1200, 1000, 10], &utc), []);
        assert_eq!(reached.advance(DAY * 10, [600, 500, 5], &utc), []);
        assert_eq!(
            reached.advance(DAY * 10 + 900, [1500, 1000, 20], &utc),
            [(10, [1500, 1000, 20])]
        );
    }

    #[test]
    fn a_session_without_usage_is_one_of_its_day() {
        let mut reached = Reached { at: DAY * 10, totals: [0; 3] };
        assert_eq!(reached.advance(DAY * 10, [0; 3], &Zone::fixed(3600).unwrap()), [(10, [0; 3])]);
        assert_eq!(reached.advance(DAY * 10, [0; 3], &Zone::fixed(-3600).unwrap()), [(9, [0; 3])]);
    }

    proptest! {
        #[test]
        fn the_last_day_has_everything(
            from in 0i64..1_000_000_000, steps in proptest::collection::vec((0i64..400_000, 0i64..1 << 40), 1..20),
            offset in -43_200i32..43_200,
        ) {
            let mut reached = Reached { at: from, totals: [0; 3] };
            let (mut at, mut total, mut last) = (from, 0, [0; 3]);
            for (time, octets) in steps {
                at += time;
                total += octets;
                let zone = Zone::fixed(offset).unwrap();
                let days = reached.advance(at, [at - from, total, total], &zone);
                prop_assert!(days.is_sorted_by(|(one, _), (other, _)| one < other));
                if let Some((day, totals)) = days.last() {
                    prop_assert!((Day::of(at - 1, offset)..=Day::of(at, offset)).contains(&Day(*day)));
                    last = *totals;
                }
            }
            prop_assert_eq!(last, [at - from, total, total]);
        }
    }
}
