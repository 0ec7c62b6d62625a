//! The status page in a browser, and waiting for what it shows.

use std::time::Duration;

use super::browser::Browser;
use super::{Cluster, Node, wait};

pub const SHOW_TIMEOUT: Duration = Duration::from_secs(10);

/// The page of this node.
pub async fn open(cluster: &Cluster, node: u64) -> Browser {
    let browser = Browser::start(cluster.path()).await;
    browser.open(&url(cluster.node(node)));
    browser
}

pub fn url(node: &Node) -> String {
    format!("http://{}/", node.ports().http_addr())
}

/// Waits until the element shows a text with all these parts.
pub async fn shows(browser: &Browser, selector: &str, parts: &[&str], within: Duration) -> String {
    wait::until(&format!("{selector} shows {parts:?}"), within, async || {
        let text = browser.text(selector);
        wait::is(parts.iter().all(|part| text.contains(part)), || text.clone()).map(|()| text)
    })
    .await
}

/// The page has nothing to complain of.
pub fn assert_quiet(browser: &Browser) {
    assert_eq!(browser.console(), Vec::<String>::new(), "the console is not empty");
}
