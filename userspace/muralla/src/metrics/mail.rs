//! What Prometheus sees of mail.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use muralla_mail::outgoing::OutgoingStatus;
use muralla_mail::report::{QueueFigures, ServerStatus, Status};
use muralla_telemetry::exposition::Family;

use super::{counter, gauge, truth};

/// Everything about the roles.
pub(super) fn role(status: &Status, canary: Option<&Result<Duration, String>>) -> Vec<Family> {
    let mut families = servers(status);
    families.extend(messages(status));
    families.extend(directory(status));
    families.extend(waiting(status));
    families.extend(shards(status));
    families.extend(status.queue.as_ref().map(queue).unwrap_or_default());
    families.extend(status.outgoing.as_ref().map(outgoing).unwrap_or_default());
    families.push(certificates(status));
    families.extend(canary.map(alive).unwrap_or_default());
    families
}

/// One family with a value for each outcome.
fn by_outcome(name: &'static str, help: &'static str, rows: &[(&'static str, u64)]) -> Family {
    let mut family = Family::counter(name, help);
    for (outcome, count) in rows {
        family.push(vec![("outcome", (*outcome).to_owned())], *count as f64);
    }
    family
}

fn servers(status: &Status) -> Vec<Family> {
    let mut connections = Family::gauge("muralla_mail_connections", "Clients that are connected");
    let mut memory =
        Family::gauge("muralla_mail_memory_bytes", "Bytes of messages in memory, by service");
    let mut away = Family::counter(
        "muralla_mail_turned_away",
        "Connections that were turned away because there were too many",
    );
    let mut add = |service: &str, (now, bytes, turned_away): (u64, u64, u64)| {
        let labels = || vec![("service", service.to_owned())];
        connections.push(labels(), now as f64);
        memory.push(labels(), bytes as f64);
        away.push(labels(), turned_away as f64);
    };
    if let Some(mx) = &status.mx {
        add("mx", load(mx));
    }
    if let Some(submission) = &status.submission {
        add("submission", load(submission));
    }
    if let Some(pop3) = &status.pop3 {
        add("pop3", load(pop3));
    }
    vec![connections, memory, away]
}

fn load<T>(server: &ServerStatus<T>) -> (u64, u64, u64) {
    (server.connections, server.memory, server.turned_away)
}

fn messages(status: &Status) -> Vec<Family> {
    let post = &status.post;
    let mut families = vec![by_outcome(
        "muralla_mail_taken",
        "Messages by where they became durable; `refused` became it nowhere",
        &[
            ("stored", post.taken.saturating_sub(post.spooled)),
            ("spooled", post.spooled),
            ("refused", post.refused),
        ],
    )];
    if let Some(server) = &status.mx {
        let mx = &server.counts;
        families.extend([
            counter("muralla_mail_mx_sessions", "Connections that ended", mx.sessions),
            by_outcome(
                "muralla_mail_mx_messages",
                "Messages from other servers by what became of them",
                &[
                    ("accepted", mx.accepted),
                    ("refused", mx.refused),
                    ("loop", mx.loops),
                    ("no_room", mx.no_room),
                    ("never", mx.never),
                ],
            ),
            by_outcome(
                "muralla_mail_mx_refused_recipients",
                "Recipients that were refused or put off, by why",
                &[
                    ("unknown", mx.unknown),
                    ("relay", mx.relayed),
                    ("backscatter", mx.backscatter),
                    ("full", mx.full),
                ],
            ),
            counter("muralla_mail_mx_bytes", "Bytes of messages that were accepted", mx.octets),
            counter(
                "muralla_mail_mx_early_talkers",
                "Connections whose client spoke before it was greeted",
                mx.early,
            ),
            counter(
                "muralla_mail_mx_unjudged",
                "Messages delivered without the filter, which took too long",
                mx.unjudged,
            ),
        ]);
    }
    if let Some(server) = &status.submission {
        let submission = &server.counts;
        families.extend([
            by_outcome(
                "muralla_mail_submission_messages",
                "Messages of users by what became of them",
                &[
                    ("accepted", submission.accepted),
                    ("foreign_sender", submission.foreign_senders),
                    ("limited", submission.limited),
                    ("put_off", submission.put_off),
                ],
            ),
            counter(
                "muralla_mail_submission_recipients",
                "Recipients of messages that were accepted",
                submission.recipients,
            ),
            counter(
                "muralla_mail_submission_bytes",
                "Bytes of messages that were accepted",
                submission.octets,
            ),
        ]);
    }
    if let Some(server) = &status.pop3 {
        let pop3 = &server.counts;
        families.extend([
            counter("muralla_mail_pop3_sessions", "Sessions that ended", pop3.sessions),
            counter("muralla_mail_pop3_retrieved", "Messages that were fetched", pop3.retrieved),
            counter("muralla_mail_pop3_bytes", "Bytes of them", pop3.octets),
            counter("muralla_mail_pop3_deleted", "Messages that were removed", pop3.deleted),
            counter(
                "muralla_mail_pop3_unavailable",
                "Questions that the database or the packs did not answer",
                pop3.unavailable,
            ),
        ]);
    }
    families
}

fn directory(status: &Status) -> Vec<Family> {
    let directory = &status.directory;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut logins =
        Family::counter("muralla_mail_logins", "Logins by service and by whether they were let in");
    let rows = [
        (
            "submission",
            status.submission.as_ref().map(|it| (it.counts.logins, it.counts.refused_logins)),
        ),
        ("pop3", status.pop3.as_ref().map(|it| (it.counts.logins, it.counts.refused))),
    ];
    for (service, counts) in rows {
        let Some((good, refused)) = counts else { continue };
        for (outcome, count) in [("accepted", good), ("refused", refused)] {
            let labels = vec![("service", service.to_owned()), ("outcome", outcome.to_owned())];
            logins.push(labels, count as f64);
        }
    }
    vec![
        logins,
        gauge("muralla_mail_domains", "Domains in memory", directory.domains),
        gauge("muralla_mail_accounts", "Accounts in memory", directory.accounts),
        gauge("muralla_mail_aliases", "Aliases in memory", directory.aliases),
        truth(
            "muralla_mail_database_up",
            "Whether the directory's database answers",
            directory.away_since.is_none(),
        ),
        gauge(
            "muralla_mail_database_away_seconds",
            "Time since which the directory's database is away; 0 while it answers",
            directory.away_since.map_or(0, |since| now.saturating_sub(since)),
        ),
        gauge(
            "muralla_mail_database_lag_seconds",
            "Time from the latest change in the directory to its being in force here",
            directory.lag,
        ),
        gauge(
            "muralla_mail_full_mailboxes",
            "Mailboxes that were found full within the last minute",
            status.full_mailboxes,
        ),
    ]
}

fn waiting(status: &Status) -> Vec<Family> {
    let spool = &status.spool;
    vec![
        gauge(
            "muralla_mail_spool_messages",
            "Messages that wait on this machine's disk for the mail store",
            spool.messages,
        ),
        gauge("muralla_mail_spool_bytes", "Bytes of them", spool.bytes),
        gauge(
            "muralla_mail_spool_broken",
            "Files of the spool that were found damaged, and put aside",
            spool.broken,
        ),
        gauge(
            "muralla_mail_spool_aside",
            "Messages of the spool that were put aside as the mail store refuses them",
            spool.aside,
        ),
    ]
}

fn shards(status: &Status) -> Vec<Family> {
    let mut up = Family::gauge("muralla_mail_shard_up", "Whether a mail store answers");
    let mut delivered =
        Family::counter("muralla_mail_shard_delivered", "Messages delivered into a mail store");
    let mut took = Family::counter(
        "muralla_mail_shard_delivery_seconds",
        "Time that these took together, until they were durable and in every listing",
    );
    let mut bytes = Family::counter(
        "muralla_mail_shard_bytes",
        "Bytes of messages as they came (`original`), and as they were written (`stored`)",
    );
    for shard in &status.shards {
        let labels = || vec![("shard", shard.name.clone())];
        up.push(labels(), f64::from(u8::from(!shard.away)));
        delivered.push(labels(), shard.delivered as f64);
        took.push(labels(), shard.delivery_us as f64 / 1e6);
        for (kind, count) in [("original", shard.put_bytes), ("stored", shard.stored_bytes)] {
            let labels = vec![("shard", shard.name.clone()), ("kind", kind.to_owned())];
            bytes.push(labels, count as f64);
        }
    }
    vec![up, delivered, took, bytes]
}

fn queue(queue: &QueueFigures) -> Vec<Family> {
    let mut recipients = Family::gauge(
        "muralla_mail_queue_recipients",
        "Recipients in the queue of all servers, by state; `owed` are those whose senders are to be told",
    );
    for (state, count) in [
        ("waiting", queue.waiting),
        ("due", queue.due),
        ("trying", queue.trying),
        ("held", queue.held),
        ("owed", queue.owed),
    ] {
        recipients.push(vec![("state", state.to_owned())], count as f64);
    }
    vec![
        gauge(
            "muralla_mail_queue_messages",
            "Messages in the queue of all servers",
            queue.messages,
        ),
        gauge("muralla_mail_queue_bytes", "Bytes of them", queue.bytes),
        gauge(
            "muralla_mail_queue_oldest_seconds",
            "Time since the oldest of them was queued",
            queue.oldest,
        ),
        recipients,
        gauge(
            "muralla_mail_queue_destinations",
            "Destinations that something waits for",
            queue.destinations,
        ),
        gauge(
            "muralla_mail_queue_left_alone",
            "Of these, those that are left alone because nothing could be delivered",
            queue.left_alone,
        ),
    ]
}

fn outgoing(outgoing: &OutgoingStatus) -> Vec<Family> {
    vec![
        by_outcome(
            "muralla_mail_outgoing_recipients",
            "Attempts to deliver to a recipient by how they ended",
            &[
                ("delivered", outgoing.delivered),
                ("deferred", outgoing.deferred),
                ("failed", outgoing.failed),
                ("unreachable", outgoing.unreachable),
            ],
        ),
        counter("muralla_mail_outgoing_notices", "Notices to senders", outgoing.told),
        gauge(
            "muralla_mail_outgoing_transactions",
            "Deliveries that are under way",
            outgoing.under_way,
        ),
        gauge(
            "muralla_mail_outgoing_kept_connections",
            "Connections that are kept for the next message",
            outgoing.kept_connections,
        ),
    ]
}

fn certificates(status: &Status) -> Family {
    let mut family = Family::gauge(
        "muralla_mail_certificate_expiry_timestamp_seconds",
        "When a certificate expires",
    );
    for (file, expires) in &status.certificates {
        if let Some(expires) = expires {
            family.push(vec![("file", file.clone())], *expires as f64);
        }
    }
    family
}

fn alive(canary: &Result<Duration, String>) -> Vec<Family> {
    let success = truth(
        "muralla_mail_canary_success",
        "Whether every service greeted the latest client of our own",
        canary.is_ok(),
    );
    let took = canary.as_ref().ok().map(|took| {
        Family::gauge("muralla_mail_canary_seconds", "Time until the slowest of them did")
            .with(vec![], took.as_secs_f64())
    });
    [success].into_iter().chain(took).collect()
}
