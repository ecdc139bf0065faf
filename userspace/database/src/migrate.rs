//! A schema, made and brought up to date: plain SQL, numbered, each step in a transaction of its own.

use sqlx::AssertSqlSafe;

use crate::dialect;
use crate::engine::{Engine, Flavour, Value, Work};
use crate::error::DatabaseError;

/// The tables of one area, such as RADIUS; several areas may lie in one database.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// The table that remembers the version, such as `radius_schema`.
    pub table: &'static str,
    /// All steps; the version is their number. A step that was released is never changed again.
    pub steps: &'static [Step],
}

/// One step. All texts are plain SQL.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// What it brings.
    pub name: &'static str,
    /// Tables in the words of both engines: BIGINT, TEXT and BYTEA, and each ends in `) /* strict */;`.
    pub tables: &'static str,
    /// What else SQLite needs, in its own words, such as triggers.
    pub sqlite: &'static str,
    /// The same for PostgreSQL.
    pub postgres: &'static str,
}

/// Brings a schema up to date. Servers that come at the same time wait for each other.
///
/// # Errors
///
/// [`DatabaseError`]; [`DatabaseError::Newer`] if a newer program was here.
pub async fn migrate(engine: &Engine, schema: &Schema) -> Result<(), DatabaseError> {
    let Schema { table, steps } = *schema;
    let known = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    loop {
        let mut work = engine.write().await?;
        dialect::alone(&mut work).await?;
        work.run(format!(
            "CREATE TABLE IF NOT EXISTS {table} (version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL)"
        ))
        .await?;
        let found = version(&mut work, table).await?;
        if found > known {
            return Err(DatabaseError::Newer { found, known });
        }
        let Some(step) = usize::try_from(found).ok().and_then(|found| steps.get(found)) else {
            return work.commit().await;
        };
        let flavour = engine.flavour();
        work.run(flavour.tables(step.tables)).await?;
        let own = match flavour {
            Flavour::Sqlite => step.sqlite,
            Flavour::Postgres => step.postgres,
        };
        work.run(own.to_owned()).await?;
        let row = vec![Value::from(found + 1), Value::from(step.name)];
        let sql = format!("INSERT INTO {table} (version, name) VALUES ($1, $2)");
        work.execute(AssertSqlSafe(sql), row).await?;
        work.commit().await?;
    }
}

/// Whether a schema that was brought up to date is still one that this program knows.
///
/// # Errors
///
/// [`DatabaseError::Newer`] if a newer program was here since; others as of any statement.
pub async fn check(engine: &Engine, schema: &Schema) -> Result<(), DatabaseError> {
    let known = i64::try_from(schema.steps.len()).unwrap_or(i64::MAX);
    let mut work = engine.read().await?;
    let found = version(&mut work, schema.table).await?;
    if found > known { Err(DatabaseError::Newer { found, known }) } else { Ok(()) }
}

async fn version(work: &mut Work, table: &str) -> Result<i64, DatabaseError> {
    let sql = format!("SELECT CAST(coalesce(max(version), 0) AS BIGINT) FROM {table}");
    work.number(AssertSqlSafe(sql), Vec::new()).await
}
