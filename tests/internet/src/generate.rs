//! An Internet of thousands of zones out of a seed, with the questions to ask it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::Result;

use crate::internet::Internet;
use crate::name::DomainName;
use crate::plan::{Plan, Server};
use crate::zone::Zone;

/// What [`generate`] makes.
pub struct Generated {
    /// The servers.
    pub internet: Internet,
    /// Root servers: names with their addresses.
    pub root_hints: Vec<(String, IpAddr)>,
    /// The root's DS record, as in a zone file.
    pub trust_anchor: String,
    /// Questions, name and type, in an order that the seed decides: about seven for each zone, of them a seventh for what
    /// does not exist.
    pub questions: Vec<(String, String)>,
}

/// Top-level domains with their headings: NSEC, NSEC3, opt-out and unsigned.
const TOP_LEVEL: [(&str, &str); 6] = [
    ("com", "nsec3 opt-out split sibling-glue ttl=86400"),
    ("net", "nsec3 opt-out split sibling-glue ttl=86400"),
    ("org", "nsec3 salt=abcd iterations=5 split ttl=86400"),
    ("se", "signed split ttl=86400"),
    ("io", "signed ttl=3600"),
    ("zz", "ttl=86400"),
];
/// Zones for one server of the second level.
const ZONES_PER_SERVER: usize = 250;
/// Fewest servers of the second level.
const MIN_SERVERS: usize = 6;
/// Delays of servers, milliseconds.
const DELAYS: (u64, u64) = (5, 80);

/// Makes a root, six top-level domains, reverse zones and `size` second-level zones, half of them signed, each on two
/// or three servers. Root servers are 10.53.0.1 to .3, those of top-level and reverse zones 10.53.1.1 to .8, the others
/// from 10.53.2.1 on: one for 250 zones, six at least. The same size and seed give the same Internet, keys included.
///
/// # Errors
/// None for sizes below a million; they would be faults of this function.
pub fn generate(size: usize, seed: u64) -> Result<Generated> {
    let mut random = Random(seed);
    let mut plan = Plan::default();
    let hosts = size.div_ceil(ZONES_PER_SERVER).max(MIN_SERVERS);
    add_servers(&mut plan, "a.root-servers", [10, 53, 0, 1], 3, &mut random)?;
    add_servers(&mut plan, "ns.nic", [10, 53, 1, 1], 8, &mut random)?;
    let (root_servers, registries, first_host) = (0..3, 3..11, 11);
    add_servers(&mut plan, "ns.host", [10, 53, 2, 1], hosts, &mut random)?;
    let mut make = |heading: &str, servers: &[usize]| -> Result<usize> {
        let zone = Zone::from_heading(heading)?;
        for &at in servers {
            if let Some(server) = plan.servers.get_mut(at) {
                server.zones.push(zone.origin().clone());
            }
        }
        plan.zones.push(zone);
        Ok(plan.zones.len() - 1)
    };
    make(". signed split sibling-glue ttl=86400", &root_servers.collect::<Vec<_>>())?;
    let registries: Vec<usize> = registries.collect();
    for (name, words) in TOP_LEVEL {
        make(&format!("{name} {words}"), &random.some(&registries, 3))?;
    }
    // The hosts' own names: b.root-servers.net and the like need zones that have them.
    for name in ["root-servers.net", "nic.net", "hosting.net"] {
        make(&format!("{name} signed"), &random.some(&registries, 3))?;
    }
    for heading in ["arpa signed", "in-addr.arpa signed", "ip6.arpa nsec3"] {
        make(heading, &random.some(&registries, 3))?;
    }
    let mut questions = Vec::new();
    let all_hosts: Vec<usize> = (first_host..first_host + hosts).collect();
    let mut zones = Vec::new();
    for number in 0..size {
        let (top, _) = *random.pick(&TOP_LEVEL);
        let name = format!("{}{number}.{top}", random.pick(&WORDS));
        let signing = match random.below(8) {
            0 | 1 => "signed",
            2 => "signed split",
            3 => "nsec3",
            _ => "",
        };
        let count = 2 + usize::from(random.below(3) == 0);
        let servers = random.some(&all_hosts, count);
        let at = make(&format!("{name} {signing} ttl={}", random.pick(&TTLS)), &servers)?;
        zones.push((at, name, servers));
    }
    let reverse = reverse_zones(size);
    for (name, _) in &reverse {
        let signing = if random.below(2) == 0 { "signed" } else { "" };
        make(&format!("{name} {signing}"), &random.some(&all_hosts, 2))?;
    }
    let first = zones.first().map_or("com", |(_, name, _)| name);
    for (number, (at, name, servers)) in zones.iter().enumerate() {
        let addresses: Vec<IpAddr> = servers
            .iter()
            .filter_map(|&s| plan.servers.get(s)?.addresses.first().copied())
            .collect();
        if let Some(zone) = plan.zones.get_mut(*at) {
            fill(zone, name, number, first, &addresses, &mut random, &mut questions)?;
        }
    }
    for (name, pointers) in &reverse {
        let origin = DomainName::absolute(name)?;
        let Some(zone) = plan.zone_mut(&origin) else { continue };
        for (owner, number) in pointers {
            if let Some((_, target, _)) = zones.get(*number) {
                zone.record(&format!("{owner}. PTR www.{target}."))?;
                questions.push((format!("{owner}."), "PTR".to_owned()));
            }
        }
    }
    random.shuffle(&mut questions);
    let internet = plan.build()?;
    Ok(Generated {
        root_hints: internet.root_servers().iter().map(|(n, ip)| (n.to_string(), *ip)).collect(),
        trust_anchor: internet.trust_anchors().into_iter().next().unwrap_or_default(),
        internet,
        questions,
    })
}

const WORDS: [&str; 8] = ["alpha", "bravo", "mail", "shop", "news", "cloud", "bank", "game"];
const TTLS: [u32; 5] = [60, 300, 900, 3_600, 86_400];

/// Servers in a row of addresses, named after where they stand.
fn add_servers(
    plan: &mut Plan,
    kind: &str,
    first: [u8; 4],
    count: usize,
    random: &mut Random,
) -> Result<()> {
    for n in 0..count {
        let name = match kind {
            "a.root-servers" => format!("{}.root-servers.net", char::from(b'a' + n as u8)),
            "ns.nic" => format!("ns{n}.nic.net"),
            _ => format!("ns{n}.hosting.net"),
        };
        let address = Ipv4Addr::from_bits(Ipv4Addr::from(first).to_bits() + n as u32);
        let delay = DELAYS.0 + random.below(DELAYS.1 - DELAYS.0 + 1);
        plan.servers.push(Server {
            host: DomainName::absolute(&name)?,
            addresses: vec![address.into()],
            zones: Vec::new(),
            delay: Duration::from_millis(delay),
            faults: Vec::new(),
        });
    }
    Ok(())
}

/// A zone's records, and questions about them.
fn fill(
    zone: &mut Zone,
    name: &str,
    number: usize,
    first: &str,
    servers: &[IpAddr],
    random: &mut Random,
    questions: &mut Vec<(String, String)>,
) -> Result<()> {
    let host = |n: usize| format!("5.{}.{}.{}", number >> 8 & 255, number & 255, n);
    zone.record(&format!("@ A {}", host(1)))?;
    zone.record(&format!("www A {}", host(2)))?;
    zone.record("www AAAA 2a0a:53::1")?;
    zone.record("@ MX 10 mail")?;
    zone.record(&format!("mail A {}", host(3)))?;
    zone.record("@ TXT \"v=spf1 mx -all\"")?;
    zone.record("ftp CNAME www")?;
    zone.record("deep.below.empty TXT \"deep\"")?;
    // Half of the zones have servers with names of their own, which need glue.
    if random.below(2) == 0 {
        for (n, address) in servers.iter().enumerate() {
            zone.record(&format!("@ NS ns{n}"))?;
            zone.record(&format!("ns{n} A {address}"))?;
        }
    }
    let mut ask = |label: &str, rtype: &str| {
        questions.push((format!("{label}{name}."), rtype.to_owned()));
    };
    ask("www.", "A");
    let rtype: &&str = random.pick(&["A", "MX", "TXT", "NS", "SOA"]);
    ask("", rtype);
    let label: &&str = random.pick(&["mail.", "ftp.", "deep.below.empty."]);
    let rtype: &&str = random.pick(&["A", "TXT", "AAAA"]);
    ask(label, rtype);
    match random.below(4) {
        0 => {
            zone.record(&format!("*.users A {}", host(4)))?;
            ask(&format!("u{}.users.", random.below(1_000)), "A");
        }
        1 => {
            zone.record(&format!("cdn CNAME www.{first}."))?;
            ask("cdn.", "A");
        }
        2 => {
            zone.record("_sip._udp SRV 1 1 5060 www")?;
            ask("_sip._udp.", "SRV");
        }
        _ => ask("www.", "AAAA"),
    }
    match random.below(4) {
        0 => ask("empty.", "A"),
        1 => ask("www.", "MX"),
        _ => ask(&format!("none{}.", random.below(1_000)), "A"),
    }
    Ok(())
}

/// Reverse zones, each with owner names in full and the number of the zone that they point to.
fn reverse_zones(size: usize) -> Vec<(String, Vec<(String, usize)>)> {
    let mut zones = Vec::new();
    for block in 0..=size.saturating_sub(1) >> 8 {
        let numbers = (block << 8)..size.min((block + 1) << 8);
        let v4 = numbers.clone().map(|n| (format!("2.{}.{block}.5.in-addr.arpa", n & 255), n));
        zones.push((format!("{block}.5.in-addr.arpa"), v4.collect()));
        // 2a0a:BBBB::NNNN, 34 labels; the zone is the /32.
        let nibbles = |value: usize| {
            (0..4).map(|at| format!("{:x}.", value >> (4 * at) & 15)).collect::<String>()
        };
        let zone = format!("{}a.0.a.2.ip6.arpa", nibbles(block));
        let v6 = numbers.map(|n| (format!("{}{}{zone}", nibbles(n), "0.".repeat(20)), n));
        let v6 = v6.collect();
        zones.push((zone, v6));
    }
    zones
}

/// SplitMix64: the same numbers for the same seed, on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the index is below the length, and no list here is empty"
    )]
    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    /// Several, all different.
    fn some(&mut self, from: &[usize], count: usize) -> Vec<usize> {
        let mut left = from.to_vec();
        self.shuffle(&mut left);
        left.truncate(count);
        left
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for at in (1..list.len()).rev() {
            list.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_internet() {
        let [a, b] = [1, 1].map(|seed| generate(50, seed).unwrap());
        assert_eq!(a.trust_anchor, b.trust_anchor);
        assert_eq!(a.questions, b.questions);
        assert!(a.questions.len() > 250, "{}", a.questions.len());
        let other = generate(50, 2).unwrap();
        assert_ne!(a.questions, other.questions);
    }

    #[test]
    fn reverse_names_have_34_labels() {
        let (_, pointers) = &reverse_zones(10)[1];
        let name = DomainName::absolute(&pointers[3].0).unwrap();
        assert_eq!(name.label_count(), 34, "{name}");
    }
}
