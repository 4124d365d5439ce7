//! A number of ranks as a balanced grid (MPI 5.0, 8.5.2).

use crate::mpi::failure::{Class, Outcome, fail};

/// Sets the dimensions that are zero so that all together make `ranks`: as close to each other as
/// possible, which is to say that the greatest is as small as can be, and then the next; in
/// descending order (`MPI_Dims_create`).
///
/// # Errors
/// `MPI_ERR_DIMS` when a dimension is negative, or those that are set do not divide the number;
/// `MPI_ERR_ARG` when it is not positive.
pub fn balance(ranks: i32, dims: &mut [i32]) -> Outcome<()> {
    if ranks <= 0 {
        return fail(Class::Arg, format!("a grid of {ranks} ranks: the number must be positive"));
    }
    if let Some(dim) = dims.iter().find(|dim| **dim < 0) {
        return fail(Class::Dims, format!("the dimension {dim} is negative"));
    }
    let set = dims.iter().filter(|dim| **dim > 0);
    let mut set = set;
    let product = set.try_fold(1_i64, |product, &dim| {
        Some(product * i64::from(dim)).filter(|it| *it <= i64::from(ranks))
    });
    let Some(product) = product.filter(|product| i64::from(ranks) % product == 0) else {
        return fail(Class::Dims, format!("the dimensions {dims:?} do not divide {ranks} ranks"));
    };
    let (rest, free) = (i64::from(ranks) / product, dims.iter().filter(|dim| **dim == 0).count());
    if free == 0 {
        return if rest == 1 {
            Ok(())
        } else {
            fail(Class::Dims, format!("the dimensions {dims:?} do not make {ranks} ranks"))
        };
    }
    let divisors: Vec<i64> = divisors(rest);
    let factors = factors(rest, free, rest, &divisors).unwrap_or_else(|| vec![rest]);
    let mut factors = factors.into_iter().chain(std::iter::repeat(1));
    for dim in dims.iter_mut().filter(|dim| **dim == 0) {
        *dim = factors.next().map_or(1, |factor| factor as i32);
    }
    Ok(())
}

/// All divisors, ascending.
fn divisors(number: i64) -> Vec<i64> {
    let small = (1..).take_while(|it| it * it <= number).filter(|it| number % it == 0);
    let small: Vec<i64> = small.collect();
    let large = small.iter().rev().map(|it| number / it).filter(|it| it * it > number);
    let large: Vec<i64> = large.collect();
    [small, large].concat()
}

fn greatest_prime(mut number: i64) -> i64 {
    let (mut greatest, mut prime) = (1, 2);
    while prime * prime <= number {
        if number % prime == 0 {
            number /= prime;
            greatest = prime;
        } else {
            prime += 1;
        }
    }
    greatest.max(number)
}

/// The first list, by greatest factor, then by the next, of `count` descending factors of `number`
/// that are at most `bound`.
fn factors(number: i64, count: usize, bound: i64, divisors: &[i64]) -> Option<Vec<i64>> {
    if number == 1 {
        return Some(vec![1; count]);
    }
    if count == 1 {
        return (number <= bound).then(|| vec![number]);
    }
    let least = greatest_prime(number);
    let power = |it: i64| (0..count).try_fold(1_i64, |all, _| all.checked_mul(it));
    let possible = divisors.iter().copied().filter(|it| number % it == 0);
    let mut possible = possible.filter(|it| (least..=bound).contains(it));
    possible.find_map(|first| {
        // The others are no greater.
        if power(first).is_some_and(|most| most < number) {
            return None;
        }
        let mut rest = factors(number / first, count - 1, first, divisors)?;
        rest.insert(0, first);
        Some(rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ranks: i32, mut dims: Vec<i32>) -> Vec<i32> {
        balance(ranks, &mut dims).unwrap();
        dims
    }

    #[test]
    fn the_examples_of_the_standard_come_out() {
        assert_eq!(of(6, vec![0, 0]), [3, 2]);
        assert_eq!(of(7, vec![0, 0]), [7, 1]);
        assert_eq!(of(6, vec![0, 3, 0]), [2, 3, 1]);
        let mut wrong = [0, 3, 0];
        assert_eq!(balance(7, &mut wrong).unwrap_err().class, Class::Dims);
    }

    #[test]
    fn the_greatest_dimension_is_as_small_as_any_grid_allows() {
        for ranks in 1..=400 {
            let made = of(ranks, vec![0, 0, 0]);
            assert_eq!(made.iter().product::<i32>(), ranks);
            assert!(made.is_sorted_by(|a, b| a >= b), "{ranks}: {made:?}");
            let divides = |it: &i32| ranks % it == 0;
            let grids = (1..=ranks).filter(divides).flat_map(|a| {
                let rest = ranks / a;
                (1..=rest).filter(move |b| rest % b == 0).map(move |b| [a, b, rest / b])
            });
            let best = grids.map(|mut it| {
                it.sort_by(|a, b| b.cmp(a));
                it
            });
            assert_eq!(Some(made), best.min().map(Vec::from), "{ranks}");
        }
    }

    #[test]
    fn many_dimensions_of_a_rich_number_are_found_at_once() {
        assert_eq!(of(1 << 30, vec![0; 30]), vec![2; 30]);
        assert_eq!(
            of(2_095_133_040, vec![0; 12]).iter().map(|it| i64::from(*it)).product::<i64>(),
            2_095_133_040
        );
        assert_eq!(of(i32::MAX, vec![0, 0, 0]), [i32::MAX, 1, 1]);
        assert_eq!(of(1, vec![0; 4]), [1; 4]);
    }

    #[test]
    fn set_dimensions_must_make_the_number() {
        assert_eq!(of(12, vec![3, 4]), [3, 4]);
        for wrong in [vec![3, 3], vec![24, 0], vec![-1, 0], vec![65_536, 65_536, 65_536, 65_536]] {
            let mut dims = wrong;
            assert_eq!(balance(12, &mut dims).unwrap_err().class, Class::Dims, "{dims:?}");
        }
        assert_eq!(balance(0, &mut [0]).unwrap_err().class, Class::Arg);
    }
}
