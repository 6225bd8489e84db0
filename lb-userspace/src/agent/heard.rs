//! What has been heard of a server's address: why it is in its state, the last changes of it, and what its own agent says.
//! Pure. It is for people, and begins anew with the agent.

use std::collections::VecDeque;

use lb_common::entry::HealthMemo;

use super::standing::Advised;
use crate::api::{self, time_of};
use crate::health::{self, Said};

/// Changes of a server's health that are remembered.
pub const REMEMBERED: usize = 16;

/// What has been heard of an address.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// Why it is in its state; `None` before anything is known.
    pub reason: Option<String>,
    /// The oldest first.
    history: VecDeque<api::Transition>,
    /// What its own agent says, if it is asked and has been heard.
    pub said: Option<Said>,
}

impl Heard {
    /// Takes in what the checks tell; `changed` if it is another state than was known.
    pub fn hear<K>(&mut self, event: health::Event<K>, changed: bool) {
        if changed {
            if self.history.len() == REMEMBERED {
                self.history.pop_front();
            }
            self.history.push_back(api::Transition {
                at: time_of(event.at),
                from: health_word(event.before),
                to: health_word(event.health),
                reason: event.reason.clone(),
            });
        }
        self.reason = Some(event.reason);
        self.said = event.said;
    }

    /// The last changes, the oldest first.
    #[must_use]
    pub fn history(&self) -> Vec<api::Transition> {
        self.history.iter().cloned().collect()
    }

    /// What its own agent says, for a report.
    #[must_use]
    pub fn agent(&self) -> Option<api::AgentStatus> {
        let Said { advice, trouble } = self.said.as_ref()?;
        Some(api::AgentStatus {
            percent: advice.share.percent(),
            order: advice.order.into(),
            fault: advice.fault.clone(),
            max_connections: advice.max_connections,
            trouble: trouble.clone(),
        })
    }

    /// What of it decides on traffic.
    #[must_use]
    pub fn advised(&self) -> Advised {
        let Some(Said { advice, .. }) = &self.said else { return Advised::default() };
        Advised {
            heard: true,
            share: advice.share,
            order: advice.order,
            down: advice.fault.is_some(),
            most: advice.max_connections.unwrap_or(0),
        }
    }
}

/// A verdict as the pins remember it.
#[must_use]
pub fn memo(health: health::Health) -> HealthMemo {
    match health {
        health::Health::Up => HealthMemo::Up,
        health::Health::Down => HealthMemo::Down,
        health::Health::Unknown | health::Health::Off => HealthMemo::Unknown,
    }
}

fn health_word(health: health::Health) -> api::Health {
    match health {
        health::Health::Up => api::Health::Up,
        health::Health::Down => api::Health::Down,
        health::Health::Unknown => api::Health::Unknown,
        health::Health::Off => api::Health::Off,
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn the_last_changes_are_remembered_and_no_more() {
        let mut heard = Heard::default();
        for number in 0..40 {
            let (before, health) = match number % 2 {
                0 => (health::Health::Up, health::Health::Down),
                _ => (health::Health::Down, health::Health::Up),
            };
            let reason = format!("reason {number}");
            let at = SystemTime::now();
            let event = health::Event { key: (), before, health, first: false, reason, said: None, at };
            heard.hear(event.clone(), true);
            heard.hear(event, false);
        }
        let history = heard.history();
        let reasons: Vec<_> = history.iter().map(|change| change.reason.as_str()).collect();
        assert_eq!((history.len(), reasons[0], reasons[15]), (REMEMBERED, "reason 24", "reason 39"));
        assert_eq!((&history[15].from, &history[15].to), (&api::Health::Down, &api::Health::Up));
    }
}
