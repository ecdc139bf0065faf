//! The services that every wall knows, in the order of their numbers, with their defaults.

use muralla_edge::config::{AnyPolicy, Limit, RuleMode, ServiceConfig, ServiceKind};

/// The name of the catch-all, service 0.
pub(crate) const OTHER: &str = "other";

/// The name of service 1: customers' connections to port 25 of the Internet.
pub(crate) const OUTGOING_SMTP: &str = "outgoing_smtp";

/// The built-in services. The first two have fixed numbers that the programs know.
pub(crate) fn built_in() -> Vec<ServiceConfig> {
    vec![
        ServiceConfig { drop_fragments: false, ..blank(OTHER, ServiceKind::Any, &[]) },
        ServiceConfig {
            // A mail client, or a small office behind one address, stays below this; a bot does not.
            source: limit(10.0 / 60.0, 20.0),
            drop_fragments: false,
            ..blank(OUTGOING_SMTP, ServiceKind::Any, &[])
        },
        ServiceConfig {
            source: limit(50.0, 125.0),
            global: limit(200_000.0, 200_000.0),
            reserve: limit(100_000.0, 100_000.0),
            slip: 1,
            ..blank("dns", ServiceKind::Dns, &[53])
        },
        dns_over_tcp("dns_tcp", &[53]),
        radius("radius_auth", ServiceKind::RadiusAuth, 1812),
        radius("radius_acct", ServiceKind::RadiusAcct, 1813),
        radius("radius_dyn", ServiceKind::RadiusDyn, 3799),
        tcp("smtp", &[25]),
        tcp("submission", &[587, 465]),
        tcp("pop3", &[110, 995]),
        tcp("imap", &[143, 993]),
        tcp("web", &[80, 443]),
    ]
}

/// What a service of the operator's own starts from.
pub(crate) fn new(name: &str, kind: ServiceKind) -> ServiceConfig {
    match kind {
        ServiceKind::Any => blank(name, kind, &[]),
        ServiceKind::Tcp => tcp(name, &[]),
        ServiceKind::DnsTcp => dns_over_tcp(name, &[]),
        ServiceKind::Dns => ServiceConfig {
            name: name.to_owned(),
            ports: Vec::new(),
            ..built_in()
                .into_iter()
                .find(|service| service.kind == ServiceKind::Dns)
                .unwrap_or_else(|| blank(name, kind, &[]))
        },
        ServiceKind::RadiusAuth | ServiceKind::RadiusAcct | ServiceKind::RadiusDyn => {
            ServiceConfig { ports: Vec::new(), ..radius(name, kind, 0) }
        }
    }
}

fn tcp(name: &str, ports: &[u16]) -> ServiceConfig {
    ServiceConfig {
        // SYNs of one address: an office of a hundred people behind one NAT address survives this.
        source: limit(20.0, 100.0),
        global: limit(20_000.0, 20_000.0),
        reserve: limit(10_000.0, 10_000.0),
        stray: limit(50_000.0, 50_000.0),
        ..blank(name, ServiceKind::Tcp, ports)
    }
}

fn dns_over_tcp(name: &str, ports: &[u16]) -> ServiceConfig {
    ServiceConfig { kind: ServiceKind::DnsTcp, ..tcp(name, ports) }
}

fn radius(name: &str, kind: ServiceKind, port: u16) -> ServiceConfig {
    ServiceConfig {
        source: limit(5_000.0, 10_000.0),
        // EAP-TLS makes requests longer than a frame, and a NAS may fragment them.
        drop_fragments: false,
        ..blank(name, kind, &[port])
    }
}

fn blank(name: &str, kind: ServiceKind, ports: &[u16]) -> ServiceConfig {
    ServiceConfig {
        name: name.to_owned(),
        kind,
        ports: ports.to_vec(),
        mode: RuleMode::Enforce,
        source: None,
        world: None,
        global: None,
        reserve: None,
        stray: None,
        drop_fragments: true,
        slip: 0,
        any: AnyPolicy::Pass,
    }
}

fn limit(rate: f64, burst: f64) -> Option<Limit> {
    Some(Limit { rate, burst })
}
