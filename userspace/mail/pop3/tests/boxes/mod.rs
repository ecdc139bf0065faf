//! The users and maildrops that the tests know.

use bytes::Bytes;
use muralla_pop3::{Listing, MaildropError, Refused, ScramParameters};
use ring::{digest, hmac, pbkdf2};

const ONE: &[u8] = b"From: Alice <alice@example.org>\r\nSubject: One\r\n\r\nHello.\r\n.A dot first.\r\n..\r\n.\r\n\r\n\
    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n";

const TWO: &[u8] = b"From: bob@example.net\r\nTo: mrose@example.org\r\nSubject: Two\r\n\r\n\
    The second message has no dots where it matters.\r\nIt is longer than the first. And it ends here:\r\n\
    yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n";

/// Names, passwords, and what is in whose maildrop.
const USERS: [(&str, &str, &[&[u8]]); 12] = [
    ("mrose", "tanstaaf", &[ONE, TWO]),
    ("frated", "secret", &[]),
    ("spaces", " two  words ", &[]),
    ("short", "secret", &[b"A: b\r\n\r\n"]),
    ("odd", "secret", &[b"A: b\r\n\r\nlast", b"", b".\r\n", b"A: b\r\n\r\none\n.\n+OK two\n"]),
    ("\u{fc}ser", "geheim", &["Subject: Gr\u{fc}\u{df}e\r\n\r\ngr\u{f6}\u{df}er\r\n".as_bytes()]),
    ("holes", "secret", &[b"0123456789", b"0123456789", b"0123456789"]),
    ("moved", "secret", &[b"0123456789", b"0123456789", b"0123456789"]),
    ("closed", "secret", &[]),
    ("away", "secret", &[]),
    ("busy", "secret", &[]),
    ("broken", "secret", &[]),
];

/// Passes of PBKDF2.
const ITERATIONS: u32 = 4096;

const SALT: &[u8] = b"salt";

/// Whether somebody may log in who says that.
pub(crate) fn login(user: &str, password: &[u8]) -> Result<(), Refused> {
    let known = USERS.iter().find(|(name, _, _)| *name == user);
    match (user, known) {
        ("away", _) => Err(Refused::Unavailable),
        ("busy", _) => Err(Refused::TooMany),
        (_, Some((_, right, _))) if right.as_bytes() == password => match user {
            "closed" => Err(Refused::Disabled),
            _ => Ok(()),
        },
        _ => Err(Refused::Credentials),
    }
}

/// What somebody's keys were made with.
pub(crate) fn scram(user: &str) -> Result<ScramParameters, Refused> {
    if user == "away" {
        return Err(Refused::Unavailable);
    }
    Ok(ScramParameters { salt: SALT.to_vec(), iterations: ITERATIONS })
}

/// Whether a proof fits: RFC 5802 section 3.
pub(crate) fn prove(user: &str, message: &[u8], proof: &[u8]) -> Result<Vec<u8>, Refused> {
    let (_, password, _) =
        USERS.iter().find(|(name, _, _)| *name == user).ok_or(Refused::Credentials)?;
    let (_, server_key) = keys(password.as_bytes());
    if proof_of(password.as_bytes(), message) == proof {
        Ok(mac(&server_key, message))
    } else {
        Err(Refused::Credentials)
    }
}

/// A client's proof.
pub(crate) fn proof_of(password: &[u8], message: &[u8]) -> Vec<u8> {
    let (client_key, _) = keys(password);
    let stored = digest::digest(&digest::SHA256, &client_key);
    client_key.iter().zip(mac(stored.as_ref(), message)).map(|(key, signed)| key ^ signed).collect()
}

fn keys(password: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut salted = [0; 32];
    let passes = ITERATIONS.try_into().unwrap();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, passes, SALT, password, &mut salted);
    (mac(&salted, b"Client Key"), mac(&salted, b"Server Key"))
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

/// What is in somebody's maildrop.
pub(crate) fn listing(user: &str) -> Result<Listing, MaildropError> {
    if user == "broken" {
        return Err(MaildropError::Unavailable);
    }
    let messages = messages(user);
    let mut listing = Listing::with_capacity(5, messages.len());
    if user == "moved" {
        listing.push_named(7, 10, "whqtswO00WBw418f9t5JxYwZ").unwrap();
        listing.push(8, 10);
        listing.push_named(99, 10, "UID99-1234567890").unwrap();
        return Ok(listing);
    }
    for (message, uid) in messages.iter().zip(1..) {
        listing.push(uid, message.len() as u64);
    }
    Ok(listing)
}

/// A message of his.
pub(crate) fn message(user: &str, uid: u64) -> Result<Bytes, MaildropError> {
    match (user, uid) {
        ("holes", 1) => Err(MaildropError::Gone),
        ("holes", 2) => Err(MaildropError::Unavailable),
        ("holes", _) => Err(MaildropError::Broken),
        _ => {
            let at = usize::try_from(uid).unwrap() - 1;
            Ok(Bytes::from_static(messages(user)[at]))
        }
    }
}

/// Whether what he did can be made to last.
pub(crate) fn commit(user: &str) -> Result<(), MaildropError> {
    if user == "holes" { Err(MaildropError::Unavailable) } else { Ok(()) }
}

fn messages(user: &str) -> &'static [&'static [u8]] {
    USERS.iter().find(|(name, _, _)| *name == user).unwrap().2
}
