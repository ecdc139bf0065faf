//! The roles across real sockets, on both engines.

#![cfg(test)]

#[macro_use]
mod database;
mod crashes;
mod house;
mod mx;
mod outages;
mod outgoing;
mod pop3;
mod submission;
mod talk;
mod upgrades;
