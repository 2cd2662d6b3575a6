//! Weights on disk: safetensors, one tensor for each variable under its own name.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use tch::{Kind, Tensor, nn};

use super::Preprocessing;
use crate::storage::{Digest, StorageError, atomic_write, digest};

/// Why a weights file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// It cannot be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Not a safetensors file, or one cut short.
    #[error(
        "{path} is not a whole safetensors file ({what}); copy it again, or train the run again"
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        what: String,
    },
    /// Tensors missing, unexpected or of another shape.
    #[error("{path} holds weights of another network: {what}")]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The first differences.
        what: String,
    },
    /// A weight that is no number.
    #[error("{path} holds values that are not finite in {tensor}; train the run again")]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
}

/// Copies of all variables, detached from the graph, by name.
#[must_use]
pub fn snapshot(variables: &nn::VarStore) -> BTreeMap<String, Tensor> {
    let copy = |(name, tensor): (String, Tensor)| (name, tensor.detach().copy());
    variables.variables().into_iter().map(copy).collect()
}

/// Puts a [`snapshot`] of the same variables back.
///
/// # Panics
/// When the snapshot is of another network.
pub fn restore(variables: &nn::VarStore, snapshot: &BTreeMap<String, Tensor>) {
    tch::no_grad(|| {
        for (name, mut variable) in variables.variables() {
            variable.copy_(&snapshot[&name]);
        }
    });
}

/// Key of the preprocessing in the header of a weights file.
const PREPROCESSING: &str = "preprocessing";

/// Writes `tensors` (fp32), and the preprocessing they expect, durably and returns the digest of the file.
///
/// # Errors
/// [`WeightsError::Storage`].
pub fn save(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    preprocessing: Preprocessing,
) -> Result<Digest, WeightsError> {
    let bytes: BTreeMap<&String, (Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| {
            let tensor = tensor
                .to_kind(Kind::Float)
                .to_device(tch::Device::Cpu)
                .contiguous();
            let shape = tensor.size().iter().map(|d| *d as usize).collect();
            let mut data = vec![0; tensor.numel() * 4];
            tensor.copy_data_u8(&mut data, tensor.numel());
            (name, (shape, data))
        })
        .collect();
    let views = bytes.iter().map(|(name, (shape, data))| {
        let view = TensorView::new(Dtype::F32, shape.clone(), data)
            .expect("the bytes are those of a tensor of this shape");
        (name.as_str(), view)
    });
    let header = HashMap::from([(PREPROCESSING.to_owned(), preprocessing.name().to_owned())]);
    let file = safetensors::serialize(views, Some(header)).map_err(|e| WeightsError::Format {
        path: path.to_owned(),
        what: e.to_string(),
    })?;
    atomic_write(path, &file)?;
    Ok(digest(&file))
}

/// Fills every variable from `path`, which must hold exactly these tensors in fp32, and returns the
/// digest of the file and the preprocessing it names. Nothing is changed unless everything fits.
///
/// # Errors
/// [`WeightsError`], one variant for each way a file can be wrong.
pub fn load(
    path: &Path,
    variables: &nn::VarStore,
) -> Result<(Digest, Option<Preprocessing>), WeightsError> {
    let bytes = fs::read(path).map_err(|e| StorageError::io("read", path, e))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| WeightsError::Format {
        path: path.to_owned(),
        what: e.to_string(),
    })?;
    let preprocessing = named_preprocessing(path, &bytes)?;
    let mut wanted: BTreeMap<String, Tensor> = variables.variables().into_iter().collect();
    let mut filled = Vec::new();
    let mut differences = Vec::new();
    for (name, view) in file.iter() {
        let Some(variable) = wanted.remove(name) else {
            differences.push(format!("{name} is not part of it"));
            continue;
        };
        let shape: Vec<i64> = view.shape().iter().map(|d| *d as i64).collect();
        if shape != variable.size() || view.dtype() != Dtype::F32 {
            differences.push(format!(
                "{name} is {:?} {shape:?} instead of F32 {:?}",
                view.dtype(),
                variable.size()
            ));
            continue;
        }
        let tensor = Tensor::from_data_size(view.data(), &shape, Kind::Float);
        if tensor.isfinite().all().int64_value(&[]) == 0 {
            return Err(WeightsError::NotFinite {
                path: path.to_owned(),
                tensor: name.to_owned(),
            });
        }
        filled.push((variable, tensor));
    }
    differences.extend(wanted.keys().map(|name| format!("{name} is missing")));
    if !differences.is_empty() {
        let more = differences.len().saturating_sub(3);
        differences.truncate(3);
        let mut what = differences.join("; ");
        if more > 0 {
            what += &format!("; and {more} more");
        }
        return Err(WeightsError::Mismatch {
            path: path.to_owned(),
            what,
        });
    }
    tch::no_grad(|| {
        for (mut variable, tensor) in filled {
            variable.copy_(&tensor);
        }
    });
    Ok((digest(&bytes), preprocessing))
}

/// The preprocessing that the header of a weights file names, if any.
fn named_preprocessing(path: &Path, bytes: &[u8]) -> Result<Option<Preprocessing>, WeightsError> {
    let format = |what: String| WeightsError::Format {
        path: path.to_owned(),
        what,
    };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| format(e.to_string()))?;
    let word = header
        .metadata()
        .as_ref()
        .and_then(|m| m.get(PREPROCESSING));
    let Some(word) = word else { return Ok(None) };
    match Preprocessing::find(word) {
        Some(preprocessing) => Ok(Some(preprocessing)),
        None => Err(format(format!("{word:?} is no preprocessing"))),
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::models::Model;

    fn model(name: &str, seed: u64) -> Model {
        Model::new(name, 40, 4, seed, Device::Cpu).expect("built")
    }

    #[test]
    fn weights_survive_a_round_trip_and_damage_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.safetensors");
        let (a, b) = (model("cnn02", 1), model("cnn02", 2));
        let saved = a.save(&path).expect("saved");
        assert_eq!(load(&path, &b.variables).expect("loaded").0, saved);
        let images = Tensor::ones([1, 1, 40, 40], (Kind::Float, Device::Cpu));
        let difference = (a.forward(&images, false) - b.forward(&images, false)).abs();
        assert_eq!(difference.max().double_value(&[]), 0.0);

        let other = load(&path, &model("cnn01", 1).variables).expect_err("another network");
        assert!(other.to_string().contains("another network"), "{other}");
        let bytes = fs::read(&path).expect("read");
        fs::write(&path, &bytes[..bytes.len() - 5]).expect("cut");
        let cut = load(&path, &b.variables).expect_err("cut short");
        assert!(cut.to_string().contains("model.safetensors"), "{cut}");
        fs::write(&path, [255; 64]).expect("rubbish");
        assert!(load(&path, &b.variables).is_err());
    }

    #[test]
    fn a_weight_that_is_no_number_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.safetensors");
        let model = model("cnn01", 1);
        let mut tensors = snapshot(&model.variables);
        let mut bias = tensors.remove("out.bias").expect("there");
        drop(bias.fill_(f64::NAN));
        tensors.insert("out.bias".to_owned(), bias);
        save(&path, &tensors, Preprocessing::Scale01).expect("saved");
        let error = load(&path, &model.variables).expect_err("NaN").to_string();
        assert!(error.contains("out.bias"), "{error}");
    }
}
