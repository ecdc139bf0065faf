//! The `[dns]` section.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use muralla_dns::config::{DnsConfig, LimitsConfig, QueryLogConfig, Source, StaleConfig};
use muralla_edge::config::{EdgeConfig, RuleMode, ServiceKind};
use muralla_resolver::config::{Budgets, Minimisation, ResolverConfig, Route, Validation};
use muralla_zones::{ListConfig, ListFormat, LocalConfig, ZoneConfig};
use toml::Spanned;

use super::complaint::Complaints;
use super::document::Section;
use super::guard::{Guarded, Surroundings};

pub(crate) const VALIDATIONS: [(&str, Validation); 3] = [
    ("enforce", Validation::Enforce),
    ("permissive", Validation::Permissive),
    ("off", Validation::Off),
];

pub(crate) const MINIMISATIONS: [(&str, Minimisation); 3] = [
    ("relaxed", Minimisation::Relaxed),
    ("strict", Minimisation::Strict),
    ("off", Minimisation::Off),
];

pub(crate) const LIST_FORMATS: [(&str, ListFormat); 2] =
    [("ip4set", ListFormat::Ip4Set), ("dnset", ListFormat::DnSet)];

/// Says that the cache is not kept.
pub(crate) const NO_FILE: &str = "none";

/// Where the cache is kept unless told otherwise: in a folder of the role's own user.
pub(crate) const DEFAULT_CACHE_FILE: &str = "/var/lib/muralla-dns/cache";

/// Largest file of root hints or trust anchors.
const LARGEST_FILE: u64 = 1 << 20;

const MIB: u64 = 1 << 20;

/// Longest time to live (RFC 2181 section 8).
const LONGEST_TTL: u64 = (1 << 31) - 1;

const DAY: Duration = Duration::from_secs(86_400);
const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// The section as it was read; [`Draft::finish`] adds what depends on `[edge]`.
pub(crate) struct Draft {
    config: DnsConfig,
    /// None where nobody was named.
    clients: Option<Vec<IpNet>>,
    place: std::ops::Range<usize>,
    listen_place: std::ops::Range<usize>,
}

/// Reads the section. The result is good only if no error was added to `complaints`.
pub(crate) fn read(
    mut section: Section<'_>,
    surroundings: &Surroundings,
    complaints: &Complaints,
) -> Draft {
    let reader = Reader { complaints, surroundings };
    let place = section.span().clone();
    let mut config =
        DnsConfig { cache_file: Some(PathBuf::from(DEFAULT_CACHE_FILE)), ..DnsConfig::default() };
    let listen_place = section.place("listen");
    reader.listen(&mut section, &mut config);
    if let Some(threads) = section.whole("threads", 1..257) {
        config.threads = usize::try_from(threads.into_inner()).ok().and_then(NonZero::new);
    }
    if let Some(cache) = section.size("cache", MIB..(1 << 40) + 1) {
        config.cache = cache.into_inner();
    }
    if section.says("cache_file", NO_FILE) {
        config.cache_file = None;
    } else if let Some(file) = section.path("cache_file", DEFAULT_CACHE_FILE) {
        config.cache_file = Some(file.into_inner());
    }
    let clients = reader.clients(&mut section);
    for (key, value) in [("nic", &mut config.nic), ("cookies", &mut config.cookies)] {
        *value = section.boolean(key).unwrap_or(*value);
    }
    if let Some(canary) = section.string("canary", "localhost") {
        reader.domain(&canary);
        config.canary = canary.into_inner();
    }
    config.stale = reader.stale(&mut section);
    config.limits = reader.limits(&mut section);
    config.log = reader.log(&mut section);
    (config.resolver, config.source) = reader.resolver(&mut section);
    config.resolver.negative_trust_anchors = reader.negative_trust_anchors(&mut section);
    let mut routed = BTreeMap::new();
    config.resolver.forward = reader.routes(&mut section, "forward", &config.listen, &mut routed);
    config.resolver.stub = reader.routes(&mut section, "stub", &config.listen, &mut routed);
    // Who forwards everything still wants private names answered here.
    let routes = routed.into_keys().filter(|zone| !zone.is_empty());
    config.local = reader.local(&mut section).without(routes);
    section.finish();
    Draft { config, clients, place, listen_place }
}

impl Draft {
    pub(crate) fn config(&self) -> &DnsConfig {
        &self.config
    }

    /// With the customers as clients unless others are named.
    pub(crate) fn finish(self, edge: Option<&EdgeConfig>, complaints: &Complaints) -> DnsConfig {
        let Self { mut config, clients, place, listen_place } = self;
        let loopback = [IpAddr::from([127, 0, 0, 0]), IpAddr::from([0u16, 0, 0, 0, 0, 0, 0, 1])];
        config.clients = clients.unwrap_or_else(|| {
            let customers = edge.map(|edge| edge.customers.clone()).unwrap_or_default();
            if customers.is_empty() {
                complaints.warning(
                    &place,
                    "nobody but this machine may ask for recursion",
                    "write clients = [\"100.64.0.0/16\", \"2001:db8:100::/40\"] in [dns]",
                );
            }
            let own = loopback.iter().zip([8, 128]).map(|(address, length)| {
                IpNet::new(*address, length).unwrap_or_else(|_| IpNet::from(*address))
            });
            own.chain(customers).collect()
        });
        if let Some(edge) = edge {
            judge_edge(&config, edge, &listen_place, complaints);
        }
        config
    }
}

/// A port that the wall does not know as a DNS service is passed unchecked and unlimited.
fn judge_edge(
    config: &DnsConfig,
    edge: &EdgeConfig,
    place: &std::ops::Range<usize>,
    complaints: &Complaints,
) {
    let mut ports: Vec<u16> = config.listen.iter().map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports.dedup();
    for port in ports {
        let guarded = edge.services.iter().any(|service| {
            service.kind == ServiceKind::Dns
                && service.mode != RuleMode::Off
                && service.ports.contains(&port)
        });
        if !guarded {
            complaints.warning(
                place,
                format!("UDP port {port} is no DNS service of [edge]: floods reach the resolver"),
                format!(
                    "add {port} to `ports` of [edge.service.dns], and let its mode be \"enforce\""
                ),
            );
        }
    }
}

/// Servers that the resolver asks because the operator says so: no rule of the wall may cut them off.
pub(crate) fn upstreams(config: &DnsConfig) -> Vec<Guarded> {
    let resolver = &config.resolver;
    let kinds = [("forwarder", &resolver.forward), ("stub zone's server", &resolver.stub)];
    let mut guarded: Vec<Guarded> = Vec::new();
    for (kind, routes) in kinds {
        for route in routes {
            for server in &route.servers {
                let address = server.ip().to_canonical();
                let prefix = IpNet::from(address);
                let known = guarded.iter().any(|other| other.prefix == prefix);
                if !address.is_loopback() && !known {
                    let why = format!("a {kind} of {}", written(&route.zone));
                    guarded.push(Guarded { prefix, why, let_through: true });
                }
            }
        }
    }
    guarded
}

/// The root as people see it.
fn written(zone: &str) -> &str {
    if zone.trim_end_matches('.').is_empty() { "the root" } else { zone }
}

struct Reader<'r> {
    complaints: &'r Complaints,
    surroundings: &'r Surroundings,
}

impl Reader<'_> {
    fn listen(&self, section: &mut Section<'_>, config: &mut DnsConfig) {
        let place = section.place("listen");
        let Some(listen) = section.sockets("listen", 53, "[\"192.0.2.53\", \"2001:db8::53\"]")
        else {
            return;
        };
        if listen.is_empty() {
            self.complaints.error(
                &place,
                "no address to answer on",
                "write listen = [\"0.0.0.0\", \"::\"], or remove `listen` for the same",
            );
        }
        self.complaints.twice(&listen);
        config.listen = listen.into_iter().map(Spanned::into_inner).collect();
    }

    fn clients(&self, section: &mut Section<'_>) -> Option<Vec<IpNet>> {
        let clients = section.prefixes("clients")?;
        for prefix in clients.iter().filter(|prefix| prefix.get_ref().prefix_len() == 0) {
            self.complaints.error(
                &prefix.span(),
                format!("{} is the whole Internet", prefix.get_ref()),
                "list the prefixes that you give to your own customers; an open resolver serves attackers",
            );
        }
        Some(clients.into_iter().map(Spanned::into_inner).collect())
    }

    fn stale(&self, section: &mut Section<'_>) -> StaleConfig {
        let mut stale = DnsConfig::default().stale;
        let Some(mut table) = section.section("stale") else { return stale };
        table.duration_within("keep", Duration::ZERO..WEEK + WEEK, &mut stale.keep);
        let second = Duration::from_secs(1);
        table.duration_within("after", Duration::ZERO..10 * second, &mut stale.after);
        table.finish();
        stale
    }

    fn limits(&self, section: &mut Section<'_>) -> LimitsConfig {
        let mut limits = LimitsConfig::default();
        let Some(mut table) = section.section("limits") else { return limits };
        for (key, range, value) in [
            ("questions", 1..1_000_001, &mut limits.questions),
            ("questions_per_client", 1..1_000_001, &mut limits.questions_per_client),
            ("connections", 1..100_001, &mut limits.connections),
            ("connections_per_client", 1..100_001, &mut limits.connections_per_client),
        ] {
            table.count(key, range, value);
        }
        for (single, all) in
            [("questions_per_client", "questions"), ("connections_per_client", "connections")]
        {
            let (one, total) = match all {
                "questions" => (limits.questions_per_client, limits.questions),
                _ => (limits.connections_per_client, limits.connections),
            };
            if one > total {
                self.complaints.error(
                    &table.place(single),
                    format!("`{single}` is more than `{all}`: one client could take them all"),
                    format!("write {single} = {} or less", (total / 10).max(1)),
                );
            }
        }
        let second = Duration::from_secs(1);
        table.duration_within("idle", second..601 * second, &mut limits.idle);
        table.duration_within("longest_ttl", 60 * second..DAY + second, &mut limits.longest_ttl);
        let negative = &mut limits.longest_negative_ttl;
        table.duration_within("longest_negative_ttl", second..3_601 * second, negative);
        table.finish();
        limits
    }

    fn log(&self, section: &mut Section<'_>) -> QueryLogConfig {
        let mut log = DnsConfig::default().log;
        if let Some(mut table) = section.section("log") {
            table.count("every", 0..1_000_000_001, &mut log.every);
            table.finish();
        }
        log
    }

    fn resolver(&self, section: &mut Section<'_>) -> (ResolverConfig, Source) {
        let mut config = ResolverConfig::default();
        let mut source = Source::default();
        let Some(mut table) = section.section("resolver") else { return (config, source) };
        if let Some(hints) = self.root_hints(&mut table) {
            config.root_hints = hints;
        }
        if let Some(anchors) = self.trust_anchors(&mut table) {
            config.trust_anchors = anchors;
        }
        let place = table.place("validation");
        config.validation = table.word("validation", &VALIDATIONS).unwrap_or_default();
        if config.validation == Validation::Off {
            self.complaints.warning(
                &place,
                "nothing is validated: forged answers are believed",
                "write validation = \"enforce\", and a [[dns.negative_trust_anchor]] for a zone that is broken",
            );
        }
        config.qname_minimisation =
            table.word("qname_minimisation", &MINIMISATIONS).unwrap_or_default();
        for (key, value) in [
            ("priming", &mut config.priming),
            ("case_randomization", &mut config.case_randomization),
            ("private_servers", &mut config.allow_private_servers),
            ("ipv4", &mut config.ipv4),
            ("ipv6", &mut config.ipv6),
        ] {
            *value = table.boolean(key).unwrap_or(*value);
        }
        if !config.ipv4 && !config.ipv6 {
            self.complaints.error(
                &table.place("ipv4"),
                "servers could be asked over neither IPv4 nor IPv6",
                "write true for one of the two",
            );
        }
        for (key, value) in
            [("deny_servers", &mut config.deny_servers), ("deny_answers", &mut config.deny_answers)]
        {
            if let Some(prefixes) = table.prefixes(key) {
                *value = prefixes.into_iter().map(Spanned::into_inner).collect();
            }
        }
        if let Some(file) = table.path("local_root", "/var/lib/muralla-dns/root.zone") {
            self.file(&file, "without it the root's servers are asked");
            config.local_root = Some(file.into_inner());
        }
        table.count("edns_payload", 512..4_097, &mut config.edns_payload);
        if let Some(cache) = table.size("cache", 64 << 10..(1 << 40) + 1) {
            config.cache_bytes = usize::try_from(cache.into_inner()).unwrap_or(usize::MAX);
        }
        self.source(&mut table, &mut source);
        config.budgets = self.budgets(&mut table);
        table.finish();
        (config, source)
    }

    /// The addresses that other servers are asked from, one of each family.
    fn source(&self, table: &mut Section<'_>, source: &mut Source) {
        let example = "[\"192.0.2.53\", \"2001:db8::53\"]";
        for text in table.strings("source", "addresses", example).unwrap_or_default() {
            let address =
                text.get_ref().parse::<IpAddr>().ok().map(|address| address.to_canonical());
            let broadcast = IpAddr::V4(Ipv4Addr::BROADCAST);
            let usable = |address: &IpAddr| {
                !address.is_unspecified() && !address.is_multicast() && *address != broadcast
            };
            let Some(address) = address.filter(usable) else {
                self.complaints.error(
                    &text.span(),
                    format!("\"{}\" is no address to send from", text.get_ref()),
                    format!("write addresses of this machine, as in source = {example}"),
                );
                continue;
            };
            let (family, before) = match address {
                IpAddr::V4(address) => ("IPv4", source.v4.replace(address).is_some()),
                IpAddr::V6(address) => ("IPv6", source.v6.replace(address).is_some()),
            };
            if before {
                self.complaints.error(
                    &text.span(),
                    format!("a second {family} address to send from"),
                    "give at most one IPv4 and one IPv6 address",
                );
            }
            if self.surroundings.here && !address.is_loopback() && !self.surroundings.own(address) {
                self.complaints.warning(
                    &text.span(),
                    format!("{address} is no address of this machine now"),
                    format!("until it is, no server can be asked over {family}"),
                );
            }
        }
    }

    fn budgets(&self, section: &mut Section<'_>) -> Budgets {
        let mut budgets = Budgets::default();
        let Some(mut table) = section.section("budgets") else { return budgets };
        table.count("queries", 1..10_001, &mut budgets.queries);
        table.count("depth", 1..17, &mut budgets.depth);
        table.count("cname_chain", 1..65, &mut budgets.cname_chain);
        table.count("referrals", 1..129, &mut budgets.referrals);
        table.count("glueless", 1..65, &mut budgets.glueless);
        table.count("addresses", 1..129, &mut budgets.addresses);
        table.count("signatures", 1..10_001, &mut budgets.signatures);
        table.count("hashes", 1..1_000_001, &mut budgets.hashes);
        let (least, most) = (Duration::from_millis(100), Duration::from_secs(60));
        table.duration_within("time", least..most + Duration::from_millis(1), &mut budgets.time);
        table.finish();
        budgets
    }

    /// A file as IANA publishes it (named.root), or a list of names with their addresses.
    fn root_hints(&self, table: &mut Section<'_>) -> Option<Vec<(String, Vec<IpAddr>)>> {
        if table.holds_string("root_hints") {
            let file = table.path("root_hints", "/etc/muralla/named.root")?;
            let hints = hints_of(&self.text(&file)?);
            if hints.is_empty() {
                self.complaints.error(
                    &file.span(),
                    format!("{} names no server with an address", file.get_ref().display()),
                    "lines such as `a.root-servers.net. 3600000 A 198.41.0.4` are expected, as in named.root",
                );
            }
            return Some(hints);
        }
        let example = "[\"a.root-servers.net 198.41.0.4 2001:503:ba3e::2:30\"]";
        let lines = table.strings("root_hints", "servers", example)?;
        let hint = |line: &Spanned<String>| {
            let mut words = line.get_ref().split_whitespace();
            let name = words.next().filter(|name| is_domain(name))?;
            let addresses: Option<Vec<IpAddr>> = words.map(|word| word.parse().ok()).collect();
            addresses.filter(|some| !some.is_empty()).map(|addresses| (name.to_owned(), addresses))
        };
        let mut hints = Vec::new();
        for line in &lines {
            match hint(line) {
                Some(hint) => hints.push(hint),
                None => self.complaints.error(
                    &line.span(),
                    format!("\"{}\" is no name with addresses", line.get_ref()),
                    format!("write root_hints = {example}"),
                ),
            }
        }
        Some(hints)
    }

    /// A file of DS and DNSKEY records, or a list of them.
    fn trust_anchors(&self, table: &mut Section<'_>) -> Option<Vec<String>> {
        let example = "[\". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D084...\"]";
        let (anchors, place) = if table.holds_string("trust_anchors") {
            let file = table.path("trust_anchors", "/etc/muralla/root.key")?;
            (records_of(&self.text(&file)?), file.span())
        } else {
            let place = table.place("trust_anchors");
            let lines = table.strings("trust_anchors", "records", example)?;
            (lines.into_iter().map(Spanned::into_inner).collect(), place)
        };
        let odd = anchors.iter().find(|record| !is_anchor(record));
        if let Some(odd) = odd {
            self.complaints.error(
                &place,
                format!("\"{odd}\" is no DS and no DNSKEY record"),
                format!("write trust_anchors = {example}, or the name of a file of such records"),
            );
        }
        Some(anchors)
    }

    fn negative_trust_anchors(&self, section: &mut Section<'_>) -> Vec<(String, Option<u64>)> {
        let mut anchors = Vec::new();
        for mut table in section.array_of_sections("negative_trust_anchor") {
            let span = table.span().clone();
            let name = table.string("name", "broken.example");
            let until = table.moment("until");
            match &name {
                Some(name) => {
                    self.domain(name);
                }
                None if !table.has("name") => self.complaints.error(
                    &span,
                    "a negative trust anchor without `name`",
                    "add name = \"broken.example\", and until = 2027-01-31",
                ),
                None => {}
            }
            if until.is_none() && !table.has("until") {
                self.complaints.warning(
                    &span,
                    "a negative trust anchor without an end is easily forgotten (RFC 7646 section 2)",
                    "add until = 2027-01-31",
                );
            }
            let over = |until: &&Spanned<u64>| *until.get_ref() <= self.surroundings.now;
            if let Some(until) = until.as_ref().filter(over) {
                self.complaints.warning(
                    &until.span(),
                    "this negative trust anchor has ended: signatures are checked again",
                    "remove it, or write a later day if the zone is still broken",
                );
            }
            table.finish();
            let until = until.map(Spanned::into_inner);
            anchors.extend(name.map(|name| (name.into_inner(), until)));
        }
        anchors
    }

    fn routes(
        &self,
        section: &mut Section<'_>,
        kind: &'static str,
        listen: &[SocketAddr],
        routed: &mut BTreeMap<String, &'static str>,
    ) -> Vec<Route> {
        let mut routes = Vec::new();
        for mut table in section.array_of_sections(kind) {
            let span = table.span().clone();
            let zone = table.string("zone", "corp.example");
            let servers = table.sockets("servers", 53, "[\"192.0.2.53\", \"2001:db8::53\"]");
            let first = table.boolean("first").unwrap_or(false);
            for (key, example) in
                [("zone", "zone = \".\" for everything"), ("servers", "servers = [\"192.0.2.53\"]")]
            {
                if !table.has(key) {
                    self.complaints.error(
                        &span,
                        format!("a [[dns.{kind}]] without `{key}`"),
                        format!("add {example}"),
                    );
                }
            }
            let place = table.place("servers");
            table.finish();
            let (Some(zone), Some(servers)) = (zone, servers) else { continue };
            self.domain(&zone);
            if servers.is_empty() {
                self.complaints.error(
                    &place,
                    format!("nobody to ask for {}", written(zone.get_ref())),
                    "write servers = [\"192.0.2.53\"]",
                );
            }
            for server in &servers {
                if self.is_this(listen, *server.get_ref()) {
                    self.complaints.error(
                        &server.span(),
                        format!("{} is this resolver: it would ask itself", server.get_ref()),
                        "name another server",
                    );
                }
            }
            let name = plain(zone.get_ref());
            if let Some(before) = routed.insert(name, kind) {
                self.complaints.error(
                    &zone.span(),
                    format!("{} has a [[dns.{before}]] already", written(zone.get_ref())),
                    "put all servers of a zone into one",
                );
            }
            routes.push(Route {
                zone: zone.into_inner(),
                servers: servers.into_iter().map(Spanned::into_inner).collect(),
                first,
            });
        }
        routes
    }

    /// Whether a question to that address would come back here.
    fn is_this(&self, listen: &[SocketAddr], server: SocketAddr) -> bool {
        let own = || server.ip().is_loopback() || self.surroundings.own(server.ip());
        listen.iter().any(|listen| {
            listen.port() == server.port()
                && (listen.ip() == server.ip()
                    || (listen.ip().is_unspecified()
                        && listen.is_ipv4() == server.is_ipv4()
                        && own()))
        })
    }

    fn local(&self, section: &mut Section<'_>) -> LocalConfig {
        let private_zones = section.boolean("private_zones").unwrap_or(true);
        let mut names = BTreeMap::new();
        let zones = self.zones(section, &mut names);
        let lists = self.lists(section, &mut names);
        LocalConfig { zones, lists, private_zones, ..LocalConfig::default() }
    }

    fn zones(
        &self,
        section: &mut Section<'_>,
        names: &mut BTreeMap<String, &'static str>,
    ) -> Vec<ZoneConfig> {
        let mut zones = Vec::new();
        for mut table in section.array_of_sections("zone") {
            let span = table.span().clone();
            let name = table.string("name", "example.net");
            let file = table.path("file", "/etc/muralla/zones/example.net");
            for (key, example) in [
                ("name", "name = \"example.net\""),
                ("file", "file = \"/etc/muralla/zones/example.net\""),
            ] {
                if !table.has(key) {
                    self.complaints.error(
                        &span,
                        format!("a [[dns.zone]] without `{key}`"),
                        format!("add {example}"),
                    );
                }
            }
            table.finish();
            let (Some(name), Some(file)) = (name, file) else { continue };
            self.local_name(&name, "zone", names);
            self.file(&file, "the zone is answered with SERVFAIL until it is");
            zones.push(ZoneConfig { name: name.into_inner(), file: file.into_inner() });
        }
        zones
    }

    fn lists(
        &self,
        section: &mut Section<'_>,
        names: &mut BTreeMap<String, &'static str>,
    ) -> Vec<ListConfig> {
        let mut lists = Vec::new();
        for mut table in section.array_of_sections("list") {
            let span = table.span().clone();
            let name = table.string("name", "zen.example.net");
            let files = table.paths("files");
            let format = table.word("format", &LIST_FORMATS);
            let ttl = table.whole("ttl", 0..LONGEST_TTL + 1);
            let answer = self.answer(&mut table);
            let text = table.string("text", "listed, see https://example.net/$");
            for (key, example) in [
                ("name", "name = \"zen.example.net\""),
                ("files", "files = [\"/var/lib/muralla-dns/lists/zen\"]"),
                ("format", "format = \"ip4set\" for addresses, or format = \"dnset\" for names"),
            ] {
                if !table.has(key) {
                    self.complaints.error(
                        &span,
                        format!("a [[dns.list]] without `{key}`"),
                        format!("add {example}"),
                    );
                }
            }
            let place = table.place("files");
            table.finish();
            let (Some(name), Some(files), Some(format)) = (name, files, format) else { continue };
            self.local_name(&name, "list", names);
            if files.is_empty() {
                self.complaints.error(
                    &place,
                    "a list of no file",
                    "write files = [\"/var/lib/muralla-dns/lists/zen\"]",
                );
            }
            for file in &files {
                self.file(file, "the list is answered with SERVFAIL until it is");
            }
            lists.push(ListConfig {
                name: name.into_inner(),
                files: files.into_iter().map(Spanned::into_inner).collect(),
                format,
                ttl: ttl.and_then(|ttl| u32::try_from(ttl.into_inner()).ok()),
                answer,
                text: text.map(Spanned::into_inner),
            });
        }
        lists
    }

    fn answer(&self, table: &mut Section<'_>) -> Ipv4Addr {
        let Some(text) = table.string("answer", "127.0.0.2") else { return ListConfig::ANSWER };
        text.get_ref().parse().unwrap_or_else(|_| {
            self.complaints.error(
                &text.span(),
                format!("\"{}\" is no IPv4 address", text.get_ref()),
                "write an address of 127.0.0.0/8, such as answer = \"127.0.0.2\" (RFC 5782)",
            );
            ListConfig::ANSWER
        })
    }

    fn local_name(
        &self,
        name: &Spanned<String>,
        kind: &'static str,
        names: &mut BTreeMap<String, &'static str>,
    ) {
        if !self.domain(name) {
            return;
        }
        if let Some(before) = names.insert(plain(name.get_ref()), kind) {
            self.complaints.error(
                &name.span(),
                format!("{} is a {before} already", name.get_ref()),
                "give each zone and list a name of its own; a list may have several files",
            );
        }
    }

    /// Complains unless it is a domain name.
    fn domain(&self, name: &Spanned<String>) -> bool {
        let good = is_domain(name.get_ref());
        if !good {
            self.complaints.error(
                &name.span(),
                format!("\"{}\" is no domain name", name.get_ref()),
                "write labels of 1 to 63 characters with dots between, 253 characters at most, \
                 names in other scripts as A-labels (xn--...), and \".\" for the root",
            );
        }
        good
    }

    fn file(&self, file: &Spanned<PathBuf>, until: &str) {
        if self.surroundings.lacks_file(file.get_ref()) {
            self.complaints.warning(
                &file.span(),
                format!("{} is not there now", file.get_ref().display()),
                until,
            );
        }
    }

    fn text(&self, file: &Spanned<PathBuf>) -> Option<String> {
        let path: &Path = file.get_ref();
        let text = match fs::metadata(path) {
            Ok(about) if about.len() > LARGEST_FILE => Err("it is larger than 1 MiB".to_owned()),
            Ok(_) => fs::read_to_string(path).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        text.inspect_err(|reason| {
            self.complaints.error(
                &file.span(),
                format!("{} can't be read: {reason}", path.display()),
                "correct the name, or remove the key to use what is built in",
            );
        })
        .ok()
    }
}

/// A name in small letters without its last dot, to compare.
fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Whether the text is a domain name in presentation form (RFC 1035 section 2.3.4), escapes left out.
fn is_domain(text: &str) -> bool {
    const LONGEST: usize = 253;
    const LONGEST_LABEL: usize = 63;
    if text == "." {
        return true;
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | ';' | '(' | ')' | '@');
    name.len() <= LONGEST
        && name
            .split('.')
            .all(|label| (1..=LONGEST_LABEL).contains(&label.len()) && label.chars().all(plain))
}

/// Servers with their addresses out of a hints file: its A and AAAA records.
fn hints_of(text: &str) -> Vec<(String, Vec<IpAddr>)> {
    let mut hints: Vec<(String, Vec<IpAddr>)> = Vec::new();
    for line in text.lines() {
        let line = line.split(';').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        let (Some(name), Some(address)) = (words.first(), words.last()) else { continue };
        let Ok(address) = address.parse::<IpAddr>() else { continue };
        match hints.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, addresses)) => addresses.push(address),
            None => hints.push(((*name).to_owned(), vec![address])),
        }
    }
    hints
}

/// The records of a file, one a line, without comments; brackets continue a line.
fn records_of(text: &str) -> Vec<String> {
    let mut records = Vec::new();
    let mut open = String::new();
    for line in text.lines() {
        let line = line.split(';').next().unwrap_or_default();
        open.push(' ');
        open.push_str(line);
        if open.matches('(').count() > open.matches(')').count() {
            continue;
        }
        let words: Vec<String> =
            open.replace(['(', ')'], " ").split_whitespace().map(str::to_owned).collect();
        if !words.is_empty() {
            records.push(words.join(" "));
        }
        open.clear();
    }
    records
}

/// Whether it looks like a DS or DNSKEY record; the resolver looks closer.
fn is_anchor(record: &str) -> bool {
    let words: Vec<&str> = record.split_whitespace().collect();
    let kind = words
        .iter()
        .position(|word| word.eq_ignore_ascii_case("DS") || word.eq_ignore_ascii_case("DNSKEY"));
    kind.is_some_and(|kind| (1..=3).contains(&kind) && words.len() >= kind + 5)
}
