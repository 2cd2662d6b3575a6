//! Named fp32 tensors in one safetensors file, with words beside them in its header.

use std::{
    collections::{BTreeMap, HashMap},
    io::Write as _,
    path::{Path, PathBuf},
};

use safetensors::{
    Dtype,
    tensor::{Metadata, TensorInfo},
};
use tch::{Device, Kind, Tensor};

use super::{
    values::bytes,
    weights::{
        Misfit, WeightsError,
        reader::{LENGTH, Reader},
    },
};
use crate::storage::{Digest, atomic_write_with, digest};

/// What to do about a file that does not have the tensors it should: only a training is continued from such files.
const REMEDY: &str = "start a new training";

/// A file of tensors that was read.
pub struct TensorFile {
    path: PathBuf,
    bytes: Vec<u8>,
    header: Metadata,
    /// Where the tensors begin.
    start: usize,
}

impl TensorFile {
    /// Writes `tensors`, turned into fp32, and `words` durably, replacing `path` as a whole; returns the digest
    /// of the file. Plain tensors of the CPU are written from where they are.
    ///
    /// # Errors
    /// [`WeightsError::Storage`].
    pub fn write(
        path: &Path,
        tensors: &BTreeMap<String, Tensor>,
        words: HashMap<String, String>,
    ) -> Result<Digest, WeightsError> {
        let header = header(tensors, words).map_err(|e| format_error(path, e.to_string()))?;
        let mut hasher = blake3::Hasher::new();
        atomic_write_with(path, |file| {
            let mut put = |part: &[u8]| {
                hasher.update(part);
                file.write_all(part)
            };
            put(&(header.len() as u64).to_le_bytes())?;
            put(&header)?;
            for tensor in tensors.values() {
                let tensor = tensor.detach().to_device(Device::Cpu);
                put(bytes(&tensor.to_kind(Kind::Float).contiguous()))?;
            }
            Ok(())
        })?;
        Ok(*hasher.finalize().as_bytes())
    }

    /// Reads the file `path` as a whole, once its header agrees with its length.
    ///
    /// # Errors
    /// [`WeightsError`], for a file that cannot be read, is cut short or is of another kind.
    pub fn read(path: &Path) -> Result<Self, WeightsError> {
        let (bytes, header, start) = Reader::open(path)?.read_whole()?;
        Ok(Self {
            path: path.to_owned(),
            bytes,
            header,
            start,
        })
    }

    /// The word `key` in the header of the file `path`, whose tensors are not read.
    ///
    /// # Errors
    /// As [`TensorFile::read`].
    pub fn read_word(path: &Path, key: &str) -> Result<Option<String>, WeightsError> {
        let file = Reader::open(path)?;
        Ok(word(file.header(), key).map(str::to_owned))
    }

    /// Digest of the file.
    #[must_use]
    pub fn digest(&self) -> Digest {
        digest(&self.bytes)
    }

    /// The word `key` in its header.
    #[must_use]
    pub fn word(&self, key: &str) -> Option<&str> {
        word(&self.header, key)
    }

    /// The tensor `name`, which must be of this shape, on the CPU.
    ///
    /// # Errors
    /// [`WeightsError::Mismatch`] for a missing tensor, or one of another shape; [`WeightsError::Dtype`].
    pub fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, WeightsError> {
        let mismatch = |misfit: Misfit| WeightsError::Mismatch {
            path: self.path.clone(),
            misfit: Box::new(misfit),
            remedy: REMEDY,
        };
        let name = name.to_owned();
        let Some(info) = self.header.info(&name) else {
            return Err(mismatch(Misfit {
                missing: vec![name],
                ..Misfit::default()
            }));
        };
        let found: Vec<i64> = info.shape.iter().map(|d| *d as i64).collect();
        if found != shape {
            return Err(mismatch(Misfit {
                wrong_shape: vec![(name, found, shape.to_vec())],
                ..Misfit::default()
            }));
        }
        if info.dtype != Dtype::F32 {
            return Err(WeightsError::Dtype {
                path: self.path.clone(),
                tensor: name,
                dtype: format!("{:?}", info.dtype),
                remedy: REMEDY,
            });
        }
        let (from, to) = info.data_offsets;
        let data = &self.bytes[self.start + from..self.start + to];
        Ok(Tensor::from_data_size(data, shape, Kind::Float))
    }

    /// Fills `variable` with the values of the tensor `name`.
    ///
    /// # Errors
    /// As [`TensorFile::tensor`]; the variable is unchanged then.
    pub fn copy_into(&self, name: &str, variable: &mut Tensor) -> Result<(), WeightsError> {
        let tensor = self.tensor(name, &variable.size())?;
        tch::no_grad(|| variable.copy_(&tensor));
        Ok(())
    }
}

fn header(
    tensors: &BTreeMap<String, Tensor>,
    words: HashMap<String, String>,
) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let mut end = 0;
    let info = |(name, tensor): (&String, &Tensor)| {
        let start = end;
        end += tensor.numel() * size_of::<f32>();
        let info = TensorInfo {
            dtype: Dtype::F32,
            shape: tensor.size().iter().map(|d| *d as usize).collect(),
            data_offsets: (start, end),
        };
        (name.clone(), info)
    };
    let header = Metadata::new(Some(words), tensors.iter().map(info).collect())?;
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(LENGTH), b' ');
    Ok(header)
}

fn word<'a>(header: &'a Metadata, key: &str) -> Option<&'a str> {
    Some(header.metadata().as_ref()?.get(key)?.as_str())
}

fn format_error(path: &Path, what: String) -> WeightsError {
    WeightsError::Format {
        path: path.to_owned(),
        what,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use safetensors::SafeTensors;

    use super::*;

    fn tensors() -> BTreeMap<String, Tensor> {
        let plain = Tensor::from_slice(&[1.5_f32, f32::MIN_POSITIVE, -0.0, f32::INFINITY]);
        let turned = Tensor::from_slice2(&[[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]]).tr();
        BTreeMap::from([
            ("b/plain".to_owned(), plain),
            ("a/turned".to_owned(), turned),
        ])
    }

    #[test]
    fn tensors_come_back_to_the_bit_whatever_their_strides() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t.safetensors");
        let words = HashMap::from([("state".to_owned(), "epoch = 3\n\"x\"".to_owned())]);
        let tensors = tensors();
        let written = TensorFile::write(&path, &tensors, words).expect("written");
        let file = TensorFile::read(&path).expect("read");
        assert_eq!(file.digest(), written);
        assert_eq!(file.word("state"), Some("epoch = 3\n\"x\""));
        let word = TensorFile::read_word(&path, "state").expect("read");
        assert_eq!(word.as_deref(), file.word("state"));
        for (name, tensor) in &tensors {
            let mut back = Tensor::zeros_like(tensor);
            file.copy_into(name, &mut back).expect("there");
            let bits = |t: &Tensor| -> Vec<u32> {
                let values = Vec::<f32>::try_from(t.contiguous().view([-1])).expect("fp32");
                values.into_iter().map(f32::to_bits).collect()
            };
            assert_eq!(bits(&back), bits(tensor), "{name}");
        }
        // Any reader of safetensors reads it.
        let bytes = fs::read(&path).expect("read");
        let other = SafeTensors::deserialize(&bytes).expect("whole");
        assert_eq!(other.tensor("a/turned").expect("there").shape(), [3, 2]);
    }

    #[test]
    fn what_is_missing_cut_short_or_of_another_shape_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t.safetensors");
        TensorFile::write(&path, &tensors(), HashMap::new()).expect("written");
        let file = TensorFile::read(&path).expect("read");
        let error = file.tensor("c", &[1]).expect_err("none").to_string();
        assert!(error.contains("missing: c"), "{error}");
        let error = file.tensor("b/plain", &[2, 2]).expect_err("a row");
        assert!(
            error
                .to_string()
                .contains("of another shape: b/plain [4], not"),
            "{error}"
        );
        let bytes = fs::read(&path).expect("read");
        for length in [0, 7, 40, bytes.len() - 1] {
            fs::write(&path, &bytes[..length]).expect("written");
            let error = TensorFile::read(&path).err().expect("cut short");
            assert!(matches!(error, WeightsError::Format { .. }), "{error}");
        }
    }
}
