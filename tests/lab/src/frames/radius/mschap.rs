//! What a peer of MS-CHAPv2 answers to a challenge (RFC 2759 section 8).

use des::Des;
use des::cipher::{BlockCipherEncrypt, KeyInit};
use md4::Md4;
use sha1::{Digest, Sha1};

/// The peer's response (`GenerateNTResponse`).
pub fn nt_response(
    challenge: &[u8; 16],
    peer_challenge: &[u8; 16],
    user: &str,
    password: &str,
) -> [u8; 24] {
    challenge_response(challenge_hash(peer_challenge, challenge, user), nt_hash(password))
}

/// What stands for the password (`NtPasswordHash`).
fn nt_hash(password: &str) -> [u8; 16] {
    let bytes: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
    Md4::digest(bytes).into()
}

fn challenge_hash(peer_challenge: &[u8; 16], challenge: &[u8; 16], user: &str) -> [u8; 8] {
    let mut hash = Sha1::new();
    hash.update(peer_challenge);
    hash.update(challenge);
    hash.update(user);
    let hash: [u8; 20] = hash.finalize().into();
    std::array::from_fn(|at| hash.get(at).copied().unwrap_or_default())
}

/// The challenge, encrypted with each third of the hash and five zero bytes.
fn challenge_response(challenge: [u8; 8], hash: [u8; 16]) -> [u8; 24] {
    let mut keys = [0; 21];
    keys.iter_mut().zip(hash).for_each(|(key, byte)| *key = byte);
    let mut response = [0; 24];
    let (blocks, _) = response.as_chunks_mut::<8>();
    for (block, key) in blocks.iter_mut().zip(keys.as_chunks::<7>().0) {
        let mut text = challenge.into();
        Des::new(&with_parity(*key).into()).encrypt_block(&mut text);
        *block = text.into();
    }
    response
}

/// Seven bytes as eight: seven bits of each are the key, the lowest one is parity, which nobody checks.
fn with_parity(key: [u8; 7]) -> [u8; 8] {
    let bits = key.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    std::array::from_fn(|at| ((bits >> (49 - 7 * at)) as u8 & 0x7f) << 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_of_rfc_2759_section_9_2() {
        let challenge = 0x5b5d_7c7d_7b3f_2f3e_3c2c_6021_3226_2628_u128.to_be_bytes();
        let peer_challenge = 0x2140_2324_255e_262a_2829_5f2b_3a33_7c7e_u128.to_be_bytes();
        let hash = challenge_hash(&peer_challenge, &challenge, "User");
        assert_eq!(hash, 0xd02e_4386_bce9_1226_u64.to_be_bytes());
        let password = nt_hash("clientPass");
        assert_eq!(password, 0x44eb_ba8d_5312_b8d6_1147_4411_f569_89ae_u128.to_be_bytes());
        let expected = [
            &0x8230_9ecd_8d70_8b5e_a08f_aa39_81cd_8354_u128.to_be_bytes()[..],
            &0x4233_114a_3d85_d6df_u64.to_be_bytes(),
        ];
        let response = nt_response(&challenge, &peer_challenge, "User", "clientPass");
        assert_eq!(response[..], expected.concat());
    }

    #[test]
    fn keys_get_room_for_parity() {
        assert_eq!(with_parity([0xff; 7]), [0xfe; 8]);
        assert_eq!(with_parity([0x80, 0, 0, 0, 0, 0, 1]), [0x80, 0, 0, 0, 0, 0, 0, 2]);
    }
}
