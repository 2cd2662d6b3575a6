//! Which part of an image a network sees.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{DIE_CROP_VERSION, Die, Gray};
use crate::storage::{Digest, digest_parts};

/// Which part of an image becomes the square that a network sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// The whole frame, as the study had it.
    #[default]
    Whole,
    /// The upright strip that holds the ribbons ([`die_crop`](super::die_crop)), as the organisers had it. For images
    /// whose die is known.
    DieCrop,
    /// One tile of that strip, counted from above, below [`Framing::STRIP_TILES`]: what is small against the frame is
    /// large here. To look for drift; no plan names it.
    #[serde(skip)]
    StripTile(u8),
}

impl Framing {
    /// Tiles that the strip is cut into, one below the other: 160 x 140 or 160 x 180 pixels each.
    pub const STRIP_TILES: u8 = 4;

    /// The word in a plan, `whole` or `die_crop`, and in the names of files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::DieCrop => "die_crop",
            Self::StripTile(_) => "strip_tile",
        }
    }

    /// Stands for what is seen of the image of `die` in the file of this `content`: the key for
    /// whatever is computed from its pixels. It is `content` itself for whole frames, for which the die
    /// does not matter.
    #[must_use]
    pub fn identity(self, content: &Digest, die: Option<Die>) -> Digest {
        // An unknown die has an identity, too, under which nothing is ever kept.
        let die = die.map_or("", Die::name).as_bytes();
        let version = DIE_CROP_VERSION.as_bytes();
        match self {
            Self::Whole => *content,
            Self::DieCrop => digest_parts([&content[..], b"framed", version, die]),
            Self::StripTile(tile) => {
                let tile = [tile, Self::STRIP_TILES];
                digest_parts([&content[..], b"tile", &tile, version, die])
            }
        }
    }

    /// The die to crop an image to; `None` to take all of it.
    ///
    /// # Errors
    /// The sentence why neither is possible, which names the image's file `path`: the die is needed and
    /// not known.
    pub(super) fn crop(self, path: &Path, die: Option<Die>) -> Result<Option<Die>, String> {
        match (self, die) {
            (Self::Whole, _) => Ok(None),
            (Self::DieCrop | Self::StripTile(_), Some(die)) => Ok(Some(die)),
            (Self::DieCrop | Self::StripTile(_), None) => Err(format!(
                "{} cannot be cropped: its die is not known; write Die01, Die02, Die03 or Die04 into \
                 the column lib of the data set's CSV, or take whole frames",
                path.display()
            )),
        }
    }

    /// What is seen of the `strip` of an image.
    ///
    /// # Panics
    /// For a tile that is none of the strip's.
    pub(super) fn cut(self, strip: Gray) -> Gray {
        let Self::StripTile(tile) = self else {
            return strip;
        };
        assert!(tile < Self::STRIP_TILES, "one of the strip's tiles");
        let width = strip.width as usize;
        let edge = |tile: u8| strip.height * u32::from(tile) / u32::from(Self::STRIP_TILES);
        let (upper, lower) = (edge(tile), edge(tile + 1));
        Gray {
            width: strip.width,
            height: lower - upper,
            pixels: strip.pixels[upper as usize * width..lower as usize * width].to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::digest;

    #[test]
    fn what_is_seen_is_told_apart() {
        let (a, b) = (digest(b"a"), digest(b"b"));
        assert_eq!(Framing::Whole.identity(&a, Some(Die::Die01)), a);
        let mut all = vec![a, b];
        for content in [a, b] {
            for die in [None].into_iter().chain(Die::ALL.map(Some)) {
                all.push(Framing::DieCrop.identity(&content, die));
                all.push(Framing::StripTile(0).identity(&content, die));
                all.push(Framing::StripTile(3).identity(&content, die));
            }
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 32);
    }

    #[test]
    fn it_has_a_word_in_a_plan() {
        for framing in [Framing::Whole, Framing::DieCrop] {
            let word = serde_json::Value::from(framing.name());
            assert_eq!(serde_json::to_value(framing).expect("a word"), word);
        }
        assert_eq!(Framing::default(), Framing::Whole);
        // A tile is not for plans.
        assert!(serde_json::to_value(Framing::StripTile(0)).is_err());
        assert!(serde_json::from_value::<Framing>("strip_tile".into()).is_err());
    }

    #[test]
    fn tiles_are_the_strip_cut_across() {
        let strip = Gray {
            width: 2,
            height: 10,
            pixels: (0..20).collect(),
        };
        assert_eq!(Framing::DieCrop.cut(strip.clone()), strip);
        let tiles =
            (0..Framing::STRIP_TILES).map(|tile| Framing::StripTile(tile).cut(strip.clone()));
        let tiles: Vec<Gray> = tiles.collect();
        let heights: Vec<u32> = tiles.iter().map(|tile| tile.height).collect();
        assert_eq!(heights, [2, 3, 2, 3]);
        let pixels: Vec<u8> = tiles.into_iter().flat_map(|tile| tile.pixels).collect();
        assert_eq!(pixels, strip.pixels);
    }

    #[test]
    fn an_unknown_die_is_a_sentence() {
        let path = Path::new("a/b.png");
        assert_eq!(Framing::Whole.crop(path, None), Ok(None));
        let known = Some(Die::Die02);
        assert_eq!(Framing::Whole.crop(path, known), Ok(None));
        assert_eq!(Framing::DieCrop.crop(path, known), Ok(known));
        let text = Framing::DieCrop.crop(path, None).expect_err("no die");
        assert!(text.contains("a/b.png") && text.contains("lib"), "{text}");
    }
}
