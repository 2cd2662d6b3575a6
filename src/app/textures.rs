//! Thumbnails and large images on the graphics card. Nothing here decodes: what is missing is asked of
//! the loader, and until it comes the caller paints an empty tile.

mod atlas;
mod levels;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use egui::{Rect, TextureHandle, TextureId, TextureOptions, Vec2, pos2, vec2};

use self::atlas::Atlas;
pub use self::levels::Levels;
use self::levels::{Developed, Developer};
use crate::domain::ImageId;
use crate::imaging::Gray;
use crate::jobs::Wake;

/// Large images kept: the one shown, those next to it, and some to go back to.
const LARGE_KEPT: usize = 12;

/// Something to paint: a texture, or a part of one.
#[derive(Clone, Copy, Debug)]
pub struct Picture {
    /// The texture.
    pub texture: TextureId,
    /// The part of it.
    pub uv: Rect,
    /// Width and height in image pixels (of the thumbnail, for a thumbnail).
    pub size: Vec2,
}

/// What is missing on the graphics card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// A thumbnail that was to be painted.
    Thumbnail(ImageId),
    /// A large image, shown or soon to be.
    Large(ImageId),
}

struct Large {
    pixels: Arc<Gray>,
    texture: Option<(TextureHandle, Levels)>,
    /// What the contrast thread was last asked for.
    ordered: Option<Levels>,
    used: u64,
}

struct Inner {
    atlas: Atlas,
    large: HashMap<ImageId, Large>,
    failed: HashMap<ImageId, String>,
    thumbnails_wanted: Vec<ImageId>,
    large_wanted: Vec<ImageId>,
    levels: Levels,
    developer: Developer,
    frame: u64,
    /// Thumbnails painted in this frame.
    painted: usize,
    /// Thumbnails painted, and missing, in the frame before.
    last_frame: (usize, usize),
}

/// Thumbnails in atlas pages and a few large images. Views share it: asking for a picture notes that
/// it is wanted.
pub struct Textures {
    ctx: egui::Context,
    inner: RefCell<Inner>,
}

impl Textures {
    /// Nothing yet. `wake` is called when a large image is ready to be uploaded.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn new(ctx: &egui::Context, wake: Wake) -> std::io::Result<Self> {
        Ok(Self {
            ctx: ctx.clone(),
            inner: RefCell::new(Inner {
                atlas: Atlas::default(),
                large: HashMap::new(),
                failed: HashMap::new(),
                thumbnails_wanted: Vec::new(),
                large_wanted: Vec::new(),
                levels: Levels::default(),
                developer: Developer::spawn(wake)?,
                frame: 0,
                painted: 0,
                last_frame: (0, 0),
            }),
        })
    }

    /// The thumbnail of an image, or `None` while it is on its way.
    #[must_use]
    pub fn thumbnail(&self, image: ImageId) -> Option<Picture> {
        let inner = &mut *self.inner.borrow_mut();
        let found = inner.atlas.get(image, inner.frame);
        if found.is_none() && !inner.failed.contains_key(&image) {
            inner.thumbnails_wanted.push(image);
        }
        inner.painted += usize::from(found.is_some());
        found
    }

    /// The whole image at the present brightness and contrast, or `None` while it is on its way. While
    /// a change of contrast is worked in, the image as it was.
    #[must_use]
    pub fn large(&self, image: ImageId) -> Option<Picture> {
        let inner = &mut *self.inner.borrow_mut();
        inner.want_large(image);
        let large = inner.large.get(&image)?;
        let (texture, _) = large.texture.as_ref()?;
        Some(Picture {
            texture: texture.id(),
            uv: Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0)),
            size: vec2(large.pixels.width as f32, large.pixels.height as f32),
        })
    }

    /// Asks for images that will be shown soon, the most urgent first.
    pub fn prefetch(&self, images: impl IntoIterator<Item = ImageId>) {
        let inner = &mut *self.inner.borrow_mut();
        for image in images {
            inner.want_large(image);
        }
    }

    /// Why an image cannot be shown, if that is known.
    #[must_use]
    pub fn failure(&self, image: ImageId) -> Option<String> {
        self.inner.borrow().failed.get(&image).cloned()
    }

    /// Brightness and contrast of large images, from now on and for all.
    pub fn set_levels(&self, levels: Levels) {
        self.inner.borrow_mut().levels = levels;
    }

    /// Everything that was asked for and is not here, the most urgent first; begins a new frame.
    #[must_use]
    pub fn take_wanted(&self) -> Vec<Wanted> {
        let inner = &mut *self.inner.borrow_mut();
        inner.frame += 1;
        let large = std::mem::take(&mut inner.large_wanted);
        let thumbnails = std::mem::take(&mut inner.thumbnails_wanted);
        inner.last_frame = (std::mem::take(&mut inner.painted), thumbnails.len());
        large
            .into_iter()
            .map(Wanted::Large)
            .chain(thumbnails.into_iter().map(Wanted::Thumbnail))
            .collect()
    }

    /// Thumbnails that the frame before this one painted, and those it left empty because they were on
    /// their way.
    #[must_use]
    pub fn last_frame(&self) -> (usize, usize) {
        self.inner.borrow().last_frame
    }

    /// A thumbnail arrived.
    pub fn add_thumbnail(&self, image: ImageId, pixels: &Gray) {
        let inner = &mut *self.inner.borrow_mut();
        inner.atlas.put(&self.ctx, image, pixels, inner.frame);
    }

    /// A large image arrived.
    pub fn add_large(&self, image: ImageId, pixels: Arc<Gray>) {
        let inner = &mut *self.inner.borrow_mut();
        let used = inner.frame;
        let large = Large {
            pixels,
            texture: None,
            ordered: None,
            used,
        };
        inner.large.insert(image, large);
        inner.want_large(image);
        while inner.large.len() > LARGE_KEPT {
            let oldest = inner.large.iter().min_by_key(|(id, l)| (l.used, **id));
            let Some(oldest) = oldest.map(|(id, _)| *id) else {
                break;
            };
            inner.large.remove(&oldest);
        }
    }

    /// An image cannot be shown.
    pub fn add_failure(&self, image: ImageId, sentence: String) {
        self.inner.borrow_mut().failed.insert(image, sentence);
    }

    /// Uploads what the contrast thread has finished.
    pub fn upload(&self) {
        let inner = &mut *self.inner.borrow_mut();
        while let Some(Developed {
            image,
            levels,
            picture,
        }) = inner.developer.try_next()
        {
            let Some(large) = inner.large.get_mut(&image) else {
                continue;
            };
            // Smooth when shrunk, honest pixels when magnified.
            let options = TextureOptions {
                magnification: egui::TextureFilter::Nearest,
                minification: egui::TextureFilter::Linear,
                mipmap_mode: Some(egui::TextureFilter::Linear),
                ..TextureOptions::LINEAR
            };
            match &mut large.texture {
                Some((texture, at)) => {
                    texture.set(picture, options);
                    *at = levels;
                }
                None => {
                    let name = format!("image {}", image.0);
                    large.texture = Some((self.ctx.load_texture(name, picture, options), levels));
                }
            }
        }
    }
}

impl Inner {
    fn want_large(&mut self, image: ImageId) {
        let frame = self.frame;
        match self.large.get_mut(&image) {
            Some(large) => {
                large.used = frame;
                let at = large.texture.as_ref().map(|(_, at)| *at);
                // An order that the thread had no room for is given again with the next frame.
                if at != Some(self.levels)
                    && large.ordered != Some(self.levels)
                    && self.developer.develop(image, &large.pixels, self.levels)
                {
                    large.ordered = Some(self.levels);
                }
            }
            None if self.failed.contains_key(&image) || self.large_wanted.contains(&image) => {}
            None => self.large_wanted.push(image),
        }
    }
}
