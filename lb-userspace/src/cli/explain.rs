//! `xlvs explain`: of the agent, or of the file alone where nobody can be asked.

use super::capture_file;
use super::exit::Exit;
use super::session::Session;
use super::verb_args::Explain;
use crate::agent::FromFile;
use crate::api::{ExplainReport, Failure, Hex};
use crate::config;
use crate::control::{FrameQuery, PacketQuery, Report, Request};

/// What is asked.
enum Question {
    Packet(PacketQuery),
    Frame(FrameQuery),
}

pub(super) fn run(verb: &Explain, session: &Session<'_>) -> Result<Exit, Failure> {
    let question = Question::of(verb)?;
    let asked = if verb.offline { None } else { of_agent(&question, session)? };
    let report = asked.map_or_else(|| of_file(&question, session), Ok)?;
    session.print(&report)
}

/// `None`: there is nobody to ask, but a file that somebody named.
fn of_agent(question: &Question, session: &Session<'_>) -> Result<Option<ExplainReport>, Failure> {
    let request = match question {
        Question::Packet(query) => Request::Explain(query.clone()),
        Question::Frame(query) => Request::ExplainFrame(query.clone()),
    };
    session.ask_or_do_without(&request, |report| match report {
        Report::Explain(report) => Some(*report),
        _ => None,
    })
}

fn of_file(question: &Question, session: &Session<'_>) -> Result<ExplainReport, Failure> {
    let path = session.config();
    let model = config::load(&path).map_err(|problems| {
        let listed = problems.iter().map(Into::into).collect();
        let what = format!("{}: nothing can be explained by it; mend it first", path.display());
        Failure::invalid_config(what, listed)
    })?;
    let data_path = FromFile::new(&model)?;
    match question {
        Question::Packet(query) => data_path.explain(query),
        Question::Frame(query) => data_path.explain_frame(query),
    }
}

impl Question {
    fn of(verb: &Explain) -> Result<Self, Failure> {
        let interface = verb.iface.clone();
        if let Some(path) = &verb.pcap {
            let frame = Hex(capture_file::frame(path, verb.number)?);
            return Ok(Self::Frame(FrameQuery { frame, interface }));
        }
        Ok(match (&verb.frame, verb.source, verb.destination) {
            (None, Some(source), Some(destination)) => {
                Self::Packet(PacketQuery { protocol: verb.protocol(), source, destination, interface })
            }
            // The command line takes nothing less than one of the three.
            (frame, ..) => {
                Self::Frame(FrameQuery { frame: frame.clone().unwrap_or(Hex(Vec::new())), interface })
            }
        })
    }
}
