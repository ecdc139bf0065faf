//! Sums of usage for billing: by subscriber, NAS and telco, over days.

use muralla_database::{DatabaseError, Row, Value};
use muralla_radius_accounting::Day;
use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;

use crate::{State, StateError};

/// By what usage is summed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SumBy {
    /// The subscriber.
    User,
    /// The NAS.
    Nas,
    /// The telco.
    Telco,
}

impl SumBy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::User, Self::Nas, Self::Telco];

    pub(crate) const fn column(self) -> &'static str {
        match self {
            Self::User => "user_name",
            Self::Nas => "nas",
            Self::Telco => "telco",
        }
    }
}

/// What is summed.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UsageFilter {
    /// By what.
    pub by: SumBy,
    /// Whether each day has a sum of its own.
    #[serde(default)]
    pub daily: bool,
    /// The first day, as a number of days since 1970.
    pub from: i32,
    /// The last day.
    pub to: i32,
    /// Of one name alone.
    #[serde(default)]
    pub name: Option<String>,
}

/// A sum.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct UsageSum {
    /// Of whom.
    pub name: String,
    /// On which day, `2026-11-29`; none if it is of all of them.
    pub day: Option<String>,
    /// Sessions that were there on the days.
    pub sessions: i64,
    /// Session time in seconds.
    pub session_time: i64,
    /// Octets that the users sent.
    pub octets_in: i64,
    /// Octets that the users received.
    pub octets_out: i64,
}

impl State {
    /// Sums of usage, in the order of names and days.
    ///
    /// # Errors
    ///
    /// If the database is away.
    pub async fn usage(&self, filter: &UsageFilter) -> Result<Vec<UsageSum>, StateError> {
        let (sql, values) = question(filter);
        let daily = filter.daily;
        self.watched(async {
            let mut work = self.inner.engine.read().await?;
            let mut sums = Vec::new();
            work.each_of_many(AssertSqlSafe(sql), values, |row| {
                sums.push(sum_of(&row, daily)?);
                Ok(())
            })
            .await?;
            Ok(sums)
        })
        .await
    }
}

/// The question, its columns being name, day, sessions, time, octets in and out.
pub(crate) fn question(filter: &UsageFilter) -> (String, Vec<Value>) {
    let column = filter.by.column();
    let mut values = vec![Value::from(i64::from(filter.from)), i64::from(filter.to).into()];
    // Only what the sessions of one name had is looked at, if one is asked for.
    let of_name = match &filter.name {
        None => String::new(),
        Some(name) => {
            values.push(name.as_str().into());
            format!(" AND session IN (SELECT id FROM radius_session WHERE {column} = $3)")
        }
    };
    let (day, group) = match filter.daily {
        true => ("used.day", ", used.day"),
        false => ("CAST(0 AS BIGINT)", ""),
    };
    // What a session used on a day is what its total exceeds the highest of the days before by.
    let more = |column: &str| {
        format!("u.{column} - coalesce(max(u.{column}) OVER before_it, 0) AS {column}")
    };
    let sum = |column: &str| {
        format!("CAST(sum(CASE WHEN used.{column} > 0 THEN used.{column} ELSE 0 END) AS BIGINT)")
    };
    let sql = format!(
        "WITH used AS (SELECT u.session, u.day, {}, {}, {} FROM radius_usage u WHERE u.day <= $2 AND u.session IN (SELECT session FROM radius_usage WHERE day >= $1 AND day <= $2{of_name}) WINDOW before_it AS (PARTITION BY u.session ORDER BY u.day ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) SELECT s.{column}, {day}, count(DISTINCT used.session), {}, {}, {} FROM used JOIN radius_session s ON s.id = used.session WHERE used.day >= $1 GROUP BY s.{column}{group} ORDER BY s.{column}{group}",
        more("session_time"),
        more("octets_in"),
        more("octets_out"),
        sum("session_time"),
        sum("octets_in"),
        sum("octets_out"),
    );
    (sql, values)
}

fn sum_of(row: &Row, daily: bool) -> Result<UsageSum, DatabaseError> {
    let day = row.int(1)?;
    Ok(UsageSum {
        name: row.text(0)?,
        day: daily.then(|| Day(i32::try_from(day).unwrap_or_default()).to_string()),
        sessions: row.int(2)?,
        session_time: row.int(3)?,
        octets_in: row.int(4)?,
        octets_out: row.int(5)?,
    })
}
