//! `Authentication-Results`: RFC 8601. What we found, and what others wrote in our name.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr;
use muralla_mail_envelope::{Domain, ReversePath};

use crate::authentication::Authentication;
use crate::header::Lines;
use crate::outcome::Outcome;
use crate::spf::Identity;

/// Where lines are folded, in characters: RFC 5322 section 2.1.1.
const LINE: usize = 78;

/// What the field tells beside what was authenticated.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Who says so: the name that all servers of a site share.
    pub by: &'a Domain,
    /// The envelope's sender.
    pub from: &'a ReversePath,
    /// What the client called himself.
    pub helo: &'a str,
    /// The client's name in DNS, if that name has his address, too (section 3).
    pub name: Option<&'a Domain>,
}

/// The field, ended by CRLF. Whatever anybody claimed makes no other line of it, and no other result.
#[must_use]
pub fn header(authentication: &Authentication, facts: Facts<'_>) -> String {
    let mut field = Folded::new(&format!("Authentication-Results: {}", facts.by));
    let spf = &authentication.spf;
    match spf.identity {
        Identity::MailFrom if spf.outcome == Outcome::None && spf.domain.is_empty() => {}
        Identity::MailFrom => {
            field.result("spf", spf.outcome, &spf.reason);
            // Section 2.7.2: the local part may be left out, and is nobody's business.
            let domain = facts.from.address().and_then(|address| address.domain());
            field.property("smtp.mailfrom", domain.map_or(&spf.domain, |domain| domain.as_str()));
        }
        Identity::Helo => {
            field.result("spf", spf.outcome, &spf.reason);
            field.property("smtp.helo", facts.helo);
        }
    }
    for dkim in &authentication.dkim {
        field.result("dkim", dkim.outcome, &dkim.reason);
        field.property("header.d", &dkim.domain);
        field.property("header.s", &dkim.selector);
        field.property("header.a", dkim.algorithm);
        field.property("header.b", &dkim.mark);
    }
    let dmarc = &authentication.dmarc;
    if !dmarc.domain.is_empty() {
        field.result("dmarc", dmarc.outcome, &dmarc.reason);
        field.property("header.from", &dmarc.domain);
        if dmarc.outcome != Outcome::None {
            field.property("policy.dmarc", dmarc.policy.name());
        }
    }
    let arc = &authentication.arc;
    if arc.outcome != Outcome::None {
        field.result("arc", arc.outcome, &arc.reason);
        field.comment("sealed by", &arc.sealer);
    }
    if let Some(name) = facts.name {
        field.result("iprev", Outcome::Pass, "");
        field.property("policy.iprev", name.as_str());
    }
    field.finish()
}

/// A field that is folded where its line is full.
struct Folded {
    out: String,
    column: usize,
    empty: bool,
}

impl Folded {
    fn new(start: &str) -> Self {
        Self { out: start.to_owned(), column: start.len(), empty: true }
    }

    fn result(&mut self, method: &str, outcome: Outcome, reason: &str) {
        self.out.push(';');
        self.empty = false;
        // Each on a line of its own, as people read it.
        self.out.push_str("\r\n\t");
        self.column = 8;
        let result = format!("{method}={outcome}");
        self.column += result.len();
        self.out.push_str(&result);
        if !reason.is_empty() {
            self.push(&format!("reason={}", quoted(reason)));
        }
    }

    fn property(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.push(&format!("{name}={}", pvalue(value)));
        }
    }

    fn comment(&mut self, what: &str, value: &str) {
        let value: String = value
            .chars()
            .filter(|char| char.is_ascii_alphanumeric() || "-._".contains(*char))
            .collect();
        if !value.is_empty() {
            self.push(&format!("({what} {value})"));
        }
    }

    fn push(&mut self, word: &str) {
        if self.column + 1 + word.len() > LINE {
            self.out.push_str("\r\n\t");
            self.column = 8;
        } else {
            self.out.push(' ');
            self.column += 1;
        }
        self.out.push_str(word);
        self.column += word.len();
    }

    fn finish(mut self) -> String {
        if self.empty {
            self.out.push_str("; none");
        }
        self.out.push_str("\r\n");
        self.out
    }
}

/// A token where that is enough (RFC 2045 section 5.1), or quoted.
fn pvalue(value: &str) -> Cow<'_, str> {
    let plain = value.len() <= 255
        && value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    if plain { Cow::Borrowed(value) } else { Cow::Owned(quoted(value)) }
}

/// RFC 5322 section 3.2.4, of what can be seen; other things become question marks.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars().take(255) {
        match char {
            '"' | '\\' => {
                out.push('\\');
                out.push(char);
            }
            ' '..='~' => out.push(char),
            _ => out.push('?'),
        }
    }
    out.push('"');
    out
}

/// Where in a message fields stand that claim to be ours, or can't be told from ours: whole lines. They are all of the header's,
/// however long it is. Section 5: they must be gone before anybody believes what is left.
#[must_use]
pub fn forged(message: &[u8], ours: &[Domain]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut begin = 0;
    for (whole, end) in Lines::of(message) {
        if is_forged(whole, ours) {
            found.push(begin..end);
        }
        begin = end;
    }
    found
}

/// A message without [`forged`] fields.
#[must_use]
pub fn without_forged<'a>(message: &'a [u8], ours: &[Domain]) -> Cow<'a, [u8]> {
    let forged = forged(message, ours);
    if forged.is_empty() {
        return Cow::Borrowed(message);
    }
    let mut out = Vec::with_capacity(message.len());
    let mut begin = 0;
    for Range { start, end } in forged {
        out.extend_from_slice(message.get(begin..start).unwrap_or_default());
        begin = end;
    }
    out.extend_from_slice(message.get(begin..).unwrap_or_default());
    Cow::Owned(out)
}

fn is_forged(whole: &[u8], ours: &[Domain]) -> bool {
    let Some((name, value)) = memchr(b':', whole).and_then(|colon| whole.split_at_checked(colon))
    else {
        return false;
    };
    // Whatever else may stand before the colon, some program takes it for nothing.
    let name: Vec<u8> = name.iter().copied().filter(u8::is_ascii_graphic).collect();
    if !name.eq_ignore_ascii_case(b"authentication-results") {
        return false;
    }
    let value = String::from_utf8_lossy(value.get(1..).unwrap_or_default()).into_owned();
    let Some(by) = authority(&value) else { return true };
    let by = by.trim_end_matches('.');
    match Domain::parse(by) {
        Ok(by) => ours.contains(&by),
        // A word of somebody's own: what would be ours is a domain.
        Err(_) => ours.iter().any(|ours| ours.as_str().eq_ignore_ascii_case(by)),
    }
}

/// The `authserv-id`: a token or a quoted string, with comments before it. Nothing if there is none.
fn authority(value: &str) -> Option<String> {
    let mut chars = value.chars().peekable();
    let mut depth = 0_usize;
    loop {
        match *chars.peek()? {
            '(' => depth += 1,
            ')' if depth > 0 => depth -= 1,
            '\\' if depth > 0 => drop(chars.next()),
            char if depth > 0 || char.is_whitespace() => {}
            _ => break,
        }
        chars.next();
    }
    let mut out = String::new();
    if chars.next_if_eq(&'"').is_some() {
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => out.push(chars.next()?),
                '\r' | '\n' => {}
                char => out.push(char),
            }
        }
    } else {
        out.extend(chars.take_while(|char| !char.is_whitespace() && !matches!(char, ';' | '(')));
    }
    let out = out.trim().to_owned();
    (!out.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests;
