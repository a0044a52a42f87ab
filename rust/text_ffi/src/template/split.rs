//! Python's methods that take a string apart.

use minijinja::value::{from_args, Kwargs, Tuple, Value};
use minijinja::Error;

use super::strings::{invalid, is_space};

/// Separator and greatest number of splits of split and rsplit.
fn split_args(args: &[Value]) -> Result<(Option<String>, usize), Error> {
    let (separator, limit, kwargs): (Option<Value>, Option<i64>, Kwargs) = from_args(args)?;
    let separator = match separator {
        None if kwargs.has("sep") => kwargs.get::<Value>("sep")?,
        None => Value::from(()),
        Some(separator) => separator,
    };
    let limit = match limit {
        None if kwargs.has("maxsplit") => kwargs.get::<i64>("maxsplit")?,
        None => -1,
        Some(limit) => limit,
    };
    kwargs.assert_all_used()?;
    let separator = match separator.as_str() {
        Some("") => return Err(invalid("split: empty separator")),
        Some(separator) => Some(separator.to_string()),
        None if separator.is_none() => None,
        None => return Err(invalid("split: the separator must be a string")),
    };
    Ok((separator, usize::try_from(limit).unwrap_or(usize::MAX)))
}

pub fn split(text: &str, args: &[Value]) -> Result<Value, Error> {
    let (separator, limit) = split_args(args)?;
    let Some(separator) = separator else {
        return Ok(list(split_space(text, limit)));
    };
    Ok(list(text.splitn(limit.saturating_add(1), &separator).collect()))
}

fn split_space(text: &str, limit: usize) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        if words.len() == limit {
            words.push(rest);
            break;
        }
        let end = rest.find(is_space).unwrap_or(rest.len());
        words.push(&rest[..end]);
        rest = rest[end..].trim_start_matches(is_space);
    }
    words
}

pub fn rsplit(text: &str, args: &[Value]) -> Result<Value, Error> {
    let (separator, limit) = split_args(args)?;
    let mut words: Vec<&str> = Vec::new();
    match separator {
        Some(separator) => words.extend(text.rsplitn(limit.saturating_add(1), &separator)),
        None => {
            let mut rest = text.trim_end_matches(is_space);
            while !rest.is_empty() {
                let start = if words.len() == limit {
                    0
                } else {
                    rest.char_indices()
                        .rfind(|(_, c)| is_space(*c))
                        .map_or(0, |(at, c)| at + c.len_utf8())
                };
                words.push(&rest[start..]);
                rest = rest[..start].trim_end_matches(is_space);
            }
        }
    }
    words.reverse();
    Ok(list(words))
}

fn list(items: Vec<&str>) -> Value {
    items.into_iter().map(Value::from).collect()
}

pub fn splitlines(text: &str, args: &[Value]) -> Result<Value, Error> {
    let (keep, kwargs): (Option<bool>, Kwargs) = from_args(args)?;
    let keep = match keep {
        None if kwargs.has("keepends") => kwargs.get::<bool>("keepends")?,
        keep => keep.unwrap_or(false),
    };
    kwargs.assert_all_used()?;
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (end, next) = line_end(rest);
        parts.push(&rest[..if keep { next } else { end }]);
        rest = &rest[next..];
    }
    Ok(list(parts))
}

/// The lines of Python's str.splitlines.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (end, next) = line_end(rest);
        let line = &rest[..end];
        rest = &rest[next..];
        Some(line)
    })
}

/// Where the first line ends and where the next begins.
fn line_end(text: &str) -> (usize, usize) {
    match text.char_indices().find(|(_, c)| is_line_end(*c)) {
        None => (text.len(), text.len()),
        Some((at, _)) if text[at..].starts_with("\r\n") => (at, at + 2),
        Some((at, c)) => (at, at + c.len_utf8()),
    }
}

fn is_line_end(c: char) -> bool {
    matches!(c, '\n'..='\r' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

pub fn partition(text: &str, args: &[Value], last: bool) -> Result<Value, Error> {
    let (separator,): (&str,) = from_args(args)?;
    if separator.is_empty() {
        return Err(invalid("partition: empty separator"));
    }
    let parts = if last { text.rsplit_once(separator) } else { text.split_once(separator) };
    let parts = match parts {
        Some((before, after)) => [before, separator, after],
        None if last => ["", "", text],
        None => [text, "", ""],
    };
    Ok(Value::from(Tuple::from(parts.map(Value::from))))
}
