//! Filters and tests that differ from minijinja's.

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};

use super::data::is_input;
use super::json::tojson;
use super::repr::write_str;
use super::split::lines;
use super::strings::{center, strip_space};

/// The filter through which everything stored in a namespace passes; see source.rs.
pub const STORABLE: &str = "tandem_storable";
/// Deepest nesting of a stored value.
const MAX_STORED_DEPTH: usize = 100;
/// Widest indentation.
const MAX_INDENT: usize = 1024;

pub fn register(env: &mut Environment<'static>) {
    env.add_filter("tojson", tojson);
    env.add_filter("trim", trim);
    env.add_filter("string", string);
    env.add_filter("e", escape);
    env.add_filter("escape", escape);
    env.add_filter("int", int);
    env.add_filter("float", to_float);
    env.add_filter("indent", indent);
    env.add_filter("striptags", minijinja_contrib::filters::striptags);
    env.add_filter("truncate", minijinja_contrib::filters::truncate);
    env.add_filter("center", |state: &State, text: &str, width: Option<i64>| {
        center(state, text, width.unwrap_or(80), ' ')
    });
    env.add_filter("urlencode", urlencode);
    env.add_filter("wordcount", |text: &str| text.split_whitespace().count());
    env.add_filter(STORABLE, storable);
    env.add_test("sequence", is_sequence);
    env.add_test("iterable", is_iterable);
    env.add_test("callable", |value: &Value| value.kind() == ValueKind::Plain);
    env.set_formatter(|out, _, value| write_str(out, value).map_err(Error::from));
}

fn string(state: &State, value: &Value) -> Result<Value, Error> {
    if value.kind() == ValueKind::String {
        return Ok(value.clone());
    }
    let mut text = String::new();
    write_str(&mut text, value)?;
    state.consume_fuel((text.len() / 8) as u64)?;
    Ok(Value::from(text))
}

/// HTML's special characters as markupsafe writes them.
fn escape(value: &Value) -> Result<String, Error> {
    let mut text = String::new();
    write_str(&mut text, value)?;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    Ok(out)
}

/// `int` and `float` give their default for what is not a number.
fn int(
    state: &State,
    value: &Value,
    default: Option<Value>,
    base: Option<u32>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let default = match default {
        None if kwargs.has("default") => kwargs.get::<Value>("default")?,
        None => Value::from(0),
        Some(default) => default,
    };
    minijinja::filters::int(state, value, Some(default), base, kwargs)
}

fn to_float(
    state: &State,
    value: &Value,
    default: Option<Value>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let default = match default {
        None if kwargs.has("default") => kwargs.get::<Value>("default")?,
        None => Value::from(0.0),
        Some(default) => default,
    };
    minijinja::filters::float(state, value, Some(default), kwargs)
}

/// `indent(s, width=4, first=False, blank=False)`; width may be the text to put before a line.
fn indent(
    state: &State,
    text: &str,
    width: Option<Value>,
    first: Option<bool>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let width = match width {
        None if kwargs.has("width") => kwargs.get::<Value>("width")?,
        None => Value::from(4),
        Some(width) => width,
    };
    let prefix = match width.as_str() {
        Some(prefix) => prefix.to_string(),
        None => " ".repeat(usize::try_from(width)?.min(MAX_INDENT)),
    };
    let first = match first {
        None if kwargs.has("first") => kwargs.get::<bool>("first")?,
        first => first.unwrap_or(false),
    };
    let blank = kwargs.has("blank") && kwargs.get::<bool>("blank")?;
    kwargs.assert_all_used()?;
    let mut out = String::new();
    let closed = format!("{text}\n");
    for (i, line) in lines(&closed).enumerate() {
        if i > 0 {
            out.push('\n');
        }
        if if i == 0 { first } else { blank || !line.is_empty() } {
            state.consume_fuel(1 + (prefix.len() / 64) as u64)?;
            out.push_str(&prefix);
        }
        out.push_str(line);
    }
    Ok(out)
}

/// Every byte of a text but letters, digits and `_.-~/` as a percent escape.
fn urlencode(state: &State, value: &Value) -> Result<String, Error> {
    let mut text = String::new();
    write_str(&mut text, value)?;
    state.consume_fuel((text.len() / 8) as u64)?;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"_.-~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(out)
}

fn trim(value: &Value, chars: Option<&str>) -> Result<Value, Error> {
    let mut text = String::new();
    write_str(&mut text, value)?;
    Ok(Value::from(match chars {
        Some(set) => text.trim_matches(|c| set.contains(c)),
        None => strip_space(&text),
    }))
}

/// What Python can take the length of and index.
fn is_sequence(value: &Value) -> bool {
    matches!(
        value.kind(),
        ValueKind::Seq | ValueKind::Map | ValueKind::String | ValueKind::Undefined
    )
}

fn is_iterable(value: &Value) -> bool {
    value.kind() == ValueKind::String || (!value.is_none() && value.try_iter().is_ok())
}

/// Passes what a namespace may hold: no namespace anywhere inside, so that none contains itself,
/// and no nesting that only a loop could make.
fn storable(state: &State, value: &Value) -> Result<Value, Error> {
    check_storable(state, value, 0)?;
    Ok(value.clone())
}

fn check_storable(state: &State, value: &Value, depth: usize) -> Result<(), Error> {
    let Some(object) = value.as_object() else {
        return Ok(());
    };
    if is_input(value) {
        return Ok(());
    }
    if depth > MAX_STORED_DEPTH || object.type_name().ends_with("::Namespace") {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            "a namespace cannot hold a namespace or deeply nested lists",
        ));
    }
    if value.kind() == ValueKind::Plain {
        return Ok(());
    }
    if let Some(pairs) = (value.kind() == ValueKind::Map).then(|| object.try_iter_pairs()).flatten()
    {
        for (_, item) in pairs {
            state.consume_fuel(1)?;
            check_storable(state, &item, depth + 1)?;
        }
    } else if let Ok(items) = value.try_iter() {
        for item in items {
            state.consume_fuel(1)?;
            check_storable(state, &item, depth + 1)?;
        }
    }
    Ok(())
}
