//! Messages made durable and inserted in a second, and read again, in a folder and a file of SQLite.
//!
//! `cargo run --release -p muralla-mail-store --example put_rate -- FOLDER [BYTES [ENDPOINT BUCKET]]`
//!
//! The folder must be empty, and on the disk that is to be measured. With an endpoint such as `http://127.0.0.1:3900` the packs are
//! in a bucket, whose keys are in `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`. Each of so many at once puts a message, inserts its row in a
//! transaction with those of others who wait, and goes on with the next one.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use muralla_database::{Engine, Location, migrate};
use muralla_mail_store::{
    Bodies, BodyError, BodyId, BodyOptions, BodyRow, PackLocation, PackOptions, S3Location, SCHEMA,
};
use tokio::sync::{mpsc, oneshot};

/// How long each row is measured.
const LONG: Duration = Duration::from_secs(5);

type Waiting = (BodyRow, oneshot::Sender<()>);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, bytes, packs) = match arguments.as_slice() {
        [folder] => (folder, 4096, in_folder(folder)),
        [folder, bytes] => (folder, bytes.parse().unwrap_or(4096), in_folder(folder)),
        [folder, bytes, endpoint, bucket] => {
            (folder, bytes.parse().unwrap_or(4096), in_bucket(endpoint, bucket))
        }
        _ => {
            eprintln!("name a folder");
            return ExitCode::FAILURE;
        }
    };
    match measure(Path::new(folder), bytes, packs).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn in_folder(folder: &str) -> PackLocation {
    PackLocation::Folder(Path::new(folder).join("packs"))
}

fn in_bucket(endpoint: &str, bucket: &str) -> PackLocation {
    let key = |name| std::env::var(name).unwrap_or_default();
    PackLocation::S3(S3Location {
        endpoint: endpoint.to_owned(),
        region: std::env::var("AWS_REGION").unwrap_or_else(|_| "garage".to_owned()),
        bucket: bucket.to_owned(),
        prefix: String::new(),
        access_key: key("AWS_ACCESS_KEY_ID"),
        secret_key: key("AWS_SECRET_ACCESS_KEY"),
    })
}

async fn measure(folder: &Path, bytes: usize, packs: PackLocation) -> Result<(), BodyError> {
    let engine = Engine::new(&Location::Sqlite(folder.join("mail.db")), "put-rate")?;
    migrate(&engine, &SCHEMA).await?;
    let packs = packs.open(&PackOptions::default())?;
    let bodies = Bodies::new(engine, packs, BodyOptions::default());
    println!("{:>8} {:>12} {:>14} {:>14}", "at once", "puts/s", "puts an fsync", "ms a put");
    let mut last = Vec::new();
    for at_once in [1, 4, 16, 64, 256] {
        last = row(&bodies, at_once, bytes).await?;
    }
    let last: Vec<BodyId> = last.into_iter().take(10_000).collect();
    let begun = Instant::now();
    let (mut reads, mut read) = (0, 0);
    for id in last.iter().cycle() {
        read += bodies.get(*id).await?.len();
        reads += 1;
        if begun.elapsed() >= LONG {
            break;
        }
    }
    told("one after the other", reads, read, begun.elapsed());
    let located = bodies.locate(&last).await?;
    let begun = Instant::now();
    (reads, read) = (0, 0);
    for located in located.values().cycle() {
        read += bodies.read(located).await?.len();
        reads += 1;
        if begun.elapsed() >= LONG {
            break;
        }
    }
    told("located before", reads, read, begun.elapsed());
    Ok(())
}

fn told(what: &str, reads: usize, bytes: usize, took: Duration) {
    let seconds = took.as_secs_f64();
    println!(
        "{what}: {:.0} reads/s, {:.0} MB/s",
        reads as f64 / seconds,
        bytes as f64 / 1e6 / seconds
    );
}

async fn row(bodies: &Bodies, at_once: usize, bytes: usize) -> Result<Vec<BodyId>, BodyError> {
    let (waiting, waits) = mpsc::channel::<Waiting>(1024);
    let inserting = tokio::spawn(insert(bodies.clone(), waits));
    let (stop, puts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let before = bodies.status().packs.syncs;
    let begun = Instant::now();
    let tasks: Vec<_> = (0..at_once)
        .map(|task| {
            let (bodies, waiting) = (bodies.clone(), waiting.clone());
            let (stop, puts) = (Arc::clone(&stop), Arc::clone(&puts));
            tokio::spawn(async move {
                let mut round = 0;
                while !stop.load(Relaxed) {
                    round += 1;
                    let row = bodies.put(message(task as u64 * 1_000_003 + round, bytes)).await?;
                    let (done, is_done) = oneshot::channel();
                    let _ = waiting.send((row, done)).await;
                    let _ = is_done.await;
                    puts.fetch_add(1, Relaxed);
                }
                Ok::<(), BodyError>(())
            })
        })
        .collect();
    tokio::time::sleep(LONG).await;
    stop.store(true, Relaxed);
    for task in tasks {
        task.await.unwrap_or(Err(BodyError::Closing))?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    drop(waiting);
    let ids = inserting.await.unwrap_or(Err(BodyError::Closing))?;
    let puts = puts.load(Relaxed) as f64;
    let syncs = (bodies.status().packs.syncs - before) as f64;
    println!(
        "{at_once:>8} {:>12.0} {:>14.1} {:>14.2}",
        puts / seconds,
        puts / syncs,
        at_once as f64 * seconds / puts * 1000.0
    );
    Ok(ids)
}

/// Inserts what waits, all of it in one transaction.
async fn insert(
    bodies: Bodies,
    mut waits: mpsc::Receiver<Waiting>,
) -> Result<Vec<BodyId>, BodyError> {
    let mut ids = Vec::new();
    let mut batch = Vec::new();
    while waits.recv_many(&mut batch, 256).await > 0 {
        let (rows, done): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|(row, done)| ((row, 1), done)).unzip();
        let mut work = bodies.engine().write().await?;
        bodies.insert(&mut work, &rows).await?;
        work.commit().await?;
        ids.extend(rows.iter().map(|(row, _)| row.id()));
        for done in done {
            let _ = done.send(());
        }
    }
    Ok(ids)
}

/// Text of words, so that it is neither all the same nor noise.
fn message(number: u64, bytes: usize) -> Bytes {
    const WORDS: [&str; 16] = [
        "meeting", "invoice", "Thursday", "please", "attached", "regards", "the", "a", "and",
        "report", "customer", "price", "we", "you", "will", "number",
    ];
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = format!(
        "Received: from relay.example.net by mx.example.org; Mon, 1 Jun 2026 12:00:00 +0000\r\nFrom: ann@example.net\r\nTo: bob@example.org\r\nSubject: number {number}\r\n\r\n"
    );
    let mut column = 0;
    while text.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let word = WORDS.get((state % 16) as usize).copied().unwrap_or_default();
        text.push_str(word);
        text.push_str(if state & 0x300 == 0 { "x1 " } else { " " });
        column += word.len();
        if column > 60 {
            text.push_str("\r\n");
            column = 0;
        }
    }
    Bytes::from(text)
}
