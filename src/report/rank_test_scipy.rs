// Constants by scipy 1.17.1 (`pip install scipy numpy` in a fresh environment):
//   stats.mannwhitneyu(a, b, method='exact'), with ties
//   stats.permutation_test((a, b), U, permutation_type='independent', n_resamples=inf, alternative='two-sided'),
//   and stats.mannwhitneyu(a, b, method='asymptotic') for many.

#[test]
fn few_launches_agree_with_scipys_exact_test() {
    let a = [10.1, 9.8, 10.4, 10.0, 9.9];
    let b = [10.9, 11.2, 10.3, 11.5, 10.8, 12.0];
    let test = rank_test(&a, &b).unwrap();
    assert!(test.exact && test.u == 1.0);
    assert!(near(test.p, 0.008_658_008_658_008_658), "{}", test.p);
    let h: Vec<f64> = (1..19).map(f64::from).collect();
    let k: Vec<f64> = (1..21).map(|x| f64::from(x) + 4.5).collect();
    let test = rank_test(&h, &k).unwrap();
    assert!(test.exact && test.u == 91.0);
    assert!(near(test.p, 0.008_536_733_182_220_285), "{}", test.p);
}

#[test]
fn ties_agree_with_scipys_permutation_test() {
    let test = rank_test(&[1.0, 2.0, 2.0, 3.0, 5.0], &[2.0, 3.0, 3.0, 4.0, 4.0, 6.0]).unwrap();
    assert!(test.exact && test.u == 8.0);
    assert!(near(test.p, 0.212_121_212_121_212_13), "{}", test.p);
}

#[test]
fn many_launches_agree_with_scipys_approximation_with_and_without_ties() {
    let series = |n: u32, step: u32, modulus: u32, scale: f64| -> Vec<f64> {
        (0..n).map(|i| f64::from(i * step % modulus) / scale).collect()
    };
    let test = rank_test(&series(50, 37, 101, 7.0), &series(45, 53, 97, 6.0)).unwrap();
    assert!(!test.exact && test.u == 1078.0);
    assert!(near(test.p, 0.728_895_311_153_767_5), "{}", test.p);
    let test = rank_test(&series(50, 37, 11, 1.0), &series(45, 53, 13, 1.0)).unwrap();
    assert!(!test.exact && test.u == 1032.0);
    assert!(near(test.p, 0.489_025_107_558_955_7), "{}", test.p);
}
