//! What Prometheus sees of mail.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use muralla_mail::outgoing::OutgoingStatus;
use muralla_mail::report::{
    DeliveryStatus, QueueFigures, ServerStatus, SessionCounts, Status, UpkeepStatus,
};
use muralla_telemetry::exposition::Family;

use super::{counter, gauge, truth};

/// Everything about the roles.
pub(super) fn role(status: &Status, canary: Option<&Result<Duration, String>>) -> Vec<Family> {
    let mut families = servers(status);
    families.extend(messages(status));
    families.extend(directory(status));
    families.extend(sessions(status));
    families.extend(waiting(status));
    families.extend(shards(status));
    families.extend(deliveries(&status.deliveries));
    families.extend(disks(status));
    families.push(signatures(status));
    families.extend(upkeep(&status.upkeep));
    families.extend(condition(status));
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
    families.push(counter(
        "muralla_mail_full_deliveries",
        "Deliveries into a mailbox that was found full",
        post.full,
    ));
    let mut lost = Family::counter(
        "muralla_mail_trace_events_lost",
        "What traces were not told; `rationed` are refusals of which there were too many",
    );
    for (reason, count) in [("lost", post.events_lost), ("rationed", post.events_rationed)] {
        lost.push(vec![("reason", reason.to_owned())], count as f64);
    }
    let mut panics = Family::counter(
        "muralla_mail_panics",
        "Panics of what works behind the services; what they were about is tried again",
    );
    panics.push(vec![("part", "queue".to_owned())], post.panics as f64);
    if let Some(outgoing) = &status.outgoing {
        panics.push(vec![("part", "outgoing".to_owned())], outgoing.panics as f64);
    }
    families.extend([
        lost,
        panics,
        counter(
            "muralla_mail_untold_recipients",
            "Recipients that failed and are held, as nobody can be told",
            post.untold,
        ),
    ]);
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
                    ("disabled", mx.disabled),
                    ("astray", mx.astray),
                ],
            ),
            counter("muralla_mail_mx_bytes", "Bytes of messages that were accepted", mx.octets),
            counter(
                "muralla_mail_mx_early_talkers",
                "Connections whose client spoke before it was greeted",
                mx.early,
            ),
            by_outcome(
                "muralla_mail_mx_inquiries",
                "Recipients that back-ends were asked for, by what these said",
                &[
                    ("remembered", mx.inquiries.remembered),
                    ("known", mx.inquiries.known),
                    ("unknown", mx.inquiries.unknown),
                    ("unanswered", mx.inquiries.unanswered),
                ],
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

/// How clients' sessions ended, and what they were encrypted with.
fn sessions(status: &Status) -> Vec<Family> {
    let mut ends =
        Family::counter("muralla_mail_session_ends", "Sessions of SMTP by how they ended");
    let mut tls = Family::counter(
        "muralla_mail_session_tls",
        "Sessions by what they were encrypted with at their end",
    );
    let mut abuse = Family::counter(
        "muralla_mail_session_abuse",
        "Sessions of SMTP with line ends that smuggle messages, or commands put before TLS",
    );
    let mut add = |service: &str, counts: &SessionCounts| {
        let labels = |key: &'static str, value: &str| {
            vec![("service", service.to_owned()), (key, value.to_owned())]
        };
        for (end, count) in &counts.ends {
            ends.push(labels("end", end), *count as f64);
        }
        for (kind, count) in &counts.tls {
            tls.push(labels("tls", kind), *count as f64);
        }
        for (what, count) in [("line_ends", counts.line_ends), ("injected", counts.injected)] {
            abuse.push(labels("what", what), count as f64);
        }
    };
    if let Some(mx) = &status.mx {
        add("mx", &mx.counts.ended);
    }
    if let Some(submission) = &status.submission {
        add("submission", &submission.counts.ended);
    }
    if let Some(pop3) = &status.pop3 {
        let (all, encrypted) = (pop3.counts.sessions, pop3.counts.encrypted);
        for (kind, count) in [("none", all.saturating_sub(encrypted)), ("TLS", encrypted)] {
            let labels = vec![("service", "pop3".to_owned()), ("tls", kind.to_owned())];
            tls.push(labels, count as f64);
        }
    }
    vec![ends, tls, abuse]
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
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let oldest = spool.oldest.and_then(|since| u64::try_from(since).ok());
    vec![
        gauge(
            "muralla_mail_spool_oldest_seconds",
            "Time since the oldest message that waits there came; 0 where none does",
            oldest.map_or(0, |since| now.saturating_sub(since)),
        ),
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
    let mut open = Family::gauge(
        "muralla_mail_shard_circuit_open",
        "Whether a mail store took no mail in time, and only one delivery at a time tries again",
    );
    let mut opened =
        Family::counter("muralla_mail_shard_circuit_opened", "How often that came about");
    let mut refused = Family::counter(
        "muralla_mail_shard_circuit_refused",
        "Deliveries that did not wait for a mail store for that reason",
    );
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
        open.push(labels(), f64::from(u8::from(shard.circuit_open)));
        opened.push(labels(), shard.circuit_opened as f64);
        refused.push(labels(), shard.circuit_refused as f64);
        delivered.push(labels(), shard.delivered as f64);
        took.push(labels(), shard.delivery_us as f64 / 1e6);
        for (kind, count) in [("original", shard.put_bytes), ("stored", shard.stored_bytes)] {
            let labels = vec![("shard", shard.name.clone()), ("kind", kind.to_owned())];
            bytes.push(labels, count as f64);
        }
    }
    vec![up, open, opened, refused, delivered, took, bytes]
}

/// How mail is handed over to stores and back-ends, and to other domains.
fn deliveries(all: &[DeliveryStatus]) -> Vec<Family> {
    let mut up = Family::gauge(
        "muralla_mail_backend_up",
        "Whether a back-end, or one of our stores, could be reached the last time",
    );
    let mut recipients = Family::counter(
        "muralla_mail_delivery_recipients",
        "Recipients by where their mail was handed over, and what became of that",
    );
    let mut took = Family::histogram(
        "muralla_mail_delivery_seconds",
        "Time that it took to hand a message over, of those that were taken; `spool`: from 250 on, of those that waited",
    );
    for one in all {
        let labels = || vec![("to", one.to.clone())];
        // Of all other domains together, one can always be reached, and this machine's disk is none.
        if !matches!(one.to.as_str(), "remote" | "spool") {
            up.push(labels(), f64::from(u8::from(one.up)));
        }
        for (outcome, count) in [
            ("delivered", one.delivered),
            ("deferred", one.deferred),
            ("refused", one.refused),
            ("unreachable", one.unreachable),
        ] {
            let labels = vec![("to", one.to.clone()), ("outcome", outcome.to_owned())];
            recipients.push(labels, count as f64);
        }
        took.push_distribution(labels(), &one.buckets, one.seconds);
    }
    vec![up, recipients, took]
}

fn disks(status: &Status) -> Vec<Family> {
    let mut free =
        Family::gauge("muralla_mail_disk_free_bytes", "Bytes that may be written where mail is");
    let mut size = Family::gauge("muralla_mail_disk_size_bytes", "Bytes of these disks");
    for disk in &status.disks {
        let labels = || vec![("what", disk.what.clone())];
        free.push(labels(), disk.free as f64);
        size.push(labels(), disk.size as f64);
    }
    vec![free, size]
}

fn signatures(status: &Status) -> Family {
    let dkim = &status.dkim;
    by_outcome(
        "muralla_mail_dkim_messages",
        "Messages that were to be signed; `unsigned` as their author's domain has no active key",
        &[("signed", dkim.signed), ("unsigned", dkim.unsigned), ("failed", dkim.failed)],
    )
}

fn upkeep(done: &UpkeepStatus) -> Vec<Family> {
    let mut expired = Family::counter(
        "muralla_mail_expired_messages",
        "Messages that were removed as they were in a folder for too long, by folder",
    );
    for (folder, count) in
        [("inbox", done.expired_inbox), ("spam", done.expired_spam), ("trash", done.expired_trash)]
    {
        expired.push(vec![("folder", folder.to_owned())], count as f64);
    }
    vec![
        expired,
        counter(
            "muralla_mail_expiry_passes",
            "How often all folders of one kind in one mail store were looked at for them",
            done.passes,
        ),
        counter(
            "muralla_mail_moves_ended",
            "Moves of mailboxes that ended as nobody went on with them",
            done.moves_ended,
        ),
        counter(
            "muralla_mail_emptied_mailboxes",
            "Mailboxes whose mail was removed as their accounts are gone",
            done.emptied,
        ),
    ]
}

/// Whether stores are whole.
fn condition(status: &Status) -> Vec<Family> {
    let mut missing = Family::gauge(
        "muralla_mail_store_missing_packs",
        "Packs that a mail store should have and that are not there",
    );
    let mut bytes = Family::gauge(
        "muralla_mail_store_pack_bytes",
        "Bytes of a mail store's packs, by whether anything needs them",
    );
    let mut failing = Family::gauge(
        "muralla_mail_upkeep_failing",
        "Pieces of a mail store's upkeep that came to nothing the last time",
    );
    let mut damaged = Family::counter(
        "muralla_mail_store_damaged",
        "How often mail could not be read, as it is damaged or its pack is not there",
    );
    for store in &status.upkeep.stores {
        let labels = || vec![("shard", store.shard.clone())];
        missing.push(labels(), store.missing_packs as f64);
        let dead = store.bytes.saturating_sub(store.live);
        for (kind, count) in [("live", store.live), ("dead", dead)] {
            bytes.push([labels(), vec![("kind", kind.to_owned())]].concat(), count as f64);
        }
    }
    for shard in &status.shards {
        let labels = || vec![("shard", shard.name.clone())];
        let fails = status.upkeep.failing.iter().filter(|duty| duty.shard == shard.name).count();
        failing.push(labels(), fails as f64);
        damaged.push(labels(), shard.damaged as f64);
    }
    vec![missing, bytes, failing, damaged]
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
    let transport = &outgoing.transport;
    let mut connections = Family::counter(
        "muralla_mail_outgoing_connections",
        "Connections to servers of other domains, by what protects them",
    );
    for (tls, count) in [
        ("none", transport.clear),
        ("unauthenticated", transport.encrypted),
        ("mta_sts", transport.by_sts),
        ("dane", transport.by_dane),
    ] {
        connections.push(vec![("tls", tls.to_owned())], count as f64);
    }
    let mut failures = Family::counter(
        "muralla_mail_outgoing_tls_failures",
        "Servers of other domains that were not spoken with over TLS as it should be, by why",
    );
    for (reason, count) in [
        ("downgraded", transport.downgraded),
        ("mta_sts_host", transport.sts_hosts),
        ("mta_sts", transport.sts_failed),
        ("dane_lookup", transport.dane_lookups),
        ("dane", transport.dane_failed),
    ] {
        failures.push(vec![("reason", reason.to_owned())], count as f64);
    }
    let mut domains = Family::counter(
        "muralla_mail_outgoing_domains",
        "Look-ups of other domains' servers, by whether DNSSEC proves the answer; where DANE matters",
    );
    for (dnssec, count) in [("secure", transport.proved), ("insecure", transport.unproved)] {
        domains.push(vec![("dnssec", dnssec.to_owned())], count as f64);
    }
    vec![
        connections,
        failures,
        domains,
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

#[cfg(test)]
mod tests {
    use muralla_telemetry::exposition::{Exposition, Snapshot};

    use super::*;
    use crate::fake;

    #[test]
    fn what_is_seen_of_mail() {
        let snapshot = Snapshot::default();
        let mut exposition = Exposition::default();
        exposition.gather(snapshot.clone());
        snapshot.replace(role(&fake::mail::mail_status(), Some(&Ok(Duration::from_millis(2)))));
        let text = exposition.encode().unwrap();
        for line in [
            "muralla_mail_taken_total{outcome=\"spooled\"} 10.0",
            "muralla_mail_trace_events_lost_total{reason=\"rationed\"} 9.0",
            "muralla_mail_panics_total{part=\"queue\"} 0.0",
            "muralla_mail_panics_total{part=\"outgoing\"} 0.0",
            "muralla_mail_untold_recipients_total 3.0",
            "muralla_mail_mx_refused_recipients_total{outcome=\"unknown\"} 40.0",
            "muralla_mail_session_ends_total{service=\"mx\",end=\"abusive\"} 10.0",
            "muralla_mail_session_tls_total{service=\"mx\",tls=\"TLSv1.3\"} 60.0",
            "muralla_mail_session_tls_total{service=\"pop3\",tls=\"none\"} 4.0",
            "muralla_mail_session_abuse_total{service=\"mx\",what=\"line_ends\"} 2.0",
            "muralla_mail_shard_up{shard=\"main\"} 1.0",
            "muralla_mail_shard_circuit_open{shard=\"main\"} 0.0",
            "muralla_mail_shard_circuit_opened_total{shard=\"main\"} 2.0",
            "muralla_mail_shard_circuit_refused_total{shard=\"main\"} 70.0",
            "muralla_mail_backend_up{to=\"store/main\"} 1.0",
            "muralla_mail_backend_up{to=\"backend/old\"} 0.0",
            "muralla_mail_delivery_recipients_total{to=\"backend/old\",outcome=\"unreachable\"} 4.0",
            "muralla_mail_delivery_seconds_bucket{to=\"store/main\",le=\"0.002\"} 490",
            "muralla_mail_delivery_seconds_bucket{to=\"store/main\",le=\"+Inf\"} 500",
            "muralla_mail_delivery_seconds_count{to=\"remote\"} 6",
            "muralla_mail_disk_free_bytes{what=\"spool\"} 5000000000.0",
            "muralla_mail_dkim_messages_total{outcome=\"signed\"} 5.0",
            "muralla_mail_outgoing_connections_total{tls=\"dane\"} 2.0",
            "muralla_mail_outgoing_tls_failures_total{reason=\"dane_lookup\"} 3.0",
            "muralla_mail_outgoing_domains_total{dnssec=\"secure\"} 2.0",
            "muralla_mail_canary_success 1.0",
            "muralla_mail_store_missing_packs{shard=\"main\"} 1.0",
            "muralla_mail_store_pack_bytes{shard=\"main\",kind=\"dead\"} 1000.0",
            "muralla_mail_upkeep_failing{shard=\"main\"} 1.0",
            "muralla_mail_store_damaged_total{shard=\"main\"} 3.0",
            "muralla_mail_mx_inquiries_total{outcome=\"unknown\"} 7.0",
            "muralla_mail_delivery_seconds_count{to=\"spool\"} 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        // All other domains together are neither up nor down.
        assert!(!text.contains("muralla_mail_backend_up{to=\"remote\"}"), "{text}");
        assert!(!text.contains("muralla_mail_backend_up{to=\"spool\"}"), "{text}");
        assert!(text.contains("muralla_mail_spool_oldest_seconds "), "{text}");
    }
}
