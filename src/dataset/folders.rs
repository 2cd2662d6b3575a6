//! Walking a folder of images: one listing per folder, nothing asked of single files.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::DatasetError;
use super::problem::{Problem, ProblemKind};
use super::text::{natural_cmp, quoted};

const IMAGE_EXTENSIONS: [&str; 6] = ["png", "jpg", "jpeg", "bmp", "tif", "tiff"];

/// Whether a name ends like an image file, in any case.
pub(super) fn is_image_name(name: &str) -> bool {
    has_extension(name, &IMAGE_EXTENSIONS)
}

/// Whether a name ends like a table, in any case.
pub(super) fn is_table_name(name: &str) -> bool {
    has_extension(name, &["csv", "tsv"])
}

fn has_extension(name: &str, known: &[&str]) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    known.iter().any(|k| k.eq_ignore_ascii_case(extension))
}

/// What a folder and the folders in it hold.
#[derive(Default)]
pub(super) struct Found {
    /// Image files relative to the folder, parts separated by `/`, in natural order.
    pub(super) images: Vec<String>,
    /// Names of the CSV files in the folder itself, sorted.
    pub(super) tables: Vec<String>,
    /// Folders and names that could not be read.
    pub(super) problems: Vec<Problem>,
}

/// A folder still to be listed.
struct Pending {
    /// Relative to the root, empty or ending in `/`.
    prefix: String,
    /// The same folder without symbolic links.
    canonical: PathBuf,
}

/// Lists `root` and all folders in it. Hidden files and folders are passed over; a folder that
/// symbolic links lead to more than once is listed once, so loops end.
///
/// # Errors
/// When `root` itself cannot be listed.
pub(super) fn walk(root: &Path) -> Result<Found, DatasetError> {
    let top = fs::canonicalize(root).map_err(|e| DatasetError::from_io(root, e))?;
    let mut found = Found::default();
    let mut seen = HashSet::from([top.clone()]);
    let mut folders = vec![Pending {
        prefix: String::new(),
        canonical: top.clone(),
    }];
    let mut links: Vec<Pending> = Vec::new();
    loop {
        let folder = match folders.pop() {
            Some(folder) => folder,
            // Real folders come first, so that a link to one of them never takes its place.
            None => match links.pop() {
                Some(link) if top.starts_with(&link.canonical) => continue,
                Some(link) if !seen.insert(link.canonical.clone()) => continue,
                Some(link) => link,
                None => break,
            },
        };
        if let Err(error) = list(&folder, &mut found, &mut folders, &mut links, &mut seen) {
            if folder.prefix.is_empty() {
                return Err(DatasetError::from_io(root, error));
            }
            let name = folder.prefix.trim_end_matches('/');
            found.problems.push(Problem::new(
                ProblemKind::Unreadable,
                name,
                format!(
                    "the folder {} cannot be read: {error}; its images are left out",
                    quoted(name)
                ),
            ));
        }
    }
    found.images.sort_unstable_by(|a, b| natural_cmp(a, b));
    found.tables.sort_unstable();
    Ok(found)
}

fn list(
    folder: &Pending,
    found: &mut Found,
    folders: &mut Vec<Pending>,
    links: &mut Vec<Pending>,
    seen: &mut HashSet<PathBuf>,
) -> std::io::Result<()> {
    for entry in fs::read_dir(&folder.canonical)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            let shown = format!("{}{}", folder.prefix, name.to_string_lossy());
            let sentence = format!(
                "the name of {} is not UTF-8; rename it to use it",
                quoted(&shown)
            );
            found
                .problems
                .push(Problem::new(ProblemKind::Unreadable, shown, sentence));
            continue;
        };
        if name.starts_with('.') || name == "__MACOSX" {
            continue;
        }
        let kind = entry.file_type()?;
        let (is_dir, is_file) = if kind.is_symlink() {
            // A link that leads nowhere is neither.
            fs::metadata(entry.path()).map_or((false, false), |m| (m.is_dir(), m.is_file()))
        } else {
            (kind.is_dir(), kind.is_file())
        };
        if is_dir {
            let prefix = format!("{}{name}/", folder.prefix);
            let canonical = entry.path();
            if kind.is_symlink() {
                if let Ok(canonical) = fs::canonicalize(canonical) {
                    links.push(Pending { prefix, canonical });
                }
            } else if seen.insert(canonical.clone()) {
                folders.push(Pending { prefix, canonical });
            }
        } else if is_file && is_image_name(name) {
            found.images.push(format!("{}{name}", folder.prefix));
        } else if is_file && folder.prefix.is_empty() && is_table_name(name) {
            found.tables.push(name.to_owned());
        }
    }
    Ok(())
}

/// How the folders of a data set name its classes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FolderLabels {
    /// One per image: the name of its class folder, empty for an image outside any.
    pub(super) words: Vec<String>,
    /// One per image, where the class folders lie in folders such as `train` and `test`: that folder.
    pub(super) parts: Option<Vec<String>>,
}

/// Finds the level of folders that names the classes: the first with at least two folders, once
/// folders that hold everything, and a level of `train` / `val` / `test`, are looked through.
/// `None` where there is no such level.
pub(super) fn folder_labels(images: &[String]) -> Option<FolderLabels> {
    let mut rests: Vec<&str> = images.iter().map(String::as_str).collect();
    strip_common(&mut rests);
    let mut parts = None;
    if has_two_folders(&rests) && rests.iter().filter_map(first_folder).all(is_part_name) {
        let deeper: Vec<&str> = rests.iter().map(|rest| below(rest)).collect();
        if has_two_folders(&deeper) {
            let names = rests.iter().map(|r| first_folder(r).unwrap_or_default());
            parts = Some(names.map(str::to_owned).collect());
            rests = deeper;
            strip_common(&mut rests);
        }
    }
    has_two_folders(&rests).then(|| FolderLabels {
        words: rests
            .iter()
            .map(|rest| first_folder(rest).unwrap_or_default().to_owned())
            .collect(),
        parts,
    })
}

fn first_folder<'a>(path: &&'a str) -> Option<&'a str> {
    path.split_once('/').map(|(folder, _)| folder)
}

/// The path without its first folder; a file outside any folder stays as it is.
fn below(path: &str) -> &str {
    path.split_once('/').map_or(path, |(_, rest)| rest)
}

fn strip_common(paths: &mut [&str]) {
    while let Some(common) = paths.first().and_then(first_folder) {
        if !paths.iter().all(|p| first_folder(p) == Some(common)) {
            break;
        }
        for path in paths.iter_mut() {
            *path = below(path);
        }
    }
}

fn has_two_folders(paths: &[&str]) -> bool {
    let mut folders = paths.iter().filter_map(first_folder);
    folders
        .next()
        .is_some_and(|one| folders.any(|other| other != one))
}

fn is_part_name(folder: &str) -> bool {
    const NAMES: [&str; 7] = [
        "train",
        "training",
        "val",
        "valid",
        "validation",
        "test",
        "testing",
    ];
    NAMES.iter().any(|name| name.eq_ignore_ascii_case(folder))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn labels(images: &[&str]) -> Option<FolderLabels> {
        folder_labels(&images.iter().map(|i| (*i).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_first_level_with_two_folders_names_the_classes() {
        let found = labels(&["a/1.png", "b/x/2.png", "3.png"]).unwrap();
        assert_eq!(found.words, ["a", "b", ""]);
        assert_eq!(found.parts, None);
        assert_eq!(
            labels(&["set/a/1.png", "set/b/2.png"]).unwrap().words,
            ["a", "b"]
        );
        assert_eq!(labels(&["a/1.png", "a/2.png"]), None);
        assert_eq!(labels(&["1.png"]), None);
        assert_eq!(labels(&[]), None);
    }

    #[test]
    fn train_and_test_are_no_classes() {
        let found = labels(&["train/a/1.png", "Test/b/2.png", "test/3.png"]).unwrap();
        assert_eq!(found.words, ["a", "b", ""]);
        assert_eq!(found.parts.unwrap(), ["train", "Test", "test"]);
        // Nothing below them: then they are all there is.
        let flat = labels(&["train/1.png", "test/2.png"]).unwrap();
        assert_eq!(flat.words, ["train", "test"]);
    }

    #[test]
    fn image_names_are_known_by_their_ending() {
        for name in ["a.png", "B.JPG", "c.d.Tiff", ".bmp"] {
            assert!(is_image_name(name), "{name}");
        }
        for name in ["png", "a.png.txt", "a", "a.gif", ""] {
            assert!(!is_image_name(name), "{name}");
        }
    }
}
