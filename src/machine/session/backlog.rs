//! A queue that grows without moving what is in it, in chunks: one of millions takes as long for
//! the next as one of ten. Knows nothing of what it holds.

use std::collections::VecDeque;

/// So many are in one chunk.
const CHUNK: usize = 256;
/// An emptied queue with room for more than this is given back to the allocator.
pub(super) const IDLE_CAPACITY_MAX: usize = 32;

/// First in, first out.
#[derive(Debug)]
pub(super) struct Backlog<T> {
    /// What came first. Empty only if there is nothing at all.
    front: VecDeque<T>,
    /// What did not fit in there: few queues are so long, and each session has one.
    behind: Option<Box<Behind<T>>>,
}

/// None of the chunks is empty, and there is one.
#[derive(Debug)]
struct Behind<T> {
    chunks: VecDeque<VecDeque<T>>,
    len: usize,
}

impl<T> Default for Backlog<T> {
    fn default() -> Backlog<T> {
        Backlog { front: VecDeque::new(), behind: None }
    }
}

impl<T> Backlog<T> {
    pub(super) fn len(&self) -> usize {
        self.front.len() + self.behind.as_ref().map_or(0, |behind| behind.len)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.front.is_empty()
    }

    pub(super) fn front(&self) -> Option<&T> {
        self.front.front()
    }

    pub(super) fn push_back(&mut self, item: T) {
        if let Some(behind) = &mut self.behind {
            behind.push(item);
        } else if self.front.len() < CHUNK {
            if self.front.capacity() == 0 {
                // Most have one at a time, and what goes to all must not take room for four each.
                self.front.reserve_exact(1);
            }
            self.front.push_back(item);
        } else {
            let mut behind = Box::new(Behind { chunks: VecDeque::new(), len: 0 });
            behind.push(item);
            self.behind = Some(behind);
        }
    }

    /// Before all others: for what was just taken from there.
    pub(super) fn push_front(&mut self, item: T) {
        self.front.push_front(item);
    }

    pub(super) fn pop_front(&mut self) -> Option<T> {
        let item = self.front.pop_front();
        self.move_up();
        item
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.from(|_| false)
    }

    /// From the first on that is not before a place; they are in order. Looks at few.
    pub(super) fn from(&self, mut is_before: impl FnMut(&T) -> bool) -> impl Iterator<Item = &T> {
        let begins_before = |chunk: &VecDeque<T>| chunk.front().is_some_and(&mut is_before);
        let chunks = self.behind.as_ref().map(|behind| &behind.chunks);
        let passed = chunks.map_or(0, |chunks| chunks.partition_point(begins_before));
        let first = match chunks {
            Some(chunks) if passed > 0 => &chunks[passed - 1],
            _ => &self.front,
        };
        let at = first.partition_point(is_before);
        let others = chunks.into_iter().flat_map(move |chunks| chunks.range(passed..));
        first.range(at..).chain(others.flatten())
    }

    pub(super) fn retain(&mut self, mut is_meant: impl FnMut(&T) -> bool) {
        self.front.retain(&mut is_meant);
        if let Some(behind) = &mut self.behind {
            behind.retain(is_meant);
        }
        self.move_up();
    }

    /// Gives the room back that an emptied queue had.
    pub(super) fn give_back_room(&mut self) {
        if self.is_empty() && self.front.capacity() > IDLE_CAPACITY_MAX {
            self.front = VecDeque::new();
        }
    }

    /// Goes on with the next chunk if there is nothing left of the first.
    fn move_up(&mut self) {
        let Some(behind) = &mut self.behind else { return };
        if self.front.is_empty()
            && let Some(next) = behind.chunks.pop_front()
        {
            behind.len -= next.len();
            self.front = next;
        }
        if behind.chunks.is_empty() {
            self.behind = None;
        }
    }
}

impl<T> Behind<T> {
    fn push(&mut self, item: T) {
        self.len += 1;
        match self.chunks.back_mut() {
            Some(last) if last.len() < CHUNK => last.push_back(item),
            _ => {
                let mut chunk = VecDeque::with_capacity(CHUNK);
                chunk.push_back(item);
                self.chunks.push_back(chunk);
            }
        }
    }

    fn retain(&mut self, mut is_meant: impl FnMut(&T) -> bool) {
        for chunk in &mut self.chunks {
            chunk.retain(&mut is_meant);
            if chunk.len() < chunk.capacity() / 2 {
                chunk.shrink_to_fit();
            }
        }
        self.chunks.retain(|chunk| !chunk.is_empty());
        self.len = self.chunks.iter().map(VecDeque::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What may be done with a queue.
    #[derive(Clone, Debug)]
    enum Step {
        Push(usize),
        Pop(usize),
        Return,
        /// Those that leave a rest when they are divided.
        Retain(u32),
        /// From this share of the way on.
        From(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (1..3 * CHUNK).prop_map(Step::Push),
            (1..3 * CHUNK).prop_map(Step::Pop),
            Just(Step::Return),
            (1..2_000_u32).prop_map(Step::Retain),
            (0..=100_u32).prop_map(Step::From),
        ]
    }

    proptest! {
        #[test]
        fn is_a_queue(steps in proptest::collection::vec(step(), 1..30)) {
            let (mut queue, mut model) = (Backlog::default(), VecDeque::new());
            let mut next = 0_u32;
            for step in steps {
                match step {
                    Step::Push(count) => {
                        for _ in 0..count {
                            queue.push_back(next);
                            model.push_back(next);
                            next += 1;
                        }
                    }
                    Step::Pop(count) => {
                        for _ in 0..count {
                            prop_assert_eq!(queue.pop_front(), model.pop_front());
                        }
                    }
                    Step::Return => {
                        if let Some(item) = queue.pop_front() {
                            queue.push_front(item);
                        }
                    }
                    Step::Retain(divisor) => {
                        queue.retain(|item| item % divisor != 0);
                        model.retain(|item| item % divisor != 0);
                    }
                    Step::From(share) => {
                        let place = (u64::from(next) * u64::from(share) / 100) as u32;
                        let found: Vec<u32> = queue.from(|item| *item < place).copied().collect();
                        let meant: Vec<u32> = model.iter().copied().filter(|item| *item >= place).collect();
                        prop_assert_eq!(found, meant);
                    }
                }
                prop_assert_eq!(queue.len(), model.len());
                prop_assert_eq!(queue.is_empty(), model.is_empty());
                prop_assert_eq!(queue.front(), model.front());
                prop_assert!(queue.iter().eq(model.iter()));
            }
        }
    }

    #[test]
    fn keeps_no_room_that_it_does_not_use() {
        let mut queue = Backlog::default();
        for item in 0..100 * CHUNK {
            queue.push_back(item);
        }
        queue.retain(|item| item % CHUNK == 1);
        let behind = queue
            .behind
            .as_ref()
            .map_or(0, |behind| behind.chunks.iter().map(VecDeque::capacity).sum());
        assert!(behind < 200, "room for {behind}");
        while queue.pop_front().is_some() {}
        queue.give_back_room();
        assert!(queue.behind.is_none());
        assert_eq!(queue.front.capacity(), 1, "a chunk of one");
    }

    #[test]
    fn looks_at_few() {
        let mut queue = Backlog::default();
        for item in 0..1_000 * CHUNK {
            queue.push_back(item);
        }
        let mut looked = 0;
        let found = queue.from(|item| {
            looked += 1;
            *item < 700 * CHUNK + 9
        });
        assert_eq!(found.take(1).collect::<Vec<_>>(), [&(700 * CHUNK + 9)]);
        assert!(looked < 30, "at {looked}");
    }
}
