//! From Jinja as transformers reads it to Jinja as minijinja reads it.
//!
//! - Line ends become "\n", and one at the end is dropped, as Jinja's lexer does.
//! - `{% generation %}` only marks what an assistant wrote; it renders as a scope of its own, which
//!   is `{% with %}`.
//! - What a `{% set namespace.name = ... %}` stores passes through the `tandem_storable` filter, so
//!   that no namespace can contain itself.
//! - String escapes that only Python knows are resolved.

use super::filters::STORABLE;
use crate::abi::Failure;

/// Longest template, bytes.
const MAX_SOURCE_BYTES: usize = 1 << 20;
/// Compiling an expression takes time with the square of its length, so the sum of the squares is
/// bounded: 16 KiB of code in one tag, or 1 KiB in each of 256.
const MAX_CODE_SQUARES: u64 = 1 << 28;

/// The translated source. What is not well formed is left for minijinja to report.
pub fn translate(source: &str) -> Result<String, Failure> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(Failure::limit(format!(
            "has {} bytes, more than {MAX_SOURCE_BYTES}",
            source.len()
        )));
    }
    let normal = normalize_newlines(source);
    let mut translator =
        Translator { out: String::with_capacity(normal.len() + 64), code_squares: 0 };
    translator.run(&normal);
    if translator.code_squares > MAX_CODE_SQUARES {
        return Err(Failure::limit("has too long an expression"));
    }
    Ok(translator.out)
}

fn normalize_newlines(source: &str) -> String {
    let mut text = source.replace("\r\n", "\n").replace('\r', "\n");
    if text.ends_with('\n') {
        text.pop();
    }
    text
}

struct Translator {
    out: String,
    code_squares: u64,
}

impl Translator {
    fn run(&mut self, source: &str) {
        let mut rest = source;
        while let Some(start) = next_tag(rest) {
            self.out.push_str(&rest[..start]);
            rest = &rest[start..];
            let used = match rest.as_bytes()[1] {
                b'#' => self.copy(&rest[..find_end(rest, 2, "#}")]),
                b'{' => self.copy_tag(&rest[..tag_size(rest, "}}")]),
                _ => self.block(rest),
            };
            rest = &rest[used..];
        }
        self.out.push_str(rest);
    }

    fn copy(&mut self, text: &str) -> usize {
        self.out.push_str(text);
        text.len()
    }

    fn copy_tag(&mut self, tag: &str) -> usize {
        self.out.push_str(&tag[..2]);
        self.code(&tag[2..]);
        tag.len()
    }

    /// The block tag at the start of `rest`; bytes used.
    fn block(&mut self, rest: &str) -> usize {
        let tag = &rest[..tag_size(rest, "%}")];
        let code = tag[2..].trim_start_matches(['-', '+']).trim_start();
        let name_at = tag.len() - code.len();
        match code.split(|c: char| !c.is_alphanumeric() && c != '_').next() {
            Some("raw") => self.copy(&rest[..raw_end(rest, tag.len())]),
            Some(word @ "generation") => self.rename(tag, name_at, word, "with"),
            Some(word @ "endgeneration") => self.rename(tag, name_at, word, "endwith"),
            Some("set") => self.set(tag, name_at),
            _ => self.copy_tag(tag),
        }
    }

    fn rename(&mut self, tag: &str, at: usize, from: &str, to: &str) -> usize {
        self.out.push_str(&tag[..at]);
        self.out.push_str(to);
        self.out.push_str(&tag[at + from.len()..]);
        tag.len()
    }

    /// `{% set a.b = value %}` becomes `{% set a.b = (value)|tandem_storable %}`.
    fn set(&mut self, tag: &str, name_at: usize) -> usize {
        let end = tag.strip_suffix("%}").map_or(0, |code| code.trim_end_matches(['-', '+']).len());
        let assignment = tag.find('=').filter(|&at| at + 1 < end && tag[name_at..at].contains('.'));
        let Some(assignment) = assignment else {
            return self.copy_tag(tag);
        };
        self.out.push_str(&tag[..=assignment]);
        self.out.push_str(" (");
        self.code(&tag[assignment + 1..end]);
        self.out.push_str(")|");
        self.out.push_str(STORABLE);
        self.out.push(' ');
        self.out.push_str(&tag[end..]);
        tag.len()
    }

    /// Copies code, resolving in its strings the escapes that minijinja reads differently.
    fn code(&mut self, code: &str) {
        let mut chars = code.chars();
        let mut quote = None;
        let mut outside_strings = 0u64;
        while let Some(c) = chars.next() {
            match quote {
                None => {
                    outside_strings += 1;
                    if c == '"' || c == '\'' {
                        quote = Some(c);
                    }
                    self.out.push(c);
                }
                Some(q) if c == q => {
                    quote = None;
                    self.out.push(c);
                }
                Some(_) if c == '\\' => self.escape(&mut chars),
                Some(_) => self.out.push(c),
            }
        }
        self.code_squares =
            self.code_squares.saturating_add(outside_strings.saturating_mul(outside_strings));
    }

    fn escape(&mut self, chars: &mut std::str::Chars) {
        let Some(c) = chars.next() else {
            self.out.push('\\');
            return;
        };
        match c {
            'a' => self.out.push('\x07'),
            'v' => self.out.push('\x0b'),
            '/' => self.out.push_str("\\\\/"),
            '\n' => {}
            'U' => match long_escape(chars.as_str()) {
                Some(value) => {
                    chars.nth(7);
                    self.out.push(value);
                }
                None => self.out.push_str("\\U"),
            },
            _ => {
                self.out.push('\\');
                self.out.push(c);
            }
        }
    }
}

fn next_tag(text: &str) -> Option<usize> {
    text.as_bytes().windows(2).position(|pair| matches!(pair, [b'{', b'#' | b'{' | b'%']))
}

/// The end of the first `end` at or after `from`.
fn find_end(text: &str, from: usize, end: &str) -> usize {
    text[from..].find(end).map_or(text.len(), |at| from + at + end.len())
}

/// Bytes of the tag at the start of `text`, whose `end` stands outside strings and brackets.
fn tag_size(text: &str, end: &str) -> usize {
    let bytes = text.as_bytes();
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
    text.len()
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

fn long_escape(digits: &str) -> Option<char> {
    let value = u32::from_str_radix(digits.get(..8)?, 16).ok()?;
    char::from_u32(value).filter(|c| !matches!(c, '"' | '\'' | '\\'))
}

/// The end of the `{% endraw %}` that follows `from`.
fn raw_end(text: &str, from: usize) -> usize {
    let mut at = from;
    while let Some(found) = text[at..].find("{%") {
        at += found + 2;
        let inside = text[at..].trim_start_matches(['-', '+']).trim_start();
        if inside.starts_with("endraw") {
            return find_end(text, at, "%}");
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::translate;

    fn ok(source: &str) -> String {
        translate(source).unwrap_or_else(|failure| failure.message)
    }

    #[test]
    fn line_ends_become_newlines_and_the_last_is_dropped() {
        assert_eq!(ok("a\r\nb\rc\n\n"), "a\nb\nc\n");
    }

    #[test]
    fn generation_becomes_a_scope() {
        assert_eq!(ok("{%- generation -%}x{% endgeneration %}"), "{%- with -%}x{% endwith %}");
    }

    #[test]
    fn stored_values_pass_a_filter() {
        assert_eq!(
            ok("{%- set ns.a = '%}=' -%}{% set b = 1 %}{% set ns.c %}{% set d = a.b %}"),
            "{%- set ns.a = ( '%}=' )|tandem_storable -%}{% set b = 1 %}{% set ns.c %}\
             {% set d = a.b %}"
        );
    }

    #[test]
    fn raw_blocks_and_comments_stay() {
        let source = "{% raw %}{% generation %}{% endraw %}{# {% generation %} #}";
        assert_eq!(ok(source), source);
    }

    #[test]
    fn python_escapes_are_resolved() {
        assert_eq!(ok(r"{{ '\U0001F600\/\a\n' }}"), "{{ '\u{1F600}\\\\/\u{7}\\n' }}");
    }

    #[test]
    fn unfinished_tags_come_through() {
        for source in ["{", "{{", "{%", "{#", "{% set", "{% set a.b =", "{{ 'a\\", "{% raw %}{%"] {
            assert!(ok(source).starts_with('{'));
        }
    }

    #[test]
    fn long_expressions_are_refused() {
        assert!(translate(&format!("{{{{ {}1 }}}}", "1+".repeat(10_000))).is_err());
        assert!(translate(&"{{ 1 }}".repeat(100_000)).is_ok());
    }
}
