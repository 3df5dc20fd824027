//! Whether the notifiers of one database can read what each of them encrypts.

use chrono::{DateTime, Utc};
use runtime::vault::KeyIdentity;
use uuid::Uuid;

/// Why two notifiers must not run beside each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// What is encrypted here could not be read there.
    #[error(
        "another notifier on this database does not have the key `{0}`, which comes first here and would encrypt: put it \
         behind the first key in every notifier, restart them all, and only then put it first"
    )]
    LackedThere(String),
    /// The same, where the other one has no key at all.
    #[error(
        "another notifier on this database has no key and could not read what `{0}` encrypts: stop every notifier that \
         has none, then start them with `{0}`"
    )]
    NoKeyThere(String),
    /// What is encrypted there could not be read here.
    #[error(
        "another notifier on this database encrypts under the key `{0}`, which is not among those here: add it behind \
         the first key, and take it out only when no notifier has it first"
    )]
    LackedHere(String),
    /// One id stands for two keys.
    #[error(
        "the key `{0}` is another one in another notifier on this database: give the new key an id of its own"
    )]
    Differs(String),
}

/// Another notifier whose keys do not agree with those here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    /// The other process.
    pub process: Uuid,
    /// When it last said that it runs.
    pub seen_at: DateTime<Utc>,
    /// What is wrong.
    pub mismatch: Mismatch,
}

/// What keeps a process with the keys `own` from running beside one with the keys `other`. The first key of each
/// encrypts.
pub fn mismatch(own: &[KeyIdentity], other: &[KeyIdentity]) -> Option<Mismatch> {
    let differs = own
        .iter()
        .find(|key| other.iter().any(|theirs| theirs.id == key.id && theirs.fingerprint != key.fingerprint));
    if let Some(key) = differs {
        return Some(Mismatch::Differs(key.id.clone()));
    }
    let lacked = |first: Option<&KeyIdentity>, keys: &[KeyIdentity]| {
        first.filter(|first| !keys.contains(first)).map(|first| first.id.clone())
    };
    if let Some(id) = lacked(own.first(), other) {
        return Some(if other.is_empty() { Mismatch::NoKeyThere(id) } else { Mismatch::LackedThere(id) });
    }
    lacked(other.first(), own).map(Mismatch::LackedHere)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<KeyIdentity> {
        let key = |text: &str| {
            let (id, fingerprint) = text.split_once('=').unwrap_or((text, text));
            KeyIdentity { id: id.to_owned(), fingerprint: fingerprint.to_owned() }
        };
        text.split_whitespace().map(key).collect()
    }

    #[test]
    fn notifiers_run_beside_each_other_when_each_reads_what_the_other_encrypts() {
        for (own, other) in [
            ("", ""),
            ("old", "old"),
            ("old new", "old"),
            ("new old", "old new"),
            ("new", "new old"),
            ("new old", "new"),
        ] {
            assert_eq!(mismatch(&keys(own), &keys(other)), None, "{own} beside {other}");
        }
    }

    #[test]
    fn any_other_order_of_a_rotation_is_named() {
        let id = |id: &str| id.to_owned();
        for (own, other, expected) in [
            ("new old", "old", Mismatch::LackedThere(id("new"))),
            ("new", "old", Mismatch::LackedThere(id("new"))),
            ("new", "old new", Mismatch::LackedHere(id("old"))),
            ("old", "new old", Mismatch::LackedHere(id("new"))),
            ("", "old", Mismatch::LackedHere(id("old"))),
            ("old", "", Mismatch::NoKeyThere(id("old"))),
            ("old=1", "old=2", Mismatch::Differs(id("old"))),
            ("new old=1", "new old=2", Mismatch::Differs(id("old"))),
        ] {
            assert_eq!(mismatch(&keys(own), &keys(other)), Some(expected), "{own} beside {other}");
        }
    }
}
