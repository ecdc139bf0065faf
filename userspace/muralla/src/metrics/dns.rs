//! What Prometheus sees of DNS.

use std::time::Duration;

use muralla_dns::report::{Latency, NicStatus, QueryCount, ResolverStatus, Status};
use muralla_telemetry::exposition::Family;

use crate::admin::api::AnswersStatus;

/// Everything about the role.
pub(super) fn role(status: &Status, canary: Option<&Result<Duration, String>>) -> Vec<Family> {
    let mut families = vec![queries(&status.queries), latency(&status.latency)];
    families.extend(work(status));
    families.extend(cache(status));
    families.extend(status.nic.as_ref().map(nic).unwrap_or_default());
    families.extend(resolver(&status.resolver));
    families.extend(canary.map(alive).unwrap_or_default());
    families
}

/// The network card's cache as the wall has it.
pub(super) fn answers(status: &AnswersStatus) -> Vec<Family> {
    let truth = |name, help, value: bool| {
        Family::gauge(name, help).with(vec![], f64::from(u8::from(value)))
    };
    vec![
        Family::counter(
            "muralla_edge_dns_answers",
            "DNS queries that the wall answered from the network card's cache",
        )
        .with(vec![], status.answered as f64),
        truth(
            "muralla_edge_dns_cache_wanted",
            "Whether the configuration wants the network card's cache filled",
            status.wanted,
        ),
        truth(
            "muralla_edge_dns_cache_fed",
            "Whether a DNS role fills the network card's cache",
            status.fed,
        ),
    ]
}

fn queries(rows: &[QueryCount]) -> Family {
    let mut family = Family::counter(
        "muralla_dns_queries",
        "Queries by transport, type, response code and where the answer came from",
    );
    for row in rows {
        let labels = vec![
            ("transport", row.transport.name().to_owned()),
            ("type", row.rtype.clone()),
            ("rcode", row.rcode.clone()),
            ("level", row.level.name().to_owned()),
        ];
        family.push(labels, row.count as f64);
    }
    family
}

fn latency(rows: &[Latency]) -> Family {
    let mut family = Family::histogram(
        "muralla_dns_latency_seconds",
        "Time from the query to its answer; those of the network card are not known",
    );
    for row in rows.iter().filter(|row| row.buckets.iter().any(|(_, count)| *count > 0)) {
        let labels = vec![("level", row.level.name().to_owned())];
        family.push_distribution(labels, &row.buckets, row.sum);
    }
    family
}

fn work(status: &Status) -> Vec<Family> {
    let counter = |name, help, value: u64| Family::counter(name, help).with(vec![], value as f64);
    let gauge = |name, help, value: usize| Family::gauge(name, help).with(vec![], value as f64);
    let mut dropped = Family::counter(
        "muralla_dns_dropped",
        "Queries that were not answered, or not with what was asked for, by reason",
    );
    for (reason, count) in &status.dropped {
        dropped.push(vec![("reason", reason.clone())], *count as f64);
    }
    let mut bogus = Family::counter(
        "muralla_dns_validation_failures",
        "Answers that failed DNSSEC validation, by reason",
    );
    for (reason, count) in &status.bogus {
        bogus.push(vec![("reason", reason.clone())], *count as f64);
    }
    vec![
        counter(
            "muralla_dns_stale_answers",
            "Answers given after their time to live, because there was no fresh one",
            status.stale_served,
        ),
        counter(
            "muralla_dns_prefetches",
            "Answers that were looked up again before their end",
            status.prefetched,
        ),
        counter(
            "muralla_dns_coalesced_queries",
            "Queries that joined a question under way",
            status.coalesced,
        ),
        gauge(
            "muralla_dns_questions",
            "Questions under way that the caches could not answer",
            status.questions,
        ),
        gauge("muralla_dns_connections", "Open TCP connections", status.connections),
        gauge("muralla_dns_threads", "Threads that own sockets", status.threads),
        dropped,
        bogus,
    ]
}

fn cache(status: &Status) -> Vec<Family> {
    let cache = &status.cache;
    let counter = |name, help, value: u64| Family::counter(name, help).with(vec![], value as f64);
    let gauge = |name, help, value: u64| Family::gauge(name, help).with(vec![], value as f64);
    vec![
        gauge("muralla_dns_cache_bytes", "Bytes of the wire cache in use", cache.bytes),
        gauge("muralla_dns_cache_limit_bytes", "Bytes that the wire cache may use", cache.limit),
        gauge("muralla_dns_cache_entries", "Answers in the wire cache", cache.entries),
        counter("muralla_dns_cache_hits", "Queries that the wire cache answered", cache.hits),
        counter(
            "muralla_dns_cache_misses",
            "Queries that the wire cache could not answer",
            cache.misses,
        ),
        counter(
            "muralla_dns_cache_evictions",
            "Answers that gave way to others in the wire cache",
            cache.evictions,
        ),
    ]
}

fn nic(status: &NicStatus) -> Vec<Family> {
    // Without a wall there is no cache, which has no room either.
    if status.capacity == 0 {
        return Vec::new();
    }
    let gauge = |name, help, value: u64| Family::gauge(name, help).with(vec![], value as f64);
    vec![
        gauge("muralla_dns_nic_entries", "Answers in the network card's cache", status.entries),
        gauge(
            "muralla_dns_nic_capacity",
            "Answers that the network card's cache has room for",
            status.capacity,
        ),
        Family::counter(
            "muralla_dns_nic_answers",
            "Queries that the network card answered since this process fills its cache",
        )
        .with(vec![], status.answered as f64),
    ]
}

fn resolver(status: &ResolverStatus) -> Vec<Family> {
    let counter = |name, help, value: u64| Family::counter(name, help).with(vec![], value as f64);
    let gauge = |name, help, value: u64| Family::gauge(name, help).with(vec![], value as f64);
    vec![
        counter("muralla_dns_recursive_questions", "Questions for the resolver", status.questions),
        counter(
            "muralla_dns_recursive_failures",
            "Questions that the resolver found no answer to",
            status.failures,
        ),
        counter(
            "muralla_dns_upstream_queries",
            "Queries sent to other servers",
            status.upstream_queries,
        ),
        counter(
            "muralla_dns_upstream_timeouts",
            "Queries to other servers without an answer in time",
            status.upstream_timeouts,
        ),
        counter(
            "muralla_dns_upstream_servfails",
            "Queries that other servers answered with SERVFAIL",
            status.upstream_servfails,
        ),
        counter(
            "muralla_dns_upstream_tcp_queries",
            "Queries sent to other servers over TCP",
            status.upstream_tcp,
        ),
        gauge("muralla_dns_resolver_records", "Entries of the resolver's cache", status.records),
        gauge(
            "muralla_dns_resolver_record_bytes",
            "Bytes of the resolver's cache of records",
            status.record_bytes,
        ),
        gauge(
            "muralla_dns_resolver_delegations",
            "Delegations that the resolver knows",
            status.delegations,
        ),
        gauge("muralla_dns_resolver_servers", "Servers that the resolver has met", status.servers),
    ]
}

fn alive(canary: &Result<Duration, String>) -> Vec<Family> {
    let success = Family::gauge(
        "muralla_dns_canary_success",
        "Whether the latest query through the role's own socket was answered",
    )
    .with(vec![], f64::from(u8::from(canary.is_ok())));
    let took = canary.as_ref().ok().map(|took| {
        Family::gauge("muralla_dns_canary_seconds", "Time until the answer to that query")
            .with(vec![], took.as_secs_f64())
    });
    [success].into_iter().chain(took).collect()
}
