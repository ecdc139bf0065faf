//! How packets' bytes are reached, with every read checked.
//!
//! A frame is asked once for a [`Window`] of a constant size; reads inside a window can't fail. That is
//! the shape that the kernel's verifier follows: one comparison with `data_end`, then loads at constant
//! offsets.

/// A received frame.
pub trait Frame {
    /// What [`Frame::window`] lends.
    type Window: Window;

    /// Whether the frame has at least `len` bytes, also in parts that can't be reached.
    fn reaches(&self, len: u32) -> bool;

    /// The frame's length in bytes, if all of them can be reached.
    fn whole(&self) -> Option<u32>;

    /// The `size` bytes from offset `at` on; none if the frame ends before.
    fn window(&self, at: u32, size: u32) -> Option<Self::Window>;
}

/// A frame that can be changed in place.
pub trait FrameMut: Frame {
    /// What [`FrameMut::patch`] lends.
    type Patch<'a>: Patch
    where
        Self: 'a;

    /// The `size` bytes from offset `at` on, to be changed; none if the frame ends before.
    fn patch(&mut self, at: u32, size: u32) -> Option<Self::Patch<'_>>;

    /// Writes a big-endian 16-bit number; none if the frame ends before.
    #[inline(always)]
    fn put_u16(&mut self, at: u32, value: u16) -> Option<()> {
        self.patch(at, 2)?.put_u16(0, value);
        Some(())
    }

    /// Writes a big-endian 32-bit number; none if the frame ends before.
    #[inline(always)]
    fn put_u32(&mut self, at: u32, value: u32) -> Option<()> {
        self.patch(at, 4)?.put_u32(0, value);
        Some(())
    }
}

/// Some bytes of a frame that are known to be there, to be changed. Numbers are in network byte order. What a [`Window`]
/// of the same bytes says afterwards differs between the kernel, where it is the packet, and the host, where it is a
/// copy: it is to be read before.
///
/// Offsets must lie within the patch; beyond it a write does nothing on the host and is refused by the
/// verifier when the program is loaded.
pub trait Patch: Sized {
    /// Writes the byte at `at`.
    fn put_u8(self, at: u32, value: u8) -> Self;
    /// Writes the 16-bit number at `at`.
    fn put_u16(self, at: u32, value: u16) -> Self;
    /// Writes the 32-bit number at `at`.
    fn put_u32(self, at: u32, value: u32) -> Self;
}

/// Some bytes of a frame that are known to be there. Numbers are in network byte order.
///
/// Offsets must lie within the window; beyond it a read gives zero on the host and is refused by the
/// verifier when the program is loaded.
pub trait Window: Copy {
    /// The byte at `at`.
    fn u8(self, at: u32) -> u8;
    /// The 16-bit number at `at`.
    fn u16(self, at: u32) -> u16;
    /// The 32-bit number at `at`.
    fn u32(self, at: u32) -> u32;
    /// The 64-bit number at `at`.
    fn u64(self, at: u32) -> u64;
}

impl Frame for [u8] {
    type Window = HostWindow;

    fn reaches(&self, len: u32) -> bool {
        self.len() >= len as usize
    }

    fn whole(&self) -> Option<u32> {
        u32::try_from(self.len()).ok()
    }

    fn window(&self, at: u32, size: u32) -> Option<HostWindow> {
        let bytes = self.get(at as usize..)?.get(..size as usize)?;
        let mut window = HostWindow([0; HostWindow::MAX]);
        window.0.get_mut(..size as usize)?.copy_from_slice(bytes);
        Some(window)
    }
}

impl FrameMut for [u8] {
    type Patch<'a> = &'a mut [u8];

    fn patch(&mut self, at: u32, size: u32) -> Option<&mut [u8]> {
        self.get_mut(at as usize..)?.get_mut(..size as usize)
    }
}

impl Patch for &mut [u8] {
    fn put_u8(self, at: u32, value: u8) -> Self {
        write(self, at, [value])
    }

    fn put_u16(self, at: u32, value: u16) -> Self {
        write(self, at, value.to_be_bytes())
    }

    fn put_u32(self, at: u32, value: u32) -> Self {
        write(self, at, value.to_be_bytes())
    }
}

fn write<const N: usize>(to: &mut [u8], at: u32, bytes: [u8; N]) -> &mut [u8] {
    if let Some(to) = to.get_mut(at as usize..).and_then(|rest| rest.first_chunk_mut()) {
        *to = bytes;
    }
    to
}

/// A window of a frame that lies in a slice.
#[derive(Clone, Copy, Debug)]
pub struct HostWindow([u8; Self::MAX]);

impl HostWindow {
    /// Largest window that anything here asks for, in bytes.
    pub const MAX: usize = 64;

    fn array<const N: usize>(self, at: u32) -> [u8; N] {
        let at = at as usize;
        self.0.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
    }
}

impl Window for HostWindow {
    fn u8(self, at: u32) -> u8 {
        u8::from_be_bytes(self.array(at))
    }

    fn u16(self, at: u32) -> u16 {
        u16::from_be_bytes(self.array(at))
    }

    fn u32(self, at: u32) -> u32 {
        u32::from_be_bytes(self.array(at))
    }

    fn u64(self, at: u32) -> u64 {
        u64::from_be_bytes(self.array(at))
    }
}
