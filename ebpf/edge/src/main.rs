//! The wall's programs: little more than glue between the kernel and `muralla-abi`.
//!
//! - [`clock`]: the wall's clock
//! - [`floor`]: the least that a program can do, to measure against
//! - [`frame`], [`lines`]: packets and maps, as the shared code wants them
//! - [`maps`]: the maps
//! - [`wall`]: the XDP program, which counts, samples and acts
//! - [`stages`]: how it decides
//! - [`handshake`]: notes who completed a TCP handshake with a socket of this machine
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod clock;
mod floor;
mod frame;
mod handshake;
mod lines;
mod maps;
mod stages;
mod wall;

/// The kernel lends its GPL-only helpers to programs that say so.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
