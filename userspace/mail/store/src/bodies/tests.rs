use super::read::cut;
use super::*;

#[test]
fn headers_end_at_the_first_empty_line() {
    for (raw, length) in [
        ("", 0),
        ("Subject: x", 10),
        ("Subject: x\r\n", 12),
        ("Subject: x\r\n\r\n", 14),
        ("Subject: x\r\n\r\nbody\r\n\r\nmore", 14),
        ("Subject: x\n\nbody", 12),
        ("\r\nbody", 2),
        ("\nbody", 1),
        ("a: b\r\n \r\nc: d\r\n\r\n", 17),
    ] {
        assert_eq!(header_length(raw.as_bytes()), length, "{raw:?}");
    }
}

#[test]
fn what_was_just_read_is_kept_within_bounds() {
    let mut recent = Recent::default();
    for id in 0..10 {
        recent.keep(BodyId(id), Bytes::from(vec![0; 30]), 100);
        recent.keep(BodyId(id), Bytes::from(vec![0; 30]), 100);
    }
    let kept: Vec<i64> = recent.messages.iter().map(|(id, _)| id.0).collect();
    assert_eq!((kept, recent.bytes), (vec![7, 8, 9], 90));
    assert!(recent.find(BodyId(9)).is_some() && recent.find(BodyId(1)).is_none());
    recent.keep(BodyId(50), Bytes::from(vec![0; 101]), 100);
    assert_eq!(recent.bytes, 90, "what is larger than all is not kept");
}

#[test]
fn ranges_end_with_the_message() {
    let message = Bytes::from_static(b"0123456789");
    for (range, part) in
        [(0..4, "0123"), (8..20, "89"), (10..11, ""), (30..40, ""), (0..u64::MAX, "0123456789")]
    {
        assert_eq!(cut(&message, &range), part, "{range:?}");
    }
}

/// Whoever calls us is a task of tokio's.
#[test]
fn tasks_can_do_all_of_it() {
    fn is_send<T: Send>(_: impl FnOnce(&'static Bodies, &'static mut Work) -> T) {}
    const NOBODY: BodyId = BodyId(1);
    is_send(|bodies, _| bodies.put(Bytes::new()));
    is_send(|bodies, work| bodies.insert(work, &[]));
    is_send(|bodies, work| bodies.retain(work, &[(NOBODY, 1)]));
    is_send(|bodies, work| bodies.release(work, &[(NOBODY, 1)]));
    is_send(|bodies, _| bodies.get(NOBODY));
    is_send(|bodies, _| bodies.get_range(NOBODY, 0..1));
    is_send(|bodies, _| bodies.head(NOBODY, 1));
    is_send(|bodies, _| bodies.get_many(&[NOBODY]));
    is_send(|bodies, _| bodies.train(1));
    is_send(|bodies, _| bodies.maintain(1));
    is_send(|bodies, _| bodies.check(|_| ()));
}
