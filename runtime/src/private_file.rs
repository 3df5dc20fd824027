//! Files that are their owner's alone, because they hold keys: mode 0600, written whole or not at
//! all, and on the disk before anybody relies on them.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Makes `folder` and those above it, where they are missing, for their owner alone.
pub fn make_private_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Writes `text` to `path`, in the place of what is there: beside it first, then renamed, so that a
/// crash leaves the old or the new file.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let beside = write_beside(path, text)?;
    fs::rename(beside, path)?;
    sync_folder(path)
}

/// What `path` holds; where it is missing, what `fresh` answers, which is then kept there. An
/// existing file is never replaced: of several processes that come at once, all answer what the
/// first one has written.
pub fn read_or_keep(path: &Path, fresh: impl FnOnce() -> String) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => return read,
    }
    let beside = write_beside(path, &fresh())?;
    let linked = fs::hard_link(&beside, path);
    fs::remove_file(&beside)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => sync_folder(path)?,
    }
    fs::read_to_string(path)
}

/// Whether others than its owner may read or change the file.
pub fn is_open_to_others(path: &Path) -> io::Result<bool> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o077 != 0)
}

fn write_beside(path: &Path, text: &str) -> io::Result<PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new.{}", std::process::id()));
    let beside = path.with_file_name(name);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(beside)
}

/// A name is on the disk only when its folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o777
    }

    #[test]
    fn what_is_kept_is_the_owners_alone_and_leaves_nothing_beside_it() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let folder = parent.path().join("a/b");
        make_private_folder(&folder).expect("made");
        let (written, kept) = (folder.join("written"), folder.join("kept"));
        write_private(&written, "one").expect("written");
        write_private(&written, "two").expect("written again");
        assert_eq!(fs::read_to_string(&written).expect("there"), "two");
        assert_eq!(read_or_keep(&kept, || "first".to_owned()).expect("kept"), "first");
        assert_eq!((mode(&folder), mode(&written), mode(&kept)), (0o700, 0o600, 0o600));
        assert_eq!(fs::read_dir(&folder).expect("there").count(), 2);
    }

    #[test]
    fn what_is_there_is_never_replaced_by_something_fresh() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("keys");
        let raced = read_or_keep(&path, || {
            read_or_keep(&path, || "the first".to_owned()).expect("kept");
            "the second".to_owned()
        });
        assert_eq!(raced.expect("read"), "the first");
        assert_eq!(read_or_keep(&path, || "the third".to_owned()).expect("read"), "the first");
    }

    #[test]
    fn a_file_that_others_may_read_is_told_from_one_that_they_may_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("keys");
        write_private(&path, "x").expect("written");
        assert!(!is_open_to_others(&path).expect("there"));
        fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("its owner may");
        assert!(is_open_to_others(&path).expect("there"));
    }
}
