//! The guard as a whole, against a model of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use tonic::Extensions;
use tonic::codegen::Service as _;

use super::*;
use crate::connections::{Origin, Patience, Places};
use crate::metrics::{Metrics, Op};

/// A random sequence (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }
}

/// What the service behind the guard was told of the caller: the scopes of its rights.
fn told(extensions: &Extensions) -> String {
    let caller = Caller::of(extensions).map(|caller| {
        [Right::Read, Right::Write, Right::Admin]
            .map(|right| caller.may(right).ok().map(|scope| scope.entries().map(<[_]>::to_vec)))
    });
    format!("{:?}", caller.ok())
}

fn origin(certificate: Option<&str>, is_encrypted: bool) -> Origin {
    let place = Places::new(1, Patience::default()).take().unwrap();
    let (requests, certificate) = (place.requests(), certificate.map(Arc::from));
    Origin { requests, node: None, certificate, is_encrypted, peer: None }
}

/// A principal of the model.
#[derive(Debug, Clone)]
struct Modelled {
    certificate: Option<String>,
    tokens: Vec<String>,
    rights: Vec<Right>,
    scope: Vec<String>,
}

const PATHS: [(&str, Needs); 5] = [
    ("/a.v1.A/Get", Needs::Right(Right::Read)),
    ("/a.v1.A/Put", Needs::Right(Right::Write)),
    ("/a.v1.A/Stream", Needs::Known),
    ("/a.v1.A/Open", Needs::Nothing),
    // Not listed.
    ("/a.v1.A/Other", Needs::Right(Right::Admin)),
];

/// Random files and requests: what the guard lets through, with which scope, and what it refuses
/// how, is what a model says which knows nothing of hashes, headers and files.
#[tokio::test(start_paused = true)]
async fn random_requests_of_random_principals_are_judged_as_a_model_does() {
    let seed = std::env::var("KV_TESTS_SEED").ok().map_or_else(rand::random, |text| text.parse().unwrap());
    println!("random choices from KV_TESTS_SEED={seed}");
    let mut dice = Dice(seed);
    let metrics = Metrics::new("app", 1, "test", &[Op::WRITE]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (file, mut answers) = (dir.path().join("auth.toml"), BTreeMap::<u16, u32>::new());
    for _ in 0..40 {
        let (mut principals, mut text) = (Vec::new(), String::new());
        for number in 0..1 + dice.below(5) {
            let certificate = (dice.below(3) > 0).then(|| format!("c{number}"));
            let least = usize::from(certificate.is_none());
            let tokens: Vec<_> = (0..least + dice.below(3)).map(|_| new_token()).collect();
            let rights = [Right::Read, Right::Write, Right::Admin];
            let rights: Vec<_> = rights.into_iter().filter(|_| dice.below(2) > 0).collect();
            let scope: Vec<_> = (0..dice.below(3)).map(|n| format!("s{n}")).collect();
            text += &format!("[[principal]]\nname = \"p{number}\"\n");
            if let Some(name) = &certificate {
                text += &format!("certificate = \"{name}\"\n");
            }
            let quoted = |texts: Vec<String>| {
                format!("[{}]", texts.iter().map(|t| format!("\"{t}\",")).collect::<String>())
            };
            text += &format!(
                "token-sha256 = {}\n",
                quoted(tokens.iter().map(|(_, hash)| hash.to_string()).collect())
            );
            text += &format!("rights = {}\n", quoted(rights.iter().map(ToString::to_string).collect()));
            text += &format!("scope = {}\n", quoted(scope.clone()));
            let tokens = tokens.into_iter().map(|(token, _)| token).collect();
            principals.push(Modelled { certificate, tokens, rights, scope });
        }
        std::fs::write(&file, &text).unwrap();
        let over_plaintext = dice.below(2) == 0;
        let auth = Auth::of_file(&file, over_plaintext, Some(|_| Ok(()))).unwrap();
        let guard =
            Guard::of_grpc(&auth, NeedsOf::clients(&PATHS[..4]), &Refusals::new(metrics.auth.clone()), 1);
        let behind = async |request: Request| told(request.extensions());
        let mut router = guarded(Router::new().fallback(behind), guard);
        for _ in 0..40 {
            let (path, needs) = PATHS[dice.below(PATHS.len())];
            let shown = dice.below(7);
            let certificate = (shown < 6).then(|| format!("c{shown}")).filter(|_| dice.below(2) > 0);
            let is_encrypted = certificate.is_some() || dice.below(2) == 0;
            let all: Vec<&String> = principals.iter().flat_map(|principal| &principal.tokens).collect();
            let token = match dice.below(4) {
                0 => Some(new_token().0),
                1 => Some("nonsense".to_owned()),
                2 if !all.is_empty() => Some(all[dice.below(all.len())].clone()),
                _ => None,
            };
            let mut request = Request::builder().method("POST").uri(path);
            if let Some(token) = &token {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            let mut request = request.body(Body::empty()).unwrap();
            request.extensions_mut().insert(origin(certificate.as_deref(), is_encrypted));

            let found = principals.iter().find(|principal| match (&token, &certificate) {
                (Some(token), _) => principal.tokens.contains(token) && (is_encrypted || over_plaintext),
                (None, Some(_)) => principal.certificate == certificate,
                (None, None) => false,
            });
            let expected = match (needs, found) {
                (Needs::Nothing, _) => Ok("None".to_owned()),
                (_, None) => Err(tonic::Code::Unauthenticated),
                (Needs::Right(right), Some(principal)) if !principal.rights.contains(&right) => {
                    Err(tonic::Code::PermissionDenied)
                }
                (_, Some(Modelled { rights, scope, .. })) => Ok(format!(
                    "{:?}",
                    Some(
                        [Right::Read, Right::Write, Right::Admin]
                            .map(|right| rights.contains(&right).then(|| Some(scope.clone())))
                    )
                )),
            };
            let response = router.call(request).await.unwrap();
            let refusal = tonic::Status::from_header_map(response.headers()).map(|status| status.code());
            let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
            let found = refusal.map_or_else(|| Ok(String::from_utf8(body.to_vec()).unwrap()), Err);
            assert_eq!(found, expected, "{path}, {token:?}, {certificate:?}, {is_encrypted}: {text}");
            *answers.entry(refusal.map_or(0, |code| code as u16)).or_default() += 1;
        }
    }
    println!("answers by code: {answers:?}");
    assert!(answers.len() == 3 && answers.values().all(|count| *count > 50), "vacuous: {answers:?}");
}

/// A file that is changed counts for a caller that was there before; one that is broken does not.
#[test]
fn a_caller_is_held_to_the_newest_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("auth.toml");
    let write = |rights: &str| {
        let text = format!("[[principal]]\nname = \"a\"\ncertificate = \"c\"\nrights = [{rights}]\n");
        std::fs::write(&file, text).unwrap();
    };
    write("\"read\"");
    let auth = Auth::of_file(&file, false, None).unwrap();
    let shared = auth.shared().unwrap();
    let metrics = Metrics::new("app", 1, "test", &[Op::WRITE]).unwrap();
    let refusals = Refusals::new(metrics.auth.clone());
    let caller = || Caller::identified(shared, &refusals, credential::Credential::Certificate("c".into()));
    let early = caller().unwrap();
    early.may(Right::Read).unwrap();
    assert_eq!(early.may(Right::Write).unwrap_err().code(), tonic::Code::PermissionDenied);
    write("\"write\"");
    early.may(Right::Read).unwrap();
    shared.look().unwrap();
    early.may(Right::Write).unwrap();
    early.may(Right::Read).unwrap_err();
    write("\"everything\"");
    shared.look().unwrap_err();
    early.may(Right::Write).unwrap();
    std::fs::write(&file, "[[principal]]\nname = \"b\"\ncertificate = \"d\"\n").unwrap();
    shared.look().unwrap();
    assert_eq!(early.may(Right::Write).unwrap_err().code(), tonic::Code::Unauthenticated);
    assert!(caller().is_err());
}
