//! Who may ask what over HTTP, of an application that is served there.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use raftnode::{Application, At, AuthOptions, Node, NodeConfig, StorageError, Transaction, View, auth};

const DEADLINE: Duration = Duration::from_secs(30);

struct Nothing;

impl Application for Nothing {
    const SCHEMA: u32 = 1;
    type Command = ();
    type Response = ();
    type Query = ();
    type Answer = ();

    fn apply(&self, _: &mut Transaction, _: At, (): ()) -> Result<(), StorageError> {
        Ok(())
    }

    fn query(&self, _: &mut View, (): ()) -> Result<(), StorageError> {
        Ok(())
    }
}

/// Every path of every router of this crate, read in its source: one that is added is among them.
fn paths() -> Vec<&'static str> {
    let sources = [
        include_str!("../../src/http/router.rs"),
        include_str!("../../src/http/json.rs"),
        include_str!("../../src/http/admin.rs"),
    ];
    let mut paths: Vec<_> = sources
        .into_iter()
        .flat_map(|source| source.split(".route(\"").skip(1))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// The routers are all in those files.
#[test]
fn no_other_file_has_routes() {
    let http = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http");
    let routing = |file: &std::fs::DirEntry| {
        let text = std::fs::read_to_string(file.path()).unwrap_or_default();
        [".route(", ".nest(", "route_service(", ".fallback("].iter().any(|call| text.contains(call))
    };
    let files = std::fs::read_dir(http).unwrap().map(Result::unwrap).filter(routing);
    let mut names: Vec<_> = files.map(|file| file.file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    // The server's are of its own tests.
    assert_eq!(names, ["admin.rs", "json.rs", "router.rs", "server.rs"]);
}

fn ask(addr: &str, method: &str, path: &str, authorization: Option<&str>) -> (u16, String) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let header = authorization.map(|text| format!("Authorization: {text}\r\n")).unwrap_or_default();
    let json = "Content-Type: application/json\r\nContent-Length: 4\r\n";
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}{json}\r\nnull");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A client that is refused may find the connection reset, because its body was not read.
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let code = text.split(' ').nth(1).and_then(|code| code.parse().ok());
    (code.unwrap_or_else(|| panic!("{method} {path}: {text}")), text)
}

/// Paths that lead nowhere.
const UNLISTED: [&str; 4] = ["/none", "/admin", "/livez/", "/metrics/"];

/// Asks for a path without a token, with that of a stranger, and with those of principals that may
/// nothing, read, write and administer.
fn judge(http: &str, (method, path): (&str, &str), stranger: &str, tokens: &[String]) {
    let code = |authorization: Option<&str>| ask(http, method, path, authorization).0;
    if ["/livez", "/readyz"].contains(&path) {
        assert!(![401, 403].contains(&code(None)), "{method} {path}");
        return;
    }
    assert_eq!((code(None), code(Some(stranger))), (401, 401), "{method} {path}");
    let is_read = path.starts_with("/api/")
        || ["/", "/metrics", "/admin/status", "/admin/members", "/read", "/read-stale"].contains(&path);
    let right = match path {
        _ if is_read => 1,
        "/write" => 2,
        _ => 3,
    };
    for (number, token) in tokens.iter().enumerate() {
        // What this right opens would change the cluster, and is no part of this.
        if number == right && right == 3 && !UNLISTED.contains(&path) {
            continue;
        }
        let found = code(Some(token));
        match number == right {
            true => assert!(![401, 403].contains(&found), "{method} {path}: {found}"),
            false => assert_eq!(found, 403, "{method} {path} by p{number}"),
        }
    }
}

/// Every path, by GET and POST: without a token, with one of no principal, with those of principals
/// that may nothing, read, write or administer. Health alone needs none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_path_but_health_needs_a_right() {
    let home = tempfile::tempdir().unwrap();
    let ports = [(); 3].map(|()| super::ports::hold());
    let [client, raft, http] = ports.each_ref().map(|port| port.local_addr().unwrap().to_string());
    drop(ports);
    let parse = |address: &str| address.parse().unwrap();
    let mut config = NodeConfig::new(1, home.path().join("1"), parse(&client), parse(&raft), parse(&http));
    config.peers = Some(format!("1={raft}/{client}").parse().unwrap());
    let (mut file, mut tokens) = (String::new(), Vec::new());
    for rights in ["", "\"read\"", "\"write\"", "\"admin\""] {
        let (token, hash) = auth::new_token();
        let name = format!("p{}", tokens.len());
        file +=
            &format!("[[principal]]\nname = \"{name}\"\ntoken-sha256 = [\"{hash}\"]\nrights = [{rights}]\n");
        tokens.push(format!("Bearer {token}"));
    }
    let auth_file = home.path().join("auth.toml");
    std::fs::write(&auth_file, file).unwrap();
    config.auth = AuthOptions { auth_file: Some(auth_file), auth_over_plaintext: true };
    let node = Node::builder(Nothing).http_json().start(config).await.unwrap();
    let started = Instant::now();
    while let Err(error) = node.init().await {
        assert!(started.elapsed() < DEADLINE, "{error}");
    }
    let (stranger, _) = auth::new_token();
    let stranger = format!("Bearer {stranger}");
    let paths = paths();
    assert!(paths.len() >= 21, "{paths:?}");
    // All at once: each refusal is held back.
    std::thread::scope(|scope| {
        for path in paths.iter().chain(&UNLISTED) {
            for method in ["GET", "POST"] {
                let (http, stranger, tokens) = (&http, &stranger, &tokens);
                scope.spawn(move || judge(http, (method, path), stranger, tokens));
            }
        }
    });
    let (code, text) = ask(&http, "GET", "/", None);
    assert!(code == 401 && text.to_lowercase().contains("www-authenticate: basic"), "{text}");
    let (_, text) = ask(&http, "POST", "/write", None);
    assert!(
        !text.to_lowercase().contains("www-authenticate: basic") && text.contains("\"applied\":\"no\""),
        "{text}"
    );
    let (_, metrics) = ask(&http, "GET", "/metrics", Some(&tokens[1]));
    let refused = |reason: &str| -> u64 {
        let series = format!("auth_refusals_total{{reason=\"{reason}\"}} ");
        metrics.split(&series).nth(1).unwrap().lines().next().unwrap().parse().unwrap()
    };
    assert!(refused("unauthenticated") > 40 && refused("permission_denied") > 40, "{metrics}");
    assert!(metrics.contains("auth_file_usable 1\n"), "{metrics}");
    node.stop().await;
}
