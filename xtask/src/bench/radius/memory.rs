//! Memory for subscribers and for sessions: how much a server grows by as many. What is in PostgreSQL is told by its size
//! there.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use muralla_lab::frames::radius::ACCOUNTING_REQUEST;
use muralla_lab::load::radius::requests::{Accounting, Status};
use muralla_lab::load::radius::{Load, Pace};
use muralla_lab::postgres::Postgres;

use super::super::table::Row;
use super::contender::{Contender, Setting, Standing};
use super::ground::{FEW_NASES, Ground, SECRET};
use super::load::options;

/// Sessions of a server that keeps them in memory, and of one that has them in PostgreSQL.
const SESSIONS: u64 = 1_000_000;
const FEW_SESSIONS: u64 = 20_000;
/// Records under way at once.
const WINDOW: u32 = 200;
/// Until a server has done what it does after an answer.
const SETTLED: Duration = Duration::from_secs(5);

/// A byte for each is a megabyte for a million.
const UNIT: &str = "MB/million";
const UNIT_ON_DISK: &str = "MB/million (on disk)";

pub(super) fn rows(ground: &Ground, binary: Option<&Path>, quick: bool) -> Result<Vec<Row>> {
    let nases = Ground::nases(FEW_NASES);
    let mut rows: Vec<Row> = Vec::new();
    let mut tell = |what: &str, contender: Contender, value: f64, unit: &str| {
        let id = |contender: Contender| format!("memory.{what}.{}", contender.name());
        let beside = rows.iter().find(|row| row.id == id(Contender::Files)).cloned();
        let beside = beside.filter(|row| row.unit == unit);
        rows.push(Row {
            against: beside.as_ref().map(|row| row.id.clone()),
            ratio: beside.map(|row| value / row.value),
            ..Row::plain(id(contender), value, unit)
        });
    };
    let count = f64::from(ground.subscribers.count - 1);
    for contender in Contender::those(&[Contender::Files, Contender::Muralla], binary) {
        eprintln!("memory: subscribers of {}", contender.name());
        let with = |users: &Path| -> Result<u64> {
            let setting = Setting { nases, users, number: 0, interims: false };
            let standing = contender.start(ground, binary, &setting)?;
            thread::sleep(SETTLED);
            standing.memory()
        };
        let (few, all) = (with(&ground.one_user)?, with(&ground.users)?);
        tell("subscribers", contender, all.saturating_sub(few) as f64 / count, UNIT);
    }
    let postgres = ground.postgres()?;
    let size = size(postgres, &["radcheck", "radreply"])? as f64;
    tell("subscribers", Contender::Sql, size / (count + 1.0), UNIT_ON_DISK);

    for contender in Contender::those(&[Contender::Muralla, Contender::Sql], binary) {
        eprintln!("memory: sessions of {}", contender.name());
        let setting = Setting { nases, users: &ground.one_user, number: 0, interims: false };
        let standing = contender.start(ground, binary, &setting)?;
        let (most, unit) = match contender {
            Contender::Sql => (FEW_SESSIONS, UNIT_ON_DISK),
            _ => (SESSIONS, UNIT),
        };
        let most = if quick { most / 10 } else { most };
        let used = |standing: &Standing<'_>| match standing.postgres {
            Some(postgres) => self::size(postgres, &["radacct"]),
            None => standing.memory(),
        };
        // What every process needs once is there by then.
        sessions(ground, &standing, 1_000, 7_200)?;
        let before = used(&standing)?;
        let answered = sessions(ground, &standing, most, 900)?;
        thread::sleep(SETTLED);
        let grown = used(&standing)?.saturating_sub(before) as f64;
        tell("sessions", contender, grown / answered as f64, unit);
    }
    Ok(rows)
}

/// Opens so many sessions, and says how many were acknowledged.
fn sessions(ground: &Ground, standing: &Standing<'_>, most: u64, earlier: u32) -> Result<u64> {
    let begun = [Status::Start];
    let records = Accounting::new(&begun, standing.nases, ground.subscribers, SECRET, earlier)?;
    let options = options(ground, standing, ACCOUNTING_REQUEST, Pace::Window(WINDOW));
    let outcome = Load::once(ground.lab.customers(), Arc::new(records.most(most)), options)?;
    let answered = outcome.answers();
    ensure!(
        answered * 100 >= most * 99,
        "{} acknowledged {answered} of {most} sessions",
        standing.name()
    );
    Ok(answered)
}

/// Bytes of tables on disk, with their indexes.
fn size(postgres: &Postgres, tables: &[&str]) -> Result<u64> {
    let sum: Vec<String> =
        tables.iter().map(|table| format!("pg_total_relation_size('{table}')")).collect();
    let text = postgres.sql(&format!("SELECT {}", sum.join(" + ")))?;
    text.parse().with_context(|| format!("a size of {text:?}"))
}
