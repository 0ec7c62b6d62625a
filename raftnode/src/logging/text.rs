//! A record as one line for people: local time, level, message, then what else there is to know.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, Local, TimeZone};
use tracing::Level;

use super::ecs::Known;
use super::record::{EcsName, Entry, Record, Value};

/// Messages shorter than this are filled up, so that the fields behind them stand in a column.
const MESSAGE_COLUMNS: usize = 40;

/// The line, with its newline.
pub(super) fn line(record: &Record, colour: bool) -> Vec<u8> {
    line_at(record, &record.time.with_timezone(&Local), colour).into_bytes()
}

/// Writing to a string cannot fail.
fn line_at<Tz: TimeZone<Offset: std::fmt::Display>>(
    record: &Record,
    time: &DateTime<Tz>,
    colour: bool,
) -> String {
    let mut line = time.format("%Y-%m-%d %H:%M:%S%.3f ").to_string();
    let (on, off) = if colour { (level_colour(record.level), "\u{1b}[0m") } else { ("", "") };
    let _ = write!(line, "{on}{:<5}{off} ", record.level);
    let mut message = String::new();
    if !record.is_of_the_node {
        push_plain(&mut message, &record.logger);
        message.push_str(": ");
    }
    push_plain(&mut message, &record.message);
    line.push_str(&message);
    if !record.fields.is_empty() {
        let missing = MESSAGE_COLUMNS.saturating_sub(message.chars().count());
        line.extend(std::iter::repeat_n(' ', missing));
    }
    for entry in &record.fields {
        line.push_str("  ");
        push_plain(&mut line, entry.name);
        line.push('=');
        push_value(&mut line, entry);
    }
    line.push('\n');
    line
}

fn level_colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\u{1b}[31m",
        Level::WARN => "\u{1b}[33m",
        Level::INFO => "\u{1b}[32m",
        Level::DEBUG => "\u{1b}[34m",
        Level::TRACE => "\u{1b}[35m",
    }
}

fn push_value(line: &mut String, entry: &Entry) {
    let _ = match &entry.value {
        Value::Long(nanos) if entry.ecs == EcsName::Known(Known::Schema("event.duration")) => {
            write!(line, "{:.1?}", Duration::from_nanos(nanos.unsigned_abs()))
        }
        Value::Long(number) => write!(line, "{number}"),
        Value::Boolean(flag) => write!(line, "{flag}"),
        Value::Text(text) if is_one_word(text) => {
            push_plain(line, text);
            Ok(())
        }
        Value::Text(text) => {
            line.push('"');
            push_plain(line, &text.replace('\\', "\\\\").replace('"', "\\\""));
            line.push('"');
            Ok(())
        }
    };
}

fn is_one_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\\'))
}

/// Texts come from peers and clients too: nothing in them may start a new line or move a terminal's
/// cursor.
fn push_plain(line: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
}

#[cfg(test)]
pub(super) fn line_in_utc(record: &Record) -> String {
    line_at(record, &record.time, false)
}
