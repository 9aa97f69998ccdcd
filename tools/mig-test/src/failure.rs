// SPDX-License-Identifier: GPL-2.0
//! The exit code: whether the environment or a check is the cause of an error.

use std::process::ExitCode;

/// An error of the machine, the network or the command line. The text is one sentence that says
/// what is wrong and one that says what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub String);

/// Returns with [`Unusable`].
macro_rules! unusable {
    ($($text:tt)*) => {
        return Err($crate::failure::Unusable(format!($($text)*)).into())
    };
}
pub(crate) use unusable;

/// Returns whether the environment or the usage is the cause.
pub fn is_unusable(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<Unusable>())
}

/// Returns 2 if the environment or the usage is the cause, 1 if a check failed.
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    if is_unusable(error) {
        ExitCode::from(2)
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{anyhow, Context};

    #[test]
    fn an_unusable_environment_exits_with_2_however_deep_it_is_wrapped() {
        let error = anyhow::Error::new(Unusable("no root".into()));
        let wrapped = Err::<(), _>(error).context("setting up").unwrap_err();
        assert_eq!(
            format!("{:?}", exit_code(&wrapped)),
            format!("{:?}", ExitCode::from(2))
        );
    }

    #[test]
    fn a_failed_check_exits_with_1() {
        let failed = exit_code(&anyhow!("2 failed"));
        assert_eq!(format!("{failed:?}"), format!("{:?}", ExitCode::FAILURE));
    }
}
