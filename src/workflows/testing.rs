//! What tests of workflows share.

use std::fs;

use image::{GrayImage, Luma};
use tempfile::TempDir;

use super::{OpenRequest, Project, open};

/// A project of two classes, `each` small pictures of either, in a folder that goes with the first value.
pub(super) fn project(each: u8) -> (TempDir, Project) {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    for (class, name) in ["bars", "plain"].iter().enumerate() {
        let place = data.join(name);
        fs::create_dir_all(&place).expect("a folder");
        for i in 0..each {
            let shade = |x: u32| if class == 0 && x % 8 < 4 { 40 } else { 180 };
            let picture = GrayImage::from_fn(40, 40, |x, y| Luma([shade(x) + i + (y % 7) as u8]));
            picture
                .save(place.join(format!("{name}_{i}.png")))
                .expect("written");
        }
    }
    let project = open(&OpenRequest::from(data)).expect("a project");
    (folder, project)
}
