//! The `--config` file: one TOML table whose keys are the flags' names.

use std::collections::BTreeMap;
use std::path::Path;

use super::args::NAMES;

/// Largest file that is read: a configuration has a few lines.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Reads the file's settings as text; whatever is wrong goes to `errors`.
pub(crate) fn read(path: &Path, errors: &mut Vec<String>) -> BTreeMap<&'static str, String> {
    let shown = path.display();
    let text = match read_text(path) {
        Ok(text) => text,
        Err(e) => {
            errors.push(format!("--config {shown}: cannot read the file: {e}"));
            return BTreeMap::new();
        }
    };
    match text.parse::<toml::Table>() {
        Ok(table) => settings(table, &shown.to_string(), errors),
        Err(e) => {
            errors.push(format!("--config {shown}: not valid TOML: {}", e.to_string().trim_end()));
            BTreeMap::new()
        }
    }
}

fn read_text(path: &Path) -> std::io::Result<String> {
    let length = std::fs::metadata(path)?.len();
    if length > MAX_FILE_BYTES {
        return Err(std::io::Error::other(format!("{length} bytes; at most {MAX_FILE_BYTES} are read")));
    }
    std::fs::read_to_string(path)
}

fn settings(table: toml::Table, file: &str, errors: &mut Vec<String>) -> BTreeMap<&'static str, String> {
    let mut settings = BTreeMap::new();
    for (key, value) in table {
        let known = NAMES.iter().find(|name| **name == key);
        match (known, text(&value)) {
            (Some(name), Some(text)) => drop(settings.insert(*name, text)),
            (Some(_), None) => {
                errors.push(format!("{file}: {key}: expected a string, a number, true or false"))
            }
            (None, _) => {
                errors.push(format!("{file}: '{key}' is no setting; known are: {}", NAMES.join(", ")))
            }
        }
    }
    settings
}

fn text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        _ => None,
    }
}
