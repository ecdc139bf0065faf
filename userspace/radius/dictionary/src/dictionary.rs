//! All attributes and vendors that are known.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::attribute::{Attribute, Format, Place, Type, Vendor};
use crate::built_in;
use crate::names::NameIndex;
use crate::problem::Problem;
use crate::source;
use crate::zone::Zone;

/// All attributes and vendors that are known. Cheap to look things up in: by hash, without allocating.
#[derive(Clone, Debug)]
pub struct Dictionary {
    pub(crate) attributes: Vec<Arc<Attribute>>,
    pub(crate) names: NameIndex,
    pub(crate) numbers: HashMap<(Room, u32), u32, BuildHasherDefault<Mix>>,
    pub(crate) vendors: Vec<Vendor>,
    pub(crate) vendor_names: NameIndex,
    pub(crate) vendor_numbers: HashMap<u32, u32, BuildHasherDefault<Mix>>,
    /// Where dates that say no zone are meant.
    pub(crate) zone: Zone,
}

impl Dictionary {
    /// What the RFCs and the usual vendors define, and the server's own attributes. Read once, at the first call.
    pub fn built_in() -> Arc<Self> {
        static BUILT_IN: OnceLock<Arc<Dictionary>> = OnceLock::new();
        let build = || {
            let mut dictionary = Self::empty();
            // That none has a problem is a test's business.
            for (name, text) in built_in::FILES {
                let _problems = source::read_text(&mut dictionary, Path::new(name), text);
            }
            Arc::new(dictionary)
        };
        BUILT_IN.get_or_init(build).clone()
    }

    /// One that knows nothing.
    pub fn empty() -> Self {
        Self {
            attributes: Vec::new(),
            names: NameIndex::default(),
            numbers: HashMap::default(),
            vendors: Vec::new(),
            vendor_names: NameIndex::default(),
            vendor_numbers: HashMap::default(),
            zone: Zone::UTC,
        }
    }

    /// This dictionary and over it what a file defines, with all that it includes. A definition of the file replaces
    /// one of the same name.
    ///
    /// # Errors
    /// All that is wrong with the file, up to a bound.
    pub fn with_file(&self, file: &Path) -> Result<Self, DictionaryError> {
        let mut dictionary = self.clone();
        DictionaryError::none_of(source::read_file(&mut dictionary, file))?;
        Ok(dictionary)
    }

    /// This dictionary and over it what a text defines; `name` stands for the file. Nothing can be included.
    ///
    /// # Errors
    /// All that is wrong with the text, up to a bound.
    pub fn with_text(&self, name: &str, text: &str) -> Result<Self, DictionaryError> {
        let mut dictionary = self.clone();
        DictionaryError::none_of(source::read_text(&mut dictionary, Path::new(name), text))?;
        Ok(dictionary)
    }

    /// The same dictionary for a place: dates that say no zone are read as dates there. Without this they are UTC.
    #[must_use]
    pub fn in_zone(mut self, zone: Zone) -> Self {
        self.zone = zone;
        self
    }

    /// The attribute of that name, in any letter case.
    pub fn attribute(&self, name: &str) -> Option<&Arc<Attribute>> {
        let at = self.names.find(name, |at| self.name_at(at))?;
        self.attributes.get(at as usize)
    }

    /// The attribute of that name, also if it is written as `Attr-1` or `Attr-26.9.1`, which is always octets.
    pub fn find(&self, name: &str) -> Option<Arc<Attribute>> {
        self.attribute(name).cloned().or_else(|| self.unnamed(name).map(Arc::new))
    }

    /// The attribute that numbers lead to: of the packet itself if `vendor` is 0 (`[1]`, `[241, 1]`, `[26, 9, 1]`), in
    /// the vendor's Vendor-Specific otherwise (`[1]`). More numbers lead into TLVs.
    pub fn by_number(&self, vendor: u32, numbers: &[u32]) -> Option<&Arc<Attribute>> {
        let start = if vendor == 0 { Room::Top } else { Room::Vendor(vendor) };
        let (last, way) = numbers.split_last()?;
        let room = way.iter().try_fold(start, |room, number| self.enter(room, *number))?;
        self.in_room(room, *last).map(|(_, attribute)| attribute)
    }

    /// The vendor of that name, in any letter case.
    pub fn vendor(&self, name: &str) -> Option<&Vendor> {
        let at = self.vendor_names.find(name, |at| self.vendor_name_at(at))?;
        self.vendors.get(at as usize)
    }

    /// The vendor of that private enterprise number.
    pub fn vendor_by_number(&self, number: u32) -> Option<&Vendor> {
        self.vendors.get(*self.vendor_numbers.get(&number)? as usize)
    }

    /// All attributes.
    pub fn attributes(&self) -> impl Iterator<Item = &Arc<Attribute>> {
        self.attributes.iter()
    }

    /// All vendors.
    pub fn vendors(&self) -> impl Iterator<Item = &Vendor> {
        self.vendors.iter()
    }

    /// The name most like this one, for whoever mistyped it. Looks at every name: not for hot paths.
    pub fn nearest(&self, name: &str) -> Option<&str> {
        // Similarity takes the product of both lengths.
        if name.len() > 128 {
            return None;
        }
        let wanted = name.to_ascii_lowercase();
        self.attributes
            .iter()
            .filter(|attribute| attribute.name.len().abs_diff(name.len()) <= 3)
            .map(|attribute| {
                let likeness = strsim::jaro_winkler(&wanted, &attribute.name.to_ascii_lowercase());
                (likeness, &*attribute.name)
            })
            .filter(|(likeness, _)| *likeness > 0.88)
            .max_by(|(one, _), (other, _)| one.total_cmp(other))
            .map(|(_, name)| name)
    }

    /// How attributes stand in a vendor's Vendor-Specific.
    pub(crate) fn format(&self, vendor: u32) -> Format {
        self.vendor_by_number(vendor).map_or(Format::RFC, |vendor| vendor.format)
    }

    pub(crate) fn in_room(&self, room: Room, number: u32) -> Option<(u32, &Arc<Attribute>)> {
        let at = *self.numbers.get(&(room, number))?;
        Some((at, self.attributes.get(at as usize)?))
    }

    /// What the attribute of that index holds.
    pub(crate) fn room_of(&self, at: u32) -> Option<Room> {
        match self.attributes.get(at as usize)?.kind {
            Type::Tlv | Type::Extended | Type::LongExtended => Some(Room::Inside(at)),
            Type::Vsa => Some(Room::Vendors),
            Type::Evs => Some(Room::ExtendedVendors(at)),
            _ => None,
        }
    }

    /// The room behind a number.
    pub(crate) fn enter(&self, room: Room, number: u32) -> Option<Room> {
        match room {
            Room::Vendors => Some(Room::Vendor(number)),
            Room::ExtendedVendors(at) => Some(Room::ExtendedVendor(at, number)),
            // Also where no dictionary says so.
            Room::Top if number == VENDOR_SPECIFIC => Some(Room::Vendors),
            Room::Top | Room::Vendor(_) | Room::Inside(_) | Room::ExtendedVendor(..) => {
                let (at, _) = self.in_room(room, number)?;
                self.room_of(at)
            }
        }
    }

    /// Where an attribute of that number stands; none if there can't be one.
    pub(crate) fn place(&self, room: Room, number: u32) -> Option<Place> {
        let octet = number <= u8::MAX.into();
        match room {
            Room::Top => Some(if octet { Place::Top } else { Place::Internal }),
            Room::Vendor(vendor) => (number <= self.format(vendor).most()).then_some(Place::Vendor),
            Room::Inside(at) => {
                let holder = self.attributes.get(at as usize)?;
                octet.then_some(match holder.kind {
                    Type::Extended => Place::Extended { long: false },
                    Type::LongExtended => Place::Extended { long: true },
                    _ => holder.place,
                })
            }
            Room::ExtendedVendor(at, _) => {
                let holder = self.attributes.get(at as usize)?;
                let long = holder.place == Place::Extended { long: true };
                octet.then_some(Place::ExtendedVendor { long })
            }
            Room::Vendors | Room::ExtendedVendors(_) => None,
        }
    }

    /// The numbers that lead to an attribute in that room.
    pub(crate) fn numbers_to(&self, room: Room, number: u32) -> Box<[u32]> {
        let holder =
            |at: u32| self.attributes.get(at as usize).map_or(&[][..], |holder| &*holder.numbers);
        let way = match room {
            Room::Top => vec![],
            Room::Vendors => vec![VENDOR_SPECIFIC],
            Room::Vendor(vendor) => vec![VENDOR_SPECIFIC, vendor],
            Room::Inside(at) | Room::ExtendedVendors(at) => holder(at).to_vec(),
            Room::ExtendedVendor(at, vendor) => [holder(at), &[vendor]].concat(),
        };
        way.into_iter().chain([number]).collect()
    }

    /// `Attr-26.9.1` and the like.
    pub(crate) fn unnamed(&self, name: &str) -> Option<Attribute> {
        let (prefix, numbers) = name.split_at_checked("Attr-".len())?;
        if !prefix.eq_ignore_ascii_case("Attr-") {
            return None;
        }
        let mut room = Room::Top;
        let mut numbers = numbers.split('.').peekable();
        loop {
            let text = numbers.next()?;
            if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            let number = text.parse().ok()?;
            if numbers.peek().is_none() {
                let place = self.place(room, number)?;
                let known = place != Place::Internal;
                return known.then(|| Attribute::unknown(self.numbers_to(room, number), place));
            }
            room = self.enter(room, number)?;
        }
    }

    pub(crate) fn name_at(&self, at: u32) -> Option<&str> {
        self.attributes.get(at as usize).map(|attribute| &*attribute.name)
    }

    pub(crate) fn vendor_name_at(&self, at: u32) -> Option<&str> {
        self.vendors.get(at as usize).map(|vendor| &*vendor.name)
    }
}

/// Number of Vendor-Specific.
pub(crate) const VENDOR_SPECIFIC: u32 = 26;

/// What numbers are counted in.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Room {
    /// A packet.
    Top,
    /// Vendor-Specific: the next number is a vendor's.
    Vendors,
    /// A vendor's Vendor-Specific.
    Vendor(u32),
    /// The attribute of that index: a TLV or an extended one.
    Inside(u32),
    /// The Extended-Vendor-Specific of that index: the next number is a vendor's.
    ExtendedVendors(u32),
    /// A vendor's part of the Extended-Vendor-Specific of that index.
    ExtendedVendor(u32, u32),
}

/// What is wrong with a dictionary file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DictionaryError {
    /// File of the first problem.
    pub file: PathBuf,
    /// Its line, if it is about one.
    pub line: Option<u32>,
    /// All problems, the first included, up to a bound.
    pub problems: Vec<Problem>,
}

impl DictionaryError {
    fn none_of(problems: Vec<Problem>) -> Result<(), Self> {
        match problems.first() {
            None => Ok(()),
            Some(first) => Err(Self { file: first.file.clone(), line: first.line, problems }),
        }
    }
}

impl fmt::Display for DictionaryError {
    /// A problem a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if at == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for DictionaryError {}

/// Hashes numbers fast. What comes from the network is looked up here, but never put in: nothing to flood.
#[derive(Clone, Copy, Default)]
pub(crate) struct Mix(u64);

impl Mix {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.mix(u64::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.mix(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.mix(number);
    }

    // The variant of an enum.
    fn write_isize(&mut self, number: isize) {
        self.mix(number.unsigned_abs() as u64);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests;
