//! Whole files, written so that a reader sees the old content or the new, never half.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use super::StorageError;

/// How the name of a file ends that is not written to its end yet.
const BESIDE: &str = ".tmp";

/// Replaces `path` by `bytes`: writes a sibling, syncs it, renames it, syncs the folder. After a crash
/// or a full disk the old content is still there.
///
/// # Errors
/// [`StorageError`] naming the file.
pub fn atomic_write(path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    atomic_write_with(path, |file| file.write_all(bytes))
}

/// As [`atomic_write`], for content that is too large to be put together in memory first.
///
/// # Errors
/// [`StorageError`] naming the file.
pub fn atomic_write_with(
    path: &Path,
    write: impl FnOnce(&mut File) -> std::io::Result<()>,
) -> Result<(), StorageError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}{BESIDE}", std::process::id()));
    let beside = Path::new(&beside);
    let written = (|| {
        let mut file = File::create(beside)?;
        write(&mut file)?;
        file.sync_all()?;
        replace(beside, path)
    })();
    written.map_err(|source| {
        // Nothing more can be done about a leftover, and the first error is the one to tell.
        drop(fs::remove_file(beside));
        StorageError::io("write", path, source)
    })
}

/// Renames a synced file to `path`, which may exist, and makes that durable.
pub(super) fn replace(synced: &Path, path: &Path) -> std::io::Result<()> {
    fs::rename(synced, path)?;
    sync_folder(folder_of(path))
}

/// The folder that `path` lies in.
pub(super) fn folder_of(path: &Path) -> &Path {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// Removes from `folder` what writes left there that were cut short by the end of their process. No other
/// process may be writing in it.
pub fn remove_half_written(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.to_string_lossy().ends_with(BESIDE) {
            // A leftover that cannot be removed does no harm.
            drop(fs::remove_file(path));
        }
    }
}

/// Creates a folder and its parents.
///
/// # Errors
/// [`StorageError`] naming the folder.
pub fn create_dir(path: &Path) -> Result<(), StorageError> {
    fs::create_dir_all(path).map_err(|source| StorageError::io("create", path, source))
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> std::io::Result<()> {
    // Windows has no handle on a folder to sync; its rename is journalled.
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("report.json");
        atomic_write(&path, b"one").expect("written");
        atomic_write(&path, b"two").expect("written again");
        assert_eq!(fs::read(&path).expect("read"), b"two");
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("checkpoint.safetensors");
        atomic_write(&path, b"whole").expect("written");
        fs::write(folder.path().join("checkpoint.safetensors.17.tmp"), b"ha").expect("written");
        remove_half_written(folder.path());
        assert_eq!(fs::read(&path).expect("read"), b"whole");
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = atomic_write(&folder.path().join("gone/file"), b"").expect_err("no folder");
        assert!(error.to_string().contains("gone"), "{error}");
    }
}
