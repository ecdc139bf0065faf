//! DNS: who means no good at the role's own sockets gets nothing for it, and takes nothing from anybody else; and an
//! operator's mistake costs what was mistaken, and no more.

#![cfg(test)]

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hickory_proto::op::{Message, ResponseCode};
use muralla_lab::cpu::resident;
use muralla_lab::namespace::Namespace;
use muralla_lab::topology::CUSTOMERS_V4;
use muralla_lab::{Family, Lab, LabOptions};
use muralla_tests::dns_role::DnsRole;
use muralla_tests::hostility::{
    Abuse, Exchange, Mutations, ask_slowly, connect, pelt, query, stuff,
};
use muralla_tests::resolution::{Answer, Asking, Stub};
use muralla_tests::until;
use muralla_tests::upstream::Upstream;
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde_json::Value;

const ROLE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 41));
const PATIENCE: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_secs(20);
const SEED: u64 = 3_141_592;
/// What the forwarder knows.
const NAME: &str = "www.news.example.";
const MIB: u64 = 1 << 20;

/// Limits of the role under attack.
const QUESTIONS: u64 = 1_000;
const CONNECTIONS: u64 = 500;
const CONNECTIONS_PER_CLIENT: u64 = 32;

fn lab(name: &str) -> Lab {
    Lab::up(name, LabOptions { customers: 12, nas: 1, internet: 4 }).unwrap()
}

fn upstream(lab: &Lab) -> Upstream {
    Upstream::start(lab.internet(), lab.internet_hosts(Family::V4)[0]).unwrap()
}

/// Forwards to the first host of the Internet.
fn dns(cache_file: &Path, more: &str) -> String {
    format!(
        r#"threads = 1
cache = "8MiB"
cache_file = "{}"
clients = ["{CUSTOMERS_V4}"]
[dns.limits]
questions = {QUESTIONS}
questions_per_client = 200
connections = {CONNECTIONS}
connections_per_client = {CONNECTIONS_PER_CLIENT}
idle = "3s"
[dns.resolver]
validation = "off"
cache = "8MiB"
[[dns.forward]]
zone = "."
servers = ["198.51.100.16"]
{more}"#,
        cache_file.display()
    )
}

fn start<'lab>(lab: &'lab Lab, more: &str) -> DnsRole<'lab> {
    let mut role = DnsRole::idle(lab, "role", ROLE).unwrap();
    role.configure(&dns(Path::new("none"), more)).unwrap();
    role.run().unwrap();
    role
}

fn customer(lab: &Lab, number: usize) -> IpAddr {
    lab.customer_hosts(Family::V4)[number]
}

fn stub(lab: &Lab, number: usize) -> Stub {
    Stub::open(lab.customers(), customer(lab, number), ROLE).unwrap()
}

fn ask(stub: &Stub, name: &str) -> Answer {
    stub.ask(name, Asking::default(), PATIENCE).unwrap()
}

/// A name that nobody has asked for is looked up, over UDP and TCP.
fn serves_somebody_else(lab: &Lab, number: usize, what: &str) {
    let cold = |transport: &str| format!("{what}-{transport}.fresh.example.").replace(' ', "-");
    let answer = ask(&stub(lab, number), &cold("udp"));
    assert_eq!(answer.data, ["192.0.2.1"], "after {what}: {answer:?}");
    let stream = connect(lab.customers(), customer(lab, number), ROLE).unwrap();
    let answer = ask_slowly(&stream, &query(&cold("tcp"), 1), Duration::ZERO);
    let answer = answer.with_context(|| format!("over TCP after {what}")).unwrap();
    assert_eq!(answer.answers.len(), 1, "over TCP after {what}: {answer}");
}

fn shown(exchanges: &[Exchange], wrong: impl Fn(&Exchange) -> Option<String>) -> Vec<String> {
    let all = exchanges.iter().filter_map(|exchange| {
        let what = wrong(exchange)?;
        Some(format!("{what}\n    sent {}\n    got  {}", hex(&exchange.packet), {
            let answers: Vec<String> = exchange.answers.iter().map(|answer| hex(answer)).collect();
            answers.join(" and ")
        }))
    });
    all.collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn assert_none(wrong: &[String], of: usize) {
    let first: Vec<&str> = wrong.iter().take(10).map(String::as_str).collect();
    assert!(wrong.is_empty(), "{} of {of} are wrong:\n  {}", wrong.len(), first.join("\n  "));
}

#[test]
fn dns_hostile_packets_harm_nobody() {
    const VOLLEYS: usize = 4;
    const PACKETS: usize = 50_000;

    let lab = lab("dns-hostile-udp");
    let upstream = upstream(&lab);
    upstream.set_ttl(3_600);
    let role = start(&lab, "");
    serves_somebody_else(&lab, 9, "the start");
    let pid = role.process().unwrap().pid();
    let mut mutations = Mutations::new(SEED, "news.example");
    let mut memory = vec![resident(pid).unwrap()];
    let mut wrong = Vec::new();
    let (mut answered, mut silent) = (0, 0);
    let lost = lost_in_buffers(lab.edge()).unwrap();
    for volley in 0..VOLLEYS {
        let packets = (0..PACKETS).map(|_| mutations.any()).collect();
        let exchanges = pelt(lab.customers(), customer(&lab, volley), ROLE, packets).unwrap();
        answered += exchanges.iter().filter(|exchange| !exchange.answers.is_empty()).count();
        silent += exchanges.iter().filter(|exchange| exchange.is_missed()).count() as u64;
        wrong.extend(shown(&exchanges, Exchange::wrong));
        memory.push(resident(pid).unwrap());
        serves_somebody_else(&lab, 9, &format!("volley {volley}"));
    }
    println!("{answered} of {} answered, {silent} missed, memory {memory:?}", VOLLEYS * PACKETS);
    assert!(role.process().unwrap().is_running(), "{}", role.output());
    assert!(!role.output().contains("panicked"), "{}", role.output());
    // Queries, and malformed ones, get their answers; only what the kernel had no room for does not.
    assert!(answered > VOLLEYS * PACKETS / 4, "{answered}");
    let lost = lost_in_buffers(lab.edge()).unwrap() - lost;
    assert!(silent <= lost, "{silent} are not answered, and {lost} were lost");
    // Both caches and their tables, and what the allocator keeps.
    let (first, last) = (memory[0], memory[VOLLEYS]);
    assert!(last < first + 64 * MIB, "{memory:?}");
    // Once the caches are full there is nothing to grow.
    assert!(last < memory[VOLLEYS - 1] + 16 * MIB, "{memory:?}");
    assert_none(&wrong, VOLLEYS * PACKETS);
}

#[test]
fn dns_hostile_connections_harm_nobody() {
    const CROWD: usize = 5_000;

    raise_descriptors();
    let lab = lab("dns-hostile-tcp");
    let upstream = upstream(&lab);
    upstream.set_ttl(3_600);
    let role = start(&lab, "");
    serves_somebody_else(&lab, 9, "the start");
    let pid = role.process().unwrap().pid();
    let before = resident(pid).unwrap();
    let mut mutations = Mutations::new(SEED, "news.example");
    let namespace = lab.customers();
    let within_limits = |client_alone: bool| {
        let most = if client_alone { CONNECTIONS_PER_CLIENT } else { CONNECTIONS };
        let open = role.status().unwrap()["connections"].as_u64().unwrap();
        assert!(open <= most, "{open} connections are open");
    };
    let all_closed = || {
        until("the end of all connections", SOON, || {
            Ok((role.status()?["connections"].as_u64() == Some(0)).then_some(()))
        })
        .unwrap();
    };

    // Broken streams, a few more than each may have, from eight clients.
    for abuse in Abuse::ALL {
        let mut streams = Vec::new();
        for client in 0..8 {
            for _ in 0..50 {
                let from = customer(&lab, client);
                streams.push(abuse.commit(namespace, from, ROLE, &mut mutations).unwrap());
            }
        }
        within_limits(false);
        serves_somebody_else(&lab, 9, &format!("{abuse:?}"));
        // The role's own patience ends them.
        all_closed();
        drop(streams);
    }

    // A valid query a byte at a time: slow clients are clients.
    let slow: Vec<_> = (0..20)
        .map(|number| {
            let stream = connect(namespace, customer(&lab, 10), ROLE).unwrap();
            let packet = query(&format!("s{number}.slow.example."), 1);
            thread::spawn(move || ask_slowly(&stream, &packet, Duration::from_millis(40)))
        })
        .collect();
    for slow in slow {
        let answer = slow.join().unwrap().unwrap();
        assert_eq!(answer.answers.len(), 1, "{answer}");
    }
    // And one that never comes to an end is none.
    let mut trickle = connect(namespace, customer(&lab, 10), ROLE).unwrap();
    let ended = until("the end of a trickle", SOON, || {
        use std::io::Write;
        thread::sleep(Duration::from_millis(450));
        Ok(trickle.write_all(&[1]).is_err().then_some(()))
    });
    ended.unwrap();
    all_closed();

    // Questions without end, and nobody reads the answers: of the cache, and of the forwarder.
    let mut packets = vec![query(NAME, 1)];
    packets.push(query("cold.endless.example.", 1));
    let mut streams: Vec<TcpStream> = Vec::new();
    let mut stuffers = Vec::new();
    for number in 0..60 {
        let mut stream = connect(namespace, customer(&lab, number % 4), ROLE).unwrap();
        streams.push(stream.try_clone().unwrap());
        let packet = packets[number % 2].clone();
        stuffers.push(thread::spawn(move || {
            stuff(&mut stream, &packet, 64 << 20, Duration::from_secs(1))
        }));
    }
    serves_somebody_else(&lab, 9, "endless questions");
    let taken: Vec<usize> = stuffers.into_iter().map(|stuffer| stuffer.join().unwrap()).collect();
    // Kernel buffers of both sides, and what may be under way. Nobody takes more from one who doesn't read.
    assert!(taken.iter().all(|bytes| *bytes < 32 << 20), "{taken:?}");
    serves_somebody_else(&lab, 9, "more endless questions");
    all_closed();
    drop(streams);

    // As many connections as one address can make, and all of them once more.
    let mut memory = vec![before];
    for round in 0..2 {
        let crowd: Vec<TcpStream> =
            (0..CROWD).filter_map(|_| connect(namespace, customer(&lab, 0), ROLE).ok()).collect();
        assert!(crowd.len() > CROWD / 2, "{} connections", crowd.len());
        within_limits(true);
        serves_somebody_else(&lab, 9, &format!("crowd {round}"));
        drop(crowd);
        all_closed();
        memory.push(resident(pid).unwrap());
    }
    println!("memory {memory:?}, taken at most {:?}", taken.iter().max());
    let [before, first, after] = memory[..] else { panic!("{memory:?}") };
    assert!(role.process().unwrap().is_running(), "{}", role.output());
    assert!(!role.output().contains("panicked"), "{}", role.output());
    assert!(after < before + 48 * MIB && after < first + 4 * MIB, "{memory:?}");
}

#[test]
fn dns_hostile_strangers_get_no_more_than_they_sent() {
    const PACKETS: usize = 20_000;

    let lab = lab("dns-hostile-out");
    let upstream = upstream(&lab);
    let zone = lab.folder().join("isp.example.zone");
    // An answer much larger than its question.
    let texts: String = (0..20).map(|n| format!("big TXT \"{n} {}\"\n", "x".repeat(100))).collect();
    let text = format!(
        "$ORIGIN isp.example.\n$TTL 60\n@ SOA ns root 1 60 60 60 60\n@ NS ns\nns A 192.0.2.53\n{texts}"
    );
    fs::write(&zone, text).unwrap();
    let role = start(
        &lab,
        &format!("[[dns.zone]]\nname = \"isp.example\"\nfile = \"{}\"\n", zone.display()),
    );
    // What a client has had looked up is nobody else's.
    assert_eq!(ask(&stub(&lab, 0), NAME).data, ["192.0.2.1"]);
    let asked = upstream.asked();

    let stranger = lab.internet_hosts(Family::V4)[2];
    let mut mutations = Mutations::new(SEED, "news.example");
    let packets = (0..PACKETS)
        .map(|number| match number % 4 {
            0 => query(NAME, 1),
            1 => mutations.valid(),
            _ => mutations.any(),
        })
        .collect();
    let exchanges = pelt(lab.internet(), stranger, ROLE, packets).unwrap();
    let answered = exchanges.iter().filter(|exchange| !exchange.answers.is_empty()).count();
    println!("{answered} of {PACKETS} answered");
    let mut wrong = shown(&exchanges, Exchange::wrong);
    wrong.extend(shown(&exchanges, Exchange::wrong_for_a_stranger));
    assert_eq!(upstream.asked(), asked, "somebody recursed for a stranger");

    // Of the operator's zones he may know, but a victim's address gets no more bytes than were sent in its name.
    let mut mutations = Mutations::new(SEED, "isp.example");
    let names = ["big.isp.example", "ns.isp.example", "isp.example", "none.isp.example"];
    let packets = (0..2_000)
        .map(|number| match number % 5 {
            at @ 0..4 => {
                let mut packet = query(names[at], [16, 1, 6, 255][number / 5 % 4]);
                if number % 3 > 0 {
                    let dnssec_ok = if number % 3 == 1 { 0 } else { 0x80 };
                    packet.extend_from_slice(&[0, 0, 41, 0x10, 0, 0, 0, dnssec_ok, 0, 0, 0]);
                    packet[11] = 1;
                }
                packet
            }
            _ => mutations.valid(),
        })
        .collect();
    let exchanges = pelt(lab.internet(), stranger, ROLE, packets).unwrap();
    assert!(exchanges.iter().any(|exchange| !exchange.answers.is_empty()));
    wrong.extend(shown(&exchanges, |exchange| {
        let answer = exchange.answers.first()?;
        (answer.len() > exchange.packet.len())
            .then(|| format!("{} bytes for {}", answer.len(), exchange.packet.len()))
    }));
    assert!(role.process().unwrap().is_running(), "{}", role.output());
    assert_none(&wrong, PACKETS + 2_000);
}

#[test]
fn dns_hostile_floods_of_cold_names_leave_the_cached_ones_alone() {
    const NAMES: usize = 50_000;
    const ATTACKERS: usize = 8;

    let lab = lab("dns-hostile-cold");
    let upstream = upstream(&lab);
    upstream.set_ttl(3_600);
    let role = start(&lab, "");
    let watcher = stub(&lab, 11);
    assert_eq!(ask(&watcher, NAME).data, ["192.0.2.1"]);
    upstream.set_dead(true);
    let lost_before = lost_in_buffers(lab.edge()).unwrap();

    let stopped = Arc::new(AtomicBool::new(false));
    let finished = Arc::clone(&stopped);
    let watching = thread::spawn(move || {
        let (mut answered, mut missed) = (0_u32, Vec::new());
        while !finished.load(Ordering::Relaxed) {
            match watcher.ask(NAME, Asking::default(), Duration::from_secs(2)) {
                Ok(answer) if answer.data == ["192.0.2.1"] => answered += 1,
                other => missed.push(format!("{other:?}")),
            }
            thread::sleep(Duration::from_millis(10));
        }
        (answered, missed)
    });
    let sent = Arc::new(AtomicU64::new(0));
    let attackers: Vec<_> = (0..ATTACKERS)
        .map(|attacker| {
            let from = customer(&lab, attacker);
            let sent = Arc::clone(&sent);
            let names = NAMES / ATTACKERS;
            lab.customers().thread("attacker", move || flood(from, attacker, names, &sent)).unwrap()
        })
        .collect();
    let mut most = 0;
    while !attackers.iter().all(thread::JoinHandle::is_finished) {
        most = most.max(role.status().unwrap()["questions"].as_u64().unwrap());
        thread::sleep(Duration::from_millis(100));
    }
    let mut codes: BTreeMap<String, u64> = BTreeMap::new();
    for attacker in attackers {
        for (code, count) in attacker.join().unwrap().unwrap() {
            *codes.entry(code).or_default() += count;
        }
    }
    stopped.store(true, Ordering::Relaxed);
    let (answered, missed) = watching.join().unwrap();
    let lost = lost_in_buffers(lab.edge()).unwrap() - lost_before;
    let sent = sent.load(Ordering::Relaxed);
    println!("{sent} sent, {codes:?}, {lost} lost, {most} under way, {answered} cached answers");

    assert!(answered > 100, "{answered}");
    assert!(missed.is_empty(), "{} of {answered}: {missed:?}", missed.len());
    assert!(most <= QUESTIONS, "{most} questions under way");
    // What the kernel had no room for was never read; everything else is told that there is no answer.
    assert!(codes.keys().all(|code| code == "Server Failure"), "{codes:?}");
    let told: u64 = codes.values().sum();
    assert!(told + lost >= sent, "{told} of {sent} are told, {lost} lost");
    assert!(lost < sent / 10, "{lost} of {sent} are lost: the flood was too fast to tell anything");
    // Afterwards it is as it was.
    upstream.set_dead(false);
    until("the end of the failure", SOON, || {
        let answer = stub(&lab, 9).ask("after.flood.example.", Asking::default(), PATIENCE)?;
        Ok((answer.data == ["192.0.2.1"]).then_some(()))
    })
    .unwrap();
    until("the end of all questions", SOON, || {
        Ok((role.status()?["questions"].as_u64() == Some(0)).then_some(()))
    })
    .unwrap();
}

/// Asks for names that nobody has asked for, some 600 a second, and gives the answers by code.
fn flood(
    from: IpAddr,
    attacker: usize,
    names: usize,
    sent: &AtomicU64,
) -> Result<BTreeMap<String, u64>> {
    let socket = UdpSocket::bind((from, 0))?;
    socket.connect(SocketAddr::new(ROLE, 53))?;
    socket.set_nonblocking(true)?;
    set_socket_recv_buffer_size_force(socket.as_fd(), 8 << 20)?;
    let mut buffer = [0; 2_048];
    let mut codes: BTreeMap<String, u64> = BTreeMap::new();
    let mut collect = || -> u64 {
        let mut count = 0;
        while let Ok(length) = socket.recv(&mut buffer) {
            let answer = Message::from_vec(buffer.get(..length).unwrap_or_default());
            let code = answer.map_or_else(
                |error| error.to_string(),
                |answer| answer.metadata.response_code.to_string(),
            );
            *codes.entry(code).or_default() += 1;
            count += 1;
        }
        count
    };
    let mut told = 0;
    for number in 0..names {
        let mut packet = query(&format!("x{number}.a{attacker}.cold.example."), 1);
        packet[..2].copy_from_slice(&(number as u16).to_be_bytes());
        socket.send(&packet)?;
        sent.fetch_add(1, Ordering::Relaxed);
        if number % 8 == 0 {
            thread::sleep(Duration::from_millis(12));
            told += collect();
        }
    }
    // A question may take six seconds.
    let end = Instant::now() + Duration::from_secs(12);
    while told < names as u64 && Instant::now() < end {
        thread::sleep(Duration::from_millis(50));
        told += collect();
    }
    Ok(codes)
}

/// Datagrams that a namespace's sockets had no room for.
fn lost_in_buffers(namespace: &Namespace) -> Result<u64> {
    let text = namespace.run("cat", ["/proc/net/snmp"])?;
    let mut lines = text.lines().filter(|line| line.starts_with("Udp:"));
    let (names, values) = (lines.next().context("names")?, lines.next().context("values")?);
    let at = names.split_whitespace().position(|name| name == "RcvbufErrors").context("column")?;
    Ok(values.split_whitespace().nth(at).context("value")?.parse()?)
}

/// Thousands of connections are open at once.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

#[test]
fn dns_hostile_zone_files_cost_their_own_zone_alone() {
    let lab = lab("dns-hostile-zone");
    let _upstream = upstream(&lab);
    let folder = lab.folder();
    let good =
        "$ORIGIN good.example.\n$TTL 60\n@ SOA ns root 1 60 60 60 60\n@ NS ns\nns A 192.0.2.53\n";
    fs::write(folder.join("good"), good).unwrap();
    let bad = good.replace("good", "bad").replace("192.0.2.53", "192.0.2.553");
    fs::write(folder.join("bad"), bad).unwrap();
    let zone = |name: &str, file: &str| {
        format!("[[dns.zone]]\nname = \"{name}\"\nfile = \"{}\"\n", folder.join(file).display())
    };
    let zones =
        zone("good.example", "good") + &zone("bad.example", "bad") + &zone("gone.example", "gone");
    let role = start(&lab, &zones);

    let stub = stub(&lab, 0);
    assert_eq!(ask(&stub, "ns.good.example.").data, ["192.0.2.53"]);
    for name in ["ns.bad.example.", "ns.gone.example."] {
        let answer = ask(&stub, name);
        assert_eq!(answer.code, ResponseCode::ServFail, "never from the Internet: {answer:?}");
    }
    assert_eq!(ask(&stub, NAME).data, ["192.0.2.1"]);
    let outcome = role.muralla(&["dns", "zone", "list", "--json"]).unwrap();
    let list = outcome.json().unwrap();
    let problem = |name: &str| {
        let is_it = |zone: &&Value| {
            zone["name"].as_str().is_some_and(|found| found.trim_end_matches('.') == name)
        };
        let zone = list.as_array().and_then(|zones| zones.iter().find(is_it));
        zone.unwrap_or_else(|| panic!("no {name} in {list}"))["problem"].clone()
    };
    assert_eq!(problem("good.example"), Value::Null);
    let said = problem("bad.example").to_string();
    assert!(said.contains("bad:5"), "where it is: {said}");
    assert!(problem("gone.example").as_str().is_some_and(|said| said.contains("gone")), "{list}");
    let warnings = role.status().unwrap()["warnings"].to_string();
    assert!(warnings.contains("bad:5") && warnings.contains("gone"), "{warnings}");
    assert!(role.output().contains("bad:5"), "{}", role.output());

    // Mended, it is served without a restart.
    fs::write(folder.join("bad"), good.replace("good", "bad")).unwrap();
    role.muralla(&["dns", "zone", "reload", "bad.example"]).unwrap().succeeded().unwrap();
    assert_eq!(ask(&stub, "ns.bad.example.").data, ["192.0.2.53"]);
}

#[test]
fn dns_hostile_ports_that_are_taken_are_told() {
    let lab = lab("dns-hostile-port");
    let mut role = DnsRole::idle(&lab, "role", ROLE).unwrap();
    role.configure(&dns(Path::new("none"), "")).unwrap();
    let taken = lab.edge().inside(|| Ok(UdpSocket::bind((ROLE, 53))?)).unwrap();
    role.launch().unwrap();
    let status = role.wait().unwrap();
    assert!(!status.success(), "{status}");
    let output = role.output();
    for word in ["203.0.113.41:53", "another resolver", "[dns] listen"] {
        assert!(output.contains(word), "{word:?} is missing in {output}");
    }
    assert!(!output.contains("panicked"), "{output}");
    drop(taken);
    role.run().unwrap();

    // Nor do two of ours share a port by mistake, each with half of the queries and a cache of its own.
    let mut other = DnsRole::idle(&lab, "other", ROLE).unwrap();
    other.configure(&dns(Path::new("none"), "")).unwrap();
    other.launch().unwrap();
    let ended =
        until("the end of the second", SOON, || Ok((!other.process()?.is_running()).then_some(())));
    ended.with_context(|| other.output()).unwrap();
    assert!(!other.wait().unwrap().success());
    assert!(other.output().contains("another resolver"), "{}", other.output());
}

#[test]
fn dns_hostile_cache_files_keep_nobody_from_answering() {
    let lab = lab("dns-hostile-file");
    let upstream = upstream(&lab);
    upstream.set_ttl(3_600);
    let mut role = DnsRole::idle(&lab, "role", ROLE).unwrap();
    let stub = stub(&lab, 0);

    // A place where no file can be.
    role.configure(&dns(Path::new("/dev/null/cache"), "")).unwrap();
    role.run().unwrap();
    assert_eq!(ask(&stub, NAME).data, ["192.0.2.1"]);
    let told = || role.output().contains("/dev/null/cache");
    assert!(told(), "nothing says that the cache can't be kept: {}", role.output());
    role.signal(Signal::TERM).unwrap();
    assert!(role.wait().unwrap().success(), "{}", role.output());

    // Noise, and half of a good file.
    let file = role.folder().join("cache");
    role.configure(&dns(&file, "")).unwrap();
    let noise: Vec<u8> =
        (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(&file, noise).unwrap();
    role.run().unwrap();
    fill(&lab, 0..2_000).unwrap();
    role.signal(Signal::TERM).unwrap();
    assert!(role.wait().unwrap().success(), "{}", role.output());
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    role.run().unwrap();
    assert_eq!(ask(&stub, NAME).data, ["192.0.2.1"]);
    role.signal(Signal::TERM).unwrap();
    assert!(role.wait().unwrap().success(), "{}", role.output());

    // No room. The file before is the one that stays, and nothing is left half written.
    let small = Small::mount(&role.folder().join("small")).unwrap();
    let file = small.folder.join("cache");
    role.configure(&dns(&file, "")).unwrap();
    role.run().unwrap();
    fill(&lab, 0..50).unwrap();
    role.signal(Signal::TERM).unwrap();
    assert!(role.wait().unwrap().success(), "{}", role.output());
    let before = fs::read(&file).unwrap();
    role.run().unwrap();
    fill(&lab, 50..3_000).unwrap();
    role.signal(Signal::TERM).unwrap();
    assert!(role.wait().unwrap().success(), "{}", role.output());
    let output = role.output();
    assert!(output.contains("make room"), "{output}");
    assert_eq!(fs::read(&file).unwrap(), before, "the old file");
    let mut left: Vec<_> =
        fs::read_dir(&small.folder).unwrap().flatten().map(|e| e.file_name()).collect();
    // The secret of the cookies lies beside the cache, and is no part of it.
    left.retain(|name| name != "cache.cookies");
    assert_eq!(left, ["cache"], "what could not be written whole takes the room of others");
    upstream.set_dead(true);
    role.run().unwrap();
    assert_eq!(ask(&stub, &kept(7)).data, ["192.0.2.1"]);
}

#[test]
fn dns_hostile_ends_while_saving_lose_no_cache() {
    const NAMES: usize = 20_000;
    const ROUNDS: usize = 16;

    let lab = lab("dns-hostile-save");
    let upstream = upstream(&lab);
    upstream.set_ttl(3_600);
    let mut role = DnsRole::idle(&lab, "role", ROLE).unwrap();
    let file = role.folder().join("cache");
    role.configure(&dns(&file, "")).unwrap();
    role.run().unwrap();
    fill(&lab, 0..NAMES).unwrap();
    role.signal(Signal::TERM).unwrap();
    assert!(role.wait().unwrap().success(), "{}", role.output());
    assert!(file.exists(), "{}", role.output());

    let stub = stub(&lab, 0);
    let mut killed = 0;
    for round in 0..ROUNDS {
        upstream.set_dead(false);
        role.run().unwrap();
        fill(&lab, NAMES + round * 100..NAMES + (round + 1) * 100).unwrap();
        role.signal(Signal::TERM).unwrap();
        // From before the first byte is written until after the last.
        thread::sleep(Duration::from_millis(2 * round as u64));
        role.signal(Signal::KILL).unwrap();
        killed += usize::from(!role.wait().unwrap().success());
        upstream.set_dead(true);
        role.run().unwrap();
        for number in [0, NAMES / 2, NAMES - 1] {
            let answer = ask(&stub, &kept(number));
            assert_eq!(answer.data, ["192.0.2.1"], "round {round}");
        }
        role.signal(Signal::KILL).unwrap();
        role.wait().unwrap();
    }
    println!("{killed} of {ROUNDS} were killed before their end");
    assert!(killed > 0, "all had saved already");
    let damaged = role
        .output()
        .lines()
        .filter(|line| line.contains("damaged") && !line.contains("damaged: 0"))
        .map(str::to_owned)
        .collect::<Vec<_>>();
    assert!(damaged.is_empty(), "{damaged:?}");
}

fn kept(number: usize) -> String {
    format!("k{number}.kept.example.")
}

/// Has the role look up names, a hundred at once.
fn fill(lab: &Lab, numbers: std::ops::Range<usize>) -> Result<()> {
    let from = customer(lab, 1);
    lab.customers().inside(move || {
        let socket = UdpSocket::bind((from, 0))?;
        socket.connect(SocketAddr::new(ROLE, 53))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let all: Vec<usize> = numbers.collect();
        for some in all.chunks(100) {
            for number in some {
                let mut packet = query(&kept(*number), 1);
                packet[..2].copy_from_slice(&(*number as u16).to_be_bytes());
                socket.send(&packet)?;
            }
            for _ in some {
                let mut buffer = [0; 512];
                let length = socket.recv(&mut buffer).context("filling the cache")?;
                let answer = Message::from_vec(&buffer[..length])?;
                ensure!(answer.answers.len() == 1, "filling the cache: {answer}");
            }
        }
        Ok(())
    })
}

/// A file system of 64 KiB. Unmounted when dropped.
struct Small {
    folder: std::path::PathBuf,
}

impl Small {
    fn mount(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let folder = folder.to_owned();
        let mut command = std::process::Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=64k", "muralla-small"]).arg(&folder);
        muralla_lab::process::run(&mut command)?;
        Ok(Self { folder })
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let mut command = std::process::Command::new("umount");
        // Whoever still has a file open in it is about to end.
        if let Err(error) = muralla_lab::process::run(command.arg("--lazy").arg(&self.folder)) {
            eprintln!("{error:#}");
        }
    }
}
