//! Decoding, resizing and the caches of thumbnails and pixels.
