//! A server's replies, a load balancer's header, a command.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_smtp::fuzzing::others(data));
