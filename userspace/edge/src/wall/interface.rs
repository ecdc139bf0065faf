//! Interfaces: attached, watched, and how each is protected.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{InterfaceStatus, WallError};
use crate::config::{AttachMode, InterfaceConfig, Role};
use crate::kernel;
use crate::pins::Pins;
use crate::programs::{self, Loaded};

/// One protected interface.
pub(super) struct Interface {
    pub(super) config: InterfaceConfig,
    pub(super) program: Loaded,
    pub(super) attached: Option<(u32, Mode)>,
    pub(super) problem: Option<String>,
}

/// How a program is attached.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// By the driver, before the kernel has made anything of the frame.
    Native,
    /// In the network stack: many times slower.
    Generic,
}

impl Mode {
    /// Its name in metrics and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

/// What is attached, from the pins alone. Needs no daemon.
pub fn show(pin_dir: &Path) -> Result<Vec<InterfaceStatus>, WallError> {
    let links = Pins::view(pin_dir)
        .links()
        .map_err(|source| WallError::PinDir { dir: pin_dir.to_owned(), source })?;
    Ok(links
        .iter()
        .map(|link| {
            let attached = kernel::link_ifindex(link.fd.as_fd()).ok().filter(|index| *index != 0);
            let current = kernel::ifindex(&link.interface);
            let problem = (attached.is_none() || attached != current).then(|| {
                "the interface went away; the daemon attaches to it when it is back".to_owned()
            });
            interface_status(
                &link.interface,
                Role::Both,
                attached.map(|index| (index, link.mode)),
                problem,
            )
        })
        .collect())
}

fn interface_status(
    name: &str,
    role: Role,
    attached: Option<(u32, Mode)>,
    problem: Option<String>,
) -> InterfaceStatus {
    let [rx_packets, rx_dropped, rx_missed] = receive_statistics(name);
    InterfaceStatus {
        name: name.to_owned(),
        ifindex: kernel::ifindex(name),
        role,
        mode: attached.map(|(_, mode)| mode),
        attached: attached.is_some(),
        problem,
        rx_packets,
        rx_dropped,
        rx_missed,
    }
}

/// Received, dropped and missed packets of an interface. A process that was moved to another network namespace sees
/// the old one's in `/sys`; there is no count of missed packets by itself elsewhere.
fn receive_statistics(name: &str) -> [u64; 3] {
    let read = |file: &str| {
        let text = fs::read_to_string(format!("/sys/class/net/{name}/{file}")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    if read("ifindex").is_some_and(|index| kernel::ifindex(name).map(u64::from) == Some(index)) {
        return ["rx_packets", "rx_dropped", "rx_missed_errors"]
            .map(|counter| read(&format!("statistics/{counter}")).unwrap_or(0));
    }
    let devices = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let line =
        devices.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(':'));
    let counters: Vec<u64> =
        line.unwrap_or_default().split_whitespace().map_while(|word| word.parse().ok()).collect();
    // Bytes, packets, errors, dropped.
    let column = |column: usize| counters.get(column).copied().unwrap_or(0);
    [column(1), column(3), 0]
}

impl Interface {
    /// Takes on a configuration. One that no longer asks for generic mode lets the driver be asked again, for which
    /// the program must be taken off first; otherwise a link is left as it is.
    pub(super) fn configure(&mut self, config: &InterfaceConfig, pins: &Pins) {
        let generic = self.attached.is_some_and(|(_, mode)| mode == Mode::Generic);
        if generic && config.mode != self.config.mode {
            let links = pins.links().unwrap_or_default();
            for link in links.into_iter().filter(|link| link.interface == config.name) {
                if let Err(error) = link.remove() {
                    warn!("{}: generic mode can not be left: {error}", config.name);
                }
            }
            self.attached = None;
        }
        self.config = config.clone();
    }

    pub(super) fn attach(&mut self, pins: &Pins) {
        let result = self
            .program
            .wall_fd()
            .and_then(|program| programs::attach(pins, &self.config, program));
        let name = &self.config.name;
        match result {
            Ok(mode) => {
                self.attached = kernel::ifindex(name).map(|index| (index, mode));
                let fell_back = mode == Mode::Generic && self.config.mode == AttachMode::Auto;
                self.problem = fell_back.then(|| {
                    format!(
                        "{name}: GENERIC MODE: the driver refused native XDP, so floods cost many times more; \
                         set mode = \"generic\" if that is meant"
                    )
                });
            }
            Err(error) => {
                self.attached = None;
                self.problem = Some(error.to_string());
            }
        }
    }

    /// Whether the program is where it was attached, asked of the kernel.
    pub(super) fn stands(&self, pins: &Pins) -> bool {
        let name = &self.config.name;
        self.attached.is_some_and(|(index, mode)| {
            let link = kernel::open_pinned(&pins.link(name, mode));
            let at = link.and_then(|link| kernel::link_ifindex(link.as_fd()));
            kernel::ifindex(name) == Some(index) && at.is_ok_and(|at| at == index)
        })
    }

    pub(super) fn words(&self) -> String {
        let name = &self.config.name;
        match (&self.problem, self.attached) {
            (Some(problem), _) => problem.clone(),
            (None, Some((_, mode))) => format!("{name}: protected, {}", mode.name()),
            (None, None) => format!("{name}: not protected"),
        }
    }

    pub(super) fn status(&self) -> InterfaceStatus {
        interface_status(&self.config.name, self.config.role, self.attached, self.problem.clone())
    }
}
