//! How a response is asked for, and the response.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_dns_wire::fuzzing::answer(data));
