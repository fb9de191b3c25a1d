//! Tables in pieces: whoever adds to one of a million waits while a piece of it is moved, never
//! the whole.
//!
//! [`Table`] is a hash table, [`Places`] gives places to values. Neither knows what it holds.

use std::ops::{Index, IndexMut};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use slab::Slab;

/// Pieces of a table. All grow at about the same number of entries, but not in the same visit:
/// of those of a million, a hundred inserts move one, in about half a millisecond.
const PIECES: usize = 256;
/// The bits of a hash that choose the piece: hashbrown uses the seven above and the lowest.
const PIECE_SHIFT: u32 = 48;
/// Values in a piece of places.
const PIECE_VALUES: usize = 1_024;

/// A hash table of values that know their keys. Gives memory back when it empties.
pub(super) struct Table<T> {
    pieces: Box<[HashTable<T>; PIECES]>,
    len: usize,
}

impl<T> Table<T> {
    pub(super) fn new() -> Table<T> {
        Table { pieces: Box::new([const { HashTable::new() }; PIECES]), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn find(&self, hash: u64, is_it: impl FnMut(&T) -> bool) -> Option<&T> {
        self.pieces[piece_of(hash)].find(hash, is_it)
    }

    pub(super) fn find_mut(&mut self, hash: u64, is_it: impl FnMut(&T) -> bool) -> Option<&mut T> {
        self.pieces[piece_of(hash)].find_mut(hash, is_it)
    }

    /// Adds a value that is not there yet.
    pub(super) fn insert(&mut self, hash: u64, value: T, hash_of: impl Fn(&T) -> u64) {
        self.len += 1;
        self.pieces[piece_of(hash)].insert_unique(hash, value, hash_of);
    }

    /// The value that it is, made now if it is not there yet.
    pub(super) fn get_or_insert_with(
        &mut self,
        hash: u64,
        is_it: impl FnMut(&T) -> bool,
        hash_of: impl Fn(&T) -> u64,
        make: impl FnOnce() -> T,
    ) -> &mut T {
        match self.pieces[piece_of(hash)].entry(hash, is_it, hash_of) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(place) => {
                self.len += 1;
                place.insert(make()).into_mut()
            }
        }
    }

    /// Takes a value out.
    pub(super) fn remove(
        &mut self,
        hash: u64,
        is_it: impl FnMut(&T) -> bool,
        hash_of: impl Fn(&T) -> u64,
    ) -> Option<T> {
        let piece = &mut self.pieces[piece_of(hash)];
        let (value, _) = piece.find_entry(hash, is_it).ok()?.remove();
        self.len -= 1;
        // To half of its room when a quarter is used, so each removal pays little. An empty piece
        // has none.
        if piece.len() <= piece.capacity() / 4 {
            piece.shrink_to(piece.len() * 2, hash_of);
        }
        Some(value)
    }

    /// For how many there is room.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.pieces.iter().map(HashTable::capacity).sum()
    }
}

fn piece_of(hash: u64) -> usize {
    (hash >> PIECE_SHIFT) as usize % PIECES
}

/// Values by place; a place that is free is taken again. The first is 0.
pub(super) struct Places<T> {
    pieces: Vec<Slab<T>>,
    /// The pieces that are not full.
    with_room: Vec<usize>,
}

impl<T> Places<T> {
    pub(super) fn new() -> Places<T> {
        Places { pieces: Vec::new(), with_room: Vec::new() }
    }

    /// Puts a value somewhere. Its place.
    pub(super) fn insert(&mut self, value: T) -> usize {
        let index = self.with_room.last().copied().unwrap_or_else(|| self.add_piece());
        let piece = &mut self.pieces[index];
        let place = index * PIECE_VALUES + piece.insert(value);
        if piece.len() == PIECE_VALUES {
            self.with_room.pop();
        }
        place
    }

    fn add_piece(&mut self) -> usize {
        let index = self.pieces.len();
        self.pieces.push(Slab::new());
        self.with_room.push(index);
        index
    }

    /// Takes out the value at a place that is taken.
    pub(super) fn remove(&mut self, place: usize) -> T {
        let index = place / PIECE_VALUES;
        let piece = &mut self.pieces[index];
        if piece.len() == PIECE_VALUES {
            self.with_room.push(index);
        }
        let value = piece.remove(place % PIECE_VALUES);
        if piece.is_empty() {
            *piece = Slab::new(); // its room is given back
        }
        value
    }

    /// Takes out all of them, and gives their room back.
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.with_room.clear();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.pieces.iter().map(Slab::len).sum()
    }

    /// For how many there is room.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.pieces.iter().map(Slab::capacity).sum()
    }
}

/// The value at a place that is taken.
impl<T> Index<usize> for Places<T> {
    type Output = T;

    fn index(&self, place: usize) -> &T {
        &self.pieces[place / PIECE_VALUES][place % PIECE_VALUES]
    }
}

impl<T> IndexMut<usize> for Places<T> {
    fn index_mut(&mut self, place: usize) -> &mut T {
        &mut self.pieces[place / PIECE_VALUES][place % PIECE_VALUES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spread as a hasher would.
    fn hash(value: &u64) -> u64 {
        value
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(23)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    #[test]
    fn no_piece_of_a_large_table_is_large() {
        let mut table = Table::new();
        for value in 0..100_000 {
            table.insert(hash(&value), value, hash);
        }
        let largest = table.pieces.iter().map(HashTable::len).max();
        assert!(largest.is_some_and(|largest| largest < 600), "{largest:?}");
        assert_eq!(table.len(), 100_000);
        for value in 0..100_000 {
            assert_eq!(table.find(hash(&value), |other| *other == value), Some(&value));
            assert_eq!(table.remove(hash(&value), |other| *other == value, hash), Some(value));
            assert_eq!(table.remove(hash(&value), |other| *other == value, hash), None);
        }
        assert_eq!((table.len(), table.capacity()), (0, 0));
    }

    #[test]
    fn places_are_taken_again_and_empty_pieces_hold_nothing() {
        let mut places = Places::new();
        let taken: Vec<usize> = (0..5_000).map(|value| places.insert(value)).collect();
        assert_eq!(taken, (0..5_000).collect::<Vec<_>>());
        for place in 1_000..4_000 {
            assert_eq!(places.remove(place), place);
        }
        assert_eq!(places.len(), 2_000);
        let full = places.pieces.iter().filter(|piece| piece.capacity() > 0).count();
        assert_eq!(full, 3); // of five
        let mut again: Vec<usize> = (0..3_000).map(|value| places.insert(value)).collect();
        again.sort_unstable();
        assert_eq!(again, (1_000..4_000).collect::<Vec<_>>());
        assert_eq!((places[999], places.pieces.len()), (999, 5));
    }
}
