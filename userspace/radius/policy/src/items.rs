//! Reply items, encoded once into what stands in a packet, and who of several givers wins.
//!
//! A subscriber's own items are nearest to him, then his profiles in their order, each before its parents. The nearest
//! wins:
//! - `=` gives an attribute, unless one who is nearer gave it by `=` or `:=`;
//! - `:=` gives it likewise, and takes away what those farther off add;
//! - `+=` gives it beside what others give, unless one who is nearer said `:=`;
//! - `!*` gives nothing, and neither may those farther off.
//!
//! Within one list every item is given, but that `:=` replaces what stands before it. So several `Cisco-AVPair = ...`
//! in a list are all sent. Attributes with different tags (RFC 2868) are different attributes.

use muralla_radius_dictionary::{Dictionary, EncodeError, Hidden, Hiding, Operator, Pair, Place};
use muralla_radius_wire::{Target, Writer, kind};

/// Most bytes of one list: what is left of a packet after everything else that may have to go into it.
pub const LONGEST: usize = 3000;

/// Which attribute it is: its numbers, and its tag.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Key(u64);

impl Key {
    /// An attribute of its own.
    pub(crate) const fn top(kind: u8) -> Self {
        Self::of(&[kind as u32], None)
    }

    /// An attribute of a vendor.
    pub(crate) const fn vendor(vendor: u32, kind: u8) -> Self {
        Self::of(&[kind::VENDOR_SPECIFIC as u32, vendor, kind as u32], None)
    }

    /// No attribute.
    pub(crate) const NONE: Self = Self::of(&[], None);

    /// Hashed: they come from the operator's files, and 64 bits don't collide by chance.
    const fn of(mut numbers: &[u32], tag: Option<u8>) -> Self {
        let mut hash = 0xcbf2_9ce4_8422_2325;
        while let [number, rest @ ..] = numbers {
            hash = Self::mixed(hash, *number as u64 + 1);
            numbers = rest;
        }
        Self(match tag {
            // An attribute without a tag is the same as with tag 0.
            None | Some(0) => hash,
            Some(tag) => Self::mixed(hash, (tag as u64) << 32),
        })
    }

    const fn mixed(hash: u64, word: u64) -> u64 {
        let hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^ hash >> 29
    }
}

/// Encoded items.
#[derive(Clone, Debug, Default)]
pub(crate) struct Items {
    bytes: Box<[u8]>,
    parts: Box<[Part]>,
}

#[derive(Clone, Debug)]
struct Part {
    key: Key,
    force: Force,
    content: Content,
}

/// Which operator gave it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Force {
    Default,
    Set,
    Add,
    Absent,
}

#[derive(Clone, Debug)]
enum Content {
    /// From and until where in the bytes.
    Bytes(u16, u16),
    /// What the NAS's secret hides.
    Hidden(Box<Hidden>),
    Nothing,
}

/// Why an item can't be given.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ItemError {
    /// It can't be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The operator gives nothing.
    #[error("{attribute}: {operator} gives nothing in a reply; use :=, =, += or !*")]
    Operator {
        /// The attribute.
        attribute: String,
        /// The operator.
        operator: &'static str,
    },
    /// The attribute has no place in an accept.
    #[error("{attribute} has no place in an Access-Accept: leave it out")]
    Place {
        /// The attribute.
        attribute: String,
    },
    /// All items together are too long.
    #[error(
        "the reply items have more than {LONGEST} bytes together: a packet has room for no more"
    )]
    TooLong,
}

impl Items {
    /// Encodes a list.
    pub(crate) fn new(dictionary: &Dictionary, pairs: &[Pair]) -> Result<Self, ItemError> {
        let mut bytes = Vec::new();
        let mut parts: Vec<Part> = Vec::new();
        // What lies within the same outer attribute goes into one.
        for run in pairs.chunk_by(share_an_attribute) {
            let Some(first) = run.first() else { continue };
            let key = Key::of(outer_numbers(first), first.tag);
            let force = force(first)?;
            if force == Force::Set || force == Force::Absent {
                parts.retain(|part| part.key != key);
            }
            if force == Force::Absent {
                parts.push(Part { key, force, content: Content::Nothing });
                continue;
            }
            let from = bytes.len();
            let hidden = dictionary.encode_all(run, &mut bytes)?;
            if bytes.len() > LONGEST {
                return Err(ItemError::TooLong);
            }
            if bytes.len() > from {
                let place = |at: usize| u16::try_from(at).unwrap_or(u16::MAX);
                let content = Content::Bytes(place(from), place(bytes.len()));
                parts.push(Part { key, force, content });
            }
            for hidden in hidden {
                if hidden.plain.len() > most_hidden(hidden.hiding) {
                    return Err(ItemError::TooLong);
                }
                parts.push(Part { key, force, content: Content::Hidden(Box::new(hidden)) });
            }
        }
        let items = Self { bytes: bytes.into(), parts: parts.into() };
        // Set drops what stood before it.
        Ok(items.over(&Self::default()))
    }

    /// These, which are nearer, and of the others what they leave room for. May be longer than [`LONGEST`].
    #[must_use]
    pub(crate) fn over(&self, others: &Self) -> Self {
        let mut bytes = Vec::new();
        let mut parts = Vec::new();
        let far = others.parts.iter().filter(|part| !self.blocks(part)).map(|part| (others, part));
        for (items, part) in self.parts.iter().map(|part| (self, part)).chain(far) {
            let content = match &part.content {
                Content::Bytes(from, until) => {
                    let start = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
                    bytes.extend_from_slice(items.slice(*from, *until));
                    Content::Bytes(start, u16::try_from(bytes.len()).unwrap_or(u16::MAX))
                }
                other => other.clone(),
            };
            parts.push(Part { key: part.key, force: part.force, content });
        }
        Self { bytes: bytes.into(), parts: parts.into() }
    }

    /// Bytes of all, what is hidden not counted.
    pub(crate) fn length(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing is given or taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether they say something of an attribute: give it, or keep others from it.
    pub(crate) fn has(&self, key: Key) -> bool {
        self.parts.iter().any(|part| part.key == key)
    }

    /// Whether there is something that the NAS's secret hides.
    fn hides(&self) -> bool {
        self.parts.iter().any(|part| matches!(part.content, Content::Hidden(_)))
    }

    /// Whether they keep one that is farther off from giving this.
    fn blocks(&self, far: &Part) -> bool {
        self.parts.iter().filter(|near| near.key == far.key).any(|near| match near.force {
            Force::Set | Force::Absent => true,
            Force::Default => far.force != Force::Add,
            Force::Add => false,
        })
    }

    fn slice(&self, from: u16, until: u16) -> &[u8] {
        self.bytes.get(usize::from(from)..usize::from(until)).unwrap_or_default()
    }
}

/// Writes the items of several givers, the nearest first. `left_out` are attributes that something else gives. No salt
/// comes twice.
pub(crate) fn write<'a, L>(levels: L, left_out: &[Key], salts: &mut Salts, writer: &mut Writer<'_>)
where
    L: Iterator<Item = &'a Items> + Clone,
{
    for (at, items) in levels.clone().enumerate() {
        // The usual case: one list, and all of it.
        if at == 0 && !items.hides() && !left_out.iter().any(|key| items.has(*key)) {
            writer.append(&items.bytes);
            continue;
        }
        let given = |part: &Part| {
            !left_out.contains(&part.key) && !levels.clone().take(at).any(|near| near.blocks(part))
        };
        for part in items.parts.iter().filter(|part| given(part)) {
            match &part.content {
                Content::Bytes(from, until) => writer.append(items.slice(*from, *until)),
                Content::Hidden(hidden) => write_hidden(hidden, salts, writer),
                Content::Nothing => {}
            }
        }
    }
}

fn write_hidden(hidden: &Hidden, salts: &mut Salts, writer: &mut Writer<'_>) {
    let Hidden { hiding, vendor, kind, tag, plain } = hidden;
    let vendor = (*vendor != 0).then_some(*vendor);
    let target = Target { vendor, kind: *kind, tag: *tag };
    match hiding {
        Hiding::TunnelPassword => writer.push_salted(target, salts.next(), plain),
        _ => writer.push_hidden(target, plain),
    }
}

/// Salts for one packet (RFC 2868 section 3.5): none comes twice.
#[derive(Clone, Copy, Debug)]
pub struct Salts(u16);

impl Salts {
    /// Begins at a random one.
    pub fn from_random(random: u16) -> Self {
        Self(random)
    }

    pub(crate) fn next(&mut self) -> [u8; 2] {
        // The highest bit is always set, and so is none of the count.
        self.0 = self.0.wrapping_add(1) & 0x7fff;
        (self.0 | 0x8000).to_be_bytes()
    }
}

fn force(pair: &Pair) -> Result<Force, ItemError> {
    let attribute = &pair.attribute;
    let name = || attribute.name().to_owned();
    // Of the request, of the dialogue, or made by others here.
    const NEVER: [u8; 7] = [
        kind::USER_PASSWORD,
        kind::CHAP_PASSWORD,
        kind::PROXY_STATE,
        kind::CHAP_CHALLENGE,
        kind::EAP_MESSAGE,
        kind::MESSAGE_AUTHENTICATOR,
        kind::ERROR_CAUSE,
    ];
    if let (Place::Top, [number]) = (attribute.place(), attribute.numbers())
        && NEVER.iter().any(|kind| u32::from(*kind) == *number)
    {
        return Err(ItemError::Place { attribute: name() });
    }
    match pair.operator {
        Operator::Equal => Ok(Force::Default),
        Operator::Set => Ok(Force::Set),
        Operator::Add => Ok(Force::Add),
        Operator::Absent => Ok(Force::Absent),
        other => Err(ItemError::Operator { attribute: name(), operator: other.symbol() }),
    }
}

/// Numbers that lead to the outermost value; those behind are in TLVs.
fn outer_numbers(pair: &Pair) -> &[u32] {
    let depth = match pair.attribute.place() {
        Place::Internal | Place::Top => 1,
        Place::Vendor => 3,
        Place::Extended { .. } => 2,
        Place::ExtendedVendor { .. } => 4,
    };
    let numbers = pair.attribute.numbers();
    numbers.get(..depth).unwrap_or(numbers)
}

fn share_an_attribute(one: &Pair, other: &Pair) -> bool {
    let inside = |pair: &Pair| pair.attribute.numbers().len() > outer_numbers(pair).len();
    inside(one)
        && inside(other)
        && one.operator == other.operator
        && outer_numbers(one) == outer_numbers(other)
}

fn most_hidden(hiding: Hiding) -> usize {
    match hiding {
        Hiding::TunnelPassword => 239,
        _ => 128,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use muralla_radius_wire::{Code, Packet, Secret};

    use super::*;

    fn items(texts: &[&str]) -> Result<Items, ItemError> {
        let dictionary = Dictionary::built_in();
        let pairs: Vec<Pair> = texts
            .iter()
            .map(|text| {
                Pair::parse(&dictionary, text).unwrap_or_else(|why| panic!("{text}: {why}"))
            })
            .collect();
        Items::new(&dictionary, &pairs)
    }

    /// What is sent, in the notation of the lists.
    fn sent(levels: &[&[&str]], left_out: &[Key]) -> Vec<String> {
        let levels: Vec<Items> = levels.iter().map(|list| items(list).unwrap()).collect();
        let once = written(&levels, left_out);
        // Merged before or while they are written: the same.
        let merged = levels.iter().rev().fold(Items::default(), |far, near| near.over(&far));
        assert_eq!(written(&[merged], left_out), once);
        once
    }

    fn written(levels: &[Items], left_out: &[Key]) -> Vec<String> {
        let dictionary = Dictionary::built_in();
        let secret = Secret::new("secret").unwrap();
        let mut request = [0; 64];
        let writer = Writer::request(&mut request, Code::ACCESS_REQUEST, 1, [7; 16], &secret);
        let length = writer.finish().unwrap();
        let request = Packet::parse(&request[..length]).unwrap();
        let mut bytes = [0; 4096];
        let mut writer = Writer::reply(&mut bytes, Code::ACCESS_ACCEPT, &request, &secret);
        write(levels.iter(), left_out, &mut Salts::from_random(9), &mut writer);
        let length = writer.finish().unwrap();
        let packet = Packet::parse(&bytes[..length]).unwrap();
        let attributes = packet.attribute_bytes().get(18..).unwrap();
        dictionary
            .decode(attributes)
            .iter()
            .map(|pair| {
                let mut text = pair.attribute.name().to_owned();
                if let Some(tag) = pair.tag {
                    let _ = write!(text, ":{tag}");
                }
                match pair.attribute.is_secret() {
                    true => text,
                    false => format!("{text} {}", pair.value.shown(&pair.attribute)),
                }
            })
            .collect()
    }

    #[test]
    fn the_nearest_wins() {
        let cases: &[(&[&[&str]], &[&str])] = &[
            (&[&["Idle-Timeout = 1"], &["Idle-Timeout = 2"]], &["Idle-Timeout 1"]),
            (&[&["Idle-Timeout = 1"], &["Idle-Timeout := 2"]], &["Idle-Timeout 1"]),
            (&[&["Idle-Timeout := 1"], &["Idle-Timeout = 2"]], &["Idle-Timeout 1"]),
            (&[&["Idle-Timeout := 1"], &["Idle-Timeout += 2"]], &["Idle-Timeout 1"]),
            (
                &[&["Idle-Timeout = 1"], &["Idle-Timeout += 2"]],
                &["Idle-Timeout 1", "Idle-Timeout 2"],
            ),
            (
                &[&["Idle-Timeout += 1"], &["Idle-Timeout := 2"]],
                &["Idle-Timeout 1", "Idle-Timeout 2"],
            ),
            (
                &[&["Idle-Timeout += 1"], &["Idle-Timeout += 2"]],
                &["Idle-Timeout 1", "Idle-Timeout 2"],
            ),
            (&[&["Idle-Timeout !* ANY"], &["Idle-Timeout := 2", "NAS-Port = 3"]], &["NAS-Port 3"]),
            // Within one list.
            (&[&["Idle-Timeout = 1", "Idle-Timeout = 2"]], &["Idle-Timeout 1", "Idle-Timeout 2"]),
            (&[&["Idle-Timeout = 1", "Idle-Timeout := 2"]], &["Idle-Timeout 2"]),
            (&[&["Idle-Timeout := 1", "Idle-Timeout += 2"]], &["Idle-Timeout 1", "Idle-Timeout 2"]),
            (&[&["Idle-Timeout := 1", "Idle-Timeout !* ANY"]], &[]),
            // Over three.
            (
                &[&["Idle-Timeout += 1"], &["Idle-Timeout := 2"], &["Idle-Timeout += 3"]],
                &["Idle-Timeout 1", "Idle-Timeout 2"],
            ),
            (
                &[&["NAS-Port = 9"], &["Idle-Timeout = 2"], &["Idle-Timeout = 3", "NAS-Port = 8"]],
                &["NAS-Port 9", "Idle-Timeout 2"],
            ),
            // Vendors' attributes are told apart by their own numbers.
            (
                &[
                    &["Cisco-AVPair = \"a\"", "Cisco-AVPair = \"b\""],
                    &["Cisco-AVPair = \"c\"", "Mikrotik-Group = \"g\""],
                ],
                &["Cisco-AVPair \"a\"", "Cisco-AVPair \"b\"", "Mikrotik-Group \"g\""],
            ),
            // And so are tags.
            (
                &[&["Tunnel-Type:1 = L2TP"], &["Tunnel-Type:2 = PPTP", "Tunnel-Type:1 = PPTP"]],
                &["Tunnel-Type:1 L2TP", "Tunnel-Type:2 PPTP"],
            ),
        ];
        for (levels, expected) in cases {
            assert_eq!(sent(levels, &[]), *expected, "{levels:?}");
        }
    }

    #[test]
    fn what_something_else_gives_is_left_out() {
        let levels: [&[&str]; 2] = [
            &["Framed-IP-Address = 192.0.2.1", "NAS-Port = 1"],
            &["Framed-IP-Address += 192.0.2.2", "Idle-Timeout = 2"],
        ];
        let key = Key::top(kind::FRAMED_IP_ADDRESS);
        assert_eq!(sent(&levels, &[key]), ["NAS-Port 1", "Idle-Timeout 2"]);
        assert_eq!(sent(&levels, &[]).len(), 4);
    }

    #[test]
    fn hidden_items_are_hidden_with_salts_of_their_own() {
        let levels: [&[&str]; 2] = [
            &["Tunnel-Password:1 = \"first\""],
            &["Tunnel-Password:1 = \"loses\"", "Tunnel-Password:2 = \"second\"", "NAS-Port = 1"],
        ];
        assert_eq!(sent(&levels, &[]), ["Tunnel-Password:1", "Tunnel-Password:2", "NAS-Port 1"]);
        let mut salts = Salts::from_random(u16::MAX);
        let all: std::collections::HashSet<_> = (0..0x8000).map(|_| salts.next()).collect();
        assert_eq!(all.len(), 0x8000);
        assert!(all.iter().all(|salt| salt[0] & 0x80 != 0));
    }

    #[test]
    fn what_can_not_be_given_is_refused() {
        for text in [
            "Idle-Timeout == 1",
            "Idle-Timeout =~ \"1\"",
            "User-Password = secret",
            "Message-Authenticator = 0x00000000000000000000000000000000",
            "Proxy-State = 0x00",
            "Simultaneous-Use = 1",
        ] {
            let error = items(&[text]).expect_err(text).to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        let long = format!("Reply-Message = \"{}\"", "x".repeat(240));
        assert!(items(&[&*long; 12]).is_ok());
        assert_eq!(items(&[&*long; 13]).err(), Some(ItemError::TooLong));
    }
}
