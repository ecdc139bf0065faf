//! Servers that behave, that don't, and Dovecot; and what comes of them in a store.

#![cfg(test)]

mod dovecot;
mod house;
mod imap;
mod killed;
mod pop3;
mod script;
mod stores;
