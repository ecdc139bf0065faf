//! What the directory promises, on SQLite and on PostgreSQL alike.
#![cfg(test)]

mod common;
mod following;
mod logins;
mod rows;
