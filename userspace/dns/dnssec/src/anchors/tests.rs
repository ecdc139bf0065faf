use hickory_proto::dnssec::TrustAnchors;

use super::*;
use crate::signer::{NOW, Signer, name};

#[test]
fn the_roots_keys_are_those_that_hickory_ships() {
    let root = Anchors::root();
    let anchor = root.closest(&name("www.example.")).unwrap();
    assert_eq!(anchor.zone, Name::root());
    assert!(anchor.supported());
    let known = TrustAnchors::default();
    assert_eq!(known.len(), ROOT.len());
    for index in 0..known.len() {
        let key = DNSKEY::with_flags(257, known.get(index).unwrap().clone());
        let tag = key.calculate_key_tag().unwrap();
        let ds = anchor.ds.iter().find(|ds| ds.key_tag() == tag).unwrap();
        assert!(ds.covers(&Name::root(), &key).unwrap(), "{tag}");
    }
}

#[test]
fn files_of_anchors() {
    let anchors = Anchors::parse(
        "; the root, as BIND and Unbound write it\n\
         . 172800 IN DNSKEY 257 3 15 ( ; in parts\n\
         \tAAAAAAAAAAAAAAAAAAAAAAAA\n\
         AAAAAAAAAAAAAAAAAAA= ) ;;state=2 [ VALID ]\n\
         \n\
         Example.ORG IN DS 1234 13 2 E06D44B80B8F1D39A95C0B0D7C65D084 58e880409bbc683457104237c7f8ec8d\n\
         example.org. DS 1 5 1 (0000000000000000000000000000000000000000)\r\n\
         example.org. 60 ds 1 ed448 99 00\n",
    )
    .unwrap();
    let zones: Vec<_> = anchors.iter().map(|anchor| anchor.zone.to_string()).collect();
    assert_eq!(zones, [".", "Example.ORG."]);
    assert_eq!(anchors.closest(&name("a.EXAMPLE.org.")).unwrap().ds.len(), 3);
    assert_eq!(anchors.closest(&name("org.")).unwrap().keys.len(), 1);

    let mut both = Anchors::root();
    both.extend(anchors);
    let root = both.closest(&Name::root()).unwrap();
    assert_eq!((root.ds.len(), root.keys.len()), (2, 1));
    assert!(Anchors::default().closest(&Name::root()).is_none());
}

#[test]
fn mistakes_name_their_line() {
    for (text, line, why) in [
        ("", 0, Mistake::Empty),
        ("; nothing\n\n", 0, Mistake::Empty),
        ("\n. IN A 192.0.2.1", 2, Mistake::NoType),
        (".", 1, Mistake::NoType),
        (". CH DS 1 8 2 00", 1, Mistake::NoType),
        (". DS", 1, Mistake::TooShort),
        (". DS 1 8", 1, Mistake::TooShort),
        ("a..b DS 1 8 2 00", 1, Mistake::Name),
        (". DS 65536 8 1 0000000000000000000000000000000000000000", 1, Mistake::Number),
        (". DS 1 8 2 00", 1, Mistake::Digest),
        (". DS 1 8 2", 1, Mistake::Digest),
        (". DS 1 8 99", 1, Mistake::Digest),
        (". DS 1 8 99 0", 1, Mistake::Digest),
        (". DS 1 8 99 zz", 1, Mistake::Digest),
        (". DNSKEY 257 3 15", 1, Mistake::TooShort),
        (". DNSKEY 257 3 15 ?", 1, Mistake::Key),
        (". DNSKEY 257 4 15 AA==", 1, Mistake::Protocol),
        (". DNSKEY 1 3 15 AA==", 1, Mistake::NotAZoneKey),
        (". DNSKEY 385 3 15 AA==", 1, Mistake::NotAZoneKey),
        (". DS 1 8 99 00\n. DNSKEY ( 257\n 3 15 ?\n)", 2, Mistake::Key),
        (". DS 1 8 99 00\n. DNSKEY ( 257\n 3 15 AA==", 2, Mistake::Parentheses),
        (". DS 1 8 99 00 )", 1, Mistake::Parentheses),
        (". DS ((1 8 99 00 ))", 1, Mistake::Parentheses),
        (". DS 1 8 99 00\n  DS 1 8 99 00", 2, Mistake::NoOwner),
        ("$ORIGIN example.", 1, Mistake::Name),
    ] {
        assert_eq!(Anchors::parse(text), Err(ParseError { line, why }), "{text:?}");
    }
    let error = Anchors::parse(". DS x 8 99 00").unwrap_err();
    assert_eq!(error.to_string(), "line 1: a number is wrong");
}

#[test]
fn digests_and_keys_serve_alike() {
    let (old, new) = (Signer::new("example."), Signer::new("example."));
    let ds = vec![old.ds(DigestType::SHA256)];
    let keys = vec![new.dnskey.clone()];
    let go = |signer: &Signer, ds: &[DS], keys: &[DNSKEY]| {
        let anchor = Anchor { zone: name("example."), ds: ds.to_vec(), keys: keys.to_vec() };
        let dnskeys = [old.record(), new.record()];
        let signatures = [signer.sign(&dnskeys)];
        anchor.trust(&dnskeys, &signatures, NOW, &mut Work::default()).map(|keys| keys.entry())
    };
    assert_eq!(go(&old, &ds, &keys), Ok(old.tag()));
    assert_eq!(go(&new, &ds, &keys), Ok(new.tag()));
    assert_eq!(go(&old, &ds, &[]), Ok(old.tag()));
    assert_eq!(go(&new, &[], &keys), Ok(new.tag()));
    assert!(go(&old, &[], &keys).is_err());
    assert!(go(&new, &ds, &[]).is_err());
}
