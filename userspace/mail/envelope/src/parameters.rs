//! What `MAIL FROM` and `RCPT TO` say beside the path: ESMTP parameters, read and written.

use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::path::ReversePath;
use crate::reply::EnhancedCode;
use crate::xtext;

/// Longest `ENVID` as it is meant, in octets: RFC 3461 section 4.4 allows 100 as they are written.
pub const LONGEST_ENVID: usize = 100;

/// Longest `ORCPT` in octets, as it is written: RFC 3461 section 4.2.
pub const LONGEST_ORCPT: usize = 500;

/// Most parameters in one command: more than there are.
const MOST_PARAMETERS: usize = 16;

/// The parameters of `MAIL FROM`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct MailParameters {
    /// `SIZE` (RFC 1870): how long the sender believes it to be, in octets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// `BODY` (RFC 6152, RFC 3030).
    pub body: Body,
    /// `SMTPUTF8` (RFC 6531): addresses or header may be in UTF-8.
    pub smtputf8: bool,
    /// `REQUIRETLS` (RFC 8689): never without TLS.
    pub requiretls: bool,
    /// `RET` (RFC 3461): how much of it a failure's report carries back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ret: Option<Ret>,
    /// `ENVID` (RFC 3461): what the sender calls it, for reports. Decoded; any printable ASCII.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envid: Option<String>,
    /// `AUTH` (RFC 4954): who first submitted it, or `<>` for somebody. To be believed of a trusted server alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<ReversePath>,
}

/// What octets a message has.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize)]
pub enum Body {
    /// `7BIT`, and lines.
    #[default]
    SevenBit,
    /// `8BITMIME`: lines of any octets.
    EightBitMime,
    /// `BINARYMIME`: anything, and only by `BDAT`.
    BinaryMime,
}

/// How much of a message goes back with a report of its failure.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
pub enum Ret {
    /// `FULL`: all of it.
    Full,
    /// `HDRS`: its header.
    Headers,
}

/// The parameters of `RCPT TO`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct RcptParameters {
    /// `NOTIFY` (RFC 3461): what the sender wants to be told.
    pub notify: Notify,
    /// `ORCPT` (RFC 3461): whom the sender wrote to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orcpt: Option<OriginalRecipient>,
}

/// What a sender wants to be told about a recipient. None of them set: he did not say, and is told of failures and delays.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Notify {
    /// Nothing at all.
    pub never: bool,
    /// That it arrived.
    pub success: bool,
    /// That it failed.
    pub failure: bool,
    /// That it takes long.
    pub delay: bool,
}

/// A recipient as a sender had it, before aliases and forwards.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
pub struct OriginalRecipient {
    /// What kind of address: `rfc822`, `utf-8`, or another that IANA knows.
    pub address_type: String,
    /// The address, decoded. Printable, but not more than that: it is not for sending to.
    pub address: String,
}

/// Why parameters can't be taken. The client is told by [`ParameterError::code`] and the text.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParameterError {
    /// One that this server has not offered.
    #[error("{0} is not a parameter that this server knows")]
    Unknown(String),
    /// One with a value that it can't have.
    #[error("{0} does not have a value that it may have")]
    Value(&'static str),
    /// One twice.
    #[error("{0} stands there twice")]
    Twice(&'static str),
    /// Something that is no parameter.
    #[error("parameters are written as KEYWORD or KEYWORD=value, with one space before each")]
    Syntax,
    /// More than there are.
    #[error("at most {MOST_PARAMETERS} parameters can be given")]
    TooMany,
}

impl ParameterError {
    /// The reply's code and enhanced code: RFC 5321 section 4.1.1.11 has 555 for what is not known, 501 is for its syntax.
    #[must_use]
    pub const fn code(&self) -> (u16, EnhancedCode) {
        match self {
            Self::Unknown(_) => (555, EnhancedCode::new(5, 5, 4)),
            _ => (501, EnhancedCode::new(5, 5, 4)),
        }
    }
}

impl MailParameters {
    /// Reads what stands behind the path of `MAIL FROM`: nothing, or a space and parameters.
    ///
    /// # Errors
    ///
    /// [`ParameterError`], also if something stands there twice.
    pub fn parse(text: &str) -> Result<Self, ParameterError> {
        let mut read = Self::default();
        let mut seen = Seen::default();
        for one in parameters(text)? {
            let (keyword, value) = one?;
            match &*keyword.to_ascii_uppercase() {
                "SIZE" => {
                    seen.once("SIZE")?;
                    read.size = Some(size(value).ok_or(ParameterError::Value("SIZE"))?);
                }
                "BODY" => {
                    seen.once("BODY")?;
                    read.body = match value {
                        Some(value) if value.eq_ignore_ascii_case("7BIT") => Body::SevenBit,
                        Some(value) if value.eq_ignore_ascii_case("8BITMIME") => Body::EightBitMime,
                        Some(value) if value.eq_ignore_ascii_case("BINARYMIME") => Body::BinaryMime,
                        _ => return Err(ParameterError::Value("BODY")),
                    };
                }
                "SMTPUTF8" => {
                    seen.once("SMTPUTF8")?;
                    read.smtputf8 = flag("SMTPUTF8", value)?;
                }
                "REQUIRETLS" => {
                    seen.once("REQUIRETLS")?;
                    read.requiretls = flag("REQUIRETLS", value)?;
                }
                "RET" => {
                    seen.once("RET")?;
                    read.ret = match value {
                        Some(value) if value.eq_ignore_ascii_case("FULL") => Some(Ret::Full),
                        Some(value) if value.eq_ignore_ascii_case("HDRS") => Some(Ret::Headers),
                        _ => return Err(ParameterError::Value("RET")),
                    };
                }
                "ENVID" => {
                    seen.once("ENVID")?;
                    read.envid = Some(envid(value).ok_or(ParameterError::Value("ENVID"))?);
                }
                "AUTH" => {
                    seen.once("AUTH")?;
                    read.auth = Some(submitter(value).ok_or(ParameterError::Value("AUTH"))?);
                }
                _ => return Err(ParameterError::Unknown(keyword.to_owned())),
            }
        }
        Ok(read)
    }
}

impl RcptParameters {
    /// Reads what stands behind the path of `RCPT TO`: nothing, or a space and parameters.
    ///
    /// # Errors
    ///
    /// [`ParameterError`], also if something stands there twice.
    pub fn parse(text: &str) -> Result<Self, ParameterError> {
        let mut read = Self::default();
        let mut seen = Seen::default();
        for one in parameters(text)? {
            let (keyword, value) = one?;
            match &*keyword.to_ascii_uppercase() {
                "NOTIFY" => {
                    seen.once("NOTIFY")?;
                    read.notify =
                        value.and_then(Notify::parse).ok_or(ParameterError::Value("NOTIFY"))?;
                }
                "ORCPT" => {
                    seen.once("ORCPT")?;
                    read.orcpt = Some(
                        value
                            .and_then(OriginalRecipient::parse)
                            .ok_or(ParameterError::Value("ORCPT"))?,
                    );
                }
                _ => return Err(ParameterError::Unknown(keyword.to_owned())),
            }
        }
        Ok(read)
    }
}

impl Body {
    /// Its name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SevenBit => "7BIT",
            Self::EightBitMime => "8BITMIME",
            Self::BinaryMime => "BINARYMIME",
        }
    }
}

impl Ret {
    /// Its name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Headers => "HDRS",
        }
    }
}

impl Notify {
    /// `NEVER`.
    pub const NEVER: Self = Self { never: true, success: false, failure: false, delay: false };

    /// Reads its value: `NEVER` alone, or some of `SUCCESS`, `FAILURE` and `DELAY`.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        if value.eq_ignore_ascii_case("NEVER") {
            return Some(Self::NEVER);
        }
        let mut read = Self::default();
        for word in value.split(',') {
            let one = if word.eq_ignore_ascii_case("SUCCESS") {
                &mut read.success
            } else if word.eq_ignore_ascii_case("FAILURE") {
                &mut read.failure
            } else if word.eq_ignore_ascii_case("DELAY") {
                &mut read.delay
            } else {
                return None;
            };
            if std::mem::replace(one, true) {
                return None;
            }
        }
        Some(read)
    }

    /// Whether the sender said anything.
    #[must_use]
    pub const fn is_given(self) -> bool {
        self.never || self.success || self.failure || self.delay
    }

    /// Whether he is told of a failure: unless he said otherwise.
    #[must_use]
    pub const fn on_failure(self) -> bool {
        !self.never && (self.failure || !self.is_given())
    }

    /// Whether he is told of a delay: unless he said otherwise. RFC 3461 section 4.1 leaves it to the server if he said
    /// nothing.
    #[must_use]
    pub const fn on_delay(self) -> bool {
        !self.never && (self.delay || !self.is_given())
    }

    /// Whether he is told of a delivery.
    #[must_use]
    pub const fn on_success(self) -> bool {
        !self.never && self.success
    }
}

impl OriginalRecipient {
    /// Of an address that was written to without saying more.
    #[must_use]
    pub fn of(address: &Address) -> Self {
        let address_type = if address.needs_utf8() { "utf-8" } else { "rfc822" };
        Self { address_type: address_type.to_owned(), address: address.to_string() }
    }

    /// Reads its value: `type;address`, the address in xtext, or in what RFC 6533 has for `utf-8`.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        if value.len() > LONGEST_ORCPT {
            return None;
        }
        let (kind, address) = value.split_once(';')?;
        // addr-type is an atom: RFC 3461 section 4.2.
        if kind.is_empty() || !kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        {
            return None;
        }
        let address = if kind.eq_ignore_ascii_case("utf-8") {
            // RFC 6533 section 3 lets it be in xtext, too, where the server in between was not of our time.
            xtext::decode_utf8_address(address).or_else(|| xtext::decode(address))?
        } else {
            xtext::decode(address)?
        };
        if address.is_empty() || address.chars().any(char::is_control) {
            return None;
        }
        Some(Self { address_type: kind.to_ascii_lowercase(), address })
    }

    /// Whether saying it without losing anything needs SMTPUTF8.
    #[must_use]
    pub fn needs_utf8(&self) -> bool {
        !self.address.is_ascii()
    }
}

/// As it stands behind `ORCPT=` and, without xtext's escapes, in reports.
impl fmt::Display for OriginalRecipient {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = if self.address_type == "utf-8" {
            xtext::encode_utf8_address(&self.address)
        } else {
            xtext::encode(&self.address)
        };
        write!(out, "{};{address}", self.address_type)
    }
}

/// The value of `NOTIFY`; nothing if the sender said nothing.
impl fmt::Display for Notify {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.never {
            return out.write_str("NEVER");
        }
        let words = [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")];
        let mut first = true;
        for (_, word) in words.into_iter().filter(|&(set, _)| set) {
            if !std::mem::take(&mut first) {
                out.write_char(',')?;
            }
            out.write_str(word)?;
        }
        Ok(())
    }
}

/// Everything that is set, with a space before each: what stands behind the path. A client leaves out first what the server
/// did not offer.
impl fmt::Display for MailParameters {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(size) = self.size {
            write!(out, " SIZE={size}")?;
        }
        if self.body != Body::SevenBit {
            write!(out, " BODY={}", self.body.as_str())?;
        }
        if self.smtputf8 {
            out.write_str(" SMTPUTF8")?;
        }
        if self.requiretls {
            out.write_str(" REQUIRETLS")?;
        }
        if let Some(ret) = self.ret {
            write!(out, " RET={}", ret.as_str())?;
        }
        if let Some(envid) = &self.envid {
            write!(out, " ENVID={}", xtext::encode(envid))?;
        }
        match &self.auth {
            None => Ok(()),
            Some(ReversePath::Null) => out.write_str(" AUTH=<>"),
            Some(ReversePath::Address(address)) => {
                write!(out, " AUTH={}", xtext::encode(&address.to_string()))
            }
        }
    }
}

/// Everything that is set, with a space before each: what stands behind the path.
impl fmt::Display for RcptParameters {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.notify.is_given() {
            write!(out, " NOTIFY={}", self.notify)?;
        }
        match &self.orcpt {
            Some(orcpt) => write!(out, " ORCPT={orcpt}"),
            None => Ok(()),
        }
    }
}

type Parameter<'a> = (&'a str, Option<&'a str>);

/// Parameters one by one: RFC 5321 section 4.1.2 under `esmtp-param`. Spaces at the end of the line are forgiven, as all
/// servers do.
fn parameters(
    text: &str,
) -> Result<impl Iterator<Item = Result<Parameter<'_>, ParameterError>>, ParameterError> {
    let text = text.trim_end_matches(' ');
    if !text.is_empty() && !text.starts_with(' ') {
        return Err(ParameterError::Syntax);
    }
    if text.split(' ').filter(|one| !one.is_empty()).count() > MOST_PARAMETERS {
        return Err(ParameterError::TooMany);
    }
    Ok(text.split(' ').filter(|one| !one.is_empty()).map(parameter))
}

fn parameter(text: &str) -> Result<Parameter<'_>, ParameterError> {
    let (keyword, value) = match text.split_once('=') {
        Some((keyword, value)) => (keyword, Some(value)),
        None => (text, None),
    };
    let first = keyword.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if !first || !keyword.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(ParameterError::Syntax);
    }
    // esmtp-value: no controls; RFC 6531 section 3.3 adds what is not ASCII. An equals sign is sent by some who forget to
    // escape it.
    if value.is_some_and(|value| value.is_empty() || value.chars().any(char::is_control)) {
        return Err(ParameterError::Syntax);
    }
    Ok((keyword, value))
}

/// Which parameters were there.
#[derive(Default)]
struct Seen(Vec<&'static str>);

impl Seen {
    fn once(&mut self, keyword: &'static str) -> Result<(), ParameterError> {
        if self.0.contains(&keyword) {
            return Err(ParameterError::Twice(keyword));
        }
        self.0.push(keyword);
        Ok(())
    }
}

/// RFC 1870 section 4: up to twenty digits. More than fits is more than anybody takes.
fn size(value: Option<&str>) -> Option<u64> {
    let digits = value?;
    if digits.len() > 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

/// RFC 3461 section 4.4: printable ASCII, once it is decoded.
fn envid(value: Option<&str>) -> Option<String> {
    let envid = xtext::decode(value?)?;
    let fits = envid.len() <= LONGEST_ENVID;
    (fits && envid.bytes().all(|byte| matches!(byte, b' '..=b'~'))).then_some(envid)
}

/// RFC 4954 section 5.
fn submitter(value: Option<&str>) -> Option<ReversePath> {
    let value = value?;
    if value == "<>" {
        return Some(ReversePath::Null);
    }
    Address::parse(&xtext::decode(value)?).ok().map(ReversePath::Address)
}

fn flag(keyword: &'static str, value: Option<&str>) -> Result<bool, ParameterError> {
    if value.is_some() { Err(ParameterError::Value(keyword)) } else { Ok(true) }
}

#[cfg(test)]
mod tests;
