// SPDX-License-Identifier: GPL-2.0

//! The tests of the model: one program, because most of a program's build is the libraries'.

mod common;

mod bar;
mod capability;
mod capability_random;
mod capability_rules;
mod compatibility;
mod config;
mod device;
mod dirty_log;
mod end;
mod events;
mod fields;
mod golden;
mod interrupt;
mod irq;
mod irq_disable;
mod irq_random;
mod irq_vectors;
mod match_data;
mod older;
mod page_set;
mod paging;
mod part;
mod record;
mod region;
mod registers;
mod state;
mod stream;
mod v1;
mod v1_session;
