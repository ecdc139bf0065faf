//! What the state promises, on SQLite and on PostgreSQL alike.
#![cfg(test)]

#[macro_use]
mod common;

mod accounting;
mod entries;
mod leases;
