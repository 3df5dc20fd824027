//! Edits the file as a whole: one editor at a time, and readers see the old or the new text.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use runtime::keys::{KeysFile, read_keys_file};
use runtime::private_file::replace_private;
use tokio::time::{Instant, sleep};

use super::change::{Change, Entry, entries};
use super::text::{Written, written};

/// How long another editor is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether the other one is done.
const LOOK: Duration = Duration::from_millis(20);

/// The file while no other `ringback keys` edits it.
pub struct Editor {
    path: PathBuf,
    _lock: File,
}

/// What an edit did.
pub struct Edited {
    pub path: PathBuf,
    pub before: Vec<Entry>,
    pub after: Vec<Entry>,
    pub lost_comments: bool,
}

impl Editor {
    /// Waits for other editors of the file at `path`, which may be missing.
    pub async fn open(path: PathBuf) -> anyhow::Result<Self> {
        let path = whole(&path).with_context(|| format!("can't use {}", path.display()))?;
        let lock = lock(&path).await?;
        Ok(Self { path, _lock: lock })
    }

    /// Makes `change` and writes the file.
    pub fn edit(&self, change: &Change, now: DateTime<Utc>) -> anyhow::Result<Edited> {
        let (text, file) = read_keys_file(&self.path)?.unwrap_or((String::new(), KeysFile::default()));
        let before = entries(&file);
        let after = change.apply(before.clone(), now)?;
        let named = || self.path.display().to_string();
        let Written { text, lost_comments } = written(&text, &file, &after).with_context(named)?;
        replace_private(&self.path, &text).with_context(|| format!("can't write {}", named()))?;
        Ok(Edited { path: self.path.clone(), before, after, lost_comments })
    }
}

/// The path without links: a link stays one, and what it points to is edited.
fn whole(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = fs::canonicalize(folder.unwrap_or(Path::new(".")))?;
            Ok(folder.join(path.file_name().unwrap_or_default()))
        }
        whole => whole,
    }
}

/// The lock is on a file beside, since an edit puts a new file in the place of the old one. It is the operating
/// system's, and ends with the process.
async fn lock(path: &Path) -> anyhow::Result<File> {
    let mut name = path.file_name().context("KEYS_FILE (--keys-file) must name a file")?.to_owned();
    name.push(".lock");
    let beside = path.with_file_name(name);
    let unusable = || format!("can't lock {} by {}", path.display(), beside.display());
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(&beside).with_context(unusable)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => sleep(LOOK).await,
            Err(TryLockError::WouldBlock) => {
                bail!("another `ringback keys` edits {}: try again when it has ended", path.display())
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(unusable),
        }
    }
}
