//! Who made a packet: nobody without the secret.

use subtle::ConstantTimeEq;

use crate::code::Code;
use crate::hidden;
use crate::kind;
use crate::packet::{HEADER, Packet};
use crate::secret::Secret;

const ZEROES: [u8; 16] = [0; 16];

/// Whether an Access-Request must have a Message-Authenticator. Without one, a man in the middle can turn a reject
/// into an accept (CVE-2024-3596, "BlastRADIUS").
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Requirement {
    /// It must. For every NAS that can.
    #[default]
    Required,
    /// It may be without, unless it went through a proxy or carries EAP. An exception, to be made for one NAS and
    /// loudly.
    IfPresent,
}

/// Finds among the secrets of a NAS (the current one, and the next during a roll) the one that a request was made
/// with, and gives its index. Takes a time that does not depend on how much of a forgery fits.
///
/// Access-Request and Status-Server prove themselves by Message-Authenticator (RFC 3579 section 3.2, RFC 5997
/// section 3), the others by their authenticator (RFC 2866 section 3, RFC 5176 section 2.3), and by
/// Message-Authenticator if they have one. Where nothing proves anything, because `requirement` allows it, and there
/// are several secrets, it is one that reveals a password of printable characters, or else the first: see
/// [`verify_request_from`] for what else may be known.
///
/// # Errors
///
/// If it is forged, or nothing tells whether it is and `requirement` does not allow that.
pub fn verify_request(
    packet: &Packet<'_>,
    secrets: &[Secret],
    requirement: Requirement,
) -> Result<usize, Unverified> {
    verify_request_from(packet, secrets, requirement, || 0)
}

/// The same, where it is known by which secret (its index in `secrets`) the sender last [proved](proves_secret) itself.
/// That is the one for a request which proves nothing and shows no password, such as one by CHAP or MS-CHAP: an answer
/// by another secret is one that the NAS throws away.
///
/// # Errors
///
/// Those of [`verify_request`].
pub fn verify_request_from(
    packet: &Packet<'_>,
    secrets: &[Secret],
    requirement: Requirement,
    proven: impl FnOnce() -> usize,
) -> Result<usize, Unverified> {
    if !packet.code().is_request() {
        return Err(Unverified::Code);
    }
    if secrets.is_empty() {
        return Err(Unverified::NoSecret);
    }
    let signature = signature(packet)?;
    if !packet.code().has_random_authenticator() {
        let fits = |secret| is_authenticated_by(packet, &ZEROES, secret);
        let index = secrets.iter().position(fits).ok_or(Unverified::Authenticator)?;
        // RFC 5176 section 3.4: calculated before the authenticator is, which therefore counts as zeroes.
        let signed = |at| secrets.get(index).is_some_and(|by| is_signed(packet, at, &ZEROES, by));
        return match signature {
            Some(at) if !signed(at) => Err(Unverified::MessageAuthenticator),
            _ => Ok(index),
        };
    }
    match signature {
        Some(at) => secrets
            .iter()
            .position(|secret| is_signed(packet, at, packet.authenticator(), secret))
            .ok_or(Unverified::MessageAuthenticator),
        None if packet.code() == Code::STATUS_SERVER
            || requirement == Requirement::Required
            // RFC 3579 section 3.1
            || packet.has(kind::EAP_MESSAGE) =>
        {
            Err(Unverified::NoMessageAuthenticator)
        }
        // The attack needs an attribute that comes back in the reply, and a place for 400 bytes.
        None if packet.has(kind::PROXY_STATE) => Err(Unverified::ProxyState),
        None => Ok(likely_secret(packet, secrets, proven)),
    }
}

/// Checks that a reply was made for the request with this authenticator by somebody who has the secret. The caller
/// matches the identifiers and addresses. A Message-Authenticator is always checked; `require_message_authenticator`
/// refuses replies to Access-Request and Status-Server that have none.
pub fn verify_reply(
    reply: &Packet<'_>,
    request_authenticator: &[u8; 16],
    secret: &Secret,
    require_message_authenticator: bool,
) -> Result<(), Unverified> {
    if !reply.code().is_reply() {
        return Err(Unverified::Code);
    }
    let signature = signature(reply)?;
    if !is_authenticated_by(reply, request_authenticator, secret) {
        return Err(Unverified::Authenticator);
    }
    match signature {
        Some(at) if is_signed(reply, at, request_authenticator, secret) => Ok(()),
        Some(_) => Err(Unverified::MessageAuthenticator),
        None if require_message_authenticator => Err(Unverified::NoMessageAuthenticator),
        None => Ok(()),
    }
}

/// Where the one Message-Authenticator begins, if there is any.
fn signature(packet: &Packet<'_>) -> Result<Option<usize>, Unverified> {
    let Some(value) = packet.first(kind::MESSAGE_AUTHENTICATOR) else { return Ok(None) };
    if packet.is_signed_again() {
        return Err(Unverified::MessageAuthenticatorRepeated);
    }
    if value.len() != 16 {
        return Err(Unverified::MessageAuthenticatorLength);
    }
    Ok(packet.signature())
}

/// Whether its authenticator is the digest over the packet with `authenticator` in its place.
fn is_authenticated_by(packet: &Packet<'_>, authenticator: &[u8; 16], secret: &Secret) -> bool {
    let Some((head, _)) = packet.bytes().split_first_chunk::<4>() else { return false };
    let digest = secret.digest(&[head, authenticator, packet.attribute_bytes()]);
    digest.ct_eq(packet.authenticator()).into()
}

/// Whether the Message-Authenticator that begins at `at` is the MAC over the packet with `authenticator` in the place
/// of its own.
fn is_signed(packet: &Packet<'_>, at: usize, authenticator: &[u8; 16], secret: &Secret) -> bool {
    let bytes = packet.bytes();
    let value = at + 2..at + 18;
    let (Some(head), Some(before), Some(given), Some(behind)) = (
        bytes.get(..4),
        bytes.get(HEADER..value.start),
        bytes.get(value.clone()),
        bytes.get(value.end..),
    ) else {
        return false;
    };
    let mac = secret.mac(&[head, authenticator, before, &ZEROES, behind]);
    mac.ct_eq(given).into()
}

/// Whether a request that was verified proved by which secret it was made, rather than being believed for want of a proof.
pub fn proves_secret(packet: &Packet<'_>) -> bool {
    !packet.code().has_random_authenticator() || packet.has(kind::MESSAGE_AUTHENTICATOR)
}

/// Which secret hides a password that a person could have typed: by chance 16 octets look so once in ten million. Where
/// there is no password, or none that fits, it is the one that was proven before.
fn likely_secret(packet: &Packet<'_>, secrets: &[Secret], proven: impl FnOnce() -> usize) -> usize {
    if secrets.len() < 2 {
        return 0;
    }
    let proven = || Some(proven()).filter(|index| *index < secrets.len()).unwrap_or_default();
    let Some(value) = packet.first(kind::USER_PASSWORD) else { return proven() };
    let fits = |secret: &Secret| {
        let mut plain = [0; hidden::LONGEST_PASSWORD];
        hidden::password(value, secret, packet.authenticator(), &mut plain)
            .and_then(|plain| str::from_utf8(plain).ok())
            .is_some_and(|plain| !plain.chars().any(char::is_control))
    };
    secrets.iter().position(fits).unwrap_or_else(proven)
}

/// Why nobody can say who made a packet. It deserves silence (RFC 2865 section 3), and a count.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum Unverified {
    /// Its code is none that is expected here.
    #[error("its code is none that belongs here")]
    Code,
    /// There is no secret to verify it with.
    #[error("there is no secret for its source: add the NAS")]
    NoSecret,
    /// Its authenticator is not the digest that it should be.
    #[error("its authenticator does not fit: compare the secret with the NAS's")]
    Authenticator,
    /// Its Message-Authenticator is not the MAC that it should be.
    #[error("its Message-Authenticator does not fit: compare the secret with the NAS's")]
    MessageAuthenticator,
    /// It has no Message-Authenticator, and needs one.
    #[error(
        "it has no Message-Authenticator: update the NAS, or make an exception for it if it can't send one"
    )]
    NoMessageAuthenticator,
    /// It has more than one.
    #[error("it has more than one Message-Authenticator")]
    MessageAuthenticatorRepeated,
    /// It has one of another length than 16 octets.
    #[error("its Message-Authenticator has not 16 octets")]
    MessageAuthenticatorLength,
    /// It went through a proxy, and has no Message-Authenticator: what BlastRADIUS looks like.
    #[error(
        "it has Proxy-State but no Message-Authenticator, as in a BlastRADIUS attack: update the proxy before it"
    )]
    ProxyState,
}

impl Unverified {
    /// All of them, for counters.
    pub const ALL: [Self; 8] = [
        Self::Code,
        Self::NoSecret,
        Self::Authenticator,
        Self::MessageAuthenticator,
        Self::NoMessageAuthenticator,
        Self::MessageAuthenticatorRepeated,
        Self::MessageAuthenticatorLength,
        Self::ProxyState,
    ];

    /// Its name in counters.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::NoSecret => "no_secret",
            Self::Authenticator => "authenticator",
            Self::MessageAuthenticator => "message_authenticator",
            Self::NoMessageAuthenticator => "no_message_authenticator",
            Self::MessageAuthenticatorRepeated => "message_authenticator_repeated",
            Self::MessageAuthenticatorLength => "message_authenticator_length",
            Self::ProxyState => "proxy_state",
        }
    }
}

#[cfg(test)]
mod tests;
