//! Where the state lies.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where the state lies. Its texts never show a password.
#[derive(Clone, Eq, PartialEq)]
pub enum Location {
    /// A file of SQLite, for one server.
    Sqlite(PathBuf),
    /// A database of PostgreSQL, for any number of servers: `postgres://user:password@host/database`, and
    /// `?host=/run/postgresql` for a Unix socket.
    Postgres(String),
}

impl Location {
    /// The engine's name, as people know it.
    #[must_use]
    pub fn engine(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
        }
    }
}

/// Why a text is no location. It never holds what stands before an `@`, which may be a password.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LocationError {
    /// Of another engine.
    #[error("{0}:// is no engine that is known: write {HOW}")]
    Engine(String),
    /// Neither a file nor a URL.
    #[error("it is neither a file nor a URL: write {HOW}")]
    Neither,
}

/// What may be written.
const HOW: &str = "a file's path for SQLite, or postgres://user:password@host/database";

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.to_owned()));
        }
        let path = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:"));
        if let Some(path) = path.filter(|path| !path.is_empty()) {
            return Ok(Self::Sqlite(path.into()));
        }
        if let Some((scheme, _)) = text.split_once("://") {
            // What is no scheme (RFC 3986 section 3.1) may be anything, and is not repeated.
            let known = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
            return Err(match !scheme.is_empty() && scheme.bytes().all(known) {
                true => LocationError::Engine(scheme.to_owned()),
                false => LocationError::Neither,
            });
        }
        // `user:password@host`, or a URL with a slash too few: as a file's name it would be shown to everybody.
        let file = text.starts_with(['/', '.']) || !text.contains('@') && !text.contains(':');
        if file && !text.is_empty() {
            Ok(Self::Sqlite(text.into()))
        } else {
            Err(LocationError::Neither)
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "{}", path.display()),
            Self::Postgres(url) => f.write_str(&without_secrets(url)),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({self})", self.engine())
    }
}

/// The URL without its password, and without parameters, which may hold one as well.
fn without_secrets(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", url));
    // A password may hold an unquoted `@` or `/`: the last `@` ends it.
    match rest.rsplit_once('@') {
        None => format!("{scheme}://{rest}"),
        Some((who, place)) => {
            let user = who.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}@{place}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_show_no_password() {
        for (text, shown) in [
            ("postgres://u:secret@host:5432/radius", "postgres://u@host:5432/radius"),
            ("postgresql://u:se@cr/et@host/radius?password=secret", "postgresql://u@host/radius"),
            ("postgres:///radius?host=/run/postgresql&user=u", "postgres:///radius"),
            ("sqlite:///var/lib/state.db", "/var/lib/state.db"),
            ("sqlite:state.db", "state.db"),
            (" /var/lib/state.db ", "/var/lib/state.db"),
        ] {
            let location: Location = text.parse().unwrap();
            assert_eq!(location.to_string(), shown);
            assert!(!format!("{location:?}").contains("secret"));
        }
        let debugged = format!("{:?}", "postgres://u:p@h/d".parse::<Location>().unwrap());
        assert_eq!(debugged, "PostgreSQL(postgres://u@h/d)");
    }

    #[test]
    fn what_is_no_location_is_refused_without_its_secret() {
        for (text, word) in [
            ("mysql://user:secret@host/radius", "mysql://"),
            ("Postgres://user:secret@host/radius", "Postgres://"),
            ("user:secret@host://radius", "neither"),
            ("://user:secret@host", "neither"),
            ("postgres:/user:secret@host/radius", "neither"),
            ("user:secret@host/radius", "neither"),
            ("host:5432/secret", "neither"),
            ("sqlite://", "sqlite://"),
            ("sqlite:", "neither"),
            ("", "neither"),
        ] {
            let error = text.parse::<Location>().unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("for SQLite"), "{text}: {error}");
            assert!(!error.contains("secret") && !error.contains("user:s"), "{text}: {error}");
        }
        for text in ["/srv/a@b:c.db", "./a@b.db", "../state.db", "state.db", "dir/state.db"] {
            assert_eq!(text.parse(), Ok(Location::Sqlite(text.into())));
        }
    }
}
