//! Operations on channels and queues.

use std::sync::Arc;

use greenloop::channel::{Receiver, Sender};
use greenloop::queue::{Order, Ordered, PutError};
use greenloop::select::Select;

use super::account::Token;
use super::program::{Patience, Step};
use super::run::{Frame, micros};
use super::verb::Verb;
use super::world::{Objects, locked, taken};

/// An end of a channel that somebody chooses.
enum Arm {
    Send(usize, Sender<Token>),
    Recv(Receiver<Token>),
}

impl Frame<'_> {
    /// Whether it was one of these.
    pub(super) fn value_step(&self, step: &Step, objects: &Arc<Objects>) -> bool {
        match step.verb {
            Verb::Send => self.send(step, objects),
            Verb::Recv => self.receive(step, objects),
            Verb::Select => self.select(step, objects),
            Verb::CloseSender => drop(taken(&objects.channels[step.object].sender)),
            Verb::CloseReceiver => {
                let channel = &objects.channels[step.object];
                channel.ledger.close();
                drop(taken(&channel.receiver));
            }
            Verb::Put => match step.object {
                0 => self.put(step, objects, &objects.queues.0),
                1 => self.put(step, objects, &objects.queues.1),
                _ => self.put(step, objects, &objects.queues.2),
            },
            Verb::Get => match step.object {
                0 => self.get(step, &objects.queues.0),
                1 => self.get(step, &objects.queues.1),
                _ => self.get(step, &objects.queues.2),
            },
            Verb::Shutdown => match step.object {
                0 => objects.queues.0.shutdown(),
                1 => objects.queues.1.shutdown(),
                _ => objects.queues.2.shutdown(),
            },
            _ => return false,
        }
        true
    }

    fn send(&self, step: &Step, objects: &Arc<Objects>) {
        let channel = &objects.channels[step.object];
        let sender = locked(&channel.sender).clone();
        let Some(sender) = sender else { return };
        let (token, receipt) = Token::new(self.world, &channel.ledger, &step.block);
        let refused = match self.patience(step) {
            Patience::Forever => sender.send(token).err().map(|error| error.into_inner()),
            Patience::Never => sender.try_send(token).err().map(|error| error.into_inner()),
            Patience::Micros(time) => {
                sender.send_timeout(token, micros(time)).err().map(|error| error.into_inner())
            }
        };
        match refused {
            Some(token) => token.refused(),
            None => receipt.sent(),
        }
    }

    fn receive(&self, step: &Step, objects: &Arc<Objects>) {
        let receiver = locked(&objects.channels[step.object].receiver).clone();
        let Some(receiver) = receiver else { return };
        let token = match self.patience(step) {
            Patience::Forever => receiver.recv().ok(),
            Patience::Never => receiver.try_recv().ok(),
            Patience::Micros(time) => receiver.recv_timeout(micros(time)).ok(),
        };
        if let Some(token) = token {
            token.received();
        }
    }

    fn select(&self, step: &Step, objects: &Arc<Objects>) {
        let arm = |arm: &Step| {
            let channel = &objects.channels[arm.object];
            match arm.verb {
                Verb::Send => locked(&channel.sender).clone().map(|sender| Arm::Send(arm.object, sender)),
                Verb::Recv => locked(&channel.receiver).clone().map(Arm::Recv),
                _ => None,
            }
        };
        let arms: Vec<_> = step.block.iter().filter_map(arm).collect();
        if arms.is_empty() {
            return;
        }
        let mut select = Select::new();
        for arm in &arms {
            match arm {
                Arm::Send(_, sender) => select.send(sender),
                Arm::Recv(receiver) => select.recv(receiver),
            };
        }
        let selected = match self.patience(step) {
            Patience::Forever => Some(select.select()),
            Patience::Never => select.try_select().ok(),
            Patience::Micros(time) => select.select_timeout(micros(time)).ok(),
        };
        let Some(selected) = selected else { return };
        match &arms[selected.index()] {
            Arm::Send(channel, sender) => {
                let (token, receipt) = Token::new(self.world, &objects.channels[*channel].ledger, &[].into());
                match selected.send(sender, token) {
                    Ok(()) => receipt.sent(),
                    Err(error) => error.into_inner().refused(),
                }
            }
            Arm::Recv(receiver) => {
                if let Ok(token) = selected.recv(receiver) {
                    token.received();
                }
            }
        }
    }

    fn put<O: Order<Token>>(&self, step: &Step, objects: &Objects, queue: &Ordered<Token, O>) {
        let ledger = &objects.ledgers[step.object];
        let (token, receipt) = Token::comparing(self.world, ledger, &step.block);
        let result = match self.patience(step) {
            Patience::Forever => queue.put(token),
            Patience::Never => queue.try_put(token),
            Patience::Micros(time) => queue.put_timeout(token, micros(time)),
        };
        match result.map_err(PutError::into_inner) {
            Ok(()) => receipt.sent(),
            Err(token) => token.refused(),
        }
    }

    fn get<O: Order<Token>>(&self, step: &Step, queue: &Ordered<Token, O>) {
        let token = match self.patience(step) {
            Patience::Forever => queue.get(),
            Patience::Never => queue.try_get(),
            Patience::Micros(time) => queue.get_timeout(micros(time)),
        };
        if let Ok(token) = token {
            token.received();
        }
    }
}
