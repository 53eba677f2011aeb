//! Places at a provider that allows only so many streams at once, given fairly between tenants.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use aimg_core::TenantId;
use tokio::sync::oneshot;

/// Those who may wait for a place. Who comes after them is told so at once.
const WAITING_MAX: usize = 4_096;

/// So many places, and who waits for one.
///
/// A place that becomes free goes to the waiting tenant that has the fewest; of equals, to the one who waits longest. So a
/// tenant with a hundred calls delays another's first call by no more than one place's time.
#[derive(Clone, Debug)]
pub struct Places {
    state: Arc<Mutex<State>>,
}

/// How full it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Places that are taken.
    pub taken: usize,
    /// Who waits.
    pub waiting: usize,
    /// Who could not even wait, ever.
    pub refused: u64,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    tenant: TenantId,
}

#[derive(Debug)]
struct State {
    free: usize,
    taken: HashMap<TenantId, usize>,
    waiting: VecDeque<Waiting>,
    refused: u64,
}

#[derive(Debug)]
struct Waiting {
    tenant: TenantId,
    gives: oneshot::Sender<Place>,
}

impl Places {
    /// `places_max` places, all free.
    pub fn new(places_max: usize) -> Self {
        let state = State { free: places_max, taken: HashMap::new(), waiting: VecDeque::new(), refused: 0 };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Waits for a place; nothing where too many wait already.
    pub async fn take(&self, tenant: TenantId) -> Option<Place> {
        let given = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Some(self.place(&mut state, tenant));
            }
            if state.waiting.len() >= WAITING_MAX {
                state.waiting.retain(|waiting| !waiting.gives.is_closed());
            }
            if state.waiting.len() >= WAITING_MAX {
                state.refused += 1;
                return None;
            }
            let (gives, given) = oneshot::channel();
            state.waiting.push_back(Waiting { tenant, gives });
            given
        };
        Some(given.await.expect("who waits is kept until a place is given"))
    }

    /// How full it is.
    pub fn load(&self) -> Load {
        let state = self.lock();
        let waiting = state.waiting.iter().filter(|waiting| !waiting.gives.is_closed()).count();
        Load { taken: state.taken.values().sum(), waiting, refused: state.refused }
    }

    fn place(&self, state: &mut State, tenant: TenantId) -> Place {
        *state.taken.entry(tenant).or_default() += 1;
        Place { places: self.clone(), tenant }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding it")
    }
}

impl State {
    /// Who gets the next place. Those who have gone away are forgotten.
    fn next(&mut self) -> Option<Waiting> {
        self.waiting.retain(|waiting| !waiting.gives.is_closed());
        let has = |waiting: &Waiting| self.taken.get(&waiting.tenant).copied().unwrap_or(0);
        // Of equals the first, who waits longest.
        let index = self.waiting.iter().enumerate().min_by_key(|(_, waiting)| has(waiting))?.0;
        self.waiting.remove(index)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.lock();
        if let Some(taken) = state.taken.get_mut(&self.tenant) {
            *taken -= 1;
            if *taken == 0 {
                state.taken.remove(&self.tenant);
            }
        }
        let Some(next) = state.next() else {
            state.free += 1;
            return;
        };
        let place = self.places.place(&mut state, next.tenant);
        // Who goes away right now gives the place back, which takes the lock again.
        drop(state);
        drop(next.gives.send(place));
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::Poll;

    use uuid::Uuid;

    use super::*;

    /// Polls once: the place, if it is there.
    async fn now(taking: &mut Pin<Box<impl Future<Output = Option<Place>>>>) -> Option<Place> {
        std::future::poll_fn(|cx| {
            Poll::Ready(match taking.as_mut().poll(cx) {
                Poll::Ready(place) => Some(place.expect("there is room to wait")),
                Poll::Pending => None,
            })
        })
        .await
    }

    #[tokio::test]
    async fn the_tenant_with_the_fewest_is_next() {
        let (greedy, modest) = (TenantId::from_uuid(Uuid::from_u128(1)), TenantId::from_uuid(Uuid::from_u128(2)));
        let places = Places::new(2);
        let first = places.take(greedy).await.unwrap();
        let second = places.take(greedy).await.unwrap();
        let mut third = Box::pin(places.take(greedy));
        let mut other = Box::pin(places.take(modest));
        assert!(now(&mut third).await.is_none());
        assert!(now(&mut other).await.is_none());
        assert_eq!(places.load(), Load { taken: 2, waiting: 2, refused: 0 });

        drop(first);
        assert!(now(&mut third).await.is_none(), "the greedy one has a place already");
        let other = now(&mut other).await.expect("the modest one has none");
        // Each has one, and only the greedy one waits.
        drop(second);
        let third = now(&mut third).await.expect("nobody else waits");
        drop((other, third));
        assert_eq!(places.load(), Load::default());
    }

    #[tokio::test]
    async fn of_one_tenant_the_first_to_wait_is_the_first_to_go() {
        let tenant = TenantId::from_uuid(Uuid::from_u128(1));
        let places = Places::new(1);
        let taken = places.take(tenant).await.unwrap();
        let mut first = Box::pin(places.take(tenant));
        let mut second = Box::pin(places.take(tenant));
        assert!(now(&mut first).await.is_none());
        assert!(now(&mut second).await.is_none());
        drop(taken);
        assert!(now(&mut second).await.is_none());
        assert!(now(&mut first).await.is_some());
    }

    #[tokio::test]
    async fn who_goes_away_costs_no_place() {
        let tenant = TenantId::from_uuid(Uuid::from_u128(1));
        let places = Places::new(1);
        let taken = places.take(tenant).await.unwrap();
        let mut impatient = Box::pin(places.take(tenant));
        assert!(now(&mut impatient).await.is_none());
        let mut given = Box::pin(places.take(tenant));
        assert!(now(&mut given).await.is_none());
        drop(impatient);
        drop(taken);
        // It was given, and is not taken up.
        drop(given);
        assert_eq!(places.load(), Load::default());
        assert!(places.take(tenant).await.is_some());
    }

    #[tokio::test]
    async fn so_many_may_wait() {
        let tenant = TenantId::from_uuid(Uuid::from_u128(1));
        let places = Places::new(0);
        let mut waiting: Vec<_> = (0..WAITING_MAX).map(|_| Box::pin(places.take(tenant))).collect();
        for one in &mut waiting {
            assert!(now(one).await.is_none());
        }
        assert!(places.take(tenant).await.is_none());
        assert_eq!(places.load(), Load { taken: 0, waiting: WAITING_MAX, refused: 1 });
        waiting.pop();
        let mut late = Box::pin(places.take(tenant));
        assert!(now(&mut late).await.is_none(), "who went away left room");
    }
}
