//! The flows of a shard, found by the source of a packet or by name. Its size is fixed when it is made.

use std::collections::HashMap;

use aimg_core::FlowId;
use aimg_spool::Route;

use crate::flow::Flow;
use crate::source::Source;

type Map<K> = HashMap<K, usize, foldhash::fast::RandomState>;

/// The table.
#[derive(Debug)]
pub(crate) struct FlowTable {
    slots: Vec<Option<Box<Flow>>>,
    free: Vec<usize>,
    by_source: Map<Source>,
    by_id: Map<FlowId>,
}

/// Why a flow cannot have a source.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No such flow.
    Unknown,
    /// Another flow has it.
    Taken {
        /// That flow.
        owner: FlowId,
    },
}

impl FlowTable {
    pub(crate) fn new(flows_max: usize) -> Self {
        let hasher = foldhash::fast::RandomState::default;
        Self {
            slots: std::iter::repeat_with(|| None).take(flows_max).collect(),
            free: (0..flows_max).rev().collect(),
            by_source: HashMap::with_capacity_and_hasher(flows_max, hasher()),
            by_id: HashMap::with_capacity_and_hasher(flows_max, hasher()),
        }
    }

    /// Takes a flow; gives it back when the table is full or has one of that name.
    pub(crate) fn insert(&mut self, flow: Box<Flow>) -> Result<(), Box<Flow>> {
        if self.by_id.contains_key(&flow.id) {
            return Err(flow);
        }
        let Some(slot) = self.free.pop() else {
            return Err(flow);
        };
        self.by_id.insert(flow.id, slot);
        self.slots[slot] = Some(flow);
        Ok(())
    }

    /// Lets the route's source, and no other, send to the flow.
    pub(crate) fn expect(&mut self, id: FlowId, route: Route) -> Result<(), Refusal> {
        let source = Source::from(route.source);
        let &slot = self.by_id.get(&id).ok_or(Refusal::Unknown)?;
        if let Some(&taken) = self.by_source.get(&source)
            && taken != slot
        {
            let owner = self.slots[taken].as_ref().map_or(id, |flow| flow.id);
            return Err(Refusal::Taken { owner });
        }
        let flow = self.slots[slot].as_mut().ok_or(Refusal::Unknown)?;
        if let Some(before) = flow.source.replace(source) {
            self.by_source.remove(&before);
        }
        flow.spool.show_route(route);
        self.by_source.insert(source, slot);
        Ok(())
    }

    /// Gives up a flow and its source.
    pub(crate) fn remove(&mut self, id: FlowId) -> Option<Box<Flow>> {
        let slot = self.by_id.remove(&id)?;
        let flow = self.slots[slot].take()?;
        if let Some(source) = flow.source {
            self.by_source.remove(&source);
        }
        self.free.push(slot);
        Some(flow)
    }

    /// Where the flow is that a packet from `source` belongs to; true until the table is changed.
    pub(crate) fn slot_of(&self, source: Source) -> Option<usize> {
        self.by_source.get(&source).copied()
    }

    /// The flow of a slot.
    pub(crate) fn at(&mut self, slot: usize) -> Option<&mut Flow> {
        self.slots[slot].as_deref_mut()
    }

    /// The flow of that name.
    pub(crate) fn of_id(&mut self, id: FlowId) -> Option<&mut Flow> {
        self.slots[*self.by_id.get(&id)?].as_deref_mut()
    }

    /// Those of one of so many parts, the first of which is 0; each flow is in one part as long as it is there.
    pub(crate) fn part_mut(&mut self, part: usize, parts: usize) -> impl Iterator<Item = &mut Flow> {
        self.slots.iter_mut().skip(part).step_by(parts).filter_map(Option::as_deref_mut)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::flow::tests::flow;

    fn route(port: u16) -> Route {
        Route { source: SocketAddr::from(([127, 0, 0, 1], port)), local_port: 4_000 }
    }

    /// The flow that may send from a port.
    fn of_port(table: &mut FlowTable, port: u16) -> Option<FlowId> {
        let slot = table.slot_of(route(port).source.into())?;
        table.at(slot).map(|flow| flow.id)
    }

    #[test]
    fn a_source_has_one_flow_and_a_flow_one_source() {
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [mut one, mut two] = directories.each_ref().map(|d| Box::new(flow(d.path())));
        one.id.part = 1;
        two.id.part = 2;
        let (first, second) = (one.id, two.id);
        let mut table = FlowTable::new(2);
        assert!(table.insert(one).is_ok() && table.insert(two).is_ok());

        assert_eq!(table.expect(first, route(10)), Ok(()));
        assert_eq!(table.expect(first, route(10)), Ok(()));
        assert_eq!(table.expect(second, route(10)), Err(Refusal::Taken { owner: first }));
        // Another source for the same flow frees the one before.
        assert_eq!(table.expect(first, route(11)), Ok(()));
        assert_eq!(of_port(&mut table, 10), None);
        assert_eq!(table.expect(second, route(10)), Ok(()));
        assert_eq!(of_port(&mut table, 11), Some(first));
        assert_eq!(of_port(&mut table, 10), Some(second));

        assert!(table.remove(first).is_some());
        assert!(table.remove(first).is_none());
        assert_eq!(of_port(&mut table, 11), None);
        assert_eq!(table.expect(first, route(11)), Err(Refusal::Unknown));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_full_table_and_a_second_of_the_same_name_are_refused() {
        let directories: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
        let mut table = FlowTable::new(2);
        for (part, directory, fits) in [(1, 0, true), (1, 1, false), (2, 2, true)] {
            let mut flow = Box::new(flow(directories[directory].path()));
            flow.id.part = part;
            assert_eq!(table.insert(flow).is_ok(), fits, "{part}");
        }
        let third = tempfile::tempdir().unwrap();
        assert!(table.insert(Box::new(flow(third.path()))).is_err());
        for (part, parts, flows) in [(0, 1, 2), (0, 2, 1), (1, 2, 1), (2, 3, 0)] {
            assert_eq!(table.part_mut(part, parts).count(), flows);
        }
    }
}
