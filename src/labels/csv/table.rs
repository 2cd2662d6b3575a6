//! A CSV file as cells that still know where they stand, so that single cells can be rewritten without
//! touching another byte. The csv crate reads values and forgets their places; a test holds this
//! reader to it.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use super::error::CsvError;

const BOM: &str = "\u{feff}";

pub(super) struct Table<'a> {
    text: &'a str,
    pub header: Vec<String>,
    pub rows: Vec<Row>,
}

pub(super) struct Row {
    /// Counted from 1, as editors do; the header stands on line 1.
    pub line: u64,
    /// Places in the file, quotes included.
    pub cells: Vec<Range<usize>>,
}

impl<'a> Table<'a> {
    /// Comma, semicolon or tab: whichever separates most of the first line.
    pub fn read(path: &Path, bytes: &'a [u8]) -> Result<Self, CsvError> {
        let path = path.to_owned();
        if let Some(found) = other_kind(bytes) {
            return Err(CsvError::NotCsv { path, found });
        }
        let text = std::str::from_utf8(bytes).map_err(|error| CsvError::NotUtf8 {
            path: path.clone(),
            line: 1 + lines_in(&bytes[..error.valid_up_to()]),
        })?;
        let start = if text.starts_with(BOM) { BOM.len() } else { 0 };
        let delimiter = delimiter(&text[start..]);
        let mut rows = rows(text, start, delimiter).map_err(|line| CsvError::OpenQuote {
            path: path.clone(),
            line,
        })?;
        if rows.is_empty() {
            return Err(CsvError::Empty { path });
        }
        let first = rows.remove(0);
        let header = first
            .cells
            .into_iter()
            .map(|cell| unquote(&text[cell]).trim().to_owned())
            .collect();
        Ok(Self { text, header, rows })
    }

    /// Where the column of this name stands; case does not matter.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.header
            .iter()
            .position(|column| column.eq_ignore_ascii_case(name))
    }

    /// A cell's value; `None` where the row is too short.
    pub fn value(&self, row: &Row, column: usize) -> Option<Cow<'a, str>> {
        let place = row.cells.get(column)?.clone();
        Some(unquote(&self.text[place]))
    }

    /// A cell as it stands in the file.
    pub fn raw(&self, place: &Range<usize>) -> &'a str {
        &self.text[place.clone()]
    }
}

fn other_kind(bytes: &[u8]) -> Option<&'static str> {
    const KINDS: [(&[u8], &str); 5] = [
        (b"\xff\xfe", "UTF-16 text"),
        (b"\xfe\xff", "UTF-16 text"),
        (b"PK\x03\x04", "a spreadsheet or zip file"),
        (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
        (b"\x89PNG", "a picture"),
    ];
    let kind = KINDS.iter().find(|(start, _)| bytes.starts_with(start));
    match kind {
        Some((_, found)) => Some(found),
        None => bytes.contains(&0).then_some("a binary file"),
    }
}

/// Line breaks of all three kinds, each counted once.
fn lines_in(bytes: &[u8]) -> u64 {
    let breaks = bytes
        .iter()
        .enumerate()
        .filter(|(i, b)| **b == b'\n' || (**b == b'\r' && bytes.get(i + 1) != Some(&b'\n')));
    breaks.count() as u64
}

fn delimiter(text: &str) -> u8 {
    let line = text
        .trim_start_matches(['\r', '\n'])
        .split(['\r', '\n'])
        .next()
        .unwrap_or_default();
    let mut best = (b',', 0);
    for candidate in [b',', b';', b'\t'] {
        let mut quoted = false;
        let mut count = 0;
        for byte in line.bytes() {
            quoted ^= byte == b'"';
            count += usize::from(byte == candidate && !quoted);
        }
        if count > best.1 {
            best = (candidate, count);
        }
    }
    best.0
}

/// The rows that are not blank; the line of a quote that never closes as the error.
fn rows(text: &str, start: usize, delimiter: u8) -> Result<Vec<Row>, u64> {
    let bytes = text.as_bytes();
    let mut rows = Vec::new();
    let mut at = start;
    let mut line = 1;
    while at < bytes.len() {
        let mut row = Row {
            line,
            cells: Vec::new(),
        };
        loop {
            let end = cell_end(bytes, at, delimiter).ok_or(line)?;
            line += lines_in(&bytes[at..end]);
            row.cells.push(at..end);
            at = end;
            if bytes.get(at) != Some(&delimiter) {
                break;
            }
            at += 1;
        }
        if at < bytes.len() {
            at += if bytes[at..].starts_with(b"\r\n") {
                2
            } else {
                1
            };
            line += 1;
        }
        if row.cells.len() > 1 || !row.cells[0].is_empty() {
            rows.push(row);
        }
    }
    Ok(rows)
}

/// Where the cell that starts at `at` ends; `None` where its quote stays open.
fn cell_end(bytes: &[u8], mut at: usize, delimiter: u8) -> Option<usize> {
    if bytes.get(at) == Some(&b'"') {
        at += 1;
        // A doubled quote closes and opens again, which comes to the same.
        loop {
            at += bytes[at..].iter().position(|b| *b == b'"')? + 1;
            if bytes.get(at) != Some(&b'"') {
                break;
            }
            at += 1;
        }
    }
    let rest = bytes[at..]
        .iter()
        .position(|b| *b == delimiter || *b == b'\r' || *b == b'\n');
    Some(rest.map_or(bytes.len(), |n| at + n))
}

fn unquote(raw: &str) -> Cow<'_, str> {
    let Some(inner) = raw.strip_prefix('"') else {
        return Cow::Borrowed(raw);
    };
    let mut value = String::with_capacity(inner.len());
    let mut quotes = inner.split("\"\"").peekable();
    while let Some(part) = quotes.next() {
        match part.split_once('"') {
            // The closing quote; what follows it is taken as it is.
            Some((part, after)) => {
                value.push_str(part);
                value.push_str(after);
                for rest in quotes.by_ref() {
                    value.push_str("\"\"");
                    value.push_str(rest);
                }
            }
            None => {
                value.push_str(part);
                if quotes.peek().is_some() {
                    value.push('"');
                }
            }
        }
    }
    Cow::Owned(value)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<Vec<String>>, u64> {
        let rows = rows(text, 0, b',')?;
        let value = |cell: &Range<usize>| unquote(&text[cell.clone()]).into_owned();
        Ok(rows
            .iter()
            .map(|row| row.cells.iter().map(value).collect())
            .collect())
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_the_csv_crate_reads(text in "[ab\", \r\n]{0,24}") {
            let Ok(ours) = read(&text) else {
                return Ok(());
            };
            let mut reader = csv::ReaderBuilder::new()
                .has_headers(false)
                .flexible(true)
                .from_reader(text.as_bytes());
            let theirs: Vec<Vec<String>> = reader
                .records()
                .map(|record| record.unwrap().iter().map(str::to_owned).collect())
                .collect();
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn lines_are_counted_as_an_editor_does() {
        let text = "a,b\r\n\r\n\"x\ny\",1\rz,2\n";
        let lines: Vec<_> = rows(text, 0, b',')
            .unwrap()
            .iter()
            .map(|r| r.line)
            .collect();
        assert_eq!(lines, [1, 3, 5]);
        assert_eq!(rows("a,b\n\"x,1\ny,2\n", 0, b',').err(), Some(2));
    }

    #[test]
    fn the_delimiter_is_the_one_that_separates() {
        assert_eq!(delimiter("filename,label"), b',');
        assert_eq!(delimiter("\"a,b,c\";label;x\n1,2,3,4"), b';');
        assert_eq!(delimiter("filename\tlabel"), b'\t');
        assert_eq!(delimiter(""), b',');
    }
}
