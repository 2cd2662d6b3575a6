//! EfficientNetV2-S (Tan & Le 2021, <https://arxiv.org/abs/2104.00298>, table 4) as Keras has it:
//! TensorFlow's `SAME` padding, batch norm with eps 1e-3 and momentum 0.9 (libtorch's 0.1).
//!
//! Variables have the names of timm's `tf_efficientnetv2_s` (`blocks.0.0.conv.weight`), whose files load
//! as they are.
//!
//! The study cut no phases out of this network. The equivalent of its last 30 and last 100 Keras layers
//! are the whole blocks nearest to them: Keras lists 15 layers for a block of the last group and 3 for the
//! convolution behind it, so `last_30` is two blocks and that convolution (33 layers), `last_100` six
//! blocks and that convolution (93 layers).
//!
//! Stages: up to block 9 of the last group of 15; blocks 10 to 13; blocks 14 and 15, the last convolution
//! and the global average pool.

use tch::{Kind, Tensor};

use super::{
    Builder, ModelSpec, Network, Preprocessing, TrainableSet,
    init::Start,
    layers::{BatchNormOptions, Conv, Head, Layer, channels_last},
    work::{StageWork, Tally},
};

pub(super) const EFFICIENTNET_V2_S: ModelSpec = ModelSpec {
    name: "efficientnet_v2_s",
    summary: "EfficientNetV2-S body - global average pool - dropout 0.2 - out",
    study_px: 299,
    smallest_px: 32,
    multiple_px: 1,
    channels: 3,
    learns_in_bf16: true,
    preprocessing: Preprocessing::MinusOneToOne,
    trainable_sets: &[
        TrainableSet {
            name: "head",
            first_stage: 3,
            contains: |name| name.starts_with("classifier."),
        },
        TrainableSet {
            name: "last_30",
            first_stage: 2,
            contains: |name| is_behind(name, LAST_30),
        },
        TrainableSet {
            name: "last_100",
            first_stage: 1,
            contains: |name| is_behind(name, LAST_100),
        },
        TrainableSet::ALL,
    ],
    phases: &["head", "last_30", "last_100"],
    head: "classifier",
    build: |builder, _, classes| Box::new(EfficientNet::new(builder, classes)),
};

/// First block of the last group that belongs to `last_30`, counted from 0.
const LAST_30: usize = 13;
/// First block of the last group that belongs to `last_100`, counted from 0.
const LAST_100: usize = 9;

/// Whether a variable belongs to the head, the last convolution, or the last group from block `first` on.
fn is_behind(name: &str, first: usize) -> bool {
    let mut parts = name.split('.');
    match parts.next() {
        Some("classifier" | "conv_head" | "bn2") => true,
        Some("blocks") => {
            let group = parts.next();
            let block = parts.next().and_then(|block| block.parse::<usize>().ok());
            group == Some("5") && block.is_some_and(|block| block >= first)
        }
        _ => false,
    }
}

const EMBEDDING: i64 = 1280;

/// Share of residual branches dropped in the last block; it grows from 0 with depth (Huang et al. 2016).
const DROP_PATH: f64 = 0.2;

const NORM: BatchNormOptions = BatchNormOptions {
    eps: 1e-3,
    momentum: 0.1,
    scale: true,
};

/// Blocks of one shape.
struct Group {
    blocks: i64,
    stride: i64,
    from: i64,
    to: i64,
    expansion: i64,
    /// MBConv with squeeze and excitation; Fused-MBConv otherwise.
    depthwise: bool,
}

const GROUPS: [Group; 6] = [
    group(2, 1, 24, 24, 1, false),
    group(4, 2, 24, 48, 4, false),
    group(4, 2, 48, 64, 4, false),
    group(6, 2, 64, 128, 4, true),
    group(9, 1, 128, 160, 6, true),
    group(15, 2, 160, 256, 6, true),
];

const fn group(
    blocks: i64,
    stride: i64,
    from: i64,
    to: i64,
    expansion: i64,
    depthwise: bool,
) -> Group {
    Group {
        blocks,
        stride,
        from,
        to,
        expansion,
        depthwise,
    }
}

/// The layers of a block between its ends.
enum Body {
    /// One convolution with SiLU.
    Plain(Conv),
    /// Convolution with SiLU, then a projection.
    Fused(Conv, Conv),
    /// Expansion, depthwise convolution, squeeze and excitation, projection.
    Depthwise {
        expand: Conv,
        depthwise: Conv,
        reduce: Layer,
        excite: Layer,
        project: Conv,
    },
}

struct Block {
    body: Body,
    /// Whether its input is added to its output.
    residual: bool,
    drop_path: f64,
}

impl Block {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let (out, trained) = match &self.body {
            Body::Plain(conv) => (conv.forward_same(x, train).silu_(), conv.is_trained()),
            Body::Fused(expand, project) => {
                let expanded = expand.forward_same(x, train).silu_();
                (project.forward_same(&expanded, train), project.is_trained())
            }
            Body::Depthwise {
                expand,
                depthwise,
                reduce,
                excite,
                project,
            } => {
                let x = expand.forward_same(x, train).silu_();
                let x = depthwise.forward_same(&x, train).silu_();
                let gate = x.mean_dim(&[2_i64, 3][..], true, None);
                let gate = excite.conv_1x1(&reduce.conv_1x1(&gate).silu_()).sigmoid_();
                (
                    project.forward_same(&(x * gate), train),
                    project.is_trained(),
                )
            }
        };
        if !self.residual {
            return out;
        }
        if train && trained && self.drop_path > 0.0 {
            let keep = 1.0 - self.drop_path;
            let options = (out.kind(), out.device());
            let kept = Tensor::rand([out.size()[0], 1, 1, 1], options).lt(keep);
            return x + out * kept / keep;
        }
        x + out
    }

    /// Counts what [`forward`](Self::forward) does with one image.
    fn tally(&self, x: &mut Tally) {
        match &self.body {
            Body::Plain(conv) => conv.tally_same(x),
            Body::Fused(expand, project) => {
                expand.tally_same(x);
                project.tally_same(x);
            }
            Body::Depthwise {
                expand,
                depthwise,
                reduce,
                excite,
                project,
            } => {
                expand.tally_same(x);
                depthwise.tally_same(x);
                for gate in [reduce, excite] {
                    x.multiply_adds += gate.weight.size().iter().product::<i64>();
                }
                project.tally_same(x);
            }
        }
    }
}

struct EfficientNet {
    stem: Conv,
    stages: [Vec<Block>; 3],
    last: Conv,
    head: Head,
}

impl EfficientNet {
    fn new(builder: &mut Builder<'_>, classes: usize) -> Self {
        let stem = conv(builder, "conv_stem", "bn1", [24, 3, 3, 3]).stride(2);
        let count: i64 = GROUPS.iter().map(|group| group.blocks).sum();
        let mut stages = [const { Vec::new() }; 3];
        let mut done = 0;
        for (g, group) in GROUPS.iter().enumerate() {
            for b in 0..group.blocks {
                let from = if b == 0 { group.from } else { group.to };
                let stride = if b == 0 { group.stride } else { 1 };
                let body = body(builder, &format!("blocks.{g}.{b}"), group, from, stride);
                let stage = match (g, b as usize) {
                    (5, LAST_30..) => 2,
                    (5, LAST_100..) => 1,
                    _ => 0,
                };
                stages[stage].push(Block {
                    body,
                    residual: stride == 1 && from == group.to,
                    drop_path: DROP_PATH * done as f64 / count as f64,
                });
                done += 1;
            }
        }
        let last = conv(builder, "conv_head", "bn2", [EMBEDDING, 256, 1, 1]);
        Self {
            stem,
            stages,
            last,
            head: builder.head("classifier", classes, EMBEDDING, 0.2),
        }
    }
}

fn conv(builder: &mut Builder<'_>, name: &str, norm: &str, shape: [i64; 4]) -> Conv {
    let start = Start::he_fan_out(shape[0], shape[2] * shape[3]);
    builder.conv_norm(name, norm, shape, start, NORM)
}

fn body(builder: &mut Builder<'_>, block: &str, group: &Group, from: i64, stride: i64) -> Body {
    let name = |layer: &str| format!("{block}.{layer}");
    let (wide, to) = (from * group.expansion, group.to);
    let mut add = |layer: &str, norm: &str, shape| conv(builder, &name(layer), &name(norm), shape);
    if !group.depthwise {
        if group.expansion == 1 {
            return Body::Plain(add("conv", "bn1", [to, from, 3, 3]).stride(stride));
        }
        let expand = add("conv_exp", "bn1", [wide, from, 3, 3]).stride(stride);
        return Body::Fused(expand, add("conv_pwl", "bn2", [to, wide, 1, 1]));
    }
    let expand = add("conv_pw", "bn1", [wide, from, 1, 1]);
    // Keras takes the fan-out of a depthwise kernel for that of one channel.
    let (kernel, norm) = (name("conv_dw"), name("bn2"));
    let start = Start::he_fan_out(1, 9);
    let depthwise = builder.conv_norm(&kernel, &norm, [wide, 1, 3, 3], start, NORM);
    let narrow = from / 4;
    let mut gate = |layer: &str, out: i64, from: i64| {
        let start = Start::he_fan_out(out, 1);
        builder.layer(&name(layer), &[out, from, 1, 1], start)
    };
    let reduce = gate("se.conv_reduce", narrow, wide);
    let excite = gate("se.conv_expand", wide, narrow);
    Body::Depthwise {
        expand,
        depthwise: depthwise.stride(stride).depthwise(),
        reduce,
        excite,
        project: conv(builder, &name("conv_pwl"), &name("bn3"), [to, wide, 1, 1]),
    }
}

impl Network for EfficientNet {
    fn stages(&self) -> usize {
        self.stages.len()
    }

    fn stage(&self, index: usize, input: &Tensor, train: bool) -> Tensor {
        let mut x = channels_last(input);
        if index == 0 {
            x = self.stem.forward_same(&x, train).silu_();
        }
        for block in &self.stages[index] {
            x = block.forward(&x, train);
        }
        if index + 1 == self.stages.len() {
            let x = self.last.forward_same(&x, train).silu_();
            x.mean_dim(&[2_i64, 3][..], false, Kind::Float)
        } else {
            x
        }
    }

    fn head(&self, embeddings: &Tensor, train: bool) -> Tensor {
        self.head.logits(embeddings, train)
    }

    fn embedding_dim(&self) -> usize {
        EMBEDDING as usize
    }

    fn work(&self, size: u32) -> Vec<StageWork> {
        let mut x = Tally::image(3, size);
        self.stem.tally_same(&mut x);
        let last = self.stages.len() - 1;
        let stage = |(index, blocks): (usize, &Vec<Block>)| {
            for block in blocks {
                block.tally(&mut x);
            }
            let mut outputs = x.outputs();
            if index == last {
                self.last.tally_same(&mut x);
                outputs = EMBEDDING;
            }
            x.end_stage(outputs)
        };
        self.stages.iter().enumerate().map(stage).collect()
    }
}
