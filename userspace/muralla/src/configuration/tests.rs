use super::*;
use guard::Guarded;

const SMALLEST: &str = "[edge]\ncustomers = [\"100.64.0.0/16\"]\nnas = [\"192.0.2.0/28\"]\n[[edge.interface]]\nname = \"eth0\"\n";

const SMALLEST_DNS: &str = "[dns]\nclients = [\"100.64.0.0/16\"]\n";

/// Every key of [dns].
fn rich_dns() -> String {
    r#"
        [dns]
        listen = ["192.0.2.53", "[2001:db8::53]:53", "127.0.0.1:5300"]
        threads = 3
        cache = "1GiB"
        cache_file = "none"
        clients = ["100.64.0.0/16", "127.0.0.0/8"]
        nic = false
        cookies = false
        canary = "canary.example.net"
        private_zones = false
        [dns.stale]
        keep = "3d"
        after = "900ms"
        [dns.limits]
        questions = 1000
        questions_per_client = 10
        connections = 100
        connections_per_client = 5
        idle = "30s"
        longest_ttl = "12h"
        longest_negative_ttl = "5m"
        [dns.log]
        every = 1000
        [dns.resolver]
        validation = "permissive"
        qname_minimisation = "strict"
        priming = false
        case_randomization = false
        private_servers = true
        deny_servers = ["198.51.100.0/24"]
        deny_answers = ["10.0.0.0/8"]
        local_root = "/var/lib/muralla-dns/root.zone"
        source = ["192.0.2.54", "2001:db8::54"]
        ipv4 = true
        ipv6 = false
        edns_payload = 1400
        cache = "100MiB"
        root_hints = ["ns.root.example 192.0.2.1 2001:db8::1"]
        trust_anchors = [". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"]
        [dns.resolver.budgets]
        queries = 50
        depth = 5
        cname_chain = 6
        referrals = 20
        time = "2500ms"
        glueless = 4
        addresses = 10
        signatures = 20
        hashes = 500
        [[dns.negative_trust_anchor]]
        name = "broken.example"
        until = 2027-01-31T18:00:00+01:00
        [[dns.forward]]
        zone = "corp.example"
        servers = ["203.0.113.53", "203.0.113.54:5353"]
        first = true
        [[dns.stub]]
        zone = "10.in-addr.arpa"
        servers = ["2001:db8:1::53"]
        [[dns.zone]]
        name = "example.net"
        file = "/etc/muralla/zones/example.net"
        [[dns.list]]
        name = "zen.example.net"
        files = ["/var/lib/muralla-dns/lists/a", "/var/lib/muralla-dns/lists/b"]
        format = "ip4set"
        ttl = 300
        answer = "127.0.0.9"
        text = "listed: $"
        [[dns.list]]
        name = "dbl.example.net"
        files = ["/var/lib/muralla-dns/lists/c"]
        format = "dnset"
    "#
    .to_owned()
}

fn accept(text: &str) -> Accepted {
    match parse("m.toml", text, &Surroundings::default()) {
        Ok(accepted) => accepted,
        Err(problems) => panic!("{problems}"),
    }
}

fn refuse(text: &str) -> Vec<String> {
    match parse("m.toml", text, &Surroundings::default()) {
        Ok(_) => panic!("accepted: {text}"),
        Err(problems) => problems.lines().collect(),
    }
}

#[test]
fn interfaces_and_customers_are_enough() {
    let accepted = accept(SMALLEST);
    assert!(accepted.warnings.is_empty(), "{}", accepted.warnings);
    assert!(accepted.configuration.dns.is_none());
    let edge = accepted.configuration.edge.unwrap();
    let names: Vec<&str> = edge.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "other",
            "outgoing_smtp",
            "dns",
            "dns_tcp",
            "radius_auth",
            "radius_acct",
            "radius_dyn",
            "smtp",
            "submission",
            "pop3",
            "imap",
            "web"
        ]
    );
    let admin = accepted.configuration.admin;
    assert_eq!(admin.socket, Path::new(DEFAULT_SOCKET));
    assert_eq!(admin.reports_socket, Path::new("/run/muralla/reports.sock"));
}

#[test]
fn what_is_printed_reads_back_as_itself() {
    let rich = r#"
        [admin]
        socket = "/tmp/a \"b\".sock"
        [metrics]
        listen = "none"
        [log]
        level = "debug"
        format = "json"
        [state]
        file = "/srv/state.json"
        [edge]
        customers = ["100.64.0.0/16", "2001:db8:100::/40"]
        nas = ["192.0.2.1"]
        own = ["198.51.100.53"]
        mail_servers = ["100.64.9.9"]
        protected = ["203.0.113.0/24"]
        allow = ["203.0.114.0/24"]
        allow_files = ["/etc/muralla/allow.txt"]
        block = ["192.0.2.128/25"]
        bogons = "observe"
        antispoof = "off"
        impossible = "observe"
        pin_dir = "/sys/fs/bpf/other"
        [[edge.interface]]
        name = "eth0"
        role = "internet"
        mode = "native"
        [[edge.interface]]
        name = "eth1"
        role = "customers"
        mode = "generic"
        [[edge.feed]]
        name = "drop"
        file = "/var/lib/muralla/feeds/drop.txt"
        mode = "observe"
        max_age = "36h"
        [edge.service.dns]
        source = { rate = 12.5, burst = 3 }
        world = { rate = "10/min", burst = 5 }
        any = "slip"
        slip = 2
        [edge.service.zzz]
        kind = "tcp"
        ports = [8443]
        stray = "none"
        [edge.service.aaa]
        kind = "radius_acct"
        ports = [1646]
        mode = "observe"
        [edge.service.smtp]
        source = { rate = 5 }
        global = "none"
        reserve = "none"
        drop_fragments = false
        [edge.bans]
        mode = "observe"
        threshold = 3.5
        half_life = "1h"
        first = "90s"
        longest = "1w"
        shared_after = 7
        [edge.limits]
        limiter_sources = 65536
        max_prefixes = 2500000
    "#;
    for text in [SMALLEST, rich, SMALLEST_DNS, &rich_dns(), &format!("{rich}{}", rich_dns())] {
        let configuration = accept(text).configuration;
        let printed = configuration.to_toml();
        assert_eq!(accept(&printed).configuration, configuration, "{printed}");
    }
    let edge = accept(rich).configuration.edge.unwrap();
    let service = |name: &str| edge.services.iter().find(|service| service.name == name).unwrap();
    assert_eq!(service("smtp").source.unwrap().burst, 100.0);
    assert_eq!(service("smtp").global, None);
    let last: Vec<&str> =
        edge.services.iter().skip(12).map(|service| service.name.as_str()).collect();
    assert_eq!(last, ["zzz", "aaa"], "new services are numbered in the order of the file");
}

#[test]
fn every_complaint_comes_at_once_and_says_what_would_be_right() {
    let problems = refuse(
        "[edge]\n\
         customer = [\"100.64.0.0/16\"]\n\
         customers = [\"100.64.0.1/16\", 5]\n\
         bogons = \"enforced\"\n\
         antispoof = true\n\
         [[edge.interface]]\n\
         name = \"an-interface-too-long\"\n\
         [edge.service.dnss]\n\
         source = { rate = 0, burst = 1 }\n\
         [edge.bans]\n\
         first = \"5 minutes\"\n",
    );
    let expected = [
        "m.toml:2:1: unknown key `customer` in [edge] (help: did you mean `customers`?)",
        "m.toml:3:14: \"100.64.0.1/16\" has bits set beyond its length (help: write \"100.64.0.0/16\" for the network, or \"100.64.0.1\" for the one address)",
        "m.toml:3:31: a prefix is a string, found the number 5",
        "m.toml:4:10: `edge.bogons` can not be \"enforced\" (help: did you mean \"enforce\"?",
        "m.toml:5:13: `edge.antispoof` must be a string, found true",
        "m.toml:7:8: \"an-interface-too-long\" can not be the name of an interface",
        "m.toml:8:15: the new service `dnss` needs `kind` (help: did you mean [edge.service.dns]?",
        "m.toml:8:15: the new service `dnss` needs `ports`",
        "m.toml:9:19: `edge.service.dnss.source.rate` must be a rate from 0.01 to 10000000 a second, found the number 0",
        "m.toml:11:9: `edge.bans.first` is no duration: \"5 minutes\"",
    ];
    let found: Vec<&String> = problems.iter().filter(|line| !line.contains("warning: ")).collect();
    assert_eq!(found.len(), expected.len(), "{problems:#?}");
    for (problem, expected) in found.iter().zip(expected) {
        assert!(problem.starts_with(expected), "{problem}\nexpected {expected}");
    }
}

#[test]
fn each_mistake_is_named() {
    let interface = "[[edge.interface]]\nname = \"eth0\"\n";
    let four: String = (0..5)
        .map(|n| format!("[[edge.interface]]\nname = \"eth{n}\"\nrole = \"both\"\n"))
        .collect();
    let services: String = (0..5)
        .map(|n| format!("[edge.service.s{n}]\nkind = \"tcp\"\nports = [{}]\n", 9000 + n))
        .collect();
    for (text, complaint) in [
        (String::new(), "there is neither an [edge] section, nor [dns], nor [radius]"),
        ("edge = 5".to_owned(), "`edge` is a table, found the number 5"),
        ("[edge]\ncustomers = [\"10.0.0.0/8\"]\n".to_owned(), "no interface to protect"),
        (format!("[edge]\n{interface}"), "no customers' prefixes, so nobody would get DNS"),
        (
            format!("[edge]\ncustomers = [\"0.0.0.0/0\"]\n{interface}"),
            "0.0.0.0/0 is the whole Internet",
        ),
        (format!("[edge]\ncustomers = [\"::/0\"]\n{interface}"), "::/0 is the whole Internet"),
        (format!("{SMALLEST}{interface}"), "interface \"eth0\" is written twice"),
        (format!("[edge]\ncustomers = [\"10.0.0.0/8\"]\n{four}"), "more than 4 interfaces"),
        (format!("{SMALLEST}{services}"), "more than 16 services"),
        (format!("{SMALLEST}[edge.interface.x]\n"), "interface"),
        (format!("{SMALLEST}[[edge.feed]]\nname = \"a\"\n"), "a feed without `file`"),
        (
            format!("{SMALLEST}[[edge.feed]]\nname = \"A b\"\nfile = \"/a\"\n"),
            "can not be the name of a feed",
        ),
        (
            format!(
                "{SMALLEST}[[edge.feed]]\nname = \"a\"\nfile = \"/a\"\n[[edge.feed]]\nname = \"a\"\nfile = \"/b\"\n"
            ),
            "two feeds are named \"a\"",
        ),
        (
            format!("{SMALLEST}[[edge.feed]]\nname = \"a\"\nfile = \"a\"\n"),
            "must be an absolute path",
        ),
        (
            format!("{SMALLEST}[edge.service.web]\nports = [80, 25]\n"),
            "TCP port 25 belongs to the built-in service `smtp`",
        ),
        (
            format!("{SMALLEST}[edge.service.web]\nports = [80, 80]\n"),
            "TCP port 80 belongs to `web` already",
        ),
        (
            format!("{SMALLEST}[edge.service.web]\nports = [0]\n"),
            "a port is a number from 1 to 65535",
        ),
        (format!("{SMALLEST}[edge.service.web]\nports = []\n"), "has no port left"),
        (
            format!("{SMALLEST}[edge.service.web]\nslip = 1\n"),
            "`slip` is for services of kind \"dns\"",
        ),
        (format!("{SMALLEST}[edge.service.dns]\nkind = \"tcp\"\n"), "can not change its kind"),
        (
            format!("{SMALLEST}[edge.service.other]\nports = [5]\n"),
            "the service `other` has no ports",
        ),
        (
            format!("{SMALLEST}[edge.service.web]\nglobal = \"none\"\n"),
            "a reserve beyond a global budget",
        ),
        (
            format!("{SMALLEST}[edge.service.dns]\nworld = {{ rate = 5 }}\n"),
            "the limit `world` needs `burst`",
        ),
        (
            format!("{SMALLEST}[edge.service.dns]\nsource = \"off\"\n"),
            "`edge.service.dns.source` is a table",
        ),
        (
            format!("{SMALLEST}[edge.bans]\nfirst = \"2d\"\n"),
            "the longest ban is shorter than the first",
        ),
        (format!("{SMALLEST}[edge.bans]\nhalf_life = \"0\"\n"), "can not be zero"),
        (format!("{SMALLEST}[edge.limits]\nmax_prefixes = 1\n"), "a whole number from 1024"),
        (format!("{SMALLEST}[metrics]\nlisten = \"9469\"\n"), "is no address with a port"),
        (
            format!("{SMALLEST}[metric]\n"),
            "unknown key `metric` at the top of the file (help: did you mean `metrics`?)",
        ),
        (format!("{SMALLEST}name = \"eth1\"\n"), "duplicate key"),
        ("[edge\n".to_owned(), "m.toml:1:6"),
        (
            "[edge]\ncustomers = 10.0.0.0/8\n".to_owned(),
            "put text, prefixes and durations between double quotes",
        ),
    ] {
        let problems = refuse(&text);
        assert!(
            problems.iter().any(|problem| problem.contains(complaint)),
            "{text}\nexpected {complaint}\nfound {problems:#?}"
        );
    }
}

#[test]
fn a_block_can_not_cut_off_the_protected() {
    let text = SMALLEST
        .replace("nas =", "protected = [\"203.0.113.7\"]\nblock = [\"203.0.113.0/24\"]\nnas =");
    let problems = refuse(&text);
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(problems[0].starts_with("m.toml:3:14: 203.0.113.7/32 is protected, but the block"));
    assert!(problems[1].starts_with("m.toml:4:10: the block 203.0.113.0/24 would cut off"));

    let surroundings = Surroundings {
        guarded: vec![Guarded {
            prefix: "198.51.100.9/32".parse().unwrap(),
            why: "an SSH session of this machine".to_owned(),
            let_through: true,
        }],
        ..Surroundings::default()
    };
    let text = SMALLEST.replace("nas =", "block = [\"198.51.100.0/24\"]\nnas =");
    let problems = parse("m.toml", &text, &surroundings).unwrap_err();
    assert!(
        problems.to_string().contains(
            "the block 198.51.100.0/24 would cut off 198.51.100.9/32, an SSH session of this machine"
        ),
        "{problems}"
    );
}

#[test]
fn what_is_odd_is_said_but_accepted() {
    for (text, warning) in [
        (SMALLEST.replace("nas = [\"192.0.2.0/28\"]\n", ""), "RADIUS will be refused to everybody"),
        (format!("{SMALLEST}[[edge.interface]]\nname = \"eth1\"\n"), "no role: taken as \"both\""),
        (
            SMALLEST
                .replace("nas =", "allow = [\"203.0.113.0/24\"]\nblock = [\"203.0.113.9\"]\nnas ="),
            "never acts: 203.0.113.0/24 is allowed",
        ),
        (
            SMALLEST.replace("nas =", "block = [\"100.64.0.0/10\"]\nnas ="),
            "cuts off all customers of 100.64.0.0/16",
        ),
    ] {
        let warnings = accept(&text).warnings.to_string();
        assert!(warnings.contains(warning), "{text}\nexpected {warning}\nfound {warnings}");
    }
}

#[test]
fn any_bytes_are_answered_with_a_complaint_or_a_configuration() {
    let whole = accept(SMALLEST).configuration.to_toml();
    for end in 0..whole.len() {
        if let Some(text) = whole.get(..end) {
            let _ = parse("m.toml", text, &Surroundings::default());
        }
    }
    for at in 0..whole.len() {
        for byte in ["\"", "[", "=", "\n", "é", "\0"] {
            let mut text = whole.clone();
            if text.is_char_boundary(at) {
                text.insert_str(at, byte);
                let _ = parse("m.toml", &text, &Surroundings::default()).map_err(|p| p.to_string());
            }
        }
    }
}

#[test]
fn an_absent_file_is_one_clear_complaint() {
    let problems = load(Path::new("/nonexistent/muralla.toml")).unwrap_err();
    let text = problems.to_string();
    assert!(text.starts_with("/nonexistent/muralla.toml:1:1: can't be opened:"), "{text}");
    assert!(text.contains("help: name another file"), "{text}");
}

#[test]
fn clients_are_enough_for_dns() {
    let accepted = accept(SMALLEST_DNS);
    assert!(accepted.warnings.is_empty(), "{}", accepted.warnings);
    assert!(accepted.configuration.edge.is_none());
    let dns = accepted.configuration.dns.unwrap();
    assert!(dns.local.private_zones && dns.nic && dns.cookies);
    assert_eq!(dns.cache_file.as_deref(), Some(Path::new("/var/lib/muralla-dns/cache")));
    let listen: Vec<String> = dns.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["0.0.0.0:53", "[::]:53"]);

    // Behind a wall the customers are known already.
    let dns = accept(&format!("{SMALLEST}[dns]\n")).configuration.dns.unwrap();
    let clients: Vec<String> = dns.clients.iter().map(ToString::to_string).collect();
    assert_eq!(clients, ["127.0.0.0/8", "::1/128", "100.64.0.0/16"]);
}

#[test]
fn every_key_of_dns_reaches_its_place() {
    let dns = accept(&rich_dns()).configuration.dns.unwrap();
    assert_eq!(dns.listen[0].to_string(), "192.0.2.53:53");
    assert_eq!((dns.cache, dns.cache_file), (1 << 30, None));
    assert_eq!(dns.stale.after.as_millis(), 900);
    let resolver = &dns.resolver;
    assert_eq!(
        resolver.negative_trust_anchors,
        [("broken.example".to_owned(), Some(1_801_414_800))]
    );
    assert_eq!(resolver.budgets.time, std::time::Duration::from_millis(2_500));
    assert_eq!(dns.source.v4, Some([192, 0, 2, 54].into()));
    assert_eq!(dns.source.v6, "2001:db8::54".parse().ok());
    assert_eq!(resolver.root_hints.len(), 1);
    assert_eq!(resolver.forward[0].servers[1].to_string(), "203.0.113.54:5353");
    assert!(resolver.forward[0].first && !resolver.stub[0].first);
    // What is routed elsewhere is not answered with the empty private zone.
    assert_eq!(dns.local.routes, ["10.in-addr.arpa", "corp.example"]);
    assert_eq!(dns.local.lists[0].files.len(), 2);
}

#[test]
fn hints_and_anchors_may_be_files() {
    let folder = tempfile::tempdir().unwrap();
    let (hints, keys) = (folder.path().join("named.root"), folder.path().join("root.key"));
    std::fs::write(
        &hints,
        "; as IANA has it\n.  3600000  NS  A.ROOT-SERVERS.NET.\nA.ROOT-SERVERS.NET.  3600000  A  198.41.0.4\n\
         A.ROOT-SERVERS.NET.  3600000  AAAA  2001:503:ba3e::2:30\n",
    )
    .unwrap();
    std::fs::write(&keys, ". 86400 IN DNSKEY 257 3 8 ( ;{id = 1}\n AwEA\n AaBB ) ; end\n\n")
        .unwrap();
    let text = format!(
        "{SMALLEST_DNS}[dns.resolver]\nroot_hints = \"{}\"\ntrust_anchors = \"{}\"\n",
        hints.display(),
        keys.display()
    );
    let resolver = accept(&text).configuration.dns.unwrap().resolver;
    assert_eq!(resolver.root_hints.len(), 1);
    assert_eq!(resolver.root_hints[0].1.len(), 2);
    assert_eq!(resolver.trust_anchors, [". 86400 IN DNSKEY 257 3 8 AwEA AaBB"]);
}

#[test]
fn a_negative_trust_anchor_that_is_over_is_told() {
    let text = format!(
        "{SMALLEST_DNS}[[dns.negative_trust_anchor]]\nname = \"broken.example\"\nuntil = 2026-01-31\n"
    );
    for (now, told) in [(1_769_817_599, false), (1_769_817_600, true)] {
        let accepted = parse("m.toml", &text, &Surroundings { now, ..Surroundings::default() });
        let warnings: Vec<_> = accepted.unwrap().warnings.lines().collect();
        assert_eq!(warnings.iter().any(|line| line.contains("has ended")), told, "{warnings:?}");
    }
}

#[test]
fn each_mistake_about_dns_is_named() {
    let zone = "[[dns.zone]]\nname = \"example.net\"\nfile = \"/a\"\n";
    let forward = "[[dns.forward]]\nzone = \"corp.example\"\nservers = [\"192.0.2.1\"]\n";
    for (text, complaint) in [
        ("[dns]\nclients = [\"0.0.0.0/0\"]\n".to_owned(), "0.0.0.0/0 is the whole Internet"),
        (format!("{SMALLEST_DNS}listen = []\n"), "no address to answer on"),
        (format!("{SMALLEST_DNS}listen = [\"x\"]\n"), "\"x\" is no address"),
        (format!("{SMALLEST_DNS}listen = [\"::1\", \"[::1]:53\"]\n"), "[::1]:53 is written twice"),
        (format!("{SMALLEST_DNS}cache = \"256MB\"\n"), "a size from 1MiB to 1024GiB"),
        (format!("{SMALLEST_DNS}cach = 5\n"), "did you mean `cache`?"),
        (format!("{SMALLEST_DNS}canary = \"a..b\"\n"), "\"a..b\" is no domain name"),
        (
            format!("{SMALLEST_DNS}[dns.stale]\nafter = \"20s\"\n"),
            "`after` must be from 0s to less than 10s",
        ),
        (
            format!("{SMALLEST_DNS}[dns.limits]\nquestions = 5\n"),
            "`questions_per_client` is more than `questions`",
        ),
        (format!("{SMALLEST_DNS}[dns.resolver]\nvalidation = \"on\"\n"), "can not be \"on\""),
        (
            format!("{SMALLEST_DNS}[dns.resolver]\nsource = [\"192.0.2.0/24\"]\n"),
            "\"192.0.2.0/24\" is no address to send from",
        ),
        (
            format!("{SMALLEST_DNS}[dns.resolver]\nsource = [\"::\"]\n"),
            "\"::\" is no address to send from",
        ),
        (
            format!("{SMALLEST_DNS}[dns.resolver]\nsource = [\"192.0.2.1\", \"192.0.2.2\"]\n"),
            "a second IPv4 address to send from",
        ),
        (
            format!("{SMALLEST_DNS}[dns.resolver]\nroot_hints = [\"a.example\"]\n"),
            "\"a.example\" is no name with addresses",
        ),
        (
            format!("{SMALLEST_DNS}[dns.resolver]\nroot_hints = \"/nonexistent\"\n"),
            "/nonexistent can't be read",
        ),
        (
            format!("{SMALLEST_DNS}[dns.resolver]\ntrust_anchors = [\". IN A 192.0.2.1\"]\n"),
            "is no DS and no DNSKEY record",
        ),
        (
            format!("{SMALLEST_DNS}[dns.resolver]\nipv4 = false\nipv6 = false\n"),
            "over neither IPv4 nor IPv6",
        ),
        (
            format!(
                "{SMALLEST_DNS}[[dns.negative_trust_anchor]]\nname = \"a\"\nuntil = \"2027\"\n"
            ),
            "must be a date from 1970 on",
        ),
        (format!("{SMALLEST_DNS}[[dns.forward]]\n"), "a [[dns.forward]] without `zone`"),
        (format!("{SMALLEST_DNS}{forward}{forward}"), "corp.example has a [[dns.forward]] already"),
        (
            format!("{SMALLEST_DNS}{}", forward.replace("192.0.2.1", "127.0.0.1")),
            "127.0.0.1:53 is this resolver: it would ask itself",
        ),
        (format!("{SMALLEST_DNS}{zone}{zone}"), "example.net is a zone already"),
        (
            format!(
                "{SMALLEST_DNS}[[dns.list]]\nname = \"z.example\"\nfiles = []\nformat = \"dnset\"\n"
            ),
            "a list of no file",
        ),
        (
            format!(
                "{SMALLEST_DNS}[[dns.list]]\nname = \"z.example\"\nfiles = [\"/a\"]\nformat = \"dnset\"\nanswer = \"1\"\n"
            ),
            "\"1\" is no IPv4 address",
        ),
        (format!("{SMALLEST}{SMALLEST_DNS}{forward}[edge]\n"), "duplicate key"),
        (
            format!(
                "{}{SMALLEST_DNS}{forward}",
                SMALLEST.replace("nas =", "block = [\"192.0.2.0/26\"]\nnas =")
            ),
            "the block 192.0.2.0/26 would cut off 192.0.2.1/32, a forwarder of corp.example",
        ),
    ] {
        let problems = refuse(&text);
        assert!(
            problems.iter().any(|problem| problem.contains(complaint)),
            "{text}\nexpected {complaint}\nfound {problems:#?}"
        );
    }
}

#[test]
fn what_is_odd_about_dns_is_said_but_accepted() {
    for (text, warning) in [
        ("[dns]\n".to_owned(), "nobody but this machine may ask"),
        (
            format!("{SMALLEST_DNS}[dns.resolver]\nvalidation = \"off\"\n"),
            "forged answers are believed",
        ),
        (
            format!("{SMALLEST_DNS}[[dns.negative_trust_anchor]]\nname = \"a.example\"\n"),
            "without an end is easily forgotten",
        ),
        (
            format!("{SMALLEST}{SMALLEST_DNS}listen = [\"192.0.2.53:5353\"]\n"),
            "UDP port 5353 is no DNS service of [edge]",
        ),
        (
            format!("{SMALLEST}[edge.service.dns]\nmode = \"off\"\n{SMALLEST_DNS}"),
            "UDP port 53 is no DNS service of [edge]",
        ),
    ] {
        let warnings = accept(&text).warnings.to_string();
        assert!(warnings.contains(warning), "{text}\nexpected {warning}\nfound {warnings}");
    }
}

const SMALLEST_RADIUS: &str =
    "[[radius.nas]]\nprefix = \"192.0.2.16/28\"\nsecret = \"twenty bytes and more\"\n";

#[test]
fn radius_is_read_whole_and_printed_without_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("dictionary.own");
    std::fs::write(&own, "ATTRIBUTE Own-Word 3000 string\n").unwrap();
    let own = own.display();
    let text = format!(
        r#"{SMALLEST_RADIUS}
name = "bras1"
next_secret = "another one of them"
telco = "north"
groups = ["wholesale"]
message_authenticator = "optional"
coa_port = 1700
[radius]
auth = ["192.0.2.1", "[2001:db8::1]:1645"]
acct = ["192.0.2.1:1646"]
threads = 3
time_zone = "America/Lima"
dictionaries = ["{own}"]
[radius.state]
location = "postgres://muralla:hidden-password@db.example.net/muralla"
copy = "none"
server = "aaa1"
keep_interims = true
[radius.journal]
gather = "1ms"
reserve = 0
[radius.names]
case = "folded"
strip_realms = ["example.net"]
refuse_realms = ["example.org"]
other_realms = "strip"
[radius.accounting]
interim = "5m"
[radius.answers]
texts = ["expired: Your contract has ended: call us"]
[radius.limits]
costly_threads = 2
[radius.dynamic]
source = "192.0.2.1"
"#
    );
    let configuration = accept(&text).configuration;
    let radius = configuration.radius.clone().unwrap();
    assert_eq!(radius.auth[0].to_string(), "192.0.2.1:1812");
    assert_eq!((radius.zone.ahead(0), radius.nas[0].coa_port), (-18_000, 1_700));
    assert_eq!(radius.answers.texts[0].1, "Your contract has ended: call us");
    let printed = configuration.to_toml();
    for secret in ["twenty bytes", "another one", "hidden-password"] {
        assert!(!printed.contains(secret), "{printed}");
    }
    let refused = refuse(&printed);
    assert!(refused.iter().any(|line| line.contains("stands where")), "{refused:#?}");
    // With the secrets put back it is the same again.
    let back = printed
        .replacen("secret = \"(hidden)\"", "secret = \"twenty bytes and more\"", 1)
        .replacen("next_secret = \"(hidden)\"", "next_secret = \"another one of them\"", 1)
        .replace("muralla:(hidden)@", "muralla:hidden-password@");
    assert_eq!(accept(&back).configuration, configuration);
}

#[test]
fn where_the_database_of_radius_is_may_stand_in_a_file_that_others_can_not_read() {
    let text = format!("{SMALLEST_RADIUS}[radius.state]\nlocation_file = \"/nonexistent/url\"\n");
    // It is not read here: DNS and mail read this configuration as well.
    let printed = accept(&text).configuration.to_toml();
    assert!(printed.contains("\nlocation_file = \"/nonexistent/url\"\n"), "{printed}");
    assert!(!printed.contains("\nlocation ="), "{printed}");
}

#[test]
fn each_mistake_about_radius_is_named() {
    for (text, complaint) in [
        (
            "[[radius.nas]]\nsecret = \"twenty bytes and more\"\n".to_owned(),
            "a NAS without a prefix",
        ),
        ("[[radius.nas]]\nprefix = \"192.0.2.1\"\n".to_owned(), "has no secret"),
        (
            SMALLEST_RADIUS.replace("twenty bytes and more", "(hidden)"),
            "stands where `muralla check --print` shows no secret",
        ),
        (
            SMALLEST_RADIUS.replace("twenty", "what `openssl rand -base64 24` prints, twenty"),
            "what stands in the manual is no secret",
        ),
        (format!("{SMALLEST_RADIUS}{SMALLEST_RADIUS}"), "192.0.2.16/28 is there twice"),
        (
            format!("{SMALLEST_RADIUS}[radius]\ndictionaries = [\"/nonexistent\"]\n"),
            "dictionaries: /nonexistent",
        ),
        (
            format!("{SMALLEST_RADIUS}[radius.answers]\ntexts = [\"expird: Call us\"]\n"),
            "there is no reason `expird`",
        ),
        (format!("{SMALLEST_RADIUS}[radius.state]\nlocation = \"mysql://x\"\n"), "neither a file"),
        (
            format!("{SMALLEST_RADIUS}[radius.state]\nlocation = \"/a\"\nlocation_file = \"/b\"\n"),
            "has `location` and `location_file`",
        ),
        (format!("{SMALLEST_RADIUS}[radius.journal]\ngather = \"6ms\"\n"), "`gather` must be"),
        (
            format!("{SMALLEST_RADIUS}[radius.answers]\nreject_delay = \"3s\"\n"),
            "at most half of reply_life",
        ),
        (
            format!("{SMALLEST_RADIUS}[radius.answers]\ntexts = [\"expired\"]\n"),
            "without its reason",
        ),
        (
            format!("{SMALLEST_RADIUS}[radius]\ntime_zone = \"Europe/Nowhere\"\n"),
            "neither a distance from UTC",
        ),
        (format!("{SMALLEST_RADIUS}[radius]\nauth = [\"::1\", \"::1\"]\n"), "written twice"),
    ] {
        let problems = refuse(&text);
        assert!(
            problems.iter().any(|problem| problem.contains(complaint)),
            "{text}\nexpected {complaint}\nfound {problems:#?}"
        );
    }
    let weak = SMALLEST_RADIUS.replace("twenty bytes and more", "short");
    for (text, warning) in [
        (weak, "less than 16 bytes"),
        (format!("{SMALLEST_RADIUS}message_authenticator = \"optional\"\n"), "CVE-2024-3596"),
        (
            format!("{SMALLEST}{SMALLEST_RADIUS}[radius]\nauth = [\"192.0.2.1:1645\"]\n"),
            "UDP port 1645 is no RADIUS service of [edge]",
        ),
    ] {
        let warnings = accept(&text).warnings.to_string();
        assert!(warnings.contains(warning), "{text}\nexpected {warning}\nfound {warnings}");
    }
}

const SMALLEST_MAIL: &str = "[mail]\nhostname = \"mx.example.net\"\n[mail.mx]\n";

#[test]
fn mail_is_read_whole_and_printed_without_its_secrets() {
    let text = r#"
[mail]
hostname = "mx.example.net"
database = "postgres://muralla:hidden-password@db.example.net/mail"
keys = ["a secret of enough length"]
quota = "1GiB"
packs = { endpoint = "https://s3.example.net", region = "garage", bucket = "mail", access_key = "GK", secret_key = "the bucket's key" }
[[mail.certificates]]
chain = "/etc/chain.pem"
key = "/etc/key.pem"
[mail.mx]
when_full = "refuse"
[mail.submission]
[mail.outgoing]
tell_delay = "2h"
[mail.pop3]
"#;
    let configuration = accept(text).configuration;
    let mail = configuration.mail.clone().unwrap();
    assert_eq!((mail.hostname.as_str(), mail.quota), ("mx.example.net", 1 << 30));
    let printed = configuration.to_toml();
    for secret in ["enough length", "hidden-password", "bucket's key"] {
        assert!(!printed.contains(secret), "{printed}");
    }
    let refused = refuse(&printed);
    assert!(refused.iter().any(|line| line.contains("stands where")), "{refused:#?}");
    let back = printed
        .replace("keys = [\"(hidden)\"]", "keys = [\"a secret of enough length\"]")
        .replace("secret_key = \"(hidden)\"", "secret_key = \"the bucket's key\"")
        .replace("muralla:(hidden)@", "muralla:hidden-password@");
    assert_eq!(accept(&back).configuration, configuration, "{printed}");
    assert_eq!(accept(SMALLEST_MAIL).configuration.mail.unwrap().mx.unwrap().recipients, 100);
}

#[test]
fn each_mistake_about_mail_is_named() {
    for (text, complaint) in [
        ("[mail]\n[mail.mx]\n".to_owned(), "missing field `hostname`"),
        ("[mail]\nhostname = \"mx.example.net\"\n".to_owned(), "[mail] has no role"),
        (format!("{SMALLEST_MAIL}lisen = []\n"), "has no key `lisen`"),
        (format!("{SMALLEST_MAIL}recipients = 10\n"), "RFC 5321 asks for 100"),
        (format!("{SMALLEST_MAIL}patience = \"soon\"\n"), "a duration such as"),
        (format!("{SMALLEST_MAIL}[mail.submission]\n"), "needs TLS"),
        (SMALLEST_MAIL.replace("mx.example.net", "mx..net"), "[mail]: "),
    ] {
        let problems = refuse(&text);
        assert!(
            problems.iter().any(|problem| problem.contains(complaint)),
            "{text}\nexpected {complaint}\nfound {problems:#?}"
        );
    }
    let refused = refuse(&format!("{SMALLEST_MAIL}lisen = []\n"));
    assert!(refused.iter().any(|line| line.contains("did you mean `listen`?")), "{refused:#?}");
    let warnings = accept(SMALLEST_MAIL).warnings.to_string();
    assert!(warnings.contains("offers no TLS"), "{warnings}");
}
