//! The ready-made operators: worked examples, one law for all of them, and hostile bytes.

use super::*;
use proptest::prelude::*;

fn full(operator: &dyn MergeOperator, existing: Option<&str>, all: &[&str]) -> String {
    let all: Vec<&[u8]> = all.iter().map(|operand| operand.as_bytes()).collect();
    String::from_utf8(operator.full(b"k", existing.map(str::as_bytes), &all).unwrap()).unwrap()
}

/// MOSS-20, its vectors.
#[test]
fn append_puts_the_separator_before_each_operand() {
    let append = Append::new(":");
    assert_eq!(full(&append, None, &["a", "b"]), ":a:b");
    assert_eq!(full(&append, Some("x"), &["c"]), "x:c");
    assert_eq!(full(&append, None, &["d"]), ":d");
    assert_eq!(append.partial(b"k", b"a", b"b").unwrap(), b"a:b");
}

#[test]
fn numbers_add_modulo_two_to_the_64th_and_others_are_refused() {
    let add = |existing: Option<u64>, all: &[u64]| {
        let existing = existing.map(U64Add::encode);
        let all: Vec<_> = all.iter().map(|n| U64Add::encode(*n)).collect();
        let all: Vec<&[u8]> = all.iter().map(|n| &n[..]).collect();
        let sum = U64Add.full(b"k", existing.as_ref().map(|n| &n[..]), &all).unwrap();
        U64Add::decode(&sum).unwrap()
    };
    assert_eq!(add(None, &[1, 2, 3]), 6);
    assert_eq!(add(Some(40), &[2]), 42);
    assert_eq!(add(Some(40), &[(-41_i64) as u64]), u64::MAX);
    let error = U64Add.full(b"k", None, &[b"1"]).unwrap_err();
    assert_eq!(error, "want 8 bytes, found 1");
    assert_eq!(U64Add.partial(b"k", b"1", &U64Add::encode(1)), None);
}

#[test]
fn the_greatest_and_the_least_are_bytewise() {
    assert_eq!(full(&Max, Some("b"), &["a", "bb", "c0"]), "c0");
    assert_eq!(full(&Min, Some("b"), &["bb", "", "c"]), "");
    assert_eq!(full(&Max, None, &["a"]), "a");
}

#[test]
fn sets_unite() {
    let (a, b) = (SetUnion::encode(["2", "1"]), SetUnion::encode(["3", "2", "3"]));
    let all = SetUnion.full(b"k", Some(&SetUnion::encode([""])), &[&a, &b]).unwrap();
    assert_eq!(SetUnion::decode(&all).unwrap(), [&b""[..], b"1", b"2", b"3"]);
    assert_eq!(SetUnion::encode::<&str>([]), b"");
    assert_eq!(a, b"\x011\x012");
    assert!(SetUnion.full(b"k", None, &[b"\x05abc"]).unwrap_err().contains("want a set"));
}

/// An item that is cut, a length that is none or not the shortest, and items out of order.
#[test]
fn what_is_no_set_is_refused() {
    for odd in [&b"\x01"[..], b"\x02a", b"\x80", b"\x81\x00a", b"\x01b\x01a", b"\x01a\x01a"] {
        assert_eq!(SetUnion::decode(odd), None, "{odd:?}");
    }
    assert_eq!(SetUnion::decode(&[0xff; 11]), None);
}

#[test]
fn every_ready_made_operator_is_known_by_its_name() {
    let all: [Arc<dyn MergeOperator>; 6] = [
        Arc::new(U64Add),
        Arc::new(Append::new(":")),
        Arc::new(Append::new("")),
        Arc::new(Max),
        Arc::new(Min),
        Arc::new(SetUnion),
    ];
    for operator in all {
        let found = ready_made(operator.name()).unwrap();
        assert_eq!(format!("{found:?}"), format!("{operator:?}"));
    }
    assert!(ready_made("u64-sub").is_none());
}

/// An operator, and operands that it takes.
type Example = (Arc<dyn MergeOperator>, Vec<Vec<u8>>);

/// Operands of every ready-made operator, made of the same numbers.
fn operands(of: &[u8]) -> Vec<Example> {
    let text = |n: &u8| vec![b'a' + n % 4; usize::from(n % 3)];
    let numbers = of.iter().map(|n| U64Add::encode(u64::from(*n) << 56).to_vec()).collect();
    let sets = of.iter().map(|n| SetUnion::encode([text(n), text(&(n / 2))])).collect();
    let texts: Vec<Vec<u8>> = of.iter().map(text).collect();
    vec![
        (Arc::new(U64Add), numbers),
        (Arc::new(SetUnion), sets),
        (Arc::new(Append::new(", ")), texts.clone()),
        (Arc::new(Max), texts.clone()),
        (Arc::new(Min), texts),
    ]
}

proptest! {
    /// MOSS-20: partial then full equals full, wherever neighbours were combined; and a chain folded
    /// one by one equals one fold of all.
    #[test]
    fn partial_then_full_equals_full(
        numbers in prop::collection::vec(any::<u8>(), 2..8),
        combined in any::<prop::sample::Index>(),
        exists in any::<bool>(),
    ) {
        for (operator, mut all) in operands(&numbers) {
            let existing = exists.then(|| all.remove(0));
            if all.is_empty() {
                continue;
            }
            let fold = |existing: Option<&[u8]>, all: &[Vec<u8>]| {
                let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
                operator.full(b"k", existing, &all).unwrap()
            };
            let whole = fold(existing.as_deref(), &all);
            let mut one_by_one = existing.clone();
            for operand in &all {
                one_by_one = Some(fold(one_by_one.as_deref(), std::slice::from_ref(operand)));
            }
            prop_assert_eq!(one_by_one.as_ref(), Some(&whole));
            if all.len() > 1 {
                let at = combined.index(all.len() - 1);
                let right = all.remove(at + 1);
                all[at] = operator.partial(b"k", &all[at], &right).unwrap();
                prop_assert_eq!(&fold(existing.as_deref(), &all), &whole);
            }
        }
    }

    /// Hostile bytes: no panic, nothing allocated for a length that is not there, and what is read
    /// is what would be written.
    #[test]
    fn any_bytes_are_a_set_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Some(items) = SetUnion::decode(&bytes) {
            prop_assert_eq!(SetUnion::encode(items), bytes.clone());
        }
        let _ = SetUnion.full(b"k", Some(&bytes), &[&bytes]);
        let _ = SetUnion.partial(b"k", &bytes, &bytes);
    }
}
