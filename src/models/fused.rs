//! Convolution, bias and activation in one pass over memory, by an operator of oneDNN that libtorch registers
//! but whose Rust binding has no function for it. TorchScript calls operators by name: `fused_ops.py` says how
//! the script was made.

use std::sync::OnceLock;

use tch::{CModule, IValue, Tensor};

use super::inference::has_bf16;

static SCRIPT: &[u8] = include_bytes!("fused_ops.pt");

/// What follows a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    /// Nothing.
    None,
    /// `max(0, x)`
    Relu,
}

impl Activation {
    /// In place.
    pub(super) fn apply(self, mut x: Tensor) -> Tensor {
        match self {
            Self::None => x,
            Self::Relu => x.relu_(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Relu => "relu",
        }
    }
}

/// A convolution whose weights lie in memory as its operator reads them. libtorch's own convolution arranges
/// them anew each time.
pub(super) struct FusedConv {
    ops: &'static CModule,
    packed: Tensor,
    padding: [i64; 2],
    stride: [i64; 2],
    groups: i64,
}

impl FusedConv {
    /// For inputs of `input_size` (`[b, c, h, w]`); others are possible, and slower. `None` where libtorch was
    /// built without oneDNN, or the processor does not multiply bf16.
    pub(super) fn new(
        weight: &Tensor,
        padding: [i64; 2],
        stride: [i64; 2],
        groups: i64,
        input_size: &[i64],
    ) -> Option<Self> {
        let ops = ops()?;
        let packed = ops.method_is(
            "pack",
            &[
                IValue::Tensor(weight.shallow_clone()),
                IValue::IntList(padding.to_vec()),
                IValue::IntList(stride.to_vec()),
                IValue::Int(groups),
                IValue::IntList(input_size.to_vec()),
            ],
        );
        Some(Self {
            ops,
            packed: tensor(packed),
            padding,
            stride,
            groups,
        })
    }

    /// `bias` is fp32 whatever the kind of `x`: rounded, it would shift every place alike.
    pub(super) fn forward(&self, x: &Tensor, bias: &Tensor, activation: Activation) -> Tensor {
        tensor(self.ops.method_is(
            "conv",
            &[
                IValue::Tensor(x.shallow_clone()),
                IValue::Tensor(self.packed.shallow_clone()),
                IValue::Tensor(bias.shallow_clone()),
                IValue::IntList(self.padding.to_vec()),
                IValue::IntList(self.stride.to_vec()),
                IValue::Int(self.groups),
                IValue::from(activation.name()),
            ],
        ))
    }
}

/// None where libtorch or the processor has no such operators: oneDNN refuses bf16 on older ones.
fn ops() -> Option<&'static CModule> {
    static OPS: OnceLock<Option<CModule>> = OnceLock::new();
    if !has_bf16() {
        return None;
    }
    let load = || match CModule::load_data(&mut &SCRIPT[..]) {
        Ok(ops) => Some(ops),
        Err(error) => {
            tracing::info!("libtorch has no fused convolutions: {error}");
            None
        }
    };
    OPS.get_or_init(load).as_ref()
}

/// As tch's own operators do, this panics where libtorch refuses shapes: they are the network's, not the user's.
fn tensor(value: Result<IValue, tch::TchError>) -> Tensor {
    match value {
        Ok(IValue::Tensor(tensor)) => tensor,
        other => unreachable!("a convolution that fits returns a tensor: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn fused_equals_one_after_the_other() {
        for (groups, kernel, stride) in [
            (1, [3, 3], 1),
            (1, [1, 7], 1),
            (1, [3, 3], 2),
            (16, [3, 3], 1),
        ] {
            let draw = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
            let x = draw(&[3, 16, 9, 9]).to_kind(Kind::BFloat16);
            let weight = draw(&[32, 16 / groups, kernel[0], kernel[1]]).to_kind(Kind::BFloat16);
            let bias = draw(&[32]);
            let padding = kernel.map(|k| k / 2);
            let Some(fused) = FusedConv::new(&weight, padding, [stride; 2], groups, &x.size())
            else {
                // The libtorch that the set-up brings for these has them.
                let expected = cfg!(all(target_os = "linux", target_arch = "x86_64")) && has_bf16();
                if expected {
                    panic!("libtorch without fused convolutions");
                }
                return;
            };
            let double = |t: &Tensor| t.to_kind(Kind::Double);
            let plain = double(&x).conv2d(
                &double(&weight),
                Some(&double(&bias)),
                [stride; 2],
                padding,
                [1, 1],
                groups,
            );
            for activation in [Activation::None, Activation::Relu] {
                let expected = activation.apply(plain.copy());
                let found = fused.forward(&x, &bias, activation);
                assert_eq!(found.size(), expected.size());
                // The answer alone is rounded to 8 bits.
                let wrong = (double(&found) - &expected).abs() - expected.abs() / 256.0;
                assert!(wrong.max().double_value(&[]) < 1e-4);
            }
            // The last batch is smaller.
            let one = fused.forward(&x.narrow(0, 1, 1), &bias, Activation::None);
            let all = fused.forward(&x, &bias, Activation::None);
            assert!(one.equal(&all.narrow(0, 1, 1)));
        }
    }
}
