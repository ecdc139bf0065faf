//! Address books as vCard: 4.0 (RFC 6350), 3.0 (RFC 2426), and 2.1 as telephones write it.

use muralla_mail_envelope::Address;

use super::{Refused, told};
use crate::entries::{ContactEntry, ContactSource};

/// Longest name that is kept, in bytes.
const LONGEST_NAME: usize = 200;

/// Reads the addresses of an address book, each with the name of its card. A card without an address is passed over, and what looks like an
/// address and is none is told.
#[must_use]
pub fn from_vcard(text: &str, place: &str) -> (Vec<ContactEntry>, Vec<Refused>) {
    let (mut contacts, mut refused) = (Vec::new(), Vec::new());
    let mut card = Card::default();
    for (number, line) in unfolded(text) {
        let Some((head, value)) = parted(&line) else { continue };
        let mut parameters = head.split(';');
        let name = parameters.next().unwrap_or_default();
        // `item1.EMAIL` is one of a group.
        let name = name.rsplit('.').next().unwrap_or_default();
        let parameters: Vec<String> = parameters.map(str::to_ascii_uppercase).collect();
        let value = decoded(value, &parameters);
        match name.to_ascii_uppercase().as_str() {
            "BEGIN" => card = Card::default(),
            "FN" => card.formatted = value,
            "N" => card.parts = value,
            "EMAIL" => card.addresses.push((number, value)),
            "END" => {
                std::mem::take(&mut card).enter(place, &mut contacts, &mut refused);
            }
            _ => {}
        }
    }
    // A file that was cut off.
    card.enter(place, &mut contacts, &mut refused);
    (contacts, refused)
}

/// What is known of a card so far.
#[derive(Default)]
struct Card {
    formatted: String,
    /// Family name, given name and others, with semicolons between.
    parts: String,
    addresses: Vec<(usize, String)>,
}

impl Card {
    fn enter(self, place: &str, contacts: &mut Vec<ContactEntry>, refused: &mut Vec<Refused>) {
        let name = self.name();
        for (number, text) in self.addresses {
            let plain = plain(&text);
            let address = plain.trim();
            let address = address.strip_prefix("mailto:").unwrap_or(address);
            if address.is_empty() {
                continue;
            }
            match Address::parse(address) {
                Ok(address) => contacts.push(ContactEntry {
                    address,
                    name: name.clone(),
                    source: ContactSource::Person,
                    created: 0,
                }),
                Err(why) => refused.push(told(format!("{place}:{number}"), address, why)),
            }
        }
    }

    fn name(&self) -> Option<String> {
        let formatted = tidy(&plain(&self.formatted));
        if formatted.is_some() {
            return formatted;
        }
        // The given name comes first when it is spoken.
        let mut parts = separate(&self.parts).into_iter();
        let (family, given) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        tidy(&format!("{} {}", plain(&given), plain(&family)))
    }
}

/// In one line, and no longer than may be.
fn tidy(name: &str) -> Option<String> {
    let words: Vec<&str> =
        name.split(|char: char| char.is_whitespace() || char.is_control()).collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let mut name = words.join(" ");
    let mut longest = LONGEST_NAME.min(name.len());
    while !name.is_char_boundary(longest) {
        longest -= 1;
    }
    name.truncate(longest);
    Some(name).filter(|name| !name.is_empty())
}

/// Lines with those that go on: behind a line break and a blank (RFC 6350 section 3.2), or, in 2.1, behind `=` at the end of what is
/// quoted-printable. Each with its number in the file.
fn unfolded(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if let Some((_, last)) = lines.last_mut() {
            if let Some(more) = line.strip_prefix([' ', '\t']) {
                last.push_str(more);
                continue;
            }
            if last.ends_with('=') && is_quoted(last) {
                last.pop();
                last.push_str(line);
                continue;
            }
        }
        lines.push((at + 1, line.to_owned()));
    }
    lines
}

fn is_quoted(line: &str) -> bool {
    parted(line).is_some_and(|(head, _)| head.to_ascii_uppercase().contains("QUOTED-PRINTABLE"))
}

/// The head and the value of a line; colons within quotes belong to a parameter.
fn parted(line: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let colon = line.find(|char: char| {
        quoted ^= char == '"';
        char == ':' && !quoted
    })?;
    let (head, value) = line.split_at_checked(colon)?;
    Some((head, value.strip_prefix(':')?))
}

/// A value without quoted-printable.
fn decoded(value: &str, parameters: &[String]) -> String {
    if !parameters.iter().any(|parameter| parameter.ends_with("QUOTED-PRINTABLE")) {
        return value.to_owned();
    }
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.split_at_checked(2).filter(|_| *first == b'=');
        let byte = digits
            .and_then(|(digits, _)| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match (byte, digits) {
            (Some(byte), Some((_, behind))) => {
                bytes.push(byte);
                rest = behind;
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    // Of old telephones that say no charset, or Latin-1.
    String::from_utf8(bytes)
        .unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect())
}

/// Parts with semicolons between, but not those behind a backslash.
fn separate(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for char in text.chars() {
        match char {
            ';' if !escaped => parts.push(String::new()),
            char => {
                if let Some(last) = parts.last_mut() {
                    last.push(char);
                }
            }
        }
        escaped = char == '\\' && !escaped;
    }
    parts
}

/// Text without the backslashes (RFC 6350 section 3.4).
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some('n' | 'N') => plain.push(' '),
                Some(other) => plain.push(other),
                None => {}
            },
            char => plain.push(char),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, Option<String>)> {
        let (contacts, refused) = from_vcard(text, "book.vcf");
        assert_eq!(refused, [], "{text}");
        contacts.into_iter().map(|contact| (contact.address.to_string(), contact.name)).collect()
    }

    fn one(address: &str, name: &str) -> Vec<(String, Option<String>)> {
        vec![(address.to_owned(), Some(name.to_owned()))]
    }

    #[test]
    fn cards_of_all_versions_are_read() {
        for (text, expected) in [
            (
                "BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Ann Example\r\nEMAIL;TYPE=\"home:x\":ann@a.example\r\nEND:VCARD\r\n",
                one("ann@a.example", "Ann Example"),
            ),
            (
                "BEGIN:VCARD\nVERSION:3.0\nFN:Ann\\, of the\n  house\nitem1.EMAIL;type=INTERNET:ann@a.exa\n mple\nEND:VCARD\n",
                one("ann@a.example", "Ann, of the house"),
            ),
            (
                "BEGIN:VCARD\nVERSION:2.1\nN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:Nu=C3=B1=\nez;Jos=C3=A9;;;\nEMAIL:jose@a.example\nEND:VCARD\n",
                one("jose@a.example", "José Nuñez"),
            ),
            (
                "BEGIN:VCARD\nFN;ENCODING=QUOTED-PRINTABLE:Jos=E9\nEMAIL:mailto:jose@a.example\nEND:VCARD\n",
                one("jose@a.example", "José"),
            ),
            ("BEGIN:VCARD\nFN:Nobody\nTEL:+1 555\nEND:VCARD\n", Vec::new()),
            ("BEGIN:VCARD\nEMAIL:x@a.example\n", vec![("x@a.example".to_owned(), None)]),
            ("", Vec::new()),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        let two = read(
            "BEGIN:VCARD\nFN:A\nEMAIL:a@a.example\nEMAIL:b@a.example\nEND:VCARD\nBEGIN:VCARD\nEMAIL:c@a.example\nEND:VCARD\n",
        );
        assert_eq!(two.len(), 3);
        assert_eq!(two[2].1, None, "a card does not know the name of the one before");
    }

    #[test]
    fn what_is_no_address_is_told_with_its_line() {
        let (contacts, refused) = from_vcard(
            "BEGIN:VCARD\nFN:A\nEMAIL:call me\nEMAIL:a@a.example\nEND:VCARD\n",
            "book.vcf",
        );
        assert_eq!(contacts.len(), 1);
        assert_eq!((refused.len(), refused[0].place.as_str()), (1, "book.vcf:3"));
    }

    #[test]
    fn a_name_that_is_too_long_is_cut_at_a_letter() {
        let text = format!("BEGIN:VCARD\nFN:{}\nEMAIL:a@a.example\nEND:VCARD\n", "ñ".repeat(150));
        let name = read(&text)[0].1.clone().unwrap();
        assert_eq!(name, "ñ".repeat(100));
    }
}
