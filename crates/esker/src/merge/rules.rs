//! What holds for one collection and not for another.
//!
//! ```text
//!   collection id ─▶ Rule       its own, or else that of all
//! ```
//!
//! 1. A rule is replaced whole. Whoever has taken one goes on with it: a rewrite takes it once for
//!    each collection that it meets.

use super::folds::Folds;
use super::operator::MergeOperator;
use crate::base::id::CollectionId;
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What holds for a collection.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// What folds its operands; without one, reading an operand is an error.
    pub operator: Option<Arc<dyn MergeOperator>>,
    /// The operator that its settings name, where this process does not know it.
    pub missing: Option<Arc<str>>,
}

/// The rules of all collections.
#[derive(Debug, Default)]
pub struct Rules {
    common: Arc<Rule>,
    own: ArcSwap<BTreeMap<CollectionId, Arc<Rule>>>,
    /// What came of folding operands.
    pub folds: Folds,
}

impl Rules {
    /// `common` for every collection that has no rule of its own.
    pub fn of_all(common: Rule) -> Self {
        Self { common: Arc::new(common), ..Self::default() }
    }

    /// The rule of a collection. Cost: a search among those that have their own.
    pub fn of(&self, collection: CollectionId) -> Arc<Rule> {
        self.own.load().get(&collection).unwrap_or(&self.common).clone()
    }

    /// Gives a collection a rule of its own; without one, that of all holds again.
    pub fn set(&self, collection: CollectionId, rule: Option<Rule>) {
        let rule = rule.map(Arc::new);
        self.own.rcu(|own| {
            let mut own = BTreeMap::clone(own);
            match &rule {
                Some(rule) => own.insert(collection, rule.clone()),
                None => own.remove(&collection),
            };
            own
        });
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
        rules
            .set(CollectionId(2), Some(Rule { operator: Some(Arc::new(Last)), ..Rule::default() }));
        assert!(rules.of(CollectionId(1)).operator.is_none());
        assert_eq!(rules.of(CollectionId(2)).operator.as_ref().unwrap().name(), "last");
        rules.set(CollectionId(2), None);
        assert!(rules.of(CollectionId(2)).operator.is_none());
    }
}
