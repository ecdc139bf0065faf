//! Many things in pieces that memory and a transaction have room for.

/// Divides things, in their order, into pieces of so many and of so many bytes; one that has more is a piece of its own.
pub(crate) fn in_pieces<T>(
    things: impl IntoIterator<Item = T>,
    most: usize,
    most_bytes: u64,
    bytes_of: impl Fn(&T) -> u64,
) -> Vec<Vec<T>> {
    let (mut pieces, mut bytes) = (Vec::<Vec<T>>::new(), 0_u64);
    for thing in things {
        let more = bytes_of(&thing);
        bytes = bytes.saturating_add(more);
        match pieces.last_mut() {
            Some(piece) if bytes <= most_bytes && piece.len() < most => piece.push(thing),
            _ => {
                bytes = more;
                pieces.push(vec![thing]);
            }
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_too_many_nor_too_large() {
        let pieces = |sizes: &[u64]| in_pieces(sizes.iter().copied(), 3, 10, |size| *size);
        assert_eq!(pieces(&[]), Vec::<Vec<u64>>::new());
        assert_eq!(pieces(&[1, 1, 1, 1]), [vec![1, 1, 1], vec![1]]);
        assert_eq!(pieces(&[5, 5, 5]), [vec![5, 5], vec![5]]);
        assert_eq!(pieces(&[50, 1, u64::MAX, 1]), [vec![50], vec![1], vec![u64::MAX], vec![1]]);
    }
}
