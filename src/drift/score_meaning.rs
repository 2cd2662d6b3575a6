//! What each score tells, in words.

/// What the score called `name` tells, in a sentence for people; none for a name that no score has. Of each, higher is more
/// like drift.
#[must_use]
pub fn score_meaning(name: &str) -> Option<&'static str> {
    Some(match name {
        "mahalanobis++" => {
            "Distance of the features to the nearest class of regular images, measured by how these vary."
        }
        "relative mahalanobis++" => {
            "Distance of the features to the nearest class, less that to all regular images together: how much odder than odd images are anyway."
        }
        "knn" => "Distance of the features to the nearest regular image.",
        "knn, same die" => {
            "Distance of the features to the nearest regular image of the same die. Listed only: no model reads it."
        }
        "pool density" => {
            "How crowded it is here with incoming images against regular ones: the only score that depends on the delivery."
        }
        "patchcore" => "How far the oddest places lie from any place of regular images.",
        "spade" => {
            "How much each place differs from the same place of similar regular images, on average."
        }
        "spade, oddest places" => {
            "How much the places differ that differ most from the same places of similar regular images."
        }
        "oddest tile" => "How odd the oddest tile of the strip of ribbons is.",
        "pixel spade" => {
            "How much the pixels differ from those of similar regular pictures, on average."
        }
        "pixel spade, odd area" => "How much of the picture differs from similar regular pictures.",
        "pixel spade, oddest spot" => {
            "How much the spot differs that differs most from similar regular pictures."
        }
        "pixel spade, oddest spot beside similar" => {
            "How much the spot differs that differs most from similar regular pictures, against what is usual for images like this one."
        }
        "framing" => {
            "How little light and dark lie as in any regular picture: shifted, turned or zoomed."
        }
        "size" => "How far width and height of the file are from those of regular images.",
        "saturation" => {
            "How many pixels are white. Listed only: the model reads the plain number instead."
        }
        "blur" => "How soft the picture is. Listed only: the model reads the plain number instead.",
        "max softmax" => {
            "How unsure a linear model of the regular classes is. Listed only: no model reads it."
        }
        "energy" => {
            "How little speaks for any regular class in a linear model of them. Listed only: no model reads it."
        }
        "vim" => {
            "How little speaks for any regular class in a linear model of them, and how much the features hold beside the directions in which regular images vary. Counts in the ranking without labels; no model reads it."
        }
        _ => return None,
    })
}
