//! A segment's file as a journal wrote it, and what happened to it since.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_journal::fuzzing::damaged(data));
