//! Grids: coordinates, shifts, slices (MPI 5.0, 8.5).

use super::Cart;
use crate::mpi::collective::Neighborhood;
use crate::mpi::failure::{Class, Outcome, fail};

impl Cart {
    /// A grid for at most `most` ranks.
    ///
    /// # Errors
    /// `MPI_ERR_DIMS` when a dimension is not positive; `MPI_ERR_TOPOLOGY` when it is larger.
    pub fn new(dims: Vec<i32>, periods: Vec<bool>, most: u32) -> Outcome<Self> {
        if let Some(dim) = dims.iter().find(|dim| **dim <= 0) {
            return fail(Class::Dims, format!("the dimension {dim} is not positive"));
        }
        let product = dims.iter().try_fold(1_i64, |product, &dim| {
            Some(product * i64::from(dim)).filter(|it| *it <= i64::from(most))
        });
        if product.is_none() {
            let why = format!("the grid {dims:?} is larger than the communicator of {most}");
            return fail(Class::Topology, why);
        }
        Ok(Self { dims, periods })
    }

    /// Ranks in it.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.dims.iter().map(|dim| dim.cast_unsigned()).product()
    }

    /// The coordinates of a rank.
    ///
    /// # Errors
    /// `MPI_ERR_RANK` when there is none.
    pub fn coords(&self, rank: i32) -> Outcome<Vec<i32>> {
        if !(0..i64::from(self.size())).contains(&i64::from(rank)) {
            return fail(Class::Rank, format!("rank {rank} is not one of the {}", self.size()));
        }
        let mut rest = rank;
        let mut coords = vec![0; self.dims.len()];
        for (coord, dim) in coords.iter_mut().zip(&self.dims).rev() {
            *coord = rest % dim;
            rest /= dim;
        }
        Ok(coords)
    }

    /// The rank at these coordinates, which wrap around in periodic dimensions; none beyond the
    /// border of others.
    fn at(&self, coords: &[i32]) -> Option<i32> {
        let axes = self.dims.iter().zip(&self.periods);
        coords.iter().zip(axes).try_fold(0, |rank, (&coord, (&dim, &periodic))| {
            let inside = (0..dim).contains(&coord);
            (inside || periodic).then(|| rank * dim + coord.rem_euclid(dim))
        })
    }

    /// The same (`MPI_Cart_rank`).
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when there is none.
    pub fn rank(&self, coords: &[i32]) -> Outcome<i32> {
        match self.at(coords) {
            Some(rank) => Ok(rank),
            None => fail(Class::Arg, format!("{coords:?} is outside of {:?}", self.dims)),
        }
    }

    /// Whom a rank receives from and whom it sends to when all data moves by `steps` along a
    /// dimension; none beyond a border (`MPI_Cart_shift`).
    ///
    /// # Errors
    /// `MPI_ERR_DIMS` when there is no such dimension, `MPI_ERR_RANK` no such rank.
    pub fn shift(
        &self,
        rank: i32,
        dimension: i32,
        steps: i32,
    ) -> Outcome<(Option<i32>, Option<i32>)> {
        let mine = self.coords(rank)?;
        let Some(axis) = usize::try_from(dimension).ok().filter(|it| *it < mine.len()) else {
            let count = mine.len();
            return fail(Class::Dims, format!("dimension {dimension} of a grid of {count}"));
        };
        let dim = i64::from(self.dims[axis]);
        let moved = |by: i64| {
            let at = i64::from(mine[axis]) + by;
            let at = if self.periods[axis] { at.rem_euclid(dim) } else { at };
            let mut coords = mine.clone();
            coords[axis] = i32::try_from(at).ok()?;
            self.at(&coords)
        };
        Ok((moved(-i64::from(steps)), moved(i64::from(steps))))
    }

    /// The grid of the dimensions that remain, and the ranks of the part that a rank is in.
    ///
    /// # Errors
    /// `MPI_ERR_RANK` when there is no such rank.
    pub fn part(&self, rank: i32, remain: &[bool]) -> Outcome<(Self, Vec<i32>)> {
        let mine = self.coords(rank)?;
        let kept = |axis: &usize| remain[*axis];
        let axes: Vec<usize> = (0..self.dims.len()).filter(kept).collect();
        let dims = axes.iter().map(|&axis| self.dims[axis]).collect();
        let periods = axes.iter().map(|&axis| self.periods[axis]).collect();
        let part = Self { dims, periods };
        let member = |at: i32| {
            let mut coords = mine.clone();
            for (&axis, coord) in axes.iter().zip(part.coords(at)?) {
                coords[axis] = coord;
            }
            self.rank(&coords)
        };
        let members = (0..part.size().cast_signed()).map(member).collect::<Outcome<_>>()?;
        Ok((part, members))
    }

    /// The lower and the upper neighbor in each dimension.
    #[must_use]
    pub fn neighborhood(&self, rank: u32) -> Neighborhood {
        let axes = 0..self.dims.len() as i32;
        let shifts = axes.map(|axis| self.shift(rank.cast_signed(), axis, 1));
        let pairs = shifts.map(|it| it.unwrap_or((None, None)));
        let both = pairs.flat_map(|(lower, upper)| [lower, upper]);
        let ranks: Vec<_> = both.map(|it| it.map(i32::cast_unsigned)).collect();
        Neighborhood { sources: ranks.clone(), destinations: ranks, grid: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cart(dims: &[i32], periods: &[bool]) -> Cart {
        Cart::new(dims.to_vec(), periods.to_vec(), 1000).unwrap()
    }

    #[test]
    fn coordinates_and_ranks_are_each_other_in_row_major_order() {
        let grid = cart(&[2, 3, 4], &[false; 3]);
        assert_eq!(grid.coords(23).unwrap(), [1, 2, 3]);
        assert_eq!(grid.coords(5).unwrap(), [0, 1, 1]);
        for rank in 0..24 {
            assert_eq!(grid.rank(&grid.coords(rank).unwrap()).unwrap(), rank);
        }
        assert_eq!(grid.coords(24).unwrap_err().class, Class::Rank);
    }

    #[test]
    fn only_periodic_dimensions_wrap_around() {
        let grid = cart(&[3, 4], &[true, false]);
        assert_eq!(grid.rank(&[-1, 1]).unwrap(), 9);
        assert_eq!(grid.rank(&[7, 1]).unwrap(), 5);
        assert_eq!(grid.rank(&[0, 4]).unwrap_err().class, Class::Arg);
        assert_eq!(grid.shift(0, 0, 1).unwrap(), (Some(8), Some(4)));
        assert_eq!(grid.shift(0, 1, 1).unwrap(), (None, Some(1)));
        assert_eq!(grid.shift(0, 0, i32::MIN).unwrap(), (Some(8), Some(4)));
        assert_eq!(grid.shift(0, 1, i32::MAX).unwrap(), (None, None));
        assert_eq!(grid.shift(0, 2, 1).unwrap_err().class, Class::Dims);
    }

    #[test]
    fn a_part_keeps_the_coordinates_of_what_was_dropped() {
        let grid = cart(&[2, 3, 4], &[true, false, true]);
        let (part, members) = grid.part(17, &[true, false, true]).unwrap();
        assert_eq!(part, cart(&[2, 4], &[true, true]));
        assert_eq!(members, [4, 5, 6, 7, 16, 17, 18, 19]);
        let (none, alone) = grid.part(17, &[false; 3]).unwrap();
        assert_eq!((none.size(), alone), (1, vec![17]));
    }

    #[test]
    fn a_grid_of_no_dimensions_is_of_one_rank_and_a_larger_one_than_the_ranks_is_refused() {
        assert_eq!(cart(&[], &[]).size(), 1);
        let made = |dims: &[i32]| Cart::new(dims.to_vec(), vec![false; dims.len()], 6);
        assert_eq!(made(&[2, 4]).unwrap_err().class, Class::Topology);
        assert_eq!(made(&[65_536, 65_536, 65_536]).unwrap_err().class, Class::Topology);
        assert_eq!(made(&[2, 0]).unwrap_err().class, Class::Dims);
    }

    #[test]
    fn neighbors_come_lower_and_upper_by_dimension() {
        let hood = cart(&[2, 3], &[true, false]).neighborhood(3);
        assert_eq!(hood.sources, [Some(0), Some(0), None, Some(4)]);
        assert_eq!(hood.destinations, hood.sources);
        assert!(hood.grid);
    }
}
