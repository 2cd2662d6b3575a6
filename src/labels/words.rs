//! How a label is spelled in files.

use crate::domain::{ClassSet, Label, UnknownClass};

/// What stands for "no label" in CSV files; `n.a.` is the study's.
const NO_LABEL: [&str; 7] = ["", "n.a.", "n.a", "n/a", "na", "nan", "none"];

/// The word for [`Label::Regular`]: one that no class of the set answers to.
pub(super) fn regular_word(classes: &ClassSet) -> &'static str {
    if classes.parse("regular").is_ok() {
        "regular, class left open"
    } else {
        "regular"
    }
}

/// The label's word: the class's own, or [`regular_word`].
pub(super) fn word(label: Label, classes: &ClassSet) -> &str {
    match label {
        Label::Class(class) => classes.label(class),
        Label::Regular => regular_word(classes),
    }
}

/// Reads back what [`word`] wrote. Exact, because a word kept from an earlier class set must not be
/// mistaken for a class (`3` for class number 3, say).
pub(super) fn from_word(text: &str, classes: &ClassSet) -> Option<Label> {
    let class = classes.iter().find(|(_, info)| info.label == text);
    match class {
        Some((id, _)) => Some(Label::Class(id)),
        None => (text == regular_word(classes)).then_some(Label::Regular),
    }
}

/// Reads a label as people write it in CSV files; `None` where the cell says that there is none.
pub(super) fn parse(text: &str, classes: &ClassSet) -> Result<Option<Label>, UnknownClass> {
    let text = text.trim();
    if let Some(label) = from_word(text, classes) {
        return Ok(Some(label));
    }
    match classes.parse(text) {
        Ok(class) => Ok(Some(Label::Class(class))),
        Err(_) if text.eq_ignore_ascii_case(regular_word(classes)) => Ok(Some(Label::Regular)),
        Err(_) if NO_LABEL.contains(&text.to_lowercase().as_str()) => Ok(None),
        Err(unknown) => Err(unknown),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::domain::ClassId;

    #[test]
    fn every_label_reads_back_from_its_word_in_any_class_set() {
        for classes in [
            ClassSet::challenge(),
            ClassSet::from_labels(["regular", "Regular", "3", "1", "n.a."]),
        ] {
            for class in 0..classes.len() {
                let label = Label::Class(ClassId::from(class));
                assert_eq!(from_word(word(label, &classes), &classes), Some(label));
                assert_eq!(parse(word(label, &classes), &classes).unwrap(), Some(label));
            }
            let regular = word(Label::Regular, &classes);
            assert_eq!(from_word(regular, &classes), Some(Label::Regular));
            assert_eq!(parse(regular, &classes).unwrap(), Some(Label::Regular));
        }
    }

    #[test]
    fn a_stored_number_word_is_never_taken_for_a_class_number() {
        assert_eq!(from_word("3", &ClassSet::challenge()), None);
        assert_eq!(
            parse("3", &ClassSet::challenge()).unwrap(),
            Some(Label::Class(ClassId(3)))
        );
    }

    #[test]
    fn missing_labels_are_no_error_and_unknown_ones_are() {
        let classes = ClassSet::challenge();
        for text in ["", " ", "n.a.", "N.A.", "nan"] {
            assert_eq!(parse(text, &classes), Ok(None), "{text}");
        }
        assert!(parse("Gut", &classes).is_err());
    }
}
