//! What the directory promises, on SQLite and on PostgreSQL alike.
#![cfg(test)]

#[macro_use]
mod common;

mod following;
mod logins;
mod rows;
