//! How much of an archive is unpacked. Who packs more into a message than this wants the unpacker to break.

use std::fmt;

/// How much is unpacked, for all parts of a message together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// How deep archives lie in each other. A document with an embedded sheet in a ZIP in a RAR makes four.
    pub depth: usize,
    /// Files, all in all. Office documents have a hundred each.
    pub entries: usize,
    /// Octets that come out, all in all.
    pub total: usize,
    /// Octets that come out of one file.
    pub one: usize,
    /// How many times larger than packed a file may be. Text packs to a tenth, empty pages of an image to a hundredth.
    pub ratio: usize,
    /// Octets from which on the ratio counts: small files of zeros are harmless.
    pub ratio_from: usize,
    /// Octets of a dictionary, which are taken before anything is unpacked.
    pub dictionary: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 8,
            entries: 10_000,
            total: 128 << 20,
            one: 64 << 20,
            ratio: 250,
            ratio_from: 8 << 20,
            dictionary: 64 << 20,
        }
    }
}

/// Which limit was met: no second look will help.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Excess {
    /// [`Limits::depth`].
    Depth,
    /// [`Limits::entries`].
    Entries,
    /// [`Limits::total`].
    Total,
    /// [`Limits::one`].
    One,
    /// [`Limits::ratio`].
    Ratio,
    /// [`Limits::dictionary`].
    Dictionary,
    /// Files of an archive lie upon each other, so that the same octets are unpacked again and again.
    Overlap,
}

impl Excess {
    /// A short name, for logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Depth => "depth",
            Self::Entries => "entries",
            Self::Total => "total",
            Self::One => "one",
            Self::Ratio => "ratio",
            Self::Dictionary => "dictionary",
            Self::Overlap => "overlap",
        }
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Depth => "archives are packed into each other too often",
            Self::Entries => "it has far more files than are looked at",
            Self::Total => "what is packed in it is larger than what is looked at",
            Self::One => "a file that is packed in it is larger than what is looked at",
            Self::Ratio => "it unpacks to hundreds of times its size",
            Self::Dictionary => "unpacking it would take more memory than is given to it",
            Self::Overlap => "its files lie upon each other, as in no honest archive",
        })
    }
}
