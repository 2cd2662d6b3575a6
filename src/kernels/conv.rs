//! A 3x3 valid convolution with bias, 2x2 max pool and ReLU in one pass; of each pooled value the place of
//! its maximum is kept, so that the backward pass touches a quarter of the positions, and none of those
//! that the ReLU cut off.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::{arch, threads::share};

/// Taps of the filter.
const TAPS: usize = 9;
/// Pooled values of one row that are taken together: with 64 channels, the input below them
/// fills two thirds of a 48 KiB L1 cache.
const SPAN: usize = 16;
/// The place kept for a pooled value that the ReLU cut off; the others are 0..4, row by row.
const DEAD: u8 = 4;
/// Vectors of filters computed together.
const WIDE: usize = 2;
/// Vectors of one row of the filter (3 x channels) that the backward pass keeps in registers.
const RUN: usize = 6;

/// Order of the values of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `[channel, y, x]`
    Planar,
    /// `[y, x, channel]`
    ChannelsLast,
}

/// Shape of the layer. Its input is channels-last, `[n, side, side, channels]`; its output
/// `[n, pooled, pooled, filters]` or, planar, `[n, filters, pooled, pooled]`. Weights and their gradient are
/// `[filters, channels, 3, 3]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Channels of the input: 1, 32 or 64.
    pub channels: usize,
    /// Channels of the output; a multiple of 32.
    pub filters: usize,
    /// Side of the square input, pixels; 4 at least.
    pub side: usize,
    /// Order of the output.
    pub layout: Layout,
}

impl Conv {
    /// Side of the output. Where the convolution's is odd, the pool leaves out its last row and column.
    #[must_use]
    pub fn pooled(&self) -> usize {
        (self.side - 2) / 2
    }

    /// Values of one image of the input.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.side * self.side * self.channels
    }

    /// Values of one image of the output.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.pooled() * self.pooled() * self.filters
    }

    /// Fills `output` and `places`, where the maximum of each value was found. Of equal values the first
    /// counts, row by row, as in libtorch.
    ///
    /// # Panics
    /// When a slice does not fit the shape.
    pub fn forward(
        &self,
        weights: &[f32],
        bias: &[f32],
        input: &[f32],
        output: &mut [f32],
        places: &mut [u8],
        threads: usize,
    ) {
        self.check(weights, input, output.len());
        assert_eq!(bias.len(), self.filters, "a bias for each filter");
        assert_eq!(places.len(), output.len(), "a place for each value");
        let arch = arch();
        let panels = self.panels(weights, WIDE * arch.dispatch(Lanes));
        let parts = input
            .chunks_exact(self.inputs())
            .zip(output.chunks_exact_mut(self.outputs()))
            .zip(places.chunks_exact_mut(self.outputs()));
        share(threads, parts, || {
            let mut rows = Rows::new(self);
            let panels = &panels;
            move |((input, output), places)| {
                let rows = &mut rows;
                arch.dispatch(Forward {
                    layer: *self,
                    panels,
                    bias,
                    input,
                    output,
                    places,
                    rows,
                });
            }
        });
    }

    /// The gradients of weights and biases from that of the output, and of the input into
    /// `input_gradient`, if given.
    ///
    /// # Panics
    /// When a slice does not fit the shape, or for the input gradient of a single channel.
    #[must_use]
    pub fn backward(
        &self,
        weights: &[f32],
        input: &[f32],
        gradient: &[f32],
        places: &[u8],
        input_gradient: Option<&mut [f32]>,
        threads: usize,
    ) -> (Vec<f32>, Vec<f32>) {
        self.check(weights, input, gradient.len());
        assert_eq!(places.len(), gradient.len(), "a place for each value");
        let n = input.len() / self.inputs();
        let arch = arch();
        // One sum for each image, added up in their order below.
        let per_image = self.filters * (TAPS * self.channels + 1);
        let mut sums = vec![0.0; n * per_image];
        let parts = input
            .chunks_exact(self.inputs())
            .zip(gradient.chunks_exact(self.outputs()))
            .zip(places.chunks_exact(self.outputs()))
            .zip(sums.chunks_exact_mut(per_image));
        if self.channels == 1 {
            assert!(input_gradient.is_none(), "images need no gradient");
            share(threads, parts, || {
                let mut rows = Rows::new(self);
                move |(((input, gradient), places), sums)| {
                    let rows = &mut rows;
                    arch.dispatch(BackwardFirst {
                        layer: *self,
                        input,
                        gradient,
                        places,
                        sums,
                        rows,
                    });
                }
            });
        } else {
            let weights = &self.runs(weights);
            let mut nothing: [f32; 0] = [];
            let inputs = input_gradient.map_or_else(
                || nothing.chunks_mut(1),
                |all| {
                    assert_eq!(all.len(), input.len(), "a gradient for each input");
                    all.chunks_mut(self.inputs())
                },
            );
            let inputs = inputs.map(Some).chain(std::iter::repeat_with(|| None));
            share(threads, parts.zip(inputs), || {
                let mut live = vec![Live::default(); self.filters];
                move |((((input, gradient), places), sums), input_gradient)| {
                    let live = &mut live;
                    arch.dispatch(Backward {
                        layer: *self,
                        weights,
                        input,
                        gradient,
                        places,
                        input_gradient,
                        sums,
                        live,
                    });
                }
            });
        }
        let mut total = vec![0.0; per_image];
        for sums in sums.chunks_exact(per_image) {
            for (total, sum) in total.iter_mut().zip(sums) {
                *total += sum;
            }
        }
        let bias = total.split_off(per_image - self.filters);
        (self.published(&total), bias)
    }

    fn check(&self, weights: &[f32], input: &[f32], outputs: usize) {
        assert!(matches!(self.channels, 1 | 32 | 64), "1, 32 or 64 channels");
        assert!(
            self.filters.is_multiple_of(32) && self.filters > 0,
            "filters come in 32s"
        );
        assert!(self.side >= 4, "an image of 4 pixels and more");
        assert_eq!(
            weights.len(),
            self.filters * self.channels * TAPS,
            "nine weights for each pair"
        );
        assert!(input.len().is_multiple_of(self.inputs()), "whole images");
        assert_eq!(
            outputs,
            input.len() / self.inputs() * self.outputs(),
            "an output for each image"
        );
    }

    /// Weights as the forward pass reads them: `[filters / wide, 9, channels, wide]`.
    fn panels(&self, weights: &[f32], wide: usize) -> Vec<f32> {
        let mut panels = Vec::with_capacity(weights.len());
        for first in (0..self.filters).step_by(wide) {
            for tap in 0..TAPS {
                for channel in 0..self.channels {
                    let at = |f| weights[(f * self.channels + channel) * TAPS + tap];
                    panels.extend((first..first + wide).map(at));
                }
            }
        }
        panels
    }

    /// Weights as the backward pass reads them: `[filters, 9, channels]`.
    fn runs(&self, weights: &[f32]) -> Vec<f32> {
        let mut runs = Vec::with_capacity(weights.len());
        for filter in weights.chunks_exact(TAPS * self.channels) {
            for tap in 0..TAPS {
                runs.extend(filter.iter().skip(tap).step_by(TAPS));
            }
        }
        runs
    }

    /// From `[filters, 9, channels]`, or `[9, filters]` for a single channel, to the published order.
    fn published(&self, sums: &[f32]) -> Vec<f32> {
        let mut weights = Vec::with_capacity(sums.len());
        for filter in 0..self.filters {
            for channel in 0..self.channels {
                weights.extend((0..TAPS).map(|tap| match self.channels {
                    1 => sums[tap * self.filters + filter],
                    channels => sums[(filter * TAPS + tap) * channels + channel],
                }));
            }
        }
        weights
    }

    /// Writes row `y`, which is channels-last, to its place in the output of one image.
    #[inline(always)]
    fn put_row<A: Copy, B>(&self, y: usize, row: &[A], image: &mut [B], write: impl Fn(A) -> B) {
        for (at, from) in self.pieces(y) {
            for (to, from) in image[at]
                .iter_mut()
                .zip(row[from..].iter().step_by(self.step()))
            {
                *to = write(*from);
            }
        }
    }

    /// The way back.
    #[inline(always)]
    fn take_row<A: Copy, B>(&self, y: usize, image: &[A], row: &mut [B], read: impl Fn(A) -> B) {
        for (at, to) in self.pieces(y) {
            for (from, to) in image[at]
                .iter()
                .zip(row[to..].iter_mut().step_by(self.step()))
            {
                *to = read(*from);
            }
        }
    }

    /// Row `y` in pieces that lie in a row in the output of one image, and where each begins in a row that
    /// is channels-last. Planar: short ones of one plane after the other, so that the cache holds what they
    /// share; channels-last: all of it.
    #[inline(always)]
    fn pieces(&self, y: usize) -> impl Iterator<Item = (Range<usize>, usize)> {
        let (dx, dc) = self.strides();
        let (pooled, filters) = (self.pooled(), self.filters);
        let (length, planes) = match self.layout {
            Layout::Planar => (SPAN, filters),
            Layout::ChannelsLast => (pooled, 1),
        };
        (0..pooled).step_by(length).flat_map(move |from| {
            let to = pooled.min(from + length);
            (0..planes).map(move |plane| {
                let row = y * pooled;
                let at = plane * dc + (row + from) * dx..plane * dc + (row + to) * dx;
                (at, from * filters + plane)
            })
        })
    }

    /// Distance in a row that is channels-last between neighbours in the output.
    fn step(&self) -> usize {
        match self.layout {
            Layout::Planar => self.filters,
            Layout::ChannelsLast => 1,
        }
    }

    /// Distance between neighbours in x, and between channels, in the output of one image.
    fn strides(&self) -> (usize, usize) {
        match self.layout {
            Layout::Planar => (1, self.pooled() * self.pooled()),
            Layout::ChannelsLast => (self.filters, 1),
        }
    }
}

struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

/// One row of the output, channels-last.
struct Rows {
    values: Vec<f32>,
    places: Vec<u32>,
}

impl Rows {
    fn new(layer: &Conv) -> Self {
        let n = layer.pooled() * layer.filters;
        Self {
            values: vec![0.0; n],
            places: vec![0; n],
        }
    }
}

struct Forward<'a> {
    layer: Conv,
    panels: &'a [f32],
    bias: &'a [f32],
    input: &'a [f32],
    output: &'a mut [f32],
    places: &'a mut [u8],
    rows: &'a mut Rows,
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.layer.channels {
            1 => self.run::<S, 1>(simd),
            32 => self.run::<S, 32>(simd),
            _ => self.run::<S, 64>(simd),
        }
    }
}

impl Forward<'_> {
    #[inline(always)]
    fn run<S: Simd, const CHANNELS: usize>(self, simd: S) {
        let Self {
            layer,
            panels,
            bias,
            input,
            output,
            places,
            rows,
        } = self;
        let (side, pooled, filters) = (layer.side, layer.pooled(), layer.filters);
        let (input, _) = input.as_chunks::<CHANNELS>();
        let (panels, _) = S::as_simd_f32s(panels);
        let (bias, _) = S::as_simd_f32s(bias);
        let vectors = filters / S::F32_LANES;
        for y in 0..pooled {
            let below: [_; 4] = std::array::from_fn(|r| &input[(2 * y + r) * side..][..side]);
            let (values, _) = S::as_mut_simd_f32s(&mut rows.values);
            let (found, _) = S::as_mut_simd_u32s(&mut rows.places);
            for (at, (panel, bias)) in panels
                .chunks_exact(TAPS * CHANNELS * WIDE)
                .zip(bias.as_chunks::<WIDE>().0)
                .enumerate()
            {
                let at = at * WIDE;
                let mut x = 0;
                // Twenty-four sums where the registers hold them, else eight.
                while x < pooled {
                    if S::REGISTER_COUNT > 16 && x + 3 <= pooled {
                        let tile = tile::<S, CHANNELS, 6>(simd, below, 2 * x, panel, bias);
                        for t in 0..3 {
                            let at = (x + t) * vectors + at;
                            let values = values[at..].first_chunk_mut().expect("within the row");
                            let found = found[at..].first_chunk_mut().expect("within the row");
                            pool(simd, &tile, t, values, found);
                        }
                        x += 3;
                    } else {
                        let tile = tile::<S, CHANNELS, 2>(simd, below, 2 * x, panel, bias);
                        let at = x * vectors + at;
                        let values = values[at..].first_chunk_mut().expect("within the row");
                        let found = found[at..].first_chunk_mut().expect("within the row");
                        pool(simd, &tile, 0, values, found);
                        x += 1;
                    }
                }
            }
            layer.put_row(y, &rows.values, output, |value| value);
            layer.put_row(y, &rows.places, places, |place| place as u8);
        }
    }
}

/// The convolution at two rows of `WIDTH` places for `WIDE` vectors of filters.
#[inline(always)]
fn tile<S: Simd, const CHANNELS: usize, const WIDTH: usize>(
    simd: S,
    below: [&[[f32; CHANNELS]]; 4],
    x: usize,
    panel: &[S::f32s],
    bias: &[S::f32s; WIDE],
) -> [[[S::f32s; WIDE]; WIDTH]; 2] {
    let mut acc = [[*bias; WIDTH]; 2];
    for ky in 0..3 {
        for kx in 0..3 {
            let pixels: [&[[f32; CHANNELS]; WIDTH]; 2] = std::array::from_fn(|r| {
                below[ky + r][x + kx..]
                    .first_chunk()
                    .expect("within the row")
            });
            let panel = &panel[(ky * 3 + kx) * CHANNELS * WIDE..][..CHANNELS * WIDE];
            for (c, weights) in panel.as_chunks::<WIDE>().0.iter().enumerate() {
                for r in 0..2 {
                    for i in 0..WIDTH {
                        let pixel = simd.splat_f32s(pixels[r][i][c]);
                        for t in 0..WIDE {
                            acc[r][i][t] = simd.mul_add_e_f32s(pixel, weights[t], acc[r][i][t]);
                        }
                    }
                }
            }
        }
    }
    acc
}

/// Maximum of the 2x2 places at `at`, then ReLU, which lets NaN through; and where it was found.
// No closure around an instruction: it would not be compiled for the processor at hand.
#[inline(always)]
fn pool<S: Simd, const WIDTH: usize>(
    simd: S,
    tile: &[[[S::f32s; WIDE]; WIDTH]; 2],
    at: usize,
    values: &mut [S::f32s; WIDE],
    places: &mut [S::u32s; WIDE],
) {
    let zero = simd.splat_f32s(0.0);
    for t in 0..WIDE {
        let mut value = tile[0][2 * at][t];
        let mut place = simd.splat_u32s(0);
        for number in 1..4 {
            let other = tile[number / 2][2 * at + number % 2][t];
            let more = simd.less_than_f32s(value, other);
            value = simd.select_f32s(more, other, value);
            place = simd.select_u32s(more, simd.splat_u32s(number as u32), place);
        }
        let dead = simd.less_than_or_equal_f32s(value, zero);
        values[t] = simd.select_f32s(dead, zero, value);
        places[t] = simd.select_u32s(dead, simd.splat_u32s(u32::from(DEAD)), place);
    }
}

struct BackwardFirst<'a> {
    layer: Conv,
    input: &'a [f32],
    gradient: &'a [f32],
    places: &'a [u8],
    sums: &'a mut [f32],
    rows: &'a mut Rows,
}

impl WithSimd for BackwardFirst<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            layer,
            input,
            gradient,
            places,
            sums,
            rows,
        } = self;
        let (side, pooled, filters) = (layer.side, layer.pooled(), layer.filters);
        let vectors = filters / S::F32_LANES;
        let (sums, _) = S::as_mut_simd_f32s(sums);
        let zero = simd.splat_f32s(0.0);
        for y in 0..pooled {
            layer.take_row(y, gradient, &mut rows.values, |value| value);
            layer.take_row(y, places, &mut rows.places, u32::from);
            let (values, _) = S::as_simd_f32s(&rows.values);
            let (found, _) = S::as_simd_u32s(&rows.places);
            let below: [_; 4] = std::array::from_fn(|r| &input[(2 * y + r) * side..][..side]);
            for vector in 0..vectors {
                // The nine taps, then the bias.
                let mut acc: [S::f32s; TAPS + 1] =
                    std::array::from_fn(|t| sums[t * vectors + vector]);
                for x in 0..pooled {
                    let value = values[x * vectors + vector];
                    let place = found[x * vectors + vector];
                    let pixels: [&[f32; 4]; 4] = std::array::from_fn(|r| {
                        below[r][2 * x..].first_chunk().expect("within the row")
                    });
                    for number in 0..4 {
                        let here = simd.equal_u32s(place, simd.splat_u32s(number as u32));
                        let value = simd.select_f32s(here, value, zero);
                        acc[TAPS] = simd.add_f32s(acc[TAPS], value);
                        for tap in 0..TAPS {
                            let pixel = pixels[number / 2 + tap / 3][number % 2 + tap % 3];
                            acc[tap] = simd.mul_add_e_f32s(simd.splat_f32s(pixel), value, acc[tap]);
                        }
                    }
                }
                for (t, acc) in acc.into_iter().enumerate() {
                    sums[t * vectors + vector] = acc;
                }
            }
        }
    }
}

/// The values of one filter in a span that the ReLU let through: how many, where in the input their
/// maximum's field begins, and their gradients.
#[derive(Clone, Default)]
struct Live {
    n: usize,
    field: [u32; SPAN],
    gradient: [f32; SPAN],
}

struct Backward<'a> {
    layer: Conv,
    weights: &'a [f32],
    input: &'a [f32],
    gradient: &'a [f32],
    places: &'a [u8],
    input_gradient: Option<&'a mut [f32]>,
    sums: &'a mut [f32],
    live: &'a mut [Live],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let layer = self.layer;
        if let Some(input_gradient) = &mut self.input_gradient {
            input_gradient.fill(0.0);
        }
        let (pooled, row) = (layer.pooled(), layer.side * layer.channels);
        let (sums, bias) = self
            .sums
            .split_at_mut(layer.filters * TAPS * layer.channels);
        let (dx, dc) = layer.strides();
        for y in 0..pooled {
            for from in (0..pooled).step_by(SPAN) {
                let span = from..pooled.min(from + SPAN);
                for (channel, (live, bias)) in self.live.iter_mut().zip(&mut *bias).enumerate() {
                    live.n = 0;
                    // Every other one first: their fields do not overlap, so that adding to one does not
                    // wait for the one before.
                    for x in span
                        .clone()
                        .step_by(2)
                        .chain(span.clone().skip(1).step_by(2))
                    {
                        let at = (y * pooled + x) * dx + channel * dc;
                        let (gradient, place) = (self.gradient[at], self.places[at]);
                        let (py, px) = (
                            2 * y + usize::from(place / 2),
                            2 * x + usize::from(place % 2),
                        );
                        let slot = live.n % SPAN;
                        live.field[slot] = (py * row + px * layer.channels) as u32;
                        live.gradient[slot] = gradient;
                        // No branch: which ones live is beyond any prediction.
                        live.n += usize::from(place != DEAD);
                        *bias += if place == DEAD { 0.0 } else { gradient };
                    }
                }
                let filter = TAPS * layer.channels;
                for (live, sums) in self.live.iter().zip(sums.chunks_exact_mut(filter)) {
                    weight_gradient(simd, live, self.input, row, sums);
                }
                if let Some(input_gradient) = &mut self.input_gradient {
                    for (live, weights) in self.live.iter().zip(self.weights.chunks_exact(filter)) {
                        add_input_gradient(simd, live, weights, row, input_gradient);
                    }
                }
            }
        }
    }
}

/// Adds what the fields below `live` give to one filter: `[3][3 * channels]`, each row as it lies in the input.
#[inline(always)]
fn weight_gradient<S: Simd>(simd: S, live: &Live, input: &[f32], row: usize, sums: &mut [f32]) {
    let run = sums.len() / 3;
    let chunk = RUN * S::F32_LANES;
    for (ky, sums) in sums.chunks_exact_mut(run).enumerate() {
        for (at, sums) in sums.chunks_exact_mut(chunk).enumerate() {
            let (sums, _) = S::as_mut_simd_f32s(sums);
            let sums: &mut [S::f32s; RUN] = sums.first_chunk_mut().expect("a whole chunk");
            let mut acc = *sums;
            for (field, gradient) in live.field.iter().zip(&live.gradient).take(live.n) {
                let from = *field as usize + ky * row + at * chunk;
                let (pixels, _) = S::as_simd_f32s(&input[from..][..chunk]);
                let gradient = simd.splat_f32s(*gradient);
                for t in 0..RUN {
                    acc[t] = simd.mul_add_e_f32s(gradient, pixels[t], acc[t]);
                }
            }
            *sums = acc;
        }
    }
}

/// Adds what one filter gives to the fields below `live`.
#[inline(always)]
fn add_input_gradient<S: Simd>(
    simd: S,
    live: &Live,
    weights: &[f32],
    row: usize,
    input: &mut [f32],
) {
    let run = weights.len() / 3;
    let chunk = RUN * S::F32_LANES;
    for (ky, weights) in weights.chunks_exact(run).enumerate() {
        for (at, weights) in weights.chunks_exact(chunk).enumerate() {
            let (weights, _) = S::as_simd_f32s(weights);
            let weights: [S::f32s; RUN] = *weights.first_chunk().expect("a whole chunk");
            for (field, gradient) in live.field.iter().zip(&live.gradient).take(live.n) {
                let from = *field as usize + ky * row + at * chunk;
                let (sums, _) = S::as_mut_simd_f32s(&mut input[from..][..chunk]);
                let gradient = simd.splat_f32s(*gradient);
                for t in 0..RUN {
                    sums[t] = simd.mul_add_e_f32s(gradient, weights[t], sums[t]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{everywhere, noise, wrong};

    /// Index of (image, y, x, filter) in the output.
    fn at(layer: &Conv, image: usize, y: usize, x: usize, filter: usize) -> usize {
        let (pooled, filters) = (layer.pooled(), layer.filters);
        image * layer.outputs()
            + match layer.layout {
                Layout::Planar => (filter * pooled + y) * pooled + x,
                Layout::ChannelsLast => (y * pooled + x) * filters + filter,
            }
    }

    /// Weight and input of each tap of a filter at (y, x): their indices.
    fn taps(
        layer: Conv,
        image: usize,
        y: usize,
        x: usize,
        filter: usize,
    ) -> impl Iterator<Item = (usize, usize)> {
        let Conv { channels, side, .. } = layer;
        (0..channels * TAPS).map(move |i| {
            let (channel, ky, kx) = (i / TAPS, i % TAPS / 3, i % 3);
            let pixel = (image * side + y + ky) * side + x + kx;
            (filter * channels * TAPS + i, pixel * channels + channel)
        })
    }

    #[test]
    fn both_directions_are_those_of_the_definition() {
        let n = 2;
        for (channels, filters) in [(1, 64), (32, 32), (64, 32)] {
            for (side, layout) in [
                (4, Layout::Planar),
                (13, Layout::Planar),
                (40, Layout::ChannelsLast),
            ] {
                let layer = Conv {
                    channels,
                    filters,
                    side,
                    layout,
                };
                let weights = noise(filters * channels * TAPS, 1);
                let bias = noise(filters, 2);
                let input = noise(n * layer.inputs(), 3);
                let upstream = noise(n * layer.outputs(), 4);
                let mut output = vec![0.0; upstream.len()];
                let mut by_weight = vec![0.0; weights.len()];
                let mut by_bias = vec![0.0; filters];
                let mut by_input = vec![0.0; input.len()];
                for i in 0..n * layer.pooled() * layer.pooled() * filters {
                    let (filter, i) = (i % filters, i / filters);
                    let (x, i) = (i % layer.pooled(), i / layer.pooled());
                    let (y, image) = (i % layer.pooled(), i / layer.pooled());
                    let mut best = (f64::MIN, 0, 0);
                    for (py, px) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                        let (py, px) = (2 * y + py, 2 * x + px);
                        let mut sum = f64::from(bias[filter]);
                        for (w, p) in taps(layer, image, py, px, filter) {
                            sum += f64::from(weights[w]) * f64::from(input[p]);
                        }
                        if sum > best.0 {
                            best = (sum, py, px);
                        }
                    }
                    let (value, py, px) = best;
                    let i = at(&layer, image, y, x, filter);
                    output[i] = value.max(0.0);
                    if value > 0.0 {
                        let upstream = f64::from(upstream[i]);
                        by_bias[filter] += upstream;
                        for (w, p) in taps(layer, image, py, px, filter) {
                            by_weight[w] += upstream * f64::from(input[p]);
                            by_input[p] += upstream * f64::from(weights[w]);
                        }
                    }
                }
                everywhere(|| {
                    // What stood there before does not matter.
                    let mut found = vec![7.0; output.len()];
                    let mut places = vec![7; output.len()];
                    layer.forward(&weights, &bias, &input, &mut found, &mut places, 2);
                    assert!(wrong(&found, &output) < 1e-5, "{layer:?}");
                    let mut gradient = vec![7.0; input.len()];
                    let wanted = (channels > 1).then_some(&mut gradient[..]);
                    let (w, b) = layer.backward(&weights, &input, &upstream, &places, wanted, 2);
                    assert!(wrong(&w, &by_weight) < 1e-5, "{layer:?}");
                    assert!(wrong(&b, &by_bias) < 1e-5, "{layer:?}");
                    if channels > 1 {
                        assert!(wrong(&gradient, &by_input) < 1e-5, "{layer:?}");
                    }
                    // Bit for bit the same with any number of threads.
                    assert_eq!(
                        layer.backward(&weights, &input, &upstream, &places, None, 1),
                        (w, b)
                    );
                });
            }
        }
    }

    #[test]
    fn the_first_of_equal_places_counts_and_nan_stays() {
        let layer = Conv {
            channels: 1,
            filters: 32,
            side: 4,
            layout: Layout::Planar,
        };
        let run = |weight: f32| {
            let (mut output, mut places) = ([9.0; 32], [9; 32]);
            let weights = [weight; 32 * TAPS];
            layer.forward(
                &weights,
                &[0.0; 32],
                &[1.0; 16],
                &mut output,
                &mut places,
                1,
            );
            (output[0], places[0])
        };
        everywhere(|| {
            assert_eq!(run(1.0), (9.0, 0));
            assert_eq!(run(-1.0), (0.0, DEAD));
            // A value of exactly 0 passes no gradient, as in libtorch.
            assert_eq!(run(0.0), (0.0, DEAD));
            assert!(run(f32::NAN).0.is_nan());
        });
    }
}
