//! A hit allocates nothing, from the datagram that comes to the one that goes.

#![cfg(test)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use muralla_dns::config::DnsConfig;
use muralla_dns::hot::{HotAnswer, HotAnswers, HotKey, Published};
use muralla_dns::report::NicStatus;
use muralla_dns::role::Role;
use muralla_resolver::config::{Route, Validation};
use tokio::runtime::Builder;

/// Counts what is allocated by threads that nobody excused: those that own sockets.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static EXCUSED: Cell<bool> = const { Cell::new(false) };
}

fn excuse() {
    EXCUSED.set(true);
}

fn count() {
    // A thread that ends is not one of those.
    if EXCUSED.try_with(|excused| !excused.get()).unwrap_or(false) {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
    }
}

// SAFETY: everything is left to the system's allocator; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: what the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: what the caller promised, and all memory is the system allocator's.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as for `dealloc`.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A network card's cache without room: whoever feeds it wants to know what is hot all the same.
struct Full;

impl HotAnswers for Full {
    fn publish(&mut self, _: &HotAnswer<'_>) -> Published {
        Published::NoRoom
    }

    fn withdraw(&mut self, _: &HotKey) {}

    fn hits(&mut self) -> Vec<(HotKey, u64)> {
        Vec::new()
    }

    fn flush(&mut self) {}

    fn status(&self) -> NicStatus {
        NicStatus::default()
    }
}

/// An upstream that knows every name but those that begin with `no`.
fn upstream() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        excuse();
        let mut buffer = [0; 4_096];
        loop {
            let (len, from) = socket.recv_from(&mut buffer).unwrap();
            let Ok(query) = Message::from_vec(&buffer[..len]) else { continue };
            let question = query.queries[0].clone();
            let mut answer = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
            answer.metadata.recursion_available = true;
            answer.add_query(question.clone());
            let name = question.name;
            if name.to_string().to_lowercase().starts_with("no") {
                answer.metadata.response_code = ResponseCode::NXDomain;
                let soa = SOA::new(name.base_name(), name.base_name(), 1, 2, 3, 4, 300);
                answer.add_authority(Record::from_rdata(name.base_name(), 300, RData::SOA(soa)));
            } else {
                answer.add_answer(Record::from_rdata(name, 300, RData::A(A::new(192, 0, 2, 1))));
            }
            socket.send_to(&answer.to_vec().unwrap(), from).unwrap();
        }
    });
    address
}

fn query(name: &str, edns: Option<Edns>) -> Vec<u8> {
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    if let Some(edns) = edns {
        query.set_edns(edns);
    }
    query.to_vec().unwrap()
}

#[test]
fn a_hit_allocates_nothing() {
    excuse();
    let runtime = Builder::new_multi_thread().enable_all().on_thread_start(excuse).build().unwrap();
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let mut config = DnsConfig {
        listen: vec![SocketAddr::from(([127, high | 0x40, middle, low], 5_390))],
        clients: vec!["127.0.0.1/32".parse().unwrap()],
        threads: Some(1.try_into().unwrap()),
        cache: 1 << 20,
        cache_file: None,
        ..DnsConfig::default()
    };
    config.resolver.validation = Validation::Off;
    config.resolver.forward =
        vec![Route { zone: ".".to_owned(), servers: vec![upstream()], first: false }];
    let server = config.listen[0];
    let role =
        Role::start(config, Vec::new(), Some(Box::new(Full)), runtime.handle().clone()).unwrap();

    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    client.connect(server).unwrap();
    let edns = |dnssec_ok: bool, cookie: bool| {
        let mut edns = Edns::new();
        edns.set_max_payload(1_232).set_dnssec_ok(dnssec_ok);
        if cookie {
            edns.options_mut().insert(EdnsOption::Unknown(10, b"customer".to_vec()));
        }
        Some(edns)
    };
    let cases = [
        ("plain", query("www.example.", None)),
        ("in another letter case", query("WWW.Example.", None)),
        ("EDNS", query("www.example.", edns(false, false))),
        ("a cookie", query("www.example.", edns(false, true))),
        ("DO", query("www.example.", edns(true, false))),
        ("negative", query("no.example.", None)),
        ("negative, DO", query("no.example.", edns(true, false))),
    ];
    let mut answer = [0; 4_096];
    let mut ask = |packet: &[u8]| {
        client.send(packet).unwrap();
        client.recv(&mut answer).unwrap()
    };
    let begun = ALLOCATIONS.load(Ordering::SeqCst);
    for (_, packet) in &cases {
        // A miss is left to others, and a copy of it waits for them.
        ask(packet);
        ask(packet);
    }
    assert!(ALLOCATIONS.load(Ordering::SeqCst) > begun, "a miss would be counted");
    // By then the feeder wants to hear of hits.
    thread::sleep(Duration::from_millis(600));
    let hits = |role: &Role| role.status().cache.hits;
    for (what, packet) in &cases {
        let mut allocated = || {
            let (allocations, known) = (ALLOCATIONS.load(Ordering::SeqCst), hits(&role));
            for _ in 0..300 {
                ask(packet);
            }
            assert_eq!(hits(&role), known + 300, "{what}");
            ALLOCATIONS.load(Ordering::SeqCst) - allocations
        };
        // Whoever looks after the card now and then may do so just now; a hit that allocates does so each time.
        let least = (0..5).map(|_| allocated()).min();
        assert_eq!(least, Some(0), "{what}");
    }
    runtime.block_on(role.stop());
}
