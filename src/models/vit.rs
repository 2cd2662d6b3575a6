//! ViT-S/14 as DINOv2 has it (Dosovitskiy et al. 2020, <https://arxiv.org/abs/2010.11929>; Oquab et al.
//! 2023, <https://arxiv.org/abs/2304.07193>): patches of 14 px, 12 blocks of width 384 with 6 heads and
//! LayerScale, no registers.
//!
//! Variables have the names of DINOv2's own files, which timm shares. Their position embedding is a grid
//! of 37 x 37 (518 px); at another size it is interpolated on every run, bicubically and with DINOv2's
//! offset of 0.1, so that one file serves all sizes and the number of parameters does not depend on the size.
//!
//! The embedding is the normalised class token, which DINOv2's nearest-neighbour evaluation uses. Its
//! published linear heads read more, the class token joined to the mean of the patch tokens (and in one
//! variant the class tokens of the last four blocks): twice to five times as wide, for 0.1 to 0.4 points
//! on ImageNet.
//!
//! The study has no such network. The equivalent of its last 30 and last 100 Keras layers are shares of
//! the depth like InceptionV3's shares of the parameters: `last_30` is the last 2 blocks of 12, `last_100`
//! the last 6, each with the last norm.
//!
//! Stages: patches and blocks 1 to 6; blocks 7 to 10; blocks 11 and 12 with the last norm.

use tch::Tensor;

use super::{
    Builder, ModelSpec, Network, Preprocessing, TrainableSet,
    init::Start,
    layers::{Head, Layer},
    work::StageWork,
};

pub(super) const VIT_S14: ModelSpec = ModelSpec {
    name: "vit_s14",
    summary: "ViT-S/14 (DINOv2) - class token - out",
    study_px: 224,
    smallest_px: PATCH as u32,
    multiple_px: PATCH as u32,
    channels: 3,
    learns_in_bf16: false,
    preprocessing: Preprocessing::ImageNet,
    trainable_sets: &[
        TrainableSet {
            name: "head",
            first_stage: 3,
            contains: |name| name.starts_with("head."),
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
    head: "head",
    build: |builder, _, classes| Box::new(VisionTransformer::new(builder, classes)),
};

/// First block that belongs to `last_30`, counted from 0.
const LAST_30: usize = 10;
/// First block that belongs to `last_100`, counted from 0.
const LAST_100: usize = 6;
/// First and last block of each stage.
const STAGES: [std::ops::Range<usize>; 3] = [0..LAST_100, LAST_100..LAST_30, LAST_30..12];

fn is_behind(name: &str, first: usize) -> bool {
    let mut parts = name.split('.');
    match parts.next() {
        Some("head" | "norm") => true,
        Some("blocks") => {
            let block = parts.next().and_then(|block| block.parse::<usize>().ok());
            block.is_some_and(|block| block >= first)
        }
        _ => false,
    }
}

const PATCH: i64 = 14;
const WIDTH: i64 = 384;
const HEADS: i64 = 6;
/// Side of the published grid of position embeddings, patches.
const GRID: i64 = 37;
/// Added to the sides of the grid when the scale of the interpolation is computed, as DINOv2 does.
const OFFSET: f64 = 0.1;

struct Norm {
    weight: Tensor,
    bias: Tensor,
}

impl Norm {
    fn new(builder: &mut Builder<'_>, name: &str) -> Self {
        let mut add = |part: &str, value| {
            let name = format!("{name}.{part}");
            builder.trainable(&name, &[WIDTH], Start::Constant(value))
        };
        Self {
            weight: add("weight", 1.0),
            bias: add("bias", 0.0),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        // Of one kind with what enters: fp32 beside bf16 is more than libtorch's layer norm on a GPU takes.
        let kind = x.kind();
        let (weight, bias) = (self.weight.to_kind(kind), self.bias.to_kind(kind));
        x.layer_norm([WIDTH], Some(&weight), Some(&bias), 1e-6, true)
    }
}

struct Block {
    norm1: Norm,
    qkv: Layer,
    proj: Layer,
    scale1: Tensor,
    norm2: Norm,
    fc1: Layer,
    fc2: Layer,
    scale2: Tensor,
}

impl Block {
    fn new(builder: &mut Builder<'_>, block: &str) -> Self {
        let name = |part: &str| format!("{block}.{part}");
        let normal = Start::TruncatedNormal(0.02);
        // LayerScale (Touvron et al. 2021) starts small: each block starts near the identity.
        let small = Start::Constant(1e-5);
        Self {
            norm1: Norm::new(builder, &name("norm1")),
            qkv: builder.layer(&name("attn.qkv"), &[3 * WIDTH, WIDTH], normal),
            proj: builder.layer(&name("attn.proj"), &[WIDTH, WIDTH], normal),
            scale1: builder.trainable(&name("ls1.gamma"), &[WIDTH], small),
            norm2: Norm::new(builder, &name("norm2")),
            fc1: builder.layer(&name("mlp.fc1"), &[4 * WIDTH, WIDTH], normal),
            fc2: builder.layer(&name("mlp.fc2"), &[WIDTH, 4 * WIDTH], normal),
            scale2: builder.trainable(&name("ls2.gamma"), &[WIDTH], small),
        }
    }

    /// `[b, tokens, width]` to the same.
    fn forward(&self, x: &Tensor) -> Tensor {
        let (b, tokens, _) = x.size3().expect("tokens in rows");
        let qkv = self.qkv.linear(&self.norm1.forward(x));
        let heads = qkv.view([b, tokens, 3, HEADS, WIDTH / HEADS]);
        let heads = heads.permute([2, 0, 3, 1, 4]);
        let attended = Tensor::scaled_dot_product_attention(
            &heads.get(0),
            &heads.get(1),
            &heads.get(2),
            None::<&Tensor>,
            0.0,
            false,
            None,
            false,
        );
        let joined = attended.transpose(1, 2).reshape([b, tokens, WIDTH]);
        let kind = x.kind();
        let x = x + self.proj.linear(&joined) * self.scale1.to_kind(kind);
        let hidden = self.fc1.linear(&self.norm2.forward(&x)).gelu("none");
        &x + self.fc2.linear(&hidden) * self.scale2.to_kind(kind)
    }
}

struct VisionTransformer {
    class_token: Tensor,
    positions: Tensor,
    patches: Layer,
    blocks: Vec<Block>,
    norm: Norm,
    head: Head,
}

impl VisionTransformer {
    fn new(builder: &mut Builder<'_>, classes: usize) -> Self {
        let tiny = Start::TruncatedNormal(1e-6);
        let normal = Start::TruncatedNormal(0.02);
        Self {
            class_token: builder.trainable("cls_token", &[1, 1, WIDTH], tiny),
            positions: builder.precise("pos_embed", &[1, 1 + GRID * GRID, WIDTH], normal),
            patches: builder.layer("patch_embed.proj", &[WIDTH, 3, PATCH, PATCH], Start::Glorot),
            blocks: (0..STAGES[2].end)
                .map(|i| Block::new(builder, &format!("blocks.{i}")))
                .collect(),
            norm: Norm::new(builder, "norm"),
            head: builder.head("head", classes, WIDTH, 0.0),
        }
    }

    /// Class token and patches with their positions, `[b, 1 + h / 14 * w / 14, width]`.
    fn tokens(&self, images: &Tensor) -> Tensor {
        let kind = images.kind();
        let Layer { weight, bias } = &self.patches;
        let (weight, bias) = (weight.to_kind(kind), bias.to_kind(kind));
        let stride = [PATCH, PATCH];
        let patches = images.conv2d(&weight, Some(&bias), stride, [0, 0], [1, 1], 1);
        let (b, _, h, w) = patches.size4().expect("images in four dimensions");
        let patches = patches.flatten(2, 3).transpose(1, 2);
        let class_token = self.class_token.to_kind(kind).expand([b, -1, -1], false);
        Tensor::cat(&[class_token, patches], 1) + self.positions_at(h, w).to_kind(kind)
    }

    /// The position embedding of a grid of `h` by `w` patches, `[1, 1 + h * w, width]`.
    fn positions_at(&self, h: i64, w: i64) -> Tensor {
        if (h, w) == (GRID, GRID) {
            return self.positions.shallow_clone();
        }
        let grid = self.positions.narrow(1, 1, GRID * GRID);
        let grid = grid.view([1, GRID, GRID, WIDTH]).permute([0, 3, 1, 2]);
        let scale = |side: i64| (side as f64 + OFFSET) / GRID as f64;
        let grid = grid.upsample_bicubic2d([h, w], false, scale(h), scale(w));
        let grid = grid.permute([0, 2, 3, 1]).reshape([1, h * w, WIDTH]);
        Tensor::cat(&[self.positions.narrow(1, 0, 1), grid], 1)
    }
}

impl Network for VisionTransformer {
    fn stages(&self) -> usize {
        STAGES.len()
    }

    fn stage(&self, index: usize, input: &Tensor, _train: bool) -> Tensor {
        let mut x = if index == 0 {
            self.tokens(input)
        } else {
            input.shallow_clone()
        };
        for block in &self.blocks[STAGES[index].clone()] {
            x = block.forward(&x);
        }
        if index + 1 == STAGES.len() {
            self.norm.forward(&x.select(1, 0))
        } else {
            x
        }
    }

    fn head(&self, embeddings: &Tensor, train: bool) -> Tensor {
        self.head.logits(embeddings, train)
    }

    fn embedding_dim(&self) -> usize {
        WIDTH as usize
    }

    fn work(&self, size: u32) -> Vec<StageWork> {
        let side = i64::from(size) / PATCH;
        let tokens = 1 + side * side;
        // Queries, keys and values, their projection, and the two dense layers of four times the width; then
        // each token against each other one, and the values by that.
        let block = 12 * tokens * WIDTH * WIDTH + 2 * tokens * tokens * WIDTH;
        let patches = side * side * 3 * PATCH * PATCH * WIDTH;
        let last = STAGES.len() - 1;
        let stage = |(index, blocks): (usize, &std::ops::Range<usize>)| {
            let first = if index == 0 { patches } else { 0 };
            let outputs = if index == last { WIDTH } else { tokens * WIDTH };
            StageWork::new(blocks.len() as i64 * block + first, outputs)
        };
        STAGES.iter().enumerate().map(stage).collect()
    }
}
