//! Threads that recognise, no more than the machine has cores.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use aimg_core::TenantId;
use tokio::sync::oneshot;

use super::engine::{Context, Engine, Heard, Worker};
use super::queue::Queue;

/// Recognising gives way to everything else on the machine, audio above all.
const NICE: i32 = 10;
/// Below this confidence an utterance is recognised again with the whole context.
const DOUBTFUL: f32 = 0.8;
/// Interims that wait, for each worker.
const INTERIMS_PER_WORKER: usize = 2;

/// An utterance to be recognised.
struct Job {
    samples: Vec<i16>,
    language: Option<String>,
    is_final: bool,
    answer: oneshot::Sender<Result<Heard, String>>,
}

/// The threads. They end when this is dropped and what they have begun is done.
pub(super) struct Workers {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    awake: Condvar,
    busy: AtomicUsize,
    interims_dropped: AtomicU64,
}

struct State {
    queue: Queue<Job>,
    is_closed: bool,
}

/// How much there is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Utterances that are being recognised.
    pub busy: usize,
    /// Utterances that have ended and wait for a worker.
    pub finals_waiting: usize,
    /// Interim texts that were left out because there was too much to do, ever.
    pub interims_dropped: u64,
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("work", &self.work()).finish_non_exhaustive()
    }
}

impl Workers {
    /// Starts `count` threads.
    pub(super) fn start(engine: &Engine, count: usize) -> Result<Self, String> {
        let queue = Queue::new(count * INTERIMS_PER_WORKER);
        let shared = Arc::new(Shared {
            state: Mutex::new(State { queue, is_closed: false }),
            awake: Condvar::new(),
            busy: AtomicUsize::new(0),
            interims_dropped: AtomicU64::new(0),
        });
        let workers = Self { shared: Arc::clone(&shared) };
        for number in 0..count {
            let (worker, shared) = (engine.worker()?, Arc::clone(&shared));
            thread::Builder::new()
                .name(format!("speech-{number}"))
                .spawn(move || shared.run(worker))
                .map_err(|error| format!("no thread for a worker: {error}"))?;
        }
        Ok(workers)
    }

    /// Has an utterance that has ended recognised. It is never left out.
    pub(super) fn recognise(
        &self,
        tenant: TenantId,
        language: Option<String>,
        samples: Vec<i16>,
    ) -> oneshot::Receiver<Result<Heard, String>> {
        let (answer, answered) = oneshot::channel();
        self.shared.lock().queue.push_final(tenant, Job { samples, language, is_final: true, answer });
        self.shared.awake.notify_one();
        answered
    }

    /// Has an utterance recognised that goes on; nothing where there is too much to do.
    pub(super) fn glance(
        &self,
        tenant: TenantId,
        language: Option<String>,
        samples: &[i16],
    ) -> Option<oneshot::Receiver<Result<Heard, String>>> {
        let (answer, answered) = oneshot::channel();
        let job = Job { samples: samples.to_vec(), language, is_final: false, answer };
        if self.shared.lock().queue.push_interim(tenant, job).is_err() {
            self.shared.interims_dropped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.shared.awake.notify_one();
        Some(answered)
    }

    pub(super) fn work(&self) -> Work {
        Work {
            busy: self.shared.busy.load(Ordering::Relaxed),
            finals_waiting: self.shared.lock().queue.finals_waiting(),
            interims_dropped: self.shared.interims_dropped.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.awake.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding it")
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return None;
            }
            // Whoever has gone away needs no answer.
            while let Some(job) = state.queue.pop() {
                if !job.answer.is_closed() {
                    return Some(job);
                }
            }
            state = self.awake.wait(state).expect("nobody panics while holding it");
        }
    }

    fn run(&self, mut worker: Worker) {
        // Where it is refused, recognising works all the same.
        let _ = rustix::process::nice(NICE);
        while let Some(job) = self.next() {
            self.busy.fetch_add(1, Ordering::Relaxed);
            let heard = job.recognise(&mut worker);
            self.busy.fetch_sub(1, Ordering::Relaxed);
            // Whoever asked may have gone away meanwhile.
            let _ = job.answer.send(heard);
        }
    }
}

impl Job {
    /// With a short context, which costs a quarter; where that leaves doubts and the text stays, with the whole.
    fn recognise(&self, worker: &mut Worker) -> Result<Heard, String> {
        let language = self.language.as_deref();
        let heard = worker.recognise(&self.samples, language, Context::Short)?;
        if !self.is_final || heard.confidence.is_none_or(|confidence| confidence >= DOUBTFUL) {
            return Ok(heard);
        }
        let again = worker.recognise(&self.samples, language, Context::Full)?;
        Ok(if again.confidence > heard.confidence { again } else { heard })
    }
}
