//! What the fuzz targets do with arbitrary bytes: each function panics if a promise is broken.

use crate::command;
use crate::handler::{MaildropError, Refused, ScramParameters};
use crate::listing::Listing;
use crate::session::{Session, Settings, Step};
use crate::transfer::Transfer;

/// A session with a client who says anything at all, in two chunkings: both hear the same. The first octet chooses how the
/// connection is, the second how large the chunks are.
pub fn session(bytes: &[u8]) {
    let [flags, size, said @ ..] = bytes else { return };
    let whole = converse(*flags, &[said]);
    let chunks: Vec<&[u8]> = said.chunks(usize::from(*size).max(1)).collect();
    assert_eq!(whole, converse(*flags, &chunks));
    let text = whole.0;
    assert!(text.starts_with(b"+OK ") && text.ends_with(b"\n"));
}

/// What a client hears who sends that in those chunks, and what was asked on his behalf. The password is `secret`.
fn converse(flags: u8, chunks: &[&[u8]]) -> (Vec<u8>, Vec<Step>) {
    let mut session = Session::new(Settings {
        name: "fuzz".to_owned(),
        encrypted: flags & 1 != 0,
        offers_tls: flags & 2 != 0,
        unencrypted_login: flags & 4 != 0,
        scram: flags & 16 == 0,
        expire_days: None,
        most_errors: 20,
        most_failures: 3,
        nonce: [7; 18],
        binding: (flags & 8 != 0).then_some([9; 32]),
    });
    let mut heard = vec![];
    let mut asked = vec![];
    let mut chunks = chunks.iter();
    loop {
        let step = session.step();
        heard.append(session.output());
        match &step {
            Step::Read => match chunks.next() {
                Some(chunk) => session.receive(chunk),
                None => return (heard, asked),
            },
            Step::Write => {}
            Step::StartTls => {
                // What follows would be TLS.
                return (heard, asked);
            }
            Step::Login { password, .. } if password.reveal() == b"secret" => {
                session.logged_in(Ok(listing()));
            }
            Step::Login { .. } => session.logged_in(Err(Refused::Credentials)),
            Step::Keys { .. } => {
                session.keys(Ok(ScramParameters { salt: vec![1; 16], iterations: 4096 }));
            }
            Step::Proof { proof, .. } if proof.first() == Some(&b'g') => {
                session.proved(Ok(&[1; 32]))
            }
            Step::Proof { .. } => session.proved(Err(Refused::Credentials)),
            Step::Enter => session.logged_in(Ok(listing())),
            Step::Retrieve { message, .. } if message.uid == 2 => {
                session.opened(Err(MaildropError::Gone));
            }
            Step::Retrieve { lines, .. } => {
                session.opened(Ok(()));
                heard.append(session.output());
                let mut transfer = Transfer::new(*lines);
                heard.extend(transfer.pieces(b"A: b\r\n\r\n.dot\r\n").flatten());
                heard.extend(transfer.ending());
            }
            Step::Commit(_) => session.committed(Ok(())),
            Step::Close(_) => {
                asked.push(step);
                return (heard, asked);
            }
        }
        if !matches!(step, Step::Read | Step::Write) {
            asked.push(step);
        }
    }
}

fn listing() -> Listing {
    let mut listing = Listing::default();
    for uid in 1..=3 {
        listing.push(uid, 14);
    }
    listing
}

/// A line.
pub fn command(line: &[u8]) {
    let _ = command::parse(line);
}
