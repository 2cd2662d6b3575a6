//! Colours, fonts and spacing, the same in the window and in its tests.

use std::sync::Arc;

use egui::{
    Color32, CornerRadius, FontData, FontDefinitions, FontFamily, FontId, Margin, Shadow, Stroke,
    TextStyle, Visuals, vec2,
};
use serde::{Deserialize, Serialize};

use crate::domain::{ClassId, ClassSet, Label};

/// Dark or light.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Theme {
    /// Light text on dark surfaces: images stand out, eyes rest.
    #[default]
    Dark,
    /// Dark text on light surfaces, for bright halls and print.
    Light,
}

impl Theme {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Dark => Self::Light,
            Self::Light => Self::Dark,
        }
    }

    /// Its colours.
    #[must_use]
    pub fn palette(self) -> &'static Palette {
        match self {
            Self::Dark => &DARK,
            Self::Light => &LIGHT,
        }
    }
}

/// The colours of one theme. Class colours are separate: [`Palette::class`].
#[derive(Debug)]
pub struct Palette {
    /// Whether text is light on dark.
    pub dark: bool,
    /// Behind the views.
    pub background: Color32,
    /// Side panels, cards, bars.
    pub panel: Color32,
    /// What stands out from a panel: buttons, chips, fields.
    pub raised: Color32,
    /// Hairlines and frames.
    pub line: Color32,
    /// Behind a large image: neutral, and darker than the background in both themes.
    pub stage: Color32,
    /// What is to be read.
    pub text: Color32,
    /// What explains it.
    pub muted: Color32,
    /// What can be acted on, or is selected.
    pub accent: Color32,
    /// Text on the accent.
    pub on_accent: Color32,
    /// Right, saved, done.
    pub good: Color32,
    /// Worth a look; a mistake of the cheaper kind.
    pub warn: Color32,
    /// Wrong, failed; a mistake of the expensive kind.
    pub bad: Color32,
}

const fn rgb(hex: u32) -> Color32 {
    Color32::from_rgb((hex >> 16) as u8, (hex >> 8) as u8, hex as u8)
}

static DARK: Palette = Palette {
    dark: true,
    background: rgb(0x14171c),
    panel: rgb(0x1a1e25),
    raised: rgb(0x222832),
    line: rgb(0x2b323d),
    stage: rgb(0x0d0f13),
    text: rgb(0xdfe5ee),
    muted: rgb(0x8a95a5),
    accent: rgb(0x4c9be8),
    on_accent: rgb(0x081420),
    good: rgb(0x3fb68b),
    warn: rgb(0xe2a83b),
    bad: rgb(0xe5645f),
};

static LIGHT: Palette = Palette {
    dark: false,
    background: rgb(0xf2f4f7),
    panel: rgb(0xffffff),
    raised: rgb(0xe9edf2),
    line: rgb(0xd5dbe3),
    stage: rgb(0xdde2e8),
    text: rgb(0x1b222c),
    muted: rgb(0x5d6877),
    accent: rgb(0x1f6fbf),
    on_accent: rgb(0xffffff),
    good: rgb(0x1d8a63),
    warn: rgb(0xa86a00),
    bad: rgb(0xc43b36),
};

/// Of the challenge's classes, drift last.
const CHALLENGE: [Color32; 7] = [
    rgb(0x3fb68b),
    rgb(0xe2a83b),
    rgb(0x7cc4f5),
    rgb(0x4c79c9),
    rgb(0x8a95a5),
    rgb(0xe07fb2),
    DRIFT,
];

const DRIFT: Color32 = rgb(0xb98af0);

/// For other class sets: Okabe and Ito's colours (Color Universal Design, 2008), made for colour-blind
/// readers, without black; further classes take them again, paler.
const OTHERS: [Color32; 7] = [
    rgb(0x56b4e9),
    rgb(0xe69f00),
    rgb(0x1fae82),
    rgb(0xe8dc54),
    rgb(0x3f82c4),
    rgb(0xe0703a),
    rgb(0xd98cb3),
];

impl Palette {
    /// The colour of a class, the same everywhere; drift is always violet.
    #[must_use]
    pub fn class(&self, set: &ClassSet, class: ClassId) -> Color32 {
        let color = if class == set.drift() {
            DRIFT
        } else if set.is_challenge() {
            CHALLENGE.get(class.index()).copied().unwrap_or(DRIFT)
        } else {
            let round = class.index() / OTHERS.len();
            let base = OTHERS[class.index() % OTHERS.len()];
            base.lerp_to_gamma(Color32::WHITE, (round as f32 * 0.35).min(0.7))
        };
        if self.dark {
            color
        } else {
            color.lerp_to_gamma(Color32::BLACK, 0.14)
        }
    }

    /// The colour of a label: its class's, and the theme's green for a mere "regular".
    #[must_use]
    pub fn label(&self, set: &ClassSet, label: Label) -> Color32 {
        match label {
            Label::Class(class) => self.class(set, class),
            Label::Regular => self.good,
        }
    }

    /// Black or white, whichever reads better on `fill`.
    #[must_use]
    pub fn on(&self, fill: Color32) -> Color32 {
        let [r, g, b, _] = fill.to_array().map(f32::from);
        if 0.299 * r + 0.587 * g + 0.114 * b > 120.0 {
            rgb(0x10141a)
        } else {
            Color32::WHITE
        }
    }

    /// `color` as a faint tint over a panel.
    #[must_use]
    pub fn tint(&self, color: Color32, share: f32) -> Color32 {
        self.panel.lerp_to_gamma(color, share)
    }
}

const MEDIUM: &str = "medium";
const SEMIBOLD: &str = "semibold";

/// Inter Medium, for what is a little more important than its neighbours.
#[must_use]
pub fn medium(size: f32) -> FontId {
    FontId::new(size, FontFamily::Name(MEDIUM.into()))
}

/// Inter SemiBold, for heads.
#[must_use]
pub fn semibold(size: f32) -> FontId {
    FontId::new(size, FontFamily::Name(SEMIBOLD.into()))
}

/// JetBrains Mono, for numbers, keys and file names.
#[must_use]
pub fn mono(size: f32) -> FontId {
    FontId::new(size, FontFamily::Monospace)
}

fn fonts() -> FontDefinitions {
    let mut fonts = FontDefinitions::empty();
    let files: [(&str, &[u8]); 5] = [
        (
            "inter",
            include_bytes!("../../ui_assets/fonts/Inter-Regular.ttf"),
        ),
        (
            MEDIUM,
            include_bytes!("../../ui_assets/fonts/Inter-Medium.ttf"),
        ),
        (
            SEMIBOLD,
            include_bytes!("../../ui_assets/fonts/Inter-SemiBold.ttf"),
        ),
        (
            "mono",
            include_bytes!("../../ui_assets/fonts/JetBrainsMono-Regular.ttf"),
        ),
        (
            "mono medium",
            include_bytes!("../../ui_assets/fonts/JetBrainsMono-Medium.ttf"),
        ),
    ];
    for (name, bytes) in files {
        fonts
            .font_data
            .insert(name.to_owned(), Arc::new(FontData::from_static(bytes)));
    }
    // Each family ends with the other one, for the few signs it lacks.
    for (family, order) in [
        (FontFamily::Proportional, ["inter", "mono"]),
        (FontFamily::Name(MEDIUM.into()), [MEDIUM, "mono"]),
        (FontFamily::Name(SEMIBOLD.into()), [SEMIBOLD, "mono"]),
        (FontFamily::Monospace, ["mono", "inter"]),
    ] {
        fonts
            .families
            .insert(family, order.map(str::to_owned).to_vec());
    }
    fonts
}

/// Installs fonts, image loaders and the style of `theme`. Cheap enough to call at every change.
pub fn apply(ctx: &egui::Context, theme: Theme) {
    ctx.set_fonts(fonts());
    egui_extras::install_image_loaders(ctx);
    ctx.set_theme(match theme {
        Theme::Dark => egui::Theme::Dark,
        Theme::Light => egui::Theme::Light,
    });
    let palette = theme.palette();
    ctx.all_styles_mut(|style| {
        style.visuals = visuals(palette);
        style.text_styles = [
            (TextStyle::Small, FontId::proportional(11.5)),
            (TextStyle::Body, FontId::proportional(13.0)),
            (TextStyle::Button, FontId::proportional(13.0)),
            (TextStyle::Heading, semibold(15.0)),
            (TextStyle::Monospace, mono(12.0)),
        ]
        .into();
        style.spacing.item_spacing = vec2(8.0, 6.0);
        style.spacing.button_padding = vec2(10.0, 5.0);
        style.spacing.interact_size.y = 24.0;
        style.spacing.menu_margin = Margin::same(6);
        style.spacing.window_margin = Margin::same(16);
        style.spacing.slider_rail_height = 4.0;
        style.spacing.scroll = egui::style::ScrollStyle::thin();
        style.interaction.selectable_labels = false;
        style.interaction.tooltip_delay = 0.35;
        style.animation_time = 0.09;
    });
}

fn visuals(p: &Palette) -> Visuals {
    let mut v = if p.dark {
        Visuals::dark()
    } else {
        Visuals::light()
    };
    v.panel_fill = p.background;
    v.window_fill = p.panel;
    v.window_stroke = Stroke::new(1.0, p.line);
    v.window_corner_radius = CornerRadius::same(10);
    v.menu_corner_radius = CornerRadius::same(8);
    v.window_shadow = Shadow {
        offset: [0, 12],
        blur: 32,
        spread: 0,
        color: Color32::from_black_alpha(if p.dark { 140 } else { 50 }),
    };
    v.popup_shadow = Shadow {
        offset: [0, 6],
        blur: 16,
        spread: 0,
        color: Color32::from_black_alpha(if p.dark { 110 } else { 36 }),
    };
    v.extreme_bg_color = p.stage;
    v.text_edit_bg_color = Some(p.raised);
    v.faint_bg_color = p.tint(p.raised, 0.5);
    v.code_bg_color = p.raised;
    v.hyperlink_color = p.accent;
    v.warn_fg_color = p.warn;
    v.error_fg_color = p.bad;
    v.weak_text_color = Some(p.muted);
    v.selection.bg_fill = p.tint(p.accent, 0.35);
    v.selection.stroke = Stroke::new(1.0, p.accent);
    v.slider_trailing_fill = true;
    v.handle_shape = egui::style::HandleShape::Circle;
    let radius = CornerRadius::same(6);
    let w = &mut v.widgets;
    for (visuals, fill, stroke, text) in [
        (&mut w.noninteractive, p.panel, p.line, p.text),
        (&mut w.inactive, p.raised, Color32::TRANSPARENT, p.text),
        (
            &mut w.hovered,
            p.raised.lerp_to_gamma(p.text, 0.08),
            p.line,
            p.text,
        ),
        (
            &mut w.active,
            p.raised.lerp_to_gamma(p.text, 0.14),
            p.accent,
            p.text,
        ),
        (&mut w.open, p.raised, p.line, p.text),
    ] {
        visuals.bg_fill = fill;
        visuals.weak_bg_fill = fill;
        visuals.bg_stroke = Stroke::new(1.0, stroke);
        visuals.fg_stroke = Stroke::new(1.0, text);
        visuals.corner_radius = radius;
        visuals.expansion = 0.0;
    }
    v
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_colours_differ_and_can_be_read_on() {
        let sets = [
            ClassSet::challenge(),
            ClassSet::from_labels(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]),
        ];
        for set in &sets {
            for palette in [Theme::Dark.palette(), Theme::Light.palette()] {
                let colors: Vec<Color32> =
                    set.iter().map(|(id, _)| palette.class(set, id)).collect();
                for (i, color) in colors.iter().enumerate() {
                    assert!(!colors[..i].contains(color), "class {i} repeats a colour");
                    assert!(contrast(*color, palette.on(*color)) > 3.0, "class {i}");
                }
            }
        }
    }

    #[test]
    fn text_stands_out_from_every_surface() {
        for p in [Theme::Dark.palette(), Theme::Light.palette()] {
            for surface in [p.background, p.panel, p.raised] {
                assert!(contrast(p.text, surface) > 7.0);
                assert!(contrast(p.muted, surface) > 4.0);
                assert!(contrast(p.accent, surface) > 3.0);
            }
            assert!(contrast(p.on_accent, p.accent) > 4.5);
        }
    }

    /// Contrast ratio of WCAG 2.1, 1 to 21.
    fn contrast(a: Color32, b: Color32) -> f32 {
        let luminance = |c: Color32| {
            let linear = egui::Rgba::from(c);
            0.2126 * linear.r() + 0.7152 * linear.g() + 0.0722 * linear.b()
        };
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }
}
