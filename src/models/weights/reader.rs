//! Safetensors files, looked at before they are read: a file of any size costs no more memory than its header and what
//! is wanted of it.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use safetensors::tensor::{Metadata, TensorInfo};

use super::WeightsError;
use crate::storage::{Digest, StorageError};

/// A file starts with the length of its header in so many bytes, and the header ends at a multiple of them.
pub(in crate::models) const LENGTH: usize = 8;
/// The longest header that safetensors allows, bytes.
pub(super) const LONGEST_HEADER: u64 = 100_000_000;

/// A safetensors file whose header was read and agrees with its length, and whose tensors were not read yet.
pub(in crate::models) struct Reader {
    path: PathBuf,
    /// Stands where the tensors begin.
    file: File,
    /// The bytes before the tensors.
    head: Vec<u8>,
    header: Metadata,
}

impl Reader {
    /// Opens the file `path` and reads its header.
    ///
    /// # Errors
    /// [`WeightsError::Storage`], [`WeightsError::Pickle`]; [`WeightsError::Header`] and [`WeightsError::Format`] for
    /// what is no safetensors file, or not a whole one.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let failed = |error| StorageError::io("read", path, error);
        let wrong = |what| WeightsError::Format {
            path: path.to_owned(),
            what,
        };
        let mut file = File::open(path).map_err(failed)?;
        let mut head = Vec::new();
        let mut start = (&mut file).take(LENGTH as u64);
        start.read_to_end(&mut head).map_err(failed)?;
        refuse_pickle(path, &head)?;
        let length = file.metadata().map_err(failed)?.len();
        let announced = match head[..].try_into().map(u64::from_le_bytes) {
            Ok(0) => return Err(wrong("it begins with zeros".to_owned())),
            Ok(announced) => announced,
            Err(_) if head.is_empty() => return Err(wrong("it is empty".to_owned())),
            Err(_) => return Err(wrong(format!("it has no more than {length} bytes"))),
        };
        if announced > LONGEST_HEADER {
            return Err(WeightsError::Header {
                path: path.to_owned(),
                announced,
            });
        }
        let end = LENGTH as u64 + announced;
        if end > length {
            let what = format!("it has {length} bytes, and its header alone takes {end}");
            return Err(wrong(what));
        }
        let mut rest = (&mut file).take(announced);
        rest.read_to_end(&mut head).map_err(failed)?;
        // Checks as well that the tensors follow each other without gaps, each as long as its shape and type say.
        let header: Metadata = serde_json::from_slice(&head[LENGTH..])
            .map_err(|e| wrong(format!("its header is not understood: {e}")))?;
        let wanted = (head.len() as u64).saturating_add(header.data_len() as u64);
        if length < wanted {
            return Err(wrong(format!("it has {length} of {wanted} bytes")));
        }
        if length > wanted {
            let more = length - wanted;
            return Err(wrong(format!("{more} bytes follow its last tensor")));
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            head,
            header,
        })
    }

    /// What its header says.
    pub fn header(&self) -> &Metadata {
        &self.header
    }

    /// Hands the bytes of each tensor that is `wanted` to `take`, in the order of the file, and returns the digest of
    /// the whole file. What is not wanted is not kept in memory.
    ///
    /// # Errors
    /// [`WeightsError::Storage`]; those of `take`.
    pub fn read(
        mut self,
        wanted: impl Fn(&str) -> bool,
        mut take: impl FnMut(&str, &TensorInfo, &[u8]) -> Result<(), WeightsError>,
    ) -> Result<Digest, WeightsError> {
        let failed = |error| StorageError::io("read", &self.path, error);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.head);
        let mut bytes = Vec::new();
        for name in self.header.offset_keys() {
            let Some(info) = self.header.info(&name) else {
                continue;
            };
            let (from, to) = info.data_offsets;
            if wanted(&name) {
                bytes.resize(to - from, 0);
                self.file.read_exact(&mut bytes).map_err(failed)?;
                hasher.update(&bytes);
                take(&name, info, &bytes)?;
            } else {
                let mut part = (&mut self.file).take((to - from) as u64);
                hasher.update_reader(&mut part).map_err(failed)?;
                if part.limit() > 0 {
                    return Err(failed(io::ErrorKind::UnexpectedEof.into()).into());
                }
            }
        }
        Ok(*hasher.finalize().as_bytes())
    }

    /// All bytes of the file, its header, and where the tensors begin.
    ///
    /// # Errors
    /// [`WeightsError::Storage`].
    pub fn read_whole(mut self) -> Result<(Vec<u8>, Metadata, usize), WeightsError> {
        let start = self.head.len();
        let mut bytes = self.head;
        bytes.resize(start + self.header.data_len(), 0);
        self.file
            .read_exact(&mut bytes[start..])
            .map_err(|error| StorageError::io("read", &self.path, error))?;
        Ok((bytes, self.header, start))
    }
}

/// Refuses what begins like a zip archive or a pickle.
fn refuse_pickle(path: &Path, start: &[u8]) -> Result<(), WeightsError> {
    let zip = start.starts_with(b"PK\x03\x04");
    // A safetensors file starts with the length of its header, whose upper bytes are 0.
    let long_header = start.get(4..8).is_some_and(|upper| upper != [0; 4]);
    let pickle = long_header && matches!(start[..2], [0x80, 2..=5]);
    if zip || pickle {
        return Err(WeightsError::Pickle {
            path: path.to_owned(),
        });
    }
    Ok(())
}
