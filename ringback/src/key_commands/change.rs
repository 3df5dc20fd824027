//! What a command changes of the file's content.

use anyhow::bail;
use chrono::{DateTime, Utc};
use runtime::keys::{KeyHash, KeysFile, Role};

/// A command that changes the file.
#[derive(Debug, Clone)]
pub enum Change {
    /// A further key.
    Add { role: Role, name: String, hash: KeyHash, expires_at: Option<DateTime<Utc>> },
    /// A further key; the others count until then at most.
    Rotate { role: Role, name: String, hash: KeyHash, until: DateTime<Utc> },
    /// Without one key, or without all.
    Revoke { role: Role, name: String, fingerprint: Option<String> },
}

/// An operator or merchant with its keys, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub role: Role,
    pub name: String,
    pub keys: Vec<Key>,
}

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    pub hash: KeyHash,
    pub expires_at: Option<DateTime<Utc>>,
}

/// What `file` holds.
pub fn entries(file: &KeysFile) -> Vec<Entry> {
    let entry = |holder: &runtime::keys::Holder| Entry {
        role: holder.role,
        name: holder.name.clone(),
        keys: holder.keys.iter().map(|key| Key { hash: key.hash, expires_at: key.expires_at }).collect(),
    };
    file.holders.iter().map(entry).collect()
}

impl Change {
    /// Whom it is about.
    pub fn who(&self) -> (Role, &str) {
        let (Self::Add { role, name, .. }
        | Self::Rotate { role, name, .. }
        | Self::Revoke { role, name, .. }) = self;
        (*role, name)
    }

    /// What the file is to hold instead of `entries`.
    pub fn apply(&self, mut entries: Vec<Entry>, now: DateTime<Utc>) -> anyhow::Result<Vec<Entry>> {
        let (role, name) = self.who();
        let place = entries.iter().position(|entry| entry.role == role && entry.name == name);
        let Some(place) = place else {
            let Self::Add { hash, expires_at, .. } = self else {
                bail!("there is no {} `{name}` in the file", role.as_str());
            };
            let keys = vec![Key { hash: *hash, expires_at: *expires_at }];
            entries.push(Entry { role, name: name.to_owned(), keys });
            return Ok(entries);
        };
        let keys = &mut entries[place].keys;
        match self {
            Self::Add { hash, expires_at, .. } => {
                keys.insert(0, Key { hash: *hash, expires_at: *expires_at });
            }
            Self::Rotate { hash, until, .. } => {
                for key in &mut *keys {
                    key.expires_at = Some(key.expires_at.map_or(*until, |end| end.min(*until)));
                }
                keys.retain(|key| key.expires_at.is_some_and(|end| now < end));
                keys.insert(0, Key { hash: *hash, expires_at: None });
            }
            Self::Revoke { fingerprint: None, .. } => keys.clear(),
            Self::Revoke { fingerprint: Some(start), .. } => {
                let is_meant = |key: &Key| key.hash.to_string().starts_with(start.as_str());
                match keys.iter().filter(|key| is_meant(key)).count() {
                    1 => keys.retain(|key| !is_meant(key)),
                    0 => bail!("the {} `{name}` has no key `{start}`", role.as_str()),
                    _ => bail!(
                        "the {} `{name}` has several keys that begin with `{start}`: name more digits",
                        role.as_str()
                    ),
                }
            }
        }
        if entries[place].keys.is_empty() {
            entries.remove(place);
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    fn key(text: &str, expires_at: Option<&str>) -> Key {
        Key { hash: KeyHash::of(text), expires_at: expires_at.map(time) }
    }

    fn shop(keys: &[Key]) -> Vec<Entry> {
        vec![Entry { role: Role::Merchant, name: "shop".to_owned(), keys: keys.to_vec() }]
    }

    #[test]
    fn a_rotation_lets_the_others_expire_and_prolongs_none() {
        let (now, until) = (time("2026-01-01T00:00:00Z"), "2026-01-02T00:00:00Z");
        let before = shop(&[
            key("current", None),
            key("soon", Some("2026-01-01T06:00:00Z")),
            key("late", Some("2027-01-01T00:00:00Z")),
            key("over", Some("2025-12-31T00:00:00Z")),
        ]);
        let rotate = |until: &str| {
            let (role, name) = (Role::Merchant, "shop".to_owned());
            Change::Rotate { role, name, hash: KeyHash::of("new"), until: time(until) }
        };
        let after = rotate(until).apply(before.clone(), now).expect("there");
        let expected = [
            key("new", None),
            key("current", Some(until)),
            key("soon", Some("2026-01-01T06:00:00Z")),
            key("late", Some(until)),
        ];
        assert_eq!(after, shop(&expected));
        let at_once = rotate("2026-01-01T00:00:00Z").apply(before, now).expect("there");
        assert_eq!(at_once, shop(&[key("new", None)]));
    }

    #[test]
    fn what_is_not_there_is_not_rotated_or_revoked() {
        let now = time("2026-01-01T00:00:00Z");
        let revoke = |role, name: &str, fingerprint: Option<&str>| {
            let fingerprint = fingerprint.map(str::to_owned);
            Change::Revoke { role, name: name.to_owned(), fingerprint }.apply(shop(&[key("k1", None)]), now)
        };
        for refused in [
            revoke(Role::Operator, "shop", None),
            revoke(Role::Merchant, "kiosk", None),
            revoke(Role::Merchant, "shop", Some("000000")),
        ] {
            assert!(refused.expect_err("refused").to_string().contains('`'));
        }
        let start = &KeyHash::of("k1").to_string()[..8];
        assert_eq!(revoke(Role::Merchant, "shop", Some(start)).expect("there"), []);
    }
}
