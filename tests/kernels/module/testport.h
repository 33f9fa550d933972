/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Ports without hardware, for tests of what the exporter reads of a card: all that a driver may tell through ethtool,
 * statistics and netdev queue statistics is what a test wrote into debugfs.
 */
#ifndef NETDROP_TESTPORT_H
#define NETDROP_TESTPORT_H

#include <linux/ethtool.h>
#include <linux/netdevice.h>
#include <linux/phy.h>
#include <linux/version.h>

/* The card's own count of lost links (struct ethtool_link_ext_stats). */
#define HAS_LINK_EXT_STATS (LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0))
/* Queue statistics of any driver (struct netdev_stat_ops). */
#define HAS_QSTATS (LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0))

#if HAS_QSTATS
#include <net/netdev_queues.h>
#endif

/* A port has two queues each way, so that what is per queue shows. */
#define QUEUES 2

/* What a driver does not tell: ETHTOOL_STAT_NOT_SET for counters, and in u32 settings this. */
#define UNSET U32_MAX

/* A module's memory: two i2c addresses, four banks, the lower half and 256 pages of the upper half. */
#define EEPROM_ADDRESSES 2
#define EEPROM_FIRST_ADDRESS 0x50
#define EEPROM_BANKS 4
#define EEPROM_HALVES (1 + 256)
#define EEPROM_PAGES (EEPROM_ADDRESSES * EEPROM_BANKS * EEPROM_HALVES)
#define EEPROM_SIZE (EEPROM_PAGES * ETH_MODULE_EEPROM_PAGE_LEN)

struct testport_module {
	/* Whether there is one in the cage; if not, reads fail with `error`, or ENODEV. */
	u32 present;
	/* The error number of every read; 0 is none. */
	u32 error;
	/* The page, at any address and in any bank, that reads as EIO; UNSET for none. */
	u32 broken_page;
	/* After so many reads it is pulled; UNSET for never. */
	u32 reads_left;
	/* Pages that it does not have read as page 0, as CMIS modules do it; otherwise with EIO. */
	u32 wraps;
	u8 *memory;
	DECLARE_BITMAP(written, EEPROM_PAGES);
};

struct testport {
	struct net_device *netdev;
	struct dentry *debugfs;

	/* How long each call of ethtool takes, with the RTNL lock held, and the error number of each; 0 is none. */
	u32 delay_ms;
	u32 error;
	/* How long the driver takes to tell how the link runs, also in sysfs. */
	u32 speed_delay_ms;
	/* Packets of these queues (bits) stay where they are until the watchdog sees it. */
	u32 stuck_queues;
	/* Packets are freed as the driver's own losses. */
	u32 loses;

	u32 ext_state;
	u32 ext_substate;
	u32 speed;
	u32 duplex;
	u32 lanes;
	u32 autoneg;
	u32 sqi;
	u32 sqi_max;
	u32 active_fec;
	__ETHTOOL_DECLARE_LINK_MODE_MASK(supported);
	__ETHTOOL_DECLARE_LINK_MODE_MASK(advertised);
	__ETHTOOL_DECLARE_LINK_MODE_MASK(peer);

	struct ethtool_fec_stats fec;
	struct ethtool_eth_phy_stats phy;
	struct ethtool_eth_mac_stats mac;
	struct ethtool_eth_ctrl_stats ctrl;
	struct ethtool_rmon_stats rmon;
	struct ethtool_pause_stats pause;
	struct rtnl_link_stats64 stats64;
	u64 link_down_events;
#if HAS_QSTATS
	struct netdev_queue_stats_rx qstats_rx;
	struct netdev_queue_stats_tx qstats_tx;
#endif
	struct testport_module module;
	/* Only for its signal quality: no bus knows it. */
	struct phy_device phydev;
};

/* ethtool.c */
void testport_init_ethtool(struct testport *port);
/* settings.c */
void testport_add_settings(struct testport *port, struct dentry *parent, const char *name);

#endif
