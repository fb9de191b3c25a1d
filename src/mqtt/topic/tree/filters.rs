//! Filters and a value for each: who wants a message that is published to a name.
//!
//! Filters without wildcards are found by one lookup of the whole name; the others are in the
//! trie of `wildcards.rs`. Neither knows what the values are. The other direction is in
//! `names.rs`.

use std::hash::BuildHasher;

use foldhash::quality::FixedState;

use super::pieces::Table;
use super::wildcards::Wildcards;
use crate::mqtt::topic::{TopicFilter, TopicName};

/// A map from filters to values that finds all whose filter matches a name.
///
/// It keeps copies of the filters' characters, never the buffers that they came in.
pub struct FilterTree<T> {
    exact: Table<(Box<str>, T)>,
    hashers: FixedState,
    wildcards: Wildcards<T>,
    generation: u64,
}

impl<T> FilterTree<T> {
    /// An empty tree. Peers choose the keys, so `seed` must be one that they cannot know.
    pub fn new(seed: u64) -> FilterTree<T> {
        FilterTree::hashed_by(FixedState::with_seed(seed))
    }

    /// An empty tree with the seed of this one.
    pub fn sibling<U>(&self) -> FilterTree<U> {
        FilterTree::hashed_by(self.hashers.clone())
    }

    fn hashed_by(hashers: FixedState) -> FilterTree<T> {
        FilterTree {
            exact: Table::new(),
            wildcards: Wildcards::new(hashers.clone()),
            hashers,
            generation: 0,
        }
    }

    /// Whether any filter matches, and how many nodes of the trie were opened for that. None: it
    /// would take more than `nodes_max`, and those have been opened.
    pub fn has_match(&self, name: &TopicName, nodes_max: usize) -> (Option<bool>, usize) {
        if self.exact(name).is_some() {
            return (Some(true), 0);
        }
        let mut has_match = false;
        let nodes = self.for_each_match(name, nodes_max, |_| has_match = true);
        let answer = if has_match { Some(true) } else { nodes.map(|_| false) };
        (answer, nodes.unwrap_or(nodes_max))
    }

    /// The value of this very filter.
    pub fn get(&self, filter: &TopicFilter) -> Option<&T> {
        if filter.has_wildcards() { self.wildcards.get(filter) } else { self.exact(filter) }
    }

    fn exact(&self, name: &str) -> Option<&T> {
        let (_, value) = self.exact.find(self.hashers.hash_one(name), is_of(name))?;
        Some(value)
    }

    /// The value of this very filter, to change it.
    pub fn get_mut(&mut self, filter: &TopicFilter) -> Option<&mut T> {
        if filter.has_wildcards() {
            self.wildcards.get_mut(filter)
        } else {
            let hash = self.hashers.hash_one(filter.as_str());
            let (_, value) = self.exact.find_mut(hash, is_of(filter))?;
            Some(value)
        }
    }

    /// The value of this very filter, made now if the filter is new.
    pub fn get_or_insert_with(&mut self, filter: &TopicFilter, make: impl FnOnce() -> T) -> &mut T {
        let generation = &mut self.generation;
        let make = || {
            *generation += 1;
            make()
        };
        if filter.has_wildcards() {
            return self.wildcards.get_or_insert_with(filter, make);
        }
        let hash_of = |key: &str| self.hashers.hash_one(key);
        let make = || (filter.as_str().into(), make());
        let (hash, hash_of) = (hash_of(filter), |(key, _): &(Box<str>, T)| hash_of(key));
        &mut self.exact.get_or_insert_with(hash, is_of(filter), hash_of, make).1
    }

    /// Takes the filter out, and gives back memory that is no longer needed.
    pub fn remove(&mut self, filter: &TopicFilter) -> Option<T> {
        let value = if filter.has_wildcards() {
            self.wildcards.remove(filter)?
        } else {
            self.remove_exact(filter)?
        };
        self.generation += 1;
        Some(value)
    }

    fn remove_exact(&mut self, filter: &str) -> Option<T> {
        let hash_of = |key: &str| self.hashers.hash_one(key);
        let (hash, hash_of) = (hash_of(filter), |(key, _): &(Box<str>, T)| hash_of(key));
        let (_, value) = self.exact.remove(hash, is_of(filter), hash_of)?;
        Some(value)
    }

    /// How many filters there are.
    pub fn len(&self) -> usize {
        self.exact.len() + self.wildcards.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `visit` with the value of each filter that matches, once each: the one without
    /// wildcards first, then the others. The order is the same whatever the seed is, and in
    /// whichever order the filters came. How many nodes of the trie were opened, which is what
    /// it costs: peers choose the filters, and may make them many. None if that would be more
    /// than `nodes_max`: then matches are missing. A name of L levels opens less than 2^(L+1).
    #[must_use = "matches may be missing"]
    pub fn for_each_match<'a>(
        &'a self,
        name: &TopicName,
        nodes_max: usize,
        mut visit: impl FnMut(&'a T),
    ) -> Option<usize> {
        if let Some(value) = self.exact(name) {
            visit(value);
        }
        if self.wildcards.is_empty() {
            return Some(0);
        }
        self.wildcards.for_each_match(name, nodes_max, visit)
    }

    /// A number that grows whenever a filter comes or goes: what was found for a name holds as
    /// long as it stays the same.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// Whether an entry is that of this filter.
fn is_of<T>(filter: &str) -> impl Fn(&(Box<str>, T)) -> bool {
    move |(key, _)| **key == *filter
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::mqtt::topic::tree::samples;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::try_from(text).expect("a valid filter")
    }

    fn name(text: &str) -> TopicName {
        TopicName::try_from(text).expect("a valid name")
    }

    fn tree_of<'a>(seed: u64, filters: &[&'a str]) -> FilterTree<&'a str> {
        let mut tree = FilterTree::new(seed);
        for text in filters {
            tree.get_or_insert_with(&filter(text), || *text);
        }
        tree
    }

    fn matches<T: Clone>(tree: &FilterTree<T>, name: &TopicName) -> Vec<T> {
        let mut found = Vec::new();
        let nodes = tree.for_each_match(name, usize::MAX, |value| found.push(value.clone()));
        assert!(nodes.is_some());
        found
    }

    #[test]
    fn matches_come_exact_first_then_in_a_fixed_order() {
        let filters = ["+/b", "#", "a/+", "a/b", "a/b/#", "+/#", "a/#", "+/+", "x", "a"];
        let want = ["a/b", "#", "a/#", "a/b/#", "a/+", "+/#", "+/b", "+/+"];
        let reversed: Vec<&str> = filters.iter().rev().copied().collect();
        for seed in 0..20 {
            assert_eq!(matches(&tree_of(seed, &filters), &name("a/b")), want);
            assert_eq!(matches(&tree_of(seed, &reversed), &name("a/b")), want);
        }
    }

    #[test]
    fn leading_wildcards_do_not_match_reserved_names() {
        let tree = tree_of(1, &["#", "+/x", "$SYS/#", "$SYS/+", "$SYS/x", "+/#"]);
        assert_eq!(matches(&tree, &name("$SYS/x")), ["$SYS/x", "$SYS/#", "$SYS/+"]); // [MQTT-4.7.2-1]
        assert_eq!(matches(&tree, &name("a/$x")), ["#", "+/#"]);
    }

    #[test]
    fn whether_anything_matches_is_found_within_so_many_nodes_or_not_known() {
        let tree = tree_of(1, &["x/y", "a/+/c", "+/b/d"]);
        assert_eq!(tree.has_match(&name("x/y"), 0), (Some(true), 0));
        assert_eq!(tree.has_match(&name("a/b/e"), 0), (None, 0));
        let (answer, nodes) = tree.has_match(&name("a/b/e"), usize::MAX);
        assert_eq!(answer, Some(false));
        assert!((3..16).contains(&nodes), "{nodes}");
        assert_eq!(tree.has_match(&name("a/b/e"), nodes), (Some(false), nodes));
        assert_eq!(tree.has_match(&name("a/b/e"), nodes - 1), (None, nodes - 1));
        assert_eq!(tree.has_match(&name("a/b/c"), usize::MAX).0, Some(true));
    }

    #[test]
    fn generation_grows_when_filters_come_or_go_only() {
        let mut tree = FilterTree::new(7);
        for text in ["a", "a/+"] {
            let before = tree.generation();
            tree.get_or_insert_with(&filter(text), || 1);
            let with = tree.generation();
            assert!(with > before, "{text}");
            *tree.get_or_insert_with(&filter(text), || 2) += 1;
            *tree.get_mut(&filter(text)).expect("is in") += 1;
            assert_eq!((tree.get(&filter(text)), tree.generation()), (Some(&3), with));
            assert_eq!(tree.remove(&filter(text)), Some(3));
            assert!(tree.generation() > with, "{text}");
            let without = tree.generation();
            assert_eq!((tree.remove(&filter(text)), tree.generation()), (None, without));
        }
    }

    #[test]
    fn removed_exact_filters_give_their_memory_back() {
        let mut tree = FilterTree::new(7);
        let filters: Vec<_> = (0..10_000).map(|n| filter(&format!("d/{n}"))).collect();
        for each in &filters {
            tree.get_or_insert_with(each, || ());
        }
        for each in &filters {
            assert_eq!(tree.remove(each), Some(()));
        }
        assert!(tree.exact.capacity() <= 128, "{}", tree.exact.capacity());
    }

    #[test]
    fn names_of_very_many_levels_are_walked() {
        let deep = "/".repeat(usize::from(u16::MAX));
        let mut tree = FilterTree::new(7);
        let pluses = vec!["+"; 30_000].join("/");
        for text in ["#", &format!("{}#", &deep[1..]), &pluses] {
            tree.get_or_insert_with(&filter(text), || text.len());
        }
        assert_eq!(matches(&tree, &name(&deep)), [1, usize::from(u16::MAX)]);
        assert_eq!(tree.remove(&filter(&pluses)), Some(pluses.len()));
    }

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn tree_agrees_with_the_definition_of_matching(
            steps in prop::collection::vec((any::<bool>(), samples::filter()), 1..60),
            names in prop::collection::vec(samples::name(), 1..20),
            seed in any::<u64>(),
        ) {
            let mut tree = FilterTree::new(seed);
            let mut model = BTreeMap::new();
            for (add, filter) in steps {
                if add {
                    tree.get_or_insert_with(&filter, || filter.clone());
                    model.insert(filter.to_string(), filter);
                } else {
                    prop_assert_eq!(tree.remove(&filter), model.remove(filter.as_str()));
                }
                prop_assert_eq!(tree.len(), model.len());
                for name in &names {
                    let mut found = matches(&tree, name);
                    found.sort();
                    let want: Vec<_> = model.values().filter(|f| f.matches(name)).cloned().collect();
                    prop_assert_eq!(found, want, "{}", name);
                }
            }
        }
    }
}
