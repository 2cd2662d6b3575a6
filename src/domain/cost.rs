//! What each kind of mistake costs.

use serde::{Deserialize, Serialize};

use super::{ClassId, ClassSet};

/// Cost of answering `predicted` for an image that is `actual`, in the challenge's units.
/// Rows are true classes, columns answers, in the order of the class set (drift last).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "AsWritten", into = "Vec<Vec<f64>>")]
pub struct CostMatrix {
    rows: Vec<Vec<f64>>,
}

/// The table as a file has it.
#[derive(Deserialize)]
#[serde(transparent)]
struct AsWritten(Vec<Vec<Cell>>);

/// A cell as a file has it: a number, or something that is none.
#[derive(Deserialize)]
#[serde(untagged)]
enum Cell {
    Number(f64),
    Text(String),
    Other(serde::de::IgnoredAny),
}

impl TryFrom<AsWritten> for CostMatrix {
    type Error = CostMatrixError;

    fn try_from(AsWritten(rows): AsWritten) -> Result<Self, Self::Error> {
        let number = |row: usize, column: usize, cell: Cell| {
            let found = match cell {
                Cell::Number(value) => return Ok(value),
                Cell::Text(text) if text.trim().is_empty() => "empty".to_owned(),
                Cell::Text(text) => format!("{text:?}"),
                Cell::Other(_) => "no number".to_owned(),
            };
            Err(CostMatrixError::NotANumber {
                row: row + 1,
                column: column + 1,
                found,
            })
        };
        let cells = |(row, cells): (usize, Vec<Cell>)| -> Result<Vec<f64>, CostMatrixError> {
            let cells = cells.into_iter().enumerate();
            cells
                .map(|(column, cell)| number(row, column, cell))
                .collect()
        };
        let rows: Result<Vec<Vec<f64>>, CostMatrixError> =
            rows.into_iter().enumerate().map(cells).collect();
        Self::try_from(rows?)
    }
}

/// A cost as it is typed.
impl From<&String> for Cell {
    fn from(text: &String) -> Self {
        let text = text.trim();
        text.parse()
            .map_or_else(|_| Self::Text(text.to_owned()), Self::Number)
    }
}

/// Why a table of numbers is no cost matrix.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CostMatrixError {
    /// No rows at all.
    #[error("the cost matrix is empty; it needs one row and one column for each class")]
    Empty,
    /// Rows of one length, but another number of them.
    #[error(
        "the cost matrix has {rows} rows of {columns} cells; every class needs one row and one column"
    )]
    RowsMissing {
        /// Rows there are.
        rows: usize,
        /// Cells of each.
        columns: usize,
    },
    /// A row with too few or too many cells.
    #[error(
        "row {row} of the cost matrix has {found} cells instead of {expected}{}; every class needs one cell in every row",
        if found < expected { format!(": column {} is missing", found + 1) } else { String::new() }
    )]
    NotSquare {
        /// Counted from 1.
        row: usize,
        /// Cells in that row.
        found: usize,
        /// Cells it should have: the number of rows.
        expected: usize,
    },
    /// A cell that holds something else.
    #[error(
        "row {row}, column {column} of the cost matrix is {found}; a cost is a number, zero or more"
    )]
    NotANumber {
        /// Counted from 1.
        row: usize,
        /// Counted from 1.
        column: usize,
        /// What stands there.
        found: String,
    },
    /// A cell below zero, or not a number.
    #[error("row {row}, column {column} of the cost matrix is {value}; a cost is zero or more")]
    BadCell {
        /// Counted from 1.
        row: usize,
        /// Counted from 1.
        column: usize,
        /// What stands there.
        value: f64,
    },
}

impl CostMatrixError {
    /// Row and column of the cell that is no cost, counted from 0; none where the whole table is.
    #[must_use]
    pub fn cell(&self) -> Option<(usize, usize)> {
        match self {
            Self::NotANumber { row, column, .. } | Self::BadCell { row, column, .. } => {
                Some((row - 1, column - 1))
            }
            Self::Empty | Self::RowsMissing { .. } | Self::NotSquare { .. } => None,
        }
    }
}

impl TryFrom<Vec<Vec<f64>>> for CostMatrix {
    type Error = CostMatrixError;

    fn try_from(rows: Vec<Vec<f64>>) -> Result<Self, Self::Error> {
        let expected = rows.len();
        if expected == 0 {
            return Err(CostMatrixError::Empty);
        }
        let columns = rows[0].len();
        if columns != expected && rows.len() > 1 && rows.iter().all(|row| row.len() == columns) {
            return Err(CostMatrixError::RowsMissing {
                rows: expected,
                columns,
            });
        }
        for (r, row) in rows.iter().enumerate() {
            if row.len() != expected {
                return Err(CostMatrixError::NotSquare {
                    row: r + 1,
                    found: row.len(),
                    expected,
                });
            }
            if let Some(c) = row.iter().position(|v| !v.is_finite() || *v < 0.0) {
                return Err(CostMatrixError::BadCell {
                    row: r + 1,
                    column: c + 1,
                    value: row[c],
                });
            }
        }
        Ok(Self { rows })
    }
}

impl From<CostMatrix> for Vec<Vec<f64>> {
    fn from(matrix: CostMatrix) -> Self {
        matrix.rows
    }
}

impl CostMatrix {
    /// The table as it is typed, cell by cell; [`Self::written`] is the other way.
    ///
    /// # Errors
    /// [`CostMatrixError`], as for a table in a file.
    pub fn parse(rows: &[Vec<String>]) -> Result<Self, CostMatrixError> {
        let row = |row: &Vec<String>| row.iter().map(Cell::from).collect();
        AsWritten(rows.iter().map(row).collect()).try_into()
    }

    /// The table as one would type it.
    #[must_use]
    pub fn written(&self) -> Vec<Vec<String>> {
        let row = |row: &Vec<f64>| row.iter().map(f64::to_string).collect();
        self.rows.iter().map(row).collect()
    }

    /// The matrix of Challenge Data #157, order GOOD … Drift: a bad part passed as GOOD costs 10,000.
    #[must_use]
    pub fn challenge() -> Self {
        let mut rows = vec![vec![1.0; 7]; 7];
        for (actual, row) in rows.iter_mut().enumerate() {
            for (predicted, cost) in row.iter_mut().enumerate() {
                *cost = match (actual, predicted) {
                    (a, p) if a == p => 0.0,
                    (0, 6) | (_, 0) => 10_000.0,
                    (0, _) => 100.0,
                    (6, _) | (_, 6) => 1_000.0,
                    _ => 1.0,
                };
            }
        }
        Self { rows }
    }

    /// The challenge's matrix for the challenge's classes; otherwise 1 for a mix-up of regular
    /// classes, 1 for a false drift alarm and 10 for a missed drift.
    #[must_use]
    pub fn default_for(classes: &ClassSet) -> Self {
        if classes.is_challenge() {
            return Self::challenge();
        }
        let n = classes.len();
        let mut rows = vec![vec![1.0; n]; n];
        for (actual, row) in rows.iter_mut().enumerate() {
            if actual == n - 1 {
                row.fill(10.0);
            }
            row[actual] = 0.0;
        }
        Self { rows }
    }

    /// Number of classes, drift included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Never true: an empty table is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Cost of answering `predicted` where `actual` is true.
    ///
    /// # Panics
    /// For classes of another set.
    #[must_use]
    pub fn cost(&self, actual: ClassId, predicted: ClassId) -> f64 {
        self.rows[actual.index()][predicted.index()]
    }

    /// The largest cell: what PWA divides by.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.rows.iter().flatten().copied().fold(0.0, f64::max)
    }

    /// Expected cost of each answer, in class order, under `probabilities` (one per class, drift last).
    /// The cheapest answer is the minimum.
    #[must_use]
    pub fn expected(&self, probabilities: &[f64]) -> Vec<f64> {
        (0..self.len())
            .map(|predicted| {
                self.rows
                    .iter()
                    .zip(probabilities)
                    .map(|(row, p)| row[predicted] * p)
                    .sum()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_matrix_is_the_published_one() {
        let expected = [
            [0, 100, 100, 100, 100, 100, 10000],
            [10000, 0, 1, 1, 1, 1, 1000],
            [10000, 1, 0, 1, 1, 1, 1000],
            [10000, 1, 1, 0, 1, 1, 1000],
            [10000, 1, 1, 1, 0, 1, 1000],
            [10000, 1, 1, 1, 1, 0, 1000],
            [10000, 1000, 1000, 1000, 1000, 1000, 0],
        ];
        let rows: Vec<Vec<f64>> = expected
            .iter()
            .map(|row| row.iter().map(|v| f64::from(*v)).collect())
            .collect();
        assert_eq!(CostMatrix::try_from(rows), Ok(CostMatrix::challenge()));
    }

    #[test]
    fn bad_tables_are_refused_with_the_cell() {
        let bad = |rows: Vec<Vec<f64>>| {
            CostMatrix::try_from(rows).map_err(|e: CostMatrixError| e.to_string())
        };
        assert_eq!(bad(vec![]), Err(CostMatrixError::Empty.to_string()));
        assert!(bad(vec![vec![0.0, 1.0], vec![1.0]]).is_err_and(|e| e.contains("row 2")));
        assert!(bad(vec![vec![0.0, -1.0], vec![1.0, 0.0]]).is_err_and(|e| e.contains("column 2")));
        assert!(bad(vec![vec![f64::NAN]]).is_err_and(|e| e.contains("NaN")));
        let short = vec![vec![0.0; 3], vec![0.0; 3], vec![0.0; 2]];
        assert!(
            bad(short).is_err_and(|e| e.contains("row 3") && e.contains("column 3 is missing"))
        );
        assert!(bad(vec![vec![0.0; 3]; 2]).is_err_and(|e| e.contains("2 rows of 3 cells")));
    }

    #[test]
    fn a_typed_table_is_refused_as_that_of_a_file_is() {
        let challenge = CostMatrix::challenge();
        assert_eq!(CostMatrix::parse(&challenge.written()), Ok(challenge));
        let typed = |cell: &str| {
            let mut rows = vec![
                vec!["0".to_owned(), "2.5".into()],
                vec![" 1 ".into(), "0".into()],
            ];
            rows[1][0] = cell.to_owned();
            CostMatrix::parse(&rows)
        };
        let cost = typed(" 1e4 ").expect("a number");
        assert_eq!(
            (cost.max(), cost.cost(ClassId(0), ClassId(1))),
            (10_000.0, 2.5)
        );
        for (cell, words) in [
            ("", "row 2, column 1 of the cost matrix is empty"),
            ("ten", "row 2, column 1 of the cost matrix is \"ten\""),
            ("10,000", "is \"10,000\"; a cost is a number"),
            ("-3", "is -3; a cost is zero or more"),
            ("inf", "is inf; a cost is zero or more"),
            ("nan", "is NaN; a cost is zero or more"),
        ] {
            let refused = typed(cell).expect_err(cell);
            assert!(refused.to_string().contains(words), "{refused}");
            assert_eq!(refused.cell(), Some((1, 0)));
        }
        assert_eq!(CostMatrixError::Empty.cell(), None);
    }

    #[test]
    fn expected_cost_of_passing_a_sure_drift_is_the_full_price() {
        let c = CostMatrix::challenge();
        let e = c.expected(&[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(e, [10_000.0, 1000.0, 1000.0, 1000.0, 1000.0, 1000.0, 0.0]);
    }
}
