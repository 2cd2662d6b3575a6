//! Decoding, resizing and the caches of thumbnails and pixels.
//!
//! An image is 8-bit grayscale from here on ([`Gray`]), whatever its file holds; [`Facts`] tells what
//! that was. Nothing here knows a manifest: callers pass pairs of [`ImageId`](crate::domain::ImageId)
//! and path. Each file is read once for the list and its thumbnail ([`scan`]), once for each working
//! size ([`PixelCache`]), and whenever somebody looks at it in full ([`Loader`]). The caches are keyed
//! by the content of the files, safe to delete, and never needed: where they cannot be written,
//! everything works on without them.

mod augment;
mod convert;
mod decode;
mod die_crop;
mod files;
mod framing;
mod full;
mod gates;
mod loader;
mod outliers;
mod parallel;
mod pixels;
mod resize;
mod scan;
#[cfg(test)]
mod testing;
mod thumbnails;

pub use augment::{Augmentation, AugmentationError, Transform};
pub use decode::{Decoded, Facts, Gray, ImageError, decode, decode_gray, open_gray, read_file};
pub use die_crop::{DIE_CROP_VERSION, Die, die_crop};
pub use files::FileIndex;
pub use framing::Framing;
pub use full::FullCache;
pub use gates::Gates;
pub use loader::{Kind, Loaded, Loader, Request};
pub use outliers::Outlier;
pub use parallel::WorkError;
pub use pixels::{FillSummary, PixelCache, Wanted};
pub use resize::{RESIZE_VERSION, fit_box, resize};
pub use scan::{ScanSummary, Scanned, scan};
pub use thumbnails::{THUMBNAIL_PX, ThumbnailStore, thumbnail};
