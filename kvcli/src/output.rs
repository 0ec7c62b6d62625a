//! Standard output: the answer and nothing else.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use serde::Serialize;

/// How answers are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people, and raw values.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Writes `bytes` to stdout at once.
pub(crate) fn write(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Writes `text` and a newline.
pub(crate) fn line(text: &str) -> io::Result<()> {
    write(format!("{text}\n").as_bytes())
}

/// Writes `value` as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    write(&line)
}

/// Writes a remark to stderr. That nobody listens there is no error.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// `bytes` as one field of a line of text: printable UTF-8 as it is, a backslash doubled, tab, newline and
/// carriage return as in C, every other byte as `\xNN`.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| push_escaped(&mut text, c));
        push_hex(&mut text, chunk.invalid());
    }
    text
}

fn push_escaped(text: &mut String, c: char) {
    match c {
        '\\' => text.push_str("\\\\"),
        '\t' => text.push_str("\\t"),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        c if is_printable(c) => text.push(c),
        c => push_hex(text, c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Not printable besides control characters: line separators and what changes the direction of text.
fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn one_field_of_one_line() {
        assert_eq!(escaped("grün 漢".as_bytes()), "grün 漢");
        assert_eq!(escaped(b"a\tb\nc\\d\r"), "a\\tb\\nc\\\\d\\r");
        assert_eq!(escaped(b"\x00\x1b[2J\xff\x7f"), "\\x00\\x1b[2J\\xff\\x7f");
        assert_eq!(escaped("\u{202e}".as_bytes()), "\\xe2\\x80\\xae");
    }
}
