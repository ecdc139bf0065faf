//! The attributes of a packet.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_radius_dictionary::fuzzing::decode(data));
