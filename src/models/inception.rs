//! InceptionV3 (Szegedy et al. 2015, <https://arxiv.org/abs/1512.00567>) as Keras has it: batch norm with
//! eps 1e-3 and no scale, average pooling that leaves the padding out, no auxiliary classifier.
//!
//! Variables have the names of timm and torchvision (`Mixed_7c.branch1x1.conv.weight`, `….bn.bias`). Their
//! files hold a scale of the batch norms (`….bn.weight`), which Keras' variant does not: it is loaded as a
//! constant, so that inference and training compute what the file's authors did, but neither trained
//! nor counted.
//!
//! Stages: up to the input of Mixed_6e; Mixed_6e to 7b; Mixed_7c with the global average pool.

use tch::{Device, Kind, Tensor};

use super::{
    Builder, ModelSpec, Network, Preprocessing, TrainableSet,
    init::Start,
    layers::{BatchNormOptions, Conv, Head, channels_last},
    work::{StageWork, Tally, side_behind},
};

pub(super) const INCEPTION_V3: ModelSpec = ModelSpec {
    name: "inception_v3",
    summary: "InceptionV3 body - global average pool - dropout 0.2 - out",
    study_px: 299,
    smallest_px: 75,
    multiple_px: 1,
    channels: 3,
    learns_in_bf16: true,
    preprocessing: Preprocessing::Scale01,
    trainable_sets: &[
        TrainableSet {
            name: "head",
            first_stage: 3,
            contains: is_head,
        },
        TrainableSet {
            name: "last_30",
            first_stage: 2,
            contains: is_in_last_30,
        },
        TrainableSet {
            name: "last_100",
            first_stage: 1,
            contains: is_in_last_100,
        },
        TrainableSet::ALL,
    ],
    phases: &["head", "last_30", "last_100"],
    head: "fc",
    build: |builder, _, classes| Box::new(InceptionV3::new(builder, classes)),
};

fn is_head(name: &str) -> bool {
    name.starts_with("fc.")
}

/// The study's second phase: the last 30 of Keras' layers. Of Mixed_7c only the convolution of
/// branch3x3dbl_1 lies before them.
fn is_in_last_30(name: &str) -> bool {
    is_head(name) || name.starts_with("Mixed_7c.") && name != "Mixed_7c.branch3x3dbl_1.conv.weight"
}

/// The study's third phase: the last 100 of Keras' layers. Keras orders the layers of a block by their
/// distance from its input, so the cut runs across the branches of Mixed_6e.
fn is_in_last_100(name: &str) -> bool {
    if is_head(name) || name.starts_with("Mixed_7") {
        return true;
    }
    let Some((branch, rest)) = name
        .strip_prefix("Mixed_6e.")
        .and_then(|name| name.split_once('.'))
    else {
        return false;
    };
    match branch {
        "branch1x1" | "branch7x7_3" | "branch7x7dbl_5" | "branch_pool" => true,
        "branch7x7_2" | "branch7x7dbl_4" => rest.starts_with("bn."),
        _ => false,
    }
}

const EMBEDDING: i64 = 2048;

/// One step of a chain of layers.
enum Step {
    /// Convolution, batch norm, ReLU; the padding of each side, vertical then horizontal.
    Conv(Box<Conv>, [i64; 2]),
    /// 3x3, stride 2, no padding.
    MaxPool,
    /// 3x3, stride 1, the same size; the padding takes no part in the average.
    AveragePool,
    /// Chains side by side, their channels joined.
    Branches(Vec<Vec<Step>>),
}

fn run(chain: &[Step], x: &Tensor, train: bool) -> Tensor {
    let mut x = x.shallow_clone();
    for step in chain {
        x = match step {
            Step::Conv(conv, padding) => conv.forward_relu(&x, *padding, train),
            Step::MaxPool => max_pool(&x),
            Step::AveragePool => x.avg_pool2d([3, 3], [1, 1], [1, 1], false, false, None),
            Step::Branches(branches) => {
                let joined: Vec<Tensor> = branches.iter().map(|b| run(b, &x, train)).collect();
                Tensor::cat(&joined, 1)
            }
        };
    }
    x
}

/// 3x3, stride 2, no padding. In bf16 libtorch's own takes three to nine times as long. What follows a ReLU is
/// not negative, and such floats are ordered as their bits are, so that the larger of two integers will do.
fn max_pool(x: &Tensor) -> Tensor {
    if x.kind() != Kind::BFloat16 || x.device() != Device::Cpu || x.requires_grad() {
        return x.max_pool2d([3, 3], [2, 2], [0, 0], [1, 1], false);
    }
    let mut x = x.view_dtype(Kind::Int16);
    for dim in [2, 3] {
        let side = x.size()[dim];
        let pooled = (side - 3) / 2 + 1;
        let every_second = |from: i64| x.slice(dim as i64, from, from + 2 * pooled - 1, 2);
        x = every_second(0)
            .maximum(&every_second(1))
            .maximum(&every_second(2));
    }
    x.view_dtype(Kind::BFloat16)
}

/// Takes out of every bias what rounded weights add, given the mean of each channel of the input; returns the
/// mean of each channel of the output. Pooling leaves means nearly as they are.
fn correct(chain: &mut [Step], mean: Tensor) -> Tensor {
    let mut mean = mean;
    for step in chain {
        match step {
            Step::Conv(conv, _) => mean = conv.correct(&mean),
            Step::MaxPool | Step::AveragePool => {}
            Step::Branches(branches) => {
                let means: Vec<Tensor> = branches
                    .iter_mut()
                    .map(|branch| correct(branch, mean.shallow_clone()))
                    .collect();
                mean = Tensor::cat(&means, 0);
            }
        }
    }
    mean
}

/// Counts what [`run`] does with one image.
fn tally(chain: &[Step], x: &mut Tally) {
    for step in chain {
        match step {
            Step::Conv(conv, padding) => conv.tally(x, *padding),
            Step::MaxPool => x.sides = x.sides.map(|side| side_behind(side, 3, 2, 0)),
            Step::AveragePool => {}
            Step::Branches(branches) => {
                let start = x.fresh();
                x.channels = 0;
                for branch in branches {
                    let mut end = start;
                    tally(branch, &mut end);
                    x.channels += end.channels;
                    x.sides = end.sides;
                    x.multiply_adds += end.multiply_adds;
                }
            }
        }
    }
}

struct InceptionV3 {
    stages: [Vec<Step>; 3],
    head: Head,
}

impl InceptionV3 {
    fn new(builder: &mut Builder<'_>, classes: usize) -> Self {
        let mut b = Blocks { builder };
        let before_6e = vec![
            b.conv("Conv2d_1a_3x3", 3, 32, [3, 3], [0, 0], 2),
            b.conv("Conv2d_2a_3x3", 32, 32, [3, 3], [0, 0], 1),
            b.conv("Conv2d_2b_3x3", 32, 64, [3, 3], [1, 1], 1),
            Step::MaxPool,
            b.conv("Conv2d_3b_1x1", 64, 80, [1, 1], [0, 0], 1),
            b.conv("Conv2d_4a_3x3", 80, 192, [3, 3], [0, 0], 1),
            Step::MaxPool,
            b.mixed_5("Mixed_5b", 192, 32),
            b.mixed_5("Mixed_5c", 256, 64),
            b.mixed_5("Mixed_5d", 288, 64),
            b.mixed_6a(),
            b.mixed_6("Mixed_6b", 128),
            b.mixed_6("Mixed_6c", 160),
            b.mixed_6("Mixed_6d", 160),
        ];
        let to_7b = vec![
            b.mixed_6("Mixed_6e", 192),
            b.mixed_7a(),
            b.mixed_7("Mixed_7b", 1280),
        ];
        let last = vec![b.mixed_7("Mixed_7c", EMBEDDING)];
        let mut stages = [before_6e, to_7b, last];
        if let Step::Conv(first, _) = &stages[0][0]
            && let Some(device) = first.to_correct()
        {
            // Pixels lie in -1..1.
            let mut mean = Tensor::zeros([3], (Kind::Double, device));
            for stage in &mut stages {
                mean = correct(stage, mean);
            }
        }
        Self {
            stages,
            head: builder.head("fc", classes, EMBEDDING, 0.2),
        }
    }
}

/// The blocks, as figures 5, 6, 7 and 10 of the paper draw them.
struct Blocks<'a, 'b> {
    builder: &'a mut Builder<'b>,
}

impl Blocks<'_, '_> {
    fn conv(
        &mut self,
        name: &str,
        from: i64,
        to: i64,
        kernel: [i64; 2],
        padding: [i64; 2],
        stride: i64,
    ) -> Step {
        let options = BatchNormOptions {
            eps: 1e-3,
            momentum: 0.01,
            scale: false,
        };
        let conv = self.builder.conv_norm(
            &format!("{name}.conv"),
            &format!("{name}.bn"),
            [to, from, kernel[0], kernel[1]],
            Start::Glorot,
            options,
        );
        Step::Conv(Box::new(conv.stride(stride)), padding)
    }

    /// Stride 1, the same size.
    fn same(&mut self, name: &str, from: i64, to: i64, kernel: [i64; 2]) -> Step {
        let padding = kernel.map(|k| k / 2);
        self.conv(name, from, to, kernel, padding, 1)
    }

    fn mixed_5(&mut self, block: &str, from: i64, pool: i64) -> Step {
        let name = |branch: &str| format!("{block}.branch{branch}");
        Step::Branches(vec![
            vec![self.same(&name("1x1"), from, 64, [1, 1])],
            vec![
                self.same(&name("5x5_1"), from, 48, [1, 1]),
                self.same(&name("5x5_2"), 48, 64, [5, 5]),
            ],
            vec![
                self.same(&name("3x3dbl_1"), from, 64, [1, 1]),
                self.same(&name("3x3dbl_2"), 64, 96, [3, 3]),
                self.same(&name("3x3dbl_3"), 96, 96, [3, 3]),
            ],
            vec![
                Step::AveragePool,
                self.same(&name("_pool"), from, pool, [1, 1]),
            ],
        ])
    }

    fn mixed_6a(&mut self) -> Step {
        let name = |branch: &str| format!("Mixed_6a.branch{branch}");
        Step::Branches(vec![
            vec![self.conv(&name("3x3"), 288, 384, [3, 3], [0, 0], 2)],
            vec![
                self.same(&name("3x3dbl_1"), 288, 64, [1, 1]),
                self.same(&name("3x3dbl_2"), 64, 96, [3, 3]),
                self.conv(&name("3x3dbl_3"), 96, 96, [3, 3], [0, 0], 2),
            ],
            vec![Step::MaxPool],
        ])
    }

    fn mixed_6(&mut self, block: &str, width: i64) -> Step {
        let name = |branch: &str| format!("{block}.branch{branch}");
        Step::Branches(vec![
            vec![self.same(&name("1x1"), 768, 192, [1, 1])],
            vec![
                self.same(&name("7x7_1"), 768, width, [1, 1]),
                self.same(&name("7x7_2"), width, width, [1, 7]),
                self.same(&name("7x7_3"), width, 192, [7, 1]),
            ],
            vec![
                self.same(&name("7x7dbl_1"), 768, width, [1, 1]),
                self.same(&name("7x7dbl_2"), width, width, [7, 1]),
                self.same(&name("7x7dbl_3"), width, width, [1, 7]),
                self.same(&name("7x7dbl_4"), width, width, [7, 1]),
                self.same(&name("7x7dbl_5"), width, 192, [1, 7]),
            ],
            vec![
                Step::AveragePool,
                self.same(&name("_pool"), 768, 192, [1, 1]),
            ],
        ])
    }

    fn mixed_7a(&mut self) -> Step {
        let name = |branch: &str| format!("Mixed_7a.branch{branch}");
        Step::Branches(vec![
            vec![
                self.same(&name("3x3_1"), 768, 192, [1, 1]),
                self.conv(&name("3x3_2"), 192, 320, [3, 3], [0, 0], 2),
            ],
            vec![
                self.same(&name("7x7x3_1"), 768, 192, [1, 1]),
                self.same(&name("7x7x3_2"), 192, 192, [1, 7]),
                self.same(&name("7x7x3_3"), 192, 192, [7, 1]),
                self.conv(&name("7x7x3_4"), 192, 192, [3, 3], [0, 0], 2),
            ],
            vec![Step::MaxPool],
        ])
    }

    /// 1x3 and 3x1 side by side.
    fn halves(&mut self, name: &str) -> Step {
        Step::Branches(vec![
            vec![self.same(&format!("{name}a"), 384, 384, [1, 3])],
            vec![self.same(&format!("{name}b"), 384, 384, [3, 1])],
        ])
    }

    fn mixed_7(&mut self, block: &str, from: i64) -> Step {
        let name = |branch: &str| format!("{block}.branch{branch}");
        Step::Branches(vec![
            vec![self.same(&name("1x1"), from, 320, [1, 1])],
            vec![
                self.same(&name("3x3_1"), from, 384, [1, 1]),
                self.halves(&name("3x3_2")),
            ],
            vec![
                self.same(&name("3x3dbl_1"), from, 448, [1, 1]),
                self.same(&name("3x3dbl_2"), 448, 384, [3, 3]),
                self.halves(&name("3x3dbl_3")),
            ],
            vec![
                Step::AveragePool,
                self.same(&name("_pool"), from, 192, [1, 1]),
            ],
        ])
    }
}

impl Network for InceptionV3 {
    fn stages(&self) -> usize {
        self.stages.len()
    }

    fn stage(&self, index: usize, input: &Tensor, train: bool) -> Tensor {
        let x = run(&self.stages[index], &channels_last(input), train);
        if index + 1 == self.stages.len() {
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
        let last = self.stages.len() - 1;
        let stage = |(index, chain): (usize, &Vec<Step>)| {
            tally(chain, &mut x);
            let outputs = if index == last {
                EMBEDDING
            } else {
                x.outputs()
            };
            x.end_stage(outputs)
        };
        self.stages.iter().enumerate().map(stage).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Model, Precision};

    #[test]
    fn pooling_by_bits_is_pooling() {
        for side in [3, 4, 9, 12] {
            let x = Tensor::randn([2, 5, side, side], (Kind::Float, Device::Cpu)).relu();
            let x = channels_last(&x.to_kind(Kind::BFloat16));
            let expected = x.max_pool2d([3, 3], [2, 2], [0, 0], [1, 1], false);
            assert!(max_pool(&x).equal(&expected), "{side}");
        }
    }

    #[test]
    fn bf16_answers_nearly_as_fp32_does() {
        let model = Model::new("inception_v3", 75, 6, 3, Device::Cpu).expect("built");
        let images = Tensor::rand([4, 1, 75, 75], (Kind::Float, Device::Cpu));
        let [full, half] = [Precision::Full, Precision::BFloat16]
            .map(|precision| model.optimize_for_inference(precision).embed(&images));
        let norm = |x: &Tensor| x.square().sum(Kind::Double).sqrt().double_value(&[]);
        let wrong = norm(&(&half - &full)) / norm(&full);
        assert!(wrong < 0.03, "{wrong}");
    }
}
