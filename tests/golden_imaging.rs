//! Augmentation agrees with Keras and SciPy, the die crop with Pillow: `tests/golden/make_imaging.py`
//! wrote the numbers.

use driftscope::imaging::{Die, Gray, Transform, die_crop};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    augmentation: Vec<Augmentation>,
    die_crop: Vec<DieCrop>,
}

#[derive(Deserialize)]
struct Augmentation {
    side: u32,
    image: Vec<u8>,
    cases: Vec<AugmentationCase>,
}

#[derive(Deserialize)]
struct AugmentationCase {
    transform: KerasTransform,
    result: Vec<f64>,
}

/// As Keras names them, shifts as fractions of the side.
#[derive(Deserialize, Debug)]
#[serde(default)]
struct KerasTransform {
    theta: f32,
    tx: f32,
    ty: f32,
    shear: f32,
    zx: f32,
    zy: f32,
}

impl Default for KerasTransform {
    fn default() -> Self {
        Self {
            theta: 0.0,
            tx: 0.0,
            ty: 0.0,
            shear: 0.0,
            zx: 1.0,
            zy: 1.0,
        }
    }
}

#[derive(Deserialize)]
struct DieCrop {
    die: String,
    width: u32,
    height: u32,
    row_sums: Vec<u64>,
    column_sums: Vec<u64>,
    sample: Vec<u8>,
    nearest: Vec<u8>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/imaging.json")).expect("written by make_imaging.py")
}

#[test]
fn augmentation_is_keras() {
    for image in golden().augmentation {
        for case in image.cases {
            let keras = &case.transform;
            let transform = Transform {
                rotation_deg: keras.theta,
                shear_deg: keras.shear,
                zoom_x: keras.zx,
                zoom_y: keras.zy,
                shift_x: keras.tx,
                shift_y: keras.ty,
                brightness: 1.0,
            };
            let mut ours = vec![0; image.image.len()];
            transform.apply(&image.image, image.side, &mut ours);
            let worst = (ours.iter().zip(&case.result))
                .map(|(ours, theirs)| (f64::from(*ours) - theirs).abs())
                .fold(0.0, f64::max);
            // Half a level of it is the rounding to whole ones.
            assert!(worst < 0.75, "{keras:?}: {worst}");
        }
    }
}

/// As `frame` in make_imaging.py draws it.
fn frame(width: u32, height: u32) -> Gray {
    let level = |i: u32| {
        let (x, y) = (i % width, i / width);
        ((x * x / 300 + y * y / 500 + x * y / 700) % 160 + (x / 23 + y / 31) % 3 * 40) as u8
    };
    Gray {
        width,
        height,
        pixels: (0..width * height).map(level).collect(),
    }
}

#[test]
fn the_die_crop_is_pillows() {
    for case in golden().die_crop {
        let die = Die::from_name(&case.die).expect("a die");
        let (width, height) = die.base_size();
        let strip = die_crop(&frame(width, height), die);
        assert_eq!((strip.width, strip.height), (case.width, case.height));
        let rows: Vec<&[u8]> = strip.pixels.chunks(case.width as usize).collect();
        let sum = |pixels: &mut dyn Iterator<Item = u8>| pixels.map(u64::from).sum::<u64>();
        let row_sums: Vec<u64> = (rows.iter())
            .map(|row| sum(&mut row.iter().copied()))
            .collect();
        let column_sums: Vec<u64> = (0..case.width as usize)
            .map(|column| sum(&mut rows.iter().map(|row| row[column])))
            .collect();
        let sample: Vec<u8> = (rows.iter().step_by(13))
            .flat_map(|row| row.iter().step_by(13).copied())
            .collect();
        assert_eq!(sample, case.sample, "{die:?}");
        assert_eq!(row_sums, case.row_sums, "{die:?}");
        assert_eq!(column_sums, case.column_sums, "{die:?}");
        // The same place as with Pillow's default, the nearest pixel: nearly everywhere the two differ
        // by the slope between neighbours.
        let close = (sample.iter().zip(&case.nearest))
            .filter(|(a, b)| a.abs_diff(**b) <= 3)
            .count();
        let all = sample.len();
        assert!(close * 10 > all * 8, "{die:?}: {close} of {all}");
    }
}
