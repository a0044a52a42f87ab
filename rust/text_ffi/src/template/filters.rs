//! Filters and tests that differ from minijinja's.

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};

use super::data::is_input;
use super::json::{python_float, tojson};
use super::strings::strip_space;

/// The filter through which everything stored in a namespace passes; see source.rs.
pub const STORABLE: &str = "tandem_storable";
/// Deepest nesting of a stored value.
const MAX_STORED_DEPTH: usize = 100;

pub fn register(env: &mut Environment<'static>) {
    env.add_filter("tojson", tojson);
    env.add_filter("trim", trim);
    env.add_filter("string", string);
    env.add_filter("striptags", minijinja_contrib::filters::striptags);
    env.add_filter("truncate", minijinja_contrib::filters::truncate);
    env.add_filter("wordcount", |text: &str| text.split_whitespace().count());
    env.add_filter(STORABLE, storable);
    env.add_test("sequence", is_sequence);
    env.add_test("iterable", is_iterable);
    env.add_test("callable", |value: &Value| value.kind() == ValueKind::Plain);
    env.set_formatter(|out, _, value| {
        if let Some(number) = float(value) {
            return out.write_str(&python_float(number)).map_err(Error::from);
        }
        write_value(out, value)
    });
}

fn write_value(out: &mut minijinja::Output, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(text) => out.write_str(text).map_err(Error::from),
        None => write!(out, "{value}").map_err(Error::from),
    }
}

fn float(value: &Value) -> Option<f64> {
    if value.kind() != ValueKind::Number || value.is_integer() {
        return None;
    }
    f64::try_from(value.clone()).ok()
}

fn string(state: &State, value: &Value) -> Result<Value, Error> {
    if let Some(number) = float(value) {
        return Ok(Value::from(python_float(number)));
    }
    if value.kind() == ValueKind::String {
        return Ok(value.clone());
    }
    let text = value.to_string();
    state.consume_fuel((text.len() / 8) as u64)?;
    Ok(Value::from(text))
}

fn trim(value: &Value, chars: Option<&str>) -> Value {
    let text = match value.as_str() {
        Some(text) => text.to_string(),
        None => value.to_string(),
    };
    Value::from(match chars {
        Some(set) => text.trim_matches(|c| set.contains(c)),
        None => strip_space(&text),
    })
}

/// What Python can take the length of and index.
fn is_sequence(value: &Value) -> bool {
    matches!(
        value.kind(),
        ValueKind::Seq | ValueKind::Map | ValueKind::String | ValueKind::Undefined
    )
}

fn is_iterable(value: &Value) -> bool {
    value.kind() == ValueKind::Undefined
        || value.kind() == ValueKind::String
        || value.try_iter().is_ok()
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
