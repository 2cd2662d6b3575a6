//! Weights on disk: safetensors, one tensor for each variable under its own name.

pub(super) mod reader;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    path::{Path, PathBuf},
};

use safetensors::{
    Dtype,
    tensor::{Metadata, TensorInfo},
};
use tch::{Kind, Tensor, nn};

use super::{Preprocessing, Role, TensorFile, Variable};
use crate::storage::{Digest, StorageError};
use reader::{LONGEST_HEADER, Reader};

/// Why a weights file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// It cannot be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Not a safetensors file, or one cut short.
    #[error("{path} is not a whole safetensors file ({what}); copy or fetch it again")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A header longer than there may be.
    #[error(
        "{path} is not a safetensors file: its first bytes announce a header of {announced} bytes, and {LONGEST_HEADER} are the most there may be. Nothing more of it was read; take another file, or copy or fetch this one again"
    )]
    Header {
        /// The file.
        path: PathBuf,
        /// The length that its first bytes give the header.
        announced: u64,
    },
    /// Tensors missing, unexpected or of another shape.
    #[error("{path} holds weights of another network ({misfit}); {remedy}")]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// All differences; the sentence names the first of each kind.
        misfit: Box<Misfit>,
        /// What to do.
        remedy: &'static str,
    },
    /// PyTorch's own format, which runs code when it is read.
    #[error(
        "{path} is a zip archive or a pickle, such as PyTorch writes; reading one can run code, so only safetensors are read. Convert it once with Python: {CONVERSION}"
    )]
    Pickle {
        /// The file.
        path: PathBuf,
    },
    /// Values of a type that is not read from such a file: for one, those that cannot be turned into fp32 without
    /// knowing how they were quantised.
    #[error("{path} holds {tensor} as {dtype}; {remedy}")]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its type in the file.
        dtype: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A header that names a preprocessing we do not have.
    #[error("{path} wants pixels preprocessed as {word:?}, which is unknown; known are {known}")]
    Preprocessing {
        /// The file.
        path: PathBuf,
        /// The word in its header.
        word: String,
        /// The words there are.
        known: String,
    },
    /// A batch norm whose running variance is below 0: its square root is no number.
    #[error("{path} holds a variance below 0 in {tensor}, so it is damaged; {remedy}")]
    NegativeVariance {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A weight that is no number.
    #[error("{path} holds values that are not finite (NaN or infinite) in {tensor}; {remedy}")]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What to do.
        remedy: &'static str,
    },
}

/// How the tensors of a file differ from those of a network that cannot do without what is named here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Misfit {
    /// Tensors that fit.
    pub fitting: usize,
    /// Variables that the file does not have.
    pub missing: Vec<String>,
    /// Tensors of the file that the network does not know.
    pub unexpected: Vec<String>,
    /// Tensors of another shape: name, shape in the file, shape wanted.
    pub wrong_shape: Vec<(String, Vec<i64>, Vec<i64>)>,
}

impl Misfit {
    /// An error where there is any difference.
    fn refuse(self, path: &Path, remedies: &Remedies) -> Result<(), WeightsError> {
        if self.missing.is_empty() && self.unexpected.is_empty() && self.wrong_shape.is_empty() {
            return Ok(());
        }
        Err(WeightsError::Mismatch {
            path: path.to_owned(),
            misfit: Box::new(self),
            remedy: remedies.mismatch,
        })
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shapes = self.wrong_shape.iter();
        let shapes =
            shapes.map(|(name, found, wanted)| format!("{name} {found:?}, not {wanted:?}"));
        let parts = [
            ("missing", first_few(&self.missing, ", ")),
            ("unknown to it", first_few(&self.unexpected, ", ")),
            (
                "of another shape",
                first_few(&shapes.collect::<Vec<_>>(), ", "),
            ),
        ];
        let listed = |(what, names): (&str, Option<String>)| Some(format!("{what}: {}", names?));
        let parts: Vec<String> = parts.into_iter().filter_map(listed).collect();
        f.write_str(&parts.join("; "))
    }
}

/// What to do about a file that a training wrote.
const OF_A_RUN: Remedies = Remedies {
    mismatch: "put back the file that the training wrote, or train again",
    dtype: "a training writes F32, so put back the file that it wrote, or train again",
    not_finite: "train the run again",
};
/// What to do about a file that the user names.
const OF_THE_USER: Remedies = Remedies {
    mismatch: "name the network that it is for, or take another file",
    dtype: "only F16, BF16, F32 and F64 are read, so take a file that is not quantised",
    not_finite: "copy, fetch or convert it again, or take another file",
};

/// What to do about weights that do not serve: that hangs on where they are from.
struct Remedies {
    mismatch: &'static str,
    dtype: &'static str,
    not_finite: &'static str,
}

const CONVERSION: &str = "import torch; from safetensors.torch import save_file; \
    w = torch.load(\"in.pth\", weights_only=True, map_location=\"cpu\"); \
    save_file({k: v.contiguous() for k, v in w.get(\"state_dict\", w).items()}, \"out.safetensors\")";

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
    let words = HashMap::from([(PREPROCESSING.to_owned(), preprocessing.name().to_owned())]);
    TensorFile::write(path, tensors, words)
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
    let file = Reader::open(path)?;
    let preprocessing = named_preprocessing(path, file.header())?;
    let variables = variables.variables();
    let mut missing: BTreeMap<&String, &Tensor> = variables.iter().collect();
    let mut misfit = Misfit::default();
    let mut others = Vec::new();
    for name in file.header().offset_keys() {
        let (Some(variable), Some(info)) = (missing.remove(&name), file.header().info(&name))
        else {
            misfit.unexpected.push(name);
            continue;
        };
        let (found, wanted) = (shape_of(info), variable.size());
        if found != wanted {
            misfit.wrong_shape.push((name, found, wanted));
            continue;
        }
        if info.dtype != Dtype::F32 {
            others.push((name, info.dtype));
            continue;
        }
        misfit.fitting += 1;
    }
    misfit.missing = missing.into_keys().cloned().collect();
    misfit.refuse(path, &OF_A_RUN)?;
    if let Some((name, found)) = others.first() {
        return Err(dtype(path, name, *found, &OF_A_RUN));
    }
    let mut filled = Vec::new();
    let digest = file.read(
        |_| true,
        |name, info, bytes| {
            let tensor = Tensor::from_data_size(bytes, &shape_of(info), Kind::Float);
            check_values(path, name, &tensor, &OF_A_RUN)?;
            filled.push((variables[name].shallow_clone(), tensor));
            Ok(())
        },
    )?;
    fill(filled);
    Ok((digest, preprocessing))
}

/// What [`load_pretrained`] made of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadReport {
    /// Digest of the file.
    pub digest: Digest,
    /// What its header says that its weights expect of the pixels, if anything.
    pub preprocessing: Option<Preprocessing>,
    /// Variables filled from the file.
    pub loaded: Vec<String>,
    /// Variables that the file does not have and that keep the values they had: the last layer, or the
    /// constant scale of batch norms without one.
    pub missing: Vec<String>,
    /// Tensors of the file that the architecture knowingly does without, such as auxiliary classifiers.
    pub unexpected: Vec<String>,
    /// Tensors of the last layer left out because they are for another number of classes: name, shape in
    /// the file, shape wanted.
    pub wrong_shape: Vec<(String, Vec<i64>, Vec<i64>)>,
    /// Tensors converted to fp32, each with its type in the file.
    pub converted: Vec<(String, String)>,
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tensors loaded", self.loaded.len())?;
        let mut types: Vec<&str> = self.converted.iter().map(|(_, t)| t.as_str()).collect();
        types.sort_unstable();
        types.dedup();
        if !types.is_empty() {
            let (n, types) = (self.converted.len(), types.join(" and "));
            write!(f, ", {n} of them converted from {types} to F32")?;
        }
        for (name, found, wanted) in &self.wrong_shape {
            write!(
                f,
                "; {name} left out: it is {found:?}, but {wanted:?} is needed"
            )?;
        }
        for (names, what) in [
            (&self.missing, "not in the file and left as they were"),
            (&self.unexpected, "in the file but not needed"),
        ] {
            if let Some(listed) = first_few(names, "; ") {
                write!(f, "; {what}: {listed}")?;
            }
        }
        Ok(())
    }
}

/// Fills the variables `declared` in `variables` from a file with published names. Floats of any width are
/// converted to fp32. The body must be there as a whole and nothing else but what is known to be
/// needless; only `head`, the last layer, may be missing or of another number of classes, and then
/// keeps its values. Nothing is changed unless everything fits.
///
/// # Errors
/// [`WeightsError`], one variant for each way a file can be wrong.
pub fn load_pretrained(
    path: &Path,
    variables: &nn::VarStore,
    declared: &[Variable],
    head: &str,
) -> Result<LoadReport, WeightsError> {
    let file = Reader::open(path)?;
    let header = file.header();
    let preprocessing = named_preprocessing(path, header)?;
    let mut loaded: Vec<String> = Vec::new();
    let mut missing = Vec::new();
    let mut unexpected = Vec::new();
    let mut wrong_shape = Vec::new();
    let mut converted = Vec::new();
    let mut kinds = HashMap::new();
    let mut misfit = Misfit::default();
    let mut quantised = None;
    for variable in declared {
        let name = &variable.name;
        let of_head = name.strip_prefix(head).is_some_and(|n| n.starts_with('.'));
        let Some(info) = header.info(name) else {
            if of_head || variable.role == Role::Constant {
                missing.push(name.clone());
            } else {
                misfit.missing.push(name.clone());
            }
            continue;
        };
        let shape = shape_of(info);
        if shape != variable.shape {
            let wanted = variable.shape.clone();
            if of_head {
                wrong_shape.push((name.clone(), shape, wanted));
            } else {
                misfit.wrong_shape.push((name.clone(), shape, wanted));
            }
            continue;
        }
        let kind = match info.dtype {
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            Dtype::F32 => Kind::Float,
            Dtype::F64 => Kind::Double,
            other => {
                quantised.get_or_insert((name, other));
                continue;
            }
        };
        if kind != Kind::Float {
            converted.push((name.clone(), format!("{:?}", info.dtype)));
        }
        kinds.insert(name.as_str(), kind);
        loaded.push(name.clone());
    }
    let known: HashSet<&str> = declared.iter().map(|v| v.name.as_str()).collect();
    let mut others = header.offset_keys();
    others.retain(|name| !known.contains(name.as_str()));
    others.sort_unstable();
    for name in others {
        if is_needless(&name) {
            unexpected.push(name);
        } else {
            misfit.unexpected.push(name);
        }
    }
    misfit.fitting = loaded.len();
    misfit.refuse(path, &OF_THE_USER)?;
    if let Some((name, found)) = quantised {
        return Err(dtype(path, name, found, &OF_THE_USER));
    }

    let all = variables.variables();
    let mut filled = Vec::new();
    let digest = file.read(
        |name| kinds.contains_key(name),
        |name, info, bytes| {
            let tensor = Tensor::from_data_size(bytes, &shape_of(info), kinds[name]);
            let tensor = tensor.to_kind(Kind::Float);
            check_values(path, name, &tensor, &OF_THE_USER)?;
            filled.push((all[name].shallow_clone(), tensor));
            Ok(())
        },
    )?;
    fill(filled);
    Ok(LoadReport {
        digest,
        preprocessing,
        loaded,
        missing,
        unexpected,
        wrong_shape,
        converted,
    })
}

/// What published files hold beside the network: PyTorch's counter of batches, InceptionV3's auxiliary
/// classifier, and what DINOv2 puts in place of hidden patches. All of it serves training alone.
fn is_needless(name: &str) -> bool {
    name.ends_with(".num_batches_tracked") || name.starts_with("AuxLogits.") || name == "mask_token"
}

/// Refuses a file whose name is one that PyTorch gives its own format; whatever it is called, [`load`] and
/// [`load_pretrained`] look at what it holds.
///
/// # Errors
/// [`WeightsError::Pickle`].
pub fn refuse_pickle_name(path: &Path) -> Result<(), WeightsError> {
    const PICKLES: [&str; 5] = ["pth", "pt", "bin", "ckpt", "pkl"];
    let extension = path.extension().unwrap_or_default();
    if PICKLES.iter().any(|p| extension.eq_ignore_ascii_case(p)) {
        return Err(WeightsError::Pickle {
            path: path.to_owned(),
        });
    }
    Ok(())
}

/// What the header of a weights file says that its weights expect of the pixels, if anything.
///
/// # Errors
/// [`WeightsError`] for a file that is not safetensors, or that names a preprocessing we do not have.
pub fn preprocessing(path: &Path) -> Result<Option<Preprocessing>, WeightsError> {
    named_preprocessing(path, Reader::open(path)?.header())
}

fn shape_of(info: &TensorInfo) -> Vec<i64> {
    info.shape.iter().map(|d| *d as i64).collect()
}

fn check_values(
    path: &Path,
    name: &str,
    tensor: &Tensor,
    remedies: &Remedies,
) -> Result<(), WeightsError> {
    let (path, remedy) = (path.to_owned(), remedies.not_finite);
    if tensor.isfinite().all().int64_value(&[]) == 0 {
        return Err(WeightsError::NotFinite {
            path,
            tensor: name.to_owned(),
            remedy,
        });
    }
    if name.ends_with("running_var") && tensor.lt(0.0).any().int64_value(&[]) == 1 {
        return Err(WeightsError::NegativeVariance {
            path,
            tensor: name.to_owned(),
            remedy,
        });
    }
    Ok(())
}

fn dtype(path: &Path, tensor: &str, found: Dtype, remedies: &Remedies) -> WeightsError {
    WeightsError::Dtype {
        path: path.to_owned(),
        tensor: tensor.to_owned(),
        dtype: format!("{found:?}"),
        remedy: remedies.dtype,
    }
}

/// The first three, and how many more there are; `None` without any.
fn first_few(items: &[String], separator: &str) -> Option<String> {
    let shown = &items[..items.len().min(3)];
    let mut text = shown.join(separator);
    match items.len() - shown.len() {
        0 => {}
        more => text += &format!("{separator}and {more} more"),
    }
    (!items.is_empty()).then_some(text)
}

fn fill(pairs: Vec<(Tensor, Tensor)>) {
    tch::no_grad(|| {
        for (mut variable, tensor) in pairs {
            variable.copy_(&tensor);
        }
    });
}

/// The preprocessing that the header of a weights file names, if any.
fn named_preprocessing(
    path: &Path,
    header: &Metadata,
) -> Result<Option<Preprocessing>, WeightsError> {
    let word = header
        .metadata()
        .as_ref()
        .and_then(|m| m.get(PREPROCESSING));
    let Some(word) = word else { return Ok(None) };
    let unknown = || WeightsError::Preprocessing {
        path: path.to_owned(),
        word: word.clone(),
        known: Preprocessing::ALL.map(Preprocessing::name).join(", "),
    };
    Preprocessing::find(word).map(Some).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        assert!(other.to_string().contains("or train again"), "{other}");
        let bytes = fs::read(&path).expect("read");
        fs::write(&path, &bytes[..bytes.len() - 5]).expect("cut");
        let cut = load(&path, &b.variables).expect_err("cut short");
        let cut = cut.to_string();
        assert!(cut.contains("model.safetensors"), "{cut}");
        let (left, all) = (bytes.len() - 5, bytes.len());
        assert!(
            cut.contains(&format!("it has {left} of {all} bytes")),
            "{cut}"
        );
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
        assert!(error.contains("train the run again"), "{error}");
    }

    #[test]
    fn a_file_that_claims_gigabytes_is_refused_by_its_header_alone() {
        const HUGE: u64 = 50_000_000_000;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bomb.safetensors");
        let mut model = model("cnn02", 1);
        // Every way to read it says the same.
        let mut refused = |start: &[u8], length: u64| {
            fs::write(&path, start).expect("written");
            let file = fs::File::options().write(true).open(&path).expect("there");
            file.set_len(length).expect("a file full of holes");
            let error = model.load_pretrained(&path, None).expect_err("refused");
            let error = error.to_string();
            let others = [
                load(&path, &model.variables).err(),
                preprocessing(&path).err(),
                TensorFile::read(&path).err(),
                TensorFile::read_word(&path, "state").err(),
            ];
            for other in others {
                assert_eq!(other.expect("refused").to_string(), error);
            }
            assert!(error.contains("bomb.safetensors"), "{error}");
            error
        };
        let announcing = |header: u64| header.to_le_bytes();
        for (start, length, said) in [
            (
                announcing(u64::MAX),
                64,
                "a header of 18446744073709551615 bytes, and 100000000 are the most",
            ),
            (announcing(HUGE / 2), HUGE, "and 100000000 are the most"),
            (
                announcing(1000),
                64,
                "it has 64 bytes, and its header alone takes 1008",
            ),
            (announcing(0), HUGE, "it begins with zeros"),
            (announcing(2), HUGE, "its header is not understood"),
            (announcing(0), 7, "it has no more than 7 bytes"),
            (announcing(0), 0, "it is empty"),
        ] {
            let error = refused(&start, length);
            assert!(error.contains(said), "{error}");
            assert!(error.contains("copy or fetch"), "{error}");
        }
        let header = format!(
            r#"{{"conv1.weight":{{"dtype":"F32","shape":[{}],"data_offsets":[0,{HUGE}]}}}}"#,
            HUGE / 4
        );
        let start = [&announcing(header.len() as u64)[..], header.as_bytes()].concat();
        let error = refused(&start, 4096);
        let whole = HUGE + start.len() as u64;
        assert!(
            error.contains(&format!("it has 4096 of {whole} bytes")),
            "{error}"
        );
        let error = refused(&start, whole + 3);
        assert!(error.contains("3 bytes follow its last tensor"), "{error}");
        // As long as it says, and yet not what a network has: nothing of it is read.
        let file = fs::File::options().write(true).open(&path).expect("there");
        file.set_len(whole).expect("a file full of holes");
        let error = model.load_pretrained(&path, None).expect_err("refused");
        let error = error.to_string();
        assert!(
            error.contains("conv1.weight [12500000000], not ["),
            "{error}"
        );
        let error = load(&path, &model.variables).expect_err("refused");
        assert!(error.to_string().contains("[12500000000]"), "{error}");
    }

    /// A file of the tensors of `model`, changed by `edit`.
    fn write(path: &Path, model: &Model, edit: impl Fn(&mut BTreeMap<String, Tensor>)) {
        let mut tensors = snapshot(&model.variables);
        edit(&mut tensors);
        let whole = |(name, tensor): (String, Tensor)| (name, tensor.contiguous());
        let tensors: Vec<(String, Tensor)> = tensors.into_iter().map(whole).collect();
        Tensor::write_safetensors(&tensors, path).expect("written");
    }

    fn every_value(model: &Model, name: &str) -> Tensor {
        snapshot(&model.variables).remove(name).expect("there")
    }

    #[test]
    fn published_weights_are_converted_and_the_head_may_differ() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("published.safetensors");
        let theirs = Model::new("efficientnet_v2_s", 32, 9, 1, Device::Cpu).expect("built");
        write(&path, &theirs, |tensors| {
            for (name, kind) in [
                ("conv_stem.weight", Kind::Half),
                ("conv_head.weight", Kind::BFloat16),
                ("bn1.running_mean", Kind::Double),
            ] {
                let tensor = tensors[name].to_kind(kind);
                tensors.insert(name.to_owned(), tensor);
            }
            let counter = Tensor::from_slice(&[7_i64]);
            tensors.insert("bn1.num_batches_tracked".to_owned(), counter);
            tensors.remove("classifier.bias");
        });
        let mut ours = Model::new("efficientnet_v2_s", 32, 5, 2, Device::Cpu).expect("built");
        let head = every_value(&ours, "classifier.weight");
        let report = ours.load_pretrained(&path, None).expect("loaded");
        let converted: Vec<(&str, &str)> = report
            .converted
            .iter()
            .map(|(name, dtype)| (name.as_str(), dtype.as_str()))
            .collect();
        assert_eq!(
            converted,
            [
                ("conv_stem.weight", "F16"),
                ("bn1.running_mean", "F64"),
                ("conv_head.weight", "BF16")
            ]
        );
        assert_eq!(report.missing, ["classifier.bias"]);
        assert_eq!(report.unexpected, ["bn1.num_batches_tracked"]);
        let wrong = ("classifier.weight".to_owned(), vec![9, 1280], vec![5, 1280]);
        assert_eq!(report.wrong_shape, [wrong]);
        assert_eq!(report.loaded.len(), ours.declared().len() - 2);
        assert!(every_value(&ours, "classifier.weight").equal(&head));
        let close = |name: &str| {
            let difference = every_value(&ours, name) - every_value(&theirs, name);
            difference.abs().max().double_value(&[])
        };
        assert_eq!(close("blocks.3.0.conv_dw.weight"), 0.0);
        let half = close("conv_stem.weight");
        assert!(half > 0.0 && half < 1e-3, "{half}");
        let text = report.to_string();
        for part in [
            "BF16 and F16 and F64",
            "[9, 1280]",
            "classifier.bias",
            "num_batches",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_scale_that_the_architecture_does_not_have_is_kept_but_never_trained() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("published.safetensors");
        let theirs = Model::new("inception_v3", 75, 2, 1, Device::Cpu).expect("built");
        let scale = "Mixed_7c.branch1x1.bn.weight";
        write(&path, &theirs, |tensors| {
            let tripled = &tensors[scale] * 3.0;
            tensors.insert(scale.to_owned(), tripled);
            tensors.remove("Mixed_7b.branch1x1.bn.weight");
            let auxiliary = Tensor::from_slice(&[1.0_f32]);
            tensors.insert("AuxLogits.fc.bias".to_owned(), auxiliary);
        });
        let mut ours = Model::new("inception_v3", 75, 2, 2, Device::Cpu).expect("built");
        let (parameters, trainable) = (ours.parameters(), ours.trainable_parameters());
        let report = ours.load_pretrained(&path, None).expect("loaded");
        assert_eq!(report.missing, ["Mixed_7b.branch1x1.bn.weight"]);
        assert_eq!(report.unexpected, ["AuxLogits.fc.bias"]);
        assert_eq!(
            every_value(&ours, scale)
                .mean(Kind::Float)
                .double_value(&[]),
            3.0
        );
        assert!(!ours.variables.variables()[scale].requires_grad());
        assert_eq!(ours.parameters(), parameters);
        assert_eq!(ours.trainable_parameters(), trainable);
    }

    #[test]
    fn a_file_that_does_not_fit_changes_nothing_and_says_why() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("published.safetensors");
        let theirs = model("cnn02", 1);
        let mut ours = model("cnn02", 2);
        let before = every_value(&ours, "conv1.weight");
        let mut refused = |edit: &dyn Fn(&mut BTreeMap<String, Tensor>)| {
            write(&path, &theirs, edit);
            let error = ours.load_pretrained(&path, None).expect_err("refused");
            assert!(every_value(&ours, "conv1.weight").equal(&before), "{error}");
            let text = error.to_string();
            assert!(text.contains("published.safetensors"), "{text}");
            text
        };
        let missing = refused(&|tensors| drop(tensors.remove("conv2.weight")));
        assert!(missing.contains("missing: conv2.weight"), "{missing}");
        assert!(
            missing.contains("name the network that it is for"),
            "{missing}"
        );
        let shape = refused(&|tensors| {
            let turned = tensors["dense1.weight"].transpose(0, 1).contiguous();
            tensors.insert("dense1.weight".to_owned(), turned);
        });
        assert!(
            shape.contains("of another shape: dense1.weight ["),
            "{shape}"
        );
        let other = refused(&|tensors| {
            tensors.insert("register_tokens".to_owned(), Tensor::from_slice(&[0.5_f32]));
        });
        assert!(other.contains("unknown to it: register_tokens"), "{other}");
        let bytes = refused(&|tensors| {
            let quantised = tensors["conv2.bias"].to_kind(Kind::Int8);
            tensors.insert("conv2.bias".to_owned(), quantised);
        });
        assert!(bytes.contains("conv2.bias as I8"), "{bytes}");
        let infinite = refused(&|tensors| {
            let huge = &tensors["conv2.bias"] + f64::INFINITY;
            tensors.insert("conv2.bias".to_owned(), huge);
        });
        let said = "not finite (NaN or infinite) in conv2.bias; copy, fetch or convert it again";
        assert!(infinite.contains(said), "{infinite}");
        assert!(!infinite.contains("train"), "{infinite}");
    }

    #[test]
    fn a_variance_below_0_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("published.safetensors");
        let mut ours = Model::new("efficientnet_v2_s", 32, 5, 2, Device::Cpu).expect("built");
        write(&path, &ours, |tensors| {
            let variance = tensors["bn1.running_var"].copy();
            drop(variance.get(3).fill_(-1.0));
            tensors.insert("bn1.running_var".to_owned(), variance);
        });
        let error = ours.load_pretrained(&path, None).expect_err("refused");
        let said = "a variance below 0 in bn1.running_var, so it is damaged; copy, fetch";
        assert!(error.to_string().contains(said), "{error}");
    }

    #[test]
    fn a_pickle_is_refused_with_the_way_to_convert_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut model = model("cnn01", 1);
        let new = &b"PK\x03\x04\x00\x00\x08\x08"[..];
        let old = &b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."[..];
        for (name, start) in [("new.pth", new), ("old.bin", old)] {
            let path = folder.path().join(name);
            fs::write(&path, [start, &[0; 64]].concat()).expect("written");
            let error = model
                .load_pretrained(&path, None)
                .expect_err("a pickle")
                .to_string();
            assert!(
                error.contains(name) && error.contains("save_file"),
                "{error}"
            );
        }
    }

    #[test]
    fn preprocessing_travels_with_the_weights() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.safetensors");
        let mut first = model("cnn01", 1);
        first.preprocessing = Preprocessing::ImageNet;
        first.save(&path).expect("saved");
        let (again, _) = Model::load("cnn01", 40, 4, &path, Device::Cpu).expect("loaded");
        assert_eq!(again.preprocessing, Preprocessing::ImageNet);
        let mut other = model("cnn01", 2);
        other.load_pretrained(&path, None).expect("loaded");
        assert_eq!(other.preprocessing, Preprocessing::ImageNet);
        let wish = Some(Preprocessing::MinusOneToOne);
        other.load_pretrained(&path, wish).expect("loaded");
        assert_eq!(other.preprocessing, Preprocessing::MinusOneToOne);

        let bytes = fs::read(&path).expect("read");
        let at = bytes
            .windows(8)
            .position(|w| w == b"imagenet")
            .expect("in the header");
        let mut changed = bytes;
        changed[at..at + 8].copy_from_slice(b"sideways");
        fs::write(&path, changed).expect("written");
        let error = model("cnn01", 1)
            .load_pretrained(&path, None)
            .expect_err("unknown");
        let error = error.to_string();
        assert!(
            error.contains("sideways") && error.contains("minus1_1"),
            "{error}"
        );
    }
}
