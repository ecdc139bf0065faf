//! Tags, texts and comments: the tokens of the HTML standard, section 13.2.5.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memmem};

use super::entities;

/// A piece of HTML.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Token<'h> {
    Text(Cow<'h, str>),
    Start(Tag<'h>),
    /// An end tag's name, in lower case.
    End(Cow<'h, str>),
    /// What is in a comment, or in what is taken for one.
    Comment(&'h str),
}

/// A start tag.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Tag<'h> {
    /// In lower case.
    pub(crate) name: Cow<'h, str>,
    /// Names in lower case, values with their entities decoded. Of two with one name the first counts.
    pub(crate) attributes: Vec<(Cow<'h, str>, Cow<'h, str>)>,
    pub(crate) self_closing: bool,
}

impl Tag<'_> {
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }
}

/// Elements in which nothing but their end tag is one, and whether entities are decoded there.
const RAW: [(&str, bool); 9] = [
    ("script", false),
    ("style", false),
    ("title", true),
    ("textarea", true),
    ("xmp", false),
    ("iframe", false),
    ("noembed", false),
    ("noframes", false),
    ("plaintext", false),
];

/// The tokens of a text.
#[derive(Clone, Debug)]
pub(crate) struct Tokens<'h> {
    html: &'h str,
    at: usize,
    /// The element that holds raw text, when its start tag has just been.
    raw: Option<(&'static str, bool)>,
    /// Attributes of a tag that are kept.
    most_attributes: usize,
}

impl<'h> Tokens<'h> {
    pub(crate) const fn new(html: &'h str, most_attributes: usize) -> Self {
        Self { html, at: 0, raw: None, most_attributes }
    }

    /// What was not read yet.
    fn rest(&self) -> &'h str {
        self.html.get(self.at..).unwrap_or_default()
    }

    /// The next so many octets. They end between characters, because what is looked for is ASCII.
    fn take(&mut self, length: usize) -> &'h str {
        let (taken, _) = self.rest().split_at_checked(length).unwrap_or((self.rest(), ""));
        self.at += taken.len();
        taken
    }

    /// What stands before this, which is passed over, too; everything if it is not there.
    fn until(&mut self, end: &str) -> &'h str {
        let rest = self.rest();
        match memmem::find(rest.as_bytes(), end.as_bytes()) {
            Some(at) => {
                self.at += at + end.len();
                rest.get(..at).unwrap_or_default()
            }
            None => self.take(rest.len()),
        }
    }

    fn raw_text(&mut self, name: &str, decoded: bool) -> Option<Token<'h>> {
        let bytes = self.rest().as_bytes();
        let end = match name {
            "plaintext" => bytes.len(),
            "script" => script_end(bytes),
            _ => memmem::find_iter(bytes, b"</")
                .find(|at| is_tag(bytes.get(at + 2..), name))
                .unwrap_or(bytes.len()),
        };
        let text = self.take(end);
        if text.is_empty() {
            return None;
        }
        Some(Token::Text(if decoded { entities::decode(text, false) } else { Cow::Borrowed(text) }))
    }

    /// What begins with `<`, if it is more than that character.
    fn markup(&mut self) -> Option<Token<'h>> {
        let rest = self.rest();
        match rest.as_bytes() {
            [b'<', first, ..] if first.is_ascii_alphabetic() => {
                self.at += 1;
                self.start_tag()
            }
            [b'<', b'/', first, ..] if first.is_ascii_alphabetic() => {
                self.at += 2;
                // Its attributes are read, so as to find where it ends, and mean nothing.
                match self.start_tag() {
                    Some(Token::Start(tag)) => {
                        self.raw = None;
                        Some(Token::End(tag.name))
                    }
                    other => other,
                }
            }
            [b'<', b'/', b'>', ..] => {
                self.at += 3;
                Some(Token::Comment(""))
            }
            [b'<', b'!', b'-', b'-', ..] => {
                self.at += 4;
                Some(Token::Comment(self.comment()))
            }
            // A document type, a section that HTML does not have, or a mistake: all end at the next bracket.
            [b'<', b'!' | b'?', ..] => {
                self.at += 2;
                Some(Token::Comment(self.until(">")))
            }
            [b'<', b'/', _, ..] => {
                self.at += 2;
                Some(Token::Comment(self.until(">")))
            }
            _ => None,
        }
    }

    fn comment(&mut self) -> &'h str {
        let rest = self.rest();
        for (short, length) in [(">", 1), ("->", 2)] {
            if rest.starts_with(short) {
                self.at += length;
                return "";
            }
        }
        let mut from = 0;
        while let Some(at) = rest.as_bytes().get(from..).and_then(|rest| memmem::find(rest, b"--"))
        {
            let at = from + at;
            let behind = rest.get(at + 2..).unwrap_or_default();
            for end in [">", "!>"] {
                if behind.starts_with(end) {
                    self.at += at + 2 + end.len();
                    return rest.get(..at).unwrap_or_default();
                }
            }
            from = at + 1;
        }
        self.take(rest.len())
    }

    /// A tag, from its name on. Nothing if it does not end: then there is nothing of it.
    fn start_tag(&mut self) -> Option<Token<'h>> {
        let mut tag = Tag { name: self.name(b""), ..Tag::default() };
        loop {
            self.blanks();
            match self.rest().as_bytes() {
                [] => return None,
                [b'>', ..] => {
                    self.at += 1;
                    break;
                }
                [b'/', b'>', ..] => {
                    self.at += 2;
                    tag.self_closing = true;
                    break;
                }
                [b'/', ..] => self.at += 1,
                _ => {
                    let (name, value) = self.attribute();
                    if tag.attributes.len() < self.most_attributes && tag.attribute(&name).is_none()
                    {
                        tag.attributes.push((name, entities::decode(value, true)));
                    }
                }
            }
        }
        self.raw = RAW.iter().find(|(name, _)| tag.name == *name).copied();
        Some(Token::Start(tag))
    }

    fn blanks(&mut self) {
        let blanks = self.rest().bytes().take_while(|&byte| is_blank(byte)).count();
        self.at += blanks;
    }

    /// A name of a tag or an attribute, which ends at a blank, a slash, a bracket, or one of these.
    fn name(&mut self, ends: &[u8]) -> Cow<'h, str> {
        let rest = self.rest();
        let length = rest
            .bytes()
            .position(|byte| is_blank(byte) || matches!(byte, b'/' | b'>') || ends.contains(&byte))
            .unwrap_or(rest.len());
        lower(self.take(length))
    }

    fn attribute(&mut self) -> (Cow<'h, str>, &'h str) {
        // An equals sign in front belongs to the name.
        let name = if self.rest().starts_with('=') {
            self.at += 1;
            let name = self.name(b"=");
            Cow::Owned(format!("={name}"))
        } else {
            self.name(b"=")
        };
        self.blanks();
        if !self.rest().starts_with('=') {
            return (name, "");
        }
        self.at += 1;
        self.blanks();
        let value = match self.rest().as_bytes() {
            [b'"', ..] => {
                self.at += 1;
                self.until("\"")
            }
            [b'\'', ..] => {
                self.at += 1;
                self.until("'")
            }
            _ => {
                let rest = self.rest();
                let length = rest
                    .bytes()
                    .position(|byte| is_blank(byte) || byte == b'>')
                    .unwrap_or(rest.len());
                self.take(length)
            }
        };
        (name, value)
    }
}

impl<'h> Iterator for Tokens<'h> {
    type Item = Token<'h>;

    fn next(&mut self) -> Option<Token<'h>> {
        if let Some((name, decoded)) = self.raw.take()
            && let Some(text) = self.raw_text(name, decoded)
        {
            return Some(text);
        }
        let rest = self.rest();
        if rest.is_empty() {
            return None;
        }
        if rest.starts_with('<')
            && let Some(token) = self.markup()
        {
            return Some(token);
        }
        if self.rest().is_empty() {
            // A tag that does not end.
            return None;
        }
        // A bracket that begins nothing is text, with what is behind it.
        let length = rest
            .as_bytes()
            .get(1..)
            .and_then(|rest| memchr(b'<', rest))
            .map_or(rest.len(), |at| at + 1);
        Some(Token::Text(entities::decode(self.take(length), false)))
    }
}

/// Whether these octets are the name of a tag, and end there.
fn is_tag(bytes: Option<&[u8]>, name: &str) -> bool {
    bytes.and_then(|bytes| bytes.split_at_checked(name.len())).is_some_and(|(found, behind)| {
        found.eq_ignore_ascii_case(name.as_bytes())
            && behind.first().is_some_and(|&byte| is_blank(byte) || matches!(byte, b'/' | b'>'))
    })
}

/// Where a script ends: sections 13.2.5.15 to 13.2.5.31. In a comment, a script's end tag does not end it if a start tag has
/// been there.
fn script_end(bytes: &[u8]) -> usize {
    // Where the hyphens are that may end the comment.
    let mut comment: Option<usize> = None;
    let mut inner = false;
    for at in memchr::memchr2_iter(b'<', b'>', bytes) {
        let rest = bytes.get(at..).unwrap_or_default();
        if rest.starts_with(b">") {
            let before = bytes.get(comment.unwrap_or(at)..at).unwrap_or_default();
            if before.ends_with(b"--") {
                (comment, inner) = (None, false);
            }
        } else if comment.is_none() && rest.starts_with(b"<!--") {
            comment = Some(at + 2);
        } else if comment.is_some() && is_tag(rest.get(1..), "script") {
            inner = true;
        } else if rest.starts_with(b"</") && is_tag(rest.get(2..), "script") {
            if !inner {
                return at;
            }
            inner = false;
        }
    }
    bytes.len()
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | 0x0c | b'\r' | b' ')
}

fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// Whether a text has anything that needs decoding.
pub(crate) fn is_plain(text: &str) -> bool {
    memchr2(b'&', b'\0', text.as_bytes()).is_none()
}

#[cfg(test)]
mod tests;
