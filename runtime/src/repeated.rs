//! What a refusal repeats of what it refuses: names, shortened, and no values, since a text in the wrong
//! place may be a secret, and answers land in the logs of whoever gets them.

/// So many characters of a name are repeated.
const NAME: usize = 64;
/// So many characters a reason has at the most; ours that list known words are the longest.
const REASON: usize = 600;
/// What webhook secrets begin with (Standard Webhooks 1.0).
const SECRET: &str = "whsec_";

/// A name that the caller chose: of a field, a parameter, a header.
pub fn name(text: &str) -> String {
    match text.find(SECRET) {
        Some(start) => shortened(&text[..start + SECRET.len()], NAME) + "…",
        None => shortened(text, NAME),
    }
}

/// Why serde refused something, without the text that was in the place of something else:
/// ``invalid type: string "…", expected u64``, ``unknown variant `…`, expected …``.
pub fn reason(message: &str) -> String {
    let told = |kind: &str, begin: &str, end: &str| {
        let rest = message.strip_prefix(kind)?.strip_prefix(begin)?;
        // What was expected is ours and holds no such end, whatever the caller wrote.
        let place = rest.rfind(end)?;
        Some((&rest[..place], &rest[place + end.len()..]))
    };
    for kind in ["invalid type: ", "invalid value: "] {
        if let Some((_, expected)) = told(kind, "string \"", "\", expected ") {
            return shortened(&format!("{kind}a text, expected {expected}"), REASON);
        }
    }
    if let Some((_, known)) = told("unknown variant ", "`", "`, expected ") {
        return shortened(&format!("unknown word, expected {known}"), REASON);
    }
    for end in ["`, expected ", "`, there are no fields"] {
        if let Some((field, known)) = told("unknown field ", "`", end) {
            return shortened(&format!("unknown field `{}{end}{known}", name(field)), REASON);
        }
    }
    shortened(message, REASON)
}

/// A text from outside as any database keeps it: Postgres has no NUL in text.
pub fn storable(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shortened_and_a_secret_is_none() {
        assert_eq!(name("amount"), "amount");
        assert_eq!(name(&"é".repeat(65)), "é".repeat(64) + "…");
        assert_eq!(name("headers.whsec_C2FVsBQIhrscChlQIMV"), "headers.whsec_…");
    }

    #[test]
    fn a_text_that_no_database_would_hold_is_made_storable() {
        assert_eq!(storable("a\0b"), "a\u{FFFD}b");
    }

    #[test]
    fn a_reason_says_what_was_expected_and_no_value() {
        for (message, expected) in [
            (
                r#"invalid type: string "a\", expected \"", expected u64"#,
                "invalid type: a text, expected u64",
            ),
            (r#"invalid value: string "a", expected a code"#, "invalid value: a text, expected a code"),
            ("invalid type: integer `5`, expected a string", "invalid type: integer `5`, expected a string"),
            ("unknown variant `a`, b`, expected `on` or `off`", "unknown word, expected `on` or `off`"),
            ("unknown variant `a`, expected one of `on`, `off`", "unknown word, expected one of `on`, `off`"),
            ("unknown field `tip`, expected `amount`", "unknown field `tip`, expected `amount`"),
            ("unknown field `tip`, there are no fields", "unknown field `tip`, there are no fields"),
            ("missing field `amount`", "missing field `amount`"),
        ] {
            assert_eq!(reason(message), expected);
        }
        let long = format!("unknown field `{}`, expected `amount`", "x".repeat(60_000));
        assert_eq!(reason(&long), format!("unknown field `{}…`, expected `amount`", "x".repeat(64)));
        assert_eq!(reason(&"x".repeat(60_000)).chars().count(), REASON + 1);
    }
}
