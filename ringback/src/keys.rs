//! The keys of the all-in-one process: given by configuration, or made on the first start and kept
//! in the data directory, readable by its owner only.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use runtime::keys::{MerchantKeys, is_merchant_name, key};
use runtime::private_file::{restrict, write_private};
use runtime::settings::CommonSettings;
use runtime::{Entropy, Secret};
use serde::{Deserialize, Serialize};

/// The merchant that the account-service is.
pub const ACCOUNT_MERCHANT: &str = "account-service";
/// A merchant to try things out with.
pub const EXAMPLE_MERCHANT: &str = "shop";

/// The file of the data directory that keeps them.
pub const KEY_FILE: &str = "keys.toml";
/// The file beside it with the hashes of further keys: what `KEYS_FILE` is unless it is set.
pub const MERCHANTS_FILE: &str = "merchants.toml";

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

/// Where a key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was configured.
    Configured,
    /// An earlier start made it; the file keeps it.
    Kept,
    /// This start made it.
    Made,
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
    /// Whether this start made the file.
    fresh: bool,
    operator_is_configured: bool,
    configured_merchants: MerchantKeys,
}

impl Keys {
    /// Reads `keys.toml` in `folder`, making it when missing. Configured keys win over kept ones.
    pub fn open(folder: &Path, configured: &CommonSettings, entropy: &dyn Entropy) -> anyhow::Result<Self> {
        let path = folder.join(KEY_FILE);
        let (kept, fresh) = KeyFile::read_or_make(&path, entropy)?;
        let operator = configured.operator_key.clone().unwrap_or_else(|| Secret::new(&kept.operator_key));
        let merchants = kept.merchants_beside(&configured.merchant_keys)?;
        if let Some(merchant) = merchants.owner_of(&operator) {
            bail!("the operator's key is the key of the merchant `{merchant}` as well ({})", path.display());
        }
        Ok(Self {
            operator,
            merchants,
            sandbox_channel_secret: Secret::new(&kept.sandbox_channel_secret),
            webhook_secret: kept.webhook_secret.as_ref().map(Secret::new),
            path,
            kept,
            fresh,
            operator_is_configured: configured.operator_key.is_some(),
            configured_merchants: configured.merchant_keys.clone(),
        })
    }

    /// The file that keeps what was not configured.
    pub fn file(&self) -> &Path {
        &self.path
    }

    /// Where the operator's key comes from.
    pub fn operator_origin(&self) -> Origin {
        self.origin(self.operator_is_configured)
    }

    /// Where the key of `merchant` comes from.
    pub fn merchant_origin(&self, merchant: &str) -> Origin {
        self.origin(self.configured_merchants.0.iter().any(|(name, _)| name == merchant))
    }

    fn origin(&self, configured: bool) -> Origin {
        match (configured, self.fresh) {
            (true, _) => Origin::Configured,
            (false, true) => Origin::Made,
            (false, false) => Origin::Kept,
        }
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
    /// What `path` keeps, and whether it was made just now.
    fn read_or_make(path: &Path, entropy: &dyn Entropy) -> anyhow::Result<(Self, bool)> {
        let unreadable = || format!("can't read {}", path.display());
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let fresh = Self::fresh(entropy);
                fresh.write(path)?;
                return Ok((fresh, true));
            }
            read => read.with_context(unreadable)?,
        };
        restrict(path).with_context(unreadable)?;
        // The parser's own message would quote the line, and with it a key.
        let kept: Self = toml::from_str(&text)
            .map_err(|error| anyhow::anyhow!("{}: {}", path.display(), error.message()))?;
        kept.check().with_context(|| path.display().to_string())?;
        Ok((kept, false))
    }

    /// What was edited by hand may hold keys that no caller can present.
    fn check(&self) -> anyhow::Result<()> {
        key(&self.operator_key).context("operator_key")?;
        let mut seen = BTreeMap::new();
        for (name, text) in &self.merchant_keys {
            let named = || format!("merchant_keys.{name}");
            if !is_merchant_name(name) {
                bail!("{}: a merchant has 1 to 64 letters, digits, `-`, `_` or `.`", named());
            }
            key(text).with_context(named)?;
            if let Some(other) = seen.insert(text, name) {
                bail!("{}: the same key as merchant_keys.{other}", named());
            }
        }
        Ok(())
    }

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
            let (name, key) = own.context("keys.toml holds no key for the merchant account-service")?;
            if let Some(other) = merchants.owner_of(&key) {
                bail!("RINGBACK_MERCHANT_KEYS: `{other}` has the key that keys.toml holds for `{name}`");
            }
            merchants.0.push((name, key));
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

/// A key that no one can guess.
pub fn random_key(prefix: &str, entropy: &dyn Entropy) -> String {
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
        let folder = tempfile::tempdir().expect("a temporary folder");
        let first = Keys::open(folder.path(), &configured(&[]), &SeededEntropy::new(1)).expect("made");
        let file = folder.path().join("keys.toml");
        let mode = || fs::metadata(&file).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("its owner may");
        let second = Keys::open(folder.path(), &configured(&[]), &SeededEntropy::new(2)).expect("read");
        assert_eq!(first.operator, second.operator);
        assert_eq!(first.merchants, second.merchants);
        assert_eq!((first.operator_origin(), second.operator_origin()), (Origin::Made, Origin::Kept));
        assert_eq!(mode(), 0o600, "what others could read is restricted");
    }

    #[test]
    fn keys_that_stand_for_two_callers_or_for_none_are_refused_by_their_place_and_not_shown() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let open = |given: &[&str]| Keys::open(folder.path(), &configured(given), &SeededEntropy::new(1));
        let made = open(&[]).expect("made");
        let own = made.of_merchant(ACCOUNT_MERCHANT).expect("made").expose().to_owned();
        let stolen = format!("kiosk={own}");
        for given in [&["--operator-key", own.as_str()][..], &["--merchant-keys", &stolen]] {
            let error = format!("{:#}", open(given).err().expect("refused"));
            assert!(error.contains("account-service") && !error.contains(&own), "{error}");
        }
        let text = fs::read_to_string(made.file()).expect("there");
        for (bad, named) in [
            (text.replace(&own, "hush key"), "merchant_keys.account-service"),
            (text.replace(&own, made.of_merchant(EXAMPLE_MERCHANT).expect("made").expose()), "merchant_keys"),
            (text.replace("operator_key = \"", "operator_key = \"hush "), "operator_key"),
            (text.replace("operator_key = ", "operator_key = hush"), "keys.toml"),
        ] {
            fs::write(made.file(), bad).expect("written");
            let error = format!("{:#}", open(&[]).err().expect("refused"));
            assert!(error.contains(named) && !error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn configured_keys_win_and_the_account_service_keeps_one_of_its_own() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let given = configured(&["--operator-key", "boss", "--merchant-keys", "kiosk=k1"]);
        let keys = Keys::open(folder.path(), &given, &SeededEntropy::new(1)).expect("made");
        assert_eq!(keys.operator.expose(), "boss");
        assert_eq!(keys.of_merchant("kiosk"), Some(&Secret::new("k1")));
        assert!(keys.of_merchant(ACCOUNT_MERCHANT).is_some());
        let origins = [keys.merchant_origin("kiosk"), keys.merchant_origin(ACCOUNT_MERCHANT)];
        assert_eq!(
            (keys.operator_origin(), origins),
            (Origin::Configured, [Origin::Configured, Origin::Made])
        );
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
