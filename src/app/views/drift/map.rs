//! The map of the candidates: a lasso makes a gallery, and one key labels all that is in it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use egui::epaint::Mesh;
use egui::{
    Color32, CornerRadius, CursorIcon, PointerButton, Pos2, Rect, Response, Role, Sense, Shape,
    Stroke, StrokeKind, Ui, WidgetInfo, pos2, vec2,
};

use super::lasso::Lasso;
use super::lens::Lens;
use super::signs::{Mark, Sign, Signs};
use crate::app::command::{Action, Command};
use crate::app::inspector::middle;
use crate::app::state::words::{count, duration};
use crate::app::state::{DriftImage, DriftState, MapLayout, NeighbourMap};
use crate::app::theme::{Palette, mono};
use crate::app::views::panel::PanelContext;
use crate::app::widgets::{chip, parts};
use crate::domain::ImageId;
use crate::workflows::Places;

/// How near the pointer has to be to a point, in points of the screen.
const REACH: f32 = 12.0;
/// Corners of a lasso are at least so far apart on the screen.
const STEP: f32 = 4.0;
/// Side of the picture shown beside the pointer.
const PREVIEW: f32 = 108.0;

/// The map's own state: what is seen of it, and the outline.
#[derive(Debug, Default)]
pub(super) struct MapView {
    /// Whether it stands in the place of the ranking.
    pub open: bool,
    seen: Option<Seen>,
    /// While it is being drawn.
    drawing: Option<Lasso>,
    /// What was selected with.
    drawn: Vec<Lasso>,
    signs: Option<Signs>,
}

/// A layout as it is looked at.
#[derive(Debug)]
struct Seen {
    places: Arc<Places>,
    lens: Lens,
    dressed: Option<Dressed>,
    /// The points as seen through that lens.
    mesh: Option<(Lens, Arc<Mesh>)>,
}

/// Points, with all that their looks depend on.
#[derive(Debug)]
struct Dressed {
    generation: u64,
    dark: bool,
    selected: BTreeSet<ImageId>,
    /// From the lowest to the topmost.
    points: Vec<Point>,
}

/// A place on the map, and what stands there.
type Point = ([f32; 2], Mark);

impl MapView {
    /// Drops the outline; false if there is none.
    pub fn drop_lasso(&mut self) -> bool {
        let drawing = self.drawing.take().is_some();
        let drawn = !std::mem::take(&mut self.drawn).is_empty();
        drawing || drawn
    }

    /// The card with the map.
    pub fn ui(
        &mut self,
        ui: &mut Ui,
        cx: &PanelContext<'_>,
        drift: &DriftState,
        selected: &mut BTreeSet<ImageId>,
        rect: Rect,
    ) {
        let palette = cx.palette;
        let title = match drift.map.shown() {
            Some(Ok((MapLayout::Neighbours, _))) => "Map by likeness",
            _ => "Map by principal directions",
        };
        parts::card(
            ui,
            palette,
            rect,
            title,
            |ui| head(ui, cx, drift),
            |ui| match drift.map.shown() {
                Some(Ok((layout, places))) => {
                    parts::explain(ui, palette, words(layout));
                    if let NeighbourMap::Failed(why) = &drift.map.neighbours {
                        let text = format!("There is no map by likeness. {why}");
                        parts::notice(ui, palette, palette.warn, &text);
                    }
                    let places = Arc::clone(places);
                    self.field(ui, cx, drift, selected, &places);
                    legend(ui, cx, drift);
                }
                Some(Err(why)) => {
                    let text = format!("There is no map. {why}");
                    parts::notice(ui, palette, palette.bad, &text);
                }
                None => parts::explain(ui, palette, "The map comes with the features."),
            },
        );
    }

    fn field(
        &mut self,
        ui: &mut Ui,
        cx: &PanelContext<'_>,
        drift: &DriftState,
        selected: &mut BTreeSet<ImageId>,
        places: &Arc<Places>,
    ) {
        let palette = cx.palette;
        let room = vec2(
            ui.available_width(),
            (ui.available_height() - 28.0).max(1.0),
        );
        let (rect, response) = ui.allocate_exact_size(room, Sense::click_and_drag());
        let same = |seen: &Seen| Arc::ptr_eq(&seen.places, places);
        if !self.seen.as_ref().is_some_and(same) {
            // Outlines belong to the layout that they were drawn on; what is selected stays so.
            self.drop_lasso();
            self.seen = Some(Seen {
                places: Arc::clone(places),
                lens: Lens::new(places),
                dressed: None,
                mesh: None,
            });
        }
        let Some(mut seen) = self.seen.take() else {
            return;
        };
        seen.lens.rect = rect;
        let images = drift.map.images();
        navigate(ui, &mut seen.lens, &response);
        let over = response
            .hover_pos()
            .filter(|_| self.drawing.is_none())
            .and_then(|at| nearest(&seen, images.len(), at));
        self.touch(cx, &seen, images, selected, &response, over);

        ui.painter()
            .rect_filled(rect, CornerRadius::same(6), palette.background);
        let within = ui.painter().with_clip_rect(rect.intersect(ui.clip_rect()));
        let signs = self.signs.get_or_insert_with(|| Signs::new(ui.ctx()));
        within.add(Shape::Mesh(seen.painted(signs, cx, drift, selected)));
        for lasso in self.drawn.iter().chain(&self.drawing) {
            outline(&within, palette, &seen.lens, lasso);
        }
        let ring = |row: usize, color: Color32| {
            let at = seen.lens.to_screen(seen.places[row]);
            within.circle_stroke(at, 7.5, Stroke::new(1.5, color));
        };
        if let Some(row) = images.iter().position(|i| Some(*i) == cx.inspected) {
            ring(row, palette.text);
        }
        if let Some(row) = over {
            ring(row, palette.accent);
            preview(
                ui,
                cx,
                drift,
                images[row],
                seen.lens.to_screen(places[row]),
                rect,
            );
        }
        response.widget_info(|| {
            let n = count(images.len() as u64, "image");
            let near = over.map_or(String::new(), |row| {
                format!(", nearest {}", cx.thumbs.name(images[row]))
            });
            WidgetInfo::labeled(Role::Canvas, true, format!("Map of {n}{near}"))
        });
        self.seen = Some(seen);
    }

    /// A click selects an image, a drag draws a lasso. With Shift, either adds to what is selected.
    fn touch(
        &mut self,
        cx: &PanelContext<'_>,
        seen: &Seen,
        images: &[ImageId],
        selected: &mut BTreeSet<ImageId>,
        response: &Response,
        over: Option<usize>,
    ) {
        let (modifiers, pressed_at) = response
            .ctx
            .input(|i| (i.modifiers, i.pointer.press_origin()));
        let adds = modifiers.shift || modifiers.command;
        if response.clicked()
            && let Some(row) = over
        {
            if !adds {
                selected.clear();
                self.drawn.clear();
            }
            if !selected.insert(images[row]) && adds {
                selected.remove(&images[row]);
            }
            cx.send(Command::Inspect(Some(images[row])));
        }
        if response.drag_started_by(PointerButton::Primary)
            && let Some(at) = pressed_at
        {
            let mut lasso = Lasso::default();
            lasso.add(seen.lens.to_map(at));
            self.drawing = Some(lasso);
        }
        if response.dragged_by(PointerButton::Primary)
            && let (Some(lasso), Some(at)) = (&mut self.drawing, response.interact_pointer_pos())
        {
            let last = lasso.corners().last();
            let far = last.is_none_or(|l| seen.lens.to_screen(*l).distance(at) >= STEP);
            if far {
                lasso.add(seen.lens.to_map(at));
            }
        }
        if response.drag_stopped_by(PointerButton::Primary)
            && let Some(lasso) = self.drawing.take()
        {
            if !adds {
                selected.clear();
                self.drawn.clear();
            }
            let held: Vec<ImageId> = images
                .iter()
                .zip(seen.places.iter())
                .filter(|(_, place)| lasso.holds(**place))
                .map(|(image, _)| *image)
                .collect();
            if !held.is_empty() {
                selected.extend(held);
                self.drawn.push(lasso);
            }
            // What can be done with a selection is found out before the next frame.
            response.ctx.request_repaint();
        }
    }
}

impl Seen {
    /// The points, made anew only as far as something about them has changed: of ten thousand, every frame
    /// would feel it.
    fn painted(
        &mut self,
        signs: &Signs,
        cx: &PanelContext<'_>,
        drift: &DriftState,
        selected: &BTreeSet<ImageId>,
    ) -> Arc<Mesh> {
        let (generation, dark) = (drift.generation(), cx.palette.dark);
        let current = |now: &Dressed| {
            (now.generation, now.dark) == (generation, dark) && now.selected == *selected
        };
        if !self.dressed.as_ref().is_some_and(current) {
            self.dressed = Some(Dressed {
                generation,
                dark,
                selected: selected.clone(),
                points: self.dress(cx, drift, selected),
            });
            self.mesh = None;
        }
        match &self.mesh {
            Some((lens, mesh)) if *lens == self.lens => Arc::clone(mesh),
            _ => {
                let points = self.dressed.as_ref().map_or(&[][..], |now| &now.points);
                let mesh = Arc::new(self.through_lens(signs, points));
                self.mesh = Some((self.lens, Arc::clone(&mesh)));
                mesh
            }
        }
    }

    fn through_lens(&self, signs: &Signs, points: &[Point]) -> Mesh {
        let mut mesh = signs.mesh();
        mesh.reserve_vertices(4 * points.len());
        mesh.reserve_triangles(2 * points.len());
        let visible = self.lens.rect.expand(8.0);
        for (place, mark) in points {
            let at = self.lens.to_screen(*place);
            if visible.contains(at) {
                signs.add(&mut mesh, at, *mark);
            }
        }
        mesh
    }

    /// First what is compared with, then what has no label, the likelier drift above, then what has one.
    fn dress(
        &self,
        cx: &PanelContext<'_>,
        drift: &DriftState,
        selected: &BTreeSet<ImageId>,
    ) -> Vec<Point> {
        let looks = Looks::new(cx);
        let images = drift.map.images();
        let known: HashMap<ImageId, &DriftImage> =
            drift.images().iter().map(|i| (i.image, i)).collect();
        let mut rows: Vec<(usize, Option<bool>, f32)> = images
            .iter()
            .enumerate()
            .map(|(row, image)| {
                let known = known.get(image);
                let score = known.map_or(0.0, |k| k.score);
                (row, known.and_then(|k| k.label), score)
            })
            .collect();
        rows.sort_by(|a, b| a.1.cmp(&b.1).then(a.2.total_cmp(&b.2)));
        // A few are drawn large, many small enough not to hide each other.
        let size = (1_500.0 / self.places.len() as f32)
            .powf(0.25)
            .clamp(0.7, 1.6);
        let sized = |mark: Mark| Mark {
            radius: mark.radius * size,
            ..mark
        };
        let compared = self.places.iter().skip(images.len());
        let mut points: Vec<Point> = compared
            .map(|place| (*place, sized(looks.reference)))
            .collect();
        for (row, label, score) in rows {
            let (place, mark) = (self.places[row], sized(looks.of(label, score)));
            if selected.contains(&images[row]) {
                let behind = Mark {
                    color: looks.selected,
                    radius: mark.radius + 2.0,
                    ..mark
                };
                points.push((place, behind));
            }
            points.push((place, mark));
        }
        points
    }
}

/// How points look. Hue says drift or not, the shape says who says so.
struct Looks {
    drift: Mark,
    regular: Mark,
    reference: Mark,
    unlike: Color32,
    like: Color32,
    selected: Color32,
}

impl Looks {
    fn new(cx: &PanelContext<'_>) -> Self {
        let palette = cx.palette;
        let violet = palette.class(cx.classes, cx.classes.drift());
        let mark = |sign, color, radius| Mark {
            sign,
            color,
            radius,
        };
        Self {
            drift: mark(Sign::Diamond, violet, 6.0),
            regular: mark(Sign::Square, palette.good, 4.5),
            reference: mark(Sign::Dot, palette.muted.gamma_multiply(0.4), 2.2),
            unlike: palette.tint(palette.muted, 0.75),
            like: palette.tint(violet, 0.9),
            selected: palette.accent,
        }
    }

    fn of(&self, label: Option<bool>, score: f32) -> Mark {
        match label {
            Some(true) => self.drift,
            Some(false) => self.regular,
            None => Mark {
                sign: Sign::Dot,
                color: self.score(score),
                radius: 3.2 + score.clamp(0.0, 1.0),
            },
        }
    }

    fn score(&self, score: f32) -> Color32 {
        self.unlike.lerp_to_gamma(self.like, score.clamp(0.0, 1.0))
    }
}

/// What a map shows, and what not to read into it.
fn words(layout: MapLayout) -> &'static str {
    match layout {
        MapLayout::Principal => {
            "The plane in which the regular images vary most. Distances are for orientation only."
        }
        MapLayout::Neighbours => {
            "t-SNE: images lie near those that the network finds most like them. Distances are for \
             orientation only."
        }
    }
}

/// Beside the title, from the right: back to the list, and the two layouts.
fn head(ui: &mut Ui, cx: &PanelContext<'_>, drift: &DriftState) {
    let palette = cx.palette;
    if chip(ui, palette, "List", false).clicked() {
        cx.send(Action::ToggleMap);
    }
    ui.add_space(10.0);
    let wanted = drift.map.wanted;
    let layouts = [
        (MapLayout::Neighbours, "Likeness"),
        (MapLayout::Principal, "Principal"),
    ];
    for (layout, name) in layouts {
        if chip(ui, palette, name, wanted == layout).clicked() {
            cx.send(Command::LayOut(layout));
        }
    }
    if let NeighbourMap::Running {
        doing,
        done,
        left_s,
    } = &drift.map.neighbours
    {
        let left = left_s.map_or(String::new(), |s| format!(", {} left", duration(s)));
        let text = format!("{doing} {:.0} %{left}", done * 100.0);
        parts::aside(ui, palette.muted, &text);
    }
}

fn legend(ui: &mut Ui, cx: &PanelContext<'_>, drift: &DriftState) {
    let palette = cx.palette;
    let looks = Looks::new(cx);
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 6.0;
        let entry = |ui: &mut Ui, mark: Mark, text: &str| {
            let (rect, _) = ui.allocate_exact_size(vec2(12.0, 14.0), Sense::hover());
            swatch(ui, rect.center(), mark);
            parts::aside(ui, palette.muted, text);
            ui.add_space(8.0);
        };
        entry(ui, looks.drift, "labelled drift");
        entry(ui, looks.regular, "labelled regular");
        let (rect, _) = ui.allocate_exact_size(vec2(54.0, 14.0), Sense::hover());
        for step in 0..5 {
            let score = step as f32 / 4.0;
            let at = pos2(rect.left() + 6.0 + 10.5 * step as f32, rect.center().y);
            swatch(ui, at, looks.of(None, score));
        }
        let ends = if drift.has_head() {
            "no label, by probability of drift"
        } else {
            "no label, by oddness"
        };
        parts::aside(ui, palette.muted, ends);
        ui.add_space(8.0);
        let compared = drift.map.shown().and_then(Result::ok);
        if compared.is_some_and(|(_, places)| places.len() > drift.map.images().len()) {
            entry(ui, looks.reference, "regular, to compare with");
        }
    });
}

/// A point of the legend, painted as shapes: it is one, not ten thousand.
fn swatch(ui: &Ui, at: Pos2, mark: Mark) {
    let painter = ui.painter();
    let r = mark.radius * 0.85;
    match mark.sign {
        Sign::Dot => {
            painter.circle_filled(at, r, mark.color);
        }
        Sign::Square => {
            let rect = Rect::from_center_size(at, vec2(r, r) * 1.8);
            painter.rect_filled(rect, 0.0, mark.color);
        }
        Sign::Diamond => {
            let corners = [vec2(0.0, -r), vec2(r, 0.0), vec2(0.0, r), vec2(-r, 0.0)];
            let corners = corners.map(|c| at + c).to_vec();
            painter.add(Shape::convex_polygon(corners, mark.color, Stroke::NONE));
        }
    }
}

/// Wheel and pinch go in and out at the pointer, the other buttons move, a double click shows all.
fn navigate(ui: &Ui, lens: &mut Lens, response: &Response) {
    if response.contains_pointer()
        && let Some(at) = response.hover_pos()
    {
        let (wheel, pinch) = ui.input(|i| (i.smooth_scroll_delta().y, i.zoom_delta()));
        let factor = (wheel / 240.0).exp2() * pinch;
        if (factor - 1.0).abs() > 1e-4 {
            lens.zoom_at(at, factor);
        }
    }
    let moves =
        response.dragged_by(PointerButton::Secondary) || response.dragged_by(PointerButton::Middle);
    if moves {
        lens.pan(response.drag_delta());
        ui.ctx().set_cursor_icon(CursorIcon::Grabbing);
    }
    if response.double_clicked() {
        lens.fit();
    }
}

/// The candidate nearest to a point of the screen, if one is near.
fn nearest(seen: &Seen, candidates: usize, at: Pos2) -> Option<usize> {
    let [x, y] = seen.lens.to_map(at);
    let square = |[px, py]: [f32; 2]| (px - x).powi(2) + (py - y).powi(2);
    let places = seen.places.iter().take(candidates).enumerate();
    places
        .map(|(row, place)| (row, square(*place)))
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .filter(|(_, square)| square.sqrt() * seen.lens.scale() <= REACH)
        .map(|(row, _)| row)
}

fn outline(painter: &egui::Painter, palette: &Palette, lens: &Lens, lasso: &Lasso) {
    let corners = lasso.corners().iter();
    let mut line: Vec<Pos2> = corners.map(|c| lens.to_screen(*c)).collect();
    line.extend(line.first().copied());
    let stroke = Stroke::new(1.5, palette.accent);
    painter.extend(Shape::dashed_line(&line, stroke, 5.0, 4.0));
}

/// The image under the pointer, beside it and within the map.
fn preview(
    ui: &Ui,
    cx: &PanelContext<'_>,
    drift: &DriftState,
    image: ImageId,
    at: Pos2,
    field: Rect,
) {
    let palette = cx.palette;
    let painter = ui.painter();
    let name = painter.layout_no_wrap(middle(&cx.thumbs.name(image), 22), mono(11.0), palette.text);
    let known = drift.images().iter().find(|i| i.image == image);
    let said = match known.and_then(|k| k.label) {
        Some(true) => "labelled drift",
        Some(false) => "labelled regular",
        None => "no label",
    };
    let score = known.map_or(String::new(), |k| format!(", score {:.3}", k.score));
    let said = format!("{said}{score}");
    let said = painter.layout_no_wrap(said, egui::FontId::proportional(11.5), palette.muted);
    let width = PREVIEW.max(name.size().x).max(said.size().x) + 16.0;
    let size = vec2(width, PREVIEW + 50.0);
    let left = if at.x + 14.0 + size.x <= field.right() {
        at.x + 14.0
    } else {
        at.x - 14.0 - size.x
    };
    let top = (at.y - size.y / 2.0)
        .min(field.bottom() - size.y)
        .max(field.top());
    let card = Rect::from_min_size(pos2(left.max(field.left()), top), size);
    painter.rect(
        card,
        CornerRadius::same(6),
        palette.panel,
        Stroke::new(1.0, palette.line),
        StrokeKind::Inside,
    );
    let picture = Rect::from_min_size(card.min + vec2(8.0, 8.0), vec2(PREVIEW, PREVIEW));
    cx.thumbs.paint(ui, picture, image);
    let painter = ui.painter();
    painter.galley(picture.left_bottom() + vec2(0.0, 6.0), name, palette.text);
    painter.galley(picture.left_bottom() + vec2(0.0, 21.0), said, palette.muted);
}
