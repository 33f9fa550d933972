// SPDX-License-Identifier: GPL-2.0
/* What a port tells through ethtool (struct ethtool_ops, include/linux/ethtool.h). */
#include <linux/delay.h>

#include "testport.h"

/* Runs before each of the others. */
static int testport_begin(struct net_device *netdev)
{
	struct testport *port = netdev_priv(netdev);

	if (port->delay_ms)
		msleep(port->delay_ms);
	return -(int)port->error;
}

static void testport_get_drvinfo(struct net_device *netdev, struct ethtool_drvinfo *info)
{
	strscpy(info->driver, "netdrop_testport", sizeof(info->driver));
	strscpy(info->version, "1.2.3-test", sizeof(info->version));
	strscpy(info->fw_version, "22.31.1014 (TST0000000001)", sizeof(info->fw_version));
	strscpy(info->bus_info, dev_name(netdev->dev.parent), sizeof(info->bus_info));
}

static int testport_get_link_ext_state(struct net_device *netdev, struct ethtool_link_ext_state_info *info)
{
	struct testport *port = netdev_priv(netdev);

	if (netif_carrier_ok(netdev) || port->ext_state == UNSET)
		return -ENODATA;
	info->link_ext_state = port->ext_state;
	info->__link_ext_substate = port->ext_substate;
	return 0;
}

#if HAS_LINK_EXT_STATS
static void testport_get_link_ext_stats(struct net_device *netdev, struct ethtool_link_ext_stats *stats)
{
	struct testport *port = netdev_priv(netdev);

	stats->link_down_events = port->link_down_events;
}
#endif

static int testport_get_link_ksettings(struct net_device *netdev, struct ethtool_link_ksettings *settings)
{
	struct testport *port = netdev_priv(netdev);

	if (port->speed_delay_ms)
		msleep(port->speed_delay_ms);
	settings->base.speed = netif_carrier_ok(netdev) ? port->speed : SPEED_UNKNOWN;
	settings->base.duplex = netif_carrier_ok(netdev) ? port->duplex : DUPLEX_UNKNOWN;
	settings->base.autoneg = port->autoneg;
	settings->base.port = PORT_FIBRE;
	settings->lanes = port->lanes == UNSET ? 0 : port->lanes;
	linkmode_copy(settings->link_modes.supported, port->supported);
	linkmode_copy(settings->link_modes.advertising, port->advertised);
	linkmode_copy(settings->link_modes.lp_advertising, port->peer);
	return 0;
}

static int testport_get_fecparam(struct net_device *netdev, struct ethtool_fecparam *param)
{
	struct testport *port = netdev_priv(netdev);

	if (port->active_fec == UNSET)
		return -EOPNOTSUPP;
	param->active_fec = port->active_fec;
	param->fec = port->active_fec;
	return 0;
}

static void testport_get_pauseparam(struct net_device *netdev, struct ethtool_pauseparam *param)
{
	param->rx_pause = 1;
	param->tx_pause = 1;
}

#define GETTER(field, type)								\
	static void testport_get_##field(struct net_device *netdev, struct type *stats)	\
	{										\
		struct testport *port = netdev_priv(netdev);				\
											\
		*stats = port->field;							\
	}

GETTER(fec, ethtool_fec_stats)
GETTER(phy, ethtool_eth_phy_stats)
GETTER(mac, ethtool_eth_mac_stats)
GETTER(ctrl, ethtool_eth_ctrl_stats)
GETTER(pause, ethtool_pause_stats)

static void testport_get_rmon(struct net_device *netdev, struct ethtool_rmon_stats *stats,
			      const struct ethtool_rmon_hist_range **ranges)
{
	static const struct ethtool_rmon_hist_range sizes[] = { { 0, 64 }, { 65, 1518 }, { 1519, 9216 }, {} };
	struct testport *port = netdev_priv(netdev);

	*stats = port->rmon;
	*ranges = sizes;
}

static int testport_get_eeprom(struct net_device *netdev, const struct ethtool_module_eeprom *page,
			       struct netlink_ext_ack *extack)
{
	struct testport_module *module = &((struct testport *)netdev_priv(netdev))->module;
	u32 address = page->i2c_address - EEPROM_FIRST_ADDRESS, index;
	bool upper = page->offset >= ETH_MODULE_EEPROM_PAGE_LEN;

	if (module->reads_left == 0)
		module->present = 0;
	if (module->error)
		return -(int)module->error;
	if (!module->present)
		return -ENODEV;
	if (module->reads_left != UNSET)
		module->reads_left--;
	if (address >= EEPROM_ADDRESSES || page->bank >= EEPROM_BANKS)
		return -EINVAL;
	if (upper && page->page == module->broken_page)
		return -EIO;
	index = (address * EEPROM_BANKS + page->bank) * EEPROM_HALVES + (upper ? 1 + page->page : 0);
	if (!test_bit(index, module->written) && module->wraps)
		index = address * EEPROM_BANKS * EEPROM_HALVES + upper;
	if (!test_bit(index, module->written))
		return -EIO;
	memcpy(page->data,
	       module->memory + index * ETH_MODULE_EEPROM_PAGE_LEN + page->offset % ETH_MODULE_EEPROM_PAGE_LEN,
	       page->length);
	return page->length;
}

static const struct ethtool_ops ethtool_ops = {
	.cap_link_lanes_supported = true,
	.begin = testport_begin,
	.get_drvinfo = testport_get_drvinfo,
	.get_link = ethtool_op_get_link,
	.get_link_ext_state = testport_get_link_ext_state,
#if HAS_LINK_EXT_STATS
	.get_link_ext_stats = testport_get_link_ext_stats,
#endif
	.get_link_ksettings = testport_get_link_ksettings,
	.get_fecparam = testport_get_fecparam,
	.get_fec_stats = testport_get_fec,
	.get_eth_phy_stats = testport_get_phy,
	.get_eth_mac_stats = testport_get_mac,
	.get_eth_ctrl_stats = testport_get_ctrl,
	.get_rmon_stats = testport_get_rmon,
	.get_pauseparam = testport_get_pauseparam,
	.get_pause_stats = testport_get_pause,
	.get_module_eeprom_by_page = testport_get_eeprom,
};

static int testport_get_sqi(struct phy_device *phydev)
{
	struct testport *port = container_of(phydev, struct testport, phydev);

	return port->sqi == UNSET ? -EOPNOTSUPP : port->sqi;
}

static int testport_get_sqi_max(struct phy_device *phydev)
{
	struct testport *port = container_of(phydev, struct testport, phydev);

	return port->sqi_max == UNSET ? -EOPNOTSUPP : port->sqi_max;
}

static struct phy_driver phy_driver = {
	.name = "netdrop_testport",
	.get_sqi = testport_get_sqi,
	.get_sqi_max = testport_get_sqi_max,
};

void testport_init_ethtool(struct testport *port)
{
	port->ext_state = UNSET;
	port->speed = SPEED_25000;
	port->duplex = DUPLEX_FULL;
	port->lanes = UNSET;
	port->sqi = UNSET;
	port->sqi_max = UNSET;
	port->active_fec = UNSET;
	port->link_down_events = ETHTOOL_STAT_NOT_SET;
	port->module.broken_page = UNSET;
	port->module.reads_left = UNSET;
	memset(&port->fec, 0xff, sizeof(port->fec));
	memset(&port->phy, 0xff, sizeof(port->phy));
	memset(&port->mac, 0xff, sizeof(port->mac));
	memset(&port->ctrl, 0xff, sizeof(port->ctrl));
	memset(&port->rmon, 0xff, sizeof(port->rmon));
	memset(&port->pause, 0xff, sizeof(port->pause));
	port->netdev->ethtool_ops = &ethtool_ops;
	/* The kernel asks dev->phydev for its signal quality, under its lock, and looks at nothing else of it. */
	mutex_init(&port->phydev.lock);
	port->phydev.link = 1;
	port->phydev.drv = &phy_driver;
	port->netdev->phydev = &port->phydev;
}
