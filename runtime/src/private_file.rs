//! Files that only their owner may read, because they hold keys or what merchants sent: mode 0600,
//! whatever the umask. Keys are written whole or not at all, and are on the disk before they are used.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
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

/// As [`write_private`], for a file that another user's process may read: a file that is there keeps its owner. An error
/// leaves it as it is.
pub fn replace_private(path: &Path, text: &str) -> io::Result<()> {
    let beside = write_beside(path, text)?;
    let replaced = keep_owner(path, &beside).and_then(|()| fs::rename(&beside, path));
    if let Err(error) = replaced {
        // What can't be removed is harmless: the next edit overwrites it.
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    sync_folder(path)
}

fn keep_owner(path: &Path, beside: &Path) -> io::Result<()> {
    let (old, new) = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        old => (old?, fs::metadata(beside)?),
    };
    if (old.uid(), old.gid()) == (new.uid(), new.gid()) {
        return Ok(());
    }
    chown(beside, Some(old.uid()), Some(old.gid()))
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

/// Makes `path` an empty file of mode 0600 where it is missing; an existing one is restricted. What
/// is no file, such as a folder that was named by mistake, is left as it is.
pub fn make_private(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::metadata(path)?.is_file() {
                restrict(path)
            } else {
                Ok(())
            }
        }
        Err(error) => Err(error),
    }
}

/// Takes all rights from group and others, where they have any, and logs it. A file of another
/// owner, whose mode can't be changed, is used as it is, with a warning.
pub fn restrict(path: &Path) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o7777;
    let others = mode & 0o077;
    if others == 0 {
        return Ok(());
    }
    let (from, to) = (format!("{mode:04o}"), format!("{:04o}", mode & 0o700));
    match fs::set_permissions(path, Permissions::from_mode(mode & 0o700)) {
        Ok(()) => {
            tracing::warn!(file.path = %path.display(), file.mode = to, file.mode_before = from, "file.restricted");
        }
        Err(error) => {
            tracing::warn!(file.path = %path.display(), file.mode = from, %error, "file.open_to_others");
        }
    }
    Ok(())
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
    fn a_file_that_others_may_read_is_restricted_and_keeps_its_content() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("data");
        make_private(&path).expect("made");
        assert_eq!(mode(&path), 0o600);
        fs::write(&path, "content").expect("written");
        for open in [0o644, 0o660, 0o604] {
            fs::set_permissions(&path, Permissions::from_mode(open)).expect("its owner may");
            make_private(&path).expect("restricted");
            assert_eq!(mode(&path), 0o600, "from {open:o}");
        }
        assert_eq!(fs::read_to_string(&path).expect("there"), "content");
        assert!(restrict(&folder.path().join("missing")).is_err());
        let shared = folder.path().join("shared");
        DirBuilder::new().create(&shared).expect("made");
        fs::set_permissions(&shared, Permissions::from_mode(0o755)).expect("its owner may");
        make_private(&shared).expect("left as it is");
        assert_eq!(mode(&shared), 0o755);
    }
}
