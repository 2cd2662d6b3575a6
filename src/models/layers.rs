//! Layers that the architectures share.

use std::cell::OnceCell;
use std::f64::consts::{PI, SQRT_2};

use tch::{Device, Kind, Tensor};

use super::fused::{Activation, FusedConv};
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
    Bias(Folded),
}

/// What is left of a batch norm that was folded into the convolution before it.
struct Folded {
    /// fp32, whatever the weight is in.
    bias: Tensor,
    /// None in fp32.
    rounding: Option<Rounding>,
    /// Expected mean of each channel behind the ReLU: `[out]`.
    expected: Tensor,
    /// Made with the first input, whose size it fits. None where the processor or its libtorch has no such operator.
    fused: OnceCell<Option<FusedConv>>,
}

/// Folded weights, summed over the filter's places, `[out, in]`: what each channel of an even input does to
/// each channel of the output.
struct Rounding {
    exact: Tensor,
    /// What rounding added.
    added: Tensor,
    /// Mean of each output before its bias, as the norm has seen it: `[out]`.
    seen: Tensor,
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
        let seen = double(&norm.mean) * &scale;
        let bias = double(&norm.bias) - &seen;
        let exact = double(weight) * scale.view([-1, 1, 1, 1]);
        let weight = channels_last(&exact.to_kind(kind));
        let rounding = (kind != Kind::Float).then(|| {
            let over_places = |t: &Tensor| t.sum_dim_intlist(&[2_i64, 3][..], false, None);
            Rounding {
                added: over_places(&(double(&weight) - &exact)),
                exact: over_places(&exact),
                seen,
            }
        });
        Self {
            weight,
            after: After::Bias(Folded {
                bias: bias.to_kind(Kind::Float),
                rounding,
                expected: mean_behind_relu(&double(&norm.bias), &double(&norm.weight).abs()),
                fused: OnceCell::new(),
            }),
            stride: 1,
            groups: 1,
        }
    }

    /// Takes out of the bias what the rounding of the weights adds on average, where `mean` (`[in]`, fp64) is
    /// expected of each channel of the input; returns what to expect behind the ReLU. Rounding errors of
    /// weights are the same for every image, so that they do not average out over places: data-free bias
    /// correction (Nagel et al. 2019, <https://arxiv.org/abs/1906.04721>, section 4.2).
    ///
    /// The bias stays as it is where expectation does not explain half of the norm's own mean: such a norm
    /// has not seen much training, and the true mean of the input is anyone's guess.
    ///
    /// # Panics
    /// When the norm was not folded.
    pub(super) fn correct(&mut self, mean: &Tensor) -> Tensor {
        let After::Bias(folded) = &mut self.after else {
            unreachable!("only folded weights are rounded")
        };
        if let Some(rounding) = folded.rounding.take() {
            let squares = |t: &Tensor| t.square().sum(None).double_value(&[]);
            let unexplained = rounding.exact.matmul(mean) - &rounding.seen;
            if squares(&unexplained) < 0.5 * squares(&rounding.seen) {
                let shift = rounding.added.matmul(mean);
                folded.bias = (folded.bias.to_kind(Kind::Double) - shift).to_kind(Kind::Float);
            }
        }
        folded.expected.shallow_clone()
    }

    /// Where it computes, if [`correct`](Self::correct) has something to do.
    pub(super) fn to_correct(&self) -> Option<Device> {
        match &self.after {
            After::Bias(folded) => folded.rounding.as_ref().map(|r| r.added.device()),
            After::Norm(_) => None,
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
        self.then(x, padding, train, Activation::None)
    }

    /// [`forward`](Self::forward), then ReLU.
    pub(super) fn forward_relu(&self, x: &Tensor, padding: [i64; 2], train: bool) -> Tensor {
        self.then(x, padding, train, Activation::Relu)
    }

    fn then(&self, x: &Tensor, padding: [i64; 2], train: bool, activation: Activation) -> Tensor {
        let stride = [self.stride; 2];
        let conv = |bias: Option<&Tensor>| {
            // Master weights in fp32 work in the precision of what they are given; the gradient comes back in fp32.
            let weight = self.weight.to_kind(x.kind());
            x.conv2d(&weight, bias, stride, padding, [1, 1], self.groups)
        };
        let x = match &self.after {
            After::Norm(norm) => norm.forward(&conv(None), train),
            After::Bias(folded) => {
                if let Some(fused) = self.fused(folded, x, padding) {
                    return fused.forward(x, &folded.bias, activation);
                }
                conv(Some(&folded.bias.to_kind(x.kind())))
            }
        };
        activation.apply(x)
    }

    /// oneDNN's fused operator, for bf16 on the CPU. In fp32 it is no faster than libtorch's own.
    fn fused<'a>(
        &self,
        folded: &'a Folded,
        x: &Tensor,
        padding: [i64; 2],
    ) -> Option<&'a FusedConv> {
        if x.kind() != Kind::BFloat16 || x.device() != Device::Cpu {
            return None;
        }
        let stride = [self.stride; 2];
        let made = folded
            .fused
            .get_or_init(|| FusedConv::new(&self.weight, padding, stride, self.groups, &x.size()));
        made.as_ref()
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

/// Mean of `max(0, v)` for `v` normally distributed with this mean and standard deviation, as batch norm makes
/// it: mean * Phi(z) + sd * phi(z) with z = mean / sd (Nagel et al. 2019, equation 19).
fn mean_behind_relu(mean: &Tensor, sd: &Tensor) -> Tensor {
    let z = mean / sd.clamp_min(1e-12);
    let below = ((&z / SQRT_2).erf() + 1.0) * 0.5;
    let density = (z.square() * -0.5).exp() / (2.0 * PI).sqrt();
    mean * below + sd * density
}

/// `x` with its channels side by side in memory; no copy when they are.
pub(super) fn channels_last(x: &Tensor) -> Tensor {
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a trained layer meets: inputs behind a ReLU, and a norm that fits what the convolution makes of them.
    #[test]
    fn a_corrected_bias_takes_out_what_rounding_adds_to_every_image() {
        tch::manual_seed(7);
        let options = (Kind::Double, Device::Cpu);
        let x = (Tensor::randn([8, 64, 12, 12], options) + 0.5).relu();
        // Values just above a step of bf16, so that all are rounded down.
        let weight = (Tensor::rand([16, 64, 3, 3], options) - 0.5).to_kind(Kind::BFloat16);
        let weight = (weight.to_kind(Kind::Double) * (1.0 + 1.0 / 600.0)).to_kind(Kind::Float);
        let plain = x.conv2d(
            &weight.to_kind(Kind::Double),
            None::<&Tensor>,
            [1, 1],
            [1, 1],
            [1, 1],
            1,
        );
        let over = [0_i64, 2, 3];
        let norm = BatchNorm {
            weight: Tensor::ones([16], options),
            bias: Tensor::zeros([16], options),
            mean: plain.mean_dim(&over[..], false, None),
            variance: plain.var_dim(&over[..], true, false),
            options: BatchNormOptions {
                eps: 1e-3,
                momentum: 0.01,
                scale: true,
            },
        };
        let exact = norm.forward(&plain, false).relu();
        let mean = x.mean_dim(&over[..], false, None);
        let make = || Conv::folded(&weight, &norm, Kind::BFloat16);
        let shift = |conv: &Conv| {
            let found = conv.forward_relu(&x.to_kind(Kind::BFloat16), [1, 1], false);
            let error = found.to_kind(Kind::Double) - &exact;
            error
                .mean_dim(&over[..], false, None)
                .abs()
                .mean(None)
                .double_value(&[])
        };
        let as_rounded = shift(&make());
        let mut conv = make();
        let expected = conv.correct(&mean);
        assert!(conv.to_correct().is_none(), "once is enough");
        let corrected = shift(&conv);
        // Where the fused operator is missing, the bias is rounded too.
        let most = if super::super::inference::has_bf16() {
            0.25
        } else {
            0.75
        };
        assert!(corrected < most * as_rounded, "{corrected} {as_rounded}");
        // Batch norm makes the outputs about normal: phi(0) is the mean behind the ReLU.
        let off = (expected - exact.mean_dim(&over[..], false, None))
            .abs()
            .max();
        assert!(off.double_value(&[]) < 0.05);
    }
}
