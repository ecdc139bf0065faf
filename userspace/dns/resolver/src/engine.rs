//! What the DNS role asks of whoever resolves names for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, Record, RecordType};

use crate::trace::Trace;

/// Resolves names. It stands behind a trait so that it can be replaced, and so that the role is tested without
/// a network.
pub trait Engine: Send + Sync + 'static {
    /// Resolves one question of class IN, within the engine's budgets: the future ends by itself, with a failure if
    /// need be.
    fn resolve(&self, request: Request) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>>;
}

/// A question for an [`Engine`].
#[derive(Clone, Debug)]
pub struct Request {
    /// Name asked for. Its letter case doesn't matter.
    pub name: Name,
    /// Type asked for; never a meta type (OPT, ANY, AXFR, IXFR).
    pub rtype: RecordType,
    /// Whether the client checks signatures by itself (CD, RFC 4035 section 3.2.2): what fails validation is given
    /// all the same.
    pub checking_disabled: bool,
    /// Asks the Internet even if an answer is in the engine's own cache.
    pub refresh: bool,
    /// Told each step, where somebody wants to know.
    pub trace: Option<Arc<Trace>>,
}

/// The answer to a [`Request`]. Records hold the whole truth: RRSIG, NSEC and NSEC3 are among them where the zone is
/// signed, and it is for the caller to leave them out for clients that did not set DO.
#[derive(Clone, Debug)]
pub struct Answer {
    /// NOERROR, NXDOMAIN, or SERVFAIL if there is none.
    pub rcode: ResponseCode,
    /// The answer section: the CNAME chain first, in order.
    pub answers: Vec<Record>,
    /// SOA and proofs of a negative answer, proofs of a wildcard's expansion.
    pub authorities: Vec<Record>,
    /// What validation made of it.
    pub security: Security,
    /// Extended errors (RFC 8914) for the client.
    pub errors: Vec<ExtendedError>,
}

/// What validation made of an answer (RFC 4035 section 4.3).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Security {
    /// Every part is signed by a chain from a trust anchor.
    Secure,
    /// Proven to lie outside every signed zone, under a negative trust anchor, or not validated by configuration.
    #[default]
    Insecure,
    /// It should be signed and is not, or wrongly. The answer is SERVFAIL unless the client checks by itself.
    Bogus,
}

/// One extended error (RFC 8914).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExtendedError {
    /// INFO-CODE as registered with IANA.
    pub code: u16,
    /// EXTRA-TEXT: for people, short.
    pub text: String,
}

impl ExtendedError {
    /// Validation did not come to an end (RFC 8914 section 4.6).
    pub const DNSSEC_INDETERMINATE: u16 = 5;
    /// Validation failed, and none of the more exact codes fits.
    pub const DNSSEC_BOGUS: u16 = 6;
    /// The parent has a DS record, and no DNSKEY record fits it.
    pub const DNSKEY_MISSING: u16 = 9;
    /// No authoritative server could be reached.
    pub const NO_REACHABLE_AUTHORITY: u16 = 22;
    /// Servers answered with errors or nonsense, or not at all.
    pub const NETWORK_ERROR: u16 = 23;
}
