//! Both ends of the socket against each other, with a wall that has no kernel.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::time::timeout;

use super::api::{Canary, Done, Flushed, Overview, QueryLine, SampleLine};
use super::client::{Client, ClientError};
use super::{server, socket};
use crate::daemon::Daemon;
use crate::fake::{self, Stand};
use crate::following;
use crate::roles::Role;
use muralla_dns::report::{Lookup, Status, Zone};
use muralla_edge::wall::{BlockEntry, CounterRow};
use muralla_radius::report::{
    DynamicOutcome, DynamicVerdict, LoginRefusal, Session, Status as RadiusStatus, TestOutcome,
    UserLimits,
};

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

/// A service behind the wall that somebody got hold of bans from services of its kind, and does nothing else.
#[tokio::test]
async fn services_tell_what_they_saw_and_can_do_no_more() {
    let stand = Stand::new();
    let router: Router = server::reports_router(stand.daemon());
    let path = stand.socket().with_file_name("reports.sock");
    let listener = UnixListener::from_std(socket::listen(&path, None).unwrap()).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let client = Client::new(&path);
    let offence = |service: &str| json!({"source": "198.51.100.7", "service": service, "reason": "spam", "weight": 2.0, "handshake": true});
    for service in ["smtp", "submission", "pop3", "imap", "web"] {
        let judgement: Value = client.post("/v1/offences", &offence(service)).await.unwrap();
        assert_eq!(judgement["judgement"], "noted", "{service}");
    }
    for service in ["dns_tcp", "other", ""] {
        let refused = refusal(client.post::<Value>("/v1/offences", &offence(service)).await);
        assert!(refused.contains("no service behind the wall reports"), "{refused}");
    }
    let seen = json!({"source": "198.51.100.7", "account": "mail 5"});
    client.post::<Done>("/v1/customers-seen", &seen).await.unwrap();
    for path in ["/v1/status", "/v1/blocks", "/v1/samples", "/v1/roles", "/v1/mail/status"] {
        let refused = refusal(client.get::<Value>(path).await);
        assert_eq!(refused, "there is no such call at this socket", "{path}");
    }
    for (path, form) in [
        ("/v1/blocks", json!({"prefix": "198.51.100.7"})),
        ("/v1/allow", json!({"prefix": "198.51.100.7"})),
        ("/v1/reload", json!({})),
        ("/v1/edge/detach", json!({})),
    ] {
        let refused = refusal(client.post::<Value>(path, &form).await);
        assert_eq!(refused, "there is no such call at this socket", "{path}");
    }
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
    let mut one = client.follow::<SampleLine>("/v1/samples").await.unwrap();
    let mut other = client.follow::<SampleLine>("/v1/samples").await.unwrap();
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
    let state = daemon.promises()[0].state();
    assert_eq!((state.good, state.total), (1, 1), "detached on purpose is no broken promise");
}

#[tokio::test]
async fn names_are_looked_up_flushed_and_followed() {
    let stand = Stand::new();
    let client = serve(&stand, &stand.daemon());
    let status: Status = client.get("/v1/dns/status").await.unwrap();
    assert_eq!(status.cache.entries, fake::dns_status().cache.entries);
    let lookup = async |form: Value| client.post::<Lookup>("/v1/dns/lookup", &form).await;
    let found = lookup(json!({"name": "www.example.net"})).await.unwrap();
    assert_eq!((found.rtype.as_str(), found.steps.len()), ("A", 0));
    let found = lookup(json!({"name": "a.example", "type": "MX", "trace": true})).await.unwrap();
    assert_eq!((found.rtype.as_str(), found.steps.len()), ("MX", 2));
    let error = refusal(lookup(json!({"name": "a..b"})).await);
    assert!(error.contains("is no domain name"), "{error}");
    assert!(refusal(lookup(json!({"name": "a", "kind": "A"})).await).contains("unknown field"));

    let flushed: Flushed =
        client.post("/v1/dns/flush", &json!({"name": "example.net", "zone": true})).await.unwrap();
    assert_eq!(flushed.entries, 3);
    assert_eq!(stand.starter.0.lock().unwrap().flushed, [("example.net".to_owned(), true)]);
    assert_eq!(client.get::<Vec<Zone>>("/v1/dns/zones").await.unwrap().len(), 2);
    let zones: Vec<Zone> =
        client.post("/v1/dns/zones/reload", &json!({"name": "example.net."})).await.unwrap();
    assert_eq!(zones.len(), 1);
    let mut queries = client.follow::<QueryLine>("/v1/dns/queries").await.unwrap();
    let line = timeout(Duration::from_secs(20), queries.next()).await.unwrap().unwrap();
    assert!(matches!(line, Some(QueryLine::Query(query)) if query.name == "www.example.net."));

    let text = std::fs::read_to_string(stand.path()).unwrap().replace("every = 1", "every = 0");
    stand.configure(&text);
    client.post::<Done>("/v1/reload", &()).await.unwrap();
    let error = client.follow::<QueryLine>("/v1/dns/queries").await.err().unwrap().to_string();
    assert!(error.contains("no sample") && error.contains("[dns.log]"), "{error}");
}

#[tokio::test]
async fn a_sign_of_life_is_an_answered_query() {
    let stand = Stand::new();
    let daemon = stand.daemon();
    let client = serve(&stand, &daemon);
    assert_eq!(client.get::<String>("/v1/ping").await.unwrap(), "pong");
    assert_eq!(client.get::<Canary>("/v1/dns/canary").await.unwrap().seconds, 0.000_25);
    stand.starter.0.lock().unwrap().silent = true;
    let error = refusal(client.get::<String>("/v1/ping").await);
    assert_eq!(error, "DNS does not answer: no answer");
    daemon.canary().await.unwrap_err();
    let overview: Overview = client.get("/v1/status").await.unwrap();
    assert!(overview.silent);
    assert!(overview.warnings.iter().any(|w| w.starts_with("DNS NOT ANSWERING: no answer")));
    let state = daemon.promises()[1].state();
    assert_eq!((state.promise.as_str(), state.good, state.total), ("DNS", 0, 1));
}

#[tokio::test]
async fn a_process_does_only_what_its_roles_say() {
    let stand = Stand::new();
    let (daemon, _) = stand.daemon_with_roles(&[Role::Dns]);
    let client = serve(&stand, &daemon);
    daemon.tick();
    daemon.refresh_if_changed();
    let overview: Overview = client.get("/v1/status").await.unwrap();
    assert!(overview.edge.is_none() && !overview.detached && overview.dns.is_some());
    assert_eq!(overview.roles, [Role::Dns]);
    for call in ["/v1/counters", "/v1/top", "/v1/blocks"] {
        let error = refusal(client.get::<Value>(call).await);
        assert_eq!(error, "this process does not have the role edge", "{call}");
    }
    assert!(refusal(client.post::<Done>("/v1/edge/attach", &()).await).contains("the role edge"));
    assert!(client.post::<Done>("/v1/reload", &()).await.unwrap().done);
    let (built, reloaded) = {
        let deeds = stand.builder.0.lock().unwrap();
        (deeds.built, deeds.reloaded)
    };
    assert_eq!((built, reloaded), (0, 0), "eBPF is left alone");

    // The other way round.
    let stand = Stand::new();
    let (daemon, _) = stand.daemon_with_roles(&[Role::Edge]);
    let client = serve(&stand, &daemon);
    let error = refusal(client.get::<Value>("/v1/dns/zones").await);
    assert_eq!(error, "this process does not have the role dns");
    assert_eq!(client.get::<String>("/v1/ping").await.unwrap(), "pong");
    assert_eq!(stand.starter.0.lock().unwrap().started, 0);
    let text = std::fs::read_to_string(stand.path()).unwrap();
    stand.configure(&text[text.find("[dns]").unwrap()..]);
    let error = refusal(client.post::<Done>("/v1/reload", &()).await);
    assert!(error.contains("the section [edge] is gone"), "{error}");
}

#[tokio::test]
async fn a_wall_that_refuses_takes_the_new_dns_configuration_back() {
    let stand = Stand::new();
    let client = serve(&stand, &stand.daemon());
    let old = std::fs::read_to_string(stand.path()).unwrap();
    let servers = || {
        let deeds = stand.starter.0.lock().unwrap();
        let config = deeds.config.clone().unwrap();
        config.resolver.forward[0].servers[0].to_string()
    };
    assert_eq!(servers(), "203.0.114.53:53");
    stand.configure(&old.replace("203.0.114.53", "203.0.114.54"));
    stand.builder.0.lock().unwrap().refuse_reload = true;
    assert!(refusal(client.post::<Done>("/v1/reload", &()).await).contains("the map is full"));
    assert_eq!(servers(), "203.0.114.53:53");
    stand.builder.0.lock().unwrap().refuse_reload = false;
    assert!(client.post::<Done>("/v1/reload", &()).await.unwrap().done);
    assert_eq!(servers(), "203.0.114.54:53");
}

#[tokio::test]
async fn nobody_blocks_the_resolvers_own_upstreams() {
    let stand = Stand::new();
    let client = serve(&stand, &stand.daemon());
    let form = json!({"prefix": "203.0.114.0/24"});
    let error = refusal(client.post::<Done>("/v1/blocks", &form).await);
    assert!(
        error.contains("would cut off 203.0.114.53/32, a forwarder of corp.example"),
        "{error}"
    );
}

#[tokio::test]
async fn radius_is_asked_through_the_same_socket() {
    let stand = Stand::with_radius();
    let daemon = stand.daemon();
    let client = serve(&stand, &daemon);
    let status: RadiusStatus = client.get("/v1/radius/status").await.unwrap();
    assert_eq!((status.subscribers, status.nases.len()), (500_000, 1));
    let sessions: Vec<Session> = client.get("/v1/radius/sessions?user=alice").await.unwrap();
    assert_eq!(sessions.len(), 1);
    let outcomes: Vec<DynamicOutcome> =
        client.post("/v1/radius/sessions/change", &json!({"user": "alice"})).await.unwrap();
    assert_eq!(outcomes[0].verdict, DynamicVerdict::Acknowledged);
    let close = "/v1/radius/sessions/close";
    let closed: Session = client.post(close, &json!({"session": "0000001a"})).await.unwrap();
    assert_eq!(closed.user, "alice");
    let none = client.post::<Session>(close, &json!({"session": "0000001b"})).await;
    assert!(refusal(none).contains("no session 0000001b is open here"));
    let form = json!({"user": "alice", "password": "right"});
    let outcome: TestOutcome = client.post("/v1/radius/test", &form).await.unwrap();
    assert_eq!((outcome.accepted, outcome.method.as_str()), (Some(true), "pap"));
    let refused = "/v1/radius/refusals?user=alice&since=1795536000.5&most=7";
    let refusals: Vec<LoginRefusal> = client.get(refused).await.unwrap();
    assert_eq!((refusals.len(), &*refusals[0].user), (1, "alice"));
    let unknown = client.get::<String>("/v1/radius/refusals?users=alice").await;
    assert!(refusal(unknown).contains("users"), "a filter that is none");
    let limits: UserLimits = client.get("/v1/radius/limits?user=a%20b").await.unwrap();
    assert_eq!((limits.user.as_str(), limits.seconds), ("a b", Some(35)));

    stand.radius.0.lock().unwrap().silent = true;
    let error = refusal(client.get::<String>("/v1/ping").await);
    assert_eq!(error, "RADIUS does not answer: no answer");
    daemon.radius_canary().await;
    let overview: Overview = client.get("/v1/status").await.unwrap();
    assert!(overview.silent);
    assert!(overview.warnings.iter().any(|w| w.starts_with("RADIUS NOT ANSWERING: no answer")));
    let promises: Vec<String> =
        daemon.promises().iter().map(|promise| promise.state().promise).collect();
    assert_eq!(promises, ["EDGE", "DNS", "AAA"]);
}

#[tokio::test]
async fn the_wall_lets_the_nases_of_radius_through() {
    let stand = Stand::with_radius();
    let _daemon = stand.daemon();
    let written = std::fs::read_to_string(stand.nas_file()).unwrap();
    assert!(written.starts_with('#'), "{written}");
    assert_eq!(
        written.lines().skip(1).collect::<Vec<_>>(),
        ["192.0.2.16/28", "198.51.100.9/32"],
        "of the file and of the database"
    );
    // The next start of the wall, and each change of the file, has them beside those of [edge].
    let (daemon, _) = stand.daemon_with_roles(&[Role::Edge]);
    let nas = daemon.reload().map(|_| stand.builder.0.lock().unwrap().nas.clone()).unwrap();
    let expected = ["192.0.2.0/28", "192.0.2.16/28", "198.51.100.9/32"];
    assert_eq!(nas.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn the_list_for_the_wall_is_tried_again_until_it_is_written() {
    let stand = Stand::with_radius();
    let file = stand.nas_file();
    let folder = file.parent().unwrap();
    // A file in the place of the folder: nothing can be written there, by nobody.
    std::fs::write(folder, "").unwrap();
    let daemon = stand.daemon();
    assert!(!file.exists());
    std::fs::remove_file(folder).unwrap();
    daemon.tick();
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.contains("198.51.100.9/32"), "{written}");
}

#[tokio::test]
async fn the_list_for_the_wall_loses_nobody_while_the_database_is_read() {
    let stand = Stand::with_radius();
    let file = stand.nas_file();
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "# of the process before\n203.0.113.8/32\n192.0.2.16/28\n").unwrap();
    stand.radius.0.lock().unwrap().loading = true;
    let daemon = stand.daemon();
    let list = || -> Vec<String> {
        let text = std::fs::read_to_string(&file).unwrap();
        text.lines().skip(1).map(str::to_owned).collect()
    };
    assert_eq!(list(), ["192.0.2.16/28", "198.51.100.9/32", "203.0.113.8/32"]);
    stand.radius.0.lock().unwrap().loading = false;
    daemon.tick();
    assert_eq!(list(), ["192.0.2.16/28", "198.51.100.9/32"]);
}

#[tokio::test]
async fn mail_is_asked_through_the_same_socket() {
    use super::api::{QueueChange, Settled, TraceForm};
    use muralla_mail::operators::{
        DestinationsForm, MessageForm, QueueAction, QueueDestination, QueueEntry, QueueForm,
        QueuedMessage, TraceEvent,
    };

    let stand = Stand::with_mail();
    let daemon = stand.daemon();
    let client = serve(&stand, &daemon);
    let status: muralla_mail::report::Status = client.get("/v1/mail/status").await.unwrap();
    assert_eq!(status.directory.accounts, 1_000);
    let form = QueueForm { recipient: Some("x@example.org".to_owned()), ..QueueForm::default() };
    let queued: Vec<QueueEntry> = client.post("/v1/mail/queue", &form).await.unwrap();
    assert_eq!(queued.len(), 1);
    let first = DestinationsForm { most: Some(1) };
    let destinations: Vec<QueueDestination> =
        client.post("/v1/mail/queue/destinations", &first).await.unwrap();
    assert_eq!(destinations.len(), 1);
    let change = QueueChange { which: form.clone(), action: QueueAction::Hold };
    let settled: Settled = client.post("/v1/mail/queue/change", &change).await.unwrap();
    assert_eq!(settled.records, 2);
    assert_eq!(stand.mail.0.lock().unwrap().changes, [(form, QueueAction::Hold)]);
    let form = MessageForm { message: queued[0].message.clone(), header: true };
    let read: QueuedMessage = client.post("/v1/mail/queue/message", &form).await.unwrap();
    assert_eq!(read.octets().unwrap(), b"Subject: x\r\n\r\n");
    let what = TraceForm { what: "<one@example.net>".to_owned() };
    let events: Vec<TraceEvent> = client.post("/v1/mail/trace", &what).await.unwrap();
    assert_eq!(events[0].header_id.as_deref(), Some("<one@example.net>"));

    let overview: Overview = client.get("/v1/status").await.unwrap();
    assert!(overview.warnings.contains(&"mail: 3 messages wait on this machine's disk".to_owned()));
    stand.mail.0.lock().unwrap().silent = true;
    let error = refusal(client.get::<String>("/v1/ping").await);
    assert_eq!(error, "mail does not answer: mx greets nobody");
    daemon.mail_canary().await;
    let overview: Overview = client.get("/v1/status").await.unwrap();
    assert!(overview.silent);
}
