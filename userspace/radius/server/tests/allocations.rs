//! A login allocates nothing, from the datagram that comes to the one that goes.

#![cfg(test)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use common::*;
use muralla_radius::config::{NasConfig, RadiusConfig, StateLocation};
use muralla_radius::role::Role;
use muralla_radius_dictionary::Dictionary;
use muralla_radius_state::{Hidden, Location, State, SubscriberEntry};
use tokio::runtime::Runtime;

/// Counts what the thread allocates that owns the sockets.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static WATCHED: AtomicI32 = AtomicI32::new(0);

fn count() {
    let watched = WATCHED.load(Ordering::SeqCst);
    if watched != 0 && rustix::thread::gettid().as_raw_pid() == watched {
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

const SECRET: &[u8] = b"a secret of the NAS";

/// The thread of this process that has the name.
fn thread_of(name: &str) -> i32 {
    for entry in fs::read_dir("/proc/self/task").unwrap() {
        let entry = entry.unwrap();
        let comm = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if comm.trim() == name {
            return entry.file_name().to_str().unwrap().parse().unwrap();
        }
    }
    panic!("no thread {name}");
}

#[test]
fn a_login_allocates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let database = folder.path().join("state.db");
    runtime.block_on(async {
        let state = State::open(&Location::Sqlite(database.clone())).await.unwrap();
        let nemo = SubscriberEntry {
            name: "nemo".to_owned(),
            credential: Hidden::new("{CLEARTEXT}arctangent"),
            reply: vec!["Session-Timeout := 3600".to_owned(), "Framed-Protocol := PPP".to_owned()],
            ..SubscriberEntry::default()
        };
        state.put_subscriber(&Dictionary::built_in(), &nemo).await.unwrap();
        state.close().await;
    });
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, high | 0x40, middle, low);
    let prefix = "127.0.0.1/32".parse().unwrap();
    let mut config = RadiusConfig {
        auth: vec![SocketAddr::from((address, 18_190))],
        acct: vec![SocketAddr::from((address, 18_191))],
        threads: Some(1.try_into().unwrap()),
        nas: vec![NasConfig::new("one", prefix, std::str::from_utf8(SECRET).unwrap())],
        ..RadiusConfig::default()
    };
    config.state.location = StateLocation::Embedded(database);
    config.journal.folder = folder.path().join("journal");
    config.journal.segment = 1 << 20;
    config.journal.reserve = 0;
    let auth = config.auth[0];
    let acct = config.acct[0];
    let role = Role::start(config, Vec::new(), runtime.handle().clone()).unwrap();
    while !role.status().ready {
        thread::sleep(Duration::from_millis(5));
    }
    let (nas, accounting) =
        (Client::new("127.0.0.1", auth, SECRET), Client::new("127.0.0.1", acct, SECRET));
    let login = |number: u64| {
        let login = Request::new(ACCESS_REQUEST, number as u8).with_authenticator(number);
        login.user("nemo").number(5, 7).with(31, b"line 7")
    };
    type Ask<'a> = Box<dyn Fn(u64) + 'a>;
    let accepted = |request: Request| assert_eq!(nas.ask(&request).code, ACCESS_ACCEPT);
    let kinds: [(&str, Ask<'_>); 5] = [
        ("PAP", Box::new(|number| accepted(login(number).pap(SECRET, b"arctangent")))),
        ("CHAP", Box::new(|number| accepted(login(number).chap(b"arctangent", &[3; 16])))),
        (
            "sent again",
            Box::new(|number| {
                let request = login(number).pap(SECRET, b"arctangent").sign(SECRET);
                assert_eq!(nas.ask_bytes(&request).bytes, nas.ask_bytes(&request).bytes);
            }),
        ),
        (
            "Status-Server",
            Box::new(|number| {
                accepted(Request::new(STATUS_SERVER, number as u8).with_authenticator(number));
            }),
        ),
        (
            "accounting",
            Box::new(|number| {
                let record = Request::new(ACCOUNTING_REQUEST, number as u8);
                let record = record.number(40, 3).user("nemo").with(44, b"session");
                let record = record.number(46, number as u32).number(5, 7);
                assert_eq!(accounting.ask(&record).code, ACCOUNTING_RESPONSE);
            }),
        ),
    ];
    WATCHED.store(thread_of("radius-udp-0"), Ordering::SeqCst);
    for (at, (what, ask)) in kinds.iter().enumerate() {
        // What is kept from one request to the next is there after some.
        let first = 10_000 * at as u64;
        (first..first + 50).for_each(ask);
        let before = ALLOCATIONS.load(Ordering::SeqCst);
        (first + 50..first + 350).for_each(ask);
        assert_eq!(ALLOCATIONS.load(Ordering::SeqCst) - before, 0, "{what}");
    }
    assert!(ALLOCATIONS.load(Ordering::SeqCst) > 0, "what is allocated at first is counted");
    runtime.block_on(role.stop());
}
