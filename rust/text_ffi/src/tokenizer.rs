//! Text to token ids and back.

use std::str::FromStr;

use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::Tokenizer as HfTokenizer;

use crate::abi::{guard, Failure};
use crate::grammar::TokenBytes;

/// Largest tokenizer.json, bytes.
const MAX_JSON_BYTES: usize = 512 << 20;
/// Ids must be below this: the largest vocabulary in use has a few hundred thousand.
const MAX_VOCABULARY: u32 = 1 << 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum TokenKind {
    Unknown = 0,
    Normal = 1,
    Special = 2,
}

/// One tokenizer.json.
pub struct Tokenizer {
    inner: HfTokenizer,
    size: u32,
    bytes: Option<TokenBytes>,
}

impl Tokenizer {
    pub fn from_json(json: &str) -> Result<Tokenizer, Failure> {
        if json.len() > MAX_JSON_BYTES {
            return Err(Failure::limit(format!("is larger than {MAX_JSON_BYTES} bytes")));
        }
        let mut inner = HfTokenizer::from_str(json).map_err(|e| Failure::invalid(e.to_string()))?;
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|e| Failure::invalid(e.to_string()))?;
        // Some converters (of Mistral's tekken files) put SentencePiece's decoder over byte-level
        // pieces, which then keep the letters that stand for spaces and bytes.
        let step = |part: Option<String>| part.is_some_and(|json| json.contains("\"ByteLevel\""));
        let cut = inner.get_pre_tokenizer().and_then(|part| serde_json::to_string(part).ok());
        let joined = inner.get_decoder().and_then(|part| serde_json::to_string(part).ok());
        if step(cut) && !step(joined) {
            inner.with_decoder(Some(ByteLevel::default()));
        }
        let largest = inner.get_vocab(true).into_values().max();
        let size = match largest {
            None => return Err(Failure::invalid("model.vocab is empty")),
            Some(id) if id >= MAX_VOCABULARY => {
                return Err(Failure::invalid(format!(
                    "model.vocab: id {id} must be below {MAX_VOCABULARY}"
                )))
            }
            Some(id) => id + 1,
        };
        let bytes = TokenBytes::new(&inner).ok();
        Ok(Tokenizer { inner, size, bytes })
    }

    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, Failure> {
        // The regex engine panics when a text exhausts its backtracking limit.
        let encoding = guard(|| {
            self.inner
                .encode_fast(text, add_special_tokens)
                .map_err(|e| Failure::invalid(format!("the text cannot be tokenized: {e}")))
        })
        .map_err(|e| Failure::invalid(e.message))?;
        Ok(encoding.get_ids().to_vec())
    }

    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, Failure> {
        self.inner
            .decode(ids, skip_special_tokens)
            .map_err(|e| Failure::invalid(format!("the tokens cannot be decoded: {e}")))
    }

    pub fn inner(&self) -> &HfTokenizer {
        &self.inner
    }

    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The bytes that a token stands for; None: there are none, or they depend on its place.
    pub fn token_bytes(&self, id: u32) -> Option<Vec<u8>> {
        self.bytes.as_ref()?.of(&self.inner, id)
    }

    pub fn vocabulary_size(&self) -> u32 {
        self.size
    }

    pub fn token_kind(&self, id: u32) -> TokenKind {
        match self.inner.id_to_token(id) {
            None => TokenKind::Unknown,
            Some(token) if self.inner.get_added_vocabulary().is_special_token(&token) => {
                TokenKind::Special
            }
            Some(_) => TokenKind::Normal,
        }
    }
}
