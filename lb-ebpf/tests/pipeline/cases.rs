//! The shared cases, run by the pipeline as a library. The kernel suite runs the same ones.

use xlvs_tests::datapath::{Native, cases};

#[test]
fn every_case_is_true_of_the_library() -> anyhow::Result<()> {
    cases::run_all(&mut Native::new()?)
}

#[test]
fn every_case_is_true_behind_vlan_tags() -> anyhow::Result<()> {
    cases::run(&cases::tagged::every(&cases::all()), &mut Native::new()?)
}

#[test]
fn names_differ() {
    let mut names: Vec<&str> = cases::all().iter().map(|case| case.name).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}
