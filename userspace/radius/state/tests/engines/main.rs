//! What the state promises, on SQLite and on PostgreSQL alike.
#![cfg(test)]

mod accounting;
mod common;
mod entries;
mod leases;
mod takeover;
