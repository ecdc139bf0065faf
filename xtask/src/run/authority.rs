//! An authoritative server on the lab's Internet: Muralla itself, with a zone and nothing else. The resolver at
//! the edge learns from it what the customers ask for, so that no real Internet is needed.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use muralla_lab::peers::{LARGE_NAME, ZONE};
use muralla_lab::process::Process;
use muralla_lab::{Family, Lab};

use super::admin::Admin;

/// How long it may take until it answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts it in the namespace of the Internet, and gives its address.
pub(crate) fn start(lab: &Lab, binary: &Path) -> Result<(Process, String)> {
    let address = lab
        .internet_hosts(Family::V4)
        .first()
        .map(ToString::to_string)
        .context("the lab's Internet has no host")?;
    let folder = lab.folder();
    let write = |name: &str, content: String| {
        let file = folder.join(name);
        fs::write(&file, content)
            .with_context(|| format!("writing {}", file.display()))
            .map(|()| file)
    };
    let zone = write("authority.zone", zone())?;
    let socket = folder.join("authority.sock");
    let config = write(
        "authority.toml",
        format!(
            r#"[admin]
dns_socket = "{socket}"

[metrics]
dns_listen = "none"

[dns]
listen = ["{address}"]
threads = 1
cache_file = "none"
nic = false

[[dns.zone]]
name = "{ZONE}"
file = "{zone}"
"#,
            socket = socket.display(),
            zone = zone.display(),
        ),
    )?;
    let mut command = lab.internet().command(binary);
    // Locks of its own: this namespace is another machine's.
    command.env("RUNTIME_DIRECTORY", folder.join("authority"));
    command.args(["run", "--role", "dns", "--config"]).arg(&config);
    let process = lab.spawn("authority", &mut command)?;
    let admin = Admin::new(&socket);
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = admin.ping() {
        if !process.is_running() || Instant::now() > deadline {
            bail!("the authoritative server does not answer: {error:#}\n{}", process.output());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok((process, address))
}

/// What the lab's clients ask for, and anything else below the zone.
fn zone() -> String {
    let large: String =
        (1..=60).map(|host| format!("{LARGE_NAME}. A 203.0.113.{host}\n")).collect();
    let names: String = ["www", "mail", "pop"]
        .iter()
        .zip(80..)
        .map(|(name, host)| format!("{name} A 203.0.113.{host}\n{name} AAAA 2001:db8:53::{host}\n"))
        .collect();
    format!(
        "$ORIGIN {ZONE}.\n$TTL 60\n\
         @ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\n\
         @ A 203.0.113.99\n@ AAAA 2001:db8:53::99\n* A 203.0.113.99\n* AAAA 2001:db8:53::99\n\
         ns A 203.0.113.10\n{names}{large}"
    )
}
