//! The name that a cluster gave itself.

use std::fmt;
use std::str::FromStr;

use super::ClientError;

/// Hexadecimal digits of an id.
const DIGITS: usize = 32;

/// The id of a cluster, made at random when it was initialised: 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClusterId(u128);

impl FromStr for ClusterId {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, ClientError> {
        // `from_str_radix` alone would accept a sign and fewer digits.
        let well_formed = text.len() == DIGITS && text.bytes().all(|b| b.is_ascii_hexdigit());
        match u128::from_str_radix(text, 16) {
            Ok(number) if well_formed => Ok(Self(number)),
            _ => Err(ClientError::BadClusterId { text: text.chars().take(2 * DIGITS).collect() }),
        }
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_32_hexadecimal_digits() {
        let text = "00000000000000000000000000000abc";
        assert_eq!(text.parse::<ClusterId>().unwrap().to_string(), text);
        assert_eq!(text.to_uppercase().parse::<ClusterId>().unwrap().to_string(), text);
        for bad in [
            "",
            "kv",
            "abc",
            "+0000000000000000000000000000abc",
            &text.replace('a', "g"),
            &format!("{text}0"),
        ] {
            assert!(bad.parse::<ClusterId>().is_err(), "{bad:?} was accepted");
        }
    }
}
