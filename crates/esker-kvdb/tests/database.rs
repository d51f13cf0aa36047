//! What the shared tests do not ask: order, atomicity, columns that come and go, errors.

use esker_kvdb::{Database, KeyValueDB};
use kvdb::DBTransaction;
use std::io;

fn put(column: u32, key: &[u8], value: &[u8]) -> DBTransaction {
    let mut transaction = DBTransaction::new();
    transaction.put(column, key, value);
    transaction
}

#[test]
fn the_operations_of_a_transaction_take_effect_in_order() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let db = Database::open(&folder, 1)?;
    let mut transaction = db.transaction();
    transaction.put(0, b"a/1", b"before");
    transaction.put(0, b"b", b"first");
    transaction.put(0, b"b", b"second");
    transaction.delete_prefix(0, b"a/");
    transaction.put(0, b"a/2", b"after");
    transaction.delete(0, b"c");
    transaction.put(0, b"c", b"again");
    db.write(transaction)?;
    let keys = db.iter(0).map(|pair| Ok(pair?.0.to_vec())).collect::<io::Result<Vec<_>>>()?;
    assert_eq!(keys, [&b"a/2"[..], b"b", b"c"]);
    assert_eq!(db.get(0, b"b")?.as_deref(), Some(&b"second"[..]));
    Ok(())
}

#[test]
fn a_transaction_with_a_column_that_is_not_there_changes_nothing() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let db = Database::open(&folder, 1)?;
    let mut transaction = put(0, b"a", b"1");
    transaction.put(1, b"b", b"2");
    let error = db.write(transaction).expect_err("there is one column");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), "no column 1: there are 1");
    assert!(db.iter(0).next().is_none());
    assert!(db.iter(1).next().is_some_and(|first| first.is_err()));
    assert_eq!(db.io_stats(kvdb::IoStatsKind::Overall).transactions, 0);
    Ok(())
}

#[test]
fn a_walk_sees_one_moment() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let db = Database::open(&folder, 1)?;
    db.write(put(0, b"a", b"1"))?;
    let walk = db.iter(0);
    db.write(put(0, b"b", b"2"))?;
    assert_eq!(walk.count(), 1);
    assert_eq!(db.iter(0).count(), 2);
    Ok(())
}

#[test]
fn columns_are_added_by_an_open_or_behind_the_last_and_removed_with_their_pairs() -> io::Result<()>
{
    let folder = tempfile::tempdir()?;
    let db = Database::open(&folder, 1)?;
    db.write(put(0, b"a", b"1"))?;
    drop(db);
    let mut db = Database::open(&folder, 2)?;
    db.add_column()?;
    assert_eq!(db.num_columns(), 3);
    db.write(put(2, b"c", b"3"))?;
    db.remove_last_column()?;
    assert!(db.get(2, b"c").is_err());
    db.add_column()?;
    assert_eq!(db.get(2, b"c")?, None);
    assert_eq!(db.get(0, b"a")?.as_deref(), Some(&b"1"[..]));
    assert_eq!(db.db().collections()?, ["col0", "col1", "col2"]);
    Ok(())
}

#[test]
fn an_error_of_eskers_is_found_inside() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let db = Database::open(&folder, 1)?;
    let error = db.write(put(0, &vec![0; 1 << 17], b"")).expect_err("keys have 64 KiB at most");
    let inside = error.get_ref().and_then(|inside| inside.downcast_ref::<esker::Error>());
    assert_eq!(inside.map(esker::Error::kind), Some(esker::ErrorKind::InvalidArgument));
    let busy = Database::open(&folder, 1).expect_err("it is open");
    assert_eq!(busy.kind(), io::ErrorKind::ResourceBusy);
    Ok(())
}
