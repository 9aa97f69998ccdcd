// SPDX-License-Identifier: GPL-2.0
//! Reports the progress of the lab VM.

use crate::event::{Event, Outcome};
use crate::lab::job::News;
use crate::progress::Progress;

/// The current activity, if any.
#[derive(Default)]
pub struct Narrator {
    progress: Option<Progress>,
}

impl Narrator {
    /// Forwards an event.
    pub fn hear(&mut self, news: News<'_>) {
        match news {
            News::Boot => self.progress = Some(Progress::start("booting the lab VM")),
            News::Event(Event::Begin { scenario }) => {
                self.progress = Some(Progress::start(scenario));
            }
            News::Event(Event::Step { text }) => {
                if let Some(progress) = &self.progress {
                    progress.step(text);
                }
            }
            News::Event(Event::End {
                outcome: Outcome::Failed { .. },
                ..
            }) => {
                if let Some(progress) = self.progress.take() {
                    progress.failed();
                }
            }
            News::Event(Event::Ready { .. } | Event::End { .. }) => {
                if let Some(progress) = self.progress.take() {
                    progress.done();
                }
            }
            News::Event(Event::Report { .. } | Event::Bye) => {}
        }
    }
}
