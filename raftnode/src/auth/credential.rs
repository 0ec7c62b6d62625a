//! By what a request proves whose it is.

use std::sync::Arc;

use axum::http::{HeaderMap, Method, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::TokenHash;
use super::principal::{Principal, Principals};
use crate::connections::Origin;

/// Longest header that is looked into: a token, a user's name, and what encodes them.
const MAX_HEADER_BYTES: usize = 1024;

/// What was presented. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) enum Credential {
    /// A token, of which nothing else is kept.
    Token(TokenHash),
    /// A verified certificate with this name.
    Certificate(Arc<str>),
}

/// A request does not say, in a way that counts, whose it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unproven {
    #[error("it has neither a token nor a client certificate; give kvcli --token-file, or --cert and --key")]
    Nothing,
    #[error("its header `authorization` is not `Bearer` and a token of 64 hexadecimal digits")]
    NoToken,
    #[error(
        "a password, as a browser sends it, is for reading; a change needs the token in a header `authorization: Bearer`"
    )]
    PasswordForChange,
    #[error(
        "its token came over a connection without TLS, where others could read it: make a new one, and use TLS"
    )]
    Plaintext,
    #[error("its token is not one of --auth-file at this node")]
    UnknownToken,
    #[error("the name of its certificate, '{0}', is not one of --auth-file at this node")]
    UnknownCertificate(Arc<str>),
}

impl Credential {
    /// What a request presents: its token if it has one, or else the certificate of its connection.
    pub(super) fn of(
        method: &Method,
        headers: &HeaderMap,
        origin: Option<&Origin>,
        over_plaintext: bool,
    ) -> Result<Self, Unproven> {
        let mut said = headers.get_all(header::AUTHORIZATION).iter();
        let Some(authorization) = said.next() else {
            let certificate = origin.and_then(|origin| origin.certificate.clone());
            return certificate.map(Self::Certificate).ok_or(Unproven::Nothing);
        };
        let text = authorization.to_str().ok().filter(|text| text.len() <= MAX_HEADER_BYTES);
        let token = text.filter(|_| said.next().is_none()).and_then(|text| token(method, text));
        let hash = token.ok_or(Unproven::NoToken)??;
        match over_plaintext || origin.is_some_and(|origin| origin.is_encrypted) {
            true => Ok(Self::Token(hash)),
            false => Err(Unproven::Plaintext),
        }
    }

    /// Whose it is.
    pub(super) fn find<'a>(&self, principals: &'a Principals) -> Result<&'a Arc<Principal>, Unproven> {
        match self {
            Self::Token(hash) => principals.with_token(hash).ok_or(Unproven::UnknownToken),
            Self::Certificate(name) => principals
                .with_certificate(name)
                .ok_or_else(|| Unproven::UnknownCertificate(Arc::clone(name))),
        }
    }
}

/// The token in a header. Browsers ask their user for a password and send that, to whatever page
/// makes them send a request: so it counts for what changes nothing.
fn token(method: &Method, header: &str) -> Option<Result<TokenHash, Unproven>> {
    let (scheme, rest) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return TokenHash::of(rest.trim()).map(Ok);
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    let hash = TokenHash::of(decoded.split_once(':')?.1)?;
    Some(if method.is_safe() { Ok(hash) } else { Err(Unproven::PasswordForChange) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presented(
        method: &Method,
        authorization: &[&str],
        over_plaintext: bool,
    ) -> Result<Credential, Unproven> {
        let mut headers = HeaderMap::new();
        for text in authorization {
            headers.append(header::AUTHORIZATION, text.parse().unwrap());
        }
        Credential::of(method, &headers, None, over_plaintext)
    }

    #[test]
    fn a_token_is_read_from_either_header_and_nothing_else_is_one() {
        let (token, hash) = super::super::new_token();
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let (bearer, password) = (format!("Bearer {token}"), basic(&format!("you:{token}")));
        for header in [&*bearer, &format!("bearer {token}"), &password] {
            match presented(&Method::GET, &[header], true) {
                Ok(Credential::Token(found)) => assert!(found.is(&hash)),
                other => panic!("{header}: {other:?}"),
            }
            assert_eq!(presented(&Method::GET, &[header], false).unwrap_err(), Unproven::Plaintext);
        }
        presented(&Method::POST, &[&bearer], true).unwrap();
        assert_eq!(presented(&Method::POST, &[&password], true).unwrap_err(), Unproven::PasswordForChange);
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer x",
            &token,
            &format!("Digest {token}"),
            "Basic !",
            &basic(&token),
            &basic("you:x"),
            &format!("Bearer {}", "0".repeat(2000)),
        ] {
            assert_eq!(presented(&Method::GET, &[wrong], true).unwrap_err(), Unproven::NoToken, "{wrong}");
        }
        assert_eq!(presented(&Method::GET, &[&bearer, &bearer], true).unwrap_err(), Unproven::NoToken);
        assert_eq!(presented(&Method::GET, &[], true).unwrap_err(), Unproven::Nothing);
    }
}
