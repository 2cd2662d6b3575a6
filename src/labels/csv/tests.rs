//! Both layouts, in and out, well-formed and not.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::HashMap;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::domain::{ClassId, ClassSet, Label};
use crate::labels::Decision;

const HEADER: &str = "Unnamed: 0,filename,window,lib,Label,LabelStr,Predicted_Label,Manual_Label";

fn class(id: u8) -> Label {
    Label::Class(ClassId(id))
}

fn images() -> ImageKeys {
    ImageKeys::new(["a.png", "b.png", "c.png", "x/d.png", "y/d.png"])
}

fn import(text: impl AsRef<[u8]>) -> Result<Import, CsvError> {
    let classes = ClassSet::challenge();
    import_bytes(Path::new("hand.csv"), text.as_ref(), &images(), &classes)
}

fn changes(text: &str) -> Vec<(String, Label)> {
    let import = import(text).unwrap();
    assert_eq!(import.problems, [], "{text}");
    import.changes
}

fn update(text: &str, decision: impl Fn(&str) -> Decision) -> StudyExport {
    let classes = ClassSet::challenge();
    let path = Path::new("hand.csv");
    update_study(path, text.as_bytes(), &images(), &classes, decision).unwrap()
}

fn text(export: &StudyExport) -> &str {
    std::str::from_utf8(&export.bytes).unwrap()
}

#[test]
fn the_study_file_reads_with_bom_crlf_floats_and_columns_in_any_order() {
    let wanted = [
        ("a.png".to_owned(), class(4)),
        ("c.png".to_owned(), class(6)),
    ];
    let rows = "0,a.png,2003,Die01,5,5_Short circuit MOS,4,4.0\r\n\
                1,b.png,2003,Die01,1,1_Flat loop,4,n.a.\r\n\
                2,c.png,2005,Die04,6,6_Drift,4,6\r\n";
    let study = import(format!("\u{feff}{HEADER}\r\n{rows}")).unwrap();
    assert_eq!(study.layout, Layout::Study);
    assert_eq!(study.changes, wanted);
    assert_eq!((study.skipped_no_label, study.problems.len()), (1, 0));
    let turned = "Manual_Label;extra;filename\n4.0;x;a.png\nn.a.;;b.png\n\n6.0;\"y;z\";c.png";
    assert_eq!(changes(turned), wanted);
}

#[test]
fn the_plain_file_reads_words_names_numbers_and_regular() {
    let text = "Label,note,FILENAME\nBoucle plate,x,a.png\nregular,,sub/b.png\n4.0,,\"c.png\"\n";
    let wanted = [
        ("a.png", class(1)),
        ("b.png", Label::Regular),
        ("c.png", class(4)),
    ];
    assert_eq!(
        changes(text),
        wanted.map(|(image, label)| (image.to_owned(), label))
    );
    assert_eq!(import(text).unwrap().layout, Layout::Plain);
}

#[test]
fn bad_rows_are_reported_with_their_line_and_good_ones_still_read() {
    let text = "filename,label\n\
                nowhere.png,GOOD\n\
                z/d.png,GOOD\n\
                a.png,Gut\n\
                b.png\n\
                b.png,GOOD,more\n\
                c.png,Drift\n\
                c.png,GOOD\n\
                c.png,6\n\
                x/d.png,Missing\n\
                x/d.png,4\n";
    let import = import(text).unwrap();
    assert_eq!(import.changes, [("x/d.png".to_owned(), class(4))]);
    let lines: Vec<u64> = import.problems.iter().map(ImportProblem::line).collect();
    assert_eq!(lines, [2, 3, 4, 5, 6, 8]);
    let said: Vec<String> = import.problems.iter().map(ToString::to_string).collect();
    assert!(
        said[0].contains("nowhere.png is not in this data set"),
        "{said:?}"
    );
    assert!(
        said[1].contains("several images are called z/d.png"),
        "{said:?}"
    );
    assert!(
        said[2].contains("\"Gut\"") && said[2].contains("Boucle plate"),
        "{said:?}"
    );
    assert!(
        said[3].contains("the 2 cells of the first line but 1"),
        "{said:?}"
    );
    assert!(
        said[5].contains("c.png is GOOD here but Drift on line 7"),
        "{said:?}"
    );
}

#[test]
fn files_that_cannot_be_used_say_why() {
    type Case<'a> = (&'a [u8], &'a [&'a str]);
    let cases: [Case<'_>; 11] = [
        (b"", &["empty"]),
        (b"\xef\xbb\xbf\r\n\r\n", &["empty"]),
        (
            b"a.png,GOOD\nb.png,GOOD\n",
            &["no column filename, label", "a.png, GOOD", "Manual_Label"],
        ),
        (
            b"filename,class\na.png,GOOD\n",
            &["no column label", "filename, class"],
        ),
        (b"name,Manual_Label\na.png,4\n", &["no column filename"]),
        (
            b"filename,label\na.png,Boucl\xc3\xa9\n\xe9.png,GOOD\n",
            &["line 3", "Latin-1"],
        ),
        (b"\xff\xfef\0i\0", &["UTF-16"]),
        (b"PK\x03\x04rest", &["spreadsheet"]),
        (b"filename,label\na.png,GO\0OD\n", &["binary"]),
        (
            b"filename,label\na.png,\"GOOD\nb.png,GOOD\n",
            &["line 2", "never closed"],
        ),
        (
            b",filename,window,lib,Label\n0,a.png,2003,Die01,4\n",
            &["submission"],
        ),
    ];
    for (bytes, wanted) in cases {
        let error = import(bytes).unwrap_err().to_string();
        assert!(error.contains("hand.csv"), "{error}");
        for part in wanted {
            assert!(error.contains(part), "{error} lacks {part}");
        }
    }
    let training = ",filename,window,lib,Label\n0,a.png,2003,Die01,GOOD\n";
    assert_eq!(changes(training), [("a.png".to_owned(), class(0))]);
    let lost = super::import(Path::new("no/such.csv"), &images(), &ClassSet::challenge());
    assert!(lost.unwrap_err().to_string().contains("no/such.csv"));
}

#[test]
fn only_hand_labels_that_differ_are_rewritten() {
    let before = format!(
        "\u{feff}{HEADER}\r\n\
         0,a.png,2003,\"Die01\",5,\"5_Short\"\"\",4,4.0\r\n\
         1,b.png,2003,Die01,1,1_Flat loop,4,\"n.a.\"\r\n\
         2,c.png,2005,Die04,6,6_Drift,4, 6\r\n\
         3,x/d.png,2005,Die04,6,6_Drift,4,rubbish"
    );
    let untouched = update(&before, |_| Decision::Untouched);
    assert_eq!(text(&untouched), before);
    assert_eq!(untouched.changed, 0);
    let same = update(&before, |image| match image {
        "a.png" => Decision::Is(class(4)),
        "b.png" => Decision::Cleared,
        "c.png" => Decision::Is(class(6)),
        _ => Decision::Untouched,
    });
    assert_eq!(text(&same), before);

    let new = update(&before, |image| match image {
        "a.png" => Decision::Cleared,
        "b.png" => Decision::Is(class(3)),
        "x/d.png" | "y/d.png" => Decision::Is(class(0)),
        _ => Decision::Is(Label::Regular),
    });
    let after = before
        .replace(",4.0\r", ",n.a.\r")
        .replace("\"n.a.\"", "\"3\"")
        .replace(", 6\r", ",n.a.\r")
        .replace("rubbish", "0");
    assert_eq!(text(&new), after);
    assert_eq!(new.changed, 4);
    let left_out = [
        LeftOut::NoNumber {
            image: "c.png".to_owned(),
        },
        LeftOut::NoRow {
            image: "y/d.png".to_owned(),
        },
    ];
    assert_eq!(new.left_out, left_out);
}

#[test]
fn a_plain_file_is_no_template_and_broken_rows_stay() {
    let classes = ClassSet::challenge();
    let plain = update_study(
        Path::new("hand.csv"),
        b"filename,label\na.png,GOOD\n",
        &images(),
        &classes,
        |_| Decision::Untouched,
    );
    assert!(
        plain
            .unwrap_err()
            .to_string()
            .contains("no column Manual_Label")
    );
    let short = "filename,Manual_Label\na.png\nq.png,1\nb.png,1\n";
    let export = update(short, |_| Decision::Is(class(2)));
    assert_eq!(text(&export), short.replace("b.png,1", "b.png,2"));
    let rows = export
        .left_out
        .iter()
        .filter(|l| matches!(l, LeftOut::Row(_)));
    assert_eq!(rows.count(), 2);
}

#[test]
fn a_study_file_from_nothing_has_its_columns_and_reads_back() {
    let row = |name: &str, predicted| StudyRow {
        filename: name.to_owned(),
        window: "2003".to_owned(),
        lib: "Die01".to_owned(),
        predicted,
    };
    let rows = [
        row("a.png", Some(ClassId(4))),
        row("b.png", None),
        row("c.png", None),
    ];
    let export = export_study(&rows, &ClassSet::challenge(), |image| match image {
        "a.png" => Decision::Is(class(5)),
        "b.png" => Decision::Is(Label::Regular),
        _ => Decision::Untouched,
    });
    let wanted = format!(
        "{HEADER}\n0,a.png,2003,Die01,4,4_Missing,4,5\n\
         1,b.png,2003,Die01,,,,n.a.\n2,c.png,2003,Die01,,,,n.a.\n"
    );
    assert_eq!(text(&export), wanted);
    assert_eq!((export.changed, export.left_out.len()), (1, 1));
    assert_eq!(changes(text(&export)), [("a.png".to_owned(), class(5))]);
}

fn decision() -> impl Strategy<Value = Decision> {
    prop_oneof![
        Just(Decision::Untouched),
        Just(Decision::Cleared),
        (0..7_u8).prop_map(|id| Decision::Is(class(id))),
    ]
}

/// A study file of three images in any of its spellings, and what it says.
fn study_file() -> impl Strategy<Value = (String, Vec<Option<Label>>)> {
    let spelling = prop_oneof![
        Just(("n.a.".to_owned(), None)),
        Just((String::new(), None)),
        (0..7_u8).prop_map(|id| (id.to_string(), Some(class(id)))),
        (0..7_u8).prop_map(|id| (format!("{id}.0"), Some(class(id)))),
        (0..7_u8).prop_map(|id| (format!("\"{id}\""), Some(class(id)))),
    ];
    let order = Just(vec![FILENAME, "lib", MANUAL, "Label"]).prop_shuffle();
    (
        prop::collection::vec((spelling, "[a-z\u{e9} ]{0,3}|\"(,|\n|\"\"){0,3}\""), 3),
        order,
        prop_oneof![Just("\n"), Just("\r\n")],
        prop_oneof![Just(""), Just("\u{feff}")],
        any::<bool>(),
    )
        .prop_map(|(rows, order, end, bom, last_end)| {
            let mut lines = vec![order.join(",")];
            for (name, ((spelt, _), other)) in ["a.png", "b.png", "c.png"].iter().zip(&rows) {
                let cell = |column: &&str| match *column {
                    FILENAME => (*name).to_owned(),
                    MANUAL => spelt.clone(),
                    _ => other.clone(),
                };
                lines.push(order.iter().map(cell).collect::<Vec<_>>().join(","));
            }
            let last = if last_end { end } else { "" };
            let said = rows.into_iter().map(|((_, label), _)| label).collect();
            (format!("{bom}{}{last}", lines.join(end)), said)
        })
}

proptest! {
    #[test]
    fn what_a_study_file_says_is_read_and_written_back_byte_for_byte(
        (before, said) in study_file(),
        decisions in prop::collection::vec(decision(), 3),
    ) {
        let names = ["a.png", "b.png", "c.png"];
        let wanted = |said: &[Option<Label>]| -> Vec<(String, Label)> {
            let pairs = names.iter().zip(said);
            pairs.filter_map(|(name, label)| Some(((*name).to_owned(), (*label)?))).collect()
        };
        prop_assert_eq!(changes(&before), wanted(&said));

        let imported: HashMap<_, _> = changes(&before).into_iter().collect();
        let unchanged = update(&before, |image| {
            imported.get(image).map_or(Decision::Untouched, |label| Decision::Is(*label))
        });
        prop_assert_eq!(text(&unchanged), &before);

        let of = |image: &str| {
            names.iter().position(|name| *name == image).map_or(Decision::Untouched, |i| decisions[i])
        };
        let export = update(&before, of);
        let now: Vec<_> = said.iter().zip(&decisions).map(|(label, decision)| match decision {
            Decision::Untouched => *label,
            Decision::Cleared => None,
            Decision::Is(label) => Some(*label),
        }).collect();
        prop_assert_eq!(changes(text(&export)), wanted(&now));
        prop_assert_eq!(export.changed, now.iter().zip(&said).filter(|(a, b)| a != b).count());
        let back = update(text(&export), |image| {
            let said = names.iter().position(|name| *name == image).and_then(|i| said[i]);
            said.map_or(Decision::Cleared, Decision::Is)
        });
        prop_assert_eq!(changes(text(&back)), wanted(&said));
    }

    #[test]
    fn any_bytes_are_read_or_refused_without_panic(
        head in prop_oneof![Just(""), Just("filename,label\n"), Just("filename;Manual_Label\r\n")],
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        tail in "[a-d.png,;\"\r\n0-7]{0,40}",
    ) {
        for body in [bytes.as_slice(), tail.as_bytes()] {
            let file = [head.as_bytes(), body].concat();
            if let Ok(import) = import(&file) {
                for problem in import.problems {
                    prop_assert!(problem.line() > 1);
                }
            }
        }
    }

    #[test]
    fn plain_labels_read_back(
        labels in prop::collection::btree_map("[a-c\u{e9}, \"]{1,3}\\.png", 0..8_u8, 0..6)
    ) {
        let classes = ClassSet::challenge();
        let labels: Vec<(String, Label)> = labels
            .into_iter()
            .map(|(name, id)| (name, if id == 7 { Label::Regular } else { class(id) }))
            .collect();
        let keys = ImageKeys::new(labels.iter().map(|(name, _)| name.clone()));
        let pairs = labels.iter().map(|(name, label)| (name.as_str(), *label));
        let file = export_plain(pairs, &classes);
        let import = import_bytes(Path::new("plain.csv"), &file, &keys, &classes).unwrap();
        prop_assert_eq!(import.problems, []);
        prop_assert_eq!(import.changes, labels);
    }
}
