//! Bodies: put, inserted, read, counted, collected, compacted and checked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use muralla_database::{Engine, Value};
use muralla_mail_store::packs::PackId;
use muralla_mail_store::packs::memory::{Faults, MemoryPacks};
use muralla_mail_store::{
    Bodies, BodyError, BodyId, BodyOptions, BodyRow, Fault, PackLocation, PackOptions, PackStore,
};
use muralla_test_database::on_both_engines;

use crate::common::Database;

on_both_engines!(
    a_message_comes_back,
    it_is_read_in_part,
    its_head_is_read,
    many_are_read_at_once,
    a_part_is_stored_once,
    what_nobody_needs_is_removed,
    a_dead_pack_is_emptied_and_deleted,
    small_packs_are_put_together,
    what_was_never_inserted_is_removed,
    who_comes_too_late_is_told,
    a_part_that_went_meanwhile_is_told,
    what_is_moved_is_read_all_the_same,
    the_check_finds_what_is_lost,
    the_check_puts_counts_right,
    a_dictionary_is_trained_and_found,
    failures_are_told_and_pass,
    numbers_are_given_once,
    packs_of_another_store_are_left_alone,
    everything_at_once_loses_nothing,
    a_wrong_count_deletes_nothing,
    a_database_that_was_put_back_finds_its_mail_again,
    lost_packs_are_given_up_when_somebody_says_so,
);

/// Bodies in memory, and the packs they are in.
struct Memory {
    bodies: Bodies,
    packs: Arc<MemoryPacks>,
    engine: Engine,
}

const NOW: i64 = 4_000_000_000;

/// Nothing waits: not for readers, and not for those who may come late.
fn eager() -> BodyOptions {
    BodyOptions { grace: 0, stray: 0, train_after: (0, 0), ..BodyOptions::default() }
}

async fn memory(database: &Database) -> Memory {
    let engine = database.engine().await;
    let packs = Arc::new(MemoryPacks::default());
    let bodies = Bodies::new(engine.clone(), Arc::<MemoryPacks>::clone(&packs), eager());
    Memory { bodies, packs, engine }
}

impl Memory {
    async fn put(&self, raw: &[u8]) -> BodyId {
        insert(&self.bodies, raw).await
    }

    async fn release(&self, ids: &[BodyId]) {
        let mut work = self.engine.write().await.unwrap();
        let changes: Vec<(BodyId, i64)> = ids.iter().map(|id| (*id, 1)).collect();
        self.bodies.release(&mut work, &changes).await.unwrap();
        work.commit().await.unwrap();
    }

    async fn number(&self, sql: &'static str) -> i64 {
        self.engine.read().await.unwrap().number(sql, Vec::new()).await.unwrap()
    }

    /// Bytes of the packs that are there.
    fn bytes(&self) -> usize {
        self.packs.packs().iter().map(|(_, bytes)| bytes).sum()
    }

    /// Live bytes are what the rows say.
    async fn assert_live(&self) {
        let live =
            self.number("SELECT CAST(coalesce(sum(live), 0) AS BIGINT) FROM mail_pack").await;
        let bodies =
            self.number("SELECT CAST(coalesce(sum(length), 0) AS BIGINT) FROM mail_body").await;
        let parts =
            self.number("SELECT CAST(coalesce(sum(length), 0) AS BIGINT) FROM mail_part").await;
        assert_eq!(live, bodies + parts);
    }
}

async fn insert(bodies: &Bodies, raw: &[u8]) -> BodyId {
    let row = bodies.put(Bytes::copy_from_slice(raw)).await.unwrap();
    let id = row.id();
    commit(bodies, vec![(row, 1)]).await.unwrap();
    id
}

async fn commit(bodies: &Bodies, rows: Vec<(BodyRow, i64)>) -> Result<(), BodyError> {
    let mut work = bodies.engine().write().await?;
    bodies.insert(&mut work, &rows).await?;
    work.commit().await?;
    Ok(())
}

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| byte()).collect()
}

/// A message with text and an attachment.
fn message(number: u64, attachment: &[u8]) -> Vec<u8> {
    let mut raw = format!(
        "Received: from relay{number}.example.net by mx.example.org; Mon, 1 Jun 2026 12:00:00 +0000\r\nFrom: Ann <ann@example.net>\r\nTo: bob@example.org\r\nSubject: number {number}\r\nMessage-ID: <{number}@example.net>\r\n\r\nLine one of {number}\r\nline two\r\n\r\nline four\r\n"
    );
    for line in data_encoding::BASE64.encode(attachment).as_bytes().chunks(76) {
        raw.push_str(std::str::from_utf8(line).unwrap());
        raw.push_str("\r\n");
    }
    raw.push_str("--end--\r\n");
    raw.into_bytes()
}

async fn a_message_comes_back(database: Database) {
    let memory = memory(&database).await;
    let mut all = Vec::new();
    for (number, raw) in [
        Vec::new(),
        b"\r\n".to_vec(),
        b"no header at all".to_vec(),
        message(1, b""),
        message(2, &noise(1000, 1)),
        message(3, &noise(40_000, 2)),
        message(4, &noise(400_000, 3)),
        noise(100_000, 4),
        vec![b'a'; 3_000_000],
    ]
    .into_iter()
    .enumerate()
    {
        let row = memory.bodies.put(Bytes::from(raw.clone())).await.unwrap();
        assert_eq!(row.original(), raw.len() as u64);
        let id = row.id();
        // Nobody finds it before its row is there.
        assert!(
            matches!(memory.bodies.get(id).await, Err(BodyError::Missing(missing)) if missing == id)
        );
        commit(&memory.bodies, vec![(row, 1)]).await.unwrap();
        all.push((number, id, raw));
    }
    for (number, id, raw) in &all {
        assert!(memory.bodies.get(*id).await.unwrap() == *raw, "{number}");
    }
    assert!(all.windows(2).all(|pair| pair[0].1 < pair[1].1), "numbers rise");
    memory.assert_live().await;
    let status = memory.bodies.status();
    assert_eq!((status.put, status.read, status.damaged), (9, 9, 0));
    assert!(status.stored_bytes < status.put_bytes);
    // Another process reads the same.
    let other =
        Bodies::new(database.engine().await, Arc::<MemoryPacks>::clone(&memory.packs), eager());
    assert!(other.get(all[6].1).await.unwrap() == all[6].2);
    let report = memory.bodies.check(|_| ()).await.unwrap();
    assert!(report.is_clean() && report.dead == 0, "{report:?}");
}

async fn it_is_read_in_part(database: Database) {
    let memory = memory(&database).await;
    for raw in
        [message(1, &noise(100, 1)), message(2, &noise(90_000, 2)), message(3, &noise(400_000, 3))]
    {
        let id = memory.put(&raw).await;
        let length = raw.len() as u64;
        for range in [
            0..0,
            0..10,
            5..400,
            300..5000,
            0..length,
            length - 9..length + 9,
            length..length + 1,
            length + 5..length + 6,
        ] {
            let (from, until) = (range.start.min(length) as usize, range.end.min(length) as usize);
            let read = memory.bodies.get_range(id, range.clone()).await.unwrap();
            assert!(read == raw[from..until], "{range:?} of {length}");
        }
    }
    // A large one is decoded once for many pieces.
    let raw = message(4, &noise(600_000, 4));
    let id = memory.put(&raw).await;
    let before = memory.bodies.status().packs.reads;
    for from in (0..raw.len()).step_by(50_000) {
        let read = memory.bodies.get_range(id, from as u64..from as u64 + 50_000).await.unwrap();
        assert!(read == raw[from..raw.len().min(from + 50_000)]);
    }
    assert!(memory.bodies.status().packs.reads - before <= 3);
}

async fn its_head_is_read(database: Database) {
    let memory = memory(&database).await;
    let raw = message(1, &noise(90_000, 1));
    let id = memory.put(&raw).await;
    let text = String::from_utf8(raw.clone()).unwrap();
    let (header, body) = text.split_once("\r\n\r\n").unwrap();
    for lines in [0, 1, 2, 4, 5, 100, 1500, 1_000_000, u64::MAX] {
        let wanted: String =
            body.split_inclusive('\n').take(usize::try_from(lines).unwrap_or(usize::MAX)).collect();
        let head = memory.bodies.head(id, lines).await.unwrap();
        assert!(head == format!("{header}\r\n\r\n{wanted}"), "{lines}");
    }
    let bare = memory.put(b"Subject: only a header\r\n").await;
    assert_eq!(memory.bodies.head(bare, 5).await.unwrap(), "Subject: only a header\r\n");
    let lf = memory.put(b"Subject: x\n\none\ntwo\nthree").await;
    assert_eq!(memory.bodies.head(lf, 1).await.unwrap(), "Subject: x\n\none\n");
    assert_eq!(memory.bodies.head(lf, 3).await.unwrap(), "Subject: x\n\none\ntwo\nthree");
}

async fn many_are_read_at_once(database: Database) {
    let memory = memory(&database).await;
    let mut ids = Vec::new();
    for number in 0..50 {
        ids.push(memory.put(&message(number, &noise(number as usize * 3000, number))).await);
    }
    ids.insert(7, BodyId(99));
    let all = memory.bodies.get_many(&ids).await;
    assert_eq!(all.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids);
    for (at, (_, message_read)) in all.into_iter().enumerate() {
        match at {
            7 => assert!(matches!(message_read, Err(BodyError::Missing(BodyId(99))))),
            at => {
                let number = if at < 7 { at } else { at - 1 } as u64;
                assert!(
                    message_read.unwrap()
                        == message(number, &noise(number as usize * 3000, number))
                );
            }
        }
    }
}

async fn a_part_is_stored_once(database: Database) {
    let memory = memory(&database).await;
    let attachment = noise(200_000, 1);
    let first = memory.put(&message(1, &attachment)).await;
    let one = memory.bytes();
    let mut ids = vec![first];
    for number in 2..10 {
        ids.push(memory.put(&message(number, &attachment)).await);
    }
    assert!(memory.bytes() < one + 8 * 1000, "{} after {one}", memory.bytes());
    assert_eq!(memory.bodies.status().shared_parts, 8);
    // Two at once, of which neither knows of the other.
    let other = noise(100_000, 2);
    let (a, b) = (message(20, &other), message(21, &other));
    let a = memory.bodies.put(Bytes::from(a)).await.unwrap();
    let b = memory.bodies.put(Bytes::from(b)).await.unwrap();
    let (a_id, b_id) = (a.id(), b.id());
    commit(&memory.bodies, vec![(a, 1)]).await.unwrap();
    commit(&memory.bodies, vec![(b, 1)]).await.unwrap();
    // And two in one transaction.
    let third = noise(100_000, 3);
    let c = memory.bodies.put(Bytes::from(message(30, &third))).await.unwrap();
    let d = memory.bodies.put(Bytes::from(message(31, &third))).await.unwrap();
    ids.extend([c.id(), d.id()]);
    commit(&memory.bodies, vec![(d, 1), (c, 1)]).await.unwrap();
    assert_eq!(memory.number("SELECT CAST(count(*) AS BIGINT) FROM mail_part").await, 3);
    memory.assert_live().await;
    for (id, raw) in
        [(first, message(1, &attachment)), (a_id, message(20, &other)), (b_id, message(21, &other))]
    {
        assert!(memory.bodies.get(id).await.unwrap() == raw);
    }
    // It stays as long as one has it.
    memory.release(&ids[..8]).await;
    memory.release(&[a_id]).await;
    let done = memory.bodies.maintain(NOW).await.unwrap();
    assert_eq!((done.bodies_removed, done.parts_removed), (9, 0));
    assert!(memory.bodies.get(ids[8]).await.unwrap() == message(9, &attachment));
    assert!(memory.bodies.get(b_id).await.unwrap() == message(21, &other));
    memory.release(&ids[8..]).await;
    memory.release(&[b_id]).await;
    let done = memory.bodies.maintain(NOW).await.unwrap();
    assert_eq!((done.bodies_removed, done.parts_removed), (4, 3));
    memory.assert_live().await;
}

async fn what_nobody_needs_is_removed(database: Database) {
    let memory = memory(&database).await;
    let row = memory.bodies.put(Bytes::from(message(1, b""))).await.unwrap();
    let id = row.id();
    commit(&memory.bodies, vec![(row, 2)]).await.unwrap();
    let other = memory.put(&message(2, b"")).await;
    let mut work = memory.engine.write().await.unwrap();
    memory.bodies.retain(&mut work, &[(id, 3), (other, 1)]).await.unwrap();
    work.commit().await.unwrap();
    for released in [2, 2] {
        let mut work = memory.engine.write().await.unwrap();
        memory.bodies.release(&mut work, &[(id, released)]).await.unwrap();
        work.commit().await.unwrap();
        assert_eq!(memory.bodies.maintain(NOW).await.unwrap().bodies_removed, 0);
        memory.bodies.get(id).await.unwrap();
    }
    // Given up, it changes nothing.
    let mut work = memory.engine.write().await.unwrap();
    memory.bodies.release(&mut work, &[(id, 1), (other, 2)]).await.unwrap();
    drop(work);
    assert_eq!(memory.bodies.unneeded(10).await.unwrap(), []);
    memory.release(&[id]).await;
    assert_eq!(memory.bodies.unneeded(10).await.unwrap(), [id]);
    // It may be needed again until it is removed.
    let mut work = memory.engine.write().await.unwrap();
    memory.bodies.retain(&mut work, &[(id, 1)]).await.unwrap();
    work.commit().await.unwrap();
    assert_eq!(memory.bodies.maintain(NOW).await.unwrap().bodies_removed, 0);
    memory.release(&[id]).await;
    assert_eq!(memory.bodies.maintain(NOW).await.unwrap().bodies_removed, 1);
    assert!(matches!(memory.bodies.get(id).await, Err(BodyError::Missing(_))));
    let mut work = memory.engine.write().await.unwrap();
    let gone = memory.bodies.retain(&mut work, &[(other, 1), (id, 1)]).await;
    assert!(matches!(gone, Err(BodyError::Missing(missing)) if missing == id));
    drop(work);
    let mut work = memory.engine.write().await.unwrap();
    memory.bodies.release(&mut work, &[(id, 1)]).await.unwrap();
    work.commit().await.unwrap();
    memory.assert_live().await;
}

async fn a_dead_pack_is_emptied_and_deleted(database: Database) {
    let memory = memory(&database).await;
    let mut ids = Vec::new();
    for number in 0..30 {
        ids.push(memory.put(&message(number, &noise(70_000, number % 10))).await);
    }
    let pack = memory.packs.packs()[0].0;
    // The pack that is written to is left alone.
    memory.release(&ids[..20]).await;
    let done = memory.bodies.maintain(NOW).await.unwrap();
    assert_eq!((done.bodies_removed, done.packs_emptied), (20, 0));
    memory.packs.seal();
    let before = memory.bytes();
    let totals = memory.bodies.totals().await.unwrap();
    assert_eq!((totals.packs, totals.bytes), (1, before as u64));
    assert!((0.0..0.4).contains(&totals.dead_share()), "{totals:?}");
    let done = memory.bodies.maintain(NOW).await.unwrap();
    assert_eq!(
        (done.packs_emptied, done.packs_deleted),
        (0, 0),
        "ten parts are most of it, and alive"
    );
    memory.release(&ids[20..29]).await;
    let done = memory.bodies.maintain(NOW).await.unwrap();
    assert_eq!((done.packs_emptied, done.frames_copied, done.packs_deleted), (1, 2, 1));
    assert!(memory.bytes() * 5 < before, "{} of {before}", memory.bytes());
    assert!(memory.packs.packs().iter().all(|(left, _)| *left != pack));
    let totals = memory.bodies.totals().await.unwrap();
    assert_eq!((totals.packs, totals.bytes), (1, memory.bytes() as u64));
    assert!(totals.dead_share() < 0.01, "{totals:?}");
    assert!(memory.bodies.get(ids[29]).await.unwrap() == message(29, &noise(70_000, 9)));
    memory.assert_live().await;
    let report = memory.bodies.check(|_| ()).await.unwrap();
    assert!(report.is_clean() && report.corrected == 0, "{report:?}");
    // Its row goes when nobody can come late any more.
    assert_eq!(
        memory.number("SELECT CAST(count(*) AS BIGINT) FROM mail_pack WHERE state = 3").await,
        1
    );
    memory.bodies.maintain(NOW + 8 * 86_400).await.unwrap();
    assert_eq!(
        memory.number("SELECT CAST(count(*) AS BIGINT) FROM mail_pack WHERE state = 3").await,
        0
    );
}

async fn small_packs_are_put_together(database: Database) {
    let memory = memory(&database).await;
    let mut ids = Vec::new();
    for number in 0..40 {
        ids.push(memory.put(&message(number, &noise(400, number))).await);
        memory.packs.seal();
    }
    assert_eq!(memory.packs.packs().len(), 40);
    let done = memory.bodies.maintain(NOW).await.unwrap();
    assert_eq!((done.packs_emptied, done.frames_copied, done.packs_deleted), (40, 40, 40));
    assert_eq!(memory.packs.packs().len(), 1);
    for (number, id) in (0..).zip(&ids) {
        assert!(memory.bodies.get(*id).await.unwrap() == message(number, &noise(400, number)));
    }
    memory.packs.seal();
    let done = memory.bodies.maintain(NOW).await.unwrap();
    assert_eq!(done.packs_emptied, 0, "and stay so");
    memory.assert_live().await;
}

async fn what_was_never_inserted_is_removed(database: Database) {
    let memory = memory(&database).await;
    let kept = memory.put(&message(1, b"")).await;
    // A crash came between: in a pack with others, and in packs of its own.
    memory.bodies.put(Bytes::from(message(2, b""))).await.unwrap();
    memory.packs.seal();
    let late = memory.bodies.put(Bytes::from(message(3, b""))).await.unwrap();
    memory.packs.seal();
    memory.packs.set_modified(NOW - 10);
    let done = memory.bodies.maintain(NOW).await.unwrap();
    assert_eq!((done.strays, done.packs_emptied, done.packs_deleted), (1, 1, 1));
    assert_eq!(memory.packs.packs().len(), 1);
    assert!(memory.bodies.get(kept).await.unwrap() == message(1, b""));
    // Whoever comes now is refused, and puts it again.
    assert!(commit(&memory.bodies, vec![(late, 1)]).await.unwrap_err().is_stale());
    memory.put(&message(3, b"")).await;
    let report = memory.bodies.check(|_| ()).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.dead, 1);
}

async fn who_comes_too_late_is_told(database: Database) {
    let memory = memory(&database).await;
    let first = memory.put(&message(1, b"")).await;
    let late = memory.bodies.put(Bytes::from(message(2, &noise(9000, 1)))).await.unwrap();
    memory.packs.seal();
    let done = memory.bodies.maintain(NOW).await.unwrap();
    assert_eq!(
        done.packs_emptied, 0,
        "one row of its frames is not there yet, and it is not mostly dead"
    );
    memory.release(&[first]).await;
    let done = memory.bodies.maintain(NOW).await.unwrap();
    assert_eq!(done.packs_emptied, 1);
    let error = commit(&memory.bodies, vec![(late, 1)]).await.unwrap_err();
    assert!(error.is_stale() && error.may_pass(), "{error}");
    memory.assert_live().await;
}

async fn a_part_that_went_meanwhile_is_told(database: Database) {
    let memory = memory(&database).await;
    let attachment = noise(100_000, 1);
    let first = memory.put(&message(1, &attachment)).await;
    let late = memory.bodies.put(Bytes::from(message(2, &attachment))).await.unwrap();
    memory.release(&[first]).await;
    memory.bodies.maintain(NOW).await.unwrap();
    assert!(commit(&memory.bodies, vec![(late, 1)]).await.unwrap_err().is_stale());
    let again = memory.put(&message(2, &attachment)).await;
    assert!(memory.bodies.get(again).await.unwrap() == message(2, &attachment));
    memory.assert_live().await;
}

async fn what_is_moved_is_read_all_the_same(database: Database) {
    let memory = memory(&database).await;
    let mut ids = Vec::new();
    for number in 0..10 {
        ids.push(memory.put(&message(number, &noise(70_000, number))).await);
    }
    let located = memory.bodies.locate(&ids).await.unwrap();
    memory.packs.seal();
    memory.release(&ids[..7]).await;
    let done = memory.bodies.maintain(NOW).await.unwrap();
    assert_eq!(done.packs_deleted, 1);
    for (number, id) in (0..).zip(&ids) {
        let read = memory.bodies.read(&located[id]).await;
        if number < 7 {
            assert!(matches!(read, Err(BodyError::Missing(_))));
        } else {
            assert!(read.unwrap() == message(number, &noise(70_000, number)));
        }
    }
}

async fn the_check_finds_what_is_lost(database: Database) {
    let memory = memory(&database).await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(memory.put(&message(number, &noise(70_000, number))).await);
    }
    memory.packs.seal();
    let gone = memory.put(&message(9, b"")).await;
    let lost = memory.packs.packs()[1].0;
    let located = memory.bodies.locate(&ids).await.unwrap();
    let pack = memory.packs.packs()[0].0;
    assert!(memory.bodies.check(|_| ()).await.unwrap().is_clean());
    // A message's frame, a part's frame (the one before it), and a whole pack.
    let at = |id: &BodyId| located[id].place().start as usize;
    memory.packs.spoil(pack, |bytes| bytes[at(&ids[1]) + 60] ^= 1);
    memory.packs.spoil(pack, |bytes| bytes[at(&ids[3]) - 100] ^= 1);
    memory.packs.delete(lost).await.unwrap();
    let mut calls = 0;
    let report = memory.bodies.check(|_| calls += 1).await.unwrap();
    assert!(calls > 1 && !report.is_clean());
    let told: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
    let count =
        |wanted: fn(&Fault) -> bool| report.faults.iter().filter(|fault| wanted(fault)).count();
    assert_eq!(count(|fault| matches!(fault, Fault::PackMissing { rows: 1, .. })), 1, "{told:?}");
    assert_eq!(count(|fault| matches!(fault, Fault::Gap { .. })), 2, "{told:?}");
    assert_eq!(count(|fault| matches!(fault, Fault::Part { .. })), 1, "{told:?}");
    let damaged: Vec<BodyId> = report
        .faults
        .iter()
        .filter_map(|fault| match fault {
            Fault::Body { id, .. } => Some(*id),
            _ => None,
        })
        .collect();
    assert_eq!(damaged, [ids[1]], "{told:?}");
    assert!(matches!(memory.bodies.get(ids[1]).await, Err(BodyError::Damaged { .. })));
    assert!(matches!(memory.bodies.get(ids[3]).await, Err(BodyError::Damaged { .. })));
    let error = memory.bodies.get(gone).await.unwrap_err();
    assert!(matches!(error, BodyError::Damaged { .. }) && !error.may_pass(), "{error}");
    // The header is there even so, and the others are as they were.
    assert!(memory.bodies.head(ids[3], 1).await.unwrap().starts_with(b"Received"));
    assert!(memory.bodies.get(ids[4]).await.unwrap() == message(4, &noise(70_000, 4)));
    // What is damaged is not thrown away with the rest of its pack.
    memory.release(&[ids[0], ids[2], ids[4]]).await;
    memory.bodies.maintain(NOW).await.unwrap();
    assert!(memory.packs.packs().iter().any(|(left, _)| *left == pack), "a copy may yet mend it");
}

async fn the_check_puts_counts_right(database: Database) {
    let memory = memory(&database).await;
    let id = memory.put(&message(1, &noise(70_000, 1))).await;
    memory.put(&message(2, &noise(70_000, 1))).await;
    let mut work = memory.engine.write().await.unwrap();
    work.execute("UPDATE mail_pack SET live = live - 100", Vec::new()).await.unwrap();
    work.execute("UPDATE mail_part SET refs = refs + 5", Vec::new()).await.unwrap();
    work.commit().await.unwrap();
    let report = memory.bodies.check(|_| ()).await.unwrap();
    assert_eq!((report.is_clean(), report.corrected), (true, 2), "{report:?}");
    memory.assert_live().await;
    assert_eq!(memory.bodies.check(|_| ()).await.unwrap().corrected, 0);
    let mut work = memory.engine.write().await.unwrap();
    work.execute("DELETE FROM mail_part", Vec::new()).await.unwrap();
    work.commit().await.unwrap();
    let report = memory.bodies.check(|_| ()).await.unwrap();
    assert!(
        report
            .faults
            .iter()
            .any(|fault| matches!(fault, Fault::PartMissing { id: named, .. } if *named == id))
    );
}

async fn a_dictionary_is_trained_and_found(database: Database) {
    let memory = memory(&database).await;
    assert_eq!(memory.bodies.train(NOW).await.unwrap(), None, "there is no mail yet");
    let words = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"];
    let text = |number: u64| {
        let body: Vec<&str> =
            noise(60, number).iter().map(|byte| words[usize::from(byte % 8)]).collect();
        format!(
            "Subject: report {number}\r\nX-Particular-Header: quite particular to this store\r\n\r\nOn line {number}: {}\r\n",
            body.join(" ")
        )
    };
    let mut rows = Vec::new();
    let mut first = None;
    for number in 0..1500 {
        let row = memory.bodies.put(Bytes::from(text(number))).await.unwrap();
        first.get_or_insert(row.id());
        rows.push((row, 1));
    }
    commit(&memory.bodies, rows).await.unwrap();
    let before = memory.bodies.status().stored_bytes;
    assert_eq!(memory.bodies.status().dictionary, 1);
    // Its time comes by itself.
    let options = BodyOptions { train_after: (1000, 86_400), ..eager() };
    let packs: Arc<MemoryPacks> = Arc::clone(&memory.packs);
    let bodies = Bodies::new(memory.engine.clone(), packs, options);
    let trained = bodies.maintain(NOW).await.unwrap().trained.unwrap();
    assert_eq!(bodies.maintain(NOW + 60).await.unwrap().trained, None, "once is enough");
    assert_eq!(bodies.status().dictionary, trained);
    let new = insert(&bodies, text(5000).as_bytes()).await;
    let stored = bodies.status().stored_bytes;
    assert!(stored < before / 1500, "{stored} of {}", before / 1500);
    assert_eq!(bodies.get(first.unwrap()).await.unwrap(), text(0), "the old ones are read as ever");
    // A process that knows nothing of it yet finds it when it reads, and when it looks for what is new.
    assert_eq!(memory.bodies.get(new).await.unwrap(), text(5000));
    assert_eq!(memory.bodies.status().dictionary, trained);
    let other =
        Bodies::new(memory.engine.clone(), Arc::<MemoryPacks>::clone(&memory.packs), eager());
    insert(&other, text(5001).as_bytes()).await;
    assert_eq!(other.status().dictionary, trained);
    // The object is damaged, and there is a copy of it.
    let name = format!("{trained:08x}.dictionary");
    let object = memory.packs.kept(name.clone()).await.unwrap();
    memory.packs.keep(name.clone(), Bytes::from_static(b"damaged")).await.unwrap();
    let other =
        Bodies::new(memory.engine.clone(), Arc::<MemoryPacks>::clone(&memory.packs), eager());
    assert_eq!(other.get(new).await.unwrap(), text(5000));
    assert_eq!(memory.packs.kept(name).await.unwrap(), object);
    assert!(bodies.check(|_| ()).await.unwrap().is_clean());
}

async fn failures_are_told_and_pass(database: Database) {
    let memory = memory(&database).await;
    let id = memory.put(&message(1, b"")).await;
    memory.packs.set_faults(Faults { full: true, ..Faults::default() });
    let error = memory.bodies.put(Bytes::from(message(2, b""))).await.unwrap_err();
    assert!(error.is_full() && error.may_pass(), "{error}");
    assert!(memory.bodies.get(id).await.unwrap() == message(1, b""));
    memory.packs.set_faults(Faults { away: true, ..Faults::default() });
    for error in [
        memory.bodies.put(Bytes::from(message(2, b""))).await.unwrap_err(),
        memory.bodies.get(id).await.unwrap_err(),
    ] {
        assert!(error.may_pass() && !error.is_full(), "{error}");
    }
    assert!(memory.bodies.get_many(&[id]).await[0].1.is_err());
    memory.packs.set_faults(Faults { lose_answers: true, ..Faults::default() });
    memory.bodies.put(Bytes::from(message(3, b""))).await.unwrap_err();
    memory.packs.set_faults(Faults::default());
    memory.put(&message(3, b"")).await;
    let report = memory.bodies.check(|_| ()).await.unwrap();
    assert_eq!((report.is_clean(), report.dead), (true, 1), "{report:?}");
    if database.is_postgres() {
        database.kill();
        let error = memory.bodies.get(id).await.unwrap_err();
        assert!(error.may_pass(), "{error}");
        // What is durable in the packs already needs the database only for its row.
        let row = memory.bodies.put(Bytes::from(message(4, b""))).await.unwrap();
        let again = row.clone();
        let error = commit(&memory.bodies, vec![(row, 1)]).await.unwrap_err();
        assert!(error.may_pass() && !error.is_stale(), "{error}");
        database.start();
        commit(&memory.bodies, vec![(again, 1)]).await.unwrap();
    }
    let too_large = memory.bodies.put(Bytes::from(vec![0; (256 << 20) + 1])).await.unwrap_err();
    assert!(matches!(too_large, BodyError::TooLarge { .. }) && !too_large.may_pass());
}

async fn numbers_are_given_once(database: Database) {
    let engine = database.engine().await;
    let packs = Arc::new(MemoryPacks::default());
    // Processes that begin at the same time, each with bodies put at the same time.
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let bodies = Bodies::new(engine.clone(), Arc::<MemoryPacks>::clone(&packs), eager());
        for number in 0..20 {
            let bodies = bodies.clone();
            tasks.push(tokio::spawn(async move {
                bodies.put(Bytes::from(message(number, b""))).await.unwrap().id()
            }));
        }
    }
    let mut ids = Vec::new();
    for task in tasks {
        ids.push(task.await.unwrap());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 160);
    assert!(ids.iter().all(|id| id.0 > 0));
    // The database is put back to an earlier state, and the numbers go on even so.
    let mut work = engine.write().await.unwrap();
    work.execute("UPDATE mail_store SET writer = 1", Vec::new()).await.unwrap();
    work.commit().await.unwrap();
    let bodies = Bodies::new(engine, packs, eager());
    let later = bodies.put(Bytes::from(message(1, b""))).await.unwrap().id();
    assert!(later.0 >> 32 > 20_000_000, "it follows from the time");
}

async fn packs_of_another_store_are_left_alone(database: Database) {
    let memory = memory(&database).await;
    let id = memory.put(&message(1, b"")).await;
    // Another database that is given these packs by mistake.
    let other = Database::sqlite();
    let engine = other.engine().await;
    let bodies = Bodies::new(engine.clone(), Arc::<MemoryPacks>::clone(&memory.packs), eager());
    for error in [
        bodies.put(Bytes::from(message(2, b""))).await.unwrap_err(),
        bodies.maintain(NOW).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("another database"), "{error}");
        assert!(!error.may_pass());
    }
    // This one without its packs: the disk isn't mounted.
    let packs = Arc::new(MemoryPacks::default());
    let bodies = Bodies::new(memory.engine.clone(), Arc::<MemoryPacks>::clone(&packs), eager());
    let error = bodies.put(Bytes::from(message(2, b""))).await.unwrap_err();
    assert!(error.to_string().contains("mounted"), "{error}");
    assert_eq!(packs.packs(), []);
    assert!(memory.bodies.get(id).await.unwrap() == message(1, b""));
}

/// Deliveries, readers, upkeep and a second process, all at once, in files.
async fn everything_at_once_loses_nothing(database: Database) {
    let engine = database.engine().await;
    let folder = database.folder().join("packs");
    // PostgreSQL's folder isn't ours alone.
    let options = PackOptions { pack: 200_000, reserve: 0, ..PackOptions::default() };
    let open = || {
        let packs = PackLocation::Folder(folder.clone()).open(&options).unwrap();
        Bodies::new(engine.clone(), packs, eager())
    };
    let stop = Arc::new(AtomicBool::new(false));
    let delivered = Arc::new(AtomicU64::new(0));
    let mut writers = Vec::new();
    for process in 0..2u64 {
        let bodies = open();
        for task in 0..3u64 {
            let (bodies, delivered) = (bodies.clone(), Arc::clone(&delivered));
            writers.push(tokio::spawn(async move {
                let mut kept = Vec::new();
                let mut stale = 0;
                for round in 0..40u64 {
                    let number = process * 1000 + task * 100 + round;
                    let raw =
                        message(number, &noise(if round % 4 == 0 { 66_000 } else { 300 }, round));
                    let id = loop {
                        let row = bodies.put(Bytes::from(raw.clone())).await.unwrap();
                        let id = row.id();
                        match commit(&bodies, vec![(row, 1)]).await {
                            Ok(()) => {
                                delivered.fetch_add(1, Ordering::Relaxed);
                                break id;
                            }
                            Err(error) => {
                                assert!(error.may_pass(), "{error}");
                                stale += 1;
                                assert!(stale < 200, "it never succeeds: {error}");
                            }
                        }
                    };
                    if round % 3 == 0 {
                        kept.push((id, raw));
                    } else {
                        let mut work = bodies.engine().write().await.unwrap();
                        bodies.release(&mut work, &[(id, 1)]).await.unwrap();
                        work.commit().await.unwrap();
                    }
                    if let Some((id, raw)) = kept.get(round as usize / 6) {
                        assert!(bodies.get(*id).await.unwrap() == *raw);
                    }
                }
                kept
            }));
        }
    }
    let keepers: Vec<_> = (0..2)
        .map(|_| {
            let (bodies, stop, delivered) = (open(), Arc::clone(&stop), Arc::clone(&delivered));
            tokio::spawn(async move {
                let (mut emptied, mut now, mut seen) = (0, NOW, 0);
                while !stop.load(Ordering::Relaxed) {
                    // Its clock waits for the writers: on a slow machine they would never be in time.
                    let done = delivered.load(Ordering::Relaxed);
                    if done != seen {
                        (now, seen) = (now + 1000, done);
                    }
                    match bodies.maintain(now).await {
                        Ok(done) => emptied += done.packs_emptied,
                        Err(error) => assert!(error.may_pass(), "{error}"),
                    }
                }
                emptied
            })
        })
        .collect();
    let mut kept = Vec::new();
    for writer in writers {
        kept.extend(writer.await.unwrap());
    }
    stop.store(true, Ordering::Relaxed);
    let mut emptied = 0;
    for keeper in keepers {
        emptied += keeper.await.unwrap();
    }
    assert!(emptied > 0, "nothing was compacted");
    let bodies = open();
    for (id, raw) in &kept {
        assert!(bodies.get(*id).await.unwrap() == *raw, "{id}");
    }
    let report = bodies.check(|_| ()).await.unwrap();
    assert_eq!((report.is_clean(), report.corrected), (true, 0), "{report:?}");
    let mut rows = 0;
    let mut work = engine.read().await.unwrap();
    work.each("SELECT id FROM mail_body WHERE refs > $1", vec![Value::from(0)], |_| {
        rows += 1;
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(rows, kept.len());
    drop(work);
    // When all is gone, so are the packs.
    let mut work = engine.write().await.unwrap();
    let changes: Vec<(BodyId, i64)> = kept.iter().map(|(id, _)| (*id, 1)).collect();
    bodies.release(&mut work, &changes).await.unwrap();
    work.commit().await.unwrap();
    for round in 0..5 {
        bodies.maintain(NOW * 2 + round * 10_000_000).await.unwrap();
    }
    let packs = PackLocation::Folder(folder.clone()).open(&options).unwrap();
    assert_eq!(
        packs.list().await.unwrap().iter().map(|info| info.pack).collect::<Vec<PackId>>(),
        []
    );
}

/// What is damaged isn't found when its pack is looked through, and the count says that nobody needs it.
async fn a_wrong_count_deletes_nothing(database: Database) {
    let memory = memory(&database).await;
    let id = memory.put(&message(1, b"")).await;
    let other = memory.put(&message(2, b"")).await;
    memory.packs.seal();
    let place = memory.bodies.locate(&[id]).await.unwrap()[&id].place();
    let spoil = || memory.packs.spoil(place.pack, |bytes| bytes[place.start as usize + 60] ^= 1);
    assert!(spoil());
    let mut work = memory.engine.write().await.unwrap();
    work.execute("UPDATE mail_pack SET live = -1000000", Vec::new()).await.unwrap();
    work.commit().await.unwrap();
    for round in 0..3 {
        memory.bodies.maintain(NOW + round * 1_000_000).await.unwrap();
    }
    assert!(memory.bodies.get(other).await.unwrap() == message(2, b""));
    // The disk is mended.
    assert!(spoil(), "the pack is gone");
    assert!(memory.bodies.get(id).await.unwrap() == message(1, b""));
}

/// A backup of the database is older than the packs: some were emptied and deleted since.
async fn a_database_that_was_put_back_finds_its_mail_again(database: Database) {
    let memory = memory(&database).await;
    let mut ids = Vec::new();
    for number in 0..10 {
        ids.push(memory.put(&message(number, &noise(70_000, number))).await);
    }
    memory.packs.seal();
    let tables = ["mail_body", "mail_part", "mail_pack"];
    let run = async |statements: Vec<String>| {
        let mut work = memory.engine.write().await.unwrap();
        for sql in statements {
            work.run(sql).await.unwrap();
        }
        work.commit().await.unwrap();
    };
    run(tables.map(|table| format!("CREATE TABLE old_{table} AS SELECT * FROM {table}")).to_vec())
        .await;
    // Mail is removed, what is left is moved, and new mail comes.
    memory.release(&ids[..7]).await;
    assert_eq!(memory.bodies.maintain(NOW).await.unwrap().packs_deleted, 1);
    let late = memory.put(&message(99, b"")).await;
    memory.packs.seal();
    let restore = |table: &str| {
        [format!("DELETE FROM {table}"), format!("INSERT INTO {table} SELECT * FROM old_{table}")]
    };
    run(tables.iter().flat_map(|table| restore(table)).collect()).await;
    // Nobody tidies up what seems to be nobody's.
    let packs = memory.packs.packs();
    memory.packs.set_modified(0);
    let other =
        Bodies::new(memory.engine.clone(), Arc::<MemoryPacks>::clone(&memory.packs), eager());
    for round in 1..4 {
        let done = other.maintain(NOW + round * 1_000_000).await.unwrap();
        assert_eq!((done.missing, done.strays, done.packs_deleted), (1, 0, 0));
    }
    assert_eq!(memory.packs.packs(), packs);
    let report = other.check(|_| ()).await.unwrap();
    // Three messages with a part each; the others were removed with their pack.
    assert_eq!(report.mended, 6, "{report:?}");
    assert!(matches!(report.faults[..], [Fault::PackMissing { rows: 14, .. }]), "{report:?}");
    for (number, id) in (0..).zip(&ids) {
        match other.get(*id).await {
            Ok(read) => assert!(number >= 7 && read == message(number, &noise(70_000, number))),
            Err(error) => assert!(number < 7 && matches!(error, BodyError::Damaged { .. })),
        }
    }
    assert!(matches!(other.get(late).await, Err(BodyError::Missing(_))));
    memory.assert_live().await;
    let again = other.check(|_| ()).await.unwrap();
    assert_eq!((again.mended, again.corrected), (0, 0), "{again:?}");
}

async fn lost_packs_are_given_up_when_somebody_says_so(database: Database) {
    let memory = memory(&database).await;
    let lost = memory.put(&message(1, b"")).await;
    memory.packs.delete(memory.packs.packs()[0].0).await.unwrap();
    memory.packs.seal();
    let kept = memory.put(&message(2, b"")).await;
    let removed = memory.put(&message(3, &noise(10_000, 1))).await;
    memory.packs.seal();
    memory.release(&[removed]).await;
    assert_eq!(memory.bodies.give_up_missing(NOW).await.unwrap(), 1);
    let done = memory.bodies.maintain(NOW).await.unwrap();
    assert_eq!((done.missing, done.packs_emptied, done.packs_deleted), (0, 1, 1));
    assert!(memory.bodies.get(kept).await.unwrap() == message(2, b""));
    assert!(matches!(memory.bodies.get(lost).await, Err(BodyError::Damaged { .. })));
    assert_eq!(memory.bodies.give_up_missing(NOW).await.unwrap(), 0);
}
