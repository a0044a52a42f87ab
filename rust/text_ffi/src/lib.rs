//! Tokenizers, chat templates and grammars behind `include/tandem_text_ffi.h`.

#![deny(unsafe_op_in_unsafe_fn)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod abi;
pub mod chat;
pub mod grammar;
pub mod grammar_abi;
pub mod template;
pub mod template_abi;
pub mod tokenizer;
pub mod tokenizer_abi;
