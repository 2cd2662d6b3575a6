//! The native window and what draws in it.

use std::cell::Cell;
use std::path::Path;

use eframe::{CreationContext, Renderer};

use crate::jobs::background_computations;

/// The window could not be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "the window cannot be opened ({0}); Driftscope needs a display and a graphics driver for Vulkan, \
     Metal, DirectX 12 or OpenGL. The command line works without: driftscope --help"
)]
pub struct WindowError(pub(super) String);

/// Opens the window, shows what `create` makes, and returns when it is closed.
pub(super) fn run(
    create: &dyn Fn(&CreationContext<'_>) -> Box<dyn eframe::App>,
) -> Result<(), WindowError> {
    background_computations();
    let [first, second] = renderers();
    let opened = Cell::new(false);
    let shown = show(first, &opened, create);
    // A window that was never there can be tried again by other means; one that broke cannot.
    if shown.is_err() && !opened.get() && show(second, &opened, create).is_ok() {
        return Ok(());
    }
    shown
}

fn show(
    renderer: Renderer,
    opened: &Cell<bool>,
    create: &dyn Fn(&CreationContext<'_>) -> Box<dyn eframe::App>,
) -> Result<(), WindowError> {
    let viewport = egui::ViewportBuilder::default()
        .with_title("Driftscope")
        .with_app_id("driftscope")
        .with_inner_size([1440.0, 900.0])
        .with_min_inner_size([640.0, 420.0]);
    let options = eframe::NativeOptions {
        viewport,
        renderer,
        // There are no gradients to smooth, and a processor that draws pays for every pixel.
        dithering: false,
        ..eframe::NativeOptions::default()
    };
    let creator = Box::new(|creation: &CreationContext<'_>| {
        opened.set(true);
        Ok(create(creation))
    });
    eframe::run_native("driftscope", options, creator).map_err(|error| {
        // The window library begins with the place in its own source.
        let text = error.to_string();
        let words = text
            .split_once(".rs:")
            .and_then(|(_, rest)| rest.split_once(": "));
        WindowError(words.map_or(text.clone(), |(_, words)| words.to_owned()))
    })
}

/// What to draw with, the better first: Vulkan and its like, but OpenGL where the processor draws. Mesa's
/// software Vulkan runs every branch of the window library's shader for every pixel, its OpenGL has a
/// shader without any and takes a fraction of the time (docs/BENCHMARKS.md).
fn renderers() -> [Renderer; 2] {
    // Set by who knows the machine better: `WGPU_BACKEND=vulkan driftscope`.
    let chosen = std::env::var_os("WGPU_BACKEND").is_some();
    if chosen || !cfg!(target_os = "linux") || has_graphics_card() {
        [Renderer::Wgpu, Renderer::Glow]
    } else {
        [Renderer::Glow, Renderer::Wgpu]
    }
}

/// Whether Linux lists a device that renders.
fn has_graphics_card() -> bool {
    let renders = |name: &str| name.starts_with("renderD");
    let listed = std::fs::read_dir("/dev/dri").is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_str().is_some_and(renders))
    });
    listed || Path::new("/dev/nvidia0").exists()
}
