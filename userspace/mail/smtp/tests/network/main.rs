//! Servers and clients on connections.

#![cfg(test)]

mod common;
mod handing_over;
mod serving;
