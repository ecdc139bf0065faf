//! Packets, as the shared code wants them.

use core::arch::asm;

use aya_ebpf::helpers::generated::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes, bpf_xdp_store_bytes};
use aya_ebpf::programs::XdpContext;
use muralla_abi::frame::{Frame, FrameMut, Patch, Window};
use muralla_abi::headers::MAX_END;

/// The bytes of a received frame that lie in its first buffer.
///
/// `data` and `data_end` are kept as numbers: read again after a helper call, they would be new pointers to
/// the verifier, and every check made before would be forgotten.
#[derive(Clone, Copy)]
pub struct XdpFrame<'a> {
    ctx: &'a XdpContext,
    data: usize,
    end: usize,
}

impl<'a> XdpFrame<'a> {
    /// The frame of a context. To be made anew after the packet was resized.
    #[inline(always)]
    pub fn new(ctx: &'a XdpContext) -> Self {
        Self { ctx, data: ctx.data(), end: ctx.data_end() }
    }

    /// Bytes in the first buffer: all of the frame, but for one larger than a page.
    #[inline(always)]
    pub fn len(&self) -> u32 {
        (self.end - self.data) as u32
    }
}

/// The same number, but any number to the verifier, which doesn't know the other.
#[inline(always)]
pub fn opaque(mut number: u64, unknown: u64) -> u64 {
    // SAFETY: twice the same exclusive or changes nothing; the verifier doesn't follow that.
    unsafe {
        asm!(
            "{number} ^= {unknown}",
            "{number} ^= {unknown}",
            number = inout(reg) number,
            unknown = in(reg) unknown,
            options(pure, nomem, nostack),
        );
    }
    number
}

/// The same number, of which the compiler no longer knows how it was made.
#[inline(always)]
fn register(mut number: usize) -> usize {
    // SAFETY: a register is moved to itself; the kernel wants an instruction for each line of code.
    unsafe { asm!("{0} = {0}", inout(reg) number, options(pure, nomem, nostack)) };
    number
}

/// Some bytes of a packet that were checked to be there.
#[derive(Clone, Copy)]
pub struct PacketWindow(usize);

impl Frame for XdpFrame<'_> {
    type Window = PacketWindow;

    #[inline(always)]
    fn reaches(&self, len: u32) -> bool {
        // The helper is for jumbo frames alone: most packets are spared the call.
        // SAFETY: the context is valid for the run of the program; the helper only reads it.
        self.len() >= len || unsafe { bpf_xdp_get_buff_len(self.ctx.ctx) } >= u64::from(len)
    }

    #[inline(always)]
    fn whole(&self) -> Option<u32> {
        // SAFETY: the context is valid for the run of the program; the helper only reads it.
        let whole = unsafe { bpf_xdp_get_buff_len(self.ctx.ctx) };
        (whole == u64::from(self.len())).then_some(whole as u32)
    }

    #[inline(always)]
    fn window(&self, at: u32, size: u32) -> Option<PacketWindow> {
        // One register for a check and for what follows from it: derived twice, it would be checked for nothing.
        let at = register(at as usize);
        if at > MAX_END as usize {
            return None;
        }
        let start = register(self.data + at);
        if start + size as usize > self.end {
            return None;
        }
        Some(PacketWindow(start))
    }
}

impl Window for PacketWindow {
    #[inline(always)]
    fn u8(self, at: u32) -> u8 {
        // SAFETY: the verifier refuses a program in which the window doesn't hold the byte.
        unsafe { *((self.0 + at as usize) as *const u8) }
    }

    #[inline(always)]
    fn u16(self, at: u32) -> u16 {
        let (from, value): (usize, u64);
        from = self.0 + at as usize;
        // Packets are not aligned; the kernel allows it where the machine does, and takes one load.
        // SAFETY: as above.
        unsafe {
            asm!("{v} = *(u16 *)({p} + 0)", v = out(reg) value, p = in(reg) from, options(readonly, nostack));
        }
        (value as u16).swap_bytes()
    }

    #[inline(always)]
    fn u32(self, at: u32) -> u32 {
        let (from, value): (usize, u64);
        from = self.0 + at as usize;
        // SAFETY: as above.
        unsafe {
            asm!("{v} = *(u32 *)({p} + 0)", v = out(reg) value, p = in(reg) from, options(readonly, nostack));
        }
        (value as u32).swap_bytes()
    }

    #[inline(always)]
    fn u64(self, at: u32) -> u64 {
        let (from, value): (usize, u64);
        from = self.0 + at as usize;
        // SAFETY: as above.
        unsafe {
            asm!("{v} = *(u64 *)({p} + 0)", v = out(reg) value, p = in(reg) from, options(readonly, nostack));
        }
        value.swap_bytes()
    }
}

impl FrameMut for XdpFrame<'_> {
    type Patch<'b>
        = PacketWindow
    where
        Self: 'b;

    #[inline(always)]
    fn patch(&mut self, at: u32, size: u32) -> Option<PacketWindow> {
        self.window(at, size)
    }
}

impl Patch for PacketWindow {
    #[inline(always)]
    fn put_u8(self, at: u32, value: u8) -> Self {
        // SAFETY: the verifier refuses a program in which the window doesn't hold the byte; XDP may write to packets.
        unsafe { *((self.0 + at as usize) as *mut u8) = value };
        self
    }

    #[inline(always)]
    fn put_u16(self, at: u32, value: u16) -> Self {
        let to = self.0 + at as usize;
        let value = u64::from(value.swap_bytes());
        // SAFETY: as above.
        unsafe {
            asm!("*(u16 *)({p} + 0) = {v}", p = in(reg) to, v = in(reg) value, options(nostack))
        };
        self
    }

    #[inline(always)]
    fn put_u32(self, at: u32, value: u32) -> Self {
        let to = self.0 + at as usize;
        let value = u64::from(value.swap_bytes());
        // SAFETY: as above.
        unsafe {
            asm!("*(u32 *)({p} + 0) = {v}", p = in(reg) to, v = in(reg) value, options(nostack))
        };
        self
    }
}

/// Copies the first `len` bytes of the frame, from 1 to the size of `to`.
#[inline(always)]
pub fn copy(ctx: &XdpContext, to: *mut u8, len: u32) -> bool {
    // SAFETY: the verifier bounds `len` by the memory at `to`.
    unsafe { bpf_xdp_load_bytes(ctx.ctx, 0, to.cast(), len) == 0 }
}

/// Writes `len` bytes, from 1 to the size of what is at `from`, into the frame at `at`. What was known of the packet is
/// to be asked anew.
#[inline(always)]
pub fn store(ctx: &XdpContext, at: u32, from: *const u8, len: u32) -> bool {
    // SAFETY: the verifier bounds `len` by the memory at `from`.
    unsafe { bpf_xdp_store_bytes(ctx.ctx, at, from.cast_mut().cast(), len) == 0 }
}
