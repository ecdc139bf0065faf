//! What the state promises, on SQLite and on PostgreSQL alike.
#![cfg(test)]

mod accounting;
mod claims;
mod common;
mod entries;
mod images;
mod leases;
mod operators;
mod pools;
mod takeover;
