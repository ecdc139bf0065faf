//! A POP3 server that says anything, in two chunkings.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_mail_import::fuzzing::pop3(data));
