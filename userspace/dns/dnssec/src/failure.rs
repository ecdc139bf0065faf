//! Why something is bogus.

use std::fmt;

use hickory_proto::rr::{Name, RecordType};

/// Why something is bogus (or, where a variant says so, why a zone can't be validated at all).
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The RRset is not signed.
    #[error("{name} {rtype} is not signed")]
    SignatureMissing {
        /// The RRset's owner.
        name: Name,
        /// The RRset's type.
        rtype: RecordType,
    },
    /// The signature is over.
    #[error("the signature over {name} {rtype} expired {ago} seconds ago")]
    SignatureExpired {
        /// The RRset's owner.
        name: Name,
        /// The RRset's type.
        rtype: RecordType,
        /// Seconds since then.
        ago: u32,
    },
    /// The signature is for the future.
    #[error("the signature over {name} {rtype} becomes valid in {wait} seconds only")]
    SignatureNotYetValid {
        /// The RRset's owner.
        name: Name,
        /// The RRset's type.
        rtype: RecordType,
        /// Seconds until then.
        wait: u32,
    },
    /// The signature ends before it begins.
    #[error("the signature over {name} {rtype} expires before it becomes valid")]
    SignatureNeverValid {
        /// The RRset's owner.
        name: Name,
        /// The RRset's type.
        rtype: RecordType,
    },
    /// The signature is not the key's, or not over these records.
    #[error("the signature over {name} {rtype} by key {tag} is wrong")]
    SignatureInvalid {
        /// The RRset's owner.
        name: Name,
        /// The RRset's type.
        rtype: RecordType,
        /// The key's tag.
        tag: u16,
    },
    /// The signature can't be for this RRset: made in another zone's name, or with a count of labels that does not
    /// fit (RFC 4035 section 5.3.1).
    #[error("the signature over {name} {rtype} does not belong there: {why}")]
    SignatureMisplaced {
        /// The RRset's owner.
        name: Name,
        /// The RRset's type.
        rtype: RecordType,
        /// What does not fit.
        why: &'static str,
    },
    /// The zone has no key such as the signature names.
    #[error("the zone has no key {tag} of algorithm {algorithm}, which signed {name} {rtype}")]
    NoKeyFits {
        /// The RRset's owner.
        name: Name,
        /// The RRset's type.
        rtype: RecordType,
        /// The key tag in the signature.
        tag: u16,
        /// The algorithm's number.
        algorithm: u8,
    },
    /// No DNSKEY record fits the DS records or the trust anchors.
    #[error("{zone} has no DNSKEY record that fits its DS records or trust anchors")]
    DnskeyMissing {
        /// The zone.
        zone: Name,
    },
    /// The key that the DS records or trust anchors point at is not a zone key, or was revoked.
    #[error("key {tag} of {zone} is no zone key, or was revoked")]
    NotAZoneKey {
        /// The zone.
        zone: Name,
        /// The key's tag.
        tag: u16,
    },
    /// The key can't be used: broken, or an RSA key below 1,024 or above 4,096 bits.
    #[error("key {tag} of {zone} is too short, too long or broken")]
    KeyUnusable {
        /// The zone.
        zone: Name,
        /// The key's tag.
        tag: u16,
    },
    /// Every algorithm is unknown: the zone counts as insecure (RFC 4035 section 5.2).
    #[error("no algorithm of {zone}'s DS records or trust anchors is supported")]
    UnsupportedAlgorithm {
        /// The zone.
        zone: Name,
    },
    /// Every digest is unknown: the zone counts as insecure (RFC 4035 section 5.2).
    #[error("no digest of {zone}'s DS records is supported")]
    UnsupportedDigest {
        /// The zone.
        zone: Name,
    },
    /// The records don't prove what the response claims.
    #[error("nothing proves that {name} {claim}")]
    DenialMissing {
        /// The name it is about.
        name: Name,
        /// What the response claims.
        claim: Claim,
    },
    /// NSEC3 with so many iterations that it isn't even taken for insecure (RFC 9276 section 3.2).
    #[error("{zone} asks for {iterations} NSEC3 iterations")]
    UnsupportedNsec3Iterations {
        /// The zone.
        zone: Name,
        /// Iterations.
        iterations: u16,
    },
    /// The records given are not one RRset, or not of the zone whose keys are to verify them.
    #[error("{name} {rtype}: {why}")]
    NotAnRrset {
        /// The first record's owner.
        name: Name,
        /// The first record's type.
        rtype: RecordType,
        /// What does not fit.
        why: &'static str,
    },
    /// Validation would cost more than one question may.
    #[error("validation costs more than one question may")]
    TooMuchWork,
}

impl Failure {
    /// The INFO-CODE of the extended error (RFC 8914, and IANA's registry) that says it best.
    pub fn code(&self) -> u16 {
        match self {
            Self::UnsupportedAlgorithm { .. } => 1,
            Self::UnsupportedDigest { .. } => 2,
            Self::SignatureInvalid { .. }
            | Self::SignatureMisplaced { .. }
            | Self::KeyUnusable { .. }
            | Self::NotAnRrset { .. }
            | Self::TooMuchWork => 6,
            Self::SignatureExpired { .. } => 7,
            Self::SignatureNotYetValid { .. } => 8,
            Self::DnskeyMissing { .. } | Self::NoKeyFits { .. } => 9,
            Self::SignatureMissing { .. } => 10,
            Self::NotAZoneKey { .. } => 11,
            Self::DenialMissing { .. } => 12,
            Self::SignatureNeverValid { .. } => 25,
            Self::UnsupportedNsec3Iterations { .. } => 27,
        }
    }

    /// How much a failure tells, where several signatures failed each in its way.
    pub(crate) fn weight(&self) -> u8 {
        match self {
            Self::TooMuchWork => 7,
            Self::SignatureInvalid { .. } => 6,
            Self::SignatureExpired { .. } => 5,
            Self::SignatureNotYetValid { .. } => 4,
            Self::SignatureNeverValid { .. } => 3,
            Self::NoKeyFits { .. } => 2,
            Self::SignatureMisplaced { .. } => 1,
            _ => 0,
        }
    }
}

/// What a response claims and has to prove.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Claim {
    /// The name has no records of the type.
    NoData(RecordType),
    /// The name does not exist, and no wildcard answers for it.
    NoName,
    /// No name exists that is closer than the wildcard which answered.
    NoCloser,
    /// The name is an unsigned delegation, or none.
    NoDs,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoData(rtype) => write!(f, "has no {rtype} records"),
            Self::NoName => f.write_str("does not exist"),
            Self::NoCloser => f.write_str("is rightly answered by a wildcard"),
            Self::NoDs => f.write_str("is delegated without DS records, or not at all"),
        }
    }
}
