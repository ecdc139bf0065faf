//! Figures that `cargo xtask bench mail` measures: what it prints at its end, without `--quick`, is what stands here. A figure whose
//! part has not been run yet says what it is instead.
//!
//! The page of the documentation shows them as well; a test says what it has to have.

use super::{Figure, figure};

/// Bytes in packs for each byte of mail, before redundancy.
pub const STORED: Figure = figure(
    "bytes stored per byte of mail",
    0.37,
    "base64 decoded, trained dictionaries, level 3: 0.36 to 0.38; until `bench mail`, storage, is run",
);

/// Bytes of tables and indexes for each byte of mail.
pub const INDEX: Figure = figure(
    "bytes of index per byte of mail",
    0.03,
    "the budget of `bench mail`, storage, until it is run",
);

/// Messages that a core takes in a second, made durable.
pub const ACCEPTED: Figure = figure(
    "messages accepted a second and core",
    1_000.0,
    "judgement, until `bench mail`, accept, is run",
);

/// Messages that a core hands on in a second.
pub const SENT: Figure = figure(
    "messages sent a second and core",
    500.0,
    "the target: 1,000 on two cores, until `bench mail`, outgoing, is run",
);

/// POP3 sessions that a core serves in a second, mail fetched.
pub const SESSIONS: Figure =
    figure("POP3 sessions a second and core", 300.0, "judgement, until `bench mail`, pop3, is run");

/// Seconds of processor time that PostgreSQL and three nodes of an object store take together for 1,000 messages that come.
pub const ENGINES: Figure = figure(
    "core-seconds of database and store for 1,000 messages",
    4.0,
    "judgement, until `bench mail`, cluster, is run",
);
