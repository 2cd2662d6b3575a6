//! The study's small networks cnn01, cnn02, cnn03: 3x3 valid convolutions, each with ReLU and 2x2 max
//! pool, then dense layers.
//!
//! The pool runs before the ReLU: max and ReLU commute, so the function is the same, and ReLU sees a
//! quarter of the values.

use std::cell::RefCell;

use tch::Tensor;

use super::{
    Adam, Builder, ModelSpec, Network, Preprocessing, TrainableSet,
    fast::FastBody,
    init::Start,
    layers::{Head, Layer},
    work::{StageWork, Tally},
};

struct Layers {
    convs: &'static [i64],
    dense: &'static [i64],
}

const LAYERS_01: Layers = Layers {
    convs: &[64],
    dense: &[64],
};
const LAYERS_02: Layers = Layers {
    convs: &[32, 64],
    dense: &[128],
};
const LAYERS_03: Layers = Layers {
    convs: &[32, 64, 128],
    dense: &[128, 64],
};

/// What the three have in common.
const SMALL: ModelSpec = ModelSpec {
    name: "",
    summary: "",
    study_px: 299,
    smallest_px: 0,
    multiple_px: 1,
    channels: 1,
    learns_in_bf16: false,
    preprocessing: Preprocessing::Scale01,
    trainable_sets: &[
        TrainableSet {
            name: "head",
            first_stage: 1,
            contains: |name| name.starts_with("out."),
        },
        TrainableSet::ALL,
    ],
    phases: &["all"],
    head: "out",
    build: |_, _, _| unreachable!("each has its own"),
};
pub(super) const CNN01: ModelSpec = ModelSpec {
    name: "cnn01",
    summary: "conv 64 - pool - dense 64 - out",
    smallest_px: 4,
    build: |builder, size, classes| LAYERS_01.build(builder, size, classes),
    ..SMALL
};
pub(super) const CNN02: ModelSpec = ModelSpec {
    name: "cnn02",
    summary: "conv 32 - pool - conv 64 - pool - dense 128 - out",
    smallest_px: 10,
    build: |builder, size, classes| LAYERS_02.build(builder, size, classes),
    ..SMALL
};
pub(super) const CNN03: ModelSpec = ModelSpec {
    name: "cnn03",
    summary: "conv 32, 64, 128, each with pool - dense 128 - dense 64 - out",
    smallest_px: 22,
    build: |builder, size, classes| LAYERS_03.build(builder, size, classes),
    ..SMALL
};

impl Layers {
    /// Side of the feature map behind the last pool.
    fn side_after(&self, size: u32) -> i64 {
        let shrink = |side: i64, _: &i64| (side - 2) / 2;
        self.convs.iter().fold(i64::from(size), shrink)
    }

    fn build(&self, builder: &mut Builder<'_>, size: u32, classes: usize) -> Box<dyn Network> {
        let mut channels = 1;
        let convs = self.convs.iter().enumerate().map(|(i, out)| {
            let shape = [*out, channels, 3, 3];
            channels = *out;
            builder.layer(&format!("conv{}", i + 1), &shape, Start::Glorot)
        });
        let convs: Vec<Layer> = convs.collect();
        let side = self.side_after(size);
        let mut width = channels * side * side;
        let dense = self.dense.iter().enumerate().map(|(i, out)| {
            let shape = [*out, width];
            width = *out;
            builder.layer(&format!("dense{}", i + 1), &shape, Start::Glorot)
        });
        let dense: Vec<Layer> = dense.collect();
        let out = builder.head("out", classes, width, 0.0);
        Box::new(SmallCnn {
            convs,
            dense,
            out,
            fast: Some(RefCell::default()),
            width: width as usize,
        })
    }
}

struct SmallCnn {
    convs: Vec<Layer>,
    dense: Vec<Layer>,
    out: Head,
    /// Trains the body outside autograd where it can; none where that is not wanted.
    fast: Option<RefCell<FastBody>>,
    width: usize,
}

impl Network for SmallCnn {
    fn stages(&self) -> usize {
        1
    }

    fn stage(&self, _index: usize, images: &Tensor, train: bool) -> Tensor {
        let (first, rest) = self.dense.split_first().expect("one dense layer at least");
        let body = self.convs.iter().chain([first]);
        let mut x = match &self.fast {
            Some(fast) if train && FastBody::serves(images, body) => {
                fast.borrow_mut().forward(images, &self.convs, first)
            }
            fast => {
                // Between epochs its memory is better given back.
                if let Some(fast) = fast {
                    fast.take();
                }
                self.plain(images, first)
            }
        };
        x = x.relu();
        for layer in rest {
            x = layer.linear(&x).relu();
        }
        x
    }

    fn finish_backward(&self, adam: &mut Adam) {
        if let Some(fast) = &self.fast {
            let mut fast = fast.borrow_mut();
            fast.backward(&self.convs, &self.dense[0], adam);
        }
    }

    fn keep_gradients(&mut self) {
        self.fast = None;
    }

    fn head(&self, embeddings: &Tensor, train: bool) -> Tensor {
        self.out.logits(embeddings, train)
    }

    fn embedding_dim(&self) -> usize {
        self.width
    }

    fn work(&self, size: u32) -> Vec<StageWork> {
        let mut x = Tally::image(1, size);
        for layer in &self.convs {
            let sides = x.sides.map(|side| side - 2);
            x.conv(&layer.weight.size(), sides);
            x.sides = sides.map(|side| side / 2);
        }
        for layer in &self.dense {
            x.multiply_adds += layer.weight.size().iter().product::<i64>();
        }
        vec![x.end_stage(self.width as i64)]
    }
}

impl SmallCnn {
    /// The convolutions and the first dense layer by libtorch's operators.
    fn plain(&self, images: &Tensor, dense: &Layer) -> Tensor {
        let mut x = images.shallow_clone();
        for Layer { weight, bias } in &self.convs {
            let kind = x.kind();
            x = x
                .conv2d(
                    &weight.to_kind(kind),
                    Some(&bias.to_kind(kind)),
                    [1, 1],
                    [0, 0],
                    [1, 1],
                    1,
                )
                .max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)
                .relu();
        }
        dense.linear(&x.flatten(1, -1))
    }
}
