//! What filters name by words: states, types of events, classes of failures.

use runtime::validation::Invalid;

use crate::domain::pattern::NotAPattern;
use crate::domain::{EventPattern, FailureClass, States};

/// The words of a query parameter, which are separated by commas.
pub(super) fn split(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

/// The states that `words` name.
pub(super) fn states(words: &[String]) -> Result<States, Invalid> {
    States::parse(words.iter().map(String::as_str))
        .map_err(|unknown| Invalid::field("state", unknown.to_string()))
}

/// The classes that `words` name, each once.
pub(super) fn failure_classes(words: &[String]) -> Result<Vec<FailureClass>, Invalid> {
    let classes: Option<Vec<_>> = words.iter().map(|word| FailureClass::parse(word)).collect();
    let mut classes = classes.filter(|classes| !classes.is_empty()).ok_or_else(|| {
        let known = FailureClass::ALL.map(FailureClass::as_str).join(", ");
        Invalid::field("failure_class", format!("must be one or more of {known}"))
    })?;
    classes.sort_unstable();
    classes.dedup();
    Ok(classes)
}

/// A type or a family.
pub(super) fn event_type(text: &str) -> Result<EventPattern, Invalid> {
    text.parse().map_err(|error: NotAPattern| Invalid::field("event_type", error.to_string()))
}
