//! A payload from the journal.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_radius_accounting::fuzzing::payload(data));
