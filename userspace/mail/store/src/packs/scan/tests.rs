use proptest::prelude::*;

use super::*;
use crate::frame::{Coding, Frame, Subject};
use crate::packs::Identity;
use crate::packs::memory::MemoryPacks;

const SEED: u32 = 77;

fn frame(id: i64, length: usize) -> Frame {
    let content = Bytes::from(vec![id as u8; length]);
    let subject = Subject::Message { id, digest: [0; 16] };
    Frame::new(subject, Coding::Stored, 0, length, Bytes::new(), content).unwrap()
}

async fn pack(packs: &MemoryPacks, lengths: &[usize]) -> Vec<Place> {
    let frames = lengths.iter().zip(1..).map(|(length, id)| frame(id, *length)).collect();
    packs.append(frames, &Identity::new(1, SEED)).await.unwrap()
}

async fn walk(packs: &MemoryPacks, pack: PackId) -> (Vec<Place>, Vec<(u64, u64, bool)>) {
    let mut scan = Scan::new(packs, pack, SEED);
    let (mut frames, mut gaps) = (Vec::new(), Vec::new());
    while let Some(found) = scan.next().await.unwrap() {
        match found {
            Found::Frame { place, .. } => frames.push(place),
            Found::Gap { start, end, last, .. } => gaps.push((start, end, last)),
        }
    }
    (frames, gaps)
}

#[tokio::test]
async fn every_frame_is_found() {
    let packs = MemoryPacks::default();
    let places = pack(&packs, &[0, 1, 1000, 70_000, 5, 9 << 20, 17]).await;
    assert_eq!(walk(&packs, places[0].pack).await, (places, vec![]));
}

#[tokio::test]
async fn damage_costs_what_it_hit() {
    let lengths = [100, 200, 300, 400];
    for (what, at, lost) in [
        ("a payload", 60, 0..1),
        ("a header", 20, 1..2),
        ("a length", 16, 2..3),
        ("a magic number", 0, 3..4),
    ] {
        let packs = MemoryPacks::default();
        let places = pack(&packs, &lengths).await;
        let hit = places[lost.start];
        packs.spoil(hit.pack, |bytes| bytes[hit.start as usize + at] ^= 0x40);
        let (frames, gaps) = walk(&packs, hit.pack).await;
        let rest: Vec<Place> = places
            .iter()
            .enumerate()
            .filter(|(at, _)| !lost.contains(at))
            .map(|(_, at)| *at)
            .collect();
        assert_eq!(frames, rest, "{what}");
        let end = hit.start + u64::from(hit.length);
        assert_eq!(gaps, [(hit.start, end, lost.end == places.len())], "{what}");
    }
}

#[tokio::test]
async fn a_torn_end_is_the_last_gap() {
    let packs = MemoryPacks::default();
    let places = pack(&packs, &[100, 200]).await;
    let last = places[1];
    for cut in [1, 51, 52, 100, u64::from(last.length) - 1] {
        let packs = MemoryPacks::default();
        let places = pack(&packs, &[100, 200]).await;
        let end = last.start + cut;
        packs.spoil(last.pack, |bytes| bytes.truncate(end as usize));
        let walked = walk(&packs, last.pack).await;
        assert_eq!(walked, (vec![places[0]], vec![(last.start, end, true)]), "{cut}");
    }
    // And one of zeros, as a file system leaves it.
    packs.spoil(last.pack, |bytes| bytes[last.start as usize..].fill(0));
    let end = last.start + u64::from(last.length);
    assert_eq!(walk(&packs, last.pack).await.1, [(last.start, end, true)]);
}

#[tokio::test]
async fn another_s_frames_are_none() {
    let packs = MemoryPacks::default();
    let inside = Bytes::from(frame(9, 50).pieces(SEED + 1).concat());
    let subject = Subject::Message { id: 1, digest: [0; 16] };
    let length = inside.len();
    let holding = Frame::new(subject, Coding::Stored, 0, length, Bytes::new(), inside).unwrap();
    let places = packs.append(vec![holding, frame(2, 10)], &Identity::new(1, SEED)).await.unwrap();
    // The header around it is lost; what the sender wrote does not take its place.
    packs.spoil(places[0].pack, |bytes| bytes[places[0].start as usize + 20] ^= 1);
    assert_eq!(walk(&packs, places[0].pack).await.0, [places[1]]);
}

#[tokio::test]
async fn a_pack_without_its_head() {
    let packs = MemoryPacks::default();
    let places = pack(&packs, &[100]).await;
    packs.spoil(places[0].pack, |bytes| bytes[3] ^= 1);
    let (frames, gaps) = walk(&packs, places[0].pack).await;
    assert_eq!((frames, gaps), (places.clone(), vec![(0, 32, false)]));
    packs.spoil(places[0].pack, Vec::clear);
    assert_eq!(walk(&packs, places[0].pack).await, (vec![], vec![]));
    packs.spoil(places[0].pack, |bytes| bytes.extend_from_slice(b"short"));
    assert_eq!(walk(&packs, places[0].pack).await, (vec![], vec![(0, 5, true)]));
}

proptest! {
    #[test]
    fn any_damage_is_survived(
        lengths in prop::collection::vec(0..400usize, 1..8),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let packs = MemoryPacks::default();
            let places = pack(&packs, &lengths).await;
            let id = places[0].pack;
            let mut hit = Vec::new();
            packs.spoil(id, |bytes| {
                bytes.truncate(cut.index(bytes.len()) + 1);
                for (at, byte) in damage {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                    hit.push(at as u64);
                }
            });
            let length = packs.packs()[0].1 as u64;
            let (frames, gaps) = walk(&packs, id).await;
            // What was not hit is found, and all bytes are accounted for, in order.
            for place in &places {
                let range = place.start..place.start + u64::from(place.length);
                if range.end <= length && !hit.iter().any(|at| range.contains(at)) {
                    assert!(frames.contains(place), "{place:?}");
                }
            }
            let mut all: Vec<(u64, u64)> = gaps.iter().map(|(start, end, _)| (*start, *end)).collect();
            all.extend(frames.iter().map(|at| (at.start, at.start + u64::from(at.length))));
            all.sort();
            for pair in all.windows(2) {
                assert_eq!(pair[0].1, pair[1].0, "{all:?}");
            }
            assert_eq!(all.last().map_or(32.min(length), |last| last.1), length);
        });
    }
}
