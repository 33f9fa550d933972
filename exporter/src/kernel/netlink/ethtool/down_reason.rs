//! Why a link is down, by the kernel's names (`enum ethtool_link_ext_state` and its substates,
//! `include/uapi/linux/ethtool.h`, v6.18).
//!
//! The numbers are fixed (uapi). One that a later kernel adds stays a number.

use std::{borrow::Cow, fmt};

/// Names without `ETHTOOL_LINK_EXT_STATE_`, in lower case, and what each is told more closely by: the
/// names of the substates, from 1 on, without `ETHTOOL_LINK_EXT_SUBSTATE_` and their group.
const STATES: [(&str, &[&str]); 13] = [
    (
        "autoneg",
        &[
            "no_partner_detected",
            "ack_not_received",
            "next_page_exchange_failed",
            "no_partner_detected_force_mode",
            "fec_mismatch_during_override",
            "no_hcd",
        ],
    ),
    (
        "link_training_failure",
        &[
            "kr_frame_lock_not_acquired",
            "kr_link_inhibit_timeout",
            "kr_link_partner_did_not_set_receiver_ready",
            "remote_fault",
        ],
    ),
    (
        "link_logical_mismatch",
        &[
            "pcs_did_not_acquire_block_lock",
            "pcs_did_not_acquire_am_lock",
            "pcs_did_not_get_align_status",
            "fc_fec_is_not_locked",
            "rs_fec_is_not_locked",
        ],
    ),
    (
        "bad_signal_integrity",
        &[
            "large_number_of_physical_errors",
            "unsupported_rate",
            "serdes_reference_clock_lost",
            "serdes_alos",
        ],
    ),
    ("no_cable", &[]),
    ("cable_issue", &["unsupported_cable", "cable_test_failure"]),
    ("eeprom_issue", &[]),
    ("calibration_failure", &[]),
    ("power_budget_exceeded", &[]),
    ("overheat", &[]),
    ("module", &["cmis_not_ready"]),
    ("otp_speed_violation", &[]),
    ("bmc_request_down", &[]),
];

/// Why a link is down, as its driver says. Displayed for people: `autoneg, no partner detected`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DownReason {
    /// `ETHTOOL_A_LINKSTATE_EXT_STATE`
    pub state: u8,
    /// `ETHTOOL_A_LINKSTATE_EXT_SUBSTATE`; drivers have none for 0.
    pub substate: Option<u8>,
}

impl DownReason {
    /// Such as `no_cable`; a number that has no name yet as a number.
    pub fn reason(self) -> Cow<'static, str> {
        name_or_number(self.known().map(|(name, _)| name), self.state)
    }

    /// Such as `no_partner_detected`; empty where the driver says nothing closer.
    pub fn detail(self) -> Cow<'static, str> {
        let Some(substate) = self.substate.filter(|&substate| substate != 0) else {
            return "".into();
        };
        let details = self.known().map_or(&[][..], |(_, details)| details);
        let name = details.get(usize::from(substate) - 1).copied();
        name_or_number(name, substate)
    }

    fn known(self) -> Option<(&'static str, &'static [&'static str])> {
        STATES.get(usize::from(self.state)).copied()
    }
}

fn name_or_number(name: Option<&'static str>, number: u8) -> Cow<'static, str> {
    name.map_or_else(|| number.to_string().into(), Cow::Borrowed)
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |name: &str| name.replace('_', " ");
        let known = self.known().is_some();
        match (known, &*self.detail()) {
            (true, "") => f.write_str(&words(&self.reason())),
            (true, detail) => write!(f, "{}, {}", words(&self.reason()), words(detail)),
            (false, "") => write!(f, "reason {}", self.state),
            (false, detail) => write!(f, "reason {}, {detail}", self.state),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_the_names_of_the_kernel_and_later_ones_are_numbers() {
        let told = |state, substate| {
            let reason = DownReason { state, substate };
            (
                reason.reason().into_owned(),
                reason.detail().into_owned(),
                reason.to_string(),
            )
        };
        let expected = [
            ((4, None), ("no_cable", "", "no cable")),
            ((4, Some(0)), ("no_cable", "", "no cable")),
            ((4, Some(9)), ("no_cable", "9", "no cable, 9")),
            (
                (0, Some(1)),
                (
                    "autoneg",
                    "no_partner_detected",
                    "autoneg, no partner detected",
                ),
            ),
            (
                (3, Some(4)),
                (
                    "bad_signal_integrity",
                    "serdes_alos",
                    "bad signal integrity, serdes alos",
                ),
            ),
            (
                (10, Some(1)),
                ("module", "cmis_not_ready", "module, cmis not ready"),
            ),
            ((12, None), ("bmc_request_down", "", "bmc request down")),
            ((13, None), ("13", "", "reason 13")),
            ((255, Some(255)), ("255", "255", "reason 255, 255")),
        ];
        for ((state, substate), (reason, detail, text)) in expected {
            let expected = (reason.to_owned(), detail.to_owned(), text.to_owned());
            assert_eq!(told(state, substate), expected);
        }
    }
}
