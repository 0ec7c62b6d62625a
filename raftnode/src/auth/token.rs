//! Bearer tokens, and what is stored of them.

use std::fmt;
use std::str::FromStr;

use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq as _;

/// Hexadecimal digits of a token: 256 bits.
const TOKEN_DIGITS: usize = 64;
const HASH_BYTES: usize = 32;

/// The SHA-256 of a token's digits.
///
/// A slow hash, as passwords need it, would protect nothing here: a token is 256 random bits, which
/// no search finds, however cheap each guess is.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; HASH_BYTES]);

/// Text is not the hash of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the SHA-256 of a token: that has {TOKEN_DIGITS} hexadecimal digits")]
pub struct NotAHash;

/// A new token of 256 random bits, and its hash.
#[must_use]
pub fn new_token() -> (String, TokenHash) {
    let token = hex(&rand::random::<[u8; HASH_BYTES]>());
    let hash = TokenHash::of_text(&token);
    (token, hash)
}

impl TokenHash {
    /// Of what a client presents; none: it is no token. Nothing but 64 digits is hashed, so that
    /// this costs the same for whatever is sent.
    pub(super) fn of(presented: &str) -> Option<Self> {
        let is_token = presented.len() == TOKEN_DIGITS && presented.bytes().all(|b| b.is_ascii_hexdigit());
        is_token.then(|| Self::of_text(presented))
    }

    fn of_text(token: &str) -> Self {
        let mut hash = [0; HASH_BYTES];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(hash)
    }

    /// In constant time: how long it takes tells nothing of the two.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// To tell whether two lines of a file have the same.
    pub(super) fn bytes(&self) -> [u8; HASH_BYTES] {
        self.0
    }
}

impl FromStr for TokenHash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Self, NotAHash> {
        if text.len() != 2 * HASH_BYTES || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(NotAHash);
        }
        let mut hash = [0; HASH_BYTES];
        for (at, byte) in hash.iter_mut().enumerate() {
            let digits = text.get(2 * at..2 * at + 2).ok_or(NotAHash)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| NotAHash)?;
        }
        Ok(Self(hash))
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({self})")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_what_sha256sum_says() {
        // printf %s 000…0 | sha256sum
        let hash = TokenHash::of(&"0".repeat(64)).unwrap();
        assert_eq!(hash.to_string(), "60e05bd1b195af2f94112fa7197a5c88289058840ce7c6df9693756bc6250f55");
        assert!(hash.to_string().parse::<TokenHash>().unwrap().is(&hash));
    }

    #[test]
    fn tokens_differ_and_nothing_else_is_one() {
        let ((one, hash), (other, _)) = (new_token(), new_token());
        assert_ne!(one, other);
        assert!(TokenHash::of(&one).unwrap().is(&hash) && !TokenHash::of(&other).unwrap().is(&hash));
        for wrong in ["", "x", &one[1..], &format!("{one}0"), &one.replace(&one[..1], "g"), &"é".repeat(32)]
        {
            assert!(TokenHash::of(wrong).is_none(), "{wrong}");
        }
        for wrong in ["", "0", &"g".repeat(64), &"0".repeat(63), &"é".repeat(32), &"+0".repeat(32)] {
            assert_eq!(wrong.parse::<TokenHash>().unwrap_err(), NotAHash, "{wrong}");
        }
    }
}
