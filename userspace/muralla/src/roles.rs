//! What one process does: every role of the configuration, or those it is told to take.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::configuration::{AdminConfig, Configuration, MetricsConfig};

/// A part of the product that may have a process of its own.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// The wall at the network card.
    Edge,
    /// Recursive and authoritative DNS.
    Dns,
    /// Authentication and accounting.
    Radius,
    /// Mail: those of its roles that have a section.
    Mail,
}

impl Role {
    /// All of them, in the order in which they start.
    pub(crate) const ALL: [Self; 4] = [Self::Edge, Self::Dns, Self::Radius, Self::Mail];

    /// Its name, which is that of its section in the configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Dns => "dns",
            Self::Radius => "radius",
            Self::Mail => "mail",
        }
    }

    /// What it does, in a sentence.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Edge => "the wall",
            Self::Dns => "DNS",
            Self::Radius => "RADIUS",
            Self::Mail => "mail",
        }
    }

    /// The file that only one process with this role holds locked.
    fn lock(self) -> &'static str {
        match self {
            Self::Edge => "muralla.lock",
            Self::Dns => "dns.lock",
            Self::Radius => "radius.lock",
            Self::Mail => "mail.lock",
        }
    }
}

/// The roles of one process; at least one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Roles {
    roles: Vec<Role>,
    /// Whether they were named on the command line, so that new sections of the file are for others.
    chosen: bool,
}

impl Roles {
    /// The wanted roles, or with none wanted all that are configured.
    ///
    /// # Errors
    ///
    /// When a wanted role has no section.
    pub(crate) fn of(configuration: &Configuration, wanted: &[Role]) -> anyhow::Result<Self> {
        let roles: Vec<Role> = Role::ALL
            .into_iter()
            .filter(|role| wanted.is_empty() || wanted.contains(role))
            .filter(|role| configuration.has(*role) || !wanted.is_empty())
            .collect();
        if let Some(missing) = roles.iter().find(|role| !configuration.has(**role)) {
            let name = missing.name();
            bail!(
                "the configuration has no section [{name}], so there is nothing to run as --role {name}; \
                 write the section, or leave the role away"
            );
        }
        Ok(Self { roles, chosen: !wanted.is_empty() })
    }

    pub(crate) fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Role> {
        self.roles.iter().copied()
    }

    /// Whether a section that is new in the file would be this process's after a restart.
    pub(crate) fn takes_new_sections(&self) -> bool {
        !self.chosen
    }

    /// A process with the wall has the common socket, one without it that of the first of its roles: each may run on
    /// the same machine.
    pub(crate) fn socket<'c>(&self, admin: &'c AdminConfig) -> &'c Path {
        match self.first() {
            Role::Edge => &admin.socket,
            Role::Dns => &admin.dns_socket,
            Role::Radius => &admin.radius_socket,
            Role::Mail => &admin.mail_socket,
        }
    }

    /// Where Prometheus scrapes this process.
    pub(crate) fn metrics(&self, metrics: &MetricsConfig) -> Option<std::net::SocketAddr> {
        match self.first() {
            Role::Edge => metrics.listen,
            Role::Dns => metrics.dns_listen,
            Role::Radius => metrics.radius_listen,
            Role::Mail => metrics.mail_listen,
        }
    }

    fn first(&self) -> Role {
        self.roles.first().copied().unwrap_or(Role::Edge)
    }

    /// The files to lock in the process's folder.
    pub(crate) fn locks(&self, folder: &Path) -> Vec<PathBuf> {
        self.roles.iter().map(|role| folder.join(role.lock())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::{self, guard::Surroundings};

    fn configured(text: &str) -> Configuration {
        configuration::parse("m.toml", text, &Surroundings::default())
            .unwrap_or_else(|problems| panic!("{problems}"))
            .configuration
    }

    const EDGE: &str = "[edge]\ncustomers = [\"100.64.0.0/16\"]\nnas = [\"192.0.2.1\"]\n[[edge.interface]]\nname = \"eth0\"\n";
    const DNS: &str = "[dns]\nclients = [\"100.64.0.0/16\"]\n";

    const RADIUS: &str =
        "[[radius.nas]]\nprefix = \"192.0.2.1\"\nsecret = \"sixteen bytes and more\"\n";

    const MAIL: &str = "[mail]\nhostname = \"mx.example.net\"\n[mail.mx]\n";

    #[test]
    fn a_process_has_the_roles_of_the_file_or_those_it_is_told() {
        let both = configured(&format!("{EDGE}{DNS}"));
        for (configuration, wanted, expected, socket) in [
            (&both, &[][..], &[Role::Edge, Role::Dns][..], "/run/muralla/admin.sock"),
            (&both, &[Role::Dns], &[Role::Dns], "/run/muralla/dns.sock"),
            (&both, &[Role::Edge], &[Role::Edge], "/run/muralla/admin.sock"),
            (&configured(EDGE), &[], &[Role::Edge], "/run/muralla/admin.sock"),
            (&configured(DNS), &[], &[Role::Dns], "/run/muralla/dns.sock"),
            (&configured(RADIUS), &[], &[Role::Radius], "/run/muralla/radius.sock"),
            (&configured(MAIL), &[], &[Role::Mail], "/run/muralla/mail.sock"),
            (
                &configured(&format!("{DNS}{RADIUS}")),
                &[],
                &[Role::Dns, Role::Radius],
                "/run/muralla/dns.sock",
            ),
        ] {
            let roles = Roles::of(configuration, wanted).unwrap();
            assert_eq!(roles.iter().collect::<Vec<_>>(), expected);
            assert_eq!(roles.socket(&configuration.admin), Path::new(socket));
            assert_eq!(roles.takes_new_sections(), wanted.is_empty());
        }
        let error = Roles::of(&configured(DNS), &[Role::Edge]).unwrap_err().to_string();
        assert!(error.contains("has no section [edge]"), "{error}");
    }

    #[test]
    fn two_roles_do_not_share_a_lock() {
        let both = configured(&format!("{EDGE}{DNS}"));
        let locks =
            |wanted: &[Role]| Roles::of(&both, wanted).unwrap().locks(Path::new("/run/muralla"));
        assert_eq!(locks(&[]).len(), 2);
        assert_ne!(locks(&[Role::Edge]), locks(&[Role::Dns]));
    }
}
