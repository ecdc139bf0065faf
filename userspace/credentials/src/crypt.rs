//! What crypt(3) wrote into /etc/shadow and the tables made from it: `$1$` (MD5), `$5$` and `$6$` (SHA-256 and SHA-512),
//! and the thirteen letters of before (DES).

use md5::{Digest, Md5};
use sha_crypt::{PasswordVerifier, ShaCrypt};

use super::des;

/// Most rounds of SHA-crypt that are accepted: a second of work, where the usual 5000 take milliseconds.
const MOST_ROUNDS: u32 = 2_000_000;

/// The alphabet of all of them, in the order of its values.
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What is wrong with a text that should be one of crypt's, if anything.
pub(super) fn refusal(text: &str) -> Option<&'static str> {
    match kind_of(text) {
        Some(Kind::Md5 { salt, hash }) => {
            (salt.len() > 8 || !is_salt(salt) || hash.len() != 22 || !in_alphabet(hash))
                .then_some("MD5-crypt is $1$, a salt of at most 8 letters, $ and 22 letters")
        }
        Some(Kind::Sha { wide, rounds, salt, hash }) => {
            if rounds.is_some_and(|rounds| !(1000..=MOST_ROUNDS).contains(&rounds)) {
                return Some("its rounds are not between 1000 and 2000000");
            }
            let letters = if wide { 86 } else { 43 };
            let salted = (1..=16).contains(&salt.len()) && in_alphabet(salt);
            (!salted || hash.len() != letters || !in_alphabet(hash)).then_some(
                "SHA-crypt is $5$ or $6$, a salt of 1 to 16 letters, $ and 43 or 86 letters",
            )
        }
        Some(Kind::Des) => None,
        None => Some("it is none of $1$ (MD5), $5$, $6$ (SHA), $2b$ (bcrypt) and 13 letters (DES)"),
    }
}

/// Whether a password is the one. Takes milliseconds, as it was meant to.
pub(super) fn verify(text: &str, password: &[u8]) -> bool {
    // Whatever it is, it must not take longer than what is accepted.
    if refusal(text).is_some() {
        return false;
    }
    match kind_of(text) {
        Some(Kind::Md5 { salt, hash }) => {
            super::equal(&md5_crypt(password, salt.as_bytes()), hash.as_bytes())
        }
        Some(Kind::Sha { .. }) => ShaCrypt::default().verify_password(password, text).is_ok(),
        Some(Kind::Des) => {
            let (salt, hash) = text.as_bytes().split_at_checked(2).unwrap_or_default();
            let salt = salt.iter().rev().fold(0_u16, |bits, letter| bits << 6 | value_of(*letter));
            super::equal(&letters_of_des(des::crypt(password, salt)), hash)
        }
        None => false,
    }
}

enum Kind<'a> {
    Md5 { salt: &'a str, hash: &'a str },
    Sha { wide: bool, rounds: Option<u32>, salt: &'a str, hash: &'a str },
    Des,
}

fn kind_of(text: &str) -> Option<Kind<'_>> {
    if let Some(rest) = text.strip_prefix("$1$") {
        let (salt, hash) = rest.split_once('$')?;
        return Some(Kind::Md5 { salt, hash });
    }
    for (prefix, wide) in [("$5$", false), ("$6$", true)] {
        let Some(mut rest) = text.strip_prefix(prefix) else { continue };
        let mut rounds = None;
        if let Some(after) = rest.strip_prefix("rounds=") {
            let (number, after) = after.split_once('$')?;
            // Neither a sign nor a leading zero: others read it otherwise.
            let plain =
                number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
            rounds = Some(number.parse().ok().filter(|_| plain)?);
            rest = after;
        }
        let (salt, hash) = rest.split_once('$')?;
        return Some(Kind::Sha { wide, rounds, salt, hash });
    }
    // The last letter holds four bits: two that are not zero tell a word of 13 letters from a hash.
    let whole = text.bytes().next_back().is_some_and(|letter| value_of(letter) & 3 == 0);
    (text.len() == 13 && in_alphabet(text) && whole).then_some(Kind::Des)
}

fn in_alphabet(text: &str) -> bool {
    text.bytes().all(|letter| ALPHABET.contains(&letter))
}

/// The salt of MD5-crypt may have other letters than the alphabet's, but neither what ends a field nor what nobody can
/// write.
fn is_salt(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'$' | b':'))
}

fn value_of(letter: u8) -> u16 {
    ALPHABET
        .iter()
        .position(|known| *known == letter)
        .and_then(|at| u16::try_from(at).ok())
        .unwrap_or(0)
}

/// The 22 letters of MD5-crypt (Poul-Henning Kamp, FreeBSD 2.0).
fn md5_crypt(password: &[u8], salt: &[u8]) -> Vec<u8> {
    let inner =
        Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut first = Md5::new().chain_update(password).chain_update(b"$1$").chain_update(salt);
    let mut left = password.len();
    while left > 0 {
        first.update(inner.get(..left.min(16)).unwrap_or_default());
        left = left.saturating_sub(16);
    }
    let mut bits = password.len();
    while bits > 0 {
        let letter = if bits & 1 == 1 { &[0][..] } else { password.get(..1).unwrap_or_default() };
        first.update(letter);
        bits >>= 1;
    }
    let mut hash = first.finalize();
    for round in 0..1000_u32 {
        let mut next = Md5::new();
        if round % 2 == 1 {
            next.update(password)
        } else {
            next.update(hash)
        }
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        if round % 2 == 1 {
            next.update(hash)
        } else {
            next.update(password)
        }
        hash = next.finalize();
    }
    let byte = |at: usize| u32::from(hash.get(at).copied().unwrap_or(0));
    let mut letters = Vec::with_capacity(22);
    for (high, middle, low) in [(0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)] {
        push_letters(&mut letters, byte(high) << 16 | byte(middle) << 8 | byte(low), 4);
    }
    push_letters(&mut letters, byte(11), 2);
    letters
}

/// So many letters of six bits each, the lowest first.
fn push_letters(letters: &mut Vec<u8>, mut bits: u32, count: usize) {
    for _ in 0..count {
        letters.extend(ALPHABET.get((bits & 63) as usize));
        bits >>= 6;
    }
}

/// The eleven letters of a block: its 64 bits, the highest first, and two more that are zero.
fn letters_of_des(block: u64) -> Vec<u8> {
    (0..11)
        .filter_map(|at| {
            let bits = (u128::from(block) << 2) >> (60 - 6 * at);
            ALPHABET.get((bits & 63) as usize).copied()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As glibc's crypt(3) writes them.
    const VECTORS: [(&str, &str); 13] = [
        ("$1$12345678$4DK4ebv57KmaPG8fC6f5l1", "0123456789"),
        ("$1$O3JMY.Tw$AdLnLjQ/5jXF9.MTp3gHv/", "password"),
        ("$1$$qRPK7m23GJusamGpoGLby/", ""),
        ("$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!"),
        (
            "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA",
            "Hello world!",
        ),
        (
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            "Hello world!",
        ),
        (
            "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
            "Hello world!",
        ),
        (
            "$6$rounds=1400$anotherlongsalts$POfYwTEok97VWcjxIiSOjiykti.o/pQs.wPvMxQ6Fm7I6IoYN3CmLs66x9t0oSwbtEW7o7UmJEiDwGqd8p4ur1",
            "a very much longer text to encrypt.  This one even stretches over morethan one line.",
        ),
        ("rl.3StKT.4T8M", "rasmuslerdorf"),
        ("abJnggxhB/yWI", "password"),
        ("..X8NBuQ4l6uQ", ""),
        ("zzRtj6pNdfpLE", "12345678 and more, which DES never sees"),
        ("/.EACzfQUyoDM", "\u{e9}t\u{e9}"),
    ];

    #[test]
    fn known_hashes() {
        for (text, password) in VECTORS {
            assert_eq!(refusal(text), None, "{text}");
            assert!(verify(text, password.as_bytes()), "{text} {password}");
            assert!(!verify(text, b"something else"), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused_and_never_verifies() {
        for text in [
            "",
            "x",
            "*",
            "!",
            "!rl.3StKT.4T8M",
            "rl.3StKT.4T8",
            "rl.3StKT.4T8M.",
            "rl.3StKT.4T8N",
            "rl:3StKT.4T8M",
            "$1$",
            "$1$12345678",
            "$1$123456789$xek.CpjQUVgdf/P2N9KQf/",
            "$1$12345678$xek.CpjQUVgdf/P2N9KQf",
            "$1$12345678$xek.CpjQUVgdf/P2N9KQ:/",
            "$1$12345678$xek.CpjQUVgdf/P2N9KQf/$",
            "$3$$8846f7eaee8fb117ad06bdd830b7586c",
            "$5$rounds=10$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            "$5$rounds=99999999$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            "$5$rounds=+5000$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            "$5$rounds=05000$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            "$5$saltstringsaltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            "$6$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7",
        ] {
            assert!(refusal(text).is_some(), "{text}");
            assert!(!verify(text, b"password"), "{text}");
        }
    }
}
