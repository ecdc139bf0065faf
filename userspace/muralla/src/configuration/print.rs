//! The whole effective configuration as TOML that reads back as itself.

use std::fmt::Write;

use ipnet::IpNet;
use muralla_edge::config::{EdgeConfig, Limit, ServiceConfig, ServiceKind};
use toml::Value;

use super::edge::{ANY_POLICIES, ATTACH_MODES, KINDS, NO_LIMIT, ROLES, RULE_MODES};
use super::{Configuration, LOG_FORMATS, duration};

impl Configuration {
    /// Every setting with its value, defaults included.
    pub(crate) fn to_toml(&self) -> String {
        let mut text = String::new();
        let edge = &self.edge;
        line(&mut text, "[admin]");
        pair(&mut text, "socket", &quoted(&self.admin.socket.to_string_lossy()));
        line(&mut text, "\n[metrics]");
        let listen =
            self.metrics.listen.map_or_else(|| "none".to_owned(), |listen| listen.to_string());
        pair(&mut text, "listen", &quoted(&listen));
        line(&mut text, "\n[log]");
        pair(&mut text, "level", &quoted(self.log.level.name()));
        pair(&mut text, "format", &word(self.log.format, &LOG_FORMATS));
        line(&mut text, "\n[state]");
        pair(&mut text, "file", &quoted(&self.state.file.to_string_lossy()));
        line(&mut text, "\n[edge]");
        for (key, prefixes) in [
            ("customers", &edge.customers),
            ("nas", &edge.nas),
            ("own", &edge.own),
            ("mail_servers", &edge.mail_servers),
            ("protected", &edge.protected),
            ("allow", &edge.allow),
            ("block", &edge.block),
        ] {
            pair(&mut text, key, &list(prefixes.iter().map(|prefix: &IpNet| prefix.to_string())));
        }
        let files = edge.allow_files.iter().map(|file| file.to_string_lossy().into_owned());
        pair(&mut text, "allow_files", &list(files));
        for (key, mode) in [
            ("bogons", edge.bogons),
            ("antispoof", edge.antispoof),
            ("impossible", edge.impossible),
        ] {
            pair(&mut text, key, &word(mode, &RULE_MODES));
        }
        pair(&mut text, "pin_dir", &quoted(&edge.pin_dir.to_string_lossy()));
        tables(&mut text, edge);
        text
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

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.map(|item| quoted(&item)).collect();
    format!("[{}]", items.join(", "))
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
