//! The configuration file: read whole, checked whole, and every complaint with its place.

mod complaint;
mod dns;
mod document;
pub(crate) mod duration;
mod edge;
pub(crate) mod guard;
mod mail;
mod print;
pub(crate) mod radius;
mod services;
pub(crate) mod size;
mod when;

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use muralla_dns::config::DnsConfig;
use muralla_edge::config::EdgeConfig;
use muralla_mail::config::MailConfig;
use muralla_radius::config::RadiusConfig;
use muralla_telemetry::logs;
use serde::Serialize;
use toml::de::DeTable;

use crate::roles::Role;
use complaint::Complaints;
pub(crate) use complaint::{Problems, Severity};
use document::Section;
pub(crate) use document::prefix_argument;
use guard::{Guarded, Surroundings};
pub(crate) use when::{seconds as parse_moment, write as moment};

/// Where the configuration lies unless told otherwise.
pub(crate) const DEFAULT_PATH: &str = "/etc/muralla/muralla.toml";

/// Where the daemon listens for the command line unless told otherwise.
pub(crate) const DEFAULT_SOCKET: &str = "/run/muralla/admin.sock";

/// Where a daemon without the wall listens unless told otherwise.
pub(crate) const DEFAULT_DNS_SOCKET: &str = "/run/muralla/dns.sock";

/// Where a daemon with RADIUS and neither of the others listens unless told otherwise.
pub(crate) const DEFAULT_RADIUS_SOCKET: &str = "/run/muralla/radius.sock";

/// Where a daemon with mail and none of the others listens unless told otherwise.
pub(crate) const DEFAULT_MAIL_SOCKET: &str = "/run/muralla/mail.sock";

/// The name of the socket that services tell the wall at, beside that of the daemon with the wall, unless told otherwise.
const DEFAULT_REPORTS_SOCKET: &str = "reports.sock";

/// Where programs are pinned unless told otherwise.
pub(crate) const DEFAULT_PIN_DIR: &str = "/sys/fs/bpf/muralla";

/// Where blocks and bans are kept unless told otherwise.
const DEFAULT_STATE: &str = "/var/lib/muralla/state.json";

const LARGEST_FILE: u64 = 64 << 20;

const LOG_FORMATS: [(&str, logs::Format); 2] =
    [("text", logs::Format::Text), ("json", logs::Format::Json)];

/// Everything that the file says, and the defaults for what it does not say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Configuration {
    pub(crate) admin: AdminConfig,
    pub(crate) metrics: MetricsConfig,
    pub(crate) log: LogConfig,
    pub(crate) state: StateConfig,
    /// None where the file has no such section, and so nobody the role.
    pub(crate) edge: Option<EdgeConfig>,
    /// The same.
    pub(crate) dns: Option<DnsConfig>,
    /// The same.
    pub(crate) radius: Option<RadiusConfig>,
    /// The same.
    pub(crate) mail: Option<MailConfig>,
}

impl Configuration {
    pub(crate) fn has(&self, role: Role) -> bool {
        match role {
            Role::Edge => self.edge.is_some(),
            Role::Dns => self.dns.is_some(),
            Role::Radius => self.radius.is_some(),
            Role::Mail => self.mail.is_some(),
        }
    }

    /// Whom the resolver asks because the operator says so: no rule of the wall may cut them off.
    pub(crate) fn upstreams(&self) -> Vec<Guarded> {
        self.dns.as_ref().map(dns::upstreams).unwrap_or_default()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct AdminConfig {
    /// Of a process with the wall.
    pub(crate) socket: PathBuf,
    /// Of a process with DNS, but without the wall.
    pub(crate) dns_socket: PathBuf,
    /// Of a process with RADIUS alone.
    pub(crate) radius_socket: PathBuf,
    /// Of a process with mail alone.
    pub(crate) mail_socket: PathBuf,
    /// Where the services behind the wall tell it what they saw, and can do nothing else; of a process with the wall.
    pub(crate) reports_socket: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct MetricsConfig {
    /// Where Prometheus scrapes a process with the wall; none for nowhere.
    pub(crate) listen: Option<SocketAddr>,
    /// The same of a process with DNS, but without the wall.
    pub(crate) dns_listen: Option<SocketAddr>,
    /// The same of a process with RADIUS alone.
    pub(crate) radius_listen: Option<SocketAddr>,
    /// The same of a process with mail alone.
    pub(crate) mail_listen: Option<SocketAddr>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct LogConfig {
    pub(crate) level: logs::Level,
    pub(crate) format: logs::Format,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct StateConfig {
    /// In which blocks and bans outlive a reboot.
    pub(crate) file: PathBuf,
}

/// A configuration that may be used, with what is odd about it.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub(crate) configuration: Configuration,
    pub(crate) warnings: Problems,
}

/// Reads and checks a file against the machine as it is now.
///
/// # Errors
///
/// Everything that is wrong with it.
pub(crate) fn load(path: &Path) -> Result<Accepted, Problems> {
    let name = path.display().to_string();
    let unreadable = |what: String| {
        let help = "name another file with --config FILE or MURALLA_CONFIG; \
                    [edge] with customers and an [[edge.interface]], [dns] with clients, or a [[radius.nas]], or [mail] with a hostname and [mail.mx], are enough to begin with";
        Problems::unreadable(&name, what, help)
    };
    let mut text = String::new();
    let file = File::open(path).map_err(|error| unreadable(format!("can't be opened: {error}")))?;
    let size = file
        .take(LARGEST_FILE)
        .read_to_string(&mut text)
        .map_err(|error| unreadable(format!("can't be read: {error}")))?;
    if size as u64 >= LARGEST_FILE {
        return Err(unreadable("is larger than 64 MiB; put long lists into feeds".to_owned()));
    }
    parse(&name, &text, &Surroundings::look())
}

/// Checks a text. `surroundings` are what no rule may cut off.
///
/// # Errors
///
/// Everything that is wrong with it, warnings included.
pub(crate) fn parse(
    file: &str,
    text: &str,
    surroundings: &Surroundings,
) -> Result<Accepted, Problems> {
    let complaints = Complaints::default();
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        complaints.syntax(&error.span().unwrap_or(0..0), error.message());
    }
    // What a torn text seems to say is not worth complaining about.
    if complaints.has_errors() {
        return Err(complaints.into_problems(file, text));
    }
    let configuration = read(Section::document(&document, &complaints), surroundings, &complaints);
    let refused = complaints.has_errors();
    let problems = complaints.into_problems(file, text);
    match configuration {
        Some(configuration) if !refused => Ok(Accepted { configuration, warnings: problems }),
        _ => Err(problems),
    }
}

fn read(
    mut document: Section<'_>,
    surroundings: &Surroundings,
    complaints: &Complaints,
) -> Option<Configuration> {
    let mut admin = AdminConfig {
        socket: PathBuf::from(DEFAULT_SOCKET),
        dns_socket: PathBuf::from(DEFAULT_DNS_SOCKET),
        radius_socket: PathBuf::from(DEFAULT_RADIUS_SOCKET),
        mail_socket: PathBuf::from(DEFAULT_MAIL_SOCKET),
        reports_socket: PathBuf::from(DEFAULT_SOCKET).with_file_name(DEFAULT_REPORTS_SOCKET),
    };
    if let Some(mut section) = document.section("admin") {
        let mut reports = PathBuf::new();
        for (key, example, place) in [
            ("socket", DEFAULT_SOCKET, &mut admin.socket),
            ("dns_socket", DEFAULT_DNS_SOCKET, &mut admin.dns_socket),
            ("radius_socket", DEFAULT_RADIUS_SOCKET, &mut admin.radius_socket),
            ("mail_socket", DEFAULT_MAIL_SOCKET, &mut admin.mail_socket),
            ("reports_socket", "/run/muralla/reports.sock", &mut reports),
        ] {
            let Some(socket) = section.path(key, example) else { continue };
            // sun_path has room for 107 bytes and a zero.
            if socket.get_ref().as_os_str().len() > 107 {
                complaints.error(
                    &socket.span(),
                    "a socket's path has at most 107 bytes",
                    format!("write {key} = \"{example}\""),
                );
            }
            *place = socket.into_inner();
        }
        // Who has a daemon of his own somewhere has its sockets there.
        admin.reports_socket = match reports.as_os_str().is_empty() {
            true => admin.socket.with_file_name(DEFAULT_REPORTS_SOCKET),
            false => reports,
        };
        section.finish();
    }
    let local = |port| Some(SocketAddr::from(([127, 0, 0, 1], port)));
    let mut metrics = MetricsConfig {
        listen: local(9469),
        dns_listen: local(9470),
        radius_listen: local(9471),
        mail_listen: local(9472),
    };
    if let Some(mut section) = document.section("metrics") {
        for (key, place) in [
            ("listen", &mut metrics.listen),
            ("dns_listen", &mut metrics.dns_listen),
            ("radius_listen", &mut metrics.radius_listen),
            ("mail_listen", &mut metrics.mail_listen),
        ] {
            let Some(listen) = section.string(key, "127.0.0.1:9469") else { continue };
            match listen.get_ref().as_str() {
                "none" => *place = None,
                text => match text.parse() {
                    Ok(address) => *place = Some(address),
                    Err(_) => complaints.error(
                        &listen.span(),
                        format!("\"{text}\" is no address with a port"),
                        "write \"127.0.0.1:9469\", \"[::1]:9469\", or \"none\" for no metrics",
                    ),
                },
            }
        }
        section.finish();
    }
    let mut log = LogConfig { level: logs::Level::default(), format: logs::Format::default() };
    if let Some(mut section) = document.section("log") {
        let levels = logs::Level::ALL.map(|level| (level.name(), level));
        log.level = section.word("level", &levels).unwrap_or_default();
        log.format = section.word("format", &LOG_FORMATS).unwrap_or_default();
        section.finish();
    }
    let mut state = StateConfig { file: PathBuf::from(DEFAULT_STATE) };
    if let Some(mut section) = document.section("state") {
        if let Some(file) = section.path("file", DEFAULT_STATE) {
            state.file = file.into_inner();
        }
        section.finish();
    }
    if Role::ALL.iter().all(|role| !document.has(role.name())) {
        complaints.error(
            &(0..0),
            "there is neither an [edge] section, nor [dns], nor [radius], nor [mail]: nothing to do",
            "write [edge] with customers = [\"100.64.0.0/16\"], and [[edge.interface]] with name = \"eth0\"; \
             or [dns] with clients = [\"100.64.0.0/16\"]; \
             or [[radius.nas]] with prefix = \"192.0.2.16/28\" and a secret; \
             or [mail] with hostname = \"mx.example.net\", and [mail.mx]; or all of them",
        );
    }
    let radius = document.section("radius");
    let radius_place = radius.as_ref().map(|section| section.span().clone()).unwrap_or_default();
    let radius = radius.map(|section| radius::read(section, complaints));
    let dns = document.section("dns").map(|section| dns::read(section, surroundings, complaints));
    // Whom the resolver depends on is found before the wall's rules are judged.
    let upstreams = dns.as_ref().map(|draft| dns::upstreams(draft.config())).unwrap_or_default();
    let guarded = surroundings.with(upstreams);
    let edge = document
        .section("edge")
        .map(|section| edge::read(section, &guarded, radius.is_some(), complaints));
    if let (Some(edge), Some(radius)) = (&edge, &radius) {
        radius::judge_edge(radius, edge, &radius_place, complaints);
    }
    let dns = dns.map(|draft| draft.finish(edge.as_ref(), complaints));
    let mail = document.section("mail").and_then(|section| mail::read(&section, complaints));
    document.finish();
    Some(Configuration { admin, metrics, log, state, edge, dns, radius, mail })
}

#[cfg(test)]
mod tests;
