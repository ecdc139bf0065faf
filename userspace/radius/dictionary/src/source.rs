//! Dictionary files into a dictionary.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use crate::attribute::{Attribute, Flags, Format, Hiding, Place, Type, Vendor};
use crate::dictionary::{Dictionary, Room, VENDOR_SPECIFIC};
use crate::files::{self, Files};
use crate::lexer::is_name_byte;
use crate::problem::{Fault, Problem};
use crate::value;

/// Bytes of a file and all that it includes.
const MOST_BYTES: u64 = 64 << 20;
/// Files in all: FreeRADIUS comes with some 250.
const MOST_FILES: usize = 2000;
/// Files within files.
const MOST_DEPTH: usize = 10;
/// Attributes in all.
const MOST_ATTRIBUTES: usize = 500_000;
/// Numbers that lead to an attribute.
const MOST_NUMBERS: usize = 12;
/// Bytes of a name.
const MOST_NAME: usize = 128;
/// Problems after which reading ends: the rest follows from them, or is more of the same.
const MOST_PROBLEMS: usize = 50;

/// Reads a file and all that it includes.
pub(crate) fn read_file(dictionary: &mut Dictionary, file: &Path) -> Vec<Problem> {
    let mut reader = Reader::new(dictionary, Files::new(MOST_BYTES, MOST_FILES, MOST_DEPTH));
    if let Err(what) = reader.file(file) {
        let remedy = "check its path, size and permissions";
        reader.problems.push(Problem::of(file, Fault::new(format!("the file {what}"), remedy)));
    }
    reader.end()
}

/// Reads a text that can't include anything; `name` stands for the file.
pub(crate) fn read_text(dictionary: &mut Dictionary, name: &Path, text: &str) -> Vec<Problem> {
    let mut reader = Reader::new(dictionary, Files::none());
    reader.text(name, text.as_bytes());
    reader.end()
}

struct Reader<'d> {
    dictionary: &'d mut Dictionary,
    files: Files,
    problems: Vec<Problem>,
    /// What came before its attribute.
    early: Vec<Early>,
    /// Names of values that this reading defined, by attribute and name.
    defined: HashSet<(u32, Box<str>)>,
}

/// A line that makes sense once all attributes are known.
struct Early {
    file: Arc<Path>,
    line: u32,
    words: Vec<String>,
}

/// What the lines of a file are in.
#[derive(Default)]
struct Scope {
    /// Room of the vendor, its name, and the line that began it.
    vendor: Option<(Room, String, u32)>,
    /// Indices of TLVs, with the lines that began them, the outermost first.
    tlvs: Vec<(u32, u32)>,
}

impl<'d> Reader<'d> {
    fn new(dictionary: &'d mut Dictionary, files: Files) -> Self {
        Self { dictionary, files, problems: Vec::new(), early: Vec::new(), defined: HashSet::new() }
    }

    fn file(&mut self, path: &Path) -> Result<(), String> {
        let text = self.files.enter(path)?;
        self.text(path, &text);
        self.files.leave();
        Ok(())
    }

    fn text(&mut self, file: &Path, text: &[u8]) {
        let file: Arc<Path> = file.into();
        let mut scope = Scope::default();
        let mut number = 0_u32;
        for line in files::without_mark(text).split(|byte| *byte == b'\n') {
            number = number.saturating_add(1);
            if self.problems.len() >= MOST_PROBLEMS {
                return;
            }
            let line = line.split(|byte| *byte == b'#').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            if let Err(fault) = self.line(&file, number, &mut scope, &words) {
                self.problems.push(Problem::at(&file, number, fault));
            }
        }
        let open = scope.vendor.map(|(_, name, line)| (line, "VENDOR", name)).into_iter().chain(
            scope.tlvs.into_iter().map(|(at, line)| {
                let name = self.dictionary.name_at(at).unwrap_or_default();
                (line, "TLV", name.to_string())
            }),
        );
        for (line, what, name) in open.collect::<Vec<_>>() {
            let fault = Fault::new(
                format!("BEGIN-{what} {name} is never ended"),
                format!("end it with END-{what} {name}"),
            );
            self.problems.push(Problem::at(&file, line, fault));
        }
    }

    fn end(mut self) -> Vec<Problem> {
        let mut early = std::mem::take(&mut self.early);
        let is_alias = |early: &Early| {
            early.words.first().is_some_and(|keyword| keyword.eq_ignore_ascii_case("VALUE-ALIAS"))
        };
        early.sort_by_key(is_alias);
        for early in early {
            if self.problems.len() >= MOST_PROBLEMS {
                break;
            }
            let alias = is_alias(&early);
            let Early { file, line, words } = early;
            let words: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
            let result = if alias { self.value_alias(&words) } else { self.value(&words) };
            let fault = match result {
                Ok(true) => continue,
                Ok(false) => {
                    let unknown = |name: &&&str| self.dictionary.attribute(name).is_none();
                    let name = words.iter().find(unknown).copied().unwrap_or_default();
                    self.unknown_attribute(name)
                }
                Err(fault) => fault,
            };
            self.problems.push(Problem::at(&file, line, fault));
        }
        self.problems
    }

    fn line(
        &mut self,
        file: &Arc<Path>,
        line: u32,
        scope: &mut Scope,
        words: &[&str],
    ) -> Result<(), Fault> {
        let Some((keyword, rest)) = words.split_first() else { return Ok(()) };
        let keyword = keyword.to_ascii_uppercase();
        match keyword.as_str() {
            "ATTRIBUTE" => self.attribute(scope, rest),
            "VALUE" => {
                if !self.value(rest)? {
                    self.later(file, line, words);
                }
                Ok(())
            }
            // Once all names of values are known.
            "VALUE-ALIAS" => {
                self.later(file, line, words);
                Ok(())
            }
            "VENDOR" => self.vendor(rest),
            "BEGIN-VENDOR" => self.begin_vendor(scope, line, rest),
            "END-VENDOR" => self.end_vendor(scope, rest),
            "BEGIN-TLV" => self.begin_tlv(scope, line, rest),
            "END-TLV" => self.end_tlv(scope, rest),
            "$INCLUDE" => self.include(file, rest, false),
            // Nothing is wrong if there is no such file.
            "$INCLUDE-" => self.include(file, rest, true),
            "PROTOCOL" | "BEGIN-PROTOCOL" | "END-PROTOCOL" | "FLAGS" | "ALIAS" | "DEFINE"
            | "ENUM" | "STRUCT" | "MEMBER" | "BEGIN" | "END" => Err(Fault::new(
                format!(
                    "{keyword} belongs to the dictionaries of FreeRADIUS 4, which are not read"
                ),
                "take the dictionary of FreeRADIUS 3",
            )),
            _ => Err(Fault::new(
                format!("\"{keyword}\" is not known in dictionaries"),
                "there are ATTRIBUTE, VALUE, VALUE-ALIAS, VENDOR, BEGIN-VENDOR, END-VENDOR, BEGIN-TLV, END-TLV and \
                 $INCLUDE",
            )),
        }
    }

    fn later(&mut self, file: &Arc<Path>, line: u32, words: &[&str]) {
        let words = words.iter().map(|word| (*word).to_string()).collect();
        self.early.push(Early { file: file.clone(), line, words });
    }

    fn include(&mut self, file: &Path, words: &[&str], optional: bool) -> Result<(), Fault> {
        let [written] = words else {
            return Err(Fault::new("$INCLUDE wants a file", "write $INCLUDE FILE"));
        };
        let path = files::beside(file, written);
        if optional && !path.exists() {
            return Ok(());
        }
        self.file(&path).map_err(|what| {
            Fault::new(format!("\"{written}\" {what}"), "correct or remove the $INCLUDE")
        })
    }

    /// `ATTRIBUTE NAME NUMBER TYPE [FLAGS]`
    fn attribute(&mut self, scope: &Scope, words: &[&str]) -> Result<(), Fault> {
        let [name, number, kind, flags @ ..] = words else {
            return Err(Fault::new(
                "ATTRIBUTE wants a name, a number and a type",
                "write ATTRIBUTE NAME NUMBER TYPE, and flags behind it",
            ));
        };
        check_name(name)?;
        if self.dictionary.unnamed(name).is_some() {
            return Err(Fault::new(
                format!("\"{name}\" is how attributes without a name are written"),
                "give it another name",
            ));
        }
        let mut vendor = None;
        let (parsed, length) = type_of(kind)?;
        let mut flags = self.flags(flags, &mut vendor)?;
        flags.length = length;
        let start = match (vendor, scope.tlvs.last(), &scope.vendor) {
            (Some(vendor), ..) => Room::Vendor(vendor),
            (None, Some((tlv, _)), _) => Room::Inside(*tlv),
            (None, None, Some((room, ..))) => *room,
            (None, None, None) => Room::Top,
        };
        let (room, number) = self.resolve(start, number)?;
        let place = self.dictionary.place(room, number).ok_or_else(|| {
            Fault::new(
                format!("{name} can't have number {number} where it stands"),
                "numbers go up to 255; a vendor with larger ones has a format= behind its VENDOR line",
            )
        })?;
        let numbers = self.dictionary.numbers_to(room, number);
        let kind = match parsed {
            Parsed::Kind(kind) => kind,
            // Of a type that no packet has.
            Parsed::Internal if place == Place::Internal => Type::Text,
            Parsed::Internal => {
                return Err(Fault::new(
                    format!("{kind} is no type for an attribute in a packet"),
                    "see RFC 8044 for those that are",
                ));
            }
        };
        check_place(name, kind, place, &numbers, &flags)?;
        let attribute = Attribute {
            name: (*name).into(),
            numbers,
            place,
            kind,
            flags,
            known: true,
            values: None,
        };
        self.define(room, number, attribute)
    }

    /// Puts an attribute in. One of the same name is replaced, if it has the same numbers.
    fn define(&mut self, room: Room, number: u32, mut attribute: Attribute) -> Result<(), Fault> {
        let dictionary = &mut *self.dictionary;
        let holder = dictionary.in_room(room, number).map(|(_, holder)| holder.clone());
        if let Some(at) = dictionary.names.find(&attribute.name, |at| dictionary.name_at(at)) {
            let Some(known) = dictionary.attributes.get_mut(at as usize) else { return Ok(()) };
            if known.is_internal() && attribute.is_internal() || known.numbers == attribute.numbers
            {
                if known.kind.holds_others() && known.kind != attribute.kind {
                    return Err(Fault::new(
                        format!("{} holds others, and can't become {}", known.name, attribute.kind),
                        "give yours another name and number",
                    ));
                }
                // What the server itself goes by keeps its type, and its number is nobody's business.
                if known.is_internal() {
                    if known.kind != attribute.kind {
                        return Err(Fault::new(
                            format!(
                                "{} is the server's own, and of type {}",
                                known.name, known.kind
                            ),
                            "remove the line, or give yours another name",
                        ));
                    }
                    return Ok(());
                }
                attribute.values = known.values.clone().filter(|_| attribute.kind.is_number());
                *known = Arc::new(attribute);
                return Ok(());
            }
            if known.is_internal() && known.kind == attribute.kind {
                return Ok(());
            }
            let numbers: Vec<String> = known.numbers.iter().map(u32::to_string).collect();
            return Err(Fault::new(
                format!("{} is already the name of attribute {}", known.name, numbers.join(".")),
                "give it another name",
            ));
        }
        if let Some(holder) = holder.filter(|holder| holder.kind.holds_others()) {
            return Err(Fault::new(
                format!("the number is already that of {}, which holds others", holder.name),
                format!("call it {}", holder.name),
            ));
        }
        let full = dictionary.attributes.len() >= MOST_ATTRIBUTES;
        let at = u32::try_from(dictionary.attributes.len()).ok().filter(|_| !full);
        let Some(at) = at else {
            return Err(Fault::new(
                format!("there are more than {MOST_ATTRIBUTES} attributes"),
                "include fewer dictionaries",
            ));
        };
        dictionary.attributes.push(Arc::new(attribute));
        let attributes = &dictionary.attributes;
        if let Some(added) = attributes.get(at as usize) {
            let name_at = |at: u32| attributes.get(at as usize).map(|attribute| &*attribute.name);
            dictionary.names.set(&added.name, at, name_at);
        }
        // Of several names of a number the last is the one that is shown.
        dictionary.numbers.insert((room, number), at);
        Ok(())
    }

    /// The room and the last number of `26.9.1`, from where the line stands.
    fn resolve(&self, start: Room, text: &str) -> Result<(Room, u32), Fault> {
        let wrong = |what: String| {
            Fault::new(what, "write a number, or several with dots between that lead to it")
        };
        let parts: Vec<&str> = text.strip_prefix('.').unwrap_or(text).split('.').collect();
        if parts.len() > MOST_NUMBERS {
            return Err(wrong(format!("\"{text}\" is too long a way to an attribute")));
        }
        let mut room = start;
        let mut parts = parts.into_iter().peekable();
        while let Some(part) = parts.next() {
            let number = value::number(part)
                .and_then(|number| u32::try_from(number).ok())
                .filter(|number| *number > 0 || matches!(room, Room::Vendor(_)))
                .ok_or_else(|| wrong(format!("\"{text}\" is not the number of an attribute")))?;
            if parts.peek().is_none() {
                let depth = self.dictionary.numbers_to(room, number).len();
                return match depth > MOST_NUMBERS {
                    true => Err(wrong(format!("\"{text}\" lies in too many TLVs"))),
                    false => Ok((room, number)),
                };
            }
            room = self.dictionary.enter(room, number).ok_or_else(|| {
                wrong(format!(
                    "{part} of \"{text}\" is not the number of an attribute that holds others"
                ))
            })?;
        }
        Err(wrong("there is no number".into()))
    }

    /// What stands behind the type: flags, or a vendor's name as in old dictionaries.
    fn flags(&self, words: &[&str], vendor: &mut Option<u32>) -> Result<Flags, Fault> {
        let mut flags = Flags::default();
        for word in words.iter().flat_map(|word| word.split(',')).filter(|word| !word.is_empty()) {
            let (name, argument) = word.split_once('=').unwrap_or((word, ""));
            match (name.to_ascii_lowercase().as_str(), argument.to_ascii_lowercase().as_str()) {
                ("has_tag", "") => flags.tagged = true,
                ("concat", "") => flags.concat = true,
                ("array", "") => flags.array = true,
                ("secret", "") => flags.secret = true,
                ("encrypt", "1" | "user-password") => flags.hiding = Hiding::UserPassword,
                ("encrypt", "2" | "tunnel-password") => flags.hiding = Hiding::TunnelPassword,
                ("encrypt", "3" | "ascend-secret") => flags.hiding = Hiding::AscendSecret,
                // They say how FreeRADIUS treats it, and nothing about packets.
                ("virtual" | "internal", "") => {}
                _ => match self.dictionary.vendor(word) {
                    Some(known) => *vendor = Some(known.number),
                    None => {
                        return Err(Fault::new(
                            format!("\"{word}\" is neither a flag nor a vendor"),
                            "there are has_tag, encrypt=1, encrypt=2, encrypt=3, concat, array, secret and virtual, with \
                             commas and no blanks between",
                        ));
                    }
                },
            }
        }
        Ok(flags)
    }

    /// `VALUE ATTRIBUTE NAME NUMBER`. False if the attribute is not known yet.
    fn value(&mut self, words: &[&str]) -> Result<bool, Fault> {
        let [attribute, name, number] = words else {
            return Err(Fault::new(
                "VALUE wants an attribute, a name and a number",
                "write VALUE ATTRIBUTE NAME NUMBER",
            ));
        };
        let Some(at) = self.index_of(attribute) else { return Ok(false) };
        let Some(known) = self.dictionary.attributes.get_mut(at as usize) else {
            return Ok(false);
        };
        let kind = known.kind;
        if !kind.is_number() {
            return Err(Fault::new(
                format!("values of {attribute}, which is of type {kind}, have no names"),
                "correct the type, or remove the line",
            ));
        }
        let parsed = match (value::number(number), number.parse::<i32>()) {
            (Some(number), _) if number <= kind.most() => Some(number),
            (None, Ok(negative)) if kind == Type::Signed => {
                Some(u64::from_ne_bytes(i64::from(negative).to_ne_bytes()))
            }
            _ => None,
        };
        let Some(parsed) = parsed else {
            return Err(Fault::new(
                format!("\"{number}\" is not a number that {attribute} can have"),
                format!("write a number of up to {}", kind.most()),
            ));
        };
        if name.len() > MOST_NAME {
            return Err(Fault::new("the name of the value is too long", "shorten it"));
        }
        // A number stands for itself, whatever it is called.
        if value::number(name).is_some() || name.parse::<i64>().is_ok() {
            return Ok(true);
        }
        let fresh = self.defined.insert((at, name.to_ascii_lowercase().into()));
        let values = known.values.as_ref().and_then(|values| values.number_of(name));
        if !fresh && values != Some(parsed) {
            return Err(Fault::new(
                format!("{name} is defined twice for {attribute}, with different numbers"),
                "remove one of them",
            ));
        }
        Arc::make_mut(known).values.get_or_insert_default().insert(name, parsed);
        Ok(true)
    }

    /// `VALUE-ALIAS ATTRIBUTE OTHER`: the first has the other's names of values too. False if one is not known.
    fn value_alias(&mut self, words: &[&str]) -> Result<bool, Fault> {
        let [attribute, other] = words else {
            return Err(Fault::new(
                "VALUE-ALIAS wants two attributes",
                "write VALUE-ALIAS ATTRIBUTE OTHER",
            ));
        };
        let (Some(at), Some(other)) = (self.index_of(attribute), self.index_of(other)) else {
            return Ok(false);
        };
        let attributes = &mut self.dictionary.attributes;
        let other = attributes.get(other as usize).cloned();
        let (Some(known), Some(other)) = (attributes.get_mut(at as usize), other) else {
            return Ok(false);
        };
        if known.kind != other.kind || !known.kind.is_number() {
            return Err(Fault::new(
                format!(
                    "{} is of type {}, and {} of type {}",
                    known.name, known.kind, other.name, other.kind
                ),
                "names of values go from one number to another of the same type",
            ));
        }
        let values = Arc::make_mut(known).values.get_or_insert_default();
        for (name, number) in other.value_names() {
            // Its own names stay what they are.
            if values.number_of(name).is_none() {
                values.insert(name, number);
            }
        }
        Ok(true)
    }

    fn index_of(&self, name: &str) -> Option<u32> {
        self.dictionary.names.find(name, |at| self.dictionary.name_at(at))
    }

    fn unknown_attribute(&self, name: &str) -> Fault {
        let remedy = match self.dictionary.nearest(name) {
            Some(near) => format!("is {near} meant?"),
            None => "define it with ATTRIBUTE, or remove the line".into(),
        };
        Fault::new(format!("{name} is not an attribute"), remedy)
    }

    /// `VENDOR NAME NUMBER [format=TYPE,LENGTH[,c]]`
    fn vendor(&mut self, words: &[&str]) -> Result<(), Fault> {
        let (name, number, format) = match words {
            [name, number] => (name, number, None),
            [name, number, format] => (name, number, Some(format)),
            _ => {
                return Err(Fault::new(
                    "VENDOR wants a name and a number",
                    "write VENDOR NAME NUMBER, and perhaps format=1,1 behind it",
                ));
            }
        };
        check_name(name)?;
        let number = value::number(number)
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| *number > 0)
            .ok_or_else(|| {
                Fault::new(
                    format!("\"{number}\" is not a vendor's number"),
                    "write its private enterprise number",
                )
            })?;
        let format = match format {
            None => None,
            Some(text) => Some(text.strip_prefix("format=").and_then(Format::parse).ok_or_else(|| {
                Fault::new(
                    format!("\"{text}\" is not a format of a vendor's attributes"),
                    "write format=T,L with the octets of type (1, 2, 4) and length (0, 1, 2), and ,c behind 1,1 if \
                     values may go on in the next attribute",
                )
            })?),
        };
        let dictionary = &mut *self.dictionary;
        if let Some(at) = dictionary.vendor_names.find(name, |at| dictionary.vendor_name_at(at)) {
            let Some(known) = dictionary.vendors.get_mut(at as usize) else { return Ok(()) };
            if known.number != number {
                return Err(Fault::new(
                    format!("{} is already the name of vendor {}", known.name, known.number),
                    "give it another name",
                ));
            }
            known.format = format.unwrap_or(known.format);
            return Ok(());
        }
        // A second name of the same vendor: its attributes stand as they did.
        let format = format.unwrap_or_else(|| dictionary.format(number));
        let Ok(at) = u32::try_from(dictionary.vendors.len()) else { return Ok(()) };
        dictionary.vendors.push(Vendor { name: (*name).into(), number, format });
        let vendors = &dictionary.vendors;
        let name_at = |at: u32| vendors.get(at as usize).map(|vendor| &*vendor.name);
        dictionary.vendor_names.set(name, at, name_at);
        dictionary.vendor_numbers.insert(number, at);
        Ok(())
    }

    /// `BEGIN-VENDOR NAME [format=EXTENDED-VENDOR-SPECIFIC]`
    fn begin_vendor(&mut self, scope: &mut Scope, line: u32, words: &[&str]) -> Result<(), Fault> {
        let (name, holder) = match words {
            [name] => (name, None),
            [name, holder] => (name, Some(holder)),
            _ => return Err(Fault::new("BEGIN-VENDOR wants a vendor", "write BEGIN-VENDOR NAME")),
        };
        if let Some((_, open, begun)) = &scope.vendor {
            return Err(Fault::new(
                format!("BEGIN-VENDOR {open} of line {begun} is not ended yet"),
                format!("write END-VENDOR {open} before"),
            ));
        }
        let Some(vendor) = self.dictionary.vendor(name) else {
            return Err(Fault::new(
                format!("{name} is not a vendor"),
                format!("define it before, with VENDOR {name} NUMBER"),
            ));
        };
        let room = match holder {
            None => Room::Vendor(vendor.number),
            Some(holder) => {
                let evs = holder.strip_prefix("format=").or_else(|| holder.strip_prefix("parent="));
                evs.and_then(|evs| self.index_of(evs))
                    .and_then(|at| match self.dictionary.room_of(at)? {
                        Room::ExtendedVendors(at) => Some(Room::ExtendedVendor(at, vendor.number)),
                        _ => None,
                    })
                    .ok_or_else(|| {
                        Fault::new(
                            format!("\"{holder}\" does not name an attribute of type evs"),
                            "write format=Extended-Vendor-Specific-1, or another up to 6",
                        )
                    })?
            }
        };
        scope.vendor = Some((room, (*name).to_string(), line));
        Ok(())
    }

    fn end_vendor(&self, scope: &mut Scope, words: &[&str]) -> Result<(), Fault> {
        let name = words.first().copied().unwrap_or_default();
        match &scope.vendor {
            Some((_, open, _)) if open.eq_ignore_ascii_case(name) => {
                scope.vendor = None;
                Ok(())
            }
            Some((_, open, begun)) => Err(Fault::new(
                format!("END-VENDOR {name} does not end the BEGIN-VENDOR {open} of line {begun}"),
                format!("write END-VENDOR {open}"),
            )),
            None => Err(Fault::new(
                format!("END-VENDOR {name} without a BEGIN-VENDOR"),
                "remove it, or begin the vendor",
            )),
        }
    }

    fn begin_tlv(&mut self, scope: &mut Scope, line: u32, words: &[&str]) -> Result<(), Fault> {
        let [name] = words else {
            return Err(Fault::new("BEGIN-TLV wants an attribute", "write BEGIN-TLV NAME"));
        };
        let Some(at) = self.index_of(name) else { return Err(self.unknown_attribute(name)) };
        if self.dictionary.room_of(at) != Some(Room::Inside(at)) {
            return Err(Fault::new(
                format!("{name} is not of type tlv and holds no others"),
                "correct its type",
            ));
        }
        if scope.tlvs.len() >= MOST_NUMBERS {
            return Err(Fault::new("there are too many TLVs within TLVs", "end them with END-TLV"));
        }
        scope.tlvs.push((at, line));
        Ok(())
    }

    fn end_tlv(&self, scope: &mut Scope, words: &[&str]) -> Result<(), Fault> {
        let name = words.first().copied().unwrap_or_default();
        let Some((open, begun)) = scope.tlvs.last() else {
            return Err(Fault::new(
                format!("END-TLV {name} without a BEGIN-TLV"),
                "remove it, or begin the TLV",
            ));
        };
        if self.index_of(name) != Some(*open) {
            let open = self.dictionary.name_at(*open).unwrap_or_default();
            return Err(Fault::new(
                format!("END-TLV {name} does not end the BEGIN-TLV {open} of line {begun}"),
                format!("write END-TLV {open}"),
            ));
        }
        scope.tlvs.pop();
        Ok(())
    }
}

/// What stands as a type.
enum Parsed {
    Kind(Type),
    /// One of those that only FreeRADIUS' own attributes have.
    Internal,
}

/// A type, and the length that it may have in brackets.
fn type_of(word: &str) -> Result<(Parsed, Option<u8>), Fault> {
    let unknown = || {
        // One name of each type: the first.
        let names: Vec<&str> = Type::NAMES
            .iter()
            .filter(|(name, kind)| kind.name() == *name)
            .map(|(name, _)| *name)
            .collect();
        Fault::new(format!("\"{word}\" is not a type"), format!("there are {}", names.join(", ")))
    };
    let (name, length) = match word.strip_suffix(']').and_then(|word| word.split_once('[')) {
        Some((name, length)) => (name, Some(length.parse::<u8>().map_err(|_| unknown())?)),
        None => (word, None),
    };
    let kind = match Type::named(name) {
        Some(kind) => kind,
        None if ["timeval", "decimal", "size", "float32", "float64"].contains(&name) => {
            return Ok((Parsed::Internal, None));
        }
        None => return Err(unknown()),
    };
    match length {
        Some(0) => Err(unknown()),
        Some(_) if !matches!(kind, Type::Octets | Type::Text) => Err(Fault::new(
            format!("\"{word}\": only octets and string have a length"),
            format!("write {}", kind.name()),
        )),
        length => Ok((Parsed::Kind(kind), length)),
    }
}

fn check_name(name: &str) -> Result<(), Fault> {
    if !name.is_empty() && name.len() <= MOST_NAME && name.bytes().all(is_name_byte) {
        return Ok(());
    }
    Err(Fault::new(
        format!("\"{name}\" is not a name"),
        format!("names are of letters, digits and -_./ and up to {MOST_NAME} of them"),
    ))
}

/// What can't be so together.
fn check_place(
    name: &str,
    kind: Type,
    place: Place,
    numbers: &[u32],
    flags: &Flags,
) -> Result<(), Fault> {
    let wrong = |what: &str, remedy: &str| Err(Fault::new(format!("{name} {what}"), remedy));
    let extended = matches!(place, Place::Extended { .. });
    match kind {
        Type::Vsa if numbers != [VENDOR_SPECIFIC] => {
            wrong("can't be of type vsa: that is number 26 of the packet alone", "correct the type")
        }
        Type::Extended | Type::LongExtended if place != Place::Top || numbers.len() != 1 => {
            wrong("can't be extended: only attributes of the packet itself are", "write tlv")
        }
        Type::Evs if !extended || !matches!(numbers, [_, VENDOR_SPECIFIC]) => wrong(
            "can't be of type evs: that is number 26 of an extended attribute alone",
            "write tlv",
        ),
        kind if kind.holds_others()
            && (flags.tagged || flags.concat || flags.hiding != Hiding::None) =>
        {
            wrong("holds others, and has no flags of its own", "remove the flags")
        }
        _ if flags.tagged && !matches!(kind, Type::Integer | Type::Text | Type::Octets) => {
            wrong("can't have tags: only integer, string and octets can", "remove has_tag")
        }
        _ if flags.concat && !matches!(kind, Type::Text | Type::Octets) => {
            wrong("can't be concatenated: only string and octets can", "remove concat")
        }
        _ if flags.concat && (place != Place::Top || numbers.len() != 1) => wrong(
            "can't be concatenated: only attributes of the packet itself are",
            "remove concat; extended attributes do it by themselves",
        ),
        _ if flags.concat && flags.tagged => {
            wrong("can't have tags and be concatenated", "remove one of the flags")
        }
        _ if flags.array && kind.size().is_none() => {
            wrong("can't be an array: only types of a fixed size can", "remove array")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
