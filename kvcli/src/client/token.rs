//! The token by which a client says who it is.

use std::fmt;
use std::str::FromStr;

use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

use super::{ClientError, ClientTls};

/// Longest token that is sent.
const MAX_TOKEN_BYTES: usize = 512;

/// A secret that names a principal to nodes which ask for one, as `kvnode token` makes it. Never
/// shown: not by `Debug`, and in no error.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientToken {
    header: MetadataValue<Ascii>,
    over_plaintext: bool,
}

impl ClientToken {
    /// Sends it over connections without TLS as well, where whatever is on the way can read and use
    /// it. Otherwise [`Client::connect`](super::Client::connect) refuses it without
    /// [`ClientOptions::tls`](super::ClientOptions::tls).
    #[must_use]
    pub fn over_plaintext(self) -> Self {
        Self { over_plaintext: true, ..self }
    }

    /// Whether it may be sent over connections that are encrypted so.
    pub(super) fn check(&self, tls: Option<&ClientTls>) -> Result<(), ClientError> {
        match tls.is_some() || self.over_plaintext {
            true => Ok(()),
            false => Err(ClientError::TokenOverPlaintext),
        }
    }

    pub(super) fn send(&self, metadata: &mut MetadataMap) {
        metadata.insert("authorization", self.header.clone());
    }
}

impl FromStr for ClientToken {
    type Err = ClientError;

    /// Of a file's or a variable's content: what surrounds it is dropped.
    fn from_str(text: &str) -> Result<Self, ClientError> {
        let text = text.trim();
        let is_token =
            (1..=MAX_TOKEN_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        let header = is_token.then(|| format!("Bearer {text}").parse().ok()).flatten();
        let mut header: MetadataValue<Ascii> = header.ok_or(ClientError::BadToken)?;
        header.set_sensitive(true);
        Ok(Self { header, over_plaintext: false })
    }
}

impl fmt::Debug for ClientToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientToken").field("over_plaintext", &self.over_plaintext).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_sent_and_never_shown() {
        let token: ClientToken = " 0123abcd\n".parse().unwrap();
        let mut metadata = MetadataMap::new();
        token.send(&mut metadata);
        assert_eq!(metadata.get("authorization").unwrap(), "Bearer 0123abcd");
        assert!(!format!("{token:?} {metadata:?}").contains("0123"));
        for wrong in ["", " \n", "a b", "a\nb", "é", &"a".repeat(MAX_TOKEN_BYTES + 1)] {
            let error = wrong.parse::<ClientToken>().unwrap_err().to_string();
            assert!(!error.contains("a b"), "{error}");
        }
    }

    #[test]
    fn it_needs_tls_or_the_word_of_its_owner() {
        let token: ClientToken = "0123".parse().unwrap();
        token.check(None).unwrap_err();
        token.check(Some(&ClientTls { ca: "ca.pem".into(), identity: None })).unwrap();
        token.over_plaintext().check(None).unwrap();
    }
}
