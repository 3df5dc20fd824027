//! What filters name by words: states, types of events, classes of failures.

use std::fmt;

use runtime::validation::Invalid;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::domain::pattern::NotAPattern;
use crate::domain::{EventPattern, FailureClass, States};

/// Words in a body: a list of them, or a text of them separated by commas.
#[derive(Debug)]
pub(super) struct Words(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReadWords).map(Self)
    }
}

struct ReadWords;

impl<'de> Visitor<'de> for ReadWords {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of words, or a text of words separated by commas")
    }

    fn visit_str<E>(self, text: &str) -> Result<Vec<String>, E> {
        Ok(split(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
        let mut words = Vec::new();
        while let Some(word) = list.next_element()? {
            words.push(word);
        }
        Ok(words)
    }
}

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
