//! What holds for any text at all, and for any difference.

use std::fs;

use proptest::prelude::*;

use super::super::{diff, load, load_str};
use super::{model, repository};

/// Texts that are right: up to five services with up to five servers each.
fn right_texts() -> impl Strategy<Value = String> {
    let server = (0_u16..=1000, proptest::option::of(1_u16..)).prop_map(|(weight, port)| {
        let port = port.map(|port| format!("port = {port}\n")).unwrap_or_default();
        format!("weight = {weight}\n{port}")
    });
    let service = (
        prop_oneof![Just("nat"), Just("dr"), Just("tunnel")],
        prop_oneof![Just("tcp"), Just("http"), Just("none")],
        1_u32..60,
        prop_oneof![Just("80"), Just("[443, 80]"), Just("[\"8000-8099\", 80]"), Just("\"any\"")],
        any::<bool>(),
        proptest::collection::vec(server, 1..5),
    );
    proptest::collection::vec(service, 1..5).prop_map(|services| {
        let mut text = String::new();
        for (number, (mode, kind, interval, ports, dual, servers)) in services.into_iter().enumerate() {
            let both = |v4: &str, v6: &str, last: usize| match dual {
                true => format!("[\"{v6}::{last}\", \"{v4}.{last}\"]"),
                false => format!("\"{v4}.{last}\""),
            };
            let vip = both("10.77.1", "2001:db8:1", number + 1);
            text += &format!(
                "[[service]]\nname = \"s{number}\"\nvip = {vip}\nport = {ports}\nmode = \"{mode}\"\n\
                 health = {{ kind = \"{kind}\", port = 80, interval = \"{interval}s\" }}\n"
            );
            let own_port = mode == "nat" && !ports.contains('"');
            for (server_number, server) in servers.iter().enumerate() {
                let server = if own_port { server } else { server.split("port").next().unwrap_or_default() };
                let address = both("10.77.2", "2001:db8:2", server_number + 1);
                text += &format!(
                    "[[service.server]]\nname = \"r{server_number}\"\naddress = {address}\n{server}"
                );
            }
        }
        text
    })
}

/// What holds for every answer: it is a model, or problems in order, each on one line and in the file.
fn assert_answers(text: &str) {
    let Err(problems) = load_str("f", text) else { return };
    assert!(!problems.is_empty(), "refused without a reason:\n{text}");
    assert!(problems.iter().map(|problem| &problem.place).is_sorted(), "{problems}");
    for problem in &problems {
        let line = problem.to_string();
        assert!(!line.contains(char::is_control), "{line:?}");
        assert!(!problem.what.is_empty() && !problem.remedy.is_empty(), "{line:?}");
        assert!((problem.place.line as usize) <= text.split('\n').count(), "{line} of:\n{text}");
    }
}

fn reference() -> String {
    fs::read_to_string(repository().join("config/xlvs.toml")).expect("the reference can be read")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        assert_answers(&String::from_utf8_lossy(&bytes));
        let file = tempfile::NamedTempFile::new().expect("make a file");
        fs::write(&file, &bytes).expect("write the file");
        prop_assert!(load(file.path()).is_err(), "noise was accepted");
    }

    #[test]
    fn any_text_of_the_alphabet_of_toml_is_answered(text in "([a-c]|[\\[\\]{}=,.\"'#\\\\ \n-]|service|server|agent|1|true|\"\"\"){0,60}") {
        assert_answers(&text);
    }

    #[test]
    fn any_mutation_of_the_reference_is_answered(
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..40, "[\\[\\]{}=,.\"'#\n -]{0,3}|[a-z0-9-]{0,6}"), 1..6)
    ) {
        let mut text: Vec<char> = reference().chars().collect();
        for (at, length, replacement) in cuts {
            let start = at.index(text.len() + 1);
            let end = (start + length).min(text.len());
            text.splice(start..end, replacement.chars());
        }
        assert_answers(&text.into_iter().collect::<String>());
    }

    #[test]
    fn nothing_differs_from_itself(text in right_texts()) {
        let model = model(&text);
        prop_assert_eq!(diff(&model, &model), vec![]);
    }

    #[test]
    fn the_order_of_services_and_servers_means_nothing(text in right_texts()) {
        let model = model(&text);
        let mut reversed = model.clone();
        reversed.services.reverse();
        for service in &mut reversed.services {
            service.servers.reverse();
        }
        prop_assert_eq!(diff(&model, &reversed), vec![]);
    }

    #[test]
    fn a_difference_shows_in_both_directions(old in right_texts(), new in right_texts()) {
        let (old, new) = (model(&old), model(&new));
        let (there, back) = (diff(&old, &new), diff(&new, &old));
        prop_assert_eq!(there.len(), back.len());
        prop_assert_eq!(there.is_empty(), old == new);
    }
}
