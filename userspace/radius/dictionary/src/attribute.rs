//! What one attribute is called, where it stands in a packet, and how its value looks.

use std::collections::HashMap;
use std::fmt;

use crate::names::NameIndex;

/// An attribute of a dictionary, or one that no dictionary knows (`Attr-26.9.200`).
#[derive(Clone)]
pub struct Attribute {
    pub(crate) name: Box<str>,
    pub(crate) numbers: Box<[u32]>,
    pub(crate) place: Place,
    pub(crate) kind: Type,
    pub(crate) flags: Flags,
    pub(crate) known: bool,
    pub(crate) values: Option<Box<ValueNames>>,
}

impl Attribute {
    /// One that no dictionary knows: its value is octets.
    pub(crate) fn unknown(numbers: Box<[u32]>, place: Place) -> Self {
        let mut name = String::from("Attr");
        for (at, number) in numbers.iter().enumerate() {
            name.push(if at == 0 { '-' } else { '.' });
            name.push_str(&number.to_string());
        }
        Self {
            name: name.into(),
            numbers,
            place,
            kind: Type::Octets,
            flags: Flags::default(),
            known: false,
            values: None,
        }
    }

    /// Its name, in the letter case of its dictionary.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All numbers that lead to it from the top of a packet: `[1]` for User-Name, `[26, 9, 1]` for Cisco-AVPair,
    /// `[241, 26, VENDOR, 1]` for an extended vendor-specific one. Above 255 at the top for internal ones.
    pub fn numbers(&self) -> &[u32] {
        &self.numbers
    }

    /// The vendor's number, if it is a vendor's.
    pub fn vendor(&self) -> Option<u32> {
        match self.place {
            Place::Internal | Place::Top | Place::Extended { .. } => None,
            Place::Vendor => self.numbers.get(1).copied(),
            Place::ExtendedVendor { .. } => self.numbers.get(2).copied(),
        }
    }

    /// Where in a packet it stands.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Type of its value.
    pub fn kind(&self) -> Type {
        self.kind
    }

    /// Whether it may carry a tag (RFC 2868).
    pub fn tagged(&self) -> bool {
        self.flags.tagged
    }

    /// How its value is hidden in a packet.
    pub fn hiding(&self) -> Hiding {
        self.flags.hiding
    }

    /// Whether a value is spread over as many attributes as it needs, one after the other (EAP-Message).
    pub fn concat(&self) -> bool {
        self.flags.concat
    }

    /// Whether it is for the server alone, and never in a packet.
    pub fn is_internal(&self) -> bool {
        self.place == Place::Internal
    }

    /// Whether a dictionary has it.
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// Whether its value must not be shown: passwords, on the wire or in the base.
    pub fn is_secret(&self) -> bool {
        self.flags.secret || self.flags.hiding != Hiding::None
    }

    /// The name of a value, if it has one.
    pub fn value_name(&self, number: u64) -> Option<&str> {
        self.values.as_ref()?.name_of(number)
    }

    /// The number that a name stands for, in any letter case.
    pub fn value_number(&self, name: &str) -> Option<u64> {
        self.values.as_ref()?.number_of(name)
    }

    /// All names of values, with their numbers.
    pub fn value_names(&self) -> impl Iterator<Item = (&str, u64)> {
        self.values.iter().flat_map(|values| values.all())
    }
}

impl PartialEq for Attribute {
    fn eq(&self, other: &Self) -> bool {
        self.numbers == other.numbers && self.name == other.name
    }
}

impl Eq for Attribute {}

impl fmt::Debug for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Where in a packet an attribute stands, and so which headers are around its value.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Place {
    /// Nowhere: it is for the server alone.
    Internal,
    /// An attribute of its own.
    Top,
    /// In a Vendor-Specific (RFC 2865 section 5.26).
    Vendor,
    /// In one of the extended attributes (RFC 6929 sections 2.1 and 2.2).
    Extended {
        /// 245 and 246, whose values may go on in the next attribute.
        long: bool,
    },
    /// In an Extended-Vendor-Specific (RFC 6929 section 2.4).
    ExtendedVendor {
        /// In 245 or 246, where values may go on in the next attribute.
        long: bool,
    },
}

impl Place {
    /// How many of an attribute's numbers lead to the outermost value; those behind are in TLVs.
    pub(crate) fn depth(self) -> usize {
        match self {
            Self::Internal | Self::Top => 1,
            Self::Vendor => 3,
            Self::Extended { .. } => 2,
            Self::ExtendedVendor { .. } => 4,
        }
    }
}

/// Type of a value, with FreeRADIUS' names.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Type {
    /// `string`: text, in UTF-8 if the sender keeps to the rules.
    Text,
    /// `octets`
    Octets,
    /// `abinary`: Ascend's binary filters, as octets.
    Abinary,
    /// `integer`: 32 bits, 24 with a tag.
    Integer,
    /// `integer64`
    Integer64,
    /// `byte`
    Byte,
    /// `short`: 16 bits.
    Short,
    /// `signed`: 32 bits.
    Signed,
    /// `date`: seconds since 1970, 32 bits.
    Date,
    /// `ipaddr`
    Ipv4,
    /// `ipv6addr`
    Ipv6,
    /// `ipv4prefix`
    Ipv4Prefix,
    /// `ipv6prefix` (RFC 3162 section 2.3)
    Ipv6Prefix,
    /// `combo-ip`: an IPv4 or IPv6 address.
    ComboIp,
    /// `ifid`: the lower half of an IPv6 address.
    InterfaceId,
    /// `ether`: a MAC address.
    Ether,
    /// `tlv`: holds others (RFC 6929 section 2.3).
    Tlv,
    /// `vsa`: Vendor-Specific itself.
    Vsa,
    /// `extended`
    Extended,
    /// `long-extended`
    LongExtended,
    /// `evs`: Extended-Vendor-Specific itself.
    Evs,
}

impl Type {
    /// The type of that name; FreeRADIUS 4's names of the same types are known too.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, kind)| *kind)
    }

    /// Its name in dictionaries.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("octets", |(name, _)| name)
    }

    /// The first name of each type is the one to show.
    pub(crate) const NAMES: [(&'static str, Self); 32] = [
        ("string", Self::Text),
        ("octets", Self::Octets),
        ("abinary", Self::Abinary),
        ("integer", Self::Integer),
        ("integer64", Self::Integer64),
        ("byte", Self::Byte),
        ("short", Self::Short),
        ("signed", Self::Signed),
        ("date", Self::Date),
        ("ipaddr", Self::Ipv4),
        ("ipv6addr", Self::Ipv6),
        ("ipv4prefix", Self::Ipv4Prefix),
        ("ipv6prefix", Self::Ipv6Prefix),
        ("combo-ip", Self::ComboIp),
        ("ifid", Self::InterfaceId),
        ("ether", Self::Ether),
        ("tlv", Self::Tlv),
        ("vsa", Self::Vsa),
        ("extended", Self::Extended),
        ("long-extended", Self::LongExtended),
        ("evs", Self::Evs),
        ("text", Self::Text),
        ("uint8", Self::Byte),
        ("boolean", Self::Byte),
        ("bool", Self::Byte),
        ("uint16", Self::Short),
        ("uint32", Self::Integer),
        ("int32", Self::Signed),
        ("sint32", Self::Signed),
        ("uint64", Self::Integer64),
        ("ipv4addr", Self::Ipv4),
        ("combo-ipaddr", Self::ComboIp),
    ];

    /// Whether it holds other attributes, and has no value of its own.
    pub fn holds_others(self) -> bool {
        matches!(self, Self::Tlv | Self::Vsa | Self::Extended | Self::LongExtended | Self::Evs)
    }

    /// Whether values can have names.
    pub(crate) fn is_number(self) -> bool {
        matches!(self, Self::Integer | Self::Integer64 | Self::Byte | Self::Short | Self::Signed)
    }

    /// The largest number that it holds.
    pub(crate) fn most(self) -> u64 {
        match self {
            Self::Byte => u8::MAX.into(),
            Self::Short => u16::MAX.into(),
            Self::Integer64 => u64::MAX,
            _ => u32::MAX.into(),
        }
    }

    /// Octets of a value, if all have the same number of them.
    pub(crate) fn size(self) -> Option<usize> {
        match self {
            Self::Byte => Some(1),
            Self::Short => Some(2),
            Self::Integer | Self::Signed | Self::Date | Self::Ipv4 => Some(4),
            Self::Ipv4Prefix | Self::Ether => Some(6),
            Self::Integer64 | Self::InterfaceId => Some(8),
            Self::Ipv6 => Some(16),
            _ => None,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a value is hidden with the secret that server and NAS share.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Hiding {
    /// It isn't.
    #[default]
    None,
    /// `encrypt=1`: as User-Password (RFC 2865 section 5.2).
    UserPassword,
    /// `encrypt=2`: as Tunnel-Password (RFC 2868 section 3.5), with a salt.
    TunnelPassword,
    /// `encrypt=3`: as Ascend-Send-Secret.
    AscendSecret,
}

/// What stands behind the type in a dictionary.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flags {
    pub(crate) tagged: bool,
    pub(crate) hiding: Hiding,
    pub(crate) concat: bool,
    pub(crate) array: bool,
    pub(crate) secret: bool,
    /// The only length that the value may have.
    pub(crate) length: Option<u8>,
}

/// Names of an attribute's values. The first name of a number is the one that is shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct ValueNames {
    entries: Vec<(Box<str>, u64)>,
    by_name: NameIndex,
    by_number: HashMap<u64, u32>,
}

impl ValueNames {
    fn name_at(entries: &[(Box<str>, u64)], at: u32) -> Option<&str> {
        entries.get(at as usize).map(|(name, _)| &**name)
    }

    pub(crate) fn number_of(&self, name: &str) -> Option<u64> {
        let at = self.by_name.find(name, |at| Self::name_at(&self.entries, at))?;
        self.entries.get(at as usize).map(|(_, number)| *number)
    }

    pub(crate) fn name_of(&self, number: u64) -> Option<&str> {
        Self::name_at(&self.entries, *self.by_number.get(&number)?)
    }

    /// All that are in force.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, u64)> {
        self.entries
            .iter()
            .filter(|(name, number)| self.number_of(name) == Some(*number))
            .map(|(name, number)| (&**name, *number))
    }

    pub(crate) fn insert(&mut self, name: &str, number: u64) {
        match self.number_of(name) {
            Some(known) if known == number => return,
            // The number loses the name that now means another.
            Some(known) if self.name_of(known).is_some_and(|it| it.eq_ignore_ascii_case(name)) => {
                self.by_number.remove(&known);
            }
            Some(_) | None => {}
        }
        let Ok(at) = u32::try_from(self.entries.len()) else { return };
        self.entries.push((name.into(), number));
        let entries = &self.entries;
        self.by_name.set(name, at, |at| Self::name_at(entries, at));
        self.by_number.entry(number).or_insert(at);
    }
}

/// A vendor, by its private enterprise number.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Vendor {
    pub(crate) name: Box<str>,
    pub(crate) number: u32,
    pub(crate) format: Format,
}

impl Vendor {
    /// Its name in dictionaries.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its private enterprise number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// How attributes stand within its Vendor-Specific.
    pub fn format(&self) -> Format {
        self.format
    }
}

/// How attributes stand within a vendor's Vendor-Specific.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Format {
    /// Octets of the type: 1, 2 or 4.
    pub type_octets: u8,
    /// Octets of the length, which counts the whole: 0, 1 or 2.
    pub length_octets: u8,
    /// Whether an octet behind the length says that the value goes on in the next attribute (WiMAX).
    pub continuation: bool,
}

impl Format {
    /// As RFC 2865 recommends.
    pub const RFC: Self = Self { type_octets: 1, length_octets: 1, continuation: false };

    /// `format=1,1` or `format=1,1,c`, without the word.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(',');
        let type_octets = parts.next()?.parse().ok()?;
        let length_octets = parts.next()?.parse().ok()?;
        let continuation = match parts.next() {
            None => false,
            Some("c") => true,
            Some(_) => return None,
        };
        let allowed = matches!(type_octets, 1 | 2 | 4) && length_octets <= 2;
        (allowed
            && parts.next().is_none()
            && (!continuation || (type_octets, length_octets) == (1, 1)))
            .then_some(Self { type_octets, length_octets, continuation })
    }

    /// Octets in front of the value.
    pub(crate) fn header(self) -> usize {
        usize::from(self.type_octets + self.length_octets) + usize::from(self.continuation)
    }

    /// The largest number of an attribute.
    pub(crate) fn most(self) -> u32 {
        match self.type_octets {
            1 => u8::MAX.into(),
            2 => u16::MAX.into(),
            _ => u32::MAX,
        }
    }
}
