//! What a source may ask for, so that compiling it takes at most about a second.

use serde_json::{Deserializer, Number, Value as Json};

use crate::abi::Failure;

/// Longest source, bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// Longest pattern, and longest Lark grammar without its schemas, bytes.
const MAX_TEXT_BYTES: usize = 256 << 10;
/// Deepest brackets; deeper ones would exhaust the stack.
const MAX_DEPTH: usize = 500;
/// `*`, `+`, `?` and `{` of all patterns: the work grows with their square.
const MAX_QUANTIFIERS: usize = 2000;
/// `|` of a Lark grammar: llguidance looks at all alternatives of a place.
const MAX_ALTERNATIVES: usize = 4000;
/// Strings of a Lark grammar.
const MAX_STRINGS: usize = 10_000;
/// Properties of one object: any of them may come next.
const MAX_PROPERTIES: usize = 700;
/// Values in all schemas: objects, lists, strings and so on.
const MAX_VALUES: usize = 40_000;
/// Largest integer, positive or negative, that an output may be asked to be: llguidance keeps them
/// as doubles, which do not have all larger ones.
const MAX_INTEGER: u64 = 1 << 53;
/// Largest bound of a number: llguidance writes it as an integer of 64 bits, and its negative too.
const MAX_BOUND: f64 = (1u64 << 63) as f64;
/// Largest multipleOf, counted in its last decimal place: there is a state for each remainder.
const MAX_MULTIPLE: u64 = 10_000;

fn too(what: &str, limit: impl std::fmt::Display) -> Failure {
    Failure::invalid(format!("{what}, the limit is {limit}"))
}

pub fn check_bytes(source: &str) -> Result<(), Failure> {
    if source.len() > MAX_BYTES {
        return Err(too(&format!("has {} bytes", source.len()), MAX_BYTES));
    }
    Ok(())
}

pub fn check_regex(pattern: &str) -> Result<(), Failure> {
    let mut counts = Counts::default();
    counts.depth_of(pattern)?;
    counts.text(pattern)
}

pub fn check_schema(schema: &Json) -> Result<(), Failure> {
    Counts::default().schema(schema)
}

/// Finds the strings, patterns and schemas of a Lark grammar.
pub fn check_lark(source: &str) -> Result<(), Failure> {
    let mut counts = Counts::default();
    let mut outside = String::new(); // of strings and schemas
    let mut strings = 0;
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let embedded = ["%json", "%regex"].iter().find_map(|word| rest.strip_prefix(word));
        let size = if let Some(json) = embedded {
            let mut values = Deserializer::from_str(json).into_iter::<Json>();
            if let Some(Ok(value)) = values.next() {
                counts.schema(&value)?;
            }
            rest.len() - json.len() + values.byte_offset()
        } else if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if first == '"' || first == '/' {
            let size = literal_bytes(rest, first);
            if first == '/' {
                counts.text(&rest[..size])?;
            }
            strings += 1;
            size
        } else {
            outside.push(first);
            first.len_utf8()
        };
        rest = &rest[size..];
    }
    counts.depth_of(&outside)?;
    if outside.matches('|').count() > MAX_ALTERNATIVES {
        return Err(too("has too many alternatives", MAX_ALTERNATIVES));
    }
    if strings > MAX_STRINGS {
        return Err(too("has too many strings", MAX_STRINGS));
    }
    // Strings are part of the grammar's size, schemas are counted apart.
    counts.bytes(outside.len())
}

/// Bytes of a string or pattern with its quotes.
fn literal_bytes(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

#[derive(Default)]
struct Counts {
    values: usize,
    quantifiers: usize,
    bytes: usize,
    multiples: Option<Multiple>,
}

/// A decimal number, in units of its last place.
#[derive(Clone, Copy)]
struct Multiple {
    units: u64,
    places: u32,
}

impl Counts {
    fn bytes(&mut self, count: usize) -> Result<(), Failure> {
        self.bytes += count;
        if self.bytes > MAX_TEXT_BYTES {
            return Err(too("is too long without its schemas", MAX_TEXT_BYTES));
        }
        Ok(())
    }

    fn text(&mut self, pattern: &str) -> Result<(), Failure> {
        self.bytes(pattern.len())?;
        let quantifiers = |c: &u8| matches!(c, b'*' | b'+' | b'?' | b'{');
        self.quantifiers += pattern.bytes().filter(|c| quantifiers(c)).count();
        if self.quantifiers > MAX_QUANTIFIERS {
            return Err(too("has patterns with too many of * + ? {", MAX_QUANTIFIERS));
        }
        Ok(())
    }

    fn depth_of(&self, text: &str) -> Result<(), Failure> {
        let mut depth = 0usize;
        for byte in text.bytes() {
            match byte {
                b'(' | b'[' | b'{' | b'~' => depth += 1,
                b')' | b']' | b'}' | b'\n' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > MAX_DEPTH {
                return Err(too("has too many open brackets", MAX_DEPTH));
            }
        }
        Ok(())
    }

    /// As deep as the reader of JSON lets it be.
    fn schema(&mut self, schema: &Json) -> Result<(), Failure> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(too("has too many values", MAX_VALUES));
        }
        match schema {
            Json::Array(items) => items.iter().try_for_each(|item| self.schema(item)),
            Json::Object(fields) => fields.iter().try_for_each(|(name, value)| {
                match (name.as_str(), value) {
                    ("pattern", Json::String(pattern)) => self.text(pattern)?,
                    ("patternProperties", Json::Object(patterns)) => {
                        patterns.keys().try_for_each(|pattern| self.text(pattern))?;
                    }
                    ("properties", Json::Object(all)) if all.len() > MAX_PROPERTIES => {
                        return Err(too("has an object of too many properties", MAX_PROPERTIES));
                    }
                    ("multipleOf", Json::Number(number)) => self.multiple(number.as_f64())?,
                    ("minimum" | "maximum", Json::Number(number))
                    | ("exclusiveMinimum" | "exclusiveMaximum", Json::Number(number)) => {
                        bound(number)?;
                    }
                    ("const" | "enum", value) => literal(value)?,
                    _ => {}
                }
                self.schema(value)
            }),
            _ => Ok(()),
        }
    }

    /// All multiples together, because a schema may ask for several at once.
    fn multiple(&mut self, number: Option<f64>) -> Result<(), Failure> {
        let refuse = || too("has a multipleOf with too many digits", MAX_MULTIPLE);
        let new = number.and_then(Multiple::new).ok_or_else(refuse)?;
        let all = match self.multiples {
            Some(old) => old.common(new).ok_or_else(refuse)?,
            None => new,
        };
        self.multiples = Some(all);
        Ok(())
    }
}

fn bound(number: &Number) -> Result<(), Failure> {
    let within = number.as_f64().is_some_and(|value| value > -MAX_BOUND && value <= MAX_BOUND);
    within.then_some(()).ok_or_else(|| too(&format!("has the bound {number}"), "that of 64 bits"))
}

/// Integers of a value that the output has to be; other numbers are written as they are.
fn literal(value: &Json) -> Result<(), Failure> {
    match value {
        Json::Number(number) if !number.is_f64() => {
            let size = number.as_i64().map(i64::unsigned_abs).or(number.as_u64());
            let within = size.is_some_and(|size| size <= MAX_INTEGER);
            within.then_some(()).ok_or_else(|| too(&format!("asks for {number}"), MAX_INTEGER))
        }
        Json::Array(items) => items.iter().try_for_each(literal),
        Json::Object(fields) => fields.values().try_for_each(literal),
        _ => Ok(()),
    }
}

impl Multiple {
    fn new(number: f64) -> Option<Multiple> {
        let within = |units: f64| (1.0..=MAX_MULTIPLE as f64).contains(&units);
        (0..=4)
            .map(|places| (number * 10f64.powi(places as i32), places))
            .find(|(units, _)| units.fract() == 0.0)
            .filter(|(units, _)| within(*units))
            .map(|(units, places)| Multiple { units: units as u64, places })
    }

    /// The least common multiple.
    fn common(self, other: Multiple) -> Option<Multiple> {
        let places = self.places.max(other.places);
        let a = self.units * 10u64.pow(places - self.places);
        let b = other.units * 10u64.pow(places - other.places);
        let units = a / greatest_divisor(a, b) * b;
        (units <= MAX_MULTIPLE).then_some(Multiple { units, places })
    }
}

fn greatest_divisor(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        greatest_divisor(b, a % b)
    }
}
