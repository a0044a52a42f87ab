//! Values as Python prints them: `str` and `repr`.

use std::fmt::{self, Write};

use minijinja::value::{Value, ValueKind};

use super::json::python_float;

/// Deepest nesting printed.
const MAX_DEPTH: usize = 200;

/// Python's `str(value)`.
pub fn write_str(out: &mut impl Write, value: &Value) -> fmt::Result {
    match value.as_str() {
        Some(text) => out.write_str(text),
        None if value.is_undefined() => Ok(()),
        None => write_repr(out, value, 0),
    }
}

/// Python's `repr(value)`; `depth` counts the containers around it.
pub fn write_repr(out: &mut impl Write, value: &Value, depth: usize) -> fmt::Result {
    if depth > MAX_DEPTH {
        return out.write_str("...");
    }
    match value.kind() {
        ValueKind::Number if !value.is_integer() => {
            out.write_str(&python_float(f64::try_from(value.clone()).unwrap_or(f64::NAN)))
        }
        ValueKind::String => write_string(out, value.as_str().unwrap_or_default()),
        ValueKind::Undefined => out.write_str("Undefined"),
        ValueKind::Seq => write_sequence(out, value, depth),
        ValueKind::Map => write_map(out, value, depth),
        _ => write!(out, "{value}"),
    }
}

fn write_sequence(out: &mut impl Write, value: &Value, depth: usize) -> fmt::Result {
    let tuple = value.is_tuple();
    out.write_char(if tuple { '(' } else { '[' })?;
    let mut count = 0;
    for item in value.try_iter().map_err(|_| fmt::Error)? {
        if count > 0 {
            out.write_str(", ")?;
        }
        write_repr(out, &item, depth + 1)?;
        count += 1;
    }
    match (tuple, count) {
        (true, 1) => out.write_str(",)"),
        (true, _) => out.write_char(')'),
        (false, _) => out.write_char(']'),
    }
}

fn write_map(out: &mut impl Write, value: &Value, depth: usize) -> fmt::Result {
    out.write_char('{')?;
    for (i, key) in value.try_iter().map_err(|_| fmt::Error)?.enumerate() {
        if i > 0 {
            out.write_str(", ")?;
        }
        write_repr(out, &key, depth + 1)?;
        out.write_str(": ")?;
        write_repr(out, &value.get_item(&key).unwrap_or_default(), depth + 1)?;
    }
    out.write_char('}')
}

fn write_string(out: &mut impl Write, text: &str) -> fmt::Result {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.write_char(quote)?;
    for c in text.chars() {
        match c {
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            '\\' => out.write_str("\\\\")?,
            c if c == quote => write!(out, "\\{c}")?,
            c if is_printable(c) => out.write_char(c)?,
            c if u32::from(c) <= 0xff => write!(out, "\\x{:02x}", u32::from(c))?,
            c if u32::from(c) <= 0xffff => write!(out, "\\u{:04x}", u32::from(c))?,
            c => write!(out, "\\U{:08x}", u32::from(c))?,
        }
    }
    out.write_char(quote)
}

/// Not a control, format, private use or separator character other than the space. (Python also
/// escapes code points that Unicode has not assigned.)
fn is_printable(c: char) -> bool {
    !c.is_control()
        && !(c.is_whitespace() && c != ' ')
        && !matches!(u32::from(c),
            0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x890..=0x891 | 0x8e2 | 0x180e
            | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x2064 | 0x2066..=0x206f
            | 0xe000..=0xf8ff | 0xfeff | 0xfff9..=0xfffb | 0x110bd | 0x110cd
            | 0x13430..=0x1343f | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a | 0xe0001
            | 0xe0020..=0xe007f | 0xf0000..)
}
