//! Random transactions, held against `kvdb-memorydb`, the implementation of `kvdb` that is a map.

use esker_kvdb::{Database, KeyValueDB};
use kvdb::{DBKey, DBOp, DBTransaction};
use proptest::prelude::*;
use std::io;

const COLUMNS: u32 = 2;

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<Op>),
    Flush,
    Compact,
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u32, Vec<u8>, Vec<u8>),
    Delete(u32, Vec<u8>),
    DeletePrefix(u32, Vec<u8>),
}

/// Keys that meet often, and the bytes at which prefixes end in odd ways.
fn keys() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(0), Just(1), Just(254), Just(255)];
    prop::collection::vec(byte, 0..4)
}

/// Some above the size from which values lie out of line.
fn values() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![4 => 0..20_usize, 1 => 2000..3000_usize];
    (any::<u8>(), len).prop_map(|(byte, len)| vec![byte; len])
}

fn ops() -> impl Strategy<Value = Op> {
    let column = || 0..COLUMNS;
    prop_oneof![
        6 => (column(), keys(), values()).prop_map(|(c, key, value)| Op::Insert(c, key, value)),
        2 => (column(), keys()).prop_map(|(c, key)| Op::Delete(c, key)),
        1 => (column(), keys()).prop_map(|(c, prefix)| Op::DeletePrefix(c, prefix)),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => prop::collection::vec(ops(), 0..20).prop_map(Step::Write),
        1 => Just(Step::Flush),
        1 => Just(Step::Compact),
    ];
    prop::collection::vec(step, 1..16)
}

fn transaction(ops: &[Op]) -> DBTransaction {
    let mut transaction = DBTransaction::new();
    for op in ops {
        match op {
            Op::Insert(column, key, value) => transaction.put(*column, key, value),
            Op::Delete(column, key) => transaction.delete(*column, key),
            Op::DeletePrefix(column, prefix) => transaction.delete_prefix(*column, prefix),
        }
    }
    transaction
}

fn pairs(db: &dyn KeyValueDB, column: u32, prefix: &[u8]) -> io::Result<Vec<(DBKey, Vec<u8>)>> {
    db.iter_with_prefix(column, prefix).collect()
}

/// Everything that can be asked about the keys that `ops` speak of.
fn agree(ours: &Database, reference: &dyn KeyValueDB, ops: &[DBOp]) -> Result<(), TestCaseError> {
    for column in 0..COLUMNS {
        prop_assert_eq!(pairs(ours, column, b"")?, pairs(reference, column, b"")?);
        let all: io::Result<Vec<_>> = ours.iter(column).collect();
        prop_assert_eq!(all?, pairs(reference, column, b"")?);
        for key in ops.iter().map(DBOp::key) {
            prop_assert_eq!(ours.get(column, key)?, reference.get(column, key)?);
            prop_assert_eq!(ours.has_key(column, key)?, reference.has_key(column, key)?);
            prop_assert_eq!(pairs(ours, column, key)?, pairs(reference, column, key)?);
            let (found, wanted) =
                (ours.get_by_prefix(column, key)?, reference.get_by_prefix(column, key)?);
            prop_assert_eq!(found, wanted);
            prop_assert_eq!(ours.has_prefix(column, key)?, reference.has_prefix(column, key)?);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn random_transactions_leave_what_the_map_has(steps in steps()) {
        let folder = tempfile::tempdir()?;
        let db = esker::Db::options().memory_budget(4 << 20).open(&folder).map_err(io::Error::from)?;
        let ours = Database::with_db(db, COLUMNS)?;
        let reference = kvdb_memorydb::create(COLUMNS);
        for step in &steps {
            match step {
                Step::Write(ops) => {
                    let transaction = transaction(ops);
                    ours.write(transaction.clone())?;
                    reference.write(transaction.clone())?;
                    agree(&ours, &reference, &transaction.ops)?;
                }
                Step::Flush => ours.db().flush().map_err(io::Error::from)?,
                Step::Compact => ours.db().compact().map_err(io::Error::from)?,
            }
        }
        drop(ours);
        agree(&Database::open(&folder, COLUMNS)?, &reference, &[])?;
    }
}
