//! Which key does what: the table's defaults, and what the settings file says otherwise.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use egui::{Event, Key};
use serde::{Deserialize, Serialize};

use super::command::{Action, View};

/// A key with its modifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shortcut {
    /// Ctrl; Cmd on a Mac.
    pub ctrl: bool,
    /// Shift. Not asked for with `?`, which many keyboards only have with it.
    pub shift: bool,
    /// Alt.
    pub alt: bool,
    /// The key.
    pub key: Key,
}

impl Shortcut {
    /// The key alone.
    #[must_use]
    pub const fn plain(key: Key) -> Self {
        Self {
            ctrl: false,
            shift: false,
            alt: false,
            key,
        }
    }

    /// With Ctrl.
    #[must_use]
    pub const fn ctrl(key: Key) -> Self {
        Self {
            ctrl: true,
            ..Self::plain(key)
        }
    }

    /// With Ctrl and Shift.
    #[must_use]
    pub const fn ctrl_shift(key: Key) -> Self {
        Self {
            shift: true,
            ..Self::ctrl(key)
        }
    }

    /// Whether `event` presses it. On keyboards whose digits need Shift (French ones), the digit keys
    /// count without it.
    #[must_use]
    pub fn pressed_by(&self, event: &Event) -> bool {
        let Event::Key {
            key,
            physical_key,
            pressed: true,
            modifiers,
            ..
        } = event
        else {
            return false;
        };
        let digit = is_digit(self.key) && *physical_key == Some(self.key) && !is_digit(*key);
        let same_key = *key == self.key || digit;
        let shift = self.key == Key::Questionmark || modifiers.shift == self.shift;
        same_key && shift && modifiers.command == self.ctrl && modifiers.alt == self.alt
    }
}

fn is_digit(key: Key) -> bool {
    (Key::Num0..=Key::Num9).contains(&key)
}

impl fmt::Display for Shortcut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (held, name) in [
            (self.ctrl, "Ctrl"),
            (self.shift, "Shift"),
            (self.alt, "Alt"),
        ] {
            if held {
                write!(f, "{name}+")?;
            }
        }
        f.write_str(match self.key {
            Key::ArrowLeft => "←",
            Key::ArrowRight => "→",
            Key::ArrowUp => "↑",
            Key::ArrowDown => "↓",
            Key::Escape => "Esc",
            Key::Questionmark => "?",
            Key::Plus => "+",
            Key::Minus => "-",
            Key::Equals => "=",
            other => other.name(),
        })
    }
}

/// A text that names no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no key; write one like \"Ctrl+Shift+Z\", \"Space\" or \"5\"")]
pub struct UnknownKey(String);

impl FromStr for Shortcut {
    type Err = UnknownKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownKey(text.to_owned());
        let mut shortcut = Self::plain(Key::Space);
        let mut rest = text.trim();
        // The key itself may be `+`.
        while let Some((word, tail)) = rest.split_once('+').filter(|(word, _)| !word.is_empty()) {
            match word.trim().to_lowercase().as_str() {
                "ctrl" | "cmd" => shortcut.ctrl = true,
                "shift" => shortcut.shift = true,
                "alt" => shortcut.alt = true,
                _ => return Err(unknown()),
            }
            rest = tail.trim();
        }
        shortcut.key = match rest {
            "←" => Key::ArrowLeft,
            "→" => Key::ArrowRight,
            "↑" => Key::ArrowUp,
            "↓" => Key::ArrowDown,
            "Esc" => Key::Escape,
            _ => Key::from_name(rest)
                .or_else(|| {
                    Key::ALL
                        .iter()
                        .copied()
                        .find(|key| key.name().eq_ignore_ascii_case(rest))
                })
                .ok_or_else(unknown)?,
        };
        Ok(shortcut)
    }
}

/// One key or several, as the settings file has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Keys {
    /// `undo = "Backspace"`
    One(String),
    /// `undo = ["Backspace", "Ctrl+Z"]`; none at all unbinds the action.
    Many(Vec<String>),
}

/// The keys of every action.
#[derive(Clone, Debug)]
pub struct Keymap(Vec<(Action, Vec<Shortcut>)>);

impl Default for Keymap {
    fn default() -> Self {
        Self(
            Action::TABLE
                .iter()
                .map(|row| (row.action, row.keys.to_vec()))
                .collect(),
        )
    }
}

impl Keymap {
    /// The defaults with the settings' changes, and a sentence for each change that was not understood
    /// or that takes a key from another action.
    #[must_use]
    pub fn with(changes: &BTreeMap<String, Keys>) -> (Self, Vec<String>) {
        let mut map = Self::default();
        let mut notices = Vec::new();
        for (id, keys) in changes {
            let Some(row) = Action::TABLE.iter().find(|row| row.id == id) else {
                notices.push(format!(
                    "The settings bind keys to {id:?}, which is no command; the ? sheet lists them."
                ));
                continue;
            };
            let texts = match keys {
                Keys::One(text) => std::slice::from_ref(text),
                Keys::Many(texts) => texts,
            };
            let parsed: Result<Vec<Shortcut>, _> = texts.iter().map(|t| t.parse()).collect();
            match parsed {
                Ok(shortcuts) => {
                    for (other, theirs) in &mut map.0 {
                        let clash = *other != row.action && other.row().scope.overlaps(row.scope);
                        if clash && theirs.iter().any(|key| shortcuts.contains(key)) {
                            theirs.retain(|key| !shortcuts.contains(key));
                            notices.push(format!(
                                "{} now means \"{}\" and no longer \"{}\", as the settings say.",
                                texts.join(", "),
                                row.text,
                                other.row().text
                            ));
                        }
                    }
                    for (action, theirs) in &mut map.0 {
                        if *action == row.action {
                            theirs.clone_from(&shortcuts);
                        }
                    }
                }
                Err(error) => notices.push(format!("In the settings, under {id:?}: {error}.")),
            }
        }
        (map, notices)
    }

    /// The keys of an action.
    #[must_use]
    pub fn of(&self, action: Action) -> &[Shortcut] {
        self.0
            .iter()
            .find(|(a, _)| *a == action)
            .map_or(&[], |(_, keys)| keys)
    }

    /// Its first key as text, if it has one.
    #[must_use]
    pub fn text(&self, action: Action) -> Option<String> {
        self.of(action).first().map(ToString::to_string)
    }

    /// What `event` asks for in `view`.
    #[must_use]
    pub fn action(&self, event: &Event, view: View) -> Option<Action> {
        self.0
            .iter()
            .filter(|(action, _)| action.row().scope.covers(view))
            .find(|(_, keys)| keys.iter().any(|key| key.pressed_by(event)))
            .map(|(action, _)| *action)
    }
}

#[cfg(test)]
mod tests {
    use egui::Modifiers;

    use super::*;

    fn press(key: Key, physical: Key, modifiers: Modifiers) -> Event {
        Event::Key {
            key,
            physical_key: Some(physical),
            pressed: true,
            repeat: false,
            modifiers,
        }
    }

    #[test]
    fn every_default_survives_being_written_and_read() {
        for row in Action::TABLE {
            for key in row.keys {
                assert_eq!(key.to_string().parse(), Ok(*key), "{key}");
            }
        }
        for bad in ["", "Ctrl+", "Hyper+Z", "Ctrl+Zz"] {
            assert!(bad.parse::<Shortcut>().is_err(), "{bad}");
        }
    }

    #[test]
    fn modifiers_are_told_apart() {
        let map = Keymap::default();
        let z = |modifiers| map.action(&press(Key::Z, Key::Z, modifiers), View::Label);
        let both = Modifiers::COMMAND | Modifiers::SHIFT;
        assert_eq!(z(Modifiers::NONE), Some(Action::ToggleZoom));
        assert_eq!(z(Modifiers::COMMAND), Some(Action::Undo));
        assert_eq!(z(both), Some(Action::Redo));
        let enter = press(Key::Enter, Key::Enter, Modifiers::NONE);
        assert_eq!(map.action(&enter, View::Label), Some(Action::Accept));
        assert_eq!(map.action(&enter, View::Train), None);
    }

    #[test]
    fn digits_work_on_a_french_keyboard_and_the_question_mark_with_shift() {
        let map = Keymap::default();
        let six = press(Key::Minus, Key::Num6, Modifiers::NONE);
        assert_eq!(map.action(&six, View::Label), Some(Action::Class6));
        let help = press(Key::Questionmark, Key::Slash, Modifiers::SHIFT);
        assert_eq!(map.action(&help, View::Label), Some(Action::Help));
    }

    #[test]
    fn settings_move_a_key_and_mistakes_are_named() {
        let changes = BTreeMap::from([
            ("skip".to_owned(), Keys::One("F".to_owned())),
            ("undoo".to_owned(), Keys::One("U".to_owned())),
            ("redo".to_owned(), Keys::Many(vec!["Ctrl+Nope".to_owned()])),
        ]);
        let (map, notices) = Keymap::with(&changes);
        let f = press(Key::F, Key::F, Modifiers::NONE);
        assert_eq!(map.action(&f, View::Label), Some(Action::Skip));
        assert_eq!(map.of(Action::Redo), Action::Redo.row().keys);
        assert_eq!(notices.len(), 3, "{notices:?}");
    }
}
