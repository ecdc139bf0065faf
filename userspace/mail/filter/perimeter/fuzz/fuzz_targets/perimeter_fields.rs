//! A message of which forged header fields are removed, and which gets others.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_filter_perimeter::fuzzing::fields(data));
