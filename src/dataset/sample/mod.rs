//! The sample generator: a made data set in the layout of the challenge.
