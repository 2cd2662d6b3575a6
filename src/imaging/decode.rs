//! From the bytes of a file to 8-bit grayscale.

use std::{
    fs::File,
    io::{Cursor, ErrorKind, Read as _},
    path::{Path, PathBuf},
};

use image::{
    ColorType, ImageDecoder as _, ImageError as CodecError, ImageFormat, ImageReader, Limits,
};
use serde::{Deserialize, Serialize};

use super::convert::luma;
use crate::storage::{self, Digest};

/// Longest side that is opened, in pixels.
const MAX_SIDE: u32 = 65_535;
/// Most memory the pixels of one image may take while they are decoded, in bytes.
const MAX_DECODED: u64 = 512 << 20;
/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 30;

/// An 8-bit grayscale image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gray {
    /// Pixels in a row, at least 1.
    pub width: u32,
    /// Rows, at least 1.
    pub height: u32,
    /// `width * height` pixels, row by row from the top; 0 is black.
    pub pixels: Vec<u8>,
}

/// What a file holds, before it became grayscale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bits a sample, as decoded: 8, 16 or 32. Fewer than 8 count as 8.
    pub bits: u8,
    /// Whether the file stores colour (a palette included), even if all of it looks grey.
    pub colour: bool,
    /// Hash of the file's bytes.
    #[serde(with = "hexadecimal")]
    pub content: Digest,
    /// Length of the file.
    pub bytes: u64,
}

/// An image and what its file held.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The pixels.
    pub gray: Gray,
    /// What the file held.
    pub facts: Facts,
}

/// Why an image could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// There is no such file.
    #[error("{path} is not there (any more); put it back or leave it out of the list")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The operating system does not let us read it.
    #[error("{path} could not be read: {source}; check its permissions and the drive it is on")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file has no bytes.
    #[error("{path} is empty (0 bytes), probably a copy that failed; copy it again")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The content is none of the image formats known, whatever the name says.
    #[error("{path} is not an image, whatever its name says; PNG, JPEG, BMP and TIFF are read")]
    NotAnImage {
        /// The file or folder.
        path: PathBuf,
    },
    /// An image format, or a kind of one, that is not read.
    #[error("{path} is an image of a kind that is not read ({what}); save it as 8-bit PNG")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// Which kind.
        what: String,
    },
    /// The image begins well and then is cut short or broken.
    #[error("{path} is damaged or cut short ({what}); copy it again from its source")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        what: String,
    },
    /// More pixels or bytes than are opened.
    #[error(
        "{path} is too large: {what}; at most {MAX_SIDE} pixels a side and 512 MB of pixels are opened"
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// How large it is or claims to be.
        what: String,
    },
}

impl ImageError {
    /// Whether the fault lies in the file's bytes, so that it stands until they change. The others may
    /// pass by themselves: a drive comes back, a permission is granted.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        !matches!(self, Self::Missing { .. } | Self::Unreadable { .. })
    }

    /// Sorts what the operating system said about `path`.
    pub(super) fn io(path: &Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Self::Missing { path },
            _ => Self::Unreadable { path, source },
        }
    }
}

/// Reads the bytes of an image file.
///
/// # Errors
/// [`ImageError`] when there is no such file, it cannot be read, is empty, too large, or a folder.
pub fn read_file(path: &Path) -> Result<Vec<u8>, ImageError> {
    let io = |source| ImageError::io(path, source);
    // Looked at before opening: opening a pipe would wait for its other end.
    let facts = std::fs::metadata(path).map_err(io)?;
    if !facts.is_file() {
        return Err(ImageError::NotAnImage {
            path: path.to_owned(),
        });
    }
    if facts.len() > MAX_FILE {
        return Err(ImageError::TooLarge {
            path: path.to_owned(),
            what: format!("{} MB", facts.len() >> 20),
        });
    }
    let mut bytes = Vec::with_capacity(facts.len() as usize + 1);
    let file = File::open(path).map_err(io)?;
    file.take(MAX_FILE).read_to_end(&mut bytes).map_err(io)?;
    if bytes.is_empty() {
        return Err(ImageError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(bytes)
}

/// Decodes `bytes`, which were read from `path` (only to name it), and hashes them.
///
/// The format is told by the content, not by the name. 16 bits become 8 by dropping the lower half.
/// Colour becomes luma as ITU-R BT.601 weighs it, with the rounding of Pillow's `convert("L")`, since
/// that is what the study's images went through (the `image` crate's own conversion weighs by BT.709).
/// An alpha channel is ignored, as Pillow does. An orientation tag is ignored: pixels stay as stored.
///
/// # Errors
/// [`ImageError`] for anything that is not a whole image of a known kind and a sane size.
pub fn decode(path: &Path, bytes: &[u8]) -> Result<Decoded, ImageError> {
    let (gray, color) = decode_pixels(path, bytes)?;
    let facts = Facts {
        width: gray.width,
        height: gray.height,
        bits: bits_of(color),
        colour: color.has_color(),
        content: storage::digest(bytes),
        bytes: bytes.len() as u64,
    };
    Ok(Decoded { gray, facts })
}

/// The pixels alone, see [`decode`].
///
/// # Errors
/// See [`decode`].
pub fn decode_gray(path: &Path, bytes: &[u8]) -> Result<Gray, ImageError> {
    decode_pixels(path, bytes).map(|(gray, _)| gray)
}

/// Reads and decodes the file `path`, see [`decode`].
///
/// # Errors
/// See [`read_file`] and [`decode`].
pub fn open_gray(path: &Path) -> Result<Gray, ImageError> {
    decode_gray(path, &read_file(path)?)
}

fn decode_pixels(path: &Path, bytes: &[u8]) -> Result<(Gray, ColorType), ImageError> {
    let path_of = || path.to_owned();
    if bytes.is_empty() {
        return Err(ImageError::Empty { path: path_of() });
    }
    let Ok(format) = image::guess_format(bytes) else {
        return Err(ImageError::NotAnImage { path: path_of() });
    };
    let codec = |error| sort(path, error);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(codec)?;
    let (width, height) = decoder.dimensions();
    let color = decoder.color_type();
    if width == 0 || height == 0 {
        return Err(ImageError::Damaged {
            path: path_of(),
            what: format!("it claims {width} x {height} pixels"),
        });
    }
    if decoder.total_bytes() > MAX_DECODED {
        return Err(ImageError::TooLarge {
            path: path_of(),
            what: format!("it claims {width} x {height} pixels"),
        });
    }
    // The decoder is lenient and would fill up with grey what is missing.
    if format == ImageFormat::Jpeg && !jpeg_is_whole(bytes) {
        return Err(ImageError::Damaged {
            path: path_of(),
            what: "the end of the JPEG is missing".to_owned(),
        });
    }
    let mut samples = vec![0; decoder.total_bytes() as usize];
    decoder.read_image(&mut samples).map_err(codec)?;
    let Some(pixels) = luma(samples, color) else {
        return Err(ImageError::Unsupported {
            path: path_of(),
            what: format!("{color:?}"),
        });
    };
    let gray = Gray {
        width,
        height,
        pixels,
    };
    Ok((gray, color))
}

fn bits_of(color: ColorType) -> u8 {
    (color.bits_per_pixel() / u16::from(color.channel_count())) as u8
}

/// Whether an end marker (`FF D9`) follows the last start of scan (`FF DA`). Neither can occur inside
/// the coded data, where an `FF` is always followed by `00` or a restart marker (ITU-T T.81, B.1.1.5).
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    let last = |marker| bytes.array_windows().rposition(|w| *w == [0xFF, marker]);
    last(0xD9) > last(0xDA)
}

fn sort(path: &Path, error: CodecError) -> ImageError {
    let path = path.to_owned();
    match error {
        CodecError::Limits(error) => ImageError::TooLarge {
            path,
            what: error.to_string(),
        },
        CodecError::Unsupported(error) => ImageError::Unsupported {
            path,
            what: error.to_string(),
        },
        error => ImageError::Damaged {
            path,
            what: error.to_string(),
        },
    }
}

/// A digest as hexadecimal text.
mod hexadecimal {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::storage::{self, Digest};

    pub fn serialize<S: Serializer>(digest: &Digest, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&storage::hex(digest))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Digest, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        let hash = blake3::Hash::from_hex(text.as_bytes()).map_err(D::Error::custom)?;
        Ok(*hash.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use image::DynamicImage;
    use proptest::prelude::*;

    use super::*;
    use crate::imaging::testing::{dynamic, encode, png, ramp};

    const FORMATS: [ImageFormat; 4] = [
        ImageFormat::Png,
        ImageFormat::Jpeg,
        ImageFormat::Bmp,
        ImageFormat::Tiff,
    ];

    fn named(bytes: &[u8]) -> Result<Decoded, ImageError> {
        decode(Path::new("die/7.png"), bytes)
    }

    fn flat_rgb() -> DynamicImage {
        image::RgbImage::from_pixel(20, 10, image::Rgb([200, 100, 50])).into()
    }

    #[test]
    fn every_format_is_told_by_its_content() {
        let gray = ramp(31, 17);
        for format in FORMATS {
            let bytes = encode(&dynamic(&gray), format);
            let decoded = named(&bytes).expect("decoded");
            let facts = &decoded.facts;
            assert_eq!((facts.width, facts.height, facts.bits), (31, 17, 8));
            // A BMP stores grays by a palette.
            assert_eq!(facts.colour, format == ImageFormat::Bmp);
            assert_eq!(facts.content, storage::digest(&bytes));
            assert_eq!(facts.bytes, bytes.len() as u64);
            if format == ImageFormat::Jpeg {
                assert_eq!(decoded.gray.pixels.len(), 31 * 17);
            } else {
                assert_eq!(decoded.gray, gray, "{format:?}");
            }
        }
    }

    #[test]
    fn colour_becomes_luma_and_is_said() {
        for format in FORMATS {
            let decoded = named(&encode(&flat_rgb(), format)).expect("decoded");
            assert!(decoded.facts.colour);
            for pixel in decoded.gray.pixels {
                assert!(pixel.abs_diff(124) <= 1, "{format:?}: {pixel}");
            }
        }
    }

    #[test]
    fn sixteen_bits_keep_the_upper_half_and_are_said() {
        let deep = image::ImageBuffer::from_fn(9, 5, |x, y| image::Luma([(x * 256 + y) as u16]));
        for format in [ImageFormat::Png, ImageFormat::Tiff] {
            let decoded = named(&encode(&deep.clone().into(), format)).expect("decoded");
            assert_eq!((decoded.facts.bits, decoded.facts.colour), (16, false));
            let expected: Vec<u8> = (0..45).map(|i| (i % 9) as u8).collect();
            assert_eq!(decoded.gray.pixels, expected);
        }
    }

    #[test]
    fn a_file_cut_short_is_damaged_wherever_it_is_cut() {
        for format in FORMATS {
            let whole = encode(&dynamic(&ramp(64, 64)), format);
            for end in (20..whole.len() - 12).step_by(13) {
                let error = named(&whole[..end]).expect_err("cut short");
                let text = error.to_string();
                assert!(
                    text.starts_with("die/7.png is damaged"),
                    "{format:?}: {text}"
                );
            }
        }
    }

    #[test]
    fn a_flipped_bit_in_a_png_is_found() {
        let mut bytes = png(&ramp(64, 64));
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        let error = named(&bytes).expect_err("its checksum is wrong");
        assert!(matches!(error, ImageError::Damaged { .. }), "{error}");
    }

    #[test]
    fn what_is_no_image_is_told_from_what_is_not_read() {
        let text = named(b"filename,label\n7.png,GOOD\n").expect_err("text");
        assert!(matches!(text, ImageError::NotAnImage { .. }), "{text}");
        let gif = named(b"GIF89a\x01\0\x01\0\0\0\0;").expect_err("GIF");
        assert!(matches!(gif, ImageError::Unsupported { .. }), "{gif}");
        let empty = named(b"").expect_err("empty");
        assert!(empty.to_string().contains("0 bytes"), "{empty}");
    }

    #[test]
    fn a_small_file_that_claims_to_be_huge_takes_no_memory() {
        for (side, shape) in [(100_000_u32, "too large"), (60_000, "too large")] {
            let mut bytes = png(&ramp(8, 8));
            bytes[16..20].copy_from_slice(&side.to_be_bytes());
            bytes[20..24].copy_from_slice(&side.to_be_bytes());
            let checksum = crc32(&bytes[12..29]).to_be_bytes();
            bytes[29..33].copy_from_slice(&checksum);
            let error = named(&bytes).expect_err("huge").to_string();
            assert!(error.contains(shape), "{error}");
        }
    }

    /// CRC-32 of ISO 3309, as PNG wants it.
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |c, _| {
                (c >> 1) ^ (0xEDB8_8320 & 0_u32.wrapping_sub(c & 1))
            })
        })
    }

    #[test]
    fn files_that_cannot_be_read_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("empty.png"), b"").expect("written");
        std::fs::create_dir(path("folder.png")).expect("created");
        let error = |name: &str| {
            let error = open_gray(&path(name)).expect_err("not to be opened");
            assert!(error.to_string().contains(name), "{error}");
            error
        };
        assert!(matches!(error("gone.png"), ImageError::Missing { .. }));
        assert!(matches!(error("empty.png"), ImageError::Empty { .. }));
        assert!(matches!(error("folder.png"), ImageError::NotAnImage { .. }));
        assert!(matches!(error("\0.png"), ImageError::Unreadable { .. }));
        assert!(!error("gone.png").is_lasting() && error("empty.png").is_lasting());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_without_permission_is_unreadable() {
        use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret.png");
        std::fs::write(&path, png(&ramp(2, 2))).expect("written");
        std::fs::set_permissions(&path, Permissions::from_mode(0o000)).expect("changed");
        match open_gray(&path) {
            Err(error) => assert!(matches!(error, ImageError::Unreadable { .. }), "{error}"),
            // The superuser may read everything.
            Ok(gray) => assert_eq!(gray, ramp(2, 2)),
        }
    }

    #[test]
    fn facts_survive_json() {
        let facts = named(&png(&ramp(3, 2))).expect("decoded").facts;
        let text = serde_json::to_string(&facts).expect("written");
        assert!(text.contains(&storage::hex(&facts.content)), "{text}");
        assert_eq!(serde_json::from_str::<Facts>(&text).expect("read"), facts);
        assert!(
            serde_json::from_str::<Facts>(&text.replace("content\":\"", "content\":\"zz")).is_err()
        );
    }

    proptest! {
        #[test]
        fn mutated_files_never_panic(
            format in 0..FORMATS.len(),
            deep: bool,
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
            early in any::<bool>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let image = if deep { flat_rgb() } else { dynamic(&ramp(33, 21)) };
            let mut bytes = encode(&image, FORMATS[format]);
            // Half of the time in the header, where an edit does the most harm.
            let reach = if early { bytes.len().min(64) } else { bytes.len() };
            for (place, value) in &edits {
                let place = place.index(reach);
                bytes[place] = *value;
            }
            let end = cut.index(bytes.len() * 4).min(bytes.len());
            if let Ok(decoded) = named(&bytes[..end]) {
                let Gray { width, height, pixels } = decoded.gray;
                prop_assert_eq!(pixels.len() as u64, u64::from(width) * u64::from(height));
            }
        }

        #[test]
        fn noise_never_panics(
            magic in prop::sample::select(vec![
                &b"\x89PNG\r\n\x1a\n"[..], b"\xFF\xD8\xFF", b"BM", b"II*\0", b"MM\0*", b"",
            ]),
            noise in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            drop(named(&[magic, &noise].concat()));
        }
    }
}
