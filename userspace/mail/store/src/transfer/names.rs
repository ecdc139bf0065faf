//! Names of folders, as file systems and other mail servers have them.

use crate::folders::{FolderPath, Purpose};
use crate::outcome::StoreError;

/// Bytes that a file's name may have. Linux takes 255, and something is hung on to it.
const LONGEST: usize = 200;

/// Letters of a name's hash, where the name itself is too long.
const HASHED: usize = 16;

/// A folder's name in the modified UTF-7 of RFC 3501 section 5.1.3, which Maildir++ and other servers have on disk.
#[must_use]
pub fn to_utf7(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    let mut foreign: Vec<u8> = Vec::new();
    for letter in name.chars() {
        if !(' '..='~').contains(&letter) {
            let mut units = [0; 2];
            foreign
                .extend(letter.encode_utf16(&mut units).iter().flat_map(|unit| unit.to_be_bytes()));
            continue;
        }
        shift(&mut encoded, &mut foreign);
        encoded.push(letter);
        if letter == '&' {
            encoded.push('-');
        }
    }
    shift(&mut encoded, &mut foreign);
    encoded
}

fn shift(encoded: &mut String, foreign: &mut Vec<u8>) {
    if !foreign.is_empty() {
        encoded.push('&');
        // Its base64 has a comma for the slash, which is no letter of a name.
        encoded.push_str(&data_encoding::BASE64_NOPAD.encode(foreign).replace('/', ","));
        encoded.push('-');
        foreign.clear();
    }
}

/// Reads that. Nothing if it is something else, such as UTF-8 with a lonely `&`.
#[must_use]
pub fn from_utf7(encoded: &str) -> Option<String> {
    let mut name = String::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((before, after)) = rest.split_once('&') {
        name.push_str(before);
        let (foreign, after) = after.split_once('-')?;
        rest = after;
        if foreign.is_empty() {
            name.push('&');
            continue;
        }
        let bytes =
            data_encoding::BASE64_NOPAD.decode(foreign.replace(',', "/").as_bytes()).ok()?;
        let (units, odd) = bytes.as_chunks::<2>();
        if !odd.is_empty() {
            return None;
        }
        let units: Vec<u16> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
        name.push_str(&String::from_utf16(&units).ok()?);
    }
    name.push_str(rest);
    Some(name)
}

/// One name of a folder's path as the name of a file, which is neither hidden nor another folder's: `.` and `\` become `\2e` and
/// `\5c`, as Dovecot's listescape has them.
#[must_use]
pub fn to_file(name: &str) -> String {
    let file = to_utf7(name).replace('\\', "\\5c").replace('.', "\\2e").replace('/', "\\2f");
    if file.len() <= LONGEST {
        return file;
    }
    // It is ASCII, and so may be cut anywhere.
    let hash = blake3::hash(file.as_bytes()).to_hex();
    let front: String = file.chars().take(LONGEST - HASHED - 1).collect();
    let hash: String = hash.chars().take(HASHED).collect();
    format!("{front}~{hash}")
}

/// Reads that.
#[must_use]
pub fn from_file(file: &str) -> String {
    let mut bytes = Vec::with_capacity(file.len());
    let mut rest = file.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.first_chunk::<2>().filter(|_| *first == b'\\');
        match escaped.and_then(|digits| data_encoding::HEXLOWER_PERMISSIVE.decode(digits).ok()) {
            Some(byte) => {
                bytes.extend(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    let file = String::from_utf8_lossy(&bytes).into_owned();
    from_utf7(&file).unwrap_or(file)
}

/// Where what lies in a folder of another server belongs: folders that everybody has are found by the names that are usual for
/// them.
///
/// # Errors
///
/// [`StoreError::Path`].
pub fn folder<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<FolderPath, StoreError> {
    // A name with our separator in it isn't two of them.
    let names: Vec<String> = names.into_iter().map(|name| name.replace('/', "_")).collect();
    let names: Vec<&str> = match names.split_first() {
        // What lies below another server's Inbox lies beside ours.
        Some((first, rest)) if !rest.is_empty() && first.eq_ignore_ascii_case("inbox") => {
            rest.iter().map(String::as_str).collect()
        }
        _ => names.iter().map(String::as_str).collect(),
    };
    if let [name] = names.as_slice() {
        let usual = USUAL.iter().find(|(usual, _)| usual.eq_ignore_ascii_case(name));
        if let Some((_, purpose)) = usual {
            return Ok((*purpose).into());
        }
    }
    FolderPath::parse(&names.join("/"))
}

const USUAL: [(&str, Purpose); 16] = [
    ("Inbox", Purpose::Inbox),
    ("Spam", Purpose::Spam),
    ("Junk", Purpose::Spam),
    ("Junk Mail", Purpose::Spam),
    ("Junk E-mail", Purpose::Spam),
    ("Bulk Mail", Purpose::Spam),
    ("Sent", Purpose::Sent),
    ("Sent Mail", Purpose::Sent),
    ("sent-mail", Purpose::Sent),
    ("Sent Items", Purpose::Sent),
    ("Sent Messages", Purpose::Sent),
    ("Drafts", Purpose::Drafts),
    ("Trash", Purpose::Trash),
    ("Deleted", Purpose::Trash),
    ("Deleted Items", Purpose::Trash),
    ("Deleted Messages", Purpose::Trash),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_other_alphabets() {
        for (name, encoded) in [
            ("Inbox", "Inbox"),
            ("A&B", "A&-B"),
            // RFC 3501 section 5.1.3.
            ("~peter", "~peter"),
            ("台北", "&U,BTFw-"),
            ("日本語", "&ZeVnLIqe-"),
            ("Entwürfe", "Entw&APw-rfe"),
            ("😀", "&2D3eAA-"),
        ] {
            assert_eq!(to_utf7(name), encoded);
            assert_eq!(from_utf7(encoded).as_deref(), Some(name));
        }
        for other in ["a&b", "&U,B-", "&2D0-", "&é-"] {
            assert_eq!(from_utf7(other), None, "{other}");
        }
        assert_eq!(from_file("Q&A"), "Q&A", "what is no UTF-7 is taken as it stands");
        assert_eq!(from_file("Entwürfe"), "Entwürfe");
    }

    #[test]
    fn nobody_leaves_a_folder() {
        for (name, file) in
            [("..", "\\2e\\2e"), (".", "\\2e"), (".hidden", "\\2ehidden"), ("a\\b", "a\\5cb")]
        {
            assert_eq!(to_file(name), file);
            assert_eq!(from_file(file), name);
        }
        let (one, other) = ("ü".repeat(250), format!("{}ä", "ü".repeat(249)));
        assert!(to_file(&one).len() <= LONGEST);
        assert_ne!(to_file(&one), to_file(&other));
    }

    #[test]
    fn usual_names() {
        for (names, path) in [
            (vec!["INBOX"], "Inbox"),
            (vec!["INBOX", "Sent Items"], "Sent"),
            (vec!["junk e-mail"], "Spam"),
            (vec!["Family", "Junk"], "Family/Junk"),
            (vec!["Letters 1/2"], "Letters 1_2"),
        ] {
            assert_eq!(folder(names.clone()).unwrap().as_str(), path, "{names:?}");
        }
        assert!(folder([""]).is_err());
    }

    proptest! {
        #[test]
        fn names_come_back(name in r"[^/]{0,40}") {
            prop_assert_eq!(from_utf7(&to_utf7(&name)), Some(name.clone()));
            let file = to_file(&name);
            prop_assert!(file.is_ascii() && !file.contains(['/', '.']));
            if file.len() < LONGEST {
                prop_assert_eq!(from_file(&file), name);
            }
        }
    }
}
