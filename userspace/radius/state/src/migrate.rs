//! The schema, made and brought up to date: plain SQL, numbered, each step in a transaction of its own.

use crate::StateError;
use crate::dialect;
use crate::engine::{Engine, Flavour, Value};

/// One step. Both texts are in plain SQL; the first in the words of both engines.
struct Step {
    name: &'static str,
    tables: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

/// All steps; the version is their number. A step that was released is never changed again.
const STEPS: &[Step] = &[Step {
    name: "tables, and a log of their changes",
    tables: include_str!("../migrations/0001_tables.sql"),
    sqlite: include_str!("../migrations/0001_changes.sqlite.sql"),
    postgres: include_str!("../migrations/0001_changes.postgres.sql"),
}];

/// Brings the schema up to date. Servers that come at the same time wait for each other.
pub(crate) async fn migrate(engine: &Engine) -> Result<(), StateError> {
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    loop {
        let mut work = engine.write().await?;
        dialect::alone(&mut work).await?;
        work.run(
            "CREATE TABLE IF NOT EXISTS radius_schema (version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL)".into(),
        )
        .await?;
        let found = work
            .number(
                "SELECT CAST(coalesce(max(version), 0) AS BIGINT) FROM radius_schema",
                Vec::new(),
            )
            .await?;
        if found > known {
            return Err(StateError::Newer { found, known });
        }
        let Some(step) = usize::try_from(found).ok().and_then(|found| STEPS.get(found)) else {
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
        work.execute("INSERT INTO radius_schema (version, name) VALUES ($1, $2)", row).await?;
        work.commit().await?;
    }
}
