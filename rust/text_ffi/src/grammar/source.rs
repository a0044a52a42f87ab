//! What a grammar is written in, checked and made ready for llguidance.

use llguidance::api::TopLevelGrammar;
use serde_json::{json, Map, Value as Json};

use super::limits;
use crate::abi::Failure;

/// Where llguidance looks for the options of a schema.
const OPTIONS: &str = "x-guidance";
/// What may stand between tokens of JSON: with more, a model may go on with it forever.
const WHITESPACE: &str = r" |\r?\n[ \t]{0,64}";

/// Formats of strings that llguidance holds an output to.
const FORMATS: [&str; 11] = [
    "date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "unknown", "uri",
    "uuid",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    JsonSchema,
    Regex,
    Lark,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::JsonSchema => "json schema",
            Kind::Regex => "regex",
            Kind::Lark => "lark grammar",
        }
    }

    pub fn grammar(self, source: &str) -> Result<TopLevelGrammar, Failure> {
        limits::check_bytes(source)?;
        Ok(match self {
            Kind::JsonSchema => TopLevelGrammar::from_json_schema(schema(source)?),
            Kind::Regex => {
                limits::check_regex(source)?;
                TopLevelGrammar::from_regex(source)
            }
            Kind::Lark => {
                limits::check_lark(source)?;
                TopLevelGrammar::from_lark(source.to_string())
            }
        })
    }
}

/// `%json` with a schema, for use inside of a Lark grammar.
pub fn lark_json(source: &str) -> Result<String, Failure> {
    Ok(format!("%json {}", schema(source)?))
}

/// Drops every `format` that is not enforced: JSON Schema makes it an annotation, and OpenAPI's
/// schemas are full of such (password, binary, int32).
fn drop_unknown_formats(schema: &mut Json) {
    match schema {
        Json::Array(items) => items.iter_mut().for_each(drop_unknown_formats),
        Json::Object(fields) => {
            let known = |format: &str| FORMATS.contains(&format);
            if fields.get("format").and_then(Json::as_str).is_some_and(|format| !known(format)) {
                fields.remove("format");
            }
            for (name, value) in fields {
                if !matches!(name.as_str(), "const" | "default" | "enum" | "examples") {
                    drop_unknown_formats(value);
                }
            }
        }
        _ => {}
    }
}

/// The schema with our options, whatever options it asked for.
fn schema(source: &str) -> Result<Json, Failure> {
    let mut schema: Json =
        serde_json::from_str(source).map_err(|e| Failure::invalid(format!("not JSON: {e}")))?;
    limits::check_schema(&schema)?;
    drop_unknown_formats(&mut schema);
    let mut fields = match schema {
        Json::Object(fields) => fields,
        Json::Bool(true) => Map::new(),
        Json::Bool(false) => return Err(Failure::invalid("allows no value")),
        _ => return Err(Failure::invalid("must be an object or a boolean")),
    };
    fields.insert(OPTIONS.into(), json!({ "whitespace_pattern": WHITESPACE }));
    Ok(Json::Object(fields))
}
