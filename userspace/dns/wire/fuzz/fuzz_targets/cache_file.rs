//! A saved cache.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_dns_wire::fuzzing::cache_file(data));
