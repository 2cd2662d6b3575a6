//! An outline drawn by hand, and what lies in it.

/// A closed outline, in the coordinates of what it is drawn over. It may cross itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lasso(Vec<[f32; 2]>);

impl Lasso {
    /// Adds a corner.
    pub fn add(&mut self, corner: [f32; 2]) {
        self.0.push(corner);
    }

    /// Its corners in the order drawn; the last is joined to the first.
    #[must_use]
    pub fn corners(&self) -> &[[f32; 2]] {
        &self.0
    }

    /// Whether `place` lies inside: whether a ray from it crosses the outline an odd number of times (Shimrat,
    /// "Algorithm 112: Position of point relative to polygon", CACM 1962). False for what is no number.
    #[must_use]
    pub fn holds(&self, place: [f32; 2]) -> bool {
        let [x, y] = place.map(f64::from);
        let before = self.0.iter().cycle().skip(self.0.len().saturating_sub(1));
        self.0.iter().zip(before).fold(false, |inside, (a, b)| {
            let ([ax, ay], [bx, by]) = (a.map(f64::from), b.map(f64::from));
            // A corner belongs to the edge below it, so that it is crossed once.
            let crossed = (ay > y) != (by > y) && x < (bx - ax) * (y - ay) / (by - ay) + ax;
            inside != crossed
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lasso(corners: &[[f32; 2]]) -> Lasso {
        Lasso(corners.to_vec())
    }

    #[test]
    fn less_than_a_triangle_holds_nothing() {
        assert!(!Lasso::default().holds([0.0, 0.0]));
        assert!(!lasso(&[[0.0, 0.0]]).holds([0.0, 0.0]));
        assert!(!lasso(&[[0.0, 0.0], [2.0, 2.0]]).holds([1.0, 1.0]));
        let triangle = lasso(&[[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]]);
        assert!(triangle.holds([0.5, 0.5]));
        assert!(!triangle.holds([f32::NAN, 0.5]));
        assert!(!triangle.holds([0.5, f32::NAN]));
    }

    #[test]
    fn a_dent_is_outside() {
        let horseshoe = lasso(&[
            [0.0, 0.0],
            [6.0, 0.0],
            [6.0, 6.0],
            [4.0, 6.0],
            [4.0, 2.0],
            [2.0, 2.0],
            [2.0, 6.0],
            [0.0, 6.0],
        ]);
        assert!(horseshoe.holds([1.0, 5.0]) && horseshoe.holds([5.0, 5.0]));
        assert!(horseshoe.holds([3.0, 1.0]));
        assert!(!horseshoe.holds([3.0, 4.0]));
    }

    fn number() -> impl Strategy<Value = f32> {
        -10.0_f32..10.0
    }

    proptest! {
        /// A point is in a box when it is between its sides.
        #[test]
        fn a_box_holds_what_lies_between_its_sides(
            x in number(), y in number(), w in 0.1_f32..9.0, h in 0.1_f32..9.0,
            px in number(), py in number(),
        ) {
            let (right, top) = (x + w, y + h);
            let of = lasso(&[[x, y], [right, y], [right, top], [x, top]]);
            let between = (x..right).contains(&px) && (y..top).contains(&py);
            prop_assert_eq!(of.holds([px, py]), between);
        }

        /// Around a centre, a point is in a star-shaped outline when it is nearer than the edge in its direction.
        #[test]
        fn a_star_holds_what_is_nearer_than_its_edge(
            radii in prop::collection::vec(1.0_f32..5.0, 3..40),
            direction in 0.0_f32..1.0, share in 0.05_f32..2.0,
        ) {
            let n = radii.len();
            let at = |i: usize| {
                let angle = i as f32 / n as f32 * std::f32::consts::TAU;
                [radii[i % n] * angle.cos(), radii[i % n] * angle.sin()]
            };
            let of = Lasso((0..n).map(at).collect());
            // A point of an edge, drawn towards the centre or away from it.
            let edge = direction * n as f32;
            let (first, part) = (edge as usize, edge.fract());
            let (a, b) = (at(first), at(first + 1));
            let point = [0, 1].map(|i| (a[i] + (b[i] - a[i]) * part) * share);
            prop_assume!((share - 1.0).abs() > 1e-3);
            prop_assert_eq!(of.holds(point), share < 1.0);
        }

        /// Neither where one begins to draw nor which way round changes anything.
        #[test]
        fn start_and_sense_of_drawing_do_not_matter(
            corners in prop::collection::vec([number(), number()], 3..30),
            turn in 0_usize..30, px in number(), py in number(),
        ) {
            let inside = lasso(&corners).holds([px, py]);
            let mut turned = corners.clone();
            turned.rotate_left(turn % corners.len());
            prop_assert_eq!(lasso(&turned).holds([px, py]), inside);
            turned.reverse();
            prop_assert_eq!(lasso(&turned).holds([px, py]), inside);
        }
    }
}
