//! What a message is called by us: in logs, in `Received`, in the queue and in traces.

use std::fmt::{self, Write};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Letters of an id.
pub const LETTERS: usize = 26;

/// Sixteen random bytes, shown as 26 letters and digits (base32 of RFC 4648, in lower case).
///
/// A message keeps it from the moment a server accepts it to the last trace of it, and what is stored twice is found by it.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct MessageId(pub [u8; 16]);

/// Text that is no id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a message's id is 26 letters a to z and digits 2 to 7, as logs and Received show it")]
pub struct MessageIdError;

impl MessageId {
    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Another id that is always the same for this one and `number`: of a message that is made out of this one, so that
    /// making it again after a crash makes no second.
    #[must_use]
    pub fn derive(&self, purpose: &str, number: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("muralla mail 2026 derived message ids");
        hasher.update(&self.0);
        hasher.update(&number.to_be_bytes());
        hasher.update(purpose.as_bytes());
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        Self(id)
    }
}

impl From<[u8; 16]> for MessageId {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<&[u8]> for MessageId {
    type Error = MessageIdError;

    /// Of its bytes, as a database has them.
    fn try_from(bytes: &[u8]) -> Result<Self, MessageIdError> {
        bytes.try_into().map(Self).map_err(|_| MessageIdError)
    }
}

impl FromStr for MessageId {
    type Err = MessageIdError;

    /// In either letter case.
    fn from_str(text: &str) -> Result<Self, MessageIdError> {
        if text.len() != LETTERS {
            return Err(MessageIdError);
        }
        let mut number: u128 = 0;
        let mut last = 0;
        for byte in text.bytes() {
            last = match byte {
                b'a'..=b'z' => byte - b'a',
                b'A'..=b'Z' => byte - b'A',
                b'2'..=b'7' => byte - b'2' + 26,
                _ => return Err(MessageIdError),
            };
            // 26 letters have 130 bits: the first two of them fall out here, and come back with the last letter.
            number = number << 5 | u128::from(last);
        }
        // The last letter has two bits too many, which are zero. They hide the two that fell out at the front.
        if last & 0b11 != 0 {
            return Err(MessageIdError);
        }
        let first = match text.bytes().next() {
            Some(byte @ b'2'..=b'7') => byte - b'2' + 26,
            Some(byte) => byte.to_ascii_lowercase().wrapping_sub(b'a'),
            None => return Err(MessageIdError),
        };
        Ok(Self((number >> 2 | u128::from(first >> 3) << 126).to_be_bytes()))
    }
}

impl TryFrom<String> for MessageId {
    type Error = MessageIdError;

    fn try_from(text: String) -> Result<Self, MessageIdError> {
        text.parse()
    }
}

impl From<MessageId> for String {
    fn from(id: MessageId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = u128::from_be_bytes(self.0);
        for letter in 0..LETTERS {
            let five = match letter {
                25 => number << 2,
                _ => number >> (123 - 5 * letter),
            };
            // Five bits: no truncation.
            let five = (five & 31) as u8;
            out.write_char(char::from(if five < 26 { b'a' + five } else { b'2' + five - 26 }))?;
        }
        Ok(())
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn letters() {
        for (bytes, text) in [
            ([0; 16], "aaaaaaaaaaaaaaaaaaaaaaaaaa"),
            ([0xff; 16], "77777777777777777777777774"),
            ([1; 16], "aeaqcaibaeaqcaibaeaqcaibae"),
        ] {
            assert_eq!(MessageId(bytes).to_string(), text);
            assert_eq!(text.parse(), Ok(MessageId(bytes)));
            assert_eq!(text.to_uppercase().parse(), Ok(MessageId(bytes)));
        }
        for text in [
            "",
            "a",
            "aaaaaaaaaaaaaaaaaaaaaaaaab",
            "aaaaaaaaaaaaaaaaaaaaaaaaa1",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "aaaaaaaaaaaaaaaaaaaaaaaa\u{e9}",
        ] {
            assert_eq!(text.parse::<MessageId>(), Err(MessageIdError), "{text:?}");
        }
    }

    #[test]
    fn derived() {
        let id = MessageId([7; 16]);
        assert_eq!(id.derive("dsn", 1), id.derive("dsn", 1));
        assert_ne!(id.derive("dsn", 1), id.derive("dsn", 2));
        assert_ne!(id.derive("dsn", 1), id.derive("forward", 1));
        assert_ne!(id.derive("dsn", 1), MessageId([8; 16]).derive("dsn", 1));
    }

    proptest! {
        #[test]
        fn as_the_standard_has_it(bytes: [u8; 16]) {
            let text = MessageId(bytes).to_string();
            let theirs = data_encoding::BASE32_NOPAD.encode(&bytes).to_ascii_lowercase();
            prop_assert_eq!(&text, &theirs);
            prop_assert_eq!(text.parse(), Ok(MessageId(bytes)));
        }
    }
}
