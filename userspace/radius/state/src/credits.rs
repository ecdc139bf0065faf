//! Credits of time and octets: what sessions use is taken off them where it is written down, exactly once.
//!
//! A session's row remembers by how much the last writing made its totals grow. That writing holds the row until it commits,
//! and takes the growth off the subscriber's credit in the same transaction. So a record that comes again, or by another
//! server as well, makes nothing grow and takes nothing off.
//!
//! In memory the credit is followed like everything of a subscriber. What his open sessions have used since is not off it
//! yet: [`Charged`] tells up to where it is, read in the same snapshot as the credit.

use std::collections::BTreeMap;

use muralla_database::{DatabaseError, Flavour, Row, Value, Work};
use muralla_radius_accounting::SessionId;
use sqlx::AssertSqlSafe;

use crate::{State, StateError};

/// Holds of subscribers who have a credit.
pub(crate) const CREDITED: &str = "(credit_seconds IS NOT NULL OR credit_bytes IS NOT NULL)";

/// What of an open session is off its subscriber's credit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Charged {
    /// The subscriber.
    pub user: String,
    /// The session.
    pub id: SessionId,
    /// Session time in seconds.
    pub seconds: u64,
    /// Octets in both directions together.
    pub octets: u64,
    /// When its last record was made, in seconds since 1970.
    pub updated: i64,
}

/// What is left of a subscriber's credits; none of what is not limited.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Credits {
    /// Seconds.
    pub seconds: Option<i64>,
    /// Octets.
    pub bytes: Option<i64>,
}

impl State {
    /// Changes what is left of a subscriber's credits by that much, never to less than nothing; gives what is left then, or
    /// nothing if there is no such subscriber.
    ///
    /// # Errors
    ///
    /// If he has no credit of what is to be changed (then he may use it without limit), or the database is away.
    pub async fn add_credit(
        &self,
        name: &str,
        seconds: i64,
        bytes: i64,
    ) -> Result<Option<Credits>, StateError> {
        const READ: &str =
            "SELECT credit_seconds, credit_bytes FROM radius_subscriber WHERE name = $1";
        self.watched(async {
            let mut work = self.inner.engine.write().await?;
            let read = format!("{READ}{}", work.flavour().for_update());
            let Some(row) = work.row(AssertSqlSafe(read), vec![name.into()]).await? else {
                return Ok(None);
            };
            let mut left = Credits { seconds: row.int_or_none(0)?, bytes: row.int_or_none(1)? };
            for (place, more, what) in
                [(&mut left.seconds, seconds, "time"), (&mut left.bytes, bytes, "octets")]
            {
                match place {
                    _ if more == 0 => {}
                    Some(left) => *left = left.saturating_add(more).max(0),
                    None => {
                        let reason = format!(
                            "it has no credit of {what}, and may use any amount: set one first"
                        );
                        return Err(StateError::invalid(format!("subscriber {name}"), reason));
                    }
                }
            }
            work.execute(
                "UPDATE radius_subscriber SET credit_seconds = $2, credit_bytes = $3 WHERE name = $1",
                vec![name.into(), left.seconds.into(), left.bytes.into()],
            )
            .await?;
            work.commit().await?;
            Ok(Some(left))
        })
        .await
    }

    /// Up to where the open sessions of all who have a credit are off it.
    ///
    /// # Errors
    ///
    /// If the database is away.
    pub async fn charged_sessions(&self) -> Result<Vec<Charged>, StateError> {
        self.watched(async {
            let mut work = self.inner.engine.read().await?;
            let name = spelling(self.inner.options.fold_names, work.flavour());
            let sql = format!(
                "{CHARGED} WHERE state = 0 AND user_name IN (SELECT {name} FROM radius_subscriber WHERE {CREDITED})"
            );
            let mut all = Vec::new();
            work.each_of_many(AssertSqlSafe(sql), Vec::new(), |row| {
                all.push(charged_of(&row)?);
                Ok(())
            })
            .await?;
            Ok(all)
        })
        .await
    }
}

const CHARGED: &str =
    "SELECT user_name, id, session_time, octets_in + octets_out, updated FROM radius_session";

/// Up to where the open sessions of these are off their credits.
pub(crate) async fn charged(
    work: &mut Work,
    users: &[String],
) -> Result<Vec<Charged>, DatabaseError> {
    let names: Vec<Value> = users.iter().map(|user| user.as_str().into()).collect();
    let mut all = Vec::new();
    let sql = format!("{CHARGED} WHERE state = 0 AND user_name IN ({{}})");
    work.each_in(&sql, &[], &names, |row| {
        all.push(charged_of(&row)?);
        Ok(())
    })
    .await?;
    Ok(all)
}

fn charged_of(row: &Row) -> Result<Charged, DatabaseError> {
    let id = row.bytes(1)?.try_into();
    Ok(Charged {
        user: row.text(0)?,
        id: SessionId::from_bytes(
            id.map_err(|_| DatabaseError::Row("the id of a session has not 16 bytes".into()))?,
        ),
        seconds: row.int(2)?.max(0).cast_unsigned(),
        octets: row.int(3)?.max(0).cast_unsigned(),
        updated: row.int(4)?,
    })
}

/// Takes by how much sessions have just grown off their subscribers' credits. The sessions' rows are this transaction's.
pub(crate) async fn charge(
    work: &mut Work,
    sessions: &[Value],
    fold: bool,
) -> Result<(), DatabaseError> {
    // In order, so that two servers which charge the same ones never wait for each other in a circle.
    let mut used: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    work.each_in(
        "SELECT user_name, grown_time, grown_octets FROM radius_session WHERE (grown_time > 0 OR grown_octets > 0) AND id IN ({})",
        &[],
        sessions,
        |row| {
            let (seconds, octets) = used.entry(row.text(0)?).or_default();
            *seconds = seconds.saturating_add(row.int(1)?);
            *octets = octets.saturating_add(row.int(2)?);
            Ok(())
        },
    )
    .await?;
    let users: Vec<Value> = used.keys().map(|user| user.as_str().into()).collect();
    let name = spelling(fold, work.flavour());
    let sql = format!(
        "SELECT name, {name} FROM radius_subscriber WHERE {name} IN ({{}}) AND {CREDITED} AND (credit_seconds > 0 OR credit_bytes > 0)"
    );
    let mut limited: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    work.each_in(&sql, &[], &users, |row| {
        if let Some(used) = used.get(&row.text(1)?) {
            limited.insert(row.text(0)?, *used);
        }
        Ok(())
    })
    .await?;
    for (name, (seconds, octets)) in limited {
        work.execute(
            "UPDATE radius_subscriber SET credit_seconds = CASE WHEN credit_seconds > $2 THEN credit_seconds - $2 WHEN credit_seconds > 0 THEN 0 ELSE credit_seconds END, credit_bytes = CASE WHEN credit_bytes > $3 THEN credit_bytes - $3 WHEN credit_bytes > 0 THEN 0 ELSE credit_bytes END WHERE name = $1",
            vec![name.into(), seconds.into(), octets.into()],
        )
        .await?;
    }
    Ok(())
}

/// A subscriber's name as his sessions have it.
pub(crate) fn spelling(fold: bool, flavour: Flavour) -> &'static str {
    match (fold, flavour) {
        (false, _) => "name",
        (true, Flavour::Sqlite) => "lower(name)",
        (true, Flavour::Postgres) => "lower(name COLLATE \"C\")",
    }
}
