//! A proxy that is down looks like an API that is down, unless the error says otherwise.

use testkit::random::unique_name;

use crate::fixture::Fixture;
use crate::scenario::WAITING;
use crate::schedule::Schedule;
use crate::worker::Worker;

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_down_is_named_in_the_error() {
    let mut worker = Worker::start(Fixture::get().await).await;
    worker.variables.push(("HTTP_PROXY".to_owned(), "http://127.0.0.1:9".to_owned()));
    let schedule = Schedule { may_end_unannounced: true, ..Schedule::of(&WAITING, unique_name("proxy"), Vec::new()) };
    let report = worker.run(&schedule).await;
    assert_eq!(report.violations, Vec::<String>::new());
    let errors = worker.errors();
    assert!(!errors.is_empty() && errors.iter().all(|error| error.ends_with("(HTTP_PROXY is set)")), "{errors:?}");
}
