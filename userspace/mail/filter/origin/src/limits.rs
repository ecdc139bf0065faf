//! How much is read, asked and verified for one message.

use std::time::Duration;

/// How much is read, asked and verified for one message. What lies beyond counts as not there, or as not verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// How long questions may take, all of them together. What is not answered by then is not known.
    pub time: Duration,
    /// Questions to the DNS. SPF asks at most 10 terms with 10 hosts each, DMARC some 8 for each domain, DKIM one for each
    /// signature; good mail needs about ten in all.
    pub questions: usize,
    /// Records of an answer that are looked at.
    pub records: usize,
    /// Octets of a TXT record; larger ones count as not there. A key of 4096 bits has 750, an SPF record of 512 is too long.
    pub text: usize,
    /// Octets of the header in which signatures are looked for. Without its end among them, nothing is verified.
    pub header: usize,
    /// Fields of the header; with more, nothing is verified.
    pub fields: usize,
    /// Octets of the body up to which it is hashed.
    pub body: usize,
    /// Signatures that are verified, those of the author's domain first.
    pub signatures: usize,
    /// Names of fields in a signature. Each is looked for among all fields.
    pub signed_fields: usize,
    /// Bits of an RSA key: RFC 8301 section 3.2 has 1024 as the least and 4096 as what every verifier takes.
    pub key: std::ops::RangeInclusive<usize>,
    /// Sets of ARC fields. RFC 8617 section 4.2.1 has 50; mail passes through three.
    pub sets: usize,
    /// Octets of a message from which it is hashed beside those who wait for others.
    pub aside: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_millis(1_500),
            questions: 100,
            records: 100,
            text: 4 << 10,
            header: 256 << 10,
            fields: 1_000,
            body: 64 << 20,
            signatures: 8,
            signed_fields: 256,
            key: 1024..=4096,
            sets: 10,
            aside: 64 << 10,
        }
    }
}
