//! A packet from a client.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_dns_wire::fuzzing::query(data));
