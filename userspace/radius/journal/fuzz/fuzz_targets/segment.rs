//! A segment's file.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_journal::fuzzing::segment(data));
