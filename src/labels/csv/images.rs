use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// The images of a data set, found by the names that files give them.
#[derive(Clone, Debug, Default)]
pub struct ImageKeys {
    keys: Vec<String>,
    exact: HashMap<String, usize>,
    /// `None` where several images share the base name.
    base: HashMap<String, Option<usize>>,
}

/// Which image a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// This one.
    Key(&'a str),
    /// Several, in different folders.
    Ambiguous,
    /// None.
    Unknown,
}

impl ImageKeys {
    /// From the manifest's file names, which may have folders in them.
    #[must_use]
    pub fn new<S: Into<String>>(keys: impl IntoIterator<Item = S>) -> Self {
        let mut images = Self::default();
        for key in keys {
            let key = key.into();
            let index = images.keys.len();
            if images.exact.insert(key.clone(), index).is_some() {
                continue;
            }
            match images.base.entry(base_name(&key).to_owned()) {
                Entry::Vacant(free) => {
                    free.insert(Some(index));
                }
                Entry::Occupied(mut taken) => {
                    taken.insert(None);
                }
            }
            images.keys.push(key);
        }
        images
    }

    /// The image with exactly this name, else the only one whose name without folders is the same.
    #[must_use]
    pub fn find(&self, name: &str) -> Found<'_> {
        // A name may really begin with a space, but most spaces are a spreadsheet's.
        for name in [name, name.trim()] {
            if let Some(&index) = self.exact.get(name) {
                return Found::Key(&self.keys[index]);
            }
        }
        match self.base.get(base_name(name.trim())) {
            Some(Some(index)) => Found::Key(&self.keys[*index]),
            Some(None) => Found::Ambiguous,
            None => Found::Unknown,
        }
    }

    /// All keys, in the manifest's order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(String::as_str)
    }
}

/// What follows the last separator of either kind: files come from Windows, too.
fn base_name(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_names_win_over_base_names_and_doubtful_ones_are_left_open() {
        let images = ImageKeys::new(["x/a.png", "y/a.png", "a.png", "y/b.png", "y/b.png"]);
        assert_eq!(images.find(" a.png"), Found::Key("a.png"));
        assert_eq!(images.find("y/a.png"), Found::Key("y/a.png"));
        assert_eq!(images.find("z/a.png"), Found::Ambiguous);
        assert_eq!(images.find(r"C:\data\b.png"), Found::Key("y/b.png"));
        assert_eq!(images.find("c.png"), Found::Unknown);
        assert_eq!(images.iter().count(), 4);
    }
}
