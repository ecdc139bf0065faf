//! What Prometheus sees of RADIUS.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use muralla_radius::report::{DutyStatus, JournalStatus, Latency, NasStatus, PoolStatus, Status};
use muralla_telemetry::exposition::Family;

use super::{counter, gauge, truth};

/// Everything about the role.
pub(super) fn role(status: &Status, canary: Option<&Result<Duration, String>>) -> Vec<Family> {
    let mut families =
        vec![answers(status), reasons(status), latency(&status.latency), records(status)];
    families.extend(waiting(status));
    families.extend(accounting(status));
    families.extend(nases(&status.nases));
    families.extend(journal(&status.journal));
    families.extend(database(status));
    families.extend(pools(&status.pools));
    families.extend(canary.map(alive).unwrap_or_default());
    families
}

fn answers(status: &Status) -> Family {
    let mut family = Family::counter("muralla_radius_answers", "Answers by kind");
    for (answer, count) in &status.answers {
        family.push(vec![("answer", answer.name().to_owned())], *count as f64);
    }
    family
}

fn reasons(status: &Status) -> Family {
    let mut family = Family::counter(
        "muralla_radius_refused",
        "Requests that were refused or dropped, by where they ended and why",
    );
    for row in &status.reasons {
        let labels = vec![("stage", row.stage.name().to_owned()), ("reason", row.reason.clone())];
        family.push(labels, row.count as f64);
    }
    family
}

fn records(status: &Status) -> Family {
    let mut family = Family::counter(
        "muralla_radius_records",
        "Accounting records by what they did to a session",
    );
    for (outcome, count) in &status.records {
        family.push(vec![("outcome", outcome.clone())], *count as f64);
    }
    family
}

fn latency(rows: &[Latency]) -> Family {
    let mut family = Family::histogram(
        "muralla_radius_latency_seconds",
        "Time from the request to its answer; what a refusal waits on purpose is not in it",
    );
    for row in rows.iter().filter(|row| row.buckets.iter().any(|(_, count)| *count > 0)) {
        let labels = vec![("answer", row.answer.name().to_owned())];
        family.push_distribution(labels, &row.buckets, row.sum);
    }
    family
}

fn waiting(status: &Status) -> Vec<Family> {
    vec![
        truth(
            "muralla_radius_ready",
            "Whether the subscribers are in memory, so that requests are answered",
            status.ready,
        ),
        gauge("muralla_radius_threads", "Threads that own sockets", status.threads as u64),
        gauge("muralla_radius_subscribers", "Subscribers in memory", status.subscribers),
        gauge("muralla_radius_profiles", "Profiles in memory", status.profiles),
        gauge("muralla_radius_sessions", "Sessions open by the accounting", status.sessions),
        gauge(
            "muralla_radius_sessions_elsewhere",
            "Sessions open at other servers, by way of the database",
            status.sessions_elsewhere,
        ),
        counter(
            "muralla_radius_zombie_sessions",
            "Sessions closed because nothing was heard of them",
            status.zombies,
        ),
        gauge(
            "muralla_radius_delayed_rejects",
            "Refusals that wait for their time",
            status.delayed_rejects,
        ),
        gauge(
            "muralla_radius_pending_acknowledgements",
            "Accounting acknowledgements that wait for the journal",
            status.pending_acknowledgements,
        ),
        gauge(
            "muralla_radius_costly_checks",
            "Password checks that wait for a thread (argon2, bcrypt)",
            status.costly_waiting,
        ),
    ]
}

/// Whether the accounting goes on, and with all that it should do.
fn accounting(status: &Status) -> Vec<Family> {
    let mut panics = Family::counter(
        "muralla_radius_duty_panics",
        "Panics of what the accounting does besides taking records",
    );
    let mut failing = Family::gauge(
        "muralla_radius_duty_failing",
        "Whether it panicked when it was last tried, so that it is not done",
    );
    for DutyStatus { duty, panics: count, failure } in &status.duties {
        let labels = vec![("duty", duty.clone())];
        panics.push(labels.clone(), *count as f64);
        failing.push(labels, f64::from(u8::from(failure.is_some())));
    }
    vec![
        truth(
            "muralla_radius_accounting_failing",
            "Whether no record is taken out of the journal until the process is started anew, after a panic",
            status.accounting_failure.is_some(),
        ),
        truth(
            "muralla_radius_name_taken",
            "Whether another process runs under this server's name, so that this one gives nothing of a pool away",
            status.name_taken,
        ),
        gauge(
            "muralla_radius_forgotten_unwritten",
            "Sessions that were forgotten for lack of room before all their records were in the database",
            status.forgotten_unwritten,
        ),
        panics,
        failing,
    ]
}

fn nases(nases: &[NasStatus]) -> Vec<Family> {
    let mut requests =
        Family::counter("muralla_radius_nas_requests", "Genuine requests of each NAS, by kind");
    let mut outcomes = Family::counter(
        "muralla_radius_nas_outcomes",
        "What became of each NAS's requests; `repeated` are those that it sent again",
    );
    let mut reasons = Family::counter(
        "muralla_radius_nas_refused",
        "Requests of each NAS that were refused or dropped, by where they ended and why",
    );
    let mut seen = Family::gauge(
        "muralla_radius_nas_silence_seconds",
        "Time since the last genuine packet of each NAS",
    );
    let mut weak = Family::gauge(
        "muralla_radius_nas_unprotected",
        "Whether the NAS may ask without Message-Authenticator (CVE-2024-3596)",
    );
    for nas in nases {
        let labels = |extra: Option<(&'static str, &str)>| {
            let mut labels = vec![("nas", nas.name.clone())];
            labels.extend(extra.map(|(name, value)| (name, value.to_owned())));
            labels
        };
        for (kind, count) in [("access", nas.requests), ("accounting", nas.accounting)] {
            requests.push(labels(Some(("kind", kind))), count as f64);
        }
        for (outcome, count) in [
            ("accepted", nas.accepted),
            ("rejected", nas.rejected),
            ("acknowledged", nas.acknowledged),
            ("repeated", nas.repeated),
            ("dropped", nas.dropped),
        ] {
            outcomes.push(labels(Some(("outcome", outcome))), count as f64);
        }
        for row in &nas.reasons {
            let mut labels = labels(Some(("stage", row.stage.name())));
            labels.push(("reason", row.reason.clone()));
            reasons.push(labels, row.count as f64);
        }
        if let Some(silence) = nas.seen {
            seen.push(labels(None), silence as f64);
        }
        weak.push(labels(None), f64::from(u8::from(nas.message_authenticator_optional)));
    }
    vec![requests, outcomes, reasons, seen, weak]
}

fn journal(status: &JournalStatus) -> Vec<Family> {
    let mut lag = Family::gauge(
        "muralla_radius_journal_lag",
        "Durable records that a consumer of the journal has still before it",
    );
    for (consumer, records) in &status.lag {
        lag.push(vec![("consumer", consumer.clone())], *records as f64);
    }
    vec![
        counter("muralla_radius_journal_records", "Records that became durable", status.records),
        counter("muralla_radius_journal_syncs", "Calls of fdatasync", status.fsyncs),
        Family::counter("muralla_radius_journal_sync_seconds", "Time that these took together")
            .with(vec![], status.fsync_seconds),
        gauge(
            "muralla_radius_journal_oldest_seconds",
            "Age of the oldest segment",
            status.oldest.unwrap_or_default(),
        ),
        counter(
            "muralla_radius_journal_damaged_bytes",
            "Bytes that were found damaged and passed over",
            status.damaged,
        ),
        gauge("muralla_radius_journal_bytes", "Bytes of the journal's segments", status.bytes),
        truth(
            "muralla_radius_journal_failing",
            "Whether nothing can be acknowledged, because the journal's disk is full or broken",
            status.health != "good",
        ),
        gauge(
            "muralla_radius_dead_letters",
            "Records put aside because they can't be stored",
            status.dead_letters,
        ),
        lag,
    ]
}

fn database(status: &Status) -> Vec<Family> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let away_since = match &status.database {
        None => Some(now.saturating_sub(status.uptime)),
        Some(database) => database.away_since,
    };
    let following = status.database.as_ref().and_then(|database| database.following.as_ref());
    vec![
        truth("muralla_radius_database_up", "Whether the database answers", away_since.is_none()),
        gauge(
            "muralla_radius_database_away_seconds",
            "Time since which the database is away; 0 while it answers",
            away_since.map_or(0, |since| now.saturating_sub(since)),
        ),
        gauge(
            "muralla_radius_database_lag_seconds",
            "Time from the latest change in the database to its being in force here",
            following.map_or(0, |following| following.lag),
        ),
        counter(
            "muralla_radius_exported_records",
            "Accounting records and closed sessions stored in the database",
            status.exported,
        ),
        counter(
            "muralla_radius_refused_records",
            "Accounting records that the database refused, put aside as dead letters",
            status.put_aside,
        ),
        gauge(
            "muralla_radius_closings_waiting",
            "Closed sessions that wait for the database",
            status.closings_waiting,
        ),
    ]
}

fn pools(pools: &[PoolStatus]) -> Vec<Family> {
    let mut size = Family::gauge("muralla_radius_pool_size", "Addresses or prefixes of each pool");
    let mut held = Family::gauge(
        "muralla_radius_pool_held",
        "Those of them that this server has given away; the others' are in the database",
    );
    let mut spare =
        Family::gauge("muralla_radius_pool_spare", "Those that this server can give away at once");
    let mut exhausted = Family::counter(
        "muralla_radius_pool_exhausted",
        "Logins that found nothing left in the pool",
    );
    let mut conflicts = Family::counter(
        "muralla_radius_pool_conflicts",
        "Accounting records of somebody who has what was given to another",
    );
    for pool in pools {
        let labels = vec![("pool", pool.name.clone())];
        size.push(labels.clone(), pool.size as f64);
        held.push(labels.clone(), pool.held as f64);
        spare.push(labels.clone(), pool.spare as f64);
        exhausted.push(labels.clone(), pool.exhausted as f64);
        conflicts.push(labels, pool.conflicts as f64);
    }
    vec![size, held, spare, exhausted, conflicts]
}

fn alive(canary: &Result<Duration, String>) -> Vec<Family> {
    let success = truth(
        "muralla_radius_canary_success",
        "Whether the latest Status-Server through the role's own sockets was answered",
        canary.is_ok(),
    );
    let took = canary.as_ref().ok().map(|took| {
        Family::gauge("muralla_radius_canary_seconds", "Time until the answer to that request")
            .with(vec![], took.as_secs_f64())
    });
    [success].into_iter().chain(took).collect()
}

#[cfg(test)]
mod tests {
    use muralla_telemetry::exposition::{Exposition, Snapshot};

    use super::*;
    use crate::fake;

    #[test]
    fn what_ails_the_accounting_is_told() {
        let duty = |duty: &str, panics, failure: Option<&str>| DutyStatus {
            duty: duty.to_owned(),
            panics,
            failure: failure.map(str::to_owned),
        };
        let mut status = fake::radius_status();
        let value = |status: &Status, series: &str| {
            let (snapshot, mut exposition) = (Snapshot::default(), Exposition::default());
            snapshot.replace(role(status, None));
            exposition.gather(snapshot);
            let text = exposition.encode().unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
            line.map(|value| value.parse::<f64>().unwrap())
        };
        for series in [
            "muralla_radius_accounting_failing",
            "muralla_radius_forgotten_unwritten",
            "muralla_radius_name_taken",
        ] {
            assert_eq!(value(&status, series), Some(0.0), "{series}");
        }
        let before = status.troubles().len();
        status.accounting_failure = Some("it panicked at record 7".to_owned());
        status.forgotten_unwritten = 40;
        status.duties = vec![duty("search", 3, Some("it can't")), duty("snapshot", 1, None)];
        for (series, expected) in [
            ("muralla_radius_accounting_failing", 1.0),
            ("muralla_radius_forgotten_unwritten", 40.0),
            ("muralla_radius_duty_panics_total{duty=\"search\"}", 3.0),
            ("muralla_radius_duty_panics_total{duty=\"snapshot\"}", 1.0),
            ("muralla_radius_duty_failing{duty=\"search\"}", 1.0),
            ("muralla_radius_duty_failing{duty=\"snapshot\"}", 0.0),
        ] {
            assert_eq!(value(&status, series), Some(expected), "{series}");
        }
        let troubles = status.troubles();
        assert_eq!(troubles.len(), before + 3, "{troubles:?}");
    }

    /// More addresses would help nobody.
    #[test]
    fn where_another_process_has_the_name_no_larger_pool_is_asked_for() {
        let mut status = fake::radius_status();
        status.pools.iter_mut().for_each(|pool| pool.spare = 0);
        let advice =
            |status: &Status| status.troubles().iter().any(|trouble| trouble.contains("pool add"));
        assert!(advice(&status));
        status.name_taken = true;
        assert!(!advice(&status));
        assert!(status.troubles().iter().any(|trouble| trouble.contains("has this server's name")));
    }
}
