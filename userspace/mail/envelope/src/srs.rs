//! SRS: forwarded mail gets a sender of ours, in which the old one is written, so that it passes SPF where it goes and that
//! bounces find their way back.
//!
//! The first forwarder makes `SRS0=hash=day=domain=local@forwarder`, the next `SRS1=hash=domain=rest@next`, which leads back
//! to the first directly, and every one after that only takes over. The hash keeps others from sending mail through us by
//! addresses that they made themselves, the day makes what somebody collected useless later.

use data_encoding::BASE32_NOPAD;

use crate::address::{Address, LocalPart};
use crate::domain::Domain;
use crate::keys::Keys;

/// For how many days an address leads back. Others give up a message after five, and tell of it within that time.
pub const DAYS: i64 = 21;

/// Octets of a signature: 30 bits in 6 letters.
const SIGNATURE: usize = 6;

/// Days are counted modulo this: two letters of base32.
const CYCLE: i64 = 1024;

/// Why an address can't be rewritten or restored.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SrsError {
    /// There is no room left for it in 64 octets. The message is better forwarded with a sender of the account that forwards it.
    #[error("the sender's address is too long to be written into one of ours")]
    TooLong,
    /// A literal, to which no address of ours leads back.
    #[error("the sender's address has no domain")]
    Literal,
    /// Not an address of SRS at all: it may be anybody's.
    #[error("this is no rewritten address")]
    Plain,
    /// It looks like one, and is none.
    #[error("a rewritten address is broken")]
    Malformed,
    /// Not made by us, or changed on the way.
    #[error("a rewritten address was not made here")]
    Forged,
    /// Too old.
    #[error("a rewritten address is older than {DAYS} days")]
    Expired,
}

/// Makes a sender of ours of a sender: `today` in days since 1970.
///
/// Whether it needs that is the caller's to know: not if it is ours already.
///
/// # Errors
///
/// [`SrsError::TooLong`] or [`SrsError::Literal`].
pub fn rewrite(
    sender: &Address,
    our_domain: &Domain,
    keys: &Keys,
    today: i64,
) -> Result<Address, SrsError> {
    let domain = sender.domain().ok_or(SrsError::Literal)?;
    let local = sender.local.as_str();
    let rewritten = match Form::of(local) {
        // Somebody's who forwarded it before us: we lead back to him.
        Some(Form::First(rest)) => second(domain.as_str(), rest, keys),
        // Somebody's who forwarded what had been forwarded: we lead back to whom he led back to.
        Some(Form::Second(rest)) => match Second::read(rest) {
            Some(read) => second(read.first_forwarder, read.rest, keys),
            // It only looks like one.
            None => first(domain.as_str(), local, keys, today),
        },
        None => first(domain.as_str(), local, keys, today),
    };
    let local = LocalPart::new(&rewritten).map_err(|_| SrsError::TooLong)?;
    Ok(Address::new(local, our_domain.clone()))
}

/// The sender of whom [`rewrite`] made an address, out of its local part: where a bounce goes to.
///
/// # Errors
///
/// [`SrsError::Plain`] if it is none of ours by its form; the others say why it leads nowhere.
pub fn restore(local: &LocalPart, keys: &Keys, today: i64) -> Result<Address, SrsError> {
    match Form::of(local.as_str()).ok_or(SrsError::Plain)? {
        Form::First(rest) => {
            let read = First::read(rest).ok_or(SrsError::Malformed)?;
            let day = read.day.to_ascii_lowercase();
            let parts = [&*day, &*fold(read.domain), &*fold(read.local)];
            verify("srs0", &parts, read.signature, keys)?;
            let made = number(&day).ok_or(SrsError::Malformed)?;
            // A day more on either side: another box signed it, and its clock may be beyond midnight.
            if (today - made + 1).rem_euclid(CYCLE) > DAYS + 1 {
                return Err(SrsError::Expired);
            }
            address(read.local, read.domain)
        }
        Form::Second(rest) => {
            let read = Second::read(rest).ok_or(SrsError::Malformed)?;
            let parts = [&*fold(read.first_forwarder), &*fold(read.rest)];
            verify("srs1", &parts, read.signature, keys)?;
            address(&format!("SRS0{}", read.rest), read.first_forwarder)
        }
    }
}

/// Whether a local part has the form of a rewritten address.
#[must_use]
pub fn is_rewritten(local: &LocalPart) -> bool {
    Form::of(local.as_str()).is_some()
}

fn first(domain: &str, local: &str, keys: &Keys, today: i64) -> String {
    let day = letters(today.rem_euclid(CYCLE));
    let parts = [&*day, &*fold(domain), &*fold(local)];
    let signature = sign("srs0", &parts, keys);
    format!("SRS0={signature}={day}={domain}={local}")
}

/// `rest` begins with the separator that the first forwarder chose.
fn second(first_forwarder: &str, rest: &str, keys: &Keys) -> String {
    let parts = [&*fold(first_forwarder), &*fold(rest)];
    let signature = sign("srs1", &parts, keys);
    format!("SRS1={signature}={first_forwarder}={rest}")
}

/// What a local part looks like, and what stands behind its first word, separator included where that is the other's.
enum Form<'a> {
    First(&'a str),
    Second(&'a str),
}

impl<'a> Form<'a> {
    fn of(local: &'a str) -> Option<Self> {
        let (word, rest) = local.split_at_checked(4)?;
        // Any of these may follow; ours is the equals sign.
        if !rest.starts_with(['=', '+', '-']) {
            return None;
        }
        if word.eq_ignore_ascii_case("SRS0") {
            Some(Self::First(rest))
        } else if word.eq_ignore_ascii_case("SRS1") {
            Some(Self::Second(rest))
        } else {
            None
        }
    }
}

struct First<'a> {
    signature: &'a str,
    day: &'a str,
    domain: &'a str,
    local: &'a str,
}

impl<'a> First<'a> {
    fn read(rest: &'a str) -> Option<Self> {
        let mut parts = rest.strip_prefix('=')?.splitn(4, '=');
        let read = Self {
            signature: parts.next()?,
            day: parts.next()?,
            domain: parts.next()?,
            local: parts.next()?,
        };
        (!read.local.is_empty()).then_some(read)
    }
}

struct Second<'a> {
    signature: &'a str,
    first_forwarder: &'a str,
    rest: &'a str,
}

impl<'a> Second<'a> {
    fn read(rest: &'a str) -> Option<Self> {
        // Of somebody else it may begin with another separator.
        let mut parts = rest.get(1..)?.splitn(3, '=');
        let read =
            Self { signature: parts.next()?, first_forwarder: parts.next()?, rest: parts.next()? };
        // What follows is what stood behind SRS0, and nothing else: or it would lead to any address of that domain.
        let is_first = read.rest.starts_with(['=', '+', '-']);
        (is_first && Domain::parse(read.first_forwarder).is_ok()).then_some(read)
    }
}

fn address(local: &str, domain: &str) -> Result<Address, SrsError> {
    let local = LocalPart::new(local).map_err(|_| SrsError::Malformed)?;
    let domain = Domain::parse(domain).map_err(|_| SrsError::Malformed)?;
    Ok(Address::new(local, domain))
}

/// Servers on the way may change the letter case of all of it.
fn fold(text: &str) -> String {
    text.to_lowercase()
}

fn sign(purpose: &str, parts: &[&str], keys: &Keys) -> String {
    let signature: [u8; 4] = keys.sign(purpose, parts);
    encode(signature)
}

fn encode(signature: [u8; 4]) -> String {
    let mut letters = BASE32_NOPAD.encode(&signature).to_ascii_lowercase();
    letters.truncate(SIGNATURE);
    letters
}

/// The last two of the 32 bits are not in the letters, so they are compared as letters.
fn verify(purpose: &str, parts: &[&str], signature: &str, keys: &Keys) -> Result<(), SrsError> {
    let signature = signature.to_ascii_lowercase();
    if keys.verify(purpose, parts, signature.as_bytes(), encode) {
        Ok(())
    } else {
        Err(SrsError::Forged)
    }
}

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

fn letters(number: i64) -> String {
    [number >> 5, number]
        .iter()
        .filter_map(|five| ALPHABET.get(usize::try_from(five & 31).ok()?).copied().map(char::from))
        .collect()
}

fn number(letters: &str) -> Option<i64> {
    let mut number = 0;
    for byte in letters.bytes() {
        let five = ALPHABET.iter().position(|&letter| letter == byte)?;
        number = number << 5 | i64::try_from(five).ok()?;
    }
    (letters.len() == 2).then_some(number)
}

impl SrsError {
    /// Whether it is no address of SRS, and so may be a mailbox.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        matches!(self, Self::Plain)
    }
}

#[cfg(test)]
mod tests;
