//! The provider in small: three namespaces, two links, addresses and routes.
//!
//! ```text
//!  {prefix}-internet            {prefix}-edge               {prefix}-customers
//!  hosts 198.51.100.16..        service 203.0.113.10        hosts 100.64.1.1..
//!        2001:db8:1:1::1..              2001:db8:53::10           2001:db8:6400:1::1..
//!                                                           NAS   192.0.2.129.., 2001:db8:a5::1..
//!  edge0 198.51.100.2 -------- inet0 198.51.100.1
//!        2001:db8:1::2               2001:db8:1::1
//!                                    cust0 192.0.2.1 ------ edge0 192.0.2.2
//!                                          2001:db8:2::1          2001:db8:2::2
//! ```
//!
//! Hosts live on the loopback interface of their side, and everything that isn't ours is routed to
//! the one gateway of the side: a flood from 100,000 sources needs a single neighbour entry, and the
//! answers to them end on the far side, which forwards nothing.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail, ensure};

use crate::flood::{Flood, FloodOptions};
use crate::kernel::{AnswerCounters, COUNTERS, attach_pass, pass_again};
use crate::namespace::{Namespace, interface_index};
use crate::peers::{self, Peer};
use crate::process::{Process, ProcessId, close, end, run};
use crate::state::{self, Record, State};

/// The prefix that a person's lab has; tests take their own.
pub const DEFAULT_PREFIX: &str = "muralla";

/// The edge's interface on the Internet's side.
pub const INTERNET_INTERFACE: &str = "inet0";
/// The edge's interface on the customers' side.
pub const CUSTOMERS_INTERFACE: &str = "cust0";
/// The other end of either, in its namespace.
pub const FAR_INTERFACE: &str = "edge0";

/// Where the services listen, over IPv4.
pub const SERVICE_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// Where the services listen, over IPv6.
pub const SERVICE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x53, 0, 0, 0, 0, 0x10);

/// The customers' prefix, over IPv4.
pub const CUSTOMERS_V4: &str = "100.64.0.0/16";
/// The customers' prefix, over IPv6.
pub const CUSTOMERS_V6: &str = "2001:db8:6400::/40";
/// The network access servers' prefix, over IPv4.
pub const NAS_V4: &str = "192.0.2.128/25";
/// The network access servers' prefix, over IPv6.
pub const NAS_V6: &str = "2001:db8:a5::/64";
/// The Internet hosts' prefix, over IPv4.
pub const INTERNET_V4: &str = "198.51.100.0/24";
/// The Internet hosts' prefix, over IPv6.
pub const INTERNET_V6: &str = "2001:db8:1:1::/64";

/// How many hosts the lab has on each side.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LabOptions {
    /// Customers, 1 to 200.
    pub customers: u8,
    /// Network access servers, 1 to 100.
    pub nas: u8,
    /// Hosts on the Internet, 1 to 200.
    pub internet: u8,
}

impl Default for LabOptions {
    fn default() -> Self {
        Self { customers: 32, nas: 2, internet: 16 }
    }
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];
}

/// Where a packet comes from.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Side {
    /// The Internet.
    Internet,
    /// The access customers and the network access servers.
    Customers,
}

/// A running lab. Taken down when dropped.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    options: LabOptions,
    state: Arc<State>,
    internet: Namespace,
    customers: Namespace,
    edge: Namespace,
    peers: Mutex<Vec<(Peer, Process)>>,
    /// XDP programs at the far ends of the links.
    receivers: Vec<OwnedFd>,
}

impl Lab {
    /// Builds the namespaces, links, addresses and routes. What a dead process left under the same
    /// prefix is cleaned up first.
    ///
    /// # Errors
    /// When a living process has a lab of that prefix, when namespaces of these names exist that no
    /// lab made, when not root, or when `ip`, `ethtool`, `sysctl` or `nsenter` is missing.
    pub fn up(prefix: &str, options: LabOptions) -> Result<Self> {
        check_prefix(prefix)?;
        check_options(options)?;
        if let Some(record) = Record::read(prefix)? {
            if record.owner.is_alive() {
                bail!(
                    "lab {prefix:?} is already up, owned by process {}: end that, or take another \
                     prefix",
                    record.owner.pid()
                );
            }
            Self::down(prefix)?;
        }
        let [internet, customers, edge] = ["internet", "customers", "edge"]
            .map(|role| Namespace::named(format!("{prefix}-{role}")));
        for namespace in [&internet, &customers, &edge] {
            if namespace.exists() {
                bail!(
                    "namespace {0} exists, and no lab made it: `ip netns delete {0}`, or take \
                     another prefix",
                    namespace.name()
                );
            }
        }
        let names = [&internet, &customers, &edge].map(|namespace| namespace.name().to_owned());
        let state = Arc::new(State::claim(prefix, names.to_vec())?);
        // From here on, dropping it cleans up what was made so far.
        let mut lab = Self {
            prefix: prefix.to_owned(),
            options,
            state,
            internet,
            customers,
            edge,
            peers: Mutex::default(),
            receivers: Vec::new(),
        };
        lab.build().with_context(|| format!("building lab {prefix:?}"))?;
        Ok(lab)
    }

    /// Takes a lab down from its state file, whoever made it and whatever became of him: ends the
    /// processes that it started, deletes its namespaces and its folder. Without a lab of that
    /// prefix it does nothing.
    ///
    /// # Errors
    /// When a process doesn't end or a namespace can't be deleted; it can be called again.
    pub fn down(prefix: &str) -> Result<()> {
        check_prefix(prefix)?;
        let Some(record) = Record::read(prefix)? else {
            return Ok(());
        };
        let ids: Vec<_> = record.processes.iter().map(|process| process.id).collect();
        end(&ids, &record.identities())?;
        for name in &record.namespaces {
            Namespace::named(name).delete()?;
        }
        state::remove(prefix)
    }

    /// The same for a lab of this process that is in use, by who ends the process: nothing is started in it any more. Returns
    /// whether there was one; another process' is left alone.
    ///
    /// # Errors
    /// Those of [`Lab::down`].
    pub fn abandon(prefix: &str) -> Result<bool> {
        close();
        check_prefix(prefix)?;
        let record = Record::read(prefix)?;
        let own = ProcessId::current()?;
        if record.is_none_or(|record| record.owner != own) {
            return Ok(false);
        }
        Self::down(prefix).map(|()| true)
    }

    /// The prefix of its namespaces' names.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Its private folder, removed with it.
    pub fn folder(&self) -> PathBuf {
        self.state.folder()
    }

    /// The Internet.
    pub const fn internet(&self) -> &Namespace {
        &self.internet
    }

    /// The customers and the network access servers.
    pub const fn customers(&self) -> &Namespace {
        &self.customers
    }

    /// The box with the services.
    pub const fn edge(&self) -> &Namespace {
        &self.edge
    }

    /// The namespace of a side, and the edge's interface that looks at it.
    pub const fn side(&self, side: Side) -> (&Namespace, &'static str) {
        match side {
            Side::Internet => (&self.internet, INTERNET_INTERFACE),
            Side::Customers => (&self.customers, CUSTOMERS_INTERFACE),
        }
    }

    /// Has packets wait before both ends of both links while these are full, as they do before a network card. A veth that has
    /// no queue before it drops what is more than 256 packets at once, without a word: as much as is sent at once by who was
    /// kept from its processor for some hundredths of a second.
    ///
    /// # Errors
    /// When the kernel has no such queue.
    pub fn queue_links(&self) -> Result<()> {
        for side in [Side::Internet, Side::Customers] {
            let (far, near) = self.side(side);
            for (namespace, interface) in [(self.edge(), near), (far, FAR_INTERFACE)] {
                let queue =
                    ["qdisc", "replace", "dev", interface, "root", "pfifo", "limit", "4096"];
                namespace.run("tc", queue).context("a queue before a link")?;
            }
        }
        Ok(())
    }

    /// Where the services listen.
    pub const fn service(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => IpAddr::V4(SERVICE_V4),
            Family::V6 => IpAddr::V6(SERVICE_V6),
        }
    }

    /// The customers' addresses.
    pub fn customer_hosts(&self, family: Family) -> Vec<IpAddr> {
        (1..=self.options.customers).map(|n| customer(family, n)).collect()
    }

    /// The network access servers' addresses.
    pub fn nas_hosts(&self, family: Family) -> Vec<IpAddr> {
        (1..=self.options.nas).map(|n| nas(family, n)).collect()
    }

    /// The Internet hosts' addresses.
    pub fn internet_hosts(&self, family: Family) -> Vec<IpAddr> {
        (1..=self.options.internet).map(|n| internet_host(family, n)).collect()
    }

    /// Starts a real server in the edge namespace and waits until it answers there.
    ///
    /// # Errors
    /// When it isn't installed, or doesn't answer in time; the error ends with what it printed.
    pub fn start_peer(&self, peer: Peer) -> Result<()> {
        self.stop_peer(peer)?;
        let process = peers::start(self, peer)?;
        self.lock_peers().push((peer, process));
        Ok(())
    }

    /// Ends a server, if it runs.
    ///
    /// # Errors
    /// When it doesn't end.
    pub fn stop_peer(&self, peer: Peer) -> Result<()> {
        let mut peers = self.lock_peers();
        let Some(at) = peers.iter().position(|(running, _)| *running == peer) else {
            return Ok(());
        };
        peers.swap_remove(at).1.stop()
    }

    /// The process number of a server, if it was started and still runs.
    pub fn peer_pid(&self, peer: Peer) -> Option<u32> {
        let peers = self.lock_peers();
        let (_, process) = peers.iter().find(|(running, _)| *running == peer)?;
        process.is_running().then(|| process.pid())
    }

    /// Starts a command (of [`Namespace::command`]) in the background, with its output in
    /// `{name}.log` in the lab's folder. It is ended when the handle is dropped, and at the latest
    /// with the lab.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn spawn(&self, name: &str, command: &mut Command) -> Result<Process> {
        Process::start(Arc::clone(&self.state), name, command)
    }

    /// Starts a flood from a side against the edge.
    ///
    /// # Errors
    /// When the flood's socket can't be made, or addresses are of two families.
    pub fn flood(&self, side: Side, options: FloodOptions) -> Result<Flood> {
        let (namespace, interface) = self.side(side);
        Flood::start(namespace, FAR_INTERFACE, self.edge.mac(interface)?, options)
    }

    /// Counts the DNS answers that arrive at a side's clients (IPv4, ports 16384 to 32767), and takes them
    /// off the wire, for as long as it is kept.
    ///
    /// # Errors
    /// When the kernel refuses the counting program.
    pub(crate) fn count_answers(&self, side: Side) -> Result<AnswerCount<'_>> {
        let at = match side {
            Side::Internet => 0,
            Side::Customers => 1,
        };
        let link = self.receivers.get(at).context("a lab without its receivers")?;
        let counters = AnswerCounters::attach(link).context("attaching the counting program")?;
        Ok(AnswerCount { link, counters: Arc::new(counters) })
    }

    /// Gives the edge another address for a service.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn add_service(&self, address: IpAddr) -> Result<()> {
        let length = if address.is_ipv4() { 32 } else { 128 };
        self.edge.ip(&format!("addr replace {address}/{length} dev lo")).map(drop)
    }

    /// Puts a box of its own behind the edge, for what takes several: a namespace `{prefix}-{name}` with that address, which
    /// everybody reaches by way of the edge, and which reaches everybody. `number` is one that no other box of the lab has.
    ///
    /// # Errors
    /// When there is such a namespace, or `ip` fails.
    pub fn add_box(&self, name: &str, number: u8, address: Ipv4Addr) -> Result<Namespace> {
        let namespace = Namespace::named(format!("{}-{name}", self.prefix));
        ensure!(!namespace.exists(), "namespace {} exists already", namespace.name());
        // Before it is made: whoever takes the lab down after a crash finds it.
        self.state.add_namespace(namespace.name())?;
        namespace.create()?;
        namespace.run("sysctl", ["--quiet", "--write"].iter().chain(&QUIET_STACK))?;
        let interface = format!("box{number}");
        let (near, far) = (format!("10.77.{number}.1"), format!("10.77.{number}.2"));
        self.edge.ip(&format!(
            "link add {interface} type veth peer name {FAR_INTERFACE} netns {}",
            namespace.name()
        ))?;
        self.batch(
            &self.edge,
            [
                format!("addr add {near}/30 dev {interface}"),
                format!("link set {interface} up"),
                format!("route replace {address}/32 via {far}"),
            ],
        )?;
        self.batch(
            &namespace,
            [
                "link set lo up".to_owned(),
                format!("addr add {address}/32 dev lo"),
                format!("addr add {far}/30 dev {FAR_INTERFACE}"),
                format!("link set {FAR_INTERFACE} up"),
                // What it begins itself comes from its own address, too.
                format!("route add default via {near} src {address}"),
            ],
        )?;
        Ok(namespace)
    }

    /// Makes all addresses of a prefix local on the Internet's side, so that servers can be bound to any of
    /// them. The edge sends there whatever is not its own.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn host_on_internet(&self, prefix: &str) -> Result<()> {
        self.internet.ip(&format!("route replace local {prefix} dev lo")).map(drop)
    }

    /// Makes all addresses of a prefix (IPv4) local on the customers' side, and has the edge send there what is for them: for more
    /// NASes or customers than the lab has of itself.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn host_on_customers(&self, prefix: &str) -> Result<()> {
        self.customers.ip(&format!("route replace local {prefix} dev lo"))?;
        self.edge.ip(&format!("route replace {prefix} via 192.0.2.2")).map(drop)
    }

    /// Takes hosts off the Internet, or puts them back: what is sent to them is lost, SYNs included, and nobody says so.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn silence(&self, hosts: &[IpAddr], silent: bool) -> Result<()> {
        let verb = if silent { "replace" } else { "del" };
        let file = self.folder().join("silence.batch");
        for (family, v4) in [("-4", true), ("-6", false)] {
            let lines: String = hosts
                .iter()
                .filter(|host| host.is_ipv4() == v4)
                .map(|host| format!("route {verb} blackhole {host} table local\n"))
                .collect();
            if !lines.is_empty() {
                fs::write(&file, lines).with_context(|| format!("writing {}", file.display()))?;
                let file = file.to_string_lossy();
                self.internet.run("ip", [family, "-batch", &*file])?;
            }
        }
        Ok(())
    }

    fn lock_peers(&self) -> MutexGuard<'_, Vec<(Peer, Process)>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn build(&mut self) -> Result<()> {
        for namespace in [&self.internet, &self.customers, &self.edge] {
            namespace.create()?;
            namespace.run("sysctl", ["--quiet", "--write"].iter().chain(&QUIET_STACK))?;
            namespace.ip("link set lo up")?;
        }
        self.edge.run("sysctl", ["--quiet", "--write"].iter().chain(&FORWARDING))?;
        for side in [Side::Internet, Side::Customers] {
            let receiver = self.link(side)?;
            self.receivers.push(receiver);
        }
        self.addresses()?;
        self.routes()
    }

    fn link(&self, side: Side) -> Result<OwnedFd> {
        let (far, interface) = self.side(side);
        self.edge.ip(&format!(
            "link add {interface} type veth peer name {FAR_INTERFACE} netns {}",
            far.name()
        ))?;
        // Whole checksums and packets of at most one MTU, as a wire has them, and not what the
        // kernel leaves to be finished by a card.
        far.run(
            "ethtool",
            ["-K", FAR_INTERFACE, "tx", "off", "tso", "off", "gso", "off", "gro", "on"],
        )?;
        self.edge.ip(&format!("link set {interface} up"))?;
        far.ip(&format!("link set {FAR_INTERFACE} up"))?;
        far.inside(|| {
            attach_pass(interface_index(FAR_INTERFACE)?)
                .context("attaching the XDP program that takes what XDP_TX sends")
        })
    }

    fn addresses(&self) -> Result<()> {
        self.batch(
            &self.edge,
            [
                format!("addr add 198.51.100.1/30 dev {INTERNET_INTERFACE}"),
                format!("addr add 2001:db8:1::1/64 dev {INTERNET_INTERFACE} nodad"),
                format!("addr add 192.0.2.1/30 dev {CUSTOMERS_INTERFACE}"),
                format!("addr add 2001:db8:2::1/64 dev {CUSTOMERS_INTERFACE} nodad"),
                format!("addr add {SERVICE_V4}/32 dev lo"),
                format!("addr add {SERVICE_V6}/128 dev lo nodad"),
            ],
        )?;
        let on_loopback =
            |hosts: Vec<IpAddr>| hosts.into_iter().map(|host| format!("addr add {host} dev lo"));
        let both = |hosts: &dyn Fn(Family) -> Vec<IpAddr>| {
            on_loopback(Family::BOTH.into_iter().flat_map(hosts).collect())
        };
        self.batch(
            &self.internet,
            [
                format!("addr add 198.51.100.2/30 dev {FAR_INTERFACE}"),
                format!("addr add 2001:db8:1::2/64 dev {FAR_INTERFACE} nodad"),
            ]
            .into_iter()
            .chain(both(&|family| self.internet_hosts(family))),
        )?;
        self.batch(
            &self.customers,
            [
                format!("addr add 192.0.2.2/30 dev {FAR_INTERFACE}"),
                format!("addr add 2001:db8:2::2/64 dev {FAR_INTERFACE} nodad"),
            ]
            .into_iter()
            .chain(both(&|family| self.customer_hosts(family)))
            .chain(both(&|family| self.nas_hosts(family))),
        )
    }

    fn routes(&self) -> Result<()> {
        let routes = |gateway: [&str; 2], targets: &[&str]| -> Vec<String> {
            let [v4, v6] = gateway;
            let via = |target: &&str| if target.contains(':') { v6 } else { v4 }.to_owned();
            targets.iter().map(|target| format!("route add {target} via {}", via(target))).collect()
        };
        let default = ["default", "::/0"];
        let customers = [CUSTOMERS_V4, CUSTOMERS_V6, NAS_V4, NAS_V6];
        self.batch(
            &self.edge,
            routes(["198.51.100.2", "2001:db8:1::2"], &default)
                .into_iter()
                .chain(routes(["192.0.2.2", "2001:db8:2::2"], &customers)),
        )?;
        self.batch(&self.internet, {
            let mut targets = customers.to_vec();
            targets.extend([
                "203.0.113.0/24",
                "2001:db8:53::/48",
                "192.0.2.0/30",
                "2001:db8:2::/64",
            ]);
            routes(["198.51.100.1", "2001:db8:1::1"], &targets)
        })?;
        // What is sent to customers that don't exist ends here, instead of going back and forth.
        self.batch(
            &self.customers,
            routes(["192.0.2.1", "2001:db8:2::1"], &default)
                .into_iter()
                .chain(customers.map(|prefix| format!("route add blackhole {prefix}"))),
        )
    }

    /// Many `ip` commands in one process.
    fn batch(&self, namespace: &Namespace, lines: impl IntoIterator<Item = String>) -> Result<()> {
        let file = self.folder().join(format!("{}.ip", namespace.name()));
        let lines: Vec<String> = lines.into_iter().collect();
        fs::write(&file, lines.join("\n") + "\n")
            .with_context(|| format!("writing {}", file.display()))?;
        run(Command::new("ip").args(["-n", namespace.name(), "-batch"]).arg(&file))
            .map(drop)
            .with_context(|| format!("one of:\n{}", lines.join("\n")))
    }
}

/// Counts answers until it is dropped.
#[derive(Debug)]
pub(crate) struct AnswerCount<'lab> {
    link: &'lab OwnedFd,
    counters: Arc<AnswerCounters>,
}

impl AnswerCount<'_> {
    /// Answers so far by response code; from 16 on, truncated ones by response code.
    pub(crate) fn read(&self) -> [u64; COUNTERS] {
        self.counters.read()
    }

    pub(crate) fn counters(&self) -> Arc<AnswerCounters> {
        Arc::clone(&self.counters)
    }
}

impl Drop for AnswerCount<'_> {
    fn drop(&mut self) {
        if let Err(error) = pass_again(self.link) {
            eprintln!("the counting program stays: {error}");
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.lock_peers().clear();
        // What fails here is left in the state file for `Lab::down`.
        let down = self.state.is_current().and_then(|current| match current {
            true => Self::down(&self.prefix),
            false => Ok(()),
        });
        if let Err(error) = down {
            eprintln!("lab {:?} is not quite down: {error:#}", self.prefix);
        }
    }
}

/// The same for every namespace: no strictness about where a source comes from (the wall is what is
/// under test), nothing that talks by itself, and ports that don't run out.
const QUIET_STACK: [&str; 8] = [
    "net.ipv4.conf.all.rp_filter=0",
    "net.ipv4.conf.default.rp_filter=0",
    "net.ipv4.tcp_tw_reuse=1",
    "net.ipv4.ip_local_port_range=1024 65535",
    "net.ipv6.conf.all.accept_dad=0",
    "net.ipv6.conf.default.accept_dad=0",
    "net.ipv6.conf.default.accept_ra=0",
    "net.ipv6.conf.default.router_solicitations=0",
];

const FORWARDING: [&str; 2] = ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"];

const fn customer(family: Family, n: u8) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::new(100, 64, 1, n)),
        Family::V6 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x6400, n as u16, 0, 0, 0, 1)),
    }
}

const fn nas(family: Family, n: u8) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::new(192, 0, 2, 128 + n)),
        Family::V6 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xa5, 0, 0, 0, 0, n as u16)),
    }
}

const fn internet_host(family: Family, n: u8) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::new(198, 51, 100, 15 + n)),
        Family::V6 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 1, 0, 0, 0, n as u16)),
    }
}

fn check_prefix(prefix: &str) -> Result<()> {
    let fits = (1..=32).contains(&prefix.len());
    let plain = prefix.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !fits || !plain {
        bail!("lab prefix {prefix:?}: take 1 to 32 of a-z, 0-9 and -");
    }
    Ok(())
}

fn check_options(options: LabOptions) -> Result<()> {
    let LabOptions { customers, nas, internet } = options;
    for (what, count, most) in
        [("customers", customers, 200), ("nas", nas, 100), ("internet", internet, 200)]
    {
        if !(1..=most).contains(&count) {
            bail!("lab option {what} = {count}: take 1 to {most}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_that_can_leave_the_folder_are_refused() {
        for good in ["muralla", "t-1", "a"] {
            assert!(check_prefix(good).is_ok(), "{good}");
        }
        for bad in ["", "..", "a/b", "A", "a b", &"x".repeat(33)] {
            assert!(check_prefix(bad).is_err(), "{bad}");
        }
    }
}
