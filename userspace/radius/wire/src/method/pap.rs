//! The password itself (RFC 1334), which [`hidden::password`](crate::hidden::password) reveals.

use subtle::ConstantTimeEq;

use super::mschap;

/// Whether the password that was given is the stored one. The time depends on their lengths alone.
pub fn verify(stored: &[u8], given: &[u8]) -> bool {
    stored.ct_eq(given).into()
}

/// Whether the password that was given has the stored NT hash.
pub fn verify_nt(stored: &[u8; 16], given: &[u8]) -> bool {
    stored.ct_eq(&mschap::nt_hash(given)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_and_nothing_else() {
        assert!(verify(b"arctangent", b"arctangent"));
        assert!(verify("пароль".as_bytes(), "пароль".as_bytes()));
        let others: [&[u8]; 6] =
            [b"", b"arctangen", b"arctangent ", b"Arctangent", b"arctangenu", b"arctangent\0"];
        for given in others {
            assert!(!verify(b"arctangent", given), "{given:?}");
            assert!(!verify_nt(&mschap::nt_hash(b"arctangent"), given), "{given:?}");
        }
        assert!(verify_nt(&mschap::nt_hash(b"arctangent"), b"arctangent"));
    }
}
