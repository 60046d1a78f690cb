/* DPDK's environment abstraction layer: one in a process, quiet, its last complaint kept.

   EAL can be started once and not again, so everything here belongs to the process.  What it and
   the drivers log goes to a stream of ours: kept for error messages, shown only where asked. */
#ifndef TICKPATH_DPDK_EAL_H
#define TICKPATH_DPDK_EAL_H

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_log.h>
#include <rte_version.h>

enum { LOG_KEPT = 1024 };

static struct {
    FILE *stream;
    char kept[LOG_KEPT]; /* what was said since dpdk_forget_log, as far as it has room */
    size_t length;
    int is_shown;
} eal_log;

static ssize_t eal_log_write(void *cookie, const char *text, size_t length)
{
    (void)cookie;
    if (eal_log.is_shown)
        (void)!fwrite(text, 1, length, stderr);
    size_t room = LOG_KEPT - 1 - eal_log.length;
    size_t taken = length < room ? length : room;
    memcpy(eal_log.kept + eal_log.length, text, taken);
    eal_log.length += taken;
    eal_log.kept[eal_log.length] = 0;
    return (ssize_t)length;
}

/* Start EAL with main()-like arguments.  0, or a negative errno. */
int dpdk_start(int count, char **arguments, int is_log_shown)
{
    eal_log.is_shown = is_log_shown;
    if (!eal_log.stream) {
        cookie_io_functions_t calls = {.write = eal_log_write};
        eal_log.stream = fopencookie(NULL, "w", calls);
        if (!eal_log.stream)
            return -ENOMEM;
        setvbuf(eal_log.stream, NULL, _IOLBF, BUFSIZ);
        rte_openlog_stream(eal_log.stream);
    }
    return rte_eal_init(count, arguments) < 0 ? -(rte_errno ? rte_errno : EINVAL) : 0;
}

/* What EAL and drivers said since dpdk_forget_log. */
const char *dpdk_log(void)
{
    return eal_log.kept;
}

void dpdk_forget_log(void)
{
    eal_log.kept[eal_log.length = 0] = 0;
}

const char *dpdk_version(void)
{
    return rte_version();
}

const char *dpdk_error(int code)
{
    return rte_strerror(code < 0 ? -code : code);
}

/* Whether memory is in huge pages. */
int dpdk_has_huge_pages(void)
{
    return rte_eal_has_hugepages();
}

/* Add a virtual device, as --vdev=NAME,ARGUMENTS does.  0, or a negative errno. */
int dpdk_plug(const char *name, const char *arguments)
{
    return rte_eal_hotplug_add("vdev", name, arguments);
}

int dpdk_unplug(const char *name)
{
    return rte_eal_hotplug_remove("vdev", name);
}

/* Number of a device's port; -1 where it has none. */
int dpdk_port_of(const char *name)
{
    uint16_t port;
    return rte_eth_dev_get_port_by_name(name, &port) ? -1 : port;
}

/* Numbers of all ports there are, at most `most`; gives how many. */
int dpdk_ports(uint16_t *ports, int most)
{
    int count = 0;
    uint16_t port;
    RTE_ETH_FOREACH_DEV (port)
        if (count < most)
            ports[count++] = port;
    return count;
}

/* A port's device, as in "0000:03:00.0"; empty where there is no such port. */
const char *dpdk_port_name(uint16_t port)
{
    static char name[RTE_ETH_NAME_MAX_LEN];
    if (rte_eth_dev_get_name_by_port(port, name))
        name[0] = 0;
    return name;
}

/* Its Ethernet address, six bytes. */
const uint8_t *dpdk_port_mac(uint16_t port)
{
    static struct rte_ether_addr mac;
    memset(&mac, 0, sizeof mac);
    rte_eth_macaddr_get(port, &mac);
    return mac.addr_bytes;
}

#endif
