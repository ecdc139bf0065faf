//! A datagram.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_radius_wire::fuzzing::packet(data));
