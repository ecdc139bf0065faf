//! The queue on both engines: a file of SQLite, and a PostgreSQL that each test starts for itself.
#![cfg(test)]

mod chance;
mod common;
mod crashes;
mod destinations;
mod endings;
mod leases;
mod operators;
mod queue;
mod stand;
