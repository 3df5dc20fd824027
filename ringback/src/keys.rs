//! The keys of the all-in-one process: given by configuration, or made on the first start and kept
//! in the data directory, readable by its owner only.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use runtime::keys::MerchantKeys;
use runtime::private_file::{make_private_folder, write_private};
use runtime::settings::CommonSettings;
use runtime::{Entropy, Secret};
use serde::{Deserialize, Serialize};

/// The merchant that the account-service is.
pub const ACCOUNT_MERCHANT: &str = "account-service";
/// A merchant to try things out with.
pub const EXAMPLE_MERCHANT: &str = "shop";

/// What is kept in `keys.toml`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    operator_key: String,
    merchant_keys: BTreeMap<String, String>,
    /// Signs the callbacks of pay-service's `sandbox` channel.
    sandbox_channel_secret: String,
    /// What the notifier signs the account-service's webhooks with, once it is subscribed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    webhook_secret: Option<String>,
}

/// The keys in force.
pub struct Keys {
    /// May do everything.
    pub operator: Secret,
    /// The merchants', the account-service's always among them.
    pub merchants: MerchantKeys,
    /// Signs the callbacks of pay-service's `sandbox` channel.
    pub sandbox_channel_secret: Secret,
    /// What the account-service verifies webhooks with; `None` until it is subscribed.
    pub webhook_secret: Option<Secret>,
    path: PathBuf,
    kept: KeyFile,
}

impl Keys {
    /// Reads `keys.toml` in `folder`, making it when missing. Configured keys win over kept ones.
    pub fn open(folder: &Path, configured: &CommonSettings, entropy: &dyn Entropy) -> anyhow::Result<Self> {
        // The databases hold what merchants send as well.
        make_private_folder(folder)
            .with_context(|| format!("can't make the data directory {}", folder.display()))?;
        let path = folder.join("keys.toml");
        let kept = match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).with_context(|| format!("can't read {}", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let fresh = KeyFile::fresh(entropy);
                fresh.write(&path)?;
                fresh
            }
            Err(error) => return Err(error).with_context(|| format!("can't read {}", path.display())),
        };
        Ok(Self {
            operator: configured.operator_key.clone().unwrap_or_else(|| Secret::new(&kept.operator_key)),
            merchants: kept.merchants_beside(&configured.merchant_keys)?,
            sandbox_channel_secret: Secret::new(&kept.sandbox_channel_secret),
            webhook_secret: kept.webhook_secret.as_ref().map(Secret::new),
            path,
            kept,
        })
    }

    /// The key of `merchant`, where it has one.
    pub fn of_merchant(&self, merchant: &str) -> Option<&Secret> {
        self.merchants.0.iter().find(|(name, _)| name == merchant).map(|(_, key)| key)
    }

    /// Keeps the secret of the account-service's subscription.
    pub fn keep_webhook_secret(&mut self, secret: Secret) -> anyhow::Result<()> {
        self.kept.webhook_secret = Some(secret.expose().to_owned());
        self.kept.write(&self.path)?;
        self.webhook_secret = Some(secret);
        Ok(())
    }
}

impl KeyFile {
    fn fresh(entropy: &dyn Entropy) -> Self {
        let merchants = [EXAMPLE_MERCHANT, ACCOUNT_MERCHANT];
        Self {
            operator_key: random_key("op", entropy),
            merchant_keys: merchants.map(|name| (name.to_owned(), random_key("mk", entropy))).into(),
            sandbox_channel_secret: format!("whsec_{}", STANDARD.encode(random(entropy))),
            webhook_secret: None,
        }
    }

    /// The configured merchants, or else the kept ones; the account-service never without a key.
    fn merchants_beside(&self, configured: &MerchantKeys) -> anyhow::Result<MerchantKeys> {
        let kept = self.merchant_keys.iter().map(|(name, key)| (name.clone(), Secret::new(key)));
        if configured.0.is_empty() {
            return Ok(MerchantKeys(kept.collect()));
        }
        let mut merchants = configured.clone();
        if !merchants.0.iter().any(|(name, _)| name == ACCOUNT_MERCHANT) {
            let own = kept.into_iter().find(|(name, _)| name == ACCOUNT_MERCHANT);
            merchants.0.push(own.context("keys.toml holds no key for the merchant account-service")?);
        }
        Ok(merchants)
    }

    fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = toml::to_string(self).context("keys are plain text")?;
        write_private(path, &text).with_context(|| format!("can't write {}", path.display()))
    }
}

fn random(entropy: &dyn Entropy) -> [u8; 24] {
    let mut bytes = [0; 24];
    entropy.fill(&mut bytes);
    bytes
}

fn random_key(prefix: &str, entropy: &dyn Entropy) -> String {
    format!("{prefix}_{}", URL_SAFE_NO_PAD.encode(random(entropy)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use clap::Parser;
    use runtime::testing::SeededEntropy;

    use super::*;
    use crate::settings::Settings;

    fn configured(arguments: &[&str]) -> CommonSettings {
        Settings::parse_from([&["ringback"], arguments].concat()).common
    }

    #[test]
    fn keys_made_on_the_first_start_are_kept_for_the_owner_only() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let folder = parent.path().join("data");
        let first = Keys::open(&folder, &configured(&[]), &SeededEntropy::new(1)).expect("made");
        let second = Keys::open(&folder, &configured(&[]), &SeededEntropy::new(2)).expect("read");
        assert_eq!(first.operator, second.operator);
        assert_eq!(first.merchants, second.merchants);
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("keys.toml"))), (0o700, 0o600));
    }

    #[test]
    fn configured_keys_win_and_the_account_service_keeps_one_of_its_own() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let given = configured(&["--operator-key", "boss", "--merchant-keys", "kiosk=k1"]);
        let keys = Keys::open(folder.path(), &given, &SeededEntropy::new(1)).expect("made");
        assert_eq!(keys.operator.expose(), "boss");
        assert_eq!(keys.of_merchant("kiosk"), Some(&Secret::new("k1")));
        assert!(keys.of_merchant(ACCOUNT_MERCHANT).is_some());
        assert!(keys.of_merchant(EXAMPLE_MERCHANT).is_none());
    }

    #[test]
    fn the_webhook_secret_survives_a_restart() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut keys = Keys::open(folder.path(), &configured(&[]), &SeededEntropy::new(1)).expect("made");
        assert!(keys.webhook_secret.is_none());
        keys.keep_webhook_secret(Secret::new("whsec_x")).expect("kept");
        let again = Keys::open(folder.path(), &configured(&[]), &SeededEntropy::new(2)).expect("read");
        assert_eq!(again.webhook_secret, Some(Secret::new("whsec_x")));
    }
}
