//! Signed senders of our own mail, after BATV's `prvs` scheme: a bounce that comes to an address without a signature answers
//! mail that we did not send.
//!
//! `prvs=KDDDSSSSSS=local@domain`: K is a digit, DDD the day on which it ends, modulo 1000, and SSSSSS a signature in
//! hexadecimal. List software knows the form and looks behind it for who it was.

use data_encoding::HEXLOWER;

use crate::address::{Address, LocalPart};
use crate::keys::Keys;

/// For how many days a bounce may come. Others give up a message after five, and some hold the report a while.
pub const DAYS: i64 = 14;

/// Octets of a signature.
const SIGNATURE: usize = 3;

const PREFIX: &str = "prvs=";

/// What the address that a bounce goes to turns out to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Signed by us: it is for that address.
    Signed(Address),
    /// Signed by us, for that address, and too old.
    Expired(Address),
    /// Its signature is not ours.
    Forged,
    /// Not signed.
    Plain,
}

/// Signs a sender: `today` in days since 1970. Nothing if there is no room for it in the 64 octets of a local part, or if it
/// is signed already.
#[must_use]
pub fn sign(sender: &Address, keys: &Keys, today: i64) -> Option<Address> {
    let local = sender.local.as_str();
    if split(local).is_some() {
        return None;
    }
    let day = format!("0{:03}", (today + DAYS).rem_euclid(1000));
    let signature: [u8; SIGNATURE] = keys.sign("prvs", &parts(&day, sender, local));
    let signed = format!("{PREFIX}{day}{}={local}", HEXLOWER.encode(&signature));
    Some(Address { local: LocalPart::new(&signed).ok()?, domain: sender.domain.clone() })
}

/// Whether [`sign`] has room for that sender: bounces for others come unsigned.
#[must_use]
pub fn has_room(sender: &Address) -> bool {
    LocalPart::new(&format!("{PREFIX}0000000000={}", sender.local.as_str())).is_ok()
}

/// Looks at the address that a bounce goes to.
#[must_use]
pub fn check(address: &Address, keys: &Keys, today: i64) -> Verdict {
    let Some((day, signature, local)) = split(address.local.as_str()) else {
        return Verdict::Plain;
    };
    let signature = signature.to_ascii_lowercase();
    let form = |signature: [u8; SIGNATURE]| HEXLOWER.encode(&signature);
    if !keys.verify("prvs", &parts(day, address, local), signature.as_bytes(), form) {
        return Verdict::Forged;
    }
    let (Ok(plain), Some(Ok(ends))) = (LocalPart::new(local), day.get(1..).map(str::parse::<i64>))
    else {
        return Verdict::Forged;
    };
    let plain = Address { local: plain, domain: address.domain.clone() };
    // A day more: another box signed it, and its clock may be beyond midnight.
    if (ends - today).rem_euclid(1000) <= DAYS + 1 {
        Verdict::Signed(plain)
    } else {
        Verdict::Expired(plain)
    }
}

/// Servers on the way may change the letter case, so it is not signed.
fn parts(day: &str, address: &Address, local: &str) -> [Vec<u8>; 3] {
    [
        day.as_bytes().to_vec(),
        address.domain.to_string().into_bytes(),
        local.to_lowercase().into_bytes(),
    ]
}

/// Key and day, signature, and the local part behind them.
fn split(local: &str) -> Option<(&str, &str, &str)> {
    let (prefix, rest) = local.split_at_checked(PREFIX.len())?;
    if !prefix.eq_ignore_ascii_case(PREFIX) {
        return None;
    }
    let (tag, local) = rest.split_once('=')?;
    let (day, signature) = tag.split_at_checked(4)?;
    let fits = signature.len() == 2 * SIGNATURE && !local.is_empty();
    let digits = day.bytes().all(|byte| byte.is_ascii_digit());
    let hexadecimal = signature.bytes().all(|byte| byte.is_ascii_hexdigit());
    (fits && digits && hexadecimal).then_some((day, signature, local))
}

#[cfg(test)]
mod tests;
