//! A client's side of a session, in pieces.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_smtp::fuzzing::session(data));
