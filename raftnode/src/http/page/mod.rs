//! The status page: one document with its style and its script in it, the same for every node. It
//! asks `/api/cluster` and `/api/cluster/history` of the node that served it.
//!
//! No data is in it; the script puts what it is told into the page as text. The policy lets nothing
//! run but that script, and nothing be asked but this node.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{Html, IntoResponse, Response};

/// With the style and the script in their places; what remains to be filled in is the nonce.
static PAGE: LazyLock<String> = LazyLock::new(|| {
    include_str!("page.html")
        .replace("{{style}}", include_str!("page.css").trim_end())
        .replace("{{script}}", include_str!("page.js").trim_end())
});

/// The page, with a nonce of its own.
pub(super) async fn serve() -> Response {
    let nonce = format!("{:032x}", rand::random::<u128>());
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Html(PAGE.replace("{{nonce}}", &nonce))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_pages_own_script_may_run() {
        let policy = |page: &Response| page.headers()["content-security-policy"].to_str().unwrap().to_owned();
        let (one, other) = (serve().await, serve().await);
        assert!(
            policy(&one).starts_with("default-src 'none'; script-src 'nonce-")
                && !policy(&one).contains("unsafe")
        );
        assert_ne!(policy(&one), policy(&other), "a nonce is used once");
        let body = axum::body::to_bytes(one.into_body(), MAX_PAGE_BYTES).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(!body.contains("{{") && body.starts_with("<!doctype html>"));
    }

    /// What the page may weigh, uncompressed.
    const MAX_PAGE_BYTES: usize = 40 * 1024;

    #[test]
    fn the_page_is_whole_small_and_inserts_text_only() {
        assert!(PAGE.len() < MAX_PAGE_BYTES, "{} bytes", PAGE.len());
        assert_eq!(PAGE.matches("{{").count(), PAGE.matches("{{nonce}}").count());
        for way_in in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "style=\"", "onclick"]
        {
            assert!(!PAGE.contains(way_in), "{way_in}");
        }
        // Besides the name of SVG, and links to the pages of other nodes.
        let addresses: Vec<_> =
            PAGE.match_indices("://").map(|(at, _)| &PAGE[at..PAGE.len().min(at + 14)]).collect();
        assert_eq!(addresses, ["://www.w3.org/", "://\" + addr + "]);
    }
}
