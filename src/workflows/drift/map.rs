//! The images of a session on a plane.

use super::{DriftSession, SEED, WorkflowError};
use crate::drift::{EmbeddingView, LayoutStep, leading_two, neighbour_layout};
use crate::jobs::JobContext;

/// Places of images, x to the right and y upwards: those of [`DriftSession::images`] in their order, then those
/// of regular images that they are compared with.
pub type Places = Vec<[f32; 2]>;

impl DriftSession {
    /// Places by the two directions in which regular images vary most. Fast: they are known already.
    ///
    /// # Errors
    /// [`WorkflowError::Drift`].
    pub fn principal_map(&self) -> Result<Places, WorkflowError> {
        let dim = self.space.dim();
        Ok(leading_two(EmbeddingView::new(&self.features, dim)?)?)
    }

    /// Places by likeness: each image near those that the network finds most like it. The same every time.
    ///
    /// # Errors
    /// [`WorkflowError::Cancelled`], [`WorkflowError::Drift`].
    pub fn neighbour_map(&self, context: &JobContext) -> Result<Places, WorkflowError> {
        let (dim, kept) = (self.space.dim(), self.space.components());
        let rows = self.features.chunks_exact(dim);
        let directions: Vec<f32> = rows.flat_map(|row| row[..kept].iter().copied()).collect();
        let rows = EmbeddingView::new(&directions, kept)?;
        let mut go_on = |step, done, of| {
            let doing = match step {
                LayoutStep::Neighbours => "looking up neighbours",
                LayoutStep::Moving => "moving neighbours together",
            };
            context.report(done as u64, of as u64, doing);
            !context.should_stop()
        };
        neighbour_layout(rows, SEED, &mut go_on)?.ok_or(WorkflowError::Cancelled)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::domain::{ClassId, ImageId};
    use crate::drift::{DriftSpace, DuplicateGroups, Fitted, Images};
    use crate::jobs::StopReason;
    use crate::workflows::run::RunCalibration;
    use std::sync::Arc;

    /// 30 candidates, and 40 regular images that they are compared with.
    fn session() -> DriftSession {
        const DIM: usize = 12;
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut made =
            |n: usize| -> Vec<f32> { (0..n * DIM).map(|_| rng.random_range(0.0..1.0)).collect() };
        let (regular, incoming) = (made(40), made(30));
        let images = |values| Images {
            embeddings: EmbeddingView::new(values, DIM).expect("whole rows"),
            local: None,
            pictures: None,
            tiles: None,
            dies: None,
        };
        let Fitted { space, train, pool } = DriftSpace::fit(
            images(&regular),
            &[ClassId(0); 40],
            Some(images(&incoming).into()),
        )
        .expect("varied");
        let pool = pool.expect("a pool was given");
        DriftSession {
            source: "made".to_owned(),
            images: (0..30).map(ImageId).collect(),
            failed: Vec::new(),
            groups: Arc::default(),
            duplicates: DuplicateGroups::none(30),
            calibration: RunCalibration::default(),
            rows: HashMap::new(),
            features: [pool.features.clone(), train.features].concat(),
            outliers: Vec::new(),
            space,
            pool,
            anomaly: vec![0.5; 30],
            predictions: Vec::new(),
        }
    }

    #[test]
    fn both_maps_place_every_image_and_what_it_is_compared_with() {
        let session = session();
        let principal = session.principal_map().expect("numbers");
        assert_eq!(principal.len(), 70);
        let context = JobContext::detached();
        let neighbours = session.neighbour_map(&context).expect("laid out");
        assert_eq!(neighbours.len(), 70);
        assert_ne!(neighbours, principal);
        assert!(context.progress.get().fraction() > 0.9);
        assert_eq!(session.neighbour_map(&context).expect("again"), neighbours);
        context.control.stop(StopReason::Cancelled);
        let stopped = session.neighbour_map(&context);
        assert!(matches!(stopped, Err(WorkflowError::Cancelled)));
    }
}
