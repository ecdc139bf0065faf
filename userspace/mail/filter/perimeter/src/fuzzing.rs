//! What the fuzz targets and the tests do with any bytes: each function panics if a promise is broken.

#![expect(clippy::expect_used, reason = "panics are its findings")]

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::fields::{HeaderField, edited};
use crate::http;
use crate::milter::{Session, Step};
use crate::policy::{Marks, Policy};
use crate::proxy;
use crate::verdict::{Outcome, Verdict};

/// Octets of a message that the session keeps.
const LARGEST: usize = 10_000;

/// A milter's session, with bytes that come in pieces of that size.
pub fn milter_in_pieces(data: &[u8], piece: usize) {
    let mut session = Session::new(Arc::new(Policy::default()), LARGEST, 10);
    let head = vec![HeaderField::new("X-Muralla", "a").expect("a name")];
    let verdict = Verdict { outcomes: vec![Outcome::Spam; 10], head, ..Verdict::default() };
    let mut input = BytesMut::new();
    for piece in data.chunks(piece.max(1)) {
        input.extend_from_slice(piece);
        loop {
            match session.step(&mut input) {
                Err(_) | Ok(Step::Close) => return,
                Ok(Step::Read) => break,
                Ok(Step::Judge(question)) => {
                    assert!(question.message.len() <= LARGEST, "too much was kept");
                    assert!(question.recipients.len() <= 10, "too many were kept");
                    let text = question.queue_id.as_deref().unwrap_or_default();
                    assert!(!text.contains(char::is_control), "a control in a name");
                    assert!(session.judged(&verdict).is_some(), "nothing was asked");
                }
            }
        }
        assert!(session.memory() <= 2 * LARGEST + 64, "too much memory");
    }
}

/// A milter's session, by its first octet in pieces of that size.
pub fn milter(data: &[u8]) {
    let Some((&piece, data)) = data.split_first() else { return };
    milter_in_pieces(data, usize::from(piece));
}

/// A message of which forged fields are removed, and which gets others.
pub fn fields(data: &[u8]) {
    let message = Bytes::copy_from_slice(data);
    let marks = Marks::default();
    let forged = |name: &[u8], value: &[u8]| marks.is_forged(name, value);
    let field = HeaderField::new("X-Above", &String::from_utf8_lossy(data)).expect("a name");
    let mut above = String::new();
    field.write(&mut above);
    let once = edited(&message, forged, "");
    assert!(once.len() <= message.len(), "something was added");
    let twice = edited(&message, forged, &above);
    assert!(twice.ends_with(&once), "something else was changed");
}

/// The first lines of a request as old clients of rspamd write them, and the attributes that a proxy is told.
pub fn lines(data: &[u8]) {
    http::fuzz(data);
    proxy::fuzz(data);
}
