//! Our own rules, and what they say of a file. `applied` has the engine, `missing` is what there is without one.

#[cfg(feature = "rules")]
mod applied;
#[cfg(not(feature = "rules"))]
mod missing;

#[cfg(feature = "rules")]
pub(crate) use applied::{look, prepare};
#[cfg(not(feature = "rules"))]
pub(crate) use missing::{look, prepare};

/// What is compiled: name and text.
pub(crate) const SOURCES: &[(&str, &str)] = &[
    ("tests", include_str!("../rules/tests.yar")),
    ("programs", include_str!("../rules/programs.yar")),
    ("names", include_str!("../rules/names.yar")),
    ("archives", include_str!("../rules/archives.yar")),
    ("documents", include_str!("../rules/documents.yar")),
    ("pages", include_str!("../rules/pages.yar")),
];

/// What a rule says of a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Hit {
    pub(crate) name: String,
    pub(crate) reason: String,
    pub(crate) weight: u8,
    /// Whether it is dangerous, and not only odd.
    pub(crate) found: bool,
}

/// Why nothing was said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Silence {
    #[cfg_attr(not(feature = "rules"), expect(dead_code, reason = "who is not there is not late"))]
    Late,
    Failed,
}
