//! A tokenizer's tokens as the bytes that they stand for.

use std::sync::Arc;

use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie, INVALID_TOKEN};
use serde_json::Value as Json;
use tokenizers::Tokenizer as HfTokenizer;

use crate::abi::Failure;

/// Longer tokens are never allowed: the trie has no room for them.
const MAX_TOKEN_BYTES: usize = 1000;

/// What a decoder does to a token.
#[derive(Clone)]
enum Step {
    ByteLevel,
    ByteFallback,
    Replace { from: String, to: String },
}

/// How a tokenizer's tokens become bytes.
#[derive(Clone)]
pub struct TokenBytes {
    steps: Vec<Step>,
    letters: Vec<Option<u8>>,
}

impl TokenBytes {
    /// Fails for decoders whose tokens do not stand for the same bytes wherever they are.
    pub fn new(tokenizer: &HfTokenizer) -> Result<TokenBytes, Failure> {
        Ok(TokenBytes { steps: decoder_steps(tokenizer)?, letters: byte_letters() })
    }

    /// A special token stands for its own text.
    pub fn of(&self, tokenizer: &HfTokenizer, id: u32) -> Option<Vec<u8>> {
        let token = tokenizer.id_to_token(id)?;
        if tokenizer.get_added_vocabulary().is_special_token(&token) {
            return Some(token.into_bytes());
        }
        Some(bytes_of(token, &self.steps, &self.letters))
    }
}

/// The tokens below `vocabulary` for grammars: special ones and `eos` stand for themselves only.
pub fn token_env(tokenizer: &HfTokenizer, vocabulary: u32, eos: &[u32]) -> Result<TokEnv, Failure> {
    let steps = decoder_steps(tokenizer)?;
    let added = tokenizer.get_added_vocabulary();
    let letters = byte_letters();
    let words: Vec<Vec<u8>> = (0..vocabulary)
        .map(|id| match tokenizer.id_to_token(id) {
            None => Vec::new(),
            Some(token) if added.is_special_token(&token) || eos.contains(&id) => {
                [&[TokTrie::SPECIAL_TOKEN_MARKER], token.as_bytes()].concat()
            }
            Some(token) => bytes_of(token, &steps, &letters),
        })
        .map(|word| if word.len() > MAX_TOKEN_BYTES { Vec::new() } else { word })
        .collect();
    let info = TokRxInfo::new(vocabulary, eos.first().copied().unwrap_or(INVALID_TOKEN));
    let mut trie = TokTrie::from(&info, &words);
    if eos.len() > 1 {
        trie = trie.with_eos_tokens(eos);
    }
    Ok(Arc::new(ApproximateTokEnv::new(trie)))
}

fn decoder_steps(tokenizer: &HfTokenizer) -> Result<Vec<Step>, Failure> {
    let decoder = tokenizer
        .get_decoder()
        .and_then(|decoder| serde_json::to_value(decoder).ok())
        .ok_or_else(|| unsupported("none"))?;
    let mut steps = Vec::new();
    let mut fused = false;
    let parts = match decoder["decoders"].as_array() {
        Some(parts) => parts.clone(),
        None => vec![decoder],
    };
    for part in &parts {
        match part["type"].as_str().unwrap_or_default() {
            "ByteLevel" => steps.push(Step::ByteLevel),
            "ByteFallback" => steps.push(Step::ByteFallback),
            "Replace" => steps.push(replace_step(&part["pattern"]["String"], &part["content"])?),
            "Metaspace" => steps.push(replace_step(&part["replacement"], &Json::from(" "))?),
            "Fuse" => fused = true,
            // Of the joined text only its ends are stripped.
            "Strip" if fused => {}
            other => return Err(unsupported(other)),
        }
    }
    if steps.is_empty() {
        return Err(unsupported("empty"));
    }
    Ok(steps)
}

fn unsupported(decoder: &str) -> Failure {
    Failure::invalid(format!("grammars need a tokenizer of bytes; its decoder is {decoder}"))
}

fn replace_step(from: &Json, to: &Json) -> Result<Step, Failure> {
    match (from.as_str(), to.as_str()) {
        (Some(from), Some(to)) if !from.is_empty() => {
            Ok(Step::Replace { from: from.into(), to: to.into() })
        }
        _ => Err(unsupported("Replace of a pattern")),
    }
}

fn bytes_of(mut token: String, steps: &[Step], letters: &[Option<u8>]) -> Vec<u8> {
    for step in steps {
        match step {
            Step::Replace { from, to } => token = token.replace(from.as_str(), to),
            Step::ByteFallback => {
                if let Some(byte) = fallback_byte(&token) {
                    return vec![byte];
                }
            }
            // A token with other letters stands for itself, as in the crate's decoder.
            Step::ByteLevel => {
                let byte = |letter: char| letters.get(letter as usize).copied().flatten();
                if let Some(bytes) = token.chars().map(byte).collect::<Option<Vec<u8>>>() {
                    return bytes;
                }
            }
        }
    }
    token.into_bytes()
}

/// The byte of `<0x0A>`.
fn fallback_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    let hex = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if hex {
        u8::from_str_radix(digits, 16).ok()
    } else {
        None
    }
}

/// By code point: the byte that GPT-2's letter stands for. Source: bytes_to_unicode() of
/// https://github.com/openai/gpt-2/blob/master/src/encoder.py
fn byte_letters() -> Vec<Option<u8>> {
    let mut letters = vec![None; 0x200];
    let mut next = 0x100;
    for byte in 0..=u8::MAX {
        let code = if matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) {
            usize::from(byte)
        } else {
            next += 1;
            next - 1
        };
        letters[code] = Some(byte);
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_letter() {
        let letters = byte_letters();
        let mut bytes: Vec<u8> = letters.iter().flatten().copied().collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=u8::MAX).collect::<Vec<u8>>());
        assert_eq!(letters['Ġ' as usize], Some(b' '));
        assert_eq!(letters['Ċ' as usize], Some(b'\n'));
        assert_eq!(letters['a' as usize], Some(b'a'));
    }

    #[test]
    fn sentencepiece_tokens_are_spaces_and_bytes() {
        let steps = [Step::Replace { from: "▁".into(), to: " ".into() }, Step::ByteFallback];
        let bytes = |token: &str| bytes_of(token.into(), &steps, &[]);
        assert_eq!(bytes("▁a▁"), b" a ");
        assert_eq!(bytes("<0xE2>"), [0xe2]);
        assert_eq!(bytes("<0x+2>"), b"<0x+2>");
        assert_eq!(bytes("é"), "é".as_bytes());
    }
}
