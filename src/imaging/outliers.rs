//! Regular pictures spoiled on purpose: weak examples of drift before anybody has found much of it.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// A way to spoil a picture. Learning from made outliers beside real ones follows outlier exposure (Hendrycks, Mazeika &
/// Dietterich, "Deep Anomaly Detection with Outlier Exposure", ICLR 2019); the ways are what goes wrong in a plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlier {
    /// Small grains of one brightness, strewn about one spot.
    Debris,
    /// Out of focus.
    Blur,
    /// A rectangle of one brightness covers a part.
    Occlusion,
    /// The frame is off; its edge is drawn out.
    Shift,
}

impl Outlier {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Debris, Self::Blur, Self::Occlusion, Self::Shift];

    /// `picture` of `side * side` pixels, row by row, spoiled in this way; where and how much is drawn from `rng`.
    ///
    /// # Panics
    /// When `picture` is no such square, or empty.
    #[must_use]
    pub fn make(self, picture: &[u8], side: usize, rng: &mut ChaCha8Rng) -> Vec<u8> {
        assert!(
            side > 0 && picture.len() == side * side,
            "a square of {side} pixels a side"
        );
        match self {
            Self::Debris => debris(picture, side, rng),
            Self::Blur => blur(picture, side, rng),
            Self::Occlusion => occlusion(picture, side, rng),
            Self::Shift => shift(picture, side, rng),
        }
    }
}

fn debris(picture: &[u8], side: usize, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut spoiled = picture.to_vec();
    let s = side as f32;
    let centre = [(); 2].map(|()| rng.random_range(0.1..0.9) * s);
    // Clearly brighter or darker than what it lies on.
    let under = f32::from(picture[centre[1] as usize * side + centre[0] as usize]);
    let contrast = rng.random_range(70.0..140.0);
    let ink = if under > 127.0 {
        under - contrast
    } else {
        under + contrast
    };
    for _ in 0..rng.random_range(3..9) {
        let [x, y] = centre.map(|c| c + rng.random_range(-0.05..0.05) * s);
        let radius = rng.random_range(0.01..0.04) * s;
        let reach = |c: f32| {
            let from = (c - radius).floor().max(0.0) as usize;
            from..((c + radius).ceil().max(0.0) as usize + 1).min(side)
        };
        for row in reach(y) {
            for column in reach(x) {
                let (dx, dy) = (column as f32 - x, row as f32 - y);
                if dx * dx + dy * dy <= radius * radius {
                    spoiled[row * side + column] = ink as u8;
                }
            }
        }
    }
    spoiled
}

/// Three means over a square, nearly a Gaussian.
fn blur(picture: &[u8], side: usize, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let radius = ((rng.random_range(0.008..0.03) * side as f32) as usize).max(1);
    let mut values: Vec<f32> = picture.iter().map(|v| f32::from(*v)).collect();
    for _ in 0..3 {
        for step in [1, side] {
            // A line runs along rows, then along columns; beyond its ends it goes on as it ends.
            let across = if step == 1 { side } else { 1 };
            let mut means = vec![0.0; values.len()];
            for line in 0..side {
                let at = |i: isize| {
                    values[line * across + i.clamp(0, side as isize - 1) as usize * step]
                };
                let reach = radius as isize;
                let mut sum: f32 = (-reach..=reach).map(at).sum();
                for i in 0..side as isize {
                    means[line * across + i as usize * step] = sum / (2 * radius + 1) as f32;
                    sum += at(i + reach + 1) - at(i - reach);
                }
            }
            values = means;
        }
    }
    values.into_iter().map(|v| v.round() as u8).collect()
}

fn occlusion(picture: &[u8], side: usize, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut spoiled = picture.to_vec();
    let part = |rng: &mut ChaCha8Rng| {
        let length = ((rng.random_range(0.1..0.35) * side as f32) as usize).max(1);
        let from = rng.random_range(0..=side - length);
        from..from + length
    };
    let (rows, columns) = (part(rng), part(rng));
    let ink = rng.random::<u8>();
    for row in rows {
        spoiled[row * side..][columns.clone()].fill(ink);
    }
    spoiled
}

fn shift(picture: &[u8], side: usize, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let angle = rng.random_range(0.0..std::f32::consts::TAU);
    let by = rng.random_range(0.1..0.3) * side as f32;
    let moved =
        |at: usize, by: f32| (at as f32 + by).round().clamp(0.0, side as f32 - 1.0) as usize;
    (0..side * side)
        .map(|at| {
            let x = moved(at % side, by * angle.cos());
            let y = moved(at / side, by * angle.sin());
            picture[y * side + x]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const SIDE: usize = 64;

    fn picture() -> Vec<u8> {
        (0..SIDE * SIDE)
            .map(|at| (60 + (at % SIDE * 7 + at / SIDE * 13) % 120) as u8)
            .collect()
    }

    fn spoiled(outlier: Outlier, seed: u64) -> Vec<u8> {
        outlier.make(&picture(), SIDE, &mut ChaCha8Rng::seed_from_u64(seed))
    }

    fn changed(made: &[u8]) -> f64 {
        let differ = made.iter().zip(picture()).filter(|(a, b)| **a != *b);
        differ.count() as f64 / made.len() as f64
    }

    #[test]
    fn each_way_spoils_as_much_as_it_should_and_again_by_the_same_seed() {
        for outlier in Outlier::ALL {
            for seed in 0..40 {
                let made = spoiled(outlier, seed);
                assert_eq!(made, spoiled(outlier, seed));
                let share = changed(&made);
                let expected = match outlier {
                    Outlier::Debris => 0.0005..0.08,
                    Outlier::Occlusion => 0.005..0.13,
                    Outlier::Blur | Outlier::Shift => 0.5..1.01,
                };
                assert!(expected.contains(&share), "{outlier:?} {seed}: {share}");
            }
        }
    }

    #[test]
    fn blur_takes_contrast_but_no_brightness() {
        let of = |values: &[u8]| {
            let n = values.len() as f64;
            let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
            let squares: f64 = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum();
            (mean, (squares / n).sqrt())
        };
        let (before, after) = (of(&picture()), of(&spoiled(Outlier::Blur, 1)));
        assert!((before.0 - after.0).abs() < 3.0, "{before:?} {after:?}");
        assert!(after.1 < before.1 / 2.0, "{before:?} {after:?}");
        let flat = vec![90; SIDE * SIDE];
        let rng = &mut ChaCha8Rng::seed_from_u64(3);
        assert_eq!(Outlier::Blur.make(&flat, SIDE, rng), flat);
    }

    #[test]
    fn the_smallest_picture_is_spoiled_too() {
        for outlier in Outlier::ALL {
            let rng = &mut ChaCha8Rng::seed_from_u64(1);
            assert_eq!(outlier.make(&[7], 1, rng).len(), 1);
        }
    }
}
