// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/kernel/debug/netdrop_testport/<bus address>/: a file for each setting and counter, with the kernel's own names.
 * 18446744073709551615 in a counter and 4294967295 in a setting mean that the driver does not tell it.
 */
#include <linux/bitmap.h>
#include <linux/debugfs.h>
#include <linux/fs.h>

#include "testport.h"

struct counter {
	const char *name;
	size_t offset;
};

#define COUNTER(name, field) { name, offsetof(struct testport, field) }
#define OF(group, field) COUNTER(#field, group.field)
#define FEC(field)									\
	COUNTER(#field, fec.field.total),						\
	COUNTER(#field "_lane0", fec.field.lanes[0]), COUNTER(#field "_lane1", fec.field.lanes[1]),	\
	COUNTER(#field "_lane2", fec.field.lanes[2]), COUNTER(#field "_lane3", fec.field.lanes[3]),	\
	COUNTER(#field "_lane4", fec.field.lanes[4]), COUNTER(#field "_lane5", fec.field.lanes[5]),	\
	COUNTER(#field "_lane6", fec.field.lanes[6]), COUNTER(#field "_lane7", fec.field.lanes[7])

static const struct counter link[] = { COUNTER("link_down_events", link_down_events), {} };
static const struct counter fec[] = {
	FEC(corrected_blocks), FEC(uncorrectable_blocks), FEC(corrected_bits), {},
};
static const struct counter phy[] = { OF(phy, SymbolErrorDuringCarrier), {} };
static const struct counter mac[] = {
	OF(mac, FramesTransmittedOK), OF(mac, SingleCollisionFrames), OF(mac, MultipleCollisionFrames),
	OF(mac, FramesReceivedOK), OF(mac, FrameCheckSequenceErrors), OF(mac, AlignmentErrors),
	OF(mac, OctetsTransmittedOK), OF(mac, FramesWithDeferredXmissions), OF(mac, LateCollisions),
	OF(mac, FramesAbortedDueToXSColls), OF(mac, FramesLostDueToIntMACXmitError), OF(mac, CarrierSenseErrors),
	OF(mac, OctetsReceivedOK), OF(mac, FramesLostDueToIntMACRcvError), OF(mac, MulticastFramesXmittedOK),
	OF(mac, BroadcastFramesXmittedOK), OF(mac, FramesWithExcessiveDeferral), OF(mac, MulticastFramesReceivedOK),
	OF(mac, BroadcastFramesReceivedOK), OF(mac, InRangeLengthErrors), OF(mac, OutOfRangeLengthField),
	OF(mac, FrameTooLongErrors), {},
};
static const struct counter ctrl[] = {
	OF(ctrl, MACControlFramesTransmitted), OF(ctrl, MACControlFramesReceived),
	OF(ctrl, UnsupportedOpcodesReceived), {},
};
static const struct counter rmon[] = {
	OF(rmon, undersize_pkts), OF(rmon, oversize_pkts), OF(rmon, fragments), OF(rmon, jabbers),
	OF(rmon, hist[0]), OF(rmon, hist[1]), OF(rmon, hist[2]),
	OF(rmon, hist_tx[0]), OF(rmon, hist_tx[1]), OF(rmon, hist_tx[2]), {},
};
static const struct counter pause[] = { OF(pause, tx_pause_frames), OF(pause, rx_pause_frames), {} };
static const struct counter stats64[] = {
	OF(stats64, rx_packets), OF(stats64, tx_packets), OF(stats64, rx_bytes), OF(stats64, tx_bytes),
	OF(stats64, rx_errors), OF(stats64, tx_errors), OF(stats64, rx_dropped), OF(stats64, tx_dropped),
	OF(stats64, multicast), OF(stats64, collisions), OF(stats64, rx_length_errors), OF(stats64, rx_over_errors),
	OF(stats64, rx_crc_errors), OF(stats64, rx_frame_errors), OF(stats64, rx_fifo_errors),
	OF(stats64, rx_missed_errors), OF(stats64, tx_aborted_errors), OF(stats64, tx_carrier_errors),
	OF(stats64, tx_fifo_errors), OF(stats64, tx_heartbeat_errors), OF(stats64, tx_window_errors),
	OF(stats64, rx_nohandler), {},
};
#if HAS_QSTATS
static const struct counter qstats[] = {
	COUNTER("rx_alloc_fail", qstats_rx.alloc_fail), COUNTER("rx_hw_drops", qstats_rx.hw_drops),
	COUNTER("rx_hw_drop_overruns", qstats_rx.hw_drop_overruns),
	COUNTER("rx_hw_drop_ratelimits", qstats_rx.hw_drop_ratelimits),
	COUNTER("rx_csum_unnecessary", qstats_rx.csum_unnecessary), COUNTER("rx_csum_none", qstats_rx.csum_none),
	COUNTER("rx_csum_bad", qstats_rx.csum_bad),
	COUNTER("rx_packets", qstats_rx.packets), COUNTER("tx_packets", qstats_tx.packets),
	COUNTER("tx_hw_drops", qstats_tx.hw_drops), COUNTER("tx_hw_drop_errors", qstats_tx.hw_drop_errors),
	COUNTER("tx_hw_drop_ratelimits", qstats_tx.hw_drop_ratelimits),
	COUNTER("tx_stop", qstats_tx.stop), COUNTER("tx_wake", qstats_tx.wake), {},
};
#endif

static int carrier_get(void *data, u64 *value)
{
	struct testport *port = data;

	*value = netif_carrier_ok(port->netdev);
	return 0;
}

static int carrier_set(void *data, u64 value)
{
	struct testport *port = data;

	if (value)
		netif_carrier_on(port->netdev);
	else
		netif_carrier_off(port->netdev);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(carrier_fops, carrier_get, carrier_set, "%llu\n");

/* Numbers of link modes (enum ethtool_link_mode_bit_indices), such as 31,48-50. */
static ssize_t modes_write(struct file *file, const char __user *text, size_t count, loff_t *offset)
{
	unsigned long *modes = file->private_data;
	int error = bitmap_parselist_user(text, count, modes, __ETHTOOL_LINK_MODE_MASK_NBITS);

	return error ?: count;
}

static const struct file_operations modes_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = modes_write,
};

/*
 * Whole pages of 128 bytes, one after the other: for each i2c address (50h, 51h) and bank the lower half and then the
 * upper halves of pages 0 to 255. The page at byte 128 * (((address - 50h) * 4 + bank) * 257 + upper + page).
 */
static ssize_t eeprom_write(struct file *file, const char __user *bytes, size_t count, loff_t *offset)
{
	struct testport_module *module = file->private_data;

	if (count % ETH_MODULE_EEPROM_PAGE_LEN || *offset % ETH_MODULE_EEPROM_PAGE_LEN || *offset < 0 ||
	    *offset > EEPROM_SIZE || count > EEPROM_SIZE - *offset)
		return -EINVAL;
	if (copy_from_user(module->memory + *offset, bytes, count))
		return -EFAULT;
	bitmap_set(module->written, *offset / ETH_MODULE_EEPROM_PAGE_LEN, count / ETH_MODULE_EEPROM_PAGE_LEN);
	*offset += count;
	return count;
}

static const struct file_operations eeprom_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = eeprom_write,
	.llseek = default_llseek,
};

static void add_counters(struct testport *port, const char *group, const struct counter *counters)
{
	struct dentry *directory = debugfs_create_dir(group, port->debugfs);

	for (; counters->name; counters++)
		debugfs_create_u64(counters->name, 0600, directory, (u64 *)((char *)port + counters->offset));
}

static void add_module(struct testport_module *module, struct dentry *parent)
{
	struct dentry *directory = debugfs_create_dir("module", parent);

	debugfs_create_u32("present", 0600, directory, &module->present);
	debugfs_create_u32("error", 0600, directory, &module->error);
	debugfs_create_u32("broken_page", 0600, directory, &module->broken_page);
	debugfs_create_u32("reads_left", 0600, directory, &module->reads_left);
	debugfs_create_u32("wraps", 0600, directory, &module->wraps);
	debugfs_create_file("eeprom", 0200, directory, module, &eeprom_fops);
}

void testport_add_settings(struct testport *port, struct dentry *parent, const char *name)
{
	struct dentry *directory = debugfs_create_dir(name, parent);

	port->debugfs = directory;
	debugfs_create_file_unsafe("carrier", 0600, directory, port, &carrier_fops);
	debugfs_create_file("supported", 0200, directory, port->supported, &modes_fops);
	debugfs_create_file("advertised", 0200, directory, port->advertised, &modes_fops);
	debugfs_create_file("peer", 0200, directory, port->peer, &modes_fops);
	debugfs_create_u32("delay_ms", 0600, directory, &port->delay_ms);
	debugfs_create_u32("error", 0600, directory, &port->error);
	debugfs_create_u32("speed_delay_ms", 0600, directory, &port->speed_delay_ms);
	debugfs_create_u32("stuck_queues", 0600, directory, &port->stuck_queues);
	debugfs_create_u32("loses", 0600, directory, &port->loses);
	debugfs_create_u32("ext_state", 0600, directory, &port->ext_state);
	debugfs_create_u32("ext_substate", 0600, directory, &port->ext_substate);
	debugfs_create_u32("speed", 0600, directory, &port->speed);
	debugfs_create_u32("duplex", 0600, directory, &port->duplex);
	debugfs_create_u32("lanes", 0600, directory, &port->lanes);
	debugfs_create_u32("autoneg", 0600, directory, &port->autoneg);
	debugfs_create_u32("sqi", 0600, directory, &port->sqi);
	debugfs_create_u32("sqi_max", 0600, directory, &port->sqi_max);
	debugfs_create_u32("active_fec", 0600, directory, &port->active_fec);
	add_counters(port, "link", link);
	add_counters(port, "fec", fec);
	add_counters(port, "phy", phy);
	add_counters(port, "mac", mac);
	add_counters(port, "ctrl", ctrl);
	add_counters(port, "rmon", rmon);
	add_counters(port, "pause", pause);
	add_counters(port, "stats64", stats64);
#if HAS_QSTATS
	add_counters(port, "qstats", qstats);
#endif
	add_module(&port->module, directory);
}
