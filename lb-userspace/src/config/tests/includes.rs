//! Files that cannot be read, files that include others.

use std::fs;
use std::path::Path;

use super::super::load;
use super::bare_service;

#[test]
fn a_missing_file_and_a_folder_are_named() {
    let folder = tempfile::tempdir().expect("make a folder");
    let missing = folder.path().join("none.toml");
    let problems = load(&missing).expect_err("there is no such file");
    assert_eq!(
        problems.to_string(),
        format!("{}:1:1: no such file; name another one with -c FILE or XLVS_CONFIG", missing.display())
    );
    let problems = load(folder.path()).expect_err("a folder is no file");
    assert!(problems.to_string().contains(":1:1: is a directory; "), "{problems}");
}

#[test]
fn a_device_is_not_read_for_ever() {
    let problems = load(Path::new("/dev/zero")).expect_err("it has no end");
    assert_eq!(
        problems.to_string(),
        "/dev/zero:1:1: the file is larger than 16 MiB; name a configuration file"
    );
}

#[test]
fn included_files_are_relative_and_named_in_their_problems() {
    let folder = tempfile::tempdir().expect("make a folder");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("write a file");
    fs::create_dir(folder.path().join("services.d")).expect("make a folder");
    write("services.d/b.toml", &bare_service("", "").replace("\"web\"", "\"b\"").replace("1.100", "1.102"));
    write("services.d/a.toml", &bare_service("", "").replace("\"web\"", "\"a\"").replace("1.100", "1.101"));
    write("services.d/.hidden.toml", "nonsense");
    let main = folder.path().join("xlvs.toml");
    write(
        "xlvs.toml",
        &format!(
            "include = [\"services.d/*.toml\", \"services.d/a.toml\", \"*.toml\"]\n{}",
            bare_service("", "")
        ),
    );
    let names: Vec<_> =
        load(&main).expect("it is right").services.iter().map(|service| service.name.to_string()).collect();
    assert_eq!(names, ["web", "a", "b"], "each file once, the main file first");

    write("services.d/b.toml", &format!("[agent]\n{}", bare_service("", "")));
    write(
        "services.d/a.toml",
        &bare_service("", "weight = -1").replace("\"web\"", "\"a\"").replace("1.100", "1.101"),
    );
    let problems = load(&main).expect_err("two files are wrong");
    let found = problems.to_string().replace(&format!("{}/", folder.path().display()), "");
    assert_eq!(
        found,
        "services.d/a.toml:9:10: weight = -1 is out of range; write a number from 0 to 1000\n\
         services.d/b.toml:1:2: unknown key \"agent\" in an included file; move it to the including file\n\
         services.d/b.toml:3:8: a service named \"web\" is already at xlvs.toml:3; give each service a name of its own\n\
         services.d/b.toml:4:7: 10.77.1.100:80 tcp is already a service at xlvs.toml:4; put all servers into one \
         service, or change vip, port or protocol"
    );
}

#[test]
fn an_included_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().expect("make a folder");
    let main = folder.path().join("xlvs.toml");
    fs::create_dir(folder.path().join("a.toml")).expect("make a folder");
    fs::write(&main, format!("include = [\"a.toml\"]\n{}", bare_service("", ""))).expect("write a file");
    let problems = load(&main).expect_err("a folder cannot be included");
    assert!(
        problems
            .to_string()
            .starts_with(&format!("{}/a.toml:1:1: is a directory; ", folder.path().display())),
        "{problems}"
    );
}
