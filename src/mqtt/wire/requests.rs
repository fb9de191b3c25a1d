//! What SUBSCRIBE and UNSUBSCRIBE ask for: filters, read one after the other.
//!
//! A packet may hold very many of them, and one that is decoded takes twenty times the memory
//! that it takes on the wire; so they stay as they came, checked, and are made into filters one
//! by one. What is checked, and how they are written, is in `subscribe.rs`.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

use crate::mqtt::wire::packet::{RequestedFilter, SubscriptionRequest};
use crate::mqtt::wire::read::Reader;
use crate::mqtt::wire::subscribe::{read_request, write_filter, write_request};

/// Declares a list of what a packet asks for, read from its front: what was read is no longer in
/// it.
macro_rules! list {
    ($(#[$words:meta])+ $name:ident of $item:ty, $read:path, $write:path) => {
        $(#[$words])+
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name {
            /// As 5.0 writes them.
            bytes: Bytes,
            count: usize,
        }

        impl $name {
            /// So many, which were checked.
            pub(super) fn checked(bytes: Bytes, count: usize) -> $name {
                $name { bytes, count }
            }

            /// Whether there is none left.
            pub fn is_empty(&self) -> bool {
                self.count == 0
            }

            /// As 5.0 writes them.
            pub(super) fn as_bytes(&self) -> &[u8] {
                &self.bytes
            }
        }

        impl Iterator for $name {
            type Item = $item;

            fn next(&mut self) -> Option<$item> {
                self.count = self.count.checked_sub(1)?;
                let mut reader = Reader::new(&self.bytes, 0, self.bytes.len());
                let item = $read(&mut reader).expect("it was checked when it came");
                let read = reader.position();
                self.bytes.advance(read);
                Some(item)
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                (self.count, Some(self.count))
            }
        }

        impl ExactSizeIterator for $name {}

        impl FromIterator<$item> for $name {
            fn from_iter<I: IntoIterator<Item = $item>>(items: I) -> $name {
                let (mut bytes, mut count) = (BytesMut::new(), 0);
                for item in items {
                    $write(&item, &mut bytes);
                    count += 1;
                }
                $name { bytes: bytes.freeze(), count }
            }
        }

        impl From<Vec<$item>> for $name {
            fn from(items: Vec<$item>) -> $name {
                items.into_iter().collect()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_list().entries(self.clone()).finish()
            }
        }
    };
}

list! {
    /// The filters of a SUBSCRIBE and how they are asked for. A text that is a filter comes out
    /// as that, whatever it was put in as; a share whose text would be too long to be sent comes
    /// out as the empty text, which is no filter.
    SubscriptionRequests of SubscriptionRequest, read_request, write_request
}

list! {
    /// The filters of an UNSUBSCRIBE. What comes out is as for [`SubscriptionRequests`].
    RequestedFilters of RequestedFilter, Reader::filter, write_filter
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::topic::{Filter, SharedFilter, TopicFilter};
    use crate::mqtt::types::Text;

    fn filter(text: &str) -> RequestedFilter {
        let text = Text::try_from(text).expect("a valid text");
        Filter::new(text.clone()).map_err(|_| text)
    }

    #[test]
    fn what_was_read_is_gone_and_the_rest_is_still_there() {
        let all = ["a", "$share/g/b/+", "no#filter", "", "c"].map(filter);
        let mut left = RequestedFilters::from(all.to_vec());
        for (place, each) in all.iter().enumerate() {
            assert_eq!(left, all[place..].iter().cloned().collect());
            assert_eq!(left.len(), all.len() - place);
            assert_eq!(left.next().as_ref(), Some(each));
        }
        assert!(left.is_empty());
        assert_eq!(left.next(), None);
    }

    #[test]
    fn a_share_that_is_too_long_to_be_sent_is_no_filter() {
        let long = "a".repeat(40_000);
        let group = Text::try_from(long.as_str()).expect("a valid text");
        let filter = TopicFilter::new(group.clone()).expect("a valid filter");
        let share = Ok(Filter::Shared(SharedFilter { group, filter }));
        let mut filters = RequestedFilters::from(vec![share]);
        assert_eq!(filters.next(), Some(Err(Text::default())));
    }
}
