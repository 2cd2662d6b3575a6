//! Layers that the architectures share.

use tch::{Kind, Tensor};

use super::work::{Tally, side_behind};

/// Weight and bias of one layer. They are cast to the kind of what enters the layer.
pub(super) struct Layer {
    pub(super) weight: Tensor,
    pub(super) bias: Tensor,
}

impl Layer {
    /// `[…, in]` to `[…, out]`.
    pub(super) fn linear(&self, x: &Tensor) -> Tensor {
        let kind = x.kind();
        x.linear(&self.weight.to_kind(kind), Some(&self.bias.to_kind(kind)))
    }

    /// `[b, in, h, w]` to `[b, out, h, w]` with a weight of `[out, in, 1, 1]`.
    pub(super) fn conv_1x1(&self, x: &Tensor) -> Tensor {
        let kind = x.kind();
        let (weight, bias) = (self.weight.to_kind(kind), self.bias.to_kind(kind));
        x.conv2d(&weight, Some(&bias), [1, 1], [0, 0], [1, 1], 1)
    }
}

/// Dropout, then one linear layer: embeddings to logits.
pub(super) struct Head {
    pub(super) layer: Layer,
    /// Share of the embedding that training sets to 0.
    pub(super) dropout: f64,
}

impl Head {
    pub(super) fn logits(&self, embeddings: &Tensor, train: bool) -> Tensor {
        if train && self.dropout > 0.0 {
            self.layer.linear(&embeddings.dropout(self.dropout, true))
        } else {
            self.layer.linear(embeddings)
        }
    }
}

/// What the batch norms of an architecture have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct BatchNormOptions {
    /// Added to the variance.
    pub(super) eps: f64,
    /// Share of a batch's statistics in the moving ones: libtorch's meaning, 1 - Keras' momentum.
    pub(super) momentum: f64,
    /// Whether the architecture has a scale (gamma). Without one it stays at what a published file says, or 1.
    pub(super) scale: bool,
}

/// Batch norm over the channels of `[b, c, h, w]` (Ioffe & Szegedy 2015). The kept variance moves towards
/// the unbiased one of the batch, as in PyTorch; Keras takes the biased one, smaller by a factor of
/// 1 - 1/(b h w), which is 0.9995 where least (8 x 8 positions, 32 images).
pub(super) struct BatchNorm {
    pub(super) weight: Tensor,
    pub(super) bias: Tensor,
    pub(super) mean: Tensor,
    pub(super) variance: Tensor,
    pub(super) options: BatchNormOptions,
}

impl BatchNorm {
    /// Normalises by the batch's own statistics, and moves the kept ones, only while it is itself being
    /// trained: a frozen layer runs in inference mode, as in Keras.
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        x.batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.mean),
            Some(&self.variance),
            train && self.bias.requires_grad(),
            self.options.momentum,
            self.options.eps,
            true,
        )
    }
}

/// A convolution without bias, then batch norm. The activation is the caller's.
pub(super) struct Conv {
    weight: Tensor,
    after: After,
    stride: i64,
    groups: i64,
}

enum After {
    Norm(BatchNorm),
    /// The norm is in the weight already.
    Bias(Tensor),
}

impl Conv {
    /// With stride 1 and one group.
    pub(super) fn new(weight: Tensor, norm: BatchNorm) -> Self {
        Self {
            weight,
            after: After::Norm(norm),
            stride: 1,
            groups: 1,
        }
    }

    /// One convolution in `kind` that does what `weight` and then `norm` do in inference:
    /// with s = scale / sqrt(variance + eps), weights times s and the bias less mean times s.
    pub(super) fn folded(weight: &Tensor, norm: &BatchNorm, kind: Kind) -> Self {
        let double = |t: &Tensor| t.to_kind(Kind::Double);
        let spread = (double(&norm.variance) + norm.options.eps).sqrt();
        let scale = double(&norm.weight) / spread;
        let bias = double(&norm.bias) - double(&norm.mean) * &scale;
        let weight = double(weight) * scale.view([-1, 1, 1, 1]);
        Self {
            weight: channels_last(&weight.to_kind(kind)),
            after: After::Bias(bias.to_kind(kind)),
            stride: 1,
            groups: 1,
        }
    }

    pub(super) fn stride(self, stride: i64) -> Self {
        Self { stride, ..self }
    }

    /// One group for each channel.
    pub(super) fn depthwise(self) -> Self {
        let groups = self.weight.size()[0];
        Self { groups, ..self }
    }

    /// `padding` is that of each side, vertical then horizontal.
    pub(super) fn forward(&self, x: &Tensor, padding: [i64; 2], train: bool) -> Tensor {
        let stride = [self.stride; 2];
        // Master weights in fp32 work in the precision of what they are given; the gradient comes back in fp32.
        let (weight, groups) = (&self.weight.to_kind(x.kind()), self.groups);
        match &self.after {
            After::Norm(norm) => {
                let x = x.conv2d(weight, None::<&Tensor>, stride, padding, [1, 1], groups);
                norm.forward(&x, train)
            }
            After::Bias(bias) => x.conv2d(weight, Some(bias), stride, padding, [1, 1], groups),
        }
    }

    /// Pads as TensorFlow's `SAME` does: the output has `ceil(side / stride)` pixels a side, and of an odd
    /// padding the larger half goes below and to the right.
    pub(super) fn forward_same(&self, x: &Tensor, train: bool) -> Tensor {
        let pad = |dim: usize| {
            let (side, kernel) = (x.size()[dim], self.weight.size()[dim]);
            let out = (side + self.stride - 1) / self.stride;
            ((out - 1) * self.stride + kernel - side).max(0)
        };
        let (y, x_) = (pad(2), pad(3));
        if y % 2 == 0 && x_ % 2 == 0 {
            return self.forward(x, [y / 2, x_ / 2], train);
        }
        let padded = x.constant_pad_nd([x_ / 2, x_ - x_ / 2, y / 2, y - y / 2]);
        self.forward(&padded, [0, 0], train)
    }

    /// Counts what [`forward`](Self::forward) does with one image.
    pub(super) fn tally(&self, x: &mut Tally, padding: [i64; 2]) {
        let weight = self.weight.size();
        let side = |at: usize| side_behind(x.sides[at], weight[2 + at], self.stride, padding[at]);
        let sides = [side(0), side(1)];
        x.conv(&weight, sides);
    }

    /// Counts what [`forward_same`](Self::forward_same) does with one image.
    pub(super) fn tally_same(&self, x: &mut Tally) {
        let sides = x.sides.map(|side| (side + self.stride - 1) / self.stride);
        x.conv(&self.weight.size(), sides);
    }

    /// Whether training moves it.
    pub(super) fn is_trained(&self) -> bool {
        matches!(&self.after, After::Norm(norm) if norm.bias.requires_grad())
    }
}

/// `x` with its channels side by side in memory; no copy when they are.
pub(super) fn channels_last(x: &Tensor) -> Tensor {
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}
