//! Thumbnails in a few large textures, so that a screen full of tiles is a few draw calls.

use std::collections::HashMap;

use egui::{ColorImage, Rect, TextureHandle, TextureOptions, pos2, vec2};

use super::Picture;
use crate::domain::ImageId;
use crate::imaging::{Gray, THUMBNAIL_PX};

/// Side of a page, which every graphics card can hold.
const PAGE: usize = 2048;
/// Side of a slot: a thumbnail and one pixel of air, so that neighbours do not bleed in.
const SLOT: usize = THUMBNAIL_PX as usize + 1;
const ROW: usize = PAGE / SLOT;
const PER_PAGE: usize = ROW * ROW;
/// 16 MiB each: more tiles than a large screen shows, with some to scroll back to.
const PAGES: usize = 8;

struct Slot {
    image: ImageId,
    size: [usize; 2],
    used: u64,
}

/// The pages, filled slot by slot; when all are full, the slot unused for longest is taken.
#[derive(Default)]
pub(super) struct Atlas {
    pages: Vec<TextureHandle>,
    slots: Vec<Slot>,
    by_image: HashMap<ImageId, usize>,
}

impl Atlas {
    /// The thumbnail, if it is here; it counts as used in `frame`.
    pub fn get(&mut self, image: ImageId, frame: u64) -> Option<Picture> {
        let index = *self.by_image.get(&image)?;
        let slot = &mut self.slots[index];
        slot.used = frame;
        let page = &self.pages[index / PER_PAGE];
        let [x, y] = corner(index);
        let size = vec2(slot.size[0] as f32, slot.size[1] as f32);
        let uv = Rect::from_min_size(pos2(x as f32, y as f32), size);
        Some(Picture {
            texture: page.id(),
            uv: Rect::from_min_max(
                (uv.min.to_vec2() / PAGE as f32).to_pos2(),
                (uv.max.to_vec2() / PAGE as f32).to_pos2(),
            ),
            size,
        })
    }

    /// Puts a thumbnail into a free slot, or into the one unused for longest.
    pub fn put(&mut self, ctx: &egui::Context, image: ImageId, pixels: &Gray, frame: u64) {
        let size = [pixels.width as usize, pixels.height as usize];
        if size[0].max(size[1]) >= SLOT || pixels.pixels.len() != size[0] * size[1] {
            return;
        }
        let known = self.by_image.get(&image).copied();
        let index = known.unwrap_or_else(|| self.free_slot());
        let slot = Slot {
            image,
            size,
            used: frame,
        };
        if index == self.slots.len() {
            self.slots.push(slot);
        } else {
            let before = std::mem::replace(&mut self.slots[index], slot);
            self.by_image.remove(&before.image);
        }
        self.by_image.insert(image, index);
        if self.pages.len() <= index / PER_PAGE {
            let blank = ColorImage::filled([PAGE, PAGE], egui::Color32::TRANSPARENT);
            let name = format!("thumbnails {}", self.pages.len());
            self.pages
                .push(ctx.load_texture(name, blank, TextureOptions::LINEAR));
        }
        self.pages[index / PER_PAGE].set_partial(
            corner(index),
            ColorImage::from_gray(size, &pixels.pixels),
            TextureOptions::LINEAR,
        );
    }

    fn free_slot(&self) -> usize {
        if self.slots.len() < PAGES * PER_PAGE {
            return self.slots.len();
        }
        let oldest = self.slots.iter().enumerate().min_by_key(|(_, s)| s.used);
        oldest.map_or(0, |(index, _)| index)
    }
}

/// The upper left corner of a slot on its page, in pixels.
fn corner(index: usize) -> [usize; 2] {
    let place = index % PER_PAGE;
    [(place % ROW) * SLOT, (place / ROW) * SLOT]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gray(value: u8) -> Gray {
        Gray {
            width: 4,
            height: 3,
            pixels: vec![value; 12],
        }
    }

    #[test]
    fn a_full_atlas_gives_up_what_was_unused_for_longest() {
        let ctx = egui::Context::default();
        let mut atlas = Atlas::default();
        for i in 0..PAGES * PER_PAGE {
            atlas.put(&ctx, ImageId::from(i), &gray(1), 1);
        }
        for i in (0..PAGES * PER_PAGE).filter(|i| *i != 700) {
            assert!(atlas.get(ImageId::from(i), 2).is_some());
        }
        atlas.put(&ctx, ImageId::from(99_999), &gray(2), 3);
        assert!(atlas.get(ImageId::from(700), 3).is_none());
        assert!(atlas.get(ImageId::from(99_999), 3).is_some());
        assert_eq!(atlas.pages.len(), PAGES);
    }

    #[test]
    fn a_picture_lies_within_its_page_and_a_wrong_size_is_refused() {
        let ctx = egui::Context::default();
        let mut atlas = Atlas::default();
        for i in 0..PER_PAGE {
            atlas.put(&ctx, ImageId::from(i), &gray(1), 1);
            let uv = atlas.get(ImageId::from(i), 1).expect("just put").uv;
            assert!(uv.min.x >= 0.0 && uv.max.x <= 1.0 && uv.max.y <= 1.0);
        }
        let wrong = Gray {
            width: 4,
            height: 4,
            pixels: vec![0; 3],
        };
        atlas.put(&ctx, ImageId(5000), &wrong, 1);
        assert!(atlas.get(ImageId(5000), 1).is_none());
    }
}
