//! The status page: the status document as a table, refreshed every few seconds. No scripts.

use serde_json::Value;

use super::StatusDocument;

const STYLE: &str = "body{font:15px system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3em .8em .3em 0;border-bottom:1px solid #ccc;\
vertical-align:top}th{font-weight:600;width:14em}code{font-size:13px}";

/// The whole page.
pub(super) fn render(document: &StatusDocument) -> String {
    let value = serde_json::to_value(document).unwrap_or_default();
    let fields = value.as_object().into_iter().flatten();
    let rows: String = fields.map(|(name, value)| row(name, value)).collect();
    let title = title(&value);
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"5\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head>\
         <body><h1>{title}</h1><table>{rows}</table>\
         <p><a href=\"/api/status\">JSON</a> · <a href=\"/metrics\">metrics</a> · <a href=\"/readyz\">ready?</a></p></body></html>\n"
    )
}

fn title(value: &Value) -> String {
    let field = |name| value.get(name).map(text).unwrap_or_default();
    escape(&format!("kvnode {} of cluster {}: {}", field("node_id"), field("cluster_id"), field("role")))
}

fn row(name: &str, value: &Value) -> String {
    let shown = match value {
        Value::Array(items) => {
            items.iter().map(|item| format!("<div><code>{}</code></div>", escape(&text(item)))).collect()
        }
        other => escape(&text(other)),
    };
    format!("<tr><th>{}</th><td>{shown}</td></tr>", escape(&name.replace('_', " ")))
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let fields: Vec<_> =
                fields.iter().map(|(name, value)| format!("{name}={}", text(value))).collect();
            fields.join(" ")
        }
        other => other.to_string(),
    }
}

fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_is_escaped() {
        let row = row("cluster_id", &Value::String("<script>\"&".to_owned()));
        assert_eq!(row, "<tr><th>cluster id</th><td>&lt;script&gt;&quot;&amp;</td></tr>");
    }

    #[test]
    fn members_stand_on_lines_of_their_own() {
        let members = serde_json::json!([{"id": 1, "voter": true}, {"id": 2, "voter": false}]);
        assert_eq!(row("members", &members).matches("<div>").count(), 2);
    }
}
