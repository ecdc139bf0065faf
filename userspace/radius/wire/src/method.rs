//! How a user proves to know a password: compared with what is stored, the password itself or its NT hash.
//!
//! | method | password | NT hash | other hashes |
//! |---|---|---|---|
//! | PAP | yes | yes | yes, by whoever computes them from what [`hidden::password`](crate::hidden::password) reveals |
//! | [`chap`] | yes | no | no |
//! | [`mschap`], [`mschap2`] | yes, through [`mschap::nt_hash`] | yes | no |

pub mod chap;
pub mod mschap;
pub mod mschap2;

mod des;

/// Why an offer can't be verified, whoever made it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unusable {
    /// The response has another length than its method wants.
    #[error("the response has a length that its method does not know")]
    Response,
    /// There is no challenge, or it has another length than its method wants.
    #[error("the challenge is missing, or has a length that its method does not know")]
    Challenge,
    /// MS-CHAP with nothing but a LAN Manager response, of which no server should take any.
    #[error("the client sent only a LAN Manager response: let it use MS-CHAPv2")]
    LanManager,
}
