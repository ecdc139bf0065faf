//! What the fuzz targets do with arbitrary bytes: each function panics if a promise is broken.

use bytes::{Bytes, BytesMut};

use crate::imap::answers::{Answer, greeting};
use crate::imap::exchange::{Command, Exchange, Step};
use crate::imap::folders::choose;
use crate::imap::frames::Frames;
use crate::options::Choice;
use crate::pop3::replies::{Lines, Reply, numbered};
use crate::received::received;

/// Bytes of a literal, and of a message.
const MOST: usize = 1_000;

/// An IMAP server that says anything at all, in two chunkings: both are understood alike. The first octet says how large the chunks are.
pub fn imap(bytes: &[u8]) {
    let [size, said @ ..] = bytes else { return };
    let whole = frames(&[said]);
    let chunks: Vec<&[u8]> = said.chunks(usize::from(*size).max(1)).collect();
    assert_eq!(whole, frames(&chunks));
    let (mut exchange, _) = Exchange::begin(1, Command::new("NOOP").string(said), 10);
    let mut folders = Vec::new();
    for frame in &whole {
        let _ = greeting(frame);
        let answer = Answer::read(frame);
        if let Answer::Message(message) = &answer
            && let Some(raw) = &message.raw
        {
            assert!(raw.len() <= frame.len());
            let _ = received(raw, i64::MAX);
        }
        if let Answer::Folder(folder) = &answer {
            folders.push(folder.clone());
        }
        if let Ok(Step::Done(_)) | Err(_) = exchange.hear(answer) {
            break;
        }
    }
    let _ = choose(&folders, &[b"~".to_vec()], &Choice::default(), &mut Vec::new());
}

fn frames(chunks: &[&[u8]]) -> Vec<Bytes> {
    let (mut frames, mut input, mut found) = (Frames::new(MOST), BytesMut::new(), Vec::new());
    for chunk in chunks {
        input.extend_from_slice(chunk);
        loop {
            match frames.take(&mut input) {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(_) => return found,
            }
        }
    }
    found
}

/// The same of a POP3 server.
pub fn pop3(bytes: &[u8]) {
    let [size, said @ ..] = bytes else { return };
    let chunks: Vec<&[u8]> = said.chunks(usize::from(*size).max(1)).collect();
    assert_eq!(lines(&[said]), lines(&chunks));
    let mut input = BytesMut::from(said);
    while let Ok(Some(_)) = Reply::take(&mut input) {}
    let _ = numbered(said, 100);
}

fn lines(chunks: &[&[u8]]) -> Option<Bytes> {
    let (mut lines, mut input) = (Lines::new(MOST), BytesMut::new());
    for chunk in chunks {
        input.extend_from_slice(chunk);
        match lines.take(&mut input) {
            Ok(None) => {}
            Ok(found) => return found,
            Err(_) => return None,
        }
    }
    None
}
