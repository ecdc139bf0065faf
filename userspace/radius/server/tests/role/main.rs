//! The role through its sockets, with NASes of the test's own.

#![cfg(test)]

#[path = "../common/mod.rs"]
mod common;
mod credit;
mod lines;
mod refusals;
mod same_line;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use muralla_journal::disk::{Disk, DiskFile};
use muralla_journal::simulated::SimulatedDisk;
use muralla_radius::config::{MessageAuthenticator, NasConfig, RadiusConfig, StateLocation};
use muralla_radius::report::{DynamicVerdict, Stage, Status};
use muralla_radius::role::{OrderError, Role, Selector};
use muralla_radius::tail::Filter;
use muralla_radius::testing::{Login, Method};
use muralla_radius_dictionary::Dictionary;
use muralla_radius_state::import::from_users;
use muralla_radius_state::{
    Hidden, Location, NasEntry, PoolEntry, ProfileEntry, SessionEntry, SessionFilter, SessionState,
    State, SubscriberEntry, SumBy, UsageFilter,
};
use parking_lot::{Condvar, Mutex};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const SECRET: &[u8] = b"a secret of the NAS";
const NEXT_SECRET: &[u8] = b"the secret that is to come";

/// Where the NASes send from.
const NAS: &str = "127.0.0.1";
const OLD_NAS: &str = "127.0.0.2";
const ROLLING_NAS: &str = "127.0.0.3";
const NO_NAS: &str = "127.0.0.9";

struct Stand {
    runtime: Runtime,
    folder: TempDir,
    config: RadiusConfig,
}

fn subscriber(name: &str, credential: &str) -> SubscriberEntry {
    SubscriberEntry {
        name: name.to_owned(),
        credential: Hidden::new(credential),
        profiles: vec!["home".to_owned()],
        ..SubscriberEntry::default()
    }
}

async fn fill(database: &Path) {
    let state = State::open(&Location::Sqlite(database.to_owned())).await.unwrap();
    let dictionary = Dictionary::built_in();
    let home = ProfileEntry {
        name: "home".to_owned(),
        session_timeout: Some(3_600),
        reply: vec!["Framed-Protocol := PPP".to_owned()],
        ..ProfileEntry::default()
    };
    state.put_profiles(&dictionary, &[home]).await.unwrap();
    let bcrypt = "$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2";
    let pooled = |name| SubscriberEntry {
        pool: Some("customers".to_owned()),
        ..subscriber(name, "{CLEARTEXT}arctangent")
    };
    let subscribers = [
        subscriber("nemo", "{CLEARTEXT}arctangent"),
        subscriber("User", "{CLEARTEXT}clientPass"),
        subscriber("nt", "{NT}44ebba8d5312b8d611474411f56989ae"),
        subscriber("slow", bcrypt),
        SubscriberEntry { simultaneous: Some(1), ..subscriber("single", "{CLEARTEXT}arctangent") },
        SubscriberEntry {
            credit_seconds: Some(1_000),
            ..subscriber("prepaid", "{CLEARTEXT}arctangent")
        },
        SubscriberEntry { disabled: true, ..subscriber("gone", "{CLEARTEXT}arctangent") },
        pooled("pooled one"),
        pooled("pooled two"),
    ];
    state.put_subscribers(&dictionary, &subscribers, |_| ()).await.unwrap();
    state.put_pool(&PoolEntry::ipv4("customers", ["198.51.100.0/26"])).await.unwrap();
    state.close().await;
}

impl Stand {
    /// What the database has of a subscriber's credit.
    fn credit(&self, name: &str) -> Option<i64> {
        let location = self.config.database().0;
        self.runtime.block_on(async {
            let state = State::open(&location).await.unwrap();
            let subscriber = state.subscriber(name).await.unwrap().unwrap();
            state.close().await;
            subscriber.credit_seconds
        })
    }

    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let database = folder.path().join("state.db");
        runtime.block_on(fill(&database));
        // An address of this process's own: with SO_REUSEPORT two tests would share one, and each other's requests.
        static PORTS: AtomicU16 = AtomicU16::new(18_120);
        let [_, high, middle, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, high | 0x40, middle, low);
        let port = PORTS.fetch_add(2, Ordering::SeqCst);
        let nas = |name: &str, address: &str| {
            let prefix = address.parse::<Ipv4Addr>().unwrap();
            NasConfig::new(name, ipnet::Ipv4Net::from(prefix).into(), text(SECRET))
        };
        let old = NasConfig {
            message_authenticator: MessageAuthenticator::Optional,
            ..nas("old", OLD_NAS)
        };
        let rolling = NasConfig {
            next_secret: Some(Hidden::new(text(NEXT_SECRET))),
            ..nas("rolling", ROLLING_NAS)
        };
        let mut config = RadiusConfig {
            auth: vec![SocketAddr::from((address, port))],
            acct: vec![SocketAddr::from((address, port + 1))],
            threads: Some(2.try_into().unwrap()),
            nas: vec![nas("one", NAS), old, rolling],
            ..RadiusConfig::default()
        };
        config.state.location = StateLocation::Embedded(database);
        config.state.server = Some("test".to_owned());
        config.state.keep_interims = true;
        config.journal.folder = folder.path().join("journal");
        config.journal.segment = 1 << 20;
        config.journal.reserve = 0;
        config.answers.reject_delay = Duration::ZERO;
        config.answers.reply_cache = 1 << 20;
        Self { runtime, folder, config }
    }

    fn start(&self, inherited: Vec<(String, OwnedFd)>) -> Role {
        let role =
            Role::start(self.config.clone(), inherited, self.runtime.handle().clone()).unwrap();
        wait_for("the subscribers", || role.status().ready);
        role
    }

    fn start_on(&self, disk: impl Disk) -> Role {
        let handle = self.runtime.handle().clone();
        let role = Role::start_on(self.config.clone(), Vec::new(), handle, Arc::new(disk)).unwrap();
        wait_for("the subscribers", || role.status().ready);
        role
    }

    fn stop(&self, role: &Role) {
        self.runtime.block_on(role.stop());
    }

    fn nas(&self) -> Client {
        Client::new(NAS, self.config.auth[0], SECRET)
    }

    fn accounting_nas(&self) -> Client {
        Client::new(NAS, self.config.acct[0], SECRET)
    }

    fn sessions(&self, role: &Role) -> Vec<SessionEntry> {
        let state = role.state().unwrap();
        let all = self.runtime.block_on(state.sessions(&SessionFilter::default(), 10_000)).unwrap();
        let mut all: Vec<SessionEntry> = all;
        all.sort_by(|one, other| one.id.cmp(&other.id));
        all
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn count(status: &Status, stage: Stage, reason: &str) -> u64 {
    let those = status.reasons.iter().filter(|row| row.stage == stage && row.reason == reason);
    those.map(|row| row.count).sum()
}

fn login(id: u8, user: &str) -> Request {
    Request::new(ACCESS_REQUEST, id).user(user)
}

fn pap(id: u8, user: &str, password: &str) -> Request {
    login(id, user).pap(SECRET, password.as_bytes())
}

const START: u32 = 1;
const STOP: u32 = 2;
const INTERIM: u32 = 3;

/// A record of a session that begins now.
fn record(id: u8, status: u32, user: &str, session: &str) -> Request {
    Request::new(ACCOUNTING_REQUEST, id)
        .number(40, status)
        .user(user)
        .with(44, session.as_bytes())
        .with(4, &[127, 0, 0, 1])
        .number(5, 7)
}

fn usage(record: Request, seconds: u32, octets: u32) -> Request {
    record.number(46, seconds).number(42, octets).number(43, 2 * octets)
}

#[test]
fn every_method_lets_in_whom_it_should_and_nobody_else() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let nas = stand.nas();
    let challenge = [9; 16];
    // (what, request, whether it is accepted)
    let cases = [
        ("PAP", pap(0, "nemo", "arctangent"), true),
        ("PAP, wrong", pap(1, "nemo", "arctangens"), false),
        ("PAP, NT hash", pap(2, "nt", "clientPass"), true),
        ("PAP, bcrypt", pap(3, "slow", "correct horse"), true),
        ("PAP, bcrypt, wrong", pap(4, "slow", "correct hors"), false),
        ("CHAP", login(5, "nemo").chap(b"arctangent", &challenge), true),
        ("CHAP, wrong", login(6, "nemo").chap(b"arctangens", &challenge), false),
        ("CHAP, NT hash", login(7, "nt").chap(b"clientPass", &challenge), false),
        ("MS-CHAPv2", login(8, "User").mschap2(true), true),
        ("MS-CHAPv2, wrong", login(9, "User").mschap2(false), false),
        ("MS-CHAPv2, bcrypt", login(10, "slow").mschap2(true), false),
        ("nobody", pap(11, "nobody", "arctangent"), false),
        ("disabled", pap(12, "gone", "arctangent"), false),
        ("no password", login(13, "nemo"), false),
        ("EAP", login(14, "nemo").with(79, &[2, 0, 0, 4]), false),
    ];
    for (what, request, accepted) in cases {
        let answer = nas.ask(&request.with(33, b"state of a proxy").with(33, b"and of another"));
        assert_eq!(answer.code == ACCESS_ACCEPT, accepted, "{what}");
        assert_eq!(answer.code == ACCESS_REJECT, !accepted, "{what}");
        let states: Vec<&[u8]> = answer
            .attributes
            .iter()
            .filter(|(kind, _)| *kind == 33)
            .map(|(_, value)| &value[..])
            .collect();
        assert_eq!(states, [&b"state of a proxy"[..], b"and of another"], "{what}");
        // Session-Timeout and Framed-Protocol are the profile's.
        assert_eq!(answer.number(27), accepted.then_some(3_600), "{what}");
        assert_eq!(answer.number(7), accepted.then_some(1), "{what}");
        match what {
            "MS-CHAPv2" => {
                let success = answer.vendor(MICROSOFT, 26).unwrap();
                assert_eq!(success[0], 9);
                assert_eq!(&success[1..], b"S=407A5589115FD0D6209F510FE9C04566932CDA56");
                let keys = [16, 17].map(|kind| answer.vendor(MICROSOFT, kind).unwrap());
                assert_ne!(keys[0], keys[1]);
            }
            "MS-CHAPv2, wrong" => {
                let error = answer.vendor(MICROSOFT, 2).unwrap();
                assert!(text(&error[1..]).starts_with("E=691 R=0 "), "{error:?}");
            }
            "PAP, wrong" | "nobody" => {
                assert_eq!(text(answer.first(18).unwrap()), "Wrong name or password.", "{what}");
            }
            "disabled" => assert_ne!(text(answer.first(18).unwrap()), "Wrong name or password."),
            _ => {}
        }
    }
    let status = role.status();
    for (reason, expected) in [
        ("wrong_password", 4),
        ("unknown_user", 1),
        ("disabled", 1),
        ("method_impossible", 3),
        ("bad_offer", 1),
    ] {
        assert_eq!(count(&status, Stage::Rejected, reason), expected, "{reason}");
    }
    let one = status.nases.iter().find(|nas| nas.name == "one").unwrap();
    assert_eq!((one.requests, one.accepted, one.rejected), (15, 5, 10));
    assert!(one.seen.is_some_and(|seen| seen < 60));
    stand.stop(&role);
}

#[test]
fn who_is_not_known_or_not_genuine_hears_nothing() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let (nas, acct) = (stand.nas(), stand.accounting_nas());
    let genuine = pap(1, "nemo", "arctangent");
    let good = genuine.sign(SECRET);
    let altered = |at: usize, byte: u8| {
        let mut packet = good.clone();
        packet[at] = byte;
        packet
    };
    let with_status = |request: Request| request.number(40, START);
    let account = with_status(Request::new(ACCOUNTING_REQUEST, 9)).with(44, b"x");
    let cases: Vec<(&Client, Vec<u8>, Stage, &str)> = vec![
        (&nas, good[..19].to_vec(), Stage::Malformed, "short"),
        (&nas, Vec::new(), Stage::Malformed, "short"),
        (&nas, altered(3, 19), Stage::Malformed, "length_too_small"),
        (&nas, altered(2, 0xff), Stage::Malformed, "length_too_big"),
        (&nas, good[..good.len() - 1].to_vec(), Stage::Malformed, "truncated"),
        (&nas, altered(21, 1), Stage::Malformed, "attribute_too_short"),
        (&nas, altered(21, 255), Stage::Malformed, "attribute_torn"),
        (&nas, altered(30, good[30] ^ 1), Stage::Unverified, "message_authenticator"),
        (&nas, genuine.plain(), Stage::Unverified, "no_message_authenticator"),
        (&nas, genuine.sign(b"another secret"), Stage::Unverified, "message_authenticator"),
        (
            &nas,
            Request::new(STATUS_SERVER, 2).plain(),
            Stage::Unverified,
            "no_message_authenticator",
        ),
        (&nas, altered(0, 2), Stage::Dropped, "unexpected_code"),
        (&nas, account.sign(SECRET), Stage::Dropped, "unexpected_code"),
        (&acct, good.clone(), Stage::Dropped, "unexpected_code"),
        (&acct, account.sign(b"another secret"), Stage::Unverified, "authenticator"),
        (&acct, Request::new(ACCOUNTING_REQUEST, 3).sign(SECRET), Stage::Dropped, "no_status"),
    ];
    for (number, (client, packet, stage, reason)) in cases.iter().enumerate() {
        let before = count(&role.status(), *stage, reason);
        client.ask_in_vain(packet);
        assert_eq!(count(&role.status(), *stage, reason), before + 1, "case {number}: {reason}");
    }
    Client::new(NO_NAS, stand.config.auth[0], SECRET).ask_in_vain(&good);
    assert_eq!(count(&role.status(), Stage::Unverified, "unknown_client"), 1);
    // What is beyond its Length is padding (RFC 2865 section 3).
    let padded = [&good[..], &[0; 30]].concat();
    nas.send(&padded);
    let answer = nas.receive(Duration::from_secs(10)).unwrap();
    assert_eq!(check(&answer, &good, SECRET).code, ACCESS_ACCEPT);
    stand.stop(&role);
}

#[test]
fn an_old_nas_is_an_exception_that_is_loud_and_has_its_limits() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let old = Client::new(OLD_NAS, stand.config.auth[0], SECRET);
    let request = pap(1, "nemo", "arctangent");
    assert_eq!(old.ask_bytes(&request.plain()).code, ACCESS_ACCEPT);
    // What a forger of answers needs (CVE-2024-3596).
    let forged = pap(2, "nemo", "arctangent").with(33, b"a place for a collision");
    old.ask_in_vain(&forged.plain());
    assert_eq!(count(&role.status(), Stage::Unverified, "proxy_state"), 1);
    assert_eq!(old.ask(&forged).code, ACCESS_ACCEPT);
    let warnings = role.status().warnings;
    assert!(
        warnings.iter().any(|warning| warning.contains("NAS old") && warning.contains("CVE")),
        "{warnings:?}"
    );
    stand.stop(&role);
}

#[test]
fn what_is_sent_again_gets_the_same_answer_byte_for_byte() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let nas = stand.nas();
    let first = pap(7, "nemo", "arctangent").sign(SECRET);
    let answer = nas.ask_bytes(&first);
    for _ in 0..3 {
        assert_eq!(nas.ask_bytes(&first).bytes, answer.bytes);
    }
    // The same identifier with another authenticator is another request (RFC 5080 section 2.2.2).
    let other = login(7, "nemo").with_authenticator(1_000).pap(SECRET, b"arctangens");
    assert_eq!(nas.ask(&other).code, ACCESS_REJECT);
    assert_eq!(nas.ask_bytes(&first).code, ACCESS_ACCEPT);
    let status = role.status();
    let one = status.nases.iter().find(|nas| nas.name == "one").unwrap();
    assert_eq!((one.requests, one.repeated, one.rejected), (3, 3, 1));

    let acct = stand.accounting_nas();
    let start = record(8, START, "nemo", "again").sign(SECRET);
    let answer = acct.ask_bytes(&start);
    assert_eq!(acct.ask_bytes(&start).bytes, answer.bytes);
    wait_for("the session", || role.status().sessions == 1);
    let status = role.status();
    assert_eq!(status.journal.records, 1, "written once");
    stand.stop(&role);
}

#[test]
fn identifiers_wrap() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let nas = stand.nas();
    for number in 0..700u64 {
        let request =
            login(number as u8, "nemo").with_authenticator(number).pap(SECRET, b"arctangent");
        assert_eq!(nas.ask(&request).code, ACCESS_ACCEPT, "{number}");
    }
    let status = role.status();
    let one = status.nases.iter().find(|nas| nas.name == "one").unwrap();
    assert_eq!((one.accepted, one.repeated), (700, 0));
    stand.stop(&role);
}

#[test]
fn a_status_server_is_answered_on_both_ports() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let status = Request::new(STATUS_SERVER, 5).with(33, b"proxy");
    let auth = stand.nas().ask(&status);
    assert_eq!((auth.code, auth.first(33)), (ACCESS_ACCEPT, Some(&b"proxy"[..])));
    assert_eq!(stand.accounting_nas().ask(&status).code, ACCOUNTING_RESPONSE);
    stand.runtime.block_on(async {
        assert!(role.canary().await.unwrap() < Duration::from_secs(2));
    });
    stand.stop(&role);
    // Nobody reads any more.
    let silence = stand.runtime.block_on(role.canary());
    assert!(silence.unwrap_err().contains("no answer"));
}

#[test]
fn a_refusal_waits_and_nobody_waits_for_it() {
    let mut stand = Stand::new();
    stand.config.answers.reject_delay = Duration::from_millis(700);
    // One thread: if anything slept, all would.
    stand.config.threads = Some(1.try_into().unwrap());
    let role = stand.start(Vec::new());
    let (guesser, nas) = (stand.nas(), stand.nas());
    let wrong = pap(1, "nemo", "arctangens").sign(SECRET);
    let begin = Instant::now();
    guesser.send(&wrong);
    wait_for("the refusal to wait", || role.status().delayed_rejects == 1);
    guesser.send(&wrong);
    for id in 0..20 {
        assert_eq!(nas.ask(&pap(id, "nemo", "arctangent")).code, ACCESS_ACCEPT);
    }
    assert!(begin.elapsed() < Duration::from_millis(650), "{:?}", begin.elapsed());
    let answer = guesser.receive(Duration::from_secs(10)).unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(690), "{:?}", begin.elapsed());
    assert_eq!(check(&answer, &wrong, SECRET).code, ACCESS_REJECT);
    // What was sent again meanwhile got no answer of its own; from now on it gets this one at once.
    assert!(guesser.receive(Duration::from_millis(200)).is_none());
    assert_eq!(count(&role.status(), Stage::Dropped, "under_way"), 1);
    let again = Instant::now();
    assert_eq!(guesser.ask_bytes(&wrong).bytes, answer);
    assert!(again.elapsed() < Duration::from_millis(500));

    // At the end it does not wait.
    let last = pap(2, "nemo", "arctangens").sign(SECRET);
    guesser.send(&last);
    wait_for("the refusal to wait", || role.status().delayed_rejects == 1);
    stand.stop(&role);
    let answer = guesser.receive(Duration::from_millis(400)).expect("an answer before the end");
    assert_eq!(check(&answer, &last, SECRET).code, ACCESS_REJECT);
}

#[test]
fn a_secret_is_rolled_without_a_moment_of_silence() {
    let mut stand = Stand::new();
    let role = stand.start(Vec::new());
    let both = |role: &Role| {
        let status = role.status();
        let nas = status.nases.iter().find(|nas| nas.name == "rolling").unwrap().clone();
        (nas.rolling, nas.accepted, nas.old_secret.is_some())
    };
    for (number, secret) in [NEXT_SECRET, SECRET].into_iter().enumerate() {
        assert!(!both(&role).2, "the old one was not seen yet");
        let client = Client::new(ROLLING_NAS, stand.config.auth[0], secret);
        let request = login(number as u8, "nemo").pap(secret, b"arctangent");
        // The answer is signed with the secret of the request.
        assert_eq!(client.ask(&request).code, ACCESS_ACCEPT);
    }
    assert_eq!(both(&role), (true, 2, true));
    // The roll is over.
    stand.config.nas[2].secret = Hidden::new(text(NEXT_SECRET));
    stand.config.nas[2].next_secret = None;
    role.reload(stand.config.clone()).unwrap();
    let before = Client::new(ROLLING_NAS, stand.config.auth[0], SECRET);
    before.ask_in_vain(&login(3, "nemo").pap(SECRET, b"arctangent").sign(SECRET));
    let after = Client::new(ROLLING_NAS, stand.config.auth[0], NEXT_SECRET);
    assert_eq!(after.ask(&login(4, "nemo").pap(NEXT_SECRET, b"arctangent")).code, ACCESS_ACCEPT);
    assert_eq!(both(&role), (false, 3, true), "what was counted stays");
    stand.stop(&role);
}

#[test]
fn a_guesser_has_to_wait_and_others_do_not() {
    let mut stand = Stand::new();
    stand.config.limits.user_failures = 3;
    stand.config.limits.user_forgiven = Duration::from_secs(600);
    let role = stand.start(Vec::new());
    let nas = stand.nas();
    // He logged in at his line before.
    let home = |id| pap(id, "nemo", "arctangent").with(31, b"line 7");
    assert_eq!(nas.ask(&home(100)).code, ACCESS_ACCEPT);
    for id in 0..3 {
        assert_eq!(nas.ask(&pap(id, "nemo", "guess").with(31, b"line 9")).code, ACCESS_REJECT);
    }
    let right = pap(3, "nemo", "arctangent").with(31, b"line 9");
    let answer = nas.ask(&right);
    assert_eq!(answer.code, ACCESS_REJECT);
    assert_eq!(text(answer.first(18).unwrap()), "Wrong name or password.");
    assert_eq!(count(&role.status(), Stage::Rejected, "too_many_attempts"), 1);
    assert_eq!(nas.ask(&home(101)).code, ACCESS_ACCEPT, "he himself is not locked out");
    assert_eq!(nas.ask(&pap(5, "nt", "clientPass")).code, ACCESS_ACCEPT);
    stand.stop(&role);
}

/// Whatever fails through a NAS, its subscribers are let in, even those of whom nothing was seen before.
#[test]
fn names_that_nobody_has_lock_out_nobody_who_has_one() {
    let mut stand = Stand::new();
    stand.config.limits.nas_failures = 3;
    stand.config.limits.nas_forgiven = Duration::from_secs(600);
    stand.config.limits.user_failures = 2;
    stand.config.limits.user_forgiven = Duration::from_secs(600);
    let role = stand.start(Vec::new());
    let nas = stand.nas();
    let limited = || count(&role.status(), Stage::Rejected, "too_many_attempts");
    for id in 0..5 {
        let answer = nas.ask(&pap(id, &format!("made up {id}"), "guess"));
        assert_eq!(answer.code, ACCESS_REJECT);
    }
    assert_eq!(limited(), 2);
    assert_eq!(nas.ask(&pap(5, "nemo", "arctangent")).code, ACCESS_ACCEPT);
    assert_eq!(nas.ask(&pap(6, "nt", "clientPass").with(31, b"line 1")).code, ACCESS_ACCEPT);
    // His own failures are held against him, until the operator gives him another password.
    for id in 7..10 {
        assert_eq!(nas.ask(&pap(id, "nemo", "guess")).code, ACCESS_REJECT);
    }
    assert_eq!(limited(), 3);
    let state = role.state().unwrap();
    let changed = subscriber("nemo", "{CLEARTEXT}another");
    stand.runtime.block_on(state.put_subscriber(&Dictionary::built_in(), &changed)).unwrap();
    let mut number = 1_000;
    wait_for("the other password", || {
        thread::sleep(Duration::from_millis(50));
        number += 1;
        let login = login(10, "nemo").with_authenticator(number).pap(SECRET, b"another");
        nas.ask(&login).code == ACCESS_ACCEPT
    });
    stand.stop(&role);
}

#[test]
fn slow_passwords_hold_nobody_up_and_too_many_of_them_are_asked_for_again() {
    let mut stand = Stand::new();
    stand.config.limits.costly_queue = 2;
    stand.config.threads = Some(1.try_into().unwrap());
    let role = stand.start(Vec::new());
    let (crowd, nas) = (stand.nas(), stand.nas());
    let mut open: Vec<Vec<u8>> =
        (0..60).map(|id| pap(id, "slow", "correct horse").sign(SECRET)).collect();
    for request in &open {
        crowd.send(request);
    }
    assert_eq!(nas.ask(&pap(100, "nemo", "arctangent")).code, ACCESS_ACCEPT);
    let mut rounds = 0;
    while !open.is_empty() {
        while let Some(answer) = crowd.receive(Duration::from_millis(200)) {
            let at = open.iter().position(|request| request[1] == answer[1]).unwrap();
            let request = open.swap_remove(at);
            assert_eq!(check(&answer, &request, SECRET).code, ACCESS_ACCEPT);
        }
        rounds += 1;
        assert!(rounds < 100, "{} are left", open.len());
        // As NASes do.
        for request in &open {
            crowd.send(request);
        }
    }
    let status = role.status();
    assert!(count(&status, Stage::Dropped, "costly_queue_full") > 0);
    assert_eq!(status.nases.iter().map(|nas| nas.accepted).sum::<u64>(), 61);
    stand.stop(&role);
}

/// A disk that does not come back from a sync while it is told so.
struct StuckDisk {
    disk: SimulatedDisk,
    stuck: Arc<Stuck>,
}

#[derive(Default)]
struct Stuck {
    is: Mutex<bool>,
    news: Condvar,
}

impl Stuck {
    fn set(&self, stuck: bool) {
        *self.is.lock() = stuck;
        self.news.notify_all();
    }

    fn pass(&self) {
        let mut stuck = self.is.lock();
        self.news.wait_while(&mut stuck, |stuck| *stuck);
    }
}

struct StuckFile {
    file: Arc<dyn DiskFile>,
    stuck: Arc<Stuck>,
}

impl StuckDisk {
    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(StuckFile { file, stuck: Arc::clone(&self.stuck) })
    }
}

impl Disk for StuckDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        self.disk.names()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.disk.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.disk.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sync()
    }

    fn free(&self) -> io::Result<u64> {
        self.disk.free()
    }
}

impl DiskFile for StuckFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn sync(&self) -> io::Result<()> {
        self.stuck.pass();
        self.file.sync()
    }
}

#[test]
fn a_record_is_acknowledged_once_it_is_durable_and_not_before() {
    let stand = Stand::new();
    let stuck = Arc::new(Stuck::default());
    let disk = StuckDisk { disk: SimulatedDisk::new(1, 1 << 30), stuck: Arc::clone(&stuck) };
    let role = stand.start_on(disk);
    let (nas, acct) = (stand.nas(), stand.accounting_nas());
    assert_eq!(acct.ask(&record(1, START, "nemo", "one")).code, ACCOUNTING_RESPONSE);

    stuck.set(true);
    let start = record(2, START, "nemo", "two").sign(SECRET);
    acct.ask_in_vain(&start);
    assert_eq!(role.status().pending_acknowledgements, 1);
    acct.ask_in_vain(&start);
    assert_eq!(count(&role.status(), Stage::Dropped, "under_way"), 1);
    assert_eq!(nas.ask(&pap(3, "nemo", "arctangent")).code, ACCESS_ACCEPT, "logins go on");

    stuck.set(false);
    let answer = acct.receive(Duration::from_secs(10)).expect("an answer");
    assert_eq!(check(&answer, &start, SECRET).code, ACCOUNTING_RESPONSE);
    assert!(acct.receive(Duration::from_millis(200)).is_none(), "one answer");
    wait_for("nothing to wait", || role.status().pending_acknowledgements == 0);
    assert_eq!(role.status().journal.records, 2);
    stand.stop(&role);
}

/// Whoever has seen one packet may send it again from wherever he likes, and gets nothing into the journal by it.
#[test]
fn a_packet_that_comes_again_from_elsewhere_is_written_once() {
    let stand = Stand::new();
    let stuck = Arc::new(Stuck::default());
    let disk = StuckDisk { disk: SimulatedDisk::new(1, 1 << 30), stuck: Arc::clone(&stuck) };
    let role = stand.start_on(disk);
    let acct = stand.accounting_nas();
    let first = record(1, START, "nemo", "one").sign(SECRET);
    assert_eq!(acct.ask_bytes(&first).code, ACCOUNTING_RESPONSE);
    for _ in 0..20 {
        assert_eq!(stand.accounting_nas().ask_bytes(&first).code, ACCOUNTING_RESPONSE);
    }
    // What is not durable yet is acknowledged when it is, whichever way it came.
    stuck.set(true);
    let second = record(2, START, "nemo", "two").sign(SECRET);
    acct.ask_in_vain(&second);
    let others: Vec<Client> = (0..20).map(|_| stand.accounting_nas()).collect();
    others.iter().for_each(|other| other.send(&second));
    wait_for("them to wait", || role.status().pending_acknowledgements == 21);
    stuck.set(false);
    for client in others.iter().chain([&acct]) {
        let answer = client.receive(Duration::from_secs(10)).expect("an answer");
        assert_eq!(check(&answer, &second, SECRET).code, ACCOUNTING_RESPONSE);
    }
    wait_for("nothing to wait", || role.status().pending_acknowledgements == 0);
    assert_eq!(role.status().journal.records, 2);
    stand.stop(&role);
}

/// A NAS that sends more than the disk takes leaves room for others.
#[test]
fn no_nas_has_all_acknowledgements_that_may_wait() {
    let mut stand = Stand::new();
    stand.config.limits.pending_acknowledgements = 8;
    stand.config.threads = Some(1.try_into().unwrap());
    let stuck = Arc::new(Stuck::default());
    let disk = StuckDisk { disk: SimulatedDisk::new(1, 1 << 30), stuck: Arc::clone(&stuck) };
    let role = stand.start_on(disk);
    let (acct, old) = (stand.accounting_nas(), Client::new(OLD_NAS, stand.config.acct[0], SECRET));
    stuck.set(true);
    for id in 0..6 {
        acct.send(&record(id, START, "nemo", &format!("session {id}")).sign(SECRET));
    }
    let refused = || count(&role.status(), Stage::Dropped, "too_many_pending_of_nas");
    wait_for("the refusals", || refused() == 4);
    let other = record(9, START, "nemo", "of another").sign(SECRET);
    old.send(&other);
    wait_for("the other's", || role.status().pending_acknowledgements == 3);
    stuck.set(false);
    assert_eq!(check(&old.receive(Duration::from_secs(10)).unwrap(), &other, SECRET).id, 9);
    // Through another socket, for the first one still has two answers.
    stand.accounting_nas().ask(&record(10, START, "nemo", "one more"));
    stand.stop(&role);
}

#[test]
fn a_disk_that_fails_stops_the_acknowledgements_and_not_the_logins() {
    let stand = Stand::new();
    let disk = SimulatedDisk::new(2, 1 << 30);
    let role = stand.start_on(disk.clone());
    let (nas, acct) = (stand.nas(), stand.accounting_nas());
    disk.fail_writes(true);
    let first = record(1, START, "nemo", "one").sign(SECRET);
    acct.ask_in_vain(&first);
    wait_for("the journal to say so", || role.status().journal.health == "failed");
    let second = record(2, START, "nemo", "two").sign(SECRET);
    acct.ask_in_vain(&second);
    assert_eq!(count(&role.status(), Stage::Dropped, "journal_failed"), 1);
    assert_eq!(nas.ask(&pap(3, "nemo", "arctangent")).code, ACCESS_ACCEPT);

    disk.fail_writes(false);
    let answer = acct.receive(Duration::from_secs(10)).expect("the one that was taken in");
    assert_eq!(check(&answer, &first, SECRET).code, ACCOUNTING_RESPONSE);
    wait_for("the journal to be well", || role.status().journal.health == "good");
    // What was not taken in is taken in when it is sent again.
    assert_eq!(acct.ask_bytes(&second).code, ACCOUNTING_RESPONSE);
    wait_for("both sessions", || role.status().sessions == 2);
    stand.stop(&role);
}

/// A database that does not answer.
fn nowhere() -> StateLocation {
    StateLocation::Postgres(Hidden::new("postgres://radius@127.0.0.1:9/radius"))
}

#[test]
fn without_a_database_nothing_that_was_acknowledged_is_lost_even_if_the_power_goes() {
    let mut stand = Stand::new();
    let here = std::mem::replace(&mut stand.config.state.location, nowhere());
    stand.config.state.copy = None;
    let disk = SimulatedDisk::new(3, 1 << 30);
    let handle = stand.runtime.handle().clone();
    let config = stand.config.clone();
    let role = Role::start_on(config, Vec::new(), handle, Arc::new(disk.clone())).unwrap();
    let (nas, acct) = (stand.nas(), stand.accounting_nas());
    for number in 0..50 {
        let answer = acct.ask(&record(number, START, "nemo", &format!("session {number}")));
        assert_eq!(answer.code, ACCOUNTING_RESPONSE);
    }
    // Nobody is known: the NAS is to ask another server. Whoever watches the process is not to restart it for that.
    nas.ask_in_vain(&pap(1, "nemo", "arctangent").sign(SECRET));
    nas.ask_in_vain(&Request::new(STATUS_SERVER, 2).sign(SECRET));
    assert_eq!(count(&role.status(), Stage::Dropped, "not_ready"), 2);
    stand.runtime.block_on(role.canary()).unwrap();
    let status = role.status();
    assert!(!status.ready && status.database.is_none() && status.sessions == 50);

    let crashed = disk.crash(4);
    stand.stop(&role);
    drop(role);
    std::fs::remove_file(stand.folder.path().join("sessions")).unwrap();
    stand.config.state.location = here;
    let role = stand.start_on(crashed);
    wait_for("the database", || stand.sessions(&role).len() == 50);
    assert_eq!(role.status().sessions, 50);
    stand.stop(&role);
}

#[test]
fn a_start_without_the_database_answers_from_its_copy() {
    let mut stand = Stand::new();
    // Two files of one kind: a copy is a state of its own.
    let copy = stand.folder.path().join("state.db");
    stand.config.state.location = nowhere();
    stand.config.state.copy = Some(copy);
    let role = stand.start(Vec::new());
    let nas = stand.nas();
    assert_eq!(nas.ask(&pap(1, "nemo", "arctangent")).code, ACCESS_ACCEPT);
    assert_eq!(nas.ask(&pap(2, "nemo", "arctangens")).code, ACCESS_REJECT);
    assert_eq!(nas.ask(&Request::new(STATUS_SERVER, 3)).code, ACCESS_ACCEPT);
    // What is given out of pools only the database knows: another server may have it.
    nas.ask_in_vain(&pap(4, "pooled one", "arctangent").sign(SECRET));
    assert_eq!(count(&role.status(), Stage::Dropped, "pool_unavailable"), 1);
    stand.stop(&role);
}

#[test]
fn a_restart_with_the_same_sockets_loses_nothing() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let acct = stand.accounting_nas();
    acct.ask(&record(1, START, "nemo", "before"));
    wait_for("the session", || role.status().sessions == 1);
    let kept: Vec<(String, OwnedFd)> = role
        .descriptors()
        .into_iter()
        .map(|(name, socket)| (name, socket.try_clone_to_owned().unwrap()))
        .collect();
    assert_eq!(kept.len(), 4);
    stand.stop(&role);
    // Whoever looks at a role that has stopped does no harm.
    stand.stop(&role);
    assert!(role.status().sessions > 0);
    drop(role);

    let waiting: Vec<(Client, Vec<u8>)> = (0..40u8)
        .map(|number| {
            let session = format!("meanwhile {number}");
            let (client, request) = if number % 4 == 0 {
                // Not before there is something to give out of the pool: to one line, as it has but few at first.
                (stand.nas(), pap(number, "pooled one", "arctangent").number(5, 1))
            } else if number % 2 == 0 {
                (stand.nas(), pap(number, "nemo", "arctangent"))
            } else {
                (stand.accounting_nas(), record(number, START, "nt", &session))
            };
            let request = request.sign(SECRET);
            client.send(&request);
            (client, request)
        })
        .collect();
    let role = stand.start(kept);
    for (client, request) in &waiting {
        let answer = client.receive(Duration::from_secs(10)).expect("an answer");
        let code = check(&answer, request, SECRET).code;
        let reasons = role.status().reasons;
        assert!([ACCESS_ACCEPT, ACCOUNTING_RESPONSE].contains(&code), "{code}: {reasons:?}");
    }
    wait_for("all sessions", || role.status().sessions == 21);
    wait_for("the database", || stand.sessions(&role).len() == 21);
    stand.stop(&role);
}

#[test]
fn records_that_are_read_again_change_nothing() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let acct = stand.accounting_nas();
    for session in 0..6u8 {
        let name = format!("session {session}");
        let octets = 1_000 * u32::from(session + 1);
        acct.ask(&record(4 * session, START, "nemo", &name));
        acct.ask(&usage(record(4 * session + 1, INTERIM, "nemo", &name), 60, octets));
        if session % 2 == 0 {
            acct.ask(&usage(record(4 * session + 2, STOP, "nemo", &name), 90, 2 * octets));
        }
    }
    wait_for("the database", || role.status().exported == 15);
    let sums = |role: &Role| {
        let filter =
            UsageFilter { by: SumBy::User, daily: false, from: 0, to: i32::MAX, name: None };
        stand.runtime.block_on(role.state().unwrap().usage(&filter)).unwrap()
    };
    let (sessions, usage) = (stand.sessions(&role), sums(&role));
    assert_eq!(sessions.len(), 6);
    assert_eq!(sessions.iter().filter(|session| session.state == SessionState::Open).count(), 3);
    assert_eq!(
        (usage.len(), usage[0].octets_in),
        (1, 2_000 + 2_000 + 6_000 + 4_000 + 10_000 + 6_000)
    );
    assert_eq!(role.status().sessions, 3);
    stand.stop(&role);
    drop(role);

    // As if nothing of what was read had been kept: neither positions nor the table.
    let journal = &stand.config.journal.folder;
    for consumer in ["sessions", "database"] {
        std::fs::remove_file(journal.join(format!("{consumer}.position"))).unwrap();
    }
    std::fs::remove_file(stand.folder.path().join("sessions")).unwrap();
    let role = stand.start(Vec::new());
    wait_for("everything to be read again", || {
        let status = role.status();
        status.exported == 15
            && status.journal.lag.iter().any(|(name, lag)| name == "database" && *lag == 0)
    });
    assert_eq!((stand.sessions(&role), sums(&role)), (sessions, usage));
    assert_eq!(role.status().sessions, 3);
    stand.stop(&role);
}

#[test]
fn a_record_sent_again_with_another_identifier_counts_once() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let acct = stand.accounting_nas();
    let sent = |id, delay| usage(record(id, STOP, "nemo", "once"), 60, 500).number(41, delay);
    acct.ask(&sent(1, 0));
    thread::sleep(Duration::from_millis(1_100));
    // RFC 2866 section 5.2: with the delay changed it is another packet.
    acct.ask(&sent(2, 1));
    wait_for("the database", || role.status().exported == 2);
    let sessions = stand.sessions(&role);
    assert_eq!(sessions.len(), 1);
    assert_eq!((sessions[0].octets_in, sessions[0].octets_out), (500, 1_000));
    let records = role.status().records;
    assert!(records.contains(&("duplicate".to_owned(), 1)), "{records:?}");
    stand.stop(&role);
}

#[test]
fn a_user_has_as_many_sessions_as_he_may() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let (nas, acct) = (stand.nas(), stand.accounting_nas());
    let at_port = |id, port| pap(id, "single", "arctangent").number(5, port);
    assert_eq!(nas.ask(&at_port(1, 7)).code, ACCESS_ACCEPT);
    acct.ask(&record(2, START, "single", "his"));
    wait_for("the session", || role.status().sessions == 1);
    let answer = nas.ask(&at_port(3, 8));
    assert_eq!(answer.code, ACCESS_REJECT);
    assert_eq!(count(&role.status(), Stage::Rejected, "too_many_sessions"), 1);
    assert_eq!(
        nas.ask(&at_port(4, 7)).code,
        ACCESS_ACCEPT,
        "at the same port the other one is over"
    );
    acct.ask(&usage(record(5, STOP, "single", "his"), 10, 10));
    wait_for("its end", || role.status().sessions == 0);
    assert_eq!(nas.ask(&at_port(6, 8)).code, ACCESS_ACCEPT);
    stand.stop(&role);
}

#[test]
fn an_address_of_a_pool_is_given_to_one_alone() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    wait_for("the pool", || role.status().pools.iter().any(|pool| pool.spare > 0));
    let nas = stand.nas();
    let address = |id, user: &str, port| {
        let answer = nas.ask(&pap(id, user, "arctangent").number(5, port));
        assert_eq!(answer.code, ACCESS_ACCEPT);
        answer.first(8).unwrap().to_vec()
    };
    let one = address(1, "pooled one", 1);
    let two = address(2, "pooled two", 2);
    assert_ne!(one, two);
    assert_eq!(one[..3], [198, 51, 100]);
    assert_eq!(address(3, "pooled one", 1), one, "who asks again gets the same");
    // Three updates in the life of a lease, as no profile says otherwise.
    let answer = nas.ask(&pap(4, "pooled one", "arctangent").number(5, 1));
    assert_eq!(answer.number(85), Some(1_200));
    assert_eq!(nas.ask(&pap(5, "nemo", "arctangent")).number(85), None);
    stand.stop(&role);
}

/// A Stop whose acknowledgement was lost comes again, when its address is the next session's already.
#[test]
fn an_old_end_does_not_take_the_address_of_the_next_session() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    wait_for("the pool", || role.status().pools.iter().any(|pool| pool.spare > 0));
    let (nas, acct) = (stand.nas(), stand.accounting_nas());
    let address = |id| {
        let answer = nas.ask(&pap(id, "pooled one", "arctangent").number(5, 7));
        answer.first(8).unwrap().to_vec()
    };
    let held = || role.status().pools[0].held;
    let given = address(1);
    let has = |record: Request| record.with(8, &given);
    acct.ask(&has(record(1, START, "pooled one", "first")));
    let end = usage(record(2, STOP, "pooled one", "first"), 1, 100);
    acct.ask(&has(end.clone()));
    wait_for("its end", || held() == 0);
    assert_eq!(address(2), given, "what he had last");
    acct.ask(&has(record(3, START, "pooled one", "second")));
    acct.ask(&has(end.number(41, 9)));
    // And another record, for what came before it has been read then.
    acct.ask(&record(4, START, "nemo", "another"));
    wait_for("all of it", || role.status().sessions == 2 && role.status().exported == 5);
    assert_eq!(held(), 1);
    let leases = || {
        let state = role.state().unwrap();
        stand.runtime.block_on(state.leases(None, "", 9)).unwrap()
    };
    assert_eq!(leases().len(), 1);

    // He is gone and back before his Stop comes: the offer is the next session's.
    thread::sleep(Duration::from_millis(1_200));
    assert_eq!(address(5), given);
    acct.ask(&has(usage(record(6, STOP, "pooled one", "second"), 2, 100)));
    wait_for("its end", || role.status().sessions == 1);
    acct.ask(&record(7, START, "nemo", "one more"));
    wait_for("what came after it", || role.status().sessions == 2);
    assert_eq!(held(), 1);
    stand.stop(&role);
}

/// A box that told its name in its records, and not in its Accounting-On: what is closed here is closed in the database.
#[test]
fn what_a_box_closes_is_closed_in_the_database() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let acct = stand.accounting_nas();
    acct.ask(&record(1, START, "nemo", "open").with(32, b"lns"));
    wait_for("the session", || role.status().sessions == 1);
    // Within its first seconds it could be one of the new life.
    thread::sleep(Duration::from_millis(3_100));
    let began = Request::new(ACCOUNTING_REQUEST, 2).number(40, 7).with(4, &[127, 0, 0, 1]);
    acct.ask(&began);
    wait_for("its end here", || role.status().sessions == 0);
    wait_for("its end in the database", || {
        let sessions = stand.sessions(&role);
        sessions.len() == 1 && sessions[0].state == SessionState::Rebooted
    });
    stand.stop(&role);
}

/// Nobody is quicker with a second session than the table of sessions: what was acknowledged counts.
#[test]
fn a_session_counts_from_its_acknowledgement_on_and_no_longer_than_its_end() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let (nas, acct) = (stand.nas(), stand.accounting_nas());
    let attempt = |number: u64| {
        let login = login(number as u8, "single").with_authenticator(number);
        nas.ask(&login.pap(SECRET, b"arctangent").number(5, 8)).code
    };
    for turn in 0..200u64 {
        let session = format!("session {turn}");
        acct.ask(&record(1, START, "single", &session));
        assert_eq!(attempt(2 * turn), ACCESS_REJECT, "turn {turn}: it has begun");
        acct.ask(&usage(record(2, STOP, "single", &session), 1, 1));
        assert_eq!(attempt(2 * turn + 1), ACCESS_ACCEPT, "turn {turn}: it has ended");
    }
    stand.stop(&role);
}

/// A NAS that takes Disconnect: answers with this code and these attributes, but not to the first copies.
fn fake_nas(lost: usize, code: u8, attributes: Vec<u8>) -> (u16, thread::JoinHandle<Vec<Vec<u8>>>) {
    fake_nas_at(NAS, lost, code, attributes)
}

fn fake_nas_at(
    address: &str,
    lost: usize,
    code: u8,
    attributes: Vec<u8>,
) -> (u16, thread::JoinHandle<Vec<Vec<u8>>>) {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let nas = thread::spawn(move || {
        let (mut buffer, mut seen) = ([0; 4_096], Vec::new());
        loop {
            let (len, from) = socket.recv_from(&mut buffer).unwrap();
            let request = buffer[..len].to_vec();
            // RFC 5176 section 2.3.
            let mut zeroed = request.clone();
            zeroed[4..20].fill(0);
            assert_eq!(request[4..20], md5(&[&zeroed, SECRET]));
            seen.push(request.clone());
            if seen.len() <= lost {
                continue;
            }
            let mut answer = Request {
                code,
                id: request[1],
                authenticator: [0; 16],
                attributes: attributes.clone(),
            };
            answer.authenticator = request[4..20].try_into().unwrap();
            let mut bytes = answer.plain();
            let authenticator = md5(&[&bytes, SECRET]);
            bytes[4..20].copy_from_slice(&authenticator);
            socket.send_to(&bytes, from).unwrap();
            return seen;
        }
    });
    (port, nas)
}

#[test]
fn a_session_is_ended_at_its_nas() {
    let mut stand = Stand::new();
    stand.config.dynamic.first_timeout = Duration::from_millis(100);
    stand.config.dynamic.attempts = 3;
    let role = stand.start(Vec::new());
    let acct = stand.accounting_nas();
    acct.ask(&record(1, START, "nemo", "0000abcd").with(8, &[192, 0, 2, 77]));
    wait_for("the session", || role.status().sessions == 1);
    let user = Selector::User("nemo".to_owned());
    assert_eq!(role.sessions(Some(&user), 10).len(), 1);

    let mut ask = |lost, code, attributes: &[u8]| {
        let (port, nas) = fake_nas(lost, code, attributes.to_vec());
        stand.config.nas[0].coa_port = port;
        role.reload(stand.config.clone()).unwrap();
        let mut outcomes = stand.runtime.block_on(role.disconnect(&user)).unwrap();
        assert_eq!(outcomes.len(), 1);
        (outcomes.remove(0), nas.join().unwrap())
    };
    // The first copy is lost on its way.
    let (outcome, seen) = ask(1, DISCONNECT_ACK, &[]);
    assert_eq!((outcome.verdict, outcome.attempts), (DynamicVerdict::Acknowledged, 2));
    assert_eq!(seen[0], seen[1], "sent again unchanged");
    assert_eq!(seen[0][0], DISCONNECT_REQUEST);
    let session = [&[44, 10][..], b"0000abcd"].concat();
    for expected in
        [&session[..], &[1, 6, b'n', b'e', b'm', b'o'], &[8, 6, 192, 0, 2, 77], &[5, 6, 0, 0, 0, 7]]
    {
        assert!(seen[0].windows(expected.len()).any(|window| window == expected), "{expected:?}");
    }
    let (outcome, _) = ask(0, DISCONNECT_NAK, &[101, 6, 0, 0, 1, 247]);
    assert_eq!(outcome.verdict, DynamicVerdict::Refused);
    assert!(outcome.words.contains("no such session (503)"), "{outcome:?}");

    // Nobody is there.
    stand.config.nas[0].coa_port = 9;
    role.reload(stand.config.clone()).unwrap();
    let outcomes = stand.runtime.block_on(role.disconnect(&user)).unwrap();
    assert_eq!((outcomes[0].verdict, outcomes[0].attempts), (DynamicVerdict::Silent, 3));
    let nobody = Selector::User("nobody".to_owned());
    let none = stand.runtime.block_on(role.disconnect(&nobody));
    assert!(matches!(none, Err(OrderError::NoSession)), "{none:?}");
    // One of a user's, by either of its names; another's is none of his.
    let id = role.sessions(Some(&user), 10)[0].id.clone();
    let acct_session_id = "0000abcd".to_owned();
    for (user, session, expected) in [
        ("nemo", &acct_session_id, Some(DynamicVerdict::Silent)),
        ("nemo", &id, Some(DynamicVerdict::Silent)),
        ("nt", &acct_session_id, None),
        ("nt", &id, None),
        ("nemo", &"0000abce".to_owned(), None),
    ] {
        let one = Selector::Session { user: user.to_owned(), session: session.clone() };
        assert_eq!(role.sessions(Some(&one), 10).len(), usize::from(expected.is_some()));
        let outcome = stand.runtime.block_on(role.disconnect(&one)).ok();
        let verdict = outcome.map(|outcomes| outcomes[0].verdict);
        assert_eq!(verdict, expected, "{user} {session}");
    }
    stand.stop(&role);
}

#[test]
fn a_session_is_ended_where_its_nas_sends_from() {
    const SITE: [&str; 2] = ["127.0.77.5", "127.0.77.6"];
    let mut stand = Stand::new();
    stand.config.dynamic.first_timeout = Duration::from_millis(100);
    stand.config.nas.push(NasConfig::new("site", "127.0.77.0/24".parse().unwrap(), text(SECRET)));
    let role = stand.start(Vec::new());
    // Two boxes behind translations of addresses: what they call themselves is reached by nobody.
    let begin = |id, user: &str, from: &str, number: u8| {
        let client = Client::new(from, stand.config.acct[0], SECRET);
        let begun = Request::new(ACCOUNTING_REQUEST, id)
            .number(40, START)
            .user(user)
            .with(44, b"00000001")
            .with(4, &[10, 0, 0, number]);
        client.ask(&begun);
    };
    begin(1, "nemo", SITE[0], 1);
    begin(2, "User", SITE[1], 2);
    wait_for("the sessions", || role.status().sessions == 2);
    // The first one comes from another address by now, and so do requests to it.
    begin(3, "nt", SITE[1], 1);
    wait_for("the session", || role.status().sessions == 3);
    for (user, address, says) in [("nemo", SITE[1], 1), ("User", SITE[1], 2)] {
        let (port, nas) = fake_nas_at(address, 0, DISCONNECT_ACK, Vec::new());
        stand.config.nas.last_mut().unwrap().coa_port = port;
        role.reload(stand.config.clone()).unwrap();
        let user = Selector::User(user.to_owned());
        let outcomes = stand.runtime.block_on(role.disconnect(&user)).unwrap();
        assert_eq!(outcomes.len(), 1);
        assert_eq!(outcomes[0].verdict, DynamicVerdict::Acknowledged, "{outcomes:?}");
        assert_eq!(outcomes[0].sent_to, Some(format!("{address}:{port}").parse().unwrap()));
        let seen = nas.join().unwrap();
        let named = [4, 6, 10, 0, 0, says];
        assert!(seen[0].windows(6).any(|window| window == named), "it is named as it calls itself");
    }
    stand.stop(&role);
}

#[test]
fn the_operator_tries_a_login_through_the_real_socket() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let login = |user: &str, password: &str, method| Login {
        user: user.to_owned(),
        password: password.to_owned(),
        method,
        ..Login::default()
    };
    let items = ["Called-Station-Id = \"test\"".to_owned()];
    for (user, password, method, accepted) in [
        ("nemo", "arctangent", Method::Pap, true),
        ("nemo", "arctangens", Method::Pap, false),
        ("nemo", "arctangent", Method::Chap, true),
        ("nemo", "arctangens", Method::Chap, false),
        ("nt", "clientPass", Method::Chap, false),
        ("User", "clientPass", Method::MsChap, true),
        ("User", "clientpass", Method::MsChap, false),
        ("nt", "clientPass", Method::MsChap, true),
        ("User", "clientPass", Method::MsChap2, true),
        ("User", "clientpass", Method::MsChap2, false),
        ("nt", "clientPass", Method::MsChap2, true),
        ("slow", "correct horse", Method::Pap, true),
        ("slow", "correct horse", Method::MsChap, false),
    ] {
        let tried = role.test(login(user, password, method), &items);
        let outcome = stand.runtime.block_on(tried).unwrap();
        assert_eq!(outcome.accepted, Some(accepted), "{outcome:?}");
        let timeout = outcome.attributes.iter().any(|text| text.starts_with("Session-Timeout"));
        assert_eq!(timeout, accepted, "{outcome:?}");
        // What comes back of each method (RFC 2548): keys and proof, or an error in its words.
        let has = |name: &str| outcome.attributes.iter().any(|text| text.starts_with(name));
        let (one, two) = (method == Method::MsChap, method == Method::MsChap2);
        assert_eq!(has("MS-CHAP-MPPE-Keys"), accepted && one, "{outcome:?}");
        assert_eq!(has("MS-CHAP2-Success"), accepted && two, "{outcome:?}");
        assert_eq!(has("MS-MPPE-Send-Key"), accepted && two, "{outcome:?}");
        assert_eq!(has("MS-CHAP-Error"), !accepted && (one || two), "{outcome:?}");
    }
    let items = ["No-Such-Thing = 1".to_owned()];
    let wrong = role.test(login("nemo", "x", Method::Pap), &items);
    assert!(matches!(stand.runtime.block_on(wrong), Err(OrderError::Item(_))));
    let status = role.status();
    assert!(status.nases.iter().all(|nas| nas.requests == 0), "it is no NAS's request");
    stand.stop(&role);
}

#[test]
fn whoever_follows_sees_what_becomes_of_a_user_and_no_password() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let filter = Filter { user: Some("NEMO".to_owned()), ..Filter::default() };
    let mut follower = role.tail(filter).unwrap();
    let nas = stand.nas();
    nas.ask(&pap(1, "nt", "clientPass"));
    nas.ask(&pap(2, "nemo", "arctangent").with(31, b"line 7"));
    nas.ask(&pap(3, "nemo", "arctangens"));
    stand.accounting_nas().ask(&record(4, START, "nemo", "seen"));
    let expected = [
        ("Access-Request", "PAP", "accept", None),
        ("Access-Request", "PAP", "reject", Some("wrong password")),
        ("Accounting-Request", "start", "accounting", None),
    ];
    for (code, method, verdict, reason) in expected {
        let seen = follower.blocking_recv().unwrap();
        assert_eq!((&*seen.code, &*seen.method, &*seen.verdict), (code, method, verdict));
        assert_eq!(seen.reason.as_deref(), reason);
        assert_eq!((&*seen.nas, seen.user.as_deref()), ("one", Some("nemo")));
        let shown = format!("{seen:?}");
        assert!(!shown.contains("arctangen"), "{shown}");
    }
    assert!(follower.try_recv().is_err(), "nothing of others");
    stand.stop(&role);
}

#[test]
fn what_is_changed_in_the_database_is_in_force_soon() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let (state, nas) = (role.state().unwrap(), stand.nas());
    assert_eq!(nas.ask(&pap(1, "new", "arctangent")).code, ACCESS_REJECT);
    let newcomer = NasEntry::new("newcomer", "127.0.0.77/32".parse().unwrap(), text(NEXT_SECRET));
    stand.runtime.block_on(async {
        let new = subscriber("new", "{CLEARTEXT}arctangent");
        state.put_subscriber(&Dictionary::built_in(), &new).await.unwrap();
        state.put_nas(&newcomer).await.unwrap();
    });
    wait_for("the NAS", || role.nases().iter().any(|(_, name)| name == "newcomer"));
    // Entered before the NAS. Fewer attempts than lock him out.
    let mut ids = 2..8;
    wait_for("the subscriber", || {
        thread::sleep(Duration::from_millis(200));
        nas.ask(&pap(ids.next().unwrap(), "new", "arctangent")).code == ACCESS_ACCEPT
    });
    let client = Client::new("127.0.0.77", stand.config.auth[0], NEXT_SECRET);
    let request = login(1, "new").pap(NEXT_SECRET, b"arctangent");
    assert_eq!(client.ask(&request).code, ACCESS_ACCEPT);
    stand.stop(&role);
}

#[test]
fn groups_of_a_nas_of_the_database_are_huntgroups() {
    const DIAL: &str = "127.0.0.78";
    const OTHER: &str = "127.0.0.79";
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let state = role.state().unwrap();
    let nas = |name: &str, address: &str, groups: &[&str]| NasEntry {
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        ..NasEntry::new(name, format!("{address}/32").parse().unwrap(), text(SECRET))
    };
    let put = |entry: &NasEntry| stand.runtime.block_on(state.put_nas(entry)).unwrap();
    put(&nas("dial one", DIAL, &["north", "dial"]));
    put(&nas("other", OTHER, &["north"]));
    let dial = SubscriberEntry {
        check: vec!["Huntgroup-Name == \"dial\"".to_owned()],
        ..subscriber("dial", "{CLEARTEXT}arctangent")
    };
    stand.runtime.block_on(state.put_subscriber(&Dictionary::built_in(), &dial)).unwrap();
    // Not by asking again and again: who fails ten times has to wait.
    wait_for("what was entered", || {
        role.status().subscribers == 10
            && ["dial one", "other"]
                .iter()
                .all(|name| role.nases().iter().any(|nas| nas.1 == *name))
    });
    let clients = [DIAL, OTHER].map(|from| Client::new(from, stand.config.auth[0], SECRET));
    let mut id = 0_u8;
    let mut asks = |client: &Client| {
        id = id.wrapping_add(1);
        client.ask(&pap(id, "dial", "arctangent").with_authenticator(id.into())).code
    };
    assert_eq!(asks(&clients[0]), ACCESS_ACCEPT);
    assert_eq!(asks(&clients[1]), ACCESS_REJECT);
    // They change as everything does.
    put(&nas("dial one", DIAL, &["north"]));
    wait_for("no such group", || asks(&clients[0]) == ACCESS_REJECT);
    put(&nas("other", OTHER, &["dial"]));
    wait_for("the other one", || asks(&clients[1]) == ACCESS_ACCEPT);
    stand.stop(&role);
}

#[test]
fn the_defaults_of_a_users_file_work_as_they_did() {
    const CLOSED: &str = "127.0.0.80";
    const FILE: &str = "\
DEFAULT Huntgroup-Name == \"closed\", Auth-Type := Reject
\tFall-Through = Yes
ann Cleartext-Password := \"arctangent\"
\tClass = 0x616e6e, Fall-Through = Yes
bob Cleartext-Password := \"arctangent\"
\tClass = 0x626f62
DEFAULT NAS-Port-Type == Async
\tFramed-MTU = 576, Session-Timeout = 60, Fall-Through = Yes
DEFAULT Service-Type == Framed-User, Simultaneous-Use := 1
\tFramed-MTU = 1492
DEFAULT Auth-Type := LDAP
\tFramed-MTU = 1
";
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let state = role.state().unwrap();
    let mut import = from_users(&Dictionary::built_in(), Path::new("users"), FILE);
    let closed = NasEntry::new("closed", format!("{CLOSED}/32").parse().unwrap(), text(SECRET));
    stand.runtime.block_on(async {
        state.put_nas(&closed).await.unwrap();
        for _ in 0..2 {
            let imported =
                state.import(&Dictionary::built_in(), &mut import, |_| ()).await.unwrap();
            assert_eq!((imported.subscribers.all(), imported.profiles.all()), (2, 4), "{import:?}");
        }
    });
    assert_eq!(import.refused.len(), 1, "{:?}", import.refused);
    assert!(import.refused[0].to_string().starts_with("users:11: DEFAULT: Auth-Type := LDAP"));

    let nas = stand.nas();
    let mut id = 0_u8;
    let mut ask = |client: &Client, user: &str, attributes: &[(u8, u32)]| {
        id = id.wrapping_add(1);
        let request = pap(id, user, "arctangent");
        let request = attributes
            .iter()
            .fold(request, |request, (kind, number)| request.number(*kind, *number));
        client.ask(&request)
    };
    wait_for("what was imported", || {
        let status = role.status();
        // Beside those of the stand.
        (status.subscribers, status.profiles) == (11, 5)
            && role.nases().iter().any(|(_, name)| name == "closed")
    });
    let (framed, asynchronous) = ((6, 2), (61, 0));
    // (user, what the request has, Framed-MTU, Session-Timeout)
    for (user, attributes, mtu, timeout) in [
        // He does not fall through.
        ("bob", &[framed, asynchronous][..], None, None),
        ("ann", &[framed, asynchronous], Some(576), Some(60)),
        ("ann", &[framed], Some(1_492), None),
        ("ann", &[asynchronous], Some(576), Some(60)),
        ("ann", &[], None, None),
    ] {
        let answer = ask(&nas, user, attributes);
        assert_eq!(answer.code, ACCESS_ACCEPT, "{user} {attributes:?}");
        let given = (answer.number(12), answer.number(27));
        assert_eq!(given, (mtu, timeout), "{user} {attributes:?}");
        assert_eq!(answer.first(25), Some(user.as_bytes()), "{user}");
    }
    let client = Client::new(CLOSED, stand.config.auth[0], SECRET);
    for user in ["ann", "bob"] {
        assert_eq!(ask(&client, user, &[framed]).code, ACCESS_REJECT, "{user}");
    }
    stand.stop(&role);
}

#[test]
fn a_new_configuration_is_taken_whole_or_not_at_all() {
    let mut stand = Stand::new();
    let role = stand.start(Vec::new());
    let nas = stand.nas();
    assert_eq!(nas.ask(&pap(1, "nemo", "arctangent")).code, ACCESS_ACCEPT);
    let mut bad = stand.config.clone();
    bad.nas.clear();
    bad.answers.reply_life = Duration::ZERO;
    assert!(role.reload(bad).is_err());
    assert_eq!(nas.ask(&pap(2, "nemo", "arctangent")).code, ACCESS_ACCEPT);

    let one = stand.config.nas.remove(0);
    stand.config.names.default_realm = Some("isp.example".to_owned());
    stand.config.answers.texts = vec![("wrong_password".to_owned(), "No.".to_owned())];
    let remarks = role.reload(stand.config.clone()).unwrap();
    assert!(remarks.iter().any(|remark| remark.contains("[radius.names]")), "{remarks:?}");
    nas.ask_in_vain(&pap(3, "nemo", "arctangent").sign(SECRET));
    stand.config.nas.push(one);
    role.reload(stand.config.clone()).unwrap();
    let answer = nas.ask(&pap(4, "nemo", "arctangens"));
    assert_eq!((answer.code, answer.first(18)), (ACCESS_REJECT, Some(&b"No."[..])));
    stand.stop(&role);
}

#[test]
fn a_configuration_that_cannot_be_is_refused_at_the_start() {
    let mut stand = Stand::new();
    stand.config.answers.texts = vec![("no_such_reason".to_owned(), "x".to_owned())];
    let handle = || stand.runtime.handle().clone();
    let refused = Role::start(stand.config.clone(), Vec::new(), handle()).err().unwrap();
    assert!(refused.to_string().contains("unknown_user"), "{refused}");
    let mut config = stand.config.clone();
    config.answers.texts.clear();
    config.dictionaries = vec![stand.folder.path().join("none")];
    assert!(Role::start(config, Vec::new(), handle()).is_err());
    let mut config = stand.config.clone();
    config.answers.texts.clear();
    config.state.location = StateLocation::Embedded("/proc/none/state.db".into());
    assert!(Role::start(config, Vec::new(), handle()).is_err());
}
