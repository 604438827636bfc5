//! What a job does to the database of its broker.

use crate::engines::postgresql;
use clients::measure::patched;
use fleet::{Broker, Completion, NewJob, Postgres};
use std::time::Duration;

#[test]
fn an_effect_happens_with_the_end_of_its_job_or_not_at_all() {
    let Some(server) = postgresql() else { return };
    let url = server.url.clone();
    patched(move || {
        let broker = Postgres::open(&url, "effects").unwrap();
        let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
        client.batch_execute("create table public.stock (item text)").unwrap();
        broker.push(&[NewJob::new("apple")]).unwrap();
        let job = broker.take(1, Duration::from_secs(100)).unwrap().remove(0);
        let insert = "insert into public.stock values ($1)";
        let done = |sql: &str| {
            broker.done_with(&job.lease(), Completion::new().record("sold"), |transaction| {
                transaction.execute(insert, &[&job.payload])?;
                transaction.batch_execute(sql)
            })
        };
        assert_eq!(
            done("select no_such_column").unwrap_err().to_string(),
            "column \"no_such_column\" does not exist"
        );
        let count = |client: &mut postgres::Client| {
            client.query_one("select count(*) from public.stock", &[]).unwrap().get::<_, i64>(0)
        };
        assert_eq!((count(&mut client), broker.status().unwrap().leased), (0, 1));
        // An effect that says nothing of what went wrong ends in nothing, too.
        let hidden = broker.done_with(&job.lease(), Completion::new(), |transaction| {
            transaction.execute(insert, &[&job.payload])?;
            let _ = transaction.batch_execute("select no_such_column");
            Ok(())
        });
        assert!(hidden.unwrap_err().to_string().contains("transaction is aborted"));
        let status = broker.status().unwrap();
        assert_eq!((count(&mut client), status.leased, status.done), (0, 1, 0));
        // What is set in an effect is forgotten after it, and the connection is the queue's again.
        assert!(done("set search_path to public").unwrap());
        assert_eq!((count(&mut client), broker.records(0, 9).unwrap().len()), (1, 1));
        assert_eq!(broker.status().unwrap().done, 1);
        // The lease is gone, so there is no effect.
        assert!(!done("select 1").unwrap());
        assert_eq!((count(&mut client), broker.records(0, 9).unwrap().len()), (1, 1));
    });
}
