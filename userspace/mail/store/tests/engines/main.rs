//! Bodies, mailboxes and transfer on both engines: a file of SQLite, and a PostgreSQL that each test starts for itself.
#![cfg(test)]

#[macro_use]
mod common;

mod adversity;
mod bodies;
mod mailboxes;
mod transfer;
