//! The roles across real sockets, on both engines.

#![cfg(test)]

mod bounces;
mod crashes;
mod database;
mod filtering;
mod house;
mod mx;
mod operators;
mod outages;
mod outgoing;
mod pop3;
mod rejects;
mod submission;
mod talk;
mod transport;
mod upgrades;
