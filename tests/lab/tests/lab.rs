//! The lab itself, for real: namespaces, peers, clients and floods. Needs root.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use muralla_lab::clients::{Client, ClientOptions, Kind};
use muralla_lab::flood::{Attack, FloodOptions, Sources};
use muralla_lab::flushes::Flushes;
use muralla_lab::frames::radius::{ACCESS_ACCEPT, ACCESS_REJECT, ACCOUNTING_RESPONSE};
use muralla_lab::freeradius::{self, FreeradiusOptions, Records, Store};
use muralla_lab::load::radius::requests::{Accounting, Authentications, Method, Status};
use muralla_lab::load::radius::{self, Nases, Pace};
use muralla_lab::load::{Load, saturation, steady};
use muralla_lab::namespace::Namespace;
use muralla_lab::peers::{LARGE_NAME, Peer, ZONE};
use muralla_lab::polling::Polling;
use muralla_lab::postgres::Postgres;
use muralla_lab::subscribers::Subscribers;
use muralla_lab::topology::{CUSTOMERS_V4, CUSTOMERS_V6, NAS_V4, NAS_V6};
use muralla_lab::{Family, Lab, LabOptions, Side};

fn small() -> LabOptions {
    LabOptions { customers: 4, nas: 2, internet: 4 }
}

#[test]
fn every_peer_serves_its_clients_over_both_ip_versions() {
    let lab = Lab::up("labt-peers", small()).unwrap();
    for peer in Peer::ALL {
        lab.start_peer(peer).unwrap();
        assert!(lab.peer_pid(peer).is_some());
    }
    for family in Family::BOTH {
        let service = lab.service(family);
        for (namespace, kind, sources) in [
            (lab.customers(), Kind::dns(), lab.customer_hosts(family)),
            (lab.customers(), Kind::radius(), lab.nas_hosts(family)),
            (lab.internet(), Kind::smtp(), lab.internet_hosts(family)),
            (
                lab.internet(),
                Kind::Smtp { recipient: format!("x@{ZONE}"), data: true },
                lab.internet_hosts(family),
            ),
        ] {
            let name = format!("{kind:?} {family:?}");
            let target = SocketAddr::new(service, kind.port());
            let options = ClientOptions::new(sources, target, 20);
            let client = Client::start(namespace, kind, options).unwrap();
            thread::sleep(Duration::from_millis(600));
            let interval = client.snapshot();
            thread::sleep(Duration::from_millis(400));
            let totals = client.stop();
            assert!(interval.ok > 0, "{name}: {interval:?}");
            assert!(totals.snapshot.sent > interval.sent, "{name}: {totals:?}");
            assert_eq!(totals.snapshot.failed, 0, "{name}: {:?}", totals.snapshot);
            assert_eq!(totals.snapshot.ok, totals.snapshot.sent, "{name}");
            assert_eq!(totals.latencies.count(), totals.snapshot.ok, "{name}");
            assert!(totals.snapshot.p50_us > 0 && totals.snapshot.max_us < 3_000_000, "{name}");
        }
        let dig = lab
            .customers()
            .run("dig", ["+short", "+time=2", &format!("@{service}"), &format!("any.thing.{ZONE}")])
            .unwrap();
        assert_eq!(dig.trim(), "203.0.113.99");
        // A client that can't be served says so.
        let target = SocketAddr::new(service, 1812);
        let outsider = ClientOptions {
            timeout: Duration::from_millis(300),
            retry_after: Duration::from_millis(100),
            ..ClientOptions::new(lab.customer_hosts(family), target, 1)
        };
        let error = Client::once(lab.customers(), Kind::radius(), outsider).unwrap_err();
        assert!(error.to_string().contains("no answer"), "{error:#}");
    }
    let running = lab.edge().run("ip", ["netns", "pids", lab.edge().name()]).unwrap();
    assert!(running.lines().count() >= 5, "{running}");
    lab.stop_peer(Peer::Unbound).unwrap();
    assert_eq!(lab.peer_pid(Peer::Unbound), None);
    lab.start_peer(Peer::Unbound).unwrap();
    drop(lab);
    for pid in running.lines() {
        assert!(fs::read_link(format!("/proc/{pid}/exe")).is_err(), "{pid} survived");
    }
}

#[test]
fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let lab = Lab::up("labt-tcp", small()).unwrap();
    lab.start_peer(Peer::Unbound).unwrap();
    let target = SocketAddr::new(lab.service(Family::V4), 53);
    let options = ClientOptions::new(lab.customer_hosts(Family::V4), target, 20);
    let kind = Kind::Dns { names: vec![LARGE_NAME.to_owned()] };
    let client = Client::start(lab.customers(), kind, options).unwrap();
    thread::sleep(Duration::from_millis(500));
    let totals = client.stop().snapshot;
    assert!(totals.ok > 0, "{totals:?}");
    assert_eq!((totals.failed, totals.over_tcp), (0, totals.ok), "{totals:?}");
}

#[test]
fn floods_reach_the_edge_and_leave_its_neighbours_alone() {
    let lab = Lab::up("labt-floods", small()).unwrap();
    for family in Family::BOTH {
        let customers = if family == Family::V4 { CUSTOMERS_V4 } else { CUSTOMERS_V6 };
        let nas = if family == Family::V4 { NAS_V4 } else { NAS_V6 };
        let one = lab.internet_hosts(family)[0];
        for (side, attack, sources) in [
            (Side::Internet, Attack::DnsRandom, Sources::Anywhere { family, count: 100_000 }),
            (Side::Internet, Attack::SmtpSyn, Sources::Single(one)),
            (Side::Internet, Attack::Malformed, Sources::Anywhere { family, count: 100_000 }),
            (Side::Customers, Attack::DnsFixed, Sources::within(customers, 60_000).unwrap()),
            (Side::Customers, Attack::RadiusJunk, Sources::within(nas, 100).unwrap()),
        ] {
            let name = format!("{attack:?} {family:?}");
            let (_, interface) = lab.side(side);
            let before = lab.edge().received(interface).unwrap();
            let options = FloodOptions {
                attack,
                sources,
                target: lab.service(family),
                rate_per_second: 5_000,
                cpu: None,
                max_duration: Duration::from_millis(300),
            };
            let flood = lab.flood(side, options).unwrap();
            while flood.is_running() {
                thread::sleep(Duration::from_millis(10));
            }
            let (sent, _) = flood.stop().unwrap();
            let received = lab.edge().received(interface).unwrap() - before;
            assert!(sent > 100, "{name}: sent {sent}");
            assert!(received >= sent * 9 / 10, "{name}: received {received} of {sent}");
        }
    }
    let neighbours = lab.edge().run("ip", ["neighbour"]).unwrap();
    assert!(neighbours.lines().count() <= 8, "{neighbours}");
}

#[test]
fn queries_in_masses_are_all_accounted_for() {
    let lab = Lab::up("labt-load", small()).unwrap();
    lab.start_peer(Peer::Unbound).unwrap();
    let polling = Polling::divide(&lab, Side::Customers, 0, 0).unwrap();
    let (sources, target) =
        (lab.customer_hosts(Family::V4), SocketAddr::new(lab.service(Family::V4), 53));
    let questions: Vec<(String, u16)> = ["www", "mail", "a", "b"]
        .map(|name| (format!("{name}.{ZONE}"), 1))
        .into_iter()
        .chain([("elsewhere.example".to_owned(), 1), (LARGE_NAME.to_owned(), 1)])
        .collect();
    let options = |rate, target, patience| steady::Options {
        sources: sources.clone(),
        target,
        rate,
        patience: Duration::from_millis(patience),
        core: 0,
    };
    let asking = |rate, target, patience| {
        let (load, options) = (Load::once(&questions), options(rate, target, patience));
        steady::Steady::once(lab.customers(), load, options).unwrap()
    };
    // One is refused, and one has more addresses than an answer of 512 bytes has room for.
    let once = asking(100, target, 3_000);
    assert_eq!((once.sent, once.codes[0], once.codes[5]), (6, 5, 1), "{once:?}");
    assert_eq!((once.truncated, once.lost, once.wrong, once.good()), (1, 0, 0, 4), "{once:?}");
    assert_eq!(once.latencies.count(), 6);
    // Where nobody answers, all are lost, and nobody waits for ever.
    let nobody = asking(100, SocketAddr::new(target.ip(), 54), 200);
    assert_eq!((nobody.sent, nobody.lost, nobody.answers()), (6, 6, 0), "{nobody:?}");

    let before = polling.cpu().unwrap();
    let generator = saturation::Options {
        side: Side::Customers,
        sources: sources.clone(),
        target,
        window: 64,
        duration: Duration::from_millis(300),
        core: 0,
    };
    let mut looked = 0;
    let (saturation, first, last) =
        saturation::run(&lab, &Load::zipf(&questions, 1_000, 1), &generator, || {
            looked += 1;
            Ok(looked)
        })
        .unwrap();
    let outcome = &saturation.outcome;
    assert_eq!((first, last), (1, 2));
    assert!(outcome.answers() > 64 && outcome.truncated > 0, "{outcome:?}");
    assert_eq!(outcome.answers() + outcome.lost, outcome.sent, "{outcome:?}");
    assert_eq!(outcome.codes[0] + outcome.codes[5], outcome.answers(), "{outcome:?}");
    assert!(polling.cpu().unwrap() > before);
    // The wire is as it was: real sockets get their answers again.
    assert_eq!(asking(100, target, 3_000).answers(), 6);
}

#[test]
fn both_sides_reach_each_other_through_the_edge() {
    let lab = Lab::up("labt-routes", small()).unwrap();
    for family in Family::BOTH {
        let customer = lab.customer_hosts(family)[3];
        let listener =
            lab.customers().inside(move || Ok(TcpListener::bind((customer, 0))?)).unwrap();
        let target = listener.local_addr().unwrap();
        let limit = Duration::from_secs(2);
        lab.internet().inside(move || Ok(TcpStream::connect_timeout(&target, limit)?)).unwrap();
    }
    assert_ne!(lab.edge().mac("inet0").unwrap(), lab.edge().mac("cust0").unwrap());
    let error = lab.edge().received("nothing0").unwrap_err();
    assert!(format!("{error:#}").contains("nothing0"), "{error:#}");
}

#[test]
fn a_prefix_in_use_is_refused_and_down_leaves_nothing() {
    let prefix = "labt-twice";
    let lab = Lab::up(prefix, small()).unwrap();
    let error = Lab::up(prefix, small()).unwrap_err().to_string();
    assert!(error.contains("already up") && error.contains("another prefix"), "{error}");
    let sleeper = lab.spawn("sleeper", lab.edge().command("sleep").arg("600")).unwrap();
    let (edge, folder) = (lab.edge().clone(), lab.folder());
    assert!(sleeper.is_running() && edge.exists() && folder.exists());
    Lab::down(prefix).unwrap();
    Lab::down(prefix).unwrap();
    assert!(!sleeper.is_running() && !edge.exists() && !folder.exists());
    let next = Lab::up(prefix, small()).unwrap();
    let sleeper_of_next = next.spawn("sleeper", edge.command("sleep").arg("600")).unwrap();
    drop(sleeper);
    drop(lab);
    assert!(sleeper_of_next.is_running() && edge.exists(), "the first lab took the second down");
    drop(next);
    assert!(!folder.with_extension("json").exists());
}

#[test]
fn a_namespace_that_no_lab_made_is_left_alone() {
    let foreign = "labt-foreign-edge";
    let ip = |verb| Command::new("ip").args(["netns", verb, foreign]).status().unwrap();
    assert!(ip("add").success());
    let error = Lab::up("labt-foreign", small()).unwrap_err().to_string();
    Lab::down("labt-foreign").unwrap();
    let remained = Namespace::named(foreign).exists();
    assert!(ip("delete").success());
    assert!(remained && error.contains(foreign), "{error}");
}

/// Run by the next test in a process of its own, which is killed.
#[test]
#[ignore = "a part of the next test"]
fn owner_that_waits_to_be_killed() {
    let lab = Lab::up("labt-crash", small()).unwrap();
    lab.start_peer(Peer::Unbound).unwrap();
    lab.start_peer(Peer::Postfix).unwrap();
    thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_killed_owner_leaves_a_lab_that_the_next_one_cleans_up() {
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "owner_that_waits_to_be_killed"])
        .spawn()
        .unwrap();
    let edge = Namespace::named("labt-crash-edge");
    let processes = || {
        let listing = Command::new("ip").args(["netns", "pids", edge.name()]).output().unwrap();
        String::from_utf8(listing.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let is_recorded = || {
        let record = fs::read_to_string("/run/muralla-lab/labt-crash.json").unwrap_or_default();
        record.contains(r#""name": "postfix""#)
    };
    let mut left = Vec::new();
    for _ in 0..200 {
        left = processes();
        // unbound, postfix' master and its first children.
        if is_recorded() && left.len() >= 4 {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert!(left.len() >= 4, "{left:?}");
    assert!(edge.exists());
    let lab = Lab::up("labt-crash", small()).unwrap();
    assert_eq!(processes(), Vec::<String>::new());
    drop(lab);
    // The dead that init hasn't collected yet have no program.
    let alive: Vec<_> =
        left.iter().filter(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok()).collect();
    assert!(alive.is_empty(), "{alive:?} survived");
}

#[test]
fn flushes_are_counted_by_process() {
    // Not where temporary files may be in memory.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let flushes = Flushes::count(folder).unwrap();
    let path = folder.join(format!("flushes-{}", std::process::id()));
    let mut file = File::create(&path).unwrap();
    let me = [std::process::id()];
    let before = flushes.of(&me);
    for _ in 0..3 {
        file.write_all(b"x").unwrap();
        file.sync_data().unwrap();
    }
    file.sync_all().unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(flushes.of(&me) - before, 4);
    assert_eq!(flushes.of(&[u32::MAX]), 0);
    assert!(Flushes::count(Path::new("/proc")).unwrap_err().to_string().contains("of kind 0x9fa0"));
}

#[test]
fn freeradius_serves_masses_out_of_files_and_out_of_postgres() {
    const SECRET: &str = "a secret of the test's own";
    let lab = Lab::up("labt-masses", small()).unwrap();
    lab.host_on_customers("198.18.0.0/15").unwrap();
    let nases = Nases { first: Ipv4Addr::new(198, 18, 0, 254), count: 5, ports: 2 };
    let subscribers = Subscribers { count: 200 };
    let users = lab.folder().join("users");
    subscribers.write_users(&mut File::create(&users).unwrap()).unwrap();
    let folder = tempfile::Builder::new().prefix("muralla-postgres").tempdir().unwrap();
    // The database's user has to come through.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(folder.path(), open).unwrap();
    let postgres = Postgres::start(&lab, &folder.path().join("postgres"), 0).unwrap();
    freeradius::install(&postgres, subscribers, folder.path()).unwrap();
    let detail = lab.folder().join("detail");
    for (name, last, store, records) in [
        ("files", 31, Store::File(users), Records::Detail(detail.clone())),
        ("postgres", 32, Store::Postgres(postgres.connection()), Records::Postgres),
    ] {
        let address = Ipv4Addr::new(203, 0, 113, last);
        let secret = SECRET.to_owned();
        let options =
            FreeradiusOptions { address, core: 0, threads: 4, nases, secret, store, records };
        let server = freeradius::start(&lab, name, &options).unwrap();
        let options = |port: u16, pace| radius::Options {
            nases,
            target: SocketAddrV4::new(address, port),
            secret: SECRET.to_owned(),
            pace,
            patience: Duration::from_secs(2),
            retry: None,
            remember: true,
            core: 1,
        };
        for method in Method::ALL {
            let requests = Arc::new(Authentications::prepare(method, subscribers, SECRET).unwrap());
            let options = options(1812, Pace::Rate(200));
            let load = radius::Load::start(lab.customers(), requests, options).unwrap();
            thread::sleep(Duration::from_millis(500));
            let outcome = load.stop().unwrap();
            assert!(outcome.sent >= 90, "{name} {method:?}: {outcome:?}");
            assert_eq!(outcome.answers_with(ACCESS_ACCEPT), outcome.sent, "{name}: {outcome:?}");
            assert_eq!((outcome.lost, outcome.wrong), (0, 0), "{name} {method:?}");
            assert_eq!(outcome.latencies.count(), outcome.sent);
        }
        // With another secret, passwords are wrong and nothing is genuine: FreeRADIUS says nothing at all.
        let requests = Authentications::prepare(Method::Pap, subscribers, "another").unwrap();
        let strangers = radius::Options {
            patience: Duration::from_millis(300),
            retry: Some(Duration::from_millis(100)),
            ..options(1812, Pace::Rate(100))
        };
        let load = radius::Load::start(lab.customers(), Arc::new(requests), strangers).unwrap();
        thread::sleep(Duration::from_millis(300));
        let outcome = load.stop().unwrap();
        assert_eq!((outcome.answers(), outcome.lost), (0, outcome.sent), "{name}: {outcome:?}");
        assert!(outcome.most_sendings >= 3 && outcome.repeated >= outcome.sent, "{outcome:?}");
        // Subscribers that nobody knows.
        let more = Subscribers { count: 1_000_000 };
        let requests = Authentications::prepare(Method::Chap, more, SECRET).unwrap();
        let load = options(1812, Pace::Rate(50));
        let load = radius::Load::start(lab.customers(), Arc::new(requests), load).unwrap();
        thread::sleep(Duration::from_millis(300));
        let outcome = load.stop().unwrap();
        assert_eq!(outcome.answers_with(ACCESS_REJECT), outcome.sent, "{name}: {outcome:?}");

        let statuses = [Status::Start, Status::Interim, Status::Stop];
        let records = Accounting::new(&statuses, nases, subscribers, SECRET, 900).unwrap();
        let most = 3 * 4_100;
        let load = options(1813, Pace::Window(64));
        let outcome =
            radius::Load::once(lab.customers(), Arc::new(records.most(most)), load).unwrap();
        assert_eq!(outcome.answers_with(ACCOUNTING_RESPONSE), most, "{name}: {outcome:?}");
        assert_eq!((outcome.sent, outcome.answered.len() as u64), (most, most));
        server.stop().unwrap();
    }
    let records = fs::read_to_string(detail).unwrap();
    assert_eq!(records.matches("Acct-Session-Id = ").count(), 3 * 4_100);
    let rows = postgres.sql("SELECT count(*), count(acctstoptime) FROM radacct").unwrap();
    assert_eq!(rows, "4100|4100");
}
