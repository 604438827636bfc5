//! What a broker in front of another one passes on as it is.

/// All but taking, renewing and settling, and the status, to `self.broker`.
macro_rules! passes_on {
    () => {
        fn push(&self, jobs: &[::fleet::NewJob]) -> Result<usize, ::fleet::BrokerError> {
            self.broker.push(jobs)
        }

        fn submit(&self, job: &::fleet::NewJob) -> Result<Option<u64>, ::fleet::BrokerError> {
            self.broker.submit(job)
        }

        fn result(&self, job: u64) -> Result<Option<String>, ::fleet::BrokerError> {
            self.broker.result(job)
        }

        fn keep(
            &self,
            name: &str,
            text: &str,
            kept: ::std::time::Duration,
        ) -> Result<(), ::fleet::BrokerError> {
            self.broker.keep(name, text, kept)
        }

        fn kept(&self, name: &str) -> Result<Option<String>, ::fleet::BrokerError> {
            self.broker.kept(name)
        }

        fn records(&self, after: u64, most: usize) -> Result<Vec<::fleet::Record>, ::fleet::BrokerError> {
            self.broker.records(after, most)
        }

        fn dead_jobs(&self, most: usize) -> Result<Vec<::fleet::DeadJob>, ::fleet::BrokerError> {
            self.broker.dead_jobs(most)
        }

        fn requeue_dead(&self) -> Result<u64, ::fleet::BrokerError> {
            self.broker.requeue_dead()
        }

        fn purge(&self) -> Result<(), ::fleet::BrokerError> {
            self.broker.purge()
        }
    };
}
