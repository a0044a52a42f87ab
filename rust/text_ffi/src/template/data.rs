//! JSON data as a template sees it. Lists and objects of the input have types of their own, so that
//! they are known not to hold anything that a template made.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use minijinja::value::{Enumerator, Object, ObjectRepr};
use minijinja::Value;
use serde_json::Value as Json;

use super::repr::write_repr;

#[derive(Debug)]
pub struct InputList(Vec<Value>);

impl Object for InputList {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.get(key.as_usize()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.0.len())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_repr(f, &Value::from_dyn_object(self.clone()), 0)
    }
}

/// Keeps the order of the JSON text.
#[derive(Debug)]
pub struct InputObject {
    entries: Vec<(Value, Value)>,
    index: HashMap<String, usize>,
}

impl Object for InputObject {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let at = self.index.get(key.as_str()?)?;
        self.entries.get(*at).map(|(_, value)| value.clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.entries.iter().map(|(key, _)| key.clone()).collect())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.entries.len())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_repr(f, &Value::from_dyn_object(self.clone()), 0)
    }
}

/// A template's view of `json`.
pub fn from_json(json: Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(value) => Value::from(value),
        Json::Number(number) => from_number(&number),
        Json::String(text) => Value::from(text),
        Json::Array(items) => {
            Value::from_object(InputList(items.into_iter().map(from_json).collect()))
        }
        Json::Object(fields) => {
            let mut object = InputObject {
                entries: Vec::with_capacity(fields.len()),
                index: HashMap::with_capacity(fields.len()),
            };
            for (name, value) in fields {
                object.index.insert(name.clone(), object.entries.len());
                object.entries.push((Value::from(name), from_json(value)));
            }
            Value::from_object(object)
        }
    }
}

fn from_number(number: &serde_json::Number) -> Value {
    if let Some(value) = number.as_i64() {
        Value::from(value)
    } else if let Some(value) = number.as_u64() {
        Value::from(value)
    } else {
        Value::from(number.as_f64().unwrap_or(f64::NAN))
    }
}

/// Whether `value` is input data as a whole.
pub fn is_input(value: &Value) -> bool {
    value.downcast_object_ref::<InputList>().is_some()
        || value.downcast_object_ref::<InputObject>().is_some()
}
