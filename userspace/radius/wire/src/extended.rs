//! Extended attributes (RFC 6929): more numbers, and values longer than one attribute.

use crate::kind;
use crate::packet::{Attribute, Attributes};

/// The number that says that a vendor's follows (RFC 6929 section 2.4).
pub const EXTENDED_VENDOR_SPECIFIC: u8 = 26;

/// Another fragment follows (RFC 6929 section 2.2).
const MORE: u8 = 0x80;

/// The extended attributes among encoded ones. One that is malformed in itself is as if it were unknown
/// (RFC 6929 section 2.8): it is left out.
pub fn extended(attributes: &[u8]) -> ExtendedAttributes<'_> {
    ExtendedAttributes { bytes: attributes, attributes: Attributes::of(attributes) }
}

/// One attribute whose number has two parts, as in 241.1.
#[derive(Clone, Copy, Debug)]
pub struct ExtendedAttribute<'a> {
    /// The first part: 241 to 246.
    pub kind: u8,
    /// The second part.
    pub number: u8,
    /// Vendor, and the vendor's number for it, if the second part is 26.
    pub vendor: Option<(u32, u8)>,
    /// At least one octet. TLVs in it (RFC 6929 section 2.3) are read by [`Attributes::of`].
    pub value: Value<'a>,
}

/// A value that may lie in fragments.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    first: &'a [u8],
    /// The attributes with the other fragments.
    more: &'a [u8],
}

impl<'a> Value<'a> {
    /// The fragments in their order.
    pub fn pieces(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let more = Attributes::of(self.more).map(|fragment| match fragment.value {
            [_, _, piece @ ..] => piece,
            _ => &[],
        });
        std::iter::once(self.first).chain(more)
    }

    /// The value, if it lies in one piece.
    pub fn whole(&self) -> Option<&'a [u8]> {
        self.more.is_empty().then_some(self.first)
    }

    /// Its octets.
    pub fn len(&self) -> usize {
        self.pieces().map(<[u8]>::len).sum()
    }

    /// Whether there is nothing; never so in what comes from a packet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies it to the beginning of `out`, and gives that part. None if it is too small.
    pub fn copy_to<'o>(&self, out: &'o mut [u8]) -> Option<&'o [u8]> {
        let mut at = 0;
        for piece in self.pieces() {
            let end = at + piece.len();
            out.get_mut(at..end)?.copy_from_slice(piece);
            at = end;
        }
        out.get(..at)
    }
}

/// See [`extended`].
#[derive(Clone, Debug)]
pub struct ExtendedAttributes<'a> {
    bytes: &'a [u8],
    attributes: Attributes<'a>,
}

impl<'a> Iterator for ExtendedAttributes<'a> {
    type Item = ExtendedAttribute<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let attribute = self.attributes.next()?;
            let read = match attribute.kind {
                kind::EXTENDED_1..=kind::EXTENDED_4 => short(attribute),
                kind::EXTENDED_5 | kind::EXTENDED_6 => self.long(attribute),
                _ => None,
            };
            if read.is_some() {
                return read;
            }
        }
    }
}

fn short(attribute: Attribute<'_>) -> Option<ExtendedAttribute<'_>> {
    let (&number, first) = attribute.value.split_first()?;
    finished(attribute.kind, number, first, &[])
}

impl<'a> ExtendedAttributes<'a> {
    /// Fragments follow each other without anything between them, and all but the last say so (RFC 6929 section 2.2).
    fn long(&mut self, attribute: Attribute<'a>) -> Option<ExtendedAttribute<'a>> {
        let &[number, flags, ref first @ ..] = attribute.value else { return None };
        let from = self.end_of(attribute);
        let mut until = from;
        let mut more = flags & MORE != 0;
        while more {
            let mut ahead = self.attributes.clone();
            let next = ahead.next().filter(|next| next.kind == attribute.kind)?;
            let &[same, flags, _, ..] = next.value else { return None };
            (same == number).then_some(())?;
            more = flags & MORE != 0;
            until = self.end_of(next);
            self.attributes = ahead;
        }
        finished(attribute.kind, number, first, self.bytes.get(from..until)?)
    }

    fn end_of(&self, attribute: Attribute<'_>) -> usize {
        attribute.at + 2 + attribute.value.len()
    }
}

/// Takes the vendor off the first fragment.
fn finished<'a>(
    kind: u8,
    number: u8,
    first: &'a [u8],
    more: &'a [u8],
) -> Option<ExtendedAttribute<'a>> {
    let (vendor, first) = if number == EXTENDED_VENDOR_SPECIFIC {
        let (vendor, rest) = first.split_first_chunk::<4>()?;
        let (&number, first) = rest.split_first()?;
        (Some((u32::from_be_bytes(*vendor), number)), first)
    } else {
        (None, first)
    };
    (!first.is_empty()).then_some(ExtendedAttribute {
        kind,
        number,
        vendor,
        value: Value { first, more },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both parts of the number, the vendor's, and the value.
    type Read<V> = (u8, u8, Option<(u32, u8)>, V);
    type Case = (&'static [u8], &'static [Read<&'static [u8]>]);

    fn read(bytes: &[u8]) -> Vec<Read<Vec<u8>>> {
        extended(bytes)
            .map(|one| {
                let mut out = [0; 4_096];
                let value = one.value.copy_to(&mut out).unwrap().to_vec();
                assert_eq!(value.len(), one.value.len());
                assert!(one.value.whole().is_none_or(|whole| whole == value));
                assert!(!one.value.is_empty());
                (one.kind, one.number, one.vendor, value)
            })
            .collect()
    }

    #[test]
    fn short_ones() {
        let cases: [Case; 7] = [
            (&[241, 4, 1, 9], &[(241, 1, None, &[9])]),
            // No value, or no number: malformed, and what follows is read all the same.
            (&[241, 3, 1, 244, 2, 242, 5, 2, 8, 9], &[(242, 2, None, &[8, 9])]),
            (&[243, 10, 26, 0, 0, 1, 55, 7, 1, 2], &[(243, 26, Some((311, 7)), &[1, 2])]),
            // A vendor without a value, and one without a number.
            (&[243, 8, 26, 0, 0, 1, 55, 7], &[]),
            (&[243, 7, 26, 0, 0, 1, 55], &[]),
            (&[1, 3, 97, 240, 4, 1, 9, 247, 4, 1, 9], &[]),
            (&[], &[]),
        ];
        for (bytes, expected) in cases {
            let expected: Vec<_> =
                expected.iter().map(|&(k, n, v, value)| (k, n, v, value.to_vec())).collect();
            assert_eq!(read(bytes), expected, "{bytes:?}");
        }
    }

    /// One fragment of 245.`number`.
    fn fragment(number: u8, more: bool, value: &[u8]) -> Vec<u8> {
        let head = [245, 4 + value.len() as u8, number, if more { MORE } else { 0 }];
        [&head[..], value].concat()
    }

    #[test]
    fn fragments_are_put_together() {
        let long = [vec![7; 251], vec![8; 251], vec![9; 3]];
        let bytes = [
            fragment(1, true, &long[0]),
            fragment(1, true, &long[1]),
            fragment(1, false, &long[2]),
            vec![241, 4, 1, 5],
            fragment(1, false, b"x"),
        ]
        .concat();
        assert_eq!(
            read(&bytes),
            [(245, 1, None, long.concat()), (241, 1, None, vec![5]), (245, 1, None, b"x".to_vec())]
        );
        // The vendor stands in the first one alone.
        let bytes =
            [fragment(26, true, b"\0\0\x01\x37\x05ab"), fragment(26, false, b"cd")].concat();
        assert_eq!(read(&bytes), [(245, 26, Some((311, 5)), b"abcd".to_vec())]);
    }

    #[test]
    fn a_chain_that_is_broken_is_left_out() {
        let cases = [
            // Nothing follows.
            vec![fragment(1, true, b"a")],
            // Another number, another kind, an empty one follow.
            vec![fragment(1, true, b"a"), fragment(2, false, b"b")],
            vec![fragment(1, true, b"a"), vec![241, 4, 2, b'b']],
            vec![fragment(1, true, b"a"), fragment(1, false, b""), vec![241, 4, 2, b'b']],
        ];
        for (case, expected) in cases.iter().zip([0, 1, 1, 1]) {
            let read = read(&case.concat());
            assert_eq!(read.len(), expected, "{case:?}");
            assert!(read.iter().all(|(_, number, _, value)| *number == 2 && value == b"b"));
        }
    }

    #[test]
    fn a_buffer_that_is_too_small_gets_nothing() {
        let bytes = [fragment(1, true, b"abc"), fragment(1, false, b"def")].concat();
        let one = extended(&bytes).next().unwrap();
        assert_eq!(one.value.copy_to(&mut [0; 6]), Some(&b"abcdef"[..]));
        assert_eq!(one.value.copy_to(&mut [0; 5]), None);
        assert_eq!(one.value.whole(), None);
    }
}
