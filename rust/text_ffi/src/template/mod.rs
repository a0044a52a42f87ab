//! Chat templates: Jinja as transformers runs it (trim_blocks, lstrip_blocks, an immutable sandbox,
//! Python's methods), on minijinja.

mod data;
mod filters;
mod functions;
mod json;
mod repr;
mod source;
mod split;
mod strings;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Value};

use crate::abi::{guard, Failure};
pub use data::from_json;
pub use functions::Call;
pub use strings::is_space;

/// Work that any rendering may do, in minijinja's fuel: about one instruction, or 64 bytes written.
const BASE_FUEL: u64 = 1_000_000;
/// Further fuel for each byte of input: enough to go over it a dozen times.
const FUEL_PER_INPUT_BYTES: u64 = 4;
/// Nested macro calls and loops.
const MAX_RECURSION: usize = 200;
/// Stack of the rendering thread, reserved and not touched until needed: macOS gives a thread
/// 512 KiB, and a long template may build deeply nested lists.
const STACK_BYTES: usize = 256 << 20;
const NAME: &str = "chat template";

/// A compiled chat template.
pub struct Template {
    env: Environment<'static>,
    source: String,
}

impl Template {
    pub fn new(source: &str) -> Result<Template, Failure> {
        let translated = source::translate(source)?;
        let mut syntax = SyntaxConfig::builder();
        syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true);
        let mut env = Environment::new();
        env.set_syntax(syntax.build().map_err(|e| Failure::internal(e.to_string()))?);
        env.set_recursion_limit(MAX_RECURSION);
        env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        env.set_unknown_method_callback(strings::call_method);
        filters::register(&mut env);
        functions::register(&mut env);
        let env = on_large_stack(move || {
            env.add_template_owned(NAME, translated).map_err(|e| Failure::invalid(describe(&e)))?;
            Ok(env)
        })?;
        Ok(Template { env, source: source.to_string() })
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    /// `variables` is an object: what the template sees besides the functions. `input_bytes` is the
    /// size of what it was made from.
    pub fn render(
        &self,
        variables: Value,
        call: Call,
        input_bytes: usize,
        max_bytes: usize,
    ) -> Result<String, Failure> {
        let fuel = BASE_FUEL + input_bytes as u64 / FUEL_PER_INPUT_BYTES;
        on_large_stack(move || self.render_here(variables, call, fuel, max_bytes))
    }

    fn render_here(
        &self,
        variables: Value,
        call: Call,
        fuel: u64,
        max_bytes: usize,
    ) -> Result<String, Failure> {
        let mut env = self.env.clone();
        env.set_fuel(Some(fuel));
        let raised = call.raised();
        functions::register_call(&mut env, call);
        let rendered = env.get_template(NAME).and_then(|template| template.render(variables));
        match rendered {
            Ok(text) if text.len() > max_bytes => Err(Failure::limit(format!(
                "the prompt has {} bytes, more than {max_bytes}",
                text.len()
            ))),
            Ok(text) => Ok(text),
            Err(error) => Err(match raised.message() {
                Some(message) => Failure::invalid(format!("{NAME}: {message}")),
                None if root(&error).kind() == ErrorKind::OutOfFuel => Failure::limit(format!(
                    "{NAME}: does more work than {fuel} steps on this conversation"
                )),
                None => Failure::invalid(describe(&error)),
            }),
        }
    }
}

fn root(error: &minijinja::Error) -> &minijinja::Error {
    let mut innermost = error;
    while let Some(source) = std::error::Error::source(innermost)
        .and_then(|source| source.downcast_ref::<minijinja::Error>())
    {
        innermost = source;
    }
    innermost
}

fn describe(error: &minijinja::Error) -> String {
    let error = root(error);
    let what = match error.detail() {
        Some(detail) => detail.to_string(),
        None => error.kind().to_string(),
    };
    match error.line() {
        Some(line) => format!("{NAME}, line {line}: {what}"),
        None => format!("{NAME}: {what}"),
    }
}

/// Runs `work` on a thread of its own with a stack that no template can exhaust.
fn on_large_stack<T: Send>(work: impl FnOnce() -> Result<T, Failure> + Send) -> Result<T, Failure> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || guard(work))
            .map_err(|e| Failure::internal(format!("{NAME}: no thread to render on: {e}")))?
            .join()
            .unwrap_or_else(|_| Err(Failure::internal(format!("{NAME}: the renderer died"))))
    })
}
