//! Constrained decoding by llguidance: grammars, and matchers that follow an output.

mod limits;
mod message;
mod source;
mod vocabulary;

use llguidance::api::ParserLimits;
use llguidance::{Matcher as LlgMatcher, ParserFactory};

use crate::abi::{guard, Failure};
use crate::tokenizer::Tokenizer;

use message::why;
pub use source::{lark_json, Kind};
pub use vocabulary::TokenBytes;

/// Stack of the thread that compiles a grammar, bytes: its parsers are recursive.
const COMPILE_STACK_BYTES: usize = 256 << 20;

/// Bounds on time and memory; the figures of time are llguidance's.
fn parser_limits() -> ParserLimits {
    ParserLimits {
        max_items_in_row: 3000,        // 40 ms
        initial_lexer_fuel: 1_000_000, // 20 ms
        step_lexer_fuel: 200_000,      // 15 ms
        step_max_items: 50_000,        // 3 ms
        max_lexer_states: 50_000,      // 100 MB
        max_grammar_size: 150_000,
        precompute_large_lexemes: true,
        verbose_errors: false,
    }
}

/// A model's tokens, arranged for grammars.
pub struct GrammarTokenizer {
    factory: ParserFactory,
    vocabulary: u32,
}

impl GrammarTokenizer {
    /// `vocabulary`: of the model. Of `eos` what is not in it has no effect.
    pub fn new(tokenizer: &Tokenizer, vocabulary: u32, eos: &[u32]) -> Result<Self, Failure> {
        let eos: Vec<u32> = eos.iter().copied().filter(|id| *id < vocabulary).collect();
        let env = vocabulary::token_env(tokenizer.inner(), vocabulary, &eos)?;
        let mut factory =
            ParserFactory::new_simple(&env).map_err(|e| Failure::internal(e.to_string()))?;
        factory.quiet();
        *factory.limits_mut() = parser_limits();
        Ok(GrammarTokenizer { factory, vocabulary })
    }
}

/// A compiled grammar: a matcher that has seen nothing.
pub struct Grammar {
    start: LlgMatcher,
    vocabulary: u32,
}

impl Grammar {
    pub fn new(tokenizer: &GrammarTokenizer, kind: Kind, source: &str) -> Result<Self, Failure> {
        let start = on_large_stack(|| {
            let grammar = kind.grammar(source)?;
            let mut start = LlgMatcher::new(tokenizer.factory.create_parser(grammar));
            start.consume_tokens(&[]).map_err(|e| Failure::invalid(why(e)))?;
            if !start.is_stopped() {
                start.compute_mask().map_err(|e| Failure::invalid(why(e)))?;
            }
            Ok(start)
        });
        let start = start
            .map_err(|e| Failure { message: format!("{}: {}", kind.name(), e.message), ..e })?;
        Ok(Grammar { start, vocabulary: tokenizer.vocabulary })
    }

    pub fn matcher(&self) -> Matcher {
        Matcher { inner: self.start.clone(), vocabulary: self.vocabulary }
    }
}

/// Follows one output.
pub struct Matcher {
    inner: LlgMatcher,
    vocabulary: u32,
}

impl Matcher {
    /// Fills `words` with a bit for each token of the vocabulary that may come next.
    pub fn allowed(&mut self, words: &mut [u32]) -> Result<(), Failure> {
        if self.complete() {
            return Err(Failure::invalid("grammar: the output is complete"));
        }
        let mask = self.inner.compute_mask().map_err(output_failure)?;
        let vocabulary = self.vocabulary as usize;
        if words.len() != vocabulary.div_ceil(32) {
            return Err(Failure::internal("a mask of another size"));
        }
        words.fill(0);
        for (to, from) in words.iter_mut().zip(mask.as_slice()) {
            *to = *from;
        }
        if let (Some(last), rest @ 1..) = (words.last_mut(), vocabulary % 32) {
            *last &= (1 << rest) - 1;
        }
        Ok(())
    }

    pub fn accept(&mut self, token: u32) -> Result<(), Failure> {
        if self.complete() {
            return Err(Failure::invalid("grammar: the output is complete"));
        }
        self.inner.consume_token(token).map_err(output_failure)
    }

    pub fn complete(&self) -> bool {
        self.inner.is_stopped() && !self.inner.is_error()
    }
}

fn on_large_stack<T: Send>(work: impl FnOnce() -> Result<T, Failure> + Send) -> Result<T, Failure> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("grammar".into())
            .stack_size(COMPILE_STACK_BYTES)
            .spawn_scoped(scope, || guard(work))
            .map_err(|e| Failure::limit(format!("no thread to compile on: {e}")))?
            .join()
            .unwrap_or_else(|_| Err(Failure::internal("the compiler ended early")))
    })
}

fn output_failure(error: impl std::fmt::Display) -> Failure {
    Failure::limit(format!("grammar: {}", why(error)))
}
