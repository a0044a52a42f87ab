//! The functions that chat templates call.

use std::ffi::CString;
use std::sync::{Arc, Mutex};

use minijinja::value::{Object, Rest};
use minijinja::{Environment, Error, ErrorKind, State, Value};

/// Longest text that strftime_now gives, bytes.
const MAX_TIME_BYTES: usize = 4096;

/// What a template raised with raise_exception.
#[derive(Clone, Default)]
pub struct Raised(Arc<Mutex<Option<String>>>);

impl Raised {
    pub fn message(&self) -> Option<String> {
        self.0.lock().ok().and_then(|message| message.clone())
    }

    fn set(&self, text: String) {
        if let Ok(mut message) = self.0.lock() {
            *message = Some(text);
        }
    }
}

/// One rendering: its time, and what it raises.
#[derive(Clone, Default)]
pub struct Call {
    /// Seconds since 1970.
    now: i64,
    raised: Raised,
}

impl Call {
    pub fn at(now: i64) -> Call {
        Call { now, raised: Raised::default() }
    }

    pub fn raised(&self) -> Raised {
        self.raised.clone()
    }
}

/// Jinja's cycler: its items in turn, again and again. minijinja's own has no `current`.
#[derive(Debug)]
struct Cycler {
    items: Vec<Value>,
    place: Mutex<usize>,
}

impl Cycler {
    fn over(items: Vec<Value>) -> Result<Value, Error> {
        if items.is_empty() {
            return Err(Error::new(
                ErrorKind::MissingArgument,
                "at least one item has to be provided",
            ));
        }
        Ok(Value::from_object(Cycler { items, place: Mutex::new(0) }))
    }

    fn with_place<T>(&self, read: impl FnOnce(&mut usize) -> T) -> T {
        read(&mut self.place.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}

impl Object for Cycler {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "current" => Some(self.with_place(|place| self.items[*place].clone())),
            "items" => Some(Value::from(self.items.clone())),
            "pos" => Some(Value::from(self.with_place(|place| *place))),
            _ => None,
        }
    }

    fn call_method(
        self: &Arc<Self>,
        _: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        if !args.is_empty() {
            return Err(Error::from(ErrorKind::TooManyArguments));
        }
        match method {
            "next" => Ok(self.with_place(|place| {
                let item = self.items[*place].clone();
                *place = (*place + 1) % self.items.len();
                item
            })),
            "reset" => Ok(self.with_place(|place| {
                *place = 0;
                Value::from(())
            })),
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }
}

pub fn register(env: &mut Environment<'static>) {
    env.remove_global("debug");
    env.add_function("joiner", minijinja_contrib::globals::joiner);
    env.add_function("cycler", |items: Rest<Value>| Cycler::over(items.0));
}

pub fn register_call(env: &mut Environment<'static>, call: Call) {
    let raised = call.raised;
    env.add_function("raise_exception", move |message: Value| -> Result<Value, Error> {
        raised.set(message.to_string());
        Err(Error::new(ErrorKind::InvalidOperation, message.to_string()))
    });
    let now = call.now;
    env.add_function("strftime_now", move |format: &str| strftime(format, now));
}

/// `format` with its microseconds, which C does not know, written out: zero, since the time that is
/// asked for is in seconds. "%%f" is a percent sign and a letter.
fn without_microseconds(format: &str) -> String {
    let mut out = String::with_capacity(format.len());
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        let directive = if c == '%' { rest.next() } else { None };
        match directive {
            Some('f') => out.push_str("000000"),
            after => out.extend([c].into_iter().chain(after)),
        }
    }
    out
}

/// Local time as C's strftime writes it.
fn strftime(format: &str, now: i64) -> Result<String, Error> {
    // A leading character keeps an empty result apart from a failure.
    let format = CString::new(format!("x{}", without_microseconds(format)))
        .map_err(|_| Error::new(ErrorKind::InvalidOperation, "strftime_now: embedded zero"))?;
    let seconds = now as libc::time_t;
    let mut buffer = vec![0u8; MAX_TIME_BYTES];
    // SAFETY: the pointers are to live values of the right type; strftime writes at most the size
    // given and returns what it wrote.
    let size = unsafe {
        let mut time: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&seconds, &mut time).is_null() {
            return Err(Error::new(ErrorKind::InvalidOperation, "strftime_now: time out of range"));
        }
        libc::strftime(buffer.as_mut_ptr().cast(), buffer.len(), format.as_ptr(), &time)
    };
    if size == 0 {
        return Err(Error::new(ErrorKind::InvalidOperation, "strftime_now: format too long"));
    }
    Ok(String::from_utf8_lossy(&buffer[1..size]).into_owned())
}
