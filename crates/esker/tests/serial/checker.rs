//! Whether a history of transactions over lists could have come from running them one at a time.
//!
//! ```text
//!   append x to a key that held […, w]        w's writer ─ww→ x's writer
//!   read […, x]                               x's writer ─wr→ reader
//!   read […, w], and x comes after w          reader     ─rw→ x's writer
//!   ended before another began                one        ─rt→ other
//! ```
//!
//! Every element is appended once in all, so a list that was read tells who wrote it and in which
//! order. A cycle of these edges is what no serial order explains; one that needs `rt` is what no
//! serial order explains that agrees with the clock. It knows nothing of the engine.
//!
//! After Elle (Kingsbury and Alvaro, 2020), its list-append histories.

use std::collections::{BTreeMap, BTreeSet};

pub type Key = u32;
pub type Element = u64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Append(Key, Element),
    Read(Key, Vec<Element>),
}

/// A transaction as its client saw it: when it was begun, and when its end was known.
#[derive(Clone, Debug)]
pub struct Txn {
    pub ops: Vec<Op>,
    pub is_committed: bool,
    pub began: u64,
    pub ended: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edge {
    /// It overwrote what the other wrote.
    Ww,
    /// It read what the other wrote.
    Wr,
    /// It overwrote what the other read.
    Rw,
    /// It began after the other had ended.
    Rt,
}

/// What is wrong with a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anomaly {
    /// A transaction did not read what itself had done before.
    Internal(usize),
    /// G1a: what was given up was read.
    Aborted { reader: usize, writer: usize },
    /// G1b: what its writer appended to in the same transaction was read as the end of a list.
    Intermediate { reader: usize, writer: usize },
    /// An element that nobody appended, or twice in a list.
    Garbage(usize),
    /// Two lists of one key neither of which begins with the other.
    TwoOrders(Key),
    /// A committed element is not in the last list of its key.
    Lost { writer: usize, key: Key },
    /// Transactions, each of which must come before the next, and the last before the first.
    Cycle(Vec<(usize, Edge)>),
}

/// Looks for an anomaly. The last transaction should read every key once all others have ended.
pub fn check(history: &[Txn]) -> Result<(), Anomaly> {
    let mut writers = BTreeMap::new();
    for (place, txn) in history.iter().enumerate() {
        check_internal(txn).map_err(|()| Anomaly::Internal(place))?;
        for op in &txn.ops {
            if let Op::Append(key, element) = op {
                writers.insert((*key, *element), place);
            }
        }
    }
    let lists = check_reads(history, &writers)?;
    let graph = Graph::new(history, &writers, &lists);
    graph.cycle().map_or(Ok(()), |cycle| Err(Anomaly::Cycle(cycle)))
}

/// Own appends are at the end of what is read behind them, and nothing else changes in between.
fn check_internal(txn: &Txn) -> Result<(), ()> {
    let mut known: BTreeMap<Key, Vec<Element>> = BTreeMap::new();
    let mut since: BTreeMap<Key, Vec<Element>> = BTreeMap::new();
    for op in &txn.ops {
        match op {
            Op::Append(key, element) => {
                known.entry(*key).and_modify(|list| list.push(*element));
                since.entry(*key).or_default().push(*element);
            }
            Op::Read(key, list) => {
                let is_right = match known.get(key) {
                    Some(want) => want == list,
                    None => list.ends_with(since.get(key).map_or(&[], Vec::as_slice)),
                };
                if !is_right {
                    return Err(());
                }
                known.insert(*key, list.clone());
            }
        }
    }
    Ok(())
}

type Writers = BTreeMap<(Key, Element), usize>;
type Lists<'a> = BTreeMap<Key, &'a [Element]>;

/// Checks every list that was read, and answers the longest of each key.
fn check_reads<'a>(history: &'a [Txn], writers: &Writers) -> Result<Lists<'a>, Anomaly> {
    let mut longest = Lists::new();
    let committed = || history.iter().enumerate().filter(|(_, txn)| txn.is_committed);
    for (reader, txn) in committed() {
        for op in &txn.ops {
            let Op::Read(key, list) = op else { continue };
            let distinct: BTreeSet<_> = list.iter().collect();
            if distinct.len() != list.len() {
                return Err(Anomaly::Garbage(reader));
            }
            for element in list {
                let writer = writers.get(&(*key, *element)).copied();
                let writer = writer.ok_or(Anomaly::Garbage(reader))?;
                if !history[writer].is_committed && writer != reader {
                    return Err(Anomaly::Aborted { reader, writer });
                }
            }
            let last = list.last().map(|last| (last, writers[&(*key, *last)]));
            if let Some((last, writer)) = last.filter(|(_, writer)| *writer != reader) {
                let mut own = history[writer].ops.iter().filter_map(|op| match op {
                    Op::Append(to, element) if to == key => Some(element),
                    _ => None,
                });
                if own.next_back() != Some(last) {
                    return Err(Anomaly::Intermediate { reader, writer });
                }
            }
            let known = longest.entry(*key).or_insert(list);
            let (short, long) = if known.len() < list.len() {
                (*known, list.as_slice())
            } else {
                (list.as_slice(), *known)
            };
            if !long.starts_with(short) {
                return Err(Anomaly::TwoOrders(*key));
            }
            *known = long;
        }
    }
    for (writer, txn) in committed() {
        for op in &txn.ops {
            if let Op::Append(key, element) = op
                && !longest.get(key).is_some_and(|list| list.contains(element))
            {
                return Err(Anomaly::Lost { writer, key: *key });
            }
        }
    }
    Ok(longest)
}

/// Transactions, and behind them the moments of the clock, each before the next.
struct Graph {
    transactions: usize,
    after: Vec<BTreeMap<usize, Edge>>,
}

impl Graph {
    fn new(history: &[Txn], writers: &Writers, lists: &Lists<'_>) -> Self {
        let committed = || history.iter().enumerate().filter(|(_, txn)| txn.is_committed);
        let times = committed().flat_map(|(_, txn)| [txn.began, txn.ended]);
        let times: Vec<u64> = times.collect::<BTreeSet<_>>().into_iter().collect();
        let nodes = history.len() + times.len();
        let mut graph = Self { transactions: history.len(), after: vec![BTreeMap::new(); nodes] };
        let moment = |time: u64| history.len() + times.partition_point(|&other| other < time);
        for time in 1..times.len() {
            graph.edge(history.len() + time - 1, history.len() + time, Edge::Rt);
        }
        for (place, txn) in committed() {
            graph.edge(moment(txn.began), place, Edge::Rt);
            // What begins at the very moment of another's end is not after it.
            if moment(txn.ended) + 1 < nodes {
                graph.edge(place, moment(txn.ended) + 1, Edge::Rt);
            }
        }
        for (key, list) in lists {
            for pair in list.windows(2) {
                graph.edge(writers[&(*key, pair[0])], writers[&(*key, pair[1])], Edge::Ww);
            }
        }
        for (reader, txn) in committed() {
            for op in &txn.ops {
                let Op::Read(key, list) = op else { continue };
                if let Some(last) = list.last() {
                    graph.edge(writers[&(*key, *last)], reader, Edge::Wr);
                }
                if let Some(next) = lists[key].get(list.len()) {
                    graph.edge(reader, writers[&(*key, *next)], Edge::Rw);
                }
            }
        }
        graph
    }

    /// The strongest edge between two nodes counts: a cycle of few kinds says the most.
    fn edge(&mut self, from: usize, to: usize, edge: Edge) {
        if from != to {
            let known = self.after[from].entry(to).or_insert(edge);
            *known = edge.min(*known);
        }
    }

    /// A shortest cycle through transactions, with as few kinds of edges as there is one.
    fn cycle(&self) -> Option<Vec<(usize, Edge)>> {
        [Edge::Ww, Edge::Wr, Edge::Rw, Edge::Rt].into_iter().find_map(|most| {
            let starts = self.in_cycles(most).into_iter().filter(|&node| node < self.transactions);
            starts.filter_map(|start| self.way_round(start, most)).min_by_key(Vec::len)
        })
    }

    /// The nodes that are left when those without a way in or out are taken away, over and over.
    fn in_cycles(&self, most: Edge) -> BTreeSet<usize> {
        let mut left: BTreeSet<usize> = (0..self.after.len()).collect();
        loop {
            let ways = |from: usize| {
                let ways = self.after[from].iter().filter(|(_, edge)| **edge <= most);
                ways.map(|(to, _)| *to).filter(|to| left.contains(to))
            };
            let entered: BTreeSet<usize> = left.iter().flat_map(|&from| ways(from)).collect();
            let next: BTreeSet<usize> =
                entered.iter().copied().filter(|&node| ways(node).next().is_some()).collect();
            if next.len() == left.len() {
                return left;
            }
            left = next;
        }
    }

    /// The shortest way from `start` back to it.
    fn way_round(&self, start: usize, most: Edge) -> Option<Vec<(usize, Edge)>> {
        let mut from: BTreeMap<usize, (usize, Edge)> = BTreeMap::new();
        let mut queue = std::collections::VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for (&to, &edge) in self.after[node].iter().filter(|(_, edge)| **edge <= most) {
                if to != start && from.contains_key(&to) {
                    continue;
                }
                from.insert(to, (node, edge));
                if to == start {
                    let mut way = vec![from[&start]];
                    while way[0].0 != start {
                        way.insert(0, from[&way[0].0]);
                    }
                    return Some(way);
                }
                queue.push_back(to);
            }
        }
        None
    }
}

mod tests {
    use super::*;

    fn history(txns: &[(&[Op], u64, u64)]) -> Vec<Txn> {
        let txn = |(ops, began, ended): &(&[Op], u64, u64)| Txn {
            ops: ops.to_vec(),
            is_committed: true,
            began: *began,
            ended: *ended,
        };
        txns.iter().map(txn).collect()
    }

    fn read(key: Key, list: &[Element]) -> Op {
        Op::Read(key, list.to_vec())
    }

    fn edges(found: Result<(), Anomaly>) -> Vec<Edge> {
        let Err(Anomaly::Cycle(cycle)) = found else { panic!("want a cycle, found {found:?}") };
        cycle.into_iter().map(|(_, edge)| edge).collect()
    }

    #[test]
    fn a_serial_history_has_no_anomaly() {
        let history = history(&[
            (&[Op::Append(1, 1), read(1, &[1])], 0, 1),
            (&[read(1, &[1]), Op::Append(1, 2), Op::Append(2, 3)], 2, 3),
            (&[read(1, &[1, 2]), read(2, &[3])], 4, 5),
        ]);
        assert_eq!(check(&history), Ok(()));
    }

    #[test]
    fn what_concerns_one_read_is_found() {
        let mut given_up = history(&[(&[Op::Append(1, 1)], 0, 9), (&[read(1, &[1])], 0, 9)]);
        given_up[0].is_committed = false;
        assert_eq!(check(&given_up), Err(Anomaly::Aborted { reader: 1, writer: 0 }));
        let between = [
            (&[Op::Append(1, 1), Op::Append(1, 2)][..], 0, 9),
            (&[read(1, &[1])], 0, 9),
            (&[read(1, &[1, 2])], 9, 10),
        ];
        let between = check(&history(&between));
        assert_eq!(between, Err(Anomaly::Intermediate { reader: 1, writer: 0 }));
        let forgets = history(&[(&[Op::Append(1, 1), read(1, &[])], 0, 9)]);
        assert_eq!(check(&forgets), Err(Anomaly::Internal(0)));
        let jumps = history(&[(&[read(1, &[]), read(1, &[1])], 0, 9)]);
        assert_eq!(check(&jumps), Err(Anomaly::Internal(0)));
        assert_eq!(check(&history(&[(&[read(1, &[7])], 0, 9)])), Err(Anomaly::Garbage(0)));
        let lost = history(&[(&[Op::Append(1, 1)], 0, 9), (&[read(1, &[])], 10, 11)]);
        assert_eq!(check(&lost), Err(Anomaly::Lost { writer: 0, key: 1 }));
    }

    #[test]
    fn two_orders_of_a_list_are_found() {
        let appends = [(&[Op::Append(1, 1)][..], 0, 9), (&[Op::Append(1, 2)], 0, 9)];
        let reads = [(&[read(1, &[1, 2])][..], 0, 9), (&[read(1, &[2])], 0, 9)];
        let both = history(&[appends, reads].concat());
        assert_eq!(check(&both), Err(Anomaly::TwoOrders(1)));
    }

    /// G0, G1c, G-single, G2 and what only the clock knows.
    #[test]
    fn cycles_of_every_kind_are_found() {
        let end: &[Op] = &[read(1, &[1, 2]), read(2, &[4, 3])];
        let g0 = [
            (&[Op::Append(1, 1), Op::Append(2, 3)][..], 0, 9),
            (&[Op::Append(1, 2), Op::Append(2, 4)], 0, 9),
            (end, 10, 11),
        ];
        assert_eq!(edges(check(&history(&g0))), [Edge::Ww, Edge::Ww]);
        let end: &[Op] = &[read(1, &[1]), read(2, &[2])];
        let g1c = [
            (&[Op::Append(1, 1), read(2, &[2])][..], 0, 9),
            (&[Op::Append(2, 2), read(1, &[1])], 0, 9),
            (end, 10, 11),
        ];
        assert_eq!(edges(check(&history(&g1c))), [Edge::Wr, Edge::Wr]);
        let skewed = [
            (&[read(1, &[]), read(2, &[2])][..], 0, 9),
            (&[Op::Append(1, 1), Op::Append(2, 2)], 0, 9),
            (end, 10, 11),
        ];
        let mut single = edges(check(&history(&skewed)));
        single.sort_unstable();
        assert_eq!(single, [Edge::Wr, Edge::Rw]);
        let skew = [
            (&[read(1, &[]), Op::Append(2, 2)][..], 0, 9),
            (&[read(2, &[]), Op::Append(1, 1)], 0, 9),
            (end, 10, 11),
        ];
        assert_eq!(edges(check(&history(&skew))), [Edge::Rw, Edge::Rw]);
        let stale =
            [(&[Op::Append(1, 1)][..], 0, 1), (&[read(1, &[])], 2, 3), (&[read(1, &[1])], 4, 5)];
        assert!(edges(check(&history(&stale))).contains(&Edge::Rt));
        let beside =
            [(&[Op::Append(1, 1)][..], 0, 2), (&[read(1, &[])], 1, 3), (&[read(1, &[1])], 4, 5)];
        assert_eq!(check(&history(&beside)), Ok(()));
    }
}
