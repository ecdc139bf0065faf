//! Bytes stored per byte of mail, and how fast: of a folder whose files are messages.
//!
//! `cargo run --release -p muralla-mail-store --example ratio -- FOLDER [--attachments PERCENT] [--store EMPTY [--postgres URL]]`
//!
//! Half of the messages train the dictionary, and the other half is measured. Lines are made to end in CRLF, as they come by SMTP.
//! With `--attachments` so many of a hundred messages get one of noise, 200 KB long on average, one in twenty of which others have as
//! well. With `--store` they are delivered to mailboxes as well, in a folder and a file of SQLite, or
//! in a folder and a database, and the bytes of all tables and indexes are told for each message.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use muralla_database::{DatabaseError, Flavour, Location};
use muralla_mail_store::codec::{DecodeError, decode_message, decode_part, encode};
use muralla_mail_store::dictionaries::{Dictionaries, train};
use muralla_mail_store::frame::{Frame, FrameError, Header, PartHash};
use muralla_mail_store::layout::Layout;
use muralla_mail_store::{
    Account, Delivery, Destination, Flags, PackLocation, Purpose, Store, StoreError, StoreOptions,
};

const KEY: [u8; 32] = [7; 32];

/// Mailboxes that messages are delivered to.
const ACCOUNTS: usize = 50;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((folder, flags)) = arguments.split_first() else {
        eprintln!("name a folder of messages");
        return ExitCode::FAILURE;
    };
    let flag = |name: &str| {
        let mut pairs = flags.chunks(2);
        pairs.find_map(|pair| (pair.first()? == name).then(|| pair.get(1).cloned())?)
    };
    let attachments = flag("--attachments").and_then(|text| text.parse().ok()).unwrap_or_default();
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
    let Some(store) = flag("--store") else { return ExitCode::SUCCESS };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(deliver(Path::new(&store), flag("--postgres"), &training, &measured)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Delivers the one half, trains, delivers the other, and tells what all of it takes.
async fn deliver(
    folder: &Path,
    postgres: Option<String>,
    training: &[Bytes],
    measured: &[Bytes],
) -> Result<(), StoreError> {
    let database = match postgres {
        Some(url) => Location::Postgres(url),
        None => Location::Sqlite(folder.join("mail.db")),
    };
    let packs = PackLocation::Folder(folder.join("packs"));
    let store = Store::open(&database, &packs, StoreOptions::default()).await?;
    let before = tables(&store).await?;
    deliver_all(&store, training, 0).await?;
    store.bodies().train(1).await?;
    let half = store.status().bodies;
    deliver_all(&store, measured, training.len()).await?;
    let whole = store.status().bodies;
    let messages = whole.put.max(1);
    let mail = (whole.put_bytes - half.put_bytes).max(1);
    println!(
        "in a store, after training: {:.3} of {mail} bytes",
        (whole.stored_bytes - half.stored_bytes) as f64 / mail as f64
    );
    let tables = (tables(&store).await? - before) as f64;
    println!(
        "tables and indexes: {:.0} bytes a message of {} bytes on average, {:.4} of the mail",
        tables / messages as f64,
        whole.put_bytes / messages,
        tables / whole.put_bytes.max(1) as f64
    );
    store.close().await;
    Ok(())
}

async fn deliver_all(store: &Store, messages: &[Bytes], first: usize) -> Result<(), StoreError> {
    let deliveries = messages.iter().enumerate().map(|(at, raw)| {
        let number = first + at;
        let destination = Destination {
            account: Account((number % ACCOUNTS) as i64),
            folder: Purpose::Inbox.into(),
            flags: Flags::default(),
            received: 1_800_000_000,
            quota: None,
        };
        let id = blake3::hash(&number.to_be_bytes());
        let id = id.as_bytes().first_chunk::<16>().copied().unwrap_or_default();
        Delivery { id: id.into(), raw: raw.clone(), destinations: vec![destination] }
    });
    let delivering = deliveries.map(|delivery| store.deliver(delivery));
    stream::iter(delivering).buffer_unordered(32).try_collect::<Vec<_>>().await?;
    Ok(())
}

/// Bytes of all tables and indexes.
async fn tables(store: &Store) -> Result<i64, DatabaseError> {
    let mut work = store.bodies().engine().read().await?;
    let sql = match work.flavour() {
        Flavour::Sqlite => {
            "SELECT (SELECT page_count FROM pragma_page_count) * (SELECT page_size FROM pragma_page_size)"
        }
        Flavour::Postgres => {
            "SELECT CAST(coalesce(sum(pg_total_relation_size(oid)), 0) AS BIGINT) FROM pg_class \
             WHERE relkind = 'r' AND relname LIKE 'mail%'"
        }
    };
    work.number(sql, Vec::new()).await
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

fn with_attachment(mut raw: Vec<u8>, number: usize, percent: u64) -> Vec<u8> {
    let mixed = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    if mixed % 100 >= percent {
        return raw;
    }
    // One in twenty is one of five that others have as well.
    let seed = if (mixed / 100).is_multiple_of(20) { mixed / 2_000 % 5 } else { mixed };
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
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
