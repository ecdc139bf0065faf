//! What restarts, upgrades and crashes cost NASes, and whether a record that was acknowledged is ever missing afterwards, or
//! there twice.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use muralla_lab::load::radius::requests::{Accounting, Authentications, Method, Requests, Status};
use muralla_lab::load::radius::{Load, Options, Outcome, Pace};
use muralla_lab::role::Role;
use rustix::process::Signal;

use super::super::table::{Row, median};
use super::contender::{Contender, Setting, Standing};
use super::ground::{FEW_NASES, Ground, SECRET};
use super::load::{Ids, options, wanted};

/// Access-Requests a second, and records a second beside them.
const RATE: u32 = 2_000;
/// A NAS asks again after this.
const RETRY: Duration = Duration::from_secs(1);
/// And gives up after that.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two restarts, so that each is a new one for the NASes.
const BREAK: Duration = Duration::from_millis(1_500);
/// How long records may take from the journal to the database without any progress.
const EXPORTED: Duration = Duration::from_secs(20);
const EARLIER: u32 = 900;

type Step<'s> = &'s dyn Fn(&mut Role<'_>) -> Result<Option<Duration>>;

pub(super) fn rows(ground: &Ground, binary: &Path, quick: bool) -> Result<Vec<Row>> {
    let times = if quick { 3 } else { 20 };
    let nases = Ground::nases(FEW_NASES);
    ground.lab.queue_links()?;
    let setting = Setting { nases, users: &ground.users, number: 0, interims: true };
    let mut standing = Contender::Muralla.start(ground, Some(binary), &setting)?;
    ensure!(
        !standing.role()?.store().names().is_empty(),
        "the role has stored no descriptors: a restart would lose what waits in its sockets"
    );
    let requests: Arc<dyn Requests> =
        Arc::new(Authentications::prepare(Method::Pap, ground.subscribers, SECRET)?);
    let upgrades = Cell::new(0_usize);
    let rest: Step<'_> = &|_| {
        thread::sleep(BREAK);
        Ok(None)
    };
    let restart: Step<'_> = &|role| {
        role.end(Signal::TERM)?;
        role.begin().map(Some)
    };
    // Another build at the program's path each time, and then what the service manager does for both.
    let upgrade: Step<'_> = &|role| {
        upgrades.set(upgrades.get() + 1);
        role.install(&format!("build {}", upgrades.get()))?;
        let old = role.build()?;
        role.end(Signal::TERM)?;
        let took = role.begin()?;
        ensure!(role.build()? != old, "the build before the upgrade runs still");
        Ok(Some(took))
    };
    let crash: Step<'_> = &|role| {
        role.end(Signal::KILL)?;
        role.begin().map(Some)
    };
    let mut rows = Vec::new();
    let mut acknowledged = HashMap::new();
    for (name, step) in
        [("undisturbed", rest), ("restart", restart), ("upgrade", upgrade), ("crash", crash)]
    {
        eprintln!("continuity: {name}, {times} times");
        rows.extend(once(
            ground,
            &mut standing,
            (name, step, times),
            &requests,
            &mut acknowledged,
        )?);
    }
    rows.extend(counted(ground, &mut standing, &acknowledged)?);
    Ok(rows)
}

fn once(
    ground: &Ground,
    standing: &mut Standing<'_>,
    (name, step, times): (&str, Step<'_>, usize),
    requests: &Arc<dyn Requests>,
    acknowledged: &mut HashMap<(String, Status), u32>,
) -> Result<Vec<Row>> {
    let statuses = [Status::Start, Status::Interim, Status::Stop];
    let records =
        Arc::new(Accounting::new(&statuses, standing.nases, ground.subscribers, SECRET, EARLIER)?);
    let asked: Arc<dyn Requests> = Arc::clone(&records) as Arc<dyn Requests>;
    let loads = [Arc::clone(requests), asked].map(|requests| {
        let code = requests.code();
        let options = Options {
            patience: PATIENCE,
            retry: Some(RETRY),
            remember: true,
            ..options(ground, standing, code, Pace::Rate(RATE))
        };
        Load::start(ground.lab.customers(), requests, options).map(|load| (code, load))
    });
    let (mut away, mut starting) = (Vec::new(), Vec::new());
    for _ in 0..times {
        thread::sleep(BREAK);
        let begun = Instant::now();
        if let Some(start) = step(standing.role()?)? {
            away.push(begun.elapsed().as_secs_f64() * 1e3);
            starting.push(start.as_secs_f64() * 1e3);
        }
    }
    thread::sleep(BREAK);
    let mut rows = Vec::new();
    for (what, load) in ["auth", "acct"].into_iter().zip(loads) {
        let (code, load) = load?;
        let outcome = load.stop()?;
        if what == "acct" {
            for &number in &outcome.answered {
                let record = records.record(number).context("an answer to nothing")?;
                acknowledged.insert(record, 0);
            }
        }
        rows.extend(told(&|row| format!("continuity.{name}.{what}.{row}"), code, &outcome));
    }
    if !away.is_empty() {
        rows.push(Row::plain(format!("continuity.{name}.median"), median(&away), "ms"));
        rows.push(Row::plain(format!("continuity.{name}.start"), median(&starting), "ms"));
    }
    Ok(rows)
}

fn told(id: Ids<'_>, code: u8, outcome: &Outcome) -> Vec<Row> {
    // A NAS that isn't let in is as badly off as one without an answer.
    let bad = outcome.lost + outcome.wrong + outcome.answers() - outcome.answers_with(wanted(code));
    let budgeted = |what: &str, value: u64, most: u64, unit: &str| Row {
        budget: Some(most as f64),
        within: Some(value <= most),
        ..Row::plain(id(what), value as f64, unit)
    };
    let repetitions = u64::from(outcome.most_sendings.saturating_sub(1));
    vec![
        Row::plain(id("sent"), outcome.sent as f64, "requests"),
        budgeted("lost", bad, 0, "requests"),
        Row::plain(id("repeated"), outcome.repeated as f64, "packets"),
        budgeted("most_repeated", repetitions, 1, "repetitions of one"),
        Row::plain(id("p99"), outcome.quantile(0.99), "ms"),
        Row::plain(id("max"), outcome.latencies.max() as f64 / 1e3, "ms"),
    ]
}

/// Counts in the export what was acknowledged, when it has all arrived or nothing more arrives.
fn counted(
    ground: &Ground,
    standing: &mut Standing<'_>,
    acknowledged: &HashMap<(String, Status), u32>,
) -> Result<Vec<Row>> {
    eprintln!("continuity: looking for {} records in the export", acknowledged.len());
    let file = ground.disk.folder.join("exported.csv");
    let mut progress = (0, Instant::now());
    let counts = loop {
        let exported = exported(standing.role()?, &file)?;
        let mut counts = acknowledged.clone();
        for record in exported {
            if let Some(count) = counts.get_mut(&record) {
                *count += 1;
            }
        }
        let there = counts.values().filter(|count| **count > 0).count();
        if there > progress.0 {
            progress = (there, Instant::now());
        }
        if there == counts.len() || progress.1.elapsed() > EXPORTED {
            break counts;
        }
        thread::sleep(Duration::from_secs(1));
    };
    let missing = counts.values().filter(|count| **count == 0).count();
    let doubled = counts.values().filter(|count| **count > 1).count();
    let none = |what: &str, value: usize| Row {
        budget: Some(0.0),
        within: Some(value == 0),
        ..Row::plain(format!("continuity.records.{what}"), value as f64, "records")
    };
    Ok(vec![
        Row::plain("continuity.records.acknowledged", acknowledged.len() as f64, "records"),
        none("missing", missing),
        none("doubled", doubled),
    ])
}

/// Session and status of every record that the role exports.
fn exported(role: &Role<'_>, file: &Path) -> Result<Vec<(String, Status)>> {
    let output = file.to_string_lossy();
    role.command(&[
        "radius",
        "export",
        "--what",
        "records",
        "--from",
        "2020-01-01",
        "--to",
        "2100-01-01",
        "--format",
        "csv",
        "-o",
        &output,
    ])?;
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    records(&text)
}

/// Names that the export may have for the two columns that are read here.
const SESSION: [&str; 2] = ["acct_session_id", "session"];
const STATUS: [&str; 2] = ["status", "acct_status_type"];

fn records(csv: &str) -> Result<Vec<(String, Status)>> {
    let mut lines = csv.lines();
    let header: Vec<&str> =
        lines.next().context("an export without a header")?.split(',').collect();
    let column = |names: [&str; 2]| {
        let found = names.iter().find_map(|name| header.iter().position(|column| column == name));
        found.with_context(|| format!("no column {names:?} in {header:?}"))
    };
    let (session, status) = (column(SESSION)?, column(STATUS)?);
    let mut records = Vec::new();
    for line in lines {
        let fields = fields(line);
        let (Some(session), Some(status)) = (fields.get(session), fields.get(status)) else {
            bail!("a line without all columns: {line}");
        };
        let status = match status.to_ascii_lowercase().as_str() {
            "start" | "1" => Status::Start,
            "stop" | "2" => Status::Stop,
            "interim" | "interim-update" | "interim_update" | "3" => Status::Interim,
            _ => continue,
        };
        records.push((session.clone(), status));
    }
    Ok(records)
}

/// Fields of a line (RFC 4180), none of which goes on in the next.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => {
                if let Some(field) = fields.last_mut() {
                    field.push(character);
                }
            }
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_by_the_names_of_columns() {
        let csv = "time,acct_session_id,user_name,status\n\
                   1,0a-1,\"a, \"\"b\"\"\",start\n2,0a-1,c,Interim-Update\n3,0a-1,c,stop\n4,,c,on\n";
        let expected = [Status::Start, Status::Interim, Status::Stop]
            .map(|status| ("0a-1".to_owned(), status));
        assert_eq!(records(csv).unwrap(), expected);
        assert!(records("time,status\n").is_err(), "no column for the session");
        assert!(records("").is_err());
        assert_eq!(fields("a,,\"b,c\""), ["a", "", "b,c"]);
    }
}
