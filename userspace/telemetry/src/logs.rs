//! The log, as text for people and as JSON for machines.

use std::io::IsTerminal;

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One line of text for each event, in colour on a terminal.
    #[default]
    Text,
    /// One JSON object for each event.
    Json,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// What needs a person now.
    Error,
    /// What will need one.
    Warn,
    /// What changed.
    #[default]
    Info,
    /// What a developer asks for.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// All levels, from quiet to loud.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The level's name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Starts logging to standard error for the whole process. The environment variable `RUST_LOG`
/// overrides `level` (syntax of tracing's `EnvFilter`).
///
/// # Errors
///
/// When logging was started before; the first start stays in force.
pub fn start(level: Level, format: Format) -> Result<(), AlreadyStarted> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level.name()));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    match format {
        // Under systemd the journal has its own clock.
        Format::Text if std::env::var_os("JOURNAL_STREAM").is_some() => {
            builder.without_time().try_init()
        }
        Format::Text => builder.try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|_| AlreadyStarted)
}

/// Logging was started before in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyStarted;

impl std::fmt::Display for AlreadyStarted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("logging was started before in this process")
    }
}

impl std::error::Error for AlreadyStarted {}
