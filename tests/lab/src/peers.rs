//! Debian's real servers in the edge namespace, each with a configuration of its own in the lab's
//! folder, in the foreground. Nothing of the system's own configuration is read or changed.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::clients::{Client, ClientOptions, Kind};
use crate::postfix;
use crate::process::Process;
use crate::topology::{Family, Lab, NAS_V4, NAS_V6, SERVICE_V4, SERVICE_V6};

/// The zone that unbound answers for, whatever the name below it, and the domain that postfix
/// accepts mail for.
pub const ZONE: &str = "lab.test";
/// A user of that domain: the one whom the lab's clients write to.
pub const MAILBOX: &str = "someone@lab.test";
/// A name with 60 addresses: an answer of 512 bytes has no room for them, and is truncated.
pub const LARGE_NAME: &str = "large.lab.test";
/// The secret that the RADIUS server shares with every NAS.
pub const RADIUS_SECRET: &str = "a secret of this lab alone";
/// A subscriber that the RADIUS server accepts.
pub const RADIUS_USER: &str = "alice";
/// That subscriber's password.
pub const RADIUS_PASSWORD: &str = "correct horse";

/// How long a server may take until its first answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A real server.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Peer {
    /// unbound on port 53, UDP and TCP, one thread. Answers from local data, refuses the rest, and
    /// lets everybody ask: protecting it is the wall's business.
    Unbound,
    /// freeradius on 1812 and 1813: subscribers from a file, NASes from their prefixes.
    Freeradius,
    /// postfix on port 25: accepts mail for [`ZONE`] and discards it.
    Postfix,
}

impl Peer {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Unbound, Self::Freeradius, Self::Postfix];

    /// Its name, and that of its folder and its log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unbound => "unbound",
            Self::Freeradius => "freeradius",
            Self::Postfix => "postfix",
        }
    }

    fn probe(self) -> Kind {
        match self {
            Self::Unbound => Kind::dns(),
            Self::Freeradius => Kind::radius(),
            Self::Postfix => Kind::smtp(),
        }
    }
}

pub(crate) fn start(lab: &Lab, peer: Peer) -> Result<Process> {
    let folder = lab.folder().join(peer.name());
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let mut command = match peer {
        Peer::Unbound => unbound(lab, &folder),
        Peer::Freeradius => freeradius(lab, &folder),
        Peer::Postfix => postfix(lab, &folder),
    }?;
    let process = lab.spawn(peer.name(), &mut command)?;
    wait_until_it_answers(lab, peer, &process)?;
    Ok(process)
}

/// Asks from inside of the edge, so that no wall and no flood stands between.
fn wait_until_it_answers(lab: &Lab, peer: Peer, process: &Process) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    for family in Family::BOTH {
        let service = lab.service(family);
        let target = SocketAddr::new(service, peer.probe().port());
        let options = ClientOptions {
            timeout: Duration::from_millis(1_000),
            retry_after: Duration::from_millis(200),
            ..ClientOptions::new(vec![service], target, 1)
        };
        while let Err(error) = Client::once(lab.edge(), peer.probe(), options.clone()) {
            if !process.is_running() || Instant::now() > deadline {
                let output = process.output();
                let tail: Vec<&str> = output.lines().rev().take(20).collect();
                let tail: Vec<&str> = tail.into_iter().rev().collect();
                bail!(
                    "{} does not answer at {target}: {error:#}\n{}",
                    peer.name(),
                    tail.join("\n")
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

fn write(folder: &Path, name: &str, content: &str) -> Result<()> {
    let file = folder.join(name);
    fs::write(&file, content).with_context(|| format!("writing {}", file.display()))
}

fn unbound(lab: &Lab, folder: &Path) -> Result<Command> {
    let large: String = (1..=60)
        .map(|host| format!("  local-data: \"{LARGE_NAME}. 60 IN A 203.0.113.{host}\"\n"))
        .collect();
    let names: String = ["www", "mail", "pop"]
        .iter()
        .zip(80..)
        .map(|(name, host)| {
            format!(
                "  local-zone: \"{name}.{ZONE}.\" static\n  \
                 local-data: \"{name}.{ZONE}. 60 IN A 203.0.113.{host}\"\n  \
                 local-data: \"{name}.{ZONE}. 60 IN AAAA 2001:db8:53::{host}\"\n"
            )
        })
        .collect();
    let folder_name = folder.display();
    let configuration = format!(
        r#"server:
  directory: "{folder_name}"
  chroot: ""
  username: ""
  pidfile: "{folder_name}/unbound.pid"
  do-daemonize: no
  use-syslog: no
  verbosity: 1
  num-threads: 1
  interface: {SERVICE_V4}
  interface: {SERVICE_V6}
  access-control: 0.0.0.0/0 allow
  access-control: ::/0 allow
  module-config: "iterator"
  minimal-responses: yes
  local-zone: "." refuse
  local-zone: "{ZONE}." redirect
  local-data: "{ZONE}. 60 IN A 203.0.113.99"
  local-data: "{ZONE}. 60 IN AAAA 2001:db8:53::99"
  local-zone: "{LARGE_NAME}." static
{large}{names}
remote-control:
  control-enable: no
"#
    );
    write(folder, "unbound.conf", &configuration)?;
    let mut command = lab.edge().command("unbound");
    command.args(["-d", "-p", "-c"]).arg(folder.join("unbound.conf"));
    Ok(command)
}

fn freeradius(lab: &Lab, folder: &Path) -> Result<Command> {
    let folder_name = folder.display();
    let client = |name: &str, prefix: &str| {
        let key = if prefix.contains(':') { "ipv6addr" } else { "ipv4addr" };
        format!(
            "client {name} {{\n  {key} = {prefix}\n  secret = \"{RADIUS_SECRET}\"\n  \
             require_message_authenticator = yes\n}}\n"
        )
    };
    // The last two are the lab's own question whether it is there.
    let clients: String = [
        client("nas4", NAS_V4),
        client("nas6", NAS_V6),
        client("self4", &SERVICE_V4.to_string()),
        client("self6", &SERVICE_V6.to_string()),
    ]
    .concat();
    let listeners: String = [IpAddr::V4(SERVICE_V4), IpAddr::V6(SERVICE_V6)]
        .iter()
        .flat_map(|service| [("auth", 1812, service), ("acct", 1813, service)])
        .map(|(kind, port, service)| {
            let key = if service.is_ipv4() { "ipv4addr" } else { "ipv6addr" };
            format!(
                "  listen {{\n    type = {kind}\n    {key} = {service}\n    port = {port}\n  }}\n"
            )
        })
        .collect();
    let configuration = format!(
        r#"prefix = /usr
raddbdir = {folder_name}
logdir = {folder_name}
run_dir = {folder_name}
db_dir = {folder_name}
libdir = /usr/lib/freeradius
pidfile = {folder_name}/freeradius.pid
max_request_time = 5
cleanup_delay = 2
max_requests = 16384
hostname_lookups = no
log {{
  destination = stdout
  auth = no
}}
security {{
  max_attributes = 200
  reject_delay = 0
  status_server = yes
}}
thread pool {{
  start_servers = 2
  max_servers = 4
  min_spare_servers = 1
  max_spare_servers = 4
  max_requests_per_server = 0
}}
modules {{
  pap {{
  }}
  files {{
    usersfile = {folder_name}/users
  }}
  always ok {{
    rcode = ok
  }}
}}
{clients}server lab {{
{listeners}  authorize {{
    files
    pap
  }}
  authenticate {{
    Auth-Type PAP {{
      pap
    }}
  }}
  preacct {{
    ok
  }}
  accounting {{
    ok
  }}
}}
"#
    );
    write(folder, "radiusd.conf", &configuration)?;
    write(folder, "dictionary", "")?;
    write(
        folder,
        "users",
        &format!(
            "{RADIUS_USER} Cleartext-Password := \"{RADIUS_PASSWORD}\"\n    Service-Type = Framed-User\n"
        ),
    )?;
    // freeradius refuses to read what others may write, and shared secrets are nobody's business.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).context("closing a folder")?;
    let mut command = lab.edge().command("freeradius");
    command.args(["-f", "-l", "stdout", "-n", "radiusd", "-d"]).arg(folder);
    Ok(command)
}

fn postfix(lab: &Lab, folder: &Path) -> Result<Command> {
    let main = format!(
        "myhostname = mx.{ZONE}
mynetworks = {SERVICE_V4}/32
inet_interfaces = {SERVICE_V4}, {SERVICE_V6}
inet_protocols = all
relay_domains = {ZONE}
relay_recipient_maps =
transport_maps = inline:{{ {{ {ZONE} = discard: }} }}
"
    );
    postfix::command(lab, folder, &main)
}
