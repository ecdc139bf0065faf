//! Writes samples as pcapng, so that Wireshark shows a drop with its reason beside it.
//!
//! Format: draft-ietf-opsawg-pcapng. One section, little-endian, nanoseconds.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use muralla_abi::sample::{SNAPLEN, Sample};

use crate::frame;

/// Longest comment, in bytes; longer ones are cut between two characters.
pub const MAX_COMMENT: usize = 1024;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const LINKTYPE_ETHERNET: u16 = 1;

const OPT_COMMENT: u16 = 1;
const SHB_HARDWARE: u16 = 2;
const SHB_OS: u16 = 3;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const EPB_FLAGS: u16 = 2;
/// Timestamps count 10^-9 seconds.
const NANOSECONDS: u8 = 9;
/// The flags' direction bits: received.
const INBOUND: u32 = 1;

/// Writes a capture, block by block, so that a reader may follow it while it grows.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
    boot: Duration,
    /// Number in the file by interface index.
    interfaces: BTreeMap<u32, u32>,
}

impl<W: Write> Writer<W> {
    /// Begins a capture with these interfaces, names by index.
    ///
    /// `boot` is the wall clock (since 1970) minus CLOCK_MONOTONIC, which samples are stamped with.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(out: W, interfaces: &BTreeMap<u32, String>, boot: Duration) -> io::Result<Self> {
        let mut writer = Self { out, boot, interfaces: BTreeMap::new() };
        writer.section()?;
        for (ifindex, name) in interfaces {
            writer.interface(*ifindex, name)?;
        }
        Ok(writer)
    }

    /// Adds a sample with its comment, which is left out when empty. An interface that was not
    /// known at the beginning is described before its first packet.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn packet(&mut self, sample: &Sample, comment: &str) -> io::Result<()> {
        let number = match self.interfaces.get(&sample.ifindex) {
            Some(number) => *number,
            None => self.interface(sample.ifindex, &format!("ifindex{}", sample.ifindex))?,
        };
        let frame = frame::bytes(sample);
        let captured = length32(frame.len());
        let time = self.boot.saturating_add(Duration::from_nanos(sample.time_ns)).as_nanos();
        let mut body = Body::default();
        body.u32(number);
        // 64 bits of nanoseconds last until 2554; the high half comes first in either byte order.
        body.u32((time >> 32) as u32);
        body.u32(time as u32);
        body.u32(captured);
        body.u32(sample.len.max(captured));
        body.padded(frame);
        if !comment.is_empty() {
            body.option(OPT_COMMENT, cut(comment, MAX_COMMENT).as_bytes());
        }
        body.option(EPB_FLAGS, &INBOUND.to_le_bytes());
        body.end_of_options();
        self.block(ENHANCED_PACKET, &body)
    }

    /// Hands on what the writer beneath holds back.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Gives back the writer beneath.
    pub fn into_inner(self) -> W {
        self.out
    }

    fn section(&mut self) -> io::Result<()> {
        let mut body = Body::default();
        body.u32(BYTE_ORDER_MAGIC);
        body.u16(1); // major
        body.u16(0); // minor
        body.bytes(&u64::MAX.to_le_bytes()); // the section's length is not known beforehand
        body.option(SHB_HARDWARE, std::env::consts::ARCH.as_bytes());
        body.option(SHB_OS, std::env::consts::OS.as_bytes());
        body.option(SHB_USERAPPL, concat!("muralla ", env!("CARGO_PKG_VERSION")).as_bytes());
        body.end_of_options();
        self.block(SECTION_HEADER, &body)
    }

    fn interface(&mut self, ifindex: u32, name: &str) -> io::Result<u32> {
        let number = length32(self.interfaces.len());
        let mut body = Body::default();
        body.u16(LINKTYPE_ETHERNET);
        body.u16(0); // reserved
        body.u32(length32(SNAPLEN));
        body.option(IF_NAME, cut(name, MAX_COMMENT).as_bytes());
        body.option(IF_TSRESOL, &[NANOSECONDS]);
        body.end_of_options();
        self.block(INTERFACE_DESCRIPTION, &body)?;
        self.interfaces.insert(ifindex, number);
        Ok(number)
    }

    /// One write for each block: a reader of a pipe never sees half of one for long.
    fn block(&mut self, kind: u32, body: &Body) -> io::Result<()> {
        let total = length32(body.0.len() + 12).to_le_bytes();
        let block = [&kind.to_le_bytes(), &total, body.0.as_slice(), &total].concat();
        self.out.write_all(&block)
    }
}

/// The inside of a block. Everything here is far below 4 GiB.
#[derive(Default)]
struct Body(Vec<u8>);

impl Body {
    fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Bytes with zeros up to the next multiple of four.
    fn padded(&mut self, bytes: &[u8]) {
        self.bytes(bytes);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// An option; its length doesn't count the padding.
    fn option(&mut self, code: u16, value: &[u8]) {
        self.u16(code);
        self.u16(u16::try_from(value.len()).unwrap_or(u16::MAX));
        self.padded(value);
    }

    fn end_of_options(&mut self) {
        self.u32(0);
    }
}

fn length32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::frame::tests::{ethernet, ipv4, sample, udp};

    const BOOT: Duration = Duration::from_secs(1_700_000_000);

    fn interfaces() -> BTreeMap<u32, String> {
        BTreeMap::from([(2, "inet0".to_owned()), (5, "cust0".to_owned())])
    }

    fn packet(last: u8, ifindex: u32, payload: usize) -> Sample {
        let datagram = udp(4711, 9999, &vec![0; payload]);
        let mut sample = sample(&ethernet(
            &[0x0800],
            &ipv4([198, 51, 100, last], [192, 0, 2, 1], 17, 0, &datagram),
        ));
        sample.ifindex = ifindex;
        sample.time_ns = 1_123_456_789;
        sample
    }

    /// Splits a capture into (type, body), checking what all blocks have in common.
    fn blocks(mut file: &[u8]) -> Vec<(u32, &[u8])> {
        let mut blocks = Vec::new();
        while !file.is_empty() {
            let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
            let total = word(4) as usize;
            assert!(total.is_multiple_of(4) && total >= 12 && total <= file.len());
            assert_eq!(word(total - 4) as usize, total);
            blocks.push((word(0), &file[8..total - 4]));
            file = &file[total..];
        }
        blocks
    }

    #[test]
    fn begins_with_the_section_and_its_interfaces() {
        let file = Writer::new(Vec::new(), &interfaces(), BOOT).unwrap().into_inner();
        assert_eq!(&file[..4], b"\n\r\r\n");
        let blocks = blocks(&file);
        assert_eq!(blocks.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [0x0a0d_0d0a, 1, 1]);
        assert_eq!(&blocks[0].1[..8], [0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0]);
        assert_eq!(&blocks[0].1[8..16], [0xff; 8]);
        let expected: &[u8] =
            b"\x01\0\0\0\xc0\0\0\0\x02\0\x05\0inet0\0\0\0\x09\0\x01\0\x09\0\0\0\0\0\0\0";
        assert_eq!(blocks[1].1, expected);
    }

    #[test]
    fn a_packet_is_laid_out_as_the_draft_says() {
        let mut writer = Writer::new(Vec::new(), &interfaces(), BOOT).unwrap();
        let mut sample = sample(&[0xaa, 0xbb, 0xcc, 0xdd, 0xee]);
        (sample.ifindex, sample.len, sample.time_ns) = (5, 1514, 1);
        writer.packet(&sample, "why").unwrap();
        let file = writer.into_inner();
        let time = 1_700_000_000_000_000_001_u64;
        let mut expected = vec![1, 0, 0, 0];
        expected.extend(((time >> 32) as u32).to_le_bytes());
        expected.extend((time as u32).to_le_bytes());
        expected.extend([5, 0, 0, 0, 0xea, 0x05, 0, 0]);
        expected.extend([0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0, 0, 0]);
        expected.extend(b"\x01\0\x03\0why\0\x02\0\x04\0\x01\0\0\0\0\0\0\0");
        assert_eq!(*blocks(&file).last().unwrap(), (6, expected.as_slice()));
    }

    #[test]
    fn padding_and_limits_hold_for_every_length() {
        let mut writer = Writer::new(Vec::new(), &BTreeMap::new(), Duration::MAX / 2).unwrap();
        for length in 0..=SNAPLEN + 9 {
            let mut sample = sample(&vec![7; length]);
            sample.ifindex = (length % 3) as u32;
            sample.caplen = length as u16;
            writer.packet(&sample, &"ü".repeat(length * 4)).unwrap();
        }
        let file = writer.into_inner();
        let kinds: Vec<_> = blocks(&file).iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds.iter().filter(|kind| **kind == 1).count(), 3);
        assert_eq!(kinds.iter().filter(|kind| **kind == 6).count(), SNAPLEN + 10);
    }

    #[test]
    fn tshark_reads_back_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("drops.pcapng");
        let mut writer =
            Writer::new(std::fs::File::create(&path).unwrap(), &interfaces(), BOOT).unwrap();
        let dns = "dns drop dns_outsider: DNS query from outside the customers' prefixes";
        writer.packet(&packet(7, 2, 1), dns).unwrap();
        writer.packet(&packet(8, 5, 2), "naïve — \"quoted\"").unwrap();
        writer.packet(&packet(9, 77, 1400), "third").unwrap();
        writer.flush().unwrap();

        let tshark = |fields: &[&str]| {
            let mut command = Command::new("tshark");
            command.arg("-r").arg(&path).args(["-T", "fields"]);
            for field in fields {
                command.args(["-e", field]);
            }
            let output =
                command.output().expect("tshark must be installed (Debian package tshark)");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let text = String::from_utf8(output.stdout).unwrap();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(
            tshark(&["frame.comment", "ip.src"]),
            [
                format!("{dns}\t198.51.100.7"),
                "naïve — \"quoted\"\t198.51.100.8".to_owned(),
                "third\t198.51.100.9".to_owned(),
            ]
        );
        assert_eq!(
            tshark(&["frame.time_epoch", "frame.interface_name", "frame.len", "frame.cap_len"]),
            [
                "1700000001.123456789\tinet0\t43\t43",
                "1700000001.123456789\tcust0\t44\t44",
                "1700000001.123456789\tifindex77\t1442\t192",
            ]
        );
    }
}
