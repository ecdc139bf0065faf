//! Attackers: one thread each, which puts frames on the wire as fast as one core can, or at a rate.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::frames::dns::{FLAG_RESPONSE, HEADER as DNS_HEADER, Query, TYPE_A};
use crate::frames::radius::{ACCESS_REQUEST, Packet};
use crate::frames::{self, Frame, Mac, checksum, tcp_flags};
use crate::kernel::{BATCH, PacketSocket};
use crate::namespace::{Namespace, interface_index};
use crate::peers::ZONE;
use crate::random::Random;
use crate::topology::Family;

/// What a flood is made of.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Attack {
    /// DNS queries for names that were never asked before (random labels under the lab's zone).
    DnsRandom,
    /// DNS queries for one name.
    DnsFixed,
    /// RADIUS Access-Requests without a valid signature.
    RadiusJunk,
    /// Opening SYNs to port 25.
    SmtpSyn,
    /// Packets that no honest host sends: wrong lengths and flags, LAND, fragments, DNS responses.
    Malformed,
}

impl Attack {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::DnsRandom, Self::DnsFixed, Self::RadiusJunk, Self::SmtpSyn, Self::Malformed];
}

/// Whom a flood pretends to be, in turn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sources {
    /// One host.
    Single(IpAddr),
    /// So many addresses, spread all over the public unicast space.
    Anywhere {
        /// IP version.
        family: Family,
        /// How many; not necessarily distinct.
        count: u32,
    },
    /// So many addresses, spread over a prefix; distinct, if it has so many.
    Within {
        /// Any address of the prefix.
        network: IpAddr,
        /// The prefix' length.
        length: u8,
        /// How many.
        count: u32,
    },
}

impl Sources {
    /// Addresses within a prefix like `100.64.0.0/16`.
    ///
    /// # Errors
    /// When that's no prefix.
    pub fn within(prefix: &str, count: u32) -> Result<Self> {
        let (network, length) = prefix.split_once('/').context("a prefix has a slash")?;
        let network: IpAddr = network.parse().with_context(|| format!("prefix {prefix:?}"))?;
        let length: u8 = length.parse().with_context(|| format!("prefix {prefix:?}"))?;
        if length > if network.is_ipv4() { 32 } else { 128 } {
            bail!("prefix {prefix:?} is too long");
        }
        Ok(Self::Within { network, length, count })
    }

    /// The IP version.
    pub const fn family(self) -> Family {
        match self {
            Self::Anywhere { family, .. } => family,
            Self::Single(address) | Self::Within { network: address, .. } => match address {
                IpAddr::V4(_) => Family::V4,
                IpAddr::V6(_) => Family::V6,
            },
        }
    }

    const fn count(self) -> u32 {
        match self {
            Self::Single(_) => 1,
            Self::Anywhere { count, .. } | Self::Within { count, .. } => {
                if count == 0 {
                    1
                } else {
                    count
                }
            }
        }
    }

    /// The address of that number.
    fn address(self, number: u32) -> IpAddr {
        match self {
            Self::Single(address) => address,
            Self::Anywhere { family: Family::V4, .. } => {
                let [first, rest @ ..] = scramble(u64::from(number)).to_be_bytes();
                IpAddr::V4(Ipv4Addr::new(public_octet(first), rest[0], rest[1], rest[2]))
            }
            Self::Anywhere { family: Family::V6, .. } => {
                // 2a00::/12, the registry of Europe's addresses.
                within(0x2a00 << 112, 12, 128, number).into_ipv6()
            }
            Self::Within { network: IpAddr::V4(network), length, .. } => {
                within(u128::from(network.to_bits()), length, 32, number).into_ipv4()
            }
            Self::Within { network: IpAddr::V6(network), length, .. } => {
                within(network.to_bits(), length, 128, number).into_ipv6()
            }
        }
    }
}

/// Multiplication by an odd number: different numbers stay different in their lowest n bits.
const fn scramble(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// First octets that are public unicast as a whole.
const fn public_octet(random: u8) -> u8 {
    match random {
        0 | 10 | 100 | 127 | 169 | 172 | 192 | 198 | 203 | 224.. => 11 + random % 79,
        octet => octet,
    }
}

fn within(network: u128, length: u8, bits: u32, number: u32) -> Address {
    let host_bits = bits.saturating_sub(u32::from(length));
    let mask = 1_u128.checked_shl(host_bits).map_or(u128::MAX, |size| size - 1);
    let spread = scramble(u64::from(number));
    // Of long IPv6 prefixes the upper bits vary too, as those of real networks do.
    let host = if host_bits > 64 {
        (u128::from(spread) << (host_bits - 64)) | u128::from(number)
    } else {
        u128::from(spread)
    };
    Address((network & !mask) | (host & mask))
}

struct Address(u128);

impl Address {
    const fn into_ipv4(self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(self.0 as u32))
    }

    const fn into_ipv6(self) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from_bits(self.0))
    }
}

/// How a flood goes.
#[derive(Clone, Copy, Debug)]
pub struct FloodOptions {
    /// What is sent.
    pub attack: Attack,
    /// From whom.
    pub sources: Sources,
    /// To whom; of the sources' IP version.
    pub target: IpAddr,
    /// Packets per second; 0 for as many as one core can send.
    pub rate_per_second: u64,
    /// The core that sends, if it matters.
    pub cpu: Option<usize>,
    /// It ends by itself after this.
    pub max_duration: Duration,
}

/// A running flood. Stopped when dropped.
#[derive(Debug)]
pub struct Flood {
    shared: Arc<Shared>,
    started: Instant,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    sent: AtomicU64,
    stopped: AtomicBool,
}

impl Flood {
    /// Starts a flood out of an interface of a namespace, to the hardware address of the other end.
    ///
    /// # Errors
    /// When addresses are of two IP versions, there is no such interface, or not root.
    pub fn start(
        namespace: &Namespace,
        interface: &str,
        target_mac: Mac,
        options: FloodOptions,
    ) -> Result<Self> {
        if options.target.is_ipv4() != (options.sources.family() == Family::V4) {
            bail!("the flood's sources and its target are of different IP versions");
        }
        let shared = Arc::new(Shared::default());
        let macs = (namespace.mac(interface)?, target_mac);
        let (interface, watched) = (interface.to_owned(), Arc::clone(&shared));
        // The socket is made here, so that its errors are the caller's.
        let socket = namespace.inside(move || {
            PacketSocket::open(interface_index(&interface)?).context("opening a packet socket")
        })?;
        let thread = namespace.thread("flood", move || {
            if let Some(cpu) = options.cpu {
                let mut set = CpuSet::new();
                set.set(cpu);
                sched_setaffinity(None, &set).with_context(|| format!("running on CPU {cpu}"))?;
            }
            send(&socket, templates(&options, macs), &options, &watched)
        })?;
        Ok(Self { shared, started: Instant::now(), thread: Some(thread) })
    }

    /// Packets that left so far.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Whether it still sends.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Ends it, and says how many packets left in how long.
    ///
    /// # Errors
    /// When it ended early, and why.
    pub fn stop(mut self) -> Result<(u64, Duration)> {
        self.shared.stopped.store(true, Ordering::Relaxed);
        let elapsed = self.started.elapsed();
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| anyhow!("the flood's thread panicked"))??;
        }
        Ok((self.sent(), elapsed))
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its errors were for `stop`.
            let _ = thread.join();
        }
    }
}

fn send(
    socket: &PacketSocket,
    templates: Vec<Template>,
    options: &FloodOptions,
    shared: &Shared,
) -> Result<()> {
    let started = Instant::now();
    let mut random = Random::new();
    let mut number = 0_u32;
    // A batch has its own copies, so that it is patched in place and sent at once.
    let mut batch: Vec<Template> = templates.into_iter().cycle().take(BATCH).collect();
    let mut due = 0_u64;
    while !shared.stopped.load(Ordering::Relaxed) && started.elapsed() < options.max_duration {
        let size = match options.rate_per_second {
            0 => BATCH,
            rate => {
                let allowed = (started.elapsed().as_secs_f64() * rate as f64) as u64;
                let size = allowed.saturating_sub(due).min(BATCH as u64);
                if size == 0 {
                    thread::sleep(Duration::from_micros(500));
                    continue;
                }
                due += size;
                size as usize
            }
        };
        // From the ring's start at full rate; a rate below uses all kinds of packets in turn.
        batch.rotate_left(size % BATCH);
        for template in batch.iter_mut().take(size) {
            template.patch(options.sources.address(number), &mut random);
            number = (number + 1) % options.sources.count();
        }
        let sent = send_all(socket, batch.iter().take(size).map(|template| &template.frame[..]))?;
        shared.sent.fetch_add(sent, Ordering::Relaxed);
    }
    Ok(())
}

/// Sends what can be sent. A frame that the interface has no room for is lost, as on a wire.
fn send_all<'a>(
    socket: &PacketSocket,
    mut frames: impl Iterator<Item = &'a [u8]> + Clone,
) -> Result<u64> {
    let mut total = 0;
    while frames.clone().next().is_some() {
        let skipped = match socket.send(frames.clone()) {
            Ok(sent) => {
                total += sent as u64;
                sent.max(1)
            }
            Err(error) if is_lost(&error) => 1,
            Err(error) => return Err(error).context("sending a frame"),
        };
        frames.nth(skipped - 1);
    }
    Ok(total)
}

fn is_lost(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EAGAIN | libc::EINTR))
}

/// A finished frame, and what of it changes from one packet to the next. Changes are made by 16-bit
/// words, so that checksums follow by one addition each.
#[derive(Clone, Debug)]
struct Template {
    frame: Vec<u8>,
    /// Where the source address is, unless it stays.
    source: Option<usize>,
    /// Words that become random.
    random: Vec<usize>,
    /// Words that become two random letters.
    letters: Vec<usize>,
    ip_checksum: Option<usize>,
    transport_checksum: Option<usize>,
    /// Whether a zero checksum means "none", so that a computed one is sent as all ones.
    udp: bool,
}

impl Template {
    fn new(frame: &Frame, is_ipv4: bool, udp: bool) -> Self {
        let layout = frame.layout();
        Self {
            frame: frame.build(),
            source: Some(layout.ip + if is_ipv4 { 12 } else { 8 }),
            random: Vec::new(),
            letters: Vec::new(),
            ip_checksum: is_ipv4.then_some(layout.ip + 10),
            transport_checksum: Some(layout.transport + if udp { 6 } else { 16 }),
            udp,
        }
    }

    fn patch(&mut self, source: IpAddr, random: &mut Random) {
        if let Some(at) = self.source {
            match source {
                IpAddr::V4(source) => self.patch_address(at, &source.octets()),
                IpAddr::V6(source) => self.patch_address(at, &source.octets()),
            }
        }
        for which in 0..self.random.len() {
            if let Some(&at) = self.random.get(which) {
                self.patch_word(at, random.next_u16(), false);
            }
        }
        for which in 0..self.letters.len() {
            if let Some(&at) = self.letters.get(which) {
                let word = random.next_u16();
                let letter = |bits: u16| b'a' + (bits & 0xff) as u8 % 26;
                let word = u16::from_be_bytes([letter(word >> 8), letter(word)]);
                self.patch_word(at, word, false);
            }
        }
    }

    fn patch_address(&mut self, at: usize, octets: &[u8]) {
        for (offset, word) in octets.as_chunks::<2>().0.iter().enumerate() {
            self.patch_word(at + 2 * offset, u16::from_be_bytes(*word), true);
        }
    }

    /// Changes a word. The IPv4 header's checksum covers the addresses, the transport's all.
    fn patch_word(&mut self, at: usize, new: u16, in_ip_header: bool) {
        let Some(old) = self.word(at) else { return };
        self.set_word(at, new);
        let ip = self.ip_checksum.filter(|_| in_ip_header);
        for checksum_at in [ip, self.transport_checksum].into_iter().flatten() {
            if let Some(checksum) = self.word(checksum_at) {
                let updated = match checksum::update(checksum, old, new) {
                    0 if self.udp && Some(checksum_at) == self.transport_checksum => 0xffff,
                    updated => updated,
                };
                self.set_word(checksum_at, updated);
            }
        }
    }

    fn word(&self, at: usize) -> Option<u16> {
        self.frame.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
    }

    fn set_word(&mut self, at: usize, value: u16) {
        if let Some(word) = self.frame.get_mut(at..at + 2) {
            word.copy_from_slice(&value.to_be_bytes());
        }
    }
}

/// What the attack is made of, to be sent in turn.
fn templates(options: &FloodOptions, (source_mac, target_mac): (Mac, Mac)) -> Vec<Template> {
    let is_ipv4 = options.target.is_ipv4();
    let (source, target) = (options.sources.address(0), options.target);
    let to = |frame: fn(SocketAddr, SocketAddr) -> Frame, port: u16| {
        frame(SocketAddr::new(source, 40_000), SocketAddr::new(target, port))
            .macs(source_mac, target_mac)
    };
    let udp = |port| to(frames::udp, port);
    let tcp = |port| to(frames::tcp, port);
    let template = |frame: &Frame, is_udp: bool| {
        let transport = frame.layout().transport;
        let mut template = Template::new(frame, is_ipv4, is_udp);
        template.random.push(transport);
        template
    };
    match options.attack {
        Attack::DnsRandom => {
            let frame = udp(53).payload(Query::new(&format!("aaaaaaaaaaaaaaa.{ZONE}"), TYPE_A));
            let payload = frame.layout().payload;
            let mut template = template(&frame, true);
            template.random.push(payload);
            // The label's length and its first letter share a word, which stays.
            template.letters = (0..7).map(|word| payload + DNS_HEADER + 2 + 2 * word).collect();
            vec![template]
        }
        Attack::DnsFixed => {
            let frame = udp(53).payload(Query::new(&format!("www.{ZONE}"), TYPE_A));
            let mut template = template(&frame, true);
            template.random.push(frame.layout().payload);
            vec![template]
        }
        Attack::RadiusJunk => {
            let packet = Packet::pap(0, [0; 16], b"not the secret", "nobody", "nothing");
            let frame = udp(1812).payload(packet);
            let authenticator = frame.layout().payload + 4;
            let mut template = template(&frame, true);
            template.random.extend((0..8).map(|word| authenticator + 2 * word));
            vec![template]
        }
        Attack::SmtpSyn => {
            let frame = tcp(25).tcp_options(&[2, 4, 5, 0xb4]);
            let transport = frame.layout().transport;
            let mut template = template(&frame, false);
            template.random.extend([transport + 4, transport + 6]);
            vec![template]
        }
        Attack::Malformed => malformed(&udp, &tcp, (source_mac, target_mac), target),
    }
}

fn malformed(
    udp: &dyn Fn(u16) -> Frame,
    tcp: &dyn Fn(u16) -> Frame,
    (source_mac, target_mac): (Mac, Mac),
    target: IpAddr,
) -> Vec<Template> {
    use tcp_flags::{ACK, FIN, PSH, RST, SYN, URG};

    let is_ipv4 = target.is_ipv4();
    let query = || Query::new(&format!("www.{ZONE}"), TYPE_A);
    let dns = |query: Query| udp(53).payload(query);
    let udp_frames = [
        dns(query()).version(7),
        dns(query()).udp_length(7),
        dns(query()).udp_length(0xffff),
        dns(query()).ip_length(0xffff),
        dns(query()).transport_checksum(0xbad0),
        dns(query()).fragment(0, true),
        dns(query()).fragment(3, false),
        dns(query().flags(FLAG_RESPONSE)),
        dns(query().flags(0x7800)),
        dns(query().counts([0, 0, 0, 0])),
        dns(query().counts([2, 0, 0, 0])),
        dns(query().raw_name(b"\x3fshort\0")),
        dns(query().raw_name(b"\xc0\x0c")),
        dns(query().raw_name(&[1, b'a'].repeat(130))),
        udp(53).payload([0; 5]),
        udp(53).payload([0xff; 300]),
        udp(1812).payload(Packet::new(ACCESS_REQUEST, 1, [7; 16]).length(19)),
        udp(1812).payload(Packet::new(ACCESS_REQUEST, 1, [7; 16]).length(4_096)),
        udp(1812).payload(Packet::new(ACCESS_REQUEST, 1, [7; 16]).raw_attributes(&[1, 0])),
        udp(1812).payload(Packet::new(99, 1, [7; 16])),
    ];
    let tcp_frames = [
        tcp(25).flags(0),
        tcp(25).flags(FIN | PSH | URG),
        tcp(25).flags(SYN | FIN),
        tcp(25).flags(SYN | RST),
        tcp(25).flags(SYN | FIN | RST | PSH | ACK | URG),
        tcp(25).data_offset(2),
        tcp(25).data_offset(15),
    ];
    let mut templates: Vec<Template> = udp_frames
        .iter()
        .map(|frame| (frame, true))
        .chain(tcp_frames.iter().map(|frame| (frame, false)))
        .map(|(frame, is_udp)| Template::new(frame, is_ipv4, is_udp))
        .collect();
    if is_ipv4 {
        let broken = [0, 1, 4, 15].map(|ihl| dns(query()).ihl(ihl));
        templates.extend(broken.iter().map(|frame| Template::new(frame, true, true)));
    }
    let whole = dns(query()).layout().payload;
    templates.extend([whole + 9, whole, whole - 5, whole - 8, 15].map(|length| {
        let cut = Template::new(&dns(query()).truncate(length), is_ipv4, true);
        // What was cut off is not patched, and its checksum covers it in vain.
        Template { source: cut.source.filter(|at| at + 16 < length), ..cut }
    }));
    let land = frames::udp(SocketAddr::new(target, 53), SocketAddr::new(target, 53))
        .macs(source_mac, target_mac)
        .payload(query());
    templates.push(Template { source: None, ..Template::new(&land, is_ipv4, true) });
    templates
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn options(attack: Attack, sources: Sources) -> FloodOptions {
        let target = match sources.family() {
            Family::V4 => IpAddr::V4(crate::topology::SERVICE_V4),
            Family::V6 => IpAddr::V6(crate::topology::SERVICE_V6),
        };
        FloodOptions {
            attack,
            sources,
            target,
            rate_per_second: 0,
            cpu: None,
            max_duration: Duration::ZERO,
        }
    }

    #[test]
    fn patched_packets_keep_right_checksums() {
        let mut random = Random::seeded(1);
        let attacks = [Attack::DnsRandom, Attack::DnsFixed, Attack::RadiusJunk, Attack::SmtpSyn];
        for (attack, family) in
            attacks.iter().flat_map(|attack| Family::BOTH.map(|family| (*attack, family)))
        {
            let options = options(attack, Sources::Anywhere { family, count: 1_000 });
            let [mut template] = templates(&options, ([2; 6], [4; 6])).try_into().unwrap();
            for number in 0..1_000 {
                let source = options.sources.address(number);
                template.patch(source, &mut random);
                let header = if family == Family::V4 { 20 } else { 40 };
                let (ip, transport) = template.frame[14..].split_at(header);
                if family == Family::V4 {
                    assert_eq!(checksum::of(&[ip]), 0, "{attack:?}");
                }
                let protocol = if attack == Attack::SmtpSyn { 6 } else { 17 };
                let sum = checksum::of_transport(source, options.target, protocol, transport);
                assert_eq!(sum, 0, "{attack:?} {family:?}");
            }
        }
    }

    #[test]
    fn random_labels_are_valid_and_differ() {
        let mut random = Random::seeded(2);
        let options =
            options(Attack::DnsRandom, Sources::Single(Ipv4Addr::new(198, 51, 100, 9).into()));
        let [mut template] = templates(&options, ([2; 6], [4; 6])).try_into().unwrap();
        let names: HashSet<Vec<u8>> = (0..1_000)
            .map(|_| {
                template.patch(options.sources.address(0), &mut random);
                let name = &template.frame[14 + 20 + 8 + 12..];
                assert_eq!(name[0], 15);
                assert!(name[1..16].iter().all(u8::is_ascii_lowercase));
                assert_eq!(&name[16..], b"\x03lab\x04test\0\0\x01\0\x01");
                name.to_vec()
            })
            .collect();
        assert_eq!(names.len(), 1_000);
    }

    #[test]
    fn sources_are_as_many_as_asked_for_and_where_they_should_be() {
        let distinct = |sources: Sources, count: u32| {
            (0..count).map(|number| sources.address(number)).collect::<HashSet<_>>()
        };
        let customers = distinct(Sources::within("100.64.0.0/16", 60_000).unwrap(), 60_000);
        assert_eq!(customers.len(), 60_000);
        assert!(customers.iter().all(|ip| ip.to_string().starts_with("100.64.")));
        let customers = distinct(Sources::within("2001:db8:6400::/40", 100_000).unwrap(), 100_000);
        assert_eq!(customers.len(), 100_000);
        assert!(customers.iter().all(|ip| ip.to_string().starts_with("2001:db8:64")));
        let anywhere = distinct(Sources::Anywhere { family: Family::V6, count: 1 }, 100_000);
        assert_eq!(anywhere.len(), 100_000);
        assert!(anywhere.iter().all(|ip| ip.to_string().starts_with("2a0")));
        let anywhere = distinct(Sources::Anywhere { family: Family::V4, count: 1 }, 100_000);
        assert!(anywhere.len() > 99_000);
        for ip in anywhere {
            let IpAddr::V4(ip) = ip else { panic!("{ip}") };
            let special = ip.is_private() || ip.is_loopback() || ip.is_link_local();
            assert!(!special && !ip.is_multicast() && !ip.is_documentation(), "{ip}");
            assert!(!matches!(ip.octets()[0], 0 | 100 | 240..), "{ip}");
        }
        for wrong in ["", "1.2.3.4", "1.2.3.4/33", "x/8", "::/129"] {
            assert!(Sources::within(wrong, 1).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_malformed_frame_can_be_sent() {
        for family in Family::BOTH {
            let options = options(Attack::Malformed, Sources::Anywhere { family, count: 9 });
            let mut all = templates(&options, ([2; 6], [4; 6]));
            assert!((30..=BATCH).contains(&all.len()), "{}: all in one batch", all.len());
            for template in &mut all {
                template.patch(options.sources.address(3), &mut Random::seeded(3));
                assert!((15..=1_514).contains(&template.frame.len()));
            }
        }
    }
}
