//! The study's small networks cnn01, cnn02, cnn03: 3x3 valid convolutions, each with ReLU and 2x2 max
//! pool, then dense layers.
//!
//! The pool runs before the ReLU: max and ReLU commute, so the function is the same, and ReLU sees a
//! quarter of the values.

use std::cell::RefCell;

use tch::{Tensor, nn};

use super::{Adam, Initializer, ModelSpec, Network, fast::FastBody};

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

pub(super) const CNN01: ModelSpec = ModelSpec {
    name: "cnn01",
    summary: "conv 64 - pool - dense 64 - out",
    study_px: 299,
    parameters: |size, classes| LAYERS_01.parameters(size, classes),
    build: |path, size, classes, init| LAYERS_01.build(path, size, classes, init),
};
pub(super) const CNN02: ModelSpec = ModelSpec {
    name: "cnn02",
    summary: "conv 32 - pool - conv 64 - pool - dense 128 - out",
    study_px: 299,
    parameters: |size, classes| LAYERS_02.parameters(size, classes),
    build: |path, size, classes, init| LAYERS_02.build(path, size, classes, init),
};
pub(super) const CNN03: ModelSpec = ModelSpec {
    name: "cnn03",
    summary: "conv 32, 64, 128, each with pool - dense 128 - dense 64 - out",
    study_px: 299,
    parameters: |size, classes| LAYERS_03.parameters(size, classes),
    build: |path, size, classes, init| LAYERS_03.build(path, size, classes, init),
};

impl Layers {
    /// Side of the feature map behind the last pool; `None` when nothing is left.
    fn side_after(&self, size: u32) -> Option<i64> {
        let shrink = |side: i64, _: &i64| (side - 2) / 2;
        let side = self.convs.iter().fold(i64::from(size), shrink);
        (side > 0).then_some(side)
    }

    fn parameters(&self, size: u32, classes: usize) -> Option<u64> {
        let mut total = 0;
        let mut channels = 1;
        for conv in self.convs {
            total += 9 * channels * conv + conv;
            channels = *conv;
        }
        let side = self.side_after(size)?;
        let mut width = channels * side * side;
        for dense in self.dense.iter().chain([&(classes as i64)]) {
            total += width * dense + dense;
            width = *dense;
        }
        u64::try_from(total).ok()
    }

    fn build(
        &self,
        path: &nn::Path<'_>,
        size: u32,
        classes: usize,
        init: &mut Initializer,
    ) -> Box<dyn Network> {
        let mut channels = 1;
        let convs = self.convs.iter().enumerate().map(|(i, out)| {
            let layer = init.layer(&(path / format!("conv{}", i + 1)), &[*out, channels, 3, 3]);
            channels = *out;
            layer
        });
        let convs: Vec<Layer> = convs.collect();
        let side = self
            .side_after(size)
            .expect("the size is checked before a model is built");
        let mut width = channels * side * side;
        let dense = self.dense.iter().enumerate().map(|(i, out)| {
            let layer = init.layer(&(path / format!("dense{}", i + 1)), &[*out, width]);
            width = *out;
            layer
        });
        let dense: Vec<Layer> = dense.collect();
        let out = init.layer(&(path / "out"), &[classes as i64, width]);
        Box::new(SmallCnn {
            convs,
            dense,
            out,
            fast: RefCell::default(),
            width: self.dense.last().map_or(0, |w| *w as usize),
        })
    }
}

/// Weight and bias of one layer.
pub(super) struct Layer {
    pub(super) weight: Tensor,
    pub(super) bias: Tensor,
}

struct SmallCnn {
    convs: Vec<Layer>,
    dense: Vec<Layer>,
    out: Layer,
    fast: RefCell<FastBody>,
    width: usize,
}

impl Network for SmallCnn {
    fn embed(&self, images: &Tensor, train: bool) -> Tensor {
        let (first, rest) = self.dense.split_first().expect("one dense layer at least");
        let body = self.convs.iter().chain([first]);
        let mut x = if train && FastBody::serves(images, body) {
            let mut fast = self.fast.borrow_mut();
            fast.forward(images, &self.convs, first)
        } else {
            // Between epochs its memory is better given back.
            self.fast.take();
            self.plain(images, first)
        };
        x = x.relu();
        for Layer { weight, bias } in rest {
            x = x.linear(weight, Some(bias)).relu();
        }
        x
    }

    fn finish_backward(&self, adam: &mut Adam) {
        let mut fast = self.fast.borrow_mut();
        fast.backward(&self.convs, &self.dense[0], adam);
    }

    fn head(&self, embeddings: &Tensor) -> Tensor {
        embeddings.linear(&self.out.weight, Some(&self.out.bias))
    }

    fn embedding_dim(&self) -> usize {
        self.width
    }
}

impl SmallCnn {
    /// The convolutions and the first dense layer by libtorch's operators.
    fn plain(&self, images: &Tensor, dense: &Layer) -> Tensor {
        let mut x = images.shallow_clone();
        for Layer { weight, bias } in &self.convs {
            x = x
                .conv2d(weight, Some(bias), [1, 1], [0, 0], [1, 1], 1)
                .max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)
                .relu();
        }
        x.flatten(1, -1).linear(&dense.weight, Some(&dense.bias))
    }
}
