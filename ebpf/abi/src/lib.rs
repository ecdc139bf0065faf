//! What the kernel side and userspace share, defined once.
//!
//! Everything here is a pure function of its arguments: time and randomness are passed in, packets and
//! maps are reached through small traits. So the code that the verifier accepts is the code that the
//! host's tests, properties and fuzzers run.
//!
//! - [`verdict`]: what happens to a packet, and the one reason for it
//! - [`sample`]: the record of a packet that userspace gets to see
#![no_std]

pub mod sample;
pub mod verdict;
