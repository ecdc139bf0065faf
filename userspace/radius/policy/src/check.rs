//! Check items: what a request must have, so that a subscriber may connect by it or a profile applies to it.

use std::cmp::Ordering;
use std::fmt;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use muralla_radius_dictionary::{Attribute, Hiding, Operator, Pair, Place, Type, Value};
use muralla_radius_wire::{Packet, kind};

use crate::pattern::{Pattern, PatternError};
use crate::profile::Profiles;
use crate::subscriber::Fields;

/// The NAS that a request came from.
#[derive(Clone, Copy, Debug)]
pub struct Nas<'a> {
    /// Its name.
    pub name: &'a str,
    /// Groups that it is in, for Huntgroup-Name.
    pub groups: &'a [Arc<str>],
    /// Whose it is, which is a group as well.
    pub telco: Option<&'a str>,
    /// Where the request came from.
    pub address: IpAddr,
}

/// What a check item is held against.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) packet: &'a Packet<'a>,
    pub(crate) nas: Nas<'a>,
    /// The subscriber's profiles, whether they apply or not.
    pub(crate) profiles: &'a Profiles,
    pub(crate) fields: &'a Fields<'a>,
}

/// A check item. Those that say something about the subscriber instead (`Simultaneous-Use := 1`) are none of these.
pub(crate) struct Check {
    what: What,
    operator: Operator,
    operand: Operand,
    tag: Option<u8>,
    attribute: Arc<Attribute>,
}

enum What {
    /// An attribute of its own.
    Top(u8),
    /// An attribute of a vendor.
    Vendor(u32, u8),
    /// The name of the NAS or of a group that it is in.
    Huntgroup,
    /// The name of the NAS.
    NasName,
    /// Where the packet came from.
    Source,
    /// The names of the subscriber's profiles.
    Group,
}

enum Operand {
    Value(Value),
    /// A number of Calling-Station-Id and the like that is a MAC address, however it is written.
    Mac(Value, [u8; 6]),
    Pattern(Pattern),
    Nothing,
}

/// Why an item can't be a check item.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CheckError {
    /// Its attribute stands where it is not looked for.
    #[error(
        "{attribute} can't be compared: only attributes of their own and of vendors can, and no passwords"
    )]
    Attribute {
        /// The attribute.
        attribute: String,
    },
    /// The operator does not fit.
    #[error("{attribute} can't be compared with {operator}: use ==, !=, =~ or !~")]
    Operator {
        /// The attribute.
        attribute: String,
        /// The operator.
        operator: &'static str,
    },
    /// The pattern can't be used.
    #[error("{attribute}: {error}")]
    Pattern {
        /// The attribute.
        attribute: String,
        /// Why.
        error: PatternError,
    },
}

impl Check {
    /// Takes an item that asks something.
    pub(crate) fn new(pair: &Pair) -> Result<Self, CheckError> {
        let attribute = &pair.attribute;
        let name = || attribute.name().to_owned();
        let what = what(attribute).ok_or_else(|| CheckError::Attribute { attribute: name() })?;
        let operator = pair.operator;
        let ordered = matches!(
            operator,
            Operator::Greater | Operator::GreaterOrEqual | Operator::Less | Operator::LessOrEqual
        );
        let by_name = !matches!(what, What::Top(_) | What::Vendor(..));
        if operator.sets() || (by_name && ordered) {
            let operator = operator.symbol();
            return Err(CheckError::Operator { attribute: name(), operator });
        }
        let operand = match operator {
            Operator::Present | Operator::Absent => Operand::Nothing,
            Operator::Matches | Operator::MatchesNot => {
                let text = String::from_utf8_lossy(pair.value.bytes().unwrap_or_default());
                let pattern = Pattern::parse(&text);
                Operand::Pattern(
                    pattern.map_err(|error| CheckError::Pattern { attribute: name(), error })?,
                )
            }
            _ => {
                let station =
                    matches!(what, What::Top(kind::CALLING_STATION_ID | kind::CALLED_STATION_ID));
                match pair.value.bytes().filter(|_| station && !ordered).and_then(mac) {
                    Some(mac) => Operand::Mac(pair.value.clone(), mac),
                    None => Operand::Value(pair.value.clone()),
                }
            }
        };
        Ok(Self { what, operator, operand, tag: pair.tag, attribute: Arc::clone(attribute) })
    }

    /// Whether it holds.
    ///
    /// Of an attribute that comes several times, one that fits is enough; with `!=` and `!~`, it must be there, and
    /// none may fit.
    pub(crate) fn holds(&self, facts: &Facts<'_>) -> bool {
        let mut present = false;
        let mut fits = false;
        self.each_value(facts, |value| {
            present = true;
            fits |= self.fits(value);
        });
        match self.operator {
            Operator::Present => present,
            Operator::Absent => !present,
            Operator::IsNot | Operator::MatchesNot => present && !fits,
            _ => fits,
        }
    }

    fn each_value(&self, facts: &Facts<'_>, mut each: impl FnMut(&[u8])) {
        let Facts { packet, nas, profiles, fields } = facts;
        match self.what {
            What::Top(kind) if packet.has(kind) => {
                packet.all(kind).for_each(|value| self.untagged(value, &mut each));
            }
            // Old NASes that send neither are known by where their packets come from.
            What::Top(kind::NAS_IP_ADDRESS | kind::NAS_IPV6_ADDRESS) => {
                octets(nas.address, self.attribute.kind(), &mut each);
            }
            What::Top(_) => {}
            What::Vendor(vendor, kind) => packet
                .vendor_attributes()
                .filter(|attribute| attribute.vendor == vendor && attribute.kind == kind)
                .for_each(|attribute| self.untagged(attribute.value, &mut each)),
            What::Huntgroup => {
                each(nas.name.as_bytes());
                nas.groups.iter().for_each(|group| each(group.as_bytes()));
                nas.telco.iter().for_each(|telco| each(telco.as_bytes()));
            }
            What::NasName => each(nas.name.as_bytes()),
            What::Source => octets(nas.address, self.attribute.kind(), &mut each),
            What::Group => {
                fields.profiles().for_each(|number| each(profiles.name(number).as_bytes()));
            }
        }
    }

    /// Takes the tag off (RFC 2868 section 3), and passes over what has another one.
    fn untagged(&self, value: &[u8], each: &mut impl FnMut(&[u8])) {
        let (tag, value) = match value.split_first() {
            Some((tag @ ..=0x1f, rest)) if self.attribute.tagged() => (Some(*tag), rest),
            _ => (None, value),
        };
        if self.tag.is_none_or(|wanted| Some(wanted) == tag) {
            each(value);
        }
    }

    fn fits(&self, value: &[u8]) -> bool {
        let order = match &self.operand {
            Operand::Nothing => return true,
            Operand::Pattern(pattern) => return self.matches(pattern, value),
            Operand::Mac(operand, address) => {
                if mac(value).is_some_and(|mac| mac == *address) {
                    Some(Ordering::Equal)
                } else {
                    compare(value, operand)
                }
            }
            Operand::Value(operand) => compare(value, operand),
        };
        let Some(order) = order else { return false };
        match self.operator {
            Operator::Greater => order.is_gt(),
            Operator::GreaterOrEqual => order.is_ge(),
            Operator::Less => order.is_lt(),
            Operator::LessOrEqual => order.is_le(),
            // What `!=` asks is decided over all values.
            _ => order.is_eq(),
        }
    }

    /// What is no text is matched as people write it.
    fn matches(&self, pattern: &Pattern, value: &[u8]) -> bool {
        let mut text = [0; 64];
        let length = text.len();
        let mut room = text.as_mut_slice();
        let written = match self.attribute.kind() {
            Type::Ipv4 | Type::ComboIp if value.len() == 4 => {
                array::<4>(value).map(|octets| write!(room, "{}", Ipv4Addr::from(octets)))
            }
            Type::Ipv6 | Type::ComboIp => {
                array::<16>(value).map(|octets| write!(room, "{}", Ipv6Addr::from(octets)))
            }
            Type::Integer | Type::Integer64 | Type::Byte | Type::Short | Type::Date => {
                number(value).map(|number| match self.attribute.value_name(number) {
                    Some(name) => room.write_all(name.as_bytes()),
                    None => write!(room, "{number}"),
                })
            }
            _ => return pattern.matches(value),
        };
        let left = room.len();
        let text = text.get(..length - left).unwrap_or_default();
        // A name longer than the room matches nothing.
        written.is_some_and(|written| written.is_ok()) && pattern.matches(text)
    }
}

/// As it was written, more or less: for the log.
impl fmt::Display for Check {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.attribute.name())?;
        if let Some(tag) = self.tag {
            write!(out, ":{tag}")?;
        }
        write!(out, " {}", self.operator)?;
        match &self.operand {
            Operand::Value(value) | Operand::Mac(value, _) => {
                write!(out, " {}", value.shown(&self.attribute))
            }
            Operand::Pattern(pattern) => write!(out, " \"{pattern:?}\""),
            Operand::Nothing => Ok(()),
        }
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Check({self})")
    }
}

/// Where an attribute is looked for.
fn what(attribute: &Attribute) -> Option<What> {
    if attribute.is_internal() {
        let names = [
            ("Huntgroup-Name", What::Huntgroup),
            ("NAS-Group", What::Huntgroup),
            ("Client-Shortname", What::NasName),
            ("Client-IP-Address", What::Source),
            ("Packet-Src-IP-Address", What::Source),
            ("Packet-Src-IPv6-Address", What::Source),
            ("Group", What::Group),
            ("Group-Name", What::Group),
            ("SQL-Group", What::Group),
        ];
        let known = names.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(attribute.name()));
        return known.map(|(_, what)| what);
    }
    if attribute.hiding() != Hiding::None || attribute.kind().holds_others() {
        return None;
    }
    let octet = |number: u32| u8::try_from(number).ok();
    match (attribute.place(), attribute.numbers()) {
        (Place::Top, [kind]) => Some(What::Top(octet(*kind)?)),
        (Place::Vendor, [_, vendor, kind]) => Some(What::Vendor(*vendor, octet(*kind)?)),
        _ => None,
    }
}

/// How what stands in a packet compares with a value. None if it can't be one of the value's type.
fn compare(bytes: &[u8], value: &Value) -> Option<Ordering> {
    Some(match value {
        Value::Text(text) => bytes.cmp(text),
        Value::Octets(octets) => bytes.cmp(octets),
        Value::Number(expected) => number(bytes)?.cmp(expected),
        Value::Date(expected) => number(bytes)?.cmp(&u64::from(*expected)),
        Value::Signed(expected) => i32::from_be_bytes(array(bytes)?).cmp(expected),
        Value::Ipv4(address) => Ipv4Addr::from(array::<4>(bytes)?).cmp(address),
        Value::Ipv6(address) => Ipv6Addr::from(array::<16>(bytes)?).cmp(address),
        Value::InterfaceId(expected) => array::<8>(bytes)?.cmp(expected),
        Value::Ether(expected) => array::<6>(bytes)?.cmp(expected),
        Value::Ipv4Prefix(prefix) => {
            let (head, address) = bytes.split_first_chunk::<2>()?;
            let length = head.last()? & 0x3f;
            let address = Ipv4Addr::from(array::<4>(address)?);
            (address, length).cmp(&(prefix.network(), prefix.prefix_len()))
        }
        Value::Ipv6Prefix(prefix) => {
            let (head, start) = bytes.split_first_chunk::<2>()?;
            let mut octets = [0; 16];
            octets.get_mut(..start.len())?.copy_from_slice(start);
            (Ipv6Addr::from(octets), *head.last()?).cmp(&(prefix.network(), prefix.prefix_len()))
        }
    })
}

/// A number of up to eight octets.
fn number(bytes: &[u8]) -> Option<u64> {
    (1..=8)
        .contains(&bytes.len())
        .then(|| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

fn octets(address: IpAddr, wanted: Type, each: &mut impl FnMut(&[u8])) {
    match (address.to_canonical(), wanted) {
        (IpAddr::V4(address), Type::Ipv4 | Type::ComboIp) => each(&address.octets()),
        (IpAddr::V6(address), Type::Ipv6 | Type::ComboIp) => each(&address.octets()),
        _ => {}
    }
}

/// The MAC address that a text is, in whatever of the usual ways it is written: twelve digits, in pairs or in fours,
/// with hyphens, colons or dots.
fn mac(text: &[u8]) -> Option<[u8; 6]> {
    if !(12..=17).contains(&text.len()) {
        return None;
    }
    let mut address = [0; 6];
    let mut count = 0_usize;
    let mut separator = None;
    for byte in text {
        if let Some(digit) = char::from(*byte).to_digit(16) {
            let octet = address.get_mut(count / 2)?;
            *octet = *octet << 4 | u8::try_from(digit).ok()?;
            count += 1;
        } else {
            let between =
                matches!(byte, b'-' | b':' | b'.') && count.is_multiple_of(2) && count > 0;
            if !between || separator.is_some_and(|known| known != byte) {
                return None;
            }
            separator = Some(byte);
        }
    }
    let ends = text.last().is_some_and(u8::is_ascii_hexdigit);
    (count == 12 && ends).then_some(address)
}

#[cfg(test)]
mod tests {
    use muralla_radius_dictionary::Dictionary;
    use muralla_radius_wire::{Code, LONGEST, Secret, Writer};

    use super::*;
    use crate::credential::Credential;
    use crate::subscriber::{Numbers, Record, Subscriber};

    /// Whether the item holds for a request that has these.
    fn holds(item: &str, request: &[&str]) -> bool {
        let dictionary = Dictionary::built_in();
        let secret = Secret::new("secret").unwrap();
        let mut attributes = Vec::new();
        for text in request {
            let pair = Pair::parse(&dictionary, text).unwrap();
            dictionary.encode(&pair, &mut attributes).unwrap();
        }
        let mut bytes = [0; LONGEST];
        let mut writer = Writer::request(&mut bytes, Code::ACCESS_REQUEST, 1, [7; 16], &secret);
        writer.append(&attributes);
        let length = writer.finish().unwrap();
        let packet = Packet::parse(&bytes[..length]).unwrap();
        let groups = [Arc::from("dial"), Arc::from("north")];
        let nas = Nas {
            name: "nas-1",
            groups: &groups,
            telco: Some("telefonica"),
            address: "192.0.2.1".parse().unwrap(),
        };
        let pair = Pair::parse(&dictionary, item).unwrap_or_else(|why| panic!("{item}: {why}"));
        let check = Check::new(&pair).unwrap_or_else(|why| panic!("{item}: {why}"));
        let mut profiles = Profiles::default();
        let numbers = [profiles.add("gold"), profiles.add("silver")];
        let subscriber = Subscriber { name: "ann".to_owned(), ..Subscriber::default() };
        let numbers = Numbers { profiles: numbers.to_vec(), ..Numbers::default() };
        let record = Record::new(&subscriber, &Credential::None, &numbers, None);
        let facts = Facts { packet: &packet, nas, profiles: &profiles, fields: &record.fields() };
        check.holds(&facts)
    }

    #[test]
    fn items_hold_or_not() {
        let request = [
            "Calling-Station-Id = 0215955",
            "Called-Station-Id = 00-00-5E-00-53-01",
            "NAS-Port = 7",
            "NAS-Port-Type = Async",
            "Service-Type = Framed-User",
            "Framed-Protocol = PPP",
            "NAS-Identifier = a",
            "Cisco-AVPair = \"x=1\"",
            "Cisco-AVPair = \"y=2\"",
            "Tunnel-Type:1 = L2TP",
            "Tunnel-Private-Group-Id:2 = blue",
        ];
        let cases = [
            ("Calling-Station-Id == 0215955", true),
            ("Calling-Station-Id == 0215956", false),
            ("Calling-Station-Id != 0215955", false),
            ("Calling-Station-Id != 0215956", true),
            ("Calling-Station-Id =~ \"^0215\"", true),
            ("Calling-Station-Id =~ \"^0216\"", false),
            ("Calling-Station-Id =~ \"^(0215|0216)[0-9]{3}$\"", true),
            ("Calling-Station-Id !~ \"^0216\"", true),
            ("Calling-Station-Id !~ \"^0215\"", false),
            ("Calling-Station-Id =* ANY", true),
            ("Calling-Station-Id !* ANY", false),
            ("Called-Station-Id == 00:00:5e:00:53:01", true),
            ("Called-Station-Id == 0000.5e00.5301", true),
            ("Called-Station-Id == 00005E005301", true),
            ("Called-Station-Id != 00:00:5e:00:53:01", false),
            ("Called-Station-Id == 00:00:5e:00:53:02", false),
            ("NAS-Port == 7", true),
            ("NAS-Port < 8", true),
            ("NAS-Port < 7", false),
            ("NAS-Port <= 7", true),
            ("NAS-Port > 6", true),
            ("NAS-Port > 7", false),
            ("NAS-Port >= 7", true),
            ("NAS-Port =~ \"^7$\"", true),
            ("NAS-Port-Type == Async", true),
            ("NAS-Port-Type == Virtual", false),
            ("NAS-Port-Type =~ \"^As\"", true),
            ("Service-Type == Framed-User", true),
            ("Framed-Protocol == PPP", true),
            ("Framed-Protocol == SLIP", false),
            // Not there: only its absence holds.
            ("Acct-Session-Id == 1", false),
            ("Acct-Session-Id != 1", false),
            ("Acct-Session-Id !~ \"1\"", false),
            ("Acct-Session-Id =* ANY", false),
            ("Acct-Session-Id !* ANY", true),
            // Where the NAS does not tell its address, the packet does.
            ("NAS-IP-Address == 192.0.2.1", true),
            ("NAS-IP-Address == 192.0.2.2", false),
            ("NAS-IP-Address =~ \"^192[.]0[.]\"", true),
            ("NAS-IPv6-Address =* ANY", false),
            ("NAS-Identifier == a", true),
            ("NAS-Identifier == A", false),
            // One of several is enough.
            ("Cisco-AVPair == \"y=2\"", true),
            ("Cisco-AVPair != \"y=2\"", false),
            ("Cisco-AVPair =~ \"^z\"", false),
            ("Tunnel-Type == L2TP", true),
            ("Tunnel-Type:1 == L2TP", true),
            ("Tunnel-Type:2 == L2TP", false),
            ("Tunnel-Private-Group-Id == blue", true),
            ("Tunnel-Private-Group-Id:2 == blue", true),
            ("Tunnel-Private-Group-Id:1 == blue", false),
            // The NAS's name, its groups, and whose it is.
            ("Huntgroup-Name == nas-1", true),
            ("Huntgroup-Name == north", true),
            ("Huntgroup-Name == telefonica", true),
            ("Huntgroup-Name == south", false),
            ("Huntgroup-Name != north", false),
            ("Huntgroup-Name =~ \"^no\"", true),
            ("Client-Shortname == nas-1", true),
            ("Packet-Src-IP-Address == 192.0.2.1", true),
            // His profiles.
            ("Group == silver", true),
            ("Group == bronze", false),
            ("Group != bronze", true),
        ];
        for (item, expected) in cases {
            assert_eq!(holds(item, &request), expected, "{item}");
        }
        assert!(holds("NAS-IP-Address == 198.51.100.1", &["NAS-IP-Address = 198.51.100.1"]));
        assert!(!holds("NAS-IP-Address == 192.0.2.1", &["NAS-IP-Address = 198.51.100.1"]));
    }

    #[test]
    fn what_can_not_be_compared_is_refused() {
        let dictionary = Dictionary::built_in();
        for item in [
            "User-Password == secret",
            "Calling-Station-Id := 1",
            "Calling-Station-Id = 1",
            "Huntgroup-Name > a",
            "Calling-Station-Id =~ \"(\"",
        ] {
            let pair = Pair::parse(&dictionary, item).unwrap();
            let error = Check::new(&pair).expect_err(item).to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn addresses_of_hardware() {
        let expected = Some([0, 0x11, 0x22, 0xaa, 0xbb, 0xcc]);
        for text in [
            "001122aabbcc",
            "00-11-22-AA-BB-CC",
            "00:11:22:aa:bb:cc",
            "0011.22aa.bbcc",
            "001122-AABBCC",
        ] {
            assert_eq!(mac(text.as_bytes()), expected, "{text}");
        }
        for text in [
            "",
            "001122aabbc",
            "001122aabbccd",
            "00-11-22-AA-BB-CC-DD",
            "00-11:22-AA-BB-CC",
            "0-11-22-AA-BB-CC0",
            "-001122aabbcc",
            "001122aabbcc-",
            "0215955501234567",
            "00-11-22-AA-BB-CC:ssid",
        ] {
            assert_eq!(mac(text.as_bytes()), None, "{text}");
        }
    }
}
