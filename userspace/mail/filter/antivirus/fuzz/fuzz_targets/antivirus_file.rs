//! A file, of whatever format.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_filter_antivirus::fuzzing::file(data));
