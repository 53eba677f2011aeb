//! What waits for a worker, and whose turn it is.

use std::collections::{HashMap, VecDeque};

use aimg_core::TenantId;

/// What waits. Finals go before interims; among tenants it goes round; a tenant's oldest goes first.
#[derive(Debug)]
pub(super) struct Queue<J> {
    finals: Round<J>,
    interims: Round<J>,
    interims_max: usize,
}

impl<J> Queue<J> {
    /// At most so many interims wait. Finals are bounded by who asks: a stream has only so many.
    pub(super) fn new(interims_max: usize) -> Self {
        Self { finals: Round::default(), interims: Round::default(), interims_max }
    }

    pub(super) fn push_final(&mut self, tenant: TenantId, job: J) {
        self.finals.push(tenant, job);
    }

    /// Gives the job back where there is too much to do: then a later interim says more for the same work.
    pub(super) fn push_interim(&mut self, tenant: TenantId, job: J) -> Result<(), J> {
        if self.finals.waiting > 0 || self.interims.waiting >= self.interims_max {
            return Err(job);
        }
        self.interims.push(tenant, job);
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Option<J> {
        self.finals.pop().or_else(|| self.interims.pop())
    }

    pub(super) fn finals_waiting(&self) -> usize {
        self.finals.waiting
    }
}

/// Jobs of tenants that take turns.
#[derive(Debug)]
struct Round<J> {
    /// Tenants with jobs, in the order of their turns.
    turns: VecDeque<TenantId>,
    jobs: HashMap<TenantId, VecDeque<J>>,
    waiting: usize,
}

impl<J> Default for Round<J> {
    fn default() -> Self {
        Self { turns: VecDeque::new(), jobs: HashMap::new(), waiting: 0 }
    }
}

impl<J> Round<J> {
    fn push(&mut self, tenant: TenantId, job: J) {
        let jobs = self.jobs.entry(tenant).or_default();
        if jobs.is_empty() {
            self.turns.push_back(tenant);
        }
        jobs.push_back(job);
        self.waiting += 1;
    }

    fn pop(&mut self) -> Option<J> {
        let tenant = self.turns.pop_front()?;
        let jobs = self.jobs.get_mut(&tenant)?;
        let job = jobs.pop_front()?;
        if jobs.is_empty() {
            self.jobs.remove(&tenant);
        } else {
            self.turns.push_back(tenant);
        }
        self.waiting -= 1;
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(queue: &mut Queue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn tenants_take_turns_and_finals_go_first() {
        let [loud, quiet] = [1, 2].map(|n| TenantId::from_uuid(uuid::Uuid::from_u128(n)));
        let mut queue = Queue::new(8);
        queue.push_interim(quiet, "quiet interim").unwrap();
        for job in ["loud 1", "loud 2", "loud 3"] {
            queue.push_final(loud, job);
        }
        queue.push_final(quiet, "quiet 1");
        assert_eq!(queue.finals_waiting(), 4);
        assert_eq!(drained(&mut queue), ["loud 1", "quiet 1", "loud 2", "loud 3", "quiet interim"]);
        assert_eq!(queue.finals_waiting(), 0);
        queue.push_final(quiet, "again");
        assert_eq!(drained(&mut queue), ["again"]);
    }

    #[test]
    fn interims_give_way_and_finals_never() {
        let tenant = TenantId::from_uuid(uuid::Uuid::from_u128(1));
        let mut queue = Queue::new(2);
        assert_eq!([queue.push_interim(tenant, "1"), queue.push_interim(tenant, "2")], [Ok(()), Ok(())]);
        assert_eq!(queue.push_interim(tenant, "3"), Err("3"));
        assert_eq!(drained(&mut queue), ["1", "2"]);
        queue.push_final(tenant, "final");
        assert_eq!(queue.push_interim(tenant, "4"), Err("4"));
        for _ in 0..100 {
            queue.push_final(tenant, "more");
        }
        assert_eq!(drained(&mut queue).len(), 101);
    }
}
