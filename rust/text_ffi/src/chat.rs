//! A conversation as transformers' apply_chat_template hands it to a template.

use serde_json::{Map, Value as Json};

use crate::abi::Failure;
use crate::template::{from_json, Call, Template};

/// Names under which a message's reasoning is passed, the one that templates read first.
const REASONING_FIELDS: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];
/// Marks where the final message ends, to cut what the template adds after it.
const CONTINUE_TAG: &str = "CONTINUE_FINAL_MESSAGE_TAG ";

/// JSON texts; an empty one is absent.
#[derive(Clone, Copy, Default)]
pub struct Chat<'a> {
    pub messages: &'a str,
    pub tools: &'a str,
    pub documents: &'a str,
    pub special_tokens: &'a str,
    pub kwargs: &'a str,
    pub add_generation_prompt: bool,
    pub continue_final_message: bool,
    /// A content that is null is none to the template; else it is not defined, as other fields.
    pub keep_null_content: bool,
    /// Seconds since 1970.
    pub now: i64,
}

pub fn render(template: &Template, chat: &Chat, max_bytes: usize) -> Result<String, Failure> {
    if chat.continue_final_message && chat.add_generation_prompt {
        return Err(Failure::invalid(
            "continue_final_message and add_generation_prompt exclude each other",
        ));
    }
    let mut messages = messages(chat.messages, chat.keep_null_content)?;
    let mut final_text = None;
    if chat.continue_final_message {
        final_text = Some(tag_final_message(&mut messages, template.source())?);
    }
    let mut variables = Map::new();
    for (what, text) in [("special tokens", chat.special_tokens), ("kwargs", chat.kwargs)] {
        variables.extend(object(what, text)?);
    }
    let own = ["messages", "tools", "documents", "add_generation_prompt"];
    if let Some(name) = own.iter().find(|name| variables.contains_key(**name)) {
        return Err(Failure::invalid(format!("kwargs: {name} has a field of its own")));
    }
    variables.insert("messages".into(), messages.into_iter().map(Json::Object).collect());
    variables.insert("tools".into(), list_of_objects("tools", chat.tools)?);
    variables.insert("documents".into(), list_of_objects("documents", chat.documents)?);
    variables.insert("add_generation_prompt".into(), chat.add_generation_prompt.into());
    let input_bytes = [chat.messages, chat.tools, chat.documents, chat.special_tokens, chat.kwargs]
        .iter()
        .map(|text| text.len())
        .sum();
    let prompt = template.render(
        from_json(Json::Object(variables)),
        Call::at(chat.now),
        input_bytes,
        max_bytes,
    )?;
    match final_text {
        Some(text) => cut_at_tag(&prompt, &text),
        None => Ok(prompt),
    }
}

fn parse(what: &str, text: &str) -> Result<Json, Failure> {
    serde_json::from_str(text).map_err(|e| Failure::invalid(format!("{what}: not JSON: {e}")))
}

/// The messages, without fields that are null and with the names of the reasoning filled in.
fn messages(text: &str, null_content: bool) -> Result<Vec<Map<String, Json>>, Failure> {
    let Json::Array(items) = parse("messages", text)? else {
        return Err(Failure::invalid("messages must be a list"));
    };
    if items.is_empty() {
        return Err(Failure::invalid("messages must hold at least one message"));
    }
    items
        .into_iter()
        .enumerate()
        .map(|(i, item)| match item {
            Json::Object(fields) => Ok(normalize(fields, null_content)),
            _ => Err(Failure::invalid(format!("messages[{i}] must be an object"))),
        })
        .collect()
}

fn normalize(fields: Map<String, Json>, null_content: bool) -> Map<String, Json> {
    let fields: Map<String, Json> = fields
        .into_iter()
        .filter(|(name, value)| !value.is_null() || (null_content && name == "content"))
        .collect();
    let reasoning = REASONING_FIELDS.iter().find_map(|name| fields.get(*name)).cloned();
    let Some(reasoning) = reasoning else {
        return fields;
    };
    let mut aliased = Map::new();
    aliased.insert("thinking".into(), reasoning.clone());
    aliased.extend(fields);
    aliased.insert("reasoning_content".into(), reasoning);
    aliased
}

fn list_of_objects(what: &str, text: &str) -> Result<Json, Failure> {
    if text.is_empty() {
        return Ok(Json::Null);
    }
    let list = parse(what, text)?;
    match list.as_array() {
        Some(items) if items.iter().all(Json::is_object) => Ok(list),
        _ => Err(Failure::invalid(format!("{what} must be a list of objects"))),
    }
}

fn object(what: &str, text: &str) -> Result<Map<String, Json>, Failure> {
    if text.is_empty() {
        return Ok(Map::new());
    }
    match parse(what, text)? {
        Json::Object(fields) => Ok(fields),
        _ => Err(Failure::invalid(format!("{what} must be an object"))),
    }
}

/// Appends the tag to the final message; its text without the tag.
fn tag_final_message(messages: &mut [Map<String, Json>], source: &str) -> Result<String, Failure> {
    let nothing = || Failure::invalid("continue_final_message: the final message has no content");
    let content = messages.last_mut().and_then(|m| m.get_mut("content")).ok_or_else(nothing)?;
    if !source.contains("content") {
        return Err(Failure::invalid(
            "continue_final_message: the chat template does not read a message's content",
        ));
    }
    let text = match content {
        Json::Array(blocks) => blocks.iter_mut().rev().find_map(|block| block.get_mut("text")),
        content => Some(content),
    };
    match text {
        Some(Json::String(text)) => {
            let original = text.clone();
            text.push_str(CONTINUE_TAG);
            Ok(original)
        }
        _ => Err(Failure::invalid(
            "continue_final_message: the final message has no text to continue",
        )),
    }
}

fn cut_at_tag(prompt: &str, final_text: &str) -> Result<String, Failure> {
    let is_space = crate::template::is_space;
    let tag_at = prompt.rfind(CONTINUE_TAG.trim_end());
    let found = prompt.contains(final_text.trim_matches(is_space));
    match tag_at {
        Some(at) if found && prompt[at..].starts_with(CONTINUE_TAG) => Ok(prompt[..at].to_string()),
        // The template trims the message, so that the text before the tag may end in space.
        Some(at) if found => Ok(prompt[..at].trim_end_matches(is_space).to_string()),
        _ => Err(Failure::invalid(
            "continue_final_message: the final message does not appear in the rendered prompt",
        )),
    }
}
