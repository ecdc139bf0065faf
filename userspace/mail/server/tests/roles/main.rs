//! The roles across real sockets, on both engines.

#![cfg(test)]

mod bounces;
mod crashes;
mod database;
mod house;
mod mx;
mod operators;
mod outages;
mod outgoing;
mod pop3;
mod submission;
mod talk;
mod transport;
mod upgrades;
