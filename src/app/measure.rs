//! `driftscope bench startup`: the real window, opened on a data set, timed until the gallery shows its
//! pictures and while it scrolls, then closed. Nothing but the stopwatch differs from the user's window.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{App, WindowError, command::Command, window};
use crate::workflows::{Figure, OpenRequest};

/// Frames painted while scrolling.
const SCROLLED: usize = 300;
/// Points scrolled in each of them: three notches of a wheel.
const STEP: f32 = 150.0;
/// Longest wait for the gallery.
const GIVE_UP: Duration = Duration::from_secs(120);

/// Opens the window on `request` and returns how long it took until the gallery was usable, and how long
/// each frame took while it scrolled.
///
/// # Errors
/// [`WindowError`] where there is no display, or the gallery never came.
pub fn measure(request: &OpenRequest) -> Result<Vec<Figure>, WindowError> {
    let figures = Arc::new(Mutex::new(Vec::new()));
    let started = Instant::now();
    window::run(&|creation| {
        // No settings file: what the user has set up is neither read nor changed.
        let app = App::new(&creation.egui_ctx, None);
        app.commands.send(Command::Open(request.clone()));
        Box::new(Measured {
            app,
            started,
            last: None,
            intervals: Vec::new(),
            busy: Vec::new(),
            empty: 0,
            figures: figures.clone(),
        })
    })?;
    let figures = figures.lock().clone();
    if figures.is_empty() {
        return Err(WindowError(
            "the gallery showed no picture within two minutes".to_owned(),
        ));
    }
    Ok(figures)
}

struct Measured {
    app: App,
    started: Instant,
    /// When the frame before this one began, once scrolling.
    last: Option<Instant>,
    /// Milliseconds from frame to frame.
    intervals: Vec<f64>,
    /// Milliseconds of work in each frame, without waiting for the screen.
    busy: Vec<f64>,
    /// Tiles painted without their picture while scrolling.
    empty: usize,
    figures: Arc<Mutex<Vec<Figure>>>,
}

impl Measured {
    fn shown(&self) -> (usize, usize) {
        let textures = self.app.workspace.as_ref().map(|w| &w.textures);
        textures.map_or((0, 0), super::textures::Textures::last_frame)
    }

    fn finish(&mut self, ctx: &egui::Context) {
        let mut figures = self.figures.lock();
        let tiles = self.empty;
        figures.push(Figure::times(
            "startup scroll, frame to frame",
            self.intervals.clone(),
        ));
        figures.push(Figure::times(
            "startup scroll, work per frame",
            self.busy.clone(),
        ));
        figures.push(Figure::count(
            "startup scroll, tiles without picture",
            tiles,
        ));
        ctx.send_viewport_cmd(egui::ViewportCommand::Close);
    }
}

impl eframe::App for Measured {
    fn raw_input_hook(&mut self, _: &egui::Context, input: &mut egui::RawInput) {
        if self.last.is_some() {
            let middle = input
                .screen_rect
                .map_or(egui::pos2(600.0, 450.0), |r| r.center());
            input.events.push(egui::Event::PointerMoved(middle));
            input.events.push(egui::Event::MouseWheel {
                unit: egui::MouseWheelUnit::Point,
                delta: egui::vec2(0.0, -STEP),
                phase: egui::TouchPhase::Move,
                source: egui::MouseWheelSource::Wheel,
                modifiers: egui::Modifiers::NONE,
            });
        }
    }

    fn logic(&mut self, ctx: &egui::Context, frame: &mut eframe::Frame) {
        eframe::App::logic(&mut self.app, ctx, frame);
        let now = Instant::now();
        let (shown, missing) = self.shown();
        match self.last {
            None => {
                if shown > 0 && missing == 0 {
                    let n = self.app.listed().len();
                    let took = now - self.started;
                    self.figures.lock().push(Figure::took(
                        "startup until the gallery is usable",
                        n,
                        took,
                    ));
                    self.last = Some(now);
                } else if now - self.started > GIVE_UP {
                    ctx.send_viewport_cmd(egui::ViewportCommand::Close);
                }
            }
            Some(last) if self.intervals.len() < SCROLLED => {
                self.intervals.push((now - last).as_secs_f64() * 1000.0);
                self.busy
                    .extend(frame.info().cpu_usage.map(|s| f64::from(s) * 1000.0));
                self.empty += missing;
                self.last = Some(now);
                if self.intervals.len() == SCROLLED {
                    self.finish(ctx);
                }
            }
            Some(_) => {}
        }
        ctx.request_repaint();
    }

    fn ui(&mut self, ui: &mut egui::Ui, frame: &mut eframe::Frame) {
        eframe::App::ui(&mut self.app, ui, frame);
    }

    fn on_exit(&mut self, gl: Option<&eframe::glow::Context>) {
        eframe::App::on_exit(&mut self.app, gl);
    }
}
