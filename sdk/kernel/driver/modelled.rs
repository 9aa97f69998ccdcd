// SPDX-License-Identifier: GPL-2.0

//! The driver of a device that is a model: [`DeviceModel`] has the device, the SDK does the rest.
//!
//! It is written with what every driver has, [`Driver`], [`Operations`], [`FixedState`] and
//! [`Engine`], and shows how these work together.

use super::{
    fixed_state::MAX_STATE, Budget, Context, Driver, Engine, FixedState, NewDevice, Operations,
    Share, Step, Task, Type,
};
use crate::base::lock;
use core::marker::PhantomData;
use kernel::{
    prelude::*,
    static_lock_class,
    sync::{Arc, Mutex},
    time::Delta,
};
use mdev_model::{
    device::{DeviceModel, Fault, Work, MAX_TRANSFER},
    record::Older,
    registers,
    stream::Format,
};

/// What the driver of a [`DeviceModel`] adds to it.
///
/// [`module_mdev_model!`](crate::module_mdev_model) implements it.
///
/// # Examples
///
/// [`module_mdev_model!`](crate::module_mdev_model) has one.
#[vtable]
pub trait ModelDriver: DeviceModel {
    /// The driver's module.
    const OWNER: &'static ThisModule;
    /// Name of the mdev driver.
    const NAME: &'static CStr;
    /// The mdev types. All of them are the same device.
    const TYPES: &'static [Type];
}

/// An mdev whose device is the model `M`.
///
/// The data of its parent is a [`Budget`], of which each mdev takes one unit.
///
/// # Examples
///
/// [`module_mdev_model!`](crate::module_mdev_model) has one.
pub struct Modelled<M> {
    _share: Share,
    _model: PhantomData<M>,
}

/// The device while it is open: what [`Modelled`] makes of its model at an open.
///
/// # Examples
///
/// [`module_mdev_model!`](crate::module_mdev_model) has one.
pub struct OpenModel<M: ModelDriver>(Engine<Core<M>>);

/// The state, and the work that goes on in it.
#[pin_data]
struct Core<M> {
    #[pin]
    state: Mutex<M>,
    /// The bytes of a transfer. Only the engine uses it.
    #[pin]
    buffer: Mutex<KVec<u8>>,
}

#[vtable]
impl<M: ModelDriver> Driver for Modelled<M> {
    const OWNER: &'static ThisModule = M::OWNER;
    const NAME: &'static CStr = M::NAME;
    const TYPES: &'static [Type] = M::TYPES;

    // 7.2 has no such type.
    #[cfg(linux_7_3)]
    type OwnerModule = <M as ModelDriver>::OwnerModule;
    type Parent = Budget;
    type Open = OpenModel<M>;

    fn available(devices: &Budget, _type_index: usize) -> u32 {
        devices.available(1)
    }

    fn create(new: &NewDevice<'_, Self>) -> Result<Self> {
        Ok(Modelled {
            _share: new.parent.take(1)?,
            _model: PhantomData,
        })
    }

    fn open(&self, cx: Arc<Context>) -> impl PinInit<OpenModel<M>, Error> {
        const {
            assert!(
                registers::end(M::REGISTERS) <= M::IDENTITY.bars[0].size(),
                "a register of a device model is not in BAR 0"
            );
            assert!(
                size_of::<M>() <= MAX_STATE,
                "the state of a device model has at most 5 KiB; implement Migrate for a larger one"
            );
        }
        let core = try_pin_init!(Core {
            state <- Mutex::new(M::ZERO, lock::MODEL, static_lock_class!()),
            buffer <- Mutex::new(
                KVec::from_elem(0, MAX_TRANSFER, GFP_KERNEL_ACCOUNT)?,
                lock::TRANSFER,
                static_lock_class!(),
            ),
        } ? Error);
        Engine::new(cx, core).map(OpenModel)
    }
}

#[vtable]
impl<M: ModelDriver> Operations for OpenModel<M> {
    #[cfg(linux_7_3)]
    type OwnerModule = <M as ModelDriver>::OwnerModule;

    fn read(&self, _cx: &Context, bar: usize, offset: u64, data: &mut [u8]) -> Result {
        if bar == 0 {
            registers::read(M::REGISTERS, &*self.0.state.lock(), offset, data);
        }
        Ok(())
    }

    fn write(&self, cx: &Context, bar: usize, offset: u64, data: &[u8]) -> Result {
        if bar == 0 {
            let mut state = self.0.state.lock();
            registers::write(M::REGISTERS, &mut *state, offset, data);
            drive(cx, &*state);
            drop(state);
            self.0.kick();
        }
        Ok(())
    }

    fn reset(&self, cx: &Context) -> Result {
        let mut state = self.0.state.lock();
        *state = M::ZERO;
        drive(cx, &*state);
        Ok(())
    }
}

#[vtable]
impl<M: ModelDriver> FixedState for OpenModel<M> {
    const FORMAT: Format = M::FORMAT;
    const OLDER: &'static [Older<M>] = M::OLDER;

    #[cfg(linux_7_3)]
    type OwnerModule = <M as ModelDriver>::OwnerModule;
    type State = M;

    fn state(&self) -> &Mutex<M> {
        &self.0.state
    }

    fn restored(&self, cx: &Context, state: &M) {
        drive(cx, state);
    }
}

/// Sets the levels of all interrupt vectors from the state, whose lock must be held.
fn drive<M: ModelDriver>(cx: &Context, state: &M) {
    for vector in 0..M::IDENTITY.vectors() {
        cx.set_vector(vector, state.vector(vector));
    }
}

impl<M: ModelDriver> Task for Core<M> {
    fn step(&self, cx: &Context) -> Step {
        let mut buffer = self.buffer.lock();
        let mut state = self.state.lock();
        let (iova, len, to_guest) = match state.step() {
            Work::Idle => {
                drive(cx, &*state);
                return Step::Idle;
            }
            Work::More => {
                drive(cx, &*state);
                return Step::More;
            }
            Work::After(time) => {
                drive(cx, &*state);
                let nanoseconds = i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
                return Step::After(Delta::from_nanos(nanoseconds));
            }
            Work::Read(iova, len) => (iova, len, false),
            Work::Write(iova, data) => {
                if let Some(place) = buffer.get_mut(..data.len()) {
                    place.copy_from_slice(data);
                }
                (iova, data.len(), true)
            }
        };
        drive(cx, &*state);
        // Without the lock: a transfer may wait for user space.
        drop(state);
        let result = match buffer.get_mut(..len) {
            Some(data) if to_guest => cx.memory().write(iova, data).map(|()| &[][..]),
            Some(data) => cx.memory().read(iova, data).map(|()| &*data),
            None => {
                cx.report_mistake(fmt!(
                    "a step transfers {len} bytes, {MAX_TRANSFER} at most are allowed"
                ));
                Err(EINVAL)
            }
        };
        let mut state = self.state.lock();
        state.transferred(result.map_err(|_| Fault));
        drive(cx, &*state);
        Step::More
    }
}
