//! The chat template's half of the C header.

use crate::abi::{guard, report, Buffer, Status, View};
use crate::chat::{render, Chat};
use crate::template::Template;

/// `tandem_text_chat`.
#[repr(C)]
pub struct ChatView {
    messages: View,
    tools: View,
    documents: View,
    special_tokens: View,
    kwargs: View,
    add_generation_prompt: bool,
    continue_final_message: bool,
    keep_null_content: bool,
    now: i64,
}

/// # Safety
/// `source` is readable; `out` and `error` are writable.
#[no_mangle]
pub unsafe extern "C" fn tandem_text_template_new(
    source: View,
    out: *mut *mut Template,
    error: *mut Buffer,
) -> Status {
    // SAFETY: the caller's promises.
    match guard(|| Template::new(unsafe { source.text("the template") }?)) {
        Ok(template) => {
            unsafe { out.write(Box::into_raw(Box::new(template))) };
            Status::Ok
        }
        Err(failure) => unsafe { report(failure, error) },
    }
}

/// # Safety
/// `template` is null or came from `tandem_text_template_new` and is freed once.
#[no_mangle]
pub unsafe extern "C" fn tandem_text_template_free(template: *mut Template) {
    if !template.is_null() {
        // SAFETY: the caller's promise.
        drop(unsafe { Box::from_raw(template) });
    }
}

/// # Safety
/// `template` is live, `chat` and its views are readable, `out` is writable.
#[no_mangle]
pub unsafe extern "C" fn tandem_text_template_render(
    template: *const Template,
    chat: *const ChatView,
    max_bytes: usize,
    out: *mut Buffer,
) -> Status {
    let result = guard(|| {
        // SAFETY: the caller's promises.
        let (template, view) = unsafe { (&*template, &*chat) };
        let chat = unsafe {
            Chat {
                messages: view.messages.text("messages")?,
                tools: view.tools.text("tools")?,
                documents: view.documents.text("documents")?,
                special_tokens: view.special_tokens.text("special tokens")?,
                kwargs: view.kwargs.text("kwargs")?,
                add_generation_prompt: view.add_generation_prompt,
                continue_final_message: view.continue_final_message,
                keep_null_content: view.keep_null_content,
                now: view.now,
            }
        };
        render(template, &chat, max_bytes)
    });
    match result {
        Ok(prompt) => {
            // SAFETY: the caller's promise.
            unsafe { out.write(Buffer::new(prompt.into_bytes())) };
            Status::Ok
        }
        Err(failure) => unsafe { report(failure, out) },
    }
}
