//! A snapshot of sessions.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_radius_accounting::fuzzing::snapshot(data));
