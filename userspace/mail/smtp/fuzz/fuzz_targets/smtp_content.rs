//! Content of a message, in pieces.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_smtp::fuzzing::content(data));
