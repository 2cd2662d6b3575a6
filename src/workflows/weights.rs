//! Published weights: what there is, fetching it, checking a file, and finding it again by name.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::jobs::JobContext;
use crate::models::{
    Device, Model, ModelError, ModelSpec, Preprocessing,
    published::{PUBLISHED, Published},
    weights::{self, LoadReport, WeightsError},
};
use crate::project::DriftNetwork;
use crate::storage::download::{DownloadError, DownloadRequest, WAITS, download};
use crate::training::Plan;

use super::{WorkflowError, embed::Body};

/// The public hub.
pub const HUB: &str = "https://huggingface.co";
/// For how many classes a file is tried: any number does, since the last layer may be for another.
const CLASSES: usize = 6;

/// One row of `driftscope weights list`.
#[derive(Clone, Debug, Serialize)]
pub struct WeightsRow {
    /// The name to fetch it by and to start training from: its model's.
    pub name: &'static str,
    /// Its repository on the hub.
    pub repository: &'static str,
    /// The file there.
    pub file: &'static str,
    /// The licence that its repository names (SPDX).
    pub licence: &'static str,
    /// What it expects of the pixels.
    pub preprocessing: Preprocessing,
    /// About how large it is, in millions of bytes.
    pub megabytes: u32,
    /// Where it lies once fetched.
    pub path: PathBuf,
    /// Whether it lies there.
    pub present: bool,
}

/// What to fetch.
#[derive(Clone, Debug)]
pub struct FetchRequest {
    /// A name of [`published_weights`].
    pub name: String,
    /// The hub to ask, such as [`HUB`].
    pub hub: String,
    /// Another address of the same file, in place of the hub's.
    pub url: Option<String>,
    /// The SHA-256 it has to have, in hexadecimal; what the server announces when not given.
    pub sha256: Option<String>,
}

/// What was fetched.
#[derive(Clone, Debug, Serialize)]
pub struct FetchSummary {
    /// Which weights, and where they lie now.
    #[serde(flatten)]
    pub row: WeightsRow,
    /// The address they came from.
    pub url: String,
    /// Revision of the repository, if the server named it.
    pub revision: Option<String>,
    /// Their SHA-256, in hexadecimal.
    pub sha256: String,
    /// The length of the file.
    pub bytes: u64,
    /// Bytes of it that were there before; all of them where nothing had to be fetched.
    pub had: u64,
    /// What the network makes of them.
    pub check: WeightsCheck,
}

/// What a network makes of a weights file.
#[derive(Clone, Debug, Serialize)]
pub struct WeightsCheck {
    /// The file.
    pub file: PathBuf,
    /// The network.
    pub model: &'static str,
    /// Whether it takes the file. Where it does not, what is listed is what it cannot do without.
    pub fits: bool,
    /// Tensors it takes; where it does not take the file, those that fit.
    pub loaded: usize,
    /// Variables the file does not have.
    pub missing: Vec<String>,
    /// Tensors the network does without: knowingly, where it takes the file.
    pub unexpected: Vec<String>,
    /// Tensors of another shape, name, shape in the file, shape wanted: where it takes the file, of the last layer for
    /// another number of classes than six.
    pub wrong_shape: Vec<(String, Vec<i64>, Vec<i64>)>,
    /// Tensors that are converted to fp32, each with its type in the file.
    pub converted: Vec<(String, String)>,
    /// What its header says that it expects of the pixels, if anything.
    pub preprocessing: Option<Preprocessing>,
    /// All of that in one sentence.
    pub statement: String,
}

/// The weights there are to fetch, and which of them are here.
///
/// # Errors
/// [`WorkflowError::NoDataFolder`].
pub fn published_weights() -> Result<Vec<WeightsRow>, WorkflowError> {
    let folder = weights_folder()?;
    Ok(PUBLISHED.iter().map(|p| row(p, &folder)).collect())
}

/// Fetches published weights into the user's data folder. They are kept only when they have the hash that
/// was announced and their network takes them. `context` gets bytes as progress; what has come before it
/// is stopped stays for the next time.
///
/// # Errors
/// [`WorkflowError`], one variant for each way it can end.
pub fn fetch_weights(
    request: &FetchRequest,
    context: &JobContext,
) -> Result<FetchSummary, WorkflowError> {
    let name = &request.name;
    let published = Published::find(name).ok_or_else(|| WorkflowError::UnknownWeights {
        name: name.clone(),
        known: PUBLISHED.map(|p| p.model).join(", "),
    })?;
    let folder = weights_folder()?;
    let target = file_in(&folder, published);
    let own_url = || published.url(&request.hub);
    let url = request.url.clone().unwrap_or_else(own_url);
    let without_query = url.split(['?', '#']).next().unwrap_or(&url);
    weights::refuse_pickle_name(Path::new(without_query)).map_err(ModelError::from)?;

    let job = DownloadRequest {
        url: &url,
        target: &target,
        sha256: request.sha256.as_deref(),
        waits: &WAITS,
    };
    let doing = format!("fetching {name}");
    let fetched = download(&job, &mut |done, total| {
        context.report(done, total, &doing);
        !context.should_stop()
    })
    .map_err(|error| match error {
        DownloadError::Stopped => WorkflowError::Cancelled,
        DownloadError::Unreachable { url, what } => WorkflowError::Offline {
            url,
            what,
            target: target.clone(),
        },
        other => other.into(),
    })?;
    let check = match check_file(fetched.path(), published.model) {
        Ok(check) => WeightsCheck {
            file: target.clone(),
            ..check
        },
        Err(error) => {
            fetched.discard()?;
            return Err(WorkflowError::UselessWeights {
                url,
                model: published.model,
                source: Box::new(error),
            });
        }
    };
    let summary = FetchSummary {
        row: WeightsRow {
            present: true,
            ..row(published, &folder)
        },
        url,
        revision: fetched.revision.clone(),
        sha256: fetched.sha256.clone(),
        bytes: fetched.bytes,
        had: fetched.had,
        check,
    };
    fetched.keep()?;
    Ok(summary)
}

/// Tries a weights file, or fetched weights by their name, on a network: `model`, or the one that the file
/// is called after. A file that does not fit is no error here: the check lists all that keeps it from it.
///
/// # Errors
/// [`WorkflowError::WhichModel`]; [`WorkflowError::Model`] for a file that is damaged or not of weights.
pub fn check_weights(file: &Path, model: Option<&str>) -> Result<WeightsCheck, WorkflowError> {
    let model = match model.or_else(|| named_after(file)) {
        Some(model) => ModelSpec::find(model)?,
        None => {
            return Err(WorkflowError::WhichModel {
                file: file.to_owned(),
            });
        }
    };
    let fetched = file.to_str().map(find_fetched).transpose()?.flatten();
    let error = match check_file(fetched.as_deref().unwrap_or(file), model.name) {
        Err(WorkflowError::Model(ModelError::Weights(error))) => error,
        checked => return checked,
    };
    let statement = error.to_string();
    let WeightsError::Mismatch { path, misfit, .. } = error else {
        return Err(ModelError::from(error).into());
    };
    Ok(WeightsCheck {
        file: path,
        model: model.name,
        fits: false,
        loaded: misfit.fitting,
        missing: misfit.missing,
        unexpected: misfit.unexpected,
        wrong_shape: misfit.wrong_shape,
        converted: Vec::new(),
        preprocessing: None,
        statement,
    })
}

/// The network that a weights file is called after.
fn named_after(file: &Path) -> Option<&str> {
    let stem = file.file_stem()?.to_str()?;
    ModelSpec::find(stem).ok().map(|model| model.name)
}

fn check_file(file: &Path, model: &str) -> Result<WeightsCheck, WorkflowError> {
    let spec = ModelSpec::find(model)?;
    let mut model = Model::new(spec.name, spec.study_px, CLASSES, 0, Device::Cpu)?;
    let report = model.load_pretrained(file, None)?;
    let statement = report.to_string();
    let LoadReport {
        preprocessing,
        loaded,
        missing,
        unexpected,
        wrong_shape,
        converted,
        ..
    } = report;
    Ok(WeightsCheck {
        file: file.to_owned(),
        model: spec.name,
        fits: true,
        loaded: loaded.len(),
        missing,
        unexpected,
        wrong_shape,
        converted,
        preprocessing,
        statement,
    })
}

/// The network that a file of pretrained weights is for: the one it is called after, else the first of the published
/// ones that takes it.
///
/// # Errors
/// [`WorkflowError::NoNetwork`] where none takes it; else as [`check_weights`].
pub fn find_network(file: &Path) -> Result<DriftNetwork, WorkflowError> {
    let network = |model: &str| DriftNetwork {
        model: model.to_owned(),
        weights: file.display().to_string(),
        preprocessing: None,
    };
    if let Some(model) = named_after(file) {
        return Ok(network(check_file(file, model)?.model));
    }
    for published in &PUBLISHED {
        if check_file(file, published.model).is_ok() {
            return Ok(network(published.model));
        }
    }
    Err(WorkflowError::NoNetwork {
        file: file.to_owned(),
        known: PUBLISHED.map(|p| p.model).join(", "),
    })
}

/// `plan`, where its weights are a name of fetched ones, with their file instead; and where they are
/// fetched ones in any way, with the scale of pixels they expect, unless plan or file say one.
///
/// # Errors
/// [`WorkflowError::NotFetched`]; [`WorkflowError::Model`] for a fetched file that cannot be read.
pub(super) fn with_fetched_weights(plan: &Plan) -> Result<Plan, WorkflowError> {
    let mut plan = plan.clone();
    let Some(said) = &plan.weights else {
        return Ok(plan);
    };
    if let Some(file) = find_fetched(said)? {
        plan.weights = Some(file.display().to_string());
    }
    let file = plan.weights.as_deref().map(Path::new);
    if plan.preprocessing.is_none()
        && let Some((file, published)) = file.and_then(|file| Some((file, published_at(file)?)))
        && weights::preprocessing(file)
            .map_err(ModelError::from)?
            .is_none()
    {
        plan.preprocessing = Some(published.preprocessing);
    }
    Ok(plan)
}

/// The pretrained network `model` with the weights `said`, a file or the name of fetched ones; those fetched
/// for the network when not given.
///
/// # Errors
/// [`WorkflowError::NotFetched`]; [`WorkflowError::Model`] for an unknown network or scale, or a fetched file
/// that cannot be read.
pub fn find_body(
    model: &str,
    said: Option<&Path>,
    size: Option<u32>,
    preprocessing: Option<&str>,
) -> Result<Body, WorkflowError> {
    ModelSpec::find(model)?;
    let preprocessing = match preprocessing {
        Some(name) => Some(
            Preprocessing::find(name).ok_or_else(|| WorkflowError::NoScale {
                name: name.to_owned(),
            })?,
        ),
        None => None,
    };
    let said = said.unwrap_or(Path::new(model));
    let plan = with_fetched_weights(&Plan {
        model: model.to_owned(),
        weights: Some(said.display().to_string()),
        preprocessing,
        ..Plan::default()
    })?;
    Ok(Body {
        model: plan.model,
        weights: Some(plan.weights.map_or_else(|| said.to_owned(), PathBuf::from)),
        size,
        preprocessing: plan.preprocessing,
    })
}

/// As [`find_body`]; without any weights, said or fetched, the network as it is drawn before any training: what its
/// filters see of textures and edges is still worth something, and nothing has to be fetched.
///
/// # Errors
/// As [`find_body`], except for weights that were not fetched and not asked for.
pub fn find_body_or_untrained(
    model: &str,
    said: Option<&Path>,
    size: Option<u32>,
    preprocessing: Option<&str>,
) -> Result<Body, WorkflowError> {
    let may_be_fetched = Published::find(model).is_some();
    match find_body(model, said, size, preprocessing) {
        Ok(body) if said.is_none() && !may_be_fetched => Ok(Body {
            weights: None,
            ..body
        }),
        Err(WorkflowError::NotFetched { .. }) if said.is_none() => Ok(Body {
            model: model.to_owned(),
            weights: None,
            size,
            preprocessing: preprocessing.and_then(Preprocessing::find),
        }),
        found => found,
    }
}

/// The file of fetched weights, where `said` is their name; `None` where it is a path.
fn find_fetched(said: &str) -> Result<Option<PathBuf>, WorkflowError> {
    let Some(published) = Published::find(said).filter(|_| !Path::new(said).exists()) else {
        return Ok(None);
    };
    let file = file_in(&weights_folder()?, published);
    if file.is_file() {
        return Ok(Some(file));
    }
    Err(WorkflowError::NotFetched {
        name: published.model,
        file,
    })
}

/// The name of the weights for `model`, where they were fetched.
pub(super) fn fetched(model: &str) -> Option<String> {
    let published = Published::find(model)?;
    let file = file_in(&weights_folder().ok()?, published);
    file.is_file().then(|| published.model.to_owned())
}

/// Which published weights `file` is, if it lies where they are fetched to.
fn published_at(file: &Path) -> Option<&'static Published> {
    let folder = weights_folder().ok()?;
    let real = fs::canonicalize(file).ok()?;
    let same = |p: &&Published| fs::canonicalize(file_in(&folder, p)).is_ok_and(|at| at == real);
    PUBLISHED.iter().find(same)
}

fn row(published: &Published, folder: &Path) -> WeightsRow {
    let path = file_in(folder, published);
    WeightsRow {
        name: published.model,
        repository: published.repository,
        file: published.file,
        licence: published.licence,
        preprocessing: published.preprocessing,
        megabytes: published.megabytes,
        present: path.is_file(),
        path,
    }
}

fn file_in(folder: &Path, published: &Published) -> PathBuf {
    folder.join(format!("{}.safetensors", published.model))
}

/// Where fetched weights lie: one copy for each user.
fn weights_folder() -> Result<PathBuf, WorkflowError> {
    let dirs = directories::ProjectDirs::from("", "", "driftscope");
    let dirs = dirs.ok_or(WorkflowError::NoDataFolder)?;
    Ok(dirs.data_dir().join("weights"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_of_a_file_is_told_by_its_tensors() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("of_a_colleague.safetensors");
        let side = ModelSpec::find("efficientnet_v2_s")
            .expect("known")
            .study_px;
        let model = Model::new("efficientnet_v2_s", side, 4, 1, Device::Cpu).expect("built");
        model.save(&file).expect("written");
        let network = find_network(&file).expect("found");
        assert_eq!(network.model, "efficientnet_v2_s");
        assert_eq!(Path::new(&network.weights), file);

        let side = ModelSpec::find("cnn01").expect("known").study_px;
        let model = Model::new("cnn01", side, 4, 1, Device::Cpu).expect("built");
        model.save(&file).expect("written");
        let refused = find_network(&file)
            .expect_err("no pretrained network")
            .to_string();
        assert!(
            refused.contains("none of inception_v3, efficientnet_v2_s, vit_s14"),
            "{refused}"
        );
    }
}
