//! What a request says of the message: header fields, whichever way they came.

use std::io::Read;

use bytes::Bytes;
use muralla_mail_envelope::TlsFacts;

use crate::question::{Origin, Party, Question, Way, crlf, ip, name, told};

/// What is said beside the message.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct About {
    pub(super) sender: Option<Party>,
    pub(super) recipients: Vec<Party>,
    deliver_to: Option<Party>,
    origin: Origin,
    queue_id: Option<String>,
    settings: Option<String>,
    thorough: bool,
    pub(super) password: Option<Vec<u8>>,
    /// Whether the body is compressed.
    compressed: bool,
    /// A field that has us read the message where it is not.
    elsewhere: Option<&'static str>,
    tls: TlsFacts,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum BadRequest {
    #[error("the field {0} is not taken: the message has to be in the request, as it is")]
    Elsewhere(&'static str),
    #[error("the body is not what zstd makes")]
    Compression,
}

/// What zstd's frames begin with.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Largest window of a compressed body, as a power of two: a decoder takes as much memory.
const LARGEST_WINDOW: u32 = 23;

impl About {
    /// Reads fields. Of recipients, so many are kept.
    pub(super) fn read<'a>(fields: impl Iterator<Item = (&'a str, &'a [u8])>, most: usize) -> Self {
        let mut about = Self::default();
        for (field, value) in fields {
            about.field(field, value, most);
        }
        if !about.tls.version.is_empty() {
            about.origin.tls = Some(std::mem::take(&mut about.tls));
        }
        about
    }

    fn field(&mut self, field: &str, octets: &[u8], most: usize) {
        let value = String::from_utf8_lossy(octets);
        let value = value.trim();
        match &*field.to_ascii_lowercase() {
            "from" => self.sender = Some(Party::parse(value)),
            "rcpt" => {
                for one in list(value) {
                    if self.recipients.len() < most {
                        self.recipients.push(Party::parse(one));
                    }
                }
            }
            "deliver-to" => self.deliver_to = Some(Party::parse(value)),
            "ip" => self.origin.ip = ip(value),
            "helo" => self.origin.helo = told(value),
            "hostname" => self.origin.name = name(value),
            "user" => self.origin.authenticated = told(value),
            "queue-id" => self.queue_id = told(value),
            "settings-id" => self.settings = told(value),
            "tls-version" => self.tls.version = told(value).unwrap_or_default(),
            "tls-cipher" => self.tls.cipher = told(value).unwrap_or_default(),
            "pass" => self.thorough |= value.eq_ignore_ascii_case("all"),
            "flags" => self.flags(value),
            "password" => self.password = Some(octets.to_vec()),
            "compression" | "content-encoding" => {
                self.compressed |= value.eq_ignore_ascii_case("zstd");
            }
            // The message is in shared memory, in a file, or encrypted.
            "shm" => self.elsewhere = Some("Shm"),
            "file" | "path" => self.elsewhere = Some("File"),
            "key" => self.elsewhere = Some("Key"),
            _ => {}
        }
    }

    fn flags(&mut self, value: &str) {
        for flag in value.split(',').map(str::trim) {
            self.thorough |= flag.eq_ignore_ascii_case("pass_all");
        }
    }

    /// Octets of memory that the message of a body may take, copies included.
    pub(super) fn memory(&self, body: &[u8], largest: usize) -> usize {
        match (self.elsewhere, self.is_compressed(body)) {
            (Some(_), _) => 0,
            (None, true) => largest.saturating_mul(2),
            (None, false) => body.len().saturating_mul(2),
        }
    }

    fn is_compressed(&self, body: &[u8]) -> bool {
        self.compressed || body.starts_with(&MAGIC)
    }

    /// For whom a message is: the one that it is delivered to, where that is known.
    pub(super) fn user(&self) -> Option<Party> {
        self.deliver_to.clone().or_else(|| match &self.recipients[..] {
            [only] => Some(only.clone()),
            _ => None,
        })
    }

    /// The message of a body: at most so many octets, with whether that was all.
    pub(super) fn message(
        &self,
        body: Bytes,
        complete: bool,
        largest: usize,
    ) -> Result<(Bytes, bool), BadRequest> {
        if let Some(field) = self.elsewhere {
            return Err(BadRequest::Elsewhere(field));
        }
        if !self.is_compressed(&body) {
            return Ok((crlf(body), complete));
        }
        let (message, all) = decompressed(&body, largest)?;
        Ok((crlf(message), complete && all))
    }

    pub(super) fn question(self, message: Bytes, complete: bool) -> Question {
        let recipients = match self.deliver_to {
            Some(one) => vec![one],
            None => self.recipients,
        };
        Question {
            way: Way::Http,
            origin: self.origin,
            sender: self.sender,
            recipients,
            queue_id: self.queue_id,
            settings: self.settings,
            thorough: self.thorough,
            message,
            complete,
        }
    }
}

/// At most so many octets of what was compressed, and whether that was all.
pub(super) fn decompressed(body: &[u8], largest: usize) -> Result<(Bytes, bool), BadRequest> {
    let mut decoder =
        zstd::stream::read::Decoder::new(body).map_err(|_| BadRequest::Compression)?;
    decoder.window_log_max(LARGEST_WINDOW).map_err(|_| BadRequest::Compression)?;
    let most = u64::try_from(largest).unwrap_or(u64::MAX).saturating_add(1);
    let mut message = Vec::new();
    decoder.take(most).read_to_end(&mut message).map_err(|_| BadRequest::Compression)?;
    let all = message.len() <= largest;
    message.truncate(largest);
    Ok((Bytes::from(message), all))
}

/// Parts between commas, which count for nothing inside quotes.
fn list(value: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    value
        .split(move |char| {
            quoted ^= char == '"';
            char == ',' && !quoted
        })
        .map(str::trim)
        .filter(|one| !one.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(fields: &[(&str, &str)]) -> About {
        About::read(fields.iter().map(|(name, value)| (*name, value.as_bytes())), 4)
    }

    #[test]
    fn fields() {
        let read = about(&[
            ("From", "<a@example.org>"),
            ("Rcpt", "b@example.net"),
            ("rcpt", "<c@example.net>, \"d,e\"@example.net"),
            ("IP", "192.0.2.1"),
            ("Helo", "mail.example.org"),
            ("Hostname", "mail.example.org"),
            ("User", "ann"),
            ("Queue-Id", "4F1"),
            ("Settings-ID", "strict"),
            ("Flags", "milter, pass_all"),
            ("TLS-Version", "TLSv1.3"),
            ("TLS-Cipher", "TLS_AES_128_GCM_SHA256"),
        ]);
        assert_eq!(read.user(), None, "several");
        let question = read.question(Bytes::from_static(b"a: b\r\n\r\n"), true);
        assert_eq!(question.sender, Some(Party::parse("a@example.org")));
        let recipients: Vec<&str> = question.recipients.iter().map(|one| &*one.said).collect();
        assert_eq!(recipients, ["b@example.net", "c@example.net", "\"d,e\"@example.net"]);
        assert_eq!(question.origin.ip, Some([192, 0, 2, 1].into()));
        assert_eq!(question.origin.authenticated.as_deref(), Some("ann"));
        assert_eq!(question.origin.tls.unwrap().cipher, "TLS_AES_128_GCM_SHA256");
        assert_eq!(question.settings.as_deref(), Some("strict"));
        assert!(question.thorough);

        let read = about(&[("Rcpt", "b@example.net"), ("Deliver-To", "c@example.net")]);
        assert_eq!(read.user(), Some(Party::parse("c@example.net")));
        let question = read.question(Bytes::new(), true);
        assert_eq!(question.recipients, [Party::parse("c@example.net")]);

        let read = about(&[("Rcpt", "a@b.example,".repeat(10).as_str()), ("Pass", "all")]);
        assert_eq!(read.recipients.len(), 4);
    }

    #[test]
    fn bodies() {
        let plain = b"a: b\n\nc\n";
        let packed = zstd::encode_all(&plain[..], 3).unwrap();
        let zeros = zstd::encode_all(&vec![0; 1 << 20][..], 3).unwrap();
        let spelled = [("Compression", "zstd")];
        for (fields, body, expected) in [
            (&[][..], &plain[..], Ok((&b"a: b\r\n\r\nc\r\n"[..], true))),
            (&spelled, &packed, Ok((b"a: b\r\n\r\nc\r\n", true))),
            (&[], &packed, Ok((b"a: b\r\n\r\nc\r\n", true))),
            (&spelled, &zeros, Ok((&[0; 100], false))),
            (&spelled, plain, Err(BadRequest::Compression)),
            (&spelled, &packed[..packed.len() - 3], Err(BadRequest::Compression)),
            (&[("Shm", "/rspamd")], b"", Err(BadRequest::Elsewhere("Shm"))),
            (&[("File", "/etc/passwd")], b"", Err(BadRequest::Elsewhere("File"))),
            (&[("Key", "abc")], b"xyz", Err(BadRequest::Elsewhere("Key"))),
        ] {
            let read = about(fields).message(Bytes::copy_from_slice(body), true, 100);
            let expected = expected.map(|(body, all)| (Bytes::copy_from_slice(body), all));
            assert_eq!(read, expected, "{fields:?}");
        }
    }
}
