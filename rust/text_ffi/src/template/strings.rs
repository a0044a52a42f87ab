//! Python's methods of str, dict and list where minijinja's pycompat differs or stops short.

use minijinja::value::{from_args, Value, ValueKind};
use minijinja::{Error, ErrorKind, State};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::split::{partition, rsplit, split, splitlines};

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
        "isdecimal" => no_args(args, || !text.is_empty() && text.chars().all(is_decimal)),
        "ljust" => pad(state, text, args, |missing| (0, missing)),
        "rjust" => pad(state, text, args, |missing| (missing, 0)),
        "center" => from_args(args).and_then(|(width, fill): (i64, Option<char>)| {
            center(state, text, width, fill.unwrap_or(' ')).map(Value::from)
        }),
        "zfill" => zfill(state, text, args),
        _ => return None,
    })
}

/// The zeros of Unicode 14.0.0's general category Nd, whose digits come in runs of ten.
#[rustfmt::skip]
const ZEROS: [u32; 66] = [
    0x0030, 0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66, 0x0ce6,
    0x0d66, 0x0de6, 0x0e50, 0x0ed0, 0x0f20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80,
    0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0,
    0xff10, 0x104a0, 0x10d30, 0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0,
    0x11650, 0x116c0, 0x11730, 0x118e0, 0x11950, 0x11c50, 0x11d50, 0x11da0, 0x16a60, 0x16ac0,
    0x16b50, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e950, 0x1fbf0,
];

/// Whether Python's `str.isdecimal` says so of a character.
fn is_decimal(c: char) -> bool {
    let code = u32::from(c);
    let run = ZEROS.partition_point(|&zero| zero <= code);
    run > 0 && code - ZEROS[run - 1] < 10
}

fn no_args<T: Into<Value>>(args: &[Value], result: impl FnOnce() -> T) -> Result<Value, Error> {
    let () = from_args(args)?;
    Ok(result().into())
}

pub fn invalid(message: impl Into<String>) -> Error {
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
    Ok(found.and_then(|at| i64::try_from(first + text[..at].chars().count()).ok()).unwrap_or(-1))
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

pub fn center(state: &State, text: &str, width: i64, fill: char) -> Result<String, Error> {
    let odd = text.chars().count() % 2;
    // Where the padding is odd, Python puts the extra one before an even-sized text's end.
    fill_up(state, text, width, fill, |missing| {
        let left = missing / 2 + (missing & (missing + odd) & 1);
        (left, missing - left)
    })
}

fn pad(
    state: &State,
    text: &str,
    args: &[Value],
    sides: impl FnOnce(usize) -> (usize, usize),
) -> Result<Value, Error> {
    let (width, fill): (i64, Option<char>) = from_args(args)?;
    fill_up(state, text, width, fill.unwrap_or(' '), sides).map(Value::from)
}

fn fill_up(
    state: &State,
    text: &str,
    width: i64,
    fill: char,
    sides: impl FnOnce(usize) -> (usize, usize),
) -> Result<String, Error> {
    let missing = usize::try_from(width).unwrap_or(0).saturating_sub(text.chars().count());
    state.consume_fuel((missing / BYTES_PER_FUEL) as u64)?;
    let (left, right) = sides(missing);
    let mut out = String::new();
    out.extend(std::iter::repeat_n(fill, left));
    out.push_str(text);
    out.extend(std::iter::repeat_n(fill, right));
    Ok(out)
}

fn zfill(state: &State, text: &str, args: &[Value]) -> Result<Value, Error> {
    let (width,): (i64,) = from_args(args)?;
    let missing = usize::try_from(width).unwrap_or(0).saturating_sub(text.chars().count());
    state.consume_fuel((missing / BYTES_PER_FUEL) as u64)?;
    let sign = text.len() - text.trim_start_matches(['+', '-']).len();
    let (sign, digits) = text.split_at(sign.min(1));
    Ok(Value::from(format!("{sign}{}{digits}", "0".repeat(missing))))
}
