//! How often a second a journal can make records durable in a folder, with and without zeros written ahead.
//!
//!     cargo run --release -p muralla-journal --example sync_rate -- /var/lib
//!
//! Where a batch goes to blocks that never held data, the file system notes with each sync that they do now (on ext4 an
//! extent is converted, and its journal committed). Zeros written ahead spare it that, and cost as much as all records
//! once more, ahead of time.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use muralla_journal::{Journal, Options, Ticket};
use rustix::event::{PollFd, PollFlags, poll};

/// Records on their way at a time: one for the time that a sync takes, more for how many fit into it.
const AHEAD: [usize; 3] = [1, 32, 1024];

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(1);

/// As long as most accounting records.
const PAYLOAD: [u8; 400] = [7; 400];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).unwrap_or_else(|| std::env::temp_dir().into());
    let folder = tempfile::tempdir_in(Path::new(&folder))?;
    println!(
        "{:>7} {:>6} {:>11} {:>11} {:>10}",
        "ahead", "zeroed", "fsyncs/s", "records/s", "fsync ms"
    );
    for ahead in AHEAD {
        // Interleaved, so that what else the machine does hits both alike; the median of each is told.
        let mut rates = [Vec::new(), Vec::new()];
        for round in 0..ROUNDS {
            for (zeroed, rates) in [false, true].into_iter().zip(&mut rates) {
                let name = format!("{ahead}-{round}-{zeroed}");
                rates.push(measure(&folder.path().join(name), zeroed, ahead)?);
            }
        }
        for (zeroed, mut rates) in [false, true].into_iter().zip(rates) {
            rates.sort_by(|one, other| one.fsyncs.total_cmp(&other.fsyncs));
            if let Some(Rate { fsyncs, records, took }) = rates.get(ROUNDS / 2) {
                println!("{ahead:>7} {zeroed:>6} {fsyncs:>11.0} {records:>11.0} {took:>10.3}");
            }
        }
    }
    Ok(())
}

struct Rate {
    fsyncs: f64,
    records: f64,
    /// Milliseconds of one.
    took: f64,
}

fn measure(folder: &Path, zeroed: bool, ahead: usize) -> Result<Rate, Box<dyn Error>> {
    let options = Options { zeroed, reserve: 0, gather: Duration::ZERO, ..Options::default() };
    let (journal, _) = Journal::open(folder, options)?;
    let appender = journal.appender()?;
    // The first segment is made, and filled if it is to be, before time begins.
    let mut last = appender.append(&PAYLOAD)?;
    while !appender.is_durable(last) {
        std::thread::yield_now();
    }
    let before = journal.status();
    let begin = Instant::now();
    while begin.elapsed() < ROUND {
        let Ticket(appended) = last;
        let on_the_way = appended - appender.durable();
        for _ in usize::try_from(on_the_way)?..ahead {
            last = appender.append(&PAYLOAD)?;
        }
        poll(&mut [PollFd::new(&appender, PollFlags::IN)], None)?;
        appender.drain();
    }
    let (took, after) = (begin.elapsed().as_secs_f64(), journal.status());
    let fsyncs = (after.fsyncs - before.fsyncs) as f64;
    let spent = (after.sync_time - before.sync_time).as_secs_f64();
    journal.close()?;
    std::fs::remove_dir_all(folder)?;
    let records = (after.records - before.records) as f64 / took;
    Ok(Rate { fsyncs: fsyncs / took, records, took: spent * 1e3 / fsyncs })
}
