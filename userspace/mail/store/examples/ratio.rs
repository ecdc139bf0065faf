//! Bytes stored per byte of mail, and how fast: of a folder whose files are messages.
//!
//! `cargo run --release -p muralla-mail-store --example ratio -- FOLDER [--attachments PERCENT]`
//!
//! Half of the messages train the dictionary, and the other half is measured. Lines are made to end in CRLF, as they come by SMTP.
//! With `--attachments` so many of a hundred messages get one of noise, a quarter of which others have as well; so long that it
//! makes up a mailbox as people have them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use bytes::Bytes;
use muralla_mail_store::codec::{DecodeError, decode_message, decode_part, encode};
use muralla_mail_store::dictionaries::{Dictionaries, train};
use muralla_mail_store::frame::{Frame, FrameError, Header, PartHash};
use muralla_mail_store::layout::Layout;

const KEY: [u8; 32] = [7; 32];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, attachments) = match arguments.as_slice() {
        [folder] => (folder, 0),
        [folder, flag, percent] if flag == "--attachments" => {
            (folder, percent.parse().unwrap_or_default())
        }
        _ => {
            eprintln!("name a folder of messages");
            return ExitCode::FAILURE;
        }
    };
    let mut files = Vec::new();
    collect(Path::new(folder), &mut files);
    files.sort();
    let messages: Vec<Bytes> = files
        .iter()
        .filter_map(|file| std::fs::read(file).ok())
        .enumerate()
        .map(|(number, raw)| Bytes::from(with_attachment(crlf(&raw), number, attachments)))
        .collect();
    let of_turn = |turn: usize| {
        let turns = messages.iter().enumerate().filter(move |(at, _)| at % 2 == turn);
        turns.map(|(_, raw)| raw.clone()).collect::<Vec<Bytes>>()
    };
    let (training, measured) = (of_turn(0), of_turn(1));
    let bytes: usize = measured.iter().map(Bytes::len).sum();
    println!("{} messages of {} bytes on average", measured.len(), bytes / measured.len().max(1));
    println!("{:<34} {:>7} {:>12} {:>12}", "", "ratio", "encode MB/s", "decode MB/s");
    for level in [1, 3, 6, 9] {
        let dictionaries = Dictionaries::new(level);
        row(&format!("level {level}, first dictionary"), &measured, bytes, &dictionaries);
        if let Ok((name, object)) = train(&samples(&training), 1)
            && dictionaries.add(&name, &object).is_ok()
        {
            row(&format!("level {level}, trained dictionary"), &measured, bytes, &dictionaries);
        }
    }
    plain("zstd 3 of each message alone", &measured, bytes);
    ExitCode::SUCCESS
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

fn crlf(raw: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(raw.len() + raw.len() / 32);
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => {
                text.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
                text.extend_from_slice(b"\r\n");
            }
            None => text.extend_from_slice(line),
        }
    }
    text
}

fn with_attachment(mut raw: Vec<u8>, number: usize, percent: usize) -> Vec<u8> {
    if number / 2 * 7919 % 100 >= percent {
        return raw;
    }
    // Every fourth has what one in twenty has as well.
    let seed = if number % 4 == 1 { number % 20 } else { number };
    let mut state = (seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let length = 20_000 + usize::from(byte()) * 1000;
    let noise: Vec<u8> = (0..length).map(|_| byte()).collect();
    raw.extend_from_slice(
        b"\r\n--b\r\nContent-Type: image/jpeg\r\nContent-Transfer-Encoding: base64\r\n\r\n",
    );
    for line in data_encoding::BASE64.encode(&noise).as_bytes().chunks(76) {
        raw.extend_from_slice(line);
        raw.extend_from_slice(b"\r\n");
    }
    raw.extend_from_slice(b"--b--\r\n");
    raw
}

fn samples(messages: &[Bytes]) -> Vec<Bytes> {
    let contents = messages.iter().map(|raw| {
        let content = Layout::of(raw, &KEY).content.unwrap_or_else(|| raw.to_vec());
        let content = Bytes::from(content);
        content.slice(..content.len().min(16_384))
    });
    let mut bytes = 0;
    contents
        .take_while(|content| {
            bytes += content.len();
            bytes < 24 << 20
        })
        .collect()
}

fn row(what: &str, messages: &[Bytes], bytes: usize, dictionaries: &Dictionaries) {
    let begun = Instant::now();
    let encoded: Vec<_> =
        (0..).zip(messages).filter_map(|(id, raw)| encode(id, raw, &KEY, dictionaries)).collect();
    let encoding = begun.elapsed();
    let mut seen: HashSet<PartHash> = HashSet::new();
    let mut stored = 0;
    for encoded in &encoded {
        stored += encoded.message.length() as usize;
        for (hash, frame) in &encoded.parts {
            if seen.insert(*hash) {
                stored += frame.length() as usize;
            }
        }
    }
    let frames: Vec<_> = encoded
        .iter()
        .map(|encoded| {
            let parts = encoded.parts.iter().map(|(hash, frame)| (*hash, whole(frame)));
            (whole(&encoded.message), parts.collect::<Vec<_>>())
        })
        .collect();
    let begun = Instant::now();
    let mut same = 0;
    for ((message, parts), raw) in frames.iter().zip(messages) {
        same += usize::from(decode(message, parts, dictionaries).as_ref() == Ok(raw));
    }
    let decoding = begun.elapsed();
    if same != messages.len() {
        println!("{} messages did not come back as they were", messages.len() - same);
    }
    let speed = |time: std::time::Duration| bytes as f64 / 1e6 / time.as_secs_f64();
    println!(
        "{what:<34} {:>7.3} {:>12.0} {:>12.0}",
        stored as f64 / bytes as f64,
        speed(encoding),
        speed(decoding)
    );
}

fn whole(frame: &Frame) -> Bytes {
    Bytes::from(frame.pieces(1).concat())
}

fn decode(
    message: &Bytes,
    parts: &[(PartHash, Bytes)],
    dictionaries: &Dictionaries,
) -> Result<Bytes, DecodeError> {
    let read = |bytes: &Bytes| -> Result<(Header, Bytes), FrameError> {
        let header = Header::parse(bytes, 1)?;
        Ok((header, header.payload(bytes)?))
    };
    let (header, payload) = read(message)?;
    let decoded = decode_message(&header, &payload, dictionaries)?;
    let parts: Vec<Option<Bytes>> = decoded
        .recipe
        .parts()
        .iter()
        .map(|hash| {
            let (_, frame) = parts.iter().find(|(other, _)| other == hash)?;
            let (header, payload) = read(frame).ok()?;
            decode_part(&header, &payload, dictionaries).ok()
        })
        .collect();
    decoded.whole(&parts)
}

fn plain(what: &str, messages: &[Bytes], bytes: usize) {
    let begun = Instant::now();
    let stored: usize = messages
        .iter()
        .filter_map(|raw| zstd::bulk::compress(raw, 3).ok())
        .map(|compressed| compressed.len())
        .sum();
    let speed = bytes as f64 / 1e6 / begun.elapsed().as_secs_f64();
    println!("{what:<34} {:>7.3} {speed:>12.0}", stored as f64 / bytes as f64);
}
