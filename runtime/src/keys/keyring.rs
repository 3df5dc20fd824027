//! All keys of a process: those of the settings, and those of `KEYS_FILE` as it stands.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use chrono::{DateTime, Utc};

use super::keys_file::{BadKeysFile, KeysFile, Role, StoredKey};
use super::reading::{KeysFileError, Reading, read};
use super::{Caller, KeyHash, MerchantKeys};
use crate::clock::SharedClock;
use crate::secret::Secret;

/// Identifies callers by their keys. Clones share what they know, so that a file that is read again counts at once for
/// every connection.
#[derive(Clone)]
pub struct Keyring(Arc<Shared>);

struct Shared {
    /// The keys of the settings.
    configured: Vec<Known>,
    file: Option<FollowedFile>,
    /// What counts. A request holds the lock for one look-up; it is written only to put a finished table in the place
    /// of the one before.
    table: RwLock<Table>,
}

/// `KEYS_FILE` while the process runs.
pub(super) struct FollowedFile {
    pub(super) path: PathBuf,
    pub(super) clock: SharedClock,
    /// Whether it is no failure that it has never been there.
    pub(super) may_be_missing: bool,
    /// What was read last, and whether it counts.
    pub(super) state: Mutex<FileState>,
    /// Whether a worker follows it.
    is_followed: AtomicBool,
}

/// What is known of the file.
pub(super) struct FileState {
    /// What was read last.
    pub(super) last: Reading,
    /// Why that does not count, where it does not.
    pub(super) failure: Option<KeysFileError>,
    /// Whether the file was ever there.
    pub(super) was_there: bool,
}

/// Why no caller has the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unidentified {
    /// No one has it, or not any more.
    Unknown,
    /// It was someone's until it expired.
    Expired,
}

#[derive(Debug, Clone)]
struct Known {
    hash: KeyHash,
    caller: Caller,
    expires_at: Option<DateTime<Utc>>,
}

/// By the first bytes of the hash, so that a look-up does not grow with the number of keys; the whole hash is then
/// compared in constant time. The map's own hash is seeded at random, so that how long finding candidates
/// takes says nothing about the bytes that are stored.
#[derive(Debug, Default)]
struct Table(HashMap<u64, Vec<Known>>);

impl Table {
    fn add(&mut self, known: Known) {
        self.0.entry(known.hash.prefix()).or_default().push(known);
    }

    fn find(&self, hash: KeyHash) -> Option<&Known> {
        self.0.get(&hash.prefix())?.iter().find(|known| known.hash == hash)
    }

    fn count(&self, role: Role) -> usize {
        let is = |caller: &Caller| match caller {
            Caller::Operator(_) => role == Role::Operator,
            Caller::Merchant(_) => role == Role::Merchant,
        };
        self.0.values().flatten().filter(|known| is(&known.caller)).count()
    }
}

impl Keyring {
    /// The operator's key, where there is one, and the merchants', as the settings say them.
    pub fn new(operator: Option<&Secret>, merchants: &MerchantKeys) -> Self {
        let known =
            |key: &Secret, caller| Known { hash: KeyHash::of(key.expose()), caller, expires_at: None };
        let operator = operator.map(|key| known(key, Caller::Operator(None)));
        let merchants = merchants.0.iter().map(|(name, key)| known(key, Caller::Merchant(name.clone())));
        let configured: Vec<_> = operator.into_iter().chain(merchants).collect();
        let table = RwLock::new(table_of(&configured));
        Self(Arc::new(Shared { configured, file: None, table }))
    }

    /// The same with the keys of the file at `path`, which are read now, and again by [`follow`](super::follow).
    /// `may_be_missing`: a file that is not there yet has no keys.
    pub fn with_file(
        self,
        path: &Path,
        may_be_missing: bool,
        clock: SharedClock,
    ) -> Result<Self, KeysFileError> {
        let last = read(path);
        let failed = |error| KeysFileError { path: path.to_owned(), error };
        let configured = self.0.configured.clone();
        let table = match &last {
            Reading::Text(text) => combined(&configured, text).map_err(|bad| failed(bad.into()))?,
            Reading::Missing if may_be_missing => table_of(&configured),
            _ => return Err(failed(last.failure())),
        };
        let was_there = matches!(last, Reading::Text(_));
        let state = Mutex::new(FileState { last, failure: None, was_there });
        let is_followed = AtomicBool::new(false);
        let file = FollowedFile { path: path.to_owned(), clock, may_be_missing, state, is_followed };
        Ok(Self(Arc::new(Shared { configured, file: Some(file), table: RwLock::new(table) })))
    }

    /// Whether it holds no key, so that every caller is refused.
    pub fn is_empty(&self) -> bool {
        self.0.table.read().unwrap_or_else(PoisonError::into_inner).0.is_empty()
    }

    /// How many keys count, those that have expired among them.
    pub fn count(&self, role: Role) -> usize {
        self.0.table.read().unwrap_or_else(PoisonError::into_inner).count(role)
    }

    /// Whether it follows a file.
    pub fn has_file(&self) -> bool {
        self.0.file.is_some()
    }

    /// Whose key this is.
    pub fn identify(&self, key: &str) -> Result<Caller, Unidentified> {
        let hash = KeyHash::of(key);
        let (caller, expires_at) = {
            let table = self.0.table.read().unwrap_or_else(PoisonError::into_inner);
            let known = table.find(hash).ok_or(Unidentified::Unknown)?;
            (known.caller.clone(), known.expires_at)
        };
        let is_over = |end| self.0.file.as_ref().is_some_and(|file| end <= file.clock.now());
        if expires_at.is_some_and(is_over) { Err(Unidentified::Expired) } else { Ok(caller) }
    }

    /// The file, where there is one.
    pub(super) fn file(&self) -> Option<&FollowedFile> {
        self.0.file.as_ref()
    }

    /// Makes the keys of `text` count in the place of those that the file had before; an error leaves these.
    pub(super) fn adopt(&self, text: &str) -> Result<(), BadKeysFile> {
        let table = combined(&self.0.configured, text)?;
        *self.0.table.write().unwrap_or_else(PoisonError::into_inner) = table;
        Ok(())
    }
}

impl FollowedFile {
    /// Whether the caller is the first who follows it, so that no change is logged twice.
    pub(super) fn claim(&self) -> bool {
        !self.is_followed.swap(true, Ordering::Relaxed)
    }
}

fn table_of(configured: &[Known]) -> Table {
    let mut table = Table::default();
    for known in configured {
        table.add(known.clone());
    }
    table
}

/// The keys of the settings and those of the file's `text`. No key may stand for two callers.
fn combined(configured: &[Known], text: &str) -> Result<Table, BadKeysFile> {
    let mut table = table_of(configured);
    for holder in KeysFile::parse(text)?.holders {
        for StoredKey { hash, expires_at, place } in holder.keys {
            let caller = match holder.role {
                Role::Operator => Caller::Operator(Some(holder.name.clone())),
                Role::Merchant => Caller::Merchant(holder.name.clone()),
            };
            match table.find(hash) {
                None => table.add(Known { hash, caller, expires_at }),
                // A key that is moved from the settings to the file is in both for a while.
                Some(known) if known.caller == caller => {}
                Some(known) => {
                    let (role, name, other) = (holder.role.as_str(), &holder.name, &known.caller);
                    let why = format!(
                        "the {role} `{name}` has the key that is `{other}` in the settings: each needs a key of its own"
                    );
                    return Err(BadKeysFile::at(text, place.start, why));
                }
            }
        }
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use chrono::TimeDelta;

    use super::*;
    use crate::clock::Clock;
    use crate::testing::manual_sources;

    fn hash(key: &str) -> String {
        KeyHash::of(key).to_string()
    }

    fn configured() -> Keyring {
        let merchants: MerchantKeys = "shop=k1,account-service=k2".parse().expect("well-formed");
        Keyring::new(Some(&Secret::new("op")), &merchants)
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        file
    }

    #[test]
    fn each_key_names_its_caller_and_no_other() {
        let ring = configured();
        assert_eq!(ring.identify("op"), Ok(Caller::Operator(None)));
        assert_eq!(ring.identify("k2"), Ok(Caller::Merchant("account-service".into())));
        assert_eq!(ring.identify("k3"), Err(Unidentified::Unknown));
        assert_eq!(ring.identify(""), Err(Unidentified::Unknown));
    }

    #[test]
    fn keys_of_the_settings_and_of_the_file_count_together() {
        let text = format!(
            "[[operator]]\nname = \"ann\"\nkey_sha256 = [\"{}\"]\n[[merchant]]\nname = \"shop\"\nkey_sha256 = [\"{}\", \"{}\"]",
            hash("ann-key"),
            hash("k9"),
            hash("k1"),
        );
        let (sources, _) = manual_sources(1);
        let ring = configured().with_file(file(&text).path(), false, sources.clock).expect("well-formed");
        for key in ["k1", "k9"] {
            assert_eq!(ring.identify(key), Ok(Caller::Merchant("shop".into())));
        }
        let ann = ring.identify("ann-key").expect("known");
        assert_eq!((ann.to_string().as_str(), ann.merchant()), ("operator:ann", None));
        assert_eq!(ring.identify("op").expect("known").to_string(), "operator");
        assert_eq!((ring.count(Role::Operator), ring.count(Role::Merchant)), (2, 3));
    }

    #[test]
    fn a_key_counts_until_it_expires() {
        let (sources, clock) = manual_sources(1);
        let end = clock.now() + TimeDelta::hours(1);
        let text = format!(
            "[[merchant]]\nname = \"kiosk\"\nkey_sha256 = [{{ sha256 = \"{}\", expires_at = \"{}\" }}]",
            hash("old"),
            end.to_rfc3339(),
        );
        let ring = configured().with_file(file(&text).path(), false, sources.clock).expect("well-formed");
        assert!(ring.identify("old").is_ok());
        clock.advance(Duration::from_hours(1));
        assert_eq!(ring.identify("old"), Err(Unidentified::Expired));
    }

    #[test]
    fn a_key_of_the_settings_is_no_other_caller_s_in_the_file() {
        for (table, key) in [("operator", "op"), ("merchant", "op"), ("merchant", "k1"), ("operator", "k1")] {
            let text = format!("\n[[{table}]]\nname = \"kiosk\"\nkey_sha256 = [\"{}\"]", hash(key));
            let (sources, file) = (manual_sources(1).0, file(&text));
            let error =
                configured().with_file(file.path(), false, sources.clock).err().expect("refused").to_string();
            for named in ["KEYS_FILE", "line 4", "`kiosk`", "settings"] {
                assert!(error.contains(named), "{error}");
            }
        }
    }

    #[test]
    fn a_file_that_can_not_be_used_stops_the_start_with_its_name() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let missing = folder.path().join("keys.toml");
        let open = |path: &Path, may_be_missing| {
            configured().with_file(path, may_be_missing, manual_sources(1).0.clock)
        };
        assert!(open(&missing, true).is_ok_and(|ring| ring.identify("k1").is_ok()));
        let error = |path: &Path| open(path, true).err().expect("refused").to_string();
        let missing = open(&missing, false).err().expect("refused").to_string();
        let latin1 = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(latin1.path(), b"# caf\xe9").expect("written");
        let large = file(&" ".repeat((1 << 20) + 1));
        for (error, why) in [
            (missing, "is missing"),
            (error(folder.path()), "no regular file"),
            (error(latin1.path()), "UTF-8"),
            (error(large.path()), "1 MiB"),
            (error(file("[[merchant]]\nname = \"shop\"").path()), "line 1"),
        ] {
            assert!(error.contains("KEYS_FILE") && error.contains(why), "{error}");
        }
    }
}
