//! What stories can't tell: many questions at once, flushing, copies of the root, and servers that answer by hand.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod private_internet;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, NS, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use muralla_internet::{Internet, Plan, generate};
use muralla_resolver::clock::Clock;
use muralla_resolver::config::{Minimisation, Route, Validation};
use muralla_resolver::engine::{Answer, Engine as _, Request, Security};
use muralla_resolver::transport::{ExchangeError, Exchanging, Protocol, Reply, Room, Transport};
use muralla_resolver::{Resolver, ResolverConfig};
use private_internet::{Attached, BEGIN as NOW, Network};
use tokio::time::{Instant, sleep, sleep_until};

/// What a server that is written by hand does with a question: an answer and when, or nothing.
type Script = dyn Fn(IpAddr, &Name, RecordType, &mut Message) -> Option<Duration> + Send + Sync;

/// Servers, and what they were asked.
struct World {
    script: Box<Script>,
    asked: Mutex<Vec<(IpAddr, String)>>,
}

impl World {
    fn new(
        script: impl Fn(IpAddr, &Name, RecordType, &mut Message) -> Option<Duration>
        + Send
        + Sync
        + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { script: Box::new(script), asked: Mutex::default() })
    }

    fn count(&self, question: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|(_, asked)| asked == question).count()
    }

    fn total(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn note(asked: &Mutex<Vec<(IpAddr, String)>>, server: SocketAddr, query: &[u8]) -> Message {
    let message = Message::from_vec(query).unwrap();
    let question = &message.queries[0];
    let text = format!("{} {}", question.name().to_lowercase(), question.query_type());
    asked.lock().unwrap().push((server.ip(), text));
    message
}

impl Transport for World {
    fn exchange<'a>(
        &'a self,
        server: SocketAddr,
        _: Protocol,
        query: &'a [u8],
        patience: Duration,
        accept: &'a (dyn Fn(&[u8]) -> bool + Send + Sync),
    ) -> Exchanging<'a> {
        Box::pin(async move {
            let asked = note(&self.asked, server, query);
            let question = asked.queries[0].clone();
            let mut answer = Message::new(asked.metadata.id, MessageType::Response, OpCode::Query);
            answer.add_query(question.clone());
            let name = question.name().to_lowercase();
            let after = (self.script)(server.ip(), &name, question.query_type(), &mut answer);
            match after.filter(|after| *after <= patience) {
                Some(after) => {
                    sleep(after).await;
                    let message = answer.to_vec().unwrap();
                    assert!(accept(&message));
                    Ok(Reply { message, trip: after })
                }
                None => {
                    sleep(patience).await;
                    Err(ExchangeError::Timeout(patience))
                }
            }
        })
    }
}

/// A clock that somebody sets.
struct Settable(AtomicU64);

impl Settable {
    fn at(unix: u64) -> Self {
        Self(AtomicU64::new(unix))
    }

    fn set(&self, unix: u64) {
        self.0.store(unix, Ordering::Relaxed);
    }
}

impl Clock for Settable {
    fn unix(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The private Internet as a transport, and the network to look at.
fn attached(internet: Internet) -> (Arc<Network>, Arc<Attached>) {
    let network = Arc::new(Network::new(internet));
    (network.clone(), Arc::new(Attached(network)))
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn a(owner: &Name, ttl: u32, last: u8) -> Record {
    Record::from_rdata(owner.clone(), ttl, RData::A(A::new(192, 0, 2, last)))
}

fn ns(owner: &str, host: &str) -> Record {
    Record::from_rdata(name(owner), 3_600, RData::NS(NS(name(host))))
}

fn deny(answer: &mut Message, zone: &str, rcode: ResponseCode) {
    let soa = SOA::new(name("m."), name("r."), 1, 2, 3, 4, 60);
    answer.metadata.authoritative = true;
    answer.metadata.response_code = rcode;
    answer.add_authority(Record::from_rdata(name(zone), 60, RData::SOA(soa)));
}

fn config() -> ResolverConfig {
    ResolverConfig {
        root_hints: vec![("a.root.".into(), vec!["10.0.0.1".parse().unwrap()])],
        allow_private_servers: true,
        validation: Validation::Off,
        ..Default::default()
    }
}

fn resolver(config: ResolverConfig, transport: Arc<dyn Transport>) -> Resolver {
    Resolver::new(config, transport, Arc::new(Settable::at(NOW)), 1).unwrap()
}

async fn ask(resolver: &Resolver, question: &str, rtype: RecordType) -> Answer {
    let request = Request {
        name: name(question),
        rtype,
        checking_disabled: false,
        refresh: false,
        trace: None,
    };
    resolver.resolve(request).await
}

/// A root that delegates `test.` to 10.0.0.2, and what that one does.
fn with_test_zone(
    zone: impl Fn(&Name, RecordType, &mut Message) -> Option<Duration> + Send + Sync + 'static,
) -> Arc<World> {
    World::new(move |server, name, rtype, answer| {
        if server == IpAddr::from([10, 0, 0, 2]) {
            return zone(name, rtype, answer);
        }
        if name.is_root() {
            answer.metadata.authoritative = true;
            answer.add_answer(ns(".", "a.root."));
        } else {
            answer.add_authority(ns("test.", "ns.test."));
            let glue = RData::A(A::new(10, 0, 0, 2));
            answer.add_additional(Record::from_rdata(self::name("ns.test."), 3_600, glue));
        }
        Some(Duration::from_millis(10))
    })
}

#[tokio::test(start_paused = true)]
async fn a_thousand_questions_of_one_cold_zone_fetch_its_keys_once() {
    let plan = "\
zone . signed
zone test signed
zone example.test signed
  * A 203.0.113.1
server a.root 10.0.0.1 serves .
server ns.test 10.0.0.2 serves test
server ns.example.test 10.0.0.3 serves example.test
";
    let internet = Plan::parse(plan).unwrap().build().unwrap();
    let config = ResolverConfig {
        trust_anchors: internet.trust_anchors(),
        validation: Validation::Enforce,
        ..config()
    };
    let (network, net) = attached(internet);
    let resolver = resolver(config, net);
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..1_000 {
        let resolver = resolver.clone();
        let question = format!("host{number}.example.test.");
        asking.spawn(async move { ask(&resolver, &question, RecordType::A).await });
    }
    while let Some(answer) = asking.join_next().await {
        let answer = answer.unwrap();
        assert_eq!((answer.rcode, answer.security), (ResponseCode::NoError, Security::Secure));
        assert!(answer.authorities.iter().any(|r| r.record_type() == RecordType::NSEC));
    }
    let asked = network.take_asked();
    for question in [". DNSKEY", "test. DNSKEY", "example.test. DNSKEY", ". NS", "test. A"] {
        let question: (&str, &str) = question.split_once(' ').unwrap();
        let count = asked.iter().filter(|a| (&*a.name, &*a.rtype) == question).count();
        assert_eq!(count, 1, "{question:?}");
    }
    assert!(asked.iter().all(|a| a.protocol == Protocol::Udp));
    assert!(asked.len() < 1_020, "{}", asked.len());
}

#[tokio::test(start_paused = true)]
async fn zones_that_need_each_other_do_not_wait_for_ever() {
    // Servers of a.test. are in b.test. and the other way round; questions for both come at once.
    let world = with_test_zone(|name, _, answer| {
        let (a, b) = (self::name("a.test."), self::name("b.test."));
        match (a.zone_of(name), b.zone_of(name)) {
            (true, _) => drop(answer.add_authority(ns("a.test.", "ns.b.test."))),
            (_, true) => drop(answer.add_authority(ns("b.test.", "ns.a.test."))),
            _ => deny(answer, "test.", ResponseCode::NXDomain),
        }
        Some(Duration::from_millis(10))
    });
    let resolver = resolver(config(), world.clone());
    let begin = Instant::now();
    let (one, other) = tokio::join!(
        ask(&resolver, "www.a.test.", RecordType::A),
        ask(&resolver, "www.b.test.", RecordType::A)
    );
    assert_eq!((one.rcode, other.rcode), (ResponseCode::ServFail, ResponseCode::ServFail));
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    assert!(world.total() < 40, "{}", world.total());
    assert!(!one.errors.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_flushed_is_asked_again() {
    let world = with_test_zone(|name, rtype, answer| {
        answer.metadata.authoritative = true;
        match rtype {
            RecordType::A => drop(answer.add_answer(a(name, 600, 7))),
            _ => deny(answer, "test.", ResponseCode::NoError),
        }
        Some(Duration::from_millis(10))
    });
    let resolver = resolver(config(), world.clone());
    for expected in [1, 1] {
        ask(&resolver, "www.test.", RecordType::A).await;
        assert_eq!(world.count("www.test. A"), expected);
    }
    resolver.flush(&name("WWW.test"));
    ask(&resolver, "www.test.", RecordType::A).await;
    assert_eq!((world.count("www.test. A"), world.count("test. A")), (2, 1));
    resolver.flush_zone(&name("test."));
    ask(&resolver, "www.test.", RecordType::A).await;
    assert_eq!((world.count("www.test. A"), world.count("test. A")), (3, 2));
    let statistics = resolver.stats();
    assert_eq!(statistics.questions, 4);
    assert_eq!(statistics.upstream_queries as usize, world.total());
    assert_eq!(statistics.failures, 0);
    assert!(statistics.records > 0 && statistics.delegations == 2);
}

#[tokio::test(start_paused = true)]
async fn times_to_live_count_down() {
    let world = with_test_zone(|name, _, answer| {
        answer.metadata.authoritative = true;
        answer.add_answer(a(name, 600, 7));
        Some(Duration::from_millis(10))
    });
    let resolver = resolver(config(), world.clone());
    assert_eq!(ask(&resolver, "www.test.", RecordType::A).await.answers[0].ttl, 600);
    tokio::time::advance(Duration::from_secs(100)).await;
    assert_eq!(ask(&resolver, "www.test.", RecordType::A).await.answers[0].ttl, 500);
    tokio::time::advance(Duration::from_secs(500)).await;
    assert_eq!(ask(&resolver, "www.test.", RecordType::A).await.answers[0].ttl, 600);
    assert_eq!(world.count("www.test. A"), 2);
}

#[tokio::test(start_paused = true)]
async fn addresses_at_home_are_kept_out_of_answers_from_outside() {
    let world = with_test_zone(|name, _, answer| {
        answer.metadata.authoritative = true;
        answer.add_answer(a(name, 600, 7));
        Some(Duration::from_millis(10))
    });
    let denying =
        ResolverConfig { deny_answers: vec!["192.0.2.0/24".parse().unwrap()], ..config() };
    let answer = ask(&resolver(denying, world), "rebind.test.", RecordType::A).await;
    assert_eq!((answer.rcode, answer.answers.len()), (ResponseCode::NoError, 0));
}

#[tokio::test(start_paused = true)]
async fn a_dead_zone_fails_fast_the_second_time_and_recovers() {
    let dead = Arc::new(AtomicBool::new(true));
    let is_dead = dead.clone();
    let world = with_test_zone(move |name, _, answer| {
        answer.metadata.authoritative = true;
        answer.add_answer(a(name, 600, 7));
        let dead = is_dead.load(Ordering::Relaxed);
        (!dead).then_some(Duration::from_millis(10))
    });
    let resolver = resolver(config(), world.clone());
    let begin = Instant::now();
    let first = ask(&resolver, "one.test.", RecordType::A).await;
    assert_eq!(first.rcode, ResponseCode::ServFail);
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
    let sent = world.total();
    let begin = Instant::now();
    let second = ask(&resolver, "two.test.", RecordType::A).await;
    assert_eq!((second.rcode, begin.elapsed()), (ResponseCode::ServFail, Duration::ZERO));
    assert_eq!(world.total(), sent);
    dead.store(false, Ordering::Relaxed);
    tokio::time::advance(Duration::from_secs(15)).await;
    for question in ["one.test.", "two.test.", "three.test."] {
        assert_eq!(ask(&resolver, question, RecordType::A).await.rcode, ResponseCode::NoError);
    }
}

#[tokio::test(start_paused = true)]
async fn a_chain_within_one_answer_is_asked_once() {
    let world = with_test_zone(|name, _, answer| {
        answer.metadata.authoritative = true;
        let target = self::name("host.test.");
        if *name != target {
            let alias = RData::CNAME(CNAME(target.clone()));
            answer.add_answer(Record::from_rdata(name.clone(), 600, alias));
        }
        answer.add_answer(a(&target, 600, 7));
        Some(Duration::from_millis(10))
    });
    let resolver = resolver(config(), world.clone());
    let answer = ask(&resolver, "www.test.", RecordType::A).await;
    assert_eq!(answer.answers.len(), 2);
    assert_eq!((world.count("www.test. A"), world.count("host.test. A")), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_the_root_saves_asking_it() {
    let path = std::env::temp_dir().join(format!("muralla-root-{}.zone", std::process::id()));
    std::fs::write(
        &path,
        ". IN SOA a. b. 1 2 3 2000000000 5\ntest. IN NS ns.test.\nns.test. IN A 10.0.0.2\n",
    )
    .unwrap();
    let world = with_test_zone(|name, _, answer| {
        answer.metadata.authoritative = true;
        answer.add_answer(a(name, 600, 7));
        Some(Duration::from_millis(10))
    });
    let config = ResolverConfig { local_root: Some(path.clone()), ..config() };
    let resolver = resolver(config, world.clone());
    let answer = ask(&resolver, "www.test.", RecordType::A).await;
    std::fs::remove_file(path).unwrap();
    assert_eq!(answer.rcode, ResponseCode::NoError);
    assert_eq!(world.total(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_budget_of_queries_holds_for_all_that_a_question_needs() {
    // Each zone's servers are in zones whose servers are in zones ...
    let world = with_test_zone(|name, _, answer| {
        let labels = name.iter().len();
        let zone = name.trim_to(labels.min(2));
        for number in 0..20 {
            let host = format!("ns{number}.{}-{number}.test.", "x".repeat(labels));
            answer.add_authority(ns(&zone.to_string(), &host));
        }
        Some(Duration::from_millis(1))
    });
    let mut config = config();
    config.budgets.queries = 30;
    let answer = ask(&resolver(config, world.clone()), "www.evil.test.", RecordType::A).await;
    assert_eq!(answer.rcode, ResponseCode::ServFail);
    assert!(world.total() <= 30, "{}", world.total());
}

/// `test.` delegates `example.test.` to the hosts given, with glue where there is an address.
fn refer(answer: &mut Message, zone: &str, hosts: &[(&str, Option<[u8; 4]>)]) {
    for (host, glue) in hosts {
        answer.add_authority(ns(zone, host));
        if let Some(glue) = glue {
            let address = RData::A(A(std::net::Ipv4Addr::from(*glue)));
            answer.add_additional(Record::from_rdata(name(host), 3_600, address));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cache_is_believed_where_nobody_has_authority() {
    for (case, others_answer, expected) in
        [("only caches", false, 1), ("a cache and an authority", true, 2)]
    {
        let world = World::new(move |server, name, _, answer| {
            let zone = self::name("example.test.");
            match server {
                IpAddr::V4(v4) if v4.octets() == [10, 0, 0, 3] && zone.zone_of(name) => {
                    answer.metadata.recursion_available = true;
                    answer.add_answer(a(name, 600, 1));
                }
                IpAddr::V4(v4) if v4.octets() == [10, 0, 0, 4] => {
                    answer.metadata.response_code = ResponseCode::Refused;
                    if others_answer {
                        answer.metadata.response_code = ResponseCode::NoError;
                        answer.metadata.authoritative = true;
                        answer.add_answer(a(name, 600, 2));
                    }
                }
                _ => refer(
                    answer,
                    "example.test.",
                    &[
                        ("ns1.example.test.", Some([10, 0, 0, 3])),
                        ("ns2.example.test.", Some([10, 0, 0, 4])),
                    ],
                ),
            }
            Some(Duration::from_millis(10))
        });
        let config =
            ResolverConfig { priming: false, qname_minimisation: Minimisation::Off, ..config() };
        let answer = ask(&resolver(config, world), "www.example.test.", RecordType::A).await;
        assert_eq!(answer.rcode, ResponseCode::NoError, "{case}");
        assert_eq!(answer.answers, [a(&name("www.example.test."), 600, expected)], "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn glue_of_the_zone_above_helps_where_a_server_s_own_zone_tells_nonsense() {
    // The server of example.test is in other.test, where its address is another than the glue, or none.
    for (case, own_zone) in [("a dead address", true), ("no address", false)] {
        let world = World::new(move |server, name, rtype, answer| {
            let (example, other) = (self::name("example.test."), self::name("other.test."));
            let serves = server == IpAddr::from([10, 0, 0, 3]);
            if server == IpAddr::from([10, 0, 0, 9]) {
                return None;
            }
            match (serves, example.zone_of(name), other.zone_of(name)) {
                (true, true, _) => {
                    answer.metadata.authoritative = true;
                    answer.add_answer(a(name, 600, 7));
                }
                (true, _, _) if rtype == RecordType::A && own_zone => {
                    answer.metadata.authoritative = true;
                    let address = RData::A(A::new(10, 0, 0, 9));
                    answer.add_answer(Record::from_rdata(name.clone(), 600, address));
                }
                (true, _, _) => deny(answer, "other.test.", ResponseCode::NoError),
                (false, true, _) => refer(answer, "example.test.", &[("ns.other.test.", None)]),
                (false, _, _) => {
                    refer(answer, "other.test.", &[("ns.other.test.", Some([10, 0, 0, 3]))]);
                }
            }
            Some(Duration::from_millis(10))
        });
        let config =
            ResolverConfig { priming: false, qname_minimisation: Minimisation::Off, ..config() };
        let answer = ask(&resolver(config, world), "www.example.test.", RecordType::A).await;
        assert_eq!(answer.rcode, ResponseCode::NoError, "{case}: {:?}", answer.errors);
    }
}

#[tokio::test(start_paused = true)]
async fn both_addresses_of_a_server_are_tried_whichever_is_found_first() {
    let world = World::new(|server, name, rtype, answer| {
        let example = self::name("example.test.");
        let broken: IpAddr = "2001:db8::9".parse().unwrap();
        match server {
            server if server == broken => {
                answer.metadata.response_code = ResponseCode::ServFail;
            }
            server if server == IpAddr::from([10, 0, 0, 3]) => {
                answer.metadata.authoritative = true;
                answer.add_answer(a(name, 600, 7));
            }
            _ if example.zone_of(name) => refer(answer, "example.test.", &[("ns.test.", None)]),
            _ => {
                answer.metadata.authoritative = true;
                let address = match rtype {
                    RecordType::AAAA => RData::AAAA("2001:db8::9".parse().unwrap()),
                    _ => RData::A(A::new(10, 0, 0, 3)),
                };
                answer.add_answer(Record::from_rdata(name.clone(), 600, address));
                // The address that is of no use comes first.
                let after = if rtype == RecordType::AAAA { 10 } else { 90 };
                return Some(Duration::from_millis(after));
            }
        }
        Some(Duration::from_millis(10))
    });
    let config =
        ResolverConfig { priming: false, qname_minimisation: Minimisation::Off, ..config() };
    let answer = ask(&resolver(config, world), "www.example.test.", RecordType::A).await;
    assert_eq!(answer.rcode, ResponseCode::NoError, "{:?}", answer.errors);
}

#[tokio::test(start_paused = true)]
async fn servers_that_a_zone_names_itself_help_when_those_of_its_parent_are_gone() {
    let gone = Arc::new(AtomicBool::new(false));
    let is_gone = gone.clone();
    let world = World::new(move |server, name, rtype, answer| {
        let example = self::name("example.test.");
        let gone = is_gone.load(Ordering::Relaxed);
        match server {
            server if server == IpAddr::from([10, 0, 0, 3]) && gone => return None,
            server
                if server == IpAddr::from([10, 0, 0, 3])
                    || server == IpAddr::from([10, 0, 0, 4]) =>
            {
                answer.metadata.authoritative = true;
                answer.add_answer(match rtype {
                    RecordType::NS => ns("example.test.", "new.test."),
                    _ => a(name, 600, 7),
                });
            }
            _ if example.zone_of(name) => {
                refer(answer, "example.test.", &[("ns.example.test.", Some([10, 0, 0, 3]))]);
            }
            _ if rtype == RecordType::A => {
                answer.metadata.authoritative = true;
                let address = RData::A(A::new(10, 0, 0, 4));
                answer.add_answer(Record::from_rdata(name.clone(), 600, address));
            }
            _ => deny(answer, "test.", ResponseCode::NoError),
        }
        Some(Duration::from_millis(10))
    });
    let config =
        ResolverConfig { priming: false, qname_minimisation: Minimisation::Off, ..config() };
    let resolver = resolver(config, world);
    let own = ask(&resolver, "example.test.", RecordType::NS).await;
    assert_eq!(own.answers, [ns("example.test.", "new.test.")]);
    gone.store(true, Ordering::Relaxed);
    let answer = ask(&resolver, "www.example.test.", RecordType::A).await;
    assert_eq!(answer.rcode, ResponseCode::NoError, "{:?}", answer.errors);
}

#[tokio::test(start_paused = true)]
async fn ds_records_are_found_past_a_server_of_grandparent_and_child() {
    // The root's server serves child.test. as well; test. is with another, who knows the DS records.
    let world = with_test_zone(|_, rtype, answer| {
        assert_eq!(rtype, RecordType::DS);
        deny(answer, "test.", ResponseCode::NoError);
        Some(Duration::from_millis(10))
    });
    let both = World::new(move |server, name, rtype, answer| {
        if server == IpAddr::from([10, 0, 0, 1]) && *name == self::name("child.test.") {
            deny(answer, "child.test.", ResponseCode::NoError);
            return Some(Duration::from_millis(10));
        }
        (world.script)(server, name, rtype, answer)
    });
    let config =
        ResolverConfig { priming: false, qname_minimisation: Minimisation::Off, ..config() };
    let answer = ask(&resolver(config, both.clone()), "child.test.", RecordType::DS).await;
    assert_eq!(answer.rcode, ResponseCode::NoError, "{:?}", answer.errors);
    assert_eq!(answer.authorities[0].name, name("test."));
    assert_eq!(both.count(". NS"), 0, "without priming");
}

#[tokio::test(start_paused = true)]
async fn signatures_are_given_where_they_are_asked_for() {
    use hickory_proto::dnssec::Algorithm;
    use hickory_proto::dnssec::rdata::sig::SigInput;
    use hickory_proto::dnssec::rdata::{DNSSECRData, RRSIG};
    use hickory_proto::rr::SerialNumber;
    let signature = |covered| {
        let input = SigInput {
            type_covered: covered,
            algorithm: Algorithm::ED25519,
            num_labels: 2,
            original_ttl: 600,
            sig_expiration: SerialNumber::new(NOW as u32 + 1_000),
            sig_inception: SerialNumber::new(NOW as u32 - 1_000),
            key_tag: 7,
            signer_name: name("test."),
        };
        let data = RData::DNSSEC(DNSSECRData::RRSIG(RRSIG::from_sig(input, vec![1, 2, 3])));
        Record::from_rdata(name("www.test."), 600, data)
    };
    let both = [signature(RecordType::A), signature(RecordType::TXT)];
    let told = both.clone();
    let world = with_test_zone(move |_, rtype, answer| {
        answer.metadata.authoritative = true;
        match rtype {
            RecordType::RRSIG => answer.answers = told.to_vec(),
            _ => deny(answer, "test.", ResponseCode::NoError),
        }
        Some(Duration::from_millis(10))
    });
    let config = ResolverConfig { validation: Validation::Enforce, ..config() };
    let resolver = resolver(config, world.clone());
    for _ in 0..2 {
        let answer = ask(&resolver, "www.test.", RecordType::RRSIG).await;
        assert_eq!((answer.rcode, answer.security), (ResponseCode::NoError, Security::Insecure));
        assert_eq!(answer.answers, both);
    }
    assert_eq!(world.count("www.test. RRSIG"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_alias_s_target_is_not_blamed_for_what_led_there() {
    let world = with_test_zone(|name, _, answer| {
        answer.metadata.authoritative = true;
        let target = match name.to_string().as_str() {
            "one.test." => "two.test.",
            "two.test." => "three.test.",
            _ => {
                answer.add_answer(a(name, 600, 7));
                return Some(Duration::from_millis(10));
            }
        };
        let alias = RData::CNAME(CNAME(self::name(target)));
        answer.add_answer(Record::from_rdata(name.clone(), 600, alias));
        Some(Duration::from_millis(10))
    });
    let mut config = config();
    // The root, the delegation, and two of the three.
    config.budgets.queries = 4;
    let resolver = resolver(config, world.clone());
    let answer = ask(&resolver, "one.test.", RecordType::A).await;
    assert_eq!((answer.rcode, world.total()), (ResponseCode::ServFail, 4));
    let answer = ask(&resolver, "three.test.", RecordType::A).await;
    assert_eq!(answer.rcode, ResponseCode::NoError);
}

/// A resolver whose clock is years behind, over a signed Internet with three root servers.
fn behind_the_times() -> (Resolver, Arc<Settable>) {
    let plan = "\
zone . signed
zone test signed
zone example.test signed
  * A 203.0.113.1
server a.root 10.0.0.1 serves .
server b.root 10.0.0.4 serves .
server c.root 10.0.0.5 serves .
server ns.test 10.0.0.2 serves test
server ns.example.test 10.0.0.3 serves example.test
";
    let internet = Plan::parse(plan).unwrap().build().unwrap();
    let root = |host: &str, address: &str| (host.to_owned(), vec![address.parse().unwrap()]);
    let config = ResolverConfig {
        root_hints: vec![
            root("a.root.", "10.0.0.1"),
            root("b.root.", "10.0.0.4"),
            root("c.root.", "10.0.0.5"),
        ],
        trust_anchors: internet.trust_anchors(),
        validation: Validation::Enforce,
        ..config()
    };
    let clock = Arc::new(Settable::at(NOW - 10 * 365 * 86_400));
    let (_, net) = attached(internet);
    (Resolver::new(config, net, clock.clone(), 1).unwrap(), clock)
}

#[tokio::test(start_paused = true)]
async fn a_verdict_that_others_waited_for_lasts_no_longer() {
    // One of the two fetches the root's keys while the other is about to find them wrong at the last server.
    for later in 0..60 {
        let (resolver, clock) = behind_the_times();
        // The way is known; nothing was validated yet.
        let unchecked = Request {
            name: name("zero.example.test."),
            rtype: RecordType::A,
            checking_disabled: true,
            refresh: false,
            trace: None,
        };
        assert_eq!(resolver.resolve(unchecked).await.rcode, ResponseCode::NoError);
        let second = async {
            sleep(Duration::from_millis(later)).await;
            ask(&resolver, "two.example.test.", RecordType::A).await
        };
        let (one, two) = tokio::join!(ask(&resolver, "one.example.test.", RecordType::A), second);
        assert_eq!((one.security, two.security), (Security::Bogus, Security::Bogus));
        clock.set(NOW);
        tokio::time::advance(Duration::from_secs(31)).await;
        let answer = ask(&resolver, "www.example.test.", RecordType::A).await;
        assert_eq!(answer.security, Security::Secure, "{later} ms later");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_flushed_is_trusted_anew() {
    let (resolver, clock) = behind_the_times();
    let question = "www.example.test.";
    assert_eq!(ask(&resolver, question, RecordType::A).await.security, Security::Bogus);
    clock.set(NOW);
    assert_eq!(ask(&resolver, question, RecordType::A).await.security, Security::Bogus);
    for flushed in [question, "example.test.", "test.", "."] {
        resolver.flush(&name(flushed));
    }
    assert_eq!(ask(&resolver, question, RecordType::A).await.security, Security::Secure);
}

#[tokio::test(start_paused = true)]
async fn an_anchor_holds_below_a_zone_that_is_not_signed() {
    // The server has both zones, and never refers from one to the other.
    let plan = "\
zone . signed
zone test signed
zone plain.test
zone island.plain.test signed ds=none
  www A 203.0.113.1
server a.root 10.0.0.1 serves .
server ns.test 10.0.0.2 serves test
server ns.plain.test 10.0.0.3 serves plain.test, island.plain.test
";
    let internet = Plan::parse(plan).unwrap().build().unwrap();
    let mut trust_anchors = internet.trust_anchors();
    let (_, net) = attached(internet);
    let keys =
        ask(&resolver(config(), net.clone()), "island.plain.test.", RecordType::DNSKEY).await;
    let keys = keys.answers.iter().filter(|record| record.record_type() == RecordType::DNSKEY);
    trust_anchors.extend(keys.map(Record::to_string));
    let config = ResolverConfig { trust_anchors, validation: Validation::Enforce, ..config() };
    let resolver = resolver(config, net);
    for (question, security) in
        [("www.island.plain.test.", Security::Secure), ("www.plain.test.", Security::Insecure)]
    {
        let answer = ask(&resolver, question, RecordType::A).await;
        assert_eq!(answer.security, security, "{question}");
    }
}

/// A network for which there are no sockets at times.
struct Starved {
    world: Arc<World>,
    starved: AtomicBool,
}

impl Transport for Starved {
    fn exchange<'a>(
        &'a self,
        server: SocketAddr,
        protocol: Protocol,
        query: &'a [u8],
        patience: Duration,
        accept: &'a (dyn Fn(&[u8]) -> bool + Send + Sync),
    ) -> Exchanging<'a> {
        if self.starved.load(Ordering::Relaxed) {
            return Box::pin(async { Err(ExchangeError::Local("no sockets".into())) });
        }
        self.world.exchange(server, protocol, query, patience, accept)
    }
}

#[tokio::test(start_paused = true)]
async fn servers_are_not_blamed_for_a_want_of_sockets() {
    let world = with_test_zone(|name, _, answer| {
        answer.metadata.authoritative = true;
        answer.add_answer(a(name, 600, 7));
        Some(Duration::from_millis(10))
    });
    let starved = Arc::new(Starved { world, starved: true.into() });
    let resolver = resolver(config(), starved.clone());
    for _ in 0..5 {
        let answer = ask(&resolver, "www.test.", RecordType::A).await;
        assert_eq!(answer.rcode, ResponseCode::ServFail);
    }
    starved.starved.store(false, Ordering::Relaxed);
    let answer = ask(&resolver, "www.test.", RecordType::A).await;
    assert_eq!(answer.rcode, ResponseCode::NoError);
}

#[tokio::test(start_paused = true)]
async fn a_fifth_of_all_servers_may_be_dead() {
    const QUESTIONS: usize = 2_000;
    let generated = generate(1_000, 7).unwrap();
    let hints: Vec<(String, IpAddr)> = generated.root_hints;
    let is_root = |server: &IpAddr| hints.iter().any(|(_, address)| address == server);
    let others = generated.internet.addresses().into_iter().filter(|server| !is_root(server));
    let dead: Vec<IpAddr> = others.skip(2).step_by(5).collect();
    for server in &dead {
        generated.internet.silence(*server, true);
    }
    let config = ResolverConfig {
        root_hints: hints.iter().map(|(host, address)| (host.clone(), vec![*address])).collect(),
        trust_anchors: vec![generated.trust_anchor],
        allow_private_servers: true,
        ..Default::default()
    };
    let (network, net) = attached(generated.internet);
    let resolver = resolver(config, net);
    let begin = Instant::now();
    let mut asking = tokio::task::JoinSet::new();
    for (at, (question, rtype)) in generated.questions.into_iter().take(QUESTIONS).enumerate() {
        let resolver = resolver.clone();
        asking.spawn(async move {
            // 400 a second.
            sleep_until(begin + Duration::from_micros(2_500) * u32::try_from(at).unwrap()).await;
            let begin = Instant::now();
            let answer = ask(&resolver, &question, rtype.parse().unwrap()).await;
            assert_ne!(answer.rcode, ResponseCode::ServFail, "{question}: {:?}", answer.errors);
            begin.elapsed()
        });
    }
    let mut took = asking.join_all().await;
    took.sort();
    let quantile = |percent: usize| took[took.len() * percent / 100];
    assert!(quantile(50) < Duration::from_millis(60), "{:?}", quantile(50));
    assert!(quantile(99) < Duration::from_millis(500), "{:?}", quantile(99));
    assert!(took.last().is_some_and(|most| *most < Duration::from_secs(1)), "{:?}", took.last());
    let asked = network.take_asked();
    assert!(asked.len() < QUESTIONS * 5 / 2, "{}", asked.len());
    // Nobody who is dead is asked again and again.
    let in_vain = asked.iter().filter(|asked| dead.contains(&asked.server)).count();
    assert!(in_vain < QUESTIONS / 20, "{in_vain}");
}

#[tokio::test(start_paused = true)]
async fn addresses_at_home_are_kept_out_of_what_a_forwarder_of_everything_says() {
    let world = World::new(|_, name, _, answer| {
        answer.add_answer(a(name, 600, 7));
        Some(Duration::from_millis(10))
    });
    let route = |zone: &str| Route {
        zone: zone.into(),
        servers: vec!["10.0.0.9:53".parse().unwrap()],
        first: false,
    };
    let config = ResolverConfig {
        forward: vec![route("."), route("office.test")],
        deny_answers: vec!["192.0.2.0/24".parse().unwrap()],
        ..config()
    };
    let resolver = resolver(config, world);
    for (question, addresses) in [("rebind.test.", 0), ("printer.office.test.", 1)] {
        let answer = ask(&resolver, question, RecordType::A).await;
        assert_eq!(answer.answers.len(), addresses, "{question}");
    }
}

#[tokio::test(start_paused = true)]
async fn sockets_that_wait_for_the_silent_leave_half_to_others() {
    // Zones of dead servers, many of them, and one that lives.
    let world = World::new(|server, name, _, answer| {
        if server == IpAddr::from([10, 0, 0, 2]) {
            answer.metadata.authoritative = true;
            answer.add_answer(a(name, 0, 7));
            return Some(Duration::from_millis(10));
        }
        if server != IpAddr::from([10, 0, 0, 1]) {
            return None;
        }
        let zone = name.trim_to(1);
        let last = match zone.iter().next().unwrap() {
            b"live" => 2,
            label => label[0],
        };
        let net = u8::from(last != 2);
        refer(answer, &zone.to_string(), &[("ns.hosting.", Some([10, 0, net, last]))]);
        Some(Duration::from_millis(10))
    });
    let scarce = Arc::new(Scarce { world, open: AtomicUsize::new(0), most: AtomicUsize::new(0) });
    let config =
        ResolverConfig { priming: false, qname_minimisation: Minimisation::Off, ..config() };
    let resolver = resolver(config, scarce.clone());
    // They are known to be alive.
    assert_eq!(ask(&resolver, "www.live.", RecordType::A).await.rcode, ResponseCode::NoError);
    let mut flood = tokio::task::JoinSet::new();
    for zone in b'a'..=b'z' {
        let resolver = resolver.clone();
        let question = format!("www.{}.", char::from(zone));
        flood.spawn(async move { ask(&resolver, &question, RecordType::A).await });
    }
    sleep(Duration::from_millis(700)).await;
    scarce.most.store(0, Ordering::Relaxed);
    for number in 0..10 {
        let answer = ask(&resolver, &format!("{number}.live."), RecordType::A).await;
        assert_eq!(answer.rcode, ResponseCode::NoError, "{:?}", answer.errors);
    }
    let most = scarce.most.load(Ordering::Relaxed);
    assert!((2..=SOCKETS / 2 + 1).contains(&most), "{most}");
    for answer in flood.join_all().await {
        assert_eq!(answer.rcode, ResponseCode::ServFail);
    }
}

/// Sockets of a [`Scarce`] network.
const SOCKETS: usize = 16;

/// A network with a few sockets.
struct Scarce {
    world: Arc<World>,
    open: AtomicUsize,
    most: AtomicUsize,
}

impl Transport for Scarce {
    fn exchange<'a>(
        &'a self,
        server: SocketAddr,
        protocol: Protocol,
        query: &'a [u8],
        patience: Duration,
        accept: &'a (dyn Fn(&[u8]) -> bool + Send + Sync),
    ) -> Exchanging<'a> {
        Box::pin(async move {
            let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(open, Ordering::Relaxed);
            let reply = self.world.exchange(server, protocol, query, patience, accept).await;
            self.open.fetch_sub(1, Ordering::Relaxed);
            reply
        })
    }

    fn room(&self) -> Room {
        let open = self.open.load(Ordering::Relaxed);
        Room { free: SOCKETS.saturating_sub(open), limit: SOCKETS }
    }
}
