//! The files under `tests/data/config` and those the repository ships.

use std::fs;
use std::path::Path;

use super::super::vocabulary::Vocabulary;
use super::super::{Agent, Check, Health, Probe, Problems, StatusSet, load};
use super::{bare_service, files_in, model, repository};

/// The problems as lines, with the folder of the file taken off.
fn lines(problems: &Problems, file: &Path) -> String {
    let folder = format!("{}/", file.parent().expect("a file has a folder").display());
    let base = file.file_name().expect("a file has a name").to_string_lossy();
    problems
        .iter()
        .map(|problem| format!("{problem}\n").replace(&folder, "").replace(&*base, "FILE"))
        .collect()
}

/// Set `UPDATE_EXPECTED=1` to write the messages down anew after changing them, and review the difference.
#[test]
fn every_bad_file_is_answered_as_expected() {
    let files = files_in("tests/data/config/bad", "toml");
    assert!(files.len() >= 45, "only {} bad files were found", files.len());
    let mut wrong = Vec::new();
    for file in &files {
        let problems = load(file).expect_err(&format!("{} was accepted", file.display()));
        let found = lines(&problems, file);
        let expected = file.with_extension("expected");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&expected, &found).expect("write the expected messages");
        }
        let wanted = fs::read_to_string(&expected).unwrap_or_default();
        if found != wanted {
            wrong.push(format!("{}:\n-- wanted\n{wanted}-- found\n{found}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn one_run_reports_every_mistake_of_a_file() {
    let file = repository().join("tests/data/config/bad/49-many-at-once.toml");
    let problems = load(&file).expect_err("the file is full of mistakes");
    assert!(problems.len() >= 25, "{problems}");
    assert!(problems.iter().map(|problem| &problem.place).is_sorted(), "{problems}");
}

#[test]
fn every_file_of_the_repository_loads() {
    let mut files = files_in("config", "toml");
    files.extend(files_in("config/examples", "toml"));
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        if let Err(problems) = load(&file) {
            panic!("{problems}");
        }
    }
}

/// The reference writes every default down. Were one of them another than the default in force, a reader
/// would be misled.
#[test]
fn the_reference_states_the_defaults_in_force() {
    let reference = load(&repository().join("config/xlvs.toml")).expect("the reference loads");
    let bare = model(&bare_service("", ""));
    assert_eq!(reference.datapath, bare.datapath);
    let interfaces = bare.agent.interfaces.clone();
    assert_eq!(Agent { interfaces, node: None, ..reference.agent }, bare.agent);
    let (stated, default) = (&reference.services[0], &bare.services[0]);
    assert_eq!(
        (
            stated.mode,
            stated.scheduler,
            stated.on_no_server,
            &stated.listening.protocols,
            stated.servers[0].weight,
            stated.replication
        ),
        (
            default.mode,
            default.scheduler,
            default.on_no_server,
            &default.listening.protocols,
            default.servers[0].weight,
            default.replication
        )
    );
    let Health::Checked(default) = &default.health else { panic!("{default:?}") };
    let Health::Checked(stated) = &stated.health else { panic!("{stated:?}") };
    assert_eq!(default.probe, Probe::Tcp);
    assert_eq!(Check { probe: stated.probe.clone(), ..(**default).clone() }, **stated);
    let Probe::Http(stated) = &stated.probe else { panic!("{stated:?}") };
    assert_eq!((stated.path.as_str(), &stated.host, &stated.expect), ("/", &None, &StatusSet::default()));
}

#[test]
fn the_reference_names_every_key() {
    let reference =
        fs::read_to_string(repository().join("config/xlvs.toml")).expect("the reference can be read");
    for table in Vocabulary::all() {
        for key in table.keys.iter().filter(|key| !SECTIONS.contains(key)) {
            let is_named = reference.lines().any(|line| line.contains(&format!("{key} = ")));
            assert!(is_named, "{key} of {} is missing", table.table);
        }
    }
}

/// Keys that are headers of tables.
const SECTIONS: [&str; 9] =
    ["agent", "datapath", "fullnat", "cluster", "peer", "defaults", "service", "health", "server"];
