//! The network card's cache, as this role sees it: it says what is hot, and is told what was asked.

use std::time::Duration;

use crate::report::NicStatus;

/// A cache that answers before any query gets here. It stands behind a trait, since the wall that has it is another
/// role's.
pub trait HotAnswers: Send {
    /// Has it answer.
    fn publish(&mut self, answer: &HotAnswer<'_>) -> Published;
    /// Has it answer no more.
    fn withdraw(&mut self, key: &HotKey);
    /// How often each was answered since the last call; those never answered may be left out.
    fn hits(&mut self) -> Vec<(HotKey, u64)>;
    /// Forgets everything, at once.
    fn flush(&mut self);
    /// Its state.
    fn status(&self) -> NicStatus;
}

/// What became of an answer that was to be published.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Published {
    /// It is given from now on.
    Given,
    /// There is no room at present, or no cache.
    NoRoom,
    /// It can't be held there: it is too large, say.
    Unfit,
}

/// What an answer in the network card's cache is for.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct HotKey {
    /// Name in wire form, lower-cased.
    pub name: Vec<u8>,
    /// Type.
    pub qtype: u16,
    /// Whether the query has the DO bit.
    pub dnssec_ok: bool,
    /// Whether the query has the CD bit.
    pub checking_disabled: bool,
}

/// An answer for the network card's cache.
#[derive(Clone, Debug)]
pub struct HotAnswer<'a> {
    /// The question.
    pub key: &'a HotKey,
    /// A whole response without OPT record, with id 0 and the lower-cased question, its times to live as of now. AD is
    /// set if it is validated, and is for those alone who asked with DO or AD.
    pub message: &'a [u8],
    /// When it ends.
    pub expires_in: Duration,
}
