//! A cookie option's data, from a client of the server that checks it.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_dns_wire::fuzzing::cookie(data));
