//! What we write above a message. Each function gives whole lines, and nothing that anybody claimed makes another line of them.

use std::fmt::Write;
use std::net::IpAddr;

use data_encoding::BASE64;

use crate::address::Address;
use crate::date;
use crate::domain::Domain;
use crate::envelope::{Envelope, Protocol};
use crate::id::MessageId;
use crate::path::ReversePath;

/// Where lines are folded, in characters: RFC 5322 section 2.1.1.
pub const LINE: usize = 78;

/// What a `Received` field tells.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The message.
    pub envelope: &'a Envelope,
    /// This server.
    pub by: &'a Domain,
    /// Minutes that its clock's zone lies east of Greenwich.
    pub offset_minutes: i16,
    /// Whether to keep to ourselves from where the client came, as for customers who submit mail.
    pub conceal_client: bool,
}

/// A `Received` field: RFC 5321 section 4.4. It names the recipient if there is one alone (section 7.6).
#[must_use]
pub fn received(facts: Received<'_>) -> String {
    let Received { envelope, by, .. } = facts;
    let client = &envelope.client;
    let mut out = String::with_capacity(320);
    out.push_str("Received: ");
    // Writing to a String can't fail.
    let _ = match (facts.conceal_client, client.protocol, &client.name) {
        (true, _, _) => write!(out, "from localhost (concealed)"),
        (_, Protocol::Local, _) => write!(out, "from localhost"),
        (_, _, Some(name)) => {
            write!(out, "from {} ({name} {})", claimed(&client.helo), literal(client.ip))
        }
        (_, _, None) => write!(out, "from {} ({})", claimed(&client.helo), literal(client.ip)),
    };
    let with = client.with(envelope.mail.smtputf8);
    let _ = write!(out, "\r\n\tby {by} with {with} id {}", envelope.id);
    if let [only] = &envelope.recipients[..]
        && (envelope.mail.smtputf8 || !only.address.needs_utf8())
    {
        let _ = write!(out, "\r\n\tfor <{}>", only.address);
    }
    // RFC 8314 section 4.3.
    if let Some(tls) = &client.tls {
        let _ = write!(out, "\r\n\ttls {} ({})", word(&tls.cipher), word(&tls.version));
    }
    let _ = write!(out, ";\r\n\t{}\r\n", date::rfc5322(envelope.received_at, facts.offset_minutes));
    out
}

/// A `Return-Path` field: RFC 5321 section 4.4.
#[must_use]
pub fn return_path(from: &ReversePath) -> String {
    format!("Return-Path: {from}\r\n")
}

/// A `Delivered-To` field, by which a loop is found.
#[must_use]
pub fn delivered_to(address: &Address) -> String {
    format!("Delivered-To: {address}\r\n")
}

/// A `Message-ID` field.
#[must_use]
pub fn message_id(id: &MessageId, domain: &Domain) -> String {
    format!("Message-ID: <{id}@{domain}>\r\n")
}

/// A `Date` field.
#[must_use]
pub fn date(seconds: i64, offset_minutes: i16) -> String {
    format!("Date: {}\r\n", date::rfc5322(seconds, offset_minutes))
}

/// A field of any text: what would end a line becomes a space, what is not ASCII is encoded (RFC 2047), and it is folded.
/// `name` is ours, not anybody's.
#[must_use]
pub fn text(name: &str, value: &str) -> String {
    let mut out = format!("{name}:");
    let mut column = out.len();
    let room = LINE.saturating_sub(out.len() + 1);
    let mut words = value.split(char::is_whitespace);
    if value.is_ascii() && !value.contains("=?") && words.all(|word| word.len() <= room) {
        for word in value.split(char::is_whitespace) {
            let word: String = word.chars().filter(|char| !char.is_ascii_control()).collect();
            if !word.is_empty() {
                push_word(&mut out, &mut column, &word);
            }
        }
    } else {
        let value: String =
            value.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
        for piece in pieces(&value, 42) {
            let word = format!("=?UTF-8?B?{}?=", BASE64.encode(piece.as_bytes()));
            push_word(&mut out, &mut column, &word);
        }
    }
    out.push_str("\r\n");
    out
}

fn push_word(out: &mut String, column: &mut usize, word: &str) {
    // The first one stays beside the name: a line of spaces alone is obsolete (RFC 5322 section 4.2).
    if *column + 1 + word.len() > LINE && !out.ends_with(':') {
        out.push_str("\r\n");
        *column = 0;
    }
    out.push(' ');
    out.push_str(word);
    *column += 1 + word.len();
}

/// Pieces of at most so many octets, each of whole characters: RFC 2047 section 5.
pub(crate) fn pieces(text: &str, most: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut end = most.min(rest.len());
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (piece, behind) = rest.split_at_checked(end).filter(|(piece, _)| !piece.is_empty())?;
        rest = behind;
        Some(piece)
    })
}

/// What a client called itself, as far as that can stand in a header: a domain, or a literal.
fn claimed(helo: &str) -> String {
    let claimed = word(helo);
    if claimed.is_empty() { "unknown".to_owned() } else { claimed }
}

/// What of a foreign text can stand in a header, outside quotes and inside comments.
fn word(text: &str) -> String {
    text.chars()
        .take(255)
        .map(|char| match char {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_' | ':' | '[' | ']' => char,
            _ => '?',
        })
        .collect()
}

fn literal(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

#[cfg(test)]
mod tests;
