//! The tests that `linera-views` has for key-value stores, over databases in each [`Life`].
//!
//! Some go through layers of its own, which ask more of the store below: a view that stages writes
//! and prefix deletes, a cache that must agree with what it caches.

use esker_kits::home::{Home, Life};
use esker_kits::linera::{Database, Store};
use linera_views::context::ViewContext;
use linera_views::key_value_store_view::ViewContainer;
use linera_views::lru_caching::LruCachingDatabase;
use linera_views::test_utils as kit;
use linera_views::value_splitting::{ValueSplittingDatabase, ValueSplittingStore};
use std::sync::Arc;

/// Runs `test` over a store of its own in each life, and checks every byte afterwards.
async fn in_each_life<T: Future<Output = ()>>(test: impl Fn(Store) -> T) {
    for life in Life::ALL {
        let home = Arc::new(Home::new(life).expect("a new database"));
        test(Store::new(home.clone()).expect("a store in it")).await;
        assert!(home.is_whole().expect("a database that can be read"), "{life:?}");
    }
}

async fn viewed(store: Store) -> ViewContainer<ViewContext<(), Store>> {
    let context = ViewContext::new_unchecked(store, Vec::new(), ());
    ViewContainer::new(context).await.expect("a view of the store")
}

#[tokio::test]
async fn reads_find_what_was_written_by_key_and_by_prefix() {
    for scenario in kit::get_random_test_scenarios() {
        in_each_life(|store| kit::run_reads(store, scenario.clone())).await;
    }
}

#[tokio::test]
async fn reads_find_keys_that_end_in_the_last_byte() {
    let keys = [&[0, 1, 255][..], &[0, 1, 255, 37], &[0, 2], &[0, 2, 0]];
    let pairs: Vec<_> = keys.iter().map(|key| (key.to_vec(), Vec::new())).collect();
    in_each_life(|store| kit::run_reads(store, pairs.clone())).await;
}

#[tokio::test]
async fn reads_through_a_view_find_the_same() {
    for scenario in kit::get_random_test_scenarios() {
        let scenario = &scenario;
        in_each_life(|store| async move {
            kit::run_reads(viewed(store).await, scenario.clone()).await;
        })
        .await;
    }
}

#[tokio::test]
async fn reads_of_split_values_find_the_same() {
    for scenario in kit::get_random_test_scenarios() {
        in_each_life(|store| kit::run_reads(ValueSplittingStore::new(store), scenario.clone()))
            .await;
    }
}

#[tokio::test]
async fn random_batches_with_prefix_deletes_leave_what_a_map_has() {
    in_each_life(|store| async move { kit::run_writes_from_blank(&store).await }).await;
}

#[tokio::test]
async fn random_batches_through_a_view_leave_what_a_map_has() {
    in_each_life(|store| async move { kit::run_writes_from_blank(&viewed(store).await).await })
        .await;
}

#[tokio::test]
async fn batches_that_overlap_what_is_there_take_effect_in_order() {
    in_each_life(|store| async move { kit::run_writes_from_state(&store).await }).await;
}

#[tokio::test]
async fn a_hundred_thousand_tombstones_hide_what_they_should() {
    in_each_life(kit::tombstone_triggering_test).await;
}

#[tokio::test]
async fn batches_of_twenty_megabytes_are_read_back() {
    let sizes = || vec![100, 1_000, 200_000, 5_000_000];
    in_each_life(|store| kit::run_big_write_read(store, 20_000_000, sizes())).await;
}

#[tokio::test]
async fn a_thousand_values_are_read_at_once() {
    for life in Life::ALL {
        let home = Arc::new(Home::new(life).expect("a new database"));
        kit::big_read_multi_values::<Database>(home, 22_000, 1_000).await;
    }
}

#[tokio::test]
async fn namespaces_are_created_listed_and_deleted() {
    kit::namespace_admin_test::<Database>().await;
}

#[tokio::test]
async fn namespaces_behind_layers_are_created_listed_and_deleted() {
    kit::namespace_admin_test::<LruCachingDatabase<ValueSplittingDatabase<Database>>>().await;
}

#[tokio::test]
async fn root_keys_are_listed_with_what_lies_below_them() {
    kit::root_key_admin_test::<Database>().await;
}

#[tokio::test]
async fn root_keys_behind_a_cache_are_listed_with_what_lies_below_them() {
    kit::root_key_admin_test::<LruCachingDatabase<Database>>().await;
}

#[tokio::test]
async fn one_store_sees_what_another_wrote_unless_a_cache_is_promised_that_there_is_none() {
    kit::access_admin_test::<LruCachingDatabase<Database>>().await;
}
