//! What the window remembers from one start to the next, in `settings.toml` of the user's
//! configuration folder. Nothing depends on it: a file that cannot be read or written costs a notice.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use directories::ProjectDirs;
use serde::{Deserialize, Serialize};

use super::keymap::Keys;
use super::theme::Theme;

/// Data sets on the start screen.
const RECENT: usize = 8;

/// The file's content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Dark or light.
    pub theme: Theme,
    /// Side of a gallery tile in points.
    pub tile: f32,
    /// Whether the inspector is shown.
    pub inspector: bool,
    /// Whether the Label view shows the model's suggestion.
    pub suggestion: bool,
    /// Data sets opened last, the latest first.
    pub recent: Vec<PathBuf>,
    /// Keys that differ from the defaults, by the command's name.
    pub keys: BTreeMap<String, Keys>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            theme: Theme::default(),
            tile: 112.0,
            inspector: true,
            suggestion: true,
            recent: Vec::new(),
            keys: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Where the file lies; `None` where the system names no such folder.
    #[must_use]
    pub fn default_path() -> Option<PathBuf> {
        ProjectDirs::from("", "", "driftscope").map(|dirs| dirs.config_dir().join("settings.toml"))
    }

    /// Reads the file. One that is missing means defaults; one that is not understood too, with a
    /// sentence.
    #[must_use]
    pub fn load(path: &Path) -> (Self, Option<String>) {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return (Self::default(), None);
            }
            Err(error) => {
                let notice = format!("The settings cannot be read ({error}): {}", path.display());
                return (Self::default(), Some(notice));
            }
        };
        match toml::from_str::<Self>(&text) {
            Ok(mut settings) => {
                settings.tile = if settings.tile.is_finite() {
                    settings.tile.clamp(48.0, 320.0)
                } else {
                    Self::default().tile
                };
                (settings, None)
            }
            Err(error) => {
                let notice = format!(
                    "The settings are not understood, so the defaults are used ({}): {}",
                    error.message(),
                    path.display()
                );
                (Self::default(), Some(notice))
            }
        }
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let text = toml::to_string(self).map_err(io::Error::other)?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let beside = path.with_extension("toml.new");
        fs::write(&beside, text)?;
        fs::rename(&beside, path)
    }

    /// Puts a data set in front of the recent ones.
    pub fn remember(&mut self, path: &Path) {
        self.recent.retain(|known| known != path);
        self.recent.insert(0, path.to_owned());
        self.recent.truncate(RECENT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_a_round_trip() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep").join("settings.toml");
        let mut settings = Settings {
            theme: Theme::Light,
            tile: 64.0,
            ..Settings::default()
        };
        settings.remember(Path::new("/a"));
        settings.remember(Path::new("/b"));
        settings.remember(Path::new("/a"));
        settings
            .keys
            .insert("skip".to_owned(), Keys::One("N".to_owned()));
        settings.save(&path).expect("saved");
        assert_eq!(Settings::load(&path), (settings.clone(), None));
        assert_eq!(settings.recent, [Path::new("/a"), Path::new("/b")]);
    }

    #[test]
    fn nonsense_means_defaults_and_a_sentence() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("settings.toml");
        assert_eq!(Settings::load(&path), (Settings::default(), None));
        for text in ["theme = 7", "[[[", "keys = 3"] {
            fs::write(&path, text).expect("written");
            let (settings, notice) = Settings::load(&path);
            assert_eq!(settings, Settings::default());
            assert!(notice.is_some_and(|n| n.contains("settings.toml")));
        }
        fs::write(&path, "tile = nan\nunknown = 1").expect("written");
        assert_eq!(Settings::load(&path), (Settings::default(), None));
    }
}
