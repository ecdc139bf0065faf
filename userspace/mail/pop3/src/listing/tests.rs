use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn id(listing: &Listing, at: usize) -> String {
    let mut out = vec![];
    listing.write_unique_id(at, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn messages() {
    let mut listing = Listing::with_capacity(0x1a, 3);
    assert!(listing.is_empty());
    listing.push(1, 120);
    listing.push_named(7, 200, "000000e94d2bad5c").unwrap();
    listing.push(u64::MAX, u64::MAX);
    assert_eq!((listing.len(), listing.octets()), (3, u64::MAX));
    assert_eq!(listing.message(1), Some(Message { uid: 7, size: 200 }));
    assert_eq!(listing.message(3), None);
    assert_eq!(id(&listing, 0), "0000001a00000001");
    assert_eq!(id(&listing, 1), "000000e94d2bad5c");
    assert_eq!(id(&listing, 2), "0000001affffffffffffffff");
    assert_eq!(id(&listing, 3), "");
}

#[test]
fn ids_that_can_not_be() {
    let mut listing = Listing::default();
    let long = "a".repeat(71);
    for name in ["", "a b", "a\r", "\u{e9}", &long] {
        assert_eq!(listing.push_named(1, 1, name), Err(ListingError), "{name:?}");
    }
    assert!(listing.is_empty());
    assert_eq!(listing.push_named(1, 1, &long[1..]), Ok(()));
}

#[test]
fn small() {
    assert_eq!(size_of::<Message>(), 16);
}

proptest! {
    #[test]
    fn marks_are_a_set(positions in proptest::collection::vec(0usize..300, 0..100)) {
        let mut marks = Marks::default();
        let mut set = BTreeSet::new();
        for at in positions {
            prop_assert_eq!(marks.insert(at), set.insert(at));
            prop_assert!(marks.contains(at));
        }
        prop_assert_eq!(marks.count(), set.len());
        prop_assert!(marks.iter().eq(set.iter().copied()));
        for at in 0..310 {
            prop_assert_eq!(marks.contains(at), set.contains(&at));
        }
        marks.clear();
        prop_assert_eq!((marks.count(), marks.iter().count()), (0, 0));
    }
}
