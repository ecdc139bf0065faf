//! Bodies, mailboxes and transfer on both engines: a file of SQLite, and a PostgreSQL that each test starts for itself.
#![cfg(test)]

mod adversity;
mod bodies;
mod common;
mod mailboxes;
mod rejects;
mod transfer;
