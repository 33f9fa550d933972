//! Where drivers put what their hardware lost, among the counters of `struct rtnl_link_stats64`.
//!
//! `rx_missed_errors` is the place for it (`include/uapi/linux/if_link.h`): packets that the device had
//! no buffer for. Most drivers keep to that, and for them there is no rule. `rx_dropped` and
//! `tx_dropped` are what the driver **or the stack** lost: some drivers count their hardware there, too
//! (mlx5 and i40e before 6.11, iavf, cxgb4, ena, enic, nfp, atlantic), but the stack adds what it freed
//! as dropped (`dev_get_stats`, `net/core/dev.c`), and the two cannot be told apart.

/// How a driver differs from the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// `rx_missed_errors` alone is what the hardware lost.
    Missed,
    /// So is `rx_fifo_errors`.
    Fifo,
    /// So is `rx_over_errors`.
    Over,
    /// So are both.
    FifoAndOver,
    /// `rx_fifo_errors` is, and has `rx_missed_errors` in it.
    FifoWithMissed,
    /// `rx_dropped` has `rx_missed_errors` in it.
    DroppedWithMissed,
}

/// Drivers by the names that they have in sysfs. Read in v6.12, below `drivers/net/ethernet`.
const HABITS: [(&str, Habit); 10] = [
    // amd/amd8111e.c, amd8111e_get_stats: both are rcv_miss_pkts.
    ("amd8111e", Habit::DroppedWithMissed),
    // emulex/benet/be_main.c, be_get_stats64: FIFO overflows and a want of buffers.
    ("be2net", Habit::Fifo),
    // broadcom/bnx2x/bnx2x_stats.c, bnx2x_net_stats_update: no_buff_discard, and brb_drop.
    ("bnx2x", Habit::FifoAndOver),
    // cortina/gemini.c, gmac_get_stats64: rx_dropped += rx_missed_errors.
    ("gemini-ethernet-port", Habit::DroppedWithMissed),
    // intel/igb/igb_main.c, igb_update_stats: RQDPC of each queue, and MPC, which alone is missed.
    ("igb", Habit::FifoWithMissed),
    // intel/igc/igc_main.c, igc_update_stats: the same.
    ("igc", Habit::FifoWithMissed),
    // pensando/ionic/ionic_lif.c, ionic_get_stats64: rx_queue_empty.
    ("ionic", Habit::Over),
    // mellanox/mlx4/en_port.c, mlx4_en_DUMP_ETH_STATS: RdropOvflw.
    ("mlx4_core", Habit::Fifo),
    // qlogic/qede/qede_main.c, qede_get_stats64: no_buff_discards.
    ("qede", Habit::Fifo),
    // sfc/ef10.c, efx_ef10_update_stats_pf: port_rx_overflow.
    ("sfc", Habit::Fifo),
];

/// What is known of a driver.
pub fn habit(driver: &str) -> Habit {
    let known = HABITS.iter().find(|(name, _)| *name == driver);
    known.map_or(Habit::Missed, |&(_, habit)| habit)
}
