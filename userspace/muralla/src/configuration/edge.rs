//! The `[edge]` section.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use muralla_edge::config::{
    AnyPolicy, AttachMode, BanConfig, EdgeConfig, FeedConfig, InterfaceConfig, Limit,
    MAX_INTERFACES, MAX_SERVICES, Role, RuleMode, ServiceConfig, ServiceKind,
};
use toml::Spanned;

use super::complaint::Complaints;
use super::document::{Section, closest};
use super::guard::{Surroundings, overlap};
use super::services;

pub(crate) const RULE_MODES: [(&str, RuleMode); 3] =
    [("enforce", RuleMode::Enforce), ("observe", RuleMode::Observe), ("off", RuleMode::Off)];

pub(crate) const ROLES: [(&str, Role); 3] =
    [("internet", Role::Internet), ("customers", Role::Customers), ("both", Role::Both)];

pub(crate) const ATTACH_MODES: [(&str, AttachMode); 3] =
    [("auto", AttachMode::Auto), ("native", AttachMode::Native), ("generic", AttachMode::Generic)];

/// Kinds that a service of the operator's own may have.
/// Seconds that a source may be ahead of its rate: what the limiter's words have room for.
const LONGEST_BURST: f64 = 270.0;

pub(crate) const KINDS: [(&str, ServiceKind); 7] = [
    ("tcp", ServiceKind::Tcp),
    ("dns", ServiceKind::Dns),
    ("dns_tcp", ServiceKind::DnsTcp),
    ("radius_auth", ServiceKind::RadiusAuth),
    ("radius_acct", ServiceKind::RadiusAcct),
    ("radius_dyn", ServiceKind::RadiusDyn),
    ("any", ServiceKind::Any),
];

pub(crate) const ANY_POLICIES: [(&str, AnyPolicy); 3] =
    [("pass", AnyPolicy::Pass), ("slip", AnyPolicy::Slip), ("drop", AnyPolicy::Drop)];

/// Says that a default limit does not apply.
pub(crate) const NO_LIMIT: &str = "none";

const LONGEST_INTERFACE_NAME: usize = 15;
const MOST_FEEDS: usize = 255;
const LONGEST_NAME: usize = 31;

const DAY: Duration = Duration::from_secs(86_400);

/// Reads the section. The result is good only if no error was added to `complaints`. With `radius` NASes are listed
/// elsewhere.
pub(crate) fn read(
    mut section: Section<'_>,
    surroundings: &Surroundings,
    radius: bool,
    complaints: &Complaints,
) -> EdgeConfig {
    let reader = Reader { complaints, surroundings };
    let place = section.span().clone();
    let lists = Lists::read(&mut section);
    let interfaces = reader.interfaces(&mut section, &place);
    let feeds = reader.feeds(&mut section);
    let services = reader.services(&mut section);
    let bans = reader.bans(&mut section);
    let bogons = section.word("bogons", &RULE_MODES).unwrap_or_default();
    let antispoof = section.word("antispoof", &RULE_MODES).unwrap_or_default();
    let impossible = section.word("impossible", &RULE_MODES).unwrap_or_default();
    let (limiter_sources, max_prefixes) = reader.limits(&mut section);
    let pin_dir = section
        .path("pin_dir", super::DEFAULT_PIN_DIR)
        .map_or_else(|| PathBuf::from(super::DEFAULT_PIN_DIR), Spanned::into_inner);

    reader.judge_customers(&section, &lists, &services, &interfaces, antispoof);
    if !radius {
        reader.judge_nas(&section, &lists, &services);
    }
    reader.judge_blocks(&lists);
    for file in &lists.allow_files {
        reader.file(file, "it allows nobody until it is");
    }
    section.finish();

    EdgeConfig {
        interfaces,
        customers: plain(lists.customers),
        nas: plain(lists.nas),
        own: plain(lists.own),
        mail_servers: plain(lists.mail_servers),
        protected: plain(lists.protected),
        allow: plain(lists.allow),
        allow_files: lists.allow_files.into_iter().map(Spanned::into_inner).collect(),
        block: plain(lists.block),
        feeds,
        bogons,
        antispoof,
        impossible,
        services,
        bans,
        limiter_sources,
        max_prefixes,
        pin_dir,
    }
}

/// The lists of prefixes, with their places in the file.
struct Lists {
    customers: Vec<Spanned<IpNet>>,
    nas: Vec<Spanned<IpNet>>,
    own: Vec<Spanned<IpNet>>,
    mail_servers: Vec<Spanned<IpNet>>,
    protected: Vec<Spanned<IpNet>>,
    allow: Vec<Spanned<IpNet>>,
    allow_files: Vec<Spanned<PathBuf>>,
    block: Vec<Spanned<IpNet>>,
}

impl Lists {
    fn read(section: &mut Section<'_>) -> Self {
        let mut list = |key| section.prefixes(key).unwrap_or_default();
        Self {
            customers: list("customers"),
            nas: list("nas"),
            own: list("own"),
            mail_servers: list("mail_servers"),
            protected: list("protected"),
            allow: list("allow"),
            block: list("block"),
            allow_files: section.paths("allow_files").unwrap_or_default(),
        }
    }
}

fn plain(prefixes: Vec<Spanned<IpNet>>) -> Vec<IpNet> {
    prefixes.into_iter().map(Spanned::into_inner).collect()
}

struct Reader<'r> {
    complaints: &'r Complaints,
    surroundings: &'r Surroundings,
}

impl Reader<'_> {
    fn interfaces(&self, section: &mut Section<'_>, place: &Range<usize>) -> Vec<InterfaceConfig> {
        let wrong_form = section.has("interface");
        let tables = section.array_of_sections("interface");
        if tables.is_empty() && !wrong_form {
            self.complaints.error(
                place,
                "no interface to protect",
                "add [[edge.interface]] with name = \"eth0\" (see `ip link`)",
            );
        }
        let several = tables.len() > 1;
        let mut interfaces: Vec<InterfaceConfig> = Vec::new();
        for (index, mut table) in tables.into_iter().enumerate() {
            let span = table.span().clone();
            if index >= MAX_INTERFACES {
                self.complaints.error(
                    &span,
                    format!("more than {MAX_INTERFACES} interfaces"),
                    "bond or bridge links, and protect the physical ports that face the outside",
                );
                break;
            }
            let name = table.string("name", "eth0");
            let role = table.word("role", &ROLES);
            if role.is_none() && several && !table.has("role") {
                self.complaints.warning(
                    &span,
                    "no role: taken as \"both\", for which sources can not be checked",
                    "add role = \"internet\" or role = \"customers\"",
                );
            }
            let mode = table.word("mode", &ATTACH_MODES).unwrap_or(AttachMode::Auto);
            match &name {
                Some(name) => self.interface_name(name, &interfaces),
                None if !table.has("name") => self.complaints.error(
                    &span,
                    "an interface without a name",
                    "add name = \"eth0\" (see `ip link`)",
                ),
                None => {}
            }
            table.finish();
            if let Some(name) = name {
                interfaces.push(InterfaceConfig {
                    name: name.into_inner(),
                    role: role.unwrap_or(Role::Both),
                    mode,
                });
            }
        }
        interfaces
    }

    fn interface_name(&self, name: &Spanned<String>, before: &[InterfaceConfig]) {
        let text = name.get_ref();
        let valid = !text.is_empty()
            && text.len() <= LONGEST_INTERFACE_NAME
            && text != "."
            && text != ".."
            && text.chars().all(|c| c.is_ascii_graphic() && c != '/' && c != ':');
        if !valid {
            self.complaints.error(
                &name.span(),
                format!("\"{text}\" can not be the name of an interface"),
                format!(
                    "write a name as `ip link` shows it: up to {LONGEST_INTERFACE_NAME} characters, \
                     no space, slash or colon"
                ),
            );
        } else if before.iter().any(|interface| interface.name == *text) {
            self.complaints.error(
                &name.span(),
                format!("interface \"{text}\" is written twice"),
                "remove one of the two; role = \"both\" is for one that looks at both sides",
            );
        } else if self.surroundings.lacks_interface(text) {
            self.complaints.warning(
                &name.span(),
                format!("there is no interface \"{text}\" now"),
                "it is protected as soon as it appears; `ip link` shows what is there",
            );
        }
    }

    fn feeds(&self, section: &mut Section<'_>) -> Vec<FeedConfig> {
        let mut feeds: Vec<FeedConfig> = Vec::new();
        for mut table in section.array_of_sections("feed") {
            let span = table.span().clone();
            let name = table.string("name", "drop");
            let file = table.path("file", "/var/lib/muralla/feeds/drop.txt");
            let mode = table.word("mode", &RULE_MODES).unwrap_or_default();
            let max_age = table.duration("max_age").map_or(2 * DAY, Spanned::into_inner);
            for (key, example) in [
                ("name", "name = \"drop\""),
                ("file", "file = \"/var/lib/muralla/feeds/drop.txt\""),
            ] {
                if !table.has(key) {
                    self.complaints.error(
                        &span,
                        format!("a feed without `{key}`"),
                        format!("add {example}"),
                    );
                }
            }
            table.finish();
            let (Some(name), Some(file)) = (name, file) else {
                continue;
            };
            self.name(&name, "a feed");
            self.file(&file, "the feed is empty until it is");
            if feeds.iter().any(|feed| feed.name == *name.get_ref()) {
                self.complaints.error(
                    &name.span(),
                    format!("two feeds are named \"{}\"", name.get_ref()),
                    "give each feed its own name: metrics and drops are told apart by it",
                );
            }
            if feeds.len() >= MOST_FEEDS {
                self.complaints.error(
                    &span,
                    format!("more than {MOST_FEEDS} feeds"),
                    "put several lists into one file",
                );
                break;
            }
            feeds.push(FeedConfig {
                name: name.into_inner(),
                file: file.into_inner(),
                mode,
                max_age,
            });
        }
        feeds
    }

    fn file(&self, file: &Spanned<PathBuf>, until: &str) {
        if self.surroundings.lacks_file(file.get_ref()) {
            self.complaints.warning(
                &file.span(),
                format!("{} is not there now", file.get_ref().display()),
                format!("{until}; a file is read anew whenever it changes"),
            );
        }
    }

    /// Names end up as labels of metrics, so they are kept plain.
    fn name(&self, name: &Spanned<String>, of: &str) {
        let text = name.get_ref();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if text.is_empty() || text.len() > LONGEST_NAME || !text.chars().all(plain) {
            self.complaints.error(
                &name.span(),
                format!("\"{text}\" can not be the name of {of}"),
                format!("use up to {LONGEST_NAME} of a-z, 0-9, _ and -"),
            );
        }
    }

    fn services(&self, section: &mut Section<'_>) -> Vec<ServiceConfig> {
        let mut services = services::built_in();
        let mut ports = Ports::default();
        let mut written = Vec::new();
        if let Some(table) = section.section("service") {
            written = table.sections();
            table.finish_open();
        }
        // The file's order is the order of the new services' numbers.
        written.sort_by_key(|(name, _)| name.span().start);
        let mut overridden = Vec::new();
        for (name, mut table) in written {
            let known = services.iter().position(|service| service.name == *name.get_ref());
            let built_in = known.filter(|index| *index < services::built_in().len());
            let base = match built_in.and_then(|index| services.get(index)) {
                Some(service) => {
                    self.built_in_kind(&mut table, service);
                    service.clone()
                }
                None => self.new_service(&name, &mut table),
            };
            let service = self.service(&name, table, base, &mut ports);
            overridden.push(service.name.clone());
            match known.and_then(|index| services.get_mut(index)) {
                Some(place) => *place = service,
                None => services.push(service),
            }
            if services.len() > MAX_SERVICES {
                self.complaints.error(
                    &name.span(),
                    format!("more than {MAX_SERVICES} services, the built-in ones included"),
                    "put the ports of similar services into one",
                );
                services.truncate(MAX_SERVICES);
            }
        }
        for service in &services {
            if !overridden.contains(&service.name) {
                for port in &service.ports {
                    ports.taken_by_default(self.complaints, service, *port);
                }
            }
        }
        services
    }

    fn built_in_kind(&self, table: &mut Section<'_>, service: &ServiceConfig) {
        let place = table.place("kind");
        match table.word("kind", &KINDS) {
            Some(kind) if kind != service.kind => self.complaints.error(
                &place,
                format!("the built-in service `{}` can not change its kind", service.name),
                "remove `kind`, or give a new service of that kind a name of its own",
            ),
            _ => {}
        }
    }

    fn new_service(&self, name: &Spanned<String>, table: &mut Section<'_>) -> ServiceConfig {
        let text = name.get_ref();
        self.name(name, "a service");
        let built_in = services::built_in();
        let hint = closest(text, built_in.iter().map(|service| service.name.as_str()))
            .map(|known| format!("did you mean [edge.service.{known}]? "))
            .unwrap_or_default();
        for (key, example) in [("kind", "kind = \"tcp\""), ("ports", "ports = [8443]")] {
            if !table.has(key) {
                self.complaints.error(
                    &name.span(),
                    format!("the new service `{text}` needs `{key}`"),
                    format!("{hint}A service of your own needs for example {example}"),
                );
            }
        }
        let place = table.place("kind");
        let kind = table.word("kind", &KINDS).unwrap_or(ServiceKind::Tcp);
        if kind == ServiceKind::Any {
            self.complaints.error(
                &place,
                "only the built-in services `other` and `outgoing_smtp` are of kind \"any\"",
                "write kind = \"tcp\" for a service over TCP",
            );
        }
        services::new(text, kind)
    }

    fn service(
        &self,
        name: &Spanned<String>,
        mut table: Section<'_>,
        base: ServiceConfig,
        ports: &mut Ports,
    ) -> ServiceConfig {
        let mut service = base;
        if let Some(mode) = table.word("mode", &RULE_MODES) {
            service.mode = mode;
        }
        let place = table.place("ports");
        if let Some(written) = table.ports("ports") {
            if service.kind == ServiceKind::Any && !written.is_empty() {
                self.complaints.error(
                    &place,
                    format!("the service `{}` has no ports", service.name),
                    "remove `ports`: it is not told from others by them",
                );
            } else if service.kind != ServiceKind::Any && written.is_empty() {
                self.complaints.error(
                    &place,
                    format!("the service `{}` has no port left", service.name),
                    "list its ports, or write mode = \"off\" to leave the service alone",
                );
            }
            for port in &written {
                ports.take(self.complaints, &service, *port.get_ref(), &port.span());
            }
            service.ports = written.into_iter().map(Spanned::into_inner).collect();
        } else {
            for port in service.ports.clone() {
                ports.take(self.complaints, &service, port, &name.span());
            }
        }
        self.limit(&mut table, "source", &mut service.source);
        self.limit(&mut table, "world", &mut service.world);
        self.limit(&mut table, "global", &mut service.global);
        self.limit(&mut table, "reserve", &mut service.reserve);
        self.limit(&mut table, "stray", &mut service.stray);
        if let Some(drop) = table.boolean("drop_fragments") {
            service.drop_fragments = drop;
        }
        if let Some(slip) = table.whole("slip", 0..256) {
            service.slip = u8::try_from(slip.into_inner()).unwrap_or(u8::MAX);
        }
        if let Some(any) = table.word("any", &ANY_POLICIES) {
            service.any = any;
        }
        self.judge_service(&table, &service);
        table.finish();
        service
    }

    fn judge_service(&self, table: &Section<'_>, service: &ServiceConfig) {
        let over_tcp = service.kind == ServiceKind::DnsTcp;
        let dns_only = [
            ("world", service.world.is_some() && !over_tcp),
            ("slip", service.slip > 0),
            ("any", service.any != AnyPolicy::Pass),
        ];
        for (key, set) in dns_only {
            if set && table.has(key) && service.kind != ServiceKind::Dns {
                self.complaints.error(
                    &table.place(key),
                    format!(
                        "`{key}` is for services of kind \"dns\", and `{}` is none",
                        service.name
                    ),
                    format!("remove `{key}`"),
                );
            }
        }
        let tcp = over_tcp || service.kind == ServiceKind::Tcp;
        if service.stray.is_some() && table.has("stray") && !tcp {
            self.complaints.error(
                &table.place("stray"),
                format!("`stray` is for services of kind \"tcp\", and `{}` is none", service.name),
                "remove `stray`",
            );
        }
        if service.reserve.is_some() && service.global.is_none() {
            self.complaints.error(
                &table.place("reserve"),
                format!("`{}` has a reserve beyond a global budget that it has not", service.name),
                "add global = { rate = 20000, burst = 20000 }, or write reserve = \"none\"",
            );
        }
    }

    fn limit(&self, table: &mut Section<'_>, key: &'static str, limit: &mut Option<Limit>) {
        if table.says(key, NO_LIMIT) {
            *limit = None;
            return;
        }
        let place = table.place(key);
        let Some(mut written) = table.section(key) else {
            return;
        };
        let before = *limit;
        let rate = written.rate("rate");
        let burst = written.number("burst", 1.0, 1e7);
        for field in ["rate", "burst"] {
            if before.is_none() && !written.has(field) {
                self.complaints.error(
                    &place,
                    format!("the limit `{key}` needs `{field}`"),
                    format!("write {key} = {{ rate = 50, burst = 125 }}"),
                );
            }
        }
        written.finish();
        let now = Limit {
            rate: rate.or(before.map(|limit| limit.rate)).unwrap_or(1.0),
            burst: burst.or(before.map(|limit| limit.burst)).unwrap_or(1.0),
        };
        if now.burst / now.rate > LONGEST_BURST {
            self.complaints.error(
                &place,
                format!("the burst of `{key}` takes {:.0} seconds at its rate", now.burst / now.rate),
                format!(
                    "the limiter looks {LONGEST_BURST} seconds ahead: write a burst of {:.0} at most",
                    (now.rate * LONGEST_BURST).max(1.0)
                ),
            );
        }
        *limit = Some(now);
    }

    fn bans(&self, section: &mut Section<'_>) -> BanConfig {
        let mut bans = BanConfig {
            mode: RuleMode::Enforce,
            threshold: 10.0,
            half_life: Duration::from_secs(600),
            first: Duration::from_secs(300),
            longest: DAY,
            shared_after: 3,
        };
        let Some(mut table) = section.section("bans") else {
            return bans;
        };
        if let Some(mode) = table.word("mode", &RULE_MODES) {
            bans.mode = mode;
        }
        if let Some(threshold) = table.number("threshold", 0.1, 1e6) {
            bans.threshold = threshold;
        }
        for (key, duration) in [
            ("half_life", &mut bans.half_life),
            ("first", &mut bans.first),
            ("longest", &mut bans.longest),
        ] {
            if let Some(written) = table.duration(key) {
                if written.get_ref().is_zero() {
                    self.complaints.error(
                        &written.span(),
                        format!("`edge.bans.{key}` can not be zero"),
                        "write mode = \"off\" in [edge.bans] to have no bans",
                    );
                }
                *duration = written.into_inner();
            }
        }
        if let Some(shared) = table.whole("shared_after", 2..1_000_001) {
            bans.shared_after = u32::try_from(shared.into_inner()).unwrap_or(u32::MAX);
        }
        if bans.longest < bans.first {
            self.complaints.error(
                &table.place("longest"),
                "the longest ban is shorter than the first",
                format!("write longest = \"{}\" or more", super::duration::write(bans.first)),
            );
        }
        table.finish();
        bans
    }

    fn limits(&self, section: &mut Section<'_>) -> (u32, u32) {
        let (mut sources, mut prefixes) = (1 << 20, 1_000_000);
        let Some(mut table) = section.section("limits") else {
            return (sources, prefixes);
        };
        let mut number = |key, range, value: &mut u32| {
            if let Some(written) = table.whole(key, range) {
                *value = u32::try_from(written.into_inner()).unwrap_or(u32::MAX);
            }
        };
        number("limiter_sources", 1 << 10..(1 << 23) + 1, &mut sources);
        number("max_prefixes", 1 << 10..2_500_001, &mut prefixes);
        table.finish();
        (sources, prefixes)
    }

    fn judge_customers(
        &self,
        section: &Section<'_>,
        lists: &Lists,
        services: &[ServiceConfig],
        interfaces: &[InterfaceConfig],
        antispoof: RuleMode,
    ) {
        for prefix in lists.customers.iter().chain(&lists.nas) {
            if prefix.get_ref().prefix_len() == 0 {
                self.complaints.error(
                    &prefix.span(),
                    format!("{} is the whole Internet", prefix.get_ref()),
                    "list the prefixes that you give to your own customers and NASes; \
                     an open resolver serves attackers",
                );
            }
        }
        // A list of which no entry was readable has been complained about already.
        let unreadable = section.has("customers") && self.complaints.has_errors();
        if !lists.customers.is_empty() || unreadable {
            return;
        }
        let dns = services
            .iter()
            .any(|service| service.kind == ServiceKind::Dns && service.mode != RuleMode::Off);
        let side = interfaces.iter().any(|interface| interface.role == Role::Customers);
        let reason = if dns {
            "nobody would get DNS"
        } else if side && antispoof != RuleMode::Off {
            "every packet of the customers' interface would be taken for forged"
        } else {
            return;
        };
        self.complaints.error(
            &section.place("customers"),
            format!("no customers' prefixes, so {reason}"),
            "write customers = [\"100.64.0.0/16\", \"2001:db8:100::/40\"] in [edge], \
             or mode = \"off\" in [edge.service.dns]",
        );
    }

    fn judge_nas(&self, section: &Section<'_>, lists: &Lists, services: &[ServiceConfig]) {
        let radius = services.iter().any(|service| {
            service.mode == RuleMode::Enforce
                && matches!(
                    service.kind,
                    ServiceKind::RadiusAuth | ServiceKind::RadiusAcct | ServiceKind::RadiusDyn
                )
        });
        if radius && lists.nas.is_empty() {
            self.complaints.warning(
                &section.place("nas"),
                "no NAS is listed: RADIUS will be refused to everybody",
                "write [[radius.nas]] for each, or nas = [\"192.0.2.0/28\"] in [edge] if another server behind this wall \
                 answers RADIUS",
            );
        }
    }

    fn judge_blocks(&self, lists: &Lists) {
        for block in &lists.block {
            let prefix = *block.get_ref();
            let protected =
                lists.protected.iter().find(|protected| overlap(*protected.get_ref(), prefix));
            if let Some(protected) = protected {
                for (place, what) in [
                    (
                        block,
                        format!(
                            "the block {prefix} would cut off the protected {}",
                            protected.get_ref()
                        ),
                    ),
                    (
                        protected,
                        format!(
                            "{} is protected, but the block {prefix} covers it",
                            protected.get_ref()
                        ),
                    ),
                ] {
                    self.complaints.error(
                        &place.span(),
                        what,
                        "remove one of the two, or block only what is around the protected prefix",
                    );
                }
            } else if let Some(guarded) = self.surroundings.touched_by(prefix) {
                self.complaints.error(
                    &block.span(),
                    format!("the block {prefix} would cut off {}, {}", guarded.prefix, guarded.why),
                    "block only what is around it; nobody may be locked out by his own wall",
                );
            }
            let allow = lists.allow.iter().find(|allow| allow.get_ref().contains(&prefix));
            if let Some(allow) = allow {
                self.complaints.warning(
                    &block.span(),
                    format!("the block {prefix} never acts: {} is allowed", allow.get_ref()),
                    "the allow list wins; remove one of the two",
                );
            }
            for customer in &lists.customers {
                if prefix.contains(customer.get_ref()) {
                    self.complaints.warning(
                        &block.span(),
                        format!(
                            "the block {prefix} cuts off all customers of {}",
                            customer.get_ref()
                        ),
                        "block single customers, if that is what was meant",
                    );
                }
            }
        }
    }
}

/// Who has which port, and where that is written, to find one that is given twice.
#[derive(Default)]
struct Ports(BTreeMap<(&'static str, u16), (String, Range<usize>)>);

impl Ports {
    fn take(
        &mut self,
        complaints: &Complaints,
        service: &ServiceConfig,
        port: u16,
        place: &Range<usize>,
    ) {
        let protocol = protocol(service.kind);
        let owned = (service.name.clone(), place.clone());
        if let Some((owner, _)) = self.0.insert((protocol, port), owned) {
            complaints.error(
                place,
                format!("{protocol} port {port} belongs to `{owner}` already"),
                "a port has one service: remove it from one of the two",
            );
        }
    }

    /// A built-in service that the file does not mention wants its port; who took it from there is to blame.
    fn taken_by_default(&self, complaints: &Complaints, service: &ServiceConfig, port: u16) {
        let protocol = protocol(service.kind);
        if let Some((_, place)) = self.0.get(&(protocol, port)) {
            complaints.error(
                place,
                format!("{protocol} port {port} belongs to the built-in service `{}`", service.name),
                format!(
                    "change [edge.service.{0}] instead, or give other ports to [edge.service.{0}] first",
                    service.name
                ),
            );
        }
    }
}

fn protocol(kind: ServiceKind) -> &'static str {
    match kind {
        ServiceKind::Tcp | ServiceKind::DnsTcp | ServiceKind::Any => "TCP",
        ServiceKind::Dns
        | ServiceKind::RadiusAuth
        | ServiceKind::RadiusAcct
        | ServiceKind::RadiusDyn => "UDP",
    }
}
