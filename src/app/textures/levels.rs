//! Brightness and contrast, worked into an image on a thread of its own.

use std::sync::Arc;
use std::thread;

use crossbeam_channel as channel;
use egui::{Color32, ColorImage};

use crate::domain::ImageId;
use crate::imaging::Gray;
use crate::jobs::Wake;

/// Which grey values span black to white: everything below `low` is black, above `high` white.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// Shown as black.
    pub low: u8,
    /// Shown as white; above `low`.
    pub high: u8,
}

impl Default for Levels {
    /// As in the file.
    fn default() -> Self {
        Self { low: 0, high: 255 }
    }
}

impl Levels {
    /// The window centred at `center` and `width` grey values wide, kept within `0..=255`.
    #[must_use]
    pub fn window(center: f32, width: f32) -> Self {
        let width = width.clamp(2.0, 255.0);
        let low = (center - width / 2.0).clamp(0.0, 255.0 - width).round();
        Self {
            low: low as u8,
            high: (low + width).round().min(255.0) as u8,
        }
    }

    /// Centre and width in grey values.
    #[must_use]
    pub fn center_width(self) -> (f32, f32) {
        let (low, high) = (f32::from(self.low), f32::from(self.high));
        (f32::midpoint(low, high), high - low)
    }

    fn table(self) -> [Color32; 256] {
        let (low, high) = (f32::from(self.low), f32::from(self.high.max(1)));
        let span = (high - low).max(1.0);
        std::array::from_fn(|grey| {
            let share = ((grey as f32 - low) / span).clamp(0.0, 1.0);
            Color32::from_gray((share * 255.0).round() as u8)
        })
    }
}

struct Order {
    image: ImageId,
    pixels: Arc<Gray>,
    levels: Levels,
}

/// An image with brightness and contrast worked in.
pub(super) struct Developed {
    pub image: ImageId,
    pub levels: Levels,
    pub picture: ColorImage,
}

/// The thread. It takes a few orders ahead and no more.
pub(super) struct Developer {
    orders: channel::Sender<Order>,
    done: channel::Receiver<Developed>,
}

impl Developer {
    pub fn spawn(wake: Wake) -> std::io::Result<Self> {
        let (orders, waiting) = channel::bounded::<Order>(8);
        let (finished, done) = channel::bounded(16);
        thread::Builder::new()
            .name("contrast".to_owned())
            .spawn(move || {
                for order in &waiting {
                    let table = order.levels.table();
                    let size = [order.pixels.width as usize, order.pixels.height as usize];
                    let pixels = order.pixels.pixels.iter().map(|g| table[usize::from(*g)]);
                    let picture = ColorImage::new(size, pixels.collect());
                    let developed = Developed {
                        image: order.image,
                        levels: order.levels,
                        picture,
                    };
                    if finished.send(developed).is_err() {
                        break;
                    }
                    wake();
                }
            })?;
        Ok(Self { orders, done })
    }

    /// Orders an image; false if there is no room for the order now.
    pub fn develop(&self, image: ImageId, pixels: &Arc<Gray>, levels: Levels) -> bool {
        let order = Order {
            image,
            pixels: pixels.clone(),
            levels,
        };
        self.orders.try_send(order).is_ok()
    }

    pub fn try_next(&self) -> Option<Developed> {
        self.done.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_stays_within_grey_values() {
        assert_eq!(Levels::window(127.5, 255.0), Levels::default());
        assert_eq!(Levels::window(0.0, 100.0), Levels { low: 0, high: 100 });
        assert_eq!(
            Levels::window(400.0, 10.0),
            Levels {
                low: 245,
                high: 255
            }
        );
    }

    #[test]
    fn levels_stretch_and_clip() {
        let table = Levels {
            low: 128,
            high: 255,
        }
        .table();
        assert_eq!(table[0], Color32::BLACK);
        assert_eq!(table[128], Color32::BLACK);
        assert_eq!(table[255], Color32::WHITE);
        let plain = Levels::default().table();
        assert!((0..=255_u8).all(|g| plain[usize::from(g)] == Color32::from_gray(g)));
    }
}
