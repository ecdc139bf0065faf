//! Where something in the queue goes, as its destination says it: a domain, or one of ours.

use std::fmt;

use muralla_mail_directory::BackendId;

/// Where it goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Route {
    /// To a mailbox in our store: the folder that it is for.
    Store {
        /// Inbox, Spam, or another.
        folder: String,
    },
    /// To another store or server of the operator's.
    Backend(BackendId),
    /// To whoever takes mail for a domain, or to an address literal with its brackets.
    Domain(String),
}

// No domain has a slash in it.
const STORE: &str = "store/";
const BACKEND: &str = "backend/";

impl Route {
    /// Reads what [`Route`]'s text says.
    pub(crate) fn parse(text: &str) -> Self {
        if let Some(folder) = text.strip_prefix(STORE) {
            return Self::Store { folder: folder.to_owned() };
        }
        match text.strip_prefix(BACKEND).and_then(|id| id.parse().ok()) {
            Some(id) => Self::Backend(BackendId(id)),
            None => Self::Domain(text.to_owned()),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store { folder } => write!(out, "{STORE}{folder}"),
            Self::Backend(id) => write!(out, "{BACKEND}{id}"),
            Self::Domain(domain) => out.write_str(domain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back() {
        for (text, route) in [
            ("store/Inbox", Route::Store { folder: "Inbox".into() }),
            ("store/Lists/rust", Route::Store { folder: "Lists/rust".into() }),
            ("backend/7", Route::Backend(BackendId(7))),
            ("backend/-1", Route::Backend(BackendId::MISSING)),
            ("example.org", Route::Domain("example.org".into())),
            ("[192.0.2.1]", Route::Domain("[192.0.2.1]".into())),
            ("store", Route::Domain("store".into())),
        ] {
            assert_eq!(Route::parse(text), route);
            assert_eq!(route.to_string(), text);
        }
    }
}
