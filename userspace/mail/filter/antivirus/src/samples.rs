//! Files for tests, made here: no harm is in them.

use std::io::Write;

use data_encoding::{BASE64, HEXLOWER};
use lzma_rust2::{Lzma2Options, Lzma2Writer, XzOptions, XzWriter};
use miniz_oxide::deflate::{compress_to_vec, compress_to_vec_zlib};

/// The head of a program for Windows, which does nothing.
pub(crate) fn program() -> Vec<u8> {
    let mut program = b"MZ\x90\0\x03\0\0\0".to_vec();
    program.resize(0x3c, 0);
    program.extend(0x40_u32.to_le_bytes());
    program.extend(b"PE\0\0\x4c\x01");
    program.extend(
        (0..600_u32)
            .flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes())
            .map(|octet| octet & 0x7f),
    );
    program
}

/// The test file of virus scanners, in pieces, so that this file is not taken for one.
pub(crate) fn eicar() -> Vec<u8> {
    ["X5O!P%@AP[4\\PZX54(P^)7CC)7}", "$EICAR-STANDARD-ANTIVIRUS", "-TEST-FILE!$H+H*"]
        .concat()
        .into_bytes()
}

/// A file in a ZIP archive, with what may be wrong with it.
#[derive(Clone, Debug)]
pub(crate) struct Zipped {
    pub(crate) name: String,
    pub(crate) local_name: Option<String>,
    pub(crate) packed: Vec<u8>,
    pub(crate) method: u16,
    pub(crate) flags: u16,
    pub(crate) size: u32,
    pub(crate) listed: bool,
    /// Where its local header is said to be, if not where it is.
    pub(crate) place: Option<u32>,
}

impl Zipped {
    pub(crate) fn stored(name: &str, content: &[u8]) -> Self {
        Self {
            name: name.into(),
            local_name: None,
            packed: content.to_vec(),
            method: 0,
            flags: 0,
            size: content.len() as u32,
            listed: true,
            place: None,
        }
    }

    pub(crate) fn deflated(name: &str, content: &[u8]) -> Self {
        Self { packed: compress_to_vec(content, 6), method: 8, ..Self::stored(name, content) }
    }
}

/// An archive of these.
pub(crate) fn zip_of(files: &[Zipped]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    let mut count = 0_u16;
    for file in files {
        let place = file.place.unwrap_or(out.len() as u32);
        let local_name = file.local_name.as_ref().unwrap_or(&file.name);
        let sizes = |out: &mut Vec<u8>| {
            out.extend([0; 4]);
            out.extend((file.packed.len() as u32).to_le_bytes());
            out.extend(file.size.to_le_bytes());
        };
        if file.place.is_none() {
            out.extend(b"PK\x03\x04\x14\0");
            out.extend(file.flags.to_le_bytes());
            out.extend(file.method.to_le_bytes());
            out.extend([0; 4]);
            sizes(&mut out);
            out.extend((local_name.len() as u16).to_le_bytes());
            out.extend([0; 2]);
            out.extend(local_name.bytes());
            out.extend(&file.packed);
        }
        if file.listed {
            count = count.wrapping_add(1);
            directory.extend(b"PK\x01\x02\x14\0\x14\0");
            directory.extend(file.flags.to_le_bytes());
            directory.extend(file.method.to_le_bytes());
            directory.extend([0; 4]);
            sizes(&mut directory);
            directory.extend((file.name.len() as u16).to_le_bytes());
            directory.extend([0; 12]);
            directory.extend(place.to_le_bytes());
            directory.extend(file.name.bytes());
        }
    }
    let begin = out.len() as u32;
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend((directory.len() as u32).to_le_bytes());
    out.extend(begin.to_le_bytes());
    out.extend([0; 2]);
    out
}

pub(crate) fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    zip_of(&files.iter().map(|(name, content)| Zipped::deflated(name, content)).collect::<Vec<_>>())
}

pub(crate) fn gzip(name: Option<&str>, content: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, if name.is_some() { 8 } else { 0 }, 0, 0, 0, 0, 0, 3];
    if let Some(name) = name {
        out.extend(name.bytes());
        out.push(0);
    }
    out.extend(compress_to_vec(content, 6));
    out.extend([0; 4]);
    out.extend((content.len() as u32).to_le_bytes());
    out
}

pub(crate) fn bzip2(content: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(6));
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn xz(content: &[u8]) -> Vec<u8> {
    let mut writer = XzWriter::new(Vec::new(), XzOptions::with_preset(3)).unwrap();
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, content) in files {
        let mut header = [0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000644");
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&octet| u32::from(octet)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        out.extend(header);
        out.extend(*content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.extend([0; 1024]);
    out
}

pub(crate) fn cpio(name: &str, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, content) in [(name, content), ("TRAILER!!!", &[][..])] {
        let fields = [1, 0o100_644, 0, 0, 1, 0, content.len(), 0, 0, 0, 0, name.len() + 1, 0];
        out.extend(b"070701");
        out.extend(fields.iter().flat_map(|field| format!("{field:08x}").into_bytes()));
        out.extend(name.bytes());
        out.push(0);
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend(content);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out
}

/// With one file, packed by a coder of this name.
pub(crate) fn sevenzip(name: &str, content: &[u8], coder: &[u8], packed: &[u8]) -> Vec<u8> {
    let number = |number: usize| {
        assert!(number < 0x4000);
        [0x80 | (number >> 8) as u8, number as u8]
    };
    let mut header = vec![1, 4, 6, 0, 1, 9];
    header.extend(number(packed.len()));
    header.extend([0, 7, 0xb, 1, 0, 1]);
    header.extend(coder);
    header.push(0xc);
    header.extend(number(content.len()));
    header.extend([0, 0, 5, 1, 0x11]);
    let wide: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    header.extend(number(wide.len() + 1));
    header.push(0);
    header.extend(wide);
    header.extend([0, 0]);
    let mut out = b"7z\xbc\xaf\x27\x1c\0\x04\0\0\0\0".to_vec();
    out.extend((packed.len() as u64).to_le_bytes());
    out.extend((header.len() as u64).to_le_bytes());
    out.extend([0; 4]);
    out.extend(packed);
    out.extend(header);
    out
}

pub(crate) fn sevenzip_stored(name: &str, content: &[u8]) -> Vec<u8> {
    sevenzip(name, content, &[1, 0], content)
}

pub(crate) fn sevenzip_lzma2(name: &str, content: &[u8]) -> Vec<u8> {
    let mut writer = Lzma2Writer::new(Vec::new(), Lzma2Options::with_preset(3));
    writer.write_all(content).unwrap();
    let packed = writer.finish().unwrap();
    sevenzip(name, content, &[0x21, 0x21, 1, 24], &packed)
}

pub(crate) fn sevenzip_encrypted(name: &str) -> Vec<u8> {
    sevenzip(name, b"sixteen octets.", &[0x24, 6, 0xf1, 7, 1, 1, 0], b"sixteen octets..")
}

pub(crate) fn rar_old(name: &str, content: &[u8], flags: u16, method: u8) -> Vec<u8> {
    let mut out = b"Rar!\x1a\x07\0\0\0\x73\0\0\x0d\0\0\0\0\0\0\0".to_vec();
    out.extend([0, 0, 0x74]);
    out.extend((flags | 0x8000).to_le_bytes());
    out.extend((32 + name.len() as u16).to_le_bytes());
    out.extend((content.len() as u32).to_le_bytes());
    out.extend((content.len() as u32).to_le_bytes());
    out.extend([2, 0, 0, 0, 0, 0, 0, 0, 0, 29, method]);
    out.extend((name.len() as u16).to_le_bytes());
    out.extend([0; 4]);
    out.extend(name.bytes());
    out.extend(content);
    out.extend(b"\0\0\x7b\0\x40\x07\0");
    out
}

pub(crate) fn rar_new(name: &str, content: &[u8], encrypted: bool, method: u8) -> Vec<u8> {
    let number = |number: usize| [0x80 | (number & 0x7f) as u8, (number >> 7) as u8];
    let extra: &[u8] = if encrypted { &[2, 1, 0] } else { &[] };
    let mut header = vec![2, if encrypted { 3 } else { 2 }];
    if encrypted {
        header.push(extra.len() as u8);
    }
    header.extend(number(content.len()));
    header.push(0);
    header.extend(number(content.len()));
    header.extend([0, 0x80, method, 0, name.len() as u8]);
    header.extend(name.bytes());
    header.extend(extra);
    let mut out = b"Rar!\x1a\x07\x01\0\0\0\0\0\x03\x01\0\0\0\0\0\0".to_vec();
    out.push(header.len() as u8);
    out.extend(header);
    out.extend(content);
    out.extend(b"\0\0\0\0\x03\x05\0\0");
    out
}

pub(crate) fn cabinet(name: &str, content: &[u8]) -> Vec<u8> {
    let packed = [&b"CK"[..], &compress_to_vec(content, 6)].concat();
    let mut out = b"MSCF\0\0\0\0".to_vec();
    out.extend([0; 8]);
    out.extend(44_u32.to_le_bytes());
    out.extend([0, 0, 0, 0, 3, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    let data = 44 + 16 + name.len() as u32 + 1;
    out.extend(data.to_le_bytes());
    out.extend([1, 0, 1, 0]);
    out.extend((content.len() as u32).to_le_bytes());
    out.extend([0; 12]);
    out.extend(name.bytes());
    out.push(0);
    assert_eq!(out.len(), data as usize);
    out.extend([0; 4]);
    out.extend((packed.len() as u16).to_le_bytes());
    out.extend((content.len() as u16).to_le_bytes());
    out.extend(packed);
    out
}

/// A compound file with these streams, all of them in large sectors.
pub(crate) fn compound(streams: &[(&str, &[u8])]) -> Vec<u8> {
    const SECTOR: usize = 512;
    let sectors = |octets: usize| octets.div_ceil(SECTOR).max(1);
    let directory = sectors(128 * (streams.len() + 1));
    let total =
        1 + directory + streams.iter().map(|(_, content)| sectors(content.len())).sum::<usize>();
    assert!(total <= 128);
    let mut fat = vec![0xffff_fffd_u32];
    let chain = |fat: &mut Vec<u32>, length: usize| {
        let first = fat.len();
        fat.extend((1..length).map(|next| (first + next) as u32));
        fat.push(0xffff_fffe);
        first as u32
    };
    let directory_first = chain(&mut fat, directory);
    let mut entries = Vec::new();
    let entry = |name: &str, kind: u8, first: u32, size: usize| {
        let mut entry = [0; 128];
        let wide: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        entry[..wide.len()].copy_from_slice(&wide);
        entry[64] = wide.len() as u8;
        entry[66] = kind;
        entry[68..80].fill(0xff);
        entry[116..120].copy_from_slice(&first.to_le_bytes());
        entry[120..124].copy_from_slice(&(size as u32).to_le_bytes());
        entry
    };
    entries.extend(entry("Root Entry", 5, 0xffff_fffe, 0));
    let mut data = Vec::new();
    for (name, content) in streams {
        let first = chain(&mut fat, sectors(content.len()));
        entries.extend(entry(name, 2, first, content.len()));
        data.extend(*content);
        data.resize(data.len() + sectors(content.len()) * SECTOR - content.len(), 0);
    }
    entries.resize(directory * SECTOR, 0);
    let mut out = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec();
    out.extend([0; 16]);
    out.extend(b"\x3e\0\x03\0\xfe\xff\x09\0\x06\0");
    out.extend([0; 10]);
    out.extend(1_u32.to_le_bytes());
    out.extend(directory_first.to_le_bytes());
    // Nothing lies in small sectors.
    for number in [0, 0, 0xffff_fffe, 0, 0xffff_fffe, 0, 0] {
        out.extend(u32::to_le_bytes(number));
    }
    out.resize(SECTOR, 0xff);
    fat.resize(128, 0xffff_ffff);
    out.extend(fat.iter().flat_map(|link| link.to_le_bytes()));
    out.extend(entries);
    out.extend(data);
    out
}

/// A message of Outlook's with one attachment, all in one folder.
pub(crate) fn outlook(name: &str, content: &[u8]) -> Vec<u8> {
    let wide: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    compound(&[("__substg1.0_37010102", content), ("__substg1.0_3707001F", &wide)])
}

/// An object of the packager's, with the length in front.
pub(crate) fn package(name: &str, content: &[u8]) -> Vec<u8> {
    let mut out = vec![2, 0];
    out.extend(format!("{name}\0C:\\{name}\0\0\0\x03\0").bytes());
    let temporary = format!("C:\\T\\{name}\0");
    out.extend((temporary.len() as u32).to_le_bytes());
    out.extend(temporary.bytes());
    out.extend((content.len() as u32).to_le_bytes());
    out.extend(content);
    [&(out.len() as u32).to_le_bytes()[..], &out].concat()
}

/// Source of a macro, as it lies in a stream: nothing of it refers back.
pub(crate) fn packed_macro(source: &[u8]) -> Vec<u8> {
    let mut out = vec![1];
    for chunk in source.chunks(3_000) {
        let data: Vec<u8> =
            chunk.chunks(8).flat_map(|letters| [&[0][..], letters].concat()).collect();
        out.extend((0xb000 | (data.len() as u16 - 1)).to_le_bytes());
        out.extend(data);
    }
    out
}

/// A document with this macro.
pub(crate) fn document_with_macro(source: &str) -> Vec<u8> {
    let source = format!("Attribute VB_Name = \"ThisDocument\"\r\n{source}");
    let stream = [&b"\x01\x16compiled"[..], &packed_macro(source.as_bytes())].concat();
    compound(&[
        ("WordDocument", &[0; 600]),
        ("_VBA_PROJECT", b"\xcc\x61"),
        ("ThisDocument", &stream),
    ])
}

pub(crate) fn rtf_with_package(name: &str, content: &[u8]) -> Vec<u8> {
    let package = package(name, content);
    let mut object = vec![1, 5, 0, 0, 2, 0, 0, 0, 8, 0, 0, 0];
    object.extend(b"Package\0\0\0\0\0\0\0\0\0");
    object.extend((package.len() as u32 - 4).to_le_bytes());
    object.extend(&package[4..]);
    let digits = HEXLOWER.encode(&object);
    let (first, second) = digits.split_at(21);
    format!("{{\\rtf1 {{\\object\\objemb{{\\*\\objdata {first}\r\n{{\\*\\none}}{second}}}}}}}")
        .into_bytes()
}

pub(crate) fn notebook(content: &[u8]) -> Vec<u8> {
    let mut out = b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3".to_vec();
    out.extend([0; 100]);
    out.extend(b"\xe7\x16\xe3\xbd\x65\x26\x11\x45\xa4\xc4\x8d\x4d\x0b\x7a\x9e\xac");
    out.extend((content.len() as u64).to_le_bytes());
    out.extend([0; 12]);
    out.extend(content);
    out
}

pub(crate) fn pdf_with_file(content: &[u8]) -> Vec<u8> {
    let mut out =
        b"%PDF-1.7\n1 0 obj\n<</Type/EmbeddedFile/Filter/FlateDecode>>\nstream\r\n".to_vec();
    out.extend(compress_to_vec_zlib(content, 6));
    out.extend(b"\r\nendstream\nendobj\n");
    out
}

pub(crate) fn tnef(name: &str, content: &[u8]) -> Vec<u8> {
    let mut out = b"\x78\x9f\x3e\x22\x01\0".to_vec();
    for (attribute, value) in [
        (0x0006_9002_u32, &[0; 14][..]),
        (0x0001_8010, format!("{name}\0").as_bytes()),
        (0x0006_800f, content),
    ] {
        out.push(2);
        out.extend(attribute.to_le_bytes());
        out.extend((value.len() as u32).to_le_bytes());
        out.extend(value);
        out.extend([0; 2]);
    }
    out
}

pub(crate) fn page_with_file(content: &[u8]) -> Vec<u8> {
    format!(
        "<html><script>var data = '{}'; var file = new Blob([atob(data)]); \
         a.href = URL.createObjectURL(file); a.download = 'invoice'; a.click();</script></html>",
        BASE64.encode(content)
    )
    .into_bytes()
}

pub(crate) fn message_with_file(content: &[u8]) -> Vec<u8> {
    let letters = BASE64.encode(content);
    let lines: Vec<&str> =
        letters.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!(
        "From: a@example.org\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n",
        lines.join("\r\n")
    )
    .into_bytes()
}

pub(crate) fn uuencoded(name: &str, content: &[u8]) -> Vec<u8> {
    let letter = |value: u8| if value == 0 { b'`' } else { value + b' ' };
    let mut out = format!("begin 644 {name}\n").into_bytes();
    for line in content.chunks(45) {
        out.push(letter(line.len() as u8));
        for group in line.chunks(3) {
            let octet = |place| group.get(place).copied().unwrap_or_default();
            let (one, two, three) = (octet(0), octet(1), octet(2));
            out.extend(
                [one >> 2, one << 4 & 0x30 | two >> 4, two << 2 & 0x3c | three >> 6, three & 0x3f]
                    .map(letter),
            );
        }
        out.push(b'\n');
    }
    out.extend(b"`\nend\n");
    out
}

/// One of each, with a program in it.
pub(crate) fn all() -> Vec<(&'static str, Vec<u8>)> {
    let program = program();
    let name = "inner.bin";
    vec![
        ("plain", program.clone()),
        ("zip", zip(&[(name, &program)])),
        ("zip, stored", zip_of(&[Zipped::stored(name, &program)])),
        (
            "zip, bzip2",
            zip_of(&[Zipped {
                packed: bzip2(&program),
                method: 12,
                ..Zipped::stored(name, &program)
            }]),
        ),
        (
            "zip, xz",
            zip_of(&[Zipped {
                packed: xz(&program),
                method: 95,
                ..Zipped::stored(name, &program)
            }]),
        ),
        (
            "zip, zstd",
            zip_of(&[Zipped {
                packed: zstd::encode_all(&program[..], 3).unwrap(),
                method: 93,
                ..Zipped::stored(name, &program)
            }]),
        ),
        (
            "zip, not listed",
            zip_of(&[Zipped { listed: false, ..Zipped::deflated(name, &program) }]),
        ),
        (
            "zip behind an image",
            [&b"GIF89a\x01\0\x01\0\0\0\0;"[..], &zip(&[(name, &program)])].concat(),
        ),
        ("gzip", gzip(Some(name), &program)),
        ("bzip2", bzip2(&program)),
        ("xz", xz(&program)),
        ("zstd", zstd::encode_all(&program[..], 3).unwrap()),
        ("tar", tar(&[(name, &program)])),
        ("tar.gz", gzip(None, &tar(&[(name, &program)]))),
        ("cpio", cpio(name, &program)),
        ("7z, stored", sevenzip_stored(name, &program)),
        ("7z, LZMA2", sevenzip_lzma2(name, &program)),
        ("RAR 4, stored", rar_old(name, &program, 0, 0x30)),
        ("RAR 5, stored", rar_new(name, &program, false, 0)),
        ("cabinet", cabinet(name, &program)),
        ("compound", compound(&[("stream", &program)])),
        ("package", compound(&[("\u{1}Ole10Native", &package(name, &program))])),
        ("slides", {
            let packed = compress_to_vec_zlib(&program, 6);
            let mut record = b"\x0f\0\xe8\x03\0\0\0\0\x10\0\x11\x10".to_vec();
            record.extend((packed.len() as u32 + 4).to_le_bytes());
            record.extend((program.len() as u32).to_le_bytes());
            compound(&[("PowerPoint Document", &[record, packed].concat())])
        }),
        ("RTF", rtf_with_package(name, &program)),
        ("OneNote", notebook(&program)),
        ("PDF", pdf_with_file(&program)),
        ("TNEF", tnef(name, &program)),
        ("page", page_with_file(&program)),
        ("message", message_with_file(&program)),
        ("uuencoded", uuencoded(name, &program)),
    ]
}
