//! The `[radius]` section.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use muralla_edge::config::{EdgeConfig, RuleMode, ServiceKind};
use muralla_radius::config::{
    ACCT_PORT, AUTH_PORT, DYNAMIC_PORT, MessageAuthenticator, NameCase, NasConfig, RadiusConfig,
    RealmRule, SCHEMES, StateConfig, StateLocation,
};
use muralla_radius_state::Hidden;
use toml::Spanned;

use super::complaint::Complaints;
use super::document::{PrefixError, Section, parse_prefix};

pub(crate) const REQUIREMENTS: [(&str, MessageAuthenticator); 2] =
    [("required", MessageAuthenticator::Required), ("optional", MessageAuthenticator::Optional)];

pub(crate) const NAME_CASES: [(&str, NameCase); 2] =
    [("exact", NameCase::Exact), ("folded", NameCase::Folded)];

pub(crate) const REALM_RULES: [(&str, RealmRule); 3] =
    [("keep", RealmRule::Keep), ("strip", RealmRule::Strip), ("refuse", RealmRule::Refuse)];

/// What stands for a secret where it must not be shown.
pub(crate) const HIDDEN: &str = Hidden::MARK;

const MIB: u64 = 1 << 20;

/// Says that no copy is kept.
pub(crate) const NO_COPY: &str = "none";

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// What records are kept for less than: a century.
const LONGEST: Duration = Duration::from_secs(36_525 * 86_400);

/// Reads the section. The result is good only if no error was added to `complaints`.
pub(crate) fn read(mut section: Section<'_>, complaints: &Complaints) -> RadiusConfig {
    let reader = Reader { complaints };
    let place = section.span().clone();
    let mut config = RadiusConfig::default();
    for (key, port, addresses) in
        [("auth", AUTH_PORT, &mut config.auth), ("acct", ACCT_PORT, &mut config.acct)]
    {
        let example = format!("[\"192.0.2.1:{port}\", \"2001:db8::1\"]");
        let Some(listen) = section.sockets(key, port, &example) else { continue };
        complaints.twice(&listen);
        *addresses = listen.into_iter().map(Spanned::into_inner).collect();
    }
    if let Some(threads) = section.whole("threads", 1..257) {
        config.threads = usize::try_from(threads.into_inner()).ok().and_then(NonZero::new);
    }
    reader.state(&mut section, &mut config.state);
    config.nas = reader.nases(&mut section);
    if let Some(files) = section.paths("dictionaries") {
        config.dictionaries = files.into_iter().map(Spanned::into_inner).collect();
    }
    if let Some(zone) = section.string("time_zone", "Europe/Madrid") {
        match zone.get_ref().parse() {
            Ok(found) => config.zone = found,
            Err(error) => complaints.error(
                &zone.span(),
                error.to_string(),
                "`timedatectl list-timezones` lists them; is the package tzdata there?",
            ),
        }
    }
    reader.tables(&mut section, &mut config);
    section.finish();
    if !complaints.has_errors() {
        for problem in config.problems_in_full() {
            complaints.error(&place, problem, "docs/configuration.md has every key of [radius]");
        }
    }
    for warning in config.warnings() {
        complaints.warning(&place, warning, "docs/radius.md says more");
    }
    config
}

/// Where the role writes down who may ask, database included, for the wall to let them through.
pub(crate) fn nas_file(config: &RadiusConfig) -> PathBuf {
    config.journal.folder.with_file_name("nas")
}

struct Reader<'r> {
    complaints: &'r Complaints,
}

impl Reader<'_> {
    fn state(&self, section: &mut Section<'_>, state: &mut StateConfig) {
        const EXAMPLE: &str = "/var/lib/muralla-radius/state.db";
        let Some(mut table) = section.section("state") else { return };
        let location = table.string("location", EXAMPLE);
        if let Some(file) = table.path("location_file", "/etc/muralla/radius-database") {
            if location.is_some() {
                self.complaints.error(
                    &file.span(),
                    "`radius.state` has `location` and `location_file`",
                    "keep one of the two: the file has the database's URL, for those alone who may read it",
                );
            }
            state.location = StateLocation::File(file.into_inner());
        }
        if let Some(text) = location {
            let written = text.get_ref();
            if SCHEMES.iter().any(|scheme| written.starts_with(scheme)) {
                state.location = StateLocation::Postgres(Hidden::new(written.clone()));
            } else if written.starts_with('/') {
                state.location = StateLocation::Embedded(PathBuf::from(written));
            } else {
                self.complaints.error(
                    &text.span(),
                    "`radius.state.location` is neither a file nor a PostgreSQL database",
                    format!(
                        "write \"{EXAMPLE}\" for one server, or \"postgres://user:password@host/muralla\" for several"
                    ),
                );
            }
        }
        if table.says("copy", NO_COPY) {
            state.copy = None;
        } else if let Some(file) = table.path("copy", "/var/lib/muralla-radius/copy.db") {
            state.copy = Some(file.into_inner());
        }
        state.server = table.string("server", "aaa1").map(Spanned::into_inner);
        state.keep_interims = table.boolean("keep_interims").unwrap_or(state.keep_interims);
        table.duration_within("keep_changes", HOUR..31 * DAY, &mut state.keep_changes);
        table.duration_within("keep_records", Duration::ZERO..LONGEST, &mut state.keep_records);
        table.duration_within("keep_sessions", Duration::ZERO..LONGEST, &mut state.keep_sessions);
        table.duration_within("hold_blocks", HOUR..31 * DAY, &mut state.hold_blocks);
        table.finish();
    }

    fn nases(&self, section: &mut Section<'_>) -> Vec<NasConfig> {
        let mut nases: Vec<NasConfig> = Vec::new();
        let mut prefixes = BTreeMap::new();
        for mut table in section.array_of_sections("nas") {
            let place = table.span().clone();
            let Some(prefix) = self.prefix(&mut table) else {
                table.finish_open();
                continue;
            };
            let name = table.string("name", "bras1").map(Spanned::into_inner);
            let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| prefix.to_string());
            if prefixes.insert(prefix, name.clone()).is_some() {
                self.complaints.error(
                    &place,
                    format!("{prefix} is there twice"),
                    "remove one of the two; a longer prefix within another one is fine",
                );
            }
            let secret = self.secret(&mut table, "secret");
            if secret.is_none() {
                self.complaints.error(
                    &place,
                    format!("the NAS {name} has no secret"),
                    "write secret = \"...\" with at least 16 bytes: `openssl rand -base64 24` makes one",
                );
            }
            let mut nas = NasConfig::new(name, prefix, secret.unwrap_or_default());
            nas.next_secret = self.secret(&mut table, "next_secret").map(Hidden::new);
            nas.telco = table.string("telco", "north").map(Spanned::into_inner);
            let groups = table.strings("groups", "groups", "[\"wholesale\"]");
            nas.groups = groups.into_iter().flatten().map(Spanned::into_inner).collect();
            nas.message_authenticator =
                table.word("message_authenticator", &REQUIREMENTS).unwrap_or_default();
            nas.coa_port = DYNAMIC_PORT;
            table.count("coa_port", 1..65_536, &mut nas.coa_port);
            table.finish();
            nases.push(nas);
        }
        nases
    }

    fn prefix(&self, table: &mut Section<'_>) -> Option<IpNet> {
        let place = table.span().clone();
        let Some(text) = table.string("prefix", "192.0.2.16/28") else {
            self.complaints.error(
                &place,
                "a NAS without a prefix",
                "write prefix = \"192.0.2.16\" or \"192.0.2.16/28\": where its packets come from",
            );
            return None;
        };
        let complain = |problem: PrefixError| {
            self.complaints.error(&text.span(), problem.to_string(), problem.help());
        };
        parse_prefix(text.get_ref()).map_err(complain).ok()
    }

    fn secret(&self, table: &mut Section<'_>, key: &'static str) -> Option<String> {
        let secret = table.string(key, "(24 random bytes)")?;
        if secret.get_ref() == HIDDEN {
            self.complaints.error(
                &secret.span(),
                format!("\"{HIDDEN}\" stands where `muralla check --print` shows no secret"),
                "write the secret itself",
            );
        }
        // Nobody would be told that everybody knows it.
        if secret.get_ref().contains("openssl rand") {
            self.complaints.error(
                &secret.span(),
                "what stands in the manual is no secret",
                "write what `openssl rand -base64 24` prints",
            );
        }
        Some(secret.into_inner())
    }

    fn tables(&self, section: &mut Section<'_>, config: &mut RadiusConfig) {
        let millisecond = Duration::from_millis(1);
        if let Some(mut table) = section.section("journal") {
            let journal = &mut config.journal;
            if let Some(folder) = table.path("folder", "/var/lib/muralla-radius/journal") {
                journal.folder = folder.into_inner();
            }
            for (key, range, value) in [
                ("segment", MIB..(1 << 32) + 1, &mut journal.segment),
                ("reserve", 0..(1 << 40) + 1, &mut journal.reserve),
            ] {
                if let Some(size) = table.size(key, range) {
                    *value = size.into_inner();
                }
            }
            table.duration_within("gather", Duration::ZERO..6 * millisecond, &mut journal.gather);
            table.duration_within("keep", Duration::ZERO..3_660 * DAY, &mut journal.keep);
            table.finish();
        }
        if let Some(mut table) = section.section("names") {
            let names = &mut config.names;
            names.case = table.word("case", &NAME_CASES).unwrap_or_default();
            for (key, rule) in
                [("strip_realms", RealmRule::Strip), ("refuse_realms", RealmRule::Refuse)]
            {
                let realms = table.strings(key, "realms", "[\"example.net\"]");
                names
                    .realms
                    .extend(realms.into_iter().flatten().map(|realm| (realm.into_inner(), rule)));
            }
            names.other_realms = table.word("other_realms", &REALM_RULES).unwrap_or_default();
            names.default_realm =
                table.string("default_realm", "example.net").map(Spanned::into_inner);
            table.finish();
        }
        if let Some(mut table) = section.section("accounting") {
            let accounting = &mut config.accounting;
            let mut interim = Duration::ZERO;
            table.duration_within("interim", MINUTE..DAY, &mut interim);
            accounting.interim = Some(interim).filter(|interim| !interim.is_zero());
            table.count("missed_interims", 2..1_001, &mut accounting.missed_interims);
            table.duration_within("zombie_after", MINUTE..31 * DAY, &mut accounting.zombie_after);
            table.count("most_sessions", 1_000..1_000_000_001, &mut accounting.most_sessions);
            table.count("batch", 1..100_001, &mut accounting.batch);
            table.duration_within("snapshot", SECOND..DAY, &mut accounting.snapshot);
            if let Some(file) = table.path("snapshot_file", "/var/lib/muralla-radius/sessions") {
                accounting.snapshot_file = Some(file.into_inner());
            }
            table.finish();
        }
        if let Some(mut table) = section.section("answers") {
            let answers = &mut config.answers;
            table.duration_within(
                "reject_delay",
                Duration::ZERO..5 * SECOND,
                &mut answers.reject_delay,
            );
            table.duration_within(
                "reply_life",
                2 * SECOND..30 * SECOND + millisecond,
                &mut answers.reply_life,
            );
            if let Some(size) = table.size("reply_cache", MIB..(1 << 34) + 1) {
                answers.reply_cache = usize::try_from(size.into_inner()).unwrap_or(usize::MAX);
            }
            answers.say_why = table.boolean("say_why").unwrap_or(answers.say_why);
            answers.texts = self.texts(&mut table);
            table.finish();
        }
        if let Some(mut table) = section.section("limits") {
            let limits = &mut config.limits;
            table.count("user_failures", 1..1_000_001, &mut limits.user_failures);
            table.count("nas_failures", 1..1_000_001, &mut limits.nas_failures);
            for (key, value) in [
                ("user_forgiven", &mut limits.user_forgiven),
                ("nas_forgiven", &mut limits.nas_forgiven),
            ] {
                table.duration_within(key, millisecond..DAY, value);
            }
            let mut threads = limits.costly_threads.get();
            table.count("costly_threads", 1..257, &mut threads);
            limits.costly_threads = NonZero::new(threads).unwrap_or(NonZero::<usize>::MIN);
            for (key, value) in [
                ("remembered", &mut limits.remembered),
                ("costly_queue", &mut limits.costly_queue),
                ("pending_acknowledgements", &mut limits.pending_acknowledgements),
                ("delayed_rejects", &mut limits.delayed_rejects),
            ] {
                table.count(key, 1..10_000_001, value);
            }
            table.finish();
        }
        if let Some(mut table) = section.section("dynamic") {
            let dynamic = &mut config.dynamic;
            if let Some(source) = table.string("source", "192.0.2.1") {
                match source.get_ref().parse::<IpAddr>() {
                    Ok(address) => dynamic.source = Some(address),
                    Err(_) => self.complaints.error(
                        &source.span(),
                        format!("\"{}\" is no address", source.get_ref()),
                        "write an address of this machine, or remove the key",
                    ),
                }
            }
            let timeout = &mut dynamic.first_timeout;
            table.duration_within("first_timeout", 100 * millisecond..30 * SECOND, timeout);
            table.count("attempts", 1..11, &mut dynamic.attempts);
            table.finish();
        }
    }
}

impl Reader<'_> {
    /// Words for refusals, each after its reason.
    fn texts(&self, table: &mut Section<'_>) -> Vec<(String, String)> {
        const EXAMPLE: &str = "[\"expired: Your contract has ended\"]";
        let texts = table.strings("texts", "words for refusals", EXAMPLE).unwrap_or_default();
        let parted = |text: Spanned<String>| {
            let parts = text.get_ref().split_once(':');
            if parts.is_none() {
                self.complaints.error(
                    &text.span(),
                    "words for a refusal without its reason",
                    format!("write texts = {EXAMPLE}"),
                );
            }
            parts.map(|(reason, words)| (reason.trim().to_owned(), words.trim().to_owned()))
        };
        texts.into_iter().filter_map(parted).collect()
    }
}

/// A port that the wall does not know as a RADIUS service is passed unchecked and unlimited.
pub(crate) fn judge_edge(
    config: &RadiusConfig,
    edge: &EdgeConfig,
    place: &Range<usize>,
    complaints: &Complaints,
) {
    for (name, kind, listen) in [
        ("radius_auth", ServiceKind::RadiusAuth, &config.auth),
        ("radius_acct", ServiceKind::RadiusAcct, &config.acct),
    ] {
        let mut ports: Vec<u16> = listen.iter().map(SocketAddr::port).collect();
        ports.sort_unstable();
        ports.dedup();
        for port in ports {
            let guarded = edge.services.iter().any(|service| {
                service.kind == kind
                    && service.mode != RuleMode::Off
                    && service.ports.contains(&port)
            });
            if !guarded {
                complaints.warning(
                    place,
                    format!("UDP port {port} is no RADIUS service of [edge]: floods reach the server"),
                    format!(
                        "add {port} to `ports` of [edge.service.{name}], and let its mode be \"enforce\""
                    ),
                );
            }
        }
    }
}
