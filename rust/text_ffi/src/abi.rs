//! What crosses the C boundary: views in, owned buffers out, a status for every call.

use std::cell::Cell;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Once;

/// Longest message, characters.
const MAX_MESSAGE_CHARS: usize = 300;

#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ok = 0,
    Invalid = 1,
    Limit = 2,
    Internal = 3,
}

/// Why a call failed: a status other than `Ok` and one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub status: Status,
    pub message: String,
}

impl Failure {
    pub fn invalid(message: impl AsRef<str>) -> Failure {
        Failure { status: Status::Invalid, message: one_line(message.as_ref()) }
    }

    pub fn limit(message: impl AsRef<str>) -> Failure {
        Failure { status: Status::Limit, message: one_line(message.as_ref()) }
    }

    pub fn internal(message: impl AsRef<str>) -> Failure {
        Failure { status: Status::Internal, message: one_line(message.as_ref()) }
    }
}

/// `text` without control characters, cut to a readable length.
pub fn one_line(text: &str) -> String {
    let mut line = String::new();
    for (count, c) in text.trim().chars().enumerate() {
        if count == MAX_MESSAGE_CHARS {
            line.push_str("...");
            break;
        }
        line.push(if c.is_control() { ' ' } else { c });
    }
    line
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct View {
    data: *const u8,
    size: usize,
}

impl View {
    /// # Safety
    /// `data` is null with size 0, or points to `size` readable bytes that outlive `'a`.
    pub unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.data.is_null() || self.size == 0 {
            return &[];
        }
        // SAFETY: the caller's promise above.
        unsafe { std::slice::from_raw_parts(self.data, self.size) }
    }

    /// # Safety
    /// As `bytes`.
    pub unsafe fn text<'a>(self, what: &str) -> Result<&'a str, Failure> {
        // SAFETY: the caller's promise.
        let bytes = unsafe { self.bytes() };
        std::str::from_utf8(bytes).map_err(|e| {
            Failure::invalid(format!("{what} is not UTF-8 at byte {}", e.valid_up_to()))
        })
    }
}

/// A `Vec<T>` handed to the caller.
#[repr(C)]
pub struct Owned<T> {
    data: *mut T,
    size: usize,
    capacity: usize,
}

impl<T> Owned<T> {
    pub fn new(mut vec: Vec<T>) -> Owned<T> {
        let owned = Owned { data: vec.as_mut_ptr(), size: vec.len(), capacity: vec.capacity() };
        std::mem::forget(vec);
        owned
    }

    /// # Safety
    /// `self` came from `new` and is released once, or is all zeros.
    pub unsafe fn release(self) {
        if !self.data.is_null() {
            // SAFETY: the parts of the vector that `new` took apart.
            drop(unsafe { Vec::from_raw_parts(self.data, self.size, self.capacity) });
        }
    }
}

pub type Buffer = Owned<u8>;

/// Writes the message of a failure and returns its status.
///
/// # Safety
/// `error` is null or writable.
pub unsafe fn report(failure: Failure, error: *mut Buffer) -> Status {
    if !error.is_null() {
        // SAFETY: the caller's promise.
        unsafe { error.write(Buffer::new(failure.message.into_bytes())) };
    }
    failure.status
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; a panic becomes a failure and prints nothing.
pub fn guard<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    static SILENCE: Once = Once::new();
    SILENCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !GUARDED.with(Cell::get) {
                previous(info);
            }
        }));
    });
    let outer = GUARDED.with(|guarded| guarded.replace(true));
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.with(|guarded| guarded.set(outer));
    result.unwrap_or_else(|panic| Err(Failure::internal(panic_text(panic.as_ref()))))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown");
    format!("defect in the text library: {text}")
}

#[no_mangle]
pub extern "C" fn tandem_text_buffer_free(buffer: Buffer) {
    // SAFETY: the header says that buffers come from this library and are freed once.
    unsafe { buffer.release() }
}

#[no_mangle]
pub extern "C" fn tandem_text_ids_free(ids: Owned<u32>) {
    // SAFETY: as above.
    unsafe { ids.release() }
}
