//! Full images that may be looked at again soon.

use std::{collections::HashMap, sync::Arc};

use super::Gray;
use crate::domain::ImageId;

/// Full images in memory, up to a number of bytes; those not used for longest go first.
#[derive(Debug)]
pub struct FullCache {
    capacity: usize,
    bytes: usize,
    clock: u64,
    images: HashMap<ImageId, (Arc<Gray>, u64)>,
}

impl FullCache {
    /// An empty cache for at most `capacity` bytes of pixels.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            bytes: 0,
            clock: 0,
            images: HashMap::new(),
        }
    }

    /// The image, which counts as used now.
    pub fn get(&mut self, id: ImageId) -> Option<Arc<Gray>> {
        self.clock += 1;
        let (image, used) = self.images.get_mut(&id)?;
        *used = self.clock;
        Some(image.clone())
    }

    /// Adds or replaces an image. The newest is kept even if it alone is over the capacity.
    pub fn put(&mut self, id: ImageId, image: Arc<Gray>) {
        self.remove(id);
        self.clock += 1;
        self.bytes += image.pixels.len();
        self.images.insert(id, (image, self.clock));
        while self.bytes > self.capacity && self.images.len() > 1 {
            let oldest = self.images.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(id) = oldest.map(|(id, _)| *id) {
                self.remove(id);
            }
        }
    }

    /// Forgets an image.
    pub fn remove(&mut self, id: ImageId) {
        if let Some((image, _)) = self.images.remove(&id) {
            self.bytes -= image.pixels.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_bytes(n: u32) -> Arc<Gray> {
        Arc::new(Gray {
            width: n,
            height: 1,
            pixels: vec![0; n as usize],
        })
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut cache = FullCache::new(30);
        for id in 0..3 {
            cache.put(ImageId(id), of_bytes(10));
        }
        assert!(cache.get(ImageId(0)).is_some());
        cache.put(ImageId(3), of_bytes(10));
        let there: Vec<bool> = (0..4).map(|id| cache.get(ImageId(id)).is_some()).collect();
        assert_eq!(there, [true, false, true, true]);
        cache.put(ImageId(3), of_bytes(5));
        assert_eq!(cache.bytes, 25);
    }

    #[test]
    fn an_image_over_the_capacity_is_kept_until_the_next() {
        let mut cache = FullCache::new(30);
        cache.put(ImageId(0), of_bytes(1));
        cache.put(ImageId(1), of_bytes(100));
        assert!(cache.get(ImageId(0)).is_none() && cache.get(ImageId(1)).is_some());
        cache.put(ImageId(2), of_bytes(1));
        assert!(cache.get(ImageId(1)).is_none());
        assert_eq!(cache.bytes, 1);
    }
}
