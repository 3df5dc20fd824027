//! The data directory: its owner's alone, and used by one process at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use runtime::private_file::{make_private_folder, restrict};

use crate::keys::KEY_FILE;

const LOCK_FILE: &str = "ringback.lock";
/// Set on folders such as `/tmp`, which belong to every user of the machine.
const STICKY: u32 = 0o1000;

/// The data directory while this process uses it. The lock is the operating system's: it ends with
/// the process, however that ends.
pub struct DataDirectory {
    path: PathBuf,
    _lock: File,
}

impl DataDirectory {
    /// Makes the folder where it is missing, and locks it; refuses one that another process uses
    /// before anything in it is changed.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        make_private_folder(path)
            .with_context(|| format!("can't make the data directory {}", path.display()))?;
        let unusable = || format!("can't use the data directory {}", path.display());
        let is_ours = is_ours(path).with_context(unusable)?;
        let lock = lock(path)?;
        if is_ours {
            restrict(path).with_context(unusable)?;
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A folder that holds nothing, or keys of ours, is used for nothing else.
fn is_ours(path: &Path) -> io::Result<bool> {
    let shared = fs::metadata(path)?.permissions().mode() & STICKY != 0;
    Ok(!shared && (path.join(KEY_FILE).exists() || fs::read_dir(path)?.next().is_none()))
}

fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join(LOCK_FILE);
    let unusable = || format!("can't lock the data directory {} by {LOCK_FILE}", folder.display());
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(&path).with_context(unusable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!(in_use(folder, &mut file)),
        Err(TryLockError::Error(error)) => return Err(error).with_context(unusable),
    }
    file.set_len(0).with_context(unusable)?;
    writeln!(file, "{}", std::process::id()).with_context(unusable)?;
    Ok(file)
}

/// Names the other process where it has written its number already.
fn in_use(folder: &Path, file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(16).read_to_string(&mut text);
    let number = read.ok().and_then(|_| text.trim().parse::<u32>().ok());
    let process = number.map_or_else(String::new, |number| format!(" (process {number})"));
    format!(
        "the data directory {} is in use by another ringback{process}: stop that one first, or name \
         another folder by --data-dir (RINGBACK_DATA_DIR)",
        folder.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its owner may");
    }

    #[test]
    fn a_second_user_of_a_folder_is_refused_by_its_name_and_changes_nothing() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let folder = parent.path().join("data");
        let first = DataDirectory::open(&folder).expect("free");
        assert_eq!((mode(&folder), mode(&folder.join(LOCK_FILE))), (0o700, 0o600));
        let before = fs::read_to_string(folder.join(LOCK_FILE)).expect("there");
        let refused = DataDirectory::open(&folder).err().expect("in use").to_string();
        let number = format!("process {}", std::process::id());
        for named in [&folder.display().to_string(), &number, "--data-dir"] {
            assert!(refused.contains(named), "{refused}");
        }
        assert_eq!(fs::read_to_string(folder.join(LOCK_FILE)).expect("there"), before);
        drop(first);
        DataDirectory::open(&folder).expect("free again");
    }

    #[test]
    fn a_folder_of_ours_is_restricted_and_a_shared_one_is_left_as_it_is() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        for (name, file, before, after) in [
            ("empty", None, 0o755, 0o700),
            ("ours", Some(KEY_FILE), 0o750, 0o700),
            ("another's", Some("photo.jpg"), 0o755, 0o755),
            ("tmp", None, 0o1777, 0o1777),
        ] {
            let folder = parent.path().join(name);
            fs::create_dir(&folder).expect("made");
            if let Some(file) = file {
                fs::write(folder.join(file), "").expect("written");
            }
            set_mode(&folder, before);
            DataDirectory::open(&folder).expect(name);
            assert_eq!(mode(&folder), after, "{name}");
        }
    }
}
