//! Addresses that no rule may cut off, found by looking at the machine: the operator's own session,
//! the box's own addresses and its name servers.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::SystemTime;

use ipnet::IpNet;

/// Why this machine's own addresses are guarded.
const OWN: &str = "an address of this machine";

/// A prefix that a rule may not cover, and why.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Guarded {
    pub(crate) prefix: IpNet,
    /// Where it was found, as in "name server of /etc/resolv.conf".
    pub(crate) why: String,
    /// Whether its packets are let through unseen, and not only rules against it refused.
    pub(crate) let_through: bool,
}

/// What the machine says about itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    pub(crate) guarded: Vec<Guarded>,
    /// Whether interfaces and files that a configuration names are looked for.
    pub(crate) here: bool,
    /// Seconds since 1970.
    pub(crate) now: u64,
}

impl Surroundings {
    /// Looks at this machine, now. What can't be read adds nothing.
    pub(crate) fn look() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let mut guarded = name_servers(&read("/etc/resolv.conf"));
        guarded.extend(own_addresses().into_iter().map(|address| Guarded {
            prefix: address.into(),
            why: OWN.to_owned(),
            // A packet from outside that bears it is forged.
            let_through: false,
        }));
        let sessions: Vec<Session> =
            environments().iter().filter_map(|e| Session::parse(e)).collect();
        let connections = [read("/proc/net/tcp"), read("/proc/net/tcp6")];
        guarded.extend(ssh_peers(&sessions, &established(&connections)));
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { guarded, here: true, now: since.as_secs() }
    }

    /// With more that no rule may cut off.
    pub(crate) fn with(&self, more: Vec<Guarded>) -> Self {
        let mut all = self.clone();
        all.guarded.extend(more);
        all
    }

    /// Whether it is an address of this machine.
    pub(crate) fn own(&self, address: IpAddr) -> bool {
        self.guarded
            .iter()
            .any(|guarded| guarded.why == OWN && guarded.prefix.contains(&IpNet::from(address)))
    }

    /// The first guarded address that a rule about `prefix` would touch.
    pub(crate) fn touched_by(&self, prefix: IpNet) -> Option<&Guarded> {
        self.guarded.iter().find(|guarded| overlap(guarded.prefix, prefix))
    }

    /// Prefixes whose packets are let through unseen.
    pub(crate) fn let_through(&self) -> impl Iterator<Item = IpNet> {
        self.guarded.iter().filter(|guarded| guarded.let_through).map(|guarded| guarded.prefix)
    }

    /// Whether no interface of that name is there now.
    pub(crate) fn lacks_interface(&self, name: &str) -> bool {
        // Unlike /sys/class/net, this is always of the process's own network namespace.
        let devices = || fs::read_to_string("/proc/net/dev").unwrap_or_default();
        self.here && !lists_device(&devices(), name)
    }

    /// Whether no such file is there now.
    pub(crate) fn lacks_file(&self, path: &Path) -> bool {
        // What this user may not look at, another role's may.
        let looked = fs::metadata(path);
        self.here
            && match looked {
                Ok(about) => !about.is_file(),
                Err(error) => error.kind() != std::io::ErrorKind::PermissionDenied,
            }
    }
}

fn lists_device(proc_net_dev: &str, name: &str) -> bool {
    let lines = proc_net_dev.lines().skip(2);
    lines.filter_map(|line| line.split_once(':')).any(|(device, _)| device.trim() == name)
}

/// Whether two prefixes have an address in common.
pub(crate) fn overlap(one: IpNet, other: IpNet) -> bool {
    one.contains(&other) || other.contains(&one)
}

fn name_servers(resolv_conf: &str) -> Vec<Guarded> {
    resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        // A zone index (fe80::1%eth0) means something to this machine only.
        .filter_map(|rest| {
            rest.split_whitespace().next()?.split('%').next()?.parse::<IpAddr>().ok()
        })
        .filter(|address| !address.is_loopback())
        .map(|address| Guarded {
            prefix: address.into(),
            why: "a name server of /etc/resolv.conf".to_owned(),
            let_through: true,
        })
        .collect()
}

/// Addresses of this machine's interfaces, now, but for the loopback.
pub(crate) fn own_addresses() -> BTreeSet<IpAddr> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    parse_addresses(&read("/proc/net/fib_trie"), &read("/proc/net/if_inet6"))
}

fn parse_addresses(fib_trie: &str, if_inet6: &str) -> BTreeSet<IpAddr> {
    let mut addresses = BTreeSet::new();
    let mut last = None;
    for line in fib_trie.lines() {
        if let Some((_, address)) = line.split_once("|-- ") {
            last = address.trim().parse::<Ipv4Addr>().ok();
        } else if line.trim() == "/32 host LOCAL" {
            addresses.extend(last.map(IpAddr::V4));
        }
    }
    for line in if_inet6.lines() {
        let digits = line.split_whitespace().next().unwrap_or_default();
        if let (32, Ok(bits)) = (digits.len(), u128::from_str_radix(digits, 16)) {
            addresses.insert(IpAddr::V6(Ipv6Addr::from_bits(bits)));
        }
    }
    addresses.retain(|address| !address.is_loopback());
    addresses
}

/// An SSH session as sshd writes it into `SSH_CONNECTION`, which it does only after authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Session {
    peer: IpAddr,
    port: u16,
}

impl Session {
    fn parse(ssh_connection: &str) -> Option<Self> {
        let mut fields = ssh_connection.split_whitespace();
        let peer = fields.next()?.parse().ok()?;
        let port = fields.nth(2)?.parse().ok()?;
        Some(Self { peer, port })
    }
}

/// The values of `SSH_CONNECTION` in this process and, as far as they may be read, all others.
fn environments() -> BTreeSet<String> {
    let mut found: BTreeSet<String> = std::env::var("SSH_CONNECTION").into_iter().collect();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes.take(32_768) {
        let Ok(environment) = fs::read(process.path().join("environ")) else {
            continue;
        };
        found.extend(
            environment
                .split(|byte| *byte == 0)
                .filter_map(|entry| entry.strip_prefix(b"SSH_CONNECTION="))
                .filter_map(|value| String::from_utf8(value.to_vec()).ok()),
        );
    }
    found
}

/// Remote address and local port of every established connection in /proc/net/tcp and tcp6.
fn established(tables: &[String]) -> BTreeSet<(IpAddr, u16)> {
    const ESTABLISHED: &str = "01";
    tables
        .iter()
        .flat_map(|table| table.lines().skip(1))
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (_, local_port) = fields.next()?.split_once(':')?;
            let (remote, _) = fields.next()?.split_once(':')?;
            (fields.next()? == ESTABLISHED).then_some(())?;
            Some((hexadecimal_address(remote)?, u16::from_str_radix(local_port, 16).ok()?))
        })
        .collect()
}

/// The kernel prints addresses as 32-bit words in the machine's byte order.
fn hexadecimal_address(digits: &str) -> Option<IpAddr> {
    let word = |range| u32::from_str_radix(digits.get(range)?, 16).ok().map(u32::to_ne_bytes);
    match digits.len() {
        8 => Some(IpAddr::from(word(0..8)?)),
        32 => {
            let words = [word(0..8)?, word(8..16)?, word(16..24)?, word(24..32)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(Ipv6Addr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

/// Rules against anybody connected to sshd are refused. Only who is also logged in is let through
/// unseen: a stranger guessing passwords is connected, too.
fn ssh_peers(sessions: &[Session], established: &BTreeSet<(IpAddr, u16)>) -> Vec<Guarded> {
    const SSH: u16 = 22;
    let ports: BTreeSet<u16> = sessions.iter().map(|session| session.port).chain([SSH]).collect();
    let mut guarded: Vec<Guarded> = established
        .iter()
        .filter(|(peer, port)| ports.contains(port) && !peer.is_loopback())
        .map(|(peer, port)| {
            let logged_in = sessions
                .iter()
                .any(|session| session.peer.to_canonical() == *peer && session.port == *port);
            let why = if logged_in {
                "an SSH session of this machine"
            } else {
                "an SSH connection to this machine"
            };
            Guarded { prefix: (*peer).into(), why: why.to_owned(), let_through: logged_in }
        })
        .collect();
    guarded.sort_by_key(|guarded| (guarded.prefix, !guarded.let_through));
    guarded.dedup_by_key(|guarded| guarded.prefix);
    guarded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(guarded: &[Guarded]) -> Vec<String> {
        guarded.iter().map(|guarded| guarded.prefix.to_string()).collect()
    }

    #[test]
    fn interfaces_are_looked_for_by_their_whole_name() {
        let devices = "Inter-|   Receive\n face |bytes\n    lo: 10 1\n eth0.5: 7 8\n";
        for (name, there) in [("lo", true), ("eth0.5", true), ("eth0", false), ("face", false)] {
            assert_eq!(lists_device(devices, name), there, "{name}");
        }
    }

    #[test]
    fn name_servers_are_guarded() {
        let found = name_servers(
            "# x\nnameserver 192.0.2.53\nsearch a\n nameserver 2001:db8::53%eth0\nnameserver 127.0.0.53\nnameserver\n",
        );
        assert_eq!(prefixes(&found), ["192.0.2.53/32", "2001:db8::53/128"]);
    }

    #[test]
    fn own_addresses_are_read_from_the_kernel() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 192.0.2.0\n        /24 link UNICAST\n     |-- 192.0.2.7\n        /32 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\n";
        let inet6 = "20010db8000000000000000000000007 02 40 00 80 eth0\n00000000000000000000000000000001 01 80 10 80 lo\nshort\n";
        let found: Vec<String> =
            parse_addresses(trie, inet6).iter().map(IpAddr::to_string).collect();
        assert_eq!(found, ["192.0.2.7", "2001:db8::7"]);
    }

    #[test]
    fn only_who_is_logged_in_is_let_through() {
        let header = "  sl  local_address rem_address   st\n";
        let line =
            |local: &str, remote: &str, state: &str| format!("   0: {local} {remote} {state} 0\n");
        let word = |address: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(address));
        let tcp = [
            header.to_owned(),
            line(
                &format!("{}:0016", word([192, 0, 2, 7])),
                &format!("{}:C000", word([198, 51, 100, 1])),
                "01",
            ),
            line(
                &format!("{}:0016", word([192, 0, 2, 7])),
                &format!("{}:C001", word([198, 51, 100, 2])),
                "01",
            ),
            line(
                &format!("{}:0019", word([192, 0, 2, 7])),
                &format!("{}:C002", word([198, 51, 100, 3])),
                "01",
            ),
            line(
                &format!("{}:0016", word([192, 0, 2, 7])),
                &format!("{}:C003", word([198, 51, 100, 4])),
                "06",
            ),
            "torn".to_owned(),
        ]
        .concat();
        let sessions = [
            Session::parse("198.51.100.1 49152 192.0.2.7 22").unwrap(),
            Session::parse("203.0.113.9 1 192.0.2.7 22").unwrap(),
        ];
        let found = ssh_peers(&sessions, &established(&[tcp]));
        assert_eq!(prefixes(&found), ["198.51.100.1/32", "198.51.100.2/32"]);
        assert_eq!(found.iter().map(|g| g.let_through).collect::<Vec<_>>(), [true, false]);
        assert_eq!(Session::parse("nonsense"), None);
    }

    #[test]
    fn mapped_addresses_are_seen_as_ipv4() {
        let words = [[0; 4], [0; 4], [0, 0, 255, 255], [192, 0, 2, 1]];
        let digits: String =
            words.iter().map(|word| format!("{:08X}", u32::from_ne_bytes(*word))).collect();
        assert_eq!(hexadecimal_address(&digits), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(hexadecimal_address("0123"), None);
    }

    #[test]
    fn a_rule_is_refused_in_both_directions() {
        let surroundings = Surroundings {
            guarded: vec![Guarded {
                prefix: "192.0.2.0/24".parse().unwrap(),
                why: "test".to_owned(),
                let_through: true,
            }],
            ..Surroundings::default()
        };
        for (prefix, touched) in
            [("0.0.0.0/0", true), ("192.0.2.9/32", true), ("192.0.3.0/24", false), ("::/0", false)]
        {
            assert_eq!(surroundings.touched_by(prefix.parse().unwrap()).is_some(), touched);
        }
    }
}
