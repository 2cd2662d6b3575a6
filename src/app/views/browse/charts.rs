//! The column of charts beside the gallery. A click filters, a second one takes the filter away.

use egui::Ui;

use crate::app::context::ViewContext;
use crate::app::filter::{Counts, Filter, LabelChoice};
use crate::app::widgets::charts::{Bar, bars, table};
use crate::app::widgets::section;

/// Sizes shown; rarer ones are added up in the last row.
const SIZES: usize = 6;

/// Paints the charts and changes the filter when they are clicked.
pub(super) fn ui(ui: &mut Ui, cx: &ViewContext<'_>, counts: &Counts, filter: &mut Filter) {
    section(ui, cx.palette, "Label");
    labels(ui, cx, counts, filter);
    if let Some(crossed) = &counts.crossed {
        ui.add_space(14.0);
        let name = |column: usize| cx.session.manifest().columns[column].clone();
        let (row, column) = crossed.facets;
        section(ui, cx.palette, &format!("{} × {}", name(row), name(column)));
        let chosen = |facet: usize, values: &[String]| {
            let chosen = filter.columns.get(&facet)?;
            let only = chosen.first().filter(|_| chosen.len() == 1)?;
            values.iter().position(|value| value == only)
        };
        let active = chosen(row, &crossed.rows).zip(chosen(column, &crossed.columns));
        let (rows, columns) = (&crossed.rows, &crossed.columns);
        if let Some((r, c)) = table(ui, cx.palette, rows, columns, &crossed.counts, active) {
            if active == Some((r, c)) {
                filter.columns.remove(&row);
                filter.columns.remove(&column);
            } else {
                filter.columns.insert(row, [rows[r].clone()].into());
                filter.columns.insert(column, [columns[c].clone()].into());
            }
        }
    }
    ui.add_space(14.0);
    section(ui, cx.palette, "Size");
    sizes(ui, cx, counts, filter);
}

fn labels(ui: &mut Ui, cx: &ViewContext<'_>, counts: &Counts, filter: &mut Filter) {
    let classes = cx.session.classes();
    let shown: Vec<(LabelChoice, usize)> = counts
        .labels
        .iter()
        .copied()
        .filter(|(choice, count)| *count > 0 || matches!(choice, LabelChoice::Class(_)))
        .collect();
    let rows: Vec<Bar> = shown
        .iter()
        .map(|(choice, count)| {
            let (name, color) = match choice {
                LabelChoice::Class(class) => (
                    classes.name(*class).to_owned(),
                    cx.palette.class(classes, *class),
                ),
                LabelChoice::Regular => ("Regular".to_owned(), cx.palette.good),
                LabelChoice::None => ("no label".to_owned(), cx.palette.muted),
            };
            Bar {
                name,
                count: *count,
                color,
                active: filter.labels.contains(choice),
            }
        })
        .collect();
    if let Some(index) = ui.scope(|ui| bars(ui, cx.palette, &rows)).inner {
        let choice = shown[index].0;
        if !filter.labels.remove(&choice) {
            filter.labels.insert(choice);
        }
    }
}

fn sizes(ui: &mut Ui, cx: &ViewContext<'_>, counts: &Counts, filter: &mut Filter) {
    if counts.sizes.is_empty() {
        let text = if cx.session.scanned() == 0 {
            "Known once the files have been read."
        } else {
            "No file could be read."
        };
        ui.weak(text);
        return;
    }
    let rows: Vec<Bar> = counts
        .sizes
        .iter()
        .take(SIZES)
        .map(|((width, height), count)| Bar {
            name: format!("{width} × {height}"),
            count: *count,
            color: cx.palette.accent,
            active: filter.sizes.contains(&(*width, *height)),
        })
        .collect();
    if let Some(index) = ui.scope(|ui| bars(ui, cx.palette, &rows)).inner {
        let size = counts.sizes[index].0;
        if !filter.sizes.remove(&size) {
            filter.sizes.insert(size);
        }
    }
    if counts.sizes.len() > SIZES {
        let rest: usize = counts.sizes[SIZES..].iter().map(|(_, n)| n).sum();
        let kinds = counts.sizes.len() - SIZES;
        ui.weak(format!("and {rest} in {kinds} other sizes"));
    }
}
