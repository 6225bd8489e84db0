//! Typed access to a TOML table: a wrong type is reported with what was found and what is wanted,
//! a key that nobody knows with the key that was probably meant.

use toml::de::{DeTable, DeValue};

use super::source::{Reported, Spot};
use super::suggest::nearest;
use super::vocabulary::Vocabulary;

/// A table of a configuration file, all of whose keys have been checked to be known.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    pub(super) spot: Spot<'a>,
    entries: &'a DeTable<'a>,
    vocabulary: &'static Vocabulary,
}

/// A table, if it is given, on top of the `[defaults]` table for its kind, if that is given: merged key
/// by key.
#[derive(Clone, Copy)]
pub(super) struct Layered<'a> {
    /// Where to point for what is missing.
    pub(super) spot: Spot<'a>,
    own: Option<Table<'a>>,
    defaults: Option<Table<'a>>,
}

/// A value with its key, or an item of a list with the key of the list.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) spot: Spot<'a>,
    pub(super) key: &'a str,
    value: &'a DeValue<'a>,
}

impl<'a> Table<'a> {
    /// Opens a table and reports its unknown keys and those of a later version.
    pub(super) fn open(spot: Spot<'a>, entries: &'a DeTable<'a>, vocabulary: &'static Vocabulary) -> Self {
        for key in entries.keys() {
            let name: &str = key.get_ref();
            if !vocabulary.keys.contains(&name) {
                let (what, remedy) = vocabulary.refuse(name);
                spot.source.spot(key.span().start).problem(what, remedy);
            }
        }
        Self { spot, entries, vocabulary }
    }

    /// The value of this key, if it is given.
    pub(super) fn get(&self, key: &'static str) -> Option<Entry<'a>> {
        debug_assert!(
            self.vocabulary.keys.contains(&key),
            "{key} is missing in the vocabulary of {}",
            self.vocabulary.table
        );
        let value = self.entries.get(key)?;
        Some(Entry { spot: self.spot.source.spot(value.span().start), key, value: value.get_ref() })
    }
}

impl<'a> Layered<'a> {
    /// `spot` is where to point if there is no table of its own.
    pub(super) fn new(spot: Spot<'a>, own: Option<Table<'a>>, defaults: Option<Table<'a>>) -> Self {
        Self { spot: own.map_or(spot, |own| own.spot), own, defaults }
    }

    /// Where the value of this key stands in the table itself, else the table.
    pub(super) fn spot_of(&self, key: &'static str) -> Spot<'a> {
        self.get_own(key).map_or(self.spot, |entry| entry.spot)
    }

    /// The value of this key: its own, else the one in `[defaults]`.
    pub(super) fn get(&self, key: &'static str) -> Option<Entry<'a>> {
        let inherited = || self.defaults.filter(|defaults| defaults.vocabulary.keys.contains(&key))?.get(key);
        self.get_own(key).or_else(inherited)
    }

    /// The value of this key if it is given in the table itself.
    pub(super) fn get_own(&self, key: &'static str) -> Option<Entry<'a>> {
        self.own.and_then(|own| own.get(key))
    }

    /// Reads the value of this key if it is given.
    pub(super) fn read<T>(
        &self,
        key: &'static str,
        reader: impl FnOnce(&Entry<'a>) -> Result<T, Reported>,
    ) -> Result<Option<T>, Reported> {
        self.get(key).map(|entry| reader(&entry)).transpose()
    }

    /// Reads the value of this key, or takes the default.
    pub(super) fn read_or<T>(
        &self,
        key: &'static str,
        default: T,
        reader: impl FnOnce(&Entry<'a>) -> Result<T, Reported>,
    ) -> Result<T, Reported> {
        Ok(self.read(key, reader)?.unwrap_or(default))
    }

    /// Reads the value of a key that must be given.
    pub(super) fn require<T>(
        &self,
        key: &'static str,
        example: &str,
        reader: impl FnOnce(&Entry<'a>) -> Result<T, Reported>,
    ) -> Result<T, Reported> {
        match self.get(key) {
            Some(entry) => reader(&entry),
            None => {
                let table = self.own.map_or("this table", |own| own.vocabulary.table);
                Err(self.spot.missing(format!("{table} has no {key}"), format!("add {example}")))
            }
        }
    }
}

impl<'a> Entry<'a> {
    /// Reports this value.
    pub(super) fn problem(&self, what: impl Into<String>, remedy: impl Into<String>) -> Reported {
        self.spot.problem(what, remedy)
    }

    /// The text, or a report that says what to write instead.
    pub(super) fn text(&self, example: &str) -> Result<&'a str, Reported> {
        self.value.as_str().ok_or_else(|| self.wrong_type("a text", example))
    }

    /// The text if it is one.
    pub(super) fn as_text(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    /// The integer if it is one; one that fits no i64 is the nearest that does.
    pub(super) fn as_integer(&self) -> Option<i64> {
        let integer = self.value.as_integer()?;
        let nearest = if integer.as_str().starts_with('-') { i64::MIN } else { i64::MAX };
        Some(i64::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(nearest))
    }

    /// Whether it is a list.
    pub(super) fn is_list(&self) -> bool {
        self.value.is_array()
    }

    /// An integer from `low` to `high`, both allowed.
    pub(super) fn integer(&self, low: u32, high: u32, example: &str) -> Result<u32, Reported> {
        let value = self.as_integer().ok_or_else(|| self.wrong_type("an integer", example))?;
        u32::try_from(value).ok().filter(|value| (low..=high).contains(value)).ok_or_else(|| {
            let what = format!("{} = {} is out of range", self.key, self.found());
            self.problem(what, format!("write a number from {low} to {high}"))
        })
    }

    pub(super) fn boolean(&self) -> Result<bool, Reported> {
        self.value.as_bool().ok_or_else(|| self.wrong_type("true or false", &format!("{} = false", self.key)))
    }

    /// The items of a list.
    pub(super) fn items(&self, example: &str) -> Result<Vec<Self>, Reported> {
        let items = self.value.as_array().ok_or_else(|| self.wrong_type("a list", example))?;
        let place = |item: &'a toml::Spanned<DeValue<'a>>| Entry {
            spot: self.spot.source.spot(item.span().start),
            value: item.get_ref(),
            ..*self
        };
        Ok(items.iter().map(place).collect())
    }

    /// The keys and values of a table in which any key may stand.
    pub(super) fn pairs(&self, example: &str) -> Result<Vec<(&'a str, Self)>, Reported> {
        let DeValue::Table(entries) = self.value else { return Err(self.wrong_type("a table", example)) };
        let place = |(key, value): (&'a toml::Spanned<_>, &'a toml::Spanned<DeValue<'a>>)| {
            let key: &std::borrow::Cow<'a, str> = key.get_ref();
            let spot = self.spot.source.spot(value.span().start);
            (key.as_ref(), Entry { spot, key: self.key, value: value.get_ref() })
        };
        Ok(entries.iter().map(place).collect())
    }

    pub(super) fn table(&self, vocabulary: &'static Vocabulary) -> Result<Table<'a>, Reported> {
        match self.value {
            DeValue::Table(entries) => Ok(Table::open(self.spot, entries, vocabulary)),
            _ => Err(self.wrong_type("a table", vocabulary.table)),
        }
    }

    /// The tables of a list of tables. A single table in the place of a list is reported, and read.
    pub(super) fn tables(&self, vocabulary: &'static Vocabulary) -> Result<Vec<Table<'a>>, Reported> {
        match self.value {
            DeValue::Array(_) => {
                Ok(self.items("")?.iter().filter_map(|item| item.table(vocabulary).ok()).collect())
            }
            DeValue::Table(entries) => {
                self.problem(
                    format!("{} is written as one table, but there can be several", self.key),
                    format!("write {}", vocabulary.table),
                );
                Ok(vec![Table::open(self.spot, entries, vocabulary)])
            }
            _ => Err(self.wrong_type("a list of tables", vocabulary.table)),
        }
    }

    /// Reports a value of the wrong type.
    pub(super) fn wrong_type(&self, wanted: &str, example: &str) -> Reported {
        let kind = match self.value {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a fraction",
            DeValue::Boolean(_) => "a truth value",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let what = match self.value {
            DeValue::Array(_) | DeValue::Table(_) => format!("{} is {kind}, {wanted} is wanted", self.key),
            _ => format!("{} is {kind} ({}), {wanted} is wanted", self.key, self.found()),
        };
        self.problem(what, format!("write {example}"))
    }

    /// The value as it may be repeated in a message.
    pub(super) fn found(&self) -> String {
        match self.value {
            DeValue::String(text) => quoted(text),
            DeValue::Integer(integer) => shortened(&integer.to_string()),
            DeValue::Float(float) => shortened(&float.to_string()),
            DeValue::Boolean(flag) => flag.to_string(),
            DeValue::Datetime(time) => time.to_string(),
            DeValue::Array(_) => "[…]".to_owned(),
            DeValue::Table(_) => "{…}".to_owned(),
        }
    }
}

impl Vocabulary {
    /// Why a key of this name is refused, and what to do about it.
    fn refuse(&self, key: &str) -> (String, String) {
        if let Some((_, remedy)) = self.later.iter().find(|(later, _)| *later == key) {
            return (format!("{key} is not offered yet"), (*remedy).to_owned());
        }
        let what = format!("unknown key {} in {}", quoted(key), self.table);
        let translated = self.foreign.iter().find(|(foreign, _)| foreign.eq_ignore_ascii_case(key));
        let elsewhere = || Self::all().find(|other| other.keys.contains(&key));
        let near_elsewhere =
            || Self::all().find_map(|other| Some((nearest(key, other.keys.iter().copied())?, other.table)));
        let remedy = if let Some((_, remedy)) = translated {
            (*remedy).to_owned()
        } else if let Some(near) = nearest(key, self.keys.iter().copied()) {
            format!("did you mean {near}?")
        } else if let Some(other) = elsewhere() {
            format!("it belongs to {}", other.table)
        } else if let Some((near, table)) = near_elsewhere() {
            format!("did you mean {near} of {table}?")
        } else {
            format!("remove it, the keys here are {}", self.keys.join(", "))
        };
        (what, remedy)
    }
}

/// A text in quotes, on one line, and not longer than a reader needs to recognise it.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", shortened(text))
}

/// A text, cut where a reader has recognised it.
pub(super) fn shortened(text: &str) -> String {
    const ENOUGH: usize = 60;
    match text.char_indices().nth(ENOUGH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
