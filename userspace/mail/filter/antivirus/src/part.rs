//! What is looked at: a part of a message, its content decoded.

use bytes::Bytes;

/// A part of a message.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Part {
    /// Its file name, if it has one.
    pub name: Option<String>,
    /// The type that it says it has, in lower case: `application/pdf`.
    pub media: String,
    /// Whether it is the text or the page that is shown when the message is opened, and no file.
    pub shown: bool,
    /// Its content, decoded.
    pub content: Bytes,
}

impl Part {
    /// A file that is offered to be opened.
    #[must_use]
    pub fn file(name: impl Into<String>, content: impl Into<Bytes>) -> Self {
        Self {
            name: Some(name.into()),
            media: "application/octet-stream".to_owned(),
            shown: false,
            content: content.into(),
        }
    }

    /// A text that is shown.
    #[must_use]
    pub fn text(content: impl Into<Bytes>) -> Self {
        Self { name: None, media: "text/plain".to_owned(), shown: true, content: content.into() }
    }
}
