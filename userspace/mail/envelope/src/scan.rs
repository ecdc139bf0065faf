//! Header fields by their names, without a MIME parser. Nothing is copied, and what a header may cost has limits.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter};

use crate::address::{Address, AddressDomain, AddressError, LocalPart};

/// How far into a message header fields are looked for, in octets.
pub const LONGEST_HEADER: usize = 1 << 20;

/// How many header fields are looked at.
pub const MOST_FIELDS: usize = 10_000;

/// How often a message may have been received before it is a loop: RFC 5321 section 6.3 asks for 100 at least.
pub const MOST_HOPS: usize = 100;

/// A header field as it stands in a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Field<'a> {
    /// Its name, without spaces.
    pub name: &'a [u8],
    /// What stands behind the colon, folded as it is, without the end of its last line.
    pub value: &'a [u8],
    /// All of it, from its name to the end of its last line.
    pub whole: &'a [u8],
}

impl<'a> Field<'a> {
    /// Whether it has that name, in any letter case.
    #[must_use]
    pub const fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// Its value in one line, without spaces at either end: RFC 5322 section 2.2.3.
    #[must_use]
    pub fn unfolded(&self) -> Cow<'a, [u8]> {
        let value = self.value.trim_ascii();
        if memchr(b'\n', value).is_none() && memchr(b'\r', value).is_none() {
            return Cow::Borrowed(value);
        }
        Cow::Owned(value.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect())
    }

    /// The same as text. What is not UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> Cow<'a, str> {
        match self.unfolded() {
            Cow::Borrowed(value) => String::from_utf8_lossy(value),
            Cow::Owned(value) => Cow::Owned(String::from_utf8_lossy(&value).into_owned()),
        }
    }
}

/// The header fields of a message, from the top. It ends at the empty line, at a line that is no header field, and at either
/// limit.
///
/// Lines may end with LF alone, as those of imported messages.
#[must_use]
pub const fn fields(message: &[u8]) -> Fields<'_> {
    Fields { message, at: 0, count: 0 }
}

/// See [`fields`].
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    message: &'a [u8],
    at: usize,
    count: usize,
}

impl<'a> Fields<'a> {
    /// Where the next field begins, or where the header ended.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        if self.at >= LONGEST_HEADER || self.count >= MOST_FIELDS {
            return None;
        }
        let rest = self.message.get(self.at..)?;
        let rest = rest.get(..LONGEST_HEADER - self.at).unwrap_or(rest);
        let end = field_end(rest);
        let whole = rest.get(..end)?;
        let colon = memchr(b':', whole)?;
        let (name, value) = whole.split_at_checked(colon)?;
        // RFC 5322 section 4.5.8: spaces before the colon are obsolete, and still sent.
        let name = name.trim_ascii_end();
        // ftext, section 3.6.8; RFC 6532 leaves names alone.
        if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        let value = value.get(1..)?;
        let value = value
            .strip_suffix(b"\n")
            .map_or(value, |line| line.strip_suffix(b"\r").unwrap_or(line));
        self.at += end;
        self.count += 1;
        Some(Field { name, value, whole })
    }
}

/// Where a field that begins here ends: behind the first line that is not followed by one that begins with a space.
fn field_end(text: &[u8]) -> usize {
    memchr_iter(b'\n', text)
        .map(|at| at + 1)
        .find(|&next| !matches!(text.get(next), Some(b' ' | b'\t')))
        .unwrap_or(text.len())
}

/// The first header field of that name.
#[must_use]
pub fn first<'a>(message: &'a [u8], name: &str) -> Option<Field<'a>> {
    fields(message).find(|field| field.is(name))
}

/// Where the content begins: behind the empty line. Everything is header if there is none; and what is no header field ends
/// the header, too, with nothing between.
#[must_use]
pub fn header_length(message: &[u8]) -> usize {
    let mut all = fields(message);
    all.by_ref().for_each(drop);
    let at = all.position();
    match message.get(at..) {
        Some([b'\r', b'\n', ..]) => at + 2,
        Some([b'\n', ..]) => at + 1,
        _ => at,
    }
}

/// How often a message was received, by what it says itself.
#[must_use]
pub fn hops(message: &[u8]) -> usize {
    fields(message).filter(|field| field.is("Received")).count()
}

/// Whether a message was delivered to that address before, by what it says itself: our own `Delivered-To`.
#[must_use]
pub fn was_delivered_to(message: &[u8], address: &Address) -> bool {
    fields(message).filter(|field| field.is("Delivered-To")).any(|field| {
        Address::parse(&field.text()).is_ok_and(|there| {
            there.domain == address.domain && there.local.folded() == address.local.folded()
        })
    })
}

/// Addresses out of the value of an address field such as `From` (RFC 5322 section 3.4): names, comments, groups' names and
/// source routes are passed over. Nothing if any of it is not an address, or if there are more than `most`: whoever decides by
/// them must not be told of some of them alone.
#[must_use]
pub fn addresses(value: &str, most: usize) -> Option<Vec<Address>> {
    let mut found = Vec::new();
    let mut one = Mailbox::default();
    let mut chars = value.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => {
                one.push('"');
                loop {
                    let char = chars.next()?;
                    one.push(char);
                    match char {
                        '\\' => one.push(chars.next()?),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '(' => {
                let mut depth = 1_usize;
                while depth > 0 {
                    match chars.next()? {
                        '(' => depth += 1,
                        ')' => depth -= 1,
                        '\\' => drop(chars.next()?),
                        _ => {}
                    }
                }
                one.push(' ');
            }
            '[' => {
                one.push('[');
                loop {
                    let char = chars.next()?;
                    one.push(char);
                    if char == ']' {
                        break;
                    }
                }
            }
            '<' if one.angle.is_none() => {
                one.angle = Some(String::new());
                one.inside = true;
            }
            '>' if one.inside => one.inside = false,
            '<' | '>' => return None,
            ',' if !one.inside => found.extend(one.take()?),
            // A group ends here, and others may follow.
            ';' if !one.inside => found.extend(one.take()?),
            // A source route has been: its commas, too, stand inside.
            ':' if one.inside => one.angle = Some(String::new()),
            // A group's name has been: words, not somebody's address.
            ':' if one.angle.is_none() && !one.plain.contains('@') => one.plain.clear(),
            other => one.push(other),
        }
        if found.len() > most {
            return None;
        }
    }
    found.extend(one.take()?);
    (found.len() <= most).then_some(found)
}

/// What is gathered between two commas.
#[derive(Default)]
struct Mailbox {
    plain: String,
    angle: Option<String>,
    inside: bool,
}

impl Mailbox {
    fn push(&mut self, char: char) {
        match (&mut self.angle, self.inside) {
            (Some(angle), true) => angle.push(char),
            // Behind the bracket, nothing but comments may stand.
            (Some(angle), false) if char != ' ' && char != '\t' => angle.push('\0'),
            (Some(_), false) => {}
            (None, _) => self.plain.push(char),
        }
    }

    /// The address, if there is anything; nothing at all if that is none.
    fn take(&mut self) -> Option<Option<Address>> {
        let Self { plain, angle, inside } = std::mem::take(self);
        if inside {
            return None;
        }
        let text = angle.unwrap_or(plain);
        let text = text.trim();
        if text.is_empty() { Some(None) } else { loose(text).ok().map(Some) }
    }
}

/// An address with the spaces that RFC 5322 section 4.4 has between its parts.
fn loose(text: &str) -> Result<Address, AddressError> {
    if let Ok(address) = Address::parse(text) {
        return Ok(address);
    }
    let (local, domain) = text.rsplit_once('@').ok_or(AddressError::Incomplete)?;
    Ok(Address {
        local: LocalPart::parse(local.trim())?,
        domain: AddressDomain::parse(domain.trim())?,
    })
}

#[cfg(test)]
mod tests;
