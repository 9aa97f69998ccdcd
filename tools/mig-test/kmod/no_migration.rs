// SPDX-License-Identifier: GPL-2.0

//! `Migrate` for the drivers of this folder, which have no state to migrate.

/// Implements `Migrate` for `$card`, with the driver's name `$driver`. The card can be quiesced,
/// and a transfer fails at its start with ENOTSUPP.
macro_rules! does_not_migrate {
    ($card:ty, $driver:literal) => {
        const _: () = {
            use mdev_sdk::model::stream::{name, Format, LoadError, Tag};
            use mdev_sdk::{Migrate, Pending, Phase, Progress, RecordWriter};

            #[vtable]
            impl Migrate for $card {
                const FORMAT: Format = Format {
                    name: name($driver),
                    version: 1,
                    oldest: 1,
                    readable_by: 1,
                };
                const RECORDS: &'static [(Tag, usize)] = &[];
                type Saving = ();
                type Loading = ();

                fn quiesce(&self, _cx: &Context) -> Result {
                    Ok(())
                }

                fn resume(&self, _cx: &Context) {}

                fn start_saving(&self) -> Result {
                    Err(ENOTSUPP)
                }

                fn pending(&self, _saving: Option<&()>) -> Pending {
                    Pending::default()
                }

                fn save(
                    &self,
                    (): &mut (),
                    _: Phase,
                    _: &mut RecordWriter<'_>,
                ) -> Result<Progress> {
                    Err(ENOTSUPP)
                }

                fn start_loading(&self) -> Result {
                    Err(ENOTSUPP)
                }

                fn load(&self, (): &mut (), _: Tag, _: &[u8]) -> Result<(), LoadError> {
                    Err(LoadError::NotOurs)
                }

                fn complete(&self, (): &()) -> Result<(), LoadError> {
                    Err(LoadError::NotOurs)
                }

                fn commit(&self, _cx: &Context, (): ()) {}
            }
        };
    };
}
