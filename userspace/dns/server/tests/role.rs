//! The role through its sockets, with an upstream of the test's own.

#![cfg(test)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use muralla_dns::config::DnsConfig;
use muralla_dns::role::{Options, Role};
use muralla_resolver::config::{Route, Validation};
use muralla_zones::ZoneConfig;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// An upstream that gives every name the same address.
struct Upstream {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    dead: Arc<AtomicBool>,
    ttl: Arc<AtomicU32>,
    octet: Arc<AtomicU32>,
    done: Arc<AtomicBool>,
}

impl Upstream {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let upstream = Self {
            address: socket.local_addr().unwrap(),
            asked: Arc::default(),
            dead: Arc::default(),
            ttl: Arc::new(AtomicU32::new(300)),
            octet: Arc::new(AtomicU32::new(1)),
            done: Arc::default(),
        };
        let (asked, dead) = (Arc::clone(&upstream.asked), Arc::clone(&upstream.dead));
        let (ttl, done) = (Arc::clone(&upstream.ttl), Arc::clone(&upstream.done));
        let octet = Arc::clone(&upstream.octet);
        thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while !done.load(Ordering::SeqCst) {
                let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
                let Ok(query) = Message::from_vec(&buffer[..len]) else { continue };
                asked.fetch_add(1, Ordering::SeqCst);
                if dead.load(Ordering::SeqCst) {
                    continue;
                }
                let question = &query.queries[0];
                if question.name.to_string().to_lowercase().starts_with("slow") {
                    thread::sleep(Duration::from_millis(100));
                }
                let mut answer =
                    Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
                answer.metadata.recursion_available = true;
                answer.add_query(question.clone());
                if question.query_type == RecordType::A {
                    let data = RData::A(A::new(192, 0, 2, octet.load(Ordering::SeqCst) as u8));
                    let ttl = ttl.load(Ordering::SeqCst);
                    answer.add_answer(Record::from_rdata(question.name.clone(), ttl, data));
                }
                socket.send_to(&answer.to_vec().unwrap(), from).unwrap();
            }
        });
        upstream
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.done.store(true, Ordering::SeqCst);
    }
}

struct Stand {
    runtime: Runtime,
    folder: TempDir,
    upstream: Upstream,
    config: DnsConfig,
}

const ZONE: &str = "\
$ORIGIN isp.example.
$TTL 300
@ SOA ns hostmaster 1 7200 3600 1209600 300
@ NS ns
ns A 192.0.2.53
www A 192.0.2.80
far CNAME www.elsewhere.example.
";

impl Stand {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("isp.zone");
        std::fs::write(&file, ZONE).unwrap();
        let upstream = Upstream::start();
        // An address of this process's own: with SO_REUSEPORT two tests would share one, and each other's queries.
        static STANDS: AtomicUsize = AtomicUsize::new(0);
        let [_, high, middle, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, high | 0x40, middle, low);
        let port = 5_300 + u16::try_from(STANDS.fetch_add(1, Ordering::SeqCst)).unwrap();
        let mut config = DnsConfig {
            listen: vec![SocketAddr::from((address, port))],
            clients: vec!["127.0.0.1/32".parse().unwrap()],
            threads: Some(2.try_into().unwrap()),
            cache: 1 << 20,
            cache_file: Some(folder.path().join("cache")),
            ..DnsConfig::default()
        };
        config.stale.after = Duration::from_millis(200);
        config.resolver.validation = Validation::Off;
        config.resolver.forward =
            vec![Route { zone: ".".to_owned(), servers: vec![upstream.address], first: false }];
        config.resolver.budgets.time = Duration::from_millis(1_500);
        config.local.private_zones = true;
        config.local.zones = vec![ZoneConfig { name: "isp.example".to_owned(), file }];
        let runtime = Runtime::new().unwrap();
        Self { runtime, folder, upstream, config }
    }

    fn start(&self, inherited: Vec<(String, OwnedFd)>) -> Role {
        Role::start(self.config.clone(), inherited, None, self.runtime.handle().clone()).unwrap()
    }

    fn address(&self) -> SocketAddr {
        self.config.listen[0]
    }

    fn client(&self, from: &str) -> UdpSocket {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket.connect(self.address()).unwrap();
        socket
    }
}

fn query(name: &str, rtype: RecordType) -> Message {
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), rtype));
    query
}

fn with_edns(mut query: Message) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(1_232);
    query.set_edns(edns);
    query
}

fn ask(client: &UdpSocket, query: &Message) -> Message {
    client.send(&query.to_vec().unwrap()).unwrap();
    let answer = receive(client);
    assert_eq!(answer.metadata.id, query.metadata.id);
    answer
}

fn receive(client: &UdpSocket) -> Message {
    let mut buffer = [0; 65_535];
    let len = client.recv(&mut buffer).unwrap();
    Message::from_vec(&buffer[..len]).unwrap()
}

fn addresses(answer: &Message) -> Vec<String> {
    answer.answers.iter().map(|record| record.data.to_string()).collect()
}

/// Codes of the extended errors.
fn errors(answer: &Message) -> Vec<u16> {
    let options = answer.edns.iter().flat_map(|edns| edns.options().as_ref());
    let errors = options.filter_map(|(_, option)| match option {
        EdnsOption::Unknown(15, data) => Some(u16::from_be_bytes([data[0], data[1]])),
        _ => None,
    });
    errors.collect()
}

#[test]
fn clients_get_recursion_and_strangers_only_public_zones_and_no_more_bytes_than_they_sent() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    // (from, name, class, response code, answers, truncated)
    let cases = [
        ("127.0.0.1", "www.elsewhere.example.", DNSClass::IN, "NoError", 1, false),
        ("127.0.0.1", "WWW.isp.EXAMPLE.", DNSClass::IN, "NoError", 1, false),
        ("127.0.0.1", "far.isp.example.", DNSClass::IN, "NoError", 2, false),
        ("127.0.0.1", "nobody.isp.example.", DNSClass::IN, "NXDomain", 0, false),
        ("127.0.0.1", "localhost.", DNSClass::IN, "NoError", 1, false),
        ("127.0.0.1", "version.bind.", DNSClass::CH, "Refused", 0, false),
        ("127.0.0.2", "www.elsewhere.example.", DNSClass::IN, "Refused", 0, false),
        ("127.0.0.2", "www.isp.example.", DNSClass::IN, "NoError", 0, true),
        ("127.0.0.2", "localhost.", DNSClass::IN, "Refused", 0, false),
    ];
    for (from, name, class, rcode, answers, truncated) in cases {
        let client = stand.client(from);
        let mut asked = query(name, RecordType::A);
        asked.queries[0].query_class = class;
        let answer = ask(&client, &asked);
        let got = (
            format!("{:?}", answer.metadata.response_code),
            answer.answers.len(),
            answer.metadata.truncation,
        );
        assert_eq!(got, (rcode.to_owned(), answers, truncated), "{from} {name}");
        assert_eq!(answer.queries[0].name.to_string(), name, "in the client's letter case");
    }
    // Over TCP an address is proven.
    let answers = over_tcp(&stand, &[query("www.isp.example.", RecordType::A)]);
    assert_eq!(addresses(&answers[0]), ["192.0.2.80"]);
    stand.runtime.block_on(role.stop());
}

#[test]
fn malformed_packets_get_formerr_or_silence() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let client = stand.client("127.0.0.1");
    client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let good = query("www.isp.example.", RecordType::A).to_vec().unwrap();
    let with = |at: usize, byte: u8| {
        let mut packet = good.clone();
        packet[at] = byte;
        packet
    };
    // (packet, response code or silence)
    let cases: [(Vec<u8>, Option<ResponseCode>); 7] = [
        (good.clone(), Some(ResponseCode::NoError)),
        (good[..11].to_vec(), None),
        (with(2, 0x81), None),
        (with(2, 0x29), Some(ResponseCode::NotImp)),
        (with(5, 2), Some(ResponseCode::FormErr)),
        (with(12, 0xc0), Some(ResponseCode::FormErr)),
        ([&good[..], &[0; 3]].concat(), Some(ResponseCode::FormErr)),
    ];
    for (number, (packet, expected)) in cases.into_iter().enumerate() {
        client.send(&packet).unwrap();
        let mut buffer = [0; 512];
        let answer = client.recv(&mut buffer).ok().map(|len| buffer[..len].to_vec());
        let code = answer.as_ref().map(|answer| ResponseCode::from(0, answer[3] & 15));
        assert_eq!(code, expected, "case {number}");
        if expected.is_some_and(|code| code != ResponseCode::NoError) {
            assert!(answer.is_some_and(|answer| answer.len() <= packet.len()), "case {number}");
        }
    }
    stand.runtime.block_on(role.stop());
}

#[test]
fn the_same_question_of_many_is_asked_once() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let clients: Vec<UdpSocket> = (0..40).map(|_| stand.client("127.0.0.1")).collect();
    let before = stand.upstream.asked.load(Ordering::SeqCst);
    for client in &clients {
        client.send(&query("slow.example.", RecordType::A).to_vec().unwrap()).unwrap();
    }
    for client in &clients {
        assert_eq!(addresses(&receive(client)), ["192.0.2.1"]);
    }
    assert_eq!(stand.upstream.asked.load(Ordering::SeqCst) - before, 1);
    assert!(role.status().coalesced > 0);
    stand.runtime.block_on(role.stop());
}

#[test]
fn what_was_asked_before_a_flush_is_answered_but_not_remembered() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let client = stand.client("127.0.0.1");
    let before = stand.upstream.asked.load(Ordering::SeqCst);
    client.send(&query("slow.example.", RecordType::A).to_vec().unwrap()).unwrap();
    let asked = (0..5_000).any(|_| {
        thread::sleep(Duration::from_millis(1));
        stand.upstream.asked.load(Ordering::SeqCst) > before
    });
    assert!(asked);
    role.flush("example", true).unwrap();
    assert_eq!(addresses(&receive(&client)), ["192.0.2.1"]);
    assert_eq!(role.status().cache.entries, 0);
    stand.runtime.block_on(role.stop());
}

#[test]
fn a_dead_upstream_is_bridged_by_stale_answers_that_say_so() {
    let stand = Stand::new();
    stand.upstream.ttl.store(1, Ordering::SeqCst);
    let role = stand.start(Vec::new());
    let client = stand.client("127.0.0.1");
    let asked = with_edns(query("www.elsewhere.example.", RecordType::A));
    assert_eq!(addresses(&ask(&client, &asked)), ["192.0.2.1"]);
    stand.upstream.dead.store(true, Ordering::SeqCst);
    thread::sleep(Duration::from_millis(2_100));
    for _ in 0..3 {
        let answer = ask(&client, &asked);
        assert_eq!(addresses(&answer), ["192.0.2.1"]);
        assert!(answer.answers[0].ttl <= 30);
        let edns = answer.edns.unwrap();
        assert!(edns.option(EdnsCode::from(15)).is_some(), "EDE 3");
    }
    // An answer is counted once it is sent.
    let counted = (0..5_000).any(|_| {
        thread::sleep(Duration::from_millis(1));
        role.status().stale_served >= 3
    });
    assert!(counted);
    // What was never known fails, and says so.
    for cached in [false, true] {
        let unknown = ask(&client, &with_edns(query("unknown.example.", RecordType::A)));
        assert_eq!(unknown.metadata.response_code, ResponseCode::ServFail);
        assert_eq!(errors(&unknown).contains(&13), cached, "EDE 13");
    }
    // The Internet is back: so are fresh answers.
    stand.upstream.dead.store(false, Ordering::SeqCst);
    stand.upstream.ttl.store(300, Ordering::SeqCst);
    let mut fresh = false;
    for _ in 0..100 {
        thread::sleep(Duration::from_millis(200));
        fresh |= ask(&client, &asked).answers[0].ttl > 30;
        if fresh {
            break;
        }
    }
    assert!(fresh);
    stand.runtime.block_on(role.stop());
}

/// Sends all queries in one piece and reads as many answers, in the order in which they come.
fn over_tcp(stand: &Stand, queries: &[Message]) -> Vec<Message> {
    let mut stream = TcpStream::connect(stand.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut bytes = Vec::new();
    for query in queries {
        let query = query.to_vec().unwrap();
        bytes.extend_from_slice(&u16::try_from(query.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(&query);
    }
    stream.write_all(&bytes).unwrap();
    let answers = queries.iter().map(|_| {
        let mut len = [0; 2];
        stream.read_exact(&mut len).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut answer).unwrap();
        Message::from_vec(&answer).unwrap()
    });
    answers.collect()
}

#[test]
fn answers_over_tcp_come_as_they_are_ready() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let queries = [query("slow.example.", RecordType::A), query("www.isp.example.", RecordType::A)];
    let answers = over_tcp(&stand, &queries);
    let ids: Vec<u16> = answers.iter().map(|answer| answer.metadata.id).collect();
    assert_eq!(ids, [queries[1].metadata.id, queries[0].metadata.id]);
    stand.runtime.block_on(role.stop());
}

#[test]
fn a_restart_with_inherited_sockets_loses_no_query_and_keeps_the_cache() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let client = stand.client("127.0.0.1");
    ask(&client, &query("www.elsewhere.example.", RecordType::A));
    let kept: Vec<(String, OwnedFd)> = role
        .descriptors()
        .into_iter()
        .map(|(name, socket)| (name, socket.try_clone_to_owned().unwrap()))
        .collect();
    assert_eq!(kept.len(), 3);
    stand.runtime.block_on(role.stop());
    // Whoever looks at a role that has stopped does no harm.
    stand.runtime.block_on(role.stop());
    drop(role);
    // Nobody is there to answer, and the cache of the last time needs no upstream.
    stand.upstream.dead.store(true, Ordering::SeqCst);
    let waiting: Vec<UdpSocket> = (0..20).map(|_| stand.client("127.0.0.1")).collect();
    for client in &waiting {
        client.send(&query("www.elsewhere.example.", RecordType::A).to_vec().unwrap()).unwrap();
    }
    let role = stand.start(kept);
    for client in &waiting {
        assert_eq!(addresses(&receive(client)), ["192.0.2.1"]);
    }
    stand.runtime.block_on(role.stop());
}

#[test]
fn a_cache_that_was_filled_by_other_rules_is_not_used() {
    let mut stand = Stand::new();
    let asked = query("www.elsewhere.example.", RecordType::A);
    for (octet, expected) in [(1, "192.0.2.1"), (2, "192.0.2.1"), (3, "192.0.2.3")] {
        stand.upstream.octet.store(octet, Ordering::SeqCst);
        if octet == 3 {
            stand.config.resolver.deny_answers = vec!["10.0.0.0/8".parse().unwrap()];
        }
        let role = stand.start(Vec::new());
        let client = stand.client("127.0.0.1");
        assert_eq!(addresses(&ask(&client, &asked)), [expected]);
        stand.runtime.block_on(role.stop());
    }
}

#[test]
fn a_cookie_outlives_a_restart_and_not_its_secret() {
    let mut stand = Stand::new();
    // Whoever asks is a stranger, who gets no more than he sent unless he has a cookie.
    stand.config.clients = Vec::new();
    let with_cookie = |cookie: &[u8]| {
        let mut query = with_edns(query("nobody.isp.example.", RecordType::A));
        let edns = query.edns.as_mut().unwrap();
        edns.options_mut().insert(EdnsOption::Unknown(10, cookie.to_vec()));
        query
    };
    let mut cookie = b"customer".to_vec();
    for (secrets_are_lost, truncated) in [(false, false), (false, false), (true, true)] {
        if secrets_are_lost {
            std::fs::write(stand.folder.path().join("cache.cookies"), "damaged").unwrap();
        }
        let role = stand.start(Vec::new());
        if cookie.len() == 8 {
            let answer = over_tcp(&stand, &[with_cookie(&cookie)]).remove(0);
            let options = answer.edns.unwrap();
            let Some(EdnsOption::Unknown(10, data)) = options.option(EdnsCode::Cookie) else {
                panic!("no cookie");
            };
            cookie.clone_from(data);
        }
        let answer = ask(&stand.client("127.0.0.1"), &with_cookie(&cookie));
        assert_eq!((answer.metadata.truncation, cookie.len()), (truncated, 24));
        stand.runtime.block_on(role.stop());
    }
}

#[test]
fn the_operator_sees_and_forgets_what_is_known() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let client = stand.client("127.0.0.1");
    stand.runtime.block_on(async {
        role.canary().await.unwrap();
        let trace = Options { trace: true, ..Options::default() };
        let lookup = role.lookup("www.elsewhere.example", "a", trace).await.unwrap();
        assert_eq!((lookup.rcode.as_str(), lookup.answers.len()), ("NOERROR", 1));
        assert!(!lookup.steps.is_empty());
        assert!(role.lookup("www.example", "nonsense", trace).await.is_err());
    });
    ask(&client, &query("www.elsewhere.example.", RecordType::A));
    assert_eq!(role.status().cache.entries, 1);
    stand.upstream.octet.store(9, Ordering::SeqCst);
    assert_eq!(role.flush("elsewhere.example", true).unwrap(), 1);
    let asked = query("www.elsewhere.example.", RecordType::A);
    assert_eq!(addresses(&ask(&client, &asked)), ["192.0.2.9"]);
    assert_eq!(role.flush("elsewhere.example", true).unwrap(), 1);
    assert_eq!(role.flush("elsewhere.example", true).unwrap(), 0);

    let file = stand.folder.path().join("isp.zone");
    std::fs::write(
        &file,
        ZONE.replace("192.0.2.80", "192.0.2.81").replace("hostmaster 1", "hostmaster 2"),
    )
    .unwrap();
    let zones = role.reload_zones(Some("isp.example")).unwrap();
    assert_eq!((zones.len(), zones[0].serial), (1, Some(2)));
    assert_eq!(addresses(&ask(&client, &query("www.isp.example.", RecordType::A))), ["192.0.2.81"]);
    std::fs::write(&file, "nonsense").unwrap();
    let zones = role.reload_zones(None).unwrap();
    assert!(
        zones
            .iter()
            .any(|zone| zone.problem.as_ref().is_some_and(|problem| problem.contains("isp.zone")))
    );
    assert_eq!(addresses(&ask(&client, &query("www.isp.example.", RecordType::A))), ["192.0.2.81"]);
    assert!(role.reload_zones(Some("nowhere.example")).is_err());
    stand.runtime.block_on(role.stop());
}
