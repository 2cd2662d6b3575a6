//! Published weights that the networks of the registry read as they are.
//!
//! To add some: one row in [`PUBLISHED`], and `driftscope weights check` on the file.

use super::Preprocessing;

/// One file of published weights. It is asked for by the name of its model.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// The model in the registry.
    pub model: &'static str,
    /// Its repository on the hub.
    pub repository: &'static str,
    /// The file there.
    pub file: &'static str,
    /// What the weights expect of the pixels, which the file does not say.
    pub preprocessing: Preprocessing,
    /// The licence that its repository names (SPDX).
    pub licence: &'static str,
    /// About how large it is, in millions of bytes.
    pub megabytes: u32,
}

/// All there are, in the order of the registry.
pub static PUBLISHED: [Published; 3] = [
    // torchvision's, which are Google's of 2015: its own `transform_input` turns ImageNet's scale into -1 to 1.
    Published {
        model: "inception_v3",
        repository: "timm/inception_v3.tv_in1k",
        file: "model.safetensors",
        preprocessing: Preprocessing::MinusOneToOne,
        licence: "Apache-2.0",
        megabytes: 95,
    },
    Published {
        model: "efficientnet_v2_s",
        repository: "timm/tf_efficientnetv2_s.in21k_ft_in1k",
        file: "model.safetensors",
        preprocessing: Preprocessing::MinusOneToOne,
        licence: "Apache-2.0",
        megabytes: 87,
    },
    // timm's copy: DINOv2's own repository splits the attention's weights in three and names them otherwise.
    Published {
        model: "vit_s14",
        repository: "timm/vit_small_patch14_dinov2.lvd142m",
        file: "model.safetensors",
        preprocessing: Preprocessing::ImageNet,
        licence: "Apache-2.0",
        megabytes: 88,
    },
];

impl Published {
    /// The weights for the model of that name.
    #[must_use]
    pub fn find(model: &str) -> Option<&'static Self> {
        PUBLISHED.iter().find(|row| row.model == model)
    }

    /// Its address on the hub at `hub`, such as `https://huggingface.co`.
    #[must_use]
    pub fn url(&self, hub: &str) -> String {
        let hub = hub.trim_end_matches('/');
        format!("{hub}/{}/resolve/main/{}", self.repository, self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{ModelSpec, REGISTRY};

    #[test]
    fn every_row_is_for_a_model_and_every_pretrained_model_has_one() {
        let models: Vec<&str> = PUBLISHED.iter().map(|row| row.model).collect();
        let pretrained = REGISTRY.iter().filter(|spec| spec.phases.len() > 1);
        assert_eq!(models, pretrained.map(|s| s.name).collect::<Vec<_>>());
        for row in &PUBLISHED {
            assert!(ModelSpec::find(row.model).is_ok());
            assert!(row.file.ends_with(".safetensors"));
            assert!(std::ptr::eq(
                Published::find(row.model).expect("there"),
                row
            ));
        }
        assert!(Published::find("cnn01").is_none());
    }

    #[test]
    fn the_address_is_the_hubs() {
        let row = Published::find("vit_s14").expect("there");
        let wanted = "https://hub.example/timm/vit_small_patch14_dinov2.lvd142m/resolve/main/model.safetensors";
        assert_eq!(row.url("https://hub.example"), wanted);
        assert_eq!(row.url("https://hub.example/"), wanted);
    }
}
