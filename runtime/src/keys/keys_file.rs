//! `KEYS_FILE`: operators and merchants with the hashes of their keys, in TOML.

use std::collections::BTreeSet;
use std::ops::Range;

use chrono::{DateTime, Utc};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{KeyHash, is_merchant_name};

/// Keys that are published, in the samples and in `.env.example`.
const EXAMPLES: [&str; 3] = ["change-me-operator-key", "change-me-shop-key", "change-me-account-service-key"];

/// What a holder of keys is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// May do everything.
    Operator,
    /// Sees and touches only what is its own.
    Merchant,
}

impl Role {
    /// The table of the file, and the word in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Merchant => "merchant",
        }
    }
}

/// An operator or a merchant of the file.
#[derive(Debug, Clone)]
pub struct Holder {
    /// What it is.
    pub role: Role,
    /// Unique among those of the same role.
    pub name: String,
    /// Any of them identifies the holder.
    pub keys: Vec<StoredKey>,
    /// Where its table begins: the header, or the whole of an inline table.
    pub place: Range<usize>,
    /// Where the value of `name` stands.
    pub name_place: Range<usize>,
    /// Where the list of its keys stands, with its brackets.
    pub list_place: Range<usize>,
}

/// A key of the file.
#[derive(Debug, Clone)]
pub struct StoredKey {
    /// The key's hash.
    pub hash: KeyHash,
    /// From when on it is refused; `None`: never.
    pub expires_at: Option<DateTime<Utc>>,
    /// Where it stands.
    pub place: Range<usize>,
}

/// The file's content.
#[derive(Debug, Clone, Default)]
pub struct KeysFile {
    /// Operators first, each in the order of the file.
    pub holders: Vec<Holder>,
}

/// Why a text is no such file. Quotes nothing of it but names and words: a key may stand where its hash should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct BadKeysFile {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub why: String,
}

impl BadKeysFile {
    /// What is wrong at `offset` of `text`.
    pub(super) fn at(text: &str, offset: usize, why: impl Into<String>) -> Self {
        let before = text.as_bytes().iter().take(offset);
        Self { line: 1 + before.filter(|byte| **byte == b'\n').count(), why: why.into() }
    }
}

impl KeysFile {
    /// Reads `text` and checks everything that can be checked without the other sources of keys.
    pub fn parse(text: &str) -> Result<Self, BadKeysFile> {
        let (document, errors) = DeTable::parse_recoverable(text);
        // What follows the first may be its consequence. The parser's whole text would quote the line, and with it
        // perhaps a key.
        let place = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
        if let Some(first) = errors.iter().min_by_key(|error| place(error)) {
            return Err(BadKeysFile::at(text, place(first), first.message()));
        }
        let reader = Reader { text };
        let (mut operators, mut merchants) = (Vec::new(), Vec::new());
        for (key, value) in document.get_ref() {
            match key.get_ref().as_ref() {
                "operator" => operators = reader.holders(Role::Operator, value)?,
                "merchant" => merchants = reader.holders(Role::Merchant, value)?,
                _ => {
                    let right = "unknown table: `[[operator]]` and `[[merchant]]` are known";
                    return Err(reader.bad(key.span(), right));
                }
            }
        }
        operators.append(&mut merchants);
        reader.check_unique(&operators)?;
        Ok(Self { holders: operators })
    }

    /// The operator or merchant of this name.
    pub fn find(&self, role: Role, name: &str) -> Option<&Holder> {
        self.holders.iter().find(|holder| holder.role == role && holder.name == name)
    }
}

struct Reader<'a> {
    text: &'a str,
}

type Value<'a> = Spanned<DeValue<'a>>;

impl Reader<'_> {
    fn bad(&self, place: Range<usize>, why: impl Into<String>) -> BadKeysFile {
        BadKeysFile::at(self.text, place.start, why)
    }

    fn holders(&self, role: Role, value: &Value<'_>) -> Result<Vec<Holder>, BadKeysFile> {
        let wrong = || {
            let table = role.as_str();
            self.bad(
                value.span(),
                format!("must be tables: `[[{table}]]`, each with `name` and `key_sha256`"),
            )
        };
        let tables = value.get_ref().as_array().ok_or_else(wrong)?;
        let holder = |value: &Value<'_>| {
            let table = value.get_ref().as_table().ok_or_else(wrong)?;
            self.holder(role, value.span(), table)
        };
        tables.iter().map(holder).collect()
    }

    fn holder(&self, role: Role, place: Range<usize>, table: &DeTable<'_>) -> Result<Holder, BadKeysFile> {
        let (mut name, mut list) = (None, None);
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "name" => name = Some(value),
                "key_sha256" => list = Some(value),
                _ => return Err(self.bad(key.span(), "unknown key: `name` and `key_sha256` are known")),
            }
        }
        let lacks = |what: &str| {
            let right = format!("this {} lacks {what}", role.as_str());
            self.bad(place.clone(), right)
        };
        let name = name.ok_or_else(|| lacks("a `name`"))?;
        let list = list.ok_or_else(|| lacks("`key_sha256 = [\"…\"]`, the SHA-256 of each of its keys"))?;
        let text = name.get_ref().as_str().filter(|text| is_merchant_name(text));
        let wrong_name = || self.bad(name.span(), "`name` must be 1 to 64 letters, digits, `-`, `_` or `.`");
        let text = text.ok_or_else(wrong_name)?.to_owned();
        let wrong_list = || self.bad(list.span(), "`key_sha256` must be a list: `[\"…\"]`");
        let elements = list.get_ref().as_array().ok_or_else(wrong_list)?;
        let keys = elements.iter().map(|element| self.key(element)).collect::<Result<_, _>>()?;
        Ok(Holder { role, name: text, keys, place, name_place: name.span(), list_place: list.span() })
    }

    /// `"HASH"`, or `{ sha256 = "HASH", expires_at = "TIME" }`.
    fn key(&self, element: &Value<'_>) -> Result<StoredKey, BadKeysFile> {
        let place = element.span();
        let DeValue::Table(table) = element.get_ref() else {
            return Ok(StoredKey { hash: self.hash(element)?, expires_at: None, place });
        };
        let (mut hash, mut expires_at) = (None, None);
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "sha256" => hash = Some(self.hash(value)?),
                "expires_at" => expires_at = Some(self.time(value)?),
                _ => return Err(self.bad(key.span(), "unknown key: `sha256` and `expires_at` are known")),
            }
        }
        let hash = hash.ok_or_else(|| self.bad(place.clone(), "this key lacks `sha256 = \"…\"`"))?;
        Ok(StoredKey { hash, expires_at, place })
    }

    fn hash(&self, value: &Value<'_>) -> Result<KeyHash, BadKeysFile> {
        let wrong = || {
            let right = "must be 64 hexadecimal digits, the SHA-256 of a key (`printf %s KEY | sha256sum`), \
                         or `{ sha256 = \"…\", expires_at = \"…\" }`";
            self.bad(value.span(), right)
        };
        let hash: KeyHash = value.get_ref().as_str().and_then(|text| text.parse().ok()).ok_or_else(wrong)?;
        if hash == KeyHash::of("") {
            return Err(self.bad(value.span(), "is the SHA-256 of no key at all: hash the key itself"));
        }
        if EXAMPLES.iter().any(|example| hash == KeyHash::of(example)) {
            let right = "is the SHA-256 of a published example (`change-me…`): make a key of your own";
            return Err(self.bad(value.span(), right));
        }
        Ok(hash)
    }

    fn time(&self, value: &Value<'_>) -> Result<DateTime<Utc>, BadKeysFile> {
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Datetime(time) => time.to_string(),
            _ => String::new(),
        };
        let wrong =
            |_| self.bad(value.span(), "`expires_at` must be a time such as \"2026-12-31T00:00:00Z\"");
        DateTime::parse_from_rfc3339(&text).map(|time| time.to_utc()).map_err(wrong)
    }

    fn check_unique(&self, holders: &[Holder]) -> Result<(), BadKeysFile> {
        let (mut names, mut hashes) = (BTreeSet::new(), BTreeSet::new());
        for holder in holders {
            let Holder { role, name, .. } = holder;
            let role = role.as_str();
            if !names.insert((holder.role, name)) {
                let right = format!("the {role} `{name}` is named twice: list all its keys in one table");
                return Err(self.bad(holder.name_place.clone(), right));
            }
            for key in &holder.keys {
                if !hashes.insert(key.hash.to_string()) {
                    let right =
                        format!("the {role} `{name}` has a key that is listed before: list each key once");
                    return Err(self.bad(key.place.clone(), right));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(key: &str) -> String {
        KeyHash::of(key).to_string()
    }

    #[test]
    fn a_file_holds_operators_and_merchants_with_several_keys_each() {
        let text = format!(
            "# who may call\n[[merchant]]\nname = \"shop\"\nkey_sha256 = [\"{}\", {{ sha256 = \"{}\", \
             expires_at = \"2026-12-31T00:00:00+08:00\" }}]\n[[operator]]\nname = \"ann\"\nkey_sha256 = [{{ sha256 = \
             \"{}\", expires_at = 2027-01-01T00:00:00Z }}]\n[[merchant]]\nname = \"ann\"\nkey_sha256 = []\n",
            hash("k1"),
            hash("k2"),
            hash("k3"),
        );
        let file = KeysFile::parse(&text).expect("well-formed");
        let shop = file.find(Role::Merchant, "shop").expect("there");
        assert_eq!(
            shop.keys.iter().map(|key| key.hash).collect::<Vec<_>>(),
            [KeyHash::of("k1"), KeyHash::of("k2")]
        );
        let expiry = |key: &StoredKey| key.expires_at.map(|time| time.to_rfc3339());
        assert_eq!(expiry(&shop.keys[1]).as_deref(), Some("2026-12-30T16:00:00+00:00"));
        let ann = file.find(Role::Operator, "ann").expect("there");
        assert_eq!(expiry(&ann.keys[0]).as_deref(), Some("2027-01-01T00:00:00+00:00"));
        assert_eq!(file.find(Role::Merchant, "ann").map(|holder| holder.keys.len()), Some(0));
        assert!(KeysFile::parse("# none yet\n").expect("well-formed").holders.is_empty());
    }

    #[test]
    fn the_sample_is_valid() {
        let sample = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/samples/keys.toml"));
        let file = KeysFile::parse(sample).expect("the sample");
        assert_eq!(file.find(Role::Merchant, "shop").map(|holder| holder.keys.len()), Some(2));
        assert!(file.find(Role::Operator, "ann").is_some());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_what_would_be_right() {
        let (one, two) = (hash("k1"), hash("k2"));
        let shop = |keys: &str| format!("[[merchant]]\nname = \"shop\"\nkey_sha256 = [{keys}]\n");
        let (empty, example) = (hash(""), hash("change-me-shop-key"));
        for (text, line, why) in [
            ("[[merchant]]\nname = \"shop\nkey".to_owned(), 2, ""),
            ("\n[[customer]]\nname = \"x\"".to_owned(), 2, "`[[merchant]]`"),
            ("merchant = 5".to_owned(), 1, "`[[merchant]]`"),
            ("[merchant]\nname = \"shop\"".to_owned(), 1, "`[[merchant]]`"),
            (format!("{}keys = []\n", shop("")), 4, "`key_sha256`"),
            (format!("\n[[operator]]\nkey_sha256 = [\"{one}\"]"), 2, "lacks a `name`"),
            ("[[merchant]]\nname = \"shop\"".to_owned(), 1, "lacks `key_sha256"),
            ("[[merchant]]\nname = \"two words\"\nkey_sha256 = []".to_owned(), 2, "1 to 64 letters"),
            ("[[operator]]\nname = \"\"\nkey_sha256 = []".to_owned(), 2, "1 to 64 letters"),
            ("[[operator]]\nname = 7\nkey_sha256 = []".to_owned(), 2, "1 to 64 letters"),
            (format!("[[merchant]]\nname = \"a\"\nkey_sha256 = \"{one}\""), 3, "must be a list"),
            (shop("\"hush\""), 3, "64 hexadecimal digits"),
            (shop("7"), 3, "64 hexadecimal digits"),
            (shop(&format!("\n\"{one}\",\n\"{}\"", &two[1..])), 5, "64 hexadecimal digits"),
            (shop(&format!("\"{empty}\"")), 3, "no key at all"),
            (shop(&format!("\"{example}\"")), 3, "published example"),
            (shop("{ expires_at = \"2026-12-31T00:00:00Z\" }"), 3, "lacks `sha256"),
            (
                shop(&format!("{{ sha256 = \"{one}\", expires_at = \"hush\" }}")),
                3,
                "`expires_at` must be a time",
            ),
            (
                shop(&format!("{{ sha256 = \"{one}\", expires_at = 2026-12-31 }}")),
                3,
                "`expires_at` must be a time",
            ),
            (shop(&format!("{{ sha256 = \"{one}\", until = 1 }}")), 3, "`expires_at` are known"),
            (shop(&format!("\"{one}\", \"{one}\"")), 3, "listed before"),
            (format!("{}{}", shop(""), shop("")), 5, "named twice"),
            (
                format!(
                    "{}{}",
                    shop(&format!("\"{one}\"")),
                    shop(&format!("\"{one}\"")).replace("shop", "kiosk")
                ),
                6,
                "`kiosk`",
            ),
            (
                format!(
                    "{}[[operator]]\nname = \"ann\"\nkey_sha256 = [\"{one}\"]",
                    shop(&format!("\"{one}\""))
                ),
                3,
                "`shop`",
            ),
        ] {
            let error = KeysFile::parse(&text).expect_err(&text);
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(error.why.contains(why) && !error.why.contains("hush"), "{text}: {error}");
        }
    }
}
