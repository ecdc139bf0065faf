//! Signs what our users send: DKIM (RFC 6376) with RSA and Ed25519 (RFC 8463), relaxed in header and body.
//!
//! A message is signed by the domain of its `From`, or by one above it, with the newest active key of each algorithm that the
//! directory has. Fields whose absence could be used are signed once more than they are there (RFC 6376 section 8.15), so that
//! nobody adds a second `From` that a mail program would show instead.

mod canonical;
mod key;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use muralla_mail_directory::{Directory, DkimAlgorithm, DkimKeyEntry};
use muralla_mail_envelope::{Domain, scan};
use parking_lot::Mutex;
use tokio::task::spawn_blocking;
use tracing::error;

pub use key::{KeyError, SigningKey, new_key};

/// Signs with the directory's keys. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Signer {
    directory: Directory,
    known: Arc<Mutex<Known>>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    signed: AtomicU64,
    unsigned: AtomicU64,
    failed: AtomicU64,
}

/// What became of messages that were to be signed, since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct DkimStatus {
    /// They were.
    pub signed: u64,
    /// They were not, as there is no active key for their author's domain.
    pub unsigned: u64,
    /// They were not, although there is one: it can't be used, or the message's header is none.
    pub failed: u64,
}

/// Keys that were read, by domain and selector, with the time at which they were entered; none where they can't be used.
type Known = HashMap<(Domain, String), (i64, Option<Arc<SigningKey>>)>;

/// What signs, and where its public half is published.
struct Hand {
    domain: Domain,
    selector: String,
    key: Arc<SigningKey>,
}

/// Fields that are signed even where they are not there, and once more where they are.
const ALWAYS: [&str; 5] = ["from", "reply-to", "subject", "to", "cc"];

/// Fields that are signed where they are there, and once more.
const IF_THERE: [&str; 14] = [
    "sender",
    "date",
    "message-id",
    "in-reply-to",
    "references",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "list-id",
    "list-help",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "list-post",
    "autocrypt",
];

/// Octets of a message from which it is hashed beside those who wait for others.
const LARGE: usize = 64 << 10;

impl Signer {
    pub(crate) fn new(directory: Directory) -> Self {
        Self { directory, known: Arc::default(), counters: Arc::default() }
    }

    pub(crate) fn status(&self) -> DkimStatus {
        let Counters { signed, unsigned, failed } = &*self.counters;
        DkimStatus {
            signed: signed.load(Relaxed),
            unsigned: unsigned.load(Relaxed),
            failed: failed.load(Relaxed),
        }
    }

    /// The fields that sign a message whose author is of that domain; empty if there is no key for it. `head` stands above
    /// `message`, and `now` is in seconds since 1970.
    pub(crate) async fn sign(
        &self,
        author: &Domain,
        head: &str,
        message: &Bytes,
        now: i64,
    ) -> String {
        let Some(hands) = self.hands(author) else {
            self.counters.unsigned.fetch_add(1, Relaxed);
            return String::new();
        };
        let signed = if message.len() < LARGE {
            signatures(&hands, head, message, now)
        } else {
            let (head, message) = (head.to_owned(), message.clone());
            let signed = spawn_blocking(move || signatures(&hands, &head, &message, now));
            signed.await.unwrap_or_default()
        };
        let counters = &self.counters;
        let counter = if signed.is_empty() { &counters.failed } else { &counters.signed };
        counter.fetch_add(1, Relaxed);
        signed
    }

    /// The newest key of each algorithm that can be used, of the domain itself or of the nearest one above it that has any; nothing if
    /// none has.
    fn hands(&self, author: &Domain) -> Option<Vec<Hand>> {
        let mut domain = Some(author.clone());
        while let Some(signing) = domain {
            let keys = self.directory.dkim_keys(&signing);
            if !keys.is_empty() {
                let newest =
                    [DkimAlgorithm::RsaSha256, DkimAlgorithm::Ed25519Sha256].map(|wanted| {
                        keys.iter()
                            .filter(|key| key.algorithm == wanted)
                            .find_map(|key| self.hand(key))
                    });
                return Some(newest.into_iter().flatten().collect());
            }
            let above = signing.as_str().split_once('.').map(|(_, above)| above.to_owned());
            domain = above.and_then(|above| Domain::parse(&above).ok());
        }
        None
    }

    fn hand(&self, entry: &DkimKeyEntry) -> Option<Hand> {
        let name = (entry.domain.clone(), entry.selector.clone());
        let mut known = self.known.lock();
        let key = match known.get(&name).filter(|(created, _)| *created == entry.created) {
            Some((_, key)) => key.clone(),
            None => {
                let read = SigningKey::read(entry.algorithm, entry.private_key.reveal());
                let key = match read {
                    Ok(key) => Some(Arc::new(key)),
                    Err(error) => {
                        error!(domain = %entry.domain, selector = entry.selector, %error,
                            "mail is not signed with this DKIM key");
                        None
                    }
                };
                known.insert(name, (entry.created, key.clone()));
                key
            }
        };
        Some(Hand { domain: entry.domain.clone(), selector: entry.selector.clone(), key: key? })
    }
}

/// The domain of a message's author, by its first `From`.
pub(crate) fn author(message: &[u8]) -> Option<Domain> {
    let from = scan::first(message, "From")?;
    let authors = scan::addresses(&from.text(), 1)?;
    authors.first()?.domain().cloned()
}

fn signatures(hands: &[Hand], head: &str, message: &[u8], now: i64) -> String {
    // What is no header to one reader and is to another can't be signed for both.
    let header = scan::header_length(message);
    let Some((fields, body)) = message.split_at_checked(header) else { return String::new() };
    if !(body.is_empty() || fields.ends_with(b"\r\n\r\n") || fields == b"\r\n") {
        return String::new();
    }
    let hash = canonical::body_hash(body);
    let fields: Vec<_> = scan::fields(head.as_bytes()).chain(scan::fields(message)).collect();
    let mut all = String::new();
    for hand in hands {
        match hand.sign(&fields, &hash, now) {
            Ok(signature) => all.push_str(&signature),
            Err(error) => {
                error!(domain = %hand.domain, selector = hand.selector, %error, "a message is not signed");
            }
        }
    }
    all
}

impl Hand {
    fn sign(
        &self,
        fields: &[scan::Field<'_>],
        body_hash: &[u8],
        now: i64,
    ) -> Result<String, KeyError> {
        let mut names = Vec::new();
        let mut signed = Vec::new();
        for (name, always) in
            ALWAYS.map(|name| (name, true)).into_iter().chain(IF_THERE.map(|name| (name, false)))
        {
            // From the bottom, as whoever verifies takes them: section 5.4.2.
            let there = fields.iter().rev().filter(|field| field.is(name));
            let before = names.len();
            for field in there {
                names.push(name);
                canonical::field(field, &mut signed);
                signed.extend_from_slice(b"\r\n");
            }
            if always || names.len() > before {
                names.push(name);
            }
        }
        let mut out = String::from("DKIM-Signature: v=1;");
        let mut column = out.len();
        let tags = [
            format!("a={};", self.key.algorithm().name()),
            "c=relaxed/relaxed;".to_owned(),
            format!("d={};", self.domain),
            format!("s={};", self.selector),
            format!("t={now};"),
        ];
        let (last, others) = names.split_last().map_or(("", &[][..]), |(last, rest)| (*last, rest));
        let names = others.iter().map(|name| format!("{name}:")).chain([format!("{last};")]);
        let names = names.enumerate().map(|(at, name)| match at {
            0 => (true, format!("h={name}")),
            _ => (false, name),
        });
        let hash = format!("bh={};", data_encoding::BASE64.encode(body_hash));
        let tags = tags.into_iter().map(|tag| (true, tag));
        for (apart, piece) in tags.chain(names).chain([(true, hash)]) {
            canonical::push(&mut out, &mut column, apart, &piece);
        }
        out.push_str("\r\n\tb=");
        // Its own field is signed, too, without its signature and the end of its line: section 3.7.
        let own = scan::fields(out.as_bytes()).next();
        if let Some(own) = own {
            canonical::field(&own, &mut signed);
        }
        let signature = data_encoding::BASE64.encode(&self.key.sign(&signed)?);
        let mut rest = signature.as_str();
        while !rest.is_empty() {
            let (line, behind) = rest.split_at_checked(72).unwrap_or((rest, ""));
            out.push_str(line);
            out.push_str(if behind.is_empty() { "\r\n" } else { "\r\n\t" });
            rest = behind;
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests;
