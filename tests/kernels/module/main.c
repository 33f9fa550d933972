// SPDX-License-Identifier: GPL-2.0
/* The devices: platform devices and a driver of theirs, so that they have a bus address and can be unbound. */
#include <linux/debugfs.h>
#include <linux/etherdevice.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/vmalloc.h>

#include "testport.h"

#define NAME "netdrop_testport"
#define MOST_PORTS 64

static uint ports = 2;
module_param(ports, uint, 0444);
MODULE_PARM_DESC(ports, "how many ports there are, 64 at most");

static struct platform_device *devices[MOST_PORTS];
static struct dentry *directory;

static int testport_open(struct net_device *netdev)
{
	netif_tx_start_all_queues(netdev);
	return 0;
}

static int testport_stop(struct net_device *netdev)
{
	netif_tx_stop_all_queues(netdev);
	return 0;
}

/* Nothing is on the other side of the wire. */
static netdev_tx_t testport_xmit(struct sk_buff *skb, struct net_device *netdev)
{
	struct testport *port = netdev_priv(netdev);
	u16 queue = skb_get_queue_mapping(skb);

	if (port->stuck_queues & BIT(queue)) {
		netif_stop_subqueue(netdev, queue);
		return NETDEV_TX_BUSY;
	}
	if (port->loses) {
		port->stats64.tx_dropped++;
	} else {
		port->stats64.tx_packets++;
		port->stats64.tx_bytes += skb->len;
	}
	/* What many drivers call, also for packets that they lose: consume_skb(), no drop to the kernel. */
	dev_kfree_skb(skb);
	return NETDEV_TX_OK;
}

/* The watchdog has counted it. */
static void testport_tx_timeout(struct net_device *netdev, unsigned int queue)
{
	netif_wake_subqueue(netdev, queue);
}

static void testport_get_stats64(struct net_device *netdev, struct rtnl_link_stats64 *stats)
{
	struct testport *port = netdev_priv(netdev);

	*stats = port->stats64;
}

static const struct net_device_ops netdev_ops = {
	.ndo_open = testport_open,
	.ndo_stop = testport_stop,
	.ndo_start_xmit = testport_xmit,
	.ndo_tx_timeout = testport_tx_timeout,
	.ndo_get_stats64 = testport_get_stats64,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_validate_addr = eth_validate_addr,
};

#if HAS_QSTATS
/* All is told for the whole device, nothing for a queue. */
static void testport_queue_rx(struct net_device *netdev, int queue, struct netdev_queue_stats_rx *stats)
{
}

static void testport_queue_tx(struct net_device *netdev, int queue, struct netdev_queue_stats_tx *stats)
{
}

static void testport_base(struct net_device *netdev, struct netdev_queue_stats_rx *rx, struct netdev_queue_stats_tx *tx)
{
	struct testport *port = netdev_priv(netdev);

	*rx = port->qstats_rx;
	*tx = port->qstats_tx;
}

static const struct netdev_stat_ops stat_ops = {
	.get_queue_stats_rx = testport_queue_rx,
	.get_queue_stats_tx = testport_queue_tx,
	.get_base_stats = testport_base,
};
#endif

static int testport_probe(struct platform_device *pdev)
{
	struct net_device *netdev = alloc_etherdev_mqs(sizeof(struct testport), QUEUES, QUEUES);
	struct testport *port;
	int error;

	if (!netdev)
		return -ENOMEM;
	port = netdev_priv(netdev);
	port->netdev = netdev;
	port->module.memory = vzalloc(EEPROM_SIZE);
	if (!port->module.memory) {
		error = -ENOMEM;
		goto free;
	}
	SET_NETDEV_DEV(netdev, &pdev->dev);
	platform_set_drvdata(pdev, port);
	strscpy(netdev->name, "port%d", sizeof(netdev->name));
	netdev->netdev_ops = &netdev_ops;
	netdev->watchdog_timeo = HZ;
	eth_hw_addr_random(netdev);
	testport_init_ethtool(port);
#if HAS_QSTATS
	memset(&port->qstats_rx, 0xff, sizeof(port->qstats_rx));
	memset(&port->qstats_tx, 0xff, sizeof(port->qstats_tx));
	netdev->stat_ops = &stat_ops;
#endif
	netif_carrier_off(netdev);
	error = register_netdev(netdev);
	if (error)
		goto free;
	testport_add_settings(port, directory, dev_name(&pdev->dev));
	return 0;
free:
	vfree(port->module.memory);
	free_netdev(netdev);
	return error;
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
static void testport_remove(struct platform_device *pdev)
#else
static int testport_remove(struct platform_device *pdev)
#endif
{
	struct testport *port = platform_get_drvdata(pdev);

	debugfs_remove_recursive(port->debugfs);
	unregister_netdev(port->netdev);
	vfree(port->module.memory);
	free_netdev(port->netdev);
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
	return 0;
#endif
}

static struct platform_driver driver = {
	.driver = { .name = NAME },
	.probe = testport_probe,
	.remove = testport_remove,
};

static void testport_exit(void)
{
	unsigned int i;

	for (i = 0; i < ports; i++)
		platform_device_unregister(devices[i]);
	platform_driver_unregister(&driver);
	debugfs_remove_recursive(directory);
}

static int __init testport_init(void)
{
	unsigned int i;
	int error;

	if (ports > MOST_PORTS)
		return -EINVAL;
	directory = debugfs_create_dir(NAME, NULL);
	error = platform_driver_register(&driver);
	if (error) {
		debugfs_remove_recursive(directory);
		return error;
	}
	for (i = 0; i < ports; i++) {
		devices[i] = platform_device_register_simple(NAME, i, NULL, 0);
		if (IS_ERR(devices[i])) {
			error = PTR_ERR(devices[i]);
			ports = i;
			testport_exit();
			return error;
		}
	}
	return 0;
}

module_init(testport_init);
module_exit(testport_exit);
MODULE_DESCRIPTION("Ports without hardware, for tests of netdrop-exporter");
MODULE_LICENSE("GPL");
