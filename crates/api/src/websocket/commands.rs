//! What a connection has done with calls: each command is a task, so that news go on meanwhile.

use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::task::JoinSet;
use uuid::Uuid;

use super::connection::{Account, refusal};
use super::message::{DoneNotice, ServerMessage};
use crate::caller::Caller;
use crate::control::{Command, NewCallBody, make_call, perform};
use crate::problem::{Code, Problem};
use crate::server::Desk;

/// Commands of one connection that are being done at once.
const COMMANDS_MAX: usize = 8;

/// What is to be done.
pub(super) enum Order {
    /// With a call.
    Command(Uuid, Command),
    /// A call is made.
    Originate(NewCallBody),
}

/// What is being done for a connection.
#[derive(Default)]
pub(super) struct Commands(JoinSet<ServerMessage>);

impl Commands {
    /// Begins to do it, as long as the account is good at this moment.
    pub(super) fn begin(
        &mut self,
        desk: &Arc<Desk>,
        account: &Account,
        address: IpAddr,
        id: String,
        order: Order,
    ) -> Result<(), Problem> {
        if self.0.len() >= COMMANDS_MAX {
            let why = format!("{COMMANDS_MAX} commands of this connection are being done; wait for an answer");
            return Err(Problem::new(Code::TooManyRequests, why));
        }
        let (desk, credential) = (Arc::clone(desk), account.credential.clone());
        self.0.spawn(async move {
            let done = async {
                let caller = Caller { principal: credential.check(&desk).await?, address };
                match order {
                    Order::Command(session, command) => perform(&desk, &caller, session, command).await,
                    Order::Originate(call) => make_call(&desk, &caller, call).await,
                }
            };
            match Box::pin(done).await {
                Ok(outcome) => ServerMessage::Done(DoneNotice { id, outcome }),
                Err(problem) => ServerMessage::Error(*refusal(Some(id), problem)),
            }
        });
        Ok(())
    }

    /// The next answer; pending while there is none to come.
    pub(super) async fn answer(&mut self) -> ServerMessage {
        loop {
            match self.0.join_next().await {
                Some(Ok(answer)) => return answer,
                // A panic is in the log, and an answer to it would say nothing.
                Some(Err(_)) => {}
                None => pending().await,
            }
        }
    }
}

impl Drop for Commands {
    /// What was begun is done, and written into the audit log, though nobody hears of it.
    fn drop(&mut self) {
        self.0.detach_all();
    }
}
