//! The keys that signing secrets are kept under, from configuration or a file of our own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use runtime::database::DatabaseUrl;
use runtime::private_file::{make_private_folder, read_or_keep, restrict};
use runtime::{Entropy, SecretKeys, Vault};

use crate::store::{MissingKey, Store};

/// The vault for `database`. Without a configured key one is made beside a `SQLite` file, in
/// `FILE.keys`, and kept there; such a file's keys decrypt also when others are configured. On
/// Postgres, which several processes share, there is no place to keep one: without a configured key
/// secrets are kept in plain text, and the log says so.
pub fn vault(
    configured: &SecretKeys,
    database: &DatabaseUrl,
    entropy: Arc<dyn Entropy>,
) -> anyhow::Result<Arc<Vault>> {
    let keys = if let DatabaseUrl::Sqlite(database) = database {
        beside(database, configured, &*entropy)?
    } else {
        configured.clone()
    };
    if keys.is_empty() {
        tracing::warn!(setting = "SECRET_KEYS", "secrets.kept_in_plain_text");
    }
    Ok(Arc::new(Vault::new(&keys, entropy)))
}

/// Refuses to go on without a key that stored secrets are encrypted under.
pub async fn require_keys(store: &dyn Store) -> anyhow::Result<()> {
    require_none_of(&store.missing_keys().await?)
}

/// Refuses to go on while keys are missing.
pub fn require_none_of(missing: &[MissingKey]) -> anyhow::Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let each = |key: &MissingKey| format!("`{}` (secrets of {} subscriptions)", key.id, key.subscriptions);
    let keys = missing.iter().map(each).collect::<Vec<_>>().join(", ");
    bail!("SECRET_KEYS (--secret-keys) lacks keys that signing secrets are encrypted under: {keys}")
}

fn beside(database: &Path, configured: &SecretKeys, entropy: &dyn Entropy) -> anyhow::Result<SecretKeys> {
    let path = key_file(database);
    if !configured.is_empty() && !path.exists() {
        return Ok(configured.clone());
    }
    let unreadable = || format!("can't read or make the key file {}", path.display());
    if let Some(folder) = path.parent() {
        make_private_folder(folder).with_context(unreadable)?;
    }
    let fresh = || format!("{}\n", fresh(entropy).expose().expose());
    let text = read_or_keep(&path, fresh).with_context(unreadable)?;
    restrict(&path).with_context(unreadable)?;
    let kept: SecretKeys = text.parse().with_context(unreadable)?;
    if kept.is_empty() {
        bail!("the key file {} holds no key", path.display());
    }
    let clash = |id: String| format!("SECRET_KEYS and {} differ about the key `{id}`", path.display());
    configured.clone().then(kept).map_err(|id| anyhow::anyhow!(clash(id)))
}

fn key_file(database: &Path) -> PathBuf {
    let mut name = database.file_name().unwrap_or_default().to_owned();
    name.push(".keys");
    database.with_file_name(name)
}

/// A key with an id that no other file's key has.
fn fresh(entropy: &dyn Entropy) -> SecretKeys {
    let mut random = [0; 4];
    entropy.fill(&mut random);
    SecretKeys::generate(format!("file-{:08x}", u32::from_be_bytes(random)), entropy)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use runtime::Secret;
    use runtime::testing::SeededEntropy;

    use super::*;

    const KEY: &str = "own:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn open(folder: &Path, keys: &str, seed: u64) -> anyhow::Result<Arc<Vault>> {
        let database = DatabaseUrl::Sqlite(folder.join("data/notifier.db"));
        vault(&keys.parse().expect("keys"), &database, Arc::new(SeededEntropy::new(seed)))
    }

    fn ids(vault: &Vault) -> Vec<&str> {
        vault.key_ids().collect()
    }

    #[test]
    fn beside_a_database_file_a_key_is_made_once_and_kept_for_the_owner_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let first = open(folder.path(), "", 1).expect("made");
        let second = open(folder.path(), "", 2).expect("read");
        let secret = Secret::new("whsec_hush");
        assert_eq!(second.open(&first.seal(&secret, b"here"), b"here"), Ok(secret));
        assert!(first.first_key().is_some_and(|id| id.starts_with("file-")));
        let file = folder.path().join("data/notifier.db.keys");
        let mode = || fs::metadata(&file).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("its owner may");
        open(folder.path(), "", 3).expect("read");
        assert_eq!(mode(), 0o600, "what others could read is restricted");
    }

    #[test]
    fn a_configured_key_needs_no_file_and_comes_before_that_of_a_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(ids(&open(folder.path(), KEY, 1).expect("configured")), ["own"]);
        assert!(!folder.path().join("data/notifier.db.keys").exists());
        let made = open(folder.path(), "", 1).expect("made");
        let both = open(folder.path(), KEY, 1).expect("both");
        assert_eq!(ids(&both), ["own", made.first_key().expect("a key")]);
    }

    #[test]
    fn a_key_file_that_is_none_stops_the_start_and_is_not_quoted() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        open(folder.path(), "", 1).expect("made");
        let file = folder.path().join("data/notifier.db.keys");
        for text in ["", "own:hush", "own:AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="] {
            fs::write(&file, text).expect("written");
            let error = format!("{:#}", open(folder.path(), KEY, 1).expect_err("refused"));
            assert!(error.contains("notifier.db.keys"), "{error}");
            assert!(!error.contains("hush") && !error.contains("AQEC"), "{error}");
        }
    }
}
