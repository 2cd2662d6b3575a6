//! Loss and F1 by epoch.

use egui::{Color32, FontId, Ui};
use egui_plot::{AxisHints, GridMark, HoverPosition, Line, LineStyle, Plot, Points, VLine};

use crate::app::theme::{Palette, mono};

/// One line.
#[derive(Clone, Debug)]
pub struct Curve<'a> {
    /// What it shows, for the tip under the pointer.
    pub name: &'a str,
    /// Its colour.
    pub color: Color32,
    /// (epoch, value), epochs rising.
    pub points: Vec<[f64; 2]>,
}

/// Epochs that are marked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Marks<'a> {
    /// The best one.
    pub best: Option<usize>,
    /// Those after which a new phase begins.
    pub phase_ends: &'a [usize],
}

/// Curves over epochs with a few grid lines. `top` fixes the upper end (1 for a
/// score), else it follows the data. `height` in points.
pub fn curves(
    ui: &mut Ui,
    palette: &Palette,
    name: &str,
    curves: &[Curve<'_>],
    marks: &Marks<'_>,
    top: Option<f64>,
    height: f32,
) {
    let values = || curves.iter().flat_map(|c| c.points.iter());
    let last = values().map(|p| p[0]).fold(1.0, f64::max).max(5.0);
    let finite = || values().map(|p| p[1]).filter(|v| v.is_finite());
    let high = top.unwrap_or_else(|| finite().fold(0.0, f64::max) * 1.05);
    let high = if high > 0.0 { high } else { 1.0 };
    let low = if top.is_some() {
        // A score seldom needs the whole of 0..1: leave out the empty lower tenths.
        ((finite().fold(high, f64::min) - 0.05).max(0.0) * 10.0).floor() / 10.0
    } else {
        0.0
    };
    let (dim, font) = (palette.muted, mono(10.5));
    let axis =
        |hints: AxisHints<'static>, font: FontId| hints.tick_label_font(font).tick_label_color(dim);
    let x_axis = axis(AxisHints::new_x(), font.clone())
        .formatter(|mark: GridMark, _| format!("{:.0}", mark.value));
    let digits = if high - low > 2.0 { 1 } else { 2 };
    let y_axis = axis(AxisHints::new_y(), font)
        .formatter(move |mark: GridMark, _| format!("{:.*}", digits, mark.value))
        .min_thickness(32.0);
    let response = Plot::new(name)
        .height(height)
        .allow_zoom(false)
        .allow_scroll(false)
        .allow_drag(false)
        .allow_boxed_zoom(false)
        .allow_double_click_reset(false)
        .allow_axis_zoom_drag(false)
        .show_background(false)
        .show_crosshair(false)
        .show_grid([false, true])
        .grid_color(palette.line)
        .grid_fade(0.0)
        .set_margin_fraction(egui::vec2(0.0, 0.0))
        .default_x_bounds(0.5, last + 0.5)
        .default_y_bounds(low, high)
        .custom_x_axes(vec![x_axis])
        .custom_y_axes(vec![y_axis])
        .x_grid_spacer(|input| ticks(input.bounds.0.max(1.0), input.bounds.1, true))
        .y_grid_spacer(|input| ticks(input.bounds.0, input.bounds.1, false))
        .label_formatter(|at: &HoverPosition<'_>| match at {
            HoverPosition::NearDataPoint {
                plot_name,
                position,
                ..
            } => Some(format!(
                "{plot_name}, epoch {:.0}: {:.3}",
                position.x, position.y
            )),
            HoverPosition::Elsewhere { .. } => None,
        })
        .show(ui, |plot| {
            plot.set_plot_bounds_x(0.5..=last + 0.5);
            plot.set_plot_bounds_y(low..=high);
            for end in marks.phase_ends {
                let line = VLine::new("phase", *end as f64 + 0.5)
                    .color(palette.line)
                    .width(1.5)
                    .allow_hover(false);
                plot.vline(line);
            }
            if let Some(best) = marks.best {
                let line = VLine::new("best epoch", best as f64)
                    .color(palette.muted.gamma_multiply(0.6))
                    .width(1.0)
                    .style(LineStyle::dashed_dense())
                    .allow_hover(false);
                plot.vline(line);
            }
            for curve in curves {
                // A single epoch makes no line.
                if let [only] = curve.points.as_slice() {
                    plot.points(
                        Points::new(curve.name, vec![*only])
                            .radius(2.5)
                            .color(curve.color),
                    );
                }
                let line = Line::new(curve.name, curve.points.clone());
                plot.line(line.color(curve.color).width(1.6));
            }
        })
        .response;
    response.widget_info(|| {
        let label = format!("{name} by epoch");
        egui::WidgetInfo::labeled(egui::Role::Image, true, label)
    });
}

/// Three to six marks at round values in `low..=high`.
fn ticks(low: f64, high: f64, whole: bool) -> Vec<GridMark> {
    let span = high - low;
    if !(span.is_finite() && span > 0.0) {
        return Vec::new();
    }
    let rough = span / 4.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|s| s * power)
        .into_iter()
        .find(|s| *s >= rough * 0.999)
        .unwrap_or(rough);
    let step = if whole { step.max(1.0).round() } else { step };
    let first = (low / step - 1e-9).ceil();
    (0..12)
        .map(|i| (first + f64::from(i)) * step)
        .take_while(|value| *value <= high + step * 1e-9)
        .map(|value| GridMark {
            value,
            step_size: step,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_few_and_round() {
        for (low, high) in [
            (0.0, 1.0),
            (0.5, 1.0),
            (0.0, 0.031),
            (0.0, 17.3),
            (0.7, 0.9),
        ] {
            let values: Vec<f64> = ticks(low, high, false).iter().map(|t| t.value).collect();
            assert!((3..=6).contains(&values.len()), "{low} {high}: {values:?}");
            assert!(
                values
                    .iter()
                    .all(|v| (low - 1e-9..=high + 1e-9).contains(v))
            );
        }
        let epochs: Vec<f64> = ticks(1.0, 5.5, true).iter().map(|t| t.value).collect();
        assert!(epochs.iter().all(|v| v.fract() == 0.0), "{epochs:?}");
        assert!(ticks(0.0, f64::NAN, false).is_empty() && ticks(1.0, 1.0, false).is_empty());
    }
}
