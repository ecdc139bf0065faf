//! Figures that `cargo xtask bench mail` measures: what it prints at its end, without `--quick`, is what stands here. A figure whose
//! part has not been run yet says what it is instead.
//!
//! The page of the documentation shows them as well; a test says what it has to have.

use super::{Figure, figure};

/// Bytes in packs for each byte of mail, before redundancy.
pub const STORED: Figure = figure(
    "bytes stored per byte of mail",
    0.376,
    "`bench mail` of 2026-12-01: storage.muralla.messages",
);

/// Bytes of tables and indexes for each byte of mail.
pub const INDEX: Figure = figure(
    "bytes of index per byte of mail",
    0.006,
    "`bench mail` of 2026-12-01: storage.muralla.index",
);

/// Messages that a core takes in a second, made durable.
pub const ACCEPTED: Figure = figure(
    "messages accepted a second and core",
    887.0,
    "`bench mail` of 2026-12-01: accept.40k.10.muralla.cost, accept.40k.50.muralla.cost",
);

/// Messages that a core hands on in a second.
pub const SENT: Figure = figure(
    "messages sent a second and core",
    2503.0,
    "`bench mail` of 2026-12-01: outgoing.muralla.cost",
);

/// POP3 sessions that a core serves in a second, mail fetched.
pub const SESSIONS: Figure = figure(
    "POP3 sessions a second and core",
    306.0,
    "`bench mail` of 2026-12-01: pop3.100.newest.muralla.cost",
);

/// Seconds of processor time that PostgreSQL and three nodes of an object store take together for 1,000 messages that come.
pub const ENGINES: Figure = figure(
    "core-seconds of database and store for 1,000 messages",
    0.901,
    "`bench mail` of 2026-12-01: cluster.one.cost.database, cluster.one.cost.garage",
);
