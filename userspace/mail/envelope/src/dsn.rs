//! Delivery status notifications: the message that tells a sender what became of his (RFC 3464; RFC 6533 for addresses in
//! other scripts).
//!
//! A report goes to the sender alone, and from `<>`, so that nothing can answer it. Who may be told at all (never `<>`, never
//! a sender who may be forged) is for the caller to know.

use std::fmt::Write;

use data_encoding::HEXUPPER;
use memchr::{memchr, memmem};

use crate::address::Address;
use crate::date::rfc5322;
use crate::domain::Domain;
use crate::headers;
use crate::id::MessageId;
use crate::language::Language;
use crate::parameters::{Body, MailParameters, OriginalRecipient, Ret};
use crate::reply::{EnhancedCode, Reply};
use crate::scan;

/// Most of a header that a report carries back, in octets.
pub const LONGEST_HEADER: usize = 64 * 1024;

/// Longest line of a message that goes on the wire, in octets without its end: RFC 5321 section 4.5.3.1.6.
const LONGEST_LINE: usize = 998;

/// What a report tells.
#[derive(Clone, Copy)]
pub struct Report<'a> {
    /// What the report itself is called. Not to be foreseen by whoever wrote the message: the border between its parts is
    /// made of it.
    pub id: MessageId,
    /// This server.
    pub reporting: &'a Domain,
    /// Whom the report comes from, as people see it: `MAILER-DAEMON@...`.
    pub author: &'a Address,
    /// Whom it goes to: the message's sender.
    pub to: &'a Address,
    /// What the message is called by us.
    pub message_id: MessageId,
    /// What its sender called it (`ENVID`).
    pub envid: Option<&'a str>,
    /// When it arrived here, in seconds since 1970.
    pub arrived_at: i64,
    /// How much of it is to go back (`RET`).
    pub ret: Option<Ret>,
    /// Whether it came with SMTPUTF8, so that its header may be in UTF-8.
    pub smtputf8: bool,
    /// What became of it, for each recipient that the report is about.
    pub fates: &'a [Fate],
    /// The message, or as much of it as there is: its header at least.
    pub message: &'a [u8],
    /// Longest message that goes back whole, in octets. Of a longer one, the header goes.
    pub longest_return: usize,
    /// Now, in seconds since 1970.
    pub now: i64,
    /// Minutes that this server's zone lies east of Greenwich.
    pub offset_minutes: i16,
    /// What people read.
    pub language: &'a dyn Language,
}

/// What became of a message for one recipient.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fate {
    /// The recipient, as the sender may know him: not where he had it forwarded to.
    pub recipient: Address,
    /// Whom the sender wrote to (`ORCPT`).
    pub orcpt: Option<OriginalRecipient>,
    /// What was done.
    pub action: Action,
    /// Why.
    pub status: EnhancedCode,
    /// The server that said so, by its name.
    pub remote: Option<String>,
    /// What it said.
    pub reply: Option<Reply>,
    /// When it was last tried, in seconds since 1970.
    pub last_attempt: Option<i64>,
    /// Until when it will be tried, in seconds since 1970.
    pub retry_until: Option<i64>,
}

/// What was done: RFC 3464 section 2.3.3. In the order of what a sender needs to know first.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Action {
    /// It will not be delivered.
    Failed,
    /// It was not delivered yet.
    Delayed,
    /// It was handed to a server that tells nothing more.
    Relayed,
    /// It was handed on to several.
    Expanded,
    /// It was delivered.
    Delivered,
}

/// A report, ready to be sent from `<>`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dsn {
    /// The message.
    pub message: Vec<u8>,
    /// What to say with it in `MAIL FROM:<>`.
    pub parameters: MailParameters,
}

/// Builds a report. Nothing if it is about nobody.
#[must_use]
pub fn build(report: &Report<'_>) -> Option<Dsn> {
    let worst = report.fates.iter().map(|fate| fate.action).min()?;
    // RFC 6533 section 3: a report needs SMTPUTF8 only if its reader has an address that does.
    let utf8 = report.to.needs_utf8();
    let returned = returned(report, worst, utf8);
    let status = delivery_status(report, utf8);
    let text = report.language.text(report, worst);

    let eight_bit = !returned.content.is_ascii() || !status.is_ascii();
    let boundary = boundary(report.id, &returned.content);
    let mut out = String::with_capacity(2048 + text.len() + status.len());
    header(&mut out, report, worst, eight_bit, &boundary);
    push_text(&mut out, &boundary, report.language.tag(), &text);

    let kind = if utf8 { "message/global-delivery-status" } else { "message/delivery-status" };
    part(
        &mut out,
        &boundary,
        "Delivery report",
        kind,
        if status.is_ascii() { "7bit" } else { "8bit" },
    );
    out.push_str(&status);

    let encoding = match returned.encoding {
        Some(encoding) => encoding,
        None if returned.content.is_ascii() => "7bit",
        None => "8bit",
    };
    part(&mut out, &boundary, returned.description, returned.kind, encoding);
    let mut message = out.into_bytes();
    message.extend_from_slice(&returned.content);
    message.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());

    let body = if message.is_ascii() { Body::SevenBit } else { Body::EightBitMime };
    let size = u64::try_from(message.len()).ok();
    let parameters = MailParameters { size, body, smtputf8: utf8, ..MailParameters::default() };
    Some(Dsn { message, parameters })
}

fn header(out: &mut String, report: &Report<'_>, worst: Action, eight_bit: bool, boundary: &str) {
    let name = headers::text("From", &report.language.author());
    // Writing to a String can't fail.
    let _ = write!(out, "{}\r\n <{}>\r\n", name.trim_end(), report.author);
    let _ = write!(out, "To: <{}>\r\n", report.to);
    out.push_str(&headers::text("Subject", &report.language.subject(report, worst)));
    out.push_str(&headers::date(report.now, report.offset_minutes));
    out.push_str(&headers::message_id(&report.id, report.reporting));
    // So that it is shown beside what it is about.
    if let Some(about) = message_id_of(report.message) {
        let _ = write!(out, "In-Reply-To: {about}\r\nReferences: {about}\r\n");
    }
    // RFC 3834 section 5: nothing automatic answers it.
    out.push_str("Auto-Submitted: auto-replied\r\n");
    out.push_str("MIME-Version: 1.0\r\n");
    out.push_str("Content-Type: multipart/report; report-type=delivery-status;\r\n");
    let _ = write!(out, "\tboundary=\"{boundary}\"\r\n");
    let _ =
        write!(out, "Content-Transfer-Encoding: {}\r\n", if eight_bit { "8bit" } else { "7bit" });
    out.push_str("\r\nThis is a MIME-encapsulated message.\r\n");
}

/// The message's own id, if it can stand in a header.
fn message_id_of(message: &[u8]) -> Option<String> {
    let field = scan::first(message, "Message-ID")?;
    let id = field.text().into_owned();
    let fits = id.len() <= 250 && id.bytes().all(|byte| byte.is_ascii_graphic());
    (fits && id.starts_with('<') && id.ends_with('>')).then_some(id)
}

fn part(out: &mut String, boundary: &str, description: &str, kind: &str, encoding: &str) {
    let _ = write!(
        out,
        "\r\n--{boundary}\r\nContent-Description: {description}\r\nContent-Type: {kind}\r\n\
         Content-Transfer-Encoding: {encoding}\r\n\r\n"
    );
}

fn push_text(out: &mut String, boundary: &str, tag: &str, text: &str) {
    let _ = write!(
        out,
        "\r\n--{boundary}\r\nContent-Description: Notification\r\nContent-Language: {tag}\r\n\
         Content-Type: text/plain; charset=utf-8\r\n"
    );
    let mut lines = String::with_capacity(text.len() + text.len() / 32);
    for line in text.lines() {
        lines.push_str(line);
        lines.push_str("\r\n");
    }
    if text.is_ascii()
        && lines.split("\r\n").all(|line| line.len() <= LONGEST_LINE)
        && !lines.contains('\0')
    {
        out.push_str("Content-Transfer-Encoding: 7bit\r\n\r\n");
        out.push_str(&lines);
    } else {
        out.push_str("Content-Transfer-Encoding: quoted-printable\r\n\r\n");
        quoted_printable(out, lines.as_bytes());
    }
}

/// RFC 3464 section 2: a group for the message, and one for each recipient.
fn delivery_status(report: &Report<'_>, utf8: bool) -> String {
    let mut out = String::with_capacity(256 * (report.fates.len() + 1));
    if let Some(envid) = report.envid {
        field(&mut out, "Original-Envelope-Id", envid, false);
    }
    let _ = write!(out, "Reporting-MTA: dns; {}\r\n", report.reporting);
    let _ = write!(out, "X-Muralla-Message: {}\r\n", report.message_id);
    let _ = write!(out, "Arrival-Date: {}\r\n", rfc5322(report.arrived_at, report.offset_minutes));
    for fate in report.fates {
        out.push_str("\r\n");
        if let Some(orcpt) = &fate.orcpt {
            let address = match (&*orcpt.address_type, utf8) {
                ("utf-8", true) => orcpt.address.clone(),
                // RFC 6533 section 3: in a report that is in ASCII, so are its addresses.
                ("utf-8", false) => crate::xtext::encode_utf8_address(&orcpt.address),
                _ => crate::xtext::encode(&orcpt.address),
            };
            field(
                &mut out,
                "Original-Recipient",
                &format!("{};{address}", orcpt.address_type),
                utf8,
            );
        }
        let recipient = fate.recipient.to_string();
        let recipient = match (fate.recipient.needs_utf8(), utf8) {
            (false, _) => format!("rfc822;{recipient}"),
            (true, true) => format!("utf-8;{recipient}"),
            (true, false) => format!("utf-8;{}", crate::xtext::encode_utf8_address(&recipient)),
        };
        field(&mut out, "Final-Recipient", &recipient, utf8);
        let _ = write!(out, "Action: {}\r\n", fate.action.as_str());
        let _ = write!(out, "Status: {}\r\n", fate.status);
        if let Some(remote) = &fate.remote {
            field(&mut out, "Remote-MTA", &format!("dns; {remote}"), false);
        }
        if let Some(reply) = &fate.reply {
            field(&mut out, "Diagnostic-Code", &format!("smtp; {reply}"), utf8);
        }
        if let Some(at) = fate.last_attempt {
            let _ = write!(out, "Last-Attempt-Date: {}\r\n", rfc5322(at, report.offset_minutes));
        }
        // RFC 3464 section 2.3.9: only for what is delayed.
        if let (Some(at), Action::Delayed) = (fate.retry_until, fate.action) {
            let _ = write!(out, "Will-Retry-Until: {}\r\n", rfc5322(at, report.offset_minutes));
        }
    }
    out
}

/// A field whose value anybody may have written: one line, folded between its words, in ASCII unless UTF-8 is allowed.
fn field(out: &mut String, name: &str, value: &str, utf8: bool) {
    let _ = write!(out, "{name}:");
    let mut column = name.len() + 1;
    for word in value.split(' ').filter(|word| !word.is_empty()) {
        for piece in headers::pieces(word, 900) {
            // The first word stays beside the name, so that no line consists of spaces.
            if column + 1 + piece.len() > headers::LINE && column > name.len() + 1 {
                out.push_str("\r\n");
                column = 0;
            }
            out.push(' ');
            out.extend(piece.chars().map(|char| match char {
                ' '..='~' => char,
                other if utf8 && !other.is_control() => other,
                _ => '?',
            }));
            column += 1 + piece.len();
        }
    }
    out.push_str("\r\n");
}

/// What goes back of the message.
struct Returned {
    description: &'static str,
    kind: &'static str,
    /// If it is not as it was.
    encoding: Option<&'static str>,
    content: Vec<u8>,
}

fn returned(report: &Report<'_>, worst: Action, utf8: bool) -> Returned {
    let message = report.message;
    // RFC 3461 section 4.3: the whole of it only goes back with a failure.
    let whole = report.ret == Some(Ret::Full)
        && worst == Action::Failed
        && message.len() <= report.longest_return
        && has_lines(message)
        // As message/rfc822 it can't be encoded (RFC 2046 section 5.2.1), as message/global it can.
        && (message.is_ascii() || !report.smtputf8 || std::str::from_utf8(message).is_ok());
    let (description, content) = if whole {
        ("Undelivered message", message)
    } else {
        ("Header of the message", header_of(message))
    };
    if content.is_ascii() && (whole || has_lines(content)) {
        let kind = if whole { "message/rfc822" } else { "text/rfc822-headers" };
        return Returned { description, kind, encoding: None, content: content.to_vec() };
    }
    // Bytes of a content without SMTPUTF8 are those of its parts.
    if whole && !report.smtputf8 {
        return Returned {
            description,
            kind: "message/rfc822",
            encoding: None,
            content: content.to_vec(),
        };
    }
    let is_utf8 = std::str::from_utf8(content).is_ok();
    let kind = match (whole, is_utf8) {
        (true, _) => "message/global",
        (false, true) => "message/global-headers",
        (false, false) => "text/rfc822-headers",
    };
    if utf8 && is_utf8 && has_lines(content) {
        return Returned { description, kind, encoding: None, content: content.to_vec() };
    }
    let mut encoded = String::with_capacity(content.len() * 2);
    quoted_printable(&mut encoded, content);
    let encoding = Some("quoted-printable");
    Returned { description, kind, encoding, content: encoded.into_bytes() }
}

/// The header, as far as it goes back: whole fields.
fn header_of(message: &[u8]) -> &[u8] {
    let mut fields = scan::fields(message);
    let mut end = 0;
    while fields.next().is_some() && fields.position() <= LONGEST_HEADER {
        end = fields.position();
    }
    message.get(..end).unwrap_or_default()
}

/// Whether it can go over SMTP as it is: lines that end with CRLF, and none too long.
fn has_lines(message: &[u8]) -> bool {
    if message.contains(&0) {
        return false;
    }
    let mut rest = message;
    while let Some(at) = memchr(b'\n', rest) {
        let (line, behind) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        let Some(line) = line.strip_suffix(b"\r") else { return false };
        if line.len() > LONGEST_LINE || line.contains(&b'\r') {
            return false;
        }
        rest = behind.get(1..).unwrap_or_default();
    }
    rest.len() <= LONGEST_LINE && !rest.contains(&b'\r')
}

/// A line that nothing in there begins with.
fn boundary(id: MessageId, content: &[u8]) -> String {
    let mut number = 0;
    loop {
        let boundary = format!("=_{}", id.derive("boundary", number));
        if memmem::find(content, boundary.as_bytes()).is_none() {
            return boundary;
        }
        number += 1;
    }
}

/// RFC 2045 section 6.7. Ends of lines stay: CRLF, or LF where it was that.
fn quoted_printable(out: &mut String, content: &[u8]) {
    for line in content.split_inclusive(|&byte| byte == b'\n') {
        let (line, ended) = match line.strip_suffix(b"\n") {
            Some(line) => (line.strip_suffix(b"\r").unwrap_or(line), true),
            None => (line, false),
        };
        let mut column = 0;
        let mut bytes = line.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            let last = bytes.peek().is_none();
            let plain = match byte {
                b'=' => false,
                b'!'..=b'~' => true,
                b' ' | b'\t' => !last,
                _ => false,
            };
            let width = if plain { 1 } else { 3 };
            // 76 with the equals sign that breaks the line.
            if column + width > 75 {
                out.push_str("=\r\n");
                column = 0;
            }
            if plain {
                out.push(char::from(byte));
            } else {
                out.push('=');
                out.push_str(&HEXUPPER.encode(&[byte]));
            }
            column += width;
        }
        if ended {
            out.push_str("\r\n");
        }
    }
}

impl Action {
    /// Its name in a report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Relayed => "relayed",
            Self::Expanded => "expanded",
            Self::Delivered => "delivered",
        }
    }
}

#[cfg(test)]
mod tests;
