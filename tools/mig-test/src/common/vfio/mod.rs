// SPDX-License-Identifier: GPL-2.0
//! Calls of VFIO's ioctls.

pub mod number;
pub mod packet;
pub mod sys;
