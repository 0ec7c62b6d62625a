//! A real browser, headless, over the WebDriver protocol: JSON over HTTP, so small that no crate is
//! needed. Calls block.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Process, wait};

const START_TIMEOUT: Duration = Duration::from_secs(20);
/// No command takes longer.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(20);
/// The key codes of the protocol.
pub const TAB: &str = "\u{E004}";
pub const ENTER: &str = "\u{E007}";

/// One browser with one window. Invariant: once this is dropped, neither it nor its driver runs.
pub struct Browser {
    addr: String,
    session: String,
    _driver: Process,
}

impl Browser {
    /// Keeps everything of it in `home`.
    pub async fn start(home: &Path) -> Self {
        let log = home.join("chromedriver.log");
        let driver = Process::start(Command::new("chromedriver").arg("--port=0"), &log);
        let port = wait::until("chromedriver listens", START_TIMEOUT, async || {
            let said = driver.output();
            let port = said.rsplit_once("successfully on port ").and_then(|(_, rest)| rest.split_once('.'));
            port.map(|(port, _)| port.to_owned()).ok_or(said)
        })
        .await;
        let addr = format!("127.0.0.1:{port}");
        let profile = format!("--user-data-dir={}", home.join("chromium").display());
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL" },
            // Tests run as root in CI, where the sandbox refuses to.
            "goog:chromeOptions": { "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", profile] },
        } } });
        let answer = exchange(&addr, "POST", "/session", &capabilities).expect("a browser starts");
        let session = answer["sessionId"].as_str().expect("a session").to_owned();
        Self { addr, session, _driver: driver }
    }

    fn command(&self, path: &str, body: &Value) -> Value {
        let path = format!("/session/{}{path}", self.session);
        exchange(&self.addr, "POST", &path, body).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    pub fn open(&self, url: &str) {
        self.command("/url", &json!({ "url": url }));
    }

    /// Runs the body of a function in the page; answers what it returns.
    pub fn run(&self, script: &str) -> Value {
        self.command("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The text of the first element that the selector finds, as it is seen.
    pub fn text(&self, selector: &str) -> String {
        let script =
            format!("const e = document.querySelector({}); return e ? e.innerText : '';", json!(selector));
        self.run(&script).as_str().unwrap_or_default().to_owned()
    }

    /// Presses and releases a key.
    pub fn press(&self, key: &str) {
        let actions = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        self.command(
            "/actions",
            &json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] }),
        );
    }

    /// A window of this size, and a system that prefers `scheme` (light or dark).
    pub fn pretend(&self, width: u32, height: u32, scheme: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
        // A colour that is still on its way to another is not what is looked at.
        let features = json!([
            { "name": "prefers-reduced-motion", "value": "reduce" },
            { "name": "prefers-color-scheme", "value": scheme },
        ]);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    pub fn hide_scrollbars(&self) {
        self.devtools("Emulation.setScrollbarsHidden", &json!({ "hidden": true }));
    }

    /// What is to be seen of the page, as PNG.
    pub fn picture(&self) -> Vec<u8> {
        let answer = self.devtools("Page.captureScreenshot", &json!({ "format": "png" }));
        STANDARD.decode(answer["data"].as_str().expect("a picture")).expect("base64")
    }

    fn devtools(&self, command: &str, params: &Value) -> Value {
        self.command("/goog/cdp/execute", &json!({ "cmd": command, "params": params }))
    }

    /// What the console has shown since this was last asked.
    pub fn console(&self) -> Vec<String> {
        let entries = self.command("/se/log", &json!({ "type": "browser" }));
        let line = |entry: &Value| format!("{} {}", entry["level"], entry["message"]);
        entries.as_array().expect("a list").iter().map(line).collect()
    }
}

impl Drop for Browser {
    /// The driver ends the browser, and is killed after that.
    fn drop(&mut self) {
        let path = format!("/session/{}", self.session);
        if let Err(e) = exchange(&self.addr, "DELETE", &path, &json!({})) {
            eprintln!("the browser may still run: {e}");
        }
    }
}

/// One command; answers its `value`.
fn exchange(addr: &str, method: &str, path: &str, body: &Value) -> Result<Value, String> {
    let answer = send(addr, method, path, &body.to_string()).map_err(|e| e.to_string())?;
    let mut answer: Value = serde_json::from_slice(&answer).map_err(|e| e.to_string())?;
    let value = answer["value"].take();
    if value["error"].is_string() { Err(value.to_string()) } else { Ok(value) }
}

fn send(addr: &str, method: &str, path: &str, body: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(COMMAND_TIMEOUT))?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {addr}\r\nContent-Type: application/json; charset=utf-8\r\n"
    );
    write!(stream, "{head}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())?;
    let mut answer = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if answer.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        let header = line.to_ascii_lowercase();
        length = header.strip_prefix("content-length:").and_then(|n| n.trim().parse().ok()).unwrap_or(length);
    }
    let mut content = vec![0; length];
    answer.read_exact(&mut content)?;
    Ok(content)
}
