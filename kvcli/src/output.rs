//! Standard output: the answer and nothing else.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};

use serde::Serialize;
use serde_json::json;

/// How answers are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people, and raw values.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl Format {
    /// What a command line asks for that could not be understood.
    pub(crate) fn sought(arguments: impl IntoIterator<Item = OsString>) -> Self {
        let arguments = arguments.into_iter().map(|argument| argument.to_string_lossy().into_owned());
        let mut arguments = arguments.take_while(|argument| argument != "--");
        let mut format = Self::Text;
        while let Some(argument) = arguments.next() {
            let value = match argument.strip_prefix("--output") {
                Some(rest) => rest.strip_prefix('=').map_or_else(String::new, str::to_owned),
                None => match short_value(&argument) {
                    Some(value) => value.to_owned(),
                    None => continue,
                },
            };
            let value = if value.is_empty() { arguments.next().unwrap_or_default() } else { value };
            format = if value == "json" { Self::Json } else { Self::Text };
        }
        format
    }
}

/// What follows `-o` in the same argument, `-v` before it and `=` after it left out.
fn short_value(argument: &str) -> Option<&str> {
    let flags = argument.strip_prefix('-')?.trim_start_matches('v').strip_prefix('o')?;
    Some(flags.strip_prefix('=').unwrap_or(flags))
}

/// Writes `bytes` to stdout at once.
pub(crate) fn write(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Ends a command that has changed something, after it tried to write its answer. A change does
/// not become undone because its answer cannot be written, and must not look as if it were.
pub(crate) fn done(change: &str, format: Format, written: io::Result<()>) {
    let Err(error) = written else { return };
    // The reader of our output went away: no remark, as for every command.
    if error.kind() == io::ErrorKind::BrokenPipe {
        return;
    }
    let text = format!("{change}; only the answer could not be printed: {error}");
    match format {
        Format::Text => note(&format!("kvcli: {text}")),
        Format::Json => note(&json!({ "warning": text }).to_string()),
    }
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

/// Writes a remark to stderr. It is no error if that is closed.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// `bytes` as one field of a line of text: printable UTF-8 as it is, a backslash doubled, tab,
/// newline and carriage return as in C, every other byte as `\xNN`.
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

/// Not printable besides control characters: line separators and what changes the direction of
/// text.
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
    use super::{Format, escaped};

    #[test]
    fn the_format_is_found_wherever_it_stands() {
        let sought = |line: &str| Format::sought(line.split_whitespace().map(Into::into));
        for line in [
            "--output json x",
            "x --output=json",
            "x -o json",
            "-ojson",
            "-vo json",
            "-o=json",
            "-o text -o json",
        ] {
            assert_eq!(sought(line), Format::Json, "{line}");
        }
        for line in ["", "json", "-o", "-o xml", "-- -o json", "-o json --output text", "put -x json"] {
            assert_eq!(sought(line), Format::Text, "{line}");
        }
    }

    #[test]
    fn one_field_of_one_line() {
        assert_eq!(escaped("grün 漢".as_bytes()), "grün 漢");
        assert_eq!(escaped(b"a\tb\nc\\d\r"), "a\\tb\\nc\\\\d\\r");
        assert_eq!(escaped(b"\x00\x1b[2J\xff\x7f"), "\\x00\\x1b[2J\\xff\\x7f");
        assert_eq!(escaped("\u{202e}".as_bytes()), "\\xe2\\x80\\xae");
    }
}
