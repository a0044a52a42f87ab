//! From Jinja as transformers reads it to Jinja as minijinja reads it.
//!
//! - Line ends become "\n", and one at the end is dropped, as Jinja's lexer does.
//! - `{% generation %}` only marks what an assistant wrote; it renders as a scope of its own, which
//!   is `{% with %}`.
//! - What a `{% set namespace.name = ... %}` stores passes through the `tandem_storable` filter, so
//!   that no namespace can contain itself.
//! - String escapes that only Python knows are resolved.

use super::filters::STORABLE;

/// The translated source. Never fails: what is not well formed is left for minijinja to report.
pub fn translate(source: &str) -> String {
    let normal = normalize_newlines(source);
    let mut out = String::with_capacity(normal.len() + 64);
    let mut rest = normal.as_str();
    while let Some(start) = next_tag(rest) {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let used = match rest.as_bytes()[1] {
            b'#' => copy(&mut out, rest, find_end(rest, "#}")),
            b'{' => copy_code(&mut out, rest, "}}"),
            _ => translate_block(&mut out, rest),
        };
        rest = &rest[used..];
    }
    out.push_str(rest);
    out
}

fn normalize_newlines(source: &str) -> String {
    let mut text = source.replace("\r\n", "\n").replace('\r', "\n");
    if text.ends_with('\n') {
        text.pop();
    }
    text
}

fn next_tag(text: &str) -> Option<usize> {
    text.as_bytes().windows(2).position(|pair| matches!(pair, [b'{', b'#' | b'{' | b'%']))
}

fn find_end(text: &str, end: &str) -> usize {
    text[2..].find(end).map_or(text.len(), |at| 2 + at + end.len())
}

fn copy(out: &mut String, text: &str, size: usize) -> usize {
    out.push_str(&text[..size]);
    size
}

/// Copies a tag up to and with `end`, which must stand outside strings and brackets.
fn copy_code(out: &mut String, tag: &str, end: &str) -> usize {
    let size = code_size(tag, end);
    out.push_str(&tag[..2]);
    push_code(out, &tag[2..size]);
    size
}

/// Bytes of the tag at the start of `tag`, its delimiters included.
fn code_size(tag: &str, end: &str) -> usize {
    let bytes = tag.as_bytes();
    let mut depth = 0usize;
    let mut at = 2;
    while at < bytes.len() {
        if depth == 0 && bytes[at..].starts_with(end.as_bytes()) {
            return at + end.len();
        }
        match bytes[at] {
            quote @ (b'"' | b'\'') => at = string_end(bytes, at, quote),
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    tag.len()
}

/// The closing quote of the string that opens at `start`, or the last byte.
fn string_end(bytes: &[u8], start: usize, quote: u8) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            byte if byte == quote => return at,
            _ => {}
        }
        at += 1;
    }
    bytes.len().saturating_sub(1)
}

/// Copies code, resolving in its strings the escapes that minijinja reads differently.
fn push_code(out: &mut String, code: &str) {
    let mut chars = code.chars();
    let mut quote = None;
    while let Some(c) = chars.next() {
        match quote {
            None => {
                if c == '"' || c == '\'' {
                    quote = Some(c);
                }
                out.push(c);
            }
            Some(q) if c == q => {
                quote = None;
                out.push(c);
            }
            Some(_) if c == '\\' => push_escape(out, &mut chars),
            Some(_) => out.push(c),
        }
    }
}

fn push_escape(out: &mut String, chars: &mut std::str::Chars) {
    let Some(c) = chars.next() else {
        out.push('\\');
        return;
    };
    match c {
        'a' => out.push('\x07'),
        'v' => out.push('\x0b'),
        '/' => out.push_str("\\\\/"),
        '\n' => {}
        'U' => match long_escape(chars.as_str()) {
            Some(value) => {
                chars.nth(7);
                out.push(value);
            }
            None => out.push_str("\\U"),
        },
        _ => {
            out.push('\\');
            out.push(c);
        }
    }
}

fn long_escape(digits: &str) -> Option<char> {
    let value = u32::from_str_radix(digits.get(..8)?, 16).ok()?;
    char::from_u32(value).filter(|c| !matches!(c, '"' | '\'' | '\\'))
}

fn translate_block(out: &mut String, tag: &str) -> usize {
    let size = code_size(tag, "%}");
    let sign = usize::from(matches!(tag.as_bytes().get(2), Some(b'-' | b'+')));
    let head = 2 + sign;
    if size < head + 2 {
        return copy(out, tag, size);
    }
    let code = &tag[head..size];
    let name = code.trim_start();
    let name_at = head + code.len() - name.len();
    match name.split(|c: char| !c.is_alphanumeric() && c != '_').next() {
        Some("raw") => copy(out, tag, raw_end(tag, size)),
        Some(word @ "generation") => rename(out, tag, size, name_at, word, "with"),
        Some(word @ "endgeneration") => rename(out, tag, size, name_at, word, "endwith"),
        Some("set") => translate_set(out, tag, size, name_at),
        _ => copy_code(out, tag, "%}"),
    }
}

/// The end of `{% endraw %}`.
fn raw_end(tag: &str, size: usize) -> usize {
    let mut at = size;
    while let Some(found) = tag[at..].find("{%") {
        at += found + 2;
        let inside = tag[at..].trim_start_matches(['-', '+']).trim_start();
        if inside.starts_with("endraw") {
            return at + tag[at..].find("%}").map_or(tag.len() - at, |end| end + 2);
        }
    }
    tag.len()
}

fn rename(
    out: &mut String,
    tag: &str,
    size: usize,
    at: usize,
    from: &str,
    to: &str,
) -> usize {
    out.push_str(&tag[..at]);
    out.push_str(to);
    out.push_str(&tag[at + from.len()..size]);
    size
}

/// `{% set a.b = value %}` becomes `{% set a.b = (value)|tandem_storable %}`.
fn translate_set(out: &mut String, tag: &str, size: usize, name_at: usize) -> usize {
    let targets_at = name_at + "set".len();
    let assignment = tag[targets_at..size].find('=').map(|at| targets_at + at);
    let Some(assignment) = assignment.filter(|&at| tag[targets_at..at].contains('.')) else {
        return copy_code(out, tag, "%}");
    };
    let mut end = size - 2;
    if end > assignment && matches!(tag.as_bytes()[end - 1], b'-' | b'+') {
        end -= 1;
    }
    if end <= assignment + 1 || !tag[..size].ends_with("%}") {
        return copy_code(out, tag, "%}");
    }
    out.push_str(&tag[..=assignment]);
    out.push_str(" (");
    push_code(out, &tag[assignment + 1..end]);
    out.push_str(")|");
    out.push_str(STORABLE);
    out.push(' ');
    out.push_str(&tag[end..size]);
    size
}
