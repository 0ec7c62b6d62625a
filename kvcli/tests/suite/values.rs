//! Every byte value survives every way in and out.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use crate::fake::Fake;
use crate::program::{finish, run, run_with_input};

fn every_byte() -> Vec<u8> {
    (0..=255).chain((0..=255).rev()).collect()
}

async fn expect_value(fake: &Fake, key: &[u8], value: &[u8]) {
    let got = run(&fake.address, &[OsStr::new("get"), OsStr::from_bytes(key)]).await;
    assert_eq!(got.expect_code(0).stdout, [value, b"\n"].concat());
    assert_eq!(fake.with(|state| state.pairs.get(key).cloned()).unwrap(), value);
}

#[tokio::test]
async fn through_arguments() {
    let fake = Fake::start().await;
    // An argument cannot hold a zero byte.
    let bytes: Vec<u8> = (1..=255).collect();
    let args = ["put".as_bytes(), &bytes, &bytes].map(OsStr::from_bytes);
    run(&fake.address, &args).await.expect_code(0);
    expect_value(&fake, &bytes, &bytes).await;
}

#[tokio::test]
async fn through_a_file() {
    let fake = Fake::start().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    for value in [every_byte(), vec![], vec![0xa5; 1024 * 1024]] {
        std::fs::write(file.path(), &value).unwrap();
        let args = ["put", "k", "--file", file.path().to_str().unwrap()];
        run(&fake.address, &args).await.expect_code(0);
        expect_value(&fake, b"k", &value).await;
    }
}

#[tokio::test]
async fn through_stdin() {
    let fake = Fake::start().await;
    for value in [every_byte(), vec![], vec![0xa5; 1024 * 1024]] {
        run_with_input(&fake.address, &["put", "k", "-"], &value).await.expect_code(0);
        expect_value(&fake, b"k", &value).await;
    }
}

/// Found: with a closed standard input, as a daemon may leave it, `put k -` stored an empty value.
#[tokio::test]
async fn a_closed_stdin_is_no_value() {
    let fake = Fake::start().await;
    let shell = |redirection: &str| {
        let mut command = tokio::process::Command::new("sh");
        let line = format!("exec \"$0\" put k - {redirection}");
        command.args(["-c", &line, env!("CARGO_BIN_EXE_kvcli")]).env("KVCLI_ENDPOINTS", &fake.address);
        finish(command, b"")
    };
    let ended = shell("<&-").await.expect_code(3);
    assert!(ended.stderr.contains("standard input is closed"), "{ended:?}");
    assert!(fake.seen().is_empty());
    // Empty on purpose.
    shell("</dev/null").await.expect_code(0);
    assert_eq!(fake.with(|state| state.pairs.get(&b"k"[..]).cloned()), Some(vec![]));
}

#[tokio::test]
async fn arguments_that_look_like_flags() {
    let fake = Fake::start().await;
    run(&fake.address, &["put", "--", "-key", "--value"]).await.expect_code(0);
    run(&fake.address, &["put", "number", "-17"]).await.expect_code(0);
    let pairs = fake.with(|state| state.pairs.clone());
    assert_eq!(pairs[&b"-key"[..]], b"--value");
    assert_eq!(pairs[&b"number"[..]], b"-17");
}

#[tokio::test]
async fn json_tells_text_from_bytes() {
    let fake = Fake::start().await;
    fake.with(|state| state.pairs.insert("ä".into(), vec![0xff, 0]));
    let got = run(&fake.address, &["get", "ä", "--output", "json"]).await.expect_code(0).json();
    let expected = serde_json::json!({
        "key": "ä", "value_base64": "/wA=", "create_revision": 5, "mod_revision": 17, "version": 2,
    });
    assert_eq!(got, expected);
}
