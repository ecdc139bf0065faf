//! A client's half of SASL's dialogs.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_mail_envelope::fuzzing::sasl(data));
