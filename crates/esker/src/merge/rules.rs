//! What holds for one collection and not for another.
//!
//! ```text
//!   collection id ─▶ Rule       its own, or else that of all
//! ```
//!
//! 1. A rule is replaced whole. Whoever has taken one goes on with it: a rewrite takes all of them when
//!    it begins.

use super::folds::Folds;
use super::operator::MergeOperator;
use crate::base::codec::Compression;
use crate::base::id::CollectionId;
use crate::segment::WriterOptions;
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// What holds for a collection.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// What folds its operands; without one, reading an operand is an error.
    pub operator: Option<Arc<dyn MergeOperator>>,
    /// The operator that its settings name, where this process does not know it.
    pub missing: Option<Arc<str>>,
    /// How its blocks are compressed, if not as all are.
    pub compression: Option<Compression>,
    /// Bits of its filters for each key, if not as many as the level has.
    pub filter_bits_per_key: Option<u32>,
    /// First bytes of its keys that are in its filters, if not as many as of all.
    pub prefix_filter: Option<usize>,
    /// From how many bytes on its values lie out of line, if not as those of all.
    pub blob_threshold: Option<usize>,
    /// How those are stored, if not as those of all.
    pub blob_compression: Option<Compression>,
    /// How long what is put into it lives, where the put does not say.
    pub time_to_live: Option<Duration>,
}

impl Rule {
    fn has_outline(&self) -> bool {
        self.blob_threshold.is_some() || self.blob_compression.is_some()
    }

    /// How a segment with its entries is written, where all others are written as `common` says.
    pub fn writer(&self, common: WriterOptions) -> WriterOptions {
        WriterOptions {
            compression: self.compression.unwrap_or(common.compression),
            filter_bits_per_key: self.filter_bits_per_key.unwrap_or(common.filter_bits_per_key),
            prefix_filter: self.prefix_filter.unwrap_or(common.prefix_filter),
            ..common
        }
    }
}

/// Collections whose numbers are alike but for so many low bits share a shard: a change copies one
/// shard and the list of shards, not what ten thousand collections have.
const SHARD_BITS: u32 = 7;

type Shard = BTreeMap<CollectionId, Arc<Rule>>;
type Shards = BTreeMap<u32, Arc<Shard>>;

/// The rules of all collections.
#[derive(Debug, Default)]
pub struct Rules {
    common: Arc<Rule>,
    own: ArcSwap<Shards>,
    /// Whether some collection ever had one of its own for large values.
    outlines: AtomicBool,
    /// Whether in some collection what is put ever had a time to live.
    timed: AtomicBool,
    /// What came of folding operands.
    pub folds: Arc<Folds>,
}

impl Rules {
    /// `common` for every collection that has no rule of its own.
    pub fn of_all(common: Rule) -> Self {
        Self { common: Arc::new(common), ..Self::default() }
    }

    /// These rules, as they are now: for whoever must not see them change.
    pub fn as_of_now(&self) -> Self {
        let own = ArcSwap::new(self.own.load_full());
        let (outlines, timed) = (self.have_outlines().into(), self.are_timed().into());
        Self { common: self.common.clone(), own, outlines, timed, folds: self.folds.clone() }
    }

    /// The rule of a collection. Cost: a search among those that have their own.
    pub fn of(&self, collection: CollectionId) -> Arc<Rule> {
        let own = self.own.load();
        let shard = own.get(&(collection.0 >> SHARD_BITS));
        shard.and_then(|shard| shard.get(&collection)).unwrap_or(&self.common).clone()
    }

    /// Whether some collection has its own rule for large values, so that one must ask.
    #[inline]
    pub fn have_outlines(&self) -> bool {
        self.outlines.load(Relaxed)
    }

    /// Whether some collection has a time to live, so that one must ask.
    #[inline]
    pub fn are_timed(&self) -> bool {
        self.timed.load(Relaxed)
    }

    fn note(&self, rule: &Rule) {
        self.outlines.fetch_or(rule.has_outline(), Relaxed);
        self.timed.fetch_or(rule.time_to_live.is_some(), Relaxed);
    }

    /// Gives a collection a rule of its own. Cost: a copy of some hundred pointers.
    pub fn set(&self, collection: CollectionId, rule: Rule) {
        self.note(&rule);
        let (place, rule) = (collection.0 >> SHARD_BITS, Arc::new(rule));
        self.own.rcu(|own| {
            let mut own = Shards::clone(own);
            Arc::make_mut(own.entry(place).or_default()).insert(collection, rule.clone());
            own
        });
    }

    /// Gives all these collections rules of their own, and none to any other.
    pub fn set_all(&self, rules: impl IntoIterator<Item = (CollectionId, Rule)>) {
        let mut own = Shards::new();
        for (collection, rule) in rules {
            self.note(&rule);
            let shard = own.entry(collection.0 >> SHARD_BITS).or_default();
            Arc::make_mut(shard).insert(collection, Arc::new(rule));
        }
        self.own.store(Arc::new(own));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Last;

    impl MergeOperator for Last {
        fn name(&self) -> &str {
            "last"
        }

        fn full(&self, _: &[u8], _: Option<&[u8]>, all: &[&[u8]]) -> Result<Vec<u8>, String> {
            all.last().map(|last| last.to_vec()).ok_or_else(|| "no operand".to_owned())
        }
    }

    #[test]
    fn a_collection_has_its_own_rule_or_that_of_all() {
        let rules = Rules::default();
        let own = || Rule { operator: Some(Arc::new(Last)), ..Rule::default() };
        let last = |id| rules.of(CollectionId(id)).operator.as_ref().map(|it| it.name().to_owned());
        rules.set_all([(CollectionId(2), own()), (CollectionId(1000), own())]);
        rules.set(CollectionId(1001), own());
        let found: Vec<_> = [1, 2, 3, 1000, 1001, 1002].into_iter().filter_map(last).collect();
        assert_eq!(found, ["last", "last", "last"]);
        rules.set(CollectionId(2), Rule::default());
        assert!(last(2).is_none());
    }
}
