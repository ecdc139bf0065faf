//! What goes wrong around the wall: a clear error or a clean recovery, and what stood stands still.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use muralla_abi::verdict::Reason::*;
use muralla_abi::verdict::Verdict::{Drop, Pass};
use muralla_edge::config::{EdgeConfig, FeedConfig, Role, RuleMode};
use muralla_edge::offenders::{Judgement, Offence};
use muralla_edge::wall::{BlockRequest, Wall, WallError};
use muralla_lab::frames::tcp_flags::SYN;

use crate::fixture::{
    Fixture, Pins, XDP_DROP, XDP_PASS, case, config, counts, interface, prefixes, run, service_mut,
};
use crate::packets::*;

fn feed(file: &Path) -> FeedConfig {
    FeedConfig {
        name: "listed".to_owned(),
        file: file.to_owned(),
        mode: RuleMode::Enforce,
        max_age: Duration::ZERO,
    }
}

fn request(prefix: &str) -> BlockRequest {
    BlockRequest {
        prefix: prefix.parse().unwrap(),
        note: "a test".to_owned(),
        ttl: None,
        services: None,
    }
}

/// Names below a folder, for finding what was left behind.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_folder_that_holds_no_pins_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.json");
    let start = |pin_dir: PathBuf| match Wall::start(EdgeConfig { pin_dir, ..config() }, &state) {
        Ok(_) => panic!("a wall without pins"),
        Err(error) => error,
    };
    let error = start(folder.path().join("pins"));
    assert!(matches!(error, WallError::NoBpffs { .. }), "{error}");
    assert!(error.to_string().contains("mount -t bpf"), "{error}");
    // Nothing can be made below a file, not even by root.
    let error = start(PathBuf::from("/proc/version/pins"));
    assert!(matches!(error, WallError::PinDir { .. } | WallError::NoBpffs { .. }), "{error}");
    assert!(error.to_string().contains("/proc/version"), "{error}");
    // A bpffs takes no names with dots.
    let error = start(PathBuf::from("/sys/fs/bpf/muralla-test.dot"));
    assert!(matches!(error, WallError::PinDir { .. }), "{error}");
    assert!(error.to_string().contains("muralla-test.dot"), "{error}");
}

#[test]
fn a_running_wall_is_changed_by_its_owner_alone_and_whole_or_not_at_all() {
    let mut fixture = Fixture::new(|_| {});
    two_instances(&fixture);
    bad_configurations(&mut fixture);
    torn_feed(&mut fixture);
    full_table(&mut fixture);
}

fn two_instances(fixture: &Fixture) {
    let mut second = fixture.wall.config().clone();
    second.interfaces = vec![interface(Role::Internet)];
    let pins = names(fixture.pin_dir());
    let state = fixture.folder().join("second.json");
    let error = match Wall::start(second, &state) {
        Ok(_) => panic!("two walls in one place"),
        Err(error) => error,
    };
    assert!(matches!(error, WallError::Busy { .. }), "{error}");
    assert!(error.to_string().contains("edge.pin_dir"), "{error}");
    assert_eq!(names(fixture.pin_dir()), pins, "the second one touched nothing");
    assert!(!state.exists());
    let (action, _) = run(&fixture.wall, Role::Both, &dns("45.1.2.3").build());
    assert_eq!(action, XDP_DROP);
}

fn bad_configurations(fixture: &mut Fixture) {
    let missing = fixture.folder().join("missing");
    let torn = fixture.folder().join("torn-allow");
    fs::write(&torn, "9.9.9.0/24\nnot an address\n").unwrap();
    let before = fixture.wall.config().clone();
    let generation = fixture.wall.status().policy_generation;
    let hosts = (0..20_000u32).map(|host| {
        let addr = std::net::Ipv4Addr::from(0x5100_0000 | host);
        ipnet::IpNet::from(std::net::IpAddr::from(addr))
    });
    let mut bad: Vec<(&str, EdgeConfig)> = Vec::new();
    let mut add = |name, change: &dyn Fn(&mut EdgeConfig)| {
        let mut config = before.clone();
        // Were it applied, this would be seen.
        config.block = prefixes(&["100.64.0.0/16"]);
        change(&mut config);
        bad.push((name, config));
    };
    add("an allow list that isn't there", &|config| config.allow_files = vec![missing.clone()]);
    add("an allow list with nonsense", &|config| config.allow_files = vec![torn.clone()]);
    let hosts: Vec<_> = hosts.collect();
    add("more prefixes than there is room for", &|config| config.block.extend(&hosts));
    for (name, config) in bad {
        let error = fixture.wall.reload(config).unwrap_err();
        println!("{name}: {error}");
        assert_eq!(*fixture.wall.config(), before, "{name}");
        assert_eq!(fixture.wall.status().policy_generation, generation, "{name}");
        fixture.check([
            case(name, dns("100.64.1.1"), "dns", Pass, Clean),
            case(name, dns("45.1.2.3"), "dns", Drop, Blocked),
        ]);
    }
    // The same one again is no change of what is decided.
    let reload = fixture.wall.reload(before).unwrap();
    assert_eq!(reload.generation, generation + 1);
    assert!(!reload.programs_replaced);
}

fn torn_feed(fixture: &mut Fixture) {
    let file = fixture.folder().join("listed");
    // A moment later than the write before, whatever the clock of the file system.
    let mut seconds = 1_700_000_000;
    let mut write = |text: &str| {
        fs::write(&file, text).unwrap();
        seconds += 10;
        let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        fs::File::options().append(true).open(&file).unwrap().set_modified(moment).unwrap();
    };
    write("81.0.0.0/24\n2a05:1::/48\n");
    let listed = feed(&file);
    fixture.reload(|config| config.feeds = vec![listed]);
    let rows = |first, second| {
        [
            case(
                "first",
                segment("81.0.0.9", 25, SYN),
                "smtp",
                first,
                if first == Drop { Feed } else { Clean },
            ),
            case(
                "first",
                segment("2a05:1::9", 25, SYN),
                "smtp",
                first,
                if first == Drop { Feed } else { Clean },
            ),
            case(
                "second",
                segment("82.0.0.9", 25, SYN),
                "smtp",
                second,
                if second == Drop { Feed } else { Clean },
            ),
        ]
    };
    fixture.check(rows(Drop, Pass));
    for torn in
        ["82.0.0.0/24\n81.0.0.0/2", "82.0.0.0/24\nnonsense\n", "", "82.0.0.0/24\n82.1.0.0/\n"]
    {
        write(torn);
        assert!(fixture.wall.outdated());
        let reload = fixture.wall.refresh().unwrap();
        assert!(
            reload.warnings.iter().any(|warning| warning.contains("listed")),
            "{torn:?}: {:?}",
            reload.warnings
        );
        let status = fixture.wall.status();
        assert!(status.feeds[0].problem.is_some(), "{torn:?}");
        assert_eq!(status.feeds[0].prefixes, 2, "{torn:?}");
        fixture.check(rows(Drop, Pass));
    }
    fs::remove_file(&file).unwrap();
    fixture.wall.refresh().unwrap();
    fixture.check(rows(Drop, Pass));
    write("82.0.0.0/24\n");
    let reload = fixture.wall.refresh().unwrap();
    assert!(
        !reload.warnings.iter().any(|warning| warning.contains("listed")),
        "{:?}",
        reload.warnings
    );
    assert_eq!(fixture.wall.status().feeds[0].problem, None);
    fixture.check(rows(Pass, Drop));
    assert!(!fixture.wall.outdated());
}

/// Lengths of prefixes run out before places do: a clear error, and nothing that was blocked is lost.
fn full_table(fixture: &mut Fixture) {
    for length in 23..=32 {
        let prefix = format!("83.{length}.0.0/{length}");
        fixture.wall.block(request(&prefix)).unwrap();
    }
    let error = fixture.wall.block(request("83.22.0.0/22")).unwrap_err();
    assert!(matches!(error, WallError::Table(_)), "{error}");
    assert!(error.to_string().contains("feed"), "{error}");
    assert_eq!(fixture.wall.status().blocks, 10);
    fixture.check((23..=32).map(|length| {
        let source = format!("83.{length}.0.0");
        case(source.clone(), segment(&source, 25, SYN), "smtp", Drop, Blocked)
    }));
    fixture.check([case("refused", segment("83.22.0.1", 25, SYN), "smtp", Pass, Clean)]);
}

#[test]
fn a_million_prefixes_are_swapped_whole() {
    const PREFIXES: u32 = 1_000_000;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("million");
    // Scattered by a multiplication that is one to one.
    let host = |index: u32, set: u32| {
        let scattered = (index + set * PREFIXES).wrapping_mul(0x9e37_79b1);
        let [_, b, c, d] = scattered.to_be_bytes();
        std::net::Ipv4Addr::new(60 + (scattered >> 24) as u8 % 16, b, c, d)
    };
    let write = |set: u32| {
        let mut text = String::with_capacity(20 << 20);
        for index in 0..PREFIXES {
            writeln!(text, "{}", host(index, set)).unwrap();
        }
        text.push_str("2a05:1::/48\n");
        fs::write(&file, text).unwrap();
    };
    write(0);
    let listed = feed(&file);
    let mut fixture = Fixture::new(|config| {
        config.max_prefixes = PREFIXES + PREFIXES / 5;
        config.feeds = vec![listed];
    });
    let prefixes = fixture.wall.status().prefixes;
    assert!(prefixes > 900_000, "{prefixes}");
    fixture.wall.block(request("77.1.1.1/32")).unwrap();
    let second: std::collections::BTreeSet<_> = (0..PREFIXES).map(|index| host(index, 1)).collect();
    let first: std::collections::BTreeSet<_> = (0..PREFIXES).map(|index| host(index, 0)).collect();
    let step = 33_333;
    let only_first: Vec<_> = first.difference(&second).step_by(step).collect();
    let only_second: Vec<_> = second.difference(&first).step_by(step).collect();
    let rows = |set: u32| {
        let row = |host: &&std::net::Ipv4Addr, listed: bool| {
            let source = host.to_string();
            let (verdict, reason) = if listed { (Drop, Feed) } else { (Pass, Clean) };
            case(source.clone(), segment(&source, 25, SYN), "smtp", verdict, reason)
        };
        let mut rows: Vec<_> = only_first.iter().map(|host| row(host, set == 0)).collect();
        rows.extend(only_second.iter().map(|host| row(host, set == 1)));
        rows.extend([
            case("IPv6", segment("2a05:1::9", 25, SYN), "smtp", Drop, Feed),
            case("a block", segment("77.1.1.1", 25, SYN), "smtp", Drop, Blocked),
            case("the configuration's", segment("45.1.1.1", 25, SYN), "smtp", Drop, Blocked),
            case("allowed", dns("9.9.9.9"), "other", Pass, Allowed),
        ]);
        rows
    };
    fixture.check(rows(0));
    write(1);
    fixture.wall.refresh().unwrap();
    fixture.check(rows(1));
}

/// A wall that is started, and the next one in its place.
#[test]
fn restarts_keep_what_was_decided() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.json");
    let mut config = config();
    service_mut(&mut config, "dns").source = crate::fixture::limit(0.04, 3.0);
    let _pins = Pins(config.pin_dir.clone());
    let action_for =
        |wall: &Wall, source: &str| run(wall, Role::Both, &segment(source, 25, SYN).build()).0;

    let mut wall = Wall::start(config.clone(), &state).unwrap();
    wall.block(request("77.1.1.0/24")).unwrap();
    wall.allow("77.1.1.7/32".parse().unwrap()).unwrap();
    let judgement = wall
        .report(&Offence {
            source: "2a04:1::1".parse().unwrap(),
            service: "smtp".to_owned(),
            reason: "harvest".to_owned(),
            weight: 100.0,
            handshake: true,
            account: None,
        })
        .unwrap();
    assert!(matches!(judgement, Judgement::Banned { .. }), "{judgement:?}");
    let spent = dns("100.64.60.1").build();
    (0..3).for_each(|_| assert_eq!(run(&wall, Role::Both, &spent).0, XDP_PASS));
    let generation = wall.status().policy_generation;
    let counted = counts(&wall);
    let stands = |wall: &Wall, name: &str| {
        for (source, expected) in [
            ("77.1.1.1", XDP_DROP),
            ("77.1.1.7", XDP_PASS),
            ("2a04:1::9", XDP_DROP),
            ("2a04:1:0:1::9", XDP_PASS),
            ("45.1.1.1", XDP_DROP),
        ] {
            assert_eq!(action_for(wall, source), expected, "{name}: {source}");
        }
    };
    stands(&wall, "first");

    // Killed or ended: the daemon that comes next takes over what is pinned.
    drop(wall);
    let wall = Wall::start(config.clone(), &state).unwrap();
    assert_eq!(wall.status().policy_generation, generation + 1);
    for (key, (packets, bytes)) in counted {
        let now = counts(&wall)[&key];
        assert!(now.0 >= packets && now.1 >= bytes, "counters go on: {key:?}");
    }
    stands(&wall, "taken over");
    assert_ne!(run(&wall, Role::Both, &spent).0, XDP_PASS, "limits go on where they were");
    drop(wall);

    // Other sizes: new maps, and the old ones gone.
    let old = maps_of(&config.pin_dir);
    config.max_prefixes *= 8;
    config.limiter_sources *= 4;
    let wall = Wall::start(config.clone(), &state).unwrap();
    let new = maps_of(&config.pin_dir);
    assert_eq!((old.len(), new.len()), (1, 1), "{old:?} {new:?}");
    assert_ne!(old, new);
    stands(&wall, "other sizes");
    assert_eq!(run(&wall, Role::Both, &spent).0, XDP_PASS, "the limiter's table is a new one");
    drop(wall);

    // Pins of another version of the layout are not misread, and go.
    let foreign = config.pin_dir.join("maps-999999-64-64");
    fs::create_dir(&foreign).unwrap();
    // A state that is no state is set aside and told of; what is pinned still stands in the kernel until then.
    fs::write(&state, b"{\"blocks\": 17").unwrap();
    let wall = Wall::start(config.clone(), &state).unwrap();
    assert!(!foreign.exists());
    assert_eq!(fs::read(state.with_extension("unreadable")).unwrap(), b"{\"blocks\": 17");
    assert_eq!(wall.status().blocks, 0);
    assert_eq!(action_for(&wall, "77.1.1.1"), XDP_PASS, "forgotten, as the state says");
    assert_eq!(action_for(&wall, "45.1.1.1"), XDP_DROP, "the configuration is not");
    drop(wall);

    // From nothing: pins gone, as after a reboot, and the state there.
    let mut wall = Wall::start(config.clone(), &state).unwrap();
    wall.block(request("77.1.1.0/24")).unwrap();
    drop(wall);
    muralla_edge::wall::detach(&config.pin_dir).unwrap();
    assert!(!config.pin_dir.exists(), "detached, nothing is left");
    let wall = Wall::start(config.clone(), &state).unwrap();
    assert_eq!(action_for(&wall, "77.1.1.1"), XDP_DROP);
}

fn maps_of(pin_dir: &Path) -> Vec<String> {
    names(pin_dir).into_iter().filter(|name| name.starts_with("maps-")).collect()
}
