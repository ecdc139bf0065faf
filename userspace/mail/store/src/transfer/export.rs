//! Writes an account's mail into files.

use crate::bodies::BodyId;
use crate::folders::{Account, Message};
use crate::outcome::StoreError;
use crate::pieces::in_pieces;
use crate::store::Store;
use crate::transfer::{Progress, Report, Target, TransferError, blocking};

/// Messages that are asked for at once, and bytes of those that are read at once.
const MESSAGES: usize = 500;
const BYTES: u64 = 32 << 20;

impl Store {
    /// Writes all folders of an account into a target. What can't be read is passed over and told; what comes meanwhile may be in it
    /// or not. `progress` is told again and again.
    ///
    /// # Errors
    ///
    /// [`TransferError`], when it can't go on. Begun again it writes what is missing.
    pub async fn export<T: Target>(
        &self,
        account: Account,
        mut target: T,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<Report, TransferError> {
        let mut report = Report::default();
        let folders = self.folders(account).await?;
        let mut far = Progress {
            total: folders.iter().map(|folder| folder.messages).sum(),
            of_bytes: folders.iter().map(|folder| folder.bytes).sum(),
            ..Progress::default()
        };
        progress(far);
        for folder in folders {
            // One that nobody made yet has the number 0, and nothing in it.
            let id = folder.id;
            target = on(target, move |target| target.begin(&folder)).await?.0;
            let mut from = 1;
            loop {
                let messages = self.list(account, id, from, MESSAGES).await?;
                let Some(last) = messages.last() else { break };
                let next = last.uid.checked_add(1);
                far.done += messages.len() as u64;
                far.bytes += messages.iter().map(|message| message.size).sum::<u64>();
                let listed = messages.len() as u64;
                let (back, wanted) = on(target, move |target| {
                    Ok(messages.into_iter().filter(|one| target.wants(one)).collect::<Vec<_>>())
                })
                .await?;
                target = back;
                report.already += listed - wanted.len() as u64;
                for some in in_pieces(wanted, MESSAGES, BYTES, |message| message.size) {
                    target = self.write(target, some, &mut report).await?;
                }
                // What came since the folders were listed counts as well.
                far.total = far.total.max(far.done);
                far.of_bytes = far.of_bytes.max(far.bytes);
                progress(far);
                let Some(next) = next else { break };
                from = next;
            }
            target = on(target, T::end).await?.0;
        }
        on(target, T::finish).await?;
        Ok(report)
    }

    async fn write<T: Target>(
        &self,
        target: T,
        messages: Vec<Message>,
        report: &mut Report,
    ) -> Result<T, TransferError> {
        let ids: Vec<BodyId> = messages.iter().map(|message| message.body).collect();
        let read = self.inner.bodies.get_many(&ids).await;
        let mut whole = Vec::with_capacity(read.len());
        for (message, (_, raw)) in messages.into_iter().zip(read) {
            match raw {
                Ok(raw) => {
                    report.added += 1;
                    report.bytes += raw.len() as u64;
                    whole.push((message, raw));
                }
                Err(crate::BodyError::Missing(_)) => report.gone += 1,
                // It is away, and so are the others.
                Err(error) if error.may_pass() => return Err(StoreError::from(error).into()),
                Err(error) => {
                    let place = format!("message {} of folder {}", message.uid, message.folder.0);
                    report.fail(place, error.to_string());
                }
            }
        }
        let write = move |target: &mut T| {
            whole.iter().try_for_each(|(message, raw)| target.add(message, raw))
        };
        Ok(on(target, write).await?.0)
    }
}

/// Has a thread that may wait do something with a target, and gives it back.
async fn on<T: Target, R: Send + 'static>(
    mut target: T,
    work: impl FnOnce(&mut T) -> Result<R, TransferError> + Send + 'static,
) -> Result<(T, R), TransferError> {
    blocking(move || {
        let answer = work(&mut target)?;
        Ok((target, answer))
    })
    .await
}
