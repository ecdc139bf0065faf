//! A hidden value behind an authenticator.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_radius_wire::fuzzing::hidden(data));
