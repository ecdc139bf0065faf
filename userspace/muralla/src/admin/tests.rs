//! Both ends of the socket against each other, with a wall that has no kernel.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::time::timeout;

use super::api::{Done, Overview, SampleLine};
use super::client::{Client, ClientError};
use super::{server, socket};
use crate::daemon::Daemon;
use crate::fake::{self, Stand};
use crate::following;
use muralla_edge::wall::{BlockEntry, CounterRow};

fn serve(stand: &Stand, daemon: &Arc<Daemon>) -> Client {
    let router: Router = server::router(Arc::clone(daemon));
    let listener = UnixListener::from_std(socket::listen(&stand.socket(), None).unwrap()).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    Client::new(&stand.socket())
}

fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>) -> String {
    match result {
        Err(ClientError::Refused(refusal)) => refusal.error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_state_can_be_asked_for() {
    let stand = Stand::new();
    let client = serve(&stand, &stand.daemon());
    let overview: Overview = client.get("/v1/status").await.unwrap();
    assert!(!overview.detached);
    assert!(overview.warnings[0].starts_with("eth0: GENERIC MODE"), "{:?}", overview.warnings);
    assert!(overview.warnings[1].starts_with("feed drop is stale"), "{:?}", overview.warnings);
    let counters: Vec<CounterRow> = client.get("/v1/counters").await.unwrap();
    assert_eq!(counters.len(), fake::counters().len());
    let top: muralla_edge::talkers::Top = client.get("/v1/top").await.unwrap();
    assert_eq!(top, fake::top());
    assert_eq!(client.get::<String>("/v1/ping").await.unwrap(), "pong");
}

#[tokio::test]
async fn blocks_come_and_go_but_never_over_the_protected() {
    let stand = Stand::new();
    let client = serve(&stand, &stand.daemon());
    let block = async |form: Value| client.post::<Done>("/v1/blocks", &form).await;
    assert!(
        block(json!({"prefix": "198.51.100.7", "note": "x", "for_seconds": 60}))
            .await
            .unwrap()
            .done
    );
    let prefix = "198.51.100.7/32".parse().unwrap();
    let blocks: Vec<BlockEntry> = client.get("/v1/blocks").await.unwrap();
    assert!(blocks.iter().any(|entry| entry.prefix == prefix && entry.note == "x"));
    assert!(client.remove::<Done>("/v1/blocks", prefix).await.unwrap().done);
    let done: Done = client.remove("/v1/blocks", prefix).await.unwrap();
    assert!(!done.done && done.remarks[0].contains("was not blocked"), "{done:?}");
    let done: Done = client.remove("/v1/blocks", "192.0.2.200/32".parse().unwrap()).await.unwrap();
    assert!(done.remarks[0].contains("stays blocked by the configuration file"), "{done:?}");

    for (form, complaint) in [
        (json!({"prefix": "203.0.113.9"}), "protected by the configuration"),
        (json!({"prefix": "0.0.0.0/0"}), "protected by the configuration"),
        (json!({"prefix": "198.51.100.7", "for_seconds": 0}), "from one second"),
        (
            json!({"prefix": "198.51.100.7", "services": ["dnss"]}),
            "no service `dnss`; known are other,",
        ),
        (json!({"prefix": "198.51.100.7", "note": "a\nb"}), "in one line"),
        (json!({"prefix": "198.51.100.7/24"}), "has bits set beyond its length"),
        (json!({"prefix": "198.51.100.7", "until": 5}), "unknown field `until`"),
    ] {
        let error = refusal(block(form).await);
        assert!(error.contains(complaint), "{error}\nexpected {complaint}");
    }
}

#[tokio::test]
async fn allowing_everybody_is_refused() {
    let stand = Stand::new();
    let client = serve(&stand, &stand.daemon());
    let allow =
        async |prefix: &str| client.post::<Done>("/v1/allow", &json!({ "prefix": prefix })).await;
    assert!(allow("2001:db8::/32").await.unwrap().done);
    assert!(refusal(allow("::/0").await).contains("let everybody through"));
    let done: Done = client.remove("/v1/allow", "2001:db8::/32".parse().unwrap()).await.unwrap();
    assert!(done.done);
}

#[tokio::test]
async fn offences_and_customers_are_reported() {
    let stand = Stand::new();
    let client = serve(&stand, &stand.daemon());
    let offence = |weight: Value| json!({"source": "198.51.100.7", "service": "smtp", "reason": "spam", "weight": weight, "handshake": true});
    let judgement: Value = client.post("/v1/offences", &offence(json!(2.0))).await.unwrap();
    assert_eq!(judgement, json!({"judgement": "noted", "score": 2.0}));
    assert!(
        refusal(client.post::<Value>("/v1/offences", &offence(json!(-1.0))).await)
            .contains("weight")
    );
    let seen = json!({"source": "198.51.100.7", "account": "mary"});
    client.post::<Done>("/v1/customers-seen", &seen).await.unwrap();
    let deeds = stand.builder.0.lock().unwrap();
    assert_eq!(deeds.customers_seen, [("198.51.100.7".parse().unwrap(), "mary".to_owned())]);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_in_json() {
    let stand = Stand::new();
    let client = serve(&stand, &stand.daemon());
    assert_eq!(refusal(client.get::<Value>("/v1/nonsense").await), "there is no such call");
    assert_eq!(refusal(client.get::<Value>("/v1/reload").await), "not with this method");
    let large = "x".repeat(100 << 10);
    let body = json!({"prefix": "198.51.100.7", "note": large});
    let error = refusal(client.post::<Value>("/v1/blocks", &body).await);
    assert!(error.contains("length limit exceeded"), "{error}");
    let error = refusal(client.post::<Value>("/v1/blocks", &json!(5)).await);
    assert!(error.contains("invalid type"), "{error}");
}

#[tokio::test]
async fn nobody_listening_says_how_to_begin() {
    let stand = Stand::new();
    let error = Client::new(&stand.socket()).get::<Overview>("/v1/status").await.unwrap_err();
    assert!(error.nobody_there());
    assert!(error.to_string().contains("systemctl start muralla"), "{error}");
}

#[tokio::test]
async fn a_detached_wall_stays_down_until_it_is_attached() {
    let stand = Stand::new();
    let daemon = stand.daemon();
    let client = serve(&stand, &daemon);
    let done: Done = client.post("/v1/edge/detach", &()).await.unwrap();
    assert_eq!(done.remarks, ["eth0"]);
    daemon.tick();
    daemon.refresh_if_changed();
    let overview: Overview = client.get("/v1/status").await.unwrap();
    assert!(overview.detached && overview.edge.is_none());
    assert!(overview.warnings[0].starts_with("DETACHED"));
    assert!(refusal(client.get::<Value>("/v1/counters").await).starts_with("the wall is detached"));
    assert_eq!(stand.builder.0.lock().unwrap().built, 1);
    assert!(client.post::<Done>("/v1/edge/attach", &()).await.unwrap().done);
    assert!(!client.post::<Done>("/v1/edge/attach", &()).await.unwrap().done);
    assert_eq!(stand.builder.0.lock().unwrap().built, 2);
}

#[tokio::test]
async fn a_bad_configuration_changes_nothing_and_says_why() {
    let stand = Stand::new();
    let daemon = stand.daemon();
    let client = serve(&stand, &daemon);
    assert!(client.post::<Done>("/v1/reload", &()).await.unwrap().done);
    assert_eq!(stand.builder.0.lock().unwrap().reloaded, 1);

    stand.configure("[edge]\ncustomer = []\n");
    let error = refusal(client.post::<Done>("/v1/reload", &()).await);
    assert!(error.contains("muralla.toml:2:1: unknown key `customer` in [edge]"), "{error}");
    assert!(error.contains("help: did you mean `customers`?"), "{error}");
    assert_eq!(stand.builder.0.lock().unwrap().reloaded, 1);
    let overview: Overview = client.get("/v1/status").await.unwrap();
    let reload = overview.reload.unwrap();
    assert!(!reload.applied);
    assert!(reload.remarks.iter().any(|remark| remark.contains("unknown key")));
    assert!(overview.warnings.iter().any(|warning| warning.contains("refused at the last reload")));

    let good = fake::CONFIGURATION.replace("FEED", "/nonexistent");
    stand.configure(&format!("{good}[log]\nlevel = \"debug\"\n"));
    stand.builder.0.lock().unwrap().refuse_reload = true;
    let error = refusal(client.post::<Done>("/v1/reload", &()).await);
    assert!(error.contains("the map is full"), "{error}");
    stand.builder.0.lock().unwrap().refuse_reload = false;
    let done: Done = client.post("/v1/reload", &()).await.unwrap();
    assert!(
        done.remarks.iter().any(|remark| remark.contains("[log] take effect at the next restart"))
    );
    assert!(done.remarks.iter().any(|remark| remark.contains("/nonexistent is not there now")));
}

#[tokio::test]
async fn every_follower_sees_every_sample() {
    let stand = Stand::new();
    let (daemon, deliveries) = stand.daemon_with_samples();
    let client = serve(&stand, &daemon);
    let mut one = client.samples().await.unwrap();
    let mut other = client.samples().await.unwrap();
    tokio::spawn(following::pump(Arc::clone(&daemon), deliveries));
    for samples in [&mut one, &mut other] {
        let line = timeout(Duration::from_secs(20), samples.next()).await.unwrap().unwrap();
        let Some(SampleLine::Sample(sighting)) = line else { panic!("{line:?}") };
        assert_eq!(sighting.drop.interface, "eth0");
        assert_eq!(sighting.drop.service, "dns");
        assert_eq!(sighting.drop.reason, "source_limit");
        assert_eq!(sighting.sample().data, fake::sample().data);
    }
    // A new wall's samples take the place of the old one's.
    daemon.detach().unwrap();
    daemon.attach().unwrap();
    let line = timeout(Duration::from_secs(20), one.next()).await.unwrap().unwrap();
    assert!(matches!(line, Some(SampleLine::Sample(_))), "{line:?}");
}

#[test]
fn feeds_are_read_again_when_their_file_changes() {
    let stand = Stand::new();
    let daemon = stand.daemon();
    let refreshed = || stand.builder.0.lock().unwrap().refreshed;
    daemon.refresh_if_changed();
    assert_eq!(refreshed(), 0);
    std::fs::write(stand.feed(), "198.51.100.0/24\n203.0.113.0/24\n").unwrap();
    daemon.refresh_if_changed();
    daemon.refresh_if_changed();
    assert_eq!(refreshed(), 1);
    std::fs::remove_file(stand.feed()).unwrap();
    daemon.refresh_if_changed();
    assert_eq!(refreshed(), 2);
}

#[test]
fn seconds_under_protection_are_counted() {
    let stand = Stand::new();
    let daemon = stand.daemon();
    daemon.tick();
    daemon.detach().unwrap();
    daemon.tick();
    let state = daemon.standing().state();
    assert_eq!((state.good, state.total), (1, 1), "detached on purpose is no broken promise");
}
