//! The engines, and how a test gets a broker of each that holds nothing.

use clients::folder::Folder;
use clients::measure::patched;
use fleet::{Broker, Sqlite};
use std::sync::Arc;

/// Brokers of one queue, as processes of their own have them.
pub(crate) type Brokers = [Arc<dyn Broker>; 2];

/// Runs `test` with two brokers of one empty queue, patched.
pub(crate) fn on_sqlite(test: fn(Brokers)) {
    patched(move || {
        let folder = Folder::new("fleet");
        let open = || Arc::new(Sqlite::open(folder.path.join("queue.db")).unwrap()) as Arc<dyn Broker>;
        test([open(), open()]);
    });
}
