//! llguidance's messages, for the people who write schemas.

/// Its words and ours; what follows its words is kept, but for those that end in a full stop.
const WORDS: [(&str, &str); 5] = [
    ("Unimplemented keys: ", "does not support "),
    ("Unsatisfiable schema: ", "allows no value: "),
    ("oneOf constraints are not supported.", "oneOf must have options that exclude each other"),
    ("NoExtensionBias", "nothing can come next"),
    ("panic: ", "is too large or not supported: "),
];

/// One line that says what is wrong, without the excerpts and advice for callers of the crate.
pub fn why(error: impl std::fmt::Display) -> String {
    let text = error.to_string();
    let line = match text.split_once("regex parse error:") {
        Some((before, after)) => pattern_error(before, after),
        None => text.lines().next().unwrap_or_default().to_string(),
    };
    let line = line.split("; following special").next().unwrap_or_default();
    for (theirs, ours) in WORDS {
        if let Some(rest) = line.strip_prefix(theirs) {
            return format!("{ours}{}", if theirs.ends_with('.') { "" } else { rest });
        }
    }
    line.to_string()
}

/// regex-syntax prints the pattern, marks below it and then its reason.
fn pattern_error(before: &str, after: &str) -> String {
    // A regex by itself was wrapped in a grammar of one line.
    let place = match before.split_once("): ") {
        Some((place, _)) if !place.starts_with("at 1(8") => format!("{place}): "),
        _ => String::new(),
    };
    let mut lines = after.lines().map(str::trim).filter(|line| !line.is_empty());
    let pattern = lines.next().unwrap_or_default();
    let reason = lines.find_map(|line| line.strip_prefix("error: ")).unwrap_or("cannot be read");
    format!("{place}pattern {pattern:?}: {reason}")
}

#[cfg(test)]
mod tests {
    use super::why;

    #[test]
    fn a_pattern_is_named_with_its_reason() {
        let text = "at 3(4): invalid regex \"(\" (in regex): regex parse error:\n    (\n    ^\n\
                    error: unclosed group\n   1 | start: /(/\n               ^\n";
        assert_eq!(why(text), "at 3(4): pattern \"(\": unclosed group");
        let text = "regex parse error:\n    (?=a)\n    ^^^\nerror: look-around";
        assert_eq!(why(text), "pattern \"(?=a)\": look-around");
    }

    #[test]
    fn advice_and_excerpts_are_left_out() {
        assert_eq!(why("Unimplemented keys: [\"not\"]"), "does not support [\"not\"]");
        assert_eq!(why("at 1(8): unknown name\n 1 | x"), "at 1(8): unknown name");
        assert_eq!(
            why("oneOf constraints are not supported. Enable that"),
            "oneOf must have options that exclude each other"
        );
        assert_eq!(why("x\n<non-verbose/>"), "x");
        assert_eq!(
            why("unknown special token: \"a\"; following special tokens are ..."),
            "unknown special token: \"a\""
        );
    }
}
