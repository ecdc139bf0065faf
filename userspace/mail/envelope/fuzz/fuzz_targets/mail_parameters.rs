//! What stands behind the paths of MAIL FROM and RCPT TO, and replies.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| muralla_mail_envelope::fuzzing::parameters(text));
