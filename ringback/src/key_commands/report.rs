//! What a command answers. A key is shown once, when it is made.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use runtime::Secret;
use runtime::keys::KeyHash;
use serde_json::{Value, json};

use super::change::{Change, Entry, Key};
use super::editor::Edited;

/// What was done.
pub enum Report {
    List { path: PathBuf, entries: Vec<Entry> },
    Changed { change: Change, key: Option<Secret>, edited: Edited },
}

/// Prints `report`, as JSON or to be read.
pub fn print(report: &Report, as_json: bool, now: DateTime<Utc>, mut out: impl Write) -> io::Result<()> {
    match report {
        Report::List { path, entries } if as_json => writeln!(out, "{}", list_json(path, entries, now)),
        Report::List { entries, .. } => list(entries, now, out),
        Report::Changed { change, key, edited } if as_json => {
            writeln!(out, "{}", changed_json(change, key.as_ref(), edited, now))
        }
        Report::Changed { change, key, edited } => changed(change, key.as_ref(), edited, now, out),
    }
}

fn list_json(path: &Path, entries: &[Entry], now: DateTime<Utc>) -> Value {
    let entry = |entry: &Entry| {
        let keys: Vec<_> = entry.keys.iter().map(|key| key_json(key, now)).collect();
        json!({ "role": entry.role.as_str(), "name": entry.name, "keys": keys })
    };
    json!({ "file": path, "items": entries.iter().map(entry).collect::<Vec<_>>() })
}

fn key_json(key: &Key, now: DateTime<Utc>) -> Value {
    let expired = key.expires_at.is_some_and(|end| end <= now);
    json!({ "fingerprint": key.hash.fingerprint(), "expires_at": key.expires_at, "expired": expired })
}

fn changed_json(change: &Change, key: Option<&Secret>, edited: &Edited, now: DateTime<Utc>) -> Value {
    let (role, name) = change.who();
    let mut answer = json!({
        "file": edited.path,
        "role": role.as_str(),
        "name": name,
        "keys": keys_of(&edited.after, change).iter().map(|key| key_json(key, now)).collect::<Vec<_>>(),
    });
    match change {
        Change::Add { hash, .. } | Change::Rotate { hash, .. } => {
            answer["fingerprint"] = json!(hash.fingerprint());
            answer["key"] = json!(key.map(Secret::expose));
        }
        Change::Revoke { .. } => answer["revoked"] = json!(revoked(change, edited)),
    }
    answer
}

fn list(entries: &[Entry], now: DateTime<Utc>, mut out: impl Write) -> io::Result<()> {
    let width = entries.iter().map(|entry| entry.name.len()).max().unwrap_or(0).max("NAME".len());
    writeln!(out, "{:<8}  {:<width$}  {:<12}  EXPIRES", "ROLE", "NAME", "KEY")?;
    for entry in entries {
        let (role, name) = (entry.role.as_str(), &entry.name);
        if entry.keys.is_empty() {
            writeln!(out, "{role:<8}  {name:<width$}  {:<12}  -", "-")?;
        }
        for key in &entry.keys {
            writeln!(out, "{role:<8}  {name:<width$}  {}  {}", key.hash.fingerprint(), expiry(key, now))?;
        }
    }
    Ok(())
}

fn expiry(key: &Key, now: DateTime<Utc>) -> String {
    match key.expires_at {
        None => "never".to_owned(),
        Some(end) if end <= now => format!("{} (has expired)", end.format("%Y-%m-%dT%H:%M:%SZ")),
        Some(end) => end.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
    }
}

fn changed(
    change: &Change,
    key: Option<&Secret>,
    edited: &Edited,
    now: DateTime<Utc>,
    mut out: impl Write,
) -> io::Result<()> {
    let (role, name) = change.who();
    let role = role.as_str();
    match change {
        Change::Add { hash, .. } | Change::Rotate { hash, .. } => {
            let fingerprint = hash.fingerprint();
            match key {
                Some(key) => {
                    writeln!(
                        out,
                        "A new key of the {role} {name}, shown only here:\n\n  {}\n",
                        key.expose()
                    )?;
                }
                None => writeln!(out, "The {role} {name} has the key {fingerprint} as well now.\n")?,
            }
        }
        Change::Revoke { .. } => {
            writeln!(out, "Revoked of the {role} {name}: {}.\n", revoked(change, edited).join(", "))?;
        }
    }
    for key in keys_of(&edited.after, change) {
        writeln!(out, "  {}  expires: {}", key.hash.fingerprint(), expiry(&key, now))?;
    }
    if edited.lost_comments {
        writeln!(out, "The file had to be written as a whole: comments in it are lost.")?;
    }
    writeln!(out, "Written to {}. Running services read it within a second.", edited.path.display())
}

fn keys_of(entries: &[Entry], change: &Change) -> Vec<Key> {
    let (role, name) = change.who();
    let is_meant = |entry: &&Entry| entry.role == role && entry.name == name;
    entries.iter().find(is_meant).map(|entry| entry.keys.clone()).unwrap_or_default()
}

fn revoked(change: &Change, edited: &Edited) -> Vec<String> {
    let left: Vec<KeyHash> = keys_of(&edited.after, change).iter().map(|key| key.hash).collect();
    let before = keys_of(&edited.before, change);
    before.iter().filter(|key| !left.contains(&key.hash)).map(|key| key.hash.fingerprint()).collect()
}
