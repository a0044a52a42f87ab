//! Python's methods of str, dict and list where minijinja's pycompat differs or stops short.

use minijinja::value::{from_args, Kwargs, Tuple, Value, ValueKind};
use minijinja::{Error, ErrorKind, State};
use minijinja_contrib::pycompat::unknown_method_callback;

/// Fuel for this many bytes of a string that a method goes over.
const BYTES_PER_FUEL: usize = 64;

/// Called for methods that minijinja itself does not know.
pub fn call_method(
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    if value.kind() == ValueKind::String {
        let text = value.as_str().unwrap_or_default();
        state.consume_fuel((text.len() / BYTES_PER_FUEL) as u64)?;
        if let Some(result) = string_method(state, text, method, args) {
            return result;
        }
    }
    if value.kind() == ValueKind::Seq && method == "index" {
        return list_index(value, args);
    }
    if value.kind() == ValueKind::Map && method == "copy" {
        let () = from_args(args)?;
        return Ok(value.clone());
    }
    if value.kind() == ValueKind::String && method == "format" {
        charge_widths(state, value.as_str().unwrap_or_default())?;
    }
    unknown_method_callback(state, value, method, args)
}

/// Pays for the widths and precisions that a format string asks for.
fn charge_widths(state: &State, format: &str) -> Result<(), Error> {
    let numbers = format.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let width = numbers
        .map(|digits| digits.parse::<u64>().unwrap_or(u64::MAX))
        .fold(0, u64::saturating_add);
    state.consume_fuel(width / BYTES_PER_FUEL as u64)
}

/// None: not one of ours.
fn string_method(
    state: &State,
    text: &str,
    method: &str,
    args: &[Value],
) -> Option<Result<Value, Error>> {
    Some(match method {
        "strip" => strip(text, args, true, true),
        "lstrip" => strip(text, args, true, false),
        "rstrip" => strip(text, args, false, true),
        "split" => split(text, args),
        "rsplit" => rsplit(text, args),
        "splitlines" => splitlines(text, args),
        "partition" => partition(text, args, false),
        "rpartition" => partition(text, args, true),
        "removeprefix" => affix(args, |affix| text.strip_prefix(affix).unwrap_or(text)),
        "removesuffix" => affix(args, |affix| text.strip_suffix(affix).unwrap_or(text)),
        "startswith" => matches_affix(text, args, |text, affix| text.starts_with(affix)),
        "endswith" => matches_affix(text, args, |text, affix| text.ends_with(affix)),
        "find" => find(text, args, false).map(Value::from),
        "rfind" => find(text, args, true).map(Value::from),
        "index" => index(text, args, false),
        "rindex" => index(text, args, true),
        "count" => count(text, args),
        "title" => no_args(args, || title(text)),
        "swapcase" => no_args(args, || swapcase(text)),
        "casefold" => no_args(args, || text.to_lowercase().replace('ß', "ss")),
        "isspace" => no_args(args, || !text.is_empty() && text.chars().all(is_space)),
        "isdecimal" => no_args(args, || {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_digit())
        }),
        "ljust" => pad(state, text, args, |missing| (0, missing)),
        "rjust" => pad(state, text, args, |missing| (missing, 0)),
        "center" => {
            let odd = text.chars().count() % 2;
            // Where the padding is odd, Python puts the extra one before an even-sized text's end.
            pad(state, text, args, move |missing| {
                let width = missing + odd;
                let left = missing / 2 + (missing & width & 1);
                (left, missing - left)
            })
        }
        "zfill" => zfill(state, text, args),
        _ => return None,
    })
}

fn no_args<T: Into<Value>>(args: &[Value], result: impl FnOnce() -> T) -> Result<Value, Error> {
    let () = from_args(args)?;
    Ok(result().into())
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// What Python's str.isspace accepts: Unicode's white space and four separators.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

pub fn strip_space(text: &str) -> &str {
    text.trim_matches(is_space)
}

fn strip(text: &str, args: &[Value], start: bool, end: bool) -> Result<Value, Error> {
    let (set,): (Option<&str>,) = from_args(args)?;
    let strips = |c: char| set.map_or_else(|| is_space(c), |set| set.contains(c));
    let mut rest = text;
    if start {
        rest = rest.trim_start_matches(strips);
    }
    if end {
        rest = rest.trim_end_matches(strips);
    }
    Ok(Value::from(rest))
}

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

fn split(text: &str, args: &[Value]) -> Result<Value, Error> {
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

fn rsplit(text: &str, args: &[Value]) -> Result<Value, Error> {
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
                    rest.char_indices().rfind(|(_, c)| is_space(*c)).map_or(0, |(at, c)| {
                        at + c.len_utf8()
                    })
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

fn splitlines(text: &str, args: &[Value]) -> Result<Value, Error> {
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

fn partition(text: &str, args: &[Value], last: bool) -> Result<Value, Error> {
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

fn affix<'a>(args: &'a [Value], strip: impl FnOnce(&'a str) -> &'a str) -> Result<Value, Error> {
    let (affix,): (&str,) = from_args(args)?;
    Ok(Value::from(strip(affix)))
}

/// The part of `text` between the character positions of the optional start and end arguments.
/// None: start lies past the end, where Python finds nothing, not even the empty string.
fn window<'a>(text: &'a str, start: Option<i64>, end: Option<i64>) -> Option<(usize, &'a str)> {
    if start.is_none() && end.is_none() {
        return Some((0, text));
    }
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    let clamp = |at: i64| if at < 0 { (at + length).max(0) } else { at };
    let start = clamp(start.unwrap_or(0));
    let end = clamp(end.unwrap_or(length)).min(length);
    if start > end {
        return None;
    }
    let byte = |at: i64| {
        let at = usize::try_from(at).unwrap_or(0);
        text.char_indices().nth(at).map_or(text.len(), |(byte, _)| byte)
    };
    Some((usize::try_from(start).unwrap_or(0), &text[byte(start)..byte(end)]))
}

fn matches_affix(
    text: &str,
    args: &[Value],
    matches: impl Fn(&str, &str) -> bool,
) -> Result<Value, Error> {
    let (wanted, start, end): (&Value, Option<i64>, Option<i64>) = from_args(args)?;
    let Some((_, text)) = window(text, start, end) else {
        return Ok(Value::from(false));
    };
    let one = |wanted: &Value| {
        let wanted = wanted.as_str().ok_or_else(|| invalid("expected a string or a tuple"))?;
        Ok::<bool, Error>(matches(text, wanted))
    };
    if wanted.as_str().is_some() {
        return one(wanted).map(Value::from);
    }
    if !wanted.is_tuple() {
        return Err(invalid("expected a string or a tuple of strings"));
    }
    for wanted in wanted.try_iter()? {
        if one(&wanted)? {
            return Ok(Value::from(true));
        }
    }
    Ok(Value::from(false))
}

fn find(text: &str, args: &[Value], last: bool) -> Result<i64, Error> {
    let (wanted, start, end): (&str, Option<i64>, Option<i64>) = from_args(args)?;
    let Some((first, text)) = window(text, start, end) else {
        return Ok(-1);
    };
    let found = if last { text.rfind(wanted) } else { text.find(wanted) };
    Ok(found
        .and_then(|at| i64::try_from(first + text[..at].chars().count()).ok())
        .unwrap_or(-1))
}

fn index(text: &str, args: &[Value], last: bool) -> Result<Value, Error> {
    match find(text, args, last)? {
        -1 => Err(invalid("substring not found")),
        at => Ok(Value::from(at)),
    }
}

fn list_index(value: &Value, args: &[Value]) -> Result<Value, Error> {
    let (wanted,): (&Value,) = from_args(args)?;
    let found = value.try_iter()?.position(|item| item == *wanted);
    found.map(Value::from).ok_or_else(|| invalid("list.index: the value is not in the list"))
}

fn count(text: &str, args: &[Value]) -> Result<Value, Error> {
    let (wanted, start, end): (&str, Option<i64>, Option<i64>) = from_args(args)?;
    Ok(Value::from(window(text, start, end).map_or(0, |(_, text)| text.matches(wanted).count())))
}

/// Python's str.title: every run of letters starts with a capital.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        inside = c.is_lowercase() || c.is_uppercase();
    }
    out
}

fn swapcase(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_uppercase() {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
    }
    out
}

fn pad(
    state: &State,
    text: &str,
    args: &[Value],
    sides: impl FnOnce(usize) -> (usize, usize),
) -> Result<Value, Error> {
    let (width, fill): (i64, Option<char>) = from_args(args)?;
    let fill = fill.unwrap_or(' ');
    let missing = usize::try_from(width).unwrap_or(0).saturating_sub(text.chars().count());
    state.consume_fuel((missing / BYTES_PER_FUEL) as u64)?;
    let (left, right) = sides(missing);
    let mut out = String::new();
    out.extend(std::iter::repeat_n(fill, left));
    out.push_str(text);
    out.extend(std::iter::repeat_n(fill, right));
    Ok(Value::from(out))
}

fn zfill(state: &State, text: &str, args: &[Value]) -> Result<Value, Error> {
    let (width,): (i64,) = from_args(args)?;
    let missing = usize::try_from(width).unwrap_or(0).saturating_sub(text.chars().count());
    state.consume_fuel((missing / BYTES_PER_FUEL) as u64)?;
    let sign = text.len() - text.trim_start_matches(['+', '-']).len();
    let (sign, digits) = text.split_at(sign.min(1));
    Ok(Value::from(format!("{sign}{}{digits}", "0".repeat(missing))))
}
