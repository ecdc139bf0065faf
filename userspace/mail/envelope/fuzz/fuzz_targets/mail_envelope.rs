//! A message's header, its dots, and an envelope out of a spool.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_mail_envelope::fuzzing::message(data));
