//! Miss tables in step with those of the other directors: what they are made of here, in names that all know; going over to
//! what is agreed; and which connections need not be told because every table that a peer may be using gives their server.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_common::entry::ServerState;
use lb_common::identity::{FlowId, name_hash};
use lb_common::maglev::{self, Share};
use lb_common::pick::{Extent, IDS_PER_WORD, id_in_word};
use lb_common::slot::ServerId;
use lb_common::word::Word;

use super::exports::Exports;
use super::naming;
use crate::agent::desired::DesiredService;
use crate::agent::install::Installation;
use crate::agent::ledger::Ledger;
use crate::agent::miss::Made;
use crate::config::{Mode, Model, Replicate};
use crate::dataplane::Maps;
use crate::replication::replicator::Replicator;
use crate::replication::step::{Digest, LaneKey, Recipe, Recipes, Tables, Task};

/// This director's tables, as others know them.
#[derive(Debug, Default)]
pub struct Stepping {
    lanes: BTreeMap<LaneKey, Lane>,
    /// The longest that a connection may be silent.
    idle: Duration,
    /// [`Installation::remade`] when it was last looked at; `None`: names have changed since.
    seen: Option<u64>,
    /// Tables that are in no map, of lanes and recipes for which a peer may be using them.
    tables: Vec<(LaneKey, Recipe, Arc<[u16]>)>,
    /// What the others would lose by the next tables has been looked for, since then.
    told_since: Option<Instant>,
    /// Of what was spared last: whether all were in step, by which tables, made when.
    weighed: Option<(bool, Vec<Digest>, u64)>,
    /// The last reason why tables could not be gone over to.
    trouble: Option<String>,
}

/// A lane whose miss table is kept in step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Lane {
    number: u16,
    /// The ids of its servers, those that are leaving included, by name.
    servers: BTreeMap<u64, u16>,
}

/// What need not be told.
#[derive(Debug, Default)]
pub struct Spared {
    /// Of lanes by number: the tables that a peer may be using, besides the miss table of the maps.
    lanes: HashMap<u16, Vec<Arc<[u16]>>>,
    /// What the lanes' tables are made of, the present ones first.
    basis: BTreeMap<LaneKey, Vec<Recipe>>,
}

impl Spared {
    /// Whether it says the same.
    pub fn is_like(&self, other: &Self) -> bool {
        self.basis == other.basis
    }

    /// Whether each of the tables gives this flow this server.
    pub fn has(&self, maps: &Maps, flow: FlowId, id: ServerId) -> bool {
        let lane =
            maps.servers.get(id.index()).map(|server| ServerState::from_word(server.state.load()).service);
        let Some((number, others)) = lane.and_then(|number| self.lanes.get_key_value(&number)) else {
            return false;
        };
        in_map(maps, *number, flow) == Some(id) && others.iter().all(|table| given(table, flow) == Some(id))
    }
}

impl Stepping {
    /// Services and servers as they are now.
    pub fn rename(&mut self, model: &Model, wanted: &[DesiredService], ledger: &Ledger) {
        let directory = ledger.directory();
        let in_step = |lane: &&DesiredService| {
            let service = model.services.iter().find(|service| service.name.as_str() == &*lane.name);
            let is_diverged = service.is_some_and(|it| it.replication.which == Replicate::Diverged);
            is_diverged && lane.identity.mode != Mode::FullNat
        };
        let mut lanes: BTreeMap<LaneKey, Lane> = BTreeMap::new();
        for lane in wanted.iter().filter(in_step) {
            let Some(number) = directory.lane(lane) else { continue };
            let ids = lane.servers.iter();
            let ids = ids.filter_map(|server| Some((server.name_hash, directory.pair(lane, server)?.get())));
            lanes.insert(key(lane), Lane { number, servers: ids.collect() });
        }
        for (id, pair) in ledger.pairs().filter(|(_, pair)| pair.leaving) {
            if let Some(lane) = lanes.values_mut().find(|lane| lane.number == pair.identity.service) {
                lane.servers.entry(pair.identity.name_hash).or_insert(id.get());
            }
        }
        let timeouts = &model.datapath.timeouts;
        let idle = timeouts.established.max(timeouts.udp);
        if (&self.lanes, self.idle) != (&lanes, idle) {
            (self.lanes, self.idle) = (lanes, idle);
            (self.seen, self.weighed) = (None, None);
        }
    }

    /// Does what the protocol asks for, and says what need not be told.
    pub fn step(
        &mut self,
        installation: &mut Installation,
        replicator: &mut Replicator,
        exports: &mut Exports,
        now: Instant,
    ) {
        self.hold(installation, replicator, now);
        if self.seen != Some(installation.remade) {
            let desired = self.recipes(|number| installation.made_of_select(number));
            replicator.step_mut().desire(Recipes(desired), self.idle);
        }
        match replicator.step().task() {
            Some(Task::Try(tables)) => {
                let can = self.made(&tables).is_some();
                replicator.step_mut().answer(can);
            }
            Some(Task::GoOver(tables)) => self.go_over(&tables, installation, replicator, now),
            Some(Task::Tell) | None => {}
        }
        if self.seen != Some(installation.remade) {
            self.say_what_is(installation, replicator);
        }
        self.seen = Some(installation.remade);
        let possible = replicator.step().possible().map(|tables| tables.digest).collect();
        let weighed = Some((replicator.all_in_step(), possible, installation.remade));
        if self.weighed != weighed {
            self.weighed = weighed;
            if exports.spare(self.spared(installation, replicator)) {
                self.told_since = None;
            }
        }
        self.tell(replicator, exports, now);
    }

    /// What these lanes' tables are made of, in names.
    fn recipes(&self, made: impl Fn(u16) -> Option<Made>) -> BTreeMap<LaneKey, Recipe> {
        let of = |(key, lane): (&LaneKey, &Lane)| Some((*key, recipe(&made(lane.number)?)));
        self.lanes.iter().filter_map(of).collect()
    }

    /// What these tables are made of here, by lane number; `None` if one of their names is not known.
    fn made(&self, tables: &Tables) -> Option<Vec<(u16, Made)>> {
        let lane = |(key, recipe): (&LaneKey, &Recipe)| {
            let lane = self.lanes.get(key)?;
            Some((lane.number, lane.made(recipe)?))
        };
        tables.recipes.0.iter().map(lane).collect()
    }

    fn go_over(
        &mut self,
        tables: &Tables,
        installation: &mut Installation,
        replicator: &mut Replicator,
        now: Instant,
    ) {
        // Peers may be using the present ones a little longer.
        for (key, lane) in &self.lanes {
            let Some(made) = installation.made_of_miss(lane.number) else { continue };
            let recipe = recipe(made);
            let changes = tables.recipes.0.get(key).is_some_and(|next| *next != recipe);
            if changes && let Some(table) = copy(&installation.maps, lane.number) {
                self.tables.push((*key, recipe, table));
            }
        }
        let outcome = match self.made(tables) {
            Some(made) => installation.go_over(made, now).map_err(|error| format!("{error:#}")),
            None => Err("a service or server of theirs has just left the file".to_owned()),
        };
        match outcome {
            Ok(()) => {
                replicator.step_mut().gone_over();
                self.trouble = None;
            }
            Err(why) if self.trouble.as_ref() != Some(&why) => {
                tracing::error!(
                    "going over to the tables that directors have agreed on, trying again: {why}"
                );
                self.trouble = Some(why);
            }
            Err(_) => {}
        }
    }

    /// Tells the protocol what the miss tables are made of, where it thinks otherwise: a lane without servers follows at once, and
    /// an agent that begins finds what there is.
    fn say_what_is(&self, installation: &mut Installation, replicator: &mut Replicator) {
        let recipe_of = |lane: &Lane| installation.made_of_miss(lane.number).map(recipe);
        let is_so = |tables: &Tables| {
            let mut known = tables.recipes.0.iter().filter_map(|(key, it)| Some((self.lanes.get(key)?, it)));
            known.all(|(lane, recipe)| recipe_of(lane).as_ref() == Some(recipe))
        };
        if !replicator.step().current().is_some_and(is_so) {
            let all: Option<BTreeMap<LaneKey, Recipe>> =
                self.lanes.iter().map(|(key, lane)| Some((*key, recipe_of(lane)?))).collect();
            replicator.step_mut().found(all.map(|recipes| Tables::of(Recipes(recipes))));
        }
    }

    /// What is in step changes by agreement alone; what nobody has connections by, at any time.
    fn hold(&self, installation: &mut Installation, replicator: &Replicator, now: Instant) {
        let current = replicator.step().current().filter(|_| replicator.step().is_in_use());
        let is_in_step = |key: &LaneKey| current.is_some_and(|tables| tables.recipes.0.contains_key(key));
        let in_step = self.lanes.iter().filter(|(key, _)| is_in_step(key));
        installation.in_step = in_step.map(|(_, lane)| lane.number).collect();
        if !replicator.step().is_in_use() {
            installation.follow_at_once(self.lanes.values().map(|lane| lane.number), now);
        }
    }

    /// Of each lane in step: the tables that a peer may be using. A lane of which one is not known is told.
    fn spared(&mut self, installation: &Installation, replicator: &Replicator) -> Spared {
        let mut spared = Spared::default();
        let possible: Vec<&Tables> = replicator.step().possible().collect();
        if replicator.all_in_step() {
            for (key, lane) in &self.lanes {
                let recipes = possible.iter().map(|tables| tables.recipes.0.get(key).cloned());
                let Some(mut recipes) = recipes.collect::<Option<Vec<Recipe>>>() else { continue };
                recipes[1..].sort_unstable_by(|a, b| a.shares.cmp(&b.shares).then(a.size.cmp(&b.size)));
                recipes.dedup();
                let (present, others) = recipes.split_first().expect("possible tables have a first");
                if installation.made_of_miss(lane.number).map(recipe).as_ref() != Some(present) {
                    continue;
                }
                let others = others.iter().filter(|other| *other != present);
                let tables: Option<Vec<Arc<[u16]>>> =
                    others.map(|other| table(&mut self.tables, *key, lane, other)).collect();
                if let Some(tables) = tables {
                    spared.lanes.insert(lane.number, tables);
                    spared.basis.insert(*key, recipes);
                }
            }
        }
        self.tables.retain(|(key, recipe, _)| {
            possible.iter().any(|tables| tables.recipes.0.get(key).is_some_and(|it| it == recipe))
        });
        spared
    }

    /// The next tables count from the round over the table on that has just been begun: once that is over and acknowledged, all
    /// that they would lose is told.
    fn tell(&mut self, replicator: &mut Replicator, exports: &Exports, now: Instant) {
        if !matches!(replicator.step().task(), Some(Task::Tell)) {
            self.told_since = None;
            return;
        }
        // An agent that recovers tells everything later.
        if !exports.has_looked() && !replicator.is_recovering() {
            return;
        }
        let since = *self.told_since.get_or_insert(now);
        if replicator.has_told_all_of(since) {
            replicator.step_mut().told();
            self.told_since = None;
        }
    }
}

impl Lane {
    fn made(&self, recipe: &Recipe) -> Option<Made> {
        let share = |(name_hash, weight): &(u64, u32)| {
            Some(Share { name_hash: *name_hash, weight: *weight, id: *self.servers.get(name_hash)? })
        };
        let shares: Option<Vec<Share>> = recipe.shares.iter().map(share).collect();
        Some(Made::of(recipe.size, &shares?))
    }
}

fn key(lane: &DesiredService) -> LaneKey {
    LaneKey(name_hash(lane.identity.name_hash, naming::lane_name(&lane.identity).as_bytes()))
}

fn recipe(made: &Made) -> Recipe {
    Recipe {
        size: made.size,
        shares: made.shares.iter().map(|share| (share.name_hash, share.weight)).collect(),
    }
}

/// The table of this recipe, made once.
fn table(
    tables: &mut Vec<(LaneKey, Recipe, Arc<[u16]>)>,
    key: LaneKey,
    lane: &Lane,
    recipe: &Recipe,
) -> Option<Arc<[u16]>> {
    if let Some((_, _, table)) = tables.iter().find(|(its, of, _)| *its == key && of == recipe) {
        return Some(table.clone());
    }
    let made = lane.made(recipe)?;
    let table: Arc<[u16]> = maglev::table(&made.shares, made.size).into();
    tables.push((key, recipe.clone(), table.clone()));
    Some(table)
}

/// The miss table as it stands in the maps.
fn copy(maps: &Maps, number: u16) -> Option<Arc<[u16]>> {
    let extent = Extent::from_word(maps.services.get(u32::from(number))?.miss.load())?;
    let id = |place: u32| {
        let word = maps.tables.get(extent.offset() + place / IDS_PER_WORD).map_or(0, Word::load);
        id_in_word(word, place % IDS_PER_WORD).map_or(0, ServerId::get)
    };
    Some((0..extent.size()).map(id).collect())
}

/// The server that the miss table of this lane gives this flow.
pub fn in_map(maps: &Maps, number: u16, flow: FlowId) -> Option<ServerId> {
    let extent = Extent::from_word(maps.services.get(u32::from(number))?.miss.load())?;
    let (word, position) = extent.place(flow, 0);
    id_in_word(maps.tables.get(word)?.load(), position)
}

fn given(table: &[u16], flow: FlowId) -> Option<ServerId> {
    let (word, position) = Extent::new(0, table.len() as u32, 0)?.place(flow, 0);
    ServerId::new(table[(word * IDS_PER_WORD + position) as usize])
}
