//! The grammars' part of the C header.

use crate::abi::{guard, report, Buffer, Failure, Status, View};
use crate::grammar::{lark_json, Grammar, GrammarTokenizer, Kind, Matcher};
use crate::tokenizer::Tokenizer;

/// Hands out `result` as an owned pointer.
///
/// # Safety
/// `out` and `error` are writable.
unsafe fn give<T>(result: Result<T, Failure>, out: *mut *mut T, error: *mut Buffer) -> Status {
    match result {
        Ok(value) => {
            // SAFETY: the caller's promise.
            unsafe { out.write(Box::into_raw(Box::new(value))) };
            Status::Ok
        }
        // SAFETY: the caller's promise.
        Err(failure) => unsafe { report(failure, error) },
    }
}

/// # Safety
/// `value` is null or came from `give` and is freed once.
unsafe fn free<T>(value: *mut T) {
    if !value.is_null() {
        // SAFETY: the caller's promise.
        drop(unsafe { Box::from_raw(value) });
    }
}

/// # Safety
/// `tokenizer` is live, `eos` has `eos_count` elements, `out` and `error` are writable.
#[no_mangle]
pub unsafe extern "C" fn tandem_text_grammar_tokenizer_new(
    tokenizer: *const Tokenizer,
    vocabulary: u32,
    eos: *const u32,
    eos_count: usize,
    out: *mut *mut GrammarTokenizer,
    error: *mut Buffer,
) -> Status {
    let eos = if eos_count == 0 {
        &[]
    } else {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts(eos, eos_count) }
    };
    // SAFETY: the caller's promises.
    unsafe { give(guard(|| GrammarTokenizer::new(&*tokenizer, vocabulary, eos)), out, error) }
}

/// # Safety
/// `tokenizer` is null or came from `tandem_text_grammar_tokenizer_new` and is freed once.
#[no_mangle]
pub unsafe extern "C" fn tandem_text_grammar_tokenizer_free(tokenizer: *mut GrammarTokenizer) {
    // SAFETY: the caller's promise.
    unsafe { free(tokenizer) }
}

/// # Safety
/// `tokenizer` is live, `source` readable, `out` and `error` writable.
#[no_mangle]
pub unsafe extern "C" fn tandem_text_grammar_new(
    tokenizer: *const GrammarTokenizer,
    kind: i32,
    source: View,
    out: *mut *mut Grammar,
    error: *mut Buffer,
) -> Status {
    let result = guard(|| {
        let kind = match kind {
            0 => Kind::JsonSchema,
            1 => Kind::Regex,
            2 => Kind::Lark,
            _ => return Err(Failure::internal(format!("no kind of grammar is {kind}"))),
        };
        // SAFETY: the caller's promises.
        let (tokenizer, source) = unsafe { (&*tokenizer, source.text(kind.name())?) };
        Grammar::new(tokenizer, kind, source)
    });
    // SAFETY: the caller's promises.
    unsafe { give(result, out, error) }
}

/// # Safety
/// `grammar` is null or came from `tandem_text_grammar_new` and is freed once.
#[no_mangle]
pub unsafe extern "C" fn tandem_text_grammar_free(grammar: *mut Grammar) {
    // SAFETY: the caller's promise.
    unsafe { free(grammar) }
}

/// # Safety
/// `schema` is readable and `out` writable.
#[no_mangle]
pub unsafe extern "C" fn tandem_text_grammar_lark_json(schema: View, out: *mut Buffer) -> Status {
    // SAFETY: the caller's promises.
    match guard(|| lark_json(unsafe { schema.text("json schema") }?)) {
        Ok(expression) => {
            unsafe { out.write(Buffer::new(expression.into_bytes())) };
            Status::Ok
        }
        Err(failure) => unsafe { report(failure, out) },
    }
}

/// # Safety
/// `grammar` is live; `out` and `error` are writable.
#[no_mangle]
pub unsafe extern "C" fn tandem_text_matcher_new(
    grammar: *const Grammar,
    out: *mut *mut Matcher,
    error: *mut Buffer,
) -> Status {
    // SAFETY: the caller's promises.
    unsafe { give(guard(|| Ok((*grammar).matcher())), out, error) }
}

/// # Safety
/// `matcher` is null or came from `tandem_text_matcher_new` and is freed once.
#[no_mangle]
pub unsafe extern "C" fn tandem_text_matcher_free(matcher: *mut Matcher) {
    // SAFETY: the caller's promise.
    unsafe { free(matcher) }
}

/// # Safety
/// `matcher` is live and used by no other thread, `words` has `count` elements, `error` is
/// writable.
#[no_mangle]
pub unsafe extern "C" fn tandem_text_matcher_allowed(
    matcher: *mut Matcher,
    words: *mut u32,
    count: usize,
    error: *mut Buffer,
) -> Status {
    // SAFETY: the caller's promises.
    let (matcher, words) = unsafe { (&mut *matcher, std::slice::from_raw_parts_mut(words, count)) };
    match guard(|| matcher.allowed(words)) {
        Ok(()) => Status::Ok,
        // SAFETY: the caller's promise.
        Err(failure) => unsafe { report(failure, error) },
    }
}

/// # Safety
/// `matcher` is live and used by no other thread; `error` is writable.
#[no_mangle]
pub unsafe extern "C" fn tandem_text_matcher_accept(
    matcher: *mut Matcher,
    token: u32,
    error: *mut Buffer,
) -> Status {
    // SAFETY: the caller's promises.
    match guard(|| unsafe { &mut *matcher }.accept(token)) {
        Ok(()) => Status::Ok,
        // SAFETY: the caller's promise.
        Err(failure) => unsafe { report(failure, error) },
    }
}

/// # Safety
/// `matcher` is live.
#[no_mangle]
pub unsafe extern "C" fn tandem_text_matcher_complete(matcher: *const Matcher) -> bool {
    // SAFETY: the caller's promise.
    guard(|| Ok(unsafe { &*matcher }.complete())).unwrap_or(false)
}
