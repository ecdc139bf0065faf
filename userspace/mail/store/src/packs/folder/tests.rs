use super::*;
use crate::frame::{Coding, Subject};

fn frame(id: i64, length: usize) -> Frame {
    let content = Bytes::from(vec![id as u8; length]);
    let subject = Subject::Message { id, digest: [0; 16] };
    Frame::new(subject, Coding::Stored, 0, length, Bytes::new(), content).unwrap()
}

fn options() -> PackOptions {
    PackOptions { pack: 1 << 20, reserve: 0, queue: 1 << 20, ..PackOptions::default() }
}

fn open(folder: &Path) -> FolderPacks {
    FolderPacks::open(folder, options()).unwrap()
}

const WRITER: u32 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_share_an_fsync() {
    let folder = tempfile::tempdir().unwrap();
    let packs = Arc::new(open(&folder.path().join("deep/packs")));
    let identity = Identity::new(WRITER, 1);
    let tasks: Vec<_> = (0..400)
        .map(|id| {
            let (packs, identity) = (Arc::clone(&packs), identity.clone());
            tokio::spawn(async move {
                let frames = vec![frame(id, 100 + id as usize), frame(id + 1000, 10)];
                (id, packs.append(frames, &identity).await.unwrap())
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        let (id, places) = task.await.unwrap();
        assert_eq!(places.len(), 2);
        let read = packs.read(places[0]).await.unwrap();
        assert_eq!(read, frame(id, 100 + id as usize).pieces(1).concat());
        all.extend(places);
    }
    let status = packs.status();
    assert_eq!(status.frames, 800);
    assert!(status.syncs < 400, "{} syncs", status.syncs);
    assert_eq!(status.queued, 0);
    all.sort();
    for pair in all.windows(2) {
        assert!(
            pair[0].pack != pair[1].pack
                || pair[0].start + u64::from(pair[0].length) == pair[1].start
        );
    }
}

#[tokio::test]
async fn a_full_pack_is_sealed_and_another_begun() {
    let folder = tempfile::tempdir().unwrap();
    let packs = open(folder.path());
    let identity = Identity::new(WRITER, 1);
    let mut seen = Vec::new();
    for id in 0..5 {
        let places = packs.append(vec![frame(id, 600_000)], &identity).await.unwrap();
        seen.push(places[0].pack);
    }
    seen.dedup();
    assert_eq!(seen.len(), 3);
    assert!(packs.is_sealed(seen[0]).await.unwrap());
    assert!(!packs.is_sealed(seen[2]).await.unwrap());
    // Another process sees the same.
    let other = open(folder.path());
    assert!(!other.is_sealed(seen[2]).await.unwrap());
    packs.seal();
    packs.append(vec![frame(9, 1)], &identity).await.unwrap();
    assert!(other.is_sealed(seen[2]).await.unwrap());
    let listed: Vec<PackId> =
        other.list().await.unwrap().into_iter().map(|info| info.pack).collect();
    assert_eq!(listed.len(), 4);
    drop(packs);
    for pack in listed {
        assert!(other.is_sealed(pack).await.unwrap(), "its process has ended");
    }
}

#[tokio::test]
async fn two_processes_write_beside_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (open(folder.path()), open(folder.path()));
    let first = one.append(vec![frame(1, 10)], &Identity::new(1, 1)).await.unwrap()[0];
    let second = two.append(vec![frame(2, 10)], &Identity::new(2, 1)).await.unwrap()[0];
    assert_ne!(first.pack, second.pack);
    assert_eq!(one.read(second).await.unwrap(), frame(2, 10).pieces(1).concat());
    // Even if both were given the same number.
    let third = open(folder.path()).append(vec![frame(3, 10)], &Identity::new(1, 1)).await;
    assert_ne!(third.unwrap()[0].pack, first.pack);
    assert_eq!(two.read(first).await.unwrap(), frame(1, 10).pieces(1).concat());
}

#[tokio::test]
async fn a_deleted_pack_gives_its_room_back_to_whoever_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, reader) = (open(folder.path()), open(folder.path()));
    let place = writer.append(vec![frame(1, 100)], &Identity::new(1, 1)).await.unwrap()[0];
    reader.read(place).await.unwrap();
    writer.seal();
    writer.delete(place.pack).await.unwrap();
    writer.delete(place.pack).await.unwrap();
    for packs in [&writer, &reader] {
        assert!(matches!(packs.read(place).await, Err(PackError::Gone(_))));
    }
    assert_eq!(writer.list().await.unwrap(), []);
}

#[tokio::test]
async fn room_is_left_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let packs =
        FolderPacks::open(folder.path(), PackOptions { reserve: u64::MAX / 2, ..options() });
    let packs = packs.unwrap();
    let error = packs.append(vec![frame(1, 10)], &Identity::new(1, 1)).await.unwrap_err();
    assert!(matches!(error, PackError::Full(_)) && error.may_pass(), "{error}");
    assert_eq!(packs.list().await.unwrap(), [], "nothing is left of it");
    assert!(packs.status().last_error.is_some());
}

#[tokio::test]
async fn what_is_larger_than_the_queue_is_taken_alone() {
    let folder = tempfile::tempdir().unwrap();
    let packs = open(folder.path());
    let place = packs.append(vec![frame(1, 5 << 20)], &Identity::new(1, 1)).await.unwrap()[0];
    assert_eq!(packs.read(place).await.unwrap().len(), (5 << 20) + 52);
    assert_eq!(packs.append(Vec::new(), &Identity::new(1, 1)).await.unwrap(), []);
}

#[tokio::test]
async fn small_objects_are_kept_whole() {
    let folder = tempfile::tempdir().unwrap();
    let packs = open(folder.path());
    packs.keep("0000000a.dictionary".into(), Bytes::from_static(b"one")).await.unwrap();
    packs.keep("0000000a.dictionary".into(), Bytes::from_static(b"two")).await.unwrap();
    assert_eq!(packs.kept("0000000a.dictionary".into()).await.unwrap(), "two");
    assert_eq!(packs.all_kept().await.unwrap(), ["0000000a.dictionary"]);
    let missing = packs.kept("0000000b.dictionary".into()).await.unwrap_err();
    assert!(matches!(missing, PackError::Gone(_)), "{missing}");
    assert_eq!(packs.list().await.unwrap(), []);
}

#[test]
fn a_folder_that_can_not_be_used_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = FolderPacks::open(&file.join("packs"), options()).unwrap_err();
    assert!(matches!(error, PackError::Location { .. }), "{error}");
}
