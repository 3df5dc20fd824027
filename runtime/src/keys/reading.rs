//! Reading `KEYS_FILE`, bounded.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::keys_file::{BadKeysFile, KeysFile};

/// Room for more than ten thousand keys.
const MAX_BYTES: u64 = 1 << 20;

/// What a look at the file found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reading {
    Text(String),
    Missing,
    Failed(String),
}

/// `KEYS_FILE` can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("KEYS_FILE (--keys-file) {}: {error}", path.display())]
pub struct KeysFileError {
    pub(super) path: PathBuf,
    pub(super) error: Unusable,
}

/// Why. Nothing of the file is quoted but names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    #[error(transparent)]
    Bad(#[from] BadKeysFile),
    #[error("{0}")]
    Unreadable(String),
}

impl KeysFileError {
    /// The line that is wrong, where it is one.
    pub fn line(&self) -> Option<usize> {
        match &self.error {
            Unusable::Bad(bad) => Some(bad.line),
            Unusable::Unreadable(_) => None,
        }
    }
}

impl Reading {
    /// Why it is no text.
    pub(super) fn failure(&self) -> Unusable {
        Unusable::Unreadable(match self {
            Self::Text(_) => String::new(),
            Self::Missing => "the file is missing: `ringback keys add NAME` makes it".to_owned(),
            Self::Failed(why) => why.clone(),
        })
    }
}

/// Reads and checks the file at `path`; `None`: it is missing. Answers its text beside what it holds.
pub fn read_keys_file(path: &Path) -> Result<Option<(String, KeysFile)>, KeysFileError> {
    let failed = |error| KeysFileError { path: path.to_owned(), error };
    match read(path) {
        Reading::Missing => Ok(None),
        Reading::Text(text) => match KeysFile::parse(&text) {
            Ok(file) => Ok(Some((text, file))),
            Err(bad) => Err(failed(bad.into())),
        },
        reading @ Reading::Failed(_) => Err(failed(reading.failure())),
    }
}

pub(super) fn read(path: &Path) -> Reading {
    match read_text(path) {
        Ok(Ok(text)) => Reading::Text(text),
        Ok(Err(why)) => Reading::Failed(why.to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Reading::Missing,
        Err(error) => Reading::Failed(format!("can't be read: {error}")),
    }
}

fn read_text(path: &Path) -> io::Result<Result<String, &'static str>> {
    // Opening a pipe would wait for its writer.
    if !fs::metadata(path)?.is_file() {
        return Ok(Err("is no regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Ok(Err("must be at most 1 MiB"));
    }
    Ok(String::from_utf8(bytes).map_err(|_| "must be text in UTF-8"))
}
