//! From the words in files to classes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::manifest::ImageEntry;
use super::problem::{Problem, ProblemKind};
use super::table::Listed;
use super::text::quoted;
use crate::domain::{ClassId, ClassSet, UnknownClass};

/// Whether a cell says that nobody has said anything.
pub(super) fn is_unlabelled(word: &str) -> bool {
    matches!(
        word.trim().to_ascii_lowercase().as_str(),
        "" | "n.a." | "n.a" | "n/a" | "na" | "nan" | "null" | "<na>"
    )
}

/// What makes two spellings one word: case, outer space and `.0` do not matter.
pub(super) fn fold(word: &str) -> String {
    let word = word.trim();
    match word.split_once('.') {
        Some((whole, zeros)) if is_number(whole) && zeros.bytes().all(|b| b == b'0') => {
            whole.to_owned()
        }
        _ => word.to_lowercase(),
    }
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit())
}

/// The class set of a data set, and how to read its words.
pub(super) struct ClassWords {
    pub(super) classes: ClassSet,
    /// By folded word. Empty for the challenge, whose words are known.
    ids: HashMap<String, ClassId>,
}

impl ClassWords {
    /// The challenge's classes: its words and its integers.
    pub(super) fn challenge() -> Self {
        Self {
            classes: ClassSet::challenge(),
            ids: HashMap::new(),
        }
    }

    /// The classes that these words name: the challenge's if all of them are words of the challenge
    /// (numbers are not), else one class per word, sorted. Unlabelled words are passed over. Of
    /// several spellings of a word, the most frequent one names the class.
    ///
    /// # Errors
    /// The number of classes, where a class set cannot hold so many.
    pub(super) fn from_words<'a>(words: impl Iterator<Item = &'a str>) -> Result<Self, usize> {
        let mut spellings: BTreeMap<String, BTreeMap<&str, usize>> = BTreeMap::new();
        for word in words.filter(|w| !is_unlabelled(w)) {
            *spellings
                .entry(fold(word))
                .or_default()
                .entry(word.trim())
                .or_default() += 1;
        }
        if spellings.len() > 255 {
            return Err(spellings.len());
        }
        let challenge = ClassSet::challenge();
        let known = |word: &String| !is_number(word) && challenge.parse(word).is_ok();
        if !spellings.is_empty() && spellings.keys().all(known) {
            return Ok(Self::challenge());
        }
        let mut named: Vec<(String, String)> = spellings
            .into_iter()
            .map(|(folded, counts)| {
                let most = counts.values().copied().max().unwrap_or(0);
                let spelling = counts.iter().find(|(_, n)| **n == most).map(|(s, _)| *s);
                let name = match spelling {
                    Some(word) if !is_number(&folded) => word.to_owned(),
                    _ => folded.clone(),
                };
                (name, folded)
            })
            .collect();
        if named.iter().all(|(name, _)| is_number(name)) {
            named.sort_by_key(|(name, _)| (name.trim_start_matches('0').len(), name.clone()));
        } else {
            named.sort();
        }
        let classes = ClassSet::from_labels(named.iter().map(|(name, _)| name));
        let regular: BTreeSet<&str> = named
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| !means_drift(name))
            .collect();
        if regular.len() > classes.regular_len() {
            return Err(regular.len());
        }
        let ids = named
            .iter()
            .map(|(name, folded)| {
                let id = classes.iter().find(|(_, info)| info.label == *name);
                (folded.clone(), id.map_or(classes.drift(), |(id, _)| id))
            })
            .collect();
        Ok(Self { classes, ids })
    }

    /// Reads a word; `None` for an unlabelled one.
    pub(super) fn read(&self, word: &str) -> Option<Result<ClassId, UnknownClass>> {
        if is_unlabelled(word) {
            return None;
        }
        match self.ids.get(&fold(word)) {
            Some(id) => Some(Ok(*id)),
            None => Some(self.classes.parse(word)),
        }
    }
}

/// An image and what its word makes of it: regular classes are learnt from, the rest is incoming.
pub(super) fn labelled_entry(
    words: &ClassWords,
    image: Listed,
    problems: &mut Vec<Problem>,
) -> ImageEntry {
    let label = match words.read(&image.word) {
        None => None,
        Some(Ok(class)) => Some(class),
        Some(Err(unknown)) => {
            let sentence = format!(
                "{} (line {}): {unknown}; the image is kept without a label",
                quoted(&image.key),
                image.line
            );
            problems.push(
                Problem::new(ProblemKind::UnknownLabel, image.key.as_str(), sentence)
                    .at_line(image.line),
            );
            None
        }
    };
    ImageEntry {
        incoming: label.is_none_or(|class| class == words.classes.drift()),
        key: image.key,
        path: image.path,
        label,
        values: image.values,
    }
}

/// Whether a class set would take this word for its drift class.
fn means_drift(word: &str) -> bool {
    ClassSet::from_labels([word]).regular_len() == 0
}

/// A warning for each regular class with one or two images: perhaps misspelled, surely too rare.
pub(super) fn rare_labels(classes: &ClassSet, images: &[ImageEntry]) -> Vec<Problem> {
    let mut seen: Vec<(usize, Option<&str>)> = vec![(0, None); classes.len()];
    for image in images {
        if let Some(class) = image.label {
            let (n, first) = &mut seen[class.index()];
            *n += 1;
            first.get_or_insert(&image.key);
        }
    }
    seen.iter()
        .zip(classes.iter())
        .filter(|(_, (class, _))| *class != classes.drift())
        .filter_map(|((n, first), (_, info))| {
            let first = (*first)?;
            let sentence = format!(
                "{} labelled {} ({}): is it misspelled? A class needs at least 3 to be trained and tested",
                if *n == 1 { "only 1 image is" } else { "only 2 images are" },
                quoted(&info.label),
                quoted(first),
            );
            (*n < 3).then(|| Problem::new(ProblemKind::RareLabel, first, sentence))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn read(words: &ClassWords, word: &str) -> String {
        let id = words.read(word).unwrap().unwrap();
        words.classes.label(id).to_owned()
    }

    #[test]
    fn words_of_the_challenge_make_its_class_set() {
        let words = ["GOOD", "n.a.", "Boucle plate", "6_Drift"];
        let words = ClassWords::from_words(words.into_iter()).unwrap();
        assert!(words.classes.is_challenge());
        assert_eq!(read(&words, "drift"), "Drift");
        assert_eq!(words.read(" n.a. "), None);
        assert!(words.read("Bogus").unwrap().is_err());
    }

    #[test]
    fn other_words_make_their_own() {
        let words = ["scratch", "Scratch", "Scratch ", "b_ok", "6_drift", "DRIFT"];
        let words = ClassWords::from_words(words.into_iter()).unwrap();
        assert_eq!(words.classes.names(), ["Scratch", "b ok", "Drift"]);
        assert_eq!(read(&words, "SCRATCH"), "Scratch");
        assert_eq!(words.read("drift").unwrap(), Ok(words.classes.drift()));
        assert_eq!(words.read("6_DRIFT").unwrap(), Ok(words.classes.drift()));
    }

    #[test]
    fn numbers_are_words_of_their_own_in_order() {
        let words = ClassWords::from_words(["10", "2", "2.0", "4.0"].into_iter()).unwrap();
        assert_eq!(words.classes.names(), ["2", "4", "10", "Drift"]);
        assert_eq!(read(&words, "4.0"), "4");
        assert_eq!(read(&words, "10"), "10");
    }

    #[test]
    fn a_word_with_a_leading_number_is_not_mixed_up_with_the_bare_one() {
        let words = ClassWords::from_words(["1_a", "a", "2_a"].into_iter()).unwrap();
        for word in ["1_a", "a", "2_a"] {
            assert_eq!(read(&words, word), word);
        }
    }

    #[test]
    fn too_many_words_are_refused() {
        let words: Vec<String> = (0..254).map(|i| format!("class {i}")).collect();
        let most = ClassWords::from_words(words.iter().map(String::as_str)).unwrap();
        assert_eq!(most.classes.regular_len(), 254);
        let more = words.iter().map(String::as_str).chain(["another"]);
        assert_eq!(ClassWords::from_words(more).err(), Some(255));
    }

    #[test]
    fn no_words_leave_drift_alone() {
        let words = ClassWords::from_words(["", "n.a."].into_iter()).unwrap();
        assert_eq!(words.classes.names(), ["Drift"]);
    }
}
