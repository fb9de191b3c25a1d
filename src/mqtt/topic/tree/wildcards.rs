//! A trie of the filters that hold wildcards, one node a level.
//!
//! Peers choose its keys and its depth: nothing here recurses, and lookups are keyed by a seed.
//! Exact filters never come here; `filters.rs` joins both.

use std::hash::BuildHasher;
use std::num::NonZeroUsize;

use foldhash::quality::FixedState;
use smallvec::SmallVec;

use super::pieces::{Places, Table};
use crate::mqtt::topic::{TopicFilter, TopicName};
use crate::plant::{self, Plant};

/// Wildcard filters and a value for each.
///
/// All nodes share one table of the literal levels below them, keyed by parent and level: most
/// nodes have one child, for which a table of its own would cost more than the node.
pub(super) struct Wildcards<T> {
    nodes: Places<Node<T>>,
    /// The children that are found by their level's text.
    literals: Table<usize>,
    hashers: FixedState,
    /// How many nodes have a value.
    filters: usize,
}

/// What is below it: the empty filter, so to say. The first node, and never removed.
const ROOT: usize = 0;

/// A filter's beginning, up to and including one level.
struct Node<T> {
    parent: usize,
    /// Its text; empty for `+`, `#` and the root, which are not found by text.
    level: Box<str>,
    /// How many children are in [`Wildcards::literals`].
    literals: usize,
    /// The child `+`.
    any: Option<NonZeroUsize>,
    /// The child `#`.
    rest: Option<NonZeroUsize>,
    /// Where a filter ends here.
    value: Option<T>,
}

impl<T> Node<T> {
    fn new(parent: usize, level: &str) -> Node<T> {
        Node { parent, level: level.into(), literals: 0, any: None, rest: None, value: None }
    }

    fn is_needed(&self) -> bool {
        self.value.is_some() || self.literals > 0 || self.any.is_some() || self.rest.is_some()
    }
}

impl<T> Wildcards<T> {
    pub(super) fn new(hashers: FixedState) -> Wildcards<T> {
        let mut nodes = Places::new();
        add_root(&mut nodes);
        Wildcards { nodes, literals: Table::new(), hashers, filters: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.filters
    }

    pub(super) fn is_empty(&self) -> bool {
        self.filters == 0
    }

    pub(super) fn get(&self, filter: &TopicFilter) -> Option<&T> {
        self.nodes[self.find(filter)?].value.as_ref()
    }

    pub(super) fn get_mut(&mut self, filter: &TopicFilter) -> Option<&mut T> {
        let node = self.find(filter)?;
        self.nodes[node].value.as_mut()
    }

    pub(super) fn get_or_insert_with(
        &mut self,
        filter: &TopicFilter,
        make: impl FnOnce() -> T,
    ) -> &mut T {
        let node = filter.split('/').fold(ROOT, |node, level| {
            self.child(node, level).unwrap_or_else(|| self.add(node, level))
        });
        let filters = &mut self.filters;
        self.nodes[node].value.get_or_insert_with(|| {
            *filters += 1;
            make()
        })
    }

    pub(super) fn remove(&mut self, filter: &TopicFilter) -> Option<T> {
        let node = self.find(filter)?;
        let value = self.nodes[node].value.take()?;
        self.filters -= 1;
        self.prune(node);
        if self.is_empty() {
            self.nodes.clear(); // their room, too, is given back
            add_root(&mut self.nodes);
        }
        Some(value)
    }

    /// Calls `visit` for each match: `#` before what is deeper, a literal level before `+`. How
    /// many nodes were opened. None if that would be more than `nodes_max`: then matches are
    /// missing.
    pub(super) fn for_each_match<'a>(
        &'a self,
        name: &TopicName,
        nodes_max: usize,
        mut visit: impl FnMut(&'a T),
    ) -> Option<usize> {
        let mut nodes = 0;
        let mut cuts = Cuts::of(name, &self.hashers);
        // Nodes that match so far, each with the levels of the name below it, if there are any.
        let mut open: SmallVec<[(usize, Option<&str>); 16]> = SmallVec::new();
        open.push((ROOT, Some(name.as_str())));
        while let Some((id, levels)) = open.pop() {
            if nodes >= nodes_max {
                return None;
            }
            nodes += 1;
            let node = &self.nodes[id];
            let may_be_wild = id != ROOT || !name.is_reserved(); // [MQTT-4.7.2-1]
            let may_be_wild = may_be_wild || plant::is_on(Plant::DollarMatchesWildcard);
            let may_be_parent = levels.is_some() || !plant::is_on(Plant::HashNotParent);
            if may_be_wild
                && may_be_parent
                && let Some(rest) = node.rest
            {
                self.nodes[rest.get()].value.iter().for_each(&mut visit);
            }
            let Some(levels) = levels else {
                node.value.iter().for_each(&mut visit);
                continue;
            };
            let (level, below) = cuts.first_of(levels);
            let may_be_any =
                may_be_wild && !(level.text.is_empty() && plant::is_on(Plant::PlusNotEmpty));
            if may_be_any && let Some(any) = node.any {
                open.push((any.get(), below));
            }
            if node.literals > 0
                && let Some(literal) = self.literal(id, level)
            {
                open.push((literal, below));
            }
        }
        Some(nodes)
    }

    /// The node where the filter ends, if there is one; it may have no value.
    fn find(&self, filter: &TopicFilter) -> Option<usize> {
        filter.split('/').try_fold(ROOT, |node, level| self.child(node, level))
    }

    fn child(&self, parent: usize, level: &str) -> Option<usize> {
        match level {
            "+" => self.nodes[parent].any.map(NonZeroUsize::get),
            "#" => self.nodes[parent].rest.map(NonZeroUsize::get),
            _ => self.literal(parent, Level::new(level, &self.hashers)),
        }
    }

    #[inline(always)] // routing a message is mostly this
    fn literal(&self, parent: usize, level: Level<'_>) -> Option<usize> {
        let is_it = |child: &usize| {
            let node = &self.nodes[*child];
            node.parent == parent && *node.level == *level.text
        };
        self.literals.find(level.hash_below(parent, &self.hashers), is_it).copied()
    }

    /// Adds a child that is not there yet.
    fn add(&mut self, parent: usize, level: &str) -> usize {
        let text = if matches!(level, "+" | "#") { "" } else { level };
        let child = self.nodes.insert(Node::new(parent, text));
        let node = &mut self.nodes[parent];
        match level {
            "+" => node.any = NonZeroUsize::new(child),
            "#" => node.rest = NonZeroUsize::new(child),
            _ => {
                node.literals += 1;
                let key = Level::new(level, &self.hashers).hash_below(parent, &self.hashers);
                let (nodes, hashers) = (&self.nodes, &self.hashers);
                self.literals.insert(key, child, |&id| hash_of(hashers, nodes, id));
            }
        }
        child
    }

    /// Removes the node and those above it, as far as nothing needs them.
    fn prune(&mut self, mut id: usize) {
        while id != ROOT && !self.nodes[id].is_needed() {
            self.unlink(id);
            id = self.nodes.remove(id).parent;
        }
    }

    /// Takes the node out of its parent.
    fn unlink(&mut self, id: usize) {
        let parent = self.nodes[id].parent;
        let above = &mut self.nodes[parent];
        let link = NonZeroUsize::new(id);
        if above.any == link {
            above.any = None;
        } else if above.rest == link {
            above.rest = None;
        } else {
            above.literals -= 1;
            let (nodes, hashers) = (&self.nodes, &self.hashers);
            let hash_of = |&id: &usize| hash_of(hashers, nodes, id);
            self.literals.remove(hash_of(&id), |&child| child == id, hash_of);
        }
    }
}

fn add_root<T>(nodes: &mut Places<Node<T>>) {
    let root = nodes.insert(Node::new(ROOT, ""));
    assert_eq!(root, ROOT, "the first place is 0");
}

/// The hash that a node is found by.
fn hash_of<T>(hashers: &FixedState, nodes: &Places<Node<T>>, id: usize) -> u64 {
    let node = &nodes[id];
    Level::new(&node.level, hashers).hash_below(node.parent, hashers)
}

/// Bytes from which on a name or a level is long.
const LONG: usize = 256;

/// A level's text. A client may send a very long one, which is looked for below very many nodes: what
/// is hashed for each of them is its digest then.
#[derive(Clone, Copy)]
struct Level<'a> {
    text: &'a str,
    digest: [u8; 8],
}

impl<'a> Level<'a> {
    fn new(text: &'a str, hashers: &FixedState) -> Level<'a> {
        let digest = if text.len() < LONG { 0 } else { hashers.hash_one(text) };
        Level { text, digest: digest.to_le_bytes() }
    }

    /// The hash of the node with this text below another.
    #[inline]
    fn hash_below(&self, parent: usize, hashers: &FixedState) -> u64 {
        let key = if self.text.len() < LONG { self.text.as_bytes() } else { &self.digest };
        hashers.hash_one((parent, key))
    }
}

/// Cuts a name into levels. Those of a long one are looked for once, however many nodes ask.
struct Cuts<'a> {
    is_long: bool,
    /// The levels that were found, each behind how many bytes of the name there are from there on.
    /// The most come first.
    known: Vec<(usize, Level<'a>)>,
    hashers: &'a FixedState,
}

impl<'a> Cuts<'a> {
    fn of(name: &TopicName, hashers: &'a FixedState) -> Cuts<'a> {
        Cuts { is_long: name.len() >= LONG, known: Vec::new(), hashers }
    }

    /// The first of these levels of the name, and those below it, if there are any.
    #[inline]
    fn first_of(&mut self, levels: &'a str) -> (Level<'a>, Option<&'a str>) {
        if self.is_long {
            return self.first_known_of(levels);
        }
        match levels.split_once('/') {
            Some((text, below)) => (Level { text, digest: [0; 8] }, Some(below)),
            None => (Level { text: levels, digest: [0; 8] }, None),
        }
    }

    #[cold]
    fn first_known_of(&mut self, levels: &'a str) -> (Level<'a>, Option<&'a str>) {
        let found = self.known.binary_search_by(|(bytes, _)| levels.len().cmp(bytes));
        let place = found.unwrap_or_else(|place| {
            let text = levels.split_once('/').map_or(levels, |(text, _)| text);
            self.known.insert(place, (levels.len(), Level::new(text, self.hashers)));
            place
        });
        let (_, level) = self.known[place];
        (level, levels.get(level.text.len() + 1..))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mqtt::topic::tree::samples;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::try_from(text).expect("a valid filter")
    }

    #[test]
    fn removal_prunes_up_to_the_node_that_is_still_needed() {
        let mut tree = Wildcards::new(FixedState::with_seed(1));
        for text in ["a/+", "a/+/c/d/#"] {
            tree.get_or_insert_with(&filter(text), || ());
        }
        assert_eq!(tree.nodes.len(), 6);
        assert_eq!(tree.remove(&filter("a/+/c")), None);
        assert_eq!(tree.remove(&filter("a/+/c/d/#")), Some(()));
        assert_eq!((tree.nodes.len(), tree.literals.len()), (3, 1));
        assert_eq!(tree.remove(&filter("a/+")), Some(()));
        assert_eq!(
            (tree.nodes.len(), tree.literals.len(), tree.nodes.capacity() < 8),
            (1, 0, true)
        );
    }

    /// Of all filters of so many levels that are `a` or `+`, each matches: there is no tree in
    /// which a name of as many levels opens more nodes.
    #[test]
    fn a_name_opens_at_most_two_nodes_for_each_of_the_level_above_and_no_more_than_it_may() {
        for levels in 1..=6 {
            let mut tree = Wildcards::new(FixedState::with_seed(1));
            for bits in 0..1_usize << levels {
                let level = |place: usize| if bits >> place & 1 == 0 { "a" } else { "+" };
                let text = (0..levels).map(level).collect::<Vec<_>>().join("/");
                tree.get_or_insert_with(&filter(&text), || ());
            }
            let name = vec!["a"; levels].join("/");
            let name = TopicName::try_from(name.as_str()).expect("a valid name");
            let opened = |nodes_max| tree.for_each_match(&name, nodes_max, |()| ());
            let nodes = (2 << levels) - 1;
            assert_eq!((opened(nodes), opened(nodes - 1)), (Some(nodes), None), "{levels} levels");
        }
    }

    #[test]
    fn looking_a_filter_up_adds_no_node() {
        let mut tree: Wildcards<()> = Wildcards::new(FixedState::with_seed(1));
        tree.get(&filter("a/+"));
        tree.get_mut(&filter("a/#"));
        tree.remove(&filter("+/+"));
        assert_eq!(tree.nodes.len(), 1);
    }

    /// Levels that are short, long, empty, alike, and the last one.
    #[test]
    fn a_long_name_is_matched_as_a_short_one() {
        let long = |letter: &str| letter.repeat(LONG);
        let name = [&long("x"), "", "b", &long("x"), &long("y"), ""].join("/");
        let mut tree = Wildcards::new(FixedState::with_seed(1));
        let (x, y) = (long("x"), long("y"));
        for (filter, is_match) in [
            ("#".to_owned(), true),
            (format!("{x}//b/{x}/{y}/+"), true),
            (format!("+/+/b/{x}/{y}/"), true),
            (format!("+//+/{x}/#"), true),
            (format!("+//+/{y}/#"), false),
            (format!("{x}x//#"), false),
            (format!("{x}//b/{x}/{y}/+/+"), false),
            (format!("{x}//b/{x}/+/#"), true),
            (format!("+//b/{x}/{y}"), false),
        ] {
            *tree.get_or_insert_with(&self::filter(&filter), || is_match) = is_match;
        }
        let name = TopicName::try_from(name.as_str()).expect("a valid name");
        let mut matches = Vec::new();
        tree.for_each_match(&name, usize::MAX, |is_match| matches.push(*is_match));
        assert_eq!(matches, [true; 5]);
    }

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn a_tree_whose_filters_are_all_removed_has_its_root_only(
            filters in prop::collection::btree_set(samples::filter(), 0..60),
        ) {
            let mut tree = Wildcards::new(FixedState::with_seed(1));
            let keep = filter("keep/+");
            tree.get_or_insert_with(&keep, || ());
            for each in &filters {
                tree.get_or_insert_with(each, || ());
            }
            for each in filters.iter().filter(|each| **each != keep) {
                prop_assert_eq!(tree.remove(each), Some(()));
            }
            prop_assert_eq!((tree.nodes.len(), tree.literals.len(), tree.len()), (3, 1, 1));
        }
    }
}
