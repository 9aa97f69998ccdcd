// SPDX-License-Identifier: GPL-2.0
//! Signals of a device's interrupt vectors, counted for each.

/// Numbers of signals, that of vector 0 first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Signals(Vec<u64>);

impl Signals {
    /// The signals that an eventfd each has counted.
    pub fn of(counts: Vec<u64>) -> Signals {
        Signals(counts)
    }

    /// Returns whether there is one.
    pub fn any(&self) -> bool {
        self.total() > 0
    }

    /// Returns their number, of all vectors together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds others.
    pub fn add(&mut self, others: &Signals) {
        for (vector, count) in others.0.iter().enumerate() {
            self.count(vector, *count);
        }
    }

    /// Adds signals of one vector.
    pub fn count(&mut self, vector: usize, count: u64) {
        if self.0.len() <= vector {
            self.0.resize(vector + 1, 0);
        }
        self.0[vector] += count;
    }

    /// Takes those of a vector away.
    pub fn take(&mut self, vector: usize) -> u64 {
        self.0.get_mut(vector).map_or(0, std::mem::take)
    }

    /// Returns whether a vector has more than one signal more than in `others`.
    pub fn exceed(&self, others: &Signals) -> bool {
        let other = |vector| others.0.get(vector).copied().unwrap_or(0);
        (0..self.0.len()).any(|vector| self.0[vector] > other(vector) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::Signals;

    #[test]
    fn one_more_of_each_vector_is_no_excess() {
        let alone = Signals::of(vec![1]);
        for (moved, exceeds) in [
            (vec![], false),
            (vec![2], false),
            (vec![3], true),
            (vec![2, 1], false),
            (vec![0, 2], true),
        ] {
            assert_eq!(
                Signals::of(moved.clone()).exceed(&alone),
                exceeds,
                "{moved:?}"
            );
        }
    }

    #[test]
    fn signals_are_added_and_taken_by_vector() {
        let mut signals = Signals::default();
        signals.add(&Signals::of(vec![0, 2]));
        signals.count(3, 1);
        assert_eq!(
            (signals.take(1), signals.take(1), signals.take(9)),
            (2, 0, 0)
        );
        assert_eq!((signals.total(), signals.any()), (1, true));
    }
}
