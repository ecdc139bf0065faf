//! The subcommands about RADIUS: here those that ask a daemon, in [`database`] those that need none.

pub(crate) mod database;
mod refusals;
pub(crate) mod renamed;
mod tail;

pub(crate) use database::{bar, hand_over};

use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use muralla_radius::report::{
    DatabaseStatus, DeadRecord, DynamicOutcome, DynamicVerdict, Session, Stage, Status, TestOutcome,
};
use serde::Serialize;

use super::{Call, code, out, show};
use crate::admin::api::{ChangeForm, CloseForm, DeadLettersForm, Settled, TestForm};
use crate::admin::client::Client;
use crate::cli::radius::{NasCommand, PasswordFile, RadiusCommand, SessionsCommand};
use crate::configuration::{duration, moment};
use crate::roles::Role;
use crate::top::{short, table};

/// Numbers up to this are written out.
const WRITTEN_OUT: u64 = 100_000;

/// Longest password that is read.
const LONGEST_PASSWORD: u64 = 1 << 10;

/// Does what needs a daemon.
pub(crate) async fn act(call: &Call, command: RadiusCommand) -> anyhow::Result<ExitCode> {
    let client = call.process_with(Role::Radius).await;
    match command {
        RadiusCommand::Status => {
            let status: Status = client.get("/v1/radius/status").await?;
            tell(call, &status, status_text)?;
            Ok(ExitCode::SUCCESS)
        }
        RadiusCommand::Sessions { command: Some(SessionsCommand::Close { sessions }), .. } => {
            close(call, client, sessions).await
        }
        RadiusCommand::Sessions { user, nas, most, .. } => {
            let mut query = format!("/v1/radius/sessions?most={most}");
            for (key, value) in [("user", user), ("nas", nas)] {
                if let Some(value) = value {
                    let _ = write!(query, "&{key}={}", escaped(&value));
                }
            }
            let sessions: Vec<Session> = client.get(&query).await?;
            tell(call, &sessions, |sessions| sessions_text(sessions))?;
            Ok(ExitCode::SUCCESS)
        }
        RadiusCommand::Disconnect { user, session } => {
            let form = ChangeForm { user, session, attributes: None };
            changed(call, client.post("/v1/radius/sessions/change", &form).await?)
        }
        RadiusCommand::Change { user, attributes, session } => {
            let form = ChangeForm { user, session, attributes: Some(attributes) };
            changed(call, client.post("/v1/radius/sessions/change", &form).await?)
        }
        RadiusCommand::Test { user, method, password, attributes } => {
            let password = read_password(&password, &format!("Password of {user}: "))?;
            let form = TestForm { user, password, method, attributes };
            let outcome: TestOutcome = client.post("/v1/radius/test", &form).await?;
            tell(call, &outcome, test_text)?;
            Ok(code(outcome.accepted == Some(true)))
        }
        RadiusCommand::Tail { user, nas, calling_station, failures, every, attributes, end } => {
            let mut path = format!(
                "/v1/radius/requests?failures={failures}&every={every}&attributes={attributes}"
            );
            for (key, value) in [("user", user), ("nas", nas), ("calling_station", calling_station)]
            {
                if let Some(value) = value {
                    let _ = write!(path, "&{key}={}", escaped(&value));
                }
            }
            tail::follow_requests(call, client, &path, end).await
        }
        RadiusCommand::Refusals { .. } => refusals::list(call, client, command).await,
        RadiusCommand::Nas(NasCommand::Unknown) => refusals::strangers(call, client).await,
        RadiusCommand::DeadLetters { retry: Some(sequences), .. } => {
            let form =
                DeadLettersForm { sequences: Some(sequences).filter(|some| !some.is_empty()) };
            let settled: Settled = client.post("/v1/radius/dead-letters/retry", &form).await?;
            tell(call, &settled, |settled| format!("{} are tried again\n", settled.records))?;
            Ok(ExitCode::SUCCESS)
        }
        RadiusCommand::DeadLetters { remove: Some(sequences), .. } => {
            let form = DeadLettersForm { sequences: Some(sequences) };
            let settled: Settled = client.post("/v1/radius/dead-letters/remove", &form).await?;
            tell(call, &settled, |settled| format!("{} are removed\n", settled.records))?;
            Ok(if settled.records > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        RadiusCommand::DeadLetters { .. } => {
            let letters: Vec<DeadRecord> = client.get("/v1/radius/dead-letters").await?;
            tell(call, &letters, |letters| dead_letters_text(letters))?;
            Ok(ExitCode::SUCCESS)
        }
        command => database::act(call, command).await,
    }
}

/// Closes sessions, as many of them as can be.
async fn close(call: &Call, client: &Client, ids: Vec<String>) -> anyhow::Result<ExitCode> {
    let (mut closed, mut good) = (Vec::new(), true);
    for session in ids {
        match client.post::<Session>("/v1/radius/sessions/close", &CloseForm { session }).await {
            Ok(session) => closed.push(session),
            Err(error) => {
                good = false;
                eprintln!("{error}");
            }
        }
    }
    tell(call, &closed, |closed| {
        closed.iter().fold(String::new(), |mut text, Session { session_id, user, nas, .. }| {
            let _ = writeln!(text, "session {session_id} of {user} at {nas} is closed");
            text
        })
    })?;
    Ok(code(good))
}

/// A value as it stands in a query (RFC 3986 section 2.1).
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

fn tell<T: Serialize>(call: &Call, value: &T, text: impl Fn(&T) -> String) -> anyhow::Result<()> {
    if call.json { show(value) } else { out(&text(value)) }
}

/// The first line of a file, of standard input, or of what a person types without seeing it.
pub(crate) fn read_password(from: &PasswordFile, prompt: &str) -> anyhow::Result<String> {
    let text = match from.password_file.as_deref() {
        Some(file) if file == Path::new("-") => first_line(io::stdin().lock())?,
        Some(file) => {
            let opened = fs::File::open(file);
            first_line(opened.with_context(|| format!("reading {}", file.display()))?)?
        }
        None => typed(prompt)?,
    };
    if text.is_empty() {
        bail!("the password is empty; write it into the first line");
    }
    Ok(text)
}

fn first_line(from: impl io::Read) -> anyhow::Result<String> {
    let mut line = String::new();
    io::BufReader::new(from.take(LONGEST_PASSWORD)).read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Reads a line from the terminal without showing it.
fn typed(prompt: &str) -> anyhow::Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

    let stdin = io::stdin();
    if !stdin.is_terminal() {
        bail!(
            "nobody is there to ask for a password; give it with --password-file FILE, or - for standard input"
        );
    }
    let before = tcgetattr(&stdin).context("looking at the terminal")?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    eprint!("{prompt}");
    tcsetattr(&stdin, OptionalActions::Flush, &silent).context("silencing the terminal")?;
    let line = first_line(stdin.lock());
    let back = tcsetattr(&stdin, OptionalActions::Flush, &before);
    eprintln!();
    back.context("putting the terminal back")?;
    line
}

/// RADIUS in a few lines.
pub(super) fn summary(status: &Status) -> String {
    let mut text = String::new();
    let state =
        if status.ready { "RADIUS" } else { "RADIUS, NOT READY: subscribers are being read;" };
    let _ = writeln!(
        text,
        "{state} on {} and {}, {} thread(s), for {}",
        status.auth.join(" "),
        status.acct.join(" "),
        status.threads,
        duration::write(Duration::from_secs(status.uptime))
    );
    let answers: Vec<String> = status
        .answers
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(answer, count)| format!("{} {}", counted(*count), answer.name()))
        .collect();
    let none = || "none yet".to_owned();
    let _ = writeln!(
        text,
        "answers    {}",
        if answers.is_empty() { none() } else { answers.join(", ") }
    );
    let _ = writeln!(
        text,
        "memory     {} subscribers, {} profiles, {} sessions ({} closed as zombies)",
        status.subscribers, status.profiles, status.sessions, status.zombies
    );
    let (engine, reach) = match &status.database {
        None => {
            let why = status.database_error.as_deref().map(|error| format!(" ({error})"));
            ("database", format!("NOT IN USE YET{}", why.unwrap_or_default()))
        }
        Some(database) => (database.engine.as_str(), reach(database)),
    };
    let _ = writeln!(text, "database   {engine} {reach}, {} records stored", status.exported);
    let journal = &status.journal;
    let lag: Vec<String> = journal
        .lag
        .iter()
        .map(|(consumer, records)| format!("{records} to go for the {consumer}"))
        .collect();
    let _ = writeln!(
        text,
        "journal    {} records durable by {} fdatasyncs, {}, {} dead letter(s)",
        journal.durable,
        journal.fsyncs,
        if lag.is_empty() { "nothing to go".to_owned() } else { lag.join(", ") },
        journal.dead_letters
    );
    if journal.health != "good" {
        let why = journal.error.as_deref().unwrap_or(&journal.health);
        let _ = writeln!(text, "           NOTHING IS ACKNOWLEDGED: {why}");
    }
    let waiting = [
        ("refusals wait for their time", status.delayed_rejects),
        ("acknowledgements wait for the journal", status.pending_acknowledgements),
        ("password checks wait for a thread", status.costly_waiting),
    ];
    for (what, count) in waiting.iter().filter(|(_, count)| *count > 0) {
        let _ = writeln!(text, "waiting    {count} {what}");
    }
    text
}

fn status_text(status: &Status) -> String {
    let mut text = String::new();
    for warning in status.troubles().iter().chain(&status.warnings) {
        let _ = writeln!(text, "! {warning}");
    }
    text.push_str(&summary(status));
    text.push('\n');
    text.push_str(&nases_text(status));
    if !status.pools.is_empty() {
        let rows: Vec<[String; 5]> = status
            .pools
            .iter()
            .map(|pool| {
                [
                    pool.name.clone(),
                    pool.size.to_string(),
                    pool.held.to_string(),
                    pool.spare.to_string(),
                    pool.exhausted.to_string(),
                ]
            })
            .collect();
        text.push('\n');
        text.push_str(&table(["pool", "size", "given here", "ready here", "found none"], &rows));
    }
    let mut reasons: Vec<_> = status.reasons.iter().filter(|row| row.count > 0).collect();
    reasons.sort_by_key(|row| std::cmp::Reverse(row.count));
    if !reasons.is_empty() {
        let rows: Vec<[String; 3]> = reasons
            .iter()
            .map(|row| [row.count.to_string(), row.stage.name().to_owned(), row.reason.clone()])
            .collect();
        text.push('\n');
        text.push_str(&table(["times", "", "why"], &rows));
        if reasons.iter().any(|row| row.stage == Stage::Unverified) {
            text.push_str(
                "What is unverified is from an unknown address, or signed with another secret: compare it at the NAS.\n",
            );
        }
    }
    text
}

/// A number as people read it.
fn counted(number: u64) -> String {
    if number < WRITTEN_OUT { number.to_string() } else { short(number as f64) }
}

fn reach(database: &DatabaseStatus) -> String {
    let Some(since) = database.away_since else { return "answers".to_owned() };
    let reason = database.last_error.as_deref().map(|error| format!(" ({error})"));
    format!("AWAY since {}{}", moment(since), reason.unwrap_or_default())
}

pub(super) fn nases_text(status: &Status) -> String {
    let rows: Vec<[String; 9]> = status
        .nases
        .iter()
        .map(|nas| {
            let ago = |seconds| format!("{} ago", duration::write(Duration::from_secs(seconds)));
            let mut remarks = Vec::new();
            if nas.message_authenticator_optional {
                remarks.push("UNPROTECTED: no Message-Authenticator needed".to_owned());
            }
            if nas.rolling {
                let old = nas.old_secret.map_or_else(|| "not seen since the start".to_owned(), ago);
                remarks.push(format!("secret is being rolled; old one: {old}"));
            }
            if let Some(most) = nas.reasons.iter().max_by_key(|row| row.count) {
                remarks.push(format!("most often {} ({})", most.reason, counted(most.count)));
            }
            let seen = nas.seen.map_or_else(|| "never".to_owned(), ago);
            [
                nas.name.clone(),
                nas.prefixes.join(" "),
                nas.telco.clone().unwrap_or_default(),
                counted(nas.accepted),
                counted(nas.rejected),
                counted(nas.acknowledged),
                counted(nas.repeated),
                seen,
                remarks.join(", "),
            ]
        })
        .collect();
    table(
        ["NAS", "from", "telco", "accepted", "refused", "accounted", "asked again", "heard", ""],
        &rows,
    )
}

fn sessions_text(sessions: &[Session]) -> String {
    if sessions.is_empty() {
        return "no open session\n".to_owned();
    }
    let rows: Vec<[String; 9]> = sessions
        .iter()
        .map(|session| {
            let time = |seconds: i64| moment(u64::try_from(seconds).unwrap_or(0));
            [
                session.user.clone(),
                session.nas.clone(),
                session.address.map(|address| address.to_string()).unwrap_or_default(),
                session.calling_station.clone().unwrap_or_default(),
                session.session_id.clone(),
                time(session.started),
                time(session.updated),
                counted(session.input_octets),
                counted(session.output_octets),
            ]
        })
        .collect();
    table(
        [
            "user",
            "NAS",
            "address",
            "from",
            "session",
            "since",
            "known until",
            "octets in",
            "octets out",
        ],
        &rows,
    )
}

fn changed(call: &Call, outcomes: Vec<DynamicOutcome>) -> anyhow::Result<ExitCode> {
    let good = outcomes.iter().all(|outcome| outcome.verdict == DynamicVerdict::Acknowledged);
    tell(call, &outcomes, |outcomes| {
        if outcomes.is_empty() {
            return "no open session of this user; `muralla radius sessions` shows all\n"
                .to_owned();
        }
        changed_text(outcomes)
    })?;
    Ok(code(good && !outcomes.is_empty()))
}

fn changed_text(outcomes: &[DynamicOutcome]) -> String {
    let rows: Vec<[String; 5]> = outcomes
        .iter()
        .map(|outcome| {
            [
                outcome.user.clone(),
                outcome.nas.clone(),
                outcome.sent_to.map(|to| to.to_string()).unwrap_or_default(),
                outcome.session_id.clone(),
                outcome.words.clone(),
            ]
        })
        .collect();
    table(["user", "NAS", "asked at", "session", "outcome"], &rows)
}

fn dead_letters_text(letters: &[DeadRecord]) -> String {
    if letters.is_empty() {
        return "none: every record could be stored\n".to_owned();
    }
    let rows: Vec<[String; 6]> = letters
        .iter()
        .map(|letter| {
            [
                letter.sequence.to_string(),
                moment(u64::try_from(letter.at).unwrap_or(0)),
                letter.nas.clone().unwrap_or_default(),
                letter.user.clone().unwrap_or_default(),
                letter.status.clone().unwrap_or_default(),
                letter.reason.clone(),
            ]
        })
        .collect();
    table(["number", "came", "NAS", "user", "status", "why it can't be stored"], &rows)
}

fn test_text(outcome: &TestOutcome) -> String {
    let mut text = String::new();
    let took = outcome.took.as_secs_f64() * 1e3;
    let _ = match &outcome.code {
        Some(code) => {
            writeln!(text, "{code} for {} ({}) after {took:.1} ms", outcome.user, outcome.method)
        }
        None => writeln!(
            text,
            "no answer for {} ({}) within {took:.0} ms",
            outcome.user, outcome.method
        ),
    };
    for attribute in &outcome.attributes {
        let _ = writeln!(text, "  {attribute}");
    }
    for remark in &outcome.remarks {
        let _ = writeln!(text, "{remark}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;

    /// What alerts send the operator for comes first, with the last words of what failed.
    #[test]
    fn status_begins_with_what_is_wrong() {
        let mut status = fake::radius_status();
        status.ready = false;
        status.database_error = Some("the database has schema 9".to_owned());
        status.warnings = vec!["subscriber bob: no such attribute".to_owned()];
        let text = status_text(&status);
        let first: Vec<&str> = text.lines().take(3).collect();
        assert!(first[0].starts_with("! NOBODY CAN LOG IN"), "{text}");
        assert!(first[0].ends_with("the database has schema 9"), "{text}");
        assert!(first[1].starts_with("! the database could not be used"), "{text}");
        assert_eq!(first[2], "! subscriber bob: no such attribute");
        assert!(text.contains("NOT IN USE YET (the database has schema 9)"), "{text}");
        status.database_error = None;
        status.ready = true;
        status.warnings.clear();
        let text = status_text(&status);
        assert!(!text.contains("NOBODY") && !text.contains("! subscriber"), "{text}");
    }

    fn database() -> DatabaseStatus {
        DatabaseStatus {
            engine: "PostgreSQL".to_owned(),
            location: "postgres://muralla@db/muralla".to_owned(),
            server: "aaa1".to_owned(),
            away_since: None,
            last_error: None,
            following: None,
        }
    }

    #[test]
    fn the_state_tells_what_needs_attention() {
        let mut status = fake::radius_status();
        status.journal.health = "full".to_owned();
        status.journal.error = Some("no space left on the disk".to_owned());
        let away_since = Some(1_795_536_000);
        status.database = Some(DatabaseStatus { away_since, ..database() });
        let text = status_text(&status);
        for expected in [
            "RADIUS on 0.0.0.0:1812 and 0.0.0.0:1813",
            "500000 subscribers",
            "AWAY since 2026-11-24T",
            "17 to go for the database",
            "NOTHING IS ACKNOWLEDGED: no space left on the disk",
            "UNPROTECTED",
            "home",
            "wrong_password",
        ] {
            assert!(text.contains(expected), "{expected} is missing in\n{text}");
        }
    }

    #[test]
    fn an_outcome_says_where_the_nas_was_asked() {
        let outcome = |sent_to: Option<&str>, words: &str| DynamicOutcome {
            user: "alice".to_owned(),
            session_id: "0000001a".to_owned(),
            nas: "bras1".to_owned(),
            sent_to: sent_to.map(|to| to.parse().unwrap()),
            verdict: DynamicVerdict::Unsent,
            words: words.to_owned(),
            attempts: 0,
            took: Duration::ZERO,
        };
        let text =
            changed_text(&[outcome(Some("192.0.2.17:3799"), "disconnected"), outcome(None, "why")]);
        let lines: Vec<Vec<&str>> =
            text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["alice", "bras1", "192.0.2.17:3799", "0000001a", "disconnected"]);
        assert_eq!(lines[1], ["alice", "bras1", "0000001a", "why"]);
    }

    #[test]
    fn values_are_escaped_in_queries() {
        for (text, expected) in
            [("alice", "alice"), ("a b&c=d", "a%20b%26c%3Dd"), ("é@x", "%C3%A9%40x"), ("", "")]
        {
            assert_eq!(escaped(text), expected);
        }
    }

    #[test]
    fn a_password_is_the_first_line() {
        for (text, expected) in [("secret\n", "secret"), ("s p \r\nmore", "s p "), ("", "")] {
            assert_eq!(first_line(text.as_bytes()).unwrap(), expected);
        }
    }
}
