//! A name server in the edge namespace that knows a few hosts and nothing else: Debian's unbound without the Internet.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;

use anyhow::{Context, Result};

use crate::process::Process;
use crate::resolvers::wait_until_it_answers;
use crate::topology::Lab;

/// Starts it on an address, which the edge gets, and on a core. It answers for all names within `zone`, and hosts have addresses
/// there.
///
/// # Errors
/// When unbound isn't installed, or doesn't answer in time; the error ends with what it printed.
pub fn start(
    lab: &Lab,
    address: Ipv4Addr,
    core: usize,
    zone: &str,
    hosts: &[(String, Ipv4Addr)],
) -> Result<Process> {
    lab.add_service(address.into())?;
    let folder = lab.folder().join("names");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let place = folder.display();
    let mut text = format!(
        r#"server:
  directory: "{place}"
  chroot: ""
  username: ""
  pidfile: "{place}/unbound.pid"
  do-daemonize: no
  use-syslog: no
  num-threads: 1
  interface: {address}
  access-control: 0.0.0.0/0 allow
  module-config: "iterator"
  local-zone: "." refuse
  local-zone: "{zone}." static
"#
    );
    for (host, address) in hosts {
        let _ = writeln!(text, "  local-data: \"{host}. 300 IN A {address}\"");
    }
    text.push_str("remote-control:\n  control-enable: no\n");
    let file = folder.join("unbound.conf");
    fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    let mut command = lab.edge().command("taskset");
    command.args(["-c", &core.to_string(), "unbound", "-d", "-p", "-c"]);
    let process = lab.spawn("names", command.arg(file))?;
    wait_until_it_answers(lab, address.into(), &process)?;
    Ok(process)
}
