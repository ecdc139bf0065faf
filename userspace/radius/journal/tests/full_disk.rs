//! A file system that is full stops the acknowledgements, and nothing else.

#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use muralla_journal::{AppendError, Health, Journal, Options, Ticket};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// A file system in memory, as small as wanted.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(folder: &Path) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "this test mounts a file system of 4 MiB to fill it: run it as root"
        );
        mount("muralla-full-disk", folder, "tmpfs", MountFlags::empty(), c"size=4m,mode=0700")
            .expect("a tmpfs can be mounted: it needs CAP_SYS_ADMIN, also in a container");
        Self(folder.to_owned())
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.0, UnmountFlags::DETACH) {
            eprintln!("{} stays mounted: {error}", self.0.display());
        }
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < until, "never: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn noloss_a_full_file_system_stops_acknowledgements_until_there_is_room() {
    let above = tempfile::tempdir().unwrap();
    let disk = Tmpfs::mount(above.path());
    let folder = disk.0.join("journal");
    let ballast = disk.0.join("ballast");
    fs::write(&ballast, vec![1; 1 << 20]).unwrap();
    let options =
        Options { segment: 1 << 20, keep: Duration::ZERO, reserve: 0, ..Options::default() };
    let (journal, _) = Journal::open(&folder, options.clone()).unwrap();
    let appender = journal.appender().unwrap();
    let fill = || {
        let mut last = Ticket(0);
        until("full", || match appender.append(&[7; 20_000]) {
            Ok(ticket) => {
                last = ticket;
                false
            }
            Err(AppendError::Busy) => false,
            Err(error) => {
                assert_eq!(error, AppendError::Full);
                true
            }
        });
        assert!(last > Ticket(0), "it takes something in first");
        last
    };

    let last = fill();
    let status = journal.status();
    assert_eq!(status.health, Health::Full);
    assert!(status.durable < last.0, "{status:?}");
    // Another's file goes, and it goes on.
    fs::remove_file(&ballast).unwrap();
    until("durable", || appender.is_durable(last));
    until("good", || journal.status().health == Health::Good);

    // Now all that there is is the journal's own. A consumer finds room for its position, and makes more by it.
    let last = fill();
    let mut consumer = journal.consumer("export").unwrap();
    let mut count = 0;
    while let Some(entry) = consumer.next().unwrap() {
        count += 1;
        assert_eq!((entry.sequence, entry.payload.len()), (count, 20_000));
    }
    consumer.commit(count).unwrap();
    until("durable", || appender.is_durable(last));
    while let Some(entry) = consumer.next().unwrap() {
        count += 1;
        assert_eq!((entry.sequence, entry.payload.len()), (count, 20_000));
    }
    assert_eq!(count, last.0, "each is there once");
    drop((consumer, appender));
    journal.close().unwrap();

    let (journal, recovered) = Journal::open(&folder, options).unwrap();
    assert_eq!((recovered.last, recovered.damage), (last.0, vec![]));
    drop(journal);
}
