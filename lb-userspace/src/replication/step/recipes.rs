//! What tables are made of, in names that all directors know, and a number that says whether two are alike.

use std::collections::BTreeMap;
use std::sync::Arc;

use lb_common::identity::mix;
use lb_common::maglev;
use serde::{Deserialize, Serialize};

/// Servers in all tables together: they have to fit into a message.
const MOST_SHARES: usize = 32_768;

/// A lane of a service, by the hash of its names; the same on every director.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct LaneKey(pub u64);

/// What a lane's table is made of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Recipe {
    /// Places.
    pub size: u32,
    /// Name hash and weight of each server that has a share, by name hash.
    pub shares: Vec<(u64, u32)>,
}

impl Recipe {
    /// Of a size that tables have, and written in the one way that there is for it.
    fn is_sound(&self) -> bool {
        let ascends = self.shares.is_sorted_by(|(a, _), (b, _)| a < b);
        maglev::is_size(self.size) && ascends && self.shares.iter().all(|(_, weight)| *weight > 0)
    }
}

/// What the miss tables of all lanes are made of.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Recipes(pub BTreeMap<LaneKey, Recipe>);

/// Equal for equal recipes, and for no others that one is likely to meet. 0: a director does not know what its tables are made of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Digest(pub u64);

impl Recipes {
    pub fn digest(&self) -> Digest {
        // Of the way in which tables are made, too: another one is another number.
        const METHOD: u64 = 1;
        let add = |sum: u64, value: u64| mix(sum ^ mix(value));
        let sum = self.0.iter().fold(METHOD, |sum, (LaneKey(lane), recipe)| {
            let sum = add(add(sum, *lane), u64::from(recipe.size));
            let sum = add(sum, recipe.shares.len() as u64);
            recipe.shares.iter().fold(sum, |sum, (name, weight)| add(add(sum, *name), u64::from(*weight)))
        });
        Digest(sum.max(1))
    }

    /// Whether they may be told, and tables can be made of them at all.
    pub fn fit(&self) -> bool {
        self.0.values().all(Recipe::is_sound)
            && self.0.values().map(|recipe| recipe.shares.len() + 1).sum::<usize>() <= MOST_SHARES
    }
}

/// Recipes with their digest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tables {
    pub recipes: Arc<Recipes>,
    pub digest: Digest,
}

impl Tables {
    pub fn of(recipes: Recipes) -> Self {
        Self { digest: recipes.digest(), recipes: Arc::new(recipes) }
    }
}
