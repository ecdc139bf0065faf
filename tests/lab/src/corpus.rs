//! Mail as providers see it, made up: letters of people, newsletters in HTML, and attachments. The same number gives the same
//! letter in every run.
//!
//! Shares and sizes follow a profile of 7,900 mails of 2022 to 2026: half of them are shorter than 21 KB, most have HTML, one in
//! thirteen has an attachment, a quarter of all bytes is base64; and like those, they are compressed to 0.46 of their length by
//! `zstd -3`, each alone. The words are nobody's.
//!
//! - [`words`]: a language; [`html`]: newsletters; [`files`]: attachments

mod files;
mod html;
mod words;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context, Result};

use crate::random::Random;
use html::Newsletters;
use words::Words;

/// What can be written, and who writes newsletters.
#[derive(Debug)]
pub struct Corpus {
    words: Words,
    newsletters: Newsletters,
}

/// What a letter is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Of a person: text alone.
    Text,
    /// Text, and the same in HTML.
    Html,
    /// Text with files.
    Files,
}

/// Of a hundred letters: those of people, and those with files. The rest is newsletters.
const TEXTS: u64 = 22;
const FILES: u64 = 8;

impl Corpus {
    /// The language and its writers.
    pub fn new() -> Self {
        let words = Words::new();
        let newsletters = Newsletters::new(&words);
        Self { words, newsletters }
    }

    /// The letter of a number, with lines that end in CRLF.
    pub fn letter(&self, number: u64) -> Vec<u8> {
        let mut random = Random::seeded(number.wrapping_mul(0xd6e8_feb8_6659_fd93));
        let kind = match random.next_u64() % 100 {
            0..TEXTS => Kind::Text,
            share if share < TEXTS + FILES => Kind::Files,
            _ => Kind::Html,
        };
        // Most newsletters are short, and some are very long.
        let length = match kind {
            Kind::Text | Kind::Files => 400 + below(&mut random, 60).pow(2),
            Kind::Html => 7_000 + below(&mut random, 240).pow(2),
        };
        self.write(kind, number, length as usize, &mut random)
    }

    /// A letter of that number of about so many bytes, 1,500 at least: of a person if it is shorter than 8,000, a newsletter
    /// otherwise.
    pub fn sized(&self, number: u64, bytes: usize) -> Vec<u8> {
        let random = Random::seeded(number.wrapping_mul(0xa076_1d64_78bd_642f) ^ bytes as u64);
        let kind = if bytes < 8_000 { Kind::Text } else { Kind::Html };
        // What stands above, and the text beside HTML, are of about the same length in all.
        let mut length = bytes;
        let mut letter = Vec::new();
        for _ in 0..6 {
            letter = self.write(kind, number, length, &mut random.clone());
            if letter.len().abs_diff(bytes) * 50 < bytes {
                break;
            }
            length = (length + bytes).saturating_sub(letter.len()).max(100);
        }
        letter
    }

    fn write(&self, kind: Kind, number: u64, length: usize, random: &mut Random) -> Vec<u8> {
        let mut letter = Vec::with_capacity(length + 8_192);
        let boundary = format!("=_{:016x}{:08x}", random.next_u64(), random.next_u64() as u32);
        match kind {
            Kind::Text => {
                self.headers(&mut letter, number, random, "text/plain; charset=utf-8");
                letter.extend_from_slice(b"\r\n");
                self.words.paragraphs(&mut letter, length, random);
            }
            Kind::Html => {
                let content = format!("multipart/alternative;\r\n boundary=\"{boundary}\"");
                self.headers(&mut letter, number, random, &content);
                let issue = self.newsletters.issue(&self.words, length, random);
                part(&mut letter, &boundary, "text/plain; charset=utf-8", "8bit");
                letter.extend_from_slice(&issue.text);
                part(&mut letter, &boundary, "text/html; charset=utf-8", "quoted-printable");
                letter.extend_from_slice(&issue.html);
                close(&mut letter, &boundary);
            }
            Kind::Files => {
                let content = format!("multipart/mixed;\r\n boundary=\"{boundary}\"");
                self.headers(&mut letter, number, random, &content);
                part(&mut letter, &boundary, "text/plain; charset=utf-8", "8bit");
                self.words.paragraphs(&mut letter, length, random);
                for _ in 0..=(random.next_u64() % 4 / 3) {
                    let file = files::File::new(&self.words, random);
                    let name = format!("{}; name=\"{}\"", file.media_type, file.name);
                    part(&mut letter, &boundary, &name, "base64");
                    base64(&mut letter, &file.content);
                }
                close(&mut letter, &boundary);
            }
        }
        letter
    }

    /// What stands above a letter that came over the Internet: much of it, and some of it never twice the same.
    fn headers(&self, letter: &mut Vec<u8>, number: u64, random: &mut Random, content: &str) {
        let from = self.words.name(random);
        let host = format!("{}.example", self.words.name(random));
        let to = self.words.name(random);
        let date = date(number);
        let id = format!("{:016x}.{number}@{host}", random.next_u64());
        let mut subject = String::from_utf8_lossy(&self.words.sentence(random)).into_owned();
        subject.truncate(subject.char_indices().nth(60).map_or(subject.len(), |(at, _)| at));
        let (queue, relay) = (random.next_u64() as u32, random.next_u64() as u32);
        let address = |number: u32| {
            let [_, b, c, d] = number.to_be_bytes();
            format!("198.{}.{c}.{d}", 18 + b % 2)
        };
        let signature = wrapped(&token(random, 344));
        let hash = token(random, 43);
        let text = format!(
            "Received: from out{}.{host} (out{}.{host} [{}])\r\n\
             \tby relay.{host} (Postfix) with ESMTPS id {queue:010X}\r\n\
             \tfor <{to}@bench.test>; {date}\r\n\
             Received: from app-{:08x}.internal ({})\r\n\
             \tby out.{host} with ESMTPSA id {relay:08x};\r\n\t{date}\r\n\
             DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d={host};\r\n\
             \ts=s2026; t=17{:08}; h=from:to:subject:date:message-id:mime-version:content-type;\r\n\
             \tbh={hash}=;\r\n\tb={signature}\r\n\
             From: {from} <{from}@{host}>\r\n\
             To: {to}@bench.test\r\n\
             Subject: {subject}\r\n\
             Date: {date}\r\n\
             Message-ID: <{id}>\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: {content}\r\n",
            queue % 9,
            queue % 9,
            address(queue),
            random.next_u64() as u32,
            address(relay),
            number % 100_000_000,
        );
        letter.extend_from_slice(text.as_bytes());
    }
}

impl Default for Corpus {
    fn default() -> Self {
        Self::new()
    }
}

/// What was written to a disk.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Written {
    /// Letters.
    pub letters: u64,
    /// Bytes of them as they come over the Internet.
    pub bytes: u64,
}

/// Makes a Maildir of letters, in a folder that isn't there yet.
///
/// # Errors
/// When the disk fails.
pub fn write_maildir(folder: &Path, letters: impl IntoIterator<Item = Vec<u8>>) -> Result<Written> {
    for name in ["cur", "new", "tmp"] {
        let path = folder.join(name);
        fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
    }
    let mut written = Written::default();
    for (number, letter) in letters.into_iter().enumerate() {
        // In the order of the names.
        let name = format!("cur/{}.M{number:06}P1.bench:2,", 1_700_000_000 + number);
        write_file(&folder.join(name), &letter)?;
        written.letters += 1;
        written.bytes += letter.len() as u64;
    }
    Ok(written)
}

/// Writes a letter as a file of its own, with lines that end in LF, as files have them.
///
/// # Errors
/// When the disk fails.
pub fn write_file(path: &Path, letter: &[u8]) -> Result<()> {
    let lines: Vec<u8> = letter.iter().copied().filter(|&byte| byte != b'\r').collect();
    let written: io::Result<()> = File::create(path).and_then(|mut file| file.write_all(&lines));
    written.with_context(|| format!("writing {}", path.display()))
}

fn part(letter: &mut Vec<u8>, boundary: &str, content: &str, encoding: &str) {
    let head = format!(
        "\r\n--{boundary}\r\nContent-Type: {content}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    );
    letter.extend_from_slice(head.as_bytes());
}

fn close(letter: &mut Vec<u8>, boundary: &str) {
    letter.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 2045 section 6.8: lines of 76 characters.
fn base64(letter: &mut Vec<u8>, content: &[u8]) {
    for line in content.chunks(57) {
        for three in line.chunks(3) {
            let (a, b, c) = (three.first(), three.get(1), three.get(2));
            let byte = |of: Option<&u8>| u32::from(of.copied().unwrap_or_default());
            let bits = byte(a) << 16 | byte(b) << 8 | byte(c);
            for (place, there) in [(18, true), (12, true), (6, b.is_some()), (0, c.is_some())] {
                let sign = BASE64.get((bits >> place & 63) as usize).copied();
                letter.push(sign.filter(|_| there).unwrap_or(b'='));
            }
        }
        letter.extend_from_slice(b"\r\n");
    }
}

/// Random characters, as signatures and links have them.
fn token(random: &mut Random, length: usize) -> String {
    (0..length)
        .map(|_| {
            let at = (random.next_u64() >> 58) as usize;
            BASE64.get(at).copied().map_or('A', char::from)
        })
        .collect()
}

fn wrapped(text: &str) -> String {
    let lines: Vec<&str> =
        text.as_bytes().chunks(72).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    lines.join("\r\n\t ")
}

/// A second of November 2026, which began on a Sunday.
fn date(number: u64) -> String {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    let seconds = number.wrapping_mul(7_919) % (28 * 86_400);
    let (day, rest) = (seconds / 86_400, seconds % 86_400);
    let name = DAYS.get((day % 7) as usize).copied().unwrap_or_default();
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{name}, {:02} Nov 2026 {hour:02}:{minute:02}:{second:02} +0000", day + 1)
}

/// A number below that one.
fn below(random: &mut Random, limit: u64) -> u64 {
    // The upper bits are as good as the lower ones, and the bias is too small to matter.
    random.next_u64() % limit.max(1)
}

/// One of these; nothing of none.
fn pick<'a>(random: &mut Random, of: &[&'a str]) -> &'a str {
    let at = below(random, of.len() as u64) as usize;
    of.get(at).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_as_the_profile_says() {
        let corpus = Corpus::new();
        let mut lengths = Vec::new();
        let (mut encoded, mut with_files) = (0_usize, 0);
        for number in 0..2_000 {
            let letter = corpus.letter(number);
            let text = String::from_utf8(letter).unwrap();
            assert!(!text.contains("\n.\r\n") && text.ends_with("\r\n"));
            assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
            let longest = text.lines().map(str::len).max().unwrap();
            assert!(longest <= 998, "a line of {longest} bytes");
            let files = text.split("Encoding: base64\r\n\r\n").skip(1);
            let files: Vec<&str> = files.map(|part| part.split("\r\n--").next().unwrap()).collect();
            with_files += usize::from(!files.is_empty());
            encoded += files.iter().map(|file| file.len()).sum::<usize>();
            lengths.push(text.len());
        }
        lengths.sort_unstable();
        let all: usize = lengths.iter().sum();
        let (median, mean) = (lengths[1_000], all / 2_000);
        assert!((15_000..27_000).contains(&median), "half are below {median}");
        assert!((30_000..46_000).contains(&mean), "{mean} on average");
        let share = encoded as f64 / all as f64;
        assert!((0.19..0.30).contains(&share), "{share} is base64");
        assert!((120..=200).contains(&with_files), "{with_files} of 2000 with files");
    }

    #[test]
    fn a_number_is_a_letter_and_a_size_is_kept() {
        let corpus = Corpus::new();
        assert_eq!(corpus.letter(7), Corpus::new().letter(7));
        assert_ne!(corpus.letter(7), corpus.letter(8));
        for bytes in [4_096, 40_960] {
            for number in 0..10 {
                let length = corpus.sized(number, bytes).len();
                assert!(length.abs_diff(bytes) * 10 < bytes, "{length} bytes, not {bytes}");
            }
            assert_ne!(corpus.sized(1, bytes), corpus.sized(2, bytes));
        }
    }

    #[test]
    fn base64_has_its_lines_and_its_end() {
        let encoded = |content: &[u8]| {
            let mut letter = Vec::new();
            base64(&mut letter, content);
            String::from_utf8(letter).unwrap()
        };
        // RFC 4648 section 10.
        for (content, expected) in
            [("f", "Zg==\r\n"), ("fo", "Zm8=\r\n"), ("foo", "Zm9v\r\n"), ("foobar", "Zm9vYmFy\r\n")]
        {
            assert_eq!(encoded(content.as_bytes()), expected);
        }
        assert_eq!(encoded(&[0; 58]).lines().map(str::len).collect::<Vec<_>>(), [76, 4]);
    }

    #[test]
    fn days_have_their_names() {
        assert_eq!(date(0), "Sun, 01 Nov 2026 00:00:00 +0000");
        assert!(date(11).starts_with("Mon, 02 Nov 2026 00:11:49"), "{}", date(11));
    }

    #[test]
    fn a_maildir_has_lines_as_files_have_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m");
        let letters = [b"A: 1\r\n\r\nx\r\n".to_vec(), b"A: 2\r\n\r\n".to_vec()];
        let written = write_maildir(&path, letters).unwrap();
        assert_eq!(written, Written { letters: 2, bytes: 19 });
        let mut names: Vec<_> =
            fs::read_dir(path.join("cur")).unwrap().map(|e| e.unwrap()).collect();
        names.sort_by_key(|entry| entry.file_name());
        assert_eq!(fs::read(names[0].path()).unwrap(), b"A: 1\n\nx\n");
        assert!(names[1].file_name().to_str().unwrap().ends_with(":2,"));
    }
}
