//! The tokenizer's half of the C header.

use crate::abi::{guard, report, Buffer, Failure, Owned, Status, View};
use crate::tokenizer::{TokenKind, Tokenizer};

/// # Safety
/// `json` is readable; `out` and `error` are writable.
#[no_mangle]
pub unsafe extern "C" fn tandem_text_tokenizer_new(
    json: View,
    out: *mut *mut Tokenizer,
    error: *mut Buffer,
) -> Status {
    // SAFETY: the caller's promises.
    match guard(|| Tokenizer::from_json(unsafe { json.text("the file") }?)) {
        Ok(tokenizer) => {
            unsafe { out.write(Box::into_raw(Box::new(tokenizer))) };
            Status::Ok
        }
        Err(failure) => unsafe { report(failure, error) },
    }
}

/// # Safety
/// `tokenizer` is null or came from `tandem_text_tokenizer_new` and is freed once.
#[no_mangle]
pub unsafe extern "C" fn tandem_text_tokenizer_free(tokenizer: *mut Tokenizer) {
    if !tokenizer.is_null() {
        // SAFETY: the caller's promise.
        drop(unsafe { Box::from_raw(tokenizer) });
    }
}

/// # Safety
/// `tokenizer` is live, `text` readable, `out` and `error` writable.
#[no_mangle]
pub unsafe extern "C" fn tandem_text_tokenizer_encode(
    tokenizer: *const Tokenizer,
    text: View,
    max_bytes: usize,
    add_special_tokens: bool,
    out: *mut Owned<u32>,
    error: *mut Buffer,
) -> Status {
    let result = guard(|| {
        // SAFETY: the caller's promises.
        let text = unsafe { text.text("the text") }?;
        if text.len() > max_bytes {
            return Err(Failure::limit(format!(
                "the text has {} bytes, more than {max_bytes}",
                text.len()
            )));
        }
        unsafe { &*tokenizer }.encode(text, add_special_tokens)
    });
    match result {
        Ok(ids) => {
            // SAFETY: the caller's promise.
            unsafe { out.write(Owned::new(ids)) };
            Status::Ok
        }
        Err(failure) => unsafe { report(failure, error) },
    }
}

/// # Safety
/// `tokenizer` is live, `ids` has `count` elements, `out` is writable.
#[no_mangle]
pub unsafe extern "C" fn tandem_text_tokenizer_decode(
    tokenizer: *const Tokenizer,
    ids: *const u32,
    count: usize,
    skip_special_tokens: bool,
    out: *mut Buffer,
) -> Status {
    let ids = if count == 0 {
        &[]
    } else {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts(ids, count) }
    };
    // SAFETY: the caller's promises.
    match guard(|| unsafe { &*tokenizer }.decode(ids, skip_special_tokens)) {
        Ok(text) => {
            unsafe { out.write(Buffer::new(text.into_bytes())) };
            Status::Ok
        }
        Err(failure) => unsafe { report(failure, out) },
    }
}

/// # Safety
/// `tokenizer` is live and `token` readable.
#[no_mangle]
pub unsafe extern "C" fn tandem_text_tokenizer_token_to_id(
    tokenizer: *const Tokenizer,
    token: View,
) -> i64 {
    // SAFETY: the caller's promises.
    guard(|| Ok(unsafe { &*tokenizer }.token_to_id(unsafe { token.text("the token") }?)))
        .ok()
        .flatten()
        .map_or(-1, i64::from)
}

/// # Safety
/// `tokenizer` is live.
#[no_mangle]
pub unsafe extern "C" fn tandem_text_tokenizer_vocabulary_size(tokenizer: *const Tokenizer) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { &*tokenizer }.vocabulary_size()
}

/// # Safety
/// `tokenizer` is live.
#[no_mangle]
pub unsafe extern "C" fn tandem_text_tokenizer_token_kind(
    tokenizer: *const Tokenizer,
    id: u32,
) -> TokenKind {
    // SAFETY: the caller's promise.
    guard(|| Ok(unsafe { &*tokenizer }.token_kind(id))).unwrap_or(TokenKind::Unknown)
}

/// `out` gets the bytes of a token; false, and nothing in it, when it has none of its own.
///
/// # Safety
/// `tokenizer` is live, `out` is writable.
#[no_mangle]
pub unsafe extern "C" fn tandem_text_tokenizer_token_bytes(
    tokenizer: *const Tokenizer,
    id: u32,
    out: *mut Buffer,
) -> bool {
    // SAFETY: the caller's promise.
    match guard(|| Ok(unsafe { &*tokenizer }.token_bytes(id))) {
        Ok(Some(bytes)) => {
            // SAFETY: the caller's promise.
            unsafe { out.write(Buffer::new(bytes)) };
            true
        }
        _ => false,
    }
}
