//! The whole effective configuration as TOML that reads back as itself.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use muralla_dns::config::DnsConfig;
use muralla_edge::config::{EdgeConfig, Limit, ServiceConfig, ServiceKind};
use toml::Value;

use super::dns::{LIST_FORMATS, MINIMISATIONS, NO_FILE, VALIDATIONS};
use super::edge::{ANY_POLICIES, ATTACH_MODES, KINDS, NO_LIMIT, ROLES, RULE_MODES};
use super::{Configuration, LOG_FORMATS, duration, size, when};

impl Configuration {
    /// Every setting with its value, defaults included.
    pub(crate) fn to_toml(&self) -> String {
        let mut text = String::new();
        line(&mut text, "[admin]");
        pair(&mut text, "socket", &path(&self.admin.socket));
        pair(&mut text, "dns_socket", &path(&self.admin.dns_socket));
        line(&mut text, "\n[metrics]");
        for (key, listen) in
            [("listen", self.metrics.listen), ("dns_listen", self.metrics.dns_listen)]
        {
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
