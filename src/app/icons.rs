//! The icons of `ui_assets/icons`, tinted where they are used.

use egui::{Color32, Image, ImageSource, Vec2, include_image};

macro_rules! icons {
    ($($(#[$doc:meta])* $name:ident = $file:literal,)*) => {
        /// One icon; its file bears its name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Icon {
            $($(#[$doc])* $name,)*
        }

        impl Icon {
            fn source(self) -> ImageSource<'static> {
                match self {
                    $(Self::$name => include_image!(concat!("../../ui_assets/icons/", $file, ".svg")),)*
                }
            }
        }
    };
}

icons! {
    /// A grid.
    Browse = "browse",
    /// A tick.
    Check = "check",
    /// An arrow head, down.
    ChevronDown = "chevron-down",
    /// An arrow head, to the right.
    ChevronRight = "chevron-right",
    /// A cross.
    Close = "close",
    /// The command palette.
    Command = "command",
    /// Brightness and contrast.
    Contrast = "contrast",
    /// The processor.
    Cpu = "cpu",
    /// The drift view.
    Drift = "drift",
    /// Something failed.
    Error = "error",
    /// Write to a file.
    Export = "export",
    /// Shown.
    Eye = "eye",
    /// Hidden.
    EyeOff = "eye-off",
    /// Filters.
    Filter = "filter",
    /// A flag for a colleague.
    Flag = "flag",
    /// A folder.
    Folder = "folder",
    /// Help.
    Help = "help",
    /// A single image.
    Image = "image",
    /// Read from a file.
    Import = "import",
    /// A notice.
    Info = "info",
    /// The label view.
    Label = "label",
    /// Several things on top of each other.
    Layers = "layers",
    /// Read-only.
    Lock = "lock",
    /// Less.
    Minus = "minus",
    /// The dark theme.
    Moon = "moon",
    /// Wait.
    Pause = "pause",
    /// Start, go on.
    Play = "play",
    /// More.
    Plus = "plus",
    /// Do again.
    Redo = "redo",
    /// Compute afresh.
    Refresh = "refresh",
    /// The review view.
    Review = "review",
    /// A magnifier.
    Search = "search",
    /// An order.
    Sort = "sort",
    /// Stop.
    Stop = "stop",
    /// The light theme.
    Sun = "sun",
    /// A threshold, an aim.
    Target = "target",
    /// The train view.
    Train = "train",
    /// Take back.
    Undo = "undo",
    /// Worth a look.
    Warning = "warning",
    /// One image pixel on one screen pixel.
    Zoom100 = "zoom-100",
    /// The whole image.
    ZoomFit = "zoom-fit",
}

impl Icon {
    /// The icon, `size` points wide and high.
    pub fn image(self, size: f32, tint: Color32) -> Image<'static> {
        Image::new(self.source())
            .fit_to_exact_size(Vec2::splat(size))
            .tint(tint)
    }
}
