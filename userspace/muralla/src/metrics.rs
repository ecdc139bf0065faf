//! What Prometheus and load balancers ask: `/metrics` and `/health`.

mod dns;
mod mail;
mod radius;

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use muralla_telemetry::budget::{self, Promise};
use muralla_telemetry::exposition::{CONTENT_TYPE, Exposition, Family, Source};
use serde::Serialize;

use crate::admin::api::ReloadOutcome;
use crate::daemon::{Daemon, blocking};
use crate::roles::Role;
use muralla_edge::wall::{BlockEntry, CounterRow, Mode, Status};

/// The routes.
pub(crate) fn router(daemon: Arc<Daemon>) -> Router {
    let mut exposition = Exposition::default();
    exposition.gather(Scrape(Arc::clone(&daemon)));
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .with_state((daemon, Arc::new(exposition)))
}

type Shared = State<(Arc<Daemon>, Arc<Exposition>)>;

async fn metrics(State((daemon, exposition)): Shared) -> Response {
    match blocking(&daemon, move |_| exposition.encode()).await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// 200 while every role does what it is for, 503 otherwise.
async fn health(State((daemon, _)): Shared) -> Response {
    let health = blocking(&daemon, |daemon| Health {
        protected: daemon.roles().has(Role::Edge).then(|| {
            daemon
                .status()
                .is_some_and(|status| status.interfaces.iter().all(|interface| interface.attached))
        }),
        answering: daemon.roles().has(Role::Dns).then(|| {
            // Until the first canary the role has just begun.
            daemon.latest_canary().is_some_and(|canary| canary.is_ok())
        }),
        authenticating: daemon.roles().has(Role::Radius).then(|| {
            let answers = daemon.latest_radius_canary().is_some_and(|canary| canary.is_ok());
            // Status-Server is answered without subscribers, but logins are not.
            answers && daemon.radius_status().is_ok_and(|status| status.ready)
        }),
        delivering: daemon
            .roles()
            .has(Role::Mail)
            .then(|| daemon.latest_mail_canary().is_some_and(|canary| canary.is_ok())),
        warnings: daemon.overview().warnings,
    });
    match health.await {
        Ok(health) => {
            let good =
                [health.protected, health.answering, health.authenticating, health.delivering]
                    .iter()
                    .all(|role| *role != Some(false));
            let code = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            (code, Json(health)).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[derive(Serialize)]
struct Health {
    /// Whether every interface is; for a process with the wall.
    #[serde(skip_serializing_if = "Option::is_none")]
    protected: Option<bool>,
    /// Whether the latest canary was answered; for a process with DNS.
    #[serde(skip_serializing_if = "Option::is_none")]
    answering: Option<bool>,
    /// The same; for a process with RADIUS.
    #[serde(skip_serializing_if = "Option::is_none")]
    authenticating: Option<bool>,
    /// Whether every service greeted the latest client of our own; for a process with mail.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivering: Option<bool>,
    warnings: Vec<String>,
}

/// Reads the kernel's counters when somebody scrapes.
struct Scrape(Arc<Daemon>);

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrape")
    }
}

impl Source for Scrape {
    fn families(&self) -> Vec<Family> {
        let daemon = &self.0;
        let mut families = process(daemon.reload_outcome().as_ref());
        let promises: Vec<_> = daemon.promises().iter().map(Promise::state).collect();
        families.extend(budget::families(&promises));
        if let Ok(status) = daemon.dns_status() {
            families.extend(dns::role(&status, daemon.latest_canary().as_ref()));
        }
        if let Ok(status) = daemon.radius_status() {
            families.extend(radius::role(&status, daemon.latest_radius_canary().as_ref()));
        }
        if let Ok(status) = daemon.mail_status() {
            families.extend(mail::role(&status, daemon.latest_mail_canary().as_ref()));
        }
        if !daemon.roles().has(Role::Edge) {
            return families;
        }
        if let Some(answers) = daemon.answers() {
            families.extend(dns::answers(&answers));
        }
        if let Some(status) = daemon.status() {
            families.extend(wall(&status));
        }
        // A detached wall has neither.
        families.extend(packets(&daemon.counters().unwrap_or_default()));
        families.push(blocks(&daemon.blocks().unwrap_or_default()));
        families
    }
}

fn process(reload: Option<&ReloadOutcome>) -> Vec<Family> {
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    let success = reload.is_none_or(|reload| reload.applied);
    let mut families = vec![
        Family::gauge("muralla_build_info", "Version of the running daemon").with(version, 1.0),
        Family::gauge(
            "muralla_config_last_reload_successful",
            "Whether the latest reload of the configuration was applied",
        )
        .with(vec![], f64::from(u8::from(success))),
    ];
    if let Some(reload) = reload {
        families.push(
            Family::gauge(
                "muralla_config_last_reload_timestamp_seconds",
                "When the configuration was last reloaded, applied or not",
            )
            .with(vec![], reload.at as f64),
        );
    }
    families
}

fn packets(rows: &[CounterRow]) -> Vec<Family> {
    let mut packets = Family::counter("muralla_edge_packets", "Packets seen by the wall");
    let mut bytes = Family::counter("muralla_edge_bytes", "Bytes of packets seen by the wall");
    for row in rows {
        let labels = || {
            vec![
                ("interface", row.interface.clone()),
                ("service", row.service.clone()),
                ("reason", row.reason.clone()),
                ("verdict", row.verdict.clone()),
            ]
        };
        packets.push(labels(), row.packets as f64);
        bytes.push(labels(), row.bytes as f64);
    }
    vec![packets, bytes]
}

fn blocks(entries: &[BlockEntry]) -> Family {
    let mut family = Family::gauge("muralla_edge_blocks", "Blocks in force, by origin");
    let mut counts = std::collections::BTreeMap::from([("operator", 0u32), ("offence", 0)]);
    for entry in entries {
        *counts.entry(entry.origin.as_str()).or_default() += 1;
    }
    for (origin, count) in counts {
        family.push(vec![("origin", origin.to_owned())], count.into());
    }
    family
}

fn wall(status: &Status) -> Vec<Family> {
    let single = |name, help, value: f64| Family::gauge(name, help).with(vec![], value);
    let mut families = vec![
        single(
            "muralla_edge_limiter_slots",
            "Sources that the limiter can tell apart",
            status.limiter_slots as f64,
        ),
        single("muralla_edge_limiter_used", "Limiter slots in use", status.limiter_used as f64),
        Family::counter(
            "muralla_edge_limiter_races",
            "Limiter updates given up because other processors were faster",
        )
        .with(vec![], status.limiter_races as f64),
        single(
            "muralla_edge_policy_generation",
            "Number of the policy in force, counted up by every swap",
            status.policy_generation as f64,
        ),
        single(
            "muralla_edge_prefixes",
            "Prefixes in all lists and feeds together",
            status.prefixes as f64,
        ),
    ];
    if let Some(nanoseconds) = status.ns_per_packet {
        families.push(single(
            "muralla_edge_packet_seconds",
            "Time that the wall spends on a packet, by sampling",
            nanoseconds / 1e9,
        ));
    }
    families.extend(interfaces(status));
    families.extend(feeds(status));
    families
}

fn interfaces(status: &Status) -> Vec<Family> {
    let mut mode = Family::gauge(
        "muralla_edge_interface_mode",
        "How the wall is attached: 1 for the mode that applies, which is none where it is not",
    );
    let mut missed = Family::counter(
        "muralla_edge_rx_missed",
        "Packets that the network card dropped because its queue was full, before the wall saw them",
    );
    let mut dropped =
        Family::counter("muralla_edge_rx_dropped", "Packets that the network stack dropped");
    for interface in &status.interfaces {
        let name = || ("interface", interface.name.clone());
        let current = match (interface.attached, interface.mode) {
            (true, Some(Mode::Native)) => "native",
            (true, Some(Mode::Generic)) => "generic",
            _ => "none",
        };
        for each in ["native", "generic", "none"] {
            let labels = vec![name(), ("mode", each.to_owned())];
            mode.push(labels, f64::from(u8::from(each == current)));
        }
        missed.push(vec![name()], interface.rx_missed as f64);
        dropped.push(vec![name()], interface.rx_dropped as f64);
    }
    vec![mode, missed, dropped]
}

fn feeds(status: &Status) -> Vec<Family> {
    let mut age =
        Family::gauge("muralla_edge_feed_age_seconds", "Time since a feed's file changed");
    let mut prefixes = Family::gauge("muralla_edge_feed_prefixes", "Prefixes of a feed in force");
    let mut stale =
        Family::gauge("muralla_edge_feed_stale", "Whether a feed is older than its max_age");
    let mut broken =
        Family::gauge("muralla_edge_feed_broken", "Whether a feed's file could not be read");
    for feed in &status.feeds {
        let labels = || vec![("feed", feed.name.clone())];
        if let Some(seconds) = feed.age_seconds {
            age.push(labels(), seconds as f64);
        }
        prefixes.push(labels(), feed.prefixes as f64);
        stale.push(labels(), f64::from(u8::from(feed.stale)));
        broken.push(labels(), f64::from(u8::from(feed.problem.is_some())));
    }
    vec![age, prefixes, stale, broken]
}

/// A counter that is one number.
fn counter(name: &'static str, help: &'static str, value: u64) -> Family {
    Family::counter(name, help).with(vec![], value as f64)
}

/// A gauge that is one number.
fn gauge(name: &'static str, help: &'static str, value: u64) -> Family {
    Family::gauge(name, help).with(vec![], value as f64)
}

/// A gauge that is 1 if it is so.
fn truth(name: &'static str, help: &'static str, value: bool) -> Family {
    gauge(name, help, value.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::admin::client::{Client, ClientError};
    use crate::admin::socket;
    use crate::fake;

    #[tokio::test]
    async fn health_says_whether_all_is_protected_and_answered() {
        let stand = fake::Stand::new();
        let daemon = stand.daemon();
        let listener = socket::listen(&stand.socket(), None).unwrap();
        let listener = tokio::net::UnixListener::from_std(listener).unwrap();
        let router = router(Arc::clone(&daemon));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let client = Client::new(&stand.socket());
        let refused = client.get::<serde_json::Value>("/health").await;
        assert!(matches!(refused, Err(ClientError::Refused(_))), "before any canary: {refused:?}");
        daemon.canary().await.unwrap();
        let health: serde_json::Value = client.get("/health").await.unwrap();
        assert_eq!((&health["protected"], &health["answering"]), (&true.into(), &true.into()));
        stand.starter.0.lock().unwrap().silent = true;
        daemon.canary().await.unwrap_err();
        let refused = client.get::<serde_json::Value>("/health").await;
        assert!(matches!(refused, Err(ClientError::Refused(_))), "{refused:?}");
        stand.starter.0.lock().unwrap().silent = false;
        daemon.canary().await.unwrap();
        daemon.detach().unwrap();
        let refused = client.get::<serde_json::Value>("/health").await;
        assert!(matches!(refused, Err(ClientError::Refused(_))), "{refused:?}");
    }

    #[tokio::test]
    async fn promtool_finds_nothing_to_complain_about() {
        let stand = fake::Stand::new();
        let daemon = stand.daemon();
        let mut exposition = Exposition::default();
        exposition.gather(Scrape(Arc::clone(&daemon)));
        daemon.tick();
        daemon.canary().await.unwrap();
        daemon.reload().unwrap();
        let text = exposition.encode().unwrap();
        for line in [
            "muralla_edge_packets_total{interface=\"eth0\",service=\"dns\",reason=\"source_limit\",verdict=\"slip\"} 70.0",
            "muralla_edge_interface_mode{interface=\"eth0\",mode=\"generic\"} 1.0",
            "muralla_edge_interface_mode{interface=\"eth0\",mode=\"native\"} 0.0",
            "muralla_edge_rx_missed_total{interface=\"eth0\"} 3.0",
            "muralla_edge_packet_seconds 5e-8",
            "muralla_edge_feed_age_seconds{feed=\"drop\"} 400000.0",
            "muralla_edge_blocks{origin=\"operator\"} 1.0",
            "muralla_edge_blocks{origin=\"offence\"} 0.0",
            "muralla_config_last_reload_successful 1.0",
            "muralla_promise_events_total{promise=\"EDGE\",outcome=\"good\"} 1.0",
            "muralla_promise_events_total{promise=\"DNS\",outcome=\"good\"} 1.0",
            "muralla_edge_dns_answers_total 600.0",
            "muralla_edge_dns_cache_wanted 1.0",
            "muralla_dns_queries_total{transport=\"udp\",type=\"A\",rcode=\"NOERROR\",level=\"nic\"} 600.0",
            "muralla_dns_latency_seconds_bucket{level=\"wire\",le=\"4e-06\"} 900",
            "muralla_dns_latency_seconds_bucket{level=\"wire\",le=\"+Inf\"} 900",
            "muralla_dns_latency_seconds_sum{level=\"wire\"} 0.002",
            "muralla_dns_upstream_timeouts_total 7.0",
            "muralla_dns_validation_failures_total{reason=\"signature_expired\"} 4.0",
            "muralla_dns_dropped_total{reason=\"too_many_questions\"} 11.0",
            "muralla_dns_nic_entries 100.0",
            "muralla_dns_canary_success 1.0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }

        let mut promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool is needed: apt-get install prometheus");
        promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = promtool.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&said));
        assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
    }
}
