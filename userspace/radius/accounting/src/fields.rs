//! Tagged fields, the form in which records and sessions are stored.
//!
//! A field is a tag of one byte, a length of two, and that many bytes. A reader passes over tags
//! that it does not know, so a later version may add some.

/// Appends a field. One that is too long for its length is cut: callers check what can be.
pub(crate) fn push(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    let value = value.get(..usize::from(u16::MAX)).unwrap_or(value);
    out.push(tag);
    out.extend((value.len() as u16).to_be_bytes());
    out.extend(value);
}

/// Appends a number in as few bytes as it takes; 0 takes none.
pub(crate) fn push_number(out: &mut Vec<u8>, tag: u8, value: u64) {
    let bytes = value.to_be_bytes();
    let zeros = value.leading_zeros() as usize / 8;
    push(out, tag, bytes.get(zeros..).unwrap_or_default());
}

/// Appends a number that may be negative.
pub(crate) fn push_signed(out: &mut Vec<u8>, tag: u8, value: i64) {
    push_number(out, tag, ((value << 1) ^ (value >> 63)) as u64);
}

/// The number that [`push_number`] wrote.
pub(crate) fn number(value: &[u8]) -> Option<u64> {
    let mut bytes = [0; 8];
    let zeros = bytes.len().checked_sub(value.len())?;
    bytes.get_mut(zeros..)?.copy_from_slice(value);
    Some(u64::from_be_bytes(bytes))
}

/// The number that [`push_signed`] wrote.
pub(crate) fn signed(value: &[u8]) -> Option<i64> {
    let folded = number(value)?;
    Some((folded >> 1) as i64 ^ -((folded & 1) as i64))
}

/// Fields one after the other. The last item is an error if the bytes end within a field.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

/// The bytes end within a field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Cut;

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u8, &'a [u8]), Cut>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.0.split_first_chunk().and_then(|(&[tag, high, low], rest)| {
            let length = usize::from(u16::from_be_bytes([high, low]));
            let (value, rest) = rest.split_at_checked(length)?;
            Some((tag, value, rest))
        });
        Some(match field {
            Some((tag, value, rest)) => {
                self.0 = rest;
                Ok((tag, value))
            }
            None => {
                self.0 = &[];
                Err(Cut)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(value: u64) {
            let mut out = Vec::new();
            push_number(&mut out, 1, value);
            push_signed(&mut out, 2, value as i64);
            let fields: Vec<_> = Fields(&out).map(Result::unwrap).collect();
            prop_assert_eq!(number(fields[0].1), Some(value));
            prop_assert_eq!(signed(fields[1].1), Some(value as i64));
        }

        #[test]
        fn a_cut_is_noticed(value: Vec<u8>, cut in 1_usize..4) {
            let mut out = Vec::new();
            push(&mut out, 7, &value);
            prop_assert_eq!(Fields(&out).collect::<Vec<_>>(), vec![Ok((7, &value[..]))]);
            let cut = cut.min(out.len() - 1);
            prop_assert_eq!(Fields(&out[..out.len() - cut]).collect::<Vec<_>>(), vec![Err(Cut)]);
        }
    }

    #[test]
    fn a_number_of_nine_bytes_is_none() {
        assert_eq!(number(&[0; 9]), None);
        assert_eq!(number(&[]), Some(0));
        assert_eq!(signed(&[3]), Some(-2));
    }
}
