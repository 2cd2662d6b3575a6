//! Wording shared by the sentences of this module.

use std::cmp::Ordering;

/// `1770, "image"` -> `1,770 images`; `1, "image"` -> `1 image`.
pub(super) fn count(n: usize, noun: &str) -> String {
    let plural = match noun.strip_suffix('s') {
        _ if n == 1 => noun.to_owned(),
        Some(stem) if noun.ends_with("ss") => format!("{stem}ses"),
        _ => format!("{noun}s"),
    };
    format!("{} {plural}", thousands(n))
}

/// `8278` -> `8,278`.
pub(super) fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A cell or file name in quotes, escaped and cut to a length that fits a sentence.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 100;
    let mut out = String::from("\"");
    for (i, c) in text.chars().enumerate() {
        if i == LONGEST {
            out.push('…');
            break;
        }
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out.push('"');
    out
}

/// The first few of many words in quotes: `"a", "b" and 7 more`.
pub(super) fn few<S: AsRef<str>>(words: &[S], most: usize) -> String {
    let shown: Vec<String> = words
        .iter()
        .take(most)
        .map(|w| quoted(w.as_ref()))
        .collect();
    let rest = words.len() - shown.len();
    match (shown.split_last(), rest) {
        (None, _) => String::new(),
        (Some(_), 1..) => format!("{} and {} more", shown.join(", "), thousands(rest)),
        (Some((last, [])), 0) => last.clone(),
        (Some((last, start)), 0) => format!("{} and {last}", start.join(", ")),
    }
}

/// The order in which people count: `a_2.png` before `a_10.png`. Equal only for equal names.
pub(super) fn natural_cmp(a: &str, b: &str) -> Ordering {
    let (mut x, mut y) = (a.as_bytes(), b.as_bytes());
    loop {
        let (Some(&p), Some(&q)) = (x.first(), y.first()) else {
            return x.len().cmp(&y.len()).then_with(|| a.cmp(b));
        };
        if p.is_ascii_digit() && q.is_ascii_digit() {
            let (m, n) = (number(x), number(y));
            let order = m.len().cmp(&n.len()).then_with(|| m.cmp(n));
            if order.is_ne() {
                return order;
            }
            x = after_number(x);
            y = after_number(y);
        } else if p == q {
            x = &x[1..];
            y = &y[1..];
        } else {
            return p.cmp(&q);
        }
    }
}

fn after_number(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|b| !b.is_ascii_digit());
    &text[end.unwrap_or(text.len())..]
}

/// The leading digits without leading zeros.
fn number(text: &[u8]) -> &[u8] {
    let digits = &text[..text.len() - after_number(text).len()];
    let zeros = digits.iter().take_while(|b| **b == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_and_names_read_well() {
        assert_eq!(count(0, "image"), "0 images");
        assert_eq!(count(1, "class"), "1 class");
        assert_eq!(count(6, "class"), "6 classes");
        assert_eq!(count(1_234_567, "row"), "1,234,567 rows");
        assert_eq!(quoted("Bouclé\n"), "\"Bouclé\\n\"");
        assert!(quoted(&"x".repeat(5_000)).len() < 120);
        assert_eq!(few(&["a"], 3), "\"a\"");
        assert_eq!(few(&["a", "b"], 3), "\"a\" and \"b\"");
        assert_eq!(few(&["a", "b", "c"], 2), "\"a\", \"b\" and 1 more");
    }

    #[test]
    fn names_sort_as_people_count() {
        let mut names = [
            "a_10.png",
            "a_2.png",
            "a_02.png",
            "A_1.png",
            "a_1/b.png",
            "a_1.png",
        ];
        names.sort_by(|a, b| natural_cmp(a, b));
        assert_eq!(
            names,
            [
                "A_1.png",
                "a_1.png",
                "a_1/b.png",
                "a_02.png",
                "a_2.png",
                "a_10.png"
            ]
        );
    }

    proptest! {
        #[test]
        fn natural_order_is_a_total_order(mut names in prop::collection::vec("[a0-2_]{0,5}", 3)) {
            names.sort_by(|a, b| natural_cmp(a, b));
            prop_assert!(natural_cmp(&names[0], &names[2]).is_le());
            prop_assert_eq!(natural_cmp(&names[0], &names[1]).reverse(), natural_cmp(&names[1], &names[0]));
            prop_assert_eq!(natural_cmp(&names[0], &names[1]).is_eq(), names[0] == names[1]);
        }
    }
}
