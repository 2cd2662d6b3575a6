//! From the path a user names to a project folder and a data set.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{ProjectError, Settings, Source};
use crate::dataset::OpenOptions;
use crate::storage::{create_dir, digest, hex};

/// The project folder inside a data set folder.
pub const MARKER: &str = ".driftscope";

/// Where things are.
#[derive(Debug)]
pub struct Place {
    /// The project folder; it exists.
    pub dir: PathBuf,
    /// The data set's folder or CSV.
    pub dataset: PathBuf,
    /// How to read it.
    pub options: OpenOptions,
    /// The settings, fresh ones for a new project.
    pub settings: Settings,
}

/// Finds or creates the project folder for `path`: `path` itself if it holds a `project.toml`;
/// `project_dir` if given; else `.driftscope` in the data set folder (`.driftscope-<name>` beside a CSV);
/// else, where that cannot be written, a folder of the user's application data.
///
/// # Errors
/// [`ProjectError`].
pub fn locate(
    path: &Path,
    options: &OpenOptions,
    project_dir: Option<&Path>,
) -> Result<Place, ProjectError> {
    if path.join(Settings::FILE).is_file() {
        let mut settings = Settings::load(path)?;
        if !options.classes.is_empty() {
            settings.source.classes.clone_from(&options.classes);
        }
        let dataset = path.join(&settings.source.path);
        return Ok(Place {
            dir: path.to_owned(),
            dataset,
            options: settings.source.options(path),
            settings,
        });
    }
    let dataset = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let dir = match project_dir {
        Some(dir) => {
            create_dir(dir)?;
            dir.to_owned()
        }
        None => usual_dir(&dataset)?,
    };
    let mut settings = if dir.join(Settings::FILE).is_file() {
        Settings::load(&dir)?
    } else {
        Settings::default()
    };
    // What is named now wins over what was stored, except that nothing named keeps what was stored.
    let stored = settings.source.options(&dir);
    let mut options = options.clone();
    if options.classes.is_empty() {
        options.classes.clone_from(&stored.classes);
    }
    if !options.asks_for_table() {
        options = OpenOptions {
            classes: options.classes,
            ..stored
        };
    }
    settings.source = Source::new(&dataset, &options, &dir);
    Ok(Place {
        dir,
        dataset,
        options,
        settings,
    })
}

fn usual_dir(dataset: &Path) -> Result<PathBuf, ProjectError> {
    let name = dataset.file_stem().unwrap_or_default().to_string_lossy();
    let beside = if dataset.is_dir() {
        dataset.join(MARKER)
    } else {
        dataset.with_file_name(format!("{MARKER}-{name}"))
    };
    // A path that is not there is the data set's error to tell, and no reason to create folders.
    if !dataset.exists() {
        return Ok(beside);
    }
    if create_dir(&beside).is_ok() && is_writable(&beside) {
        return Ok(beside);
    }
    let away = directories::ProjectDirs::from("", "", "driftscope").map(|dirs| {
        let id = hex(&digest(dataset.as_os_str().as_encoded_bytes()));
        dirs.data_dir()
            .join("projects")
            .join(format!("{name}-{}", &id[..8]))
    });
    match away {
        Some(away) if create_dir(&away).is_ok() && is_writable(&away) => Ok(away),
        _ => Err(ProjectError::NoPlace { tried: beside }),
    }
}

/// Whether a file can be made in `dir`: permissions alone do not tell (a full or read-only disk).
fn is_writable(dir: &Path) -> bool {
    let probe = dir.join(format!(".probe-{}", std::process::id()));
    let made = fs::write(&probe, b"").is_ok();
    // A probe that cannot be removed again is empty and hidden.
    drop(fs::remove_file(&probe));
    made
}
