//! A dictionary file.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_radius_dictionary::fuzzing::dictionary(data));
