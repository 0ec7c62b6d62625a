//! `--auth-file`, as it is written.
//!
//! ```toml
//! [[principal]]
//! name = "shop"
//! certificate = "shop.example"
//! token-sha256 = ["60e05bd1…"]
//! rights = ["read", "write"]
//! scope = ["carts/"]
//! ```

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;

use super::TokenHash;
use super::principal::{Principal, Principals, Right, ScopeCheck};
use crate::tls::MAX_NAME_BYTES;

/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Principals of one file.
const MAX_PRINCIPALS: usize = 1024;
/// Tokens of all of them: as many are looked at for a request.
const MAX_TOKENS: usize = 1024;
/// Entries of one principal's scope.
const MAX_SCOPE_ENTRIES: usize = 64;

/// The file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthFileError {
    /// It cannot be read.
    #[error("cannot read {} (--auth-file): {problem}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        problem: String,
    },
    /// Something in it is wrong.
    #[error("{}:{line} (--auth-file): {problem}", file.display())]
    Wrong {
        /// The file.
        file: PathBuf,
        /// From 1 up.
        line: usize,
        /// What.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    principal: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Entry {
    name: Spanned<String>,
    certificate: Option<Spanned<String>>,
    #[serde(default)]
    token_sha256: Vec<Spanned<String>>,
    #[serde(default)]
    rights: Vec<Right>,
    #[serde(default)]
    scope: Vec<Spanned<String>>,
}

/// What is wrong, and where in the text.
struct Wrong(Range<usize>, String);

/// The bytes of the file. Blocks on the disk.
pub(super) fn read(file: &Path) -> Result<String, AuthFileError> {
    let text = || -> io::Result<String> {
        let mut text = String::new();
        File::open(file)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
        match text.len() as u64 > MAX_FILE_BYTES {
            true => Err(io::Error::other(format!("more than {MAX_FILE_BYTES} bytes"))),
            false => Ok(text),
        }
    };
    text().map_err(|e| AuthFileError::Read { file: file.to_owned(), problem: e.to_string() })
}

/// The principals that a text names. No error repeats a part of the text that could be a token.
pub(super) fn parse(
    file: &Path,
    text: &str,
    scopes: Option<ScopeCheck>,
) -> Result<Principals, AuthFileError> {
    let wrong = |Wrong(span, problem): Wrong| {
        let before = text.get(..span.start.min(text.len())).unwrap_or_default();
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        AuthFileError::Wrong { file: file.to_owned(), line, problem }
    };
    let document: Document = toml::from_str(text)
        .map_err(|e| wrong(Wrong(e.span().unwrap_or_default(), without_values(e.message()))))?;
    principals(document.principal, scopes).map_err(wrong)
}

/// A message of the parser without the values that it repeats.
fn without_values(message: &str) -> String {
    let outside = message.split('"').step_by(2);
    outside.collect::<Vec<_>>().join("…")
}

fn principals(entries: Vec<Entry>, scopes: Option<ScopeCheck>) -> Result<Principals, Wrong> {
    let start = 0..0;
    if entries.is_empty() {
        return Err(Wrong(start, "names no principal; then no request could be answered".to_owned()));
    }
    if entries.len() > MAX_PRINCIPALS {
        return Err(Wrong(start, format!("has more than {MAX_PRINCIPALS} principals")));
    }
    let (mut all, mut names, mut hashes) = (Principals::default(), HashSet::new(), HashSet::new());
    for entry in entries {
        let Entry { name, certificate, token_sha256, rights, scope } = entry;
        check_name(&name)?;
        let wrong = |at: &Spanned<String>, problem: &str| {
            Wrong(at.span(), format!("principal '{}' {problem}", name.get_ref()))
        };
        if !names.insert(name.get_ref().clone()) {
            return Err(wrong(&name, "is there twice"));
        }
        if certificate.is_none() && token_sha256.is_empty() {
            return Err(wrong(&name, "has neither certificate nor token-sha256, and could not prove itself"));
        }
        for entry in &scope {
            let check = scopes.ok_or_else(|| wrong(entry, "has a scope, and this application has none"))?;
            check(entry.get_ref()).map_err(|problem| wrong(entry, &format!("has a bad scope: {problem}")))?;
        }
        if let Some(entry) = scope.get(MAX_SCOPE_ENTRIES) {
            return Err(wrong(entry, &format!("has more than {MAX_SCOPE_ENTRIES} entries in its scope")));
        }
        let principal = Arc::new(Principal {
            name: name.get_ref().clone(),
            rights,
            scope: scope.into_iter().map(Spanned::into_inner).collect(),
        });
        if let Some(certificate) = certificate {
            check_name(&certificate)?;
            let known = all.certificates.insert(certificate.get_ref().clone(), Arc::clone(&principal));
            if let Some(other) = known {
                return Err(wrong(&certificate, &format!("has the certificate of '{}', too", other.name)));
            }
        }
        for text in &token_sha256 {
            let hash: TokenHash = text
                .get_ref()
                .parse()
                .map_err(|e| wrong(text, &format!("has a token-sha256 that is {e}")))?;
            if !hashes.insert(hash.bytes()) {
                return Err(wrong(text, "has a token that is there twice"));
            }
            all.tokens.push((hash, Arc::clone(&principal)));
        }
    }
    if all.tokens.len() > MAX_TOKENS {
        return Err(Wrong(start, format!("has more than {MAX_TOKENS} tokens")));
    }
    Ok(all)
}

fn check_name(name: &Spanned<String>) -> Result<(), Wrong> {
    let text = name.get_ref();
    match text.len() {
        1..=MAX_NAME_BYTES if !text.contains(char::is_control) => Ok(()),
        _ => Err(Wrong(
            name.span(),
            format!("a name has 1 to {MAX_NAME_BYTES} bytes and no control characters"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Principals, String> {
        let check: ScopeCheck = |text| if text.len() > 5 { Err("too long".to_owned()) } else { Ok(()) };
        parse(Path::new("auth.toml"), text, Some(check)).map_err(|e| e.to_string())
    }

    #[test]
    fn a_principal_is_found_by_certificate_and_by_any_of_its_tokens() {
        let ((one, first), (two, second)) = (super::super::new_token(), super::super::new_token());
        let all = parsed(&format!(
            "[[principal]]\nname = \"a\"\ncertificate = \"a.example\"\ntoken-sha256 = [\"{first}\", \"{second}\"]\n\
             rights = [\"read\"]\nscope = [\"a/\"]\n"
        ))
        .unwrap();
        for token in [one, two] {
            assert_eq!(all.with_token(&TokenHash::of(&token).unwrap()).unwrap().name, "a");
        }
        let found = all.with_certificate("a.example").unwrap();
        assert!(found.has(Right::Read) && !found.has(Right::Write) && found.scope == ["a/"]);
        assert!(all.with_certificate("a").is_none());
        assert!(all.with_token(&super::super::new_token().1).is_none());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let hash = "0".repeat(64);
        for (text, line, part) in [
            (String::new(), 1, "no principal"),
            ("[[principal]]\nname = 7\n".to_owned(), 2, "string"),
            ("[[principal]]\nname = \"a\"\ntoken = \"secret\"\n".to_owned(), 3, "unknown field"),
            ("[[principal]]\nname = \"a\"\ntoken-sha256 = \"secret\"\n".to_owned(), 3, "expected a sequence"),
            ("[[principal]]\nname = \"a\"\n".to_owned(), 2, "neither certificate nor token"),
            ("[[principal]]\ncertificate = \"a\"\n".to_owned(), 1, "name"),
            ("[[principal]]\nname = \"a\"\ncertificate = \"a\"\nrights = [\"all\"]".to_owned(), 4, "all"),
            ("[[principal]]\nname = \"\"\ncertificate = \"a\"".to_owned(), 2, "1 to 256"),
            ("[[principal]]\nname = \"a\"\ntoken-sha256 = [\"secret\"]".to_owned(), 3, "64 hexadecimal"),
            (
                "[[principal]]\nname = \"a\"\ncertificate = \"a\"\nscope = [\"a/\",\n\"tenants\"]".to_owned(),
                5,
                "too long",
            ),
            (format!("{0}{0}", "[[principal]]\nname = \"a\"\ncertificate = \"a\"\n"), 5, "twice"),
            (
                "[[principal]]\nname = \"a\"\ncertificate = \"c\"\n[[principal]]\nname = \"b\"\ncertificate = \"c\""
                    .to_owned(),
                6,
                "certificate of 'a'",
            ),
            (format!("[[principal]]\nname = \"a\"\ntoken-sha256 = [\"{hash}\",\n\"{hash}\"]"), 4, "twice"),
        ] {
            let error = parsed(&text).unwrap_err();
            assert!(error.starts_with(&format!("auth.toml:{line} ")) && error.contains(part), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let scoped = "[[principal]]\nname = \"a\"\ncertificate = \"a\"\nscope = [\"a/\"]";
        let error = parse(Path::new("f"), scoped, None).unwrap_err().to_string();
        assert!(error.contains("this application has none"), "{error}");
    }
}
