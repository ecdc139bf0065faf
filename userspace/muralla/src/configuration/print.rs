//! The whole effective configuration as TOML that reads back as itself.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use muralla_dns::config::DnsConfig;
use muralla_edge::config::{EdgeConfig, Limit, ServiceConfig, ServiceKind};
use muralla_mail::config::MailConfig;
use muralla_radius::config::{RadiusConfig, RealmRule, StateLocation};
use serde::Serialize;
use toml::Value;

use super::dns::{LIST_FORMATS, MINIMISATIONS, NO_FILE, VALIDATIONS};
use super::edge::{ANY_POLICIES, ATTACH_MODES, KINDS, NO_LIMIT, ROLES, RULE_MODES};
use super::radius::{HIDDEN, NAME_CASES, NO_COPY, REALM_RULES, REQUIREMENTS};
use super::{Configuration, LOG_FORMATS, duration, size, when};

impl Configuration {
    /// Every setting with its value, defaults included; but for secrets, which stay with the file.
    pub(crate) fn to_toml(&self) -> String {
        let mut text = String::new();
        line(&mut text, "[admin]");
        pair(&mut text, "socket", &path(&self.admin.socket));
        pair(&mut text, "dns_socket", &path(&self.admin.dns_socket));
        pair(&mut text, "radius_socket", &path(&self.admin.radius_socket));
        pair(&mut text, "mail_socket", &path(&self.admin.mail_socket));
        pair(&mut text, "reports_socket", &path(&self.admin.reports_socket));
        line(&mut text, "\n[metrics]");
        for (key, listen) in [
            ("listen", self.metrics.listen),
            ("dns_listen", self.metrics.dns_listen),
            ("radius_listen", self.metrics.radius_listen),
            ("mail_listen", self.metrics.mail_listen),
        ] {
            let listen = listen.map_or_else(|| "none".to_owned(), |listen| listen.to_string());
            pair(&mut text, key, &quoted(&listen));
        }
        line(&mut text, "\n[log]");
        pair(&mut text, "level", &quoted(self.log.level.name()));
        pair(&mut text, "format", &word(self.log.format, &LOG_FORMATS));
        line(&mut text, "\n[state]");
        pair(&mut text, "file", &path(&self.state.file));
        if let Some(edge) = &self.edge {
            wall(&mut text, edge);
        }
        if let Some(dns) = &self.dns {
            names(&mut text, dns);
        }
        if let Some(config) = &self.radius {
            access(&mut text, config);
        }
        if let Some(config) = &self.mail {
            letters(&mut text, config);
        }
        text
    }
}

fn wall(text: &mut String, edge: &EdgeConfig) {
    line(text, "\n[edge]");
    for (key, prefixes) in [
        ("customers", &edge.customers),
        ("nas", &edge.nas),
        ("own", &edge.own),
        ("mail_servers", &edge.mail_servers),
        ("protected", &edge.protected),
        ("allow", &edge.allow),
        ("block", &edge.block),
    ] {
        pair(text, key, &list(prefixes));
    }
    let files = edge.allow_files.iter().map(|file| file.display());
    pair(text, "allow_files", &list(files));
    for (key, mode) in
        [("bogons", edge.bogons), ("antispoof", edge.antispoof), ("impossible", edge.impossible)]
    {
        pair(text, key, &word(mode, &RULE_MODES));
    }
    pair(text, "pin_dir", &path(&edge.pin_dir));
    tables(text, edge);
}

fn names(text: &mut String, dns: &DnsConfig) {
    line(text, "\n[dns]");
    pair(text, "listen", &list(&dns.listen));
    if let Some(threads) = dns.threads {
        pair(text, "threads", &threads.to_string());
    }
    pair(text, "cache", &quoted(&size::write(dns.cache)));
    let file = dns.cache_file.as_ref().map_or_else(|| quoted(NO_FILE), |file| path(file));
    pair(text, "cache_file", &file);
    pair(text, "clients", &list(&dns.clients));
    pair(text, "nic", &dns.nic.to_string());
    pair(text, "cookies", &dns.cookies.to_string());
    pair(text, "canary", &quoted(&dns.canary));
    pair(text, "private_zones", &dns.local.private_zones.to_string());
    line(text, "\n[dns.stale]");
    pair(text, "keep", &span(dns.stale.keep));
    pair(text, "after", &span(dns.stale.after));
    let limits = &dns.limits;
    line(text, "\n[dns.limits]");
    pair(text, "questions", &limits.questions.to_string());
    pair(text, "questions_per_client", &limits.questions_per_client.to_string());
    pair(text, "connections", &limits.connections.to_string());
    pair(text, "connections_per_client", &limits.connections_per_client.to_string());
    pair(text, "idle", &span(limits.idle));
    pair(text, "longest_ttl", &span(limits.longest_ttl));
    pair(text, "longest_negative_ttl", &span(limits.longest_negative_ttl));
    line(text, "\n[dns.log]");
    pair(text, "every", &dns.log.every.to_string());
    resolver(text, dns);
    for zone in &dns.local.zones {
        line(text, "\n[[dns.zone]]");
        pair(text, "name", &quoted(&zone.name));
        pair(text, "file", &path(&zone.file));
    }
    for each in &dns.local.lists {
        line(text, "\n[[dns.list]]");
        pair(text, "name", &quoted(&each.name));
        pair(text, "files", &list(each.files.iter().map(|file| file.display())));
        pair(text, "format", &word(each.format, &LIST_FORMATS));
        if let Some(ttl) = each.ttl {
            pair(text, "ttl", &ttl.to_string());
        }
        pair(text, "answer", &quoted(&each.answer.to_string()));
        if let Some(words) = &each.text {
            pair(text, "text", &quoted(words));
        }
    }
}

fn resolver(text: &mut String, dns: &DnsConfig) {
    let DnsConfig { resolver, source, .. } = dns;
    line(text, "\n[dns.resolver]");
    pair(text, "validation", &word(resolver.validation, &VALIDATIONS));
    pair(text, "qname_minimisation", &word(resolver.qname_minimisation, &MINIMISATIONS));
    pair(text, "priming", &resolver.priming.to_string());
    pair(text, "case_randomization", &resolver.case_randomization.to_string());
    pair(text, "private_servers", &resolver.allow_private_servers.to_string());
    pair(text, "deny_servers", &list(&resolver.deny_servers));
    pair(text, "deny_answers", &list(&resolver.deny_answers));
    if let Some(file) = &resolver.local_root {
        pair(text, "local_root", &path(file));
    }
    let sources = [source.v4.map(IpAddr::from), source.v6.map(IpAddr::from)];
    pair(text, "source", &list(sources.into_iter().flatten()));
    pair(text, "ipv4", &resolver.ipv4.to_string());
    pair(text, "ipv6", &resolver.ipv6.to_string());
    pair(text, "edns_payload", &resolver.edns_payload.to_string());
    pair(text, "cache", &quoted(&size::write(resolver.cache_bytes as u64)));
    let hints = resolver.root_hints.iter().map(|(name, addresses)| {
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        format!("{name} {}", addresses.join(" "))
    });
    pair(text, "root_hints", &list(hints));
    pair(text, "trust_anchors", &list(&resolver.trust_anchors));
    let budgets = &resolver.budgets;
    line(text, "\n[dns.resolver.budgets]");
    pair(text, "queries", &budgets.queries.to_string());
    pair(text, "depth", &budgets.depth.to_string());
    pair(text, "cname_chain", &budgets.cname_chain.to_string());
    pair(text, "referrals", &budgets.referrals.to_string());
    pair(text, "time", &span(budgets.time));
    pair(text, "glueless", &budgets.glueless.to_string());
    pair(text, "addresses", &budgets.addresses.to_string());
    pair(text, "signatures", &budgets.signatures.to_string());
    pair(text, "hashes", &budgets.hashes.to_string());
    for (name, until) in &resolver.negative_trust_anchors {
        line(text, "\n[[dns.negative_trust_anchor]]");
        pair(text, "name", &quoted(name));
        if let Some(until) = until {
            pair(text, "until", &when::write(*until));
        }
    }
    for (kind, routes) in [("forward", &resolver.forward), ("stub", &resolver.stub)] {
        for route in routes {
            line(text, &format!("\n[[dns.{kind}]]"));
            pair(text, "zone", &quoted(&route.zone));
            pair(text, "servers", &list(&route.servers));
            pair(text, "first", &route.first.to_string());
        }
    }
}

/// All but the secrets, which stay with the file.
fn access(text: &mut String, radius: &RadiusConfig) {
    line(text, "\n[radius]");
    pair(text, "auth", &list(&radius.auth));
    pair(text, "acct", &list(&radius.acct));
    if let Some(threads) = radius.threads {
        pair(text, "threads", &threads.to_string());
    }
    pair(text, "dictionaries", &list(radius.dictionaries.iter().map(|file| file.display())));
    pair(text, "time_zone", &quoted(&radius.zone.to_string()));
    let state = &radius.state;
    line(text, "\n[radius.state]");
    let (key, location) = match &state.location {
        StateLocation::Embedded(file) => ("location", path(file)),
        StateLocation::Postgres(url) => ("location", quoted(&without_password(url.reveal()))),
        StateLocation::File(file) => ("location_file", path(file)),
    };
    pair(text, key, &location);
    pair(text, "copy", &state.copy.as_ref().map_or_else(|| quoted(NO_COPY), |file| path(file)));
    if let Some(server) = &state.server {
        pair(text, "server", &quoted(server));
    }
    pair(text, "keep_interims", &state.keep_interims.to_string());
    pair(text, "keep_changes", &span(state.keep_changes));
    pair(text, "keep_records", &span(state.keep_records));
    pair(text, "keep_sessions", &span(state.keep_sessions));
    pair(text, "hold_blocks", &span(state.hold_blocks));
    let journal = &radius.journal;
    line(text, "\n[radius.journal]");
    pair(text, "folder", &path(&journal.folder));
    pair(text, "segment", &quoted(&size::write(journal.segment)));
    pair(text, "gather", &span(journal.gather));
    pair(text, "keep", &span(journal.keep));
    pair(text, "reserve", &quoted(&size::write(journal.reserve)));
    let names = &radius.names;
    line(text, "\n[radius.names]");
    pair(text, "case", &word(names.case, &NAME_CASES));
    for (key, rule) in [("strip_realms", RealmRule::Strip), ("refuse_realms", RealmRule::Refuse)] {
        let realms = names.realms.iter().filter(|(_, other)| *other == rule);
        pair(text, key, &list(realms.map(|(realm, _)| realm)));
    }
    pair(text, "other_realms", &word(names.other_realms, &REALM_RULES));
    if let Some(realm) = &names.default_realm {
        pair(text, "default_realm", &quoted(realm));
    }
    let accounting = &radius.accounting;
    line(text, "\n[radius.accounting]");
    if let Some(interim) = accounting.interim {
        pair(text, "interim", &span(interim));
    }
    pair(text, "missed_interims", &accounting.missed_interims.to_string());
    pair(text, "zombie_after", &span(accounting.zombie_after));
    pair(text, "most_sessions", &accounting.most_sessions.to_string());
    pair(text, "batch", &accounting.batch.to_string());
    pair(text, "snapshot", &span(accounting.snapshot));
    if let Some(file) = &accounting.snapshot_file {
        pair(text, "snapshot_file", &path(file));
    }
    let answers = &radius.answers;
    line(text, "\n[radius.answers]");
    pair(text, "reject_delay", &span(answers.reject_delay));
    pair(text, "reply_life", &span(answers.reply_life));
    pair(text, "reply_cache", &quoted(&size::write(answers.reply_cache as u64)));
    pair(text, "say_why", &answers.say_why.to_string());
    let texts = answers.texts.iter().map(|(reason, words)| format!("{reason}: {words}"));
    pair(text, "texts", &list(texts));
    let limits = &radius.limits;
    line(text, "\n[radius.limits]");
    pair(text, "user_failures", &limits.user_failures.to_string());
    pair(text, "user_forgiven", &span(limits.user_forgiven));
    pair(text, "nas_failures", &limits.nas_failures.to_string());
    pair(text, "nas_forgiven", &span(limits.nas_forgiven));
    pair(text, "remembered", &limits.remembered.to_string());
    pair(text, "costly_threads", &limits.costly_threads.to_string());
    pair(text, "costly_queue", &limits.costly_queue.to_string());
    pair(text, "pending_acknowledgements", &limits.pending_acknowledgements.to_string());
    pair(text, "delayed_rejects", &limits.delayed_rejects.to_string());
    let dynamic = &radius.dynamic;
    line(text, "\n[radius.dynamic]");
    if let Some(source) = dynamic.source {
        pair(text, "source", &quoted(&source.to_string()));
    }
    pair(text, "first_timeout", &span(dynamic.first_timeout));
    pair(text, "attempts", &dynamic.attempts.to_string());
    for nas in &radius.nas {
        line(text, "\n[[radius.nas]]");
        pair(text, "name", &quoted(&nas.name));
        pair(text, "prefix", &quoted(&nas.prefix.to_string()));
        pair(text, "secret", &quoted(HIDDEN));
        if nas.next_secret.is_some() {
            pair(text, "next_secret", &quoted(HIDDEN));
        }
        if let Some(telco) = &nas.telco {
            pair(text, "telco", &quoted(telco));
        }
        pair(text, "groups", &list(&nas.groups));
        pair(text, "message_authenticator", &word(nas.message_authenticator, &REQUIREMENTS));
        pair(text, "coa_port", &nas.coa_port.to_string());
    }
}

/// The section that mail's crate reads, as it writes it.
fn letters(text: &mut String, mail: &MailConfig) {
    #[derive(Serialize)]
    struct Whole<'c> {
        mail: &'c MailConfig,
    }
    match toml::to_string(&Whole { mail }) {
        Ok(section) => line(text, &format!("\n{}", section.trim_end())),
        Err(error) => line(text, &format!("\n# [mail] can't be shown: {error}")),
    }
}

/// A database's address without what only the two ends may know.
fn without_password(url: &str) -> String {
    let parts = url.split_once("://").and_then(|(scheme, rest)| {
        let (login, place) = rest.rsplit_once('@')?;
        let (user, _) = login.split_once(':')?;
        Some(format!("{scheme}://{user}:{HIDDEN}@{place}"))
    });
    parts.unwrap_or_else(|| url.to_owned())
}

fn tables(text: &mut String, edge: &EdgeConfig) {
    for interface in &edge.interfaces {
        line(text, "\n[[edge.interface]]");
        pair(text, "name", &quoted(&interface.name));
        pair(text, "role", &word(interface.role, &ROLES));
        pair(text, "mode", &word(interface.mode, &ATTACH_MODES));
    }
    for feed in &edge.feeds {
        line(text, "\n[[edge.feed]]");
        pair(text, "name", &quoted(&feed.name));
        pair(text, "file", &quoted(&feed.file.to_string_lossy()));
        pair(text, "mode", &word(feed.mode, &RULE_MODES));
        pair(text, "max_age", &quoted(&duration::write(feed.max_age)));
    }
    for each in &edge.services {
        service(text, each);
    }
    let bans = &edge.bans;
    line(text, "\n[edge.bans]");
    pair(text, "mode", &word(bans.mode, &RULE_MODES));
    pair(text, "threshold", &format!("{:?}", bans.threshold));
    pair(text, "half_life", &quoted(&duration::write(bans.half_life)));
    pair(text, "first", &quoted(&duration::write(bans.first)));
    pair(text, "longest", &quoted(&duration::write(bans.longest)));
    pair(text, "shared_after", &bans.shared_after.to_string());
    line(text, "\n[edge.limits]");
    pair(text, "limiter_sources", &edge.limiter_sources.to_string());
    pair(text, "max_prefixes", &edge.max_prefixes.to_string());
}

fn service(text: &mut String, service: &ServiceConfig) {
    line(text, &format!("\n[edge.service.{}]", service.name));
    pair(text, "kind", &word(service.kind, &KINDS));
    if service.kind != ServiceKind::Any {
        let ports: Vec<String> = service.ports.iter().map(u16::to_string).collect();
        pair(text, "ports", &format!("[{}]", ports.join(", ")));
    }
    pair(text, "mode", &word(service.mode, &RULE_MODES));
    pair(text, "source", &limit(service.source));
    pair(text, "global", &limit(service.global));
    pair(text, "reserve", &limit(service.reserve));
    if matches!(service.kind, ServiceKind::Dns | ServiceKind::DnsTcp) {
        pair(text, "world", &limit(service.world));
    }
    if service.kind == ServiceKind::Dns {
        pair(text, "slip", &service.slip.to_string());
        pair(text, "any", &word(service.any, &ANY_POLICIES));
    }
    if matches!(service.kind, ServiceKind::Tcp | ServiceKind::DnsTcp) {
        pair(text, "stray", &limit(service.stray));
    }
    pair(text, "drop_fragments", &service.drop_fragments.to_string());
}

fn limit(limit: Option<Limit>) -> String {
    match limit {
        Some(Limit { rate, burst }) => format!("{{ rate = {rate:?}, burst = {burst:?} }}"),
        None => quoted(NO_LIMIT),
    }
}

fn word<T: Copy + PartialEq>(value: T, words: &[(&'static str, T)]) -> String {
    quoted(words.iter().find(|(_, other)| *other == value).map_or("", |(word, _)| word))
}

fn list(items: impl IntoIterator<Item = impl ToString>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| quoted(&item.to_string())).collect();
    format!("[{}]", items.join(", "))
}

fn span(duration: Duration) -> String {
    quoted(&duration::write_finely(duration))
}

fn path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

fn pair(text: &mut String, key: &str, value: &str) {
    // Writing to a string can't fail.
    let _ = writeln!(text, "{key} = {value}");
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}
