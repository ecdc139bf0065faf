//! Packets, written into a buffer and signed.

use std::net::Ipv4Addr;

use crate::code::Code;
use crate::hidden;
use crate::kind;
use crate::packet::{Attributes, HEADER, LONGEST, Packet};
use crate::secret::Secret;

/// Writes one packet. The first thing that does not fit is remembered and told at the end; what is written after it
/// is dropped.
pub struct Writer<'b> {
    buffer: &'b mut [u8],
    at: usize,
    secret: &'b Secret,
    /// What hidden values are hidden with: the request's, or zeroes where the request's is a digest that is not known
    /// before its end.
    authenticator: [u8; 16],
    /// The authenticator becomes a digest over the packet.
    digest: bool,
    /// Message-Authenticator stands behind the header.
    signed: bool,
    flaw: Option<TooLong>,
}

impl<'b> Writer<'b> {
    /// Begins the answer to a request. Those to Access-Request and Status-Server begin with Message-Authenticator, so
    /// that nobody can put anything before it (CVE-2024-3596).
    pub fn reply(
        buffer: &'b mut [u8],
        code: Code,
        request: &Packet<'_>,
        secret: &'b Secret,
    ) -> Self {
        let signed = request.code().has_random_authenticator();
        Self::begin(buffer, code, request.id(), *request.authenticator(), secret, true, signed)
    }

    /// Begins a request. `random` is the authenticator of Access-Request and Status-Server, which begin with
    /// Message-Authenticator, and must be unpredictable and never used twice (RFC 2865 section 3); the others have
    /// no use for it.
    pub fn request(
        buffer: &'b mut [u8],
        code: Code,
        id: u8,
        random: [u8; 16],
        secret: &'b Secret,
    ) -> Self {
        let signed = code.has_random_authenticator();
        let authenticator = if signed { random } else { [0; 16] };
        Self::begin(buffer, code, id, authenticator, secret, !signed, signed)
    }

    /// Begins an Access-Request as old NASes send it: without Message-Authenticator.
    pub fn unsigned_request(
        buffer: &'b mut [u8],
        id: u8,
        random: [u8; 16],
        secret: &'b Secret,
    ) -> Self {
        Self::begin(buffer, Code::ACCESS_REQUEST, id, random, secret, false, false)
    }

    fn begin(
        buffer: &'b mut [u8],
        code: Code,
        id: u8,
        authenticator: [u8; 16],
        secret: &'b Secret,
        digest: bool,
        signed: bool,
    ) -> Self {
        let longest = buffer.len().min(LONGEST);
        let (buffer, _) = buffer.split_at_mut(longest);
        let mut writer =
            Self { buffer, at: HEADER, secret, authenticator, digest, signed: false, flaw: None };
        match writer.buffer.first_chunk_mut::<HEADER>() {
            Some([code_at, id_at, _, _, authenticator_at @ ..]) => {
                *code_at = code.0;
                *id_at = id;
                *authenticator_at = authenticator;
            }
            None => writer.flaw = Some(TooLong::Packet),
        }
        if signed {
            writer.push_any(kind::MESSAGE_AUTHENTICATOR, &[0; 16]);
            writer.signed = true;
        }
        writer
    }

    /// Adds an attribute with a value of at most 253 octets. Message-Authenticator is left out: it is here already, or
    /// has no place.
    pub fn push(&mut self, kind: u8, value: &[u8]) {
        if kind != kind::MESSAGE_AUTHENTICATOR {
            self.push_any(kind, value);
        }
    }

    /// Adds an attribute that is a number.
    pub fn push_number(&mut self, kind: u8, value: u32) {
        self.push(kind, &value.to_be_bytes());
    }

    /// Adds an attribute that is an address.
    pub fn push_address(&mut self, kind: u8, value: Ipv4Addr) {
        self.push(kind, &value.octets());
    }

    /// Adds an attribute of a vendor (RFC 2865 section 5.26) with a value of at most 247 octets.
    pub fn push_vendor(&mut self, vendor: u32, kind: u8, value: &[u8]) {
        let target = Target { vendor: Some(vendor), kind, tag: None };
        if let Some(space) = self.space(target, value.len()) {
            space.copy_from_slice(value);
        }
    }

    /// Adds attributes that are encoded already. A Message-Authenticator among them is left out, as operators
    /// used to write one into reply items to ask for what is always done here.
    pub fn append(&mut self, attributes: &[u8]) {
        let mut walk = Attributes::of(attributes);
        let signed = walk.by_ref().any(|one| one.kind == kind::MESSAGE_AUTHENTICATOR);
        if signed {
            let mut walk = Attributes::of(attributes);
            walk.by_ref().for_each(|one| self.push(one.kind, one.value));
            return self.insist(walk.rest().is_empty(), TooLong::Torn);
        }
        self.insist(walk.rest().is_empty(), TooLong::Torn);
        if let Some(space) = self.take(attributes.len()) {
            space.copy_from_slice(attributes);
        }
    }

    /// Adds User-Password (RFC 2865 section 5.2): at most 128 octets.
    pub fn hide_password(&mut self, plain: &[u8]) {
        self.push_hidden(Target { vendor: None, kind: kind::USER_PASSWORD, tag: None }, plain);
    }

    /// Adds a value that is hidden as User-Password is: at most 128 octets.
    pub fn push_hidden(&mut self, target: Target, plain: &[u8]) {
        let Some(length) = hidden::password_len(plain) else {
            return self.insist(false, TooLong::Password);
        };
        let (secret, authenticator) = (self.secret, self.authenticator);
        if let Some(space) = self.space(target, length) {
            hidden::hide_password(plain, secret, &authenticator, space);
        }
    }

    /// Adds a value that is hidden with a salt, as Tunnel-Password (RFC 2868 section 3.5) and the MPPE keys (RFC 2548
    /// section 2.4.2) are: at most 239 octets. No salt may come twice in a packet; its first bit is set here, as both
    /// RFCs want it.
    pub fn push_salted(&mut self, target: Target, salt: [u8; 2], plain: &[u8]) {
        let Some(length) = hidden::salted_len(plain) else {
            return self.insist(false, TooLong::Password);
        };
        let salt = [salt[0] | 0x80, salt[1]];
        let (secret, authenticator) = (self.secret, self.authenticator);
        let space = self.space(target, 2 + length).and_then(<[u8]>::split_first_chunk_mut::<2>);
        if let Some((salt_at, space)) = space {
            *salt_at = salt;
            hidden::hide_salted(plain, secret, &authenticator, salt, space);
        }
    }

    /// Adds the request's Proxy-State attributes, unchanged and in their order (RFC 2865 section 5.33).
    pub fn copy_proxy_state(&mut self, request: &Packet<'_>) {
        request.all(kind::PROXY_STATE).for_each(|value| self.push(kind::PROXY_STATE, value));
    }

    /// Bytes that are left.
    pub fn room(&self) -> usize {
        self.buffer.len().saturating_sub(self.at)
    }

    /// Signs the packet, and gives its length.
    pub fn finish(self) -> Result<usize, TooLong> {
        if let Some(flaw) = self.flaw {
            return Err(flaw);
        }
        let packet = self.buffer.get_mut(..self.at).ok_or(TooLong::Packet)?;
        let length = u16::try_from(self.at).map_err(|_| TooLong::Packet)?;
        if let Some([_, _, length_at @ ..]) = packet.first_chunk_mut::<4>() {
            *length_at = length.to_be_bytes();
        }
        if self.signed {
            let mac = self.secret.mac(&[packet]);
            if let Some(value) = packet.get_mut(HEADER + 2..HEADER + 18) {
                value.copy_from_slice(&mac);
            }
        }
        if self.digest {
            let digest = self.secret.digest(&[packet]);
            if let Some(authenticator) = packet.get_mut(4..HEADER) {
                authenticator.copy_from_slice(&digest);
            }
        }
        Ok(self.at)
    }

    fn push_any(&mut self, kind: u8, value: &[u8]) {
        if let Some(space) = self.space(Target { vendor: None, kind, tag: None }, value.len()) {
            space.copy_from_slice(value);
        }
    }

    /// Writes the head of an attribute, and gives the space for its value.
    fn space(&mut self, target: Target, length: usize) -> Option<&mut [u8]> {
        let head = match target.vendor {
            Some(_) => 8,
            None => 2,
        } + usize::from(target.tag.is_some());
        let Ok(whole) = u8::try_from(head + length) else {
            self.insist(false, TooLong::Value);
            return None;
        };
        let space = self.take(usize::from(whole))?;
        let (head, value) = space.split_at_mut_checked(head)?;
        let tag_at = match (target.vendor, head) {
            (None, [kind_at, length_at, tag_at @ ..]) => {
                [*kind_at, *length_at] = [target.kind, whole];
                tag_at
            }
            (
                Some(vendor),
                [kind_at, length_at, v_0, v_1, v_2, v_3, inner_at, inner_len_at, tag_at @ ..],
            ) => {
                [*kind_at, *length_at] = [kind::VENDOR_SPECIFIC, whole];
                [*v_0, *v_1, *v_2, *v_3] = vendor.to_be_bytes();
                [*inner_at, *inner_len_at] = [target.kind, whole - 6];
                tag_at
            }
            _ => return None,
        };
        if let (Some(tag), [tag_at]) = (target.tag, tag_at) {
            *tag_at = tag;
        }
        Some(value)
    }

    fn take(&mut self, length: usize) -> Option<&mut [u8]> {
        if self.flaw.is_some() {
            return None;
        }
        let end = self.at.checked_add(length)?;
        let space = self.buffer.get_mut(self.at..end);
        match space {
            Some(_) => self.at = end,
            None => self.flaw = Some(TooLong::Packet),
        }
        space
    }

    fn insist(&mut self, holds: bool, flaw: TooLong) {
        if !holds && self.flaw.is_none() {
            self.flaw = Some(flaw);
        }
    }
}

/// Where a hidden value goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Target {
    /// The vendor's number, if it is a vendor's attribute.
    pub vendor: Option<u32>,
    /// The number of the attribute.
    pub kind: u8,
    /// The tag before it (RFC 2868 section 3), if it has one at all: 1 to 31, or 0 for none in particular.
    pub tag: Option<u8>,
}

impl Target {
    /// Tunnel-Password (RFC 2868 section 3.5).
    pub fn tunnel_password(tag: u8) -> Self {
        Self { vendor: None, kind: kind::TUNNEL_PASSWORD, tag: Some(tag) }
    }

    /// An attribute of [Microsoft](crate::vendor::microsoft).
    pub fn microsoft(kind: u8) -> Self {
        Self { vendor: Some(crate::vendor::MICROSOFT), kind, tag: None }
    }
}

/// Why a packet could not be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TooLong {
    /// The packet, for its buffer or for RADIUS.
    #[error(
        "the packet would be longer than its buffer, or than 4096 bytes: give the user fewer items"
    )]
    Packet,
    /// A value, for an attribute.
    #[error("a value is longer than an attribute can be: 253 bytes, or 247 for a vendor's")]
    Value,
    /// A password or key, for the way it is hidden.
    #[error("a password or key is longer than can be hidden: 128 bytes, or 239 with a salt")]
    Password,
    /// The last attribute, for the encoded attributes that it is the last of.
    #[error("encoded attributes do not add up: the last is longer than what is left")]
    Torn,
}

#[cfg(test)]
mod tests;
