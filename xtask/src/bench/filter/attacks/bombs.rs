//! Messages that are larger than they look: an archive and a compressed file of a gigabyte of nothing, parts within parts, and a header
//! without end.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};

use super::super::mx::{Mx, user};
use super::super::sender::{Crowd, Envelope, Heard, Pace, felt, millis, taken};
use super::Scene;
use crate::bench::table::Row;

/// Messages of each kind.
const EACH: u64 = 20;
const FEW_EACH: u64 = 4;

/// Octets that the archives have in them.
const GIGABYTE: u64 = 1 << 30;

pub(super) fn rows(scene: &Scene<'_>, quiet: &[Heard]) -> Result<Vec<Row>> {
    let each = if scene.quick { FEW_EACH } else { EACH };
    let mut rows = Vec::new();
    for (name, letter) in bombs()? {
        eprintln!("attacks: {each} bombs, {name}, {} octets each", letter.len());
        let mx = scene.mx()?;
        let pid = mx.role.pid()?;
        let before = most(pid)?;
        // Nobody else writes to this user.
        let there = mx.in_inbox(BOMBED)?;
        let honest = scene.honest()?;
        let pace = Pace {
            target: Mx::target(25),
            rate: 2.0,
            messages: Some(each),
            at_once: 10,
            core: scene.ground.division.asking,
        };
        let letter: Arc<[u8]> = letter.into();
        let write = move |number: u64| Envelope {
            source: Ipv4Addr::new(198, 18, 100 + (number % 10) as u8, 9),
            from: format!("bomber{number}@b.example"),
            to: user(BOMBED),
            letter: Arc::clone(&letter),
        };
        let told = Crowd::start(scene.ground.lab.internet(), pace, write)?.wait()?;
        let heard = honest.stop()?;
        ensure!(mx.role.is_running(), "ours has ended under bombs:\n{}", mx.role.output());
        if let Some(first) = told.first() {
            eprintln!("attacks: {name} was told {} {}", first.code, first.text);
        }
        let place = format!("attacks.bombs.{name}");
        let row = |what: &str, value, unit| Row::plain(format!("{place}.{what}"), value, unit);
        let inbox = mx.in_inbox(BOMBED)?.saturating_sub(there);
        rows.extend([
            row("taken", taken(&told) * 100.0, "%"),
            row("inbox", inbox as f64, "messages"),
            row("longest", millis(&told, 1.0), "ms"),
            row("memory", most(pid)?.saturating_sub(before) as f64 / 1e6, "MB more"),
        ]);
        rows.extend(felt(&place, &heard, Some(quiet)));
    }
    Ok(rows)
}

/// Whose mailbox they are for.
const BOMBED: u64 = 0;

/// The most memory that a process ever had, in octets.
fn most(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("ours has ended")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.map(|kilobytes| kilobytes << 10).context("no VmHWM")
}

fn bombs() -> Result<[(&'static str, Vec<u8>); 4]> {
    let compressed = compressed()?;
    let zip = zip(&compressed).context("gzip made no file of its kind")?;
    Ok([
        ("zip", attached("holiday.zip", "application/zip", &zip)),
        ("gzip", attached("log.gz", "application/gzip", &compressed)),
        ("nested", nested(10_000)),
        ("headers", headers(100_000)),
    ])
}

/// A gigabyte of zeroes as gzip has it.
fn compressed() -> Result<Vec<u8>> {
    let mut zeroes = Command::new("head");
    zeroes.args(["-c", &GIGABYTE.to_string(), "/dev/zero"]).stdout(Stdio::piped());
    let mut zeroes = zeroes.spawn().context("running head")?;
    let from = zeroes.stdout.take().context("a process without output")?;
    let mut gzip = Command::new("gzip");
    let output = gzip.args(["-9", "-n", "-c"]).stdin(from).output().context("running gzip")?;
    zeroes.wait().context("waiting for head")?;
    ensure!(output.status.success(), "gzip ended with {}", output.status);
    Ok(output.stdout)
}

/// The same data in an archive of one file (APPNOTE.TXT of PKWARE, sections 4.3.7, 4.3.12 and 4.3.16): gzip's is the same
/// compression, with ten octets before it, and checksum and length behind it (RFC 1952 section 2.3).
fn zip(gzip: &[u8]) -> Option<Vec<u8>> {
    const NAME: &[u8] = b"zeroes";
    let data = gzip.get(10..gzip.len().checked_sub(8)?)?;
    let sum = gzip.get(gzip.len() - 8..gzip.len() - 4)?;
    let short = |value: u16| value.to_le_bytes().to_vec();
    let long = |value: u32| value.to_le_bytes().to_vec();
    let length = long(u32::try_from(data.len()).ok()?);
    let original = long(u32::try_from(GIGABYTE).ok()?);
    // Version 2.0, no flags, deflate, no time, a day of 1980; then what is in it and how long its name is.
    let about = [
        short(20),
        short(0),
        short(8),
        short(0),
        short(0x21),
        sum.to_vec(),
        length,
        original,
        short(NAME.len() as u16),
        short(0),
    ]
    .concat();
    let local = [&b"PK\x03\x04"[..], &about, NAME, data].concat();
    let central = [&b"PK\x01\x02"[..], &short(20), &about, &[0; 14], NAME].concat();
    let end = [
        b"PK\x05\x06".to_vec(),
        vec![0; 4],
        short(1),
        short(1),
        long(u32::try_from(central.len()).ok()?),
        long(u32::try_from(local.len()).ok()?),
        short(0),
    ]
    .concat();
    Some([local, central, end].concat())
}

const HEAD: &str = "From: a@b.example\r\nTo: you@bench.test\r\nSubject: see this\r\n\
                    Date: Sun, 1 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@b.example>\r\nMIME-Version: 1.0\r\n";

fn attached(name: &str, kind: &str, content: &[u8]) -> Vec<u8> {
    let mut letter = format!(
        "{HEAD}Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nSee this.\r\n\
         --b\r\nContent-Type: {kind}; name=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    );
    base64(&mut letter, content);
    letter.push_str("--b--\r\n");
    letter.into_bytes()
}

/// RFC 2045 section 6.8.
fn base64(text: &mut String, content: &[u8]) {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for line in content.chunks(57) {
        for three in line.chunks(3) {
            let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or_default());
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for (place, least) in [(18, 0), (12, 0), (6, 2), (0, 3)] {
                let sign = SIGNS.get((bits >> place & 63) as usize).copied();
                text.push(sign.filter(|_| three.len() >= least).map_or('=', char::from));
            }
        }
        text.push_str("\r\n");
    }
}

fn nested(levels: usize) -> Vec<u8> {
    let mut letter = String::from(HEAD);
    for level in 0..levels {
        let _ = write!(
            letter,
            "Content-Type: multipart/mixed; boundary=\"b{level}\"\r\n\r\n--b{level}\r\n"
        );
    }
    letter.push_str("Content-Type: text/plain\r\n\r\nHere.\r\n");
    for level in (0..levels).rev() {
        let _ = write!(letter, "--b{level}--\r\n");
    }
    letter.into_bytes()
}

fn headers(count: usize) -> Vec<u8> {
    let mut letter = String::from(HEAD);
    for number in 0..count {
        let _ = write!(letter, "X-Field-{number}: a value\r\n");
    }
    letter.push_str("\r\nHere.\r\n");
    letter.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_what_they_say() {
        // gzip -9 -n of five zeroes.
        let gzip = [
            0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3, 0x63, 0x60, 0, 2, 0, 0x1d, 0xf7, 0x22, 0xc6, 5, 0,
            0, 0,
        ];
        let zip = zip(&gzip).unwrap();
        let (name, data) = (6, 5);
        assert!(zip.starts_with(b"PK\x03\x04") && zip[14..18] == [0x1d, 0xf7, 0x22, 0xc6]);
        assert_eq!(&zip[30..30 + name + data], [&b"zeroes"[..], &gzip[10..15]].concat());
        let central = 30 + name + data;
        assert!(zip[central..].starts_with(b"PK\x01\x02"));
        let end = central + 46 + name;
        assert!(zip[end..].starts_with(b"PK\x05\x06") && zip.len() == end + 22);
        assert_eq!(zip[end + 16..end + 20], u32::try_from(central).unwrap().to_le_bytes());
        assert_eq!(zip[end + 12..end + 16], u32::try_from(46 + name).unwrap().to_le_bytes());
        assert!(super::zip(&gzip[..10]).is_none());
    }

    #[test]
    fn letters_have_what_is_promised() {
        let text = |letter: Vec<u8>| String::from_utf8(letter).unwrap();
        let deep = text(nested(3));
        assert_eq!((deep.matches("multipart").count(), deep.matches("--\r\n").count()), (3, 3));
        assert_eq!(text(headers(5)).matches("X-Field-").count(), 5);
        // RFC 4648 section 10.
        for (content, expected) in
            [("foob", "Zm9vYg==\r\n"), ("fooba", "Zm9vYmE=\r\n"), ("foobar", "Zm9vYmFy\r\n")]
        {
            assert!(text(attached("a", "b/c", content.as_bytes())).contains(expected), "{content}");
        }
    }

    #[test]
    fn memory_is_read() {
        assert!(most(std::process::id()).unwrap() > 100_000);
    }
}
